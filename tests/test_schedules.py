import builtins
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import optim, schedules
from minigrad.schedules import (
    ReduceOnPlateau,
    Schedule,
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    inverse_sqrt,
    inverse_time,
    join,
    linear,
    multistep,
    one_cycle,
    per_epoch,
    polynomial,
    repeat,
    scale,
    step,
    trapezoid,
    warmup,
)

ONE_OF_EACH: list[Schedule] = [
    constant(0.3),
    step(0.3, 7, gamma=0.3),
    multistep(0.3, (0, 5, 5, 70), gamma=0.3),
    multistep(0.3, ()),
    exponential(0.3, 0.97),
    exponential(1e-3, 1.1),
    inverse_sqrt(0.3),
    inverse_time(0.3, 0.1),
    linear(0.3, 100),
    linear(0.01, 100, eta_min=0.3),
    polynomial(0.3, 100, power=2, eta_min=0.01),
    cosine(0.3, 100),
    cosine(0.7, 37, eta_min=0.01),
    cosine(0.3, 0),
    one_cycle(0.3, 100),
    one_cycle(0.3, 50, pct_start=0.0, anneal="linear"),
    trapezoid(0.3, 100, warmup=11, cooldown=30, start=0.01, eta_min=0.02),
    cosine_restarts(0.3, 9),
    cosine_restarts(0.3, 3, T_mult=3, eta_min=0.1, decay=0.5),
    cyclic(0.1, 0.3, 7),
    cyclic(0.1, 0.3, 3, 8, mode="triangular2"),
    cyclic(0.1, 0.3, 0, 8, mode="exp_range", gamma=0.97),
    warmup(cosine(0.3, 50), 13, start=0.01),
    warmup(inverse_sqrt(0.3), 13, inside=True),
    join([linear(0.1, 20, eta_min=0.5), step(0.3, 5), constant(0.1)], [20, 60]),
    scale(cosine_restarts(0.3, 9), 0.3),
    scale(cosine(0.3, 99), warmup(constant(1), 7)),
    repeat(linear(0.3, 10), 10),
    per_epoch(step(0.3, 3), 7),
    per_epoch(warmup(cosine(0.3, 9), 2), 7, smooth=True),
]
EVERY_CLASS = [value for value in vars(schedules).values() if isinstance(value, type) and issubclass(value, Schedule)]

rates = st.just(0.0) | st.floats(1e-12, 1e3)
lengths = st.integers(1, 300) | st.integers(1, 10**7)
every_schedule = pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)


def test_there_is_one_of_each() -> None:
    assert {type(schedule) for schedule in ONE_OF_EACH} == set(EVERY_CLASS) - {Schedule}


# What holds for every schedule


@every_schedule
def test_an_array_gives_the_bits_of_its_scalars(schedule: Schedule) -> None:
    steps = np.linspace(0, 150, 1203).reshape(3, 401)
    steps[1] = np.arange(401)
    steps[2, :3] = 1e6, 1e15, 2.0**53
    together = schedule(steps)
    assert together.dtype == np.float64
    np.testing.assert_array_equal(together.ravel(), [schedule(float(step)) for step in steps.flat])
    np.testing.assert_array_equal(together[::-1, ::2], schedule(steps[::-1, ::2]))
    assert (together >= 0).all()


@every_schedule
@pytest.mark.parametrize("scalar", [7, 7.0, np.int64(7), np.uint8(7), np.float32(7), np.array(7)])
def test_a_scalar_gives_a_python_float(schedule: Schedule, scalar: Any) -> None:
    assert type(schedule(scalar)) is float
    assert schedule(scalar) == schedule(7)


@every_schedule
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float32, np.float64])
def test_any_real_dtype_of_steps_is_computed_in_float64(schedule: Schedule, dtype: Any) -> None:
    steps = np.arange(120).astype(dtype)
    before = steps.copy()
    out = schedule(steps)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, schedule(np.arange(120)))
    np.testing.assert_array_equal(steps, before)


@every_schedule
def test_sequences_and_empty_arrays(schedule: Schedule) -> None:
    np.testing.assert_array_equal(schedule([0, 5]), [schedule(0), schedule(5)])
    assert schedule(np.zeros((0, 3))).shape == (0, 3)


@every_schedule
def test_is_a_frozen_value(schedule: Schedule) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    assert copy(5) == schedule(5)
    assert eval(repr(schedule), vars(schedules)) == schedule
    with pytest.raises(FrozenInstanceError):
        setattr(schedule, fields(schedule)[0].name, 1.0)  # type: ignore[arg-type]


def test_numbers_of_numpy_become_plain_ones() -> None:
    schedule = cosine(np.float32(0.5), np.int8(100), eta_min=np.longdouble(0.25))  # type: ignore[arg-type]
    assert schedule == cosine(0.5, 100, eta_min=0.25)
    assert repr(schedule) == repr(cosine(0.5, 100, eta_min=0.25))
    assert cosine_restarts(1.0, np.int8(100), T_mult=np.int8(3))(399) < 0.01  # type: ignore[arg-type]
    assert multistep(1.0, np.array([3, 4])).milestones == (3, 4)  # type: ignore[arg-type]


@every_schedule
@pytest.mark.parametrize("step", [-1, -0.5, np.nan, np.inf, [3, -1], np.array([[0.0, np.nan]]), np.longdouble("1e400")])
def test_refuses_steps_that_are_no_update_number(schedule: Schedule, step: Any) -> None:
    with pytest.raises(ValueError, match="step must be finite and not negative, got"):
        schedule(step)


@every_schedule
@pytest.mark.parametrize("step", [None, "3", True, 1j, [None], np.array([True])])
def test_refuses_steps_that_are_no_numbers(schedule: Schedule, step: Any) -> None:
    with pytest.raises(TypeError, match="step must be an int, a float or an array of these, got"):
        schedule(step)


RATES: dict[str, Callable[[Any], Any]] = {
    "lr": constant,
    "lr ": lambda x: linear(x, 10),
    "lr  ": lambda x: inverse_sqrt(x),
    "eta_min": lambda x: cosine(1.0, 10, eta_min=x),
    "eta_min ": lambda x: polynomial(1.0, 10, eta_min=x),
    "gamma": lambda x: step(1.0, 10, gamma=x),
    "gamma ": lambda x: exponential(1.0, x),
    "gamma  ": lambda x: cyclic(0.1, 1.0, 10, gamma=x),
    "decay": lambda x: inverse_time(1.0, x),
    "decay ": lambda x: cosine_restarts(1.0, 10, decay=x),
    "power": lambda x: polynomial(1.0, 10, power=x),
    "pct_start": lambda x: one_cycle(1.0, 10, pct_start=x),
    "div_factor": lambda x: one_cycle(1.0, 10, div_factor=x),
    "max_lr": lambda x: cyclic(0.1, x, 10),
    "start": lambda x: trapezoid(1.0, 10, warmup=1, cooldown=1, start=x),
    "start ": lambda x: warmup(constant(1), 10, start=x),
    "factor": lambda x: scale(constant(1), x),
    "factor ": lambda x: ReduceOnPlateau(1.0, factor=x),
    "min_lr": lambda x: ReduceOnPlateau(1.0, min_lr=x),
}


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize(
    ("rate", "error"),
    [
        (-0.1, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (10**400, ValueError),
        ("0.1", TypeError),
        (True, TypeError),
        (None, TypeError),
    ],
)
def test_refuses_rates(name: str, rate: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{name.strip()} must be"):
        RATES[name](rate)


LENGTHS: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "T_max": (0, lambda n: cosine(0.1, n)),
    "T_max ": (0, lambda n: one_cycle(0.1, n)),
    "step_size": (1, lambda n: step(0.1, n)),
    "milestones": (0, lambda n: multistep(0.1, [n])),
    "milestones ": (0, lambda n: join([constant(1), constant(2)], [n])),
    "T_0": (1, lambda n: cosine_restarts(0.1, n)),
    "T_mult": (1, lambda n: cosine_restarts(0.1, 5, T_mult=n)),
    "step_size_up": (0, lambda n: cyclic(0.1, 0.2, n, 1)),
    "step_size_down": (0, lambda n: cyclic(0.1, 0.2, 1, n)),
    "warmup": (0, lambda n: trapezoid(0.1, 2**53, warmup=n, cooldown=0)),
    "cooldown": (0, lambda n: trapezoid(0.1, 2**53, warmup=0, cooldown=n)),
    "steps": (0, lambda n: warmup(constant(1), n)),
    "steps ": (1, lambda n: constant(1).plot(n)),
    "period": (1, lambda n: repeat(constant(1), n)),
    "steps_per_epoch": (1, lambda n: per_epoch(constant(1), n)),
    "patience": (0, lambda n: ReduceOnPlateau(0.1, patience=n)),
    "cooldown ": (0, lambda n: ReduceOnPlateau(0.1, cooldown=n)),
}


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize(
    ("length", "error"),
    [(-1, ValueError), (2**53 + 1, ValueError), (10.0, TypeError), (True, TypeError), ("5", TypeError)],
)
def test_refuses_lengths(name: str, length: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{name.strip()} must .*got {length!r}"):
        LENGTHS[name][1](length)


@pytest.mark.parametrize("name", LENGTHS)
def test_zero_length_is_taken_where_it_has_a_meaning(name: str) -> None:
    least, make = LENGTHS[name]
    if least:
        with pytest.raises(ValueError, match=f"{name.strip()} must be at least 1, got 0"):
            make(0)
    else:
        make(0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: multistep(0.1, [5, 4]), ValueError, "milestones must be in rising order"),
        (lambda: multistep(0.1, 5), TypeError, "milestones must be a sequence"),  # type: ignore[arg-type]
        (lambda: multistep(0.1, "57"), TypeError, "milestones must be a sequence"),  # type: ignore[arg-type]
        (lambda: polynomial(0.1, 5, power=0), ValueError, "power must be above 0"),
        (lambda: one_cycle(0.1, 5, pct_start=1.5), ValueError, "pct_start must be from 0 to 1"),
        (lambda: one_cycle(0.1, 5, final_div_factor=0), ValueError, "final_div_factor must be above 0"),
        (lambda: one_cycle(1e300, 5, div_factor=1e-300), ValueError, "div_factor must be above 0, and large enough"),
        (lambda: one_cycle(0.1, 5, anneal="cos"), ValueError, "anneal must be 'cosine' or 'linear'"),
        (lambda: trapezoid(0.1, 5, warmup=3, cooldown=3), ValueError, "at most T_max, got 3 [+] 3 of 5"),
        (lambda: cosine_restarts(0.1, 5, decay=1.5), ValueError, "decay must be from 0 to 1"),
        (lambda: cyclic(0.1, 0.2, 0), ValueError, "a cycle must have at least 1 update"),
        (lambda: cyclic(0.1, 0.2, 0, 0), ValueError, "a cycle must have at least 1 update"),
        (lambda: cyclic(0.1, 0.2, 5, mode="square"), ValueError, "mode must be 'triangular' or"),
        (lambda: warmup(lambda step: 0.1, 5), TypeError, "schedule must be a Schedule"),  # type: ignore[arg-type]
        (lambda: warmup(constant(1), 5, inside=1), TypeError, "inside must be True or False"),  # type: ignore[arg-type]
        (lambda: join(constant(1), []), TypeError, "schedules must be a sequence"),  # type: ignore[arg-type]
        (lambda: join([0.1], []), TypeError, "schedules must be a Schedule"),  # type: ignore[list-item]
        (lambda: join([], []), ValueError, "milestones must be one fewer"),
        (lambda: join([constant(1)], [5]), ValueError, "milestones must be one fewer than schedules, got 1 for 1"),
        (lambda: join([constant(1)] * 3, [5, 4]), ValueError, "milestones must be in rising order"),
        (lambda: scale(0.1, 0.1), TypeError, "schedule must be a Schedule"),  # type: ignore[arg-type]
        (lambda: ReduceOnPlateau(0.1, factor=1), ValueError, "factor must be below 1"),
        (lambda: ReduceOnPlateau(0.1, mode="less"), ValueError, "mode must be 'min' or 'max'"),
        (lambda: ReduceOnPlateau(0.1, mode=np.array(["min", "max"])), ValueError, "mode must be 'min' or 'max'"),
        (lambda: ReduceOnPlateau(0.1, threshold_mode="r"), ValueError, "threshold_mode must be 'rel' or 'abs'"),
    ],
)  # fmt: skip
def test_refuses_arguments(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# The contract: step 0, last step, beyond, zero length


@given(lr=rates, other=rates, T=lengths, w=st.integers(0, 300), late=st.integers(0, 10**9) | st.just(10**15))
def test_both_ends_are_met_exactly(lr: float, other: float, T: int, w: int, late: int) -> None:
    ends: list[tuple[Schedule, float, int, float]] = [  # a schedule, its rate at step 0, its length, its last rate
        (constant(lr), lr, 0, lr),
        (multistep(lr, (T, T + w), gamma=0), lr, T + w, 0.0),
        (linear(lr, T, eta_min=other), lr, T, other),
        (polynomial(lr, T, power=0.7, eta_min=other), lr, T, other),
        (cosine(lr, T, eta_min=other), lr, T, other),
        (one_cycle(lr, T), lr / 25, T, lr / 25 / 1e4),
        (one_cycle(lr, T, pct_start=0.0), lr, T, lr / 25 / 1e4),
        (one_cycle(lr, T, pct_start=1.0, anneal="linear"), lr / 25, T, lr / 25 / 1e4),
        (trapezoid(lr, T + w, warmup=T, cooldown=w, start=other, eta_min=other), other, T + w, other),
        (trapezoid(lr, T, warmup=0, cooldown=0, eta_min=other), lr, T, other),
        (warmup(linear(lr, w, eta_min=other), T, start=other), other, T + w, other),
        (warmup(linear(lr, T, eta_min=other), T, start=other, inside=True), other, T, other),
        (join([constant(lr), constant(other)], [T]), lr, T, other),
        (scale(constant(0.5), linear(lr, T, eta_min=other)), lr / 2, T, other / 2),
    ]
    for schedule, first, length, last in ends:
        assert schedule(0) == first, schedule
        assert schedule(length) == last, schedule
        assert schedule(length + late) == last, schedule
    goes_on: list[Schedule] = [
        step(lr, T), exponential(lr, 0.9), inverse_sqrt(lr), inverse_time(lr, 0.1), cosine_restarts(lr, T),
        cosine_restarts(lr, T, T_mult=2, decay=0.5, eta_min=other), cyclic(lr, other, T), cyclic(other, lr, 0, T),
        repeat(constant(lr), T), per_epoch(exponential(lr, 0.9), T),
    ]  # fmt: skip
    for schedule in goes_on:
        assert schedule(0) == lr, schedule
        assert np.isfinite(schedule(late)), schedule


@given(lr=rates, eta_min=rates, at=st.integers(0, 10**9) | st.just(10**15))
def test_what_has_zero_length_is_at_its_end_and_a_part_of_zero_length_is_none(
    lr: float, eta_min: float, at: int
) -> None:
    for at_its_end in (
        cosine(lr, 0, eta_min=eta_min),
        linear(lr, 0, eta_min=eta_min),
        polynomial(lr, 0, eta_min=eta_min),
        trapezoid(lr, 0, warmup=0, cooldown=0, eta_min=eta_min),
    ):
        assert at_its_end(at) == eta_min, at_its_end
    assert one_cycle(lr, 0)(at) == lr / 25 / 1e4
    assert multistep(lr, ())(at) == lr
    for schedule in ONE_OF_EACH:
        expected = schedule(at)
        for same in (
            warmup(schedule, 0, start=lr),
            warmup(schedule, 0, start=lr, inside=True),
            join([schedule], []),
            join([constant(lr), schedule], [0]),
            join([constant(lr), constant(lr), schedule], [0, 0]),
            scale(schedule, 1),
            scale(schedule, constant(1)),
            scale(constant(1), schedule),
            per_epoch(schedule, 1),
            per_epoch(schedule, 1, smooth=True),
            repeat(schedule, 2**53),
        ):
            assert same(at) == expected, same


@given(n=st.integers(1, 60), m=st.integers(1, 60), factor=rates)
def test_nested_schedules_are_the_plain_ones(n: int, m: int, factor: float) -> None:
    steps = np.arange(200)
    other = linear(0.7, 30, eta_min=0.2)
    for schedule in ONE_OF_EACH:
        plain = schedule(steps)
        assert (repeat(schedule, 200)(steps) == plain).all()
        twice = repeat(repeat(schedule, n), n)(steps)
        assert (twice == repeat(schedule, n)(steps)).all()
        assert (twice == plain[steps % n]).all()
        assert (per_epoch(per_epoch(schedule, n), m)(steps) == per_epoch(schedule, n * m)(steps)).all()
        assert (per_epoch(schedule, n)(steps) == plain[steps // n]).all()
        assert (scale(scale(schedule, 2.0), 0.5)(steps) == plain).all()
        assert (scale(schedule, factor)(steps) == factor * plain).all()
        assert (join([schedule, schedule], [n])(steps) == np.concatenate([plain[:n], plain[: 200 - n]])).all()
        inner = join([join([schedule, other], [n]), schedule], [n + m])(steps)
        assert (inner == join([schedule, other, schedule], [n, n + m])(steps)).all()
        outer = join([schedule, join([other, schedule], [m])], [n])(steps)
        assert (outer == inner).all()
        warm = warmup(schedule, n, start=0.25)(steps)
        assert (warm == join([linear(0.25, n, eta_min=plain[0]), schedule], [n])(steps)).all()
        within = warmup(schedule, n, start=0.25, inside=True)(steps)
        assert (within[n:] == plain[n:]).all()
        assert (within[:n] == linear(0.25, n, eta_min=plain[n])(steps[:n])).all()


# Each against its closed formula, in exact arithmetic

Exact = Any  # an mpmath number


def wave(mp: Any, t: Any) -> Exact:
    return (1 + mp.cos(mp.pi * t)) / 2


def share(mp: Any, step: int, T: int) -> Exact:
    return mp.mpf(min(step, T)) / T if T else mp.mpf(1)


def exact_cycle(step: int, T_0: int, T_mult: int) -> tuple[int, int, int]:
    """Cycle, steps since it began, its length: one cycle after the other."""
    i, length = 0, T_0
    if T_mult == 1:
        return step // T_0, step % T_0, T_0
    while step >= length:
        i, step, length = i + 1, step - length, length * T_mult
    return i, step, length


def exact_restarts(mp: Any, s: Any, t: int) -> Exact:
    i, since, length = exact_cycle(t, s.T_0, s.T_mult)
    return s.eta_min + (mp.mpf(s.lr) - s.eta_min) * mp.mpf(s.decay) ** i * wave(mp, mp.mpf(since) / length)


def exact_triangle(s: Any, step: int) -> tuple[int, Fraction]:
    down = s.step_size_up if s.step_size_down is None else s.step_size_down
    cycle, since = divmod(step, s.step_size_up + down)
    up = since < s.step_size_up
    height = Fraction(since, s.step_size_up) if up else Fraction(s.step_size_up + down - since, down)
    return cycle, height


def exact_one_cycle(mp: Any, s: Any, t: int) -> Exact:
    peak = mp.mpf(s.pct_start) * s.T_max
    low, last = mp.mpf(s.lr) / s.div_factor, mp.mpf(s.lr) / s.div_factor / s.final_div_factor
    if t >= s.T_max:
        return last
    a, b, done = (low, s.lr, t / peak) if t < peak else (s.lr, last, (t - peak) / (s.T_max - peak))
    return a + (b - a) * (1 - wave(mp, done) if s.anneal == "cosine" else done)


def exact_trapezoid(mp: Any, s: Any, t: int) -> Exact:
    if t < s.warmup:
        return s.start + (mp.mpf(s.lr) - s.start) * t / s.warmup
    fallen = t - (s.T_max - s.cooldown)
    return s.lr + (mp.mpf(s.eta_min) - s.lr) * min(fallen, s.cooldown) / s.cooldown if fallen > 0 else mp.mpf(s.lr)


# For each a strategy, its formula, and the bound: so many units of 2**-52 relative to the rate or to its lowest value.
CLOSED: dict[str, tuple[Any, Callable[[Any, Any, int], Exact], int]] = {
    "step": (
        st.builds(step, rates, lengths, gamma=st.floats(0, 1)),
        lambda mp, s, t: s.lr * mp.mpf(s.gamma) ** (t // s.step_size), 2,
    ),
    "multistep": (
        st.builds(multistep, rates, st.lists(lengths, max_size=5).map(sorted), gamma=st.floats(0, 1e9)),
        lambda mp, s, t: s.lr * mp.mpf(s.gamma) ** sum(t >= m for m in s.milestones), 2,
    ),
    "exponential": (
        st.builds(exponential, rates, st.floats(0, 1) | st.just(1 + 1e-14)),
        lambda mp, s, t: s.lr * mp.mpf(s.gamma) ** t, 2,
    ),
    "inverse_sqrt": (st.builds(inverse_sqrt, rates), lambda mp, s, t: s.lr / mp.sqrt(max(t, 1)), 1),
    "inverse_time": (
        st.builds(inverse_time, rates, rates), lambda mp, s, t: s.lr / (1 + mp.mpf(s.decay) * t), 2,
    ),
    "linear": (st.builds(linear, rates, lengths), lambda mp, s, t: s.lr * (1 - share(mp, t, s.T_max)), 1),
    "linear to": (
        st.builds(linear, rates, lengths, eta_min=rates),
        lambda mp, s, t: s.lr + (mp.mpf(s.eta_min) - s.lr) * share(mp, t, s.T_max), 2,
    ),
    "polynomial": (
        st.builds(polynomial, rates, lengths, power=st.floats(0.1, 5), eta_min=rates),
        lambda mp, s, t: s.eta_min + (mp.mpf(s.lr) - s.eta_min) * (1 - share(mp, t, s.T_max)) ** mp.mpf(s.power), 6,
    ),
    "cosine": (
        st.builds(cosine, rates, lengths, eta_min=rates),
        lambda mp, s, t: s.eta_min + (mp.mpf(s.lr) - s.eta_min) * wave(mp, share(mp, t, s.T_max)), 8,
    ),
    "one_cycle": (
        st.builds(
            one_cycle, rates, lengths, pct_start=st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]),
            div_factor=st.floats(0.5, 100), final_div_factor=st.floats(1, 1e5),
            anneal=st.sampled_from(["cosine", "linear"]),
        ), exact_one_cycle, 8,
    ),
    "trapezoid": (
        st.builds(
            lambda lr, a, b, c, **k: trapezoid(lr, a + b + c, warmup=a, cooldown=c, **k),
            rates, lengths, lengths, lengths, start=rates, eta_min=rates,
        ), exact_trapezoid, 2,
    ),
    "cosine_restarts": (
        st.builds(cosine_restarts, rates, lengths, T_mult=st.integers(1, 5), eta_min=rates, decay=st.floats(0, 1)),
        exact_restarts, 10,
    ),
    "triangular": (
        st.builds(cyclic, rates, rates, lengths, st.none() | lengths),
        lambda mp, s, t: s.base_lr + (mp.mpf(s.max_lr) - s.base_lr) * mp.mpf(exact_triangle(s, t)[1]), 4,
    ),
    "triangular2": (
        st.builds(cyclic, rates, rates, lengths, st.none() | lengths, mode=st.just("triangular2")),
        lambda mp, s, t: s.base_lr + (mp.mpf(s.max_lr) - s.base_lr) * mp.mpf(exact_triangle(s, t)[1])
        / mp.mpf(2) ** exact_triangle(s, t)[0], 4,
    ),
    "exp_range": (
        st.builds(cyclic, rates, rates, lengths, st.just(0), mode=st.just("exp_range"), gamma=st.floats(0.99, 1)),
        lambda mp, s, t: s.base_lr + (mp.mpf(s.max_lr) - s.base_lr) * mp.mpf(exact_triangle(s, t)[1])
        * mp.mpf(s.gamma) ** t, 6,
    ),
    "warmup": (
        st.builds(warmup, st.builds(inverse_sqrt, rates), lengths, start=rates, inside=st.just(True)),
        lambda mp, s, t: s.start + (s.schedule.lr / mp.sqrt(s.steps) - s.start) * t / s.steps if t < s.steps
        else s.schedule.lr / mp.sqrt(t), 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
@given(data=st.data())
def test_is_its_formula(name: str, data: st.DataObject) -> None:
    mpmath = pytest.importorskip("mpmath")
    strategy, formula, ulps = CLOSED[name]
    schedule = data.draw(strategy)
    length = max([1, *(v for f in fields(schedule) if isinstance(v := getattr(schedule, f.name), int))])
    at = data.draw(
        st.integers(0, 2 * length) | st.integers(max(0, length - 3), length + 3) | st.integers(10**15, 10**15 + 9)
    )
    with mpmath.workdps(60):
        exact = formula(mpmath.mp, schedule, at)
        # Relative also where the rate is nearly 0, towards the end: nothing may cancel. What is added to a lowest
        # rate is as exact as that.
        floor = 0.0
        if isinstance(schedule, (polynomial, cosine_restarts)):
            floor = schedule.eta_min
        elif isinstance(schedule, cyclic):
            floor = schedule.base_lr
        lost = 1e3 * mpmath.mpf(2) ** -1073  # where gamma^n leaves the normal range
        assert abs(schedule(at) - exact) <= ulps * 2.0**-52 * max(exact, floor) + lost


@given(lr=rates, eta_min=rates, T_max=st.integers(1, 300))
def test_decays_stay_between_their_ends_and_fall(lr: float, eta_min: float, T_max: int) -> None:
    assume(eta_min <= lr)
    for schedule in (
        cosine(lr, T_max, eta_min=eta_min),
        linear(lr, T_max, eta_min=eta_min),
        polynomial(lr, T_max, power=3, eta_min=eta_min),
        trapezoid(lr, T_max, warmup=0, cooldown=T_max, eta_min=eta_min),
        one_cycle(lr, T_max, pct_start=0.0),
    ):
        curve = schedule(np.arange(T_max + 1))
        rounding = 1e-15 * lr
        assert (np.diff(curve) <= rounding).all()
        assert (curve >= schedule(T_max) - rounding).all()
        assert (curve <= lr + rounding).all()


def test_fractions_of_a_step_are_taken() -> None:
    assert cosine(1.0, 3)(1.5) == pytest.approx(0.5, rel=1e-15)
    assert cosine_restarts(1.0, 3, T_mult=2)(6.0) == pytest.approx(0.5, rel=1e-15)
    assert cyclic(0.0, 1.0, 1)(0.25) == 0.25
    assert per_epoch(linear(1.0, 4), 8, smooth=True)(4) == 0.875


def test_a_rate_that_leaves_float64_is_refused_by_the_optimizer() -> None:
    grows = exponential(1.0, 10.0)
    assert grows(400) == np.inf
    assert exponential(0.0, 10.0)(400) == 0.0
    group = optim.SGD([mg.tensor([1.0], requires_grad=True)], lr=grows).param_groups[0]
    with pytest.raises(ValueError, match="lr must be a finite number"):
        group.rate(400)


def test_the_lecture() -> None:
    """Steps at 30, 60 and 90 epochs, cosine, linear, inverse square root: alpha_0 = 0.1."""
    epochs, T = np.arange(120), 100
    np.testing.assert_allclose(step(0.1, 30, gamma=0.1)(epochs), 0.1 * 0.1 ** (epochs // 30), rtol=4e-16)
    np.testing.assert_allclose(multistep(0.1, (30, 60, 90))(epochs), 0.1 * 0.1 ** (epochs // 30), rtol=4e-16)
    t = np.arange(T + 1)
    np.testing.assert_allclose(cosine(0.1, T)(t), 0.1 / 2 * (1 + np.cos(t * np.pi / T)), rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(linear(0.1, T)(t), 0.1 * (1 - t / T), rtol=1e-14)
    np.testing.assert_allclose(inverse_sqrt(0.1)(t[1:]), 0.1 / np.sqrt(t[1:]), rtol=0)
    assert inverse_sqrt(0.1)(0) == 0.1


# With an optimizer


def trained(schedule: Any, updates: int, resume: int | None = None, captured: bool = False) -> list[Any]:
    """Weights and rate after so many updates of a small problem, in one go or in two."""
    x = np.linspace(-1, 1, 3 * updates, dtype=np.float32).reshape(updates, 3)
    w = mg.tensor(np.ones((1, 3), np.float32), requires_grad=True)
    sgd = optim.SGD([w], lr=schedule, momentum=0.5)

    def update(rows: Any) -> Any:
        sgd.zero_grad()
        loss = (w * rows).sum()
        loss.backward()
        sgd.step()
        return loss

    made = 0
    for until in (updates,) if resume is None else (resume, updates):
        if captured:
            program = mg.capture(update, x[made : made + 1])
            if until > made + 1:
                program.run((x,), np.arange(made + 1, until))
        else:
            for i in range(made, until):
                update(x[i : i + 1])
        if until < updates:  # everything is made anew from what was saved
            weights, state = w.numpy().copy(), sgd.state_dict()
            w = mg.tensor(weights, requires_grad=True)
            sgd = optim.SGD([w], lr=schedule, momentum=0.5)
            sgd.load_state_dict(state)
        made = until
    return [w.numpy().tobytes(), sgd.param_groups[0]["lr"], int(sgd.step_count)]


@every_schedule
def test_a_resumed_run_is_the_straight_one_eager_and_replayed(schedule: Schedule) -> None:
    straight = trained(schedule, 60)
    assert straight[1:] == [schedule(59), 60]
    assert trained(schedule, 60, resume=23) == straight
    assert trained(schedule, 60, captured=True) == straight
    assert trained(schedule, 60, resume=23, captured=True) == straight


def test_a_replayed_run_is_longer_than_the_table_of_rates() -> None:
    schedule = join([warmup(cosine(0.3, 1000), 20), cyclic(0.0, 0.1, 7)], [1023])
    assert trained(schedule, 1100, captured=True) == trained(schedule, 1100)


# ReduceOnPlateau


def reduced(metrics: list[float], sign: int, **options: Any) -> list[float]:
    plateau = ReduceOnPlateau(1.0, mode="min" if sign > 0 else "max", factor=0.5, **options)
    return [plateau.step(sign * metric) for metric in metrics]


@given(
    metrics=st.lists(st.floats(-3, 3) | st.sampled_from([0.0, 1.0, np.inf, np.nan]), max_size=40),
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 0.1, 0.5]),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    sign=st.sampled_from([1, -1]),
)
def test_reduce_on_plateau_is_the_plain_loop(
    metrics: list[float], patience: int, cooldown: int, threshold: float, threshold_mode: str, sign: int
) -> None:
    rate, best, bad, wait, expected = 1.0, np.inf, 0, 0, []
    for metric in metrics:
        margin = threshold * (abs(best) if best < np.inf else 0) if threshold_mode == "rel" else threshold
        better = metric < np.inf if best == np.inf else best - metric > margin  # a NaN never is
        best = metric if better else best
        bad = 0 if better or wait > 0 else bad + 1
        wait = max(wait - 1, 0)
        if bad > patience:
            rate, bad, wait = max(rate / 2, 1e-3), 0, cooldown
        expected.append(rate)
    options: dict[str, Any] = {
        "patience": patience, "cooldown": cooldown, "threshold": threshold, "threshold_mode": threshold_mode,
        "min_lr": 1e-3,
    }  # fmt: skip
    assert reduced(metrics, sign, **options) == expected
    # A state goes on as if it had never stopped.
    half = len(metrics) // 2
    mode = "min" if sign > 0 else "max"
    first, second = (ReduceOnPlateau(1.0, mode=mode, factor=0.5, **options) for _ in range(2))
    rates = [first.step(sign * metric) for metric in metrics[:half]]
    second.load_state_dict(first.state_dict())
    assert rates + [second.step(sign * metric) for metric in metrics[half:]] == expected


@pytest.mark.parametrize("offset", [-100.0, 0.0, 100.0])
def test_a_relative_threshold_is_safe_for_every_sign(offset: float) -> None:
    worse = [offset + 0.001 * i for i in range(5)]  # PyTorch's test calls these better for a negative best
    assert reduced(worse, 1, patience=0, threshold=0.01) == [1.0, 0.5, 0.25, 0.125, 0.0625]
    better = [offset - 10.0 * i for i in range(5)]
    assert reduced(better, 1, patience=0, threshold=0.01) == [1.0] * 5


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_never_the_best(bad: float, sign: int) -> None:
    assert reduced([bad, 3.0, 2.0, bad, 1.0], sign, patience=0) == [0.5, 0.5, 0.5, 0.25, 0.25]


def test_reduce_on_plateau_never_raises_the_rate() -> None:
    plateau = ReduceOnPlateau(0.1, patience=0, min_lr=0.5)
    assert [plateau.step(1.0) for _ in range(3)] == [0.1] * 3


@pytest.mark.parametrize("metric", [None, "3", True])
def test_reduce_on_plateau_refuses_what_is_no_metric(metric: Any) -> None:
    plateau = ReduceOnPlateau(0.1)
    with pytest.raises(TypeError, match="metric must be a number"):
        plateau.step(metric)
    assert plateau.state_dict() == ReduceOnPlateau(0.1).state_dict()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"lr": -1.0}, ValueError),
        ({"best": np.nan}, ValueError),
        ({"best": "3"}, ValueError),
        ({"bad_epochs": -1}, ValueError),
        ({"cooling": 1.5}, TypeError),
        ({"more": 1}, KeyError),
    ],
)
def test_reduce_on_plateau_refuses_other_states(change: dict[str, Any], error: type[Exception]) -> None:
    plateau = ReduceOnPlateau(0.1)
    plateau.step(mg.tensor(3.0))
    before = plateau.state_dict()
    assert before == {"lr": 0.1, "best": 3.0, "bad_epochs": 0, "cooling": 0}
    with pytest.raises(error):
        plateau.load_state_dict(before | change)
    with pytest.raises(TypeError, match="the state must be a dict, got NoneType"):
        plateau.load_state_dict(None)  # type: ignore[arg-type]
    assert plateau.state_dict() == before
    assert "patience=10" in repr(plateau)


@pytest.mark.parametrize("capture", [False, True])
def test_fit_tells_reduce_on_plateau_by_the_callback(capture: bool) -> None:
    x, y = np.eye(6, 4, dtype=np.float32), np.arange(6) % 3
    model = mg.nn.Linear(4, 3, rng=0)
    plateau = ReduceOnPlateau(0.5, factor=0.5, patience=0, threshold=10.0, threshold_mode="abs")  # it never improves
    history = mg.training.fit(
        model, (x, y), optimizer=optim.SGD(model.parameters(), lr=plateau), epochs=4, batch_size=3, rng=0,
        validation=(x, y), progress=False, callback=lambda epoch: plateau.step(epoch.val_loss), capture=capture,
    )  # fmt: skip
    assert [epoch.lr for epoch in history.epochs] == [0.5, 0.5, 0.25, 0.125]


# The picture


@every_schedule
def test_plot_draws_the_rates(schedule: Schedule) -> None:
    pytest.importorskip("matplotlib")
    axes = schedule.plot(90)
    assert schedule.plot(20, axes) is axes
    assert len(schedule.plot().lines[0].get_xdata()) == 1000
    for line, n in zip(axes.lines, (90, 20), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(n))
        np.testing.assert_array_equal(line.get_ydata(), schedule(np.arange(n)))
        assert line.get_label() == repr(schedule)


def test_plot_names_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"minigrad\[plot\]"):
        constant(0.1).plot(5)
