"""Softmax and its kin, losses, dropout."""

from typing import Any

import numpy as np

from ..kernels import launch
from ..kernels.launch import Array, as_array
from ..operations import operation
from ..random import Generator, default_generator
from ..tensor import Tensor
from .domain import Bits, Domain, Labels
from .elementwise import exp, square, subtract
from .reductions import mean, sum
from .shape import contiguous

ROWS = Domain("nonempty", attributes={"axis": "axis"})


def _along(name: str, axis: int, *arrays: Any) -> Array:
    """A row kernel along any axis."""
    if not isinstance(axis, int | np.integer):
        raise TypeError(f"{name} takes one integer as axis, got {axis!r}")
    if axis == -1:
        return launch.rows(name, *map(as_array, arrays))
    moved = [np.moveaxis(as_array(a), axis, -1) for a in arrays]
    return np.moveaxis(launch.rows(name, *moved), -1, axis)


@operation(x=lambda g, y, axis: softmax_grad(g, y, axis), domain=ROWS)
def softmax(x: Any, /, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along ``axis``, without overflow."""
    return _along("softmax", axis, x)


@operation(
    dy=lambda g, y, axis: softmax_grad(g, y, axis),
    y=lambda g, dy, y, axis: g * (dy - sum(dy * y, axis, True)) - dy * sum(g * y, axis, True),
    outputs=("dx",),
    domain=ROWS,
)
def softmax_grad(dy: Any, y: Any, /, axis: int = -1) -> Array:
    """``y (dy - sum(dy y))`` along ``axis``."""
    return _along("softmax_grad", axis, dy, y)


@operation(x=lambda g, y, axis: log_softmax_grad(g, y, axis), domain=ROWS)
def log_softmax(x: Any, /, axis: int = -1) -> Array:
    """``x - log(sum(exp(x)))`` along ``axis``, without overflow."""
    return _along("log_softmax", axis, x)


@operation(
    dy=lambda g, y, axis: g - sum(g * exp(y), axis, True),
    y=lambda g, dy, y, axis: -g * exp(y) * sum(dy, axis, True),
    outputs=("dx",),
    domain=ROWS,
)
def log_softmax_grad(dy: Any, y: Any, /, axis: int = -1) -> Array:
    """``dy - exp(y) sum(dy)`` along ``axis``."""
    return _along("log_softmax_grad", axis, dy, y)


# Losses ---------------------------------------------------------------------------------


def _class_indices(labels: Any, logits: Any) -> Array:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy takes class indices, integers, as labels, got {labels.dtype}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] == 0:
        raise ValueError(
            f"cross_entropy needs logits (N, C) and labels (N,), C at least 1, got {logits.shape} and {labels.shape}"
        )
    return launch.as_dtype(labels, np.int64)


@operation(
    x=lambda g, x, labels: sample_cross_entropy_grad(g, x, labels),
    domain=Domain("(n,C),(n)", {"labels": Labels("x")}),
)
def sample_cross_entropy(x: Any, labels: Any, /) -> Array:
    """``-log(softmax(x)[label])`` of each row: x (N, C), labels (N,) in [0, C), result (N,)."""
    x = as_array(x)
    labels = _class_indices(as_array(labels), x)
    if x.dtype != np.float32:
        x = launch.as_dtype(x, launch.result_dtype("exp", x))
    out = np.empty(len(x), x.dtype)
    launch.launch("cross_entropy", (out, x, labels))
    return out


@operation(
    dy=lambda g, x, labels: sum(g * sample_cross_entropy_grad(np.ones(len(x), x.dtype), x, labels), 1),
    x=lambda g, dy, x: softmax_grad(g * dy.reshape(-1, 1), softmax(x)),
    outputs=("dx",),
    domain=Domain("(n),(n,C),(n)", {"labels": Labels("x")}),
)
def sample_cross_entropy_grad(dy: Any, x: Any, labels: Any, /) -> Array:
    """``dy (softmax(x) - one_hot(label))`` of each row."""
    dy, x = as_array(dy), as_array(x)
    labels = _class_indices(as_array(labels), x)
    out = np.empty(x.shape, x.dtype)
    dy = dy if dy.flags.c_contiguous else contiguous(dy)
    launch.launch("cross_entropy_grad", (out, dy, x, labels))
    return out


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        return mean(losses)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy of class indices under ``softmax(logits)``.

    ``-log(softmax(logits)[label])`` for each sample, then the mean over samples
    (or the sum, or none).  logits (N, C), labels (N,) integers in [0, C).
    Raises ``IndexError`` for a label outside the classes.
    """
    labels = labels if isinstance(labels, Tensor) else np.asarray(labels)
    return _reduced(sample_cross_entropy(logits, labels), reduction)


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """``(prediction - target) ** 2``, its mean over all elements (or sum, or none); shapes must be equal."""
    shapes = np.shape(getattr(prediction, "data", prediction)), np.shape(getattr(target, "data", target))
    if shapes[0] != shapes[1]:
        raise ValueError(f"mse_loss needs equal shapes, got {shapes[0]} and {shapes[1]}")
    arrays = [x.data if isinstance(x, Tensor) else x for x in (prediction, target)]
    launch.same_float("mse_loss", *[x for x in arrays if isinstance(x, np.ndarray)])
    return _reduced(square(subtract(prediction, target)), reduction)


# Dropout ----------------------------------------------------------------------------------


def keep_count(p: float) -> int:
    """How many of 65,536 draws keep an element; never none and never all unless p says so."""
    if isinstance(p, bool) or not isinstance(p, int | float | np.number) or not 0 <= p <= 1:
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
    out, mask = np.empty(x.shape, x.dtype), np.empty((x.size + 7) // 8, np.uint8)
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
    out = np.empty(dy.shape, dy.dtype)
    launch.launch("dropout_grad", (out, dy, np.asarray(mask)), (keep_count(p),))
    return out


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
