import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.preprocessing import PCA, Whitening

from .tables import EPS, chunks, cuts, tables

METHODS = ["pca", "zca", "cholesky"]


def exact_covariance(X: np.ndarray) -> np.ndarray:
    """The covariance matrix (divisor n - 1), computed with more digits than the code has."""
    wide = X.astype(np.longdouble)
    wide = wide - wide.mean(axis=0)
    return np.asarray(wide.T @ wide / max(len(X) - 1, 1), np.float64)


def covariance(pca: PCA) -> np.ndarray:
    """The covariance matrix that a PCA with all components stands for."""
    return np.asarray((pca.components_.T * pca.explained_variance_) @ pca.components_)


def rounding(X: np.ndarray) -> float:
    """A few units in the last place of a covariance, from what varies and from what is added to it."""
    spread, largest = np.sqrt(X.var(axis=0).sum()), np.abs(X).max()
    return float(EPS * (spread**2 + largest * spread) + (EPS * largest) ** 2 + 1e-300)


def well_conditioned(seed: int, n: int = 50, d: int = 4) -> np.ndarray:
    """Data around 5 (n, d) whose deviations along d directions are within a factor of 4, but for chance."""
    rng = np.random.default_rng(seed)
    rotations = np.linalg.qr(rng.standard_normal((2, d, d)))[0]
    return np.asarray(rng.standard_normal((n, d)) @ rotations[0] * rng.uniform(0.5, 2, d) @ rotations[1] + 5)


# PCA


@given(X=tables())
def test_pca_is_the_eigenbasis_of_the_covariance_matrix(X: np.ndarray) -> None:
    pca, exact = PCA().fit(X), exact_covariance(X)
    k = min(X.shape)
    assert pca.components_.shape == (k, X.shape[1])
    np.testing.assert_allclose(pca.components_ @ pca.components_.T, np.eye(k), atol=1e-13)
    slack = max(1e-10 * min(1, exact.trace()), 64 * len(X) * rounding(X))
    np.testing.assert_allclose(covariance(pca), exact, rtol=0, atol=slack)
    np.testing.assert_allclose(pca.explained_variance_, np.linalg.eigvalsh(exact)[::-1][:k], rtol=0, atol=2 * slack)
    assert (np.diff(pca.singular_values_) <= 0).all()
    assert pca.explained_variance_ratio_.sum() == pytest.approx(1 if pca.singular_values_[0] else 0)
    np.testing.assert_allclose(pca.singular_values_**2, pca.explained_variance_ * max(len(X) - 1, 1), rtol=1e-13)


@given(X=tables())
def test_pca_and_back_is_the_identity(X: np.ndarray) -> None:
    pca = PCA().fit(X)
    Z = pca.transform(X)
    np.testing.assert_array_equal(Z, (X - pca.mean_) @ pca.components_.T)
    # What lies across all components is the rounding of the mean.
    np.testing.assert_allclose(pca.inverse_transform(Z), X, rtol=0, atol=1e-13 * np.abs(X).max())


@given(X=tables(), k=st.integers(1, 8))
def test_kept_components_are_the_nearest_of_their_rank(X: np.ndarray, k: int) -> None:
    k = min(k, *X.shape)
    pca = PCA(k).fit(X)
    np.testing.assert_array_equal(pca.components_, PCA().fit(X).components_[:k])
    left = np.linalg.norm(X - pca.inverse_transform(pca.transform(X)))
    singular = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)  # Eckart and Young
    assert left == pytest.approx(np.linalg.norm(singular[k:]), rel=1e-6, abs=1e-12 * np.abs(X).max() * len(X))


@given(X=tables(), wanted=st.none() | st.floats(0.01, 0.99) | st.integers(1, 8))
def test_pca_agrees_with_scikit_learn(X: np.ndarray, wanted: Any) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    X = X - X[:1]  # without the offsets, which its way through the covariance matrix does not survive
    if len(X) == 1 or X.std() < 1e-6 or (isinstance(wanted, int) and wanted > min(X.shape)):
        return
    ours, peer = PCA(wanted).fit(X), decomposition.PCA(wanted, svd_solver="full").fit(X)
    if isinstance(wanted, float):
        cumulated = PCA().fit(X).explained_variance_ratio_.cumsum()
        if np.abs(cumulated - wanted).min() < 1e-9:
            return  # rounding decides
    scale = ours.explained_variance_[0]
    assert ours.n_components_ == peer.n_components_
    np.testing.assert_allclose(ours.explained_variance_, peer.explained_variance_, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(ours.explained_variance_ratio_, peer.explained_variance_ratio_, rtol=0, atol=1e-10)
    clear = -np.diff(ours.explained_variance_, append=0) > 1e-3 * scale  # a direction is clear where its variance is
    clear[1:] &= clear[:-1]
    signs = np.sign((ours.components_ * peer.components_).sum(axis=1))[:, None]
    np.testing.assert_allclose((signs * peer.components_)[clear], ours.components_[clear], rtol=0, atol=1e-10)
    both = ours.transform(X)[:, clear], (peer.transform(X) * signs.T)[:, clear]
    np.testing.assert_allclose(*both, rtol=0, atol=1e-10 * np.abs(X).max())


def test_the_share_of_the_variance_is_exceeded_by_the_fewest() -> None:
    X = np.diag(np.sqrt([6.0, 3.0, 1.0]))
    X = np.concatenate([X, -X])
    counts = [PCA(share).fit(X).n_components_ for share in (0.1, 0.59, 0.61, 0.89, 0.91, 0.99)]
    assert counts == [1, 1, 2, 2, 3, 3]
    assert PCA(0.5).fit(np.ones((4, 3))).n_components_ == 1


@given(seed=st.integers(0, 10**6), copies=st.integers(1, 3))
def test_signs_do_not_depend_on_rounding(seed: int, copies: int) -> None:
    X = well_conditioned(seed, 30, 2) * [1, 3]
    X = np.tile(np.concatenate([X, -X[:, :1]], axis=1), copies)  # magnitudes that are equal but for rounding
    pca, other = PCA(2).fit(X), PCA(2)
    for part in chunks(X[::-1], [7, 8, 20]):
        other.partial_fit(part)
    np.testing.assert_allclose(other.components_, pca.components_, atol=1e-10)
    first = [row[np.abs(row) > np.abs(row).max() - 1e-8][0] for row in pca.components_]
    assert min(first) > 0


@given(X=tables(), cuts=cuts)
def test_streaming_in_any_chunks_equals_one_fit(X: np.ndarray, cuts: list[int]) -> None:
    whole, streamed = PCA().fit(X), PCA()
    parts = chunks(X, cuts)
    for part in parts:
        streamed.partial_fit(part)
    largest = np.abs(X).max(axis=0)
    assert (np.abs(streamed.mean_ - whole.mean_) <= 8 * EPS * len(parts) * largest).all()
    np.testing.assert_allclose(covariance(streamed), covariance(whole), rtol=0, atol=16 * len(parts) * rounding(X))
    assert (streamed.n_samples_seen_, streamed.n_features_in_) == (len(X), X.shape[1])
    assert len(streamed._factor) <= 2 * X.shape[1]


def test_streaming_keeps_the_digits_that_a_covariance_matrix_loses() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3)) * [1, 1e-10, 1e-5] @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    streamed = PCA()
    for part in np.split(X, 40):
        streamed.partial_fit(part)
    expected = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(streamed.singular_values_, expected, rtol=1e-4)
    assert expected[2] < 1e-9 * expected[0]  # the root of float64's eps is 1.5e-8


def test_more_features_than_samples_take_no_square_matrix() -> None:
    X = np.random.default_rng(0).standard_normal((4, 20_000))  # a square matrix of them would be 3.2 GB
    for transformer in (PCA(2), Whitening("pca")):
        back = transformer.fit(X).inverse_transform(transformer.transform(X))
        assert back.shape == X.shape
    np.testing.assert_allclose(back, X, atol=1e-10)
    for transformer, method in ((PCA(), "partial_fit"), (Whitening("zca"), "fit"), (Whitening("cholesky"), "fit")):
        with pytest.raises(ValueError, match=r"X has 20000 features: .* would need 3.2 GB .* memory_limit is 1.07 GB"):
            getattr(transformer, method)(X)
        assert not hasattr(transformer, "n_features_in_")
    PCA(memory_limit=8 * 4).partial_fit(X[:, :2])
    with pytest.raises(ValueError, match="memory_limit"):
        PCA(memory_limit=8 * 4 - 1).partial_fit(X[:, :2])


def test_directions_of_a_stream_are_found_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    svd = np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *a, **k: calls.append(1) or svd(*a, **k))
    X, pca = well_conditioned(0), PCA(2)
    for part in np.split(X, 10):
        pca.partial_fit(part)
    assert not calls
    pca.transform(X), pca.components_, pca.inverse_transform(pca.transform(X))
    assert len(calls) == 1
    pca.partial_fit(X + 1)
    np.testing.assert_allclose(pca.explained_variance_, PCA(2).fit([*X, *(X + 1)]).explained_variance_, rtol=1e-12)


# Whitening


@pytest.mark.parametrize("method", METHODS)
@given(X=tables())
def test_the_covariance_of_whitened_data_is_the_identity_on_what_was_kept(method: str, X: np.ndarray) -> None:
    whitening = Whitening(method).fit(X)
    Z = whitening.transform(X)
    C = exact_covariance(Z)
    if method == "zca":  # its kept subspace lies across the axes
        C = np.diag(np.linalg.eigvalsh(C)[::-1])
    kept = np.diag(C) > 0.5
    amplified = 64 * EPS * np.abs(X).max() * np.linalg.norm(whitening.whitening_, 2)
    np.testing.assert_allclose(C, np.diag(kept.astype(float)), rtol=0, atol=1e-8 + amplified)
    assert kept.sum() == whitening.rank_ <= np.linalg.matrix_rank(X - X.mean(axis=0))
    if method == "pca":
        assert Z.shape == (len(X), min(X.shape))
        assert kept[: whitening.rank_].all()
    assert np.abs(Z).max() <= np.sqrt(len(X)) + 1e-6  # no deviation is larger than all of them together


@pytest.mark.parametrize("method", METHODS)
@given(X=tables())
def test_whitening_and_back_is_the_identity_but_for_what_was_dropped(method: str, X: np.ndarray) -> None:
    whitening = Whitening(method).fit(X)
    back = whitening.inverse_transform(whitening.transform(X))
    deviations = np.linalg.norm(X - X.mean(axis=0))
    slack = 2e-6 * deviations + 1e-13 * np.abs(X).max()
    assert np.linalg.norm(back - X, axis=0).max() <= slack * np.sqrt(len(X))
    # The way there and the way back are each other's pseudo-inverse.
    W, C = whitening.whitening_, whitening.coloring_
    np.testing.assert_allclose(W @ C @ W, W, rtol=0, atol=1e-9 * max(np.abs(W).max(), 1) * max(1, np.abs(W @ C).max()))


@given(seed=st.integers(0, 10**6))
def test_whitenings_are_their_formulas(seed: int) -> None:
    X = well_conditioned(seed)
    C = np.cov(X.T)
    values, vectors = np.linalg.eigh(C)
    zca, cholesky = Whitening("zca").fit(X), Whitening("cholesky").fit(X)
    np.testing.assert_allclose(zca.whitening_, vectors / np.sqrt(values) @ vectors.T, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(zca.whitening_, zca.whitening_.T)
    np.testing.assert_allclose(cholesky.coloring_, np.linalg.cholesky(C), rtol=0, atol=1e-10)
    np.testing.assert_allclose(cholesky.whitening_, np.linalg.inv(np.linalg.cholesky(C)), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(cholesky.whitening_, np.tril(cholesky.whitening_))
    pca, peer = Whitening("pca").fit(X), pytest.importorskip("sklearn.decomposition").PCA(whiten=True).fit(X)
    ours, theirs = pca.transform(X), peer.transform(X)
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(axis=0)), theirs, rtol=0, atol=1e-9)


@given(seed=st.integers(0, 10**6), rank=st.integers(1, 4))
def test_zca_is_the_closest_whitening(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    X = well_conditioned(seed, d=rank) @ np.linalg.qr(rng.standard_normal((4, rank)))[0].T
    whitening = Whitening("zca").fit(X)
    centred, Z = X - whitening.mean_, whitening.transform(X)
    span = np.linalg.svd(centred)[2][:rank]
    nearest = ((centred - Z) ** 2).sum()
    for size in (1e-3, 0.1, 10):  # rotations within the kept subspace, from small ones to any
        rotation = np.linalg.qr(np.eye(rank) + size * rng.standard_normal((rank, rank)))[0]
        rotation *= np.sign(np.diag(rotation))
        other = Z @ span.T @ rotation @ span
        np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(other.T))[-rank:], 1, rtol=1e-6)  # it is a whitening
        assert nearest <= ((centred - other) ** 2).sum() * (1 + 1e-12)


@given(X=tables(), s=st.floats(0, 1), method=st.sampled_from(METHODS))
def test_shrinkage_whitens_by_the_shrunk_covariance(X: np.ndarray, s: float, method: str) -> None:
    whitening = Whitening(method, shrinkage=s, tol=1e-6).fit(X)
    C, d = exact_covariance(X), X.shape[1]
    shrunk = (1 - s) * C + s * C.trace() / d * np.eye(d)
    W, back = whitening.whitening_, whitening.coloring_
    assert np.isfinite(W).all()
    if s > 1e-3 and C.trace() > 1e-12 * np.abs(X).max() ** 2:
        expected = np.eye(len(W)) if method != "pca" else np.diag(np.arange(len(W)) < whitening.rank_).astype(float)
        np.testing.assert_allclose(W @ shrunk @ W.T, expected, rtol=0, atol=1e-6)
        if method != "pca":
            np.testing.assert_allclose(back @ back.T, shrunk, rtol=0, atol=1e-8 * C.trace())
            assert whitening.rank_ == d
        if method == "zca":
            assert np.linalg.eigvalsh(W)[0] > 0  # symmetric and positive: it is the root


def test_cholesky_whitens_features_that_almost_repeat_each_other() -> None:
    X = np.linspace(0, 1, 16)[:, None] ** np.arange(1, 9)  # one pass of Gram and Schmidt is far off here
    Z = Whitening("cholesky", tol=1e-12).fit_transform(X)
    np.testing.assert_allclose(np.cov(Z.T), np.eye(8), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_dropped_stays_dropped_in_other_data(method: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 6))
    X[:, 4] = X[:, 1]
    X[:, 5] = 0.1
    X += 1e-9 * rng.standard_normal(X.shape) * (np.arange(6) < 5)
    whitening = Whitening(method).fit(X)
    assert whitening.rank_ == 3
    far = 1000 * rng.standard_normal((50, 6))
    assert np.abs(whitening.transform(far)).max() < 1e5  # and not 1e12, as with a reciprocal of what is rounding
    assert Whitening(method, tol=0).fit(X).rank_ == 5


@pytest.mark.parametrize("method", METHODS)
@given(X=tables(), cuts=cuts)
def test_streamed_whitening_whitens(method: str, X: np.ndarray, cuts: list[int]) -> None:
    streamed = Whitening(method)
    for part in chunks(X, cuts):
        streamed.partial_fit(part)
    values = np.linalg.eigvalsh(exact_covariance(streamed.transform(X)))[::-1]
    amplified = 64 * EPS * np.abs(X).max() * np.linalg.norm(streamed.whitening_, 2)  # the rounding of the means
    np.testing.assert_allclose(values, np.arange(len(values)) < streamed.rank_, rtol=0, atol=1e-7 + amplified)


# Errors


@pytest.mark.parametrize(
    ("transformer", "error", "message"),
    [
        (PCA(0), ValueError, "n_components must be at least 1, got 0"),
        (PCA(4), ValueError, r"n_components=4 is more than min\(n_samples, n_features\) = 3"),
        (PCA(1.0), ValueError, r"n_components must be a whole number, or a fraction in \(0, 1\), got 1.0"),
        (PCA(1.5), ValueError, r"n_components must be in \[0, 1\], got 1.5"),
        (PCA(np.nan), ValueError, "n_components must be in"),
        (PCA(True), TypeError, "n_components must be a number, got True"),
        (PCA("mle"), TypeError, "n_components must be a number, got 'mle'"),  # type: ignore[arg-type]
        (PCA(memory_limit=-1), ValueError, "memory_limit must be in"),
        (Whitening("ZCA"), ValueError, r"method must be one of \('pca', 'zca', 'cholesky'\), got 'ZCA'"),
        (Whitening(tol=1), ValueError, "tol must be less than 1"),
        (Whitening(tol=-1e-9), ValueError, r"tol must be in \[0, 1\], got -1e-09"),
        (Whitening(shrinkage=1.1), ValueError, r"shrinkage must be in \[0, 1\], got 1.1"),
        (Whitening(shrinkage="auto"), TypeError, "shrinkage must be a number, got 'auto'"),  # type: ignore[arg-type]
    ],
)
def test_bad_parameters_are_refused_by_fit(transformer: Any, error: type[Exception], message: str) -> None:
    before = pickle.dumps(vars(transformer))
    with pytest.raises(error, match=message):
        transformer.fit(well_conditioned(0, d=3))
    assert pickle.dumps(vars(transformer)) == before


def test_too_few_samples_of_a_stream_are_named_when_components_are_asked_for() -> None:
    pca = PCA(3).partial_fit(np.eye(5)[:2])
    with pytest.raises(ValueError, match="n_components=3 is more than min"):
        pca.transform(np.eye(5))
    assert pca.partial_fit(np.eye(5)[2:]).transform(np.eye(5)).shape == (5, 3)


@pytest.mark.parametrize("big", [1e200, 1.7e308])
def test_overflowing_variances_are_refused(big: float) -> None:
    for transformer in (PCA().fit(np.eye(2)), Whitening().fit(np.eye(2))):
        before = pickle.dumps(vars(transformer))
        for method in (transformer.fit, transformer.partial_fit):
            with pytest.raises(ValueError, match="X is too large in column 1"):
                method([[0.0, big], [1.0, -big]])
        assert pickle.dumps(vars(transformer)) == before


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-150, 1e150])
@pytest.mark.parametrize("method", METHODS)
def test_extreme_scales_give_finite_results(method: str, scale: float) -> None:
    X = well_conditioned(0, d=3) * scale
    whitening = Whitening(method).fit(X)
    Z = whitening.transform(X)
    assert np.isfinite(Z).all()
    assert whitening.rank_ == (3 if scale > 1e-290 else 0)
    assert np.isfinite(PCA().fit_transform(X)).all()
