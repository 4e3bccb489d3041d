"""Reductions over any axes."""

import math
from typing import Any

import numpy as np

from ..kernels.launch import Array, as_array, launch_python, normalize_axes, reduce, rows
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain
from .elementwise import equal, exp
from .shape import repeated, reshape

REDUCE = Domain(attributes={"axis": "axes", "keepdims": (False, True)})
NONEMPTY = Domain("nonempty", attributes={"axis": "axes", "keepdims": (False, True)})
EXTREMUM = Domain("nonempty", attributes={"axis": "axes", "keepdims": (False, True)}, apart=("x",))
POSITION = Domain("nonempty", attributes={"axis": "axis or none", "keepdims": (False, True)}, apart=("x",))


def _kept(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """``shape`` with length 1 along the reduced axes."""
    if axis is None:
        return (1,) * len(shape)
    axes = normalize_axes(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


@operation(
    dy=lambda g, dy_shape, axis: reshape(sum(g, axis), dy_shape),
    outputs=("dx",),
    view=True,
    domain=Domain("reduced", attributes={"shape": "shape", "axis": "axes"}),
)
def spread(dy: Any, /, shape: tuple[int, ...], axis: Any) -> Array:
    """``dy`` (with or without the reduced axes) repeated along ``axis`` to ``shape``, without copying."""
    return repeated(as_array(dy).reshape(_kept(shape, axis)), shape)


def _count(shape: tuple[int, ...], axis: Any) -> int:
    return math.prod(shape if axis is None else [shape[i] for i in normalize_axes(axis, len(shape))])


@operation(x=lambda g, x_shape, axis: spread(g, x_shape, axis), domain=REDUCE)
def sum(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over ``axis`` (an integer, several, or None for all); of integers in int64."""
    return reduce("sum", as_array(x), axis, keepdims)


@operation(
    x=lambda g, x_shape, axis: spread(g / _count(x_shape, axis), x_shape, axis),
    domain=NONEMPTY,
)
def mean(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The mean over ``axis``; of integers in float32."""
    return reduce("mean", as_array(x), axis, keepdims)


def _ties(x: Any, y: Any, axis: Any) -> Tensor:
    """1 / (number of ties) where x is the extremum y of its row, else 0."""
    hits = equal(x, reshape(y, _kept(x.shape, axis))).astype(x.dtype)
    return hits / sum(hits, axis, keepdims=True)


@operation(x=lambda g, x, y, axis: spread(g, x.shape, axis) * _ties(x, y, axis), domain=EXTREMUM)
def max(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The largest element over ``axis``; NaN wins.  Ties share the gradient evenly."""
    return reduce("max", as_array(x), axis, keepdims)


@operation(x=lambda g, x, y, axis: spread(g, x.shape, axis) * _ties(x, y, axis), domain=EXTREMUM)
def min(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The smallest element over ``axis``; NaN wins.  Ties share the gradient evenly."""
    return reduce("min", as_array(x), axis, keepdims)


@operation(
    x=lambda g, x, y, axis: spread(g, x.shape, axis) * exp(x - reshape(y, _kept(x.shape, axis))),
    domain=NONEMPTY,
)
def logsumexp(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """``log(sum(exp(x)))`` over ``axis``, without overflow; -inf over nothing."""
    x = as_array(x)
    axes = normalize_axes(axis, x.ndim)
    others = [i for i in range(x.ndim) if i not in axes]
    moved = x.transpose(*others, *axes)
    last = reshape.forward(moved, (*[x.shape[i] for i in others], _count(x.shape, axis)))
    y = rows("logsumexp", last)
    return y.reshape(_kept(x.shape, axis)) if keepdims else y


def _arg(function: Any, x: Any, axis: int | None, keepdims: bool) -> Array:
    x = as_array(x)
    found = np.asarray(function(x, axis=axis, keepdims=keepdims))
    out = np.empty(found.shape, np.int64)

    def find(out: Array, x: Array) -> None:
        np.copyto(out, function(x, axis=axis, keepdims=keepdims))

    launch_python(find, out, x, name=function.__name__)
    return out


@operation(domain=POSITION)
def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Array:
    """The index of the first largest element along ``axis``, or in the flattened array."""
    return _arg(np.argmax, x, axis, keepdims)


@operation(domain=POSITION)
def argmin(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Array:
    """The index of the first smallest element along ``axis``, or in the flattened array."""
    return _arg(np.argmin, x, axis, keepdims)
