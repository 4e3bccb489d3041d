"""Counter-based random numbers: a result depends on (seed, position), on nothing else.

A ``Generator`` is a 64-bit key and a counter of 128-bit blocks drawn so far.
Threads, targets and batch splits cannot change what it gives, because element i
of a draw always comes from the same block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .kernels import recording
from .kernels.launch import launch

_SPAWN = 0x5EED  # marks the counters from which child keys are drawn, apart from all others
_IMAGE, _FOLD, _DRAW = 0x1DEA, 0xF01D, 0xD4A3  # and those of the keys of images, of folded keys and of their numbers


def philox4x32(counter: Any, key: Any, rounds: int = 10) -> NDArray[np.uint32]:
    """The bare generator Philox4x32: counter (..., 4) and key (..., 2) give (..., 4) words, all uint32.

    Ten rounds pass all known tests; seven are the fewest that do.  Salmon,
    Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).

    >>> philox4x32([0, 0, 0, 0], [0, 0]).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    True
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int) or not 1 <= rounds <= 16:
        raise ValueError(f"rounds must be an integer from 1 to 16, got {rounds!r}")
    counters, keys = _words("counter", counter, 4), _words("key", key, 2)
    try:
        shape = np.broadcast_shapes(counters.shape[:-1], keys.shape[:-1])
    except ValueError:
        raise ValueError(f"counter {counters.shape} and key {keys.shape} do not broadcast") from None
    counters = np.broadcast_to(counters, (*shape, 4)).reshape(-1, 4)
    keys = np.broadcast_to(keys, (*shape, 2)).reshape(-1, 2)
    out = np.empty((math.prod(shape), 4), np.uint32)
    launch("philox", (out, np.ascontiguousarray(counters), np.ascontiguousarray(keys)), (rounds,))
    return out.reshape(*shape, 4)


def _words(name: str, value: Any, count: int) -> NDArray[np.uint32]:
    array = np.asarray(value)
    if array.ndim < 1 or array.shape[-1] != count:
        raise ValueError(f"{name} must have shape (..., {count}), got {array.shape}")
    if array.dtype.kind not in "iu" or (array.size and (array.min() < 0 or array.max() > 0xFFFFFFFF)):
        raise ValueError(f"{name} must hold unsigned 32-bit words")
    return array.astype(np.uint32)


class Generator:
    """A stream of random numbers, fixed by ``seed``, an integer in [0, 2**64).

    ``key`` and ``counter`` are cells: 0-d uint64 arrays at a fixed address, which
    kernels read when they run.
    """

    def __init__(self, seed: int = 0) -> None:
        recording.refuse("making a generator", "make it before the step, which draws from it")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise ValueError(f"a seed is an integer in [0, 2**64), got {seed!r}")
        self.key = np.array(seed, np.uint64)
        self.counter = np.array(0, np.uint64)
        self._children = 0

    def __repr__(self) -> str:
        return f"Generator(key={int(self.key)}, counter={int(self.counter)})"

    def state(self) -> dict[str, int]:
        """All that is needed to go on from here."""
        return {"key": int(self.key), "counter": int(self.counter), "children": self._children}

    def set_state(self, state: dict[str, int]) -> None:
        """Go on from a ``state()``; one that is none raises ``ValueError`` before anything is changed."""
        check_state(state)
        self.key[...] = state["key"]
        self.counter[...] = state["counter"]
        self._children = int(state["children"])

    def spawn(self) -> Generator:
        """A new stream, independent of this one and of its other children; this one does not move."""
        words = philox4x32([self._children, 0, 0, _SPAWN], self._key_words())
        self._children += 1
        return Generator(int(words[0]) | int(words[1]) << 32)

    def _key_words(self) -> list[int]:
        return [int(self.key) & 0xFFFFFFFF, int(self.key) >> 32]

    def bits(self, n: int) -> NDArray[np.uint32]:
        """The next ``n`` words; the counter moves by the blocks of four that they touch."""
        recording.refuse("drawing numbers in Python", "draw them before the step and give them as an input")
        blocks = -(-n // 4)
        position = np.uint64(int(self.counter)) + np.arange(blocks, dtype=np.uint64)
        counters = np.zeros((blocks, 4), np.uint32)
        counters[:, 0], counters[:, 1] = position & np.uint64(0xFFFFFFFF), position >> np.uint64(32)
        words = philox4x32(counters, self._key_words()).reshape(-1)[:n]
        self.counter += np.uint64(blocks)
        return words

    def _units(self, n: int) -> NDArray[np.float64]:
        """Floats of 53 random bits in [0, 1)."""
        words = self.bits(2 * n).astype(np.uint64).reshape(n, 2)
        units: NDArray[np.float64] = ((words[:, 0] << np.uint64(21)) ^ (words[:, 1] >> np.uint64(11))) * 2.0**-53
        return units

    def uniform(
        self, shape: Any = (), low: float = 0.0, high: float = 1.0, dtype: DTypeLike = np.float32
    ) -> NDArray[Any]:
        """Uniform numbers in [low, high)."""
        drawn = low + (high - low) * self._units(_size(shape))
        return (_cast_below(drawn, high, dtype) if low < high else drawn.astype(dtype)).reshape(shape)

    def normal(
        self, shape: Any = (), mean: float = 0.0, std: float = 1.0, dtype: DTypeLike = np.float32
    ) -> NDArray[Any]:
        """Normal numbers, by Box and Muller's method (1958)."""
        u, v = self._units(2 * _size(shape)).reshape(2, -1)
        drawn = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
        cast: NDArray[Any] = (mean + std * drawn).astype(dtype)
        return cast.reshape(shape)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """The integers 0 .. n - 1 in random order."""
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"permutation needs a length of at least 0, got {n!r}")
        words = self.bits(2 * int(n)).astype(np.uint64).reshape(-1, 2)
        order: NDArray[np.int64] = np.argsort(words[:, 0] << np.uint64(32) | words[:, 1], kind="stable")
        return order


def check_state(state: Any) -> None:
    """Raise ``ValueError`` for what is no state of a generator."""
    most = {"key": 2**64, "counter": 2**64, "children": 2**32}
    if not isinstance(state, Mapping) or state.keys() != most.keys():
        raise ValueError(f"the state of a generator has {', '.join(most)}, got {state!r}")
    for name, value in state.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < most[name]:
            raise ValueError(f"the {name} of a generator is an integer in [0, {most[name]}), got {value!r}")


class Keys:
    """One Philox key for each image of a batch: ``words`` (N, 2), uint32.  See ``keys``."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self.words = words

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: Any) -> Keys:
        """The keys of some of the images: a slice, indices or a mask."""
        return Keys(self.words[rows])

    def fold(self, position: int) -> Keys:
        """New keys for what comes at ``position``, independent of these and of those of other positions."""
        return Keys(philox4x32([position, 0, 0, _FOLD], self.words)[:, :2].copy())

    def uniform(self, count: int = 1) -> NDArray[np.float64]:
        """``count`` numbers of 53 random bits in [0, 1) for each image, (N, count): the same ones at every call."""
        counters = np.zeros((1, -(-count // 2), 4), np.uint32)
        counters[..., 0], counters[..., 3] = np.arange(counters.shape[1]), _DRAW
        words = philox4x32(counters, self.words[:, None]).astype(np.uint64).reshape(len(self), 2 * counters.shape[1], 2)
        units: NDArray[np.float64] = ((words[..., 0] << np.uint64(21)) ^ (words[..., 1] >> np.uint64(11))) * 2.0**-53
        return units[:, :count]


def keys(seed: int, epoch: int, indices: Any) -> Keys:
    """Keys for the images of ``indices`` (N,) in an epoch: what is drawn for an image depends on seed, epoch and index.

    So neither batch size nor order nor workers nor a resumed run change an augmentation.  ``seed`` and the indices
    are integers in [0, 2**64), ``epoch`` is one in [0, 2**32).

    >>> keys(0, 3, [5, 7]).uniform()[1] == keys(0, 3, [7]).uniform()[0]
    array([ True])
    """
    if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer) or not 0 <= epoch < 2**32:
        raise ValueError(f"epoch must be an integer in [0, 2**32), got {epoch!r}")
    chosen = np.asarray(indices)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu") or (chosen.size and chosen.min() < 0):
        raise ValueError(f"indices must be non-negative integers (N,), got {indices!r}")
    chosen = chosen.astype(np.uint64)
    counters = np.zeros((len(chosen), 4), np.uint32)
    counters[:, 0], counters[:, 1] = chosen & np.uint64(0xFFFFFFFF), chosen >> np.uint64(32)
    counters[:, 2], counters[:, 3] = epoch, _IMAGE
    return Keys(philox4x32(counters, Generator(seed)._key_words())[:, :2].copy())


def as_keys(rng: Keys | Generator | int | None, n: int) -> Keys:
    """``rng`` itself, or keys for n images from a generator, which spawns, a seed, or the default generator."""
    if isinstance(rng, Keys):
        if len(rng) != n:
            raise ValueError(f"rng has keys for {len(rng)} images, the batch has {n}")
        return rng
    if isinstance(rng, bool) or not isinstance(rng, Generator | int | np.integer | None):
        raise TypeError(f"rng must be minigrad.random.keys(...), a Generator, a seed or None, got {rng!r}")
    seed = int(rng) if isinstance(rng, int | np.integer) else int((rng or _default).spawn().key)
    return keys(seed, 0, np.arange(n))


def _size(shape: Any) -> int:
    return math.prod(shape) if isinstance(shape, tuple | list) else int(shape)


def _cast_below(drawn: NDArray[np.float64], high: float, dtype: DTypeLike) -> NDArray[Any]:
    """Cast, keeping what rounding would lift to ``high`` below it."""
    cast = drawn.astype(dtype)
    cast[cast >= high] = np.nextafter(cast.dtype.type(high), cast.dtype.type(-np.inf))
    return cast


_default = Generator(0)


def default_generator() -> Generator:
    """The generator of those who name none."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Start the default generator anew; modules and loaders made later spawn from it."""
    _default.set_state(Generator(seed).state())
    return _default


def as_generator(rng: Generator | int | None) -> Generator:
    """``rng`` itself, a new generator for an integer seed, or a child of the default one for None."""
    if rng is None:
        return _default.spawn()
    return rng if isinstance(rng, Generator) else Generator(rng)
