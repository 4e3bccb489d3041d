"""Reductions over any axes of any layout."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels.launch import launch, reduce

from .harness import CORNERS, anything, check, each_row, family, layouts, normal, seeds, small_shapes, whole

ROWS = family("REDUCE")
each_reduction = each_row(ROWS)


def check_case(name: str, shape: tuple[int, ...], reduced: int, placed: Any, seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    x = [whole(rng, tuple(n or 1 for n in shape), dtype)]
    kept = tuple(1 if reduced >> axis & 1 else n for axis, n in enumerate(x[0].shape))
    options = {"layouts": placed, "offsets": rng.integers(16, size=2)}
    check(name, [np.empty(kept, dtype)], x, exact=name != "mean", **options)
    numbers = anything if name in ("max", "min") else normal
    check(name, [np.empty(kept, dtype)], [numbers(rng, x[0].shape, dtype)], **options)


@each_reduction
@given(shape=small_shapes, reduced=st.integers(0, 63), placed=layouts, seed=seeds)
def test_any_axes_and_layout(target: str, name: str, shape: Any, reduced: int, placed: Any, seed: int) -> None:
    check_case(name, shape, reduced, placed, seed, np.float32)


@each_reduction
@given(shape=small_shapes, reduced=st.integers(0, 63), placed=layouts, seed=seeds)
def test_float64_follows_the_same_rules(name: str, shape: Any, reduced: int, placed: Any, seed: int) -> None:
    check_case(name, shape, reduced, placed, seed, np.float64)


@each_reduction
def test_six_axes_that_alternate(target: str, name: str) -> None:
    """More axes than a call has, none of them mergeable, whichever are reduced."""
    x = whole(np.random.default_rng(0), (2, 3, 2, 3, 2, 3))
    for pattern in range(64):
        out = tuple(1 if pattern >> axis & 1 else n for axis, n in enumerate(x.shape))
        check(name, [np.empty(out, np.float32)], [x], exact=name != "mean")


@each_reduction
@pytest.mark.parametrize("shape", [(20000,), (9, 9001), (8193, 3), (3, 8191, 5), (2, 70, 300)])
def test_beyond_one_block(target: str, name: str, shape: tuple[int, ...]) -> None:
    x = whole(np.random.default_rng(0), shape)
    for axis in [None, *range(x.ndim)]:
        kept = [1 if axis in (None, i) else n for i, n in enumerate(shape)]
        check(name, [np.empty(kept, np.float32)], [x], exact=name != "mean")


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_error_does_not_grow_with_the_length(c_target: str, name: str, axis: int) -> None:
    x = np.full((2, 300_000) if axis else (300_000, 2), 0.1, np.float32)
    x[0] += 1
    check(name, [np.empty((2, 1) if axis else (1, 2), np.float32)], [x])


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("special", [*CORNERS, -np.inf])
def test_extremes_find_every_position(target: str, name: str, axis: int, special: float) -> None:
    for n in (1, 9, 40):
        x = np.zeros((n, n), np.float32)
        np.fill_diagonal(x, special)
        check(name, [np.empty((n, 1) if axis else (1, n), np.float32)], [x])


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize(
    ("pair", "wanted"),
    [((np.inf, 1), np.inf), ((-np.inf, 1), -np.inf), ((np.inf, -np.inf), np.nan), ((np.nan, 1), np.nan)],
)
@pytest.mark.parametrize("rows", [2, 40, 200])
def test_sums_of_nan_and_infinity(target: str, name: str, pair: Any, wanted: float, rows: int) -> None:
    x = np.zeros((rows, 20), np.float32)
    x[0], x[-1] = pair
    np.testing.assert_array_equal(reduce(name, x, 0), np.full(20, wanted, np.float32))
    np.testing.assert_array_equal(reduce(name, np.ascontiguousarray(x.T), 1), np.full(20, wanted, np.float32))


# The helper: axes and dtypes as NumPy has them ----------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (), (-1, 0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
@each_reduction
def test_axes_as_numpy(target: str, name: str, axis: Any, keepdims: bool) -> None:
    x = whole(np.random.default_rng(0), (3, 4, 5))
    got, wanted = reduce(name, x, axis, keepdims), getattr(np, name)(x, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert isinstance(got, np.ndarray)
    assert got.shape == np.shape(wanted)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.int64])
@each_reduction
def test_integers(target: str, name: str, dtype: Any) -> None:
    """Sums are 64 bits wide, so that many small numbers do not wrap around."""
    x = np.array([[200, 0, 100], [0, 150, 150]]).astype(dtype)
    for axis in (0, 1, None):
        got, wanted = reduce(name, x, axis), getattr(np, name)(x, axis=axis)
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
        assert got.dtype == (np.float32 if name == "mean" else wanted.dtype)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_sums_are_zero_and_empty_extremes_raise(target: str, shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    for axis in range(x.ndim):
        np.testing.assert_array_equal(reduce("sum", x, axis), x.sum(axis))
    with pytest.raises(ValueError, match="zero-size array"):
        reduce("max", x)


@pytest.mark.parametrize("axis", [2, -3, (0, 5)])
def test_axes_that_are_not_there(target: str, axis: Any) -> None:
    with pytest.raises(np.exceptions.AxisError):
        reduce("sum", np.zeros((2, 3), np.float32), axis)


@pytest.mark.parametrize(
    ("axis", "error"), [((0, 0), ValueError), ((1, -1), ValueError), ("a", TypeError), (True, TypeError)]
)
def test_axes_that_are_no_axes(target: str, axis: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="axis"):
        reduce("sum", np.zeros((2, 3), np.float32), axis)


def test_a_broadcast_input(target: str) -> None:
    x = np.broadcast_to(np.arange(3, dtype=np.float32), (5, 2, 3))
    for axis in (0, 1, 2, (0, 2), None):
        np.testing.assert_array_equal(reduce("sum", x, axis), x.sum(axis))
    out = np.empty((1, 1, 1), np.float32)
    launch("sum", (out, np.broadcast_to(np.float32(2), (7, 11, 13))))
    assert out.item() == 2002
