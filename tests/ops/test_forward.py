"""Every operation on every target, in float32 and float64, against NumPy and SciPy in float64."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from minigrad import kernels
from minigrad.operations import Operation
from minigrad.ops.convolution import count_windows
from minigrad.random import philox4x32
from minigrad.testing.strategies import arguments

from .test_gradients import every_operation, operations


def softmax_grad(dy: Any, y: Any, axis: int = -1) -> Any:
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax_grad(dy: Any, y: Any, axis: int = -1) -> Any:
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


def cross_entropy(x: Any, labels: Any) -> Any:
    return -special.log_softmax(x, 1)[np.arange(len(x)), labels]


def cross_entropy_grad(dy: Any, x: Any, labels: Any) -> Any:
    return dy[:, None] * (special.softmax(x, 1) - np.eye(x.shape[1])[labels])


def getitem_grad(dy: Any, index: Any, shape: Any) -> Any:
    out = np.zeros(shape)
    np.add.at(out, index, dy)
    return out


def taps(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Iterator[tuple[int, int, int, int]]:
    """Row and column of a column matrix, and the place in the image that they hold, where it is not in the padding."""
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    starts = [range(-p[0], n + p[1] - r, s) for n, p, r, s in zip(size, padding, reach, stride, strict=True)]
    for row, (u, v) in enumerate(np.ndindex(*kernel)):
        for column, (i, j) in enumerate(itertools.product(*starts)):
            y, x = i + u * dilation[0], j + v * dilation[1]
            if 0 <= y < size[0] and 0 <= x < size[1]:
                yield row, column, y, x


def im2col(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    windows = count_windows(x.shape[2:], kernel, stride, padding, dilation)
    out = np.zeros((*x.shape[:2], math.prod(kernel), math.prod(windows)))
    for row, column, i, j in taps(x.shape[2:], kernel, stride, padding, dilation):
        out[:, :, row, column] = x[:, :, i, j]
    return out.reshape(len(x), x.shape[1] * out.shape[2], out.shape[3])


def col2im(columns: Any, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    channels = columns.shape[1] // math.prod(kernel)
    columns = columns.reshape(len(columns), channels, math.prod(kernel), columns.shape[2])
    out = np.zeros((len(columns), channels, *size))
    for row, column, i, j in taps(size, kernel, stride, padding, dilation):
        out[:, :, i, j] += columns[:, :, row, column]
    return out


def windows_of(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float = np.nan) -> Any:
    """All windows of an image batch: (N, C, H', W', kernel)."""
    x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=fill)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, (2, 3))
    view = view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return view.reshape(*view.shape[:4], math.prod(kernel))


def sum_windows_grad(dy: Any, size: Any, **about: Any) -> Any:
    (n, c), kernel, windows = dy.shape[:2], math.prod(about["kernel"]), math.prod(dy.shape[2:])
    columns = np.repeat(dy.reshape(n, c, 1, windows), kernel, 2)
    return col2im(columns.reshape(n, c * kernel, windows), size, **about)


def max_windows_at(dx: Any, x: Any, **about: Any) -> Any:
    places = np.nanargmax(windows_of(x, **about), -1) if x.size else np.zeros(windows_of(x, **about).shape[:4], int)
    return np.take_along_axis(windows_of(dx, **about), places[..., None], -1)[..., 0]


def max_windows_grad(dy: Any, x: Any, **about: Any) -> Any:
    out = np.zeros(x.size)
    np.add.at(out, max_windows_at(np.arange(x.size).reshape(x.shape) * 1.0, x, **about).astype(int), dy)
    return out.reshape(x.shape)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def layer_norm_grad(dy: Any, x: Any, weight: Any, eps: float) -> Any:
    d, spread, n = dy * weight, np.sqrt(x.var(-1, keepdims=True) + eps), x.shape[-1]
    z = (x - x.mean(-1, keepdims=True)) / spread
    return ((np.eye(n) - 1 / n - z[..., :, None] * z[..., None, :] / n) @ d[..., None])[..., 0] / spread


def scale(p: float) -> float:
    keep = round((1 - p) * 65536)
    return 65536 / keep if keep else 0.0


def dropout(x: Any, p: float, rng: Any) -> Any:
    """Element i is kept where the i-th half-word of the stream, low half first, is below 65536 (1 - p)."""
    key, first = int(rng.key), int(rng.counter)
    blocks = [[(first + i) % 2**32, (first + i) >> 32, 0, 0] for i in range(-(-x.size // 8))]
    words = philox4x32(np.array(blocks, np.uint32).reshape(-1, 4), [key % 2**32, key >> 32]).reshape(-1)
    halves = np.stack([words & 0xFFFF, words >> 16], axis=1).reshape(-1)[: x.size]
    kept = halves < round((1 - p) * 65536)
    return np.where(kept.reshape(x.shape), x * scale(p), 0), np.packbits(kept, bitorder="little")


def dropout_grad(dy: Any, mask: Any, p: float) -> Any:
    kept = np.unpackbits(mask, bitorder="little")[: dy.size].reshape(dy.shape)
    return np.where(kept, dy * scale(p), 0)


def within(x: Any, min: Any, max: Any) -> Any:
    return 1.0 * ((x >= (-np.inf if min is None else min)) & (x <= (np.inf if max is None else max)))


def unreduced(g: Any, axis: Any) -> Any:
    """With the axes back that a reduction dropped."""
    return np.expand_dims(g, axis) if axis is not None else g


def elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def silu_grad(dy: Any, x: Any) -> Any:
    s = special.expit(x)
    return dy * (s + x * s * (1 - s))


def gelu(x: Any, approximate: str) -> Any:
    if approximate == "none":
        return x * special.ndtr(x)
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def recurrence(a: Any, b: Any, axis: int) -> Any:
    y = b.copy()
    a, moved = np.moveaxis(a, axis, 0), np.moveaxis(y, axis, 0)
    for i in range(1, len(moved)):
        moved[i] = a[i] * moved[i - 1] + b.take(i, axis)
    return y


def argsort(x: Any, axis: Any, descending: bool = False) -> Any:
    return np.argsort(-x if descending else x, axis)  # no ties are drawn


def sort(x: Any, axis: Any, descending: bool = False) -> Any:
    return -np.sort(-x, axis) if descending else np.sort(x, axis)


def clip(x: Any, min: Any, max: Any) -> Any:
    return x if min is None and max is None else np.clip(x, min, max)


def cummax_places(x: Any, axis: int) -> Any:
    best = np.maximum.accumulate(x, axis)
    return np.apply_along_axis(lambda row: np.searchsorted(row, row), axis, best)


# Functions made of operations -----------------------------------------------------------------


def reduced(losses: Any, reduction: str) -> Any:
    if reduction == "batchmean":
        return losses.sum() / len(losses)
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def loss(of: Callable[..., Any]) -> Callable[..., Any]:
    """A loss of single elements, weighted and reduced."""

    def reduced_loss(*inputs: Any, reduction: str, **attributes: Any) -> Any:
        x, t, *weights = [a for a in inputs if a is not None]
        return reduced(of(x, t, **attributes) * (weights[0] if weights else 1), reduction)

    return reduced_loss


def class_loss(input: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    """What follows a log-softmax: of each sample, by hand."""
    weight = np.ones(input.shape[1]) if weight is None else weight
    own = np.array([-row[c] * weight[c] for row, c in zip(input, target, strict=True)])
    losses = (1 - smoothing) * own - smoothing * (input * weight).mean(1)
    return losses.sum() / weight[target].sum() if reduction == "mean" else reduced(losses, reduction)


def classified(
    x: Any, target: Any, weight: Any, reduction: str, ignore_index: Any, label_smoothing: float = 0, logs: bool = True
) -> Any:
    return class_loss(special.log_softmax(x, 1) if logs else x, target, weight, reduction, label_smoothing)


def margins(x: Any, target: Any, margin: float) -> Any:
    """The violations of each sample by each class other than its own."""
    rows = zip(x, target, strict=True)
    return np.array([[max(0, margin - r[c] + v) * (j != c) for j, v in enumerate(r)] for r, c in rows])


def multi_margin(x: Any, target: Any, weight: Any, reduction: str, p: int, margin: float) -> Any:
    weight = np.ones(x.shape[1]) if weight is None else weight
    return reduced((margins(x, target, margin) ** p).mean(1) * weight[target], reduction)


def bce(p: Any, t: Any) -> Any:
    return -special.xlogy(t, p) - special.xlogy(1 - t, 1 - p)


def hinge(x: Any, t: Any, margin: float) -> Any:
    return np.where(t == 1, x, np.where(t == -1, np.maximum(0, margin - x), x + np.maximum(0, margin - x)))


def convolution(x: Any, weight: Any, bias: Any, stride: int, padding: Any, dilation: int, groups: int) -> Any:
    """One or two axes, element by element."""
    dims, (o, per_group, *kernel) = x.ndim - 2, weight.shape
    short = [dilation * (k - 1) for k in kernel]
    ends = [(n // 2, n - n // 2) if padding == "same" else (0 if padding == "valid" else padding,) * 2 for n in short]
    x = np.pad(x, ((0, 0), (0, 0), *ends))
    out = np.zeros((len(x), o, *[(n - m - 1) // stride + 1 for n, m in zip(x.shape[2:], short, strict=True)]))
    for n, k, *at in np.ndindex(*out.shape):
        channels = slice(k // (o // groups) * per_group, (k // (o // groups) + 1) * per_group)
        for tap in np.ndindex(*kernel):
            place = tuple(stride * i + dilation * u for i, u in zip(at, tap, strict=True))
            out[n, k, *at] += weight[k, :, *tap] @ x[n, channels, *place]
    return out if bias is None else out + bias.reshape(-1, *[1] * dims)


def pool(x: Any, of: Any, kernel_size: int, stride: Any, padding: int, ceil_mode: bool) -> Any:
    """``of`` the slices of each window, of which those at the ends reach into the padding or beyond."""
    stride, dims = stride or kernel_size, x.ndim - 2
    lengths = []
    for n in x.shape[2:]:
        steps = (n + 2 * padding - kernel_size) / stride
        count = math.ceil(steps) if ceil_mode else math.floor(steps)
        lengths.append(count + 1 - (ceil_mode and count * stride >= n + padding))
    out = np.zeros((*x.shape[:2], *lengths))
    for n, c, *at in np.ndindex(*out.shape):
        starts = [i * stride - padding for i in at]
        inside = tuple(slice(max(s, 0), s + kernel_size) for s in starts)
        whole = math.prod(min(s + kernel_size, m + padding) - s for s, m in zip(starts, x.shape[2:], strict=True))
        out[n, c, *at] = of(x[n, c, *inside], whole)
    assert out.ndim == dims + 2
    return out


def avg_pool(x: Any, count_include_pad: bool, divisor_override: Any = None, **about: Any) -> Any:
    return pool(x, lambda a, whole: a.sum() / (divisor_override or (whole if count_include_pad else a.size)), **about)


def max_pool(x: Any, dilation: int = 1, **about: Any) -> Any:
    return pool(x, lambda a, whole: a.max(), **about)


def standardised(x: Any, axes: Any, eps: float) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def scaled(y: Any, weight: Any, bias: Any, axis: int = -1) -> Any:
    shape = [1] * y.ndim
    shape[axis] = -1
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def group_norm(x: Any, weight: Any, bias: Any, num_groups: int, eps: float) -> Any:
    rows = x.reshape(len(x), num_groups, -1) if x.size else x
    return scaled(standardised(rows, -1, eps).reshape(x.shape), weight, bias, 1)


def scatter_add(x: Any, index: Any, source: Any, axis: int) -> Any:
    out = x.copy()
    for i, j in np.ndindex(*index.shape):
        out[index[i, j], j] += source[i, j]
    return out


def index_add(x: Any, index: Any, source: Any, axis: int, alpha: float) -> Any:
    out = x.copy()
    for i, row in zip(index, source, strict=True):
        out[i] += alpha * row
    return out


def topk(x: Any, k: int, largest: bool) -> Any:
    places = np.argsort(-x if largest else x, -1)[..., :k]
    return np.take_along_axis(x, places, -1), places


OWN: dict[str, Callable[..., Any]] = {
    "avg_pool1d": avg_pool,
    "avg_pool2d": avg_pool,
    "batch_norm": lambda x, weight, bias, training, eps: scaled(standardised(x, (0, 2), eps), weight, bias, 1),
    "binary_cross_entropy": loss(bce),
    "binary_cross_entropy_with_logits": loss(
        lambda x, t, pos_weight: bce(special.expit(x), t) + ((pos_weight or 1) - 1) * t * np.log1p(np.exp(-x))
    ),
    "concat": lambda *arrays, axis: np.concatenate(arrays, axis),
    "conv1d": convolution,
    "conv2d": convolution,
    "cross_entropy": classified,
    "dropout": lambda x, p, training, rng: dropout(x, p, rng)[0] if training and p else x,
    "einsum": lambda a, b, subscripts: np.einsum(subscripts, a, b),
    "embedding": lambda input, weight: weight[input],
    "gather": lambda x, index, axis: np.take_along_axis(x, index, axis),
    "global_avg_pool2d": lambda x: x.mean((2, 3)),
    "group_norm": group_norm,
    "hinge_embedding_loss": loss(hinge),
    "huber_loss": loss(lambda x, t, delta: special.huber(delta, x - t)),
    "index_add": index_add,
    "kl_div": loss(lambda x, t, log_target: np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)),
    "l1_loss": loss(lambda x, t: np.abs(x - t)),
    "layer_norm": lambda x, weight, bias, normalized_shape, eps: scaled(standardised(x, -1, eps), weight, bias),
    "margin_ranking_loss": lambda a, b, t, reduction, margin: reduced(np.maximum(0, margin - t * (a - b)), reduction),
    "max_pool1d": max_pool,
    "max_pool2d": max_pool,
    "mse_loss": loss(lambda x, t: (x - t) ** 2),
    "multi_margin_loss": multi_margin,
    "multiclass_svm_loss": lambda x, t, reduction, margin: reduced(margins(x, t, margin).sum(1), reduction),
    "nll_loss": lambda *inputs, **attributes: classified(*inputs, **attributes, logs=False),
    "prelu": lambda x, weight: np.where(x > 0, x, x * weight[:, None]),
    "rms_norm": lambda x, weight, normalized_shape, eps: scaled(
        x / np.sqrt((x * x).mean(-1, keepdims=True) + eps), weight, None
    ),
    "scatter_add": scatter_add,
    "smooth_l1_loss": loss(lambda x, t, beta: special.huber(beta, x - t) / beta if beta else np.abs(x - t)),
    "soft_margin_loss": loss(lambda x, t: np.log1p(np.exp(-t * x))),
    "solve": np.linalg.solve,
    "split": lambda x, sections, axis: np.split(x, sections, axis),
    "stack": lambda *arrays, axis: np.stack(arrays, axis),
    "svd": lambda a, full_matrices: tuple(np.linalg.svd(a, full_matrices)),
    "topk": topk,
    "unstack": lambda x, axis: list(np.moveaxis(x, axis, 0)),
    "argsort": argsort,
    "astype": lambda x, dtype: x.astype(dtype),
    "binary_entropy": lambda p, t: -special.xlogy(t, p) - special.xlogy(1 - t, 1 - p),
    "col2im": col2im,
    "glu": lambda x, axis: x[:, :1] * special.expit(x[:, 1:]),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardtanh": lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    "im2col": im2col,
    "clip": clip,
    "cummax": lambda x, axis: np.maximum.accumulate(x.ravel() if axis is None else x, axis or 0),
    "cummax_along": np.maximum.accumulate,
    "cummax_places": cummax_places,
    "cumprod_along": np.cumprod,
    "cumsum_along": np.cumsum,
    "clip_between": clip,
    "cholesky": np.linalg.cholesky,
    "concat_arrays": lambda *arrays, axis: np.concatenate(arrays, axis),
    "dropout_and_mask": dropout,
    "dropout_grad": dropout_grad,
    "eigh": lambda a: tuple(np.linalg.eigh(a)),
    "erf": special.erf,
    "elu": elu,
    "exact_gelu": lambda x: x * special.ndtr(x),
    "gelu": gelu,
    "gelu_grad": lambda dy, x: dy * (special.ndtr(x) + x * stats.norm.pdf(x)),
    "getitem": lambda x, index: x[index],
    "getitem_grad": getitem_grad,
    "greater_share": lambda a, b: np.heaviside(a - b, 0.5),
    "inv": np.linalg.inv,
    "huber": lambda d, delta: special.huber(delta, d),
    "layer_norm_last": layer_norm,
    "layer_norm_grad": layer_norm_grad,
    "leaky_relu": lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
    "leaky_relu_grad": lambda dy, x, negative_slope: np.where(x > 0, dy, negative_slope * dy),
    "linear": lambda x, weight, bias: x @ weight.T + (0 if bias is None else bias),
    "linear_grad": lambda dy, x, weight, wanted: (dy @ weight, dy.T @ x, dy.sum(0)),
    "log_sigmoid": special.log_expit,
    "log_softmax": special.log_softmax,
    "log_softmax_grad": log_softmax_grad,
    "logsumexp": special.logsumexp,
    "matmul_arrays": np.matmul,
    "mean_cross_entropy": lambda x, labels: cross_entropy(x, labels).mean(),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "norm": np.linalg.vector_norm,
    "order_along": argsort,
    "one_hot": lambda labels, num_classes, dtype: np.eye(num_classes, dtype=dtype)[labels],
    "pad_constant": lambda x, pad_width, value: np.pad(x, pad_width, constant_values=value) if x.ndim else x,
    "permute_dims": np.transpose,
    "recurrence": recurrence,
    "max_windows": lambda x, **about: windows_of(x, **about, fill=-np.inf).max(-1),
    "max_windows_at": max_windows_at,
    "max_windows_grad": max_windows_grad,
    "pick": lambda x, labels: np.array([row[label] for row, label in zip(x, labels, strict=True)]),
    "pick_grad": lambda dy, labels, classes: dy[:, None] * (labels[:, None] == np.arange(classes)),
    "reduced_svd": lambda a: tuple(np.linalg.svd(a, full_matrices=False)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu_grad": lambda dy, y: np.where(y > 0, dy, 0),
    "reshape": lambda x, shape: np.reshape(x, shape),
    "round": np.round,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rows_at": lambda weight, indices: (indices[:, None] == np.arange(len(weight))) @ weight,
    "rows_at_grad": lambda dy, indices, count: (indices == np.arange(count)[:, None]) @ dy,
    "sample_cross_entropy": cross_entropy,
    "sample_cross_entropy_grad": cross_entropy_grad,
    "sigmoid": special.expit,
    "sigmoid_grad": lambda dy, y: dy * y * (1 - y),
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    "silu": lambda x: x * special.expit(x),
    "silu_grad": silu_grad,
    "softmax": special.softmax,
    "sort": sort,
    "sort_with_order": lambda x, axis, descending: (sort(x, axis, descending), argsort(x, axis, descending)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "slogdet": lambda a: tuple(np.linalg.slogdet(a)),
    "solve_matrices": np.linalg.solve,
    "spread": lambda g, shape, axis: np.zeros(shape) + (g if g.ndim == len(shape) else unreduced(g, axis)),
    "softmax_grad": softmax_grad,
    "sum_windows": lambda x, **about: windows_of(x, **about, fill=0).sum(-1),
    "sum_windows_grad": sum_windows_grad,
    "tanh_grad": lambda dy, y: dy * (1 - y * y),
    "tile": lambda x, repetitions: np.tile(x, repetitions),
    "within": within,
    "xlogy": special.xlogy,
}


def oracle_of(operation: Operation) -> Callable[..., Any]:
    """The function above, or NumPy's of this name."""
    return OWN.get(operation.name) or getattr(np, operation.name)


def test_no_oracle_is_left_over() -> None:
    assert set(OWN) <= set(operations())


def contiguous(a: np.ndarray) -> np.ndarray:
    return a.copy(order="C")


def column_major(a: np.ndarray) -> np.ndarray:
    return a.copy(order="F")


def backwards(a: np.ndarray) -> np.ndarray:
    return a[..., ::-1].copy()[..., ::-1] if a.ndim else a


def with_gaps(a: np.ndarray) -> np.ndarray:
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def byte_swapped(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


@contextmanager
def using(target: str) -> Iterator[None]:
    before = kernels.active()
    kernels.use(target)
    try:
        yield
    finally:
        kernels.use(before)


layouts = st.sampled_from([contiguous, column_major, backwards, with_gaps, byte_swapped])


@every_operation
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_forward(operation: Operation, data: st.DataObject, dtype: Any) -> None:
    args, kwargs = data.draw(arguments(operation, dtype))
    args = [a if a is None else data.draw(layouts)(a) for a in args]
    expected = oracle_of(operation)(*map(in_float64, args), **deepcopy(kwargs))
    for target in kernels.targets():
        with using(target):
            found = operation(*args, **deepcopy(kwargs))
            if isinstance(operation, Operation) and operation.quick is not operation.forward:
                same(operation.forward(*args, **kwargs), operation.quick(*args, **kwargs))
        for y, oracle in zip(found, expected, strict=True) if isinstance(found, tuple | list) else [(found, expected)]:
            check(y.numpy(), np.asarray(oracle), kwargs.get("dtype", dtype), 16 * np.finfo(dtype).eps)


def same(found: Any, wanted: Any) -> None:
    """The same bits: a helper called directly is what the forward function calls."""
    for a, b in zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]:
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def in_float64(a: Any) -> Any:
    return a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a


def check(y: np.ndarray, oracle: np.ndarray, dtype: Any, slack: float) -> None:
    """The same shape, the dtype of the inputs or NumPy's if not floating, the same values but for rounding."""
    assert y.shape == oracle.shape
    assert y.dtype.newbyteorder("=") == (dtype if oracle.dtype.kind == "f" else oracle.dtype)
    if oracle.dtype.kind == "f":
        np.testing.assert_allclose(y, oracle, rtol=slack, atol=slack * (1 + np.abs(oracle).max(initial=0)))
    else:
        np.testing.assert_array_equal(y, oracle)
