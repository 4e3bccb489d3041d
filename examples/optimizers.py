"""Optimizers on the same two problems: their paths down a valley, and their losses on the digits.

    python examples/optimizers.py [--out runs/optimizers] [--quick]

Writes ``optimizers.png``. The rate of each is a sensible one, not a tuned one: the forms of the paths and curves are
to be compared, not the last digits.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import load_digits

# For each a rate for the valley and one for the digits.
OPTIMIZERS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "SGD": (optim.SGD, 0.95, 0.1),
    "momentum": (lambda p, lr: optim.SGD(p, lr, momentum=0.9), 0.1, 0.02),
    "Nesterov": (lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True), 0.1, 0.02),
    "Adagrad": (optim.Adagrad, 1.5, 0.02),
    "RMSprop": (lambda p, lr: optim.RMSprop(p, lr, alpha=0.9), 0.25, 0.002),
    "Adam": (lambda p, lr: optim.Adam(p, lr), 0.4, 0.002),
}
START = (-7.0, 2.0)


def valley(x: Any, y: Any) -> Any:
    """A bowl that is 20 times as steep in y as in x, and lowest, 0, at the origin."""
    return x * x / 20 + y * y


def path(make: Callable[..., Any], rate: float, steps: int) -> np.ndarray:
    """The points (steps + 1, 2) that an optimizer visits in the valley."""
    w = mg.tensor(np.array(START), requires_grad=True)  # float64
    optimizer = make([w], lr=rate)
    points = [w.numpy().copy()]
    for _ in range(steps):
        optimizer.zero_grad()
        valley(w[0], w[1]).backward()
        optimizer.step()
        points.append(w.numpy().copy())
    return np.array(points)


def losses(make: Callable[..., Any], rate: float, epochs: int, batch: int = 32) -> np.ndarray:
    """The mean training loss of each epoch, from the same weights on the same batches."""
    images, y = load_digits()
    x = images.reshape(-1, 64).astype(np.float32) / 16
    rng = mg.random.Generator(0)
    model = nn.Sequential(nn.Linear(64, 64, rng=rng.spawn()), nn.ReLU(), nn.Linear(64, 10, rng=rng.spawn()))
    optimizer = make(model.parameters(), lr=rate)

    def step(x, y):
        optimizer.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    program = mg.capture(step, x[:batch], y[:batch])
    return np.array([program.run((x, y), rng.permutation(len(x))).mean() for _ in range(epochs)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Optimizers on the same two problems.")
    parser.add_argument("--out", type=Path, default=Path("runs/optimizers"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="few steps, to see that it runs")
    arguments = parser.parse_args()
    steps, epochs = (5, 2) if arguments.quick else (40, 30)

    figure = Figure(figsize=(14, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(9, 5))
    curves = right.subplots()
    x, y = np.meshgrid(np.linspace(-8, 5, 200), np.linspace(-3, 3, 200))
    panels = left.subplots(2, 3, sharex=True, sharey=True)
    for i, (axes, (name, (make, rate, digits_rate))) in enumerate(zip(panels.flat, OPTIMIZERS.items(), strict=True)):
        points, curve = path(make, rate, steps), losses(make, digits_rate, epochs)
        axes.contour(x, y, valley(x, y), levels=np.geomspace(0.05, 12, 12), colors="0.8", linewidths=0.8)
        axes.plot(*points.T, "o-", color=f"C{i}", lw=1.5, markersize=3.5)
        axes.plot(*START, "s", color="black", markersize=6)
        axes.plot(0, 0, "*", color="gold", markersize=13, markeredgecolor="black", zorder=5)
        axes.set(xlim=(-8, 5), ylim=(-3, 3), title=f"{name}, rate {rate:g}")
        style = {"color": f"C{i}", "lw": 2, "ls": "--" if name == "Nesterov" else "-"}  # it lies on momentum
        curves.semilogy(np.arange(1, epochs + 1), curve, label=f"{name}, rate {digits_rate:g}", **style)
        ends = f"valley after {steps} steps {valley(*points[-1]):.1e}   digits after {epochs} epochs {curve[-1]:.4f}"
        print(f"{name:8}  {ends}")
    left.suptitle(f"{steps} steps down a valley that is steep in y and flat in x")
    right.suptitle("The same net on the digits")
    curves.set(xlabel="epoch", ylabel="training loss")
    curves.grid(alpha=0.25, which="both")
    curves.spines[["top", "right"]].set_visible(False)
    curves.legend(frameon=False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "optimizers.png", dpi=60 if arguments.quick else 150)
    print(f"saved {arguments.out / 'optimizers.png'}")


if __name__ == "__main__":
    main()
