"""A graph laid out and drawn, in layers from the leaves down to the results.

Layers, one more than the deepest input; an order within them by a few sweeps of barycentres
(Sugiyama, Tagawa and Toda 1981); places as near to the mean of the neighbours as the widths allow.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from .graph import Graph

MOST = 1000  # vertices of a picture
SIZE, WIDE, HIGH = 11, 6.7, 14  # of the font, a character and a line
PAD, BESIDE, BELOW = 8, 18, 34  # within a box, between boxes of a layer, between layers
SWEEPS = 12
FILL = {"leaf": ("#fff3d6", "#a87b16"), "operation": ("#eaf1fb", "#3f6aa8"), "result": ("#dcefdc", "#2f7d3b")}
EDGE, INK = "#8a8f98", "#1f2328"


class Box(NamedTuple):
    """A vertex by its centre and size."""

    x: float
    y: float
    width: float
    height: float
    lines: list[str]
    kind: str


class Curve(NamedTuple):
    """An edge: points from which it goes straight down, and what is written at its end."""

    points: list[tuple[float, float]]
    label: str


class Picture:
    """Boxes and curves in a sheet of ``width`` by ``height`` points, y downwards."""

    def __init__(self, graph: Graph) -> None:
        if len(graph.vertices) > MOST:
            raise ValueError(
                f"a graph of {len(graph.vertices)} operations and leaves is too large for a picture of at most {MOST}; "
                "print() lists it, and dot() gives it to Graphviz"
            )
        layers, chains = _layered(graph)
        labels: dict[str, list[str]] = {key: [] for key in graph.vertices}
        for chain, label in chains:
            labels[chain[-1]].append(label)
        sizes = {key: _size(v.lines(), labels[key]) for key, v in graph.vertices.items()}
        x = _placed(layers, chains, {key: width for key, (width, _) in sizes.items()})
        y, ends = float(PAD), {}  # between which each key stands, an edge straight through its layer
        for layer in layers:
            tall = max([sizes[key][1] for key in layer if key in sizes], default=0.0)
            for key in layer:
                spare = (tall - sizes[key][1]) / 2 if key in sizes else 0
                ends[key] = (y + spare, y + tall - spare)
            y += tall + BELOW
        self.width = max(x[key] + _half(key, sizes) for layer in layers for key in layer) + PAD
        self.height = y - BELOW + PAD
        self.boxes = [
            Box(x[key], sum(ends[key]) / 2, *sizes[key], v.lines(), "leaf" if v.is_leaf else "result" if v.results
                else "operation")
            for key, v in graph.vertices.items()
        ]  # fmt: skip
        ports = _ports(chains, x, {key: width for key, (width, _) in sizes.items()})
        self.curves = []
        for (chain, label), port in zip(chains, ports, strict=True):
            through = [(x[key], y) for key in chain[1:-1] for y in ends[key]]
            points = [(x[chain[0]], ends[chain[0]][1]), *through, (port, ends[chain[-1]][0] - 3)]
            self.curves.append(Curve(points, label))

    def svg(self) -> str:
        """The drawing as a document of its own."""
        w, h = f"{self.width:.0f}", f"{self.height:.0f}"
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" '
            f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{SIZE}" fill="{INK}">',
            f'<rect width="{w}" height="{h}" fill="white"/>',
        ]
        for curve in self.curves:
            (x, y), *rest = curve.points
            path = [f"M{x:.1f} {y:.1f}"]
            for a, b in rest:
                half = (y + b) / 2
                path.append(f"C{x:.1f} {half:.1f} {a:.1f} {half:.1f} {a:.1f} {b:.1f}")
                x, y = a, b
            tip = f"M{x - 3:.1f} {y - 4:.1f}L{x:.1f} {y + 3:.1f}L{x + 3:.1f} {y - 4:.1f}Z"
            out.append(f'<path d="{"".join(path)}" fill="none" stroke="{EDGE}"/><path d="{tip}" fill="{EDGE}"/>')
            if curve.label:
                out.append(f'<text x="{x + 5:.1f}" y="{y - 3:.1f}" font-size="{SIZE - 3}">{_text(curve.label)}</text>')
        for box in self.boxes:
            fill, line = FILL[box.kind]
            out.append(
                f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - box.height / 2:.1f}" width="{box.width:.1f}" '
                f'height="{box.height:.1f}" rx="{_round(box)}" fill="{fill}" stroke="{line}"/>'
            )
            for i, text in enumerate(box.lines):
                low = box.y - HIGH * (len(box.lines) - 1) / 2 + HIGH * i + SIZE / 3
                out.append(f'<text x="{box.x:.1f}" y="{low:.1f}" text-anchor="middle">{_text(text)}</text>')
        return "\n".join([*out, "</svg>", ""])

    def figure(self) -> Any:
        """The drawing as a matplotlib figure; ``ImportError`` where that is missing."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
            from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
            from matplotlib.path import Path
        except ImportError as error:
            raise ImportError("pictures but .svg and .dot need matplotlib: pip install 'minigrad[plot]'") from error
        figure = Figure(figsize=(self.width / 72, self.height / 72))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        font: dict[str, Any] = {"family": "monospace", "color": INK, "parse_math": False}
        for curve in self.curves:
            points, codes = curve.points[:1], [Path.MOVETO]
            for (x, y), (a, b) in itertools.pairwise(curve.points):
                points += [(x, (y + b) / 2), (a, (y + b) / 2), (a, b)]
                codes += [Path.CURVE4] * 3
            axes.add_patch(FancyArrowPatch(path=Path(points, codes), arrowstyle="-|>", mutation_scale=7, color=EDGE))
            if curve.label:
                x, y = points[-1]
                axes.text(x + 5, y - 2, curve.label, size=SIZE - 3, **font)
        for box in self.boxes:
            fill, line = FILL[box.kind]
            corner = box.x - box.width / 2, box.y - box.height / 2
            style = f"round,pad=0,rounding_size={_round(box)}"
            axes.add_patch(FancyBboxPatch(corner, box.width, box.height, style, facecolor=fill, edgecolor=line))
            axes.text(box.x, box.y, "\n".join(box.lines), size=SIZE, ha="center", va="center", **font)
        return figure


Chain = tuple[list[str], str]  # an edge by the keys that it passes, and what is written on it


def _size(lines: list[str], arriving: list[str]) -> tuple[float, float]:
    """Width and height of a box, over which there is room for what is written on the edges that arrive."""
    above = max(map(len, arriving), default=0) * (len(arriving) + 1) * WIDE * (SIZE - 3) / SIZE
    return max(WIDE * max(map(len, lines)), above) + 2 * PAD, HIGH * len(lines) + PAD


def _half(key: str, sizes: dict[str, tuple[float, float]]) -> float:
    return sizes[key][0] / 2 if key in sizes else 0.0


def _round(box: Box) -> float:
    return box.height / 2 if box.kind == "leaf" else 4


def _text(text: str) -> str:
    """Without what no XML document may hold, not even escaped."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _layered(graph: Graph) -> tuple[list[list[str]], list[Chain]]:
    """The keys of each layer, and for each edge those that it passes: between its ends some of its own."""
    depth: dict[str, int] = {}
    for v in graph.operations:
        depth[v.key] = 1 + max([depth.get(i.source, 0) for i in v.inputs if i.source], default=0)
    edges = list(graph.edges())
    for v in graph.leaves:  # right above the first that uses it
        depth[v.key] = min([depth[target] for source, target, _ in edges if source == v.key], default=1) - 1
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for key in _by_use(graph):
        layers[depth[key]].append(key)
    chains = []
    for n, (source, target, label) in enumerate(edges):
        between = range(depth[source] + 1, depth[target])
        passed = [f"edge {n} in {level}" for level in between]
        for level, key in zip(between, passed, strict=True):
            layers[level].append(key)
        chains.append(([source, *passed, target], label))
    return [layer for layer in layers if layer], chains


def _by_use(graph: Graph) -> list[str]:
    """All keys, each operation after its inputs, which follow one another: an order to begin with."""
    done: dict[str, None] = {}
    for v in graph.operations:
        done |= dict.fromkeys([i.source for i in v.inputs if i.source])
        done[v.key] = None
    return [*done, *(key for key in graph.vertices if key not in done)]


def _placed(layers: list[list[str]], chains: list[Chain], widths: dict[str, float]) -> dict[str, float]:
    """The middle of each key, the layers put into an order that crosses few edges."""
    above: dict[str, list[str]] = {key: [] for layer in layers for key in layer}
    below: dict[str, list[str]] = {key: [] for layer in layers for key in layer}
    for chain, _ in chains:
        for a, b in itertools.pairwise(chain):
            above[b].append(a)
            below[a].append(b)
    x = {key: float(i) for layer in layers for i, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        near = below if sweep % 2 else above
        for layer in layers[::-1] if sweep % 2 else layers:
            means = {key: np.mean([x[n] for n in near[key]]) if near[key] else x[key] for key in layer}
            layer.sort(key=means.__getitem__)
            x |= {key: float(i) - len(layer) / 2 for i, key in enumerate(layer)}
    for layer in layers:
        x |= dict(zip(layer, _spread(np.zeros(len(layer)), layer, widths), strict=True))
    for sweep in range(2 * SWEEPS):
        for layer in layers[::-1] if sweep % 2 else layers:
            around = [[x[n] for n in above[key] + below[key]] or [x[key]] for key in layer]
            ideal = [np.mean(places) for places in around]
            x |= dict(zip(layer, _spread(np.array(ideal), layer, widths), strict=True))
    left = min(x[key] - widths.get(key, 0) / 2 for key in x) - PAD
    return {key: value - left for key, value in x.items()}


def _spread(ideal: np.ndarray[Any, Any], layer: list[str], widths: dict[str, float]) -> list[float]:
    """Places in this order, without overlap, as near to the ideal ones as can be (least squares).

    Less the room that those before take they must not fall: neighbours that do are put at their mean.
    """
    halves = np.array([widths.get(key, 0) / 2 for key in layer])
    room = np.concatenate([[0.0], np.cumsum(halves[:-1] + halves[1:] + BESIDE)])
    blocks: list[tuple[float, int]] = []
    for value in ideal - room:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, count = (mean * count + before * n) / (count + n), count + n
        blocks.append((mean, count))
    found: list[float] = (np.repeat([m for m, _ in blocks], [n for _, n in blocks]) + room).tolist()
    return found


def _ports(chains: list[Chain], x: dict[str, float], widths: dict[str, float]) -> list[float]:
    """Where each edge arrives: side by side on the middle of the box, in the order in which they come."""
    arriving: dict[str, list[int]] = {}
    for i, (chain, _) in enumerate(chains):
        arriving.setdefault(chain[-1], []).append(i)
    ports = [0.0] * len(chains)
    for key, edges in arriving.items():
        edges.sort(key=lambda i: x[chains[i][0][-2]])
        for place, i in enumerate(edges, 1):
            ports[i] = x[key] + widths[key] * (place / (len(edges) + 1) - 0.5)
    return ports
