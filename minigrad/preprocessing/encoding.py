"""What comes before numbers: categories and missing values."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .transformer import (
    Float64Array,
    FloatArray,
    Learnt,
    Transformer,
    check_array,
    check_choice,
    check_mapping,
    float_dtype,
)


class OneHotEncoder(Transformer):
    """Turn every categorical feature into one column for each of its categories: 1 where it is meant, else 0.

    Parameters
    ----------
    handle_unknown : "error" or "ignore", default "error"
        What `transform` does with a category that was not learnt: refuse it, or leave all of its columns 0.
    dtype : dtype, default float32
        Of the result.

    Attributes
    ----------
    categories_ : list of arrays
        The sorted categories of each feature.
    n_features_in_ : int

    Raises
    ------
    TypeError
        For data that are not real numbers, bools or strings; arrays of objects do not tell what they hold.
    ValueError
        For data that are empty, not 2-D or not finite, of another number of features than before or with an
        unknown category, with its column; by `inverse_transform`, for rows that are not one-hot.
    NotFittedError
        For a transform before fit.

    Examples
    --------
    >>> encoder = OneHotEncoder(handle_unknown="ignore").fit([["red", "s"], ["blue", "m"]])
    >>> encoder.transform([["red", "m"], ["green", "s"]])
    array([[0., 1., 1., 0.],
           [0., 0., 0., 1.]], dtype=float32)
    >>> encoder.inverse_transform([[1, 0, 0, 1]]).tolist()
    [['blue', 's']]
    """

    categories_: list[NDArray[Any]]

    def __init__(self, *, handle_unknown: str = "error", dtype: DTypeLike = np.float32) -> None:
        self.handle_unknown = handle_unknown
        self.dtype = dtype

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the categories of `X` (n_samples, n_features) alone; ignore `y`."""
        array = self._check(X)
        self._check_params()
        self.categories_ = [np.unique(column) for column in array.T]
        self.n_features_in_ = array.shape[1]
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Add the categories of `X` (n_samples, n_features) to those learnt before; ignore `y`."""
        if not hasattr(self, "n_features_in_"):
            return self.fit(X, y)
        array = self._check_fitted_input(X)
        self.categories_ = [np.union1d(a, b) for a, b in zip(self.categories_, array.T, strict=True)]
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the one-hot rows, a new array (n_samples, total number of categories)."""
        array = self._check_fitted_input(X)
        dtype = self._check_params()
        blocks = [np.asarray(column[:, None] == c) for column, c in zip(array.T, self.categories_, strict=True)]
        for j, block in enumerate(blocks):
            if self.handle_unknown == "error" and not block.any(axis=1).all():
                row = int(np.flatnonzero(~block.any(axis=1))[0])
                raise ValueError(f"X has the unknown category {array[row, j].item()!r} in column {j} (row {row})")
        return np.concatenate(blocks, axis=1).astype(dtype)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return the categories (n_samples, n_features) of one-hot rows `X`: for each, that of the largest column."""
        self._check_fitted()
        ends = np.cumsum([len(categories) for categories in self.categories_])
        array = self._check_width(check_array("X", X), int(ends[-1]))
        columns = []
        for j, (block, categories) in enumerate(zip(np.split(array, ends[:-1], axis=1), self.categories_, strict=True)):
            if not (block.max(axis=1) > 0).all():
                row = int(np.flatnonzero(block.max(axis=1) <= 0)[0])
                raise ValueError(f"X has no category of feature {j} in row {row}: all of its columns are 0")
            columns.append(categories[block.argmax(axis=1)])
        return np.stack(columns, axis=1)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return ``categories_.<feature>`` as arrays by name; strings become their code points (n, length)."""
        self._check_fitted()
        return {f"categories_.{j}": _numbers(categories) for j, categories in enumerate(self.categories_)}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over the categories that another encoder has learnt; raise KeyError or ValueError for other states."""
        check_mapping(state)
        names = [f"categories_.{j}" for j in range(len(state))]
        if not state or state.keys() != set(names):
            raise KeyError(f"the state of an OneHotEncoder has {names or ['categories_.0']}, got {sorted(state)}")
        categories = [_categories(np.array(state[name])) for name in names]
        for name, array in zip(names, categories, strict=True):
            if array.ndim != 1 or not array.size or not np.array_equal(np.unique(array), array):
                raise ValueError(f"{name} must be sorted categories, got shape {array.shape}")
        self.categories_, self.n_features_in_ = categories, len(categories)

    def _check(self, value: ArrayLike) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind in "OSV":
            raise TypeError(f"X must hold numbers, bools or strings, got dtype {array.dtype}; try X.astype(str)")
        if array.dtype.kind != "U":
            return check_array("X", array)
        check_array("X", np.zeros(array.shape, np.bool_))  # for the shape
        return array

    def _check_params(self) -> np.dtype[Any]:
        check_choice("handle_unknown", self.handle_unknown, "error", "ignore")
        return np.dtype(self.dtype)


def _numbers(categories: NDArray[Any]) -> NDArray[Any]:
    """Return categories as an array of numbers: strings as their code points, one row each."""
    if categories.dtype.kind != "U":
        return categories.copy()
    return np.ascontiguousarray(categories).view(np.uint32).reshape(len(categories), -1).copy()


def _categories(numbers: NDArray[Any]) -> NDArray[Any]:
    """Undo `_numbers`."""
    if numbers.ndim != 2 or numbers.dtype != np.uint32 or not numbers.size:
        return numbers
    return np.ascontiguousarray(numbers).view(f"U{numbers.shape[1]}")[:, 0]


class MeanImputer(Transformer):
    """Replace every missing value, NaN, by the mean of its feature: put it before what refuses NaN.

    The same dtypes as `StandardScaler`; infinities are refused. There is no `inverse_transform`.

    Attributes
    ----------
    mean_ : float64 array (n_features,)
        Mean of the values that were there; 0 for a feature that a stream has had no value of yet.
    counts_ : int64 array (n_features,)
        How many values were there.
    n_features_in_ : int

    Raises
    ------
    TypeError, NotFittedError
        As `StandardScaler`.
    ValueError
        As `StandardScaler`, except for NaN; for a feature that `fit` or `transform` would need a value of, where
        there has been none.

    Examples
    --------
    >>> MeanImputer().fit_transform([[1.0, 5.0], [np.nan, 6.0], [3.0, np.nan]])
    array([[1. , 5. ],
           [2. , 6. ],
           [3. , 5.5]])
    """

    _LEARNT: ClassVar[Learnt] = {"mean_": (float, "d"), "counts_": (int, "d"), "n_features_in_": (int, "")}

    mean_: Float64Array
    counts_: NDArray[np.int64]

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the means of `X` (n_samples, n_features) alone; ignore `y`."""
        array = self._check(X)
        self._check_known(~np.isnan(array).all(axis=0))
        return self._learn(*_present(array))

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) on top of all values seen before; ignore `y`.

        However the samples are divided into calls, the result equals that of one `fit`, up to rounding.
        """
        if not hasattr(self, "n_features_in_"):
            return self._learn(*_present(self._check(X)))
        mean, counts = _present(self._check_fitted_input(X))
        total = self.counts_ + counts
        with np.errstate(over="ignore", invalid="ignore"):
            return self._learn(self.mean_ + (mean - self.mean_) * (counts / np.maximum(total, 1)), total)

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return a copy of `X` (n_samples, n_features) with the means in place of NaN."""
        array = self._check_fitted_input(X)
        missing = np.isnan(array)
        self._check_known((self.counts_ > 0) | ~missing.any(axis=0))
        return np.where(missing, self.mean_, array).astype(float_dtype(array))

    def _learn(self, mean: Float64Array, counts: NDArray[np.int64]) -> Self:
        if not np.isfinite(mean).all():
            raise ValueError(f"X is too large in column {int(np.flatnonzero(~np.isfinite(mean))[0])} to have a mean")
        self.mean_, self.counts_, self.n_features_in_ = mean, counts, len(mean)
        return self

    def _check(self, value: ArrayLike) -> NDArray[Any]:
        return check_array("X", value, nan=True)

    def _check_known(self, known: NDArray[np.bool_]) -> None:
        if not known.all():
            raise ValueError(f"X has no value in column {int(np.flatnonzero(~known)[0])} to take the mean of")


def _present(X: NDArray[Any]) -> tuple[Float64Array, NDArray[np.int64]]:
    """Return mean (0 of nothing) and number of the values of each column that are not NaN."""
    there = ~np.isnan(X)
    counts = there.sum(axis=0, dtype=np.int64)
    divisor = np.maximum(counts, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(there, X, 0.0).sum(axis=0, dtype=np.float64) / divisor
        return mean + np.where(there, X - mean, 0.0).sum(axis=0) / divisor, counts
