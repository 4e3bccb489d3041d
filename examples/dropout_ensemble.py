"""Dropout as an ensemble: the test error of the mean over k sampled masks, against k.

    python examples/dropout_ensemble.py [--out runs/dropout_ensemble] [--quick]

Each mask is a thinned net of its own. At test time one averages the predictions of many of them, or uses the whole net
once, with its activations scaled. Writes ``dropout_ensemble.png``.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import load_digits, split
from minigrad.training import fit, mc_predict, predict


def probabilities(scores: mg.Tensor) -> mg.Tensor:
    return mg.softmax(scores, axis=-1)


def error(outputs: np.ndarray, labels: np.ndarray) -> float:
    """The share, in percent, of rows whose largest output is not at the label."""
    return 100 * float((outputs.argmax(-1) != labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Test error of the mean over k dropout masks.")
    parser.add_argument("--out", type=Path, default=Path("runs/dropout_ensemble"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="few epochs and masks, to see that it runs")
    arguments = parser.parse_args()
    epochs, masks, draws = (3, 20, 5) if arguments.quick else (100, 500, 200)

    images, labels = load_digits()
    x = images.reshape(-1, 64).astype(np.float32) / 16
    train, (x, y) = split(x, labels, fractions=(0.25, 0.75), rng=0)
    rng = mg.random.Generator(0)
    model = nn.Sequential(
        nn.Linear(64, 128, rng=rng.spawn()), nn.ReLU(), nn.Dropout(0.5, rng=rng.spawn()),
        nn.Linear(128, 128, rng=rng.spawn()), nn.ReLU(), nn.Dropout(0.5, rng=rng.spawn()),
        nn.Linear(128, 10, rng=rng.spawn()),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    fit(model, train, optimizer=optimizer, epochs=epochs, batch_size=32, rng=rng, progress=False, capture=True)

    whole = error(predict(model, x), y)  # the test-time rule: no mask, and the scale that training made up for
    # Class probabilities of the nets that are left by so many masks (masks, rows, 10); mc_predict(model, x, k, ...)
    # has the mean over k of them and their spread.
    sampled = np.array([mc_predict(model, x, 1, function=probabilities, rng=rng)[0] for _ in range(masks)])
    sizes = [k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200) if k <= masks // 2]
    choose = np.random.default_rng(0)
    table = np.array(
        [[error(sampled[choose.choice(masks, k, replace=False)].mean(0), y) for _ in range(draws)] for k in sizes]
    )
    for k, row in zip(sizes, table, strict=True):
        print(f"mean over {k:3} masks: test error {row.mean():.2f} %, from {row.min():.2f} to {row.max():.2f}")
    print(f"the whole net, scaled: test error {whole:.2f} %")

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    low, high = np.quantile(table, (0.05, 0.95), axis=1)
    axes.fill_between(sizes, low, high, color="C0", alpha=0.2, lw=0, label="90 % of the draws")
    axes.semilogx(sizes, table.mean(1), "o-", color="C0", lw=2, label="mean over k masks")
    axes.axhline(whole, color="C3", ls="--", lw=2, label=f"the whole net, once: {whole:.2f} %")
    axes.set_xticks(sizes, [str(k) for k in sizes])
    axes.minorticks_off()
    axes.set(xlabel="k, the number of masks", ylabel="test error in %", title="Dropout as an ensemble of thinned nets")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "dropout_ensemble.png", dpi=60 if arguments.quick else 150)
    print(f"saved {arguments.out / 'dropout_ensemble.png'}")


if __name__ == "__main__":
    main()
