"""Empty and odd reductions; values and gradients are tested for all operations alike."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.testing import check_grads


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("f", ["sum", "max", "min", "argmax", "argmin"])
def test_empty_arrays_follow_numpy(f: str, shape: tuple[int, ...], axis: Any) -> None:
    a = np.zeros(shape, np.float32)
    try:
        expected = getattr(np, f)(a, axis)
    except ValueError:
        with pytest.raises(ValueError, match=r"empty|zero-size"):
            getattr(mg, f)(mg.tensor(a), axis)
    else:
        found = getattr(mg, f)(mg.tensor(a), axis).numpy()
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_the_mean_of_nothing_is_nan_with_numpys_warning() -> None:
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(mg.zeros(0).mean().item())
    assert mg.zeros((0, 3)).mean(1).shape == (0,)


def test_medians_of_nothing_are_nan_too() -> None:
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(mg.zeros((2, 0)).median(1).tolist()).all()
    assert mg.zeros((0, 2)).median(1, keepdims=True).shape == (0, 1)


def test_logsumexp_of_nothing_and_of_infinities() -> None:
    assert mg.logsumexp(mg.zeros((2, 0)), 1).tolist() == [-np.inf] * 2
    assert mg.logsumexp(mg.tensor([-np.inf, -np.inf])).item() == -np.inf
    assert mg.logsumexp(mg.tensor([-np.inf, 3.0])).item() == 3.0
    assert mg.logsumexp(mg.tensor([np.inf, 3.0])).item() == np.inf
    assert mg.logsumexp(mg.tensor([1e30, 1e30])).item() == pytest.approx(1e30)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int32, np.int64, np.uint64, np.float16, np.float64])
def test_sums_have_numpys_dtype_and_do_not_overflow(dtype: Any) -> None:
    a = np.full(300, 1, dtype)
    expected = a.sum()
    found = mg.tensor(a).sum()
    assert found.dtype == expected.dtype
    assert found.item() == 300


@pytest.mark.parametrize("f", [mg.max, mg.min])
def test_nan_wins_and_first_position_counts(f: Any) -> None:
    assert np.isnan(f(mg.tensor([1.0, np.nan, 3.0])).item())
    assert mg.argmax(mg.tensor([1, 3, 3])).item() == 1
    assert mg.argmin(mg.tensor([1, 0, 0])).item() == 1
    assert mg.argmax(mg.tensor([1.0, np.nan, 3.0])).item() == 1


@given(ties=st.lists(st.integers(0, 2), min_size=1, max_size=6), largest=st.booleans())
def test_ties_share_the_gradient_evenly(ties: list[int], largest: bool) -> None:
    x = mg.tensor(np.array(ties, np.float32), requires_grad=True)
    (x.max() if largest else x.min()).backward()
    best = max(ties) if largest else min(ties)
    np.testing.assert_allclose(x.grad.numpy(), [(t == best) / ties.count(best) for t in ties], rtol=1e-6)


@pytest.mark.parametrize(
    ("axis", "error", "match"),
    [
        (2, np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
        ((0, 0), ValueError, "names an axis twice"),
        ((0, -2), ValueError, "names an axis twice"),
        (0.0, TypeError, "axis must be an integer or a tuple of them, got 0.0"),
        (True, TypeError, "axis must be an integer"),
        ("0", TypeError, "axis must be an integer"),
    ],
)
@pytest.mark.parametrize("f", [mg.sum, mg.mean, mg.max, mg.logsumexp])
def test_bad_axes(f: Any, axis: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        f(mg.ones((2, 3)), axis)


# Against NumPy -------------------------------------------------------------------------------------

nan, inf = np.nan, np.inf
VALUES = [nan, inf, -inf, 0.0, 1.0, -2.0, 3.0, 0.5]
REDUCTIONS = ["prod", "var", "std", "median", "any", "all", "count_nonzero", "sum", "mean", "max", "min"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data())
def test_reductions_are_numpys_for_any_values_and_axes(name: str, dtype: Any, data: st.DataObject) -> None:
    least = int(name in ("max", "min", "median"))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=least, max_side=3))
    elements = st.sampled_from(VALUES if np.dtype(dtype).kind == "f" else [0, 1, 2, 200])
    a = np.asarray(data.draw(hnp.arrays(np.float64, shape, elements=elements))).astype(dtype)
    axes = st.lists(st.sampled_from(range(len(shape))), unique=True) if shape else st.just([])
    axis = data.draw(st.none() | axes.map(tuple))
    keepdims = data.draw(st.booleans())
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.asarray(getattr(np, name)(a, axis=axis, keepdims=keepdims))
        found = getattr(mg, name)(mg.tensor(a), axis=axis, keepdims=keepdims).numpy()
    assert found.shape == expected.shape
    if np.dtype(dtype).kind != "f" and expected.dtype == np.float64:  # what has fractions is float32 here
        assert found.dtype == np.float32
    else:
        assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8, np.bool_])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "sort", "argsort"])
@given(data=st.data())
def test_running_reductions_and_orders_are_numpys(name: str, dtype: Any, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1) if shape else st.none())
    elements = st.sampled_from(VALUES if np.dtype(dtype).kind == "f" else [0, 1, 2, 200])
    a = np.asarray(data.draw(hnp.arrays(np.float64, shape, elements=elements))).astype(dtype)
    with np.errstate(all="ignore"):
        if name == "cummax":
            expected = np.maximum.accumulate(a.ravel() if axis is None else a, axis or 0)
        else:
            expected = getattr(np, name)(a, axis, **({"kind": "stable"} if "sort" in name else {}))
        found = getattr(mg, name)(mg.tensor(a), axis).numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@given(a=hnp.arrays(np.float64, (2, 5), elements=st.sampled_from([0.0, 1.0, 2.0, nan])), k=st.integers(0, 5))
def test_descending_orders_are_stable_and_topk_takes_their_first(a: np.ndarray, k: int) -> None:
    keys = np.where(np.isnan(a), 9, a)
    order = np.argsort(-keys, 1, kind="stable")
    np.testing.assert_array_equal(mg.argsort(a, 1, descending=True).numpy(), order)
    np.testing.assert_array_equal(mg.sort(a, 1, descending=True).numpy(), np.take_along_axis(a, order, 1))
    values, places = mg.tensor(a).topk(k)
    np.testing.assert_array_equal(places.numpy(), order[:, :k])
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, order, 1)[:, :k])
    values, places = mg.topk(a.T, k, 0, largest=False)
    np.testing.assert_array_equal(values.numpy(), np.sort(a.T, 0)[:k])
    np.testing.assert_array_equal(places.numpy(), np.argsort(a.T, 0, kind="stable")[:k])


def test_topk_hands_the_gradient_to_what_it_took() -> None:
    check_grads(lambda x: mg.square(mg.topk(x, 2)[0]), np.array([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]]))


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 1.5, 0.5, -1, -2, inf, -inf])
@given(data=st.data())
def test_norm_is_numpys(ord: float, data: st.DataObject) -> None:
    least = int(ord in (inf, -inf))
    shape = data.draw(hnp.array_shapes(max_dims=3, min_side=least, max_side=3))
    a = data.draw(hnp.arrays(np.float64, shape, elements=st.sampled_from(VALUES)))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    with np.errstate(all="ignore"):
        expected = np.linalg.vector_norm(a, axis=axis, ord=ord, keepdims=True)
    np.testing.assert_allclose(mg.tensor(a).norm(axis, True, ord).numpy(), expected)


def test_norms_of_integers_are_float32() -> None:
    for order in (0, 1, 2, inf):
        assert mg.norm(mg.tensor([3, -4]), ord=order).dtype == np.float32
    assert mg.norm(mg.tensor([3, -4])).item() == 5


# Subgradients --------------------------------------------------------------------------------------


def slope(f: Any, at: Any) -> list[float]:
    x = mg.tensor(at, np.float64, requires_grad=True)
    return mg.grad(f(x), x)[0].tolist()


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (mg.norm, [0, 0], [0, 0]),
        (mg.norm, [3, -4], [0.6, -0.8]),
        (lambda x: x.norm(ord=1), [0, -2], [0, -1]),
        (lambda x: x.norm(ord=3), [0, 0], [0, 0]),
        (lambda x: x.norm(ord=1.5), [0, -2], [0, -1]),
        (lambda x: x.norm(ord=0.5), [0, -2], [0, -1]),
        (lambda x: x.norm(ord=inf), [2, -2, 1], [0.5, -0.5, 0]),
        (lambda x: x.norm(ord=-inf), [2, -1, 1], [0, -0.5, 0.5]),
        (lambda x: x.norm(ord=0), [0, 2], [0, 0]),
        (mg.std, [2, 2], [0, 0]),
        (mg.std, [5], [0]),
        (mg.prod, [0, 2, 3], [6, 0, 0]),
        (mg.prod, [0, 2, 0], [0, 0, 0]),
        (lambda x: x.cumprod().sum(), [2, 0, 3], [1, 2 + 6, 0]),
        (lambda x: x.cummax().sum(), [1, 3, 3, 2], [1, 1, 2, 0]),
        (lambda x: (x.sort() * np.array([1, 10, 100])).sum(), [2, 1, 1], [100, 1, 10]),
        (lambda x: (x.sort(descending=True) * np.array([1, 10, 100])).sum(), [2, 1, 1], [1, 10, 100]),
        (mg.median, [1, 4, 2, 3], [0, 0, 0.5, 0.5]),
        (mg.median, [2, 2, 1], [1, 0, 0]),
    ],
)
def test_subgradients(f: Any, at: list[float], expected: list[float]) -> None:
    if f(mg.tensor(at, np.float64, requires_grad=True)).requires_grad:
        np.testing.assert_allclose(slope(f, at), expected)
    else:
        assert not np.any(expected)


@pytest.mark.parametrize("zeros", [0, 1, 2])
@pytest.mark.parametrize("f", [mg.prod, mg.cumprod])
def test_products_beside_zeros_are_differentiated_three_times(f: Any, zeros: int) -> None:
    x = np.array([1.5, -2.0, 0.7, 1.2])
    x[:zeros] = 0
    check_grads(f, x, order=3)


def test_a_norm_at_zero_has_finite_second_derivatives() -> None:
    x = mg.tensor([0.0, 0.0], requires_grad=True)
    for f in (mg.norm, mg.std, lambda x: mg.norm(x, ord=3)):
        (g,) = mg.grad(f(x), x, create_graph=True)
        assert mg.grad(g.sum(), x)[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: x.topk(4), ValueError, "topk takes from 0 to 3 elements along axis -1"),
        (lambda x: x.topk(-1), ValueError, "got k=-1"),
        (lambda x: x.topk(1.0), ValueError, "got k=1.0"),
        (lambda x: x.sort(2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.cumsum(2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.var((0, 0)), ValueError, "names an axis twice"),
        (lambda x: mg.sort([1.0]), TypeError, "got list"),
    ],
)
def test_refuses(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(mg.ones((2, 3)))
