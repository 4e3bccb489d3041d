"""A whole training step, eager and replayed, beside PyTorch, JAX and NumPy by hand; and how its cost grows.

    python benchmarks/steps.py [--quick] [--threads 2] [--save runs/bench]

A step is forward, softmax cross-entropy, backward and Adam, float32, on the same
batch again and again; once as it stands, and once with dropout on every hidden
layer, decoupled weight decay and a cosine schedule.  All sides start from the
same weights, and the plain steps must agree in the loss before they are timed.
"""

import argparse
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers
import picture
from claims import Claims
from harness import QUICK, Row, compare, hold_threads, surroundings, table, verdict
from kernels import normal, random, relu
from peers import BETA1, BETA2, EPS, RATE, Task, classifier

import minigrad as mg

Side = Callable[[], object]

EAGER, REPLAY, RUN = "eager", "replay", "run"
IN_BLOCKS, BY_CALL = "in blocks", "call by call"
PEERS = ("JAX", "torch", "torch.compile", "NumPy")
HAS_CAPTURE = hasattr(mg, "capture")
OURS = [REPLAY, EAGER] if HAS_CAPTURE else [EAGER]

MORE = {"dropout": 0.5, "decay": 1e-2, "cosine": 100_000}
PLAIN, WITH_MORE = "plain", "dropout, decay, cosine"

LONG: dict[str, Any] = {"rounds": 31, "block": 5e-3}  # a small step must forget the large libraries beside it
BLOCK = 2**14  # parameters that NumPy updates at a time, so that they stay in the cache
CHECKED = 5  # steps after which the losses are compared


class Net(NamedTuple):
    """Widths and batch, and the ratios that are asked of its step."""

    sizes: tuple[int, ...]
    batch: int
    replay: float  # to the fastest peer
    eager: float  # to PyTorch eager
    more: float  # replay to the fastest peer, with dropout, decay and schedule
    two_threads: float = 0.0  # replay to the fastest peer, both with two threads; 0 where nothing is asked

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"


NETS = (
    Net((2, 16, 16, 2), 32, 13, 25, 1.5),
    Net((64, 64, 10), 32, 4.8, 13, 1.5),
    Net((784, 128, 10), 64, 1.38, 2, 1.5, 1.3),
    Net((784, 512, 512, 10), 128, 1.22, 1.25, 1.2, 1.3),
    Net((784, 1024, 1024, 1024, 10), 128, 1.12, 1.12, 1.2, 1.3),
)
RUN_ASKED = 17.0  # times the speed of NumPy by hand, on the first net
ROWS, STEPS = 1024, 1000  # of a run


# The sides ----------------------------------------------------------------------------


def task(sizes: Sequence[int], batch: int, **more: Any) -> Task:
    """Weights as ``Linear`` draws them, normal inputs, all classes alike."""
    layers = [
        ((2 * random.random((wide, narrow), np.float32) - 1) / np.float32(wide**0.5), np.zeros(narrow, np.float32))
        for wide, narrow in pairwise(sizes)
    ]
    return Task(layers, normal(batch, sizes[0]), np.arange(batch) % sizes[-1], **more)


def our_step(task: Task) -> Callable[[Any, Any], Any]:
    """The step of a model of its own, as a user writes it."""
    model, loss_function = classifier(mg.nn, mg.Tensor, task), mg.nn.CrossEntropyLoss()
    rate = mg.schedules.cosine(RATE, task.cosine) if task.cosine else RATE
    optimizer = mg.optim.AdamW(model.parameters(), rate, weight_decay=task.decay)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def ours(task: Task) -> dict[str, Side]:
    """Eager, and replayed where the library can."""
    batch = mg.Tensor(task.x), mg.Tensor(task.labels)
    sides: dict[str, Side] = {}
    if HAS_CAPTURE:
        sides[REPLAY] = partial(mg.capture(our_step(task), *batch), *batch)
    return sides | {EAGER: partial(our_step(task), *batch)}


def numpy_step(task: Task) -> Side:
    """NumPy by hand: all memory is allocated before, and all parameters are views of one array.

    Adam's running sums leave out the factors ``1 - beta``, which its rate and eps make good.
    """
    views, start = [], 0
    for layer in task.layers:
        for a in layer:
            views.append((slice(start, start + a.size), a.shape))
            start += a.size
    flat = np.zeros((4, start), np.float32)  # parameters, Adam's two sums, gradients
    flat[0] = np.concatenate([a.ravel() for layer in task.layers for a in layer])
    (weights, biases), (weight_grads, bias_grads) = (
        [[a[place].reshape(shape) for place, shape in views[kind::2]] for kind in (0, 1)] for a in (flat[0], flat[3])
    )
    memory = np.empty(BLOCK, np.float32)
    blocks = [(*flat[:, i : i + BLOCK], memory[: start - i]) for i in range(0, start, BLOCK)]

    batch, classes = len(task.x), weights[-1].shape[1]
    ys, dys = ([np.empty((batch, b.size), np.float32) for b in biases] for _ in range(2))
    masks = [np.empty(y.shape, np.bool_) for y in ys]
    probabilities, dy = ys[-1], dys[-1]
    along, at_labels, picked = np.empty((batch, 1), np.float32), np.empty(batch, np.int64), np.empty(batch, np.float32)
    first = np.arange(batch) * classes
    keep, steps = 1 - task.dropout, itertools.count()

    def drop(y: Any, kept: Any) -> None:
        words = random.bit_generator.random_raw((y.size + 3) // 4).view(np.uint16)[: y.size]
        np.less(words.reshape(y.shape), 65536 * keep, out=kept)
        np.multiply(y, kept, out=y)
        np.multiply(y, 1 / keep, out=y)

    def forward() -> float:
        x = task.x
        for weight, bias, y, kept in zip(weights, biases, ys, masks, strict=True):
            np.dot(x, weight, y)
            np.add(y, bias, out=y)
            if y is not probabilities:
                relu(y, y)
                if task.dropout:
                    drop(y, kept)
            x = y
        np.subtract(x, np.maximum.reduce(x, 1, keepdims=True, out=along), out=x)
        np.exp(x, out=x)
        np.divide(x, np.add.reduce(x, 1, keepdims=True, out=along), out=x)
        np.add(first, task.labels, out=at_labels)
        np.take(x, at_labels, out=picked, mode="clip")
        return -float(np.add.reduce(np.log(picked))) / batch

    def backward() -> None:
        np.multiply(probabilities, 1 / batch, out=dy)
        dy.reshape(-1)[at_labels] -= 1 / batch
        for i in reversed(range(len(weights))):
            x = ys[i - 1] if i else task.x
            np.dot(x.T, dys[i], weight_grads[i])
            np.add.reduce(dys[i], 0, out=bias_grads[i])
            if i:
                dx = np.dot(dys[i], weights[i].T, dys[i - 1])
                np.multiply(dx, np.greater(x, 0, out=masks[i - 1]), out=dx)  # what dropout zeroed is not above 0
                if task.dropout:
                    np.multiply(dx, 1 / keep, out=dx)

    def adam() -> None:
        step = next(steps)
        rate = RATE * (1 + np.cos(np.pi * step / task.cosine)) / 2 if task.cosine else RATE
        root = ((1 - BETA2 ** (step + 1)) / (1 - BETA2)) ** 0.5
        scale = float(rate * root * (1 - BETA1) / (1 - BETA1 ** (step + 1)))
        for w, m, v, g, t in blocks:
            np.multiply(m, BETA1, out=m)
            np.add(m, g, out=m)
            np.multiply(v, BETA2, out=v)
            np.add(v, np.multiply(g, g, out=t), out=v)
            np.add(np.sqrt(v, out=t), EPS * root, out=t)
            np.divide(m, t, out=t)
            if task.decay:
                np.multiply(w, float(1 - rate * task.decay), out=w)
            np.subtract(w, np.multiply(t, scale, out=t), out=w)

    def step() -> float:
        loss = forward()
        backward()
        adam()
        return loss

    return step


def contenders(task: Task, quick: bool) -> tuple[dict[str, Side], list[str]]:
    """The sides, each with weights of its own, and a line for a peer that is left out."""
    sides, left_out = ours(task) | {"NumPy": numpy_step(task)}, []
    if peers.jax:
        sides["JAX"] = peers.jax_step(task)
    if peers.torch:
        sides["torch"] = peers.torch_step(task)
    if peers.torch and not quick:  # compiling takes its time
        try:
            sides["torch.compile"] = peers.torch_compiled_step(task)
        except Exception as error:  # whatever PyTorch makes of a compiler that is not usable
            left_out.append(f"torch.compile is left out: {' '.join(str(error).split())[:200]}")
    return sides, left_out


def check_same_work(sides: dict[str, Side]) -> None:
    """Raise ``ArithmeticError`` unless every side arrives at eager's loss."""
    losses = {side: [float(call()) for _ in range(CHECKED + 2)] for side, call in sides.items()}
    for side, found in losses.items():
        done = {REPLAY: 1, "torch.compile": 1}.get(side, 0)  # capturing and compiling have made a step
        if not np.allclose(found[CHECKED], losses[EAGER][CHECKED + done], rtol=1e-3, atol=0):
            raise ArithmeticError(f"{side} computes something else: losses {found}, expected {losses[EAGER]}")


def _options(quick: bool, threads: int) -> dict[str, Any]:
    """How long to time."""
    return QUICK if quick else LONG if threads == 1 else LONG | {"settle": 0.03}


# What is timed ------------------------------------------------------------------------


def steps(quick: bool, threads: int) -> tuple[list[Row], list[str]]:
    """A row for every net, plain before the rest, and what was left out."""
    rows, left_out = [], []
    for kind, more in ((PLAIN, {}), (WITH_MORE, MORE)):
        for net in NETS[: 2 if quick else None]:
            sides, without = contenders(task(net.sizes, net.batch, **more), quick)
            if kind == PLAIN:
                check_same_work(sides)
            rows.append(Row(str(net), kind, compare(sides, **_options(quick, threads))))
            left_out += without
    return rows, list(dict.fromkeys(left_out))


def run(quick: bool, threads: int) -> Row:
    """One step of many in one call, which gathers its batches, beside NumPy that gathers them, too."""
    net, count = NETS[0], 10 if quick else STEPS
    data = normal(ROWS, net.sizes[0]), np.arange(ROWS) % net.sizes[-1]
    order = random.integers(0, ROWS, (count, net.batch))
    by_hand = task(net.sizes, net.batch)
    step, batches = numpy_step(by_hand), itertools.cycle(order)

    def gathered() -> None:
        index = next(batches)
        np.take(data[0], index, 0, out=by_hand.x, mode="clip")
        np.take(data[1], index, 0, out=by_hand.labels, mode="clip")
        step()

    sides: dict[str, Side] = {"NumPy": gathered}
    if HAS_CAPTURE:
        ours = task(net.sizes, net.batch)
        program = mg.capture(our_step(ours), mg.Tensor(ours.x), mg.Tensor(ours.labels))
        sides[RUN] = partial(program.run, data, order.reshape(-1), steps=count)
    seconds = compare(sides, **_options(quick, threads))
    if HAS_CAPTURE:
        seconds[RUN] /= count
    return Row(str(net), "gathered", seconds)


class Sweep(NamedTuple):
    """Sizes in powers of two, the widths and the batch of each, and how the arithmetic grows with it."""

    exponents: range
    net: Callable[[int], tuple[tuple[int, ...], int]]
    power: int = 1


SWEEPS = {
    "layers of width 16, batch 32": Sweep(range(9), lambda size: ((16,) * (size + 1), 32)),
    "width of two layers, batch 32": Sweep(range(3, 12), lambda size: ((size,) * 3, 32), power=2),
    "batch, 64-64-10": Sweep(range(13), lambda size: ((64, 64, 10), size)),
}


def growth(quick: bool, threads: int) -> list[Row]:
    """Our steps against depth, width and batch; all sizes of a sweep take turns."""
    rows = []
    for name, sweep in SWEEPS.items():
        sizes = [2**i for i in sweep.exponents[: 2 if quick else None]]
        sides = {f"{side} {size}": call for size in sizes for side, call in ours(task(*sweep.net(size))).items()}
        seconds = compare(sides, **_options(quick, threads))
        rows += [Row(name, str(size), {side: seconds[f"{side} {size}"] for side in OURS}) for size in sizes]
    return rows


def gelu_by_hand(x: Any) -> Any:
    return x * 0.5 * (mg.tanh((x + x * x * x * 0.044715) * 0.7978846) + 1.0)


def bent(x: Any) -> Any:
    """Six cheap elementwise calls."""
    return mg.minimum(mg.maximum(x * 0.3 + 0.5, mg.square(x)) - x, 2.0)


def gradient_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        x = x.detach().requires_grad_()
        return mg.grad(function(x).sum(), x)[0].sum()

    return step


HAND_MADE: dict[str, Callable[[Any], Any]] = {
    "six calls": lambda x: bent(x).sum(),
    "gelu by hand": lambda x: gelu_by_hand(x).sum(),
    "its gradient": gradient_of(gelu_by_hand),
}


def hand_made(quick: bool, threads: int) -> list[Row]:
    """Activations made of elementwise calls: replayed in blocks, replayed call by call, and eager."""
    from minigrad import passes

    apart = tuple(p for p in passes.DEFAULT if p is not passes.elementwise_in_blocks)
    rows = []
    for name, step in HAND_MADE.items():
        for shape in ((128, 128), (128, 1024), (1024, 1024))[: 1 if quick else None]:
            x = mg.Tensor(normal(*shape))
            together, single = mg.capture(step, x), mg.capture(step, x, passes=apart)
            if together(x).data.tobytes() != single(x).data.tobytes():
                raise ArithmeticError(f"{name} in blocks has other bits")
            sides: dict[str, Side] = {
                IN_BLOCKS: partial(together, x),
                BY_CALL: partial(single, x),
                EAGER: partial(step, x),
            }
            rows.append(Row(name, "x".join(map(str, shape)), compare(sides, **_options(quick, threads))))
    return rows


# What is printed ----------------------------------------------------------------------


def ratios(row: Row, ours: str, against: Sequence[str] = PEERS) -> list[tuple[float, str]]:
    """How many times as fast as each of these peers, and its name; empty where either was not timed."""
    return [(row.ratio(ours, peer), peer) for peer in against if {ours, peer} <= row.seconds.keys()]


def fastest(row: Row, ours: str) -> str:
    """How many times as fast as the fastest peer."""
    return verdict(min(ratios(row, ours))[0])


def claims(rows: Sequence[Row], run: Row, threads: int) -> Claims:
    """What is asked of the steps with so many threads, beside what was measured."""
    found, nets = Claims(), {str(net): net for net in NETS}
    for row in rows:
        net = nets[row.name]
        if threads == 1:
            asked = net.replay if row.case == PLAIN else net.more
            found.at_least(f"{row}: replay, of the fastest peer", asked, ratios(row, REPLAY))
            if row.case == PLAIN:
                found.at_least(f"{row}: eager, of PyTorch eager", net.eager, ratios(row, EAGER, ["torch"]))
        elif net.two_threads and row.case == PLAIN:
            found.at_least(f"{row}: replay, of the fastest peer", net.two_threads, ratios(row, REPLAY))
    if threads == 1:
        found.at_least(f"{run}: program.run, of NumPy by hand", RUN_ASKED, ratios(run, RUN, ["NumPy"]))
    return found


def report(quick: bool = False, threads: int = 1, save: Path | None = None) -> str:
    """The tables and what was asked, as Markdown; into a folder the pictures, with Matplotlib."""
    rows, left_out = steps(quick, threads)
    in_one_call, sizes = run(quick, threads), growth(quick, threads)
    in_blocks = hand_made(quick, threads) if HAS_CAPTURE else []
    best = OURS[0]
    timed = [peer for peer in PEERS if any(peer in row.seconds for row in rows)]
    beside = {f"fastest peer / {best}": partial(fastest, ours=best)}
    if peers.torch:
        beside[f"torch / {EAGER}"] = lambda row: verdict(row.ratio(EAGER, "torch"))
    parts = [
        "## Training steps",
        str(claims(rows, in_one_call, threads)),
        table(rows, [], [*OURS, *timed], beside),
        *left_out,
        table([in_one_call], [RUN] if HAS_CAPTURE else [], ["NumPy"]),
        *(
            [
                "## A chain of elementwise calls, in blocks and call by call",
                table(in_blocks, [IN_BLOCKS], [BY_CALL, EAGER]),
            ]
            if in_blocks
            else []
        ),
        "## Growth of a step",
        table(sizes, [], OURS),
    ]
    if save and importlib.util.find_spec("matplotlib"):
        save.mkdir(parents=True, exist_ok=True)
        powers = {name: sweep.power for name, sweep in SWEEPS.items()}
        named = [Row(str(row), "", row.seconds) for row in rows]
        picture.draw(named, save / "steps.png", f"training step, {best}\n{surroundings()}", ours=best)
        picture.growth(sizes, powers, save / "growth.png", f"one training step\n{surroundings()}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps beside PyTorch, JAX and NumPy by hand.")
    parser.add_argument("--quick", action="store_true", help="the smallest nets, few rounds")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1, help="on every side")
    parser.add_argument("--save", type=Path, help="a folder for the pictures")
    arguments = parser.parse_args()
    hold_threads(arguments.threads)
    peers.hold_threads(arguments.threads)
    print(surroundings(), report(arguments.quick, arguments.threads, arguments.save), sep="\n\n")


if __name__ == "__main__":
    main()
