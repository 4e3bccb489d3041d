"""Most tests shuffle with NumPy's generator: it has `permutation`, and it is not ours."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad.data.loader as module
from minigrad.data import DataLoader, split
from minigrad.random import Generator


def numbered(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels that both tell their position."""
    rows = np.arange(n, dtype=np.float32)
    return np.stack([rows, -rows], axis=1), np.arange(n)


# DataLoader


@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 70),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_batches_partition_the_rows(n: int, batch_size: int, shuffle: bool, drop_last: bool, seed: int) -> None:
    X, labels = numbered(n)
    rng = np.random.default_rng(seed)
    if drop_last and batch_size > n:
        with pytest.raises(ValueError, match="drop_last leaves no batch"):
            DataLoader(X, labels, batch_size=batch_size, drop_last=True)
        return
    loader = DataLoader(X, labels, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, rng=rng)
    batches = list(loader)

    assert len(loader) == len(batches)
    sizes = [len(y) for _, y in batches]
    assert all(size == batch_size for size in sizes[:-1])
    assert sum(sizes) == (n - n % batch_size if drop_last else n)

    seen = np.concatenate([y for _, y in batches])
    assert len(set(seen.tolist())) == len(seen)
    assert set(seen.tolist()) <= set(range(n))
    if not shuffle:
        np.testing.assert_array_equal(seen, np.arange(len(seen)))
    for x, y in batches:
        assert (x.dtype, y.dtype) == (X.dtype, labels.dtype)
        np.testing.assert_array_equal(x, X[y])


def test_shuffling_follows_the_generator_one_permutation_an_epoch() -> None:
    X, labels = numbered(23)
    loader = DataLoader(X, labels, batch_size=5, shuffle=True, rng=np.random.default_rng(7))
    reference = np.random.default_rng(7)
    for _ in range(3):
        epoch = np.concatenate([y for _, y in loader])
        np.testing.assert_array_equal(epoch, reference.permutation(23))


def test_permutations_are_drawn_when_iterators_are_made() -> None:
    loader = DataLoader(np.arange(23), shuffle=True, rng=np.random.default_rng(7), batch_size=23)
    first, second = iter(loader), iter(loader)
    reference = np.random.default_rng(7)
    expected = reference.permutation(23), reference.permutation(23)
    np.testing.assert_array_equal(next(second)[0], expected[1])
    np.testing.assert_array_equal(next(first)[0], expected[0])


def test_a_seed_means_a_generator_with_this_seed() -> None:
    def epoch(rng: Any) -> np.ndarray:
        return next(iter(DataLoader(np.arange(50), batch_size=50, shuffle=True, rng=rng)))[0]

    np.testing.assert_array_equal(epoch(3), epoch(Generator(3)))
    np.testing.assert_array_equal(epoch(np.int64(3)), epoch(3))
    assert not np.array_equal(epoch(3), epoch(4))


def test_no_generator_means_one_spawned_from_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    default = Generator(3)
    monkeypatch.setattr(module, "default_generator", lambda: default)
    DataLoader(np.arange(50))  # does not shuffle, so it takes no stream
    loaders = [DataLoader(np.arange(50), batch_size=50, shuffle=True) for _ in range(2)]
    parent = Generator(3)
    for loader in loaders:
        np.testing.assert_array_equal(next(iter(loader))[0], parent.spawn().permutation(50))


def test_a_batch_is_a_tuple_even_of_one_array() -> None:
    (batch,) = DataLoader([1, 2, 3])
    assert isinstance(batch, tuple)
    assert len(batch) == 1


def test_batches_in_order_are_views_and_shuffled_ones_copies() -> None:
    X = np.zeros((10, 3))
    assert all(np.shares_memory(x, X) for (x,) in DataLoader(X, batch_size=4))
    shuffled = DataLoader(X, batch_size=4, shuffle=True, rng=np.random.default_rng(0))
    assert not any(np.shares_memory(x, X) for (x,) in shuffled)


def test_repr_says_what_it_will_do() -> None:
    loader = DataLoader(np.arange(9), batch_size=2, shuffle=True, drop_last=True, rng=0)
    assert repr(loader) == "DataLoader(9 rows, batch_size=2, shuffle=True, drop_last=True)"


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        ([], {}, ValueError, "at least one array"),
        ([np.arange(3), np.arange(4)], {}, ValueError, r"same length, got \[3, 4\]"),
        ([np.arange(3), 5], {}, ValueError, "array 1 must have rows.* got the scalar 5"),
        ([np.zeros((0, 2))], {}, ValueError, r"at least one row, got shape \(0, 2\)"),
        ([np.arange(3)], {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ([np.arange(3)], {"batch_size": -2}, ValueError, "batch_size must be at least 1, got -2"),
        ([np.arange(3)], {"batch_size": True}, TypeError, "batch_size must be an int, got True"),
        ([np.arange(3)], {"batch_size": 2.0}, TypeError, "batch_size must be an int, got 2.0"),
        ([np.arange(3)], {"batch_size": None}, TypeError, "batch_size must be an int, got None"),
        ([np.arange(3)], {"batch_size": 4, "drop_last": True}, ValueError, "leaves no batch: 3 rows"),
        ([np.arange(3)], {"shuffle": True, "rng": "7"}, TypeError, "rng must be a Generator.* got '7'"),
        ([np.arange(3)], {"shuffle": True, "rng": True}, TypeError, "rng must be a Generator.* got True"),
    ],
)
def test_loader_refuses(arrays: list[Any], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(*arrays, **options)


# split


def test_split_has_documented_sizes() -> None:
    X, labels = numbered(1797)
    parts = split(X, labels, rng=np.random.default_rng(0))
    # 1797 * 0.6 = 1078.2 and 1797 * 0.8 = 1437.6, rounded to 1078 and 1438.
    assert [len(y) for _, y in parts] == [1078, 360, 359]


@given(
    extra=st.integers(0, 100),
    weights=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_split_partitions_the_rows(extra: int, weights: list[int], seed: int) -> None:
    n = 2 * sum(weights) + extra  # so every part gets two rows, less the one that rounding may take
    fractions = [w / sum(weights) for w in weights]
    X, labels = numbered(n)
    parts = split(X, labels, fractions=fractions, rng=np.random.default_rng(seed))
    assert len(parts) == len(fractions)
    order = np.concatenate([y for _, y in parts])
    np.testing.assert_array_equal(order, np.random.default_rng(seed).permutation(n))
    for (x, y), fraction in zip(parts, fractions, strict=True):
        assert abs(len(y) - n * fraction) <= 1 + 1e-9
        np.testing.assert_array_equal(x, X[y])
        assert not np.shares_memory(x, X)


def test_split_is_fixed_by_its_seed() -> None:
    first, again, other = (split(np.arange(50), rng=seed)[0][0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "fractions",
    [(), 0.5, (0.5, 0.4), (0.8, 0.3), (1.2, -0.2), (1.0, 0.0), (np.nan, 0.5), ("a", "b"), (True,)],
)
def test_split_refuses_fractions(fractions: Any) -> None:
    with pytest.raises(ValueError, match="fractions must be positive numbers with the sum 1, got"):
        split(np.arange(10), fractions=fractions)


def test_split_refuses_bad_data_before_it_draws() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="of 2 rows leave a part empty"):
        split(np.arange(2), rng=rng)
    with pytest.raises(ValueError, match="same length"):
        split(np.arange(3), np.arange(4), rng=rng)
    with pytest.raises(ValueError, match="at least one array"):
        split(rng=rng)
    with pytest.raises(TypeError, match="rng must be a Generator"):
        split(np.arange(9), rng=object())  # type: ignore[arg-type]
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_data_in_one_tuple_is_to_be_unpacked() -> None:
    with pytest.raises(TypeError, match=r"array 0 is a tuple of arrays: unpack it, as in DataLoader\(\*data\)"):
        DataLoader((np.ones((3, 2)), np.ones(3)))  # type: ignore[arg-type]
