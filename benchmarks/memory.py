"""The memory of a training step, eager and replayed.

    python benchmarks/memory.py [--quick] [--save runs/bench]

What a step holds at its peak above the model, the optimizer and the batch, which
are there before: gradients, activations, and what else it allocates, Python's
objects too.  A program holds that for good: its arena, the gradients that it
keeps, its example batch and the list of calls; ``all told`` is measured as eager
is, by tracemalloc, which sees the memory of NumPy and of Python.  The scratch of
the kernels, allocated in C, is the same on both sides and is not counted.
"""

import argparse
import gc
import importlib.util
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import picture
from claims import Claims
from harness import markdown, single_thread, surroundings
from steps import NETS, our_step, task

import minigrad as mg

ASKED = 60.0  # percent of eager's peak, with keep_grads=False, on the last net
WIDE = "784-1024x7-10, batch 128", (784, *[1024] * 7, 10), 128


class Memory(NamedTuple):
    """Bytes of one net: the peak of an eager step, and of programs what lies in arrays and what there is all told."""

    name: str
    eager: int
    kept: int
    lean: int
    kept_in_all: int
    lean_in_all: int


def peak(call: Callable[[], object], base: int) -> int:
    """The most that is held during a call, above ``base`` bytes."""
    gc.collect()
    tracemalloc.reset_peak()
    call()
    return tracemalloc.get_traced_memory()[1] - base


def measure(name: str, sizes: Sequence[int], batch: int) -> Memory:
    given = task(sizes, batch)
    gradients = sum(a.nbytes for layer in given.layers for a in layer)
    example = mg.Tensor(given.x), mg.Tensor(given.labels)
    our_step(given)(*example)  # what is made once is there
    tracemalloc.start()
    try:
        step = our_step(given)
        eager = peak(partial(step, *example), tracemalloc.get_traced_memory()[0])
        found = []
        for keep_grads in (True, False):
            step = our_step(given)
            base = tracemalloc.get_traced_memory()[0]
            program = mg.capture(step, *example, keep_grads=keep_grads)
            arrays = program.arena.nbytes + keep_grads * gradients
            found.append((arrays, peak(partial(program, *example), base)))
            del program
    finally:
        tracemalloc.stop()
    (kept, kept_in_all), (lean, lean_in_all) = found
    return Memory(name, eager, kept, lean, kept_in_all, lean_in_all)


def size(count: int) -> str:
    """Bytes in kB or MB."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def line(row: Memory) -> list[str]:
    cells = [row.name, size(row.eager)]
    for count in row[2:]:
        cells += [size(count), f"{count / row.eager:.0%}"]
    return cells


def measured(quick: bool) -> list[Memory]:
    nets = [*((str(net), net.sizes, net.batch) for net in NETS), WIDE]
    return [measure(*net) for net in nets[: 2 if quick else None]]


def report(quick: bool = False, save: Path | None = None) -> str:
    """The table, as Markdown; into a folder the picture, with Matplotlib."""
    rows = measured(quick)
    header = ["", "eager"]
    for name in ("arena, gradients", "arena, keep_grads=False", "all told", "all told, keep_grads=False"):
        header += [name, "of eager"]
    parts = ["## Memory of a step"]
    if not quick:
        claims, wide = Claims(), rows[-1]
        claims.at_most(f"{wide.name}: keep_grads=False, % of eager", ASKED, 100 * wide.lean_in_all / wide.eager)
        parts.append(str(claims))
    if save and importlib.util.find_spec("matplotlib"):
        save.mkdir(parents=True, exist_ok=True)
        picture.memory(rows, save / "memory.png", f"memory of a training step\n{surroundings()}")
    return "\n\n".join([*parts, markdown(header, map(line, rows))]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="The memory of a training step, eager and replayed.")
    parser.add_argument("--quick", action="store_true", help="the smallest nets")
    parser.add_argument("--save", type=Path, help="a folder for the picture")
    arguments = parser.parse_args()
    single_thread()
    print(surroundings(), report(arguments.quick, arguments.save), sep="\n\n")


if __name__ == "__main__":
    main()
