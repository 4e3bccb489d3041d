"""Pictures: how many times as fast as each peer, how the time grows with the size, how much memory there is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Row

SHAPES = {"NumPy": "o", "torch": "^", "JAX": "s", "torch.compile": "v"}


def draw(rows: Sequence[Row], path: Path, title: str, ours: str = "minigrad") -> None:
    """Names down, ratios across on a logarithmic axis; what is slower is red.  Needs Matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    names = list(dict.fromkeys(row.name for row in rows))
    half = (len(names) + 1) // 2
    figure = Figure(figsize=(13, 0.24 * half + 1.7), layout="constrained")
    for axes, part in zip(figure.subplots(1, 2, sharex=True), (names[:half], names[half:]), strict=True):
        axes.axvline(1, color="0.4", linewidth=1)
        for peer, shape in SHAPES.items():
            found = [(row.ratio(ours, peer), part.index(row.name)) for row in rows if row.name in part]
            found = [(ratio, place) for ratio, place in found if ratio == ratio]
            if found:
                colours = ["tab:red" if ratio < 0.995 else "tab:blue" for ratio, _ in found]
                axes.scatter(*zip(*found, strict=True), s=16, marker=shape, c=colours, alpha=0.6, linewidths=0)
                axes.scatter([], [], s=16, marker=shape, c="0.3", label=peer)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}x")
        axes.set_yticks(range(len(part)), part, fontsize=8)
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.grid(axis="both", linewidth=0.4, alpha=0.5)
        axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=len(SHAPES), fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.supxlabel("times as fast as the peer; red where slower", fontsize=9)
    figure.savefig(path, dpi=130)


def growth(rows: Sequence[Row], powers: Mapping[str, int], path: Path, title: str) -> None:
    """A panel for each name, its cases across and seconds up, both logarithmic; a grey line grows with the power.

    The grey line is laid through the last point of the fastest side.  Needs Matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, NullFormatter, NullLocator

    sides = list(dict.fromkeys(side for row in rows for side in row.seconds))
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    panels = figure.subplots(1, len(powers), sharey=True)
    for axes, (name, power) in zip(panels, powers.items(), strict=True):
        part = [row for row in rows if row.name == name]
        sizes = [int(row.case) for row in part]
        for side, shape in zip(sides, "o^", strict=False):
            axes.plot(sizes, [row.seconds[side] for row in part], marker=shape, markersize=4, label=side)
        last = min(part[-1].seconds.values())
        ideal = [last * (size / sizes[-1]) ** power for size in sizes]
        label = "in proportion" if power == 1 else f"with power {power}"
        axes.plot(sizes, ideal, color="0.6", linewidth=1, linestyle="--", label=label, zorder=0)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) if len(sizes) < 10 or i % 2 == 0 else "" for i, size in enumerate(sizes)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(EngFormatter("s"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelleft=True, labelsize=8)
        axes.set_xlabel(name, fontsize=9)
        axes.grid(linewidth=0.4, alpha=0.5)
        axes.legend(loc="upper left", fontsize=8)
    times = [seconds for row in rows for seconds in row.seconds.values()]
    panels[0].set_ylim(min(times) / 1.5, max(times) * 1.5)
    figure.suptitle(title, fontsize=10)
    figure.supylabel("time of a training step", fontsize=9)
    figure.savefig(path, dpi=130)


def memory(rows: Sequence[Any], path: Path, title: str) -> None:
    """For each net its arrays at their peak, as parts of what eager holds: a bar for each way.  Needs Matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(13, 0.6 * len(rows) + 1.5), layout="constrained")
    axes, size = figure.subplots(), EngFormatter("B", places=1)
    ways = {"eager": "eager", "kept": "replay", "lean": "replay, keep_grads=False"}
    for place, (way, label) in enumerate(ways.items()):
        parts = [getattr(row, way) / row.eager for row in rows]
        heights = [i + 0.27 * (place - 1) for i in range(len(rows))]
        bars = axes.barh(heights, parts, 0.25, label=label, color=("0.7", "tab:blue", "tab:green")[place])
        axes.bar_label(bars, [size(getattr(row, way)) for row in rows], padding=3, fontsize=7)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.1 * max(max(row.kept, row.lean, row.eager) / row.eager for row in rows))
    axes.xaxis.set_major_formatter(lambda part, _: f"{part:.0%}")
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower right", ncols=len(ways), fontsize=8)
    figure.suptitle(title, fontsize=10)
    axes.set_xlabel("of what the eager step holds at its peak", fontsize=9)
    figure.savefig(path, dpi=130)
