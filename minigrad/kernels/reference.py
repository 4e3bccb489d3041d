"""Every kernel of ``kernels.def`` once more, in NumPy.

This is the specification for the reader, the oracle of the tests, the rule for
every dtype but float32, and what runs where there is no compiler.  The
arguments are those of the row: destinations, inputs, scalars.  A scalar is a
number, or a 0-d array (a cell) that is read now.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Scalar = float | Array


# Elementwise ------------------------------------------------------------------


def copy(out: Array, x: Array) -> None:
    if np.may_share_memory(out, x):  # copyto itself (NumPy 2.4) mixes up overlapping arrays of unlike strides
        x = x.copy()
    np.copyto(out, x, casting="unsafe")


def negative(out: Array, x: Array) -> None:
    np.copyto(out, np.negative(x.copy()))  # NumPy 2.4's own loop leaves out elements between some strided arrays


def absolute(out: Array, x: Array) -> None:
    np.absolute(x, out=out)


def sign(out: Array, x: Array) -> None:
    np.sign(x, out=out)


def square(out: Array, x: Array) -> None:
    np.square(x, out=out)


def sqrt(out: Array, x: Array) -> None:
    np.sqrt(x, out=out)


def reciprocal(out: Array, x: Array) -> None:
    np.reciprocal(x, out=out)


def relu(out: Array, x: Array) -> None:
    np.maximum(x, 0, out=out)


def clip(out: Array, x: Array, low: Scalar, high: Scalar) -> None:
    np.clip(x, low, high, out=out)


def within(out: Array, x: Array, low: Scalar, high: Scalar) -> None:
    """1 where low <= x <= high, else 0."""
    np.copyto(out, (x >= low) & (x <= high), casting="unsafe")


def exp(out: Array, x: Array) -> None:
    np.exp(x, out=out)


def log(out: Array, x: Array) -> None:
    np.log(x, out=out)


def tanh(out: Array, x: Array) -> None:
    np.tanh(x, out=out)


def sigmoid(out: Array, x: Array) -> None:
    small = np.exp(-np.abs(x))
    np.divide(np.where(x < 0, small, 1), 1 + small, out=out)


def expm1(out: Array, x: Array) -> None:
    np.expm1(x, out=out)


def log1p(out: Array, x: Array) -> None:
    np.log1p(x, out=out)


def sin(out: Array, x: Array) -> None:
    np.sin(x, out=out)


def cos(out: Array, x: Array) -> None:
    np.cos(x, out=out)


_erf = np.vectorize(math.erf, otypes=[float])  # NumPy has no error function
_erfc = np.vectorize(math.erfc, otypes=[float])


def _normal_cdf(x: Array) -> Array:
    """Phi(x), as half the complementary error function so that its small values are exact."""
    return np.asarray(0.5 * _erfc(x * -np.sqrt(0.5)))


def erf(out: Array, x: Array) -> None:
    out[...] = _erf(x)


def gelu(out: Array, x: Array) -> None:
    """x Phi(x), Phi the standard normal distribution; its limit at -inf is 0."""
    x = np.maximum(x, -40)
    np.multiply(x, _normal_cdf(x), out=out)


def add(out: Array, a: Array, b: Array) -> None:
    np.add(a, b, out=out)


def subtract(out: Array, a: Array, b: Array) -> None:
    np.subtract(a, b, out=out)


def multiply(out: Array, a: Array, b: Array) -> None:
    np.multiply(a, b, out=out)


def divide(out: Array, a: Array, b: Array) -> None:
    np.divide(a, b, out=out)


def power(out: Array, a: Array, b: Array) -> None:
    np.power(a, b, out=out)


def maximum(out: Array, a: Array, b: Array) -> None:
    np.maximum(a, b, out=out)


def minimum(out: Array, a: Array, b: Array) -> None:
    np.minimum(a, b, out=out)


def greater_share(out: Array, a: Array, b: Array) -> None:
    """1 where a > b, 0 where a < b, a half elsewhere: a's share in the gradient of maximum(a, b)."""
    np.copyto(out, np.where(a > b, 1, np.where(a < b, 0, 0.5)), casting="unsafe")


def relu_grad(out: Array, g: Array, y: Array) -> None:
    np.copyto(out, np.where(y <= 0, 0, g))


def tanh_grad(out: Array, g: Array, y: Array) -> None:
    np.multiply(g, 1 - y * y, out=out)


def sigmoid_grad(out: Array, g: Array, y: Array) -> None:
    np.multiply(g, y * (1 - y), out=out)


def gelu_grad(out: Array, g: Array, x: Array) -> None:
    """g (Phi(x) + x phi(x)), phi the standard normal density."""
    x = np.clip(x, -40, 40)
    np.multiply(g, _normal_cdf(x) + x * np.exp(-0.5 * x * x) / (2 * np.pi) ** 0.5, out=out)


def where(out: Array, condition: Array, a: Array, b: Array) -> None:
    np.copyto(out, np.where(condition, a, b))


# Reductions: out has length 1 along the reduced axes -----------------------------


def _reduced(out: Array, x: Array) -> tuple[int, ...]:
    """The axes reduced.  An axis of length 1 may count as either."""
    return tuple(axis for axis in range(x.ndim) if out.shape[axis] == 1)


def sum(out: Array, x: Array) -> None:
    np.sum(x, axis=_reduced(out, x), keepdims=True, out=out)


def mean(out: Array, x: Array) -> None:
    np.mean(x, axis=_reduced(out, x), keepdims=True, out=out)


def _forwards(x: Array) -> Array:
    """x, copied if it runs backwards: with ``out=`` NumPy 2.0 then finds wrong extrema."""
    return x.copy() if any(stride < 0 for stride in x.strides) else x


def max(out: Array, x: Array) -> None:
    np.max(_forwards(x), axis=_reduced(out, x), keepdims=True, out=out)


def min(out: Array, x: Array) -> None:
    np.min(_forwards(x), axis=_reduced(out, x), keepdims=True, out=out)


# Matrix products -----------------------------------------------------------------


def matmul(out: Array, a: Array, b: Array) -> None:
    np.matmul(a, b, out=out)


def linear(out: Array, x: Array, weight: Array, bias: Array, relu: Scalar) -> None:
    y = x @ weight.T + bias
    out[...] = np.maximum(y, 0) if relu else y


def matmul_relu_grad(out: Array, a: Array, b: Array, y: Array) -> None:
    relu_grad(out, np.matmul(a, b), y)


# Rows: x is (rows, columns) --------------------------------------------------------


def _shifted(x: Array) -> Array:
    shifted: Array = x - x.max(axis=1, keepdims=True)
    return shifted


def softmax(out: Array, x: Array) -> None:
    e = np.exp(_shifted(x))
    np.divide(e, e.sum(axis=1, keepdims=True), out=out)


def log_softmax(out: Array, x: Array) -> None:
    shifted = _shifted(x)
    np.subtract(shifted, np.log(np.exp(shifted).sum(axis=1, keepdims=True)), out=out)


def logsumexp(out: Array, x: Array) -> None:
    top = x.max(axis=1)
    finite = np.where(np.isfinite(top), top, 0)
    np.add(finite, np.log(np.exp(x - finite[:, None]).sum(axis=1)), out=out)


def softmax_grad(out: Array, g: Array, y: Array) -> None:
    np.multiply(y, g - (g * y).sum(axis=1, keepdims=True), out=out)


def log_softmax_grad(out: Array, g: Array, y: Array) -> None:
    np.subtract(g, np.exp(y) * g.sum(axis=1, keepdims=True), out=out)


def _check_labels(x: Array, labels: Array) -> None:
    if np.any((labels < 0) | (labels >= x.shape[1])):
        raise IndexError(bad_label(labels, x.shape[1]))


def bad_label(labels: Array, classes: int) -> str:
    """What to say of the first label outside ``[0, classes)``."""
    at = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
    return f"labels must lie in [0, {classes}) for {classes} classes, got {labels[at]} at position {at}"


def cross_entropy(out: Array, x: Array, labels: Array) -> None:
    _check_labels(x, labels)
    shifted = _shifted(x)
    chosen = shifted[np.arange(len(labels)), labels]
    np.subtract(np.log(np.exp(shifted).sum(axis=1)), chosen, out=out)


def cross_entropy_grad(out: Array, g: Array, x: Array, labels: Array) -> None:
    _check_labels(x, labels)
    dx = np.empty_like(x)
    softmax(dx, x)
    dx *= g[:, None]
    dx[np.arange(len(labels)), labels] -= g
    out[...] = dx


def _normalized(x: Array, eps: Scalar) -> tuple[Array, Array]:
    """Rows of mean 0 and variance 1, and what they were divided by."""
    deviation = x - x.mean(axis=1, keepdims=True)
    deviation -= deviation.mean(axis=1, keepdims=True)  # what the mean's rounding left out
    spread = np.sqrt((deviation * deviation).mean(axis=1, keepdims=True) + x.dtype.type(eps))
    return deviation / spread, spread


def layer_norm(out: Array, x: Array, weight: Array, bias: Array, eps: Scalar) -> None:
    np.add(_normalized(x, eps)[0] * weight, bias, out=out)


def layer_norm_grad(out: Array, g: Array, x: Array, weight: Array, eps: Scalar) -> None:
    z, spread = _normalized(x, eps)
    d = g * weight
    d = d - d.mean(axis=1, keepdims=True) - z * (d * z).mean(axis=1, keepdims=True)
    np.divide(d, spread, out=out)


# Random bits -----------------------------------------------------------------------


def philox(out: Array, counter: Array, key: Array, rounds: Scalar) -> None:
    """Philox4x32 (Salmon et al. 2011): counter (n, 4) and key (n, 2) give (n, 4), all uint32."""
    c0, c1, c2, c3 = counter.astype(np.uint64).T
    k0, k1 = key.astype(np.uint64).T
    low = np.uint64(0xFFFFFFFF)
    for _ in range(int(rounds)):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    out[...] = np.stack([c0, c1, c2, c3], axis=1)


def draw_words(key: Scalar, counter: Scalar, blocks: int) -> NDArray[np.uint32]:
    """The words of ``blocks`` Philox blocks from ``counter`` on, (blocks, 4) uint32."""
    position = np.uint64(int(counter)) + np.arange(blocks, dtype=np.uint64)
    counters = np.zeros((blocks, 4), np.uint32)
    counters[:, 0], counters[:, 1] = position & np.uint64(0xFFFFFFFF), position >> np.uint64(32)
    keys = np.broadcast_to(np.array([int(key) & 0xFFFFFFFF, int(key) >> 32], np.uint32), (blocks, 2))
    words = np.empty((blocks, 4), np.uint32)
    philox(words, counters, keys, 10)
    return words


def _dropout_scale(keep: Scalar, dtype: np.dtype[Any]) -> Any:
    return dtype.type(65536.0 / float(keep) if float(keep) > 0 else 0.0)


def dropout(out: Array, mask: Array, x: Array, keep: Scalar, key: Scalar, counter: Scalar) -> None:
    """Keep an element where its 16 bits are below ``keep``; the mask has a bit an element, lowest first."""
    blocks = (x.size + 7) // 8
    decisions = draw_words(key, counter, blocks).astype("<u4").view("<u2").reshape(-1)[: x.size]
    kept = decisions < int(keep)
    mask[...] = np.packbits(kept, bitorder="little")
    np.copyto(out, np.where(kept.reshape(x.shape), x * _dropout_scale(keep, x.dtype), 0))
    if isinstance(counter, np.ndarray):
        counter += np.uint64(blocks)


def dropout_grad(out: Array, g: Array, mask: Array, keep: Scalar) -> None:
    kept = np.unpackbits(mask, count=g.size, bitorder="little").astype(bool).reshape(g.shape)
    np.copyto(out, np.where(kept, g * _dropout_scale(keep, g.dtype), 0))


# Cells --------------------------------------------------------------------------------------------


def advance(out: Array, x: Array, by: Array) -> None:
    np.add(x, by, out=out)


def look_up(out: Array, table: Array, step: Array, first: Array) -> None:
    """``table[step - first]``, or the end of the table that is nearer."""
    out[...] = table[np.clip(int(step) - int(first), 0, len(table) - 1)]


def advance_if(out: Array, x: Array, norm: Array, finite: Scalar) -> None:
    """x + 1 where ``norm`` is finite as ``finite`` says, else x."""
    out[...] = x + (math.isfinite(norm) == bool(finite))


def average_rate(out: Array, count: Array, decay: Array, corrected: Scalar) -> None:
    """Minus the share that the newest of ``count`` weights takes in their average."""
    rate = float(decay) - 1
    if corrected:
        rate = rate / (1 - float(decay) ** float(count)) if rate else -1 / float(count)
    out[...] = rate


# Updates: from the states and the gradient d a formula gives the next states and the step ------------


def sgd(d: Array, lr: Scalar) -> Any:
    return d.dtype.type(lr) * d


def sgd_momentum(
    v: Array, d: Array, lr: Scalar, momentum: Scalar, dampening: Scalar, nesterov: Scalar, step: Scalar
) -> Any:
    rate, keep, take = _numbers(d, lr, momentum, 1 - float(dampening) if step else 1)
    v[...] = keep * v + take * d
    return rate * (d + keep * v if nesterov else v)


def adagrad(s: Array, d: Array, lr: Scalar, lr_decay: Scalar, eps: Scalar, dialect: Scalar, step: Scalar) -> Any:
    rate = d.dtype.type(float(lr) / (1 + float(step) * float(lr_decay)))
    s += d * d
    return rate * _divided(d, s, eps, dialect)


def _divided(d: Array, s: Array, eps: Scalar, dialect: Scalar) -> Any:
    """Dialect 0 is that of PyTorch, 1 that of optax, which has eps under the root."""
    behind, under = _numbers(d, *(0, eps) if dialect else (eps, 0))
    return d / (np.sqrt(s + under) + behind)


def rmsprop(s: Array, d: Array, lr: Scalar, alpha: Scalar, eps: Scalar, dialect: Scalar) -> Any:
    rate, keep, take = _numbers(d, lr, alpha, 1 - float(alpha))
    s[...] = keep * s + take * (d * d)
    return rate * _divided(d, s, eps, dialect)


def rmsprop_centered(s: Array, a: Array, d: Array, lr: Scalar, alpha: Scalar, eps: Scalar, dialect: Scalar) -> Any:
    rate, keep, take = _numbers(d, lr, alpha, 1 - float(alpha))
    s[...] = keep * s + take * (d * d)
    a[...] = keep * a + take * d
    return rate * _divided(d, np.maximum(s - a * a, 0), eps, dialect)


def rmsprop_momentum(
    s: Array, b: Array, d: Array, lr: Scalar, alpha: Scalar, eps: Scalar, momentum: Scalar, dialect: Scalar
) -> Any:
    inside, outside, keep = _numbers(d, *(lr, 1) if dialect else (1, lr), momentum)
    b[...] = keep * b + rmsprop(s, d, inside, alpha, eps, dialect)
    return outside * b


def rmsprop_centered_momentum(
    s: Array, a: Array, b: Array, d: Array, lr: Scalar, alpha: Scalar, eps: Scalar, momentum: Scalar, dialect: Scalar
) -> Any:
    inside, outside, keep = _numbers(d, *(lr, 1) if dialect else (1, lr), momentum)
    b[...] = keep * b + rmsprop_centered(s, a, d, inside, alpha, eps, dialect)
    return outside * b


def adam(m: Array, v: Array, d: Array, lr: Scalar, beta1: Scalar, beta2: Scalar, eps: Scalar, step: Scalar) -> Any:
    b1, b2, t = float(beta1), float(beta2), float(step) + 1
    root = math.sqrt(1 - b2**t)
    rate, small = _numbers(d, float(lr) * root / (1 - b1**t), float(eps) * root)
    _moments(m, v, d, b1, b2)
    return rate * (m / (np.sqrt(v) + small))


def _moments(m: Array, v: Array, d: Array, b1: float, b2: float) -> None:
    keep1, take1, keep2, take2 = _numbers(d, b1, 1 - b1, b2, 1 - b2)
    m[...] = keep1 * m + take1 * d
    v[...] = keep2 * v + take2 * (d * d)


def amsgrad(
    m: Array, v: Array, top: Array, d: Array,
    lr: Scalar, beta1: Scalar, beta2: Scalar, eps: Scalar, dialect: Scalar, step: Scalar,
) -> Any:  # fmt: skip
    b1, b2, t = float(beta1), float(beta2), float(step) + 1
    left = 1 - b2**t
    root = 1 if dialect else math.sqrt(left)
    rate, small, scale = _numbers(d, float(lr) * root / (1 - b1**t), float(eps) * root, 1 / left if dialect else 1)
    _moments(m, v, d, b1, b2)
    top[...] = np.where(top > scale * v, top, scale * v)
    return rate * (m / (np.sqrt(top) + small))


def _nadam_product(b1: float, log_a: float, t: float) -> float:
    """The product of b1 (1 - a^i / 2) over i = 1 ... t, by the series of the logarithm: see csrc/update.inc."""
    x, half = 0.0, 1.0
    for k in range(1, 57):
        half *= 0.5
        powers = math.expm1(k * t * log_a) / math.expm1(k * log_a) if log_a else t
        x -= math.exp(k * log_a) * powers * half / k
    return float(b1**t * math.exp(x))


def nadam(
    m: Array, v: Array, d: Array,
    lr: Scalar, beta1: Scalar, beta2: Scalar, eps: Scalar, momentum_decay: Scalar, dialect: Scalar, step: Scalar,
) -> Any:  # fmt: skip
    b1, b2, t = float(beta1), float(beta2), float(step) + 1
    log_a = -math.inf if dialect else float(momentum_decay) * math.log(0.96)
    rate = float(lr) * math.sqrt(1 - b2**t)
    mu, following = (b1 * (1 - 0.5 * math.exp(i * log_a)) for i in (t, t + 1))
    old, new, small = _numbers(
        d,
        rate * following / (1 - _nadam_product(b1, log_a, t + 1)),
        rate * (1 - mu) / (1 - _nadam_product(b1, log_a, t)),
        math.sqrt(1 - b2**t) * float(eps),
    )
    _moments(m, v, d, b1, b2)
    return (old * m + new * d) / (np.sqrt(v) + small)


def radam(
    m: Array, v: Array, d: Array, lr: Scalar, beta1: Scalar, beta2: Scalar, eps: Scalar, dialect: Scalar, step: Scalar
) -> Any:
    b1, b2, t = float(beta1), float(beta2), float(step) + 1
    left, rate = 1 - b2**t, float(lr) / (1 - b1**t)
    most = 2 / (1 - b2) - 1
    length = most - 2 * t * b2**t / left
    _moments(m, v, d, b1, b2)
    if length < 5 or (length == 5 and not dialect):
        return d.dtype.type(rate) * m
    root = math.sqrt(left)
    rect = math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
    scale, small = _numbers(d, rate * root * rect, root * float(eps) if dialect else eps)
    return scale * (m / (np.sqrt(v) + small))


def lion(m: Array, d: Array, lr: Scalar, beta1: Scalar, beta2: Scalar) -> Any:
    b1, b2 = float(beta1), float(beta2)
    rate, keep1, take1, keep2, take2 = _numbers(d, lr, b1, 1 - b1, b2, 1 - b2)
    u = keep1 * m + take1 * d
    m[...] = keep2 * m + take2 * d
    return rate * np.sign(u)


def _numbers(like: Array, *scalars: Scalar) -> list[Any]:
    return [like.dtype.type(scalar) for scalar in scalars]


def update(
    formula: Callable[..., Any],
    arrays: Sequence[Array],
    scalars: Sequence[Scalar],
    weight_decay: Scalar,
    decoupled_weight_decay: Scalar,
    l1: Scalar,
    proximal: Scalar,
    max_norm: Scalar,
    norm: Scalar,
) -> None:
    """One step of one tensor: the decays, the same for every ``formula``, around it; what is 0 is left out."""
    if not math.isfinite(norm):
        return
    w, *states, d = arrays
    lr = float(scalars[0])
    decay, slope, left, soft = _numbers(w, weight_decay, l1, 1 - lr * float(decoupled_weight_decay), lr * float(l1))
    if decay:
        d = d + decay * w
    if slope and not proximal:
        d = d + slope * np.sign(w)
    w[...] = left * w - formula(*states, d, *scalars)
    if soft and proximal:
        w[...] = np.copysign(np.maximum(np.abs(w) - soft, 0), w)
    if w.ndim > 1 and w.size and math.isfinite(max_norm):
        _project(w, float(max_norm))


def _project(w: Array, max_norm: float) -> None:
    """Each unit ``w[u]`` no longer than ``max_norm``; eight partial sums take turns along it, in memory order."""
    axes = sorted(range(1, w.ndim), key=lambda axis: -w.strides[axis])
    flat = np.square(w.transpose(0, *axes), dtype=np.float64).reshape(len(w), -1)
    turns = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 8))).reshape(len(w), -1, 8)
    sums = np.add.accumulate(turns, axis=1)[:, -1]  # one after the other
    for width in (4, 2, 1):
        sums = sums[:, :width] + sums[:, width : 2 * width]
    norms = np.sqrt(sums[:, 0])
    factors = np.where((norms > max_norm) & np.isfinite(norms), max_norm / norms, 1).astype(w.dtype)
    w *= factors.reshape(-1, *[1] * (w.ndim - 1))


# All tensors of a group -----------------------------------------------------------------------------


def global_norm(out: Array, g: Sequence[Array], start: Scalar) -> None:
    """The root of ``start`` squared and of all squares, in double."""
    squares = [np.square(a, dtype=np.float64).sum() for a in g]
    out[...] = np.sqrt(np.square(np.float64(start)) + np.sum(squares))


def clip_to_norm(g: Sequence[Array], norm: Scalar, max_norm: Scalar) -> None:
    factor = float(max_norm) / (float(norm) + 1e-6)
    if not factor >= 1:
        for a in g:
            a *= a.dtype.type(factor)


# Images: (N, C, rows, columns), and parameters of each image ------------------------------------------------

CONSTANT, EDGE, REFLECT, SYMMETRIC, WRAP = range(5)  # borders, as NumPy's pad has them


def _inside(i: Array, n: int, border: int) -> Array:
    """The places in [0, n) that stand for ``i``, or -1 for the fill."""
    if border == CONSTANT:
        return np.where((i < 0) | (i >= n), -1, i)
    if border == EDGE:
        return np.clip(i, 0, n - 1)
    period = n if border == WRAP else 2 * n if border == SYMMETRIC else np.maximum(2 * n - 2, 1)
    i = i % period
    folded: Array = np.where(i < n, i, period - i - (border == SYMMETRIC))
    return folded


def _pixels(x: Array, rows: Array, columns: Array, border: int, fill: Scalar) -> Array:
    """One plane's pixels at whole places; the fill outside."""
    i, j = _inside(rows, x.shape[0], border), _inside(columns, x.shape[1], border)
    found: Array = np.where((i < 0) | (j < 0), np.asarray(fill, x.dtype), x[i, j])
    return found


def _working(x: Array) -> Any:
    """The floating type in which images of this dtype are worked out."""
    return np.float32 if x.dtype.itemsize == 1 or x.dtype == np.float32 else np.float64


def _as_pixels(value: Array, dtype: np.dtype[Any]) -> Array:
    """Integers are rounded, halves to even, and clipped to their range."""
    if dtype.kind == "f":
        return value.astype(dtype)
    limits = np.iinfo(dtype)
    pixels: Array = np.clip(np.rint(np.nan_to_num(value, nan=0)), limits.min, limits.max).astype(dtype)
    return pixels


def crop(out: Array, x: Array, window: Array, border: Scalar, fill: Scalar) -> None:
    """Windows (top, left, upside down, mirrored) as large as the output."""
    rows, columns = np.arange(out.shape[2]), np.arange(out.shape[3])
    for image, planes, (top, left, upside_down, mirrored) in zip(out, x, window, strict=True):
        i, j = top + (rows[::-1] if upside_down else rows), left + (columns[::-1] if mirrored else columns)
        for plane, source in zip(image, planes, strict=True):
            plane[...] = _pixels(source, i[:, None], j, int(border), fill)


def _places(shape: tuple[int, int], field: Array | None, map: Array, f: Any) -> tuple[Array, Array]:
    """Where in an image each pixel of a (rows, columns) result comes from: lens(projective(pixel + field))."""
    y, x = np.indices(shape).astype(f)
    m = map.reshape(-1).astype(f)
    if field is not None:
        x, y = x + field[0].astype(f), y + field[1].astype(f)
    u, v = m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]
    if map[0, 6] != 0 or map[0, 7] != 0 or map[0, 8] != 1:
        depth = m[6] * x + m[7] * y + m[8]
        u, v = u / depth, v / depth
    k1, k2, p1, p2, k3, focal_x, focal_y, centre_x, centre_y = m[9:]
    if map[1, :5].any():
        u, v = (u - centre_x) / focal_x, (v - centre_y) / focal_y
        r, twice = u * u + v * v, 2 * u * v
        radial = 1 + r * (k1 + r * (k2 + r * k3))
        u, v = (
            (u * radial + (p1 * twice + p2 * (r + 2 * u * u))) * focal_x + centre_x,
            (v * radial + (p1 * (r + 2 * v * v) + p2 * twice)) * focal_y + centre_y,
        )
    return u, v


def displacement(out: Array, field: Array, map: Array) -> None:
    """The field that alone leads to where field and map lead."""
    rows, columns = out.shape[2:]
    for displaced, given, m in zip(out, field, map, strict=True):
        x, y = _places((rows, columns), given, m, out.dtype.type)
        displaced[0] = x - np.arange(columns, dtype=out.dtype)
        displaced[1] = y - np.arange(rows, dtype=out.dtype)[:, None]


def _settled(x: Array, n: int, border: int) -> Array:
    """Places brought to where pixels are, or to the border beside them."""
    f = x.dtype.type
    if border == REFLECT and n == 1:
        border = EDGE
    if border > EDGE:
        period = f(n if border == WRAP else 2 * n - 2 if border == REFLECT else 2 * n)
        shift = f(0.5 if border == SYMMETRIC else 0)
        t = x + shift
        whole = t - period * np.floor(t / period)
        x = (whole if border == WRAP else np.minimum(whole, period - whole)) - shift
    clamped: Array = np.minimum(np.where(x > -2, x, f(-2)), f(n + 1))
    return clamped


def _cubic(f: Array) -> list[Array]:
    """Keys's weights, a = -0.75, of the neighbours at -1, 0, 1 and 2 of a place with fraction ``f``."""

    def near(t: Any) -> Any:
        return (t.dtype.type(1.25) * t - t.dtype.type(2.25)) * t * t + 1

    def far(t: Any) -> Any:
        return ((t.dtype.type(-0.75) * t + t.dtype.type(3.75)) * t - 6) * t + 3

    return [far(1 + f), near(f), near(1 - f), far(2 - f)]


def warp(out: Array, x: Array, map: Array, field: Array, order: Scalar, border: Scalar, fill: Scalar) -> None:
    """At p x at lens(projective(p + field(p))), of the nearest pixel (order 0), bilinear (1) or bicubic (2)."""
    f, mode, identity = _working(x), int(border), np.eye(3).reshape(-1)
    for n, (image, planes, m) in enumerate(zip(out, x, map, strict=True)):
        given = field[n] if field.size else None
        if given is None and image.shape == planes.shape and (m[0] == identity).all() and not m[1, :5].any():
            image[...] = planes
            continue
        u, v = _places((out.shape[2], out.shape[3]), given, m, f)
        u, v = _settled(u, x.shape[3], mode), _settled(v, x.shape[2], mode)
        if order == 0:
            u, v = u + f(0.5), v + f(0.5)
        j, i = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
        a, b = u - j.astype(f), v - i.astype(f)
        for plane, source in zip(image, planes, strict=True):

            def at(down: int, along: int, source: Array = source, i: Array = i, j: Array = j) -> Array:
                return _pixels(source.astype(f), i + down, j + along, mode, fill)

            if order == 0:
                value = at(0, 0)
            elif order == 1:
                left, right = (at(0, k) + (at(1, k) - at(0, k)) * b for k in (0, 1))
                value = left + (right - left) * a
            else:
                down = _cubic(b)
                value = np.zeros_like(a)
                for k, weight in enumerate(_cubic(a)):
                    p = [at(i_, k - 1) for i_ in (-1, 0, 1, 2)]
                    column = down[0] * p[0] + down[1] * p[1] + down[2] * p[2] + down[3] * p[3]
                    value = value + weight * column
            plane[...] = _as_pixels(value, out.dtype)


def recolor(out: Array, x: Array, matrix: Array, low: Scalar, high: Scalar) -> None:
    """Each channel a sum of the channels with the weights in a row of ``matrix``, and its last number."""
    f, identity = _working(x), np.eye(matrix.shape[1], matrix.shape[2])
    for image, source, given in zip(out, x, matrix, strict=True):
        if source.shape == image.shape and (given == identity).all():
            image[...] = source
            continue
        planes, m = source.astype(f), given.astype(f)
        for plane, (*weights, constant) in zip(image, m, strict=True):
            value = weights[0] * planes[0]
            for weight, channel in zip(weights[1:], planes[1:], strict=True):
                value = value + weight * channel
            plane[...] = _as_pixels(np.clip(value + constant, f(low), f(high)), out.dtype)


def hue(out: Array, x: Array, turns: Array) -> None:
    """The hue moves on by so many turns; value and chroma stay."""
    f = _working(x)
    for image, source, by in zip(out, x, turns, strict=True):
        red, green, blue = source.astype(f)
        more, less = np.where(green > blue, green, blue), np.where(green < blue, green, blue)
        top, bottom = np.where(red > more, red, more), np.where(red < less, red, less)
        chroma = top - bottom
        divisor = np.where(chroma > 0, chroma, f(1))
        h = np.where(top == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
        h = np.where(top == red, (green - blue) / divisor, h) + f(6 * by)
        for channel, n in zip(image, (5, 3, 1), strict=True):
            t = h + f(n)
            t = t - 6 * np.floor(t / 6)
            t = np.clip(np.where(t < 4 - t, t, 4 - t), f(0), f(1))
            channel[...] = _as_pixels(top - chroma * t, out.dtype)
        if by == 0:
            image[...] = source


def recode(out: Array, x: Array, table: Array) -> None:
    for image, planes, tables in zip(out, x, table, strict=True):
        for plane, source, entries in zip(image, planes, tables, strict=True):
            plane[...] = entries[source]


GAUSSIAN, SPECKLE, SALT_AND_PEPPER, UNIFORM = range(4)  # kinds of noise


def _drawn(key: Array, plane: int, size: int, f: Any) -> tuple[Array, Array]:
    """Uniform numbers in [0, 1) and normal numbers, one for each element of a plane, of the same words."""
    blocks = np.zeros((-(-size // 128) * 32, 4), np.uint32)
    blocks[:, 0], blocks[:, 2] = np.arange(len(blocks)), plane
    drawn = np.empty_like(blocks)
    philox(drawn, blocks, np.broadcast_to(key.astype(np.uint32), (len(blocks), 2)), 10)
    words: Array = drawn.reshape(-1, 32, 4).transpose(0, 2, 1)  # (chunk, word, block)
    uniform = (words >> 8).astype(f) * f(2**-24)
    u = ((words[:, ::2] >> 8).astype(f) + f(0.5)) * f(2**-24)
    r = np.sqrt(-2 * _logarithm(u))
    angle = words[:, 1::2]
    t = ((angle >> 6 & 0xFFFFFF).astype(f) * f(2**-24) - f(0.5)) * f(1.57079633)
    q = t * t
    s = t + t * q * ((f(-0.00019587950) * q + f(0.0083327489)) * q - f(0.16666664))
    c = 1 - q * f(0.5) + q * q * ((f(0.000024547997) * q - f(0.0013888304)) * q + f(0.041666664))
    quarter = angle >> 30
    a, b = np.where(quarter & 1, -s, c), np.where(quarter & 1, c, s)
    a, b = r * np.where(quarter & 2, -a, a), r * np.where(quarter & 2, -b, b)
    normal = np.stack([a[:, 0], b[:, 0], a[:, 1], b[:, 1]], 1)
    return uniform.reshape(-1)[:size], normal.reshape(-1)[:size]


def _logarithm(u: Array) -> Array:
    """Of float32 step by step as the C kernel has it; NumPy's own of float64."""
    if u.dtype != np.float32:
        return np.log(u)
    f = np.float32
    bits = u.view(np.int32)
    exponent = (bits - 0x3F3504F3) >> 23
    t = (bits - (exponent << 23)).view(f) - f(1)
    p = f(0.09272214) * t - f(0.14118426)
    for a in (0.14676397, -0.16592856, 0.19985127, -0.25000921, 0.33333409):
        p = p * t + f(a)
    logarithm: Array = exponent.astype(f) * f(0.69314718) + (t - t * t * f(0.5) + t * t * t * p)
    return logarithm


def noise(out: Array, x: Array, key: Array, amount: Array, kind: Scalar, low: Scalar, high: Scalar) -> None:
    """Random numbers of each image's key, scaled by its amount: see the kinds in csrc/image_noise.inc."""
    f = _working(x)
    for image, planes, k, by in zip(out, x, key, amount.astype(f), strict=True):
        if by == 0:
            image[...] = planes
            continue
        for c, (plane, source) in enumerate(zip(image, planes, strict=True)):
            drawn = _drawn(k, 0 if kind == SALT_AND_PEPPER else c, source.size, f)
            uniform, normal = (d.reshape(source.shape) for d in drawn)
            v = source.astype(f)
            if kind == GAUSSIAN:
                v = v + by * normal
            elif kind == SPECKLE:
                v = v + v * (by * normal)
            elif kind == UNIFORM:
                v = v + by * (2 * uniform - 1)
            else:
                v = np.where(uniform < by * f(0.5), f(low), np.where(uniform < by, f(high), v))
            plane[...] = _as_pixels(np.clip(v, f(low), f(high)), out.dtype)


def filter(out: Array, x: Array, first: Array, second: Array, border: Scalar, fill: Scalar) -> None:
    """Correlation with the taps (a, b) of each image, and then with its taps (d, e); a tap of 0 counts for nothing."""
    f = _working(x)
    for image, planes, one, two in zip(out, x, first, second, strict=True):
        for plane, source in zip(image, planes, strict=True):
            value = source.astype(f)
            for taps in (one.astype(f), two.astype(f)):
                total = np.zeros_like(value)
                rows, columns = (np.arange(n) for n in value.shape)
                for (r, s), tap in np.ndenumerate(taps):
                    if tap != 0:
                        i, j = rows[:, None] + r - taps.shape[0] // 2, columns + s - taps.shape[1] // 2
                        total = total + tap * _pixels(value, i, j, int(border), fill)
                value = total
            plane[...] = _as_pixels(value, out.dtype)


# JPEG: the steps of csrc/image_jpeg.inc

_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMA = np.full((8, 8), 99)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def _descale(x: Array, bits: int) -> Array:
    return (x + (1 << bits - 1)) >> bits


def _odd_part(t: Sequence[Array]) -> list[Array]:
    """The rotations that the odd terms of both transforms share."""
    t0, t1, t2, t3 = t
    z5 = (t0 + t2 + t1 + t3) * 9633
    z1, z2, z3, z4 = (t0 + t3) * -7373, (t1 + t2) * -20995, (t0 + t2) * -16069 + z5, (t1 + t3) * -3196 + z5
    return [t0 * 2446 + z1 + z3, t1 * 16819 + z2 + z4, t2 * 25172 + z2 + z3, t3 * 12299 + z1 + z4]


def _forward(d: Array, last: bool) -> Array:
    """Along the last axis."""
    x = np.moveaxis(d, -1, 0)
    bits = 15 if last else 11
    s, t = [x[i] + x[7 - i] for i in range(4)], [x[i] - x[7 - i] for i in range(4)]
    a, b, e, f = s[0] + s[3], s[1] + s[2], s[1] - s[2], s[0] - s[3]
    z = (e + f) * 4433
    odd = [_descale(o, bits) for o in _odd_part([t[3], t[2], t[1], t[0]])]
    first, fifth = (_descale(v, 2) if last else v << 2 for v in (a + b, a - b))
    third, seventh = _descale(z + f * 6270, bits), _descale(z - e * 15137, bits)
    return np.stack([first, odd[3], third, odd[2], fifth, odd[1], seventh, odd[0]], -1)


def _inverse(d: Array, bits: int) -> Array:
    x = np.moveaxis(d, -1, 0)
    z = (x[2] + x[6]) * 4433
    e2, e3, e0, e1 = z - x[6] * 15137, z + x[2] * 6270, (x[0] + x[4]) << 13, (x[0] - x[4]) << 13
    even = [e0 + e3, e1 + e2, e1 - e2, e0 - e3]
    odd = _odd_part([x[7], x[5], x[3], x[1]])[::-1]
    values = [a + b for a, b in zip(even, odd, strict=True)] + [a - b for a, b in zip(even, odd, strict=True)][::-1]
    return np.stack([_descale(v, bits) for v in values], -1)


def _jpeg_plane(plane: Array, step: Array) -> Array:
    """A plane (rows, columns) as it is after quantisation; its last row and column go on to whole blocks."""
    rows, columns = plane.shape
    whole = np.pad(plane, ((0, -rows % 8), (0, -columns % 8)), "edge")
    d = whole.reshape(whole.shape[0] // 8, 8, -1, 8).swapaxes(1, 2) - 128
    d = _forward(_forward(d, last=False).swapaxes(-1, -2), last=True).swapaxes(-1, -2)
    d = np.sign(d) * ((np.abs(d) + step * 4) // (step * 8)) * step
    d = _inverse(_inverse(d.swapaxes(-1, -2), 11).swapaxes(-1, -2), 18)
    clipped: Array = np.clip(d.swapaxes(1, 2).reshape(whole.shape) + 128, 0, 255)[:rows, :columns]
    return clipped


def _doubled(half: Array) -> Array:
    """Triangle filter: three quarters of the nearer and a quarter of the farther, both ways."""
    if half.shape[1] <= 2:
        return half.repeat(2, 0).repeat(2, 1)
    framed = np.pad(half, 1, "edge")
    tall = np.stack([3 * half + framed[:-2, 1:-1], 3 * half + framed[2:, 1:-1]], 1).reshape(-1, half.shape[1])
    wide = np.pad(tall, ((0, 0), (1, 1)), "edge")
    doubled = np.stack([(3 * tall + wide[:, :-2] + 8) >> 4, (3 * tall + wide[:, 2:] + 7) >> 4], 2)
    return doubled.reshape(len(tall), -1)


def jpeg(out: Array, x: Array, quality: Array) -> None:
    """A round trip through JPEG at quality 1 to 100, chroma halved, as libjpeg makes it; 1 or 3 channels of bytes."""
    for image, source, q in zip(out, x.astype(np.int64), np.clip(quality, 1, 100).tolist(), strict=True):
        scale = 5000 // q if q < 50 else 200 - 2 * q
        luma, chroma = (np.clip((table * scale + 50) // 100, 1, 255) for table in (_LUMA, _CHROMA))
        if len(source) == 1:
            image[0] = _jpeg_plane(source[0], luma)
            continue
        r, g, b = source
        rows, columns = r.shape
        y = _jpeg_plane((19595 * r + 38470 * g + 7471 * b + 32768) >> 16, luma)
        middle, parts = (128 << 16) + 32767, []
        for colour in (-11059 * r - 21709 * g + 32768 * b, 32768 * r - 27439 * g - 5329 * b):
            whole = np.pad((colour + middle) >> 16, ((0, rows % 2), (0, -columns % 16)), "edge")
            four = whole[::2, ::2] + whole[::2, 1::2] + whole[1::2, ::2] + whole[1::2, 1::2]
            half = (four + 1 + np.arange(four.shape[1]) % 2) >> 2
            half = _jpeg_plane(half, chroma)[:, : (columns + 1) // 2]
            parts.append(_doubled(half)[:rows, :columns] - 128)
        u, v = parts
        image[0] = np.clip(y + ((91881 * v + 32768) >> 16), 0, 255)
        image[1] = np.clip(y + ((-22554 * u - 46802 * v + 32768) >> 16), 0, 255)
        image[2] = np.clip(y + ((116130 * u + 32768) >> 16), 0, 255)


def run(name: str, family: str, group: int, arrays: Sequence[Array], scalars: Sequence[Scalar]) -> None:
    """Run kernel ``name`` of a row with ``group`` arrays."""
    function: Callable[..., Any] = globals()[name]
    with np.errstate(all="ignore"):
        if family == "UPDATE":
            for i in range(0, len(arrays), group):
                update(function, arrays[i : i + group], scalars[:-6], *scalars[-6:])
        elif family == "TENSORS":
            function(*arrays[: group - 1], arrays[group - 1 :], *scalars)
        else:
            function(*arrays, *scalars)
