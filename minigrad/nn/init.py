"""Initialisers: each fills a tensor in place, outside the graph, and returns it.

``fan_in`` and ``fan_out`` are the inputs and outputs of a unit: for a weight
(out, in, ...) they are in and out times the number of the remaining positions.
"""

import math
from typing import Any, Literal

import numpy as np

from ..ops.shape import assign_
from ..random import Generator, as_generator
from ..tensor import Tensor

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


def zeros_(tensor: Tensor) -> Tensor:
    """All 0."""
    return assign_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """All 1."""
    return assign_(tensor, 1)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform with variance ``gain^2 * 2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    return _uniform(tensor, gain, sum(_fans(tensor)) / 2, rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with variance ``gain^2 * 2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    return _normal(tensor, gain, sum(_fans(tensor)) / 2, rng)


def kaiming_uniform_(tensor: Tensor, gain: float = math.sqrt(2), mode: Mode = "fan_in", rng: Rng = None) -> Tensor:
    """Uniform with variance ``gain^2 / fan``; the default gain suits ReLU (He et al. 2015)."""
    return _uniform(tensor, gain, _fan(tensor, mode), rng)


def kaiming_normal_(tensor: Tensor, gain: float = math.sqrt(2), mode: Mode = "fan_in", rng: Rng = None) -> Tensor:
    """Normal with variance ``gain^2 / fan``; the default gain suits ReLU (He et al. 2015)."""
    return _normal(tensor, gain, _fan(tensor, mode), rng)


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
    for name, value in numbers.items():
        if not isinstance(value, int | float | np.number) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")
