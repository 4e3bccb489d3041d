"""Promotion, subgradients and operand orders; values and smooth gradients are tested for all operations alike."""

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

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


@pytest.mark.parametrize("f", [mg.floor, mg.ceil, mg.round, mg.trunc])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_whole_already(f: Any, dtype: Any) -> None:
    x = mg.tensor(np.array([0, 1], dtype))
    assert f(x).dtype == dtype
    assert f(x).tolist() == x.tolist()
    assert not np.shares_memory(f(x).data, x.data)


@given(data=st.data(), a=st.sampled_from(INTEGERS), b=st.sampled_from(INTEGERS))
def test_remainders_and_bits_are_numpys_for_integers_too(data: st.DataObject, a: Any, b: Any) -> None:
    x, y = (
        data.draw(hnp.arrays(dtype, 3, elements=st.integers(0, 1 + (dtype is not np.bool_) * 6))) for dtype in (a, b)
    )
    if np.result_type(a, b).kind != "f":  # as uint64 beside int64, which meet in float64
        for f, numpys in (("bitwise_and", "&"), ("bitwise_or", "|"), ("bitwise_xor", "^")):
            expected = getattr(np, f)(x, y)
            for found in (getattr(mg, f)(x, y), eval(f"x {numpys} y", {"x": mg.tensor(x), "y": y})):
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found.numpy(), expected)
        with np.errstate(divide="ignore"):
            for found, expected in ((mg.tensor(x) % y, x % y), (x // mg.tensor(y), x // y)):
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal((~mg.tensor(x)).numpy(), ~x)


@pytest.mark.parametrize("f", [mg.bitwise_and, mg.bitwise_or, mg.bitwise_xor])
def test_bits_of_floats_are_refused(f: Any) -> None:
    with pytest.raises(TypeError, match="takes integers and bools, got float32; compare first, as in"):
        f(mg.ones(2), mg.ones(2))
    with pytest.raises(TypeError, match="takes integers and bools, got float32"):
        ~mg.ones(2)


# Special values --------------------------------------------------------------------------------------

SPECIAL = np.array([nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 1e4, -1e4, 1e-30, 3e38])
UNARY = ["negative", "abs", "sign", "square", "sqrt", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10",
         "log1p", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
         "floor", "ceil", "round", "trunc", "isnan", "isinf", "isfinite", "logical_not"]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "atan2", "hypot", "logaddexp",
          "remainder", "floor_divide", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
          "logical_and", "logical_or", "logical_xor"]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_special_values_pass_through_as_in_numpy(name: str, dtype: Any) -> None:
    a = SPECIAL.astype(dtype)
    inputs = (a,) if name in UNARY else (a[:, None], a)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*inputs)
        found = getattr(mg, name)(*map(mg.tensor, inputs)).numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("f", "oracle"),
    [
        (mg.sin, np.sin),
        (mg.cos, np.cos),
        (mg.erf, special.erf),
        (mg.sigmoid, special.expit),
        (mg.relu, lambda x: np.maximum(x, 0)),
        (mg.square, np.square),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinities_pass_through_kernels(f: Any, oracle: Any, dtype: Any) -> None:
    a = np.array([nan, np.inf, -np.inf, 0.0, -0.0, 1.0], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(f(a).numpy(), oracle(a), rtol=8 * np.finfo(dtype).eps)


def test_special_values_of_xlogy_and_rsqrt() -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            mg.xlogy(SPECIAL[:, None], SPECIAL).numpy(), special.xlogy(SPECIAL[:, None], SPECIAL)
        )
        np.testing.assert_allclose(mg.rsqrt(SPECIAL).numpy(), 1 / np.sqrt(SPECIAL))


# Operand orders ---------------------------------------------------------------------------------

COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul, operator.mod,
             operator.floordiv, *COMPARISONS]  # fmt: skip


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
@pytest.mark.parametrize("f", COMPARISONS, ids=lambda f: f.__name__)
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


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (mg.hypot, ([0, 3, 0], [0, 4, -2]), ([0, 0.6, 0], [0, 0.8, -1])),
        (mg.atan2, ([0, 1, 0], [0, 0, 2]), ([0, 0, 0.5], [0, -1, 0])),
        (mg.xlogy, ([0, 0, 2, 0], [0, 2, 1, -1]), ([0, np.log(2), 0, 0], [0, 0, 2, 0])),
        (
            mg.logaddexp,
            ([np.inf, -np.inf, 0, 1e4], [np.inf, -np.inf, 0, -1e4]),
            ([0.5, 0.5, 0.5, 1], [0.5, 0.5, 0.5, 0]),
        ),
        (mg.remainder, ([5, -5, 5], [3, 3, -3]), ([1, 1, 1], [-1, 2, 2])),
    ],
)
def test_gradients_at_singular_points(f: Any, at: Any, expected: Any) -> None:
    np.testing.assert_allclose(gradients(f, *at), expected, rtol=1e-6)


@pytest.mark.parametrize("f", [mg.hypot, mg.atan2, mg.xlogy])
def test_second_derivatives_at_the_origin_are_finite(f: Any) -> None:
    leaves = [mg.tensor([0.0, 0.0], requires_grad=True) for _ in range(2)]
    first = mg.grad(f(*leaves).sum(), leaves, create_graph=True)
    second = mg.grad(sum(g.sum() for g in first), leaves, allow_unused=True)
    assert all(g is None or np.isfinite(g.numpy()).all() for g in second)


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


def test_clip_of_integers_is_exact_beyond_what_floats_hold() -> None:
    n = 2**53 + 1
    assert mg.clip(np.array([0, n + 2]), n, n + 1).tolist() == [n, n + 1]
    assert mg.clip(np.array([0, 5], np.uint8), -(2**70), 2).tolist() == [0, 2]


def test_clip_of_integers_at_fractions_is_float32() -> None:
    y = mg.tensor([1, 2, 3]).clip(1.5, 2.5)
    assert y.dtype == np.float32
    assert y.tolist() == [1.5, 2.0, 2.5]


def test_clip_refuses() -> None:
    with pytest.raises(ValueError, match="min <= max, got min=2"):
        mg.ones(2).clip(2, 1)
    for bad in ("a", nan, [1.0]):
        with pytest.raises(TypeError, match="numbers, tensors or arrays as bounds"):
            mg.ones(2).clip(bad)
    with pytest.raises(TypeError, match="floats and integers, got bools"):
        mg.clip(np.array([True]))


CLIPPABLE = hnp.arrays(np.float64, (2, 3), elements=st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, nan]))


@given(x=CLIPPABLE, low=CLIPPABLE | st.none(), high=CLIPPABLE.map(lambda a: a[0]) | st.none())
def test_clip_at_tensors_is_numpys_and_passes_at_the_bounds(x: Any, low: Any, high: Any) -> None:
    if low is None and high is None:
        low = np.zeros((2, 3))
    leaves = [mg.tensor(a, requires_grad=True) for a in (x, low, high) if isinstance(a, np.ndarray)]
    left = iter(leaves)
    args = [next(left) if isinstance(a, np.ndarray) else a for a in (x, low, high)]
    y = mg.clip(*args)
    np.testing.assert_array_equal(y.numpy(), np.clip(x, low, high))
    gradients = [g.numpy() for g in mg.grad(y.sum(), leaves)]
    assert np.sum([g.sum() for g in gradients]) == 6  # every element hands its gradient to exactly one of the three
    with np.errstate(invalid="ignore"):
        within = np.ones((2, 3), bool) if low is None else ~(x < low) & ~np.isnan(low)
        reached = x if low is None else np.where(within, x, low)
        within &= np.ones(3, bool) if high is None else ~(reached > high) & ~np.isnan(high)
    np.testing.assert_array_equal(gradients[0], within)


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
