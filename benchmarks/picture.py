"""The kernels' speed as a picture: a dot for each size, how many times as fast as each peer."""

from collections.abc import Sequence
from pathlib import Path

from harness import Row

SHAPES = {"NumPy": "o", "torch": "^", "JAX": "s"}


def draw(rows: Sequence[Row], path: Path, title: str) -> None:
    """Names down, ratios across on a logarithmic axis; what is slower is red.  Needs Matplotlib."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.name for row in rows))
    half = (len(names) + 1) // 2
    figure = Figure(figsize=(13, 0.24 * half + 1.4), layout="constrained")
    for axes, part in zip(figure.subplots(1, 2, sharex=True), (names[:half], names[half:]), strict=True):
        axes.axvline(1, color="0.4", linewidth=1)
        for peer, shape in SHAPES.items():
            found = [(row.ratio("minigrad", peer), part.index(row.name)) for row in rows if row.name in part]
            found = [(ratio, place) for ratio, place in found if ratio == ratio]
            if found:
                colours = ["tab:red" if ratio < 0.995 else "tab:blue" for ratio, _ in found]
                axes.scatter(*zip(*found, strict=True), s=16, marker=shape, c=colours, alpha=0.6, linewidths=0)
                axes.scatter([], [], s=16, marker=shape, c="0.3", label=peer)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}x")
        axes.set_yticks(range(len(part)), part, fontsize=8)
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.grid(axis="both", linewidth=0.4, alpha=0.5)
        axes.set_axisbelow(True)
        axes.legend(loc="lower right", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel("times as fast as the peer; red where slower", fontsize=9)
    figure.savefig(path, dpi=130)
