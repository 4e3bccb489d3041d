"""Philox against its published vectors, and dropout that depends on key and position only."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigrad.kernels.launch import launch

from .guarded import LAYOUTS, Guarded
from .harness import Sample, normal
from .oracle import kept, philox_block

PI = "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0"
# Random123, kat_vectors: rounds, counter and key, result.
KNOWN_ANSWERS = [
    (7, "00000000 " * 6, "5f6fb709 0d893f64 4f121f81 4f730a48"),
    (7, "ffffffff " * 6, "5207ddc2 45165e59 4d8ee751 8c52f662"),
    (7, PI, "4dfccaba 190a87f0 c47362ba b6b5242a"),
    (10, "00000000 " * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (10, "ffffffff " * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (10, PI, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
ALL_KEPT, WORD = 65536, 2**64


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def cell(number: int) -> Any:
    return np.array(number % WORD, np.uint64)


def drop(x: Any, keep: int, key: int, counter: int) -> tuple[Any, Any, int]:
    """The output, the mask and where the counter stands afterwards."""
    out, mask, position = np.empty_like(x), np.empty((x.size + 7) // 8, np.uint8), cell(counter)
    launch("dropout", (out, mask, x), (keep, cell(key), position))
    return out, mask, int(position)


@pytest.mark.parametrize(("rounds", "given", "wanted"), KNOWN_ANSWERS)
def test_known_answers(target: str, rounds: int, given: str, wanted: str) -> None:
    assert philox_block(words(given)[:4], words(given)[4:], rounds) == words(wanted)
    for n in (1, 7, 16, 33):  # so that each lane has its turn
        block = np.tile(np.array(words(given), np.uint32), (n, 1))
        out = np.zeros((n, 4), np.uint32)
        launch("philox", (out, block[:, :4].copy(), block[:, 4:].copy()), (rounds,))
        np.testing.assert_array_equal(out, np.tile(np.array(words(wanted), np.uint32), (n, 1)))


@given(
    size=st.integers(0, 40) | st.sampled_from([511, 512, 513, 1030]),
    keep=st.sampled_from([0, 1, 32768, 65535, ALL_KEPT]) | st.integers(0, ALL_KEPT),
    key=st.integers(0, WORD - 1),
    counter=st.integers(0, WORD - 1),
    offsets=st.lists(st.integers(0, 15), min_size=3, max_size=3),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@example(size=100, keep=40000, key=WORD - 1, counter=2**32 - 5, offsets=[0, 0, 0], dtype=np.float32)
@example(size=100, keep=40000, key=2**32, counter=WORD - 5, offsets=[0, 0, 0], dtype=np.float32)
@example(size=100, keep=49152, key=1, counter=0, offsets=[0, 0, 0], dtype=np.float64)  # 4/3 rounds differently
def test_any_key_and_counter(
    target: str, size: int, keep: int, key: int, counter: int, offsets: Any, dtype: Any
) -> None:
    x = normal(np.random.default_rng(size), (size,), dtype)
    outputs = np.empty_like(x), np.empty((size + 7) // 8, np.uint8)
    Sample("dropout", outputs, (x,), (keep, cell(key), cell(counter))).check(offsets=offsets)


@pytest.mark.parametrize("size", [1, 8, 9, 512, 1001])
@pytest.mark.parametrize("counter", [0, 2**32 - 3, WORD - 2])
def test_the_counter_advances_by_the_blocks_of_the_shape(target: str, size: int, counter: int) -> None:
    *_, after = drop(np.ones(size, np.float32), 30000, 1, counter)
    assert after == (counter + (size + 7) // 8) % WORD


@pytest.mark.parametrize("cut", [8, 56, 512, 1024])
def test_a_draw_may_be_cut_between_blocks(target: str, cut: int) -> None:
    x = normal(np.random.default_rng(0), (2000,))
    whole, mask, _ = drop(x, 40000, 5, 99)
    first, first_mask, position = drop(x[:cut], 40000, 5, 99)
    rest, rest_mask, _ = drop(x[cut:], 40000, 5, position)
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)
    np.testing.assert_array_equal(np.concatenate([first_mask, rest_mask]), mask)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_decisions_go_by_logical_position(target: str, layout: str) -> None:
    x = normal(np.random.default_rng(0), (7, 5, 6))
    wanted, mask, _ = drop(x, 40000, 5, 99)
    placed, out = Guarded.holding(x, layout), Guarded(x.shape, x.dtype, layout)
    got_mask = np.empty_like(mask)
    launch("dropout", (out.array, got_mask, placed.array), (40000, cell(5), cell(99)))
    np.testing.assert_array_equal(out.array, wanted)
    np.testing.assert_array_equal(got_mask, mask)
    g = Guarded.holding(x, layout)
    launch("dropout_grad", (out.array, g.array, mask), (40000,))
    np.testing.assert_array_equal(out.array, wanted)


@pytest.mark.parametrize("size", [1, 13, 600])
def test_nothing_kept_and_everything_kept(target: str, size: int) -> None:
    x = np.resize(np.float32([1.5, np.nan, np.inf, -np.inf]), size)
    out, mask, _ = drop(x, 0, 1, 2)
    assert not out.any()
    assert not mask.any()
    out, mask, _ = drop(x, ALL_KEPT, 1, 2)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(np.unpackbits(mask, bitorder="little"), np.arange(8 * len(mask)) < size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dropped_infinity_is_zero(target: str, dtype: Any) -> None:
    x = np.full(200, np.inf, dtype)
    out, _, _ = drop(x, 32768, 7, 0)
    np.testing.assert_array_equal(out, np.where(kept(200, 32768, 7, 0), np.inf, 0))


def test_the_fraction_kept_and_its_scale(target: str) -> None:
    x, n = np.ones(100_000, np.float32), 100_000
    for keep in (655, 16384, 60000):
        p = keep / ALL_KEPT
        out, _, _ = drop(x, keep, 11, 0)
        assert abs(np.count_nonzero(out) - n * p) < 5 * np.sqrt(n * p * (1 - p))
        assert set(np.unique(out)) == {0, np.float32(1 / p)}


def test_numbers_serve_as_key_and_counter_while_a_double_holds_them(target: str) -> None:
    x, out, mask = np.ones(99, np.float32), np.empty(99, np.float32), np.empty(13, np.uint8)
    launch("dropout", (out, mask, x), (40000, 2**53 - 1, 3))
    np.testing.assert_array_equal(out, drop(x, 40000, 2**53 - 1, 3)[0])
