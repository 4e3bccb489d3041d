"""A backward pass, one step after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..autograd import Node, grad, observe
from ..tensor import Tensor
from .graph import collect, input_names

SMALL = 6  # elements that are printed


class Step(NamedTuple):
    """One operation, visited.

    key, name : those of its vertex in ``graph``.
    cotangent : the gradient of the result with respect to its output; a tuple for several outputs.
    gradients : what its rules gave: ``(input, where it goes, gradient)`` for each input that needs one.
    """

    key: str
    name: str
    cotangent: Any
    gradients: tuple[tuple[str, str, Tensor], ...]

    def __str__(self) -> str:
        several = self.cotangent if isinstance(self.cotangent, tuple) else (self.cotangent,)
        head = f"{self.key}  {self.name}: g = {', '.join(map(_value, several))}"
        return "\n".join([head, *(f"    {name} -> {to}: {_value(g)}" for name, to, g in self.gradients)])


class Steps(tuple[Step, ...]):
    """The steps of a backward pass in their order; ``print`` shows them with their numbers."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def steps(tensor: Tensor, gradient: Any = None, names: Any = None) -> Steps:
    """What a backward pass from ``tensor`` does at each operation; no ``.grad`` is changed and the graph is kept.

    gradient : the cotangent of ``tensor``; needed unless it has one element.
    names : what leaves are called, as in ``graph``, whose keys name the operations here, too.

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
    >>> print(steps((x * x).sum(), names={"x": x}))
    %2  sum: g = float32 () 1
        x -> %1: float32 (2,) [1, 1]
    %1  multiply: g = float32 (2,) [1, 1]
        a -> x: float32 (2,) [1, 2]
        b -> x: float32 (2,) [1, 2]
    """
    found: list[Step] = []
    keys = collect(tensor, names)[1]

    def note(node: Node, g: Any, gradients: Any) -> None:
        triples = zip(input_names(node), node.parents, gradients, strict=True)
        gone = tuple((name, keys[parent], g) for name, parent, g in triples if g is not None)
        found.append(Step(keys[node], node.op.name, g, gone))

    leaves = [place for place in keys if isinstance(place, Tensor)]
    with observe(note):
        grad(tensor, leaves, None if gradient is None else [gradient], retain_graph=True, allow_unused=True)
    return Steps(found)


def _value(g: Any) -> str:
    if g is None:
        return "nothing"
    if g.size > SMALL:
        return f"{g.dtype} {g.shape} up to {np.abs(g.data).max():.4g} in size"
    values = np.array2string(g.data, separator=", ", formatter={"float_kind": lambda v: f"{v:.4g}"})
    return f"{g.dtype} {g.shape} {' '.join(values.split())}"
