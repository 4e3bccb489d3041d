from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray

from .table import Kernel

Array = NDArray[Any]
Helper = TypeVar("Helper", bound=Callable[..., Any])

class Row:
    name: str
    def __init__(self, kernel: Kernel) -> None: ...

class Call:
    kernel: str
    arrays: tuple[Array, ...]
    scalars: tuple[Any, ...]
    native: bool
    ready: bool
    work: int
    cost: int
    threads: int
    def __init__(
        self, row: Row, arrays: tuple[Array, ...], scalars: tuple[Any, ...] = (), whole: tuple[int, int] = (0, 0)
    ) -> None: ...
    def run(self) -> None: ...

def after_replay(writes: list[Any], leaves: list[Any]) -> None: ...

class Replay:
    def __init__(
        self,
        calls: list[Any],
        inputs: list[Array],
        outputs: list[Array],
        written: list[Array],
        chains: list[tuple[int, int]],
        team: Any = None,
    ) -> None: ...
    def fitting(self, inputs: tuple[Any, ...]) -> list[Array] | None: ...
    def run(self, arrays: list[Array], writes: list[Any], leaves: list[Any]) -> list[Array]: ...
    def run_steps(
        self,
        data: tuple[Array, ...],
        order: Array,
        rows: int,
        steps: int,
        scale: float,
        logged: list[Array],
        logs: list[Array],
        first: int,
    ) -> None: ...
    def timed(self) -> list[float]: ...

def rows_of_the_table() -> dict[str, Row]: ...
def quicken(helper: Helper) -> Helper: ...
def set_slot(slot: Any) -> None: ...
def targets() -> int: ...
def use(target: int) -> None: ...
def multiply_adds(rounds: int) -> int: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
