"""Optimizer steps: the bits of the formula on every target, over many tensors of any shape and memory order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch

from .guarded import Guarded
from .harness import SCALARS, each_row, family, normal
from .oracle import ORACLE, assert_near

ROWS = family("UPDATE")
flags, small = st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.01, 0.5])
ARGUMENTS = {
    "lr": st.sampled_from([0.1, 1e-3, 0.0]),
    "momentum": st.sampled_from([0.0, 0.9]),
    "beta1": st.sampled_from([0.0, 0.9]),
    "beta2": st.sampled_from([0.0, 0.999]),
    "dampening": small,
    "nesterov": flags,
    "decoupled": flags,
    "eps": st.sampled_from([1e-8, 0.1]),
    "weight_decay": small,
    "step": st.integers(0, 3) | st.just(10**6),
}


def state(name: str, shape: tuple[int, ...], dtype: Any, rng: Any) -> list[Any]:
    """The arrays of one tensor; the last moment of Adam is a mean of squares."""
    arrays = [normal(rng, shape, dtype) for _ in KERNELS[name].arrays]
    if name == "adam":
        arrays[2] = np.abs(arrays[2])
    return arrays


def stepped(name: str, arrays: list[Any], scalars: tuple[Any, ...]) -> list[Any]:
    with np.errstate(all="ignore"):
        found = ORACLE[name](*arrays, *scalars)
    return [*found] if isinstance(found, tuple) else [found]


@each_row(ROWS)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_tensors_and_hyperparameters(target: str, name: str, dtype: Any, data: Any, seed: int) -> None:
    row, rng = KERNELS[name], np.random.default_rng(seed)
    shapes = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=4))
    scalars = tuple(data.draw(ARGUMENTS[argument], label=argument) for argument in row.scalars)
    if data.draw(st.booleans(), label="cells"):
        scalars = tuple(np.array(s, np.int64 if isinstance(s, int) else np.float64) for s in scalars)
    tensors, guards = [state(name, tuple(shape), dtype, rng) for shape in shapes], []
    for arrays in tensors:
        layout = data.draw(st.sampled_from(["C", "F"]))
        guards.append([Guarded.holding(a, layout, int(rng.integers(16))) for a in arrays])
    before = [np.copy(s) for s in scalars]
    launch(name, tuple(g.array for group in guards for g in group), scalars)
    np.testing.assert_array_equal(scalars, before)
    for arrays, group in zip(tensors, guards, strict=True):
        for guard in group:
            guard.assert_border_intact(name)
        np.testing.assert_array_equal(group[-1].array, arrays[-1], err_msg="the gradient changed")
        for guard, wanted in zip(group, stepped(name, arrays, scalars), strict=False):
            assert_near(name, guard.array, wanted, 0)


@each_row(ROWS)
def test_chunks_and_many_tensors(target: str, name: str) -> None:
    rng = np.random.default_rng(0)
    tensors = [state(name, (n,), np.float32, rng) for n in (16384, 1, 0, 16385, 40000, 7, 16383)]
    wanted = [stepped(name, arrays, SCALARS[name]()) for arrays in tensors]
    launch(name, tuple(a for arrays in tensors for a in arrays), SCALARS[name]())
    for arrays, want in zip(tensors, wanted, strict=True):
        for got, w in zip(arrays, want, strict=False):
            np.testing.assert_array_equal(got, w)


@each_row(ROWS)
def test_every_target_takes_the_same_step(name: str) -> None:
    """No reduction, no fused multiply-add: a step has the same bits everywhere."""
    tensors = state(name, (1000,), np.float32, np.random.default_rng(0))
    before, results = kernels.active(), set()
    for target in kernels.targets():
        kernels.use(target)
        arrays = [a.copy() for a in tensors]
        launch(name, tuple(arrays), SCALARS[name]())
        results.add(b"".join(a.tobytes() for a in arrays))
    kernels.use(before)
    assert len(results) == 1


@each_row(ROWS)
def test_a_nan_spoils_its_element_only(target: str, name: str) -> None:
    arrays = state(name, (50,), np.float32, np.random.default_rng(0))
    arrays[-1][7] = np.nan
    launch(name, tuple(arrays), SCALARS[name]())
    for a in arrays:
        np.testing.assert_array_equal(np.isnan(a), np.arange(50) == 7)


def test_a_cell_is_read_when_the_call_runs(target: str) -> None:
    w, g, lr = np.zeros(3, np.float32), np.ones(3, np.float32), np.array(0.5)
    launch("sgd", (w, g), (lr, 0.0))
    lr[...] = 0.25
    launch("sgd", (w, g), (lr, 0.0))
    np.testing.assert_array_equal(w, np.float32([-0.75] * 3))


# The textbook in float64 ----------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [0.0, 1.0])
@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_momentum_of_the_textbook(target: str, nesterov: float, dampening: float) -> None:
    rng, lr, mu, decay = np.random.default_rng(0), 0.1, 0.9, 0.01
    w, v = normal(rng, (20,)), np.full(20, np.nan, np.float32)  # the first step does not read v
    truth, velocity = w.astype(np.float64), None
    for step in range(30):
        g = normal(rng, (20,))
        launch("sgd_momentum", (w, v, g), (lr, mu, dampening, nesterov, decay, step))
        d = g + decay * truth
        velocity = d if velocity is None else mu * velocity + (1 - dampening) * d
        truth = truth - lr * (d + mu * velocity if nesterov else velocity)
    np.testing.assert_allclose(w, truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("decoupled", [0.0, 1.0])
def test_adam_of_the_paper(target: str, decoupled: float) -> None:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2, for the decoupled decay."""
    rng, lr, b1, b2, eps, decay = np.random.default_rng(0), 0.1, 0.9, 0.999, 1e-8, 0.05
    w, m, v = normal(rng, (20,)), np.zeros(20, np.float32), np.zeros(20, np.float32)
    theta, first, second = w.astype(np.float64), 0.0, 0.0
    for t in range(1, 31):
        g = normal(rng, (20,))
        launch("adam", (w, m, v, g), (lr, b1, b2, eps, decay, decoupled, t - 1))
        d = g + (0 if decoupled else decay) * theta
        first, second = b1 * first + (1 - b1) * d, b2 * second + (1 - b2) * d**2
        theta = theta - (lr * decay * theta if decoupled else 0)
        theta = theta - lr * (first / (1 - b1**t)) / (np.sqrt(second / (1 - b2**t)) + eps)
    np.testing.assert_allclose(w, theta, rtol=1e-5, atol=1e-5)
