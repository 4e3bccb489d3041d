"""What a training run leaves behind: its numbers, and a picture of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import Any


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch.  Losses are means over samples; accuracies are None for targets that are not class indices."""

    epoch: int
    loss: float
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    steps: int
    seconds: float

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch:3d}", f"loss {self.loss:.4f}"]
        if self.accuracy is not None:
            parts.append(f"accuracy {100 * self.accuracy:.2f} %")
        if self.val_loss is not None:
            parts.append(f"val loss {self.val_loss:.4f}")
        if self.val_accuracy is not None:
            parts.append(f"val accuracy {100 * self.val_accuracy:.2f} %")
        return "  ".join([*parts, f"lr {self.lr:.2e}"])


@dataclass(slots=True)
class History:
    """The epochs of a run; ``best_epoch`` is the one whose weights the model has now."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return sum(e.steps for e in self.epochs)

    @property
    def seconds_per_step(self) -> float:
        """Mean time of a training step, validation not counted."""
        return sum(e.seconds for e in self.epochs) / max(self.steps, 1)

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Loss and accuracy by epoch, with the epoch marked whose weights were kept.

        Gives the matplotlib figure and saves it to ``path`` if one is given.
        Raises ``ImportError`` where matplotlib is missing.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("plots need matplotlib: pip install 'minigrad[plot]'") from error
        if not self.epochs:
            raise ValueError("there is no epoch to plot")
        names = ["loss"] if self.epochs[0].accuracy is None else ["loss", "accuracy"]
        figure = Figure(figsize=(5.5 * len(names), 4), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            self._draw(axes, name)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _draw(self, axes: Any, name: str) -> None:
        scale = 100 if name == "accuracy" else 1
        curves = {
            label: {e.epoch: scale * getattr(e, field) for e in self.epochs if getattr(e, field) is not None}
            for label, field in (("training", name), ("validation", f"val_{name}"))
        }
        for label, curve in curves.items():
            if curve:
                axes.plot(curve.keys(), curve.values(), label=label, marker="." if len(curve) < 30 else "")
        if self.best_epoch in curves["validation"]:
            value = curves["validation"][self.best_epoch]
            label = f"weights kept: epoch {self.best_epoch}, {value:.4g}{' %' if scale == 100 else ''}"
            axes.axvline(self.best_epoch, color="0.3", linestyle="--", zorder=1)
            axes.plot(self.best_epoch, value, "o--", color="0.3", markerfacecolor="white", zorder=3, label=label)
        if name == "loss" and all(value > 0 for curve in curves.values() for value in curve.values()):
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=f"{name} in %" if scale == 100 else name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
