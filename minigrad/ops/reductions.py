"""Reductions over any axes."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels.launch import Array, as_array, as_dtype, launch_python, normalize_axes, reduce, result_dtype, rows
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, Real, composed
from .elementwise import abs, equal, exp, isnan, not_equal, power, sqrt, square, where
from .indexing import along, take_along_axis
from .shape import as_tensor, flip, getitem, getitem_grad, pad_constant, permute_dims, repeated, reshape

REDUCE = Domain(attributes={"axis": "axes", "keepdims": (False, True)})
NONEMPTY = Domain("nonempty", attributes={"axis": "axes", "keepdims": (False, True)})
EXTREMUM = Domain(
    "nonempty", attributes={"axis": "axes", "keepdims": (False, True)}, apart=("x",), kinks="ties share evenly"
)
APART = Domain("nonempty", attributes={"axis": "axis"}, apart=("x",), kinks="to the last of ties")
ALONG = Domain("nonempty", attributes={"axis": "axis"})
LINE = Domain(attributes={"axis": "axis or none"})
POSITION = Domain("nonempty", attributes={"axis": "axis or none", "keepdims": (False, True)}, apart=("x",))


def _kept(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """``shape`` with length 1 along the reduced axes."""
    if axis is None:
        return (1,) * len(shape)
    axes = normalize_axes(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


@operation(
    dy=lambda g, dy_shape, axis: reshape(sum(g, axis), dy_shape),
    outputs=("dx",),
    view=True,
    domain=Domain("reduced", attributes={"shape": "shape", "axis": "axes"}),
)
def spread(dy: Any, /, shape: tuple[int, ...], axis: Any) -> Array:
    """``dy`` (with or without the reduced axes) repeated along ``axis`` to ``shape``, without copying."""
    return repeated(as_array(dy).reshape(_kept(shape, axis)), shape)


def _count(shape: tuple[int, ...], axis: Any) -> int:
    return math.prod(shape if axis is None else [shape[i] for i in normalize_axes(axis, len(shape))])


@operation(x=lambda g, x_shape, axis: spread(g, x_shape, axis), domain=REDUCE)
def sum(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The sum over ``axis`` (an integer, several, or None for all); of integers in int64."""
    return reduce("sum", as_array(x), axis, keepdims)


@operation(
    x=lambda g, x_shape, axis: spread(g / _count(x_shape, axis), x_shape, axis),
    domain=NONEMPTY,
)
def mean(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The mean over ``axis``; of integers in float32."""
    return reduce("mean", as_array(x), axis, keepdims)


def _ties(x: Any, y: Any, axis: Any) -> Tensor:
    """1 / (number of ties) where x is the extremum y of its row, else 0."""
    hits = equal(x, reshape(y, _kept(x.shape, axis))).astype(x.dtype)
    return hits / sum(hits, axis, keepdims=True)


@operation(x=lambda g, x, y, axis: spread(g, x.shape, axis) * _ties(x, y, axis), domain=EXTREMUM)
def max(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The largest element over ``axis``; NaN wins.  Ties share the gradient evenly."""
    return reduce("max", as_array(x), axis, keepdims)


@operation(x=lambda g, x, y, axis: spread(g, x.shape, axis) * _ties(x, y, axis), domain=EXTREMUM)
def min(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The smallest element over ``axis``; NaN wins.  Ties share the gradient evenly."""
    return reduce("min", as_array(x), axis, keepdims)


@operation(
    x=lambda g, x, y, axis: spread(g, x.shape, axis) * exp(x - reshape(y, _kept(x.shape, axis))),
    domain=NONEMPTY,
)
def logsumexp(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """``log(sum(exp(x)))`` over ``axis``, without overflow; -inf over nothing."""
    x = as_array(x)
    axes = normalize_axes(axis, x.ndim)
    others = [i for i in range(x.ndim) if i not in axes]
    moved = x.transpose(*others, *axes)
    last = reshape.forward(moved, (*[x.shape[i] for i in others], _count(x.shape, axis)))
    y = rows("logsumexp", last)
    return y.reshape(_kept(x.shape, axis)) if keepdims else y


def _arg(function: Any, x: Any, axis: int | None, keepdims: bool) -> Array:
    x = as_array(x)
    found = np.asarray(function(x, axis=axis, keepdims=keepdims))
    out = np.empty(found.shape, np.int64)

    def find(out: Array, x: Array) -> None:
        np.copyto(out, function(x, axis=axis, keepdims=keepdims))

    launch_python(find, out, x, name=function.__name__)
    return out


@operation(domain=POSITION)
def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Array:
    """The index of the first largest element along ``axis``, or in the flattened array."""
    return _arg(np.argmax, x, axis, keepdims)


@operation(domain=POSITION)
def argmin(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Array:
    """The index of the first smallest element along ``axis``, or in the flattened array."""
    return _arg(np.argmin, x, axis, keepdims)


def _integer_sum(x: Array) -> Any:
    """The dtype in which NumPy adds and multiplies x."""
    return {"b": np.int64, "i": np.int64, "u": np.uint64}.get(x.dtype.kind, x.dtype.newbyteorder("="))


def _reduce_python(function: Any, x: Any, axis: Any, keepdims: bool, dtype: Any) -> Array:
    """A reduction of NumPy's, for which there is no kernel."""
    x = as_array(x)
    axes, kept = normalize_axes(axis, x.ndim), _kept(x.shape, axis)
    out = np.empty(kept, dtype)

    def run(out: Array, x: Array) -> None:
        np.copyto(out, function(x, axis=axes, keepdims=True))

    launch_python(run, out, x, name=function.__name__)
    return out if keepdims else out.reshape([n for i, n in enumerate(x.shape) if i not in axes])


@operation(x=lambda g, x, axis: spread(g, x.shape, axis) * _product_of_others(x, axis), domain=REDUCE)
def prod(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """The product over ``axis``; of integers in int64.  The gradient is exact beside zeros too."""
    x = as_array(x)
    return _reduce_python(np.prod, x, axis, keepdims, _integer_sum(x))


def _product_of_others(x: Any, axis: Any) -> Tensor:
    """For each element the product of those that are reduced with it."""
    rows = _as_rows(x, axis)
    before = _later(cumprod_along(rows, -1), 1.0, -1)
    after = flip(_later(cumprod_along(flip(rows, -1), -1), 1.0, -1), -1)
    axes = normalize_axes(axis, x.ndim)
    order = (*[i for i in range(x.ndim) if i not in axes], *axes)
    return permute_dims(reshape(before * after, tuple(x.shape[i] for i in order)), tuple(np.argsort(order)))


def _as_rows(x: Any, axis: Any) -> Tensor:
    """x with the reduced axes as one, the last."""
    axes = normalize_axes(axis, x.ndim)
    others = [i for i in range(x.ndim) if i not in axes]
    return reshape(permute_dims(x, (*others, *axes)), (*[x.shape[i] for i in others], _count(x.shape, axis)))


@operation(domain=REDUCE)
def any(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """Whether an element over ``axis`` is True or not 0."""
    return _reduce_python(np.any, x, axis, keepdims, np.bool_)


@operation(domain=REDUCE)
def all(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """Whether all elements over ``axis`` are True or not 0."""
    return _reduce_python(np.all, x, axis, keepdims, np.bool_)


@operation(domain=REDUCE)
def count_nonzero(x: Any, /, axis: Any = None, keepdims: bool = False) -> Array:
    """How many elements over ``axis`` are True or not 0, in int64."""
    return _reduce_python(np.count_nonzero, x, axis, keepdims, np.int64)


@composed(replace(EXTREMUM, kinks="to the first of ties in the middle"))
def median(x: Any, /, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The middle element over ``axis``, or the mean of the two middle ones, which share the gradient; NaN wins."""
    x = as_tensor(x)
    ordered = sort(_as_rows(x, axis))
    n = ordered.shape[-1]
    middle = mean(getitem(ordered, (..., slice((n - 1) // 2 if n else 0, n // 2 + 1))), -1)
    if n and x.dtype.kind == "f":
        last = getitem(ordered, (..., -1))
        middle = where(isnan(last), last, middle)
    return reshape(middle, _kept(x.shape, axis)) if keepdims else middle


# Moments and norms --------------------------------------------------------------------------------

SPREAD = Domain("(M,N)", attributes={"axis": "axes", "correction": (0, 0.5), "keepdims": (False, True)})


@composed(SPREAD)
def var(x: Any, /, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The sum of ``(x - mean)^2`` over ``axis``, divided by the count less ``correction`` (1 for Bessel's)."""
    x = as_tensor(x)
    count = np.maximum(_count(x.shape, axis) - correction, 0)
    return sum(square(x - mean(x, axis, True)), axis, keepdims) / float(count)


@composed(Domain("(M,N)", attributes=SPREAD.attributes, apart=("x",), kinks="0 where all are equal"))
def std(x: Any, /, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The root of ``var``; where all elements are equal the gradient is 0."""
    return _root(var(x, axis, correction, keepdims))


def _root(x: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0."""
    none = equal(x, 0)
    return where(none, 0.0, sqrt(where(none, 1.0, x)))


@composed(
    Domain(
        "(M,N)",
        {"x": Real(0.3, 3)},
        {"axis": "axes", "keepdims": (False, True), "ord": (2, 1, 3, 1.5, -1, np.inf, -np.inf)},
        apart=("x",),
        kinks="0 at norm 0; ties of inf and -inf share evenly",
    )
)
def norm(x: Any, /, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """The vector norm ``sum(|x| ** ord) ** (1 / ord)`` over ``axis``.

    inf and -inf give the largest and the smallest ``|x|`` (ties share the gradient), 0 how many are not 0.
    The gradient is 0 at norm 0; for other orders than 1 and 2 that of an element 0 is 0 too.
    """
    x = as_tensor(x)
    if isinstance(ord, bool) or not isinstance(ord, int | float | np.number) or ord != ord:
        raise ValueError(f"norm needs a number as ord, got {ord!r}")
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    if ord == 2:
        return _root(sum(square(x), axis, keepdims))
    if ord == 0:
        return sum(not_equal(x, 0).astype(x.dtype), axis, keepdims)
    size = abs(x)
    if ord == 1:
        return sum(size, axis, keepdims)
    if ord in (np.inf, -np.inf):
        return max(size, axis, keepdims) if ord > 0 else min(size, axis, keepdims)
    total = sum(_power(size, float(ord)), axis, keepdims)
    return _power(total, 1 / float(ord))


def _power(x: Tensor, p: float) -> Tensor:
    """``x ** p`` of sizes, with gradient 0 at 0."""
    none = equal(x, 0)
    return where(none, 0.0 if p > 0 else np.inf, power(where(none, 1.0, x), p))


# Along an axis ------------------------------------------------------------------------------------


def _line(x: Any, axis: int | None) -> tuple[Tensor, int]:
    """x and an axis of it; None flattens."""
    x = as_tensor(x) if axis is not None else reshape(x, -1)
    return x, normalize_axes((0 if axis is None else axis,), x.ndim)[0]


def _accumulate(name: str, function: Any, x: Array, axis: int, dtype: Any) -> Array:
    (place,) = normalize_axes((axis,), x.ndim)
    x = as_dtype(x, dtype)
    out = np.empty(x.shape, dtype)
    launch_python(lambda out, x: function(x, place, out=out), out, x, name=name)
    return out


@operation(x=lambda g, axis: flip(cumsum_along(flip(g, axis), axis), axis), domain=ALONG)
def cumsum_along(x: Any, /, axis: int) -> Array:
    """``y[i] = x[0] + ... + x[i]`` along ``axis``."""
    x = as_array(x)
    return _accumulate("cumsum", np.add.accumulate, x, axis, _integer_sum(x))


@composed(LINE)
def cumsum(x: Any, /, axis: int | None = None) -> Tensor:
    """``y[i] = x[0] + ... + x[i]`` along ``axis``, or of the flattened tensor; of integers in int64."""
    return cumsum_along(*_line(x, axis))


@operation(
    joint=lambda g, a, y, axis: _recurrence_grads(_backwards(a, g, axis), y, axis),
    domain=Domain("(j),(j)", attributes={"axis": (0, -1)}),
)
def recurrence(a: Any, b: Any, /, axis: int) -> Array:
    """``y[i] = a[i] y[i - 1] + b[i]`` along ``axis``, from ``y[0] = b[0]``: what products and filters run on."""
    a, b = as_array(a), as_array(b)
    (place,) = normalize_axes((axis,), b.ndim)
    out = np.empty(b.shape, result_dtype("add", a, b))

    def run(out: Array, a: Array, b: Array) -> None:
        out, a, b = (np.moveaxis(x, place, 0) for x in (out, a, b))
        last: Any = 0
        for i in range(len(out)):
            last = out[i, ...] = a[i] * last + b[i] if i else b[i]

    launch_python(run, out, a, b, name="recurrence")
    return out


def _later(x: Any, first: float, axis: int) -> Tensor:
    """x one place later along ``axis``, after ``first``."""
    (place,) = normalize_axes((axis,), x.ndim)
    widths = [(int(i == place), 0) for i in range(x.ndim)]
    return getitem(pad_constant(x, widths, first), (slice(None),) * place + (slice(x.shape[place]),))


def _backwards(a: Any, g: Any, axis: int) -> Tensor:
    """``h[i] = g[i] + a[i + 1] h[i + 1]``: the cotangents of a recurrence, with what comes back from later places."""
    return flip(recurrence(_later(flip(a, axis), 0.0, axis), flip(g, axis), axis), axis)


def _recurrence_grads(h: Tensor, y: Any, axis: int) -> tuple[Tensor, Tensor]:
    return h * _later(y, 0.0, axis), h


@operation(x=lambda g, x, y, axis: _backwards(x, g, axis) * _later(y, 1.0, axis), domain=ALONG)
def cumprod_along(x: Any, /, axis: int) -> Array:
    """``y[i] = x[0] ... x[i]`` along ``axis``; the gradient is exact beside zeros too."""
    x = as_array(x)
    return _accumulate("cumprod", np.multiply.accumulate, x, axis, _integer_sum(x))


@composed(LINE)
def cumprod(x: Any, /, axis: int | None = None) -> Tensor:
    """``y[i] = x[0] ... x[i]`` along ``axis``, or of the flattened tensor; of integers in int64."""
    return cumprod_along(*_line(x, axis))


@operation(
    x=lambda g, x, axis: getitem_grad(g, along("cummax", cummax_places(x, axis), axis, x.shape), x.shape), domain=APART
)
def cummax_along(x: Any, /, axis: int) -> Array:
    """``y[i] = max(x[0], ..., x[i])`` along ``axis``."""
    x = as_array(x)
    return _accumulate("cummax", np.maximum.accumulate, x, axis, x.dtype.newbyteorder("="))


@operation(domain=replace(APART, kinks=""))
def cummax_places(x: Any, /, axis: int) -> Array:
    """Where the largest element up to each place stands, the last one of ties."""
    x = as_array(x)
    (place,) = normalize_axes((axis,), x.ndim)

    def find(out: Array, x: Array) -> None:
        places = np.arange(x.shape[place]).reshape(-1, *[1] * (x.ndim - place - 1))
        np.maximum.accumulate(np.where(x < np.maximum.accumulate(x, place), 0, places), place, out=out)

    out = np.empty(x.shape, np.int64)
    launch_python(find, out, x, name="cummax_places")
    return out


@composed(Domain(attributes={"axis": "axis or none"}, apart=("x",), kinks="to the last of ties"))
def cummax(x: Any, /, axis: int | None = None) -> Tensor:
    """``y[i] = max(x[0], ..., x[i])`` along ``axis``, or of the flattened tensor; NaN wins.

    The gradient goes to the last of ties, as in PyTorch.
    """
    return cummax_along(*_line(x, axis))


# Order --------------------------------------------------------------------------------------------

ORDER = Domain("nonempty", attributes={"axis": "axis", "descending": (False, True)}, apart=("x",))
TIES = "ties keep their order, each its gradient"


def _order(x: Array, axis: int, descending: bool) -> Array:
    (place,) = normalize_axes((axis,), x.ndim)

    def find(out: Array, x: Array) -> None:
        if descending:  # backwards on both sides, so that ties keep their order
            np.subtract(
                x.shape[place] - 1, np.flip(np.argsort(np.flip(x, place), place, kind="stable"), place), out=out
            )
        else:
            np.copyto(out, np.argsort(x, place, kind="stable"))

    out = np.empty(x.shape, np.int64)
    launch_python(find, out, x, name="argsort")
    return out


@operation(
    x=lambda g, order, axis: take_along_axis(g[0], argsort(order, axis), axis),
    outputs=("y", "order"),
    domain=replace(ORDER, kinks=TIES),
)
def sort_with_order(x: Any, /, axis: int = -1, descending: bool = False) -> tuple[Array, Array]:
    """The elements in order along ``axis``, and where each stood; ties stay in their order, NaN counts as largest."""
    x = as_array(x)
    order = _order(x, axis, descending)
    out = np.empty(x.shape, x.dtype.newbyteorder("="))

    def pick(out: Array, x: Array, order: Array) -> None:
        np.copyto(out, np.take_along_axis(x, order, axis))

    launch_python(pick, out, x, order, name="sort")
    return out, order


@composed(replace(ORDER, attributes={"axis": "axis or none", "descending": (False, True)}, kinks=TIES))
def sort(x: Any, /, axis: int | None = -1, descending: bool = False) -> Tensor:
    """The elements in order along ``axis``, or of the flattened tensor; NaN counts as largest.

    Ties keep their order (a stable sort), and each its own gradient.
    """
    return sort_with_order(*_line(x, axis), descending)[0]


@composed(replace(ORDER, attributes={"axis": "axis or none", "descending": (False, True)}, order=0))
def argsort(x: Any, /, axis: int | None = -1, descending: bool = False) -> Tensor:
    """Where the elements stand in order along ``axis``, or in the flattened tensor; ties as they come."""
    return order_along(*_line(x, axis), descending)


@operation(domain=ORDER)
def order_along(x: Any, /, axis: int, descending: bool = False) -> Array:
    """What sorts x along ``axis``."""
    return _order(as_array(x), axis, descending)


@composed(
    Domain(
        "(m,3)",
        {"x": Real(-10, 10)},
        {"k": (0, 1, 2), "largest": (True, False)},
        apart=("x",),
        kinks="the first of ties",
    ),
    "x",
)
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) elements along ``axis``, best first, and where they stand.

    Of ties the first are taken; NaN counts as largest.
    """
    x, place = _line(x, axis)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 0 <= k <= x.shape[place]:
        raise ValueError(f"topk takes from 0 to {x.shape[place]} elements along axis {axis} of {x.shape}, got k={k!r}")
    first = (slice(None),) * place + (slice(k),)
    values, order = sort_with_order(x, place, largest)
    return getitem(values, first), getitem(order, first)
