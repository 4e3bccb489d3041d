"""Teams: a list of calls cut into one for each thread, and the places where the threads wait for each other.

A call on a part of its output is a call.  So every call whose output has rows enough
is cut into one for each thread, at the same rows of a batch, and of a weight, all over
the list; thread 0 makes the others.  Threads need not meet until one would touch what
another has written, or write what it has read, since they last met: so the calls that
make them meet are put off until no others are left.  A training step comes out as
forward pass, losses and input gradients of the thread's rows of the batch; a meeting;
gradients and update of its rows of the weights.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np

from .kernels import KERNELS
from .kernels.launch import Array
from .passes import Buffer, Facts, Step, aligned, bounds, rebased

WORTH = 500_000  # multiply-adds of a step for each thread: less is done before a second one has begun
UNCUT = 1 / 8  # of the work of a step: where thread 0 makes more alone, calls that share their own work are better
HELD = 4 << 20  # bytes of temporaries that are done with before the threads meet, so that others may lie there
FEW_BYTES = 4096  # of a temporary that each thread works out for itself rather than wait for it

Access = tuple[int, int, int, bool]  # thread, first byte, the one behind the last, whether it is written


@dataclass
class Team:
    """The calls in an order of few meetings, and what each thread makes of each."""

    steps: list[Step]
    parts: list[list[Step | None]]  # of each call, one a thread
    starts: list[int]  # at which call each phase begins: before all but the first the threads meet
    inputs: list[Array]
    rows: list[int]  # of a batch: thread t fetches rows[t] to rows[t + 1]
    logged: list[Array]  # results that thread 0 notes at the end
    closed: bool = True  # whether the threads meet at the end as well, before the next step begins

    @property
    def threads(self) -> int:
        return len(self.rows) - 1

    @property
    def barriers(self) -> int:
        """How often the threads meet within a step; the end of the step does not count."""
        return len(self.starts) - 1 + self.closed - 1

    def phase(self, place: int) -> int:
        """In which phase a call is; one behind the last for the end of the list."""
        return bisect(self.starts, place) - 1 + (place == len(self.steps))

    def accesses(self, phase: int) -> list[Access]:
        """What the threads touch between two meetings, a batch that they fetch and results that they note included."""
        begin, end = [*self.starts, len(self.steps)][phase : phase + 2]
        found = fetched(self.inputs, self.rows) if phase == 0 else []
        if phase == len(self.starts) - 1:
            found += noted(self.logged)
        for parts in self.parts[begin:end]:
            found += touched(parts)
        return found

    def close(self) -> None:
        """See whether what stands at the end of a step may be done while other threads begin the next."""
        last = len(self.starts) - 1
        self.closed = last == 0 or collide([*self.accesses(last), *self.accesses(0)])

    def lists(self) -> tuple[list[list[Any]], list[list[Any]], list[list[int]]]:
        """For each thread its calls, of which calls they are parts, and up to where it makes them before meeting."""
        calls: list[list[Any]] = [[] for _ in range(self.threads)]
        wholes: list[list[Any]] = [[] for _ in range(self.threads)]
        ends: list[list[int]] = [[] for _ in range(self.threads)]
        for begin, end in pairwise([*self.starts, len(self.steps)]):
            for step, parts in zip(self.steps[begin:end], self.parts[begin:end], strict=True):
                whole = step.call()
                for t, part in enumerate(parts):
                    if part is not None and (call := part.call()).work:
                        calls[t].append(call)
                        wholes[t].append(whole)
            for t in range(self.threads):
                ends[t].append(len(calls[t]))
        return calls, wholes, ends


def touched(parts: Sequence[Step | None]) -> list[Access]:
    """The memory of a call that is cut."""
    made = [(t, step) for t, step in enumerate(parts) if step is not None]
    found = [(t, *bounds(a), False) for t, step in made for a in step.read if a.size]
    return found + [(t, *bounds(a), True) for t, step in made for a in step.written if a.size]


def fetched(inputs: Sequence[Array], rows: Sequence[int]) -> list[Access]:
    """The memory of a batch that each thread fetches."""
    ranges = [(t, begin, end) for t, (begin, end) in enumerate(pairwise(rows)) if begin < end]
    return [(t, *bounds(a[begin:end]), True) for a in inputs for t, begin, end in ranges]


def noted(results: Sequence[Array]) -> list[Access]:
    """The memory of results that are noted."""
    return [(0, *bounds(a), False) for a in results]


def collide(accesses: Iterable[Access]) -> bool:
    """Whether two threads touch the same byte, and one of them writes it."""
    live: dict[bool, list[Access]] = {False: [], True: []}
    for access in sorted(accesses, key=lambda a: a[1]):
        thread, start, stop, writes = access
        for kind in (True, False) if writes else (True,):
            live[kind] = [other for other in live[kind] if other[2] > start]
            if any(other[0] != thread for other in live[kind]):
                return True
        if stop > start:
            live[writes].append(access)
    return False


class _Phase:
    """What the threads have touched since they last met."""

    def __init__(self, facts: Facts, accesses: Sequence[Access] = ()) -> None:
        self.facts = facts
        self.seen: dict[tuple[int, bool], list[Access]] = {}
        self.add(accesses)

    def add(self, accesses: Sequence[Access]) -> None:
        for access in accesses:
            self.seen.setdefault((self.facts.at(access[1]), access[3]), []).append(access)

    def takes(self, accesses: Sequence[Access]) -> bool:
        """Whether each thread may go on with its part without waiting for another."""
        for thread, start, stop, writes in accesses:
            buffer = self.facts.at(start)
            for kind in (True, False) if writes else (True,):
                for other, first, end, _ in self.seen.get((buffer, kind), ()):
                    if other != thread and first < stop and start < end:
                        return False
        return True


# Cutting ----------------------------------------------------------------------------------------


def cuts(n: int, threads: int) -> list[int] | None:
    """Where n rows are cut into a range for each thread, two rows at least; None if they are too few."""
    for unit in (8, 4, 2):
        if n >= unit * threads:
            return [0, *(round(n * t / threads / unit) * unit for t in range(1, threads)), n]
    return None


def slowest(a: Array) -> int | None:
    """The axis, counted from the last, along which an array's memory is cut into runs; None for a single number."""
    axes = [axis for axis in range(-a.ndim, 0) if a.shape[axis] > 1]
    return max(axes, key=lambda axis: abs(a.strides[axis]), default=None)


def taken(a: Array, axis: int | None, begin: int, end: int) -> Array:
    """Part of an axis counted from the last; None takes all."""
    place: list[Any] = [] if axis is None else [slice(begin, end), *[slice(None)] * (-axis - 1)]
    part: Array = a[(..., *place)]
    return part


def cut(step: Step, threads: int) -> list[Step] | None:
    """A call as one for each thread, each on a part of the output with the bits that the whole would give it."""
    if step.family == "UPDATE":
        return _cut_update(step, threads)
    axis = slowest(step.arrays[0])
    at = cuts(step.arrays[0].shape[axis], threads) if axis is not None else None
    if at is None or axis is None:
        return None
    if step.family == "FLAT":
        return _cut_draw(step, at)
    axes = _axes(step, axis)
    if axes is None:
        return None
    whole = step.arrays[0].shape[-2:] if step.family == "MATMUL" else (0, 0)
    parts = [
        replace(step, arrays=tuple(taken(a, k, *ends) for a, k in zip(step.arrays, axes, strict=True)), whole=whole)
        for ends in pairwise(at)
    ]
    return parts if all(part.call().ready for part in parts) else None


def _axes(step: Step, axis: int) -> list[int | None] | None:
    """Along which axis each array is cut where the output is cut along ``axis``; None if the call cannot be."""
    out, names = step.arrays[0], KERNELS[step.kernel].arrays
    if step.family == "MATMUL" and axis >= -2:
        across = -2 if step.kernel == "linear" else -1  # the weight of a layer is (columns, k)
        kinds: dict[str, int | None] = {"b": None, "weight": None, "bias": None}
        if axis == -1:
            kinds = {"a": None, "x": None, "b": across, "weight": across, "bias": -1}
        return [kinds.get(name, axis) for name in names]
    if step.family == "ROWS":
        if axis != -out.ndim:
            return None
        return [None if name in ("weight", "bias") else -a.ndim for name, a in zip(names, step.arrays, strict=True)]
    if step.family in ("ELEMENTWISE", "REDUCE", "MATMUL"):
        return [axis if a.ndim >= -axis and a.shape[axis] == out.shape[axis] else None for a in step.arrays]
    return None


def _cut_draw(step: Step, at: list[int]) -> list[Step] | None:
    """Dropout and its gradient: flat arrays, and a mask with a bit for each element."""
    if step.kernel not in ("dropout", "dropout_grad"):
        return None
    n, first = step.arrays[0].size, step.whole[1]
    ends = [row * n // at[-1] for row in at]
    if any(end % 8 for end in ends[:-1]):
        return None
    parts = []
    for begin, end in pairwise(ends):
        flat = [a.reshape(-1) for a in step.arrays]
        arrays = tuple(a[begin // 8 : -(-end // 8)] if a.itemsize == 1 else a[begin:end] for a in flat)
        whole = (n, first + begin // 8) if step.kernel == "dropout" else (0, 0)
        parts.append(replace(step, arrays=arrays, whole=whole))
    return parts


def _cut_update(step: Step, threads: int) -> list[Step] | None:
    made: list[list[Array]] = [[] for _ in range(threads)]
    projected = isinstance(step.scalars[-2], np.ndarray) or step.scalars[-2] != np.inf  # max_norm
    for i in range(0, len(step.arrays), step.group):
        tensor = step.arrays[i : i + step.group]
        axis = slowest(tensor[0])
        if projected and axis is not None and axis > -tensor[0].ndim:
            axis = None  # a unit of the first axis, whose norm is taken, stays whole
        at = None if axis is None else cuts(tensor[0].shape[axis], threads)
        if at is None:
            made[0] += tensor
        else:
            for own, ends in zip(made, pairwise(at), strict=True):
                own += [taken(a, axis, *ends) for a in tensor]
    return [replace(step, arrays=tuple(own)) for own in made] if all(made) else None


def draws_by_place(steps: Sequence[Step]) -> list[Step]:
    """Each draw knows its place in the stream of its counter, which moves once, at the end of the step."""
    drawn: dict[int, tuple[Array, int]] = {}
    result = []
    for step in steps:
        counter = step.scalars[2] if step.kernel == "dropout" else None
        if isinstance(counter, np.ndarray):
            _, first = drawn.get(id(counter), (counter, 0))
            n = step.arrays[0].size
            step = replace(step, whole=(n, first))
            drawn[id(counter)] = counter, first + -(-n // 8)
        result.append(step)
    for counter, blocks in drawn.values():
        cell = counter.view(np.int64)
        result.append(Step("advance", (cell, cell, np.array(blocks, np.int64))))
    return result


def _repeated(steps: Sequence[Step], facts: Facts, inputs: Sequence[Array]) -> dict[int, Buffer]:
    """Small temporaries that depend on nothing that changes in the step, such as the gradient of a mean."""
    found: dict[int, Buffer] = {}
    given = {facts.at(bounds(a)[0]) for a in inputs}
    for i, step in enumerate(steps):
        buffer = facts.of(step.arrays[0])
        if step.family != "ELEMENTWISE" or buffer is None or buffer.kept or buffer.stop - buffer.start > FEW_BYTES:
            continue
        if buffer.last == facts.end or [place for place, writes in buffer.accesses if writes] != [i]:
            continue
        sources = [(facts.at(bounds(a)[0]), facts.of(a)) for a in step.read]
        if all(
            at in found or (at not in given and b is not None and not any(w for _, w in b.accesses))
            for at, b in sources
        ):
            found[facts.at(buffer.start)] = buffer
    return found


def _shares(steps: Sequence[Step], facts: Facts, inputs: Sequence[Array], threads: int) -> list[list[Step | None]]:
    """What each thread makes of each call."""
    repeated = _repeated(steps, facts, inputs)
    copies = [{at: aligned(b.stop - b.start) for at, b in repeated.items()} for _ in range(threads)]

    def own(a: Array, thread: int) -> Array:
        at = facts.at(bounds(a)[0])
        return rebased(a, repeated[at], copies[thread][at], 0) if thread and at in repeated else a

    shares = []
    for step in steps:
        parts: Sequence[Step | None]
        if facts.at(bounds(step.arrays[0])[0]) in repeated:
            parts = [step] * threads
        else:
            parts = cut(step, threads) or [step] + [None] * (threads - 1)
        parts = [p and replace(p, arrays=tuple(own(a, t) for a in p.arrays)) for t, p in enumerate(parts)]
        if collide(touched(parts)):
            parts = [step] + [None] * (threads - 1)
        shares.append(list(parts))
    return shares


# The order --------------------------------------------------------------------------------------


def _dependencies(steps: Sequence[Step], facts: Facts) -> list[set[int]]:
    """For each call those before it that it must come after."""
    seen: dict[tuple[int, bool], list[tuple[int, int, int]]] = {}
    found: list[set[int]] = []
    for i, step in enumerate(steps):
        accesses = touched([step])
        before = set()
        for _, start, stop, writes in accesses:
            for kind in (True, False) if writes else (True,):
                for j, first, end in seen.get((facts.at(start), kind), ()):
                    if first < stop and start < end:
                        before.add(j)
        for _, start, stop, writes in accesses:
            seen.setdefault((facts.at(start), writes), []).append((i, start, stop))
        found.append(before)
    return found


def _ordered(
    steps: Sequence[Step],
    shares: list[list[Step | None]],
    facts: Facts,
    first: Sequence[Access],
    last: Sequence[Access],
) -> tuple[list[int], list[int]]:
    """An order of the calls, and where in it the threads meet: each comes as early as it can without one more meeting.

    ``first`` and ``last`` are what is touched before and after them.
    """
    before = _dependencies(steps, facts)
    after: list[list[int]] = [[] for _ in steps]
    for i, places in enumerate(before):
        for j in places:
            after[j].append(i)
    waits = [len(places) for places in before]
    uses = {facts.at(b.start): len(b.accesses) for b in facts.buffers if not b.kept}
    size = {facts.at(b.start): b.stop - b.start for b in facts.buffers}
    order: list[int] = []
    starts = [0]
    ready = [i for i, n in enumerate(waits) if n == 0]
    phase, held, put_off = _Phase(facts, first), 0, list[int]()
    while ready:
        i = heappop(ready)
        accesses = touched(shares[i])
        if held < HELD and phase.takes(accesses):
            phase.add(accesses)
            order.append(i)
            for j in after[i]:
                waits[j] -= 1
                if waits[j] == 0:
                    heappush(ready, j)
            for a in (*steps[i].read, *steps[i].written):
                at = facts.at(bounds(a)[0])
                if at in uses:
                    uses[at] -= 1
                    held += size[at] if uses[at] == 0 else 0
        else:
            put_off.append(i)
        if not ready and put_off:
            heapify(put_off)
            ready, put_off = put_off, []
            starts.append(len(order))
            phase, held = _Phase(facts), 0
    if not phase.takes(last):
        starts.append(len(order))
    return order, starts


def split(
    steps: list[Step], kept: Sequence[Array], outputs: Sequence[Array], inputs: list[Array], threads: int
) -> Team | None:
    """The list for a team of at most so many threads; None where one thread, or calls that share work, do better.

    So do chains, whose blocks threads share: a list that is mostly chains stays as it is, in any other they are cut.
    """
    calls = [step.call() for step in steps]
    if threads < 2 or not all(call.native for call in calls):
        return None
    total = sum(call.cost for call in calls)
    threads = min(threads, int(total / WORTH))
    chained = sum(call.cost for call, step in zip(calls, steps, strict=True) if step.chain is not None)
    if threads < 2 or 2 * chained > total:
        return None
    steps = draws_by_place([replace(step, chain=None) for step in steps])
    facts = Facts(steps, kept, outputs)
    shares = _shares(steps, facts, inputs, threads)
    costs = [(step.call().cost, parts[1] is not None) for step, parts in zip(steps, shares, strict=True)]
    if sum(cost for cost, is_cut in costs if not is_cut) > UNCUT * sum(cost for cost, _ in costs):
        return None
    lengths = {a.shape[:1] for a in inputs}
    ((rows,),) = lengths if len(lengths) == 1 and () not in lengths else [(0,)]
    at = cuts(rows, threads) or [0] + [rows] * threads
    logged = [a for a in outputs if a.ndim == 0]
    order, starts = _ordered(steps, shares, facts, fetched(inputs, at), noted(logged))
    return Team([steps[i] for i in order], [shares[i] for i in order], starts, inputs, at, logged)
