"""Elementwise operations: each input is broadcast, each rule is one line."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.launch import Array, as_array, as_dtype, cast, compare, elementwise, result_dtype, unary
from ..kernels.launch import where as launch_where
from ..operations import operation
from ..tensor import Tensor
from .domain import Boolean, Domain, Real

ANY = Domain()
PAIR = Domain("broadcast")


# Arithmetic --------------------------------------------------------------------------


@operation(a=lambda g: g, b=lambda g: g, broadcasts=True, domain=PAIR)
def add(a: Any, b: Any, /) -> Array:
    """``a + b``."""
    return elementwise("add", a, b)


@operation(a=lambda g: g, b=lambda g: -g, broadcasts=True, domain=PAIR)
def subtract(a: Any, b: Any, /) -> Array:
    """``a - b``."""
    return elementwise("subtract", a, b)


@operation(a=lambda g, b: g * b, b=lambda g, a: g * a, broadcasts=True, domain=PAIR)
def multiply(a: Any, b: Any, /) -> Array:
    """``a * b``."""
    return elementwise("multiply", a, b)


@operation(
    a=lambda g, b: g / b,
    b=lambda g, b, y: -g * y / b,
    broadcasts=True,
    domain=Domain("broadcast", {"b": Real(exclude=(0,), gap=0.4)}),
)
def divide(a: Any, b: Any, /) -> Array:
    """``a / b``; integers divide to float32."""
    return elementwise("divide", a, b)


@operation(
    a=lambda g, a, b: g * _power_slope(a, b),
    b=lambda g, a, y: g * y * _log_base(a),
    broadcasts=True,
    domain=Domain("broadcast", {"a": Real(0.3, 2.5), "b": Real(-2, 3)}),
)
def power(a: Any, b: Any, /) -> Array:
    """``a ** b``.  At b = 0 the gradient of a is 0; at a = 0 that of b is 0."""
    return elementwise("power", a, b)


def _power_slope(a: Tensor, b: Any) -> Any:
    """``b a ** (b - 1)``, and 0 where both are 0."""
    if isinstance(b, Tensor):
        return b * power(where(equal(a, 0) * equal(b, 0), 1, a), b - 1)
    return b * power(a, b - 1) if b else 0.0


def _log_base(a: Any) -> Any:
    """``log(a)``, but 0 where a is 0."""
    if isinstance(a, Tensor):
        return log(where(equal(a, 0), 1, a))
    return math.log(a) if a > 0 else math.nan if a < 0 else 0.0


@operation(
    a=lambda g, a, b: g * greater_share(a, b),
    b=lambda g, a, b: g * greater_share(b, a),
    broadcasts=True,
    domain=Domain("broadcast", apart=("a", "b")),
)
def maximum(a: Any, b: Any, /) -> Array:
    """The larger of a and b, NaN where either is NaN.  At a tie each takes half the gradient."""
    return elementwise("maximum", a, b)


@operation(
    a=lambda g, a, b: g * greater_share(b, a),
    b=lambda g, a, b: g * greater_share(a, b),
    broadcasts=True,
    domain=Domain("broadcast", apart=("a", "b")),
)
def minimum(a: Any, b: Any, /) -> Array:
    """The smaller of a and b, NaN where either is NaN.  At a tie each takes half the gradient."""
    return elementwise("minimum", a, b)


@operation(broadcasts=True, domain=Domain("broadcast", apart=("a", "b")))
def greater_share(a: Any, b: Any, /) -> Array:
    """1 where a > b, 0 where a < b, a half elsewhere: the step function at a - b, constant almost everywhere."""
    return elementwise("greater_share", a, b)


@operation(
    a=lambda g, condition: where(condition, g, 0.0),
    b=lambda g, condition: where(condition, 0.0, g),
    broadcasts=True,
    domain=Domain("broadcast", {"condition": Boolean()}),
)
def where(condition: Any, a: Any, b: Any, /) -> Array:
    """``a`` where the condition holds, else ``b``.  No NaN leaks from the branch not taken."""
    return launch_where(condition, a, b)


# Functions of one variable ---------------------------------------------------------------


@operation(x=lambda g: -g, domain=ANY)
def negative(x: Any, /) -> Array:
    """``-x``."""
    return unary("negative", as_array(x))


@operation(x=lambda g, x: g * sign(x), domain=Domain(inputs={"x": Real(exclude=(0,))}))
def abs(x: Any, /) -> Array:
    """``|x|``, with gradient 0 at 0."""
    return unary("absolute", as_array(x))


@operation(domain=Domain(inputs={"x": Real(exclude=(0,))}))
def sign(x: Any, /) -> Array:
    """-1, 0 or 1; its gradient is nowhere needed."""
    return unary("sign", as_array(x))


@operation(x=lambda g, x: g * x * 2, domain=ANY)
def square(x: Any, /) -> Array:
    """``x * x``."""
    return unary("square", as_array(x))


@operation(x=lambda g, y: g * 0.5 / y, domain=Domain(inputs={"x": Real(0.3, 4)}))
def sqrt(x: Any, /) -> Array:
    """The square root; NaN below 0."""
    return unary("sqrt", as_array(x))


@operation(x=lambda g, y: -g * y * y, domain=Domain(inputs={"x": Real(exclude=(0,), gap=0.4)}))
def reciprocal(x: Any, /) -> Array:
    """``1 / x``."""
    return unary("reciprocal", as_array(x))


@operation(x=lambda g, y: g * y, domain=ANY)
def exp(x: Any, /) -> Array:
    """``e ** x``."""
    return unary("exp", as_array(x))


@operation(x=lambda g, y: g * (y + 1), domain=ANY)
def expm1(x: Any, /) -> Array:
    """``e ** x - 1``, exact near 0."""
    return unary("expm1", as_array(x))


@operation(x=lambda g, x: g / x, domain=Domain(inputs={"x": Real(0.3, 4)}))
def log(x: Any, /) -> Array:
    """The natural logarithm; -inf at 0, NaN below."""
    return unary("log", as_array(x))


@operation(x=lambda g, x: g / (x + 1), domain=Domain(inputs={"x": Real(-0.6, 3)}))
def log1p(x: Any, /) -> Array:
    """``log(1 + x)``, exact near 0."""
    return unary("log1p", as_array(x))


@operation(x=lambda g, x: g * cos(x), domain=ANY)
def sin(x: Any, /) -> Array:
    """The sine of x in radians."""
    return unary("sin", as_array(x))


@operation(x=lambda g, x: -g * sin(x), domain=ANY)
def cos(x: Any, /) -> Array:
    """The cosine of x in radians."""
    return unary("cos", as_array(x))


@operation(x=lambda g, x: g * exp(-square(x)) * (2 / math.sqrt(math.pi)), domain=ANY)
def erf(x: Any, /) -> Array:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``e ** -t^2`` from 0 to x."""
    return unary("erf", as_array(x))


@operation(x=lambda g, x: gelu_grad(g, x), domain=ANY)
def gelu(x: Any, /) -> Array:
    """``x Phi(x)``, Phi the standard normal distribution function (Hendrycks and Gimpel 2016), exact."""
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


@operation(x=lambda g, y: tanh_grad(g, y), domain=ANY)
def tanh(x: Any, /) -> Array:
    """The hyperbolic tangent."""
    return unary("tanh", as_array(x))


@operation(
    dy=lambda g, y: tanh_grad(g, y), y=lambda g, dy, y: g * dy * y * -2, outputs=("dx",), broadcasts=True, domain=PAIR
)
def tanh_grad(dy: Any, y: Any, /) -> Array:
    """``dy (1 - y^2)``."""
    return elementwise("tanh_grad", dy, y)


@operation(x=lambda g, y: sigmoid_grad(g, y), domain=ANY)
def sigmoid(x: Any, /) -> Array:
    """``1 / (1 + e ** -x)``."""
    return unary("sigmoid", as_array(x))


@operation(
    dy=lambda g, y: sigmoid_grad(g, y),
    y=lambda g, dy, y: g * dy * (1 - 2 * y),
    outputs=("dx",),
    broadcasts=True,
    domain=PAIR,
)
def sigmoid_grad(dy: Any, y: Any, /) -> Array:
    """``dy y (1 - y)``."""
    return elementwise("sigmoid_grad", dy, y)


@operation(x=lambda g, y: relu_grad(g, y), domain=Domain(inputs={"x": Real(exclude=(0,))}))
def relu(x: Any, /) -> Array:
    """``max(x, 0)``, with gradient 0 at 0."""
    return unary("relu", as_array(x))


@operation(
    dy=lambda g, y: relu_grad(g, y),
    outputs=("dx",),
    broadcasts=True,
    domain=Domain("broadcast", {"y": Real(exclude=(0,))}),
)
def relu_grad(dy: Any, y: Any, /) -> Array:
    """``dy`` where ``y > 0``, else 0."""
    return elementwise("relu_grad", dy, y)


CLIPPED = Domain(inputs={"x": Real(exclude=(-1, 1.5))}, attributes={"min": (-1.0, None), "max": (1.5, None)})


@operation(x=lambda g, x, min, max: g * within(x, min, max), domain=CLIPPED)
def clip(x: Any, /, min: float | None = None, max: float | None = None) -> Array:
    """``x`` held between the numbers ``min`` and ``max``; the gradient passes at the bounds themselves."""
    x, (low, high) = as_array(x), _bounds(min, max)
    if x.dtype.kind != "f":
        x = as_dtype(x, result_dtype("clip", x, *[bound for bound in (min, max) if bound is not None]))
        if x.dtype.kind != "f":
            least, most = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
            low, high = int(np.clip(low, least, most)), int(np.clip(high, least, most))
    return unary("clip", x, low, high)


@operation(domain=CLIPPED)
def within(x: Any, /, min: float | None = None, max: float | None = None) -> Array:
    """1.0 where ``min <= x <= max``, else 0.0."""
    return unary("within", as_array(x), *_bounds(min, max))


def _bounds(low: Any, high: Any) -> tuple[float, float]:
    for name, bound in (("min", low), ("max", high)):
        if bound is not None and (not isinstance(bound, int | float | np.number) or bound != bound):
            raise TypeError(f"clip takes numbers as bounds, got {name}={bound!r}")
    low = -np.inf if low is None else float(low)
    high = np.inf if high is None else float(high)
    if low > high:
        raise ValueError(f"clip needs min <= max, got min={low} and max={high}")
    return low, high


# Comparisons: bool results, no gradient ----------------------------------------------------


def _comparison(name: str, function: Callable[..., Any], symbol: str) -> Callable[[Any, Any], Tensor]:
    def forward(a: Any, b: Any, /) -> Array:
        return compare(function, a, b)

    forward.__name__ = name
    forward.__doc__ = f"``a {symbol} b``, a bool tensor."
    return operation(broadcasts=True, domain=PAIR)(forward)


equal = _comparison("equal", np.equal, "==")
not_equal = _comparison("not_equal", np.not_equal, "!=")
less = _comparison("less", np.less, "<")
less_equal = _comparison("less_equal", np.less_equal, "<=")
greater = _comparison("greater", np.greater, ">")
greater_equal = _comparison("greater_equal", np.greater_equal, ">=")


@operation(x=lambda g: g, domain=Domain(attributes={"dtype": (np.float64,)}))
def astype(x: Any, /, dtype: Any) -> Array:
    """A copy in another dtype; the gradient is cast back."""
    if np.dtype(dtype).kind not in "fiub":
        raise TypeError(f"a Tensor holds floats, integers or bools, got dtype {np.dtype(dtype)}")
    return cast(as_array(x), dtype)
