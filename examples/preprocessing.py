"""Show what preprocessing does to data, and what that does to the loss.

    python examples/preprocessing.py [--out runs/preprocessing] [--seed 0] [--quick]

Writes ``clouds.png``: a cloud of points as it is, zero-centred, normalised, decorrelated and whitened; and
``loss.png``: the same classifier on raw and on normalised data, its loss around the best weights, and how fast
gradient descent gets there. ``--quick`` draws less finely.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import func, nn, optim
from minigrad.preprocessing import PCA, Center, StandardScaler, Whitening

BLUE, ORANGE = "#1f6fb4", "#e0721d"


def cloud(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points (n, 2) whose coordinates vary together, far from the origin."""
    return np.array([3.2, 3.2]) + rng.standard_normal((n, 2)) @ [[1.6, 0.95], [0.0, 0.5]]


def two_classes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of two overlapping classes, the second feature far from 0 and little varied; labels 0 and 1."""
    labels = np.arange(n) % 2
    x = rng.standard_normal((n, 2)) + 1.1 * (2 * labels[:, None] - 1) * [1.0, -0.8]
    return x * [2.0, 0.7] + [8.0, 6.0], labels.astype(np.float64)


def loss(parameters: mg.Tensor, x: np.ndarray, labels: np.ndarray) -> mg.Tensor:
    """Cross-entropy of a linear classifier; its parameters are two weights and a bias."""
    return mg.binary_cross_entropy_with_logits(x @ parameters[:2] + parameters[2], labels)


def hessian(parameters: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The second derivatives of the loss (3, 3)."""
    return func.hessian(lambda p: loss(p, x, labels))(mg.tensor(parameters)).numpy()


def best_parameters(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The minimum of the loss, by Newton's method."""
    p = np.zeros(3)
    for _ in range(20):
        gradient = func.grad(lambda p: loss(p, x, labels))(mg.tensor(p)).numpy()
        p = p - np.linalg.solve(hessian(p, x, labels), gradient)
    return p


def descend(x: np.ndarray, labels: np.ndarray, lr: float, steps: int) -> np.ndarray:
    """The losses (steps,) of gradient descent from zero weights."""
    model = nn.Linear(2, 1, rng=0)
    for parameter in model.parameters():
        parameter.assign_(0.0)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    inputs, targets = x.astype(np.float32), labels.astype(np.float32)[:, None]
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = mg.binary_cross_entropy_with_logits(model(mg.tensor(inputs)), targets)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return np.array(losses)


def new_figure(columns: int, rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def titles(ax: Any, name: str, more: str) -> None:
    ax.set_title(f"{name}\n", fontsize=13, fontweight="bold")
    ax.text(0.5, 1.03, more, transform=ax.transAxes, ha="center", va="bottom", fontsize=10)


def draw_clouds(path: Path, stages: dict[str, tuple[str, np.ndarray]]) -> None:
    figure, axes = new_figure(len(stages), 1, (15, 3.6))
    turn = np.linspace(0, 2 * np.pi, 200)
    hue = stages["decorrelated"][1][:, 0].argsort().argsort()  # a point keeps its colour
    for ax, (name, (formula, points)) in zip(axes[0], stages.items(), strict=True):
        ax.axhline(0, color="0.6", lw=0.8, zorder=0)
        ax.axvline(0, color="0.6", lw=0.8, zorder=0)
        ax.scatter(*points.T, c=hue, cmap="viridis", s=9, alpha=0.75, linewidths=0)
        ellipse = (
            points.mean(axis=0) + 2 * np.stack([np.cos(turn), np.sin(turn)], 1) @ np.linalg.cholesky(np.cov(points.T)).T
        )
        ax.plot(*ellipse.T, color=ORANGE, lw=1.8)
        ax.set(xlim=(-8, 8), ylim=(-5.5, 7.5), aspect="equal", xticks=(-6, -3, 0, 3, 6), yticks=(-3, 0, 3, 6))
        titles(ax, name, formula)
        mean, (a, b, _, d) = points.mean(axis=0).round(2) + 0.0, np.cov(points.T).round(2).ravel() + 0.0
        ax.set_xlabel(f"mean {mean[0]:.1f}, {mean[1]:.1f}\nvariance {a:.2f}, {d:.2f}\ncovariance {b:.2f}")
    figure.savefig(path, dpi=150)


def draw_losses(path: Path, runs: dict[str, dict[str, Any]], rng: np.random.Generator, grid: int) -> None:
    figure, axes = new_figure(3, len(runs), (15, 8.8))
    wobbles = rng.standard_normal((40, 2))
    levels = np.geomspace(0.2, 12, 25)
    for (left, middle, right), (name, run) in zip(axes, runs.items(), strict=True):
        x, labels, best = run["x"], run["labels"], run["best"]
        size = np.linalg.norm(best[:2])

        # The data, and the line where the classifier is undecided, for weights that are a little off.
        span = np.array([x[:, 0].min() - 0.5, x[:, 0].max() + 0.5])
        for w, alpha, width in [*((best[:2] + 0.05 * size * d, 0.35, 0.8) for d in wobbles), (best[:2], 1, 2.2)]:
            left.plot(span, -(best[2] + w[0] * span) / w[1], color="k", alpha=alpha, lw=width)
        for label, colour in ((0, BLUE), (1, ORANGE)):
            left.scatter(*x[labels == label].T, color=colour, s=14, alpha=0.8, linewidths=0)
        middle_y, height = x[:, 1].mean(), np.ptp(x[:, 1])
        left.set(xlim=span, ylim=(middle_y - 0.75 * height, middle_y + 0.75 * height), xlabel="feature 1")
        left.set(ylabel="feature 2")
        titles(left, f"{name} normalisation", "the best classifier, and 40 whose weights are 5 % off")

        # The loss over both weights.
        shifts = np.linspace(-1, 1, grid)
        corners = np.stack(np.meshgrid(shifts, shifts, indexing="ij")).reshape(2, -1)
        logits = x @ (best[:2, None] + size * corners) + best[2]
        targets = np.repeat(labels[:, None], grid * grid, axis=1)
        surface = mg.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(axis=0).numpy()
        surface = surface.reshape(grid, grid).T
        image = middle.contourf(
            shifts, shifts, surface.clip(levels[0], levels[-1]), levels=levels, norm="log", cmap="magma_r"
        )
        middle.contour(shifts, shifts, surface, levels=levels[::2], colors="w", linewidths=0.5, alpha=0.6)
        middle.plot(0, 0, "*", color="w", markeredgecolor="k", markersize=15)
        ticks = (-1, -0.5, 0, 0.5, 1)
        middle.set(aspect="equal", xticks=ticks, yticks=ticks, ylabel="change of weight 2")
        middle.set_xlabel("change of weight 1, in lengths of the best weights")
        titles(middle, "the loss around its minimum", f"condition number of the Hessian: {run['condition']:,.0f}")
        bar = figure.colorbar(image, ax=middle, ticks=[0.2, 0.5, 1, 2, 5, 10], shrink=0.8)
        bar.ax.set_yticklabels(["0.2", "0.5", "1", "2", "5", "10+"])

        # The way there.
        for lr, losses in run["descents"].items():
            chosen = lr == run["lr"]
            right.semilogy(np.maximum(losses - run["least"], 1e-9), color=ORANGE if chosen else "0.75",
                           lw=2.4 if chosen else 0.9, label=f"learning rate {lr:g}" if chosen else None)  # fmt: skip
        right.set(xlabel="step", ylim=(1e-6, 1), ylabel="loss above the least")
        titles(right, "gradient descent from 0", "grey: smaller learning rates; above 2 / curvature it may diverge")
        right.legend(loc="upper right")
        right.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description="Show what preprocessing does to data and to the loss.")
    parser.add_argument("--out", type=Path, default=Path("runs/preprocessing"), help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=0, help="fixes the points")
    parser.add_argument("--quick", action="store_true", help="fewer points, steps and learning rates")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    n, steps, rates, grid = (150, 60, 4, 41) if arguments.quick else (500, 200, 10, 161)

    points = cloud(rng, n)
    stages = {
        "original": ("X", points),
        "zero-centred": ("X - mean", Center().fit_transform(points)),
        "normalised": ("(X - mean) / std", StandardScaler().fit_transform(points)),
        "decorrelated": ("(X - mean) Vᵀ", PCA().fit_transform(points)),
        "whitened": ("(X - mean) Vᵀ / √variances", Whitening("pca").fit_transform(points)),
    }
    print("covariance matrices")
    for name, (_, stage) in stages.items():
        print(f"  {name:13s}", (np.cov(stage.T).round(3) + 0.0).tolist())

    raw, labels = two_classes(rng, n)
    runs: dict[str, dict[str, Any]] = {}
    for name, x in (("before", raw), ("after", StandardScaler().fit_transform(raw))):
        best = best_parameters(x, labels)
        least = loss(mg.tensor(best), x, labels).item()
        curvatures = np.linalg.eigvalsh(hessian(best, x, labels))
        # Gradient descent is sure up to 2 over the largest curvature; cross-entropy has it where all is undecided.
        steepest = np.linalg.eigvalsh(hessian(np.zeros(3), x, labels))[-1]
        stable = np.geomspace(0.01, 0.95, rates) * 2 / steepest
        descents = {float(f"{lr:.2g}"): descend(x, labels, lr, steps) for lr in stable}
        lr = min(descents, key=lambda lr: descents[lr].mean())
        # Weights 5 % off, in 200 directions: what the mean loss becomes.
        turns = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        size = 0.05 * np.linalg.norm(best[:2])
        off = [[size * np.cos(t), size * np.sin(t), 0.0] for t in turns]
        rise = np.mean([loss(mg.tensor(best + d), x, labels).item() - least for d in off])
        runs[name] = {
            "x": x, "labels": labels, "best": best, "least": least, "condition": curvatures[-1] / curvatures[0],
            "descents": descents, "lr": lr,
        }  # fmt: skip
        print(f"{name} normalisation: least loss {least:.4f}, condition {curvatures[-1] / curvatures[0]:.1f},")
        print(f"  weights 5 % off raise the loss by {rise:.4f}, loss after {steps} steps {descents[lr][-1]:.4f}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    clouds, losses = arguments.out / "clouds.png", arguments.out / "loss.png"
    try:
        draw_clouds(clouds, stages)
    except ImportError as error:
        print(f"no pictures without matplotlib ({error}): pip install 'minigrad[plot]'")
        return
    draw_losses(losses, runs, rng, grid)
    print(f"saved {clouds} and {losses}")


if __name__ == "__main__":
    main()
