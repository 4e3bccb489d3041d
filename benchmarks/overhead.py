"""What an eager operation costs beside its arithmetic: small arrays, both engines, NumPy and PyTorch.

    python benchmarks/overhead.py [--quick]

Each engine needs a process of its own.  The processes take turns, as the sides
within one do, and the table gives the medians.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np
from harness import QUICK, Row, compare, duration, installed, markdown, single_thread, surroundings, table
from kernels import adam, normal, relu, softmax

import minigrad as mg
from minigrad import kernels
from minigrad._engine import engine, has_compiled
from minigrad.kernels import launch as door
from minigrad.kernels.launch import elementwise, launch, matmul

SHAPE = (32, 16)
LENGTH = 100  # operations of a chain
BATCH = 32
NETS = ((2, 16, 16, 2), (64, 64, 10))

Side = Callable[[], object]
Contest = tuple[str, str, int, dict[str, Side]]  # name, case, operations a call, sides


def contests() -> Iterator[Contest]:
    """Everything that is timed.  What PyTorch can do is written once, in the words that both share."""
    torch = importlib.import_module("torch") if installed("torch") else None
    ours = f"{engine} engine"
    shape = f"{SHAPE[0]}x{SHAPE[1]}"
    a, b, g, out = (normal(*SHAPE) for _ in range(4))
    into, new = partial(np.add, a, b, out=out), partial(add, a, b)
    recorded: list[Any] = []
    with kernels.observe(recorded.append):
        launch("add", (out, a, b))
    yield "call recorded before", shape, 1, {ours: recorded[0].run, "NumPy": into}
    yield "launch into out", shape, 1, {ours: partial(launch, "add", (out, a, b)), "NumPy": into}
    yield "a + b of arrays", shape, 1, {ours: partial(elementwise, "add", a, b), "NumPy": new}
    x, w = normal(32, 16), normal(16, 16)
    yield "x @ w of arrays", "32x16x16", 1, {ours: partial(matmul, x, w), "NumPy": partial(np.matmul, x, w)}

    tensor = {ours: mg.Tensor, "torch": torch.from_numpy} if torch else {ours: mg.Tensor}
    plain = {side: partial(add, of(a), of(b)) for side, of in tensor.items()}
    yield "a + b of tensors", shape, 1, {**plain, "NumPy": new}

    leaves = {side: (of(a).requires_grad_(), of(b).requires_grad_()) for side, of in tensor.items()}
    yield "a + b, recorded", shape, 1, {**{side: partial(add, *ab) for side, ab in leaves.items()}, "NumPy": new}

    chains = {side: partial(chain, *ab) for side, ab in leaves.items()}
    yield f"one of {LENGTH} live nodes", shape, LENGTH, {**chains, "NumPy": partial(chain, a, b)}

    both_ways = {side: partial(chain_and_back, *leaves[side], of(g)) for side, of in tensor.items()}
    by_hand = partial(chain_and_back_by_hand, a, b, g)
    yield "the same and backward", shape, LENGTH, {**both_ways, "NumPy": by_hand}

    for sizes in NETS:
        x, labels = normal(BATCH, sizes[0]), np.arange(BATCH) % sizes[-1]
        steps = {ours: training_step(mg.nn, mg.optim.Adam, sizes, mg.Tensor(x), labels)}
        if torch:
            data, fused = (torch.from_numpy(x), torch.from_numpy(labels)), partial(torch.optim.Adam, fused=True)
            steps["torch"] = training_step(torch.nn, fused, sizes, *data)
        steps["NumPy"] = training_step_by_hand(sizes, x, labels)
        yield "training step", f"{'-'.join(map(str, sizes))}, batch {BATCH}", 1, steps


def binding(name: str, options: dict[str, Any]) -> dict[str, float]:
    """Seconds of a launch of add or matmul, of its kernel inside, of the way into C and all checks beyond it, of NumPy.

    A recorded call checks no more, so it is the kernel but for a call into the binding that does nothing.
    """
    a, b, out, x, w, y = (normal(*shape) for shape in [SHAPE] * 3 + [(32, 16), (16, 16), (32, 16)])
    arrays, function = {"add": ((out, a, b), np.add), "matmul": ((y, x, w), np.matmul)}[name]
    recorded: list[Any] = []
    with kernels.observe(recorded.append):
        launch(name, arrays)
    sides: dict[str, Side] = {
        "nothing": door._binding.targets,
        "recorded": recorded[0].run,
        "launch": partial(launch, name, arrays),
        "NumPy": partial(function, *arrays[1:], out=arrays[0]),
    }
    times = compare(sides, **options)
    kernel = max(times["recorded"] - times["nothing"], 0.0)
    return {"launch": times["launch"], "kernel": kernel, "beyond": times["launch"] - kernel, "NumPy": times["NumPy"]}


def binding_table(quick: bool) -> str:
    if not kernels.targets()[1:]:
        return ""
    rows = [[name, *map(duration, binding(name, QUICK if quick else {}).values())] for name in ("add", "matmul")]
    return "## A launch\n\n" + markdown(["", "launch", "kernel inside", "beyond it", "NumPy"], rows) + "\n\n"


def chain(x: Any, b: Any) -> Any:
    for _ in range(LENGTH):
        x = x + b
    return x


def chain_and_back(a: Any, b: Any, g: Any) -> None:
    a.grad = b.grad = None
    chain(a, b).backward(g)


def chain_and_back_by_hand(a: Any, b: Any, g: Any) -> Any:
    chain(a, b)
    db = g.copy()
    for _ in range(LENGTH - 1):
        db += g
    return g.copy(), db


def training_step(nn: Any, optimizer_class: Any, sizes: tuple[int, ...], x: Any, labels: Any) -> Side:
    """One eager step of a classifier, in the words that minigrad and PyTorch share."""
    layers: list[Any] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
    model, loss = nn.Sequential(*layers[:-1]), nn.CrossEntropyLoss()
    optimizer = optimizer_class(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), labels).backward()
        optimizer.step()

    return step


def training_step_by_hand(sizes: tuple[int, ...], x: Any, labels: Any) -> Side:
    """The same step as a NumPy programmer writes it."""
    layers = [(normal(wide, narrow) / wide**0.5, normal(narrow)) for wide, narrow in pairwise(sizes)]
    states = [[(np.zeros_like(w), np.zeros_like(w)) for w in layer] for layer in layers]
    at_labels = np.arange(len(x)), labels

    def step() -> None:
        activations = [x]
        for w, b in layers:
            if len(activations) > 1:
                relu(activations[-1], activations[-1])
            activations.append(activations[-1] @ w + b)
        g = activations.pop()
        softmax(g, g)
        g[at_labels] -= 1
        g /= len(x)
        for layer, state, y in zip(reversed(layers), reversed(states), reversed(activations), strict=True):
            gradients = y.T @ g, g.sum(0)
            if y is not x:
                g = g @ layer[0].T
                g *= y > 0
            for w, (m, v), dw in zip(layer, state, gradients, strict=True):
                adam(w, m, v, dw, 1e-3, 0.9, 0.999, 1e-8, 0)

    return step


# One table from several processes --------------------------------------------------


def measure(quick: bool) -> list[Row]:
    """What this process, with its engine, can time."""
    found = []
    for name, case, operations, sides in contests():
        seconds = compare(sides, **(QUICK if quick else {}))
        found.append(Row(name, case, {side: s / operations for side, s in seconds.items()}))
    return found


def measure_elsewhere(engine: str, quick: bool) -> list[Row]:
    """``measure`` in a process with this engine; nothing where it is not built."""
    program = [sys.executable, __file__, "--measure", *(["--quick"] if quick else [])]
    run = subprocess.run(program, env={**os.environ, "MINIGRAD_ENGINE": engine}, stdout=subprocess.PIPE, check=True)
    return [Row(*row) for row in json.loads(run.stdout)]


def report(quick: bool = False) -> str:
    """The table, as Markdown."""
    found = ["python", "compiled"] if has_compiled() else ["python"]
    runs = [measure_elsewhere(engine, quick) for _ in range(1 if quick else 3) for engine in found]
    peers = ["NumPy", "torch"] if installed("torch") else ["NumPy"]
    rows = [merged(same) for same in zip(*runs, strict=True)]
    return (
        f"{binding_table(quick)}## Eager overhead\n\n{table(rows, [f'{engine} engine' for engine in found], peers)}\n"
    )


def merged(same: Sequence[Row]) -> Row:
    """One row of several processes: for each side the median of those that timed it."""
    sides = {side: None for row in same for side in row.seconds}
    seconds = {side: statistics.median(row.seconds[side] for row in same if side in row.seconds) for side in sides}
    return Row(same[0].name, same[0].case, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Eager operations and training steps on small arrays.")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--measure", action="store_true", help="time the engine of this process, print JSON")
    arguments = parser.parse_args()
    single_thread()
    if arguments.measure:
        print(json.dumps([(row.name, row.case, row.seconds) for row in measure(arguments.quick)]))
    else:
        print(surroundings(), report(arguments.quick), sep="\n\n")


if __name__ == "__main__":
    main()
