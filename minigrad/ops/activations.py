"""Activations: functions of one variable that networks put between their layers."""

import math
from typing import Any

import numpy as np

from ..kernels.launch import (
    Array,
    as_array,
    as_dtype,
    compare,
    elementwise,
    launch,
    normalize_axes,
    result_dtype,
    unary,
)
from ..kernels.launch import where as launch_where
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, Real, composed
from .elementwise import (
    ANY,
    PAIR,
    abs,
    add,
    clip,
    exp,
    expm1,
    greater,
    relu,
    sigmoid,
    sigmoid_grad,
    square,
    tanh,
    where,
    within,
)
from .shape import as_tensor, concat, reshape

KINK = Real(exclude=(0,))


def as_float(x: Any) -> Array:
    """An array of floats; integers become float32."""
    x = as_array(x)
    return as_dtype(x, result_dtype("exp", x))


def _from(least: float, x: Any) -> Array:
    """x as floats, held above ``least``, where the function that it goes into is 0 already: at -inf too."""
    return unary("clip", as_float(x), least, np.inf)


def _log1p_exp(x: Array) -> Array:
    """``log(1 + e ** -|x|)``, in place from the first step on."""
    out = unary("absolute", x)
    launch("negative", (out, out))
    launch("exp", (out, out))
    launch("log1p", (out, out))
    return out


@operation(x=lambda g, x: g * sigmoid(x), domain=ANY)
def softplus(x: Any, /) -> Array:
    """``log(1 + e ** x)``, without overflow."""
    x = as_float(x)
    out = _log1p_exp(x)
    launch("add", (out, out, unary("relu", x)))
    return out


@operation(x=lambda g, x: g * sigmoid(-x), domain=ANY)
def log_sigmoid(x: Any, /) -> Array:
    """``log(sigmoid(x)) = -log(1 + e ** -x)``, without overflow."""
    x = as_float(x)
    out = _log1p_exp(x)
    launch("subtract", (out, elementwise("minimum", x, 0.0), out))
    return out


@operation(x=lambda g, x: g / square(abs(x) + 1), domain=Domain(inputs={"x": KINK}, kinks="second derivative 0 at 0"))
def softsign(x: Any, /) -> Array:
    """``x / (1 + |x|)``; -1 and 1 at the infinities."""
    x = as_float(x)
    most = float(np.finfo(x.dtype).max)
    x = unary("clip", x, -most, most)
    return elementwise("divide", x, elementwise("add", unary("absolute", x), 1))


@operation(x=lambda g, x: gelu_grad(g, x), domain=ANY)
def exact_gelu(x: Any, /) -> Array:
    """``x Phi(x)``, Phi the standard normal distribution function."""
    return unary("gelu", as_array(x))


@operation(
    dy=lambda g, x: gelu_grad(g, x),
    x=lambda g, dy, x: g * dy * (2 - square(x)) * exp(square(x) * -0.5) * (1 / math.sqrt(2 * math.pi)),
    outputs=("dx",),
    broadcasts=True,
    domain=PAIR,
)
def gelu_grad(dy: Any, x: Any, /) -> Array:
    """``dy (Phi(x) + x phi(x))``, phi the standard normal density."""
    return elementwise("gelu_grad", dy, x)


@composed(Domain(attributes={"approximate": ("none", "tanh")}))
def gelu(x: Any, /, approximate: str = "none") -> Tensor:
    """``x Phi(x)``, Phi the standard normal distribution function (Hendrycks and Gimpel 2016).

    ``approximate="tanh"`` gives ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`` instead, within 0.0005 of it,
    worked out as x times a sigmoid, whose small values are exact.
    """
    if approximate == "none":
        return exact_gelu(x)
    if approximate != "tanh":
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    x = clip(x, -100.0)
    scale = 2 * math.sqrt(2 / math.pi)
    return x * sigmoid(x * (square(x) * (0.044715 * scale) + scale))


@operation(x=lambda g, x: silu_grad(g, x), domain=ANY)
def silu(x: Any, /) -> Array:
    """``x sigmoid(x)``, also called swish (Elfwing, Uchibe and Doya 2018); 0 at -inf."""
    x = _from(-800, x)
    return elementwise("multiply", x, unary("sigmoid", x))


@operation(
    dy=lambda g, x: silu_grad(g, x),
    x=lambda g, dy, x: g * dy * _silu_curvature(x, sigmoid(x)),
    outputs=("dx",),
    broadcasts=True,
    domain=PAIR,
)
def silu_grad(dy: Any, x: Any, /) -> Array:
    """``dy (s + x s (1 - s))`` with ``s = sigmoid(x)``."""
    x = unary("clip", as_array(x), -800, 800)
    s = unary("sigmoid", x)
    return elementwise("multiply", dy, elementwise("add", s, elementwise("sigmoid_grad", x, s)))


def _silu_curvature(x: Any, s: Tensor) -> Tensor:
    return sigmoid_grad(x * (1 - s * 2) + 2, s)


@composed(ANY)
def mish(x: Any, /) -> Tensor:
    """``x tanh(softplus(x))`` (Misra 2019); 0 at -inf."""
    x = clip(x, -800.0)
    return x * tanh(softplus(x))


@composed(Domain(inputs={"x": KINK}, attributes={"alpha": (1.0, 0.5)}, kinks="alpha at 0"))
def elu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """x above 0, ``alpha (e ** x - 1)`` below (Clevert, Unterthiner and Hochreiter 2015); slope alpha at 0."""
    return relu(x) + expm1(clip(x, max=0.0)) * alpha


@composed(Domain(inputs={"x": KINK}, kinks="1.7581, that from below, at 0"))
def selu(x: Any, /) -> Tensor:
    """1.0507 elu(x, 1.67326), which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return elu(x, 1.6732632423543772) * 1.0507009873554805


SLOPED = Domain("broadcast", {"x": KINK}, {"negative_slope": (0.01, 0.3)}, kinks="negative_slope at 0")


@operation(x=lambda g, x, negative_slope: leaky_relu_grad(g, x, negative_slope), domain=SLOPED)
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Array:
    """x above 0, ``negative_slope x`` below and at 0 (Maas, Hannun and Ng 2013)."""
    return _sloped(x, x, negative_slope)


@operation(
    dy=lambda g, x, negative_slope: leaky_relu_grad(g, x, negative_slope),
    outputs=("dx",),
    broadcasts=True,
    domain=SLOPED,
)
def leaky_relu_grad(dy: Any, x: Any, /, negative_slope: float) -> Array:
    """``dy`` where x is above 0, else ``negative_slope dy``."""
    return _sloped(x, dy, negative_slope)


def _sloped(x: Any, y: Any, slope: float) -> Array:
    return launch_where(compare(np.greater, x, 0), y, elementwise("multiply", y, float(slope)))


@composed(Domain("(n,C,m),(C)", {"x": Real(exclude=(0,))}, kinks="weight at 0"), "x", "weight")
def prelu(x: Any, weight: Any) -> Tensor:
    """x above 0, ``weight x`` below and at 0, the weight learned (He et al. 2015).

    weight : one number, or one for each channel, axis 1 of x.
    """
    x, weight = as_tensor(x), as_tensor(weight)
    if weight.size != 1:
        if weight.ndim != 1 or x.ndim < 2 or len(weight) != x.shape[1]:
            raise ValueError(f"prelu needs one weight or one a channel, axis 1 of {x.shape}, got {weight.shape}")
        weight = reshape(weight, (-1,) + (1,) * (x.ndim - 2))
    above = greater(x, 0)
    return where(above, x, weight * where(above, 0, x))


@operation(
    x=lambda g, x, min_val, max_val: g * within(x, *_between(x.dtype.type, min_val, max_val)),
    domain=Domain(
        inputs={"x": Real(exclude=(-1, 1))},
        attributes={"min_val": (-1.0,), "max_val": (1.0,)},
        kinks="0 at the bounds",
    ),
)
def hardtanh(x: Any, /, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """``x`` held between two numbers; unlike that of ``clip``, the gradient is 0 at the bounds, as in PyTorch."""
    if not min_val < max_val:
        raise ValueError(f"hardtanh needs min_val < max_val, got {min_val} and {max_val}")
    return unary("clip", as_dtype(as_array(x), result_dtype("exp", x)), min_val, max_val)


def _between(real: Any, low: float, high: float) -> tuple[float, float]:
    """The closed interval of floats in an open one."""
    return float(np.nextafter(real(low), real(high))), float(np.nextafter(real(high), real(low)))


@composed(Domain(inputs={"x": Real(-2, 8, exclude=(0, 6))}, kinks="0 at 0 and 6"))
def relu6(x: Any, /) -> Tensor:
    """``min(max(x, 0), 6)``, with gradient 0 at 0 and 6."""
    return hardtanh(x, 0.0, 6.0)


@composed(Domain(inputs={"x": Real(-5, 5, exclude=(-3, 3))}, kinks="0 at -3, 1 at 3"))
def hardswish(x: Any, /) -> Tensor:
    """``x relu6(x + 3) / 6`` (Howard et al. 2019); 0 at -inf, slope 0 at -3 and 1 at 3."""
    return clip(x, -3.0) * relu6(add(x, 3)) / 6


def _halves(x: Any, axis: int) -> tuple[Any, Any]:
    (place,) = normalize_axes((axis,), x.ndim)
    half, odd = divmod(x.shape[place], 2)
    if odd:
        raise ValueError(f"glu halves an axis, but axis {axis} of {x.shape} is odd")
    before = (slice(None),) * place
    return x[(*before, slice(half))], x[(*before, slice(half, None))]


@operation(
    x=lambda g, x, axis: _glu_grad(g, *_halves(x, axis), axis), domain=Domain("(n,2)", attributes={"axis": (-1,)})
)
def glu(x: Any, /, axis: int = -1) -> Array:
    """The first half of x along ``axis`` times the sigmoid of the second half (Dauphin et al. 2017)."""
    a, b = _halves(as_array(x), axis)
    return elementwise("multiply", a, unary("sigmoid", b))


def _glu_grad(g: Any, a: Any, b: Any, axis: int) -> Tensor:
    s = sigmoid(b)
    return concat((g * s, sigmoid_grad(g * a, s)), axis)
