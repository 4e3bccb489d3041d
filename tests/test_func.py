"""Function transforms: formulas, trees, and each through the others."""

import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import func
from minigrad.testing import check_grads

X = np.array([0.5, -1.2, 2.0])
A = np.random.default_rng(0).standard_normal((3, 3))


def cubes(x: Any) -> Any:
    return (x * x * x).sum()


def wave(x: Any) -> Any:
    return mg.sin(x) * mg.exp(x * 0.5)


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-11, atol=1e-12)


# Gradients ------------------------------------------------------------------------------------------


def test_grad_is_nested_like_its_argument() -> None:
    class Pair(NamedTuple):
        left: Any
        right: Any

    tree = {"a": mg.tensor(X), "b": [mg.tensor(2.0), (mg.tensor(A),)], "c": Pair(mg.tensor(X), {"d": mg.tensor(X)})}
    gradient = func.grad(lambda t: (t["a"] * t["c"].left).sum() + t["b"][0] * (t["b"][1][0] ** 2).sum())(tree)
    same(gradient["a"], X)
    assert gradient["b"][0].item() == pytest.approx((A**2).sum())
    same(gradient["b"][1][0], 4 * A)
    assert isinstance(gradient["b"][1], tuple)
    assert isinstance(gradient["c"], Pair)
    same(gradient["c"].right["d"], np.zeros(3))  # not used
    assert not gradient["a"].requires_grad


def test_argnums_and_aux() -> None:
    def f(x: Any, n: int, y: Any, scale: float = 1.0) -> Any:
        return (x**n * y).sum() * scale, {"seen": x * 2, "n": n}

    (value, aux), (dy, dx) = func.value_and_grad(f, argnums=(2, -3), has_aux=True)(X, 2, X + 1, scale=3.0)
    assert value.item() == pytest.approx(3 * (X**2 * (X + 1)).sum())
    same(dx, 6 * X * (X + 1))
    same(dy, 3 * X**2)
    same(aux["seen"], 2 * X)
    assert aux["n"] == 2
    assert not value.requires_grad
    assert not aux["seen"].requires_grad
    gradient, aux = func.grad(f, has_aux=True)(X, 2, X)
    same(gradient, 2 * X**2)
    assert func.grad(lambda x: x * x)(3.0).item() == 6


def test_grad_to_any_order() -> None:
    f: Callable[..., Any] = mg.sin
    for wanted in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin):
        f = func.grad(f)
        same(f(np.array(1.3)), wanted(1.3))


def test_inner_and_outer_variables_do_not_mix() -> None:
    assert func.grad(lambda x: x * func.grad(lambda y: x + y)(x))(3.0).item() == 1
    assert func.grad(lambda x: x * func.jvp(lambda y: x * y, (x,), (1.0,))[1])(3.0).item() == 6
    assert func.grad(lambda x: x * func.grad(lambda y: x * y * y)(x))(3.0).item() == 6 * 3**2


def test_what_is_closed_over_stays_differentiable_and_the_rest_stays_off_the_graph() -> None:
    w = mg.tensor(X, requires_grad=True)
    slope = func.grad(lambda x: (w * x * x).sum())(X)
    (slope * slope).sum().backward()
    same(w.grad, 8 * X**3)
    with mg.no_grad():
        assert not func.grad(lambda x: (w * x * x).sum())(X).requires_grad
    same(func.grad(lambda w: (w * X).sum())(w), X)
    x = mg.tensor(X, requires_grad=True)
    same(mg.grad(func.grad(cubes)(x).sum(), x)[0], 6 * X)
    assert x.grad is None
    y, pushed = func.jvp(wave, (X,), (X,))
    assert not y.requires_grad
    assert not pushed.requires_grad


def test_grad_of_the_identity() -> None:
    assert func.grad(lambda x: x)(2.0).item() == 1
    assert func.grad(func.grad(lambda x: x))(2.0).item() == 0


# Jacobians ------------------------------------------------------------------------------------------


def test_vjp_may_be_called_again_and_jvp_is_its_transpose() -> None:
    def f(p: Any, x: Any) -> Any:
        return {"u": mg.tanh(mg.matmul(p["m"], x)), "v": (x.sum() * p["s"],)}

    primals = ({"m": mg.tensor(A), "s": mg.tensor(np.array(0.7))}, mg.tensor(X))
    tangents = ({"m": A.T.copy(), "s": np.array(2.0)}, X[::-1].copy())
    out, back = func.vjp(f, *primals)
    again, pushed = func.jvp(f, primals, tangents)
    same(out["u"], np.tanh(A @ X))
    same(again["v"][0], 0.7 * X.sum())
    same(pushed["v"][0], 2 * X.sum() + 0.7 * X.sum())
    same(pushed["u"], (1 - np.tanh(A @ X) ** 2) * (A.T @ X + A @ X[::-1]))
    for seed in (0, 1):
        g = np.random.default_rng(seed).standard_normal(3)
        dp, dx = back({"u": g, "v": (np.array(1.5),)})
        left = (g * pushed["u"].numpy()).sum() + 1.5 * pushed["v"][0].item()
        right = (dp["m"].numpy() * A.T).sum() + 2 * dp["s"].item() + (dx.numpy() * X[::-1]).sum()
        assert left == pytest.approx(right)


def test_vjp_and_jvp_carry_aux() -> None:
    out, back, aux = func.vjp(lambda x: (x * x, x + 1), X, has_aux=True)
    same(back(np.ones(3))[0], 2 * X)
    same(aux, X + 1)
    out, pushed, aux = func.jvp(lambda x: (x * x, [x + 1]), (X,), (X,), has_aux=True)
    same(out, X**2)
    same(pushed, 2 * X**2)
    same(aux[0], X + 1)


def test_a_constant_output_moves_nothing() -> None:
    out, pushed = func.jvp(lambda x: (mg.tensor(X), x * 0), (X,), (X,))
    same(out[0], X)
    same(pushed[0], np.zeros(3))
    assert func.vjp(lambda x: mg.tensor(X), X)[1](X)[0].tolist() == [0.0] * 3


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_jacobian_of_trees(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).standard_normal(shape)
    y = np.array([0.3, 0.4])

    def f(x: Any, y: Any) -> Any:
        return {"square": x * x, "sum": [(x.sum() * y[0])]}

    found, aux = func.jacobian(lambda *a: (f(*a), "aux"), (0, 1), has_aux=True)(x, y)
    assert aux == "aux"
    dx, dy = found["square"]
    assert dx.shape == (*shape, *shape)
    same(dx, np.diag(2 * np.reshape(x, -1)).reshape((*shape, *shape)))
    same(dy, np.zeros((*shape, 2)))
    dx, dy = found["sum"][0]
    same(dx, np.full(shape, 0.3))
    same(dy, [x.sum(), 0])


@given(st.integers(0, 2**32 - 1))
def test_transforms_of_transforms(seed: int) -> None:
    """Several ways to the same derivative of ``sum(wave(B x))``."""
    rng = np.random.default_rng(seed)
    x, v, b = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal((4, 3))

    def f(x: Any) -> Any:
        return wave(mg.matmul(b, x)).sum()

    hessian = func.hessian(f)(x).numpy()
    z = b @ x
    curve = np.exp(z / 2) * (np.cos(z) - 0.75 * np.sin(z))
    np.testing.assert_allclose(hessian, b.T @ (curve[:, None] * b), rtol=1e-9, atol=1e-9)
    for product in (
        func.hvp(f, (x,), (v,))[0],
        func.jvp(func.grad(f), (x,), (v,))[1],
        func.vjp(func.grad(f), x)[1](v)[0],
        func.grad(lambda x: (func.grad(f)(x) * v).sum())(x),
        func.grad(lambda x: func.jvp(f, (x,), (v,))[1])(x),
        mg.matmul(func.jacobian(func.grad(f))(x), v),
    ):
        np.testing.assert_allclose(product.numpy(), hessian @ v, rtol=1e-9, atol=1e-9)
    third = func.jacobian(func.hessian(f))(x).numpy()
    _, along = func.jvp(lambda x: func.hvp(f, (x,), (v,))[0], (x,), (v,))
    np.testing.assert_allclose(along.numpy(), third @ v @ v, rtol=1e-8, atol=1e-8)


def test_the_transforms_are_differentiated_like_operations() -> None:
    check_grads(lambda x: func.grad(lambda x: wave(x).sum())(x), X)
    check_grads(lambda x, t: func.jvp(wave, (x,), (t,))[1], X, X + 1)
    check_grads(lambda x, t: func.hvp(lambda x: wave(x).sum(), (x,), (t,))[0], X, X + 1)
    check_grads(lambda x, g: func.vjp(wave, x)[1](g)[0], X, X + 1)


# The Hessian of a network -----------------------------------------------------------------------------


def mlp_loss(p: Any, x: Any, labels: Any) -> Any:
    hidden = mg.tanh(mg.linear(x, p["w1"], p["b1"]))
    return mg.cross_entropy(mg.linear(hidden, p["w2"], p["b2"]), labels)


def test_hessian_of_an_mlp_is_the_slope_of_its_gradient() -> None:
    rng = np.random.default_rng(3)
    shapes = {"w1": (4, 3), "b1": (4,), "w2": (2, 4), "b2": (2,)}
    p = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    x, labels = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)
    hessian = func.hessian(mlp_loss)(p, x, labels)
    gradient, h = func.grad(mlp_loss), 1e-5
    for column, size in shapes.items():
        for i in np.ndindex(*size):
            ends = []
            for side in (h, -h):
                moved = {name: array.copy() for name, array in p.items()}
                moved[column][i] += side
                ends.append(gradient(moved, x, labels))
            for row in shapes:
                slope = (ends[0][row].numpy() - ends[1][row].numpy()) / (2 * h)
                np.testing.assert_allclose(hessian[row][column].numpy()[(..., *i)], slope, rtol=1e-6, atol=1e-8)
    direction = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    (product,) = func.hvp(lambda p: mlp_loss(p, x, labels), (p,), (direction,))
    for row in shapes:
        wanted = sum(
            np.tensordot(hessian[row][column].numpy(), direction[column], len(size)) for column, size in shapes.items()
        )
        np.testing.assert_allclose(product[row].numpy(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_hvp_never_builds_the_hessian(n: int) -> None:
    """Memory grows with n, not with n^2: at most 40 arrays of n, where the Hessian has n of them."""
    x, v = np.linspace(-1, 1, n), np.ones(n)

    def f(x: Any) -> Any:
        return mg.sin(x).sum() * (x * x).sum()

    tracemalloc.start()
    (product,) = func.hvp(f, (x,), (v,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * x.nbytes
    total, inner = np.sin(x).sum(), x @ x
    wanted = -np.sin(x) * v * inner + np.cos(x) * 2 * (x @ v) + 2 * x * (np.cos(x) @ v) + total * 2 * v
    np.testing.assert_allclose(product.numpy(), wanted, rtol=1e-9, atol=1e-6)


def test_transforms_are_captured() -> None:
    def step(x: Any, v: Any) -> Any:
        return func.hvp(cubes, (x,), (v,))[0], func.value_and_grad(cubes)(x), func.hessian(cubes)(x)

    program = mg.capture(step, X, X)
    for x in (X, X[::-1] + 1):
        (product, (value, gradient), hessian), eager = program(x, X), step(mg.tensor(x), mg.tensor(X))
        same(product, eager[0].numpy())
        same(value, eager[1][0].numpy())
        same(gradient, 3 * x * x)
        same(hessian, np.diag(6 * x))


def test_a_penalty_on_a_gradient_is_trained_and_captured() -> None:
    """The argument of the inner gradient is nobody's leaf: the outer backward pass leaves nothing there."""

    def start() -> tuple[Any, Any]:
        mg.manual_seed(0)
        net = mg.nn.Sequential(mg.nn.Linear(3, 8), mg.nn.Tanh(), mg.nn.Linear(8, 1))
        optimizer = mg.optim.SGD(net.parameters(), lr=0.01)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            value, slope = func.value_and_grad(lambda x: net(x).sum())(x)
            loss = (slope * slope).sum() + value * value
            loss.backward()
            optimizer.step()
            return loss

        return net, step

    batches = np.random.default_rng(0).standard_normal((4, 2, 3), np.float32)
    (eager, step), (replayed, recorded) = start(), start()
    losses = [step(mg.tensor(x)).item() for x in batches]
    program = mg.capture(recorded, batches[0])
    assert [program(x).item() for x in batches[1:]] == losses[1:]
    for a, b in zip(eager.parameters(), replayed.parameters(), strict=True):
        assert a.data.tobytes() == b.data.tobytes()
    assert losses[3] != losses[0]


# What they refuse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: func.grad(wave)(X), TypeError, r"gives one floating-point number, got float64 \(3,\)"),
        (lambda: func.grad(lambda x: (x, x))(1.0), TypeError, "got a tuple of 2"),
        (lambda: func.grad(lambda x: 3.0)(1.0), TypeError, "must give tensors in dicts, lists and tuples, got float"),
        (lambda: func.grad(lambda x: (x > 0).sum())(X), TypeError, r"got int64 \(\)"),
        (lambda: func.grad(cubes)(3), TypeError, "argument 0 must hold floating-point tensors .* got int"),
        (lambda: func.grad(cubes)([np.arange(3)]), TypeError, r"got int64 \(3,\)"),
        (lambda: func.grad(cubes, 1)(X), ValueError, "some of the 1 positional arguments, got 1"),
        (lambda: func.grad(cubes, (0, 1.0))(X, X), ValueError, "argnums"),
        (lambda: func.grad(cubes, (0, -1))(X), ValueError, r"different integers, got \(0, -1\)"),
        (lambda: func.grad(cubes, has_aux=True)(X), TypeError, r"must give \(output, aux\), got one tensor"),
        (lambda: func.vjp(wave, "x"), TypeError, "primals must hold .* got str"),
        (lambda: func.vjp(wave, X)[1](X[:2]), ValueError, r"cotangent must have the shape \(3,\), got \(2,\)"),
        (lambda: func.vjp(wave, X)[1]([X]), ValueError, "cotangent must be nested as one tensor, got a list of 1"),
        (lambda: func.jvp(wave, (X,), ({"a": X},)), ValueError, r"tangents\[0\] must be nested as one tensor"),
        (lambda: func.jvp(wave, (X,), ()), ValueError, "tangents must be nested as a tuple of 1, got a tuple of 0"),
        (
            lambda: func.jvp(lambda t: t["a"], ({"a": X},), ({"b": X},)),
            ValueError,
            r"tangents\[0\] must have the keys \['a'\], got \['b'\]",
        ),
        (lambda: func.hvp(cubes, (X,), (A,)), ValueError, r"tangents\[0\] must have the shape \(3,\), got \(3, 3\)"),
    ],
)
def test_transforms_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_primals_and_tangents_are_one_for_each_argument() -> None:
    x = mg.tensor([3.0])
    for transform in (func.jvp, func.hvp):
        with pytest.raises(TypeError, match="primals must be a tuple or a list, one for each argument, got Tensor"):
            transform(lambda a: (a * a).sum(), x, (x,))
        with pytest.raises(TypeError, match="tangents must be a tuple or a list, one for each argument, got Tensor"):
            transform(lambda a: (a * a).sum(), (x,), x)
