"""Capture and replay: a training step as a flat list of kernel calls that C runs without Python.

Every kernel call passes one door, ``launch``.  ``capture`` stands in it while a
step runs once, for real, and keeps the calls; ``Program`` runs them again.  Three
things make the list valid the next time.  What changes lives at fixed addresses:
parameters, optimizer state, generators and the cells that hold counts and rates.
What a step allocates (activations, cotangents) gets a fixed place in one arena.
And what Python did between the calls is either known to repeat (``Recorder`` is
told of writes and gradients) or refused.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import is_dataclass
from functools import cache, partial
from math import nan
from typing import Any

import numpy as np

from . import autograd, team
from .errors import CaptureError
from .kernels import recording
from .kernels.launch import (
    Array,
    PythonCall,
    Replay,
    active,
    after_replay,
    launch,
    make_call,
    multiply_adds,
    num_threads,
    observe,
)
from .listing import head, marks
from .passes import DEFAULT, Pass, Plan, Step, arrange, bounds, chains_of
from .tensor import Tensor, ops, wrap

TABLE = 1024  # updates that a schedule's table looks ahead
LONG = 2**23  # floats of 32 MB: three such arrays lie beyond the caches
PAUSE = 0.05  # seconds between two looks at Ctrl-C and progress


_HOLE = object()  # the place of an array among the arguments of a user's operation


class Recorder:
    """What a step did, as the list of its kernel calls and what they do not show."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.calls: list[Any] = []
        self.written: dict[int, tuple[Tensor, str]] = {}  # tensors whose memory was written, and by whom
        self.deposits: dict[int, tuple[Tensor, bool, bool]] = {}  # leaf, its gradient was None, it was made None here
        self.forgotten: dict[int, Tensor] = {}
        self.read: dict[int, weakref.ref[Tensor]] = {}  # tensors that operations took
        self.rates: list[Rate] = []
        self.groups: list[tuple[Any, Any]] = []  # groups of parameters, and their schedules
        self._inside = False  # whether a user's operation runs, which is recorded as one call

    def observe(self, call: Any) -> None:
        """The observer of kernel calls."""
        call.run()
        if threading.get_ident() == self.thread and not self._inside:
            self.calls.append(call)

    def apply(self, op: Any, inputs: tuple[Any, ...], attributes: tuple[Any, ...]) -> Any:
        """Stands in for ``autograd.apply``: notes what an operation takes, and records a user's operation whole."""
        if threading.get_ident() != self.thread:
            return autograd.apply(op, inputs, attributes)
        for x in inputs:
            if isinstance(x, Tensor) and x.node is None:
                self.read.setdefault(id(x), weakref.ref(x))
        if self._inside or op.__module__.partition(".")[0] == __name__.partition(".")[0]:
            return autograd.apply(op, inputs, attributes)
        self._inside = True
        try:
            result = autograd.apply(op, inputs, attributes)
        finally:
            self._inside = False
        self._record_forward(op, inputs, attributes, result if isinstance(result, tuple) else (result,))
        return result

    def _record_forward(self, op: Any, inputs: tuple[Any, ...], attributes: tuple[Any, ...], results: Any) -> None:
        given = [x.data if isinstance(x, Tensor) else x for x in inputs]
        arrays = [x for x in given if isinstance(x, np.ndarray)]
        given = [_HOLE if isinstance(x, np.ndarray) else x for x in given]
        outs = [t.data for t in results]
        if op.view and any(np.shares_memory(out, a) for out in outs for a in arrays):
            return
        named = dict(zip(op.attributes, attributes, strict=True))

        def forward(*memory: Array) -> None:
            left = iter(memory[len(outs) :])
            found = op.forward(*[next(left) if x is _HOLE else x for x in given], **named)
            for out, y in zip(memory, found if isinstance(found, tuple) else (found,), strict=False):
                np.copyto(out, y)

        call = PythonCall(forward, (*outs, *arrays), op.name)
        call.outputs = len(outs)
        self.calls.append(call)

    # What other layers tell ----------------------------------------------------------------

    def wrote(self, tensor: Tensor, writer: str) -> None:
        """``writer`` has written to a tensor's memory."""
        self.written[id(tensor)] = tensor, writer

    def forgot(self, leaf: Tensor) -> None:
        """The gradient of a leaf was set to None."""
        self.forgotten[id(leaf)] = leaf

    def deposit(self, leaf: Tensor) -> None:
        """A gradient is about to be added to a leaf's."""
        if id(leaf) not in self.deposits:
            self.deposits[id(leaf)] = leaf, leaf.grad is None, id(leaf) in self.forgotten

    def updating(self, groups: Sequence[Any], step: Array) -> None:
        """An optimizer is about to make update ``step``, a cell, of its groups."""
        for group in groups:
            self.groups.append((group, group.schedule))
            if group.schedule is not None:
                rate = Rate(group, step)
                self.rates.append(rate)
                launch("look_up", (group.cells["lr"], rate.table, step, rate.first))


class Rate:
    """A schedule as a table that the step cell indexes: filled ahead of the updates that read it."""

    def __init__(self, group: Any, step: Array) -> None:
        self.group, self.step = group, step
        self.table = np.zeros(TABLE)
        self.first = np.array(0, np.int64)
        self.filled = 0
        self.schedule: Any = None
        self.fill(1)

    def fill(self, updates: int) -> None:
        """Hold the rates of the next ``updates`` updates, at most ``TABLE``."""
        step, group = int(self.step), self.group
        known = self.schedule is group.schedule is not None
        if known and self.first <= step and step + updates <= int(self.first) + self.filled:
            return
        self.first[...], self.schedule, self.filled = step, group.schedule, 0
        if group.schedule is None:
            self.table.fill(group.cells["lr"])
            return
        if getattr(group.schedule, "vectorized", False):
            rates = group.schedule(np.arange(step, step + TABLE))
            if (np.isfinite(rates) & (rates >= 0)).all():
                self.table[:], self.filled = rates, TABLE
                return
        # Any other function is asked for one update after the other, and for no more than are made.
        self.table[:updates] = [group.rate(step + i) for i in range(updates)]
        self.filled = updates


def capture(
    step: Callable[..., Any], *inputs: Any, keep_grads: bool = True, passes: Sequence[Pass] = DEFAULT
) -> Program:
    """Run ``step(*inputs)`` once, for real, and return a ``Program`` that repeats it without Python.

    step : a function of tensors: forward, backward, update.  It returns a tensor, None, or tuples, lists
        and dicts of them.  Python numbers, flags and branches in it stay as they were in this one run.
    inputs : example arrays or tensors; a program takes others of the same shape and dtype.
    keep_grads : False lets the program use the memory of gradients for other things; ``.grad`` is None then.
    passes : functions that improve the list of calls, see ``minigrad.passes``.

    Raises ``CaptureError`` where a replay could not repeat the step, saying what to do.
    """
    if recording.current is not None:
        raise CaptureError("a step is being recorded already, and capture does not nest; capture the outer one alone")
    given = [_example(i, x) for i, x in enumerate(inputs)]
    recorder = Recorder()
    with observe(recorder.observe):
        recording.current, ops.apply = recorder, recorder.apply
        try:
            result = step(*given)
        finally:
            recording.current, ops.apply = None, autograd.apply
    structure, outputs = _taken_apart(result)
    del result  # so that what the step alone held is gone, and what is still there is the caller's
    return Program(recorder, given, structure, outputs, getattr(step, "__name__", "step"), keep_grads, passes)


def _example(i: int, x: Any) -> Tensor:
    if isinstance(x, Tensor) and x.requires_grad:
        raise CaptureError(f"input {i} requires grad, but its .grad would stay behind; return minigrad.grad() instead")
    data = x.data if isinstance(x, Tensor) else x
    if not isinstance(data, np.ndarray):
        raise TypeError(f"input {i} of capture is an array or a tensor (a number: 0-d), got {type(x).__name__}")
    if data.size == 0:
        raise ValueError(f"capture needs a batch with something in it, got shape {data.shape} as input {i}")
    return Tensor(np.array(data, order="C", dtype=data.dtype.newbyteorder("=")))


class Program:
    """A recorded step: call it with a batch to make the step again, print it to see what it does.

    ``program(x, y)`` returns fresh copies of what the step returned.  Parameters, optimizer state, generators
    and the ``.grad`` of leaves are read and written where they are, so they are current afterwards.
    ``first_result`` is what the step returned when it was recorded.
    """

    def __init__(
        self,
        recorder: Recorder,
        inputs: list[Tensor],
        structure: Any,
        outputs: list[Array],
        name: str,
        keep_grads: bool,
        passes: Sequence[Pass],
    ) -> None:
        self.name, self.target = name, active()
        self._inputs = [x.data for x in inputs]
        self._result = structure
        self.first_result = _put_together(self._result, map(wrap, [a.copy() for a in outputs]))
        self._rates, self._groups = recorder.rates, recorder.groups
        settled = _settled_gradients(recorder, keep_grads)
        self._leaves = [(leaf, grad) for leaf, grad, _ in settled]
        self._added_to = [(leaf, grad) for leaf, grad, adds in settled if adds]
        self._written = [(t.data, writer) for t, writer in recorder.written.values()]
        self._writes = [(t.storage(), writer) for t, writer in recorder.written.values()]
        for t, writer in recorder.written.values():
            if any(np.shares_memory(t.data, x) for x in self._inputs):
                raise CaptureError(f"{writer} writes into an input of the step; copy it first")
        kept = [*self._inputs, *(t.data for t, _ in recorder.written.values())]
        kept += [grad.data for _, grad in self._leaves if grad is not None]
        threads = num_threads()
        split = partial(team.split, inputs=self._inputs, threads=threads)
        plan = arrange([Step.of(call) for call in recorder.calls], kept, outputs, passes, split)
        self._gone: list[str] = []  # what the calls read and nobody can write to any more
        self._alive = _closed_over(recorder, plan, self._inputs, self._gone)
        self.steps, self._outputs, self.arena = plan.steps, plan.outputs, plan.arena
        self.temporary_bytes, self._changed = plan.temporary_bytes, plan.written
        calls = [step.call() for step in self.steps]
        self._chains = [(first, stop - first) for first, stop in chains_of(self.steps)]
        self.team = plan.team
        shared = None if plan.team is None else (threads, *plan.team.lists(), plan.team.rows, plan.team.closed)
        self._replay = Replay(calls, self._inputs, self._outputs, plan.written, self._chains, shared)
        self._running = threading.Lock()
        self._updates = max([sum(s.writes(rate.step) for s in self.steps) for rate in self._rates], default=0)
        if self._updates > TABLE:
            raise CaptureError(f"a step with a schedule makes at most {TABLE} updates, this one {self._updates}")

    # Replay -------------------------------------------------------------------------------

    def __call__(self, *inputs: Any) -> Any:
        """Make the step with another batch, of the shapes and dtypes that were captured."""
        arrays = self._replay.fitting(inputs)
        if arrays is None:
            self._refuse([x.data if isinstance(x, Tensor) else x for x in inputs])
        self._begin()
        try:
            self._prepare(1)
            outputs = self._replay.run(arrays, self._writes, self._leaves)
        finally:
            self._running.release()
        return wrap(outputs[0]) if self._result is Tensor else _put_together(self._result, map(wrap, outputs))

    def run(
        self,
        data: Sequence[Any],
        order: Any = None,
        steps: int | None = None,
        scale: float = 1 / 255,
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        """Make ``steps`` steps without returning to Python, each on the next rows of ``data`` by ``order``.

        data : for each input an array (rows, ...), of its dtype; uint8 for a float32 input, times ``scale``.
        order : integers, a row each, batch after batch; None takes the rows as they come.
        steps : None makes as many as ``order`` has full batches.
        progress : called with the number of steps made, a few times a second.

        Returns what the step returned: of each number (0-d tensor) the values of all steps, of any other
        tensor the last.  Ctrl-C stops between two steps; those that were made count.
        Raises ``ValueError``, ``TypeError`` or ``IndexError`` for data, labels and rows that do not fit, before
        the first step; labels that the step makes of an input (a cast, a column) are known only when it is made.
        """
        arrays, picked, steps, rows = self._checked_run(data, order, steps)
        if isinstance(scale, bool) or not isinstance(scale, int | float | np.number):
            raise TypeError(f"scale must be a number, got {scale!r}")
        if progress is not None and not callable(progress):
            raise TypeError(f"progress is a function of the number of steps made, got {progress!r}")
        logged = [out for out in self._outputs if out.ndim == 0]
        logs = [np.empty(steps, out.dtype) for out in logged]
        longest = TABLE // self._updates if self._updates else steps
        done, chunk = 0, 1
        self._begin()
        try:
            while done < steps:
                chunk = min(chunk, steps - done, longest)
                self._prepare(chunk)
                began = time.perf_counter()
                try:
                    self._replay.run_steps(arrays, picked, rows, chunk, scale, logged, logs, done)
                finally:
                    after_replay(self._writes, self._leaves)
                done += chunk
                pace = (time.perf_counter() - began) / chunk
                chunk = max(1, int(PAUSE / pace))
                if progress is not None:
                    progress(done)
        finally:
            self._running.release()
        left = iter(logs)
        results = [next(left) if out.ndim == 0 else out.copy() for out in self._outputs]
        return _put_together(self._result, map(wrap, results))

    def _checked_run(
        self, data: Sequence[Any], order: Any, steps: int | None
    ) -> tuple[tuple[Array, ...], Array, int, int]:
        if isinstance(data, np.ndarray | Tensor) or len(data) != len(self._inputs) or not self._inputs:
            raise TypeError(f"run() of {self.name} takes a tuple of {len(self._inputs)} arrays as data")
        if len({own.shape[:1] for own in self._inputs}) != 1 or self._inputs[0].ndim == 0:
            raise CaptureError(f"run() feeds rows, but the inputs of {self.name} have no first axis in common")
        rows = len(self._inputs[0])
        arrays: list[Array] = []
        for i, (given, own) in enumerate(zip(data, self._inputs, strict=True)):
            a = given.data if isinstance(given, Tensor) else np.asarray(given)
            if a.ndim != own.ndim or a.shape[1:] != own.shape[1:]:
                raise ValueError(f"data {i} of run() has shape {a.shape}, {self.name} takes rows like {own.shape}")
            if arrays and len(a) != len(arrays[0]):
                raise ValueError(f"data {i} of run() has {len(a)} rows, data 0 has {len(arrays[0])}")
            if a.dtype != own.dtype and not (a.dtype == np.uint8 and own.dtype == np.float32):
                raise TypeError(f"data {i} of run() is {a.dtype}, {self.name} was captured with {own.dtype}")
            arrays.append(np.ascontiguousarray(a))
        count = len(arrays[0])
        picked = np.arange(count) if order is None else np.asarray(order)
        if picked.ndim != 1 or picked.dtype.kind not in "iu":
            raise TypeError(f"order is a row of integers, got {picked.dtype} {picked.shape}")
        steps = len(picked) // rows if steps is None else steps
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ValueError(f"run() makes at least one step of {rows} rows, got steps={steps!r}")
        if len(picked) < steps * rows:
            raise ValueError(f"{steps} steps of {rows} rows need {steps * rows} rows, order has {len(picked)}")
        picked = np.ascontiguousarray(picked[: steps * rows], np.int64)
        if picked.min() < 0 or picked.max() >= count:
            raise IndexError(f"order picks rows from {picked.min()} to {picked.max()}, data has {count}")
        self._check_labels(arrays)
        return tuple(arrays), picked, int(steps), rows

    def _check_labels(self, arrays: Sequence[Array]) -> None:
        """Every label of the data is a class, so that no step can stop half way."""
        for step in self.steps:
            if step.kernel in ("cross_entropy", "cross_entropy_grad"):
                labels, classes = step.arrays[-1], step.arrays[-2].shape[1]
                for own, a in zip(self._inputs, arrays, strict=True):
                    if labels is own and a.size and (a.min() < 0 or a.max() >= classes):
                        bad = a[(a < 0) | (a >= classes)][0]
                        raise IndexError(f"label {bad} lies outside the {classes} classes")

    def _refuse(self, arrays: list[Any]) -> None:
        """Raise for inputs that do not fit."""
        if len(arrays) != len(self._inputs):
            raise TypeError(f"{self.name} was captured with {len(self._inputs)} inputs, got {len(arrays)}")
        for i, (got, own) in enumerate(zip(arrays, self._inputs, strict=True)):
            if not isinstance(got, np.ndarray):
                raise TypeError(f"input {i} of {self.name} is an array or a tensor, got {type(got).__name__}")
            if got.shape != own.shape or got.dtype != own.dtype:
                raise CaptureError(
                    f"{self.name} was captured with {own.dtype} {own.shape} as input {i}, got {got.dtype} {got.shape}; "
                    "capture a second program for it"
                )

    def _begin(self) -> None:
        if recording.current is not None and recording.recorder() is not None:
            raise CaptureError("a program cannot run inside a step that is recorded; call the step itself")
        if not self._running.acquire(blocking=False):
            raise CaptureError(f"{self.name} is running in another thread; capture a program for each")

    def _prepare(self, steps: int) -> None:
        """Check that what the calls were recorded with still holds; fill the tables of schedules."""
        if active() != self.target:
            raise CaptureError(f"{self.name} was captured on {self.target}, now {active()} is active; capture it again")
        if self._gone:
            raise CaptureError(f"{self._gone[0]} that {self.name} uses is gone; keep it, or capture again")
        for leaf, grad in self._added_to:
            if leaf.grad is not grad:
                raise CaptureError(
                    f"{self.name} adds to gradients, and the one of a {leaf.shape} leaf was replaced or forgotten; "
                    "call zero_grad() in the step, or capture again"
                )
        for group, schedule in self._groups:
            if schedule is None and group.schedule is not None:
                raise CaptureError("the learning rate became a schedule after the capture; capture again")
        for rate in self._rates:
            rate.fill(steps * self._updates)

    def profile(self, replays: int = 100) -> Profile:
        """Where the time goes: ``replays`` replays on the last batch, timed call by call.

        What the calls write is put back afterwards, so nothing is trained.
        """
        if isinstance(replays, bool) or not isinstance(replays, int | np.integer) or replays < 1:
            raise ValueError(f"profile() makes at least one replay, got replays={replays!r}")
        held = [a for step in self.steps for a in step.scalars if isinstance(a, np.ndarray)]
        held = [*{id(a): a for a in (*self._changed, *held)}.values()]
        self._begin()
        before = [a.copy() for a in held]
        try:
            self._prepare(1)
            rounds = [self._replay.timed() for _ in range(replays)]
        finally:
            self._running.release()
            for a, value in zip(held, before, strict=True):
                np.copyto(a, value)
        return Profile(self.name, self.steps, np.median(rounds, axis=0).tolist(), self._chains)

    # To be read -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        inputs = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self._inputs)
        shared = "" if self.team is None else f", {self.team.threads} threads, barriers: {self.team.barriers}"
        yield f"program {self.name}({inputs}): {len(self.steps)} calls on {self.target}{shared}"
        yield f"  temporaries: {self.temporary_bytes:,} bytes in an arena of {self.arena.nbytes:,}"
        read = [t.data for ref in self._alive if (t := ref()) is not None]
        leaves = [None if grad is None else grad.data for _, grad in self._leaves]
        yield from head(self.steps, self.arena, self._inputs, self._outputs, read, self._written, leaves, self._result)
        for i, (mark, step) in enumerate(zip(marks(self.steps, self._chains), self.steps, strict=True)):
            if self.team is not None and i and i in self.team.starts:
                yield "  --- all threads meet"
            yield f"  {i:3} {mark}{step}"


class Profile:
    """The median time of each call; print it, or read the lists ``seconds``, ``flops``, ``bytes`` and ``shares``.

    What runs together as a chain is timed as one, and stands at its first call.  ``bytes`` counts each array of a call
    or chain once, ``flops`` those of matrix products.  ``shares`` are of the peak: FLOP/s of a product, of what the
    multiply-adds of its threads' cores reach in registers; bytes/s of any other call, of what an addition of arrays
    beyond the caches reaches with all threads.  Arrays that lie in a cache may well go above that.
    """

    def __init__(self, name: str, steps: Sequence[Step], seconds: list[float], chains: list[tuple[int, int]]) -> None:
        self.name, self.steps, self.seconds = name, steps, seconds
        self._marks = marks(steps, chains)
        self.flops = [2 * s.arrays[0].size * s.arrays[1].shape[-1] if s.family == "MATMUL" else 0 for s in steps]
        self.bytes = [_distinct_bytes([step]) for step in steps]
        for first, count in chains:
            self.bytes[first : first + count] = [_distinct_bytes(steps[first : first + count])] + [0] * (count - 1)
        peak, bandwidth = _limits(active(), num_threads())
        self.shares = [
            (flops / (peak * getattr(step.call(), "threads", 1)) if flops else moved / bandwidth) / time
            if time > 0
            else nan
            for step, time, flops, moved in zip(steps, seconds, self.flops, self.bytes, strict=True)
        ]

    def __repr__(self) -> str:
        total = sum(self.seconds)
        lines = [
            f"{self.name}: {1e6 * total:.1f} us in {len(self.steps)} calls",
            "      us   share   GFLOP/s    GB/s  of peak",
        ]
        columns = zip(self.steps, self._marks, self.seconds, self.flops, self.bytes, self.shares, strict=True)
        for step, mark, seconds, flops, moved, share in columns:
            if mark and moved == 0:  # timed with the first call of its chain
                lines.append(f"{'':44}{mark}{step}")
                continue
            rate = f"{flops / seconds / 1e9:9.1f}" if flops and seconds > 0 else " " * 9
            pace = f"{moved / seconds / 1e9:7.1f}" if seconds > 0 else " " * 7
            of_peak = f"{share:7.0%}" if share == share else " " * 7
            lines.append(f"{1e6 * seconds:8.2f}  {seconds / total:6.1%} {rate} {pace} {of_peak}  {mark}{step}")
        return "\n".join(lines)


def _distinct_bytes(steps: Sequence[Step]) -> int:
    """The memory that calls use; what is repeated counts once."""
    spans = {bounds(a): a for step in steps for a in step.arrays if a.size}
    return sum(min(a.nbytes, stop - start) for (start, stop), a in spans.items())


@cache
def _limits(target: str, threads: int) -> tuple[float, float]:
    """FLOP/s of a core's multiply-adds in registers (NaN for NumPy), and bytes/s of a long addition with all threads.

    Measured once for each target and number of threads, which are those in use: the best of a few tries, 0.1 s in all.
    """

    def best(run: Callable[[], Any]) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    rounds, long = 100_000, np.ones((3, LONG), np.float32)
    peak = nan if target == "reference" else multiply_adds(rounds) / best(lambda: multiply_adds(rounds))
    return peak, long.nbytes / best(make_call("add", tuple(long)).run)


def _taken_apart(result: Any) -> tuple[Any, list[Array]]:
    """The structure of what a step returned, and its arrays."""
    if isinstance(result, Tensor):
        return Tensor, [result.data]
    if isinstance(result, np.ndarray):
        raise CaptureError("the step returned a NumPy array, which a replay cannot renew; return the tensor")
    if isinstance(result, dict):
        parts = {key: _taken_apart(value) for key, value in result.items()}
        return {key: part[0] for key, part in parts.items()}, [a for part in parts.values() for a in part[1]]
    if isinstance(result, tuple | list):
        listed = [_taken_apart(value) for value in result]
        return _like(result, [part[0] for part in listed]), [a for part in listed for a in part[1]]
    if isinstance(result, Iterator | Set) or is_dataclass(result):
        raise CaptureError(f"the step returned a {type(result).__name__}; return a tuple, a list or a dict of tensors")
    return result, []


def _like(sequence: Any, values: list[Any]) -> Any:
    """A tuple, named or not, or a list of the type of another."""
    return getattr(type(sequence), "_make", type(sequence))(values)


def _put_together(structure: Any, tensors: Iterator[Tensor]) -> Any:
    if structure is Tensor:
        return next(tensors)
    if isinstance(structure, dict):
        return {key: _put_together(value, tensors) for key, value in structure.items()}
    if isinstance(structure, tuple | list):
        return _like(structure, [_put_together(value, tensors) for value in structure])
    return structure


def _settled_gradients(recorder: Recorder, keep_grads: bool) -> list[tuple[Tensor, Tensor | None, bool]]:
    """For each leaf with a gradient the tensor that holds it afterwards, and whether the step adds to one before."""
    leaves = []
    for leaf, was_none, forgotten in recorder.deposits.values():
        if not was_none and (leaf.grad is None or not keep_grads):
            raise CaptureError("a step that adds to gradients from before must keep them; call zero_grad() first in it")
        if was_none and not forgotten and leaf.grad is not None and keep_grads:
            raise CaptureError(
                f"the step left a gradient in a {leaf.shape} leaf that had none before, so the next one would add to "
                "it; call zero_grad() in the step"
            )
        if not keep_grads:
            leaf.grad = None
        leaves.append((leaf, leaf.grad, not was_none))
    for leaf in recorder.forgotten.values():
        if id(leaf) not in recorder.deposits:
            leaves.append((leaf, None, False))
    return leaves


def _closed_over(recorder: Recorder, plan: Plan, inputs: list[Array], gone: list[str]) -> list[weakref.ref[Tensor]]:
    """The tensors from outside that the calls read, which say so in ``gone`` when they die.

    Those made and forgotten in the step are constants.
    """
    alive = [t for ref in recorder.read.values() if (t := ref()) is not None and plan.uses(t.data)]
    alive = [t for t in alive if not any(np.may_share_memory(t.data, x) for x in inputs)]
    return [weakref.ref(t, partial(_note, gone, f"a tensor of shape {t.shape}")) for t in alive]


def _note(gone: list[str], what: str, ref: Any) -> None:
    gone.append(what)
