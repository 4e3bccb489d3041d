from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.preprocessing import MeanImputer, OneHotEncoder

from .tables import EPS, chunks, cuts, tables

shapes = st.tuples(st.integers(1, 40), st.integers(1, 3))
categorical = st.one_of(
    hnp.arrays(np.int64, shapes, elements=st.integers(-3, 3)),
    hnp.arrays("U2", shapes, elements=st.sampled_from(["", "a", "bß", "\U0001f600"])),
    hnp.arrays(np.bool_, shapes),
    hnp.arrays(np.float32, shapes, elements=st.sampled_from([0.1, -2.0, 3])),
)


@given(X=categorical, cuts=cuts)
def test_one_hot_agrees_with_scikit_learn_in_any_chunks(X: np.ndarray, cuts: list[int]) -> None:
    peer = pytest.importorskip("sklearn.preprocessing").OneHotEncoder(sparse_output=False, dtype=np.float64)
    encoder = OneHotEncoder(dtype=np.float64)
    for part in chunks(X, cuts):
        encoder.partial_fit(part)
    expected = peer.fit_transform(X)
    for ours, theirs in zip(encoder.categories_, peer.categories_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == X.dtype
    Z = encoder.transform(X)
    assert Z.dtype == np.float64
    np.testing.assert_array_equal(Z, expected)
    np.testing.assert_array_equal(encoder.inverse_transform(Z), X)
    other = OneHotEncoder(dtype=np.float64)
    other.load_state_dict(encoder.state_dict())
    np.testing.assert_array_equal(other.transform(X), Z)
    np.testing.assert_array_equal(other.inverse_transform(Z), X)


def test_unknown_categories() -> None:
    strict, lenient = OneHotEncoder(), OneHotEncoder(handle_unknown="ignore")
    for encoder in (strict, lenient):
        encoder.fit([["a", "x"], ["b", "y"]])
    with pytest.raises(ValueError, match=r"X has the unknown category 'z' in column 1 \(row 1\)"):
        strict.transform([["a", "y"], ["b", "z"]])
    Z = lenient.transform([["a", "y"], ["b", "longer than those learnt"]])
    assert Z.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]
    with pytest.raises(ValueError, match="X has no category of feature 1 in row 1: all of its columns are 0"):
        lenient.inverse_transform(Z)
    assert lenient.inverse_transform([[0.1, 0.9, 0.6, 0.4]]).tolist() == [["b", "x"]]  # scores will do


@pytest.mark.parametrize(
    ("encoder", "X", "error", "message"),
    [
        (OneHotEncoder(handle_unknown="warn"), [[1]], ValueError, r"handle_unknown must be one of \('error', 'ignore'"),
        (OneHotEncoder(dtype="no dtype"), [[1]], TypeError, "data type 'no dtype' not understood"),
        (OneHotEncoder(), np.array([["a", 1]], object), TypeError, r"got dtype object; try X.astype\(str\)"),
        (OneHotEncoder(), np.array([[b"a"]]), TypeError, "must hold numbers, bools or strings, got dtype"),
        (OneHotEncoder(), ["a", "b"], ValueError, r"must be 2-D .* got shape \(2,\)"),
        (OneHotEncoder(), [[np.nan]], ValueError, "got nan in column 0"),
    ],
)
def test_bad_input_of_the_encoder(encoder: OneHotEncoder, X: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        encoder.fit(X)
    assert not hasattr(encoder, "categories_")


@given(X=tables(), seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1), cuts=cuts)
def test_missing_values_become_the_means_of_those_there(
    X: np.ndarray, seed: int, share: float, cuts: list[int]
) -> None:
    missing = np.random.default_rng(seed).random(X.shape) < share
    missing[0] = False
    holed = np.where(missing, np.nan, X)
    imputer, streamed = MeanImputer().fit(holed), MeanImputer()
    for part in chunks(holed[::-1], cuts):
        streamed.partial_fit(part)
    largest = np.abs(X).max(axis=0)
    assert (np.abs(imputer.mean_ - np.nanmean(holed.astype(np.longdouble), axis=0)) <= 4 * EPS * largest).all()
    assert (np.abs(imputer.mean_ - streamed.mean_) <= 32 * EPS * largest).all()
    np.testing.assert_array_equal(imputer.counts_, streamed.counts_)
    Z = imputer.transform(holed)
    np.testing.assert_array_equal(Z, np.where(missing, imputer.mean_, X))
    peer = pytest.importorskip("sklearn.impute").SimpleImputer().fit(holed)
    np.testing.assert_allclose(imputer.mean_, peer.statistics_, rtol=0, atol=1e-10 * largest.max())


def test_a_feature_without_any_value_is_named() -> None:
    holed = np.array([[1.0, np.nan], [3.0, np.nan]])
    with pytest.raises(ValueError, match="X has no value in column 1 to take the mean of"):
        MeanImputer().fit(holed)
    imputer = MeanImputer().partial_fit(holed)  # values may follow
    with pytest.raises(ValueError, match="X has no value in column 1"):
        imputer.transform(holed)
    assert imputer.transform([[np.nan, 5.0]]).tolist() == [[2.0, 5.0]]
    assert imputer.partial_fit([[np.nan, 4.0]]).transform(holed).tolist() == [[1.0, 4.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match="must not contain inf, got inf in column 0"):
        imputer.partial_fit([[np.inf, 1.0]])
