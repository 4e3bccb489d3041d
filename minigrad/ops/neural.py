"""Softmax and its kin, losses, dropout."""

import math
from collections.abc import Sequence
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
from .shape import reshape

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


# Layer norm -----------------------------------------------------------------------------


def _launch_norm(name: str, matrices: Sequence[Any], vectors: Sequence[Any], eps: float) -> Array:
    """``layer_norm`` or its gradient: matrices (..., C) as rows, vectors (C,)."""
    arrays = [as_array(a) for a in (*matrices, *vectors)]
    dtype = launch.result_dtype("mean", *arrays)
    arrays = [launch.as_dtype(a, dtype) for a in arrays]
    shape = arrays[0].shape
    rows = [reshape.forward(a, (math.prod(shape[:-1]), shape[-1])) for a in arrays[: len(matrices)]]
    out = np.empty(rows[0].shape, dtype)
    launch.launch(name, (out, *rows, *arrays[len(matrices) :]), (eps,))
    return out.reshape(shape)


def _plain(x: Any) -> tuple[Array, Array]:
    """The weight and the bias that change nothing."""
    return np.ones(x.shape[-1], x.dtype), np.zeros(x.shape[-1], x.dtype)


def _over_rows(x: Any) -> Any:
    return sum(x, tuple(range(x.ndim - 1)))


@operation(
    x=lambda g, x, weight, eps: layer_norm_grad(g, x, weight, eps),
    weight=lambda g, x, eps: _over_rows(g * layer_norm_last(x, *_plain(x), eps)),
    bias=lambda g: _over_rows(g),
    domain=Domain("(...,C),(C),(C)", attributes={"eps": (0.1, 1.0)}),
)
def layer_norm_last(x: Any, weight: Any, bias: Any, /, eps: float) -> Array:
    """``z weight + bias`` with ``z = (x - mean) / sqrt(variance + eps)`` over the last axis of x; vectors (C,)."""
    return _launch_norm("layer_norm", (x,), (weight, bias), eps)


@operation(
    dy=lambda g, x, weight, eps: weight * layer_norm_grad(g, x, _plain(x)[0], eps),
    x=lambda g, dy, x, weight, eps: _layer_norm_curvature(g, dy * weight, x, eps),
    weight=lambda g, dy, x, eps: _over_rows(dy * layer_norm_grad(g, x, _plain(x)[0], eps)),
    outputs=("dx",),
    domain=Domain("(n,C),(n,C),(C)", attributes={"eps": (0.1, 1.0)}),
)
def layer_norm_grad(dy: Any, x: Any, weight: Any, /, eps: float) -> Array:
    """``(d - mean(d) - z mean(d z)) / sqrt(variance + eps)`` with ``d = dy weight``."""
    return _launch_norm("layer_norm_grad", (dy, x), (weight,), eps)


def _layer_norm_curvature(g: Any, d: Any, x: Any, eps: float) -> Any:
    """The gradient in x of ``sum(g layer_norm_grad(d, x))``, through z and through ``r = 1 / sqrt(variance + eps)``."""
    weight, bias = _plain(x)
    z = layer_norm_last(x, weight, bias, eps)
    r = (mean(square(x - mean(x, -1, True)), -1, True) + eps) ** -0.5
    gz, dz = mean(g * z, -1, True), mean(d * z, -1, True)
    through_r = mean(g * d, -1, True) - mean(g, -1, True) * mean(d, -1, True) - gz * dz
    return layer_norm_grad(-r * (g * dz + d * gz), x, weight, eps) - through_r * square(r) * z


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Standardise x over its last axes, then scale and shift (Ba, Kiros and Hinton 2016).

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, the variance without
    Bessel's correction.  ``normalized_shape`` is the shape of the last axes, and
    that of weight (all ones when None) and bias (zeros).
    Raises ``ValueError`` for shapes that do not fit, ``TypeError`` for float32 beside float64.
    """
    shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in shape):
        kind = type(normalized_shape).__name__
        raise TypeError(f"layer_norm needs an integer or several as normalized_shape, its second argument, got {kind}")
    x, weight, bias = (a if a is None or isinstance(a, Tensor) else Tensor(as_array(a)) for a in (x, weight, bias))
    if not shape or x.shape[-len(shape) :] != shape or 0 in shape:
        raise ValueError(f"layer_norm over {shape} needs x that ends in it, no axis empty, got {x.shape}")
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"layer_norm needs eps of at least 0, got {eps!r}")
    dtype = launch.same_float("layer_norm", *[a.data for a in (x, weight, bias) if a is not None])
    vectors = []
    for name, vector, fill in (("weight", weight, 1), ("bias", bias, 0)):
        if vector is not None and vector.shape != shape:
            raise ValueError(f"layer_norm over {shape} needs {name} {shape}, got {vector.shape}")
        plain = np.full(shape, fill, dtype if dtype.kind == "f" else np.float32)
        vectors.append(reshape(plain if vector is None else vector, (-1,)))
    rows = reshape(x, (*x.shape[: x.ndim - len(shape)], math.prod(shape)))
    return reshape(layer_norm_last(rows, vectors[0], vectors[1], eps), x.shape)


# Losses ---------------------------------------------------------------------------------


@operation(
    x=lambda g, x, labels: sample_cross_entropy_grad(g, x, labels),
    domain=Domain("(n,C),(n)", {"labels": Labels("x")}),
)
def sample_cross_entropy(x: Any, labels: Any, /) -> Array:
    """``-log(softmax(x)[label])`` of each row: x (N, C), labels (N,) in [0, C), result (N,)."""
    return launch.cross_entropy(as_array(x), as_array(labels), False)


@operation(
    x=lambda g, x, labels: sample_cross_entropy_grad(g, x, labels),
    domain=Domain("(N,C),(N)", {"labels": Labels("x")}),
)
def mean_cross_entropy(x: Any, labels: Any, /) -> Array:
    """The mean of ``sample_cross_entropy`` over the rows, as one operation."""
    return launch.cross_entropy(as_array(x), as_array(labels), True)


@operation(
    dy=lambda g, dy_shape, x, labels: _over_samples(
        sum(g * sample_cross_entropy_grad(np.ones(len(x), x.dtype), x, labels), 1), dy_shape
    ),
    x=lambda g, dy, x: softmax_grad(g * (dy.reshape(-1, 1) if dy.ndim else dy / len(x)), softmax(x)),
    outputs=("dx",),
    domain=Domain("(n),(n,C),(n)", {"labels": Labels("x")}),
)
def sample_cross_entropy_grad(dy: Any, x: Any, labels: Any, /) -> Array:
    """``dy (softmax(x) - one_hot(label))`` of each row; a 0-d dy is that of the mean, dy / N for each."""
    return launch.cross_entropy_grad(as_array(dy), as_array(x), as_array(labels))


def _over_samples(slopes: Any, shape: tuple[int, ...]) -> Any:
    return slopes if shape else mean(slopes)


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
    if reduction == "mean":
        return mean_cross_entropy(logits, labels)
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
