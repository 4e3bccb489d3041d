"""The checker must be seen to fail on every kind of wrong rule, and never on a right one."""

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.random import Generator, default_generator
from minigrad.testing import GradientError, NotSmoothError, check_grads

X = np.array([[0.3, -1.2, 0.8], [2.1, 0.9, -0.4]])
SQUARE = X[:, :2]


def detached(t: mg.Tensor) -> mg.Tensor:
    return t.detach()


# Wrong rules: the name of each, the order at which it shows, the operation and its inputs ------------


@mg.operation(x=lambda g, x: g * x)
def wrong_factor(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * x * (2 + 1e-7))
def slightly_wrong_factor(x, /):
    return x * x


@mg.operation(x=lambda g, x: (g * x * 2).astype(np.float32).astype(np.float64))
def rounded_to_float32(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * mg.sin(x))
def wrong_sign(x, /):
    return np.cos(x)


@mg.operation(x=lambda g, x: g * mg.exp(x))
def missing_term(x, /):
    return x * np.exp(x)


@mg.operation(a=lambda g, b: g * b, b=lambda g, a: (g * a)[0])
def missing_unbroadcast(a, b, /):
    return a * b


@mg.operation(x=lambda g, x: g * x * mg.where(np.arange(x.size).reshape(x.shape) == 3, 2.001, 2))
def wrong_in_one_element(x, /):
    return x * x


@mg.operation(a=lambda g, b: mg.matmul(g, b), b=lambda g, a: mg.matmul(a.mT, g))
def missing_transpose(a, b, /):
    return a @ b


@mg.operation(x=lambda g, x: mg.abs(g) * x * 2)
def not_linear_in_the_cotangent(x, /):
    return x * x


@mg.operation(a=lambda g, b: g * b)
def no_rule(a, b, /):
    return a * b


@mg.operation(x=lambda g, x: mg.zeros_like(x))
def zeros(x, /):
    return x * x


@mg.operation(x=lambda g: None)
def none(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * mg.where(x > 2, np.nan, 2) * x)
def nan(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * mg.where(x > 2, np.inf, 2) * x)
def infinite(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * x * (2 if mg.is_grad_enabled() else 3))
def other_without_a_graph(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * detached(x) * 2)
def wrong_at_second_order(x, /):
    return x * x


@mg.operation(x=lambda g, x: detached(g) * x * 2)
def wrong_at_second_order_for_the_cotangent(x, /):
    return x * x


@mg.operation(x=lambda g, x: g * wrong_at_second_order(x) * 3)
def wrong_at_third_order(x, /):
    return x**3


@mg.operation(x=lambda g, x: (g[0] * mg.cos(x) if g[0] is not None else 0) + (g[1] * x if g[1] is not None else 0),
              outputs=("y", "z"))  # fmt: skip
def wrong_in_the_second_output(x, /):
    return np.sin(x), x * x


WRONG: dict[Any, tuple[int, tuple[np.ndarray, ...]]] = {
    wrong_factor: (1, (X,)),
    slightly_wrong_factor: (1, (X,)),
    rounded_to_float32: (1, (X,)),
    wrong_sign: (1, (X,)),
    missing_term: (1, (X,)),
    missing_unbroadcast: (1, (X, X[0])),
    wrong_in_one_element: (1, (X,)),
    missing_transpose: (1, (SQUARE, SQUARE + 1)),
    not_linear_in_the_cotangent: (1, (X,)),
    no_rule: (1, (X, X)),
    zeros: (1, (X,)),
    none: (1, (X,)),
    nan: (1, (X,)),
    infinite: (1, (X,)),
    other_without_a_graph: (1, (X,)),
    wrong_at_second_order: (2, (X,)),
    wrong_at_second_order_for_the_cotangent: (2, (X,)),
    wrong_at_third_order: (3, (X,)),
    wrong_in_the_second_output: (1, (X,)),
}
every_wrong_rule = pytest.mark.parametrize("operation", [pytest.param(o, id=o.name) for o in WRONG])


@every_wrong_rule
def test_a_wrong_rule_is_caught_at_its_order_and_not_before(operation: Any) -> None:
    order, inputs = WRONG[operation]
    if order > 1:
        check_grads(operation, *inputs, order=order - 1)
    with pytest.raises(GradientError, match=f"^order {order}"):
        check_grads(operation, *inputs, order=order)


@every_wrong_rule
def test_a_wrong_rule_is_caught_inside_a_composition(operation: Any) -> None:
    order, inputs = WRONG[operation]

    def f(*inputs: Any) -> Any:
        outputs = operation(*[mg.tanh(x) + 0.1 + x for x in inputs])
        return [mg.exp(y * 0.1) for y in (outputs if isinstance(outputs, tuple) else (outputs,))]

    with pytest.raises(GradientError):
        check_grads(f, *inputs, order=order)


@given(
    # Elements of one array within three orders of magnitude, or 0; beyond that a second-order error can hide.
    x=hnp.arrays(
        np.float64,
        hnp.array_shapes(max_dims=2, max_side=3),
        elements=st.floats(-3, 3).map(lambda v: v if abs(v) > 1e-3 else 0.0),
    ),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e30]),
)
@pytest.mark.parametrize("operation", [wrong_factor, zeros, none, wrong_at_second_order])
def test_a_wrong_rule_is_caught_anywhere_on_any_scale(operation: Any, x: np.ndarray, scale: float) -> None:
    assume(np.abs(x).max() > 1e-3)
    with pytest.raises(GradientError):
        check_grads(lambda x: operation(x / scale) * scale, x * scale)


def test_one_wrong_element_of_a_large_input_is_caught() -> None:
    @mg.operation(x=lambda g, x: g * x * mg.where(np.arange(5000) == 1234, 2.1, 2))
    def wrong(x, /):
        return x * x

    x = Generator(1).normal(5000, dtype=np.float64)
    with pytest.raises(GradientError, match="a random direction"):
        check_grads(wrong, x, order=1)


def test_a_missing_unbroadcast_of_the_whole_shape_is_an_error_of_the_graph() -> None:
    @mg.operation(a=lambda g, b: g * b, b=lambda g, a: g * a)
    def multiply(a, b, /):
        return a * b

    with pytest.raises(mg.GraphError, match=r"multiply gave a gradient of shape \(2, 3\) for an input of shape \(3,\)"):
        check_grads(multiply, X, X[0])


def test_the_error_says_where_and_what() -> None:
    with pytest.raises(GradientError) as caught:
        check_grads(wrong_in_one_element, X)
    found = re.fullmatch(
        r"order 1, input 0, element \(1, 0\): the rules give (\S+), central differences give (\S+) \(tolerance \S+\)",
        str(caught.value),
    )
    assert found
    given, numeric = map(float, found.groups())
    assert given / numeric == pytest.approx(2.001 / 2)


def test_inputs_are_numbered_as_they_are_passed() -> None:
    labels = np.array([0, 2])
    with pytest.raises(GradientError, match=r"^order 1, input 2, element \(\)"):
        check_grads(lambda labels, k, x, flag: wrong_factor(x) * k, labels, 2.0, np.array(3.0), True)


@mg.operation(
    x=lambda g, w: g * w / w,
    w=lambda g, x, w, wrong, noise: g * (x / w - wrong * (x * w / w / w) + noise * x * mg.sin(1e15 * w)),
    broadcasts=True,
)
def weighted_mean_of_one(x, w, /, wrong=1.0, noise=0.0):
    """x: what a weight of all there is does not change; each term of its gradient is a rounding error away."""
    return x * w / w


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e20])
@pytest.mark.parametrize("seed", range(5))
def test_a_rule_may_round_where_f_is_constant_but_no_more(seed: int, scale: float) -> None:
    x, w = scale * (0.2 + np.random.default_rng(seed).random((2, 3)))
    check_grads(weighted_mean_of_one, x, w)
    for options in ({"wrong": 1.01}, {"wrong": 1 + 1e-9}, {"wrong": 0.0}, {"wrong": -1.0}, {"noise": 1e-9 / scale}):
        with pytest.raises(GradientError, match="order 1, input 1"):
            check_grads(lambda x, w, o=options: weighted_mean_of_one(x, w, **o), x, w, order=1)


def test_a_rule_may_round_where_f_is_zero() -> None:
    x, w = np.array([[0.0001068115234375], [-0.000732421875], [0.0006256103515625]]), np.array([0.654144287109375])
    check_grads(lambda w: mg.nll_loss(x, np.zeros(3, int), w), w, order=1)
    check_grads(lambda x, w: mg.nll_loss(x, np.array([0]), w), np.array([[0.0]]), np.array([0.20001221]))


# Right, however hard -----------------------------------------------------------------------


def layer_norm(x: mg.Tensor) -> mg.Tensor:
    centred = x - x.mean(-1, keepdims=True)
    return centred / (centred.square().mean(-1, keepdims=True) + 1e-5).sqrt()


def deep(x: mg.Tensor) -> mg.Tensor:
    for _ in range(12):
        x = mg.tanh(x * 1.3 + 0.1)
    return x


RIGHT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "large magnitudes": (lambda x: x * x * 1e200, (X * 1e50,)),
    "tiny magnitudes": (lambda x: x * x * 1e-150, (X * 1e-50,)),
    "mixed scales of inputs": (lambda a, b: a * b, (X * 1e12, X * 1e-12)),
    "mixed scales of outputs": (lambda x: (mg.sin(x) * 1e10, mg.cos(x) * 1e-10), (X,)),
    "mixed scales in one array": (lambda x: mg.exp(x) * np.array([1e10, 1.0, 1e-10]), (X,)),
    "a large offset": (lambda x: mg.sin(x) + 1e9, (X,)),
    "cancellation": (lambda x: (x + 1e9) - 1e9, (X,)),
    "all but cancelled": (lambda x: x - mg.tanh(x), (np.array([1e-9, 1e-7, 1e-5, 1e-3, 1.0]),)),
    "stationary": (mg.cos, (np.zeros(3),)),
    "constant": (lambda x: mg.softmax(x).sum(), (X,)),
    "fast": (lambda x: mg.sin(x * 1e4), (X,)),
    "far from 0": (mg.sin, (np.array([1e8, -3e7]),)),
    "near a pole": (lambda x: 1 / x, (np.array([1e-9, -1e-4, 3.0]),)),
    "near the edge of the domain": (mg.log, (np.array([1e-300, 1e-30, 1.0]) ** 0.5,)),
    "near a kink": (mg.relu, (np.array([1e-9, -1e-12, 2.0]),)),
    "saturated": (mg.sigmoid, (np.array([-800.0, -40.0, 20.0, 30.0, 40.0, 800.0]),)),
    "saturated and squashed": (lambda x: mg.tanh(mg.tanh(x * 9) * 9), (X,)),
    "confident softmax": (lambda x: mg.log_softmax(x, 1), (X * 100,)),
    "normalised": (layer_norm, (X,)),
    "normalised constant": (layer_norm, (np.ones((2, 3)),)),
    "deep": (deep, (X[0],)),
    "double use": (lambda x, y: x * y + x / (y * y + 1), (X, X)),
    "unused input": (lambda x, y: mg.square(x), (X, X)),
    "unused gradient": (lambda x: (x * 0, x.detach() * 0 + 1), (X,)),
    "the input itself": (lambda x: x, (X,)),
    "0-d": (mg.tanh, (np.array(0.7),)),
    "empty": (lambda a, b: a + b, (np.zeros((0, 3)), np.zeros(3))),
    "integer outputs beside": (lambda x: [mg.max(x, 1), mg.argmax(x, 1)], (X,)),
    "labels": (mg.cross_entropy, (X, np.array([0, 2]))),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_passes(name: str) -> None:
    f, inputs = RIGHT[name]
    check_grads(f, *inputs)


def test_a_right_gradient_passes_at_third_order() -> None:
    check_grads(lambda x, w: mg.tanh(x @ w).sum(0), X[:, :2], X[:, 1:], order=3)


@given(x=hnp.arrays(np.float64, st.integers(1, 4), elements=st.integers(-80, 80).map(lambda k: k / 8)))
@pytest.mark.parametrize("f", [mg.tanh, mg.softmax, mg.logsumexp, mg.sin, lambda x: x * x * x - x])
def test_a_right_gradient_passes_at_ordinary_numbers(f: Callable[..., Any], x: np.ndarray) -> None:
    check_grads(f, x)


def test_a_large_input_passes() -> None:
    rng = Generator(2)
    x, w = rng.normal((40, 20), dtype=np.float64), rng.normal((20, 10), dtype=np.float64)
    check_grads(lambda x, w: mg.tanh(x @ w), x, w, order=1)


# No verdict -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "at"),
    [(mg.abs, 0.0), (mg.relu, 0.0), (mg.sqrt, 0.0), (mg.sign, 0.0), (lambda x: mg.where(x > 1, x, 2 * x), 1.0)],
    ids=["abs", "relu", "sqrt", "sign", "jump"],
)
def test_a_point_that_is_not_smooth_is_named_as_such(f: Callable[..., Any], at: float) -> None:
    with pytest.raises(NotSmoothError, match=r"order 1, input 0, element \(1,\): f is not smooth here"):
        check_grads(f, np.array([0.5, at]))


def test_a_function_that_is_not_finite_is_named_as_such() -> None:
    with pytest.raises(NotSmoothError, match="f gives nan at these inputs"):
        check_grads(mg.log, np.array([-1.0]))
    with pytest.raises(NotSmoothError, match="f gives inf at these inputs"):
        check_grads(mg.exp, np.array([1e4]))


def test_a_function_that_draws_anew_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="not deterministic"):
        check_grads(mg.dropout, np.ones(50))
    check_grads(lambda x: mg.dropout(x, rng=Generator(3)), np.ones(50))


# What goes in and what stays as it was ----------------------------------------------------------


def test_float32_is_checked_in_float64_and_the_rest_is_passed_on() -> None:
    seen = []

    def f(*inputs: Any) -> Any:
        seen.append(inputs)
        return inputs[0] * inputs[1]

    labels, flag = np.array([1, 2]), object()
    check_grads(f, X.astype(np.float32), mg.tensor([0.5, 1.5, 2.5]), labels, flag, 3.0, mg.tensor([True]))
    for first, second, *rest in seen:
        assert first.dtype == second.dtype == np.float64
        assert first.requires_grad
        assert second.requires_grad
        assert rest[0] is labels
        assert rest[1] is flag
        assert rest[2] == 3.0
        assert rest[3].dtype == np.bool_


def test_nothing_outside_changes() -> None:
    array, leaf = X.copy(), mg.tensor(X, requires_grad=True)
    leaf.grad = mg.ones((2, 3), np.float64)
    default = default_generator().state()
    with mg.no_grad():
        check_grads(lambda a, b: mg.dropout(a * b, p=0), array, leaf)
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()
    np.testing.assert_array_equal(array, X)
    np.testing.assert_array_equal(leaf.numpy(), X)
    np.testing.assert_array_equal(leaf.grad.numpy(), np.ones((2, 3)))
    with pytest.raises(ValueError, match="deterministic"):
        check_grads(mg.dropout, np.ones(50))
    assert default_generator().state() == default


def test_the_verdict_is_reproducible_and_follows_the_generator() -> None:
    def message(rng: Generator | int) -> str:
        with pytest.raises(GradientError) as caught:
            check_grads(wrong_factor, X, rng=rng)
        return str(caught.value)

    assert message(0) == message(0) == message(Generator(0)) != message(1)


@pytest.mark.parametrize(
    ("error", "match", "f", "inputs", "options"),
    [
        (ValueError, "at least one floating", mg.exp, (np.array([1]),), {}),
        (ValueError, "order must be an integer of at least 1, got 0", mg.exp, (X,), {"order": 0}),
        (ValueError, "eps", mg.exp, (X,), {"eps": 0.0}),
        (ValueError, "rtol", mg.exp, (X,), {"rtol": -1.0}),
        (ValueError, "no floating tensor", mg.argmax, (X,), {}),
        (TypeError, "tensor or several, got ndarray as output 0", lambda x: x.numpy(), (X,), {}),
        (TypeError, "float32", lambda x: x.astype(np.float32), (X,), {}),
    ],
)
def test_bad_input(error: type[Exception], match: str, f: Any, inputs: Any, options: Any) -> None:
    with pytest.raises(error, match=match):
        check_grads(f, *inputs, **options)


def test_tolerances_are_what_they_say() -> None:
    check_grads(slightly_wrong_factor, X, rtol=1e-6)
    check_grads(wrong_in_one_element, X, atol=0.1)
    with pytest.raises(GradientError):
        check_grads(wrong_in_one_element, X, atol=1e-4)


def test_importing_the_checker_needs_no_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "minigrad.testing.strategies", raising=False)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=re.escape("minigrad[test]")):
        import minigrad.testing.strategies  # noqa: F401
