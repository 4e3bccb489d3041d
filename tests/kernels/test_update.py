"""Optimizer steps: the bits of the formula on every target, over many tensors of any shape and memory order."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch

from .guarded import Guarded
from .harness import SCALARS, each_row, family, normal, settled
from .oracle import ORACLE, assert_near

ROWS = family("UPDATE")
flags, small = st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.01, 0.5])
ARGUMENTS = {
    "lr": st.sampled_from([0.1, 1e-3, 0.0]),
    "momentum": st.sampled_from([0.0, 0.9]),
    "beta1": st.sampled_from([0.0, 0.9]),
    "beta2": st.sampled_from([0.0, 0.999]),
    "alpha": st.sampled_from([0.0, 0.99]),
    "dampening": small,
    "nesterov": flags,
    "eps": st.sampled_from([1e-8, 0.1]),
    "lr_decay": small,
    "weight_decay": small,
    "decoupled_weight_decay": small,
    "l1": small,
    "proximal": flags,
    "step": st.integers(0, 20) | st.just(10**5),
    "dialect": flags,
    "momentum_decay": st.sampled_from([4e-3, 0.0, 1.0]),
    "max_norm": st.sampled_from([np.inf, 0.5, 2.0, 0.0]),
    "norm": st.sampled_from([1.0, 1.0, 1.0, np.inf, np.nan]),
}


NO_DECAY = (0.0, 0.0, 0.0, 0.0, math.inf, 0.0)


def state(name: str, shape: tuple[int, ...], dtype: Any, rng: Any) -> list[Any]:
    """The arrays of one tensor, some weights 0."""
    row = KERNELS[name]
    w, *states = [normal(rng, shape, dtype) for _ in row.outputs]
    w *= rng.random(shape) < 0.8
    return [w, *settled(row.outputs[1:], states), normal(rng, shape, dtype)]


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
            assert_near(name, guard.array, wanted, 0 if dtype is np.float32 else 1e-12 * (1 + np.abs(wanted)))


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
    launch("sgd", (w, g), (lr, *NO_DECAY))
    lr[...] = 0.25
    launch("sgd", (w, g), (lr, *NO_DECAY))
    np.testing.assert_array_equal(w, np.float32([-0.75] * 3))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (3, 5000), (5000, 3), (17, 3, 5, 5), (1, 7)])
def test_no_unit_is_longer_than_max_norm(target: str, shape: tuple[int, ...], order: Any) -> None:
    """And one that was shorter, or is not finite, has not changed; so of any size and memory order."""
    rng = np.random.default_rng(0)
    w = np.asarray(normal(rng, shape), order=order) * rng.random((shape[0], *[1] * (len(shape) - 1)), np.float32)
    w = np.asarray(w, order=order)
    lengths = np.sqrt((w.reshape(len(w), -1).astype(float) ** 2).sum(1))
    bound = float(np.median(lengths)) if len(w) > 1 else 0.5
    w[-1].flat[0] = np.nan
    before = w.copy()
    launch("sgd", (w, np.zeros_like(w)), (0.1, *NO_DECAY[:4], bound, 0.0))
    after = np.sqrt((w.reshape(len(w), -1).astype(float) ** 2).sum(1))
    np.testing.assert_allclose(after[:-1], np.minimum(lengths, bound)[:-1], rtol=1e-6)
    same = np.append(lengths[:-1] <= bound, True)
    np.testing.assert_array_equal(w[same], before[same])


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_projection_has_the_same_bits_for_any_number_of_threads(target: str, order: Any) -> None:
    start = np.asarray(normal(np.random.default_rng(0), (601, 703)), order=order)
    before, results = kernels.num_threads(), set()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            w, bias = start.copy("K"), start[0].copy()
            launch("sgd", (w, np.zeros_like(w), bias, np.zeros_like(bias)), (0.1, *NO_DECAY[:4], 20.0, 0.0))
            results.add(w.tobytes() + bias.tobytes())
    finally:
        kernels.set_num_threads(before)
    assert len(results) == 1
    assert not np.array_equal(w, start)
    np.testing.assert_array_equal(bias, start[0])


# The textbook in float64 ----------------------------------------------------------------------------


def trajectory(name: str, numbers: tuple[float, ...], decays: tuple[float, ...] = NO_DECAY, steps: int = 30,
               start: Any = None) -> Iterator[tuple[Any, Any]]:  # fmt: skip
    """The weights after each step, and the gradient of the next; ``step`` among the numbers is None."""
    rng = np.random.default_rng(0)
    w = normal(rng, (20,)) if start is None else start
    states = [np.zeros_like(w) for _ in KERNELS[name].outputs[1:]]
    for step in range(steps):
        g = normal(rng, w.shape)
        yield w.astype(np.float64), g.astype(np.float64)
        scalars = tuple(step if number is None else number for number in numbers)
        launch(name, (w, *states, g), (*scalars, *decays))
    yield w.astype(np.float64), None


def assert_follows(path: Iterator[tuple[Any, Any]], formula: Callable[[Any, Any, int], Any]) -> None:
    """``formula(w, g, t)`` gives the weights after update t = 1, 2, ...; it keeps its own states."""
    w, g = next(path)
    for t, (found, following) in enumerate(path, start=1):
        w = formula(w, g, t)
        np.testing.assert_allclose(found, w, rtol=2e-5, atol=1e-5)
        g = following


@pytest.mark.parametrize("nesterov", [0.0, 1.0])
@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_momentum_of_the_textbook(target: str, nesterov: float, dampening: float) -> None:
    """Sutskever et al. 2013, with the learning rate outside the velocity."""
    lr, mu, decay, velocity = 0.1, 0.9, 0.01, np.zeros(20)

    def formula(w: Any, g: Any, t: int) -> Any:
        nonlocal velocity
        d = g + decay * w
        velocity = d if t == 1 else mu * velocity + (1 - dampening) * d
        return w - lr * (d + mu * velocity if nesterov else velocity)

    path = trajectory("sgd_momentum", (lr, mu, dampening, nesterov, None), (decay, *NO_DECAY[1:]))
    assert_follows(path, formula)


def test_adagrad_of_the_paper(target: str) -> None:
    """Duchi, Hazan and Singer 2011, with PyTorch's decay of the rate."""
    lr, lr_decay, eps, total = 0.1, 0.05, 1e-10, np.zeros(20)

    def formula(w: Any, g: Any, t: int) -> Any:
        nonlocal total
        total = total + g**2
        return w - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(total) + eps)

    assert_follows(trajectory("adagrad", (lr, lr_decay, eps, 0.0, None)), formula)


@pytest.mark.parametrize("momentum", [None, 0.0, 0.9])
@pytest.mark.parametrize("centered", [False, True])
def test_rmsprop_of_the_lecture(target: str, centered: bool, momentum: float | None) -> None:
    """Tieleman and Hinton 2012; Graves 2013, equations 38 to 45, for the centred form; eps stands outside the root."""
    lr, alpha, eps = 0.01, 0.9, 1e-8
    square, mean, buffer = np.zeros((3, 20))

    def formula(w: Any, g: Any, t: int) -> Any:
        nonlocal square, mean, buffer
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        buffer = (momentum or 0) * buffer + g / (np.sqrt(square - (mean**2 if centered else 0)) + eps)
        return w - lr * buffer

    name = "rmsprop" + ("_centered" if centered else "") + ("" if momentum is None else "_momentum")
    assert_follows(trajectory(name, (lr, alpha, eps, *(() if momentum is None else (momentum,)), 0.0)), formula)


@pytest.mark.parametrize("momentum", ["", "_momentum"])
def test_the_centred_variance_is_never_below_0(target: str, momentum: str) -> None:
    """A constant gradient has the variance 0, which rounding can bring below: the root must stay real."""
    w, g = np.zeros(1000, np.float32), np.linspace(0.1, 3, 1000, dtype=np.float32)
    states = [np.zeros_like(w) for _ in KERNELS["rmsprop_centered" + momentum].outputs[1:]]
    for _ in range(300):
        numbers = (1e-3, 0.9, 1e-3, 0.9, 0.0) if momentum else (1e-3, 0.9, 1e-3, 0.0)
        launch("rmsprop_centered" + momentum, (w, *states, g), (*numbers, *NO_DECAY))
    assert np.isfinite(w).all()


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_of_the_paper(target: str, decoupled: bool) -> None:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2, for the decoupled decay."""
    lr, b1, b2, eps, decay = 0.1, 0.9, 0.999, 1e-8, 0.05
    first, second = np.zeros((2, 20))

    def formula(w: Any, g: Any, t: int) -> Any:
        nonlocal first, second
        d = g if decoupled else g + decay * w
        first, second = b1 * first + (1 - b1) * d, b2 * second + (1 - b2) * d**2
        w = w * (1 - lr * decay) if decoupled else w
        return w - lr * (first / (1 - b1**t)) / (np.sqrt(second / (1 - b2**t)) + eps)

    decays = (0.0, decay, *NO_DECAY[2:]) if decoupled else (decay, *NO_DECAY[1:])
    assert_follows(trajectory("adam", (lr, b1, b2, eps, None), decays), formula)


# The decays, which are the same around every formula --------------------------------------------------


@each_row(ROWS)
@pytest.mark.parametrize("proximal", [0.0, 1.0])
def test_l1_of_either_form(target: str, name: str, proximal: float) -> None:
    """Against the same step without l1: the subgradient enters the gradient, the threshold follows the step."""
    rng, lr, l1 = np.random.default_rng(0), 0.1, 0.5
    arrays = state(name, (1000,), np.float32, rng)
    w, g = arrays[0].copy(), arrays[-1].copy()
    plain = [a.copy() for a in arrays]
    own = SCALARS[name]()[:-6]
    launch(name, tuple(arrays), (*own, 0.0, 0.0, l1, proximal, math.inf, 0.0))
    if proximal:
        launch(name, tuple(plain), (*own, *NO_DECAY))
        expected = np.sign(plain[0]) * np.maximum(np.abs(plain[0]) - np.float32(lr * l1), 0)
        assert np.count_nonzero(arrays[0]) < 1000
    else:
        plain[-1] = g + np.float32(l1) * np.sign(w)
        launch(name, tuple(plain), (*own, *NO_DECAY))
        expected = plain[0]
    np.testing.assert_array_equal(arrays[0], expected)
    for got, wanted in zip(arrays[1:-1], plain[1:-1], strict=True):
        np.testing.assert_array_equal(got, wanted)


@each_row(ROWS)
def test_a_weight_that_is_not_finite_stays_what_it_is(target: str, name: str) -> None:
    """No decay touches it where the decay is 0; the threshold keeps NaN and infinity."""
    for decays in [NO_DECAY, (0.0, 0.0, 0.5, 1.0, math.inf, 0.0), (0.0, 0.5, *NO_DECAY[2:])]:
        arrays = state(name, (40,), np.float32, np.random.default_rng(0))
        arrays[0][:3] = np.nan, np.inf, -np.inf
        launch(name, tuple(arrays), (*SCALARS[name]()[:-6], *decays))
        np.testing.assert_array_equal(arrays[0][:3], [np.nan, np.inf, -np.inf])
        assert all(np.isfinite(a[3:]).all() for a in arrays)
