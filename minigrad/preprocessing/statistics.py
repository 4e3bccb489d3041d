"""Sums over samples that can be merged: the numerically stable form of streaming statistics.

T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances" (1979); "Algorithms for Computing the Sample Variance: Analysis and Recommendations" (1983).
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .transformer import Float64Array

EPS = float(np.finfo(np.float64).eps)


def centred(X: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    """Return the mean (d,) of the rows of X (n, d), and their deviations from it (n, d)."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = X.mean(axis=0, dtype=np.float64)
        deviations = X - mean
        # Summing n numbers can put their mean off by n eps. The mean of the deviations is that error; taking
        # it back makes the mean of a constant column exact.
        error = deviations.mean(axis=0)
        deviations -= error
        return mean + error, deviations


class Moments(NamedTuple):
    """What a set of samples contributes to a mean and a variance, each feature by itself."""

    n: int
    mean: Float64Array
    squares: Float64Array  # the sums of squared deviations from the mean

    @classmethod
    def of(cls, X: NDArray[Any]) -> Self:
        """Return the moments of the rows of X (n, d)."""
        mean, deviations = centred(X)
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(len(X), mean, np.einsum("ij,ij->j", deviations, deviations))

    def merged(self, other: Self) -> Self:
        """Return the moments of both sets of samples."""
        a, b = self, other
        n = a.n + b.n
        with np.errstate(over="ignore", invalid="ignore"):
            d = b.mean - a.mean
            return type(self)(n, a.mean + d * (b.n / n), a.squares + b.squares + d**2 * (a.n * b.n / n))


class Scatter(NamedTuple):
    """What a set of samples contributes to a mean and a covariance matrix.

    `factor` F (m, d) is a square root of the scatter matrix, the sum of the outer products of the deviations::

        F^T F = S = sum_i (x_i - mean)^T (x_i - mean)

    The deviations themselves are such a factor, and so is the triangle R of their QR decomposition. Two sets
    with a and b samples, whose means differ by d, merge exactly::

        S = S_a + S_b + d^T d a b / (a + b)        by stacking        F = [F_a; F_b; d sqrt(a b / (a + b))]

    F has all digits of the data; S has squared their range, and so has lost half of the digits.
    """

    n: int
    mean: Float64Array
    factor: Float64Array

    @classmethod
    def of(cls, X: NDArray[Any]) -> Self:
        """Return the scatter of the rows of X (n, d)."""
        mean, deviations = centred(X)
        return cls(len(X), mean, _shortened(deviations))

    def merged(self, other: Self) -> Self:
        """Return the scatter of both sets of samples."""
        a, b = self, other
        n = a.n + b.n
        d = b.mean - a.mean
        between = d * np.sqrt(a.n / n * b.n)
        return type(self)(n, a.mean + d * (b.n / n), _shortened(np.vstack([a.factor, b.factor, between])))


def _shortened(factor: Float64Array) -> Float64Array:
    """Return a factor of the same scatter matrix with at most 2 d rows, so that few streamed rows only stack up."""
    if len(factor) <= 2 * factor.shape[1] or not np.isfinite(factor).all():
        return factor
    return np.asarray(np.linalg.qr(factor, mode="r"), np.float64)


def check_variances(n: int, squares: Float64Array) -> Float64Array:
    """Return the variances (divisor n) of features; refuse those beyond float64, naming the column."""
    var = squares / n
    if not np.isfinite(var).all():
        column = int(np.flatnonzero(~np.isfinite(var))[0])
        raise ValueError(f"X is too large in column {column}: its variance is beyond float64")
    return var


def is_constant(n: int, mean: Float64Array, var: Float64Array) -> NDArray[np.bool_]:
    """Tell which of the features (d,) are constant up to the rounding error of mean and variance.

    The bound on the error of a two-pass variance is that of Chan, Golub and LeVeque (1983); scikit-learn has
    the same rule.
    """
    with np.errstate(over="ignore"):  # infinity is a true bound, too
        return np.asarray(var <= n * EPS * var + (n * EPS * mean) ** 2)


def is_flat(low: Float64Array, high: Float64Array) -> NDArray[np.bool_]:
    """Tell which of the ranges (d,) are empty up to rounding, or too narrow to divide by."""
    widest = np.maximum(np.abs(low), np.abs(high))
    return np.asarray(high - low <= np.maximum(8 * EPS * widest, np.finfo(np.float64).tiny / EPS))
