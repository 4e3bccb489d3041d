"""Convolution: windows laid out as the columns of a matrix, and a product with the weight."""

import math
from typing import Any

import numpy as np

from ..kernels.launch import Array, as_array, launch, same_float
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, composed
from .linalg import matmul
from .shape import as_tensor, reshape

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # before and after, of height and width
NO_PADDING: Padding = ((0, 0), (0, 0))


def count_windows(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
    """How many windows fit into (height, width)."""
    lengths = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        if n + sum(p) < reach:
            raise ValueError(f"a window {kernel} that reaches over {reach} does not fit {size} padded by {padding}")
        lengths.append((n + sum(p) - reach) // s + 1)
    return lengths[0], lengths[1]


def tap_of(padded: Array, tap: Pair, windows: Pair, stride: Pair, dilation: Pair) -> Array:
    """What element ``tap`` of the kernel meets in every window, a view."""
    rows, columns = (
        slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in zip(tap, windows, stride, dilation, strict=True)
    )
    return padded[:, :, rows, columns]


def padded_room(shape: tuple[int, ...], padding: Padding, dtype: Any, fill: float = 0.0) -> tuple[Array, Array]:
    """An array of a padded shape that holds ``fill``, and the part inside the padding."""
    n, c, height, width = shape
    (top, bottom), (left, right) = padding
    padded = np.empty((n, c, top + height + bottom, left + width + right), dtype)
    launch("copy", (padded, np.full((), fill, dtype)))
    return padded, padded[:, :, top : top + height, left : left + width]


@operation(
    x=lambda g, x_shape, kernel, stride, padding, dilation: col2im(g, x_shape[2:], kernel, stride, padding, dilation),
    domain=Domain("image"),
)
def im2col(
    x: Any, /, kernel: Pair, stride: Pair = (1, 1), padding: Padding = NO_PADDING, dilation: Pair = (1, 1)
) -> Array:
    """The windows of x (N, C, H, W) as columns: (N, C kh kw, windows), windows in C order; PyTorch's ``unfold``."""
    x = as_array(x)
    windows = count_windows(x.shape[2:], kernel, stride, padding, dilation)
    source = x
    if padding != NO_PADDING:
        source, inside = padded_room(x.shape, padding, x.dtype)
        launch("copy", (inside, x))
    out = np.empty((*x.shape[:2], *kernel, *windows), x.dtype)
    for i, j in np.ndindex(*kernel):
        launch("copy", (out[:, :, i, j], tap_of(source, (i, j), windows, stride, dilation)))
    return out.reshape(len(x), x.shape[1] * math.prod(kernel), math.prod(windows))


@operation(
    columns=lambda g, kernel, stride, padding, dilation: im2col(g, kernel, stride, padding, dilation),
    outputs=("x",),
    domain=Domain("columns"),
)
def col2im(
    columns: Any,
    /,
    size: Pair,
    kernel: Pair,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    dilation: Pair = (1, 1),
) -> Array:
    """The adjoint of ``im2col``: every window added back into (N, C, *size); PyTorch's ``fold``."""
    columns = as_array(columns)
    windows = count_windows(size, kernel, stride, padding, dilation)
    channels = columns.shape[1] // math.prod(kernel)
    taps = reshape.forward(columns, (len(columns), channels, *kernel, *windows))
    padded, inside = padded_room((len(columns), channels, *size), padding, columns.dtype)
    for i, j in np.ndindex(*kernel):
        place = tap_of(padded, (i, j), windows, stride, dilation)
        launch("add", (place, place, taps[:, :, i, j]))
    return inside


# The public functions ----------------------------------------------------------------------


def whole_numbers(function: str, argument: str, value: Any, least: int, dims: int = 2) -> Pair:
    """An integer for each of one or two axes; the missing height of one axis has the least."""
    many = value if isinstance(value, tuple | list) else (value,) * dims
    if len(many) != dims or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < least for n in many):
        one = "" if dims == 1 else ", or two of them,"
        raise ValueError(f"{function} needs an integer of at least {least}{one} as {argument}, got {value!r}")
    height, width = many if dims == 2 else (least, *many)
    return int(height), int(width)


def _padding(function: str, padding: Any, kernel: Pair, stride: Pair, dilation: Pair, dims: int) -> Padding:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f'padding="same" needs stride 1, got {stride[-dims:]}')
        top, left = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        return (top // 2, top - top // 2), (left // 2, left - left // 2)
    if isinstance(padding, str):
        raise ValueError(f"padding is 'same', 'valid' or a number of zeros, got {padding!r}")
    height, width = whole_numbers(function, "padding", padding, 0, dims)
    return (height, height), (width, width)


@composed(Domain("convolution of 2"), "x", "weight", "bias")
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: str | int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of images with kernels, as every deep learning library has it.

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] x[n, c, s i + d u - p, s j + d v - p]``,
    x zero outside.  x (N, C, H, W), weight (O, C / groups, kh, kw), bias (O,), result
    (N, O, H', W') with ``H' = (H + 2p - d (kh - 1) - 1) // s + 1``.  Output channels of
    group k see the input channels of group k only.  ``padding="same"`` keeps the size (stride 1).

    Windows are copied side by side (im2col: Chellapilla, Puri and Simard 2006), kh kw
    times the memory of x, so that the matrix kernel does the work.
    Raises ``ValueError`` for shapes that do not fit, ``TypeError`` for float32 beside float64.
    """
    return _convolution("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


@composed(Domain("convolution of 1"), "x", "weight", "bias")
def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int = 1,
    padding: str | int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of sequences with kernels: ``conv2d`` of height 1.

    x (N, C, L), weight (O, C / groups, k), bias (O,), result (N, O, L') with
    ``L' = (L + 2p - d (k - 1) - 1) // s + 1``.
    """
    return _convolution("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def _convolution(
    name: str, dims: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    x, weight, bias = as_tensor(x), as_tensor(weight), None if bias is None else as_tensor(bias)
    if x.ndim != dims + 2 or weight.ndim != dims + 2 or 0 in weight.shape[2:]:
        wanted = "x (N, C, H, W) and weight (O, C, kh, kw)" if dims == 2 else "x (N, C, L) and weight (O, C, k)"
        raise ValueError(f"{name} needs {wanted}, got {x.shape} and {weight.shape}")
    (n, c, *size), (o, per_group, *kernel) = x.shape, weight.shape
    whole = isinstance(groups, int | np.integer) and not isinstance(groups, bool) and groups >= 1
    if not whole or o % groups or c != groups * per_group:
        raise ValueError(
            f"{name} needs x with as many channels as groups times the weight's second axis, and as many outputs as "
            f"groups divide, got x {x.shape}, weight {weight.shape} and groups={groups!r}"
        )
    if bias is not None and bias.shape != (o,):
        raise ValueError(f"{name} needs a bias of shape {(o,)}, got {bias.shape}")
    same_float(name, *[a.data for a in (x, weight, bias) if a is not None])
    strides = whole_numbers(name, "stride", stride, 1, dims)
    dilations = whole_numbers(name, "dilation", dilation, 1, dims)
    height, width = size if dims == 2 else (1, *size)
    window = (kernel[0], kernel[1]) if dims == 2 else (1, kernel[0])
    pads = _padding(name, padding, window, strides, dilations, dims)
    windows = count_windows((height, width), window, strides, pads, dilations)
    columns = im2col(reshape(x, (n, c, height, width)), window, strides, pads, dilations)
    terms = per_group * math.prod(window)
    y = matmul(reshape(weight, (groups, o // groups, terms)), reshape(columns, (n, groups, terms, math.prod(windows))))
    y = reshape(y, (n, o, *windows[-dims:]))
    return y if bias is None else y + reshape(bias, (o,) + (1,) * dims)
