"""What a second thread gives, on a quiet machine and beside another process that holds a core.

    python benchmarks/threads.py [--quick]

One thread and two take turns in one process.  The other process is a busy loop
pinned to one core; a caller should never wait for a worker that is not run.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from harness import QUICK, compare, duration, markdown, surroundings, verdict
from kernels import normal

import minigrad as mg
from minigrad import kernels
from minigrad.kernels.launch import launch

NET, BATCH = (784, 512, 256, 10), 128
Side = Callable[[], object]


def contests(quick: bool) -> Iterator[tuple[str, str, Side]]:
    """Name, case and call of everything that is timed, small before large."""
    for m, k, n in [(32, 128, 128), (128, 256, 128), (128, 784, 512), (784, 512, 128)]:
        yield "matmul", f"{m}x{k}x{n}", partial(launch, "matmul", (normal(m, n), normal(m, k), normal(k, n)))
    for size in (100_000,) if quick else (100_000, 1_000_000, 10_000_000):
        out, a, b = normal(size), normal(size), normal(size)
        square = [x.reshape(-1, 100) for x in (out, a)]
        alone = (0.0, 0.0, 0.0, 0.0, np.inf, 0.0)  # no decay, no projection, nothing skipped
        sgd, adam = (1e-6, *alone), (1e-6, 0.9, 0.999, 1e-8, 5, *alone)
        yield "add", f"{size:.0e}", partial(launch, "add", (out, a, b))
        yield "exp", f"{size:.0e}", partial(launch, "exp", (out, a))
        yield "sum", f"{size:.0e}", partial(launch, "sum", (normal(1), a))
        yield "softmax", f"{size:.0e}", partial(launch, "softmax", tuple(square))
        yield "sgd", f"{size:.0e}", partial(launch, "sgd", (out, a), sgd)
        yield "adam", f"{size:.0e}", partial(launch, "adam", (out, a, abs(b), b), adam)
    yield "training step", "-".join(map(str, NET)) + f", batch {BATCH}", training_step()


def training_step() -> Side:
    """One eager step of a classifier with Adam."""
    layers: list[Any] = []
    for wide, narrow in pairwise(NET):
        layers += [mg.nn.Linear(wide, narrow), mg.nn.ReLU()]
    model, loss = mg.nn.Sequential(*layers[:-1]), mg.nn.CrossEntropyLoss()
    optimizer = mg.optim.Adam(model.parameters(), lr=1e-3)
    x, labels = mg.Tensor(normal(BATCH, NET[0])), np.arange(BATCH) % NET[-1]

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), labels).backward()
        optimizer.step()

    return step


def with_threads(count: int, call: Side) -> None:
    kernels.set_num_threads(count)
    call()


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that holds one of our cores."""
    core = min(os.sched_getaffinity(0))
    loop = subprocess.Popen([sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"])
    try:
        time.sleep(0.3)
        yield
    finally:
        loop.kill()
        loop.wait()


def idle_share() -> float:
    """The part of a core that an idle process takes whose workers have just worked."""
    with_threads(2, partial(launch, "exp", (normal(10_000_000), normal(10_000_000))))
    before, start = time.process_time(), time.perf_counter()
    time.sleep(0.5)
    return (time.process_time() - before) / (time.perf_counter() - start)


def report(quick: bool = False) -> str:
    """The table, as Markdown."""
    options: dict[str, Any] = QUICK if quick else {"block": 3e-3}
    cases = list(contests(quick))

    def lines() -> list[list[str]]:
        found = []
        for _, _, call in cases:
            one, two = compare({str(n): partial(with_threads, n, call) for n in (1, 2)}, **options).values()
            found.append([duration(one), duration(two), verdict(one / two)])
        return found

    quiet = lines()
    with busy_core():
        busy = lines()
    header = ["", "", "1 thread", "2 threads", "1 / 2", "1 beside a busy core", "2", "1 / 2"]
    rows = [[name, case, *a, *b] for (name, case, _), a, b in zip(cases, quiet, busy, strict=True)]
    idle = f"An idle process with workers takes {idle_share():.1%} of a core."
    return f"## Threads\n\n{markdown(header, rows)}\n\n{idle}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="One thread and two, alone and beside a busy process.")
    parser.add_argument("--quick", action="store_true", help="few sizes, few rounds")
    arguments = parser.parse_args()
    print(surroundings(), report(arguments.quick), sep="\n\n")


if __name__ == "__main__":
    main()
