"""Elementwise kernels over shapes, broadcasts, layouts and the whole number line."""

from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch, unary

from .harness import F32, anything, check, each_row, family, layouts, normal, seeds, small_shapes
from .oracle import assert_near, bound, expected

ROWS = family("ELEMENTWISE")
LOW, HIGH = -0.5, 0.75


@dataclass(frozen=True)
class Case:
    """A destination and three inputs that broadcast to it; a kernel takes the first ones."""

    shape: tuple[int, ...]
    inputs: list[tuple[int, ...]]
    layouts: tuple[str, ...]
    seed: int


@st.composite
def cases(draw: Any) -> Case:
    shape = draw(small_shapes)
    inputs = []
    for kept, dropped in draw(st.tuples(*[st.tuples(st.integers(0, 63), st.integers(0, 12))] * 3)):
        narrowed = tuple(n if kept >> axis & 1 else 1 for axis, n in enumerate(shape))
        inputs.append(narrowed[dropped:] if dropped <= len(shape) else narrowed)
    return Case(shape, inputs, draw(layouts), draw(seeds))


def check_case(name: str, case: Case, dtype: Any) -> None:
    row, rng = KERNELS[name], np.random.default_rng(case.seed)
    inputs = [anything(rng, shape, dtype) for shape in case.inputs[: len(row.inputs)]]
    if name == "where":
        inputs[0] = (inputs[0] > 0).astype(rng.choice([np.bool_, np.uint8]))
        inputs[0] *= inputs[0].dtype.type(rng.choice([1, 2, 128, 255]))  # any non-zero byte is true
    scalars = (LOW, HIGH)[: len(row.scalars)]
    check(name, [np.empty(case.shape, dtype)], inputs, scalars, case.layouts, rng.integers(16, size=4))


@each_row(ROWS)
@given(case=cases())
def test_any_shape_layout_and_number(target: str, name: str, case: Case) -> None:
    check_case(name, case, np.float32)


@each_row(ROWS)
@given(case=cases())
def test_float64_follows_the_same_rules(name: str, case: Case) -> None:
    check_case(name, case, np.float64)


@each_row(ROWS)
def test_beyond_one_chunk(target: str, name: str) -> None:
    """Long rows are walked in chunks, whose starts must heed every stride."""
    rng, row = np.random.default_rng(0), KERNELS[name]
    shape, views = (2, 4099), [(1,), (2, 1), (4099,), (2, 4099)]
    for i in range(4):
        chosen = [views[(i + slot) % 4] for slot in range(len(row.inputs))]
        inputs = [normal(rng, view) for view in chosen]
        if name == "where":
            inputs[0] = inputs[0] > 0
        check(name, [np.empty(shape, F32)], inputs, (LOW, HIGH)[: len(row.scalars)])


@pytest.mark.parametrize("view", [np.s_[:, :2], np.s_[0], np.s_[::-1], np.s_[:, 1:2], np.s_[:1, :1]])
def test_a_destination_may_be_broadcast_onto_itself(target: str, view: Any) -> None:
    square = np.arange(64, dtype=np.float32).reshape(8, 8)
    out = square[:, :2] if view == np.s_[:, :2] else square
    wanted = out + square[view]
    launch("add", (out, out, square[view]))
    np.testing.assert_array_equal(out, wanted)


def test_a_mask_in_the_memory_of_the_destination(target: str) -> None:
    """Element on element is no protection where the elements differ in size."""
    out = np.full(100, 7, np.float32)
    mask = out.view(np.uint8)[:100]
    wanted = np.where(mask, np.float32(1), np.float32(2))
    launch("where", (out, mask, np.ones(100, np.float32), np.full(100, 2, np.float32)))
    np.testing.assert_array_equal(out, wanted)


# Every bit pattern, sampled -----------------------------------------------------------------------

FUNCTIONS = [row.name for row in ROWS if row.tolerance.startswith("ULP") and len(row.inputs) == 1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stated_units_over_all_bit_patterns(target: str, name: str) -> None:
    """One of every 4,093 (a prime) of the 2**32 float32 numbers, every exponent, and all neighbours of the places
    that matter.  ``benchmarks/ulp.py`` takes them all."""
    places = np.float32([0, 0.25, 0.41, 0.5, 0.549, 0.92, 1, np.sqrt(0.5), 1.5, np.sqrt(2), 3.95, 9, 17, 2**15])
    places = np.concatenate(
        [places, np.log(np.float32([2, 2**0.5])), np.float32([13.2, 14.5, 87.33, 88.72, 104, 1e38])]
    )
    places = np.concatenate([places, np.exp2(np.arange(-149, 128, dtype=np.float32)), np.pi / 4 * np.arange(1, 50)])
    near = places.astype(np.float32).view(np.int32)[:, None] + np.arange(-300, 300, dtype=np.int32)
    bits = np.concatenate([np.arange(0, 2**32, 4093).astype(np.uint32), near.view(np.uint32).ravel()])
    bits = np.concatenate([bits, bits ^ np.uint32(2**31)])
    with np.errstate(invalid="ignore"):
        x = bits.view(np.float32)
        y = unary(name, x)
        (wanted,) = expected(name, [y], [x], ())
        assert_near(name, y, wanted, bound(name, wanted, [y], [x], ()))
    if wanted[x == 0][0] == 0:
        np.testing.assert_array_equal(np.signbit(y[x == 0]), np.signbit(x[x == 0]))


PRECISE = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "erf": mpmath.erf,
}


@pytest.mark.parametrize("name", PRECISE)
@given(x=st.floats(1e-300, 700) | st.floats(-30, 30))
def test_float64_against_fifty_digits(name: str, x: float) -> None:
    if name in ("log", "log1p"):
        x = abs(x) + 1e-300
    (y,) = unary(name, np.array([x]))
    with mpmath.workdps(50):
        wanted = PRECISE[name](mpmath.mpf(x))
        assert abs(mpmath.mpf(float(y)) - wanted) <= 4 * np.spacing(abs(float(wanted)))


@each_row([row for row in ROWS if len(row.inputs) < 3])
def test_corners_meet_corners(target: str, name: str) -> None:
    """Every pair of zeros, infinities, NaN, subnormals and the largest numbers."""
    rng = np.random.default_rng(0)
    x = np.unique(anything(rng, (500,)))
    x = rng.permutation(np.concatenate([x[np.abs(x) < 2], x[:9], x[-9:], np.float32([0.0, -0.0])]))[:60]
    inputs = [x] if len(KERNELS[name].inputs) == 1 else [x[:, None], x]
    check(
        name,
        [np.empty(np.broadcast_shapes(*(a.shape for a in inputs)), F32)],
        inputs,
        (LOW, HIGH) * (name in ("clip", "within")),
    )
