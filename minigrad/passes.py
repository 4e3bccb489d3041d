"""Passes: small functions from one list of recorded calls to a better one, and the plan of their memory.

A pass takes the list and the ``Facts`` about its memory and gives a list that
does the same.  Those in ``DEFAULT`` keep every bit.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from .kernels import KERNELS
from .kernels.launch import Array, PythonCall, make_call

if TYPE_CHECKING:
    from .team import Team

ALIGNMENT = 64  # bytes: a cache line
FEW_PARAMETERS = 32768  # that one update takes in less time than its memory would be warm for
SMALL_TENSOR = 4096  # numbers: its update goes with that of the tensor before it


@dataclass(frozen=True, eq=False)
class Chain:
    """Elementwise calls that run together: in pieces that threads share, block after block of so many elements.

    A chain is those neighbours in a list that have the same ``Chain``.
    """

    pieces: int
    blocks: int
    elements: int

    def view(self, a: Array) -> Array:
        """A run of memory as (pieces, blocks, elements); a single number as one."""
        if single(a):
            return np.lib.stride_tricks.as_strided(a, (), ())
        row = self.elements * a.itemsize
        shape = self.pieces, self.blocks, self.elements
        return np.lib.stride_tricks.as_strided(a, shape, (self.blocks * row, row, a.itemsize))


@dataclass(frozen=True, eq=False)
class Step:
    """A recorded call as plain data: kernel, arrays (destinations first), scalars; ``function`` for a Python step."""

    kernel: str
    arrays: tuple[Array, ...]
    scalars: tuple[Any, ...] = ()
    outputs: int = 1
    function: Callable[..., None] | None = None
    whole: tuple[int, ...] = (0, 0)  # of a call that is a part of another one: see csrc/minigrad.h
    chain: Chain | None = None

    @classmethod
    def of(cls, call: Any) -> Step:
        if isinstance(call, PythonCall):
            return cls(call.kernel, call.arrays, (), call.outputs, call.function)
        row = KERNELS[call.kernel]
        return cls(call.kernel, call.arrays, call.scalars, len(row.outputs) if row.inputs else len(call.arrays))

    def call(self) -> Any:
        if self.function is None:
            return make_call(self.kernel, self.arrays, self.scalars, self.whole)
        call = PythonCall(self.function, self.arrays, self.kernel)
        call.outputs = self.outputs
        return call

    @property
    def family(self) -> str:
        return "PYTHON" if self.function is not None else KERNELS[self.kernel].family

    @property
    def group(self) -> int:
        """How many arrays an update takes for each tensor, the gradient last."""
        return len(KERNELS[self.kernel].arrays)

    @property
    def cells(self) -> tuple[Array, ...]:
        """The scalars that are read from memory."""
        return tuple(a for a in self.scalars if isinstance(a, np.ndarray))

    @property
    def written(self) -> tuple[Array, ...]:
        """The memory that it changes: its destinations, and the counter that a draw moves."""
        if self.family == "UPDATE":
            return tuple(a for i, a in enumerate(self.arrays) if i % self.group < self.outputs)
        counter = self.cells[-1:] if self.kernel == "dropout" and not self.whole[0] else ()
        return self.arrays[: self.outputs] + counter

    @property
    def read(self) -> tuple[Array, ...]:
        """The memory that it reads, arrays first."""
        return (self.arrays if self.in_place else self.arrays[self.outputs :]) + self.cells

    @property
    def in_place(self) -> bool:
        """Whether it reads what it writes."""
        return self.family == "UPDATE" or (self.family == "TENSORS" and not KERNELS[self.kernel].inputs)

    @property
    def has_effects(self) -> bool:
        """Whether it does more than fill its destinations: a draw moves its counter."""
        return self.family in ("UPDATE", "CELLS", "PYTHON") or self.kernel == "dropout"

    def writes(self, a: Array) -> bool:
        """Whether ``a`` itself is one of the destinations."""
        return any(out is a for out in self.written)

    def __str__(self) -> str:
        return repr(self.call())


@dataclass
class Buffer:
    """Bytes [start, stop) that some arrays share, and when the calls use them."""

    start: int
    stop: int
    kept: bool = False
    accesses: list[tuple[int, bool]] = field(default_factory=list)  # (place of the call, writes)
    offset: int = -1
    home: Buffer | None = None  # of what lives in a chain alone: the memory where it has a block in each piece

    @property
    def first(self) -> int:
        return self.accesses[0][0]

    @property
    def last(self) -> int:
        return self.accesses[-1][0]


def bounds(a: Array) -> tuple[int, int]:
    """The first byte of an array and the one behind its last."""
    start, stop = np.lib.array_utils.byte_bounds(a)
    return start, stop


def single(a: Array) -> bool:
    """Whether an array is one number, maybe repeated."""
    return a.size > 0 and bounds(a)[1] - bounds(a)[0] == a.itemsize


class Facts:
    """Who reads and writes which memory in a list of calls."""

    def __init__(self, steps: Sequence[Step], kept: Sequence[Array], outputs: Sequence[Array]) -> None:
        self.end = len(steps)
        arrays = [a for step in steps for a in (*step.arrays, *step.cells)] + [*kept, *outputs]
        spans = sorted({bounds(a) for a in arrays if a.size})
        self.buffers: list[Buffer] = []
        for start, stop in spans:
            if self.buffers and start < self.buffers[-1].stop:
                self.buffers[-1].stop = max(self.buffers[-1].stop, stop)
            else:
                self.buffers.append(Buffer(start, stop))
        self._starts = [b.start for b in self.buffers]
        for i, step in enumerate(steps):
            for a in step.read:
                self._note(a, i, False)
            for a in step.written:
                self._note(a, i, True)
        for a in outputs:
            self._note(a, self.end, False)
        cells = [a for step in steps if step.family == "CELLS" for a in step.written]
        for a in (*kept, *cells):
            if (buffer := self.of(a)) is not None:
                buffer.kept = True
        for buffer in self.buffers:  # what is there before it is written came from outside
            if not buffer.accesses or not buffer.accesses[0][1]:
                buffer.kept = True

    def _note(self, a: Array, place: int, writes: bool) -> None:
        buffer = self.of(a)
        if buffer is not None:
            buffer.accesses.append((place, writes))

    def at(self, byte: int) -> int:
        """The number of the buffer in which a byte lies; -1 if it is in none."""
        place = bisect(self._starts, byte) - 1
        return place if place >= 0 and byte < self.buffers[place].stop else -1

    def of(self, a: Array) -> Buffer | None:
        """The buffer in which an array lies; None for an array of nothing, or in other memory."""
        place = self.at(bounds(a)[0]) if a.size else -1
        return self.buffers[place] if place >= 0 else None

    def places(self, a: Array, before: int, writes: bool = False) -> list[int]:
        """The calls before place ``before`` that use the buffer of ``a``, or only those that write it."""
        buffer = self.of(a)
        return [i for i, wrote in buffer.accesses if i < before and (wrote or not writes)] if buffer is not None else []

    def only_reader(self, a: Array, writer: int, reader: int) -> bool:
        """Whether ``a`` is a temporary that call ``writer`` fills and no call but ``reader`` reads."""
        buffer = self.of(a)
        return (
            buffer is not None
            and not buffer.kept
            and bounds(a) == (buffer.start, buffer.stop)
            and buffer.accesses == [(writer, True), (reader, False)]
        )

    def writer(self, a: Array, before: int) -> int | None:
        """The last call before place ``before`` that writes into the buffer of ``a``."""
        places = self.places(a, before, writes=True)
        return places[-1] if places else None

    def untouched(self, a: Array, after: int, before: int) -> bool:
        """Whether no call strictly between uses the buffer of ``a``."""
        buffer = self.of(a)
        return buffer is not None and not any(after < i < before for i, _ in buffer.accesses)


Pass = Callable[[list[Step], Facts], list[Step]]


def same_layout(a: Array, b: Array) -> bool:
    """Whether two arrays have one shape, dtype and memory order."""
    return a.shape == b.shape and a.dtype == b.dtype and (a.strides == b.strides or a.size < 2)


def in_place_of(a: Array, source: Array, out: Array) -> Array | None:
    """The array in the memory of ``out`` that is to ``a`` as ``out`` is to ``source``; None if it is not all of it."""
    same = bounds(a) == bounds(source) and a.nbytes == source.nbytes == bounds(a)[1] - bounds(a)[0]
    if not same or not same_layout(source, out) or min((*a.strides, *out.strides), default=0) < 0:
        return None
    return np.lib.stride_tricks.as_strided(out, a.shape, a.strides)


def _fused(steps: list[Step], facts: Facts, kernel: str, combine: Callable[[Step, Step], Step | None]) -> list[Step]:
    """Each call of ``kernel`` combined with the one whose result it alone reads, in that one's place or its own."""
    result: list[Step | None] = list(steps)
    for i, step in enumerate(steps):
        if step.kernel != kernel or step.function is not None:
            continue
        source = step.arrays[step.outputs]
        at = facts.writer(source, i)
        before = None if at is None else result[at]
        if at is None or before is None or not facts.only_reader(source, at, i):
            continue
        if before.outputs != 1:
            continue
        whole = combine(before, step)
        if whole is not None and whole.call().ready:
            ahead = all(facts.untouched(a, at - 1, i) for a in step.written)
            behind = all(_unwritten(facts, a, at, i) for a in before.read)
            if ahead and all(_unwritten(facts, a, at - 1, i) for a in step.read[1:]):
                result[at], result[i] = whole, None
            elif behind:
                result[at], result[i] = None, whole
    return [step for step in result if step is not None]


def _unwritten(facts: Facts, a: Array, after: int, before: int) -> bool:
    buffer = facts.of(a)
    return buffer is None or not any(writes and after < i < before for i, writes in buffer.accesses)


def relu_into_linear(steps: list[Step], facts: Facts) -> list[Step]:
    """``relu(linear(x))`` is one call."""

    def combine(before: Step, relu: Step) -> Step | None:
        if before.kernel != "linear" or before.scalars != (0.0,) or not same_layout(before.arrays[0], relu.arrays[0]):
            return None
        return replace(before, arrays=(relu.arrays[0], *before.arrays[1:]), scalars=(1.0,))

    return _fused(steps, facts, "relu", combine)


def mask_into_product(steps: list[Step], facts: Facts) -> list[Step]:
    """The gradient of relu is taken where the product before it is stored."""

    def combine(before: Step, mask: Step) -> Step | None:
        out = mask.arrays[0]
        if before.kernel != "matmul" or not same_layout(before.arrays[0], out):
            return None
        if out.ndim != 2 or min(out.shape) < 2 or not out.flags.c_contiguous:
            return None
        return replace(before, kernel="matmul_relu_grad", arrays=(out, *before.arrays[1:], mask.arrays[2]))

    return _fused(steps, facts, "relu_grad", combine)


def written_in_place(steps: list[Step], facts: Facts) -> list[Step]:
    """A result that is only copied elsewhere is written there at once."""

    def combine(before: Step, copy: Step) -> Step | None:
        if before.family in ("UPDATE", "CELLS", "PYTHON"):
            return None
        there = in_place_of(before.arrays[0], copy.arrays[1], copy.arrays[0])
        return None if there is None else replace(before, arrays=(there, *before.arrays[1:]))

    return _fused(steps, facts, "copy", combine)


def without_dead_calls(steps: list[Step], facts: Facts) -> list[Step]:
    """A call whose result nobody reads is dropped."""
    wanted = {id(b) for b in facts.buffers if b.kept or (b.accesses and b.last == facts.end)}
    result = []
    for step in reversed(steps):
        buffers = [facts.of(a) for a in step.written]
        if step.has_effects or any(b is not None and id(b) in wanted for b in buffers):
            wanted |= {id(facts.of(a)) for a in step.read}
            result.append(step)
    return result[::-1]


def updates_apart(steps: list[Step], facts: Facts) -> list[Step]:
    """An update of many parameters becomes one of each large tensor, with the small ones that follow it."""
    result = []
    for step in steps:
        if step.family != "UPDATE" or sum(a.size for a in step.arrays[:: step.group]) < FEW_PARAMETERS:
            result.append(step)
            continue
        groups: list[tuple[Array, ...]] = []
        filled = FEW_PARAMETERS
        for i in range(0, len(step.arrays), step.group):
            tensor = step.arrays[i : i + step.group]
            large = tensor[0].size >= SMALL_TENSOR
            if large or filled >= FEW_PARAMETERS:
                groups.append(())
                filled = 0
            groups[-1] += tensor
            filled += 0 if large else tensor[0].size
        result += [replace(step, arrays=arrays) for arrays in groups]
    return result


def updates_early(steps: list[Step], facts: Facts) -> list[Step]:
    """An update is made as soon as its gradient is complete and its weight has no more readers: both are warm then.

    What moves a cell moves ahead too.
    """
    places: list[tuple[int, int]] = []  # behind which call that stays, or that call itself; which of those there
    for i, step in enumerate(steps):
        if step.family not in ("UPDATE", "CELLS"):
            places.append((i, -1))
            continue
        before = [j for a in step.written for j in facts.places(a, i)]
        before += [j for a in step.read for j in facts.places(a, i, writes=True)]
        places.append((max([places[j][0] for j in before], default=-1), i))
    return [steps[i] for i in sorted(range(len(steps)), key=places.__getitem__)]


LEAST = 8192  # elements of a chain: fewer lie in the first-level cache as they are
BLOCK = 2048  # elements of a block at most: a few arrays of them fit that cache
PIECES = 8  # of a chain at most
LONGEST = 24  # calls of a chain: MG_MAX_CHAIN


def elementwise_in_blocks(steps: list[Step], facts: Facts) -> list[Step]:
    """Elementwise calls in a row, over runs of memory of one length, take turns on one cache-sized block at a time."""
    result, at = list(steps), 0
    while at < len(steps):
        count = _together(steps[at : at + LONGEST], facts)
        chain = _cut(steps[at].arrays[0].size) if count > 1 else None
        if chain is not None:
            result[at : at + count] = [replace(step, chain=chain) for step in steps[at : at + count]]
        at += max(count, 1)
    return result


def _together(steps: list[Step], facts: Facts) -> int:
    """How many calls from the first on may take turns: memory that one of them writes, all use as the same run."""
    length = _run_length(steps[0])
    spans: dict[int, set[tuple[int, int]]] = {}
    written: set[int] = set()
    for count, step in enumerate(steps):
        if length < LEAST or _run_length(step) != length:
            return count
        for a in step.arrays:
            spans.setdefault(id(facts.of(a)), set()).add(bounds(a))
        written |= {id(facts.of(a)) for a in step.written}
        if any(len(spans[buffer]) > 1 for buffer in written):
            return count
    return len(steps)


def _run_length(step: Step) -> int:
    """The elements of an elementwise call in C on runs of memory in one order, and single numbers; 0 of any other."""
    if step.family != "ELEMENTWISE" or not (call := step.call()).native or not call.ready:
        return 0
    out = step.arrays[0]
    dense = bounds(out)[1] - bounds(out)[0] == out.nbytes and min(out.strides, default=0) > 0
    alike = all(single(a) or (a.shape == out.shape and _order(a) == _order(out)) for a in step.arrays)
    return out.size if dense and alike else 0


def _order(a: Array) -> tuple[int, ...]:
    """The strides in elements, of axes that have more than one."""
    return tuple(stride // a.itemsize for stride, n in zip(a.strides, a.shape, strict=True) if n > 1)


def _cut(n: int) -> Chain | None:
    """Blocks as large as may be that divide ``n`` elements; None if they would be small."""
    elements = max(i for i in range(1, BLOCK + 1) if n % i == 0)
    blocks = n // elements
    pieces = max(i for i in range(1, min(PIECES, n // LEAST) + 1) if blocks % i == 0)
    return Chain(pieces, blocks // pieces, elements) if 8 * elements >= BLOCK else None


DEFAULT: tuple[Pass, ...] = (
    written_in_place,
    relu_into_linear,
    mask_into_product,
    without_dead_calls,
    updates_apart,
    updates_early,
    elementwise_in_blocks,
)


# Memory ---------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A list of calls whose temporaries lie in an arena."""

    steps: list[Step]
    outputs: list[Array]
    arena: Array
    written: list[Array]  # memory from outside
    temporary_bytes: int
    facts: Facts  # of the calls before they were moved
    team: Team | None  # several threads that share the calls

    def uses(self, a: Array) -> bool:
        """Whether the calls read or write the memory of an array from outside."""
        buffer = self.facts.of(a)
        return buffer is not None and buffer.kept and buffer.start <= bounds(a)[0] < buffer.stop


def arrange(
    steps: list[Step],
    kept: Sequence[Array],
    outputs: Sequence[Array],
    passes: Sequence[Pass],
    split: Callable[[list[Step], Sequence[Array], Sequence[Array]], Team | None] = lambda *_: None,
) -> Plan:
    """The calls improved by ``passes``, their temporaries moved to one arena in which memory is used again.

    ``split`` may cut the calls for a team of threads.
    """
    for improve in passes:
        steps = improve(steps, Facts(steps, kept, outputs))
    team = split(steps, kept, outputs)
    steps = steps if team is None else team.steps
    facts = Facts(steps, kept, outputs)
    if team is not None:  # in which calls between two meetings follow no order
        for shared in facts.buffers:
            shared.accesses = [(team.phase(place), writes) for place, writes in shared.accesses]
    temporaries = sorted((b for b in facts.buffers if not b.kept), key=lambda b: b.first)
    size = sum(b.stop - b.start for b in temporaries)
    arena = aligned(_assign_offsets(_with_chains(temporaries, steps)))

    def moved(a: Array, chain: Chain | None = None) -> Array:
        buffer = facts.of(a)
        if buffer is None or buffer.kept:
            return a if chain is None else chain.view(a)
        if chain is not None and buffer.home is not None:
            place, row = buffer.home.offset + chain.pieces * buffer.offset, _rounded(buffer.stop - buffer.start)
            shape = chain.pieces, chain.blocks, chain.elements
            return np.ndarray(shape, a.dtype, arena, place, (row, 0, a.itemsize))
        there = rebased(a, buffer, arena, buffer.offset)
        return there if chain is None else chain.view(there)

    def all_moved(step: Step) -> Step:
        scalars = tuple(moved(s) if isinstance(s, np.ndarray) else s for s in step.scalars)
        return replace(step, arrays=tuple(moved(a, step.chain) for a in step.arrays), scalars=scalars)

    steps = [all_moved(step) for step in steps]
    if team is not None:
        team.steps, team.parts = steps, [[part and all_moved(part) for part in parts] for parts in team.parts]
        team.logged = [moved(a) for a in team.logged]
        team.close()
    kept_writes = [a for step in steps for a in step.written if (b := facts.of(a)) is not None and b.kept]
    changed = list({bounds(a): a for a in kept_writes}.values())
    return Plan(steps, [moved(a) for a in outputs], arena, changed, size, facts, team)


def rebased(a: Array, buffer: Buffer, memory: Array, offset: int) -> Array:
    """The array that lies in ``memory``, from ``offset`` on, as ``a`` does in its buffer."""
    return np.ndarray(a.shape, a.dtype, memory, offset + a.__array_interface__["data"][0] - buffer.start, a.strides)


def chains_of(steps: Sequence[Step]) -> list[tuple[int, int]]:
    """First call of each chain and the one behind its last."""
    groups = [(chain, [i for i, _ in group]) for chain, group in groupby(enumerate(steps), lambda pair: pair[1].chain)]
    return [(places[0], places[-1] + 1) for chain, places in groups if chain is not None]


def _with_chains(temporaries: list[Buffer], steps: Sequence[Step]) -> list[Buffer]:
    """What is to lie in the arena.

    A temporary that only one chain uses needs a block in each of its pieces; any other is in use until the end of
    the chains that use it, for the first call may be on a block when the last was on another.
    """
    homes = []
    for start, stop in chains_of(steps):
        chain, inside = steps[start].chain, []
        assert chain is not None
        for b in temporaries:
            if start <= b.first and b.last < stop:
                b.stop = b.start + (b.stop - b.start) // (chain.pieces * chain.blocks)
                inside.append(b)
            elif any(start <= place < stop for place, _ in b.accesses):
                b.accesses = [(min(b.first, start), True), *b.accesses, (max(b.last, stop - 1), False)]
        home = Buffer(
            0, chain.pieces * _rounded(_assign_offsets(inside, True)), accesses=[(start, True), (stop - 1, False)]
        )
        for b in inside:
            b.home = home
        homes.append(home)
    return sorted([*homes, *(b for b in temporaries if b.home is None)], key=lambda b: b.first)


def aligned(size: int) -> Array:
    """Bytes from an address at the start of a cache line."""
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + size]


def _assign_offsets(temporaries: list[Buffer], in_place: bool = False) -> int:
    """Give each buffer a place that no other has while it is in use: the lowest that is free.  Gives the size.

    ``in_place`` lets a call write where it reads for the last time.
    """
    live: list[Buffer] = []
    total = 0
    for buffer in temporaries:
        size = buffer.stop - buffer.start
        live = [b for b in live if b.last >= buffer.first + in_place]
        place = 0
        for other in sorted(live, key=lambda b: b.offset):
            if place + size <= other.offset:
                break
            place = max(place, _rounded(other.offset + other.stop - other.start))
        buffer.offset = place
        total = max(total, place + size)
        live.append(buffer)
    return total


def _rounded(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
