import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.preprocessing import NotFittedError, StandardScaler

EPS = 2.0**-52
LEARNT = ("mean_", "var_", "scale_", "n_samples_seen_", "n_features_in_")


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


def test_pickle_keeps_what_was_learnt() -> None:
    X = np.random.default_rng(0).standard_normal((9, 3))
    scaler = StandardScaler().fit(X)
    copy = pickle.loads(pickle.dumps(scaler))
    np.testing.assert_array_equal(copy.transform(X), scaler.transform(X))


def test_scikit_learn_clones_it_unfitted() -> None:
    base = pytest.importorskip("sklearn.base")
    scaler = StandardScaler(with_mean=False).fit(np.eye(3))
    copy = base.clone(scaler)
    assert copy.get_params() == scaler.get_params()
    assert not any(hasattr(copy, name) for name in LEARNT)


def test_scikit_learn_pipelines_and_searches_run_it() -> None:
    pytest.importorskip("sklearn")
    from sklearn import preprocessing
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.utils.validation import check_is_fitted

    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)) * [1, 10, 100]
    y = X @ [1.0, 2.0, 3.0]
    ours = make_pipeline(StandardScaler(), Ridge()).fit(X, y)
    theirs = make_pipeline(preprocessing.StandardScaler(), Ridge()).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    check_is_fitted(ours[0])
    assert repr(ours)

    grid = {"standardscaler__with_std": [False, True], "ridge__alpha": [1e-3, 10.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), grid, cv=3).fit(X, y)
    assert search.best_params_["ridge__alpha"] == 1e-3


def test_scikit_learn_reads_its_tags() -> None:
    utils = pytest.importorskip("sklearn.utils")
    tags = utils.get_tags(StandardScaler())
    assert tags.transformer_tags.preserves_dtype == ["float32", "float64"]
    assert tags.requires_fit
    assert not tags.target_tags.required


def test_works_without_scikit_learn() -> None:
    program = """
import sys
sys.modules["sklearn"] = None  # from here on an import fails
from minigrad.preprocessing import StandardScaler
StandardScaler().fit_transform([[0.0], [1.0]])
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
