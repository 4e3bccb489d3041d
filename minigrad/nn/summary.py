"""What a model consists of: layers, output shapes, parameters, multiply-adds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import no_grad
from ..kernels import KERNELS
from ..kernels.launch import observe
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module


@dataclass
class Row:
    """One module: ``path`` in the model, "" for itself; ``kind``, the name of its class.

    output : the shape of its (last) output, of several for a tuple; None if it was not called.
    parameters : numbers in parameters of its own, which no module above in the table has.
    multiply_adds : of its own, not of the modules inside, in all its calls.
    """

    path: str
    kind: str
    output: Any
    parameters: int
    multiply_adds: int


@dataclass(repr=False)
class Summary:
    """What ``Module.summary`` found: ``print`` shows it as a table.

    parameters, buffers : how many numbers they hold, shared ones once.
    multiply_adds : of all matrix products, a multiplication and an addition as one; ``flops`` is twice that.
    """

    rows: list[Row]
    parameters: int
    trainable: int
    buffers: int

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.rows)

    @property
    def flops(self) -> int:
        return 2 * self.multiply_adds

    def __repr__(self) -> str:
        return f"<Summary: {self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds>"

    def __str__(self) -> str:
        lines = [("layer", "output", "parameters", "multiply-adds")]
        for row in self.rows:
            depth = row.path.count(".") + bool(row.path)
            name = f"({row.path.rpartition('.')[2]}) " if row.path else ""
            output = "not called" if row.output is None else str(row.output)
            numbers = [f"{n:,}" if n else "" for n in (row.parameters, row.multiply_adds)]
            lines.append(("  " * depth + name + row.kind, output, numbers[0], numbers[1]))
        wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [f"{a:{wide[0]}}  {b:{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}".rstrip() for a, b, c, d in lines]
        fixed = self.parameters - self.trainable
        sizes = f"{self.parameters:,} parameters{f' ({fixed:,} fixed)' if fixed else ''}, {self.buffers:,} in buffers"
        total = f"{self.multiply_adds:,} multiply-adds = {self.flops:,} FLOPs in matrix products"
        return "\n".join([table[0], "-" * len(max(table, key=len)), *table[1:], "", f"{sizes}; {total}"])


def summarize(model: Module, *inputs: Any) -> Summary:
    """Run a copy of ``model`` once, in evaluation mode, and note what each module gives, has and costs.

    inputs : for each argument of ``forward`` its whole shape, batch included (as torchinfo's ``input_size``; Keras
        leaves the batch out), filled with float32 zeros; or an array or tensor, for integers or other dtypes.

    Multiply-adds are those of matrix products, convolutions among them, for this batch; elementwise work,
    normalization and pooling is not counted.  The model itself is not run: no parameter, buffer, generator or mode
    changes.
    """
    twin = copy.deepcopy(model)
    modules = list(twin.named_modules())
    spent: dict[int, int] = {id(module): 0 for _, module in modules}
    outputs: dict[int, Any] = {}
    active: list[int] = []

    def noting(module: Module) -> Callable[..., Any]:
        forward = module.forward

        def call(*arguments: Any, **options: Any) -> Any:
            active.append(id(module))
            try:
                y = forward(*arguments, **options)
            finally:
                active.pop()
            outputs[id(module)] = _shapes(y)
            return y

        return call

    def count(call: Any) -> None:
        if call.kernel in KERNELS and KERNELS[call.kernel].family == "MATMUL":
            spent[active[-1]] += call.arrays[0].size * call.arrays[1].shape[-1]
        call.run()

    for _, module in modules:
        vars(module)["forward"] = noting(module)
    with no_grad(), observe(count):
        twin.eval()(*map(_input, inputs))

    seen: set[int] = set()
    rows = []
    for path, module in modules:
        own = {id(p): p for p in _own(module) if id(p) not in seen}
        seen |= own.keys()
        kind = type(module).__name__
        rows.append(Row(path, kind, outputs.get(id(module)), sum(p.size for p in own.values()), spent[id(module)]))
    parameters = list(twin.parameters())
    trainable = sum(p.size for p in parameters if p.requires_grad)
    buffers = sum(b.size for b in twin.buffers())
    return Summary(rows, sum(p.size for p in parameters), trainable, buffers)


def _own(module: Module) -> Iterator[Tensor]:
    """The parameters of a module that are not in a module inside it."""
    inside = {id(p) for child in module.modules() if child is not module for p in child.parameters()}
    return (p for p in module.parameters() if id(p) not in inside)


def _input(x: Any) -> Tensor:
    if isinstance(x, Tensor | np.ndarray):
        return x if isinstance(x, Tensor) else Tensor(x)
    shape = tuple(x) if isinstance(x, Sequence) else (x,)
    if any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0 for n in shape):
        raise ValueError(f"summary() takes shapes, the batch first, or arrays, got {x!r}")
    return Tensor(np.zeros(shape, np.float32))


def _shapes(y: Any) -> Any:
    if isinstance(y, tuple | list):
        return tuple(_shapes(part) for part in y)
    return getattr(y, "shape", None)
