"""Normalization: over the last axes, over groups of channels, over the batch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..kernels import launch
from ..kernels.launch import Array, as_array
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, composed
from .elementwise import reciprocal, sqrt, square
from .reductions import mean, sum
from .shape import reshape

EPS = (0.1, 1.0)

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


def _floats(name: str, **inputs: Any) -> list[Any]:
    """The inputs as tensors of one floating dtype, float32 for integers; None stays."""
    tensors = [a if a is None or isinstance(a, Tensor) else Tensor(as_array(a)) for a in inputs.values()]
    dtype = launch.same_float(name, *[a.data for a in tensors if a is not None])
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float32)
    return [a if a is None or a.dtype.kind == "f" else a.astype(dtype) for a in tensors]


def _fitting(name: str, shape: tuple[int, ...], **vectors: Any) -> None:
    for argument, vector in vectors.items():
        if vector is not None and vector.shape != shape:
            raise ValueError(f"{name} needs {argument} {shape}, got {vector.shape}")


def _small(name: str, eps: float) -> float:
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"{name} needs eps of at least 0, got {eps!r}")
    return eps


def _last_axes(name: str, x: Any, normalized_shape: int | Sequence[int], **vectors: Any) -> tuple[int, ...]:
    """``normalized_shape`` as a tuple that x ends in, and that each vector has."""
    shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in shape):
        kind = type(normalized_shape).__name__
        raise TypeError(f"{name} needs an integer or several as normalized_shape, its second argument, got {kind}")
    if not shape or x.shape[-len(shape) :] != shape or 0 in shape:
        raise ValueError(f"{name} over {shape} needs x that ends in it, no axis empty, got {x.shape}")
    _fitting(f"{name} over {shape}", shape, **vectors)
    return shape


@composed(Domain("(...,3),(3),(3)", attributes={"normalized_shape": (3, (3,)), "eps": EPS}), "x", "weight", "bias")
def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Standardise x over its last axes, then scale and shift (Ba, Kiros and Hinton 2016).

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, the variance without
    Bessel's correction.  ``normalized_shape`` is the shape of the last axes, and
    that of weight (all ones when None) and bias (zeros).
    Raises ``ValueError`` for shapes that do not fit, ``TypeError`` for float32 beside float64.
    """
    x, weight, bias = _floats("layer_norm", x=x, weight=weight, bias=bias)
    shape = _last_axes("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    rows = reshape(x, (*x.shape[: x.ndim - len(shape)], math.prod(shape)))
    one, zero = _plain(rows)
    weight = one if weight is None else reshape(weight, (-1,))
    bias = zero if bias is None else reshape(bias, (-1,))
    return reshape(layer_norm_last(rows, weight, bias, _small("layer_norm", eps)), x.shape)


@composed(Domain("(...,3),(3)", attributes={"normalized_shape": (3, (3,)), "eps": EPS}), "x", "weight")
def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last axes (Zhang and Sennrich 2019).

    ``normalized_shape`` and the shape of weight are those of ``layer_norm``.  eps None
    is the spacing of the dtype at 1, as in PyTorch.
    """
    x, weight = _floats("rms_norm", x=x, weight=weight)
    shape = _last_axes("rms_norm", x, normalized_shape, weight=weight)
    eps = float(np.finfo(x.dtype).eps) if eps is None else _small("rms_norm", eps)
    y = x * reciprocal(sqrt(mean(square(x), tuple(range(-len(shape), 0)), True) + eps))
    return y if weight is None else y * weight


@composed(Domain("(n,2,M),(2),(2)", attributes={"num_groups": (1, 2), "eps": EPS}), "x", "weight", "bias")
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Standardise x (N, C, ...) over each of ``num_groups`` groups of channels, then scale and shift each channel.

    The formula of ``layer_norm`` over C / num_groups channels and all positions of a sample
    (Wu and He 2018); weight and bias (C,).
    """
    x, weight, bias = _floats("group_norm", x=x, weight=weight, bias=bias)
    whole = isinstance(num_groups, int | np.integer) and not isinstance(num_groups, bool) and num_groups >= 1
    if x.ndim < 2 or 0 in x.shape[1:] or not whole or x.shape[1] % num_groups:
        raise ValueError(
            f"group_norm needs x (N, C, ...), nothing empty but N, and num_groups that divides C, "
            f"got {x.shape} and {num_groups!r}"
        )
    _fitting("group_norm", x.shape[1:2], weight=weight, bias=bias)
    rows = reshape(x, (len(x), int(num_groups), math.prod(x.shape[1:]) // int(num_groups)))
    y = reshape(layer_norm_last(rows, *_plain(rows), _small("group_norm", eps)), x.shape)
    return _per_channel(y, weight, bias)


def _per_channel(y: Any, scale: Any, shift: Any) -> Any:
    """``y scale + shift``: y (N, C, ...), scale and shift (C,) or None."""
    shape = (-1,) + (1,) * (y.ndim - 2)
    y = y if scale is None else y * reshape(scale, shape)
    return y if shift is None else y + reshape(shift, shape)


@composed(Domain("(2,C,M),(C),(C)", attributes={"training": (True,), "eps": EPS}), "x", "weight", "bias")
def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel of x (N, C, ...) over the batch, then scale and shift it (Ioffe and Szegedy 2015).

    ``(x - mean) / sqrt(variance + eps) * weight + bias``.  In training mean and variance are those of
    the batch, without Bessel's correction; running_mean and running_var, if given, are updated:
    ``running = (1 - momentum) running + momentum batch``, the variance with Bessel's correction, as
    in PyTorch.  Else mean and variance are the running ones.  All vectors (C,).
    Raises ``ValueError`` in training for fewer than two values a channel.
    """
    x, weight, bias = _floats("batch_norm", x=x, weight=weight, bias=bias)
    buffers = [b if b is None or isinstance(b, Tensor) else Tensor(b) for b in (running_mean, running_var)]
    launch.same_float("batch_norm", x.data, *[b.data for b in buffers if b is not None])
    if x.ndim < 2:
        raise ValueError(f"batch_norm needs x (N, C, ...), got {x.shape}")
    _fitting("batch_norm", x.shape[1:2], running_mean=buffers[0], running_var=buffers[1], weight=weight, bias=bias)
    eps = _small("batch_norm", eps)
    if not training:
        if buffers[0] is None or buffers[1] is None:
            raise ValueError("batch_norm outside training needs running_mean and running_var")
        scale = reciprocal(sqrt(buffers[1] + eps))
        return _per_channel(_per_channel(x, None, -buffers[0]), scale if weight is None else scale * weight, bias)
    count = len(x) * math.prod(x.shape[2:])
    if count < 2:
        raise ValueError(f"batch_norm in training needs more than one value a channel, got {x.shape}")
    axes = (0, *range(2, x.ndim))
    center = mean(x, axes, True)
    deviation = x - center
    variance = mean(square(deviation), axes, True)
    with no_grad():
        for buffer, new in zip(buffers, (center, variance * (count / (count - 1))), strict=True):
            if buffer is not None:
                buffer.assign_(buffer * (1 - momentum) + reshape(new, (-1,)) * momentum)
    scale = reshape(reciprocal(sqrt(variance + eps)), (-1,))
    return _per_channel(deviation, scale if weight is None else scale * weight, bias)
