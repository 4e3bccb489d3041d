"""PCA and whitening: directions in which features vary together."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .statistics import Scatter, check_variances, is_constant
from .transformer import (
    Float64Array,
    FloatArray,
    Learnt,
    NotFittedError,
    Transformer,
    check_choice,
    check_number,
    float_dtype,
)


class _Linear(Transformer):
    """A linear map of centred data that follows from their covariance matrix."""

    _LEARNT: ClassVar[Learnt] = {
        "mean_": (float, "d"),
        "n_samples_seen_": (int, ""),
        "n_features_in_": (int, ""),
        "_factor": (float, "md"),
    }
    # The names of `_LEARNT` that follow from the other ones.
    _SOLVED: ClassVar[frozenset[str]]

    mean_: Float64Array
    n_samples_seen_: int
    _factor: Float64Array
    memory_limit: int

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) alone; ignore `y`."""
        scatter = _checked(Scatter.of(self._check_memory(self._check(X), stream=False)))
        return self._learn(scatter, self._solution(scatter))

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) on top of all samples seen before; ignore `y`.

        However the samples are divided into calls, the result equals that of one `fit`, up to rounding. The
        work of finding directions is put off until they are asked for.
        """
        fitted = "n_features_in_" in vars(self)
        array = self._check_memory(self._check_fitted_input(X) if fitted else self._check(X), stream=True)
        scatter = Scatter.of(array)
        if fitted:
            scatter = Scatter(self.n_samples_seen_, self.mean_, self._factor).merged(scatter)
        self._check_params()
        return self._learn(_checked(scatter), {})

    def __getattr__(self, name: str) -> Any:
        # What follows from the statistics is worked out when it is first asked for, so that a stream pays once.
        if name not in type(self)._SOLVED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if "n_features_in_" not in vars(self):
            raise NotFittedError(f"this {type(self).__name__} has learnt nothing yet: call fit first")
        vars(self).update(self._solution(Scatter(self.n_samples_seen_, self.mean_, self._factor)))
        return vars(self)[name]

    def _learn(self, scatter: Scatter, solution: Mapping[str, Any]) -> Self:
        for name in self._SOLVED:
            vars(self).pop(name, None)
        self.n_samples_seen_, self.mean_, self._factor = scatter
        self.n_features_in_ = len(scatter.mean)
        vars(self).update(solution)
        return self

    def _check_memory(self, array: NDArray[Any], stream: bool) -> NDArray[Any]:
        """Refuse more features than the square matrices that are to come leave room for."""
        limit = check_number("memory_limit", self.memory_limit, 0, np.inf)
        d = array.shape[1]
        if (stream or self._needs_square()) and 8 * d * d > limit:
            raise ValueError(
                f"X has {d} features: {type(self).__name__} would need {8 * d * d / 1e9:.3g} GB for a matrix of them, "
                f"memory_limit is {limit / 1e9:.3g} GB; fit of PCA or of Whitening('pca') to fewer samples than "
                f"features needs no such matrix"
            )
        return array

    def _needs_square(self) -> bool:
        return False

    @abstractmethod
    def _check_params(self) -> Any: ...

    @abstractmethod
    def _solution(self, scatter: Scatter) -> dict[str, Any]:
        """Return what the names in `_SOLVED` are, without changing anything."""


class PCA(_Linear):
    """Rotate features to the directions in which the data vary most: ``(X - mean_) @ components_.T``.

    The directions are the right singular vectors of the centred data, found by an economy SVD of them or, when
    samples outnumber features, of the triangle of their QR decomposition: the covariance matrix, which has half
    as many digits, is never formed. Arithmetic is float64; the same dtypes as `StandardScaler`. To divide by the
    standard deviations, too, see `Whitening`.

    Parameters
    ----------
    n_components : int, float or None, default None
        How many directions are kept: a number, at most min(n_samples, n_features); or the fewest that explain
        more than this fraction, in (0, 1), of the variance; or, with None, all.
    memory_limit : int, default 2**30
        The bytes that the square matrix of features may have that streaming needs: 8 n_features**2.

    Attributes
    ----------
    components_ : float64 array (n_components, n_features)
        Orthonormal rows, by falling variance. Their signs are fixed: the entry of largest magnitude is positive
        (the first of those that are equal to six digits).
    explained_variance_, explained_variance_ratio_, singular_values_ : float64 arrays (n_components,)
        Variances along the components (divisor n - 1), their shares of the variance of all features, and the
        singular values of the centred data. All are 0 for a single sample.
    mean_ : float64 array (n_features,)
    n_components_, n_samples_seen_, n_features_in_ : int

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As `StandardScaler`; for parameters that are not as above; for more features than `memory_limit` allows.

    Notes
    -----
    `partial_fit` merges covariances exactly, as square roots (`minigrad.preprocessing.statistics.Scatter`); it
    keeps at most ``2 n_features`` rows. In k calls, every covariance is within ``16 k eps (s**2 + M s) + (eps M)**2``
    of that of one `fit`, with s**2 the sum of all variances, M the largest magnitude and float64's eps. A
    feature that is constant up to rounding, by `StandardScaler`'s rule, counts as constant.

    Examples
    --------
    >>> pca = PCA(1).fit([[0.0, 0.0, 1.0], [1.0, 2.0, 1.0], [2.0, 4.0, 1.0]])
    >>> pca.explained_variance_ratio_.round(12).tolist()
    [1.0]
    >>> pca.inverse_transform(pca.transform([[3.0, 6.0, 1.0]])).round(12).tolist()
    [[3.0, 6.0, 1.0]]
    """

    _LEARNT: ClassVar[Learnt] = {
        **_Linear._LEARNT,
        "components_": (float, "kd"),
        "singular_values_": (float, "k"),
        "explained_variance_": (float, "k"),
        "explained_variance_ratio_": (float, "k"),
        "n_components_": (int, ""),
    }
    _SOLVED = frozenset(_LEARNT.keys() - _Linear._LEARNT.keys())

    components_: Float64Array
    singular_values_: Float64Array
    explained_variance_: Float64Array
    explained_variance_ratio_: Float64Array
    n_components_: int

    def __init__(self, n_components: int | float | None = None, *, memory_limit: int = 2**30) -> None:
        self.n_components = n_components
        self.memory_limit = memory_limit

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the coordinates along the components, a new array (n_samples, n_components)."""
        array = self._check_fitted_input(X)
        return ((array - self.mean_) @ self.components_.T).astype(float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return the data (n_samples, n_features) with the coordinates `X` (n_samples, n_components).

        They are the original data when all components are kept, and otherwise the nearest that the kept ones
        can make of them.
        """
        self._check_fitted()
        array = self._check_width(self._check(X), self.n_components_)
        return (array.astype(np.float64) @ self.components_ + self.mean_).astype(float_dtype(array), copy=False)

    def _check_params(self) -> int | float | None:
        n = self.n_components
        if n is None:
            return None
        if isinstance(n, int | np.integer) and not isinstance(n, bool):
            if n < 1:
                raise ValueError(f"n_components must be at least 1, got {n}")
            return int(n)
        fraction = check_number("n_components", n, 0, 1)
        if fraction in (0, 1):
            raise ValueError(f"n_components must be a whole number, or a fraction in (0, 1), got {n!r}")
        return fraction

    def _solution(self, scatter: Scatter) -> dict[str, Any]:
        wanted = self._check_params()
        values, directions = _axes(scatter)
        relative = (values / values[0]) ** 2 if values[0] else np.zeros_like(values)
        ratios = relative / (relative.sum() or 1.0)
        if wanted is None:
            k = len(values)
        elif isinstance(wanted, float):
            k = min(int(np.searchsorted(ratios.cumsum(), wanted, side="right")) + 1, len(values)) if values[0] else 1
        else:
            k = wanted
        if k > len(values):
            raise ValueError(f"n_components={k} is more than min(n_samples, n_features) = {len(values)}")
        return {
            "components_": directions[:k].copy(),
            "singular_values_": values[:k].copy(),
            "explained_variance_": values[:k] ** 2 / max(scatter.n - 1, 1),
            "explained_variance_ratio_": ratios[:k].copy(),
            "n_components_": k,
        }


class Whitening(_Linear):
    """Shift, rotate and scale features so that their covariance is the identity: ``(X - mean_) @ whitening_.T``.

    With the covariance matrix ``C = V^T D V`` (divisor n - 1), V the components of `PCA`:

    ==========  =========================  ==================================================================
    method      whitening_ W
    ==========  =========================  ==================================================================
    "pca"       ``D^(-1/2) V``             the principal components, each divided by its standard deviation
    "zca"       ``V^T D^(-1/2) V``         symmetric; of all whitenings the one that changes the data least
    "cholesky"  ``L^-1`` with ``C=L L^T``  triangular: what the features before it do not tell of a feature
    ==========  =========================  ==================================================================

    Where the data do not vary, there is nothing to scale to 1. "pca" and "zca" drop directions whose standard
    deviation is at most `tol` times the largest, "cholesky" features whose deviation from what those before
    them tell is at most `tol` times their own: the result is 0 there, its covariance the identity on the rest,
    and no data are amplified by more than ``1 / tol`` over the largest standard deviation (of their own, for
    each step of "cholesky"). Features of very different scale are best passed through `StandardScaler` first.
    Arithmetic is float64; the same dtypes as `StandardScaler`.

    Parameters
    ----------
    method : "pca", "zca" or "cholesky", default "zca"
    tol : float, default 1e-6
        Relative tolerance of the rank, in [0, 1). It is above the rounding error of float32 data and of offsets
        that are 1e8 times the deviations.
    shrinkage : float, default 0.0
        s in [0, 1]: whiten by ``(1 - s) C + s mean(diag(C)) I`` instead of C. For "zca" and "cholesky" nothing
        need be dropped then; "pca" still has only the directions in which the data vary.
    memory_limit : int, default 2**30
        The bytes that the square matrix of features may have that "zca", "cholesky" and streaming need.

    Attributes
    ----------
    whitening_ : float64 array (n_out, n_features)
        n_out is n_features; for "pca" it is min(n_samples, n_features).
    coloring_ : float64 array (n_features, n_out)
        The way back: `inverse_transform` is ``X @ coloring_.T + mean_``, which undoes all but what was dropped.
    rank_ : int
        How many directions or features were kept.
    mean_ : float64 array (n_features,)
    n_samples_seen_, n_features_in_ : int

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As `StandardScaler`; for parameters that are not as above; for more features than `memory_limit` allows.

    Notes
    -----
    `partial_fit` is that of `PCA`. A. Kessy, A. Lewin and K. Strimmer, "Optimal Whitening and Decorrelation"
    (2018); A. J. Bell and T. J. Sejnowski, "The 'Independent Components' of Natural Scenes are Edge Filters"
    (1997) for ZCA; O. Ledoit and M. Wolf (2004) for the form of shrinkage.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 2)) @ [[2.0, 1.0], [0.0, 0.1]]
    >>> Z = Whitening("zca").fit_transform(X)
    >>> np.allclose(np.cov(Z.T), np.eye(2))
    True
    """

    _LEARNT: ClassVar[Learnt] = {
        **_Linear._LEARNT,
        "whitening_": (float, "pd"),
        "coloring_": (float, "dp"),
        "rank_": (int, ""),
    }
    _SOLVED = frozenset(_LEARNT.keys() - _Linear._LEARNT.keys())

    whitening_: Float64Array
    coloring_: Float64Array
    rank_: int

    def __init__(
        self, method: str = "zca", *, tol: float = 1e-6, shrinkage: float = 0.0, memory_limit: int = 2**30
    ) -> None:
        self.method = method
        self.tol = tol
        self.shrinkage = shrinkage
        self.memory_limit = memory_limit

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the whitened data, a new array (n_samples, n_out)."""
        array = self._check_fitted_input(X)
        return ((array - self.mean_) @ self.whitening_.T).astype(float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return the data (n_samples, n_features) that whiten to `X` (n_samples, n_out)."""
        self._check_fitted()
        array = self._check_width(self._check(X), self.coloring_.shape[1])
        return (array.astype(np.float64) @ self.coloring_.T + self.mean_).astype(float_dtype(array), copy=False)

    def _needs_square(self) -> bool:
        return self.method != "pca"

    def _check_params(self) -> tuple[float, float]:
        check_choice("method", self.method, "pca", "zca", "cholesky")
        tol = check_number("tol", self.tol, 0, 1)
        if tol == 1:
            raise ValueError("tol must be less than 1, got 1")
        return tol, check_number("shrinkage", self.shrinkage, 0, 1)

    def _solution(self, scatter: Scatter) -> dict[str, Any]:
        tol, s = self._check_params()
        if self.method == "cholesky":
            return _cholesky(scatter, tol, s)
        values, directions = _axes(scatter)
        regular = self.method == "zca" and s > 0  # then there is something to divide by in every direction
        kept = values > max(0.0 if regular else tol * values[0], _LEAST)
        deviations = values / np.sqrt(max(scatter.n - 1, 1))
        shared = np.linalg.norm(deviations) * np.sqrt(s / len(scatter.mean))  # what shrinkage gives every direction
        deviations = np.where(kept, np.hypot(np.sqrt(1 - s) * deviations, shared), 1.0)
        whitening = np.where(kept, 1 / deviations, 0.0)[:, None] * directions
        coloring = np.where(kept, deviations, 0.0)[:, None] * directions
        rank = int(kept.sum())
        if self.method == "zca":
            directions = directions[kept]
            whitening, coloring = ((directions * np.sqrt(a[kept])[:, None]) for a in (1 / deviations, deviations))
            whitening, coloring = whitening.T @ whitening, coloring.T @ coloring  # symmetric to the last bit
            if shared > _LEAST:
                rest = np.eye(len(scatter.mean)) - directions.T @ directions
                whitening, coloring, rank = whitening + rest / shared, coloring + rest * shared, len(rest)
        return {"whitening_": whitening, "coloring_": coloring.T.copy(), "rank_": rank}


# Singular values and norms below it are 0: their reciprocals would overflow.
_LEAST = 1e-290


def _checked(scatter: Scatter) -> Scatter:
    """Return statistics whose variances and their sum fit float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->j", scatter.factor, scatter.factor)
        check_variances(scatter.n, squares)
        if not np.isfinite(squares.sum()):
            column = int(squares.argmax())
            raise ValueError(f"X is too large in column {column}: the sum of all variances is beyond float64")
    return scatter


def _varying(scatter: Scatter) -> Float64Array:
    """Return a factor of the scatter matrix in which constant features are 0."""
    n, mean, factor = scatter
    return np.where(is_constant(n, mean, np.einsum("ij,ij->j", factor, factor) / n), 0.0, factor)


def _axes(scatter: Scatter) -> tuple[Float64Array, Float64Array]:
    """Return singular values (k,), falling, and directions (k, d) of centred data, k = min(n, d)."""
    _, values, directions = np.linalg.svd(_varying(scatter), full_matrices=False)
    k = min(scatter.n, len(scatter.mean))
    values, directions = values[:k], directions[:k]
    # Equal magnitudes differ by rounding, which shall not choose among them.
    size = np.abs(directions)
    first = (size >= (1 - 1e-6) * size.max(axis=1, keepdims=True)).argmax(axis=1)
    return values, directions * np.where(directions[np.arange(k), first] < 0, -1.0, 1.0)[:, None]


def _cholesky(scatter: Scatter, tol: float, s: float) -> dict[str, Any]:
    """Whiten by Gram and Schmidt: a feature less what those before it tell of it, over what is left."""
    d, scale = len(scatter.mean), np.sqrt(max(scatter.n - 1, 1))
    factor = _varying(scatter) / scale  # factor^T factor is the covariance matrix
    if s:
        shared = np.linalg.norm(factor) * np.sqrt(s / d)
        factor = np.vstack([np.sqrt(1 - s) * factor, shared * np.eye(d)])
    norms = np.linalg.norm(factor, axis=0)
    norms[norms <= _LEAST] = np.inf
    unit = factor / norms  # each feature by itself, so that their scales do not matter
    basis = np.zeros((d, len(factor)))
    kept = np.zeros(d, bool)
    for j, column in enumerate(unit.T):
        rest = column.copy()
        for _ in range(2):  # once more, since the first time may leave mostly rounding
            rest -= (basis[:j] @ rest) @ basis[:j]
        left = np.linalg.norm(rest)
        if left > tol:
            basis[j], kept[j] = rest / left, True
    mixing = np.tril(unit.T @ basis.T)  # unit^T = mixing basis, (d, d) with columns of 0 where nothing was kept
    whitening = np.zeros((d, d))
    whitening[np.ix_(kept, kept)] = np.tril(np.linalg.inv(mixing[np.ix_(kept, kept)]))
    finite = np.where(np.isinf(norms), 0.0, norms)
    return {"whitening_": whitening / norms, "coloring_": finite[:, None] * mixing, "rank_": int(kept.sum())}
