"""The graph behind a tensor: as a listing, as text for Graphviz, and as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Node, reachable
from ..errors import GraphError
from ..nn import Module
from ..tensor import Tensor

LONGEST = 40  # characters of an attribute
CONSTANT = "constant"


class Input(NamedTuple):
    """One input of an operation: its name and where it comes from.

    source : the key of a vertex; None where no gradient goes.
    output : the name of the output that is used, if the source has several.
    """

    name: str
    source: str | None
    output: str = ""


class Vertex(NamedTuple):
    """One operation or one leaf, as text.

    key : ``%1``, ``%2``, ... for operations in the order in which they ran; a leaf's own name.
    name : of the operation; of a leaf its key.
    inputs, attributes, saves : what an operation was called with, and what its rules keep; of a leaf none.
    outputs : dtype and shape of each.
    results : what a tensor that the graph was asked for, or named by the caller, is called.
    source : the line that called it, under ``minigrad.debug()``.
    """

    key: str
    name: str
    inputs: tuple[Input, ...]
    attributes: tuple[str, ...]
    outputs: tuple[str, ...]
    saves: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    source: str = ""

    @property
    def is_leaf(self) -> bool:
        """Whether it is a tensor that receives a gradient, not an operation."""
        return self.name == self.key

    def lines(self) -> list[str]:
        """What stands in its box."""
        called = [f"{name} =" for name in self.results]
        return [*called, self.name if self.is_leaf else f"{self.key} {self.name}", *self.attributes, *self.outputs]


class Graph:
    """What ``graph`` gives: ``print`` lists it, a notebook shows its picture.  It holds text only, no tensor.

    vertices : the operations in the order in which they ran, each once, and the leaves, by key.
    """

    def __init__(self, vertices: dict[str, Vertex]) -> None:
        self.vertices = vertices

    @property
    def operations(self) -> list[Vertex]:
        """In the order in which they ran: a backward pass goes the other way."""
        return [v for v in self.vertices.values() if not v.is_leaf]

    @property
    def leaves(self) -> list[Vertex]:
        """The tensors that receive gradients."""
        return [v for v in self.vertices.values() if v.is_leaf]

    def __repr__(self) -> str:
        return f"<Graph of {len(self.operations)} operations and {len(self.leaves)} leaves>"

    def __str__(self) -> str:
        rows = [self._row(v) for v in self.operations[::-1]] + [(v.key, "leaf", *v.outputs) for v in self.leaves]
        widths = [max([len(row[i]) for row in rows if len(row) > i + 1], default=0) for i in range(4)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)).rstrip() for row in rows]
        return "\n".join([f"{len(self.operations)} operations, the first that backward visits first", *lines])

    def _row(self, v: Vertex) -> tuple[str, ...]:
        inputs = [f"{i.name}={i.source or CONSTANT}" + (f".{i.output}" if i.output else "") for i in v.inputs]
        keeps = f"keeps {', '.join(v.saves)}" if v.saves else "keeps nothing"
        rest = "; ".join([keeps, *v.results, *([v.source] if v.source else [])])
        return v.key, f"{v.name}({', '.join([*inputs, *v.attributes])})", ", ".join(v.outputs), rest

    # Pictures -----------------------------------------------------------------------------

    def edges(self) -> Iterator[tuple[str, str, str]]:
        """Source, target and what is written on it: the input's name, after the output's where there are several."""
        for v in self.vertices.values():
            named = len(v.inputs) > 1
            for i in v.inputs:
                if i.source is not None:
                    yield (
                        i.source,
                        v.key,
                        " as ".join([*([i.output] if i.output else []), *([i.name] if named else [])]),
                    )

    def dot(self) -> str:
        """The graph in Graphviz's language, whose ``dot -Tsvg`` draws it: https://graphviz.org/doc/info/lang.html."""
        lines = ['digraph {', '  node [shape=box, fontname="monospace", fontsize=11]',
                 '  edge [fontname="monospace", fontsize=9]']  # fmt: skip
        for v in self.vertices.values():
            style = ", shape=ellipse" if v.is_leaf else ", penwidth=2" if v.results else ""
            lines.append(f"  {_quoted(v.key)} [label={_quoted(chr(10).join(v.lines()))}{style}]")
        for source, target, label in self.edges():
            lines.append(f"  {_quoted(source)} -> {_quoted(target)}" + (f" [label={_quoted(label)}]" if label else ""))
        return "\n".join([*lines, "}", ""])

    def svg(self) -> str:
        """The picture, with a layout of our own; ``ValueError`` for more than 1,000 operations and leaves."""
        from .picture import Picture

        return Picture(self).svg()

    def _repr_svg_(self) -> str | None:
        from .picture import MOST

        return self.svg() if len(self.vertices) <= MOST else None

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture: ``.svg``, ``.dot`` or ``.gv`` as text; ``.png``, ``.pdf`` and others through matplotlib.

        Raises ``ImportError`` where matplotlib is needed and missing.
        """
        ending = Path(fspath(path)).suffix.lower()
        if ending in (".dot", ".gv", ".svg"):
            Path(path).write_text(self.svg() if ending == ".svg" else self.dot(), encoding="utf-8")
            return
        from .picture import Picture

        Picture(self).figure().savefig(path, dpi=150)


def graph(
    tensors: Tensor | list[Tensor] | tuple[Tensor, ...], names: Mapping[str, Tensor] | Module | None = None
) -> Graph:
    """All operations and leaves that ``tensors`` were computed from and that a backward pass would visit.

    names : what leaves and results are to be called: tensors by name, or a module for its parameters.
        Other leaves are numbered.

    Nothing is changed or kept alive.  Inputs that need no gradient are not followed; they are ``constant``.
    Raises ``ValueError`` for a tensor that does not require grad, ``GraphError`` where a backward pass
    has freed the graph.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> print(graph((x * x).sum(), {"x": x}))
    2 operations, the first that backward visits first
    %2  sum(x=%1, axis=None, keepdims=False)  float32 ()    keeps x_shape; result
    %1  multiply(a=x, b=x)                    float32 (2,)  keeps b, a
    x   leaf                                  float32 (2,)
    """
    return collect(tensors, names)[0]


def collect(tensors: Any, names: Any) -> tuple[Graph, dict[Node | Tensor, str]]:
    """The graph of ``tensors``, and the key of each node and leaf."""
    wanted = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
    for i, t in enumerate(wanted):
        if not isinstance(t, Tensor):
            raise TypeError(f"a graph is that of a tensor or several, got {type(t).__name__} as number {i}")
        if not t.requires_grad:
            raise ValueError(f"there is no graph behind tensor {i}: nothing that it was computed from requires grad")
    nodes = reachable([t.node if t.node is not None else t for t in wanted])
    for node in nodes:
        if node.saved is None:
            raise GraphError(
                f"the graph behind {node.op.name} was freed by an earlier backward; look at it before, "
                "or pass retain_graph=True to that one"
            )
    parents = itertools.chain.from_iterable(node.parents for node in nodes)
    found = itertools.chain(parents, [t for t in wanted if t.node is None])
    leaves = dict.fromkeys([place for place in found if isinstance(place, Tensor)], "")
    results: dict[Node, list[str]] = {node: [] for node in nodes}
    _name(names, wanted, leaves, results)
    keys: dict[Node | Tensor, str] = dict(leaves.items())
    keys |= {node: f"%{i}" for i, node in enumerate(nodes, 1)}
    vertices = [_operation(node, keys, results[node]) for node in nodes]
    vertices += [Vertex(name, name, (), (), (_form(t.shape, t.dtype),)) for t, name in leaves.items()]
    return Graph({v.key: v for v in vertices}), keys


def _name(names: Any, wanted: list[Tensor], leaves: dict[Tensor, str], results: dict[Node, list[str]]) -> None:
    """Fill in what leaves and results are called."""
    if isinstance(names, Module):
        names = dict(names.named_parameters())
    if names is not None and not isinstance(names, Mapping):
        raise TypeError(f"graph() takes a dict of tensors by name, or a module, as names, got {type(names).__name__}")
    known: dict[tuple[Any, int], str] = {}
    for name, tensor in (names or {}).items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"graph() takes tensors by name as names, got {name!r}: {type(tensor).__name__}")
        if name.startswith("%"):
            raise ValueError(f"a name cannot begin with %, which numbers the operations, got {name!r}")
        known.setdefault((tensor, 0) if tensor.node is None else (tensor.node, tensor.index), name)
    for i, t in enumerate(wanted):
        if t.node is not None:
            known.setdefault((t.node, t.index), f"result {i + 1}" if len(wanted) > 1 else "result")
    for (place, index), name in known.items():
        if place in leaves:
            leaves[place] = name
        elif place in results:
            more = f" ({place.op.outputs[index]})" if len(place.op.outputs) > 1 else ""
            results[place].append(name + more)
    taken = {*leaves.values()}
    numbers = (f"leaf {i}" for i in itertools.count(1))
    for leaf, name in leaves.items():
        leaves[leaf] = name or next(number for number in numbers if number not in taken)


def _operation(node: Node, keys: dict[Any, str], results: list[str]) -> Vertex:
    op = node.op
    inputs = []
    for i, (name, parent) in enumerate(zip(input_names(node), node.parents, strict=True)):
        index = node.indices[i] if node.indices is not None else 0
        several = isinstance(parent, Node) and len(parent.op.outputs) > 1
        output = parent.op.outputs[index] if several else ""
        inputs.append(Input(name, None if parent is None else keys[parent], output))
    attributes = [f"{name}={_text(value)}" for name, value in zip(op.attributes, node.attributes, strict=True)]
    outputs = [_form(*output) for output in node.outputs if output is not None]
    return Vertex(keys[node], op.name, tuple(inputs), tuple(attributes), tuple(outputs), node.names, tuple(results),
                  node.source)  # fmt: skip


def input_names(node: Node) -> list[str]:
    """The name of each input of a call, those of a variadic operation numbered."""
    op, count = node.op, len(node.parents)
    return [f"{op.inputs[0]}[{i}]" for i in range(count)] if op.variadic else list(op.inputs[:count])


def _form(shape: tuple[int, ...], dtype: Any) -> str:
    return f"{dtype} {shape}"


def _text(value: Any) -> str:
    """An attribute in few words."""
    if isinstance(value, Tensor | np.ndarray):
        return _form(value.shape, value.dtype)
    if isinstance(value, type):
        return value.__name__
    if value is ...:
        return "..."
    if isinstance(value, slice):
        ends = [value.start, value.stop] + [value.step] * (value.step is not None)
        return ":".join("" if end is None else _text(end) for end in ends)
    if type(value) in (tuple, list):
        parts = ", ".join(map(_text, value)) + "," * (type(value) is tuple and len(value) == 1)
        text = f"({parts})" if type(value) is tuple else f"[{parts}]"
    else:
        text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _quoted(text: str) -> str:
    """A string of Graphviz's, in whose labels a backslash is special, too."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
