"""Matrix products of every shape around the tiles, every transpose, and batches that broadcast."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels.launch import launch, linear, matmul

from .guarded import LAYOUTS
from .harness import check, layouts, normal, seeds, whole

sizes = st.integers(1, 20) | st.sampled_from([31, 32, 33, 47, 48, 49, 64, 65])
batch_axes = st.lists(st.integers(1, 3), max_size=4).map(tuple)
narrowed = st.tuples(st.integers(0, 15), st.integers(0, 8))  # which axes an operand has, how many it leaves away


def check_product(
    batch: tuple[int, ...], m: int, n: int, k: int, a: Any, b: Any, placed: Any, seed: int, dtype: Any
) -> None:
    def shape(operand: Any, *matrix: int) -> tuple[int, ...]:
        kept, dropped = operand
        axes = tuple(size if kept >> axis & 1 else 1 for axis, size in enumerate(batch))
        return (*(axes[dropped:] if dropped <= len(batch) else axes), *matrix)

    rng, out, shapes = np.random.default_rng(seed), [np.empty((*batch, m, n), dtype)], (shape(a, m, k), shape(b, k, n))
    for numbers, exact in ((whole, True), (normal, False)):
        inputs = [numbers(rng, s, dtype) for s in shapes]
        check("matmul", out, inputs, (), placed[:3], rng.integers(16, size=3), exact=exact)


products = given(batch=batch_axes, m=sizes, n=sizes, k=sizes, a=narrowed, b=narrowed, placed=layouts, seed=seeds)


@products
def test_any_shape_batch_and_layout(target: str, **product: Any) -> None:
    check_product(**product, dtype=np.float32)


@products
def test_float64_follows_the_same_rules(**product: Any) -> None:
    check_product(**product, dtype=np.float64)


@given(m=sizes, n=sizes, k=sizes, relu=st.sampled_from([0.0, 1.0]), placed=layouts, seed=seeds)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear(target: str, dtype: Any, m: int, n: int, k: int, relu: float, placed: Any, seed: int) -> None:
    rng, out = np.random.default_rng(seed), [np.empty((m, n), dtype)]
    for numbers, exact in ((whole, True), (normal, False)):
        inputs = [numbers(rng, shape, dtype) for shape in ((m, k), (n, k), (n,))]
        check("linear", out, inputs, (relu,), placed, rng.integers(16, size=4), exact=exact)


@given(batch=batch_axes, m=sizes, n=sizes, k=sizes, placed=layouts, seed=seeds)
def test_relu_grad_in_the_epilogue(
    target: str, batch: tuple[int, ...], m: int, n: int, k: int, placed: Any, seed: int
) -> None:
    rng, out = np.random.default_rng(seed), [np.empty((*batch, m, n), np.float32)]
    for numbers, exact in ((whole, True), (normal, False)):
        inputs = [numbers(rng, shape, np.float32) for shape in ((*batch, m, k), (k, n), (m, n))]
        check("matmul_relu_grad", out, inputs, (), placed, rng.integers(16, size=4), exact=exact)


# Sizes beyond each block, and the special paths of one row, one column, one term.
BLOCKS = [
    (1, 1, 2000),
    (1, 700, 520),
    (700, 1, 520),
    (300, 300, 1),
    (5, 1700, 9),
    (1700, 5, 9),
    (290, 20, 530),
    (33, 40, 1100),
    (150, 1100, 3),
]


@pytest.mark.parametrize(("m", "n", "k"), BLOCKS)
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab", "out", "out a b"])
def test_beyond_one_block(target: str, m: int, n: int, k: int, transposed: str) -> None:
    layouts = ["F" if name in transposed else "C" for name in ("out", "a", "b")]
    rng = np.random.default_rng(0)
    a, b = whole(rng, (m, k)), whole(rng, (k, n))
    check("matmul", [np.empty((m, n), np.float32)], [a, b], (), layouts, [3, 5, 7], exact=True)
    if not transposed:
        check("linear", [np.empty((m, n), np.float32)], [a, b.T, whole(rng, (n,))], (1.0,), exact=True)
    if "out" not in transposed:
        y = whole(rng, (m, n))
        check("matmul_relu_grad", [np.empty((m, n), np.float32)], [a, b, y], (), [*layouts, "C"], exact=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_row_and_column(target: str, bad: float) -> None:
    for m, n, k in ((3, 5, 7), (40, 33, 20)):
        a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        wanted = np.full((m, n), k, np.float32)
        a[1, k // 2] = bad
        b[k - 1, n - 1] = bad
        wanted[1] = wanted[:, -1] = bad
        np.testing.assert_array_equal(matmul(a, b), wanted)
        relu = linear(a, b.T.copy(), np.zeros(n, np.float32), relu=True)
        np.testing.assert_array_equal(relu, wanted)


@pytest.mark.parametrize("shape", [((0, 3), (3, 4)), ((3, 0), (0, 4)), ((3, 4), (4, 0)), ((2, 0, 3, 4), (4, 5))])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_empty(target: str, shape: Any, layout: str) -> None:
    a, b = (np.ones(s, np.float32) for s in shape)
    out = np.empty((a @ b).shape, np.float32)
    check("matmul", [out], [a, b], (), [layout] * 3)
    np.testing.assert_array_equal(matmul(a, b), a @ b)


def test_a_sum_of_nothing_is_the_bias(target: str) -> None:
    y = linear(np.ones((2, 3, 0), np.float32), np.ones((4, 0), np.float32), np.float32([1, -2, 3, -4]), relu=True)
    np.testing.assert_array_equal(y, np.broadcast_to(np.float32([1, 0, 3, 0]), (2, 3, 4)))


def test_five_batch_axes_that_do_not_merge(target: str) -> None:
    rng = np.random.default_rng(0)
    a, b = whole(rng, (2, 1, 3, 1, 2, 4, 5)), whole(rng, (1, 3, 1, 2, 1, 5, 6))
    np.testing.assert_array_equal(matmul(a, b), a @ b)
    out = np.empty((6, 4, 2, 2, 3, 3, 2), np.float32).T
    launch("matmul", (out, a, b))
    np.testing.assert_array_equal(out, a @ b)


def test_integers_and_mixed_floats(target: str) -> None:
    a = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(matmul(a, a.T), a @ a.T)
    assert matmul(a, a.T.astype(np.float32)).dtype == np.float32
    with pytest.raises(TypeError, match="does not mix float32 and float64"):
        matmul(a.astype(np.float32), a.T.astype(np.float64))
