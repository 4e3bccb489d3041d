"""The norm of many tensors as one vector, and clipping to it."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels.launch import launch

from .guarded import LAYOUTS, Guarded
from .harness import anything, normal
from .oracle import assert_near, clip_to_norm, global_norm

SHAPES = st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), min_size=1, max_size=5)


@given(data=st.data(), shapes=SHAPES, seed=st.integers(0, 2**32 - 1), wild=st.booleans())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_tensors(target: str, dtype: Any, data: Any, shapes: Any, seed: int, wild: bool) -> None:
    rng = np.random.default_rng(seed)
    tensors = [(anything if wild else normal)(rng, shape, dtype) for shape in shapes]
    layouts = [data.draw(st.sampled_from(sorted(LAYOUTS))) for _ in shapes]
    guards = [Guarded.holding(g, layout, int(rng.integers(16))) for g, layout in zip(tensors, layouts, strict=True)]
    arrays, norm = [guard.array for guard in guards], Guarded.holding(np.array(7.0))
    start = data.draw(st.sampled_from([0.0, 3.0, 1e10]), label="start")
    max_norm = data.draw(st.sampled_from([0.0, 0.5, 1e30, math.inf]), label="max_norm")
    with np.errstate(all="ignore"):
        wanted = global_norm(norm.array, *[g.astype(float) for g in tensors], start)
        launch("global_norm", (norm.array, *arrays), (start,))
        assert_near("global_norm", norm.array, wanted, 2**-40 * abs(wanted))
        launch("clip_to_norm", tuple(arrays), (norm.array, max_norm))
        clipped = clip_to_norm(*tensors, float(norm.array), max_norm)
    for guard, want in zip(guards, clipped, strict=True):
        guard.assert_border_intact("clip_to_norm")
        assert_near("clip_to_norm", guard.array, want, 0)
    norm.assert_border_intact("global_norm")


def test_chunks_and_many_tensors(target: str) -> None:
    """Every length at which the kernel cuts, where no term may be lost: whole numbers, whose sum is exact."""
    tensors = [np.full(n, 3, np.float32) for n in (16384, 1, 0, 16385, 40000, 7, 16383)]
    norm = np.zeros(())
    launch("global_norm", (norm, *tensors), (4.0,))
    assert norm == math.sqrt(16 + 9 * sum(g.size for g in tensors))
    launch("clip_to_norm", tuple(tensors), (norm, 1.0))
    for g in tensors:
        np.testing.assert_array_equal(g, np.float32(3) * np.float32(1 / (float(norm) + 1e-6)))


def test_squares_neither_overflow_nor_vanish(target: str) -> None:
    for size in (1e30, 1e-30):
        norm = np.zeros(())
        launch("global_norm", (norm, np.full(100, size, np.float32)), (0.0,))
        assert norm == pytest.approx(10 * size, rel=1e-6)


def test_the_error_does_not_grow_with_the_length(target: str) -> None:
    g, norm = normal(np.random.default_rng(0), (3_000_000,)), np.zeros(())
    launch("global_norm", (norm, g), (0.0,))
    assert abs(float(norm) / math.sqrt(math.fsum(g.astype(float) ** 2)) - 1) < 2**-48


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite(target: str, value: float) -> None:
    """As PyTorch: NaN spreads; beside an infinity all is 0, and itself NaN."""
    g, norm = np.ones(40, np.float32), np.zeros(())
    g[7] = value
    launch("global_norm", (norm, g), (0.0,))
    np.testing.assert_equal(float(norm), abs(value))
    launch("clip_to_norm", (g,), (norm, 1.0))
    assert np.isnan(g[7])
    np.testing.assert_array_equal(np.delete(g, 7), np.full(39, math.nan if math.isnan(value) else 0))


def test_short_gradients_keep_their_bits(target: str) -> None:
    g = np.array([-0.0, 1e-40, 0.5], np.float32)
    before = g.tobytes()
    launch("clip_to_norm", (g,), (0.5, 1.0))
    assert g.tobytes() == before


def test_the_cell_is_read_when_the_call_runs(target: str) -> None:
    calls: list[Any] = []
    g, norm = np.ones(3, np.float32), np.array(0.0)
    with kernels.observe(calls.append):
        launch("clip_to_norm", (g,), (norm, 1.0))
    norm[...] = 4
    calls[0].run()
    np.testing.assert_array_equal(g, np.float32([1 / (4 + 1e-6)] * 3))


def test_a_norm_may_go_on_from_its_own_cell(target: str) -> None:
    norm = np.array(3.0)
    launch("global_norm", (norm, np.full(4, 2, np.float32)), (norm,))
    assert norm == 5


def test_a_norm_into_its_own_tensors(target: str) -> None:
    memory = np.ones(20)
    memory.view(np.float32)[...] = 2
    launch("global_norm", (memory[3:4], memory.view(np.float32)), (0.0,))
    assert memory[3] == math.sqrt(160)
