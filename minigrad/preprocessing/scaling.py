"""Scalers: each feature by itself is shifted and scaled."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .statistics import Moments, check_variances, is_constant, is_flat
from .transformer import Float64Array, FloatArray, Learnt, Transformer, check_number, float_dtype


class Center(Transformer):
    """Shift every feature to mean 0: ``X - mean_``.

    Statistics and arithmetic are float64. float32 and float64 data keep their dtype; integers, bools and
    float16 become float32.

    Attributes
    ----------
    mean_ : float64 array (n_features,)
    n_samples_seen_, n_features_in_ : int

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As `StandardScaler`.

    Examples
    --------
    >>> Center().fit_transform([[0.0, 5.0], [4.0, 5.0]])
    array([[-2.,  0.],
           [ 2.,  0.]])
    """

    _LEARNT: ClassVar[Learnt] = {"mean_": (float, "d"), "n_samples_seen_": (int, ""), "n_features_in_": (int, "")}

    mean_: Float64Array
    n_samples_seen_: int

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) alone; ignore `y`."""
        return self._learn(Moments.of(_rows(self._check(X))))

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) on top of all samples seen before; ignore `y`.

        However the samples are divided into calls, the result equals that of one `fit`, up to rounding.
        """
        if not hasattr(self, "n_features_in_"):
            return self.fit(X, y)
        return self._learn(self._seen().merged(Moments.of(_rows(self._check_fitted_input(X)))))

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return ``X - mean_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        return (array - _along(self.mean_, array)).astype(float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return ``X + mean_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        return (array + _along(self.mean_, array)).astype(float_dtype(array), copy=False)

    def _seen(self) -> Moments:
        return Moments(self.n_samples_seen_, self.mean_, np.zeros_like(self.mean_))

    def _learn(self, moments: Moments) -> Self:
        n, mean, _ = moments
        if not np.isfinite(mean).all():
            raise ValueError(f"X is too large in column {int(np.flatnonzero(~np.isfinite(mean))[0])} to have a mean")
        self.mean_, self.n_samples_seen_, self.n_features_in_ = mean, n, len(mean)
        return self


class StandardScaler(Center):
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

    In k calls, the mean is within 8 k eps M of that of one `fit`, with M the column's largest magnitude, and
    the standard deviation within 16 k eps M, beside a relative 1e-13.

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

    _FLAGS: ClassVar[tuple[str, ...]] = ("with_mean", "with_std")
    _LEARNT: ClassVar[Learnt] = {**Center._LEARNT, "var_": (float, "d"), "scale_": (float, "d")}

    var_: Float64Array
    scale_: Float64Array

    def __init__(self, *, with_mean: bool = True, with_std: bool = True) -> None:
        self.with_mean = with_mean
        self.with_std = with_std

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return ``(X - mean_) / scale_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        Z = array.astype(np.float64)
        if self.with_mean:
            Z -= _along(self.mean_, array)
        if self.with_std:
            Z /= _along(self.scale_, array)
        return Z.astype(float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return ``X * scale_ + mean_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        Z = array.astype(np.float64)
        if self.with_std:
            Z *= _along(self.scale_, array)
        if self.with_mean:
            Z += _along(self.mean_, array)
        return Z.astype(float_dtype(array), copy=False)

    def _seen(self) -> Moments:
        return Moments(self.n_samples_seen_, self.mean_, self.var_ * self.n_samples_seen_)

    def _learn(self, moments: Moments) -> Self:
        n, mean, squares = moments
        var = check_variances(n, squares)
        super()._learn(moments)
        self.var_ = var
        self.scale_ = np.where(is_constant(n, mean, var), 1.0, np.sqrt(var))
        return self


class ChannelScaler(StandardScaler):
    """`StandardScaler` for images (N, C, H, W): mean and scale of a channel are over all images and pixels.

    Any number of axes after the channels will do; the features of the protocol are the channels, and a sample
    is a pixel. uint8 images become float32.

    Examples
    --------
    >>> images = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    >>> scaler = ChannelScaler().fit(images)
    >>> scaler.mean_.tolist()
    [7.5, 11.5, 15.5]
    >>> scaler.transform(images).std(axis=(0, 2, 3)).tolist()
    [1.0, 1.0, 1.0]
    """

    _IMAGES: ClassVar[bool] = True


class MinMaxScaler(Transformer):
    """Scale every feature linearly so that its smallest and largest value become the ends of a range.

    ``(X - data_min_) scale_ + low``, the same dtypes as `StandardScaler`. A feature that is constant up to
    rounding is only shifted, and becomes `low`.

    Parameters
    ----------
    feature_range : (float, float), default (0, 1)
        The range (low, high), low < high.
    clip : bool, default False
        Clip other data than those learnt from to the range.

    Attributes
    ----------
    data_min_, data_max_ : float64 arrays (n_features,)
        Of all samples seen; exact, so that streaming has the bits of one `fit`.
    scale_ : float64 array (n_features,)
        ``(high - low) / (data_max_ - data_min_)``, or ``high - low`` for constant features.
    n_samples_seen_, n_features_in_ : int

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As `StandardScaler`, and for parameters that are not as above.

    Examples
    --------
    >>> MinMaxScaler().fit_transform([[0.0, 5.0], [4.0, 5.0], [1.0, 5.0]])
    array([[0.  , 0.  ],
           [1.  , 0.  ],
           [0.25, 0.  ]])
    """

    _FLAGS: ClassVar[tuple[str, ...]] = ("clip",)
    _LEARNT: ClassVar[Learnt] = {
        "data_min_": (float, "d"),
        "data_max_": (float, "d"),
        "n_samples_seen_": (int, ""),
        "n_features_in_": (int, ""),
    }

    data_min_: Float64Array
    data_max_: Float64Array
    n_samples_seen_: int

    def __init__(self, feature_range: tuple[float, float] = (0, 1), *, clip: bool = False) -> None:
        self.feature_range = feature_range
        self.clip = clip

    @property
    def scale_(self) -> Float64Array:
        """What a feature is multiplied by."""
        self._check_fitted()
        low, high = self._range()
        return (high - low) / _widths(self.data_min_, self.data_max_)

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the ranges of `X` (n_samples, n_features) alone; ignore `y`."""
        array = self._check(X)
        return self._learn(len(array), array.min(axis=0), array.max(axis=0))

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Widen the ranges learnt before to those of `X` (n_samples, n_features), too; ignore `y`."""
        if not hasattr(self, "n_features_in_"):
            return self.fit(X, y)
        array = self._check_fitted_input(X)
        low, high = np.minimum(self.data_min_, array.min(axis=0)), np.maximum(self.data_max_, array.max(axis=0))
        return self._learn(self.n_samples_seen_ + len(array), low, high)

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return ``(X - data_min_) scale_ + low``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        low, high = self._range()
        Z = (array - self.data_min_) * self.scale_ + low
        if self.clip:
            np.clip(Z, low, high, out=Z)
        return Z.astype(float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return ``(X - low) / scale_ + data_min_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        low, _ = self._range()
        Z = (array.astype(np.float64) - low) / self.scale_ + self.data_min_
        return Z.astype(float_dtype(array), copy=False)

    def _range(self) -> tuple[float, float]:
        return _increasing("feature_range", self.feature_range, -np.inf, np.inf)

    def _learn(self, n: int, low: NDArray[Any], high: NDArray[Any]) -> Self:
        self._range()
        data_min, data_max = low.astype(np.float64), high.astype(np.float64)
        _widths(data_min, data_max)
        self.data_min_, self.data_max_ = data_min, data_max
        self.n_samples_seen_, self.n_features_in_ = n, len(data_min)
        return self


class RobustScaler(Transformer):
    """Shift every feature by its median and scale it by a range between quantiles, which outliers leave alone.

    ``(X - center_) / scale_``, the same dtypes as `StandardScaler`. Quantiles are interpolated linearly, as
    NumPy's. There is no `partial_fit`: exact quantiles need all samples at once.

    Parameters
    ----------
    with_centering, with_scaling : bool, default True
        Subtract the median; divide by the range.
    quantile_range : (float, float), default (25.0, 75.0)
        The percentiles that bound the range, increasing, in [0, 100].

    Attributes
    ----------
    center_, scale_ : float64 arrays (n_features,)
        Median, and the range, or 1 where it is empty up to rounding.
    n_features_in_ : int

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As `StandardScaler`, and for parameters that are not as above.

    Examples
    --------
    >>> RobustScaler().fit_transform([[1.0], [2.0], [3.0], [4.0], [1000.0]]).T
    array([[ -1. ,  -0.5,   0. ,   0.5, 498.5]])
    """

    _FLAGS: ClassVar[tuple[str, ...]] = ("with_centering", "with_scaling")
    _LEARNT: ClassVar[Learnt] = {"center_": (float, "d"), "scale_": (float, "d"), "n_features_in_": (int, "")}

    center_: Float64Array
    scale_: Float64Array

    def __init__(
        self,
        *,
        with_centering: bool = True,
        with_scaling: bool = True,
        quantile_range: tuple[float, float] = (25.0, 75.0),
    ) -> None:
        self.with_centering = with_centering
        self.with_scaling = with_scaling
        self.quantile_range = quantile_range

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn median and range from `X` (n_samples, n_features) alone; ignore `y`."""
        array = self._check(X)
        low, high = _increasing("quantile_range", self.quantile_range, 0, 100)
        with np.errstate(over="ignore", invalid="ignore"):
            quantiles = np.percentile(array.astype(np.float64), [low, 50, high], axis=0)
        self.scale_ = _widths(quantiles[0], quantiles[2])
        self.center_, self.n_features_in_ = quantiles[1].copy(), array.shape[1]
        return self

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return ``(X - center_) / scale_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        Z = array.astype(np.float64)
        if self.with_centering:
            Z -= self.center_
        if self.with_scaling:
            Z /= self.scale_
        return Z.astype(float_dtype(array), copy=False)

    def inverse_transform(self, X: ArrayLike) -> FloatArray:
        """Return ``X * scale_ + center_``, a new array (n_samples, n_features)."""
        array = self._check_fitted_input(X)
        Z = array.astype(np.float64)
        if self.with_scaling:
            Z *= self.scale_
        if self.with_centering:
            Z += self.center_
        return Z.astype(float_dtype(array), copy=False)


class GlobalContrastNormalizer(Transformer):
    """Give every image mean 0 and the same contrast, the standard deviation of its values.

    With the mean m of an image X over all its channels and pixels::

        scale (X - m) / max(eps, sqrt(bias + mean((X - m)**2)))

    It learns nothing, so `transform` needs no `fit`; what it takes away from an image cannot be given back. The
    same dtypes as `StandardScaler`. I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning" (2016), 12.2.1.1.

    Parameters
    ----------
    scale : float, default 1.0
        The contrast of the results; positive.
    bias : float, default 0.0
        Is added to the variance, so that images of little contrast, which is often noise, are amplified less.
    eps : float, default 1e-8
        The least that is divided by; positive. A constant image becomes 0.

    Raises
    ------
    TypeError, ValueError
        For parameters that are not as above, and for data that are not finite images (N, C, ...), whatever
        comes after N and C; rows (N, pixels) will do.

    Examples
    --------
    >>> GlobalContrastNormalizer().transform([[0, 2], [7, 7]])
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """

    _IMAGES: ClassVar[bool] = True

    def __init__(self, *, scale: float = 1.0, bias: float = 0.0, eps: float = 1e-8) -> None:
        self.scale = scale
        self.bias = bias
        self.eps = eps

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Check the parameters and `X` (N, C, ...); learn nothing from it and ignore `y`."""
        self._numbers()
        self.n_features_in_ = self._check(X).shape[1]
        return self

    def transform(self, X: ArrayLike) -> FloatArray:
        """Return the normalised images, a new array of the shape of `X` (N, C, ...)."""
        scale, bias, eps = self._numbers()
        array = self._check(X)
        # The images are the columns here: their means and squares are those of features.
        mean, squares = Moments.of(array.reshape(len(array), -1).T)[1:]
        var = check_variances(array[0].size, squares)
        Z = array - mean.reshape(-1, *[1] * (array.ndim - 1))
        Z *= (scale / np.maximum(eps, np.sqrt(bias + var))).reshape(-1, *[1] * (array.ndim - 1))
        return Z.astype(float_dtype(array), copy=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def _numbers(self) -> tuple[float, float, float]:
        tiny, huge = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)
        return (
            check_number("scale", self.scale, tiny, huge),
            check_number("bias", self.bias, 0, huge),
            check_number("eps", self.eps, tiny, huge),
        )


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """Return images (N, C, ...) as pixels (n, C); rows (n, d) are left as they are."""
    return array if array.ndim == 2 else np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


def _along(features: Float64Array, array: NDArray[Any]) -> Float64Array:
    """Return one number a feature in the shape that broadcasts along axis 1 of `array`."""
    return features.reshape(-1, *[1] * (array.ndim - 2))


def _increasing(name: str, pair: tuple[float, float], least: float, most: float) -> tuple[float, float]:
    """Return a parameter that is two increasing numbers as floats."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} must be two numbers (low, high), got {pair!r}")
    low, high = (check_number(name, value, least, most) for value in pair)
    if not low < high or not np.isfinite(high - low):
        raise ValueError(f"{name} must be two numbers low < high, got {pair!r}")
    return low, high


def _widths(low: Float64Array, high: Float64Array) -> Float64Array:
    """Return what ranges (d,) are divided by: their widths, or 1 where they are empty up to rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        widths = high - low
    if not np.isfinite(widths).all():
        column = int(np.flatnonzero(~np.isfinite(widths))[0])
        raise ValueError(f"X is too large in column {column}: its range is beyond float64")
    return np.where(is_flat(low, high), 1.0, widths)
