"""Preprocessing with scikit-learn's protocol: learn from the training data, then transform any data."""

from abc import ABC, abstractmethod
from importlib import import_module
from inspect import signature
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Float64Array: TypeAlias = NDArray[np.float64]


class NotFittedError(ValueError, AttributeError):
    """A transformer was used before ``fit``. The bases are those of scikit-learn's exception of this name."""


class Transformer(ABC):
    """What all preprocessors share: scikit-learn's protocol, without importing scikit-learn.

    The parameters are the arguments of ``__init__``, kept unchanged under their names; the names of what was
    learnt end in an underscore. So scikit-learn can clone a transformer and make it a step of a pipeline.
    """

    n_features_in_: int

    @abstractmethod
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) alone, forgetting what was learnt before; ignore `y`."""

    @abstractmethod
    def transform(self, X: ArrayLike) -> FloatArray:
        """Return `X` (n_samples, n_features) transformed."""

    def fit_transform(self, X: ArrayLike, y: object = None) -> FloatArray:
        """Return ``fit(X).transform(X)``."""
        return self.fit(X, y).transform(X)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name. None of them is an estimator, so `deep` changes nothing."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; an unknown name raises ValueError, and nothing is set."""
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it takes {sorted(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _check_fitted_input(self, name: str, value: ArrayLike) -> NDArray[Any]:
        """Return a checked array with the features that `fit` has seen."""
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(f"this {type(self).__name__} has learnt nothing yet: call fit first")
        array = _check_array(name, value)
        self._check_n_features(name, array)
        return array

    def _check_n_features(self, name: str, array: NDArray[Any]) -> None:
        if array.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {array.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks for its tags, so it is there to be imported; it cannot be named statically.
        utils = import_module("sklearn.utils")
        return utils.Tags(
            estimator_type=None,
            target_tags=utils.TargetTags(required=False),
            transformer_tags=utils.TransformerTags(preserves_dtype=["float32", "float64"]),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"


class StandardScaler(Transformer):
    """Shift every feature to mean 0 and scale it to variance 1: ``(X - mean_) / scale_``.

    Statistics and arithmetic are float64. float32 and float64 data keep their dtype; integers, bools and
    float16 become float32. A constant feature has scale 1, so it becomes exactly 0.

    Parameters
    ----------
    with_mean : bool, default True
        Subtract the mean.
    with_std : bool, default True
        Divide by the scale.

    Attributes
    ----------
    mean_, var_ : float64 arrays (n_features,)
        Mean and variance (divisor n) of all samples seen. Unlike scikit-learn's, they and `scale_` are learnt
        whatever the parameters say.
    scale_ : float64 array (n_features,)
        ``sqrt(var_)``, or 1 where the feature is constant up to rounding: where
        ``var_ <= n eps var_ + (n eps mean_)**2`` with n samples and float64's eps. The right side bounds the
        rounding error of a two-pass variance (Chan, Golub and LeVeque 1983); scikit-learn has the same rule.
    n_samples_seen_, n_features_in_ : int

    Raises
    ------
    TypeError
        For data that are not real numbers.
    ValueError
        For data that are empty, not 2-D, not finite or with an overflowing variance (the message names the
        column), or of another number of features than before.
    NotFittedError
        For a transform before fit; it is a ValueError.

    Notes
    -----
    `partial_fit` merges the means and the sums of squared deviations of two sets of a and b samples, with
    d the difference of their means::

        mean = mean_a + d b / (a + b)
        S    = S_a + S_b + d**2 a b / (a + b)

    T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances" (1979); "Algorithms for Computing the Sample Variance: Analysis and Recommendations"
    (1983).

    Examples
    --------
    >>> scaler = StandardScaler().fit([[0.0, 5.0], [4.0, 5.0]])
    >>> scaler.transform([[0.0, 5.0], [8.0, 6.0]])
    array([[-1.,  0.],
           [ 3.,  1.]])
    """

    mean_: Float64Array
    var_: Float64Array
    scale_: Float64Array
    n_samples_seen_: int

    def __init__(self, *, with_mean: bool = True, with_std: bool = True) -> None:
        self.with_mean = with_mean
        self.with_std = with_std

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn mean and scale from `X` (n_samples, n_features) alone; ignore `y`."""
        return self._learn(_moments(_check_array("X", X)))

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) on top of all samples seen before; ignore `y`.

        However the samples are divided into calls, the result equals that of one `fit`, up to rounding.
        """
        if not hasattr(self, "n_features_in_"):
            return self.fit(X, y)
        array = self._check_fitted_input("X", X)
        seen = _Moments(self.n_samples_seen_, self.mean_, self.var_ * self.n_samples_seen_)
        return self._learn(_merged(seen, _moments(array)))

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return ``(X - mean_) / scale_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input("X", X)
        Z = array.astype(np.float64)
        if self.with_mean:
            Z -= self.mean_
        if self.with_std:
            Z /= self.scale_
        return Z.astype(_float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return ``X * scale_ + mean_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input("X", X)
        Z = array.astype(np.float64)
        if self.with_std:
            Z *= self.scale_
        if self.with_mean:
            Z += self.mean_
        return Z.astype(_float_dtype(array), copy=False)

    def _learn(self, moments: "_Moments") -> Self:
        n, mean, squares = moments
        var = squares / n
        if not np.isfinite(var).all():
            column = int(np.flatnonzero(~np.isfinite(var))[0])
            raise ValueError(f"X is too large in column {column}: its variance is beyond float64")
        eps = np.finfo(np.float64).eps
        with np.errstate(over="ignore"):  # infinity is a true bound, too
            constant = var <= n * eps * var + (n * eps * mean) ** 2
        self.n_samples_seen_, self.n_features_in_ = n, len(mean)
        self.mean_, self.var_ = mean, var
        self.scale_ = np.where(constant, 1.0, np.sqrt(var))
        return self


class _Moments(NamedTuple):
    """What a set of samples contributes to a mean and a variance, each feature by itself."""

    n: int
    mean: Float64Array
    squares: Float64Array  # the sums of squared deviations from the mean


def _moments(X: NDArray[Any]) -> _Moments:
    with np.errstate(over="ignore", invalid="ignore"):
        mean = X.mean(axis=0, dtype=np.float64)
        deviations = X - mean
        # Summing n numbers can put their mean off by n eps. The mean of the deviations is that error; taking
        # it back makes the mean of a constant column exact.
        error = deviations.mean(axis=0)
        deviations -= error
        return _Moments(len(X), mean + error, np.einsum("ij,ij->j", deviations, deviations))


def _merged(a: _Moments, b: _Moments) -> _Moments:
    n = a.n + b.n
    with np.errstate(over="ignore", invalid="ignore"):
        d = b.mean - a.mean
        return _Moments(n, a.mean + d * (b.n / n), a.squares + b.squares + d**2 * (a.n * b.n / n))


def _check_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return `value` as an array (n_samples, n_features) of finite real numbers, neither of them 0."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers of at most 64 bits, got dtype {array.dtype}")
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} must be 2-D (n_samples, n_features) and not empty, got shape {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        found = f"{array[row, column]} in column {column} (row {row})"
        raise ValueError(f"{name} must not contain NaN or inf, got {found}")
    return array


def _float_dtype(array: NDArray[Any]) -> type[np.floating[Any]]:
    """Return the dtype of what is computed from `array`."""
    return np.float64 if array.dtype.type is np.float64 else np.float32
