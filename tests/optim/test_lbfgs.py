"""L-BFGS: the direction against dense matrices, the steps against the conditions, the end against SciPy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

import minigrad as mg
from minigrad import nn, optim

Array = np.ndarray[Any, Any]


class Problem:
    """A function of two tensors, one of them in Fortran order, with the places where it was asked."""

    def __init__(self, function: Any, start: Array, **options: Any) -> None:
        half = len(start) // 2
        self.a = nn.Parameter(np.asfortranarray(start[: 2 * (half // 2)].reshape(2, -1)))
        self.b = nn.Parameter(start[self.a.size :].copy())
        self.function = function
        self.optimizer = optim.LBFGS([self.a, self.b], **options)
        self.asked: list[tuple[Array, float, Array]] = []

    def place(self) -> Array:
        return np.concatenate([self.a.data.ravel(), self.b.data])

    def closure(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.function(mg.concat([self.a.reshape(-1), self.b]))
        loss.backward()
        grads = [np.zeros(p.size) if p.grad is None else p.grad.data.ravel() for p in (self.a, self.b)]
        self.asked.append((self.place(), loss.item(), np.concatenate(grads)))
        return loss

    def step(self) -> float:
        return self.optimizer.step(self.closure)


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def logistic(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 8)), rng.choice([-1.0, 1.0], 30)
    return lambda w: mg.softplus(-(mg.tensor(y) * (mg.tensor(x) @ w))).mean() + 0.01 * (w * w).sum()


def dense(pairs: list[tuple[Array, Array]], n: int) -> Array:
    """Nocedal and Wright 2006, equation 7.16, as matrices."""
    s, y = pairs[-1] if pairs else (np.ones(n), np.ones(n))
    h = (s @ y) / (y @ y) * np.eye(n)
    for s, y in pairs:
        rho = 1 / (y @ s)
        v = np.eye(n) - rho * np.outer(y, s)
        h = v.T @ h @ v + rho * np.outer(s, s)
    return h


@given(seed=st.integers(0, 99), history=st.integers(1, 5))
def test_iterations_are_those_of_the_book(seed: int, history: int) -> None:
    """One by one: along the dense matrix times the gradient, to a place that meets the strong Wolfe conditions."""
    start = np.random.default_rng(seed + 1).normal(size=8) * 3
    problem = Problem(logistic(seed), start, max_iter=1, history_size=history, tolerance_change=0)
    pairs: list[tuple[Array, Array]] = []
    for _ in range(12):
        problem.asked.clear()
        before = problem.step()
        w, loss, g = problem.asked[0]
        assert before == loss
        if np.abs(g).max() < 1e-6:
            break
        direction = -dense(pairs, 8) @ g
        found, lower, slope = next(a for a in problem.asked[1:] if np.array_equal(a[0], problem.place()))
        t = (found - w) @ direction / (direction @ direction)
        np.testing.assert_allclose(found - w, t * direction, rtol=1e-7, atol=1e-9 * np.abs(found).max())
        assert lower <= loss + 1e-4 * t * (g @ direction) + 1e-15
        assert abs(slope @ direction) <= 0.9 * abs(g @ direction) + 1e-15
        pairs = [*pairs, (found - w, slope - g)][-history:]


def test_it_ends_where_scipy_does_and_as_fast() -> None:
    start = np.array([-1.2, 1] * 4)
    problem = Problem(rosenbrock, start, max_iter=200)
    assert problem.step() == pytest.approx(rosenbrock(start))
    np.testing.assert_allclose(problem.place(), 1, atol=1e-6)
    theirs = optimize.minimize(lambda x: (float(optimize.rosen(x)), optimize.rosen_der(x)), start, jac=True,
                               method="L-BFGS-B", options={"maxcor": 10, "ftol": 0, "gtol": 1e-7})  # fmt: skip
    assert len(problem.asked) < 1.5 * theirs.nfev
    problem = Problem(logistic(0), np.zeros(8), max_iter=100, tolerance_change=0)
    problem.step()
    theirs = optimize.minimize(lambda w: logistic(0)(mg.tensor(w)).item(), np.zeros(8), method="BFGS", tol=1e-6)
    np.testing.assert_allclose(problem.place(), theirs.x, atol=1e-4)
    assert np.abs(problem.asked[-1][2]).max() <= 1e-7


def test_a_network_in_float32() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    model = nn.Sequential(nn.Linear(4, 16, rng=0), nn.Tanh(), nn.Linear(16, 3, rng=1))
    optimizer = optim.LBFGS(model.parameters())

    def closure() -> Any:
        optimizer.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        return loss

    losses = [optimizer.step(closure) for _ in range(5)]
    assert losses[0] > 1
    assert losses[-1] < 0.05
    assert losses == sorted(losses, reverse=True)


def test_a_loaded_state_goes_on_with_the_same_bits() -> None:
    first, second = (Problem(rosenbrock, np.linspace(-1, 2, 8), max_iter=5) for _ in range(2))
    empty = second.optimizer.state_dict()
    assert empty["pairs"].shape == (0, 2, 8)
    first.optimizer.load_state_dict(empty)
    first.step()
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.a.assign_(first.a.data)
    second.b.assign_(first.b.data)
    first.step()
    second.step()
    assert first.place().tobytes() == second.place().tobytes()
    with pytest.raises(
        ValueError, match=r"the pairs of 8 weights have shape \(pairs, 2, 8\), the state has \(1, 2, 7\)"
    ):
        first.optimizer.load_state_dict({"pairs": np.zeros((1, 2, 7))})
    for bad in (np.zeros((1, 2, 8)), np.full((1, 2, 8), np.nan)):
        with pytest.raises(ValueError, match="must be finite and have curvature"):
            second.optimizer.load_state_dict({"pairs": bad})
    with pytest.raises(TypeError, match="a state of LBFGS must be a dict, got NoneType"):
        second.optimizer.load_state_dict(None)  # type: ignore[arg-type]
    np.testing.assert_equal(second.optimizer.state_dict(), first.optimizer.state_dict())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_gone_to(bad: float) -> None:
    """Neither where it starts nor behind a wall at 0.5."""
    problem = Problem(lambda w: (w * bad).sum(), np.arange(4.0))
    problem.step()
    np.testing.assert_array_equal(problem.place(), np.arange(4.0))
    wall = Problem(lambda w: ((w - 1) ** 2).sum() * (bad if (w.data > 0.5).any() else 1), np.full(4, -20.0))
    wall.step()
    assert (wall.place() <= 0.5).all()
    assert (wall.place() > -1).all()


def test_a_closure_that_fails_leaves_the_weights() -> None:
    """Where the last iteration that was finished has led them."""
    problem = Problem(lambda w: (w * w).sum() if len(problem.asked) < 1 else (w * w).sum() / {}[0], np.full(4, 3.0))
    with pytest.raises(KeyError):
        problem.step()
    np.testing.assert_array_equal(problem.place(), np.full(4, 3.0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.LBFGS(p), TypeError, "an iterable of tensors, got Parameter"),
        (lambda p: optim.LBFGS([p, p]), ValueError, "no parameters, or one of them twice"),
        (lambda p: optim.LBFGS([]), ValueError, "no parameters, or one of them twice"),
        (lambda p: optim.LBFGS([mg.ones(2)]), ValueError, "leaves that require grad"),
        (lambda p: optim.LBFGS([p], max_iter=0), ValueError, "max_iter must be a positive integer, got 0"),
        (lambda p: optim.LBFGS([p], history_size=1.5), ValueError, "history_size must be a positive integer, got 1.5"),
        (lambda p: optim.LBFGS([p], tolerance_grad=-1), ValueError, "tolerance_grad must be a finite number"),
        (lambda p: optim.LBFGS([p], tolerance_change=np.nan), ValueError, "tolerance_change must be a finite number"),
        (lambda p: optim.LBFGS([p]).step(lambda: 1.0), TypeError, "returns the loss, a tensor of one number, got 1.0"),
        (lambda p: optim.LBFGS([p]).step(lambda: p), TypeError, "returns the loss, a tensor of one number"),
        (
            lambda p: mg.capture(lambda x: optim.LBFGS([p]).step(lambda: p.sum()), np.ones(1)),
            mg.CaptureError,
            "a step of LBFGS cannot be recorded",
        ),
    ],
)
def test_bad_arguments(make: Any, error: Any, message: str) -> None:
    p = nn.Parameter(np.ones(2, np.float32))
    with pytest.raises(error, match=message):
        make(p)
    assert (p.data == 1).all()
