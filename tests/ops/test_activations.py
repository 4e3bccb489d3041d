"""Activations: their tails, subgradients and errors; values and gradients are tested for all operations alike."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import check_grads
from tests.ops.test_elementwise import gradients

FAR = np.array([-1e4, -1e3, -120.0, -50.0, -20.0, -3.0, -1e-3, 0.0, 1e-3, 3.0, 20.0, 50.0, 120.0, 1e3, 1e4])


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


# Each function, its formula and its derivative, in as many digits as they need.
STABLE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), sigmoid),
    "log_sigmoid": (lambda x: -mpmath.log1p(mpmath.exp(-x)), lambda x: sigmoid(-x)),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "mish": (
        lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
        lambda x: (
            mpmath.tanh(mpmath.log1p(mpmath.exp(x))) + x * sigmoid(x) / mpmath.cosh(mpmath.log1p(mpmath.exp(x))) ** 2
        ),
    ),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: 1 if x > 0 else mpmath.exp(x)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STABLE)
def test_far_from_zero_values_and_gradients_are_right(name: str, dtype: Any) -> None:
    """Up to 1e4 on either side, against 60 digits: to a few units, or 4 units of the least normal number."""
    with mpmath.workdps(60):
        at = [mpmath.mpf(float(x)) for x in FAR.astype(dtype)]
        value, slope = ([float(f(x)) for x in at] for f in STABLE[name])
    x = mg.tensor(FAR.astype(dtype), requires_grad=True)
    y = getattr(mg, name)(x)
    (g,) = mg.grad(y.sum(), x)
    (h,) = mg.grad(mg.grad(getattr(mg, name)(x).sum(), x, create_graph=True)[0].sum(), x)
    least = 4 * float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(y.numpy(), value, rtol=32 * np.finfo(dtype).eps, atol=least)
    np.testing.assert_allclose(g.numpy(), slope, rtol=64 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    assert np.isfinite(h.numpy()).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logsumexp_and_logaddexp_far_from_zero(dtype: Any) -> None:
    rows = np.array([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4, -1e4 - 2], [0, -1e4, 1e4], [3, 3, 3]], dtype)
    with mpmath.workdps(60):
        terms = [[mpmath.exp(mpmath.mpf(float(x))) for x in row] for row in rows]
        value = [float(mpmath.log(sum(row))) for row in terms]
        slope = [[float(t / sum(row)) for t in row] for row in terms]
        pairs = [float(mpmath.log(row[0] + row[1])) for row in terms]
        shares = [[float(t / (row[0] + row[1])) for t in row[:2]] for row in terms]
    x = mg.tensor(rows, requires_grad=True)
    slack = 16 * np.finfo(dtype).eps
    np.testing.assert_allclose(mg.logsumexp(x, 1).numpy(), value, rtol=slack)
    np.testing.assert_allclose(mg.grad(mg.logsumexp(x, 1).sum(), x)[0].numpy(), slope, rtol=1e4 * slack, atol=slack)
    np.testing.assert_allclose(mg.logaddexp(x[:, 0], x[:, 1]).numpy(), pairs, rtol=slack)
    found = mg.grad(mg.logaddexp(x[:, 0], x[:, 1]).sum(), x)[0].numpy()
    np.testing.assert_allclose(found[:, :2], shares, rtol=slack, atol=slack)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("softplus", 0, np.inf), ("log_sigmoid", -np.inf, 0), ("softsign", -1, 1), ("gelu", 0, np.inf),
     ("silu", 0, np.inf), ("mish", 0, np.inf), ("elu", -1, np.inf), ("selu", -1.7580993408473766, np.inf),
     ("leaky_relu", -np.inf, np.inf), ("hardtanh", -1, 1), ("relu6", 0, 6), ("hardswish", 0, np.inf),
     ("relu", 0, np.inf), ("sigmoid", 0, 1)],
)  # fmt: skip
def test_limits(name: str, low: float, high: float) -> None:
    for dtype in (np.float32, np.float64):
        y = getattr(mg, name)(mg.tensor(np.array([-np.inf, np.inf, np.nan], dtype))).numpy()
        assert y.dtype == dtype
        np.testing.assert_allclose(y, [low, high, np.nan], rtol=1e-6)
    assert mg.gelu(mg.tensor([-np.inf, np.inf]), approximate="tanh").tolist() == [0, np.inf]


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (mg.elu, [-np.inf, 0, 1], [0, 1, 1]),
        (lambda x: mg.elu(x, alpha=0.5), [0, 1], [0.5, 1]),
        (mg.selu, [0, 1], [1.7580993408473766, 1.0507009873554805]),
        (mg.leaky_relu, [-1, 0, 1], [0.01, 0.01, 1]),
        (mg.hardtanh, [-2, -1, 0, 1, 2], [0, 0, 1, 0, 0]),
        (mg.relu6, [-1, 0, 3, 6, 7], [0, 0, 1, 0, 0]),
        (mg.hardswish, [-4, -3, 0, 3, 4], [0, 0, 0.5, 1, 1]),
        (mg.softsign, [-1, 0, 1], [0.25, 1, 0.25]),
    ],
)
def test_subgradients(f: Any, at: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(gradients(f, at)[0], expected, rtol=1e-6)


def test_the_second_derivative_of_softsign_is_0_at_0() -> None:
    x = mg.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    (g,) = mg.grad(mg.softsign(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(mg.grad(g.sum(), x)[0].numpy(), [0.25, 0, -0.25])


@pytest.mark.parametrize(
    ("shape", "weight"), [((2, 3, 2), 3), ((4, 3), 3), ((3,), 1), ((), 1), ((2, 3), 1), ((0, 3), 3)]
)
def test_prelu(shape: Any, weight: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=shape), rng.normal(size=weight)
    channels = w.reshape(-1, *[1] * (len(shape) - 2)) if weight > 1 else w[0]
    np.testing.assert_array_equal(mg.prelu(x, w).numpy(), np.where(x > 0, x, channels * x))
    check_grads(mg.prelu, x, w)


def test_prelu_takes_nothing_from_the_branch_not_taken() -> None:
    assert gradients(mg.prelu, [np.inf, 0, -2], [0.5]) == [[1, 0.5, 0.5], [-2]]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu(axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4))
    a, b = np.split(x, 2, axis)
    np.testing.assert_allclose(mg.glu(x, axis).numpy(), a / (1 + np.exp(-b)))
    check_grads(lambda x: mg.glu(x, axis), x)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mg.glu(mg.ones(3)), ValueError, "glu halves an axis, but axis -1 of \\(3,\\) is odd"),
        (lambda: mg.glu(mg.ones(4), 1), np.exceptions.AxisError, "axis 1 is out of bounds"),
        (lambda: mg.prelu(mg.ones((2, 3)), mg.ones(2)), ValueError, "one weight or one a channel"),
        (lambda: mg.gelu(mg.ones(2), approximate="erf"), ValueError, "'none' or 'tanh', got 'erf'"),
        (lambda: mg.hardtanh(mg.ones(2), 1, -1), ValueError, "min_val < max_val"),
        (lambda: mg.mish([1.0]), TypeError, "takes tensors, arrays and numbers, got list"),
        (lambda: mg.prelu([1.0, 2.0], 0.5), TypeError, "take tensors, arrays and numbers, got list"),
    ],
)
def test_activations_refuse(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    "name", ["softplus", "log_sigmoid", "softsign", "silu", "mish", "elu", "hardtanh", "hardswish"]
)
def test_integers_become_float32(name: str) -> None:
    y = getattr(mg, name)(mg.tensor([-2, 0, 2]))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.numpy(), getattr(mg, name)(mg.tensor([-2.0, 0.0, 2.0])).numpy())
