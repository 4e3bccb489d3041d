import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from minigrad.preprocessing import PCA, Center, MeanImputer, Pipeline, RobustScaler, StandardScaler, Whitening

from .tables import tables


def make() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("pca", PCA(2)), ("white", Whitening("zca"))])


@given(X=tables())
def test_a_pipeline_is_its_steps_in_turn(X: np.ndarray) -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA()), ("center", Center())])
    Z = pipeline.fit_transform(X)
    one, two, three = StandardScaler(), PCA(), Center()
    np.testing.assert_array_equal(Z, three.fit_transform(two.fit_transform(one.fit_transform(X))))
    np.testing.assert_array_equal(pipeline.transform(X), Z)
    np.testing.assert_allclose(pipeline.inverse_transform(Z), X, rtol=0, atol=1e-10 * np.abs(X).max())
    assert pipeline["pca"] is pipeline[1]
    np.testing.assert_array_equal(pipeline["pca"].components_, two.components_)


def test_agrees_with_the_pipeline_of_scikit_learn_in_both_nestings() -> None:
    theirs = pytest.importorskip("sklearn.pipeline").Pipeline
    peer = pytest.importorskip("sklearn.preprocessing")
    X = np.random.default_rng(0).standard_normal((30, 4)) * [1, 2, 3, 4]
    expected = make().fit_transform(X)
    np.testing.assert_allclose(theirs(make().steps).fit_transform(X), expected)
    np.testing.assert_allclose(theirs([("all", make())]).fit_transform(X), expected)
    foreign = Pipeline([("scale", peer.StandardScaler()), ("rest", Pipeline(make().steps[1:]))])
    np.testing.assert_allclose(foreign.fit_transform(X), expected)
    with pytest.raises(TypeError, match="step 'scale' has no state to save"):
        foreign.state_dict()


def test_parameters_of_steps() -> None:
    pipeline = make()
    params = pipeline.get_params()
    assert params["pca"] is pipeline["pca"]
    assert params["pca__n_components"] == 2
    assert pipeline.get_params(deep=False).keys() == {"steps"}
    pipeline.set_params(pca__n_components=1, scale=RobustScaler(), scale__quantile_range=(5.0, 95.0))
    assert pipeline["pca"].n_components == 1
    assert repr(pipeline["scale"]).endswith("quantile_range=(5.0, 95.0))")
    before = repr(pipeline)
    for bad in ("pca__whiten", "other", "other__tol", "scale__with_mean"):
        with pytest.raises(ValueError, match=f"Pipeline has no parameter '{bad}'"):
            pipeline.set_params(pca__n_components=3, **{bad: 1})
    with pytest.raises(TypeError, match="step 'pca' must be a transformer"):
        pipeline.set_params(pca=3)
    assert repr(pipeline) == before
    pipeline.set_params(steps=make().steps)
    assert repr(pipeline) == repr(make())


def test_a_fit_that_fails_in_a_late_step_leaves_all_as_they_were() -> None:
    inner = Pipeline([("center", Center()), ("pca", PCA(3))])
    pipeline = Pipeline([("scale", StandardScaler()), ("inner", inner), ("last", PCA(3))])
    X = np.random.default_rng(0).standard_normal((9, 3))
    Z = pipeline.fit_transform(X)
    before = pickle.dumps(pipeline)
    with pytest.raises(ValueError, match="n_components=3 is more than"):
        pipeline.fit(X[:2] + 5)
    assert pickle.dumps(pipeline) == before
    state = pipeline.state_dict()
    state["last.mean_"] = np.full(3, np.nan)
    state["scale.mean_"] = np.full(3, 7.0)
    with pytest.raises(ValueError, match="mean_ must be finite"):
        pipeline.load_state_dict(state)
    np.testing.assert_array_equal(pipeline.transform(X), Z)
    unfitted = Pipeline([("scale", StandardScaler()), ("pca", PCA(3))])
    with pytest.raises(ValueError, match="is more than"):
        unfitted.fit(X[:2])
    assert not hasattr(unfitted["scale"], "mean_")


def test_a_step_without_inverse_is_named() -> None:
    pipeline = Pipeline([("fill", MeanImputer()), ("scale", StandardScaler())])
    Z = pipeline.fit_transform([[1.0], [np.nan], [3.0]])
    with pytest.raises(NotImplementedError, match=r"step 'fill' has no inverse: MeanImputer\(\)"):
        pipeline.inverse_transform(Z)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ([], TypeError, "steps must be a list of"),
        (StandardScaler(), TypeError, "steps must be a list of"),
        ([StandardScaler()], TypeError, r"got StandardScaler\(.*\) in it"),
        (
            [("scale", StandardScaler)],
            TypeError,
            "step 'scale' must be a transformer with fit and transform, got <class",
        ),
        ([("scale", np.tanh)], TypeError, "step 'scale' must be a transformer"),
        ([("a", Center()), ("a", Center())], ValueError, "names of steps must differ"),
        ([("a.b", Center())], ValueError, "a step cannot have the name 'a.b'"),
        ([("a__b", Center())], ValueError, "a step cannot have the name 'a__b'"),
        ([("", Center())], ValueError, "a step cannot have the name ''"),
        ([("steps", Center())], ValueError, "a step cannot have the name 'steps'"),
    ],
)
def test_bad_steps_are_refused(steps: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Pipeline(steps).fit(np.eye(2))
