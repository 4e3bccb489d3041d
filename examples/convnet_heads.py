"""The same small ConvNet on the digits with three heads: fully connected, with dropout, and global average pooling.

    python examples/convnet_heads.py [--out runs/convnet_heads] [--quick]

A fully connected head has nearly all of the parameters; the mean over each channel (Lin, Chen and Yan, "Network In
Network", 2013) has none. Writes ``convnet_heads.png``: test accuracy by epoch, and where the parameters are.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from minigrad import nn, optim, schedules
from minigrad.data import load_digits, split
from minigrad.training import evaluate, fit


def head(name: str, rng: mg.random.Generator) -> list[nn.Module]:
    """What follows the 64 channels of 4 x 4."""
    if name == "global average pooling":
        return [nn.GlobalAvgPool2d(), nn.Linear(64, 10, rng=rng.spawn())]
    p = 0.5 if name == "fully connected, dropout" else 0.0
    return [
        nn.Flatten(), nn.Dropout(p, rng=rng.spawn()), nn.Linear(64 * 4 * 4, 128, rng=rng.spawn()),
        nn.ReLU(), nn.Dropout(p, rng=rng.spawn()), nn.Linear(128, 10, rng=rng.spawn()),
    ]  # fmt: skip


def make_model(name: str, seed: int) -> nn.Sequential:
    rng = mg.random.Generator(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, rng=rng.spawn()), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, rng=rng.spawn()), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, rng=rng.spawn()), nn.ReLU(),
        *head(name, rng),
    )  # fmt: skip


def trained(name: str, seed: int, train, test, epochs: int, batch: int = 25) -> tuple[nn.Module, list[float]]:
    """The model after training, and its test accuracy, in percent, after each epoch."""
    model = make_model(name, seed)
    steps = epochs * -(-len(train[0]) // batch)
    optimizer = optim.Adam(
        model.parameters(), lr=schedules.warmup(schedules.cosine(4e-3, steps - steps // 10), steps // 10)
    )
    curve: list[float] = []
    fit(
        model, train, optimizer=optimizer, epochs=epochs, batch_size=batch, rng=seed, progress=False, capture=True,
        callback=lambda epoch: curve.append(100 * evaluate(model, test)[1]),
    )  # fmt: skip
    return model, curve


def main() -> None:
    parser = argparse.ArgumentParser(description="One ConvNet, three heads.")
    parser.add_argument("--out", type=Path, default=Path("runs/convnet_heads"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="little data and one epoch, to see that it runs")
    arguments = parser.parse_args()
    rows, seeds, epochs = (100, 1, 1) if arguments.quick else (400, 3, 40)

    images, labels = load_digits()
    x = images[:, None].astype(np.float32) / 16  # (n, 1, 8, 8)
    train, test = split(x, labels, fractions=(rows / len(x), 1 - rows / len(x)), rng=0)
    test = tuple(part[:200] for part in test) if arguments.quick else test
    names = ("fully connected", "fully connected, dropout", "global average pooling")
    shares, curves = {}, {}
    for name in names:
        runs = [trained(name, seed, train, test, epochs) for seed in range(seeds)]
        layers = [layer for layer in runs[0][0] if list(layer.parameters())]
        shares[name] = {
            f"{'conv' if isinstance(layer, nn.Conv2d) else 'linear'} {i + 1}": sum(p.size for p in layer.parameters())
            for i, layer in enumerate(layers)
        }
        curves[name] = np.array([curve for _, curve in runs])
        total = sum(shares[name].values())
        parts = ", ".join(f"{layer} {100 * n / total:.1f} %" for layer, n in shares[name].items())
        print(f"{name:25} test accuracy {curves[name][:, -1].mean():.2f} %   {total:7,} parameters: {parts}")

    figure = Figure(figsize=(13, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(5, 7))
    for name, color in zip(names, ("C0", "C1", "C2"), strict=True):
        at, table = np.arange(1, epochs + 1), curves[name]
        left.fill_between(at, table.min(0), table.max(0), color=color, alpha=0.15, lw=0)
        left.plot(at, table.mean(0), color=color, lw=2, label=f"{name}: {table[:, -1].mean():.1f} %")
    left.set(xlabel="epoch", ylabel="test accuracy in %", title=f"Trained on {rows} digits, {seeds} seeds")
    left.set_ylim(0 if arguments.quick else 75, 100)
    left.xaxis.get_major_locator().set_params(integer=True)
    left.grid(alpha=0.25)
    left.legend(frameon=False, loc="lower right")
    layers = list(dict.fromkeys(layer for parts in shares.values() for layer in parts))
    colors = dict(zip(layers, ("#9ecae1", "#4292c6", "#08519c", "#f16913", "#a63603"), strict=True))
    for row, parts in enumerate(shares.values()):
        start = 0
        for layer, n in parts.items():
            right.barh(row, n, left=start, color=colors[layer], edgecolor="white", label=layer if row == 0 else None)
            if n > 0.04 * sum(shares[names[0]].values()):
                share = f"{100 * n / sum(parts.values()):.0f} %"
                right.text(start + n / 2, row, share, ha="center", va="center", color="white", fontweight="bold")
            start += n
        right.text(start + 1500, row, f"{start:,}", va="center")
    right.set_yticks(range(len(names)), [name.replace(", ", "\n").replace("global ", "global\n") for name in names])
    right.invert_yaxis()
    right.set(xlabel="parameters", title="Where the parameters are", xlim=(0, 1.12 * sum(shares[names[0]].values())))
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "convnet_heads.png", dpi=60 if arguments.quick else 140)
    print(f"saved {arguments.out / 'convnet_heads.png'}")


if __name__ == "__main__":
    main()
