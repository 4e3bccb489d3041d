"""Time several ways of doing the same thing, side by side.

Absolute times wander on a shared machine; a comparison survives it.  So all
sides run in one process, block by block in turn (A B A B ...), each block long
enough for the clock, and the median over the rounds is what counts.
"""

import gc
import importlib.metadata
import importlib.util
import itertools
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import _engine, kernels

Clock = Callable[[], float]

PEERS = ("torch", "jax")
THREADS = ("MINIGRAD_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


QUICK: dict[str, Any] = {"rounds": 3, "block": 2e-4}  # enough to see that it runs


# Measuring ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what was timed, and for each side the seconds of one call."""

    name: str
    case: str
    seconds: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.name} {self.case}"

    def ratio(self, ours: str, peer: str) -> float:
        """How many times as fast as ``peer``; NaN where one of them was not timed."""
        return self.seconds.get(peer, math.nan) / self.seconds.get(ours, math.nan)


def compare(
    sides: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    block: float = 1e-3,
    clock: Clock = time.perf_counter,
    settle: float = 0.0,
) -> dict[str, float]:
    """The median over ``rounds`` of each side's seconds a call, blocks of about ``block`` seconds interleaved.

    Before each block the side runs for ``settle`` seconds that do not count: where sides have several threads, those
    of the one before go on spinning for some milliseconds, and its own may be asleep.
    """
    samples: dict[str, list[float]] = {side: [] for side in sides}
    with _collector_off():
        repeats = {side: _calibrate(call, block, clock) for side, call in sides.items()}
        for _ in range(rounds):
            for side, call in sides.items():
                until = clock() + settle if settle else 0.0
                while settle and clock() < until:
                    call()
                samples[side].append(_time(call, repeats[side], clock) / repeats[side])
    return {side: statistics.median(times) for side, times in samples.items()}


def _time(call: Callable[[], object], repeats: int, clock: Clock) -> float:
    start = clock()
    for _ in itertools.repeat(None, repeats):
        call()
    return clock() - start


def _calibrate(call: Callable[[], object], block: float, clock: Clock) -> int:
    """How many calls fill a block.  The best of three tries decides, so that one hiccup cannot."""
    repeats = 1
    while min(_time(call, repeats, clock) for _ in range(3)) < block / 2:
        repeats *= 2
    return repeats


@contextmanager
def _collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


# Printing ----------------------------------------------------------------------


def table(
    rows: Sequence[Row],
    ours: Sequence[str],
    peers: Sequence[str],
    more: Mapping[str, Callable[[Row], str]] | None = None,
) -> str:
    """A Markdown table: the times of all sides, then each of ours against each peer; losers are marked.

    ``more`` gives further columns, the text of each for a row.
    """
    more = more or {}
    pairs = [(side, peer) for side in ours for peer in peers]
    header = ["", "", *ours, *peers, *(f"{peer} / {side}" for side, peer in pairs), *more]
    lines = [
        [row.name, row.case]
        + [duration(row.seconds.get(side, math.nan)) for side in (*ours, *peers)]
        + [verdict(row.ratio(*pair)) for pair in pairs]
        + [text(row) for text in more.values()]
        for row in rows
    ]
    return markdown(header, lines)


def summary(rows: Sequence[Row], ours: str, peer: str) -> str:
    """A Markdown table with a line for each name: the geometric mean of its ratios, and the worst."""
    lines = []
    for name, group in itertools.groupby(rows, lambda row: row.name):
        ratios = [(row.ratio(ours, peer), row.case) for row in group]
        worst, case = min(ratios)
        mean = statistics.geometric_mean(ratio for ratio, _ in ratios)
        lines.append([name, verdict(mean), verdict(worst), case])
    return markdown(["", f"{peer} / {ours}", "worst", "at"], lines)


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Cells as a Markdown table, padded so that it reads as plain text too."""
    cells = [header, *lines]
    widths = [max(3, *(len(text) for text in column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    )


def duration(seconds: float) -> str:
    """Three significant digits in ns, us, ms or s; empty for NaN."""
    if math.isnan(seconds):
        return ""
    units = (("ns", 1e9), ("us", 1e6), ("ms", 1e3), ("s", 1.0))
    unit, value = next((unit, seconds * n) for unit, n in units if seconds * n < 999.5 or unit == "s")
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def verdict(ratio: float) -> str:
    """A ratio to two digits, marked where it loses; empty for NaN."""
    if math.isnan(ratio):
        return ""
    return f"{ratio:.2f}" if round(ratio, 2) >= 1 else f"**{ratio:.2f} slower**"


# Where it ran --------------------------------------------------------------------


def hold_threads(count: int) -> None:
    """Start the program anew with so many threads on every side, unless it was: BLAS asks only while it is loaded.

    XLA knows one thread or one for each core it may use, so it is given no more cores than threads.
    """
    wanted = dict.fromkeys(THREADS, str(count)) | {"XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={count > 1}".lower()}
    if count > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    if not wanted.items() <= os.environ.items():
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def single_thread() -> None:
    """One thread on every side, the usual comparison."""
    hold_threads(1)


def surroundings() -> str:
    """One line on the machine, the build and the peers; a figure without it means nothing."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    peers = [f"{peer} {importlib.metadata.version(peer)}" for peer in PEERS if installed(peer)]
    return "; ".join(
        [
            f"{_processor()}, {os.cpu_count()} cores",
            f"target {kernels.active()}, engine {_engine.engine}",
            f"threads: minigrad {kernels.num_threads()}, BLAS {os.environ.get('OPENBLAS_NUM_THREADS', 'all')}",
            f"Python {platform.python_version()}, NumPy {np.__version__}, {blas['name']} {blas['version']}",
            f"peers: {', '.join(peers) or 'no ' + ', no '.join(PEERS)}",
        ]
    )


def installed(peer: str) -> bool:
    """Whether an optional peer can be imported."""
    return importlib.util.find_spec(peer) is not None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
