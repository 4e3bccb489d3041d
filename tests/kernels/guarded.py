"""Arrays between poisoned borders, in every memory layout.

The borders, and the gaps inside a strided array, hold a signalling NaN in
every float and in every int64 a label that no class has.  A write there
changes the pattern, and a read that matters changes the result.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

# Elements on each side; 0 puts the data against the red zones of AddressSanitizer.
BORDER = int(os.environ.get("MINIGRAD_TEST_BORDER", "64"))
POISON = {1: 0xA5, 2: 0x7DA5, 4: 0x7FA5A5A5, 8: 0x7FF5A5A5A5A5A5A5}


@dataclass(frozen=True)
class Layout:
    """How an array lies in memory, as far as its shape leaves it open."""

    order: str = "C"
    step: int = 1  # elements from one to the next along the innermost axis
    gap: int = 0  # elements between rows
    backwards: bool = False
    shift: int = 0  # bytes off alignment
    byteorder: str = "="


LAYOUTS = {
    "C": Layout(),
    "F": Layout(order="F"),
    "gaps": Layout(gap=3),
    "every other": Layout(step=2),
    "backwards": Layout(backwards=True),
    "misaligned": Layout(shift=1),
    "swapped": Layout(byteorder="S"),
}


class Guarded:
    """An array of poison inside poison; ``array`` is what a kernel gets to see."""

    def __init__(
        self, shape: tuple[int, ...], dtype: DTypeLike, layout: str = "C", offset: int = 0, border: int = BORDER
    ) -> None:
        form = LAYOUTS[layout]
        self._dtype = np.dtype(dtype).newbyteorder(form.byteorder)  # type: ignore[arg-type]
        self._shape, item = shape, self._dtype.itemsize
        axes = range(len(shape)) if form.order == "F" else reversed(range(len(shape)))
        strides, stride = [0] * len(shape), form.step * item
        for axis in axes:
            strides[axis] = stride
            stride = stride * shape[axis] + form.gap * item
        span = item + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
        self._start = (border + offset) * item + form.shift
        size = self._start + span + border * item
        self._clean = np.full(-(-size // item), POISON[item], f"<u{item}").view(np.uint8)[:size].copy()
        self._bytes = self._clean.copy()
        if form.backwards and span:
            self._start += span - item
            strides = [-s for s in strides]
        self._strides = strides
        self.array: Array = self._window(self._bytes, self._dtype)

    @classmethod
    def holding(cls, values: Array, layout: str = "C", offset: int = 0) -> "Guarded":
        guarded = cls(values.shape, values.dtype, layout, offset)
        guarded.array[...] = values
        return guarded

    def _window(self, memory: Array, dtype: np.dtype[Any]) -> Array:
        return np.ndarray(self._shape, dtype, memory, self._start, self._strides)  # type: ignore[arg-type]

    def _words(self, memory: Array) -> Array:
        return self._window(memory, np.dtype(f"u{self._dtype.itemsize}"))

    def assert_border_intact(self, name: str) -> None:
        outside = self._bytes.copy()
        self._words(outside)[...] = self._words(self._clean)
        changed = np.flatnonzero(outside != self._clean) - self._start
        assert not changed.size, f"{name}: bytes changed outside the array, at {changed[:8]} from its first element"

    def assert_all_written(self, name: str) -> None:
        if self._dtype.kind == "f":
            left = np.argwhere(self._words(self._bytes) == self._words(self._clean))
            assert not len(left), f"{name}: elements never written, the first at {tuple(left[0])}"
