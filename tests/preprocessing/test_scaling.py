import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.preprocessing import (
    Center,
    ChannelScaler,
    GlobalContrastNormalizer,
    MinMaxScaler,
    NotFittedError,
    RobustScaler,
    StandardScaler,
)

from .tables import chunks, tables
from .tables import cuts as any_cuts

EPS = 2.0**-52


def matrices(low: float = -1e6, high: float = 1e6) -> st.SearchStrategy[np.ndarray]:
    """Float64 matrices with up to 40 rows; their columns are often constant or nearly so."""
    values = st.floats(low, high, allow_subnormal=False) | st.sampled_from([0.1, 1.0, 1e5])
    return hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=values)


def exact_moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance, computed with more digits than the code has."""
    wide = X.astype(np.longdouble)
    mean = np.asarray(wide.mean(axis=0))
    return mean, np.asarray(((wide - mean) ** 2).mean(axis=0))


def rounding_of_var(X: np.ndarray, var: np.ndarray) -> np.ndarray:
    """Return what a variance loses when the mean loses a few units in the last place."""
    slip = np.asarray(8 * EPS * np.abs(X).max(axis=0))
    return np.asarray(1e-13 * var + 2 * slip * np.sqrt(var) + slip**2 + 1e-300)


# What is learnt


@given(X=matrices())
def test_mean_and_variance_are_exact_up_to_rounding(X: np.ndarray) -> None:
    scaler = StandardScaler().fit(X)
    mean, var = exact_moments(X)
    assert (np.abs(scaler.mean_ - mean) <= 8 * EPS * np.abs(X).max(axis=0)).all()
    assert (np.abs(scaler.var_ - var) <= rounding_of_var(X, var)).all()
    assert scaler.n_samples_seen_ == len(X)
    assert scaler.n_features_in_ == X.shape[1]


def test_variance_survives_a_mean_that_dwarfs_it() -> None:
    X = 1e9 + np.random.default_rng(0).standard_normal((1000, 3))
    np.testing.assert_allclose(StandardScaler().fit(X).var_, exact_moments(X)[1].astype(float), rtol=1e-12)


def test_variance_survives_a_mean_with_the_error_of_a_long_sum() -> None:
    X = 0.1 + 1e-13 * np.random.default_rng(0).standard_normal((1_000_000, 2))
    rest, var = exact_moments(X - 0.1)  # this difference is exact
    assert (np.abs(X.mean(axis=0) - 0.1) > 1e-12).all()  # NumPy's mean is off by more than the deviation
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(scaler.mean_, (0.1 + rest).astype(float), rtol=4 * EPS)
    np.testing.assert_allclose(scaler.var_, var.astype(float), rtol=1e-6)


@given(X=matrices(), cuts=st.lists(st.integers(1, 39), max_size=6))
def test_streaming_in_any_chunks_equals_one_fit(X: np.ndarray, cuts: list[int]) -> None:
    whole, streamed = StandardScaler().fit(X), StandardScaler()
    chunks = [chunk for chunk in np.split(X, sorted(set(cuts))) if len(chunk)]
    for chunk in chunks:
        streamed.partial_fit(chunk)
    slack = len(chunks)
    assert streamed.n_samples_seen_ == whole.n_samples_seen_
    assert (np.abs(streamed.mean_ - whole.mean_) <= slack * 8 * EPS * np.abs(X).max(axis=0)).all()
    assert (np.abs(streamed.var_ - whole.var_) <= slack * rounding_of_var(X, whole.var_)).all()


@given(X=matrices())
def test_agrees_with_scikit_learn(X: np.ndarray) -> None:
    peer = pytest.importorskip("sklearn.preprocessing").StandardScaler().fit(X)
    ours = StandardScaler().fit(X)
    np.testing.assert_allclose(ours.mean_, peer.mean_, rtol=1e-12, atol=1e-14 * np.abs(X).max())
    np.testing.assert_allclose(ours.var_, peer.var_, rtol=1e-10, atol=1e-28 * np.abs(X).max() ** 2)
    clear = ours.var_ > 1e-24 * ours.mean_**2  # well above the line where rounding begins to decide
    np.testing.assert_allclose(ours.scale_[clear], peer.scale_[clear], rtol=1e-10)
    np.testing.assert_allclose(ours.transform(X)[:, clear], peer.transform(X)[:, clear], rtol=1e-6, atol=1e-6)


def test_fit_forgets_and_partial_fit_remembers() -> None:
    X, Y = np.random.default_rng(0).standard_normal((2, 20, 3)) * 5 + 1
    scaler = StandardScaler().fit(X).fit(Y)
    np.testing.assert_array_equal(scaler.mean_, StandardScaler().fit(Y).mean_)
    scaler.fit(X).partial_fit(Y)
    np.testing.assert_allclose(scaler.mean_, np.concatenate([X, Y]).mean(axis=0), rtol=1e-13)
    assert scaler.n_samples_seen_ == 40


# Constant columns


@given(
    value=st.floats(-1e300, 1e300),
    n=st.integers(1, 3000),
    chunk=st.integers(1, 3000),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_constant_column_becomes_exactly_0(value: float, n: int, chunk: int, dtype: Any) -> None:
    X = np.full((n, 1), np.clip(value, -1e38, 1e38) if dtype == np.float32 else value, dtype)
    streamed = StandardScaler()
    for start in range(0, n, chunk if n < 30 * chunk else n):
        streamed.partial_fit(X[start : start + chunk])
    for scaler in (StandardScaler().fit(X), streamed):
        assert scaler.scale_.tolist() == [1.0]
        Z = scaler.transform(X)
        np.testing.assert_array_equal(Z, np.zeros_like(X))
        np.testing.assert_array_equal(scaler.inverse_transform(Z), X)


@pytest.mark.parametrize("n", [3, 1_000_003])
def test_a_long_constant_column_has_its_value_as_mean(n: int) -> None:
    X = np.full((n, 2), [0.1, 1 / 3])
    assert StandardScaler().fit(X).mean_.tolist() == [0.1, 1 / 3]


def test_a_column_that_varies_only_by_rounding_is_constant() -> None:
    X = np.array([[0.3], [0.1 + 0.2], [0.3], [1 - 0.7]])
    assert len(np.unique(X)) > 1
    assert StandardScaler().fit(X).scale_.tolist() == [1.0]


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
def test_a_column_of_small_but_real_variation_is_scaled(offset: float) -> None:
    X = offset + 1e-7 * np.random.default_rng(0).standard_normal((500, 1))
    Z = StandardScaler().fit_transform(X)
    assert Z.std() == pytest.approx(1, rel=1e-6)


# transform and inverse_transform


@given(X=matrices(), Y=matrices())
def test_transform_is_its_formula(X: np.ndarray, Y: np.ndarray) -> None:
    scaler = StandardScaler().fit(X)
    Y = np.resize(Y, (len(Y), X.shape[1]))
    np.testing.assert_array_equal(scaler.transform(Y), (Y - scaler.mean_) / scaler.scale_)


@given(X=matrices(), with_mean=st.booleans(), with_std=st.booleans(), narrow=st.booleans())
def test_inverse_undoes_transform(X: np.ndarray, with_mean: bool, with_std: bool, narrow: bool) -> None:
    X = X.astype(np.float32) if narrow else X
    scaler = StandardScaler(with_mean=with_mean, with_std=with_std)
    back = scaler.inverse_transform(scaler.fit_transform(X))
    assert back.dtype == X.dtype
    np.testing.assert_allclose(back, X, rtol=0, atol=8 * np.finfo(X.dtype).eps * np.abs(X).max())


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("with_std", [False, True])
def test_flags_choose_what_is_applied(with_mean: bool, with_std: bool) -> None:
    X = np.array([[0.0, 10.0], [4.0, 30.0]])
    expected = (X - [2.0, 20.0] * np.array(with_mean)) / ([2.0, 10.0] if with_std else 1.0)
    scaler = StandardScaler(with_mean=with_mean, with_std=with_std).fit(X)
    np.testing.assert_array_equal(scaler.transform(X), expected)
    np.testing.assert_array_equal(scaler.inverse_transform(expected), X)
    assert (scaler.mean_.tolist(), scaler.scale_.tolist()) == ([2.0, 20.0], [2.0, 10.0])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.dtype(">f4"), np.float32),
        (np.float64, np.float64),
        (np.dtype(">f8"), np.float64),
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (np.bool_, np.float32),
        (np.float16, np.float32),
    ],
)
def test_dtypes(dtype: Any, expected: Any) -> None:
    X = np.array([[0, 1], [1, 1], [0, 0]]).astype(dtype)
    scaler = StandardScaler().fit(X)
    assert scaler.mean_.dtype == scaler.var_.dtype == scaler.scale_.dtype == np.float64
    for out in (scaler.transform(X), scaler.inverse_transform(X)):
        assert out.dtype == expected
        assert out.dtype.isnative
    in_float64 = StandardScaler().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(scaler.transform(X), in_float64, rtol=1e-7)


def test_float32_is_rounded_once_at_the_end() -> None:
    X = (1e6 + np.random.default_rng(0).standard_normal((100, 2))).astype(np.float32)
    scaler, wide = StandardScaler().fit(X), StandardScaler().fit(X.astype(np.float64))
    Z = scaler.transform(X)
    np.testing.assert_array_equal(Z, wide.transform(X.astype(np.float64)).astype(np.float32))
    back = scaler.inverse_transform(Z)
    np.testing.assert_array_equal(back, wide.inverse_transform(Z.astype(np.float64)).astype(np.float32))


@pytest.mark.parametrize("with_both", [False, True])
def test_input_is_neither_changed_nor_returned(with_both: bool) -> None:
    X = np.array([[1.0, 2.0], [3.0, 5.0]])
    before = X.copy()
    scaler = StandardScaler(with_mean=with_both, with_std=with_both)
    for out in (scaler.fit_transform(X), scaler.inverse_transform(X)):
        assert not np.shares_memory(out, X)
    np.testing.assert_array_equal(X, before)


# Errors


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([1.0, 2.0], ValueError, r"must be 2-D \(n_samples, n_features\) and not empty, got shape \(2,\)"),
        (np.zeros((2, 2, 2)), ValueError, r"got shape \(2, 2, 2\)"),
        (5.0, ValueError, r"got shape \(\)"),
        (np.zeros((0, 3)), ValueError, r"got shape \(0, 3\)"),
        (np.zeros((3, 0)), ValueError, r"got shape \(3, 0\)"),
        ([[0, 1, 2], [0, 1, np.nan]], ValueError, r"NaN or inf, got nan in column 2 \(row 1\)"),
        ([[0, np.inf, 2], [0, 1, 2]], ValueError, r"NaN or inf, got inf in column 1 \(row 0\)"),
        ([["a", "b", "c"]], TypeError, "must hold real numbers.* got dtype <U1"),
        ([[1j, 2, 3]], TypeError, "must hold real numbers.* got dtype complex128"),
        ([[None, 2, 3]], TypeError, "must hold real numbers.* got dtype object"),
        (np.zeros((2, 3), np.longdouble), TypeError, "at most 64 bits"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform", "transform", "inverse_transform"])
def test_bad_data_are_refused_and_change_nothing(method: str, X: Any, error: type[Exception], message: str) -> None:
    scaler = StandardScaler().fit([[0.0, 1.0, 2.0], [1.0, 5.0, 2.0]])
    before = pickle.dumps(vars(scaler))
    with pytest.raises(error, match=f"X .*{message}"):
        getattr(scaler, method)(X)
    assert pickle.dumps(vars(scaler)) == before


@pytest.mark.parametrize("method", ["partial_fit", "transform", "inverse_transform"])
def test_another_number_of_features_is_refused(method: str) -> None:
    scaler = StandardScaler().fit(np.eye(3))
    with pytest.raises(ValueError, match="X has 2 features, but StandardScaler is expecting 3 features"):
        getattr(scaler, method)(np.eye(2))
    assert scaler.n_samples_seen_ == 3


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("big", [1e200, 1.7e308])
def test_an_overflowing_variance_is_refused(method: str, big: float) -> None:
    scaler = StandardScaler().fit([[0.0, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="X is too large in column 1"):
        getattr(scaler, method)([[0.0, big], [1.0, -big]])
    assert scaler.mean_.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_use_before_fit_is_refused(method: str) -> None:
    with pytest.raises(NotFittedError, match="this StandardScaler has learnt nothing yet: call fit first"):
        getattr(StandardScaler(), method)(np.eye(2))
    assert issubclass(NotFittedError, ValueError)


# The protocol


def test_parameters() -> None:
    scaler = StandardScaler(with_std=False)
    assert scaler.get_params() == {"with_mean": True, "with_std": False}
    assert repr(scaler) == "StandardScaler(with_mean=True, with_std=False)"
    assert scaler.set_params(with_mean=False, with_std=True) is scaler
    assert scaler.get_params(deep=False) == {"with_mean": False, "with_std": True}
    with pytest.raises(ValueError, match="StandardScaler has no parameter 'copy'; it takes"):
        scaler.set_params(with_mean=True, copy=False)
    assert scaler.with_mean is False


# The other scalers


@given(X=tables(), cuts=any_cuts)
def test_center(X: np.ndarray, cuts: list[int]) -> None:
    center, streamed = Center().fit(X), Center()
    parts = chunks(X, cuts)
    for part in parts:
        streamed.partial_fit(part)
    largest = np.abs(X).max(axis=0)
    np.testing.assert_array_equal(center.mean_, StandardScaler().fit(X).mean_)
    assert (np.abs(center.mean_ - exact_moments(X)[0]) <= 8 * EPS * largest).all()
    assert (np.abs(streamed.mean_ - center.mean_) <= 8 * len(parts) * EPS * largest).all()
    Z = center.transform(X)
    np.testing.assert_array_equal(Z, X - center.mean_)
    assert (np.abs(center.inverse_transform(Z) - X) <= 2 * EPS * largest).all()
    with pytest.raises(ValueError, match="X is too large in column 1 to have a mean"):
        streamed.fit([[1.0, 1.7e308], [1.0, 1.7e308]])
    assert streamed.n_samples_seen_ == len(X)


@given(
    X=tables(), Y=tables(), cuts=any_cuts, ends=st.sampled_from([(0, 1), (-1.0, 1.0), (5.0, 5.5)]), clip=st.booleans()
)
def test_min_max(X: np.ndarray, Y: np.ndarray, cuts: list[int], ends: tuple[float, float], clip: bool) -> None:
    scaler, streamed = MinMaxScaler(ends, clip=clip).fit(X), MinMaxScaler(ends, clip=clip)
    for part in chunks(X, cuts):
        streamed.partial_fit(part)
    for name, value in scaler.state_dict().items():
        np.testing.assert_array_equal(streamed.state_dict()[name], value)
    low, high = ends
    Z = scaler.transform(X)
    flat = np.ptp(X, axis=0) <= 8 * EPS * np.abs(X).max(axis=0)
    np.testing.assert_allclose(Z.min(axis=0), low)
    np.testing.assert_allclose(Z.max(axis=0)[~flat], high, rtol=1e-14)
    np.testing.assert_allclose(Z[:, flat], low, rtol=1e-7)
    back = scaler.inverse_transform(Z)
    assert (np.abs(back - X) <= 64 * EPS * np.abs(X).max(axis=0)).all()
    peer = pytest.importorskip("sklearn.preprocessing").MinMaxScaler(ends, clip=clip).fit(X)
    Y = np.resize(Y, (len(Y), X.shape[1]))
    rounding = 1e-10 + 4 * EPS * np.abs(X).max(axis=0) * scaler.scale_  # its formula adds the offset after scaling
    for data in (X, Y):
        error = np.abs(peer.transform(data) - scaler.transform(data))[:, ~flat]
        assert (error <= (rounding * np.maximum(np.abs(scaler.transform(data)).max(axis=0), 1))[~flat]).all()
    if clip:
        assert scaler.transform(Y).min() >= low
        assert scaler.transform(Y).max() <= high


@given(X=tables(), Y=tables(), percentiles=st.sampled_from([(25.0, 75.0), (0, 100), (10.0, 60.0)]))
def test_robust(X: np.ndarray, Y: np.ndarray, percentiles: tuple[float, float]) -> None:
    scaler = RobustScaler(quantile_range=percentiles).fit(X)
    peer = pytest.importorskip("sklearn.preprocessing").RobustScaler(quantile_range=percentiles).fit(X)
    largest = np.abs(X).max(axis=0)
    assert (np.abs(scaler.center_ - peer.center_) <= 1e-10 * largest).all()
    clear = scaler.scale_ > 1e-7 * largest
    np.testing.assert_allclose(scaler.scale_[clear], peer.scale_[clear], rtol=1e-6)
    assert (np.abs(scaler.scale_ - peer.scale_)[clear] <= 1e-10 * largest[clear]).all()
    Y = np.resize(Y, (len(Y), X.shape[1]))
    np.testing.assert_array_equal(scaler.transform(Y), (Y - scaler.center_) / scaler.scale_)
    back = scaler.inverse_transform(scaler.transform(X))
    assert (np.abs(back - X) <= 8 * EPS * np.abs(X).max(axis=0)).all()


def test_outliers_leave_the_robust_scale_alone() -> None:
    X = np.random.default_rng(0).standard_normal((1000, 1))
    spoilt = np.concatenate([X, np.full((50, 1), 1e9)])
    np.testing.assert_allclose(RobustScaler().fit(spoilt).scale_, RobustScaler().fit(X).scale_, rtol=0.1)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), RobustScaler()])
@given(value=st.sampled_from([0.0, 0.1, 1e8, -1e300, 5e-324]), n=st.integers(1, 50))
def test_a_constant_column_stays_finite_for_all(scaler: Any, value: float, n: int) -> None:
    X = np.full((n, 1), value)
    Z = scaler.fit_transform(X)
    np.testing.assert_array_equal(Z, np.zeros((n, 1)))
    np.testing.assert_array_equal(scaler.inverse_transform(Z), X)
    assert np.isfinite(scaler.transform(X + 1)).all()


@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (1, 1, 1, 1), (4, 2, 7), (6, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_channels_are_the_features_of_their_pixels(shape: tuple[int, ...], dtype: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    scaler, streamed = ChannelScaler().fit(images), ChannelScaler()
    for part in np.array_split(images, min(2, len(images))):
        streamed.partial_fit(part)
    axes = (0, *range(2, images.ndim))
    np.testing.assert_allclose(scaler.mean_, images.mean(axis=axes, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(scaler.var_, images.var(axis=axes, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(streamed.var_, scaler.var_, rtol=1e-12)
    assert scaler.n_samples_seen_ == images.size // shape[1] == streamed.n_samples_seen_
    Z = scaler.transform(images)
    assert Z.shape == shape
    assert Z.dtype == (np.float64 if dtype is np.float64 else np.float32)
    rows = np.moveaxis(images, 1, -1).reshape(-1, shape[1])
    np.testing.assert_array_equal(np.moveaxis(Z, 1, -1).reshape(-1, shape[1]), StandardScaler().fit_transform(rows))
    np.testing.assert_allclose(scaler.inverse_transform(Z), images, atol=1e-4)
    with pytest.raises(ValueError, match="expecting"):
        scaler.transform(np.ones((2, shape[1] + 1, 2, 2)))


def test_bad_pixels_are_named() -> None:
    images = np.zeros((3, 2, 4, 4))
    images[1, 1, 2, 3] = np.nan
    for transformer in (ChannelScaler(), GlobalContrastNormalizer()):
        with pytest.raises(ValueError, match=r"X must not contain NaN or inf, got nan in channel 1 \(image 1\)"):
            transformer.fit(images)
        with pytest.raises(ValueError, match=r"X must be images \(N, C, ...\) and not empty, got shape \(0, 3, 2, 2\)"):
            transformer.fit(np.zeros((0, 3, 2, 2)))


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(3, 2, 4, 5), (4, 7), (1, 1), (2, 1, 3, 3)]),
    scale=st.floats(0.1, 50),
    bias=st.sampled_from([0.0, 10.0]),
)
def test_contrast(seed: int, shape: tuple[int, ...], scale: float, bias: float) -> None:
    images = 1e6 + 20 * np.random.default_rng(seed).standard_normal(shape)
    images[0] = 0.1
    Z = GlobalContrastNormalizer(scale=scale, bias=bias).fit_transform(images)
    for image, z in zip(images, Z, strict=True):
        exact = image.astype(np.longdouble)
        deviations = exact - exact.mean()
        expected = scale * deviations / max(1e-8, np.sqrt(bias + (deviations**2).mean()))
        np.testing.assert_allclose(z, expected.astype(float), rtol=0, atol=1e-10 * scale * 10)
    np.testing.assert_array_equal(Z[0], 0)
    if not bias and images[0].size > 1:
        np.testing.assert_allclose(Z[1:].reshape(len(Z) - 1, -1).std(axis=1), scale, rtol=1e-10)


@pytest.mark.parametrize(
    ("scaler", "error", "message"),
    [
        (StandardScaler(with_mean="no"), ValueError, "with_mean must be True or False, got 'no'"),
        (StandardScaler(with_std=None), ValueError, "with_std must be True or False, got None"),
        (MinMaxScaler(clip=np.ones(2)), ValueError, "clip must be True or False"),
        (RobustScaler(with_scaling=0), ValueError, "with_scaling must be True or False, got 0"),
        (MinMaxScaler((1, 1)), ValueError, r"feature_range must be two numbers low < high, got \(1, 1\)"),
        (MinMaxScaler((0, np.inf)), ValueError, "feature_range must be two numbers low < high"),
        (MinMaxScaler((0, np.nan)), ValueError, "feature_range must be in"),
        (MinMaxScaler(3), TypeError, r"feature_range must be two numbers \(low, high\), got 3"),  # type: ignore[arg-type]
        (RobustScaler(quantile_range=(75.0, 25.0)), ValueError, "quantile_range must be two numbers low < high"),
        (RobustScaler(quantile_range=(-1, 50)), ValueError, r"quantile_range must be in \[0, 100\], got -1"),
        (GlobalContrastNormalizer(eps=0), ValueError, "eps must be in"),
        (GlobalContrastNormalizer(scale=-1), ValueError, "scale must be in"),
        (GlobalContrastNormalizer(bias="0"), TypeError, "bias must be a number, got '0'"),  # type: ignore[arg-type]
    ],
)
def test_bad_parameters_are_refused_by_fit(scaler: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        scaler.fit([[1.0, 2.0], [3.0, 4.0]])
    assert not hasattr(scaler, "n_features_in_")


@pytest.mark.parametrize("scaler", [MinMaxScaler(), RobustScaler(quantile_range=(0, 100))])
def test_an_overflowing_range_is_refused(scaler: Any) -> None:
    before = pickle.dumps(vars(scaler.fit([[0.0, 1.0], [1.0, 3.0]])))
    with pytest.raises(ValueError, match="X is too large in column 1: its range is beyond float64"):
        scaler.fit([[0.0, 1.7e308], [1.0, -1.7e308]])
    assert pickle.dumps(vars(scaler)) == before
