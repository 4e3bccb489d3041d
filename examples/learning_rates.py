"""What the learning rate does: the same net on the digits with a low, a good, a high and a very high one.

    python examples/learning_rates.py [--out runs/learning_rates] [--quick]

Writes ``learning_rates.png``: the training loss by epoch, one curve for each rate.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import load_digits

RATES = {"low": 0.01, "good": 0.3, "high": 0.9, "very high": 10.0}
COLORS = {"low": "#1f77b4", "good": "#2ca02c", "high": "#ff9f1c", "very high": "#d62728"}


def losses(rate: float, x: np.ndarray, y: np.ndarray, epochs: int, batch: int = 32) -> np.ndarray:
    """The mean training loss of each epoch of plain SGD, from the same weights on the same batches."""
    rng = mg.random.Generator(0)
    model = nn.Sequential(
        nn.Linear(64, 32, rng=rng.spawn()), nn.ReLU(),
        nn.Linear(32, 32, rng=rng.spawn()), nn.ReLU(),
        nn.Linear(32, 10, rng=rng.spawn()),
    )  # fmt: skip
    sgd = optim.SGD(model.parameters(), lr=rate)

    def step(x, y):
        sgd.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        sgd.step()
        return loss

    program = mg.capture(step, x[:batch], y[:batch])  # from here on an epoch is one call
    return np.array([program.run((x, y), rng.permutation(len(x))).mean() for _ in range(epochs)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Loss curves at four learning rates.")
    parser.add_argument("--out", type=Path, default=Path("runs/learning_rates"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="few epochs, to see that it runs")
    arguments = parser.parse_args()

    images, y = load_digits()
    x = images.reshape(-1, 64).astype(np.float32) / 16
    epochs = 3 if arguments.quick else 40
    curves = {name: losses(rate, x, y, epochs) for name, rate in RATES.items()}
    for name, curve in curves.items():
        print(f"{name:9}  rate {RATES[name]:<6g}  loss of the first epoch {curve[0]:6.3f}, of the last {curve[-1]:.4f}")

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(np.arange(1, epochs + 1), curve, color=COLORS[name], lw=2.2)
        axes.annotate(
            f"{name}: {RATES[name]:g}", (epochs, curve[-1]), xytext=(8, 0), textcoords="offset points",
            color=COLORS[name], va="center", fontweight="bold", fontsize=11, annotation_clip=False,
        )  # fmt: skip
    axes.axhline(np.log(10), color="0.5", ls=":", lw=1.5, zorder=0)
    axes.text(0.98 * epochs, np.log(10) - 0.04, "guessing: ln 10", color="0.4", ha="right", va="top")
    axes.set(
        xlabel="epoch", ylabel="training loss", xlim=(0, epochs), ylim=(0, 3.2), title="One net, four learning rates"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "learning_rates.png", dpi=150)
    print(f"saved {arguments.out / 'learning_rates.png'}")


if __name__ == "__main__":
    main()
