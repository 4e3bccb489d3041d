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
