"""L1 against L2 against none: what a linear classifier of the digits looks like under each.

    python examples/l1_l2.py [--out runs/l1_l2] [--quick]

L2 makes all weights small, L1 makes most of them zero, exactly, for its step is a proximal one. Writes ``l1_l2.png``:
the weights as images, with exact zeros in grey, and how large they are.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import load_digits, split
from minigrad.training import evaluate

PENALTIES = {
    "none": {},
    "L2": {"weight_decay": 5e-3},
    "L1": {"l1": 3e-3, "l1_form": "proximal"},
}


def trained(options: dict, train, steps: int) -> nn.Linear:
    """A softmax classifier whose weights, not its biases, have the penalty; each step is on all of the data."""
    x, y = train
    model = nn.Linear(64, 10, rng=0)
    groups = [{"params": [model.weight], **options}, {"params": [model.bias]}]
    sgd = optim.SGD(groups, lr=0.2, momentum=0.9)

    def step(x, y):
        sgd.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        sgd.step()
        return loss

    program = mg.capture(step, x, y)
    for _ in range(steps):
        program(x, y)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Weights and sparsity under L1, L2 and no penalty.")
    parser.add_argument("--out", type=Path, default=Path("runs/l1_l2"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="few steps, to see that it runs")
    arguments = parser.parse_args()

    images, labels = load_digits()
    x = images.reshape(-1, 64).astype(np.float32) / 16
    train, test = split(x, labels, fractions=(0.5, 0.5), rng=0)
    models = {name: trained(options, train, 20 if arguments.quick else 2000) for name, options in PENALTIES.items()}
    rows = {}
    for name, model in models.items():
        w = model.weight.numpy()
        zeros, (_, accuracy) = float((w == 0).mean()), evaluate(model, test)
        rows[name] = (w, zeros, accuracy)
        print(
            f"{name:5} {PENALTIES[name]!s:40} test accuracy {100 * accuracy:.1f} %   exact zeros {100 * zeros:4.1f} %"
            f"   sum of |w| {np.abs(w).sum():7.1f}   sum of w^2 {np.square(w).sum():7.1f}"
        )

    figure = Figure(figsize=(15, 4.3), layout="constrained")
    grid, right = figure.subfigures(1, 2, width_ratios=(10, 4.2))
    colors = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.72")
    panels = grid.subplots(3, 10)
    axes = right.subplots()
    for k, ((name, (w, zeros, accuracy)), color) in enumerate(zip(rows.items(), ("C0", "C1", "C3"), strict=True)):
        reach = np.quantile(np.abs(w), 0.99)
        for digit in range(10):
            picture = np.ma.masked_equal(w[digit].reshape(8, 8), 0)
            panels[k, digit].imshow(picture, cmap=colors, vmin=-reach, vmax=reach)
            panels[k, digit].set(xticks=[], yticks=[])
            if k == 0:
                panels[k, digit].set_title(str(digit))
        panels[k, 0].set_ylabel(f"{name}\n{100 * zeros:.0f} % zeros", fontsize=12, color=color, fontweight="bold")
        size = np.sort(np.abs(w).ravel())[::-1]
        size = size[size > 0]
        axes.semilogy(
            np.arange(1, len(size) + 1), size, color=color, lw=2, label=f"{name}: {100 * accuracy:.1f} % right"
        )
        axes.plot(len(size), size[-1], "o", color=color)
    grid.suptitle("Weights by class: red for, blue against, grey exactly 0")
    axes.set(
        xlabel="weights, the largest first", ylabel="|w|", title="What is left of the 640 weights", ylim=(1e-3, 20)
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, title="test accuracy")
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "l1_l2.png", dpi=60 if arguments.quick else 130)
    print(f"saved {arguments.out / 'l1_l2.png'}")


if __name__ == "__main__":
    main()
