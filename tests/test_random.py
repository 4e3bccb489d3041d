"""Generators: results depend on seed and position only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import random
from minigrad.random import Generator, as_generator, default_generator, philox4x32

WORDS = st.integers(0, 2**32 - 1)


def philox(counter: list[int], key: list[int], rounds: int) -> list[int]:
    """Philox4x32 in big integers, from the definition in Salmon et al. 2011."""
    (c0, c1, c2, c3), (k0, k1), low = counter, key, 2**32 - 1
    for _ in range(rounds):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & low, (p0 >> 32) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # the known-answer vectors published with Random123
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(counter: list[int], key: list[int], words: list[int]) -> None:
    assert philox4x32(counter, key).tolist() == words


@given(st.lists(WORDS, min_size=4, max_size=4), st.lists(WORDS, min_size=2, max_size=2), st.integers(1, 16))
def test_philox_equals_its_definition(counter: list[int], key: list[int], rounds: int) -> None:
    assert philox4x32(counter, key, rounds).tolist() == philox(counter, key, rounds)


def test_philox_broadcasts_counters_and_keys() -> None:
    counters = np.arange(24, dtype=np.uint32).reshape(2, 3, 4)
    words = philox4x32(counters, [7, 9])
    assert words.shape == (2, 3, 4)
    assert words[1, 2].tolist() == philox(counters[1, 2].tolist(), [7, 9], 10)
    assert philox4x32(np.empty((0, 4), np.uint32), [1, 2]).shape == (0, 4)


@pytest.mark.parametrize(
    ("counter", "key", "rounds"),
    [
        ([0] * 3, [0] * 2, 10),
        ([0] * 4, [0] * 3, 10),
        ([0] * 4, [0] * 2, 0),
        ([0.5] * 4, [0] * 2, 10),
        ([-1] * 4, [0] * 2, 10),
    ],
)
def test_philox_refuses(counter: list[int], key: list[int], rounds: int) -> None:
    with pytest.raises(ValueError, match="must"):
        philox4x32(counter, key, rounds)


@given(st.integers(0, 2**64 - 1), st.integers(0, 50), st.integers(0, 50))
def test_words_are_a_function_of_the_position(seed: int, first: int, second: int) -> None:
    """Two draws equal one, from block to block."""
    a, b = Generator(seed), Generator(seed)
    parts = np.concatenate([a.bits(4 * first), a.bits(4 * second)])
    assert parts.tolist() == b.bits(4 * (first + second)).tolist()
    assert a.state() == b.state()


def test_state_goes_on_where_it_was() -> None:
    generator = Generator(3)
    generator.uniform(5)
    state = generator.state()
    expected = generator.normal((2, 3)), generator.spawn().uniform(3)
    generator.set_state(state)
    np.testing.assert_array_equal(generator.normal((2, 3)), expected[0])
    np.testing.assert_array_equal(generator.spawn().uniform(3), expected[1])


def test_children_differ_and_leave_the_parent_alone() -> None:
    parent = Generator(1)
    keys = {int(parent.spawn().key) for _ in range(100)} | {int(parent.key)}
    assert len(keys) == 101
    assert int(parent.counter) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_stays_below_its_upper_end(dtype: type) -> None:
    drawn = Generator(0).uniform(100_000, 1.0, np.nextafter(dtype(1), dtype(2)), dtype)
    assert drawn.dtype == dtype
    assert (drawn == 1).all()
    drawn = Generator(0).uniform((300, 400), -2, 3, dtype)
    assert drawn.min() >= -2
    assert drawn.max() < 3
    assert abs(drawn.mean() - 0.5) < 6 * np.sqrt(25 / 12 / drawn.size)


def test_normal_has_its_moments() -> None:
    drawn = Generator(5).normal(200_000, 2.0, 3.0, np.float64)
    assert abs(drawn.mean() - 2) < 6 * 3 / np.sqrt(drawn.size)
    assert abs(drawn.std() / 3 - 1) < 6 / np.sqrt(2 * drawn.size)


@given(st.integers(0, 300), st.integers(0, 2**64 - 1))
def test_permutation_is_one(n: int, seed: int) -> None:
    assert sorted(Generator(seed).permutation(n).tolist()) == list(range(n))


def test_every_permutation_is_as_likely() -> None:
    generator = Generator(8)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        order = tuple(generator.permutation(3).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 6 * np.sqrt(1000)


def test_manual_seed_starts_the_default_stream_anew() -> None:
    mg.manual_seed(4)
    first = as_generator(None).uniform(3), default_generator().uniform(3)
    mg.manual_seed(4)
    np.testing.assert_array_equal(as_generator(None).uniform(3), first[0])
    np.testing.assert_array_equal(default_generator().uniform(3), first[1])


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a", True, None])
def test_a_bad_seed_is_refused(seed: object) -> None:
    with pytest.raises(ValueError, match="a seed is an integer"):
        Generator(seed)  # type: ignore[arg-type]


def test_keys_depend_on_seed_epoch_and_index_only() -> None:
    keys = random.keys(3, 1, [5, 2**40, 0])
    assert len(keys) == 3
    np.testing.assert_array_equal(keys[1:2].words, random.keys(3, 1, [2**40]).words)
    np.testing.assert_array_equal(keys.fold(2)[0:1].uniform(5), random.keys(3, 1, [5]).fold(2).uniform(5))
    np.testing.assert_array_equal(keys.uniform(7)[:, :3], keys.uniform(3))
    many = [random.keys(s, e, np.arange(100)) for s in (0, 1, 2**63) for e in (0, 1)]
    many += [many[0].fold(i) for i in (0, 1, 2**31)]
    assert len({tuple(row) for k in many for row in k.words.tolist()}) == 900
    units = np.concatenate([k.uniform(100) for k in many])
    assert 0 <= units.min() < 1e-4
    assert 1 - 1e-4 < units.max() < 1
    assert abs(units.mean() - 0.5) < 0.004
    assert np.abs(np.corrcoef(units[:, :10].T) - np.eye(10)).max() < 0.15
    for bad, says in (
        ((-1, 0, [1]), "a seed is"), ((0, -1, [1]), "epoch must be"), ((0, 0, [-1]), "indices must be"),
        ((0, 0, [0.5]), "indices must be"), ((0, 0, 3), "indices must be"), ((0, True, [1]), "epoch must be"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            random.keys(*bad)
