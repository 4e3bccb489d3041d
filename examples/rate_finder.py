"""Find a learning rate: let it grow from update to update, and see where the loss falls fastest and where it blows up.

    python examples/rate_finder.py [--out runs/rate_finder] [--quick]

The range test of L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), with an exponential rate.
Writes ``rate_finder.png``: the smoothed loss against the rate, and what a good and a bad choice lead to.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim, schedules
from minigrad.data import load_digits

FIRST, LAST = 1e-4, 3.0


def losses(lr, x: np.ndarray, y: np.ndarray, updates: int, batch: int = 64) -> np.ndarray:
    """The training loss of each update; `lr` is a number or a schedule."""
    rng = mg.random.Generator(0)
    model = nn.Sequential(nn.Linear(64, 64, rng=rng.spawn()), nn.ReLU(), nn.Linear(64, 10, rng=rng.spawn()))
    sgd = optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def step(x, y):
        sgd.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        sgd.step()
        return loss

    program = mg.capture(step, x[:batch], y[:batch])
    epochs = -(-updates * batch // len(x))
    order = np.concatenate([rng.permutation(len(x)) for _ in range(epochs)])[: (updates - 1) * batch]
    return np.array([program.first_result.item(), *program.run((x, y), order)])


def smooth(values: np.ndarray, keep: float = 0.95) -> np.ndarray:
    """The exponential moving average, corrected for its start."""
    mean, out = 0.0, []
    for t, value in enumerate(values, 1):
        mean = keep * mean + (1 - keep) * value
        out.append(mean / (1 - keep**t))
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="A learning rate range test.")
    parser.add_argument("--out", type=Path, default=Path("runs/rate_finder"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="few updates, to see that it runs")
    arguments = parser.parse_args()
    updates = 60 if arguments.quick else 600

    images, y = load_digits()
    x = images.reshape(-1, 64).astype(np.float32) / 16
    grows = schedules.exponential(FIRST, (LAST / FIRST) ** (1 / (updates - 1)))
    rates, curve = grows(np.arange(updates)), smooth(losses(grows, x, y, updates))
    lowest = int(curve.argmin())
    slope = np.gradient(curve[: lowest + 1], np.log10(rates[: lowest + 1]))
    steepest = int(slope.argmin())
    print(f"the loss falls fastest at {rates[steepest]:.2g} and is lowest at {rates[lowest]:.2g}")

    figure = Figure(figsize=(12, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogx(rates, curve, color="C0", lw=2)
    left.axvspan(rates[steepest], rates[lowest], color="C2", alpha=0.15, lw=0)
    left.plot(rates[steepest], curve[steepest], "o", color="C2", label=f"falls fastest: {rates[steepest]:.2g}")
    left.plot(rates[lowest], curve[lowest], "o", color="C3", label=f"lowest: {rates[lowest]:.2g}, the most to try")
    left.set(xlabel="learning rate, growing", ylabel="training loss, smoothed", title=f"One run of {updates} updates")
    left.set_ylim(0, 1.25 * curve[0])
    for rate, color in ((rates[steepest] / 30, "C0"), (rates[steepest], "C2"), (10 * rates[lowest], "C3")):
        right.plot(smooth(losses(float(rate), x, y, updates)), color=color, lw=2, label=f"rate {rate:.2g}")
    right.set(xlabel="update", ylabel="training loss, smoothed", title="Runs at three of these rates")
    right.set_ylim(0, 1.25 * curve[0])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "rate_finder.png", dpi=60 if arguments.quick else 150)
    print(f"saved {arguments.out / 'rate_finder.png'}")


if __name__ == "__main__":
    main()
