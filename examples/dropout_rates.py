"""How much dropout? Errors on the data that was seen and on the data that was not, against the rate p.

    python examples/dropout_rates.py [--out runs/dropout_rates] [--quick]

A wide net learns 200 digits by heart. Writes ``dropout_rates.png``: error on these and on all others, the mean and the
spread over a few seeds.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import load_digits, split
from minigrad.training import evaluate, fit

RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def errors(p: float, seed: int, train, validation, epochs: int) -> tuple[float, float]:
    """The errors, in percent, on training and validation data after training with dropout at rate p."""
    rng = mg.random.Generator(seed)
    model = nn.Sequential(
        nn.Linear(64, 256, rng=rng.spawn()), nn.ReLU(), nn.Dropout(p, rng=rng.spawn()),
        nn.Linear(256, 256, rng=rng.spawn()), nn.ReLU(), nn.Dropout(p, rng=rng.spawn()),
        nn.Linear(256, 10, rng=rng.spawn()),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    fit(model, train, optimizer=optimizer, epochs=epochs, batch_size=40, rng=rng, progress=False, capture=True)
    return tuple(100 * (1 - evaluate(model, part)[1]) for part in (train, validation))


def main() -> None:
    parser = argparse.ArgumentParser(description="Training and validation error against the dropout rate.")
    parser.add_argument("--out", type=Path, default=Path("runs/dropout_rates"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="few rates and epochs, to see that it runs")
    arguments = parser.parse_args()
    rates, seeds, epochs = ((0.0, 0.5), 1, 2) if arguments.quick else (RATES, 5, 150)

    images, labels = load_digits()
    x = images.reshape(-1, 64).astype(np.float32) / 16
    train, validation = split(x, labels, fractions=(200 / len(x), 1 - 200 / len(x)), rng=0)
    table = np.array([[errors(p, seed, train, validation, epochs) for seed in range(seeds)] for p in rates])
    mean, low, high = table.mean(1), table.min(1), table.max(1)  # (rates, 2)
    for p, (seen, unseen) in zip(rates, mean, strict=True):
        print(f"p = {p:4g}   training error {seen:5.2f} %   validation error {unseen:5.2f} %")

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, (name, color) in enumerate((("training (200 digits)", "#1f77b4"), ("validation (the others)", "#d62728"))):
        axes.fill_between(rates, low[:, k], high[:, k], color=color, alpha=0.15, lw=0)
        axes.plot(rates, mean[:, k], "o-", color=color, lw=2, label=name)
    best = int(mean[:, 1].argmin())
    axes.axvline(
        rates[best], color="0.4", ls="--", lw=1, zorder=0, label=f"best: p = {rates[best]:g}, {mean[best, 1]:.1f} %"
    )
    axes.set(xlabel="dropout rate p", ylabel="error in %", title=f"Dropout on both hidden layers of 256, {seeds} seeds")
    axes.set_ylim(-0.5, 2.2 * mean[0, 1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "dropout_rates.png", dpi=60 if arguments.quick else 150)
    print(f"saved {arguments.out / 'dropout_rates.png'}")


if __name__ == "__main__":
    main()
