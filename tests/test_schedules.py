import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigrad import schedules
from minigrad.schedules import Schedule, constant, cosine

ONE_OF_EACH: list[Schedule] = [constant(0.3), cosine(0.3, 100), cosine(0.7, 37, eta_min=0.01), cosine(0.3, 0)]

rates = st.just(0.0) | st.floats(1e-12, 1e3)
every_schedule = pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=repr)


# What holds for every schedule


@every_schedule
def test_an_array_gives_the_bits_of_its_scalars(schedule: Schedule) -> None:
    steps = np.linspace(0, 150, 1203).reshape(3, 401)
    together = schedule(steps)
    assert together.dtype == np.float64
    np.testing.assert_array_equal(together.ravel(), [schedule(float(step)) for step in steps.flat])
    np.testing.assert_array_equal(together[::-1, ::2], schedule(steps[::-1, ::2]))


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
        schedule.lr = 1.0  # type: ignore[attr-defined]


@every_schedule
@pytest.mark.parametrize("step", [-1, -0.5, np.nan, np.inf, [3, -1], np.array([[0.0, np.nan]])])
def test_refuses_steps_that_are_no_update_number(schedule: Schedule, step: Any) -> None:
    with pytest.raises(ValueError, match="step must be finite and not negative, got"):
        schedule(step)


@every_schedule
@pytest.mark.parametrize("step", [None, "3", True, 1j, [None], np.array([True])])
def test_refuses_steps_that_are_no_numbers(schedule: Schedule, step: Any) -> None:
    with pytest.raises(TypeError, match="step must be an int, a float or an array of these, got"):
        schedule(step)


@pytest.mark.parametrize("make", [constant, lambda x: cosine(x, 10), lambda x: cosine(1.0, 10, eta_min=x)])
@pytest.mark.parametrize(
    ("rate", "error"),
    [(-0.1, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("0.1", TypeError), (True, TypeError)],
)
def test_refuses_rates(make: Any, rate: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"(lr|eta_min) must be"):
        make(rate)


@pytest.mark.parametrize(("T_max", "error"), [(-1, ValueError), (10.0, TypeError), (True, TypeError)])
def test_refuses_lengths(T_max: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"T_max must .*got {T_max!r}"):
        cosine(0.1, T_max)


# Each schedule by itself


@given(lr=rates, step=st.integers(0, 10**12))
def test_constant(lr: float, step: int) -> None:
    assert constant(lr)(step) == lr


@given(lr=rates, eta_min=rates, T_max=st.integers(1, 10**7), late=st.integers(0, 10**9))
def test_cosine_meets_its_ends_exactly_and_stays(lr: float, eta_min: float, T_max: int, late: int) -> None:
    schedule = cosine(lr, T_max, eta_min=eta_min)
    assert schedule(0) == lr
    assert schedule(T_max) == eta_min
    assert schedule(T_max + late) == eta_min


@given(lr=rates, eta_min=rates, step=st.integers(0, 10**9))
def test_cosine_of_zero_length_is_at_its_end(lr: float, eta_min: float, step: int) -> None:
    assert cosine(lr, 0, eta_min=eta_min)(step) == eta_min


@given(lr=rates, eta_min=rates, T_max=st.integers(1, 10**7), data=st.data())
def test_cosine_is_its_formula(lr: float, eta_min: float, T_max: int, data: st.DataObject) -> None:
    mpmath = pytest.importorskip("mpmath")
    step = data.draw(st.integers(0, T_max) | st.integers(max(0, T_max - 3), T_max))
    with mpmath.workdps(50):
        wave = (1 + mpmath.cos(mpmath.pi * step / T_max)) / 2
        exact = eta_min + (mpmath.mpf(lr) - eta_min) * wave
        # The bound is relative also where the rate is nearly 0, towards the end: nothing may cancel.
        bound = 8 * 2.0**-52 * max(exact, eta_min)
        assert abs(cosine(lr, T_max, eta_min=eta_min)(step) - exact) <= bound


@given(lr=rates, eta_min=rates, T_max=st.integers(1, 300))
def test_cosine_falls_between_its_ends(lr: float, eta_min: float, T_max: int) -> None:
    assume(eta_min <= lr)
    curve = cosine(lr, T_max, eta_min=eta_min)(np.arange(T_max + 1))
    rounding = 1e-15 * lr
    assert (np.diff(curve) <= rounding).all()
    assert (curve >= eta_min - rounding).all()
    assert (curve <= lr + rounding).all()


def test_cosine_takes_fractions_of_a_step() -> None:
    assert cosine(1.0, 3)(1.5) == pytest.approx(0.5, rel=1e-15)
