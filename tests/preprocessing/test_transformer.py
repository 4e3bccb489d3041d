"""What holds for every transformer: scikit-learn's protocol, input, errors, state."""

import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad import preprocessing
from minigrad.preprocessing import (
    PCA,
    Center,
    ChannelScaler,
    GlobalContrastNormalizer,
    MeanImputer,
    MinMaxScaler,
    NotFittedError,
    OneHotEncoder,
    Pipeline,
    RobustScaler,
    StandardScaler,
    Transformer,
    Whitening,
)

MAKERS: dict[str, Callable[[], Any]] = {
    "Center": Center,
    "StandardScaler": StandardScaler,
    "ChannelScaler": ChannelScaler,
    "MinMaxScaler": lambda: MinMaxScaler((-1, 1)),
    "RobustScaler": lambda: RobustScaler(quantile_range=(10.0, 90.0)),
    "PCA": lambda: PCA(2),
    "Whitening-pca": lambda: Whitening("pca"),
    "Whitening-zca": lambda: Whitening("zca", shrinkage=0.1),
    "Whitening-cholesky": lambda: Whitening("cholesky"),
    "GlobalContrastNormalizer": GlobalContrastNormalizer,
    "MeanImputer": MeanImputer,
    "OneHotEncoder": OneHotEncoder,
    "Pipeline": lambda: Pipeline([("scale", StandardScaler()), ("inner", Pipeline([("pca", PCA(2))]))]),
}
STATELESS, IMAGES = {"GlobalContrastNormalizer"}, {"GlobalContrastNormalizer", "ChannelScaler"}
NO_PARTIAL, NO_INVERSE = {"RobustScaler", "Pipeline", *STATELESS}, {"MeanImputer", *STATELESS}
every = pytest.mark.parametrize("name", MAKERS)

# Categories for the encoder, numbers for all others.
X = np.random.default_rng(0).integers(0, 4, (60, 3)) * [1.0, 10.0, 100.0]


def methods(name: str, *, fits: bool = True) -> list[str]:
    absent = {"partial_fit"} if name in NO_PARTIAL else set()
    absent |= {"inverse_transform"} if name in NO_INVERSE else set()
    learning = ["fit", "fit_transform", "partial_fit"] if fits else []
    return [m for m in [*learning, "transform", "inverse_transform"] if m not in absent]


def snapshot(transformer: Any) -> bytes:
    return pickle.dumps(vars(transformer))


def test_every_public_transformer_is_tested() -> None:
    public = {name for name in preprocessing.__all__ if issubclass(getattr(preprocessing, name), Transformer)}
    assert public - {"Transformer"} == {name.partition("-")[0] for name in MAKERS}


@every
def test_the_methods_are_there_where_they_are_exact(name: str) -> None:
    transformer = MAKERS[name]()
    present = {m for m in ("partial_fit", "inverse_transform") if hasattr(transformer, m)}
    assert present == set(methods(name)) & {"partial_fit", "inverse_transform"}
    assert transformer.fit(X) is transformer
    np.testing.assert_array_equal(MAKERS[name]().fit_transform(X), transformer.transform(X))
    assert transformer.n_features_in_ == 3
    if "partial_fit" in present:
        assert transformer.partial_fit(X) is transformer


@every
def test_scikit_learn_clones_pipelines_and_searches_it(name: str) -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.utils import get_tags
    from sklearn.utils.validation import check_is_fitted

    fitted = MAKERS[name]().fit(X)
    check_is_fitted(fitted)
    copy = clone(fitted)
    assert repr(copy) == repr(fitted) == repr(MAKERS[name]())
    assert type(copy) is type(fitted)
    assert copy.get_params(deep=False).keys() == fitted.get_params(deep=False).keys()
    if name not in STATELESS:
        with pytest.raises(NotFittedError):
            copy.transform(X)
    np.testing.assert_array_equal(copy.fit_transform(X), fitted.transform(X))
    model = make_pipeline(MAKERS[name](), Ridge()).fit(X, X[:, 0])
    assert model.predict(X).shape == (60,)
    assert get_tags(fitted).requires_fit == (name not in STATELESS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(cross_val_score(make_pipeline(MAKERS[name](), Ridge()), X, X[:, 0], cv=3)) == 3


@every
def test_float32_stays_and_integers_become_float32(name: str) -> None:
    transformer = MAKERS[name]().fit(X)
    wide = transformer.transform(X)
    for dtype in (np.float32, np.int64, np.uint16, np.float16, np.dtype(">f4")):
        out = MAKERS[name]().fit(X.astype(dtype)).transform(X.astype(dtype))
        assert out.dtype == np.float32
        assert out.dtype.isnative
        steps = 3 if name == "Pipeline" else 1  # every one rounds once, at its end
        slack = 4 * (steps - 1) * np.finfo(np.float32).eps
        np.testing.assert_allclose(out, wide.astype(np.float32), rtol=0, atol=slack)
    assert wide.dtype == (np.float32 if name == "OneHotEncoder" else np.float64)


@every
def test_memory_layout_does_not_matter_and_input_is_not_changed(name: str) -> None:
    expected = MAKERS[name]().fit_transform(X)
    wide = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)
    for layout in (np.asfortranarray(X), wide[::2, ::3], X[::-1].copy()[::-1], X.tolist()):
        if isinstance(layout, np.ndarray):
            layout.flags.writeable = False
        transformer = MAKERS[name]()
        out = transformer.fit_transform(layout)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(layout, X)
        assert not np.shares_memory(out, layout)
        assert out.flags.writeable
        if "inverse_transform" in methods(name):
            back = transformer.inverse_transform(out)
            assert not np.shares_memory(back, out)


BAD: list[tuple[Any, type[Exception], str]] = [
    ([1.0, 2.0, 3.0], ValueError, r"and not empty, got shape \(3,\)"),
    (5.0, ValueError, r"got shape \(\)"),
    (np.zeros((0, 3)), ValueError, r"got shape \(0, 3\)"),
    (np.zeros((3, 0)), ValueError, r"got shape \(3, 0\)"),
    (np.zeros((2, 3, 2)), ValueError, r"must be 2-D \(n_samples, n_features\) and not empty, got shape \(2, 3, 2\)"),
    ([[0, 1, 2], [0, 1, np.nan]], ValueError, r"NaN or inf, got nan in column 2 \(row 1\)"),
    ([[0, 1, 2], [0, -np.inf, 1]], ValueError, r"inf, got -inf in column 1 \(row 1\)"),
    ([["a", "b", "c"]], TypeError, "must hold real numbers.* got dtype <U1"),
    ([[1j, 2, 3]], TypeError, "must hold real numbers.* got dtype complex128"),
    (np.array([[1, 2, 3]], object), TypeError, "must hold .* got dtype object"),
    (np.zeros((1, 3), "M8[s]"), TypeError, "must hold real numbers.* got dtype datetime64"),
]


@every
@pytest.mark.parametrize(("bad", "error", "message"), BAD)
def test_bad_data_are_refused_and_change_nothing(name: str, bad: Any, error: type[Exception], message: str) -> None:
    if (
        (name in IMAGES and "2-D" in message)
        or (name == "MeanImputer" and "got nan" in message)
        or (name == "OneHotEncoder" and "<U1" in message)
    ):
        return  # these they take
    transformer = MAKERS[name]().fit(X)
    transformer.transform(X)
    before = snapshot(transformer)
    for method in methods(name):
        with pytest.raises(error, match=message):
            getattr(transformer, method)(bad)
        assert snapshot(transformer) == before


@every
def test_another_number_of_features_is_refused(name: str) -> None:
    if name in STATELESS:
        return
    transformer = MAKERS[name]().fit(X)
    before = snapshot(transformer)
    for method in methods(name):
        if not method.startswith("fit"):
            with pytest.raises(ValueError, match=r"X has 50 features, but \w+ is expecting \d+ features"):
                getattr(transformer, method)(np.ones((5, 50)))
    assert snapshot(transformer) == before


@every
def test_use_before_fit_is_refused(name: str) -> None:
    if name in STATELESS:
        return
    for method in methods(name, fits=False):
        with pytest.raises(NotFittedError, match="has learnt nothing yet: call fit first"):
            getattr(MAKERS[name](), method)(X)
    with pytest.raises(NotFittedError):
        MAKERS[name]().state_dict()
    assert not hasattr(MAKERS[name](), "mean_")
    assert not hasattr(MAKERS[name](), "components_")


@every
def test_a_first_partial_fit_that_fails_leaves_it_unfitted(name: str) -> None:
    if name in NO_PARTIAL:
        return
    transformer = MAKERS[name]()
    with pytest.raises(ValueError, match="inf"):
        transformer.partial_fit([[np.inf, 1, 2]])
    assert not hasattr(transformer, "n_features_in_")


# State


@every
def test_the_state_gives_another_transformer_the_same_bits(name: str) -> None:
    transformer, other = MAKERS[name](), MAKERS[name]()
    if name in NO_PARTIAL:
        transformer.fit(X)
    else:
        transformer.partial_fit(X[:20]).partial_fit(X[20:])
    state = transformer.state_dict()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    other.load_state_dict(state)
    for value in state.values():
        value[...] = 7  # a copy, both ways
    again = other.state_dict()
    assert all(np.array_equal(again[key], value) for key, value in transformer.state_dict().items())
    np.testing.assert_array_equal(other.transform(X), transformer.transform(X))
    if name not in NO_PARTIAL:
        more = X[:7] + (name != "OneHotEncoder")
        a, b = other.partial_fit(more).state_dict(), transformer.partial_fit(more).state_dict()
        assert all(np.array_equal(a[key], b[key]) for key in b)
    copy = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(copy.transform(X), transformer.transform(X))


@every
def test_a_state_that_does_not_fit_changes_nothing(name: str) -> None:
    transformer = MAKERS[name]().fit(X)
    transformer.transform(X)
    before, state = snapshot(transformer), transformer.state_dict()
    broken: list[tuple[Any, type[Exception]]] = [({**state, "other": np.ones(3)}, KeyError), (None, TypeError)]
    if state:
        first, last = sorted(state)[0], sorted(state)[-1]
        broken += [({k: v for k, v in state.items() if k != first}, KeyError)]
        broken += [({**state, last: state[last][None, None]}, ValueError), ({}, KeyError)]
    if name not in STATELESS | {"OneHotEncoder"}:
        key = next(k for k, v in state.items() if v.ndim and v.dtype == np.float64)
        broken += [
            ({**state, key: state[key].astype(np.float32)}, TypeError),
            ({**state, key: np.full_like(state[key], np.nan)}, ValueError),
            ({**state, key: np.concatenate([state[key]] * 2, axis=-1)}, ValueError),
        ]
    for bad, error in broken:
        with pytest.raises(error):
            transformer.load_state_dict(bad)
        assert snapshot(transformer) == before


def test_works_without_scikit_learn() -> None:
    program = """
import sys
sys.modules["sklearn"] = None  # from here on an import fails
import numpy as np
from minigrad.preprocessing import PCA, Pipeline, StandardScaler, Whitening
print(Pipeline([("s", StandardScaler()), ("p", PCA(1)), ("w", Whitening())]).fit_transform(np.eye(2)).shape)
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert run.stdout == "(2, 1)\n"
