"""Softmax and its kin, dropout, embedding."""

from typing import Any

import numpy as np

from ..kernels import launch
from ..kernels.launch import Array, as_array, launch_python
from ..operations import operation
from ..random import Generator, default_generator
from ..tensor import Tensor
from .domain import Bits, Domain, Integer, Labels, composed
from .elementwise import equal, exp, where
from .reductions import sum
from .shape import add_at, reshape

ROWS = Domain("nonempty", attributes={"axis": "axis"})


def _along(name: str, axis: int, *arrays: Any) -> Array:
    """A row kernel along any axis."""
    if not isinstance(axis, int | np.integer):
        raise TypeError(f"{name} takes one integer as axis, got {axis!r}")
    if axis == -1:
        return launch.rows(name, *map(as_array, arrays))
    moved = [np.moveaxis(as_array(a), axis, -1) for a in arrays]
    return np.moveaxis(launch.rows(name, *moved), -1, axis)


@operation(
    dy=lambda g, y, axis: softmax_grad(g, y, axis),
    y=lambda g, dy, y, axis: g * (dy - sum(dy * y, axis, True)) - dy * sum(g * y, axis, True),
    outputs=("dx",),
    domain=ROWS,
)
def softmax_grad(dy: Any, y: Any, /, axis: int = -1) -> Array:
    """``y (dy - sum(dy y))`` along ``axis``."""
    return _along("softmax_grad", axis, dy, y)


@operation(x=softmax_grad, domain=ROWS)
def softmax(x: Any, /, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along ``axis``, without overflow."""
    return _along("softmax", axis, x)


@operation(
    dy=lambda g, y, axis: g - sum(g * exp(y), axis, True),
    y=lambda g, dy, y, axis: -g * exp(y) * sum(dy, axis, True),
    outputs=("dx",),
    domain=ROWS,
)
def log_softmax_grad(dy: Any, y: Any, /, axis: int = -1) -> Array:
    """``dy - exp(y) sum(dy)`` along ``axis``."""
    return _along("log_softmax_grad", axis, dy, y)


@operation(x=log_softmax_grad, domain=ROWS)
def log_softmax(x: Any, /, axis: int = -1) -> Array:
    """``x - log(sum(exp(x)))`` along ``axis``, without overflow."""
    return _along("log_softmax", axis, x)


# Dropout ----------------------------------------------------------------------------------


def keep_count(p: float) -> int:
    """How many of 65,536 draws keep an element; never none and never all unless p says so."""
    if isinstance(p, bool) or not isinstance(p, int | float | np.integer | np.floating) or not 0 <= p <= 1:
        raise ValueError(f"dropout needs a probability p in [0, 1], got {p!r}")
    if p in (0, 1):
        return 65536 if p == 0 else 0
    return min(max(round((1 - float(p)) * 65536), 1), 65535)


@operation(
    x=lambda g, mask, p: dropout_grad(g[0], mask, p),
    outputs=("y", "mask"),
    domain=Domain(attributes={"p": (0.0, 0.25, 0.5, 1.0), "rng": "generator"}),
)
def dropout_and_mask(x: Any, /, p: float, rng: Generator) -> tuple[Array, Array]:
    """Dropout and its packed mask, one bit an element in C order, lowest bit first."""
    x = as_array(x)
    if x.dtype.kind != "f":
        raise TypeError(f"dropout takes floats, got {x.dtype}")
    out, mask = launch.empty_array(x.shape, x.dtype), np.empty((x.size + 7) // 8, np.uint8)
    launch.launch("dropout", (out, mask, x), (keep_count(p), rng.key, rng.counter))
    return out, mask


@operation(
    dy=lambda g, mask, p: dropout_grad(g, mask, p),
    outputs=("dx",),
    domain=Domain(inputs={"mask": Bits("dy")}, attributes={"p": (0.0, 0.25, 0.5, 1.0)}),
)
def dropout_grad(dy: Any, mask: Any, /, p: float) -> Array:
    """``dy`` where the mask keeps it, scaled as in the forward pass."""
    dy = as_array(dy)
    out = launch.empty_array(dy.shape, dy.dtype)
    launch.launch("dropout_grad", (out, dy, np.asarray(mask)), (keep_count(p),))
    return out


@composed(Domain(attributes={"p": (0.0, 0.25, 1.0), "training": (True, False), "rng": "generator"}), "x")
def dropout(x: Any, p: float = 0.5, training: bool = True, rng: Generator | None = None) -> Tensor:
    """Zero each element with probability ``p`` and divide the others by the keep probability.

    Inverted dropout (Srivastava et al. 2014): the expectation stays the same, so
    nothing is done when ``training`` is false.  The keep probability is 1 - p
    rounded to a multiple of 1/65536, and the scale is its exact inverse.
    """
    keep_count(p)
    if not training or p == 0:
        return x if isinstance(x, Tensor) else Tensor(as_array(x))
    return dropout_and_mask(x, p, rng or default_generator())[0]


# Embedding --------------------------------------------------------------------------------


@operation(
    weight=lambda g, weight_shape, indices: rows_at_grad(g, indices, weight_shape[0]),
    domain=Domain("(V,d),(n)", {"indices": Labels("weight", 0)}),
)
def rows_at(weight: Any, indices: Any, /) -> Array:
    """``weight[indices]``: weight (V, D), indices of any shape in [0, V), result (*indices.shape, D)."""
    weight, indices = as_array(weight), as_array(indices)
    out = np.empty((*indices.shape, weight.shape[1]), weight.dtype)

    def take(out: Array, weight: Array, indices: Array) -> None:
        if np.any(bad := (indices < 0) | (indices >= len(weight))):
            raise IndexError(f"indices must lie in [0, {len(weight)}), got {indices[bad][0]}")
        np.copyto(out, weight[indices])

    launch_python(take, out, weight, indices, name="rows_at")
    return out


@operation(
    dy=lambda g, indices: rows_at(g, indices),
    outputs=("dweight",),
    domain=Domain("(n,d),(n)", {"indices": Integer(0, 3)}, {"count": (4, 5)}),
)
def rows_at_grad(dy: Any, indices: Any, /, count: int) -> Array:
    """The adjoint of ``rows_at``: row i of dy added to row ``indices[i]`` of zeros (count, D)."""
    dy, indices = as_array(dy), as_array(indices)
    out = np.empty((count, dy.shape[-1]), dy.dtype)

    def add(out: Array, dy: Array, indices: Array) -> None:
        out.fill(0)
        add_at(out, indices, dy)

    launch_python(add, out, dy, indices, name="rows_at_grad")
    return out


@composed(
    Domain("(n),(V,d)", {"input": Labels("weight", 0)}, kinks="0 for the padding"),
    "input",
    "weight",
)
def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """The rows of ``weight`` (V, D) at ``input``, integers in [0, V) of any shape: (*input.shape, D).

    padding_idx : this row receives no gradient; a negative one counts from the end.

    Raises ``IndexError`` for an index outside, ``TypeError`` for indices that are not integers.
    """
    input = input if isinstance(input, Tensor) else np.asarray(input)
    weight = weight if isinstance(weight, Tensor) else Tensor(as_array(weight))
    if input.dtype.kind not in "iu":
        raise TypeError(f"embedding takes integers as input, its first argument, got {input.dtype}")
    if weight.ndim != 2:
        raise ValueError(f"embedding needs weight (V, D), got {weight.shape}")
    y: Tensor = rows_at(weight, input)
    if padding_idx is None:
        return y
    if (
        isinstance(padding_idx, bool)
        or not isinstance(padding_idx, int)
        or not -len(weight) <= padding_idx < len(weight)
    ):
        raise ValueError(f"embedding needs a padding_idx in [-{len(weight)}, {len(weight)}), got {padding_idx!r}")
    return where(reshape(equal(input, padding_idx % len(weight)), (*input.shape, 1)), y.detach(), y)
