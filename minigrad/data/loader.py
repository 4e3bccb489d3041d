"""Batches and parts of arrays that share their first axis."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isclose
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigrad.random import Generator, default_generator

Batch: TypeAlias = tuple[NDArray[Any], ...]


class Shuffler(Protocol):
    """What shuffling asks of a generator; `minigrad.random.Generator` has it, and so has NumPy's."""

    def permutation(self, n: int, /) -> NDArray[np.int64]: ...


class DataLoader:
    """Iterate over arrays in batches of rows.

    Parameters
    ----------
    *arrays : array_like (n, ...)
        At least one; all of the same, non-zero length.
    batch_size : int, default 32
        Rows a batch. The last batch has what is left, unless `drop_last` drops an incomplete one.
    shuffle : bool, default False
        Every ``iter(loader)`` draws a new permutation when it is called. Shuffled batches are copies;
        without shuffling they are views of the arrays.
    drop_last : bool, default False
    rng : Generator, int or None
        The generator that shuffles, or its seed. None spawns one from the default generator, once, here.
        Unused without `shuffle`.

    Yields
    ------
    tuple of arrays
        One array (batch, ...) for each of `arrays`: a tuple even when there is only one.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not as above, and for settings that leave no batch at all.

    Examples
    --------
    >>> loader = DataLoader([1, 2, 3, 4, 5], batch_size=2)
    >>> len(loader)
    3
    >>> [x.tolist() for (x,) in loader]
    [[1, 2], [3, 4], [5]]
    """

    def __init__(
        self,
        *arrays: ArrayLike,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: Shuffler | int | None = None,
    ) -> None:
        self.arrays = _aligned(arrays)
        n = len(self.arrays[0])
        if not isinstance(batch_size, (int, np.integer)) or isinstance(batch_size, bool):
            raise TypeError(f"batch_size must be an int, got {batch_size!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if drop_last and batch_size > n:
            raise ValueError(f"drop_last leaves no batch: {n} rows are fewer than batch_size={batch_size}")
        self.batch_size = int(batch_size)
        self.drop_last = drop_last
        self.rng = _generator(rng) if shuffle else None

    def __len__(self) -> int:
        """Return the number of batches."""
        whole, rest = divmod(len(self.arrays[0]), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[Batch]:
        # The permutation is drawn here and not at the first batch, so the epochs of interleaved iterators
        # come in the order in which they were asked for.
        order = None if self.rng is None else self.rng.permutation(len(self.arrays[0]))
        return self._batches(order)

    def _batches(self, order: NDArray[np.int64] | None) -> Iterator[Batch]:
        for k in range(len(self)):
            rows = slice(k * self.batch_size, (k + 1) * self.batch_size)
            if order is None:
                yield tuple(array[rows] for array in self.arrays)
            else:
                yield _gather(self.arrays, order[rows])

    def __repr__(self) -> str:
        return (
            f"DataLoader({len(self.arrays[0])} rows, batch_size={self.batch_size}, "
            f"shuffle={self.rng is not None}, drop_last={self.drop_last})"
        )


def split(
    *arrays: ArrayLike,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    rng: Shuffler | int | None = None,
) -> tuple[Batch, ...]:
    """Shuffle the rows of the arrays together and deal them into disjoint parts.

    With n rows and fractions f_1, f_2, ..., part k ends before row round(n (f_1 + ... + f_k)) of the shuffled
    order, halves rounded to even, and the last part ends with the last row. So every row is in exactly one
    part, and no size is further than one row from n f_k.

    Parameters
    ----------
    *arrays : array_like (n, ...)
        At least one; all of the same, non-zero length.
    fractions : sequence of float, default (0.6, 0.2, 0.2)
        One positive number a part; their sum is 1.
    rng : Generator, int or None
        The generator that shuffles, or its seed. None spawns one from the default generator.

    Returns
    -------
    tuple of tuples of arrays
        For each part a tuple with one array, a copy, for each of `arrays`.

    Raises
    ------
    TypeError, ValueError
        For arguments that are not as above, and where a part would be empty.

    Examples
    --------
    >>> train, validation, test = split(range(10), rng=0)
    >>> [len(rows) for (rows,) in (train, validation, test)]
    [6, 2, 2]
    """
    checked = _aligned(arrays)
    n = len(checked[0])
    shares = np.asarray(fractions)
    numeric = shares.ndim == 1 and shares.dtype.kind in "iuf"
    if not numeric or not (shares > 0).all() or not isclose(shares.sum(), 1):
        raise ValueError(f"fractions must be positive numbers with the sum 1, got {fractions!r}")
    ends = np.rint(n * np.cumsum(shares, dtype=np.float64)).astype(np.int64).tolist()
    ends[-1] = n
    bounds = list(pairwise([0, *ends]))
    if any(start >= end for start, end in bounds):
        raise ValueError(f"fractions={fractions!r} of {n} rows leave a part empty")
    order = _generator(rng).permutation(n)
    return tuple(_gather(checked, order[start:end]) for start, end in bounds)


def _aligned(arrays: tuple[ArrayLike, ...]) -> Batch:
    """Return the arguments as arrays with the same, non-zero number of rows."""
    if not arrays:
        raise ValueError("arrays: at least one array is needed, got none")
    for k, array in enumerate(arrays):
        if isinstance(array, tuple) and any(isinstance(part, np.ndarray) for part in array):
            raise TypeError(f"array {k} is a tuple of arrays: unpack it, as in DataLoader(*data)")
    checked = tuple(np.asarray(array) for array in arrays)
    for k, array in enumerate(checked):
        if array.ndim == 0:
            raise ValueError(f"array {k} must have rows, at least one axis, got the scalar {arrays[k]!r}")
        if len(array) != len(checked[0]):
            raise ValueError(f"arrays must have the same length, got {[len(a) for a in checked[: k + 1]]}")
    if len(checked[0]) == 0:
        raise ValueError(f"arrays must have at least one row, got shape {checked[0].shape}")
    return checked


def _gather(arrays: Batch, rows: NDArray[np.int64]) -> Batch:
    return tuple(array.take(rows, axis=0) for array in arrays)


def _generator(rng: Shuffler | int | None) -> Shuffler:
    """Return the generator that `rng` stands for."""
    if rng is None:
        return default_generator().spawn()
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        return Generator(int(rng))
    if isinstance(rng, bool) or not hasattr(rng, "permutation"):
        raise TypeError(f"rng must be a Generator, an int or None, got {rng!r}")
    return rng
