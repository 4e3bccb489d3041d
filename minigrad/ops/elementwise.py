"""Elementwise operations: each input is broadcast, each rule is one line."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..kernels.launch import (
    Array,
    as_array,
    as_dtype,
    cast,
    compare,
    elementwise,
    float_ufunc,
    result_dtype,
    ufunc,
    unary,
)
from ..kernels.launch import where as launch_where
from ..operations import operation
from ..tensor import Tensor
from .domain import Boolean, Domain, Integer, Real, composed

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
    domain=Domain(
        "broadcast", {"a": Real(0.3, 2.5), "b": Real(-2, 3)}, kinks="0 for a where b is 0, 0 for b where a is 0"
    ),
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
    domain=Domain("broadcast", apart=("a", "b"), kinks="half for each at a tie"),
)
def maximum(a: Any, b: Any, /) -> Array:
    """The larger of a and b, NaN where either is NaN.  At a tie each takes half the gradient."""
    return elementwise("maximum", a, b)


@operation(
    a=lambda g, a, b: g * greater_share(b, a),
    b=lambda g, a, b: g * greater_share(a, b),
    broadcasts=True,
    domain=Domain("broadcast", apart=("a", "b"), kinks="half for each at a tie"),
)
def minimum(a: Any, b: Any, /) -> Array:
    """The smaller of a and b, NaN where either is NaN.  At a tie each takes half the gradient."""
    return elementwise("minimum", a, b)


@operation(broadcasts=True, domain=Domain("broadcast", apart=("a", "b")))
def greater_share(a: Any, b: Any, /) -> Array:
    """1 where a > b, 0 where a < b, a half elsewhere: the step function at a - b, constant almost everywhere."""
    return elementwise("greater_share", a, b)


@operation(
    y=lambda g, y, x: g * _over_radius(x, y),
    x=lambda g, y, x: -g * _over_radius(y, x),
    outputs=("angle",),
    broadcasts=True,
    domain=Domain(
        "broadcast", {"y": Real(exclude=(0,), gap=0.3), "x": Real(exclude=(0,), gap=0.3)}, kinks="0 at the origin"
    ),
)
def atan2(y: Any, x: Any, /) -> Array:
    """The angle of the point (x, y), in [-pi, pi]; at the origin both gradients are 0."""
    return float_ufunc("atan2", np.arctan2, y, x)


def _over_radius(a: Tensor, b: Tensor) -> Tensor:
    """``a / (a^2 + b^2)``, and 0 at the origin."""
    radius = _nonzero(hypot(a, b))
    return a / radius / radius


def _nonzero(x: Tensor) -> Tensor:
    """x, but 1 where it is 0: what may divide a numerator that is 0 there."""
    return where(equal(x, 0), 1, x)


@operation(
    a=lambda g, a, y: g * (a / _nonzero(y)),
    b=lambda g, b, y: g * (b / _nonzero(y)),
    broadcasts=True,
    domain=Domain(
        "broadcast", {"a": Real(exclude=(0,), gap=0.3), "b": Real(exclude=(0,), gap=0.3)}, kinks="0 at the origin"
    ),
)
def hypot(a: Any, b: Any, /) -> Array:
    """``sqrt(a^2 + b^2)``, without overflow; at a = b = 0 both gradients are 0."""
    return float_ufunc("hypot", np.hypot, a, b)


@operation(
    a=lambda g, a, b: g * sigmoid(_difference(a, b)),
    b=lambda g, a, b: g * sigmoid(_difference(b, a)),
    broadcasts=True,
    domain=Domain("broadcast", kinks="half for each at equal infinities"),
)
def logaddexp(a: Any, b: Any, /) -> Array:
    """``log(e ** a + e ** b)``, without overflow.  Equal infinities share the gradient evenly."""
    return float_ufunc("logaddexp", np.logaddexp, a, b)


def _difference(a: Any, b: Any) -> Tensor:
    """``a - b``, and 0 for equal infinities."""
    return where(logical_and(equal(a, b), isinf(a)), 0.0, subtract(a, b))


@operation(
    x=lambda g, x, y: g * log(_inside(x, y)),
    y=lambda g, x, y: g * x / _inside(x, y),
    broadcasts=True,
    domain=Domain("broadcast", {"y": Real(0.3, 3)}, kinks="0 where x is 0 and y at most 0"),
    outputs=("product",),
)
def xlogy(x: Any, y: Any, /) -> Array:
    """``x log(y)``, and 0 where x is 0 and y no NaN; the gradients are 0 where x is 0 and y at most 0."""

    def product(x: Array, y: Array, out: Array) -> None:
        np.multiply(x, np.log(y), out=out)
        np.copyto(out, 0, where=(x == 0) & ~np.isnan(y))

    return float_ufunc("xlogy", product, x, y)


def _inside(x: Any, y: Any) -> Tensor:
    """y, but 1 where x is 0 and y outside the logarithm's domain."""
    return where(logical_and(equal(x, 0), less_equal(y, 0)), 1.0, y)


@operation(
    a=lambda g: g,
    b=lambda g, a, b, y: -g * round((a - y) / b),
    broadcasts=True,
    domain=Domain("broadcast", {"a": Real(0.2, 0.8), "b": Real(1, 2)}, kinks="1 and -floor(a / b) at the jumps"),
)
def remainder(a: Any, b: Any, /) -> Array:
    """``a - b floor(a / b)``, of b's sign, ``a % b``; between its jumps the slopes are 1 and ``-floor(a / b)``."""
    return _divided("remainder", np.remainder, a, b)


@operation(broadcasts=True, domain=Domain("broadcast", {"a": Real(0.2, 0.8), "b": Real(1, 2)}))
def floor_divide(a: Any, b: Any, /) -> Array:
    """``floor(a / b)``, ``a // b``; constant between its jumps, so there is no gradient."""
    return _divided("floor_divide", np.floor_divide, a, b)


def _divided(name: str, function: Callable[..., Any], a: Any, b: Any) -> Array:
    dtype = result_dtype("", a, b)
    dtype = np.dtype(np.int8) if dtype.kind == "b" else dtype  # as NumPy has it
    return ufunc(name, function, dtype, as_dtype(a, dtype), as_dtype(b, dtype))


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
    return unary("negative", x)


@operation(x=lambda g, x: g * sign(x), domain=Domain(inputs={"x": Real(exclude=(0,))}, kinks="0 at 0"))
def abs(x: Any, /) -> Array:
    """``|x|``, with gradient 0 at 0."""
    return unary("absolute", x)


@operation(domain=Domain(inputs={"x": Real(exclude=(0,))}))
def sign(x: Any, /) -> Array:
    """-1, 0 or 1; its gradient is nowhere needed."""
    return unary("sign", x)


@operation(x=lambda g, x: g * x * 2, domain=ANY)
def square(x: Any, /) -> Array:
    """``x * x``."""
    return unary("square", x)


@operation(x=lambda g, y: g * 0.5 / y, domain=Domain(inputs={"x": Real(0.3, 4)}, kinks="inf at 0"))
def sqrt(x: Any, /) -> Array:
    """The square root; NaN below 0."""
    return unary("sqrt", x)


@operation(x=lambda g, y: g * y * y * y * -0.5, domain=Domain(inputs={"x": Real(0.3, 4)}))
def rsqrt(x: Any, /) -> Array:
    """``1 / sqrt(x)``; inf at 0, NaN below."""
    return unary("reciprocal", unary("sqrt", x))


@operation(x=lambda g, y: -g * y * y, domain=Domain(inputs={"x": Real(exclude=(0,), gap=0.4)}))
def reciprocal(x: Any, /) -> Array:
    """``1 / x``."""
    return unary("reciprocal", x)


@operation(x=lambda g, y: g * y, domain=ANY)
def exp(x: Any, /) -> Array:
    """``e ** x``."""
    return unary("exp", x)


@operation(x=lambda g, y: g * y * math.log(2), domain=ANY)
def exp2(x: Any, /) -> Array:
    """``2 ** x``."""
    return float_ufunc("exp2", np.exp2, x)


@operation(x=lambda g, y: g * (y + 1), domain=ANY)
def expm1(x: Any, /) -> Array:
    """``e ** x - 1``, exact near 0."""
    return unary("expm1", x)


@operation(x=lambda g, x: g / x, domain=Domain(inputs={"x": Real(0.3, 4)}))
def log(x: Any, /) -> Array:
    """The natural logarithm; -inf at 0, NaN below."""
    return unary("log", x)


@operation(x=lambda g, x: g / (x * math.log(2)), domain=Domain(inputs={"x": Real(0.3, 4)}))
def log2(x: Any, /) -> Array:
    """The logarithm to base 2; -inf at 0, NaN below."""
    return float_ufunc("log2", np.log2, x)


@operation(x=lambda g, x: g / (x * math.log(10)), domain=Domain(inputs={"x": Real(0.3, 4)}))
def log10(x: Any, /) -> Array:
    """The logarithm to base 10; -inf at 0, NaN below."""
    return float_ufunc("log10", np.log10, x)


@operation(x=lambda g, x: g / (x + 1), domain=Domain(inputs={"x": Real(-0.6, 3)}))
def log1p(x: Any, /) -> Array:
    """``log(1 + x)``, exact near 0."""
    return unary("log1p", x)


@operation(x=lambda g, x: g * cos(x), domain=ANY)
def sin(x: Any, /) -> Array:
    """The sine of x in radians."""
    return unary("sin", x)


@operation(x=lambda g, x: -g * sin(x), domain=ANY)
def cos(x: Any, /) -> Array:
    """The cosine of x in radians."""
    return unary("cos", x)


@operation(x=lambda g, y: g * (square(y) + 1), domain=Domain(inputs={"x": Real(-1.2, 1.2)}))
def tan(x: Any, /) -> Array:
    """The tangent of x in radians."""
    return float_ufunc("tan", np.tan, x)


@operation(x=lambda g, x: g * rsqrt((1 - x) * (x + 1)), domain=Domain(inputs={"x": Real(-0.8, 0.8)}))
def asin(x: Any, /) -> Array:
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""
    return float_ufunc("asin", np.arcsin, x)


@operation(x=lambda g, x: -g * rsqrt((1 - x) * (x + 1)), domain=Domain(inputs={"x": Real(-0.8, 0.8)}))
def acos(x: Any, /) -> Array:
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""
    return float_ufunc("acos", np.arccos, x)


@operation(x=lambda g, x: g / (square(x) + 1), domain=ANY)
def atan(x: Any, /) -> Array:
    """The angle in [-pi/2, pi/2] whose tangent is x."""
    return float_ufunc("atan", np.arctan, x)


@operation(x=lambda g, x: g * cosh(x), domain=ANY)
def sinh(x: Any, /) -> Array:
    """``(e ** x - e ** -x) / 2``."""
    return float_ufunc("sinh", np.sinh, x)


@operation(x=lambda g, x: g * sinh(x), domain=ANY)
def cosh(x: Any, /) -> Array:
    """``(e ** x + e ** -x) / 2``."""
    return float_ufunc("cosh", np.cosh, x)


@operation(x=lambda g, x: g / hypot(x, 1.0), domain=ANY)
def asinh(x: Any, /) -> Array:
    """The number whose sinh is x."""
    return float_ufunc("asinh", np.arcsinh, x)


@operation(x=lambda g, x: g * rsqrt(x - 1) * rsqrt(x + 1), domain=Domain(inputs={"x": Real(1.2, 4)}))
def acosh(x: Any, /) -> Array:
    """The number from 0 on whose cosh is x; NaN below 1."""
    return float_ufunc("acosh", np.arccosh, x)


@operation(x=lambda g, x: g / ((1 - x) * (x + 1)), domain=Domain(inputs={"x": Real(-0.8, 0.8)}))
def atanh(x: Any, /) -> Array:
    """The number whose tanh is x; infinite at -1 and 1, NaN outside."""
    return float_ufunc("atanh", np.arctanh, x)


@operation(x=lambda g, x: g * exp(-square(x)) * (2 / math.sqrt(math.pi)), domain=ANY)
def erf(x: Any, /) -> Array:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``e ** -t^2`` from 0 to x."""
    return unary("erf", x)


@operation(
    dy=lambda g, y: tanh_grad(g, y), y=lambda g, dy, y: g * dy * y * -2, outputs=("dx",), broadcasts=True, domain=PAIR
)
def tanh_grad(dy: Any, y: Any, /) -> Array:
    """``dy (1 - y^2)``."""
    return elementwise("tanh_grad", dy, y)


@operation(x=tanh_grad, domain=ANY)
def tanh(x: Any, /) -> Array:
    """The hyperbolic tangent."""
    return unary("tanh", x)


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


@operation(x=sigmoid_grad, domain=ANY)
def sigmoid(x: Any, /) -> Array:
    """``1 / (1 + e ** -x)``."""
    return unary("sigmoid", x)


@operation(
    dy=lambda g, y: relu_grad(g, y),
    outputs=("dx",),
    quick=partial(elementwise, "relu_grad"),
    broadcasts=True,
    domain=Domain("broadcast", {"y": Real(exclude=(0,))}),
)
def relu_grad(dy: Any, y: Any, /) -> Array:
    """``dy`` where ``y > 0``, else 0."""
    return elementwise("relu_grad", dy, y)


@operation(x=relu_grad, quick=partial(unary, "relu"), domain=Domain(inputs={"x": Real(exclude=(0,))}, kinks="0 at 0"))
def relu(x: Any, /) -> Array:
    """``max(x, 0)``, with gradient 0 at 0."""
    return unary("relu", x)


CLIPPED = Domain(
    inputs={"x": Real(exclude=(-1, 1.5))},
    attributes={"min": (-1.0, None), "max": (1.5, None)},
    kinks="passes at the bounds",
)


@composed(CLIPPED)
def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """``x`` held between ``min`` and ``max``, numbers or what broadcasts with x; None does not bound.

    The gradient passes at the bounds themselves; beyond one it goes to that bound.
    Where ``min > max`` the result is max; numbers so raise ``ValueError``.
    """
    if not isinstance(min, Tensor | np.ndarray) and not isinstance(max, Tensor | np.ndarray):
        return clip_between(x, min, max)
    if min is not None:
        x = where(logical_or(less(x, min), isnan(min)), min, x)
    if max is not None:
        x = where(logical_or(greater(x, max), isnan(max)), max, x)
    return x


@operation(x=lambda g, x, min, max: g * within(x, min, max), domain=CLIPPED)
def clip_between(x: Any, /, min: float | None = None, max: float | None = None) -> Array:
    """``x`` held between two numbers."""
    x, (low, high) = as_array(x), _bounds(min, max)
    if x.dtype.kind != "f":
        x = as_dtype(x, result_dtype("clip", x, *[bound for bound in (min, max) if bound is not None]))
        if x.dtype.kind == "b":
            raise TypeError("clip takes floats and integers, got bools; use logical_and and logical_or")
        if x.dtype.kind != "f":
            least, most = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
            low, high = _whole(min, least, least, most), _whole(max, most, least, most)
    return unary("clip", x, low, high)


def _whole(bound: Any, missing: int, least: int, most: int) -> int:
    """An integer as bound of integers, exact, within what the dtype holds."""
    return missing if bound is None else sorted((least, int(bound), most))[1]


@operation(domain=replace(CLIPPED, kinks=""))
def within(x: Any, /, min: float | None = None, max: float | None = None) -> Array:
    """1.0 where ``min <= x <= max``, else 0.0."""
    return unary("within", as_array(x), *_bounds(min, max))


def _bounds(low: Any, high: Any) -> tuple[float, float]:
    for name, bound in (("min", low), ("max", high)):
        if bound is not None and (not isinstance(bound, int | float | np.number) or bound != bound):
            raise TypeError(f"clip takes numbers, tensors or arrays as bounds, got {name}={bound!r}")
    low = -np.inf if low is None else float(low)
    high = np.inf if high is None else float(high)
    if low > high:
        raise ValueError(f"clip needs min <= max, got min={low} and max={high}")
    return low, high


# Steps: constant between their jumps, so there is no gradient ---------------------------------

STEPS = Domain(inputs={"x": Real(exclude=(-3, -2, -1, 0, 1, 2, 3))})


def _step(name: str, function: Callable[..., Any], x: Any) -> Array:
    """A rounding; integers are whole already."""
    x = as_array(x)
    return ufunc(name, function, x.dtype.newbyteorder("="), x) if x.dtype.kind == "f" else cast(x, x.dtype)


@operation(domain=STEPS)
def floor(x: Any, /) -> Array:
    """The largest whole number that is at most x."""
    return _step("floor", np.floor, x)


@operation(domain=STEPS)
def ceil(x: Any, /) -> Array:
    """The smallest whole number that is at least x."""
    return _step("ceil", np.ceil, x)


@operation(domain=STEPS)
def trunc(x: Any, /) -> Array:
    """x without its fractional part."""
    return _step("trunc", np.trunc, x)


@operation(domain=Domain(inputs={"x": Real(exclude=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5))}))
def round(x: Any, /) -> Array:
    """The nearest whole number, the even one of two."""
    return _step("round", np.rint, x)


# Comparisons and logic: bool results, no gradient --------------------------------------------


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
logical_and = _comparison("logical_and", np.logical_and, "and")
logical_or = _comparison("logical_or", np.logical_or, "or")
logical_xor = _comparison("logical_xor", np.logical_xor, "xor")


def _test(name: str, function: Callable[..., Any], what: str) -> Any:
    def forward(x: Any, /) -> Array:
        return ufunc(name, function, np.bool_, as_array(x))

    forward.__name__ = name
    forward.__doc__ = f"Whether x is {what}, a bool tensor."
    return operation(domain=ANY)(forward)


isnan = _test("isnan", np.isnan, "NaN")
isinf = _test("isinf", np.isinf, "infinite")
isfinite = _test("isfinite", np.isfinite, "neither infinite nor NaN")
logical_not = _test("logical_not", np.logical_not, "0 or False")


def _bitwise(name: str, function: Callable[..., Any], symbol: str) -> Any:
    def forward(a: Any, b: Any, /) -> Array:
        dtype = result_dtype("", a, b)
        if dtype.kind == "f":
            raise TypeError(
                f"{name} takes integers and bools, got {dtype}; compare first, as in (x > 0) {symbol} (x < 1)"
            )
        return ufunc(name, function, dtype, as_dtype(a, dtype), as_dtype(b, dtype))

    forward.__name__ = name
    forward.__doc__ = f"``a {symbol} b``, of bools the logical operation."
    return operation(broadcasts=True, domain=Domain("broadcast", {"a": Integer(), "b": Integer()}))(forward)


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, "&")
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, "|")
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, "^")


@operation(domain=Domain(inputs={"x": Integer()}))
def bitwise_invert(x: Any, /) -> Array:
    """``~x``, of bools the logical not."""
    x = as_array(x)
    if x.dtype.kind == "f":
        raise TypeError(f"bitwise_invert takes integers and bools, got {x.dtype}; logical_not takes floats too")
    return ufunc("bitwise_invert", np.invert, x.dtype.newbyteorder("="), x)


@operation(x=lambda g: g, domain=Domain(attributes={"dtype": (np.float64,)}))
def astype(x: Any, /, dtype: Any) -> Array:
    """A copy in another dtype; the gradient is cast back."""
    if np.dtype(dtype).kind not in "fiub":
        raise TypeError(f"a Tensor holds floats, integers or bools, got dtype {np.dtype(dtype)}")
    return cast(as_array(x), dtype)
