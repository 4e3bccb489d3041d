"""What every kernel must give, and how near: formulas independent of minigrad.

An oracle takes the arguments of its kernel (destinations, inputs, scalars) and
returns what the destinations must hold.  Rows of tolerance EXACT are worked out
step by step in the dtype of the arrays, all others in float64.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from minigrad.kernels import KERNELS, active

from . import images

Array = NDArray[Any]


# Philox4x32 and dropout, in Python's own integers -------------------------------------------


def philox_block(counter: Sequence[int], key: Sequence[int], rounds: int) -> list[int]:
    """Salmon et al. 2011, section 3.3, with the words in the order of Random123."""
    (c0, c1, c2, c3), (k0, k1) = map(int, counter), map(int, key)
    for _ in range(rounds):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def philox(out: Array, counter: Array, key: Array, rounds: float) -> Array:
    blocks = [philox_block(c, k, int(rounds)) for c, k in zip(counter, key, strict=True)]
    return np.array(blocks, np.uint32).reshape(out.shape)


def kept(size: int, keep: float, key: int, counter: int) -> NDArray[np.bool_]:
    """Element i takes half i % 2 of word i / 2 % 4 of the block at counter + i / 8."""
    decisions: list[int] = []
    for block in range(-(-size // 8)):
        at = (counter + block) % 2**64
        words = philox_block([at % 2**32, at >> 32, 0, 0], [key % 2**32, key >> 32], 10)
        decisions += [word >> shift & 0xFFFF for word in words for shift in (0, 16)]
    return np.array(decisions[:size], np.int64) < keep


def masked(x: Array, chosen: Array, keep: float) -> Array:
    return np.where(chosen.reshape(x.shape), x * x.dtype.type(65536 / keep if keep else 0), 0)


def dropout(out: Array, mask: Array, x: Array, keep: Any, key: Any, counter: Any) -> tuple[Array, Array]:
    chosen = kept(x.size, float(keep), int(key), int(counter))
    return masked(x, chosen, float(keep)), np.packbits(chosen, bitorder="little")


def dropout_grad(out: Array, g: Array, mask: Array, keep: Any) -> Array:
    chosen = [mask[i // 8] >> i % 8 & 1 for i in range(g.size)]
    return masked(g, np.array(chosen, bool), float(keep))


# Reductions, products, rows -------------------------------------------------------------------


def reduction(function: Callable[..., Any]) -> Callable[..., Array]:
    def reduced(out: Array, x: Array) -> Array:
        axes = tuple(i for i, n in enumerate(out.shape) if n == 1)
        return np.asarray(function(x, axis=axes, keepdims=True))

    return reduced


def linear(out: Array, x: Array, weight: Array, bias: Array, relu: Any) -> Array:
    y = np.einsum("ik,jk->ij", x, weight) + bias
    return np.maximum(y, 0) if relu else y


def matmul_relu_grad(out: Array, a: Array, b: Array, y: Array) -> Array:
    return np.where(y <= 0, 0, np.einsum("...ik,...kj->...ij", a, b))


def softmax_grad(out: Array, g: Array, y: Array) -> Array:
    jacobian = np.einsum("ri,ij->rij", y, np.eye(y.shape[1])) - np.einsum("ri,rj->rij", y, y)
    return np.einsum("ri,rij->rj", g, jacobian)


def log_softmax_grad(out: Array, g: Array, y: Array) -> Array:
    jacobian = np.eye(y.shape[1]) - np.exp(y)[:, None, :]
    return np.einsum("ri,rij->rj", g, jacobian)


def cross_entropy(out: Array, x: Array, labels: Array) -> Array:
    return special.logsumexp(x, axis=1) - np.take_along_axis(x, labels[:, None], 1)[:, 0]


def cross_entropy_grad(out: Array, g: Array, x: Array, labels: Array) -> Array:
    return g[:, None] * (special.softmax(x, axis=1) - (labels[:, None] == np.arange(x.shape[1])))


# Updates, step by step in the dtype of the arrays --------------------------------------------


def update(name: str, formula: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    """A row of the optimizer whose ``formula`` gives the step and the next states, with what is the same around it."""

    def stepped(*arguments: Any) -> tuple[Array, ...]:
        arrays, scalars = arguments[: len(KERNELS[name].arrays)], [*map(float, arguments[len(KERNELS[name].arrays) :])]
        (w, *states, d), lr = arrays, scalars[0]
        f, (coupled, decoupled, l1, proximal, max_norm, norm) = w.dtype.type, scalars[-6:]
        if not np.isfinite(norm):
            return (w, *states)
        d = d + f(coupled) * w if coupled else d
        d = d + f(l1) * np.sign(w) if l1 and not proximal else d
        y, *states = formula(f, d, *states, *scalars[:-6])
        w = f(1 - lr * decoupled) * w - y
        if l1 and proximal:
            w = np.copysign(np.where(abs(w) <= f(lr * l1), 0 * w, abs(w) - f(lr * l1)), w)
        if w.ndim > 1 and np.isfinite(max_norm):
            lengths = [math.sqrt(math.fsum(float(x) ** 2 for x in unit.flat)) for unit in w]
            factors = [f(max_norm / n if max_norm < n < np.inf else 1) for n in lengths]
            w = np.array([unit * factor for unit, factor in zip(w, factors, strict=True)], w.dtype).reshape(w.shape)
        return (w, *states)

    return stepped


def sgd_momentum(f: Any, d: Array, v: Array, lr: float, momentum: float, dampening: float, nesterov: float,
                 step: float) -> tuple[Array, ...]:  # fmt: skip
    v = f(momentum) * v + f(1 - dampening if step else 1) * d
    return f(lr) * (d + f(momentum) * v if nesterov else v), v


def adagrad(f: Any, d: Array, s: Array, lr: float, lr_decay: float, eps: float, optax: float,
            step: float) -> tuple[Array, ...]:  # fmt: skip
    s = s + d * d
    root = np.sqrt(s + f(eps)) if optax else np.sqrt(s) + f(eps)
    return f(lr / (1 + step * lr_decay)) * (d / root), s


def rmsprop(centered: bool, momentum: bool) -> Callable[..., tuple[Array, ...]]:
    def formula(f: Any, d: Array, *arguments: Any) -> tuple[Array, ...]:
        states, scalars = arguments[: 1 + centered + momentum], arguments[1 + centered + momentum :]
        lr, alpha, eps, optax = scalars[0], scalars[1], f(scalars[2]), scalars[-1]
        found = [f(alpha) * states[0] + f(1 - alpha) * (d * d)]
        variance = found[0]
        if centered:
            found.append(f(alpha) * states[1] + f(1 - alpha) * d)
            variance = np.where(found[0] - found[1] ** 2 < 0, 0, found[0] - found[1] ** 2)
        y = d / (np.sqrt(variance + eps) if optax else np.sqrt(variance) + eps)
        if not momentum:
            return (f(lr) * y, *found)
        found.append(f(scalars[3]) * states[-1] + (f(lr) * y if optax else y))
        return (found[-1] if optax else f(lr) * found[-1], *found)

    return formula


def adam(f: Any, d: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float,
         step: float) -> tuple[Array, ...]:  # fmt: skip
    m, v = f(b1) * m + f(1 - b1) * d, f(b2) * v + f(1 - b2) * (d * d)
    root = np.sqrt(1 - b2 ** (step + 1))
    return f(lr * root / (1 - b1 ** (step + 1))) * (m / (np.sqrt(v) + f(eps * root))), m, v


def amsgrad(f: Any, d: Array, m: Array, v: Array, top: Array, lr: float, b1: float, b2: float, eps: float,
            optax: float, step: float) -> tuple[Array, ...]:  # fmt: skip
    m, v = f(b1) * m + f(1 - b1) * d, f(b2) * v + f(1 - b2) * (d * d)
    left = 1 - b2 ** (step + 1)
    if optax:
        top = np.where(f(1 / left) * v < top, top, f(1 / left) * v)
        return f(lr / (1 - b1 ** (step + 1))) * (m / (np.sqrt(top) + f(eps))), m, v, top
    top = np.where(v < top, top, v)
    rate, small = lr * np.sqrt(left) / (1 - b1 ** (step + 1)), np.sqrt(left) * eps
    return f(rate) * (m / (np.sqrt(top) + f(small))), m, v, top


def nadam(f: Any, d: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float, psi: float,
          optax: float, step: float) -> tuple[Array, ...]:  # fmt: skip
    m, v = f(b1) * m + f(1 - b1) * d, f(b2) * v + f(1 - b2) * (d * d)
    t = step + 1
    i = np.arange(1, t + 2)
    mu = b1 * (1 - 0.5 * (0.0 * i if optax else 0.96 ** (i * psi)))
    products = np.multiply.accumulate(mu)
    rate = lr * np.sqrt(1 - b2**t)
    old, new = rate * mu[-1] / (1 - products[-1]), rate * (1 - mu[-2]) / (1 - products[-2])
    return (f(old) * m + f(new) * d) / (np.sqrt(v) + f(np.sqrt(1 - b2**t) * eps)), m, v


def radam(f: Any, d: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float, optax: float,
          step: float) -> tuple[Array, ...]:  # fmt: skip
    m, v = f(b1) * m + f(1 - b1) * d, f(b2) * v + f(1 - b2) * (d * d)
    t, most = step + 1, 2 / (1 - b2) - 1
    length = most - 2 * t * b2**t / (1 - b2**t)
    rate, root = lr / (1 - b1**t), np.sqrt(1 - b2**t)
    if length <= 5:
        return f(rate) * m, m, v
    rect = np.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
    return f(rate * root * rect) * (m / (np.sqrt(v) + f(root * eps if optax else eps))), m, v


def lion(f: Any, d: Array, m: Array, lr: float, b1: float, b2: float) -> tuple[Array, ...]:
    return f(lr) * np.sign(f(b1) * m + f(1 - b1) * d), f(b2) * m + f(1 - b2) * d


# All tensors of a group ------------------------------------------------------------------------


def global_norm(out: Array, *arguments: Any) -> Array:
    *tensors, start = arguments
    return np.array(np.hypot(float(start), np.linalg.norm(np.concatenate([g.ravel() for g in tensors]))))


def clip_to_norm(*arguments: Any) -> tuple[Array, ...]:
    *tensors, norm, max_norm = arguments
    factor = np.minimum(1, max_norm / (float(norm) + 1e-6))  # of NaN is NaN
    return tuple(g * g.dtype.type(factor) for g in tensors)


def average_rate(count: int, decay: float, corrected: float) -> float:
    """Minus the weight of the newest in a mean whose weights fall by ``decay``."""
    powers = [decay**i for i in range(count)]
    return -powers[0] / math.fsum(powers) if corrected else decay - 1


def gelu_slope(x: Array) -> Array:
    x = np.clip(x, -40, 40)
    return special.ndtr(x) + x * stats.norm.pdf(x)


def layer_norm(out: Array, x: Array, weight: Array, bias: Array, eps: float) -> Array:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps) * weight + bias


def layer_norm_grad(out: Array, g: Array, x: Array, weight: Array, eps: float) -> Array:
    """The derivative of (x - mean) / spread, the quotient rule written out."""
    d, centred = g * weight, x - x.mean(1, keepdims=True)
    spread = np.sqrt(x.var(1, keepdims=True) + eps)
    of_spread = -(d * centred).sum(1, keepdims=True) / spread**2 * centred / (x.shape[1] * spread)
    return (d - d.mean(1, keepdims=True)) / spread + of_spread


def either_nan(a: Array, b: Array) -> NDArray[np.bool_]:
    return np.isnan(a) | np.isnan(b)


ORACLE: dict[str, Callable[..., Any]] = {
    "copy": lambda out, x: x,
    "negative": lambda out, x: x * -1,
    "absolute": lambda out, x: np.where(np.signbit(x), -x, x),
    "sign": lambda out, x: np.where(np.isnan(x), x, (x > 0) * 1.0 - (x < 0)),
    "square": lambda out, x: x * x,
    "sqrt": lambda out, x: np.sqrt(x),
    "reciprocal": lambda out, x: 1 / x,
    "relu": lambda out, x: np.where(x <= 0, 0, x),
    "clip": lambda out, x, low, high: np.where(x < low, low, np.where(x > high, high, x)),
    "within": lambda out, x, low, high: 1.0 - ((x < low) | (x > high) | np.isnan(x)),
    "exp": lambda out, x: np.exp(x),
    "log": lambda out, x: np.log(x),
    "tanh": lambda out, x: np.tanh(x),
    "sigmoid": lambda out, x: special.expit(x),
    "expm1": lambda out, x: np.expm1(x),
    "log1p": lambda out, x: np.log1p(x),
    "sin": lambda out, x: np.sin(x),
    "cos": lambda out, x: np.cos(x),
    "erf": lambda out, x: special.erf(x),
    "gelu": lambda out, x: np.where(x < -40, 0, x * special.ndtr(x)),
    "gelu_grad": lambda out, g, x: g * gelu_slope(x),
    "add": lambda out, a, b: a + b,
    "subtract": lambda out, a, b: a - b,
    "multiply": lambda out, a, b: a * b,
    "divide": lambda out, a, b: a / b,
    "power": lambda out, a, b: a**b,
    "maximum": lambda out, a, b: np.where(either_nan(a, b), np.nan, np.where(a > b, a, b)),
    "minimum": lambda out, a, b: np.where(either_nan(a, b), np.nan, np.where(a < b, a, b)),
    "greater_share": lambda out, a, b: np.where(either_nan(a, b), 0.5, ((a > b) * 1.0 + (a >= b)) / 2),
    "relu_grad": lambda out, g, y: np.where(y <= 0, 0, g),
    "tanh_grad": lambda out, g, y: g * (1 - y * y),
    "sigmoid_grad": lambda out, g, y: g * (y * (1 - y)),
    "where": lambda out, condition, a, b: np.where(condition != 0, a, b),
    "sum": reduction(np.sum),
    "mean": reduction(np.mean),
    "max": reduction(np.max),
    "min": reduction(np.min),
    "matmul": lambda out, a, b: np.einsum("...ik,...kj->...ij", a, b),
    "linear": linear,
    "matmul_relu_grad": matmul_relu_grad,
    "softmax": lambda out, x: special.softmax(x, axis=1),
    "log_softmax": lambda out, x: special.log_softmax(x, axis=1),
    "logsumexp": lambda out, x: special.logsumexp(x, axis=1),
    "softmax_grad": softmax_grad,
    "log_softmax_grad": log_softmax_grad,
    "cross_entropy": cross_entropy,
    "cross_entropy_grad": cross_entropy_grad,
    "layer_norm": layer_norm,
    "layer_norm_grad": layer_norm_grad,
    "philox": philox,
    "dropout": dropout,
    "dropout_grad": dropout_grad,
    "advance": lambda out, x, by: np.array(int(x) + int(by)),
    "look_up": lambda out, table, step, first: np.take(table, int(step) - int(first), mode="clip"),
    "advance_if": lambda out, x, norm, finite: np.array(int(x) + (bool(np.isfinite(norm)) == bool(finite))),
    "average_rate": lambda out, count, decay, corrected: np.array(average_rate(int(count), float(decay), corrected)),
    "global_norm": global_norm,
    "clip_to_norm": clip_to_norm,
    "sgd": update("sgd", lambda f, d, lr: (f(lr) * d,)),
    "sgd_momentum": update("sgd_momentum", sgd_momentum),
    "adagrad": update("adagrad", adagrad),
    "rmsprop": update("rmsprop", rmsprop(centered=False, momentum=False)),
    "rmsprop_momentum": update("rmsprop_momentum", rmsprop(centered=False, momentum=True)),
    "rmsprop_centered": update("rmsprop_centered", rmsprop(centered=True, momentum=False)),
    "rmsprop_centered_momentum": update("rmsprop_centered_momentum", rmsprop(centered=True, momentum=True)),
    "adam": update("adam", adam),
    "amsgrad": update("amsgrad", amsgrad),
    "nadam": update("nadam", nadam),
    "radam": update("radam", radam),
    "lion": update("lion", lion),
    **images.ORACLE,
}


# Tolerances --------------------------------------------------------------------------------------


def tolerance(name: str) -> str:
    """The row's class; NumPy's own functions stand in where there is no C kernel."""
    row = KERNELS[name]
    return row.tolerance if row.dtypes else "ULP2"


def _wide(a: Any) -> Any:
    return a.astype(np.float64) if isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "f" else a


def expected(name: str, outputs: Sequence[Array], inputs: Sequence[Array], scalars: Sequence[Any]) -> list[Array]:
    arrays = [*outputs, *inputs]
    with np.errstate(all="ignore"):
        if tolerance(name) != "EXACT":
            arrays = [_wide(a) for a in arrays]
        found = ORACLE[name](*arrays, *scalars)
    found = found if isinstance(found, tuple) else (found,)
    return [np.broadcast_to(e, out.shape) for e, out in zip(found, outputs, strict=True)]


def _sum_scale(name: str, outputs: Sequence[Array], inputs: Sequence[Array], scalars: Sequence[Any]) -> Array:
    return expected(name, outputs, [np.abs(a) for a in inputs], scalars)[0]


def _row_scale(inputs: Sequence[Array], wanted: Array) -> Array:
    """The largest of 1 and the finite elements of each row, shaped to broadcast against ``wanted``."""
    largest = np.ones(len(wanted))
    for a in (*inputs, wanted):
        if a.dtype.kind == "f":
            sizes = np.where(np.isfinite(a), np.abs(a), 0)
            per_row = sizes.max(axis=1) if a.ndim == 2 else sizes if len(a) == len(largest) else sizes.max(initial=0)
            largest = np.maximum(largest, per_row)
    return largest.reshape(-1, *[1] * (wanted.ndim - 1))


def bound(name: str, wanted: Array, outputs: Sequence[Array], inputs: Sequence[Array], scalars: Sequence[Any]) -> Any:
    """How far from ``wanted`` a result may lie: the tolerance classes at the top of ``kernels.def``."""
    kind, single = tolerance(name), outputs[0].dtype == np.float32
    if kind == "EXACT":
        return 0
    with np.errstate(over="ignore", invalid="ignore"):
        if kind.startswith("ULP"):
            units = int(kind[3:]) if single else 4096 if name == "gelu" else 4  # the oracle's own error in float64
            if active() == "reference":
                units = max(units, 4)  # NumPy's float32 functions
            return units * np.spacing(np.abs(wanted.astype(outputs[0].dtype))).astype(np.float64)
        if kind == "TERMS4":
            limits = np.finfo(outputs[0].dtype)
            return 4 * limits.eps * _sum_scale(name, outputs, inputs, scalars) + limits.smallest_subnormal
        if kind == "PIXEL":
            return images.bound(name, wanted, outputs, inputs)
        if kind == "DOUBLE":
            return 2**-40 * np.abs(wanted)
        if kind == "SUM":
            run = inputs[0].shape[-1] if KERNELS[name].family == "MATMUL" else 32
            return (16 + run / 2) * np.finfo(outputs[0].dtype).eps * _sum_scale(name, outputs, inputs, scalars)
        return (1e-5 if single else 1e-13) * _row_scale(inputs, wanted)


def assert_near(name: str, got: Array, wanted: Array, within: Any) -> None:
    """Equal (NaN to NaN, -0 to 0), or at most ``within`` away."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(got.dtype)
        same = (got == rounded) | ((got != got) & (rounded != rounded))
        near = np.abs(got.astype(np.float64) - wanted) <= within
    wrong = np.argwhere(~(same | near))
    if len(wrong):
        at = tuple(wrong[0])
        allowed = np.broadcast_to(within, got.shape)[at]
        raise AssertionError(
            f"{name}: {len(wrong)} of {got.size} elements differ; at {at}: got {got[at]!r}, "
            f"wanted {wanted[at]!r} within {allowed!r}"
        )
