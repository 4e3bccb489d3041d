"""What ``print(program)`` says before the calls: what a replay reads, leaves behind, and repeats as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .kernels import KERNELS
from .kernels.launch import Array
from .passes import Facts, Step, bounds
from .tensor import Tensor

MOST = 8  # things that a line names one by one
SMALL = 4  # numbers of an array that are printed


def head(
    steps: Sequence[Step],
    arena: Array,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    read: Sequence[Array],
    written: Sequence[tuple[Array, str]],
    leaves: Sequence[Array | None],
    result: Any,
) -> Iterator[str]:
    """Lines of what the calls find in memory from outside, by what becomes of it.

    read, written : memory of tensors that the calls take, and that is changed, by whom.
    leaves : the gradients that are there afterwards, None where there is none.
    result : what the step returned, with ``Tensor`` in the place of its tensors.
    """
    gradients = [g for g in leaves if g is not None]
    state = [(s, i % s.group, a) for s in steps if s.family == "UPDATE" for i, a in enumerate(s.arrays)]
    slots = [*dict.fromkeys(f"{KERNELS[s.kernel].arrays[i]} of {s.kernel}" for s, i, _ in state if 0 < i < s.outputs)]
    tensors = [*inputs, *read, *(a for a, _ in written), *gradients]
    known = Facts([], [arena, *tensors, *(a for _, _, a in state)], [])
    low, high = bounds(arena)  # where a number is a temporary like any other
    cells = {span: cell for span, cell in _cells(steps).items() if not low <= span[0] < high}
    changed = {bounds(a) for s in steps for a in s.written}
    constants = [a for s in steps if s.family not in ("UPDATE", "CELLS") for a in s.arrays[s.outputs :] if a.size]
    values = [_value(a) for a in {bounds(a): a for a in constants if not _inside(a, known)}.values()]
    functions = dict.fromkeys(s.kernel for s in steps if s.function is not None)

    yield _line("reads where it lies", ["inputs"] * bool(inputs), _shapes(read), slots)
    yield _line("reads cells", *([f"{kernel}: {_some(found, 12)}"] for kernel, found in _by_kernel(cells)))
    yield _line(
        "current afterwards",
        _shapes(outputs),
        [f"{count} tensors written by {writer}" for writer, count in Counter(by for _, by in written).items()],
        slots,
        [f".grad of {len(gradients)} leaves"] * bool(gradients),
        [f"no .grad in {len(leaves) - len(gradients)} leaves"] * (len(gradients) < len(leaves)),
        [f"{kernel} {name}" for span, (kernel, name, _) in cells.items() if span in changed],
    )
    yield _line(
        "baked in",
        [*dict.fromkeys(_numbers(steps))],
        [f"constants {_some([*dict.fromkeys(values)])}"] * bool(values),
        [f"returned {text}" for text in _plain(result)],
        [f"what {name} took from Python" for name in functions],
        ["shapes, flags, branches"],
    )


def marks(steps: Sequence[Step], chains: Sequence[tuple[int, int]]) -> list[str]:
    """What stands before a call: a bar along those that run together, bent at its ends."""
    found = [""] * len(steps)
    for first, count in chains:
        found[first : first + count] = ["/ ", *["| "] * (count - 2), "\\ "][:count]
    return found


def _line(title: str, *parts: Sequence[str]) -> str:
    return f"  {title}: {'; '.join(_some(part) for part in parts if part) or 'nothing'}"


def _some(items: Sequence[str], most: int = MOST) -> str:
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return ", ".join([*items[:most], *more])


def _shapes(arrays: Iterable[Array]) -> list[str]:
    counts = Counter(f"{a.dtype}{list(a.shape)}" for a in arrays)
    return [f"{count} {shape}" if count > 1 else shape for shape, count in counts.items()]


def _inside(a: Array, known: Facts) -> bool:
    buffer = known.of(a)
    return buffer is not None and bounds(a)[0] < buffer.stop


Cells = dict[tuple[int, int], tuple[str, str, str]]


def _cells(steps: Sequence[Step]) -> Cells:
    """Of each number at a fixed address kernel, name and value, if possible of a call that takes it as a scalar."""
    found: Cells = {}
    for as_scalars in (True, False):
        for s in steps:
            if s.function is None and (as_scalars or s.family == "CELLS"):
                row = KERNELS[s.kernel]
                names, given = (row.scalars, s.scalars) if as_scalars else (row.arrays, s.arrays)
                for name, a in zip(names, given, strict=True):
                    if isinstance(a, np.ndarray):
                        found.setdefault(bounds(a), (s.kernel, name, _value(a)))
    return found


def _by_kernel(cells: Cells) -> Iterator[tuple[str, list[str]]]:
    for kernel in dict.fromkeys(kernel for kernel, _, _ in cells.values()):
        yield kernel, [f"{name}={value}" for by, name, value in cells.values() if by == kernel]


def _numbers(steps: Sequence[Step]) -> Iterator[str]:
    """The Python numbers among the arguments of calls, by the names in the table."""
    for s in steps:
        if s.function is None and s.family != "UPDATE":  # whose numbers are cells, or leave a part of it out
            for name, number in zip(KERNELS[s.kernel].scalars, s.scalars, strict=True):
                if not isinstance(number, np.ndarray):
                    yield f"{s.kernel} {name}={_number(number)}"


def _number(x: Any) -> str:
    return f"{x:g}" if isinstance(x, float) else str(x)


def _value(a: Array) -> str:
    if a.size == 1:
        return _number(a.item())
    values = " ".join(map(_number, a.ravel().tolist())) if a.size <= SMALL else "..."
    return f"{a.dtype}{list(a.shape)} [{values}]"


def _plain(result: Any) -> Iterator[str]:
    """What a step returned that is no tensor."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, tuple | list):
        for value in result:
            yield from _plain(value)
    elif result is not Tensor and result is not None:
        yield repr(result)[:40]
