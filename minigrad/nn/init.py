"""Initialisers: each fills a tensor in place, outside the graph, and returns it.

``fan_in`` and ``fan_out`` are the inputs and outputs of a unit: for a weight
(out, in, ...) they are in and out times the number of the remaining positions.
"""

import math
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from ..ops.shape import assign_
from ..random import Generator, as_generator
from ..tensor import Tensor
from .module import is_real

Rng = Generator | int | None
Mode = Literal["fan_in", "fan_out"]


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform in [low, high)."""
    _check(tensor, low=low, high=high)
    if low > high:
        raise ValueError(f"uniform_ needs low <= high, got low={low} and high={high}")
    return assign_(tensor, as_generator(rng).uniform(tensor.shape, low, high, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    _check(tensor, mean=mean, std=std)
    if std < 0:
        raise ValueError(f"std must not be negative, got {std}")
    return assign_(tensor, as_generator(rng).normal(tensor.shape, mean, std, tensor.dtype))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, rng: Rng = None
) -> Tensor:
    """Normal with mean and std, on condition that it lies in [a, b]; a and b are numbers, not counted in std.

    ``mean + std F^-1(u)``, F the standard normal distribution function and u uniform between its values at the two
    ends: one draw a number, none rejected (Devroye 1986, II.2).  Raises ``ValueError`` where [a, b] has no mass in
    float64, 37 std and more from the mean.
    """
    _check(tensor, mean=mean, std=std, a=a, b=b)
    if std < 0 or a > b:
        raise ValueError(f"trunc_normal_ needs std >= 0 and a <= b, got std={std}, a={a} and b={b}")
    low, high = ((a - mean) / std, (b - mean) / std) if std else (0.0, 0.0)
    sign = -1 if low + high > 0 else 1  # the tail on the left keeps more digits
    below, up_to = (math.erfc(-z / math.sqrt(2)) / 2 for z in sorted((sign * low, sign * high)))
    if up_to < 1e-300:
        raise ValueError(
            f"trunc_normal_ needs [a, b] less than 37 std from the mean, got [{low:.3g}, {high:.3g}] of them"
        )
    u = below + (up_to - below) * as_generator(rng).uniform(tensor.size, dtype=np.float64)
    z = np.fromiter(map(NormalDist().inv_cdf, np.clip(u, 1e-300, 1 - 2**-53)), np.float64, tensor.size)
    return assign_(tensor, np.clip(mean + std * sign * z, a, b).reshape(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All ``val``."""
    return assign_(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """All 0."""
    return assign_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """All 1."""
    return assign_(tensor, 1)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain that keeps the variance of signals (ReLU: He et al. 2015) or is usual, before an activation.

    linear, conv1d, conv2d, sigmoid 1; tanh 5/3; relu sqrt(2); leaky_relu ``sqrt(2 / (1 + slope^2))``, its slope
    ``param``, 0.01 if None; selu 3/4.  PyTorch's table.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        _finite(param=slope)
        return math.sqrt(2 / (1 + slope**2))
    if not isinstance(nonlinearity, str) or nonlinearity not in _GAINS:
        raise ValueError(f"nonlinearity must be leaky_relu, {', '.join(_GAINS)}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
}


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform with variance ``gain^2 * 2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    return _uniform(tensor, gain, sum(_fans(tensor)) / 2, rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with variance ``gain^2 * 2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    return _normal(tensor, gain, sum(_fans(tensor)) / 2, rng)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: Rng = None,
    *,
    gain: float | None = None,
) -> Tensor:
    """Uniform with variance ``gain^2 / fan``, fan that of ``mode`` (He et al. 2015).

    gain is that of ``calculate_gain(nonlinearity, a)`` unless given; by default sqrt(2), for ReLU.
    """
    return _uniform(tensor, calculate_gain(nonlinearity, a) if gain is None else gain, _fan(tensor, mode), rng)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: Rng = None,
    *,
    gain: float | None = None,
) -> Tensor:
    """Normal with variance ``gain^2 / fan``; the arguments are those of ``kaiming_uniform_``."""
    return _normal(tensor, calculate_gain(nonlinearity, a) if gain is None else gain, _fan(tensor, mode), rng)


def orthogonal_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """``gain`` times a matrix of orthonormal rows, or columns where there are fewer, drawn evenly of all such.

    The axes after the first count as one.  Q of a QR decomposition of normal numbers, its columns in the signs
    of R's diagonal (Saxe, McClelland and Ganguli 2014; Mezzadri 2007).
    """
    _check(tensor, gain=gain)
    _fans(tensor)
    rows, columns = len(tensor), tensor.size // len(tensor)
    drawn = as_generator(rng).normal((max(rows, columns), min(rows, columns)), dtype=np.float64)
    q, r = np.linalg.qr(drawn)
    q = gain * q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return assign_(tensor, (q if rows >= columns else q.T).reshape(tensor.shape))


def _uniform(tensor: Tensor, gain: float, fan: float, rng: Rng) -> Tensor:
    """Uniform with mean 0 and variance ``gain^2 / fan``."""
    _check(tensor, gain=gain)
    bound = abs(gain) * math.sqrt(3 / fan)
    return uniform_(tensor, -bound, bound, rng)


def _normal(tensor: Tensor, gain: float, fan: float, rng: Rng) -> Tensor:
    """Normal with mean 0 and variance ``gain^2 / fan``."""
    _check(tensor, gain=gain)
    return normal_(tensor, 0.0, abs(gain) / math.sqrt(fan), rng)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """fan_in and fan_out."""
    _check(tensor)
    if tensor.ndim < 2 or not tensor.size:
        raise ValueError(f"fan_in and fan_out need a weight of at least two axes, none empty, got shape {tensor.shape}")
    positions = math.prod(tensor.shape[2:])
    return tensor.shape[1] * positions, tensor.shape[0] * positions


def _fan(tensor: Tensor, mode: Mode) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return _fans(tensor)[mode == "fan_out"]


def _check(tensor: Any, **numbers: Any) -> None:
    """Raise for what cannot be filled with random numbers, and for parameters that are no finite numbers."""
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        got = f"a tensor of {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"random initialisers fill floating-point tensors, got {got}")
    _finite(**numbers)


def _finite(**numbers: Any) -> None:
    for name, value in numbers.items():
        if not (is_real(value) and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number, got {value!r}")
