"""Promotion, subgradients and operand orders; values and smooth gradients are tested for all operations alike."""

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg

INTEGERS = [np.bool_, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64]
FLOATS = [np.float16, np.float32, np.float64]
DTYPES = INTEGERS + FLOATS
nan = np.nan


def gradients(f: Any, *inputs: Any) -> list[list[float]]:
    """The gradient of ``sum(f(*inputs))`` with respect to each input."""
    leaves = [mg.tensor(x, np.float32, requires_grad=True) for x in inputs]
    return [g.tolist() for g in mg.grad(f(*leaves).sum(), leaves)]


# Promotion -----------------------------------------------------------------------------------


def test_tensor_makes_float32_of_floats_and_keeps_the_dtype_of_arrays() -> None:
    assert mg.tensor([1.0, 2.0]).dtype == mg.tensor(1.0).dtype == np.float32
    assert mg.tensor([1, 2]).dtype == np.int64
    assert mg.tensor([True]).dtype == np.bool_
    for dtype in DTYPES:
        assert mg.tensor(np.ones(2, dtype)).dtype == mg.tensor(dtype(1)).dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scalar", [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.uint8(2)])
def test_scalars_never_promote(dtype: Any, scalar: Any) -> None:
    x = mg.ones(3, dtype)
    for y in (x + scalar, scalar - x, x * scalar, scalar / x, x**scalar, scalar**x):
        assert y.dtype == dtype
    for y in (mg.maximum(x, scalar), mg.minimum(scalar, x), mg.where(x > 0, scalar, x)):
        assert y.dtype == dtype


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", DTYPES)
def test_arrays_promote_as_in_numpy_but_float32_stays_beside_integers(a: Any, b: Any) -> None:
    y = mg.ones(3, a) * np.ones(3, b)
    together = {a, b}
    expected = np.float32 if np.float32 in together and together & set(INTEGERS) else np.result_type(a, b)
    assert y.dtype == expected
    assert (mg.ones(3, a) + np.ones((), b)).dtype == expected  # a 0-d array is an array
    assert mg.concat([mg.ones(3, a), mg.ones(2, b)]).dtype == expected
    assert mg.where(mg.tensor([True]), mg.ones(3, a), mg.ones(3, b)).dtype == expected


@pytest.mark.parametrize("a", INTEGERS)
@pytest.mark.parametrize("b", INTEGERS)
def test_integers_divide_to_float32(a: Any, b: Any) -> None:
    y = mg.ones(3, a) / np.full(3, 2 if b is not np.bool_ else 1, b)
    assert y.dtype == np.float32


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_become_float32_in_functions_with_fractions_and_beside_floats(dtype: Any) -> None:
    x = mg.ones(3, dtype)
    for y in (mg.exp(x), mg.sqrt(x), mg.sigmoid(x), mg.log1p(x), x.mean(), mg.softmax(x), x * 0.5, x + np.float64(1)):
        assert y.dtype == np.float32


@pytest.mark.parametrize("f", [operator.matmul, mg.linear, mg.mse_loss], ids=["matmul", "linear", "mse_loss"])
def test_products_and_losses_do_not_mix_precisions(f: Any) -> None:
    x = np.ones((2, 2))
    with pytest.raises(TypeError, match=r"float32 and float64.*\.astype"):
        f(mg.ones((2, 2)), x)
    assert f(mg.ones((2, 2)).astype(np.float64), x).dtype == np.float64
    assert f(mg.ones((2, 2)), x.astype(np.int64)).dtype == np.float32


@pytest.mark.parametrize("other", [np.array([1j]), np.array(["a"]), np.array([None]), np.complex64(1), [1.0], "a"])
def test_other_types_are_refused(other: Any) -> None:
    with pytest.raises(TypeError, match="add takes"):
        mg.ones(1) + other


# Operand orders ---------------------------------------------------------------------------------

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul, operator.eq,
             operator.ne, operator.lt, operator.le, operator.gt, operator.ge]  # fmt: skip


@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
def test_an_ndarray_on_either_side_gives_the_same(f: Any) -> None:
    a, b = np.array([[1.5, 2.0], [0.5, 3.0]]), np.array([[2.0, 2.0], [1.0, 0.5]])
    expected = f(a, b)
    for found in (f(mg.tensor(a), mg.tensor(b)), f(mg.tensor(a), b), f(a, mg.tensor(b))):
        assert isinstance(found, mg.Tensor)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("f", [o for o in OPERATORS if o is not operator.matmul], ids=lambda f: f.__name__)
@pytest.mark.parametrize("scalar", [2.0, 2, np.float32(2), np.float64(2), True])
def test_a_number_on_either_side_gives_the_same(f: Any, scalar: Any) -> None:
    a = np.array([0.5, 2.0, 3.0], np.float32)
    for found, expected in ((f(mg.tensor(a), scalar), f(a, scalar)), (f(scalar, mg.tensor(a)), f(scalar, a))):
        assert isinstance(found, mg.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_other_operators() -> None:
    x = mg.tensor([-1.5, 2.0])
    assert (-x).tolist() == [1.5, -2.0]
    assert +x is x
    assert abs(x).tolist() == [1.5, 2.0]
    assert x != None  # noqa: E711 - None is no number, but a comparison with it is no error
    assert x.tolist() == [-1.5, 2.0]


@pytest.mark.parametrize("number", [-1, 0, 200, 255, 256, 2**40, 0.5, True])
@pytest.mark.parametrize("f", OPERATORS[6:], ids=lambda f: f.__name__)
def test_comparisons_with_numbers_that_the_dtype_cannot_hold(f: Any, number: Any) -> None:
    a = np.array([0, 1, 200, 255], np.uint8)
    assert f(mg.tensor(a), number).tolist() == f(a, number).tolist()
    assert f(number, mg.tensor(a)).tolist() == f(number, a).tolist()


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(ValueError, match=r"add cannot broadcast shapes \(2,\) and \(3,\)"):
        mg.ones(2) + mg.ones(3)
    with pytest.raises(ValueError, match=r"equal cannot broadcast shapes \(2,\) and \(3,\)"):
        mg.equal(mg.ones(2), mg.ones(3))
    with pytest.raises(ValueError, match=r"where cannot broadcast"):
        mg.where(np.ones(2, bool), mg.ones(3), 0)


# Subgradients: the printed table -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (mg.abs, [-2, 0, 2], [-1, 0, 1]),
        (mg.relu, [-2, 0, 2], [0, 0, 1]),
        (mg.sign, [-2, 0, 2], None),
        (lambda x: x.clip(-1, 1), [-2, -1, 0, 1, 2], [0, 1, 1, 1, 0]),
        (lambda x: x.clip(min=0), [-1, 0, 1], [0, 1, 1]),
        (lambda x: x.clip(max=0), [-1, 0, 1], [1, 1, 0]),
        (mg.max, [3, 1, 3, 2], [0.5, 0, 0.5, 0]),
        (mg.min, [1, 1, 3, 1], [1 / 3, 1 / 3, 0, 1 / 3]),
        (mg.sqrt, [0, 4], [np.inf, 0.25]),
        (lambda x: x**0, [0, 2], [0, 0]),
        (lambda x: x**1, [0, 2], [1, 1]),
        (lambda x: x**2, [0, 2], [0, 4]),
    ],
)
def test_subgradients(f: Any, at: list[float], expected: list[float] | None) -> None:
    if expected is None:
        assert not f(mg.tensor(at, np.float32, requires_grad=True)).requires_grad
    else:
        np.testing.assert_allclose(gradients(f, at)[0], expected, rtol=1e-6)


def test_maximum_and_minimum_halve_at_ties() -> None:
    a, b = [1, 2, 3], [1, 3, 2]
    assert gradients(mg.maximum, a, b) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradients(mg.minimum, a, b) == [[0.5, 1, 0], [0.5, 0, 1]]


def test_power_at_zero() -> None:
    assert gradients(mg.power, [0, 0, 2], [0, 2, 0]) == [[0, 0, 0], [0, 0, pytest.approx(np.log(2), rel=1e-6)]]


@pytest.mark.parametrize("exponent", [0.1, -1.7, 3, 0])
def test_power_of_a_number_is_differentiated_in_the_precision_of_the_tensor(exponent: float) -> None:
    x = mg.tensor(np.array([0.3, 2.0]), requires_grad=True)
    (slope,) = mg.grad((x**exponent).sum(), x)
    np.testing.assert_allclose(slope.numpy(), exponent * x.numpy() ** (exponent - 1.0), rtol=1e-15)
    (slope,) = mg.grad((0.3**x).sum(), x)
    np.testing.assert_allclose(slope.numpy(), np.log(0.3) * 0.3 ** x.numpy(), rtol=1e-15)


# where ----------------------------------------------------------------------------------------------


def test_where_takes_nothing_from_the_branch_not_taken() -> None:
    take = np.array([True, False])
    assert mg.where(take, mg.tensor([1.0, nan]), mg.tensor([np.inf, 2.0])).tolist() == [1.0, 2.0]
    assert gradients(lambda a, b: mg.where(take, a, b), [3, nan], [nan, 5]) == [[1, 0], [0, 1]]


def test_where_stops_a_nan_that_flows_back() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = mg.where(np.array([True, False]), x, 0.0)
    y.backward(np.array([1.0, nan]))
    assert x.grad.tolist() == [1.0, 0.0]


@given(condition=hnp.arrays(st.sampled_from([np.bool_, np.uint8, np.float32]), 4))
def test_where_takes_any_condition_as_numpy_does(condition: np.ndarray) -> None:
    a, b = np.arange(4.0), -np.arange(4.0)
    np.testing.assert_array_equal(mg.where(condition, a, b).numpy(), np.where(condition, a, b))
    np.testing.assert_array_equal(mg.where(mg.tensor(condition), 1, 0).numpy(), np.where(condition, 1, 0))


# clip ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
@pytest.mark.parametrize("bounds", [(2, 5), (None, 3), (3, None), (None, None), (-7, 1000), (2, 2)])
def test_clip_of_any_dtype(dtype: Any, bounds: Any) -> None:
    a = np.arange(8).astype(dtype)
    y = mg.clip(mg.tensor(a), *bounds)
    low, high = (sign * np.inf if b is None else b for b, sign in zip(bounds, (-1, 1), strict=True))
    assert y.dtype == dtype
    assert y.tolist() == [min(max(v, low), high) for v in a.tolist()]


def test_clip_of_integers_at_fractions_is_float32() -> None:
    y = mg.tensor([1, 2, 3]).clip(1.5, 2.5)
    assert y.dtype == np.float32
    assert y.tolist() == [1.5, 2.0, 2.5]


def test_clip_refuses() -> None:
    with pytest.raises(ValueError, match="min <= max, got min=2"):
        mg.ones(2).clip(2, 1)
    for bad in (np.ones(2), "a", nan):
        with pytest.raises(TypeError, match="numbers as bounds"):
            mg.ones(2).clip(bad)


def test_astype() -> None:
    x = mg.tensor([1.7, -2.2], requires_grad=True)
    y = x.astype(np.float64)
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32
    assert not x.astype(np.int32).requires_grad
    assert x.astype(np.int32).tolist() == [1, -2]
    assert not np.shares_memory(x.astype(np.float32).numpy(), x.numpy())
    with pytest.raises(TypeError, match="holds floats, integers or bools, got dtype complex128"):
        x.astype(complex)
