"""Pooling: the maximum or the mean of every window."""

from typing import Any

import numpy as np

from ..kernels.launch import Array, as_array, launch, launch_python
from ..operations import operation
from ..tensor import Tensor
from .convolution import NO_PADDING, Padding, Pair, count_windows, padded_room, tap_of, whole_numbers
from .domain import Domain, Real, composed
from .reductions import mean
from .shape import reshape

# Sums of windows, linear in x ---------------------------------------------------------------


def _fold(kernel_call: str, x: Any, fill: float, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The elements of each window of x (N, C, H, W) put together by a kernel of two inputs: (N, C, H', W')."""
    x = as_array(x)
    windows = count_windows(x.shape[2:], kernel, stride, padding, dilation)
    source = x
    if padding != NO_PADDING:
        source, inside = padded_room(x.shape, padding, x.dtype, fill)
        launch("copy", (inside, x))
    out = np.empty((*x.shape[:2], *windows), x.dtype)
    for i, j in np.ndindex(*kernel):
        tap = tap_of(source, (i, j), windows, stride, dilation)
        launch(kernel_call if i or j else "copy", (out, out, tap) if i or j else (out, tap))
    return out


@operation(
    x=lambda g, x_shape, kernel, stride, padding, dilation: sum_windows_grad(
        g, x_shape[2:], kernel, stride, padding, dilation
    ),
    domain=Domain("image"),
)
def sum_windows(x: Any, /, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The sum of each window of x (N, C, H, W): (N, C, H', W')."""
    return _fold("add", x, 0.0, kernel, stride, padding, dilation)


@operation(
    dy=lambda g, kernel, stride, padding, dilation: sum_windows(g, kernel, stride, padding, dilation),
    outputs=("dx",),
    domain=Domain("windows"),
)
def sum_windows_grad(dy: Any, /, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The adjoint of ``sum_windows``: dy added to all elements of its window, (N, C, *size)."""
    dy = as_array(dy)
    padded, inside = padded_room((*dy.shape[:2], *size), padding, dy.dtype)
    for i, j in np.ndindex(*kernel):
        place = tap_of(padded, (i, j), (dy.shape[2], dy.shape[3]), stride, dilation)
        launch("add", (place, place, dy))
    return inside


# Maxima of windows --------------------------------------------------------------------------

WIDE = Real(-10, 10)
BOTH = (False, True)
TIES = "ties in a window share evenly; NaN and padding get none"


@operation(
    x=lambda g, x, kernel, stride, padding, dilation: max_windows_grad(g, x, kernel, stride, padding, dilation),
    domain=Domain("filled image", {"x": WIDE}, apart=("x",), kinks=TIES),
)
def max_windows(x: Any, /, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The largest element of each window of x (N, C, H, W), -inf in the padding; NaN wins: (N, C, H', W')."""
    return _fold("maximum", x, -np.inf, kernel, stride, padding, dilation)


@operation(
    dy=lambda g, x, kernel, stride, padding, dilation: max_windows_at(g, x, kernel, stride, padding, dilation),
    outputs=("dx",),
    domain=Domain("windows and filled image", {"x": WIDE}, apart=("x",), kinks=TIES),
)
def max_windows_grad(dy: Any, x: Any, /, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """dy added to the largest element of its window of x, in equal shares to several: the shape of x."""
    dy, x = as_array(dy), as_array(x)
    out = np.empty(x.shape, dy.dtype)

    def spread(out: Array, dy: Array, x: Array) -> None:
        out.fill(0)
        padded, inside = _surrounded(out, padding, 0)
        maxima = _Maxima(x, kernel, stride, padding, dilation)
        share = np.divide(dy, maxima.count, out=maxima.count)
        for (i, j), tap in zip(np.ndindex(*kernel), maxima.taps, strict=True):
            place = tap_of(padded, (i, j), (dy.shape[2], dy.shape[3]), stride, dilation)
            place += maxima.where(tap, share)
        if padded is not out:
            np.copyto(out, inside)

    launch_python(spread, out, dy, x, name="max_windows_grad")
    return out


@operation(
    dx=lambda g, x, kernel, stride, padding, dilation: max_windows_grad(g, x, kernel, stride, padding, dilation),
    outputs=("dy",),
    domain=Domain("filled image", {"x": WIDE}, apart=("x",), kinks=TIES),
)
def max_windows_at(dx: Any, x: Any, /, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """The adjoint of ``max_windows_grad``: dx where x is largest in its window, the mean of several."""
    dx, x = as_array(dx), as_array(x)
    out = np.empty((*x.shape[:2], *count_windows(x.shape[2:], kernel, stride, padding, dilation)), dx.dtype)

    def collect(out: Array, dx: Array, x: Array) -> None:
        out.fill(0)
        padded, _ = _surrounded(dx, padding, 0)
        maxima = _Maxima(x, kernel, stride, padding, dilation)
        for (i, j), tap in zip(np.ndindex(*kernel), maxima.taps, strict=True):
            out += maxima.where(tap, tap_of(padded, (i, j), (out.shape[2], out.shape[3]), stride, dilation))
        out /= maxima.count

    launch_python(collect, out, dx, x, name="max_windows_at")
    return out


class _Maxima:
    """Where the windows of x have their largest elements.

    taps : for each place in the kernel its element of every window; NaN in the padding, which is nobody's.
    largest, count : of each window its largest element and how many it has, at least 1.
    """

    def __init__(self, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> None:
        windows = count_windows((x.shape[2], x.shape[3]), kernel, stride, padding, dilation)
        padded, inside = _surrounded(x, padding, -np.inf)
        self.taps = [tap_of(padded, (i, j), windows, stride, dilation) for i, j in np.ndindex(*kernel)]
        self.largest = self.taps[0].copy()
        for tap in self.taps[1:]:
            np.maximum(self.largest, tap, out=self.largest)
        if padded is not x:
            padded.fill(np.nan)
            np.copyto(inside, x)
        self.hit, self.bits = np.empty(self.largest.shape, np.bool_), np.empty(self.largest.shape, f"i{x.itemsize}")
        count = np.zeros(self.largest.shape, np.min_scalar_type(len(self.taps)))
        for tap in self.taps:
            count += np.equal(tap, self.largest, out=self.hit)
        self.count = np.maximum(count, 1).astype(x.dtype)

    def where(self, tap: Array, x: Array) -> Array:
        """x where ``tap`` is largest, else 0: as a mask of bits, several times as quick where those are scattered."""
        np.equal(tap, self.largest, out=self.hit)  # again, as so many masks would take longer to store
        np.negative(self.hit.view(np.int8), out=self.bits)
        np.bitwise_and(x.view(self.bits.dtype), self.bits, out=self.bits)
        return self.bits.view(x.dtype)


def _surrounded(x: Array, padding: Padding, fill: float) -> tuple[Array, Array]:
    """A copy of x with padding of ``fill``, and where x is in it; without padding x itself."""
    if padding == NO_PADDING:
        return x, x
    (n, c, height, width), ((top, bottom), (left, right)) = x.shape, padding
    padded = np.full((n, c, top + height + bottom, left + width + right), fill, x.dtype)
    inside = padded[:, :, top : top + height, left : left + width]
    inside[...] = x
    return padded, inside


# The public functions ------------------------------------------------------------------------


def _windows(
    name: str, dims: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Any, Pair, Pair, Padding, Pair]:
    """x as images (N, C, H, W), kernel, stride, padding before and after, dilation."""
    x = x if isinstance(x, Tensor) else Tensor(as_array(x))
    if x.ndim != dims + 2:
        raise ValueError(f"{name} needs x {'(N, C, H, W)' if dims == 2 else '(N, C, L)'}, got {x.shape}")
    if x.dtype.kind != "f":
        raise TypeError(f"{name} takes floats, got {x.dtype}")
    kernel = whole_numbers(name, "kernel_size", kernel_size, 1, dims)
    steps = kernel if stride is None else whole_numbers(name, "stride", stride, 1, dims)
    zeros = whole_numbers(name, "padding", padding, 0, dims)
    spread = whole_numbers(name, "dilation", dilation, 1, dims)
    size = x.shape[2:] if dims == 2 else (1, *x.shape[2:])
    pads = []
    for n, k, s, p, d in zip(size, kernel, steps, zeros, spread, strict=True):
        reach = d * (k - 1) + 1
        if p > reach // 2:
            raise ValueError(f"{name} needs a padding of at most half the window's reach {reach}, got {padding!r}")
        beyond = 0
        if ceil_mode:  # one more window where elements are left over, if it begins in x or in the padding before it
            count = -((reach - n - 2 * p) // s) + 1
            count -= (count - 1) * s >= n + p
            beyond = max((count - 1) * s + reach - n - 2 * p, 0)
        pads.append((p, p + beyond))
    return reshape(x, (*x.shape[:2], *size)), kernel, steps, (pads[0], pads[1]), spread


def _shaped(y: Any, dims: int) -> Tensor:
    return reshape(y, (*y.shape[:2], *y.shape[-dims:]))


@composed(Domain("pooling of 2", {"x": WIDE}, {"ceil_mode": BOTH}, apart=("x",), kinks=TIES), "x")
def max_pool2d(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window: x (N, C, H, W), result (N, C, H', W').

    ``H' = (H + 2p - d (kh - 1) - 1) // s + 1``, rounded up with ceil_mode as long as the last window
    begins in x or in the padding before it.  ``stride`` None is the kernel size; the padding, of
    -inf, is at most half a window.  NaN wins.  The largest elements of a window share its
    gradient evenly (PyTorch gives it to the first); a NaN receives none.
    """
    return _shaped(max_windows(*_windows("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode)), 2)


@composed(Domain("pooling of 1", {"x": WIDE}, {"ceil_mode": BOTH}, apart=("x",), kinks=TIES), "x")
def max_pool1d(
    x: Any,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window: x (N, C, L), result (N, C, L'); ``max_pool2d`` of height 1."""
    return _shaped(max_windows(*_windows("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode)), 1)


@composed(
    Domain("pooling of 2", attributes={"ceil_mode": BOTH, "count_include_pad": BOTH, "divisor_override": (None, 3)}),
    "x",
)
def avg_pool2d(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: x (N, C, H, W), result (N, C, H', W'), sizes as in ``max_pool2d``.

    The sum of the elements over their number: with count_include_pad zeros of the padding count too, but
    never what a last window of ceil_mode has beyond them.  ``divisor_override`` divides all windows.
    """
    return _mean_of_windows("avg_pool2d", 2, x, kernel_size, stride, padding, ceil_mode, count_include_pad,
                            divisor_override)  # fmt: skip


@composed(Domain("pooling of 1", attributes={"ceil_mode": BOTH, "count_include_pad": BOTH}), "x")
def avg_pool1d(
    x: Any,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window: x (N, C, L), result (N, C, L'); ``avg_pool2d`` of height 1."""
    return _mean_of_windows("avg_pool1d", 1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def _mean_of_windows(
    name: str,
    dims: int,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    if divisor is not None and (isinstance(divisor, bool) or not isinstance(divisor, int) or divisor == 0):
        raise ValueError(f"{name} needs an integer other than 0 as divisor_override, got {divisor!r}")
    x, kernel, stride, padding, dilation = _windows(name, dims, x, kernel_size, stride, padding, 1, ceil_mode)
    y = sum_windows(x, kernel, stride, padding, dilation)
    if divisor is None:
        lengths = []
        for n, count, k, s, (p, _) in zip(x.shape[2:], y.shape[2:], kernel, stride, padding, strict=True):
            first = np.arange(count) * s - p
            low, high = (-p, n + p) if count_include_pad else (0, n)
            lengths.append(np.minimum(first + k, high) - np.maximum(first, low))
        counts = np.outer(*lengths)
        same = counts.size and (counts == counts[0, 0]).all()
        y = y / (int(counts[0, 0]) if same else counts.astype(x.dtype))
    else:
        y = y / divisor
    return _shaped(y, dims)


@composed(Domain("(n,1,2,W)"), "x")
def global_avg_pool2d(x: Any) -> Tensor:
    """The mean of each channel: x (N, C, H, W), result (N, C) (Lin, Chen and Yan 2013)."""
    x = x if isinstance(x, Tensor) else Tensor(as_array(x))
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ValueError(f"global_avg_pool2d needs x (N, C, H, W), H and W at least 1, got {x.shape}")
    return mean(x, (2, 3))
