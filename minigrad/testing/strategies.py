"""Hypothesis strategies that draw the arguments of an operation from its domain."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..kernels.launch import normalize_axes
from ..operations import Operation
from ..ops.convolution import count_windows
from ..ops.domain import Bits, Boolean, Domain, Integer, Labels, Matrix, Real
from ..random import Generator

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError("minigrad.testing.strategies needs Hypothesis: pip install 'minigrad[test]'") from error

Shape = tuple[int, ...]
Shapes = tuple[list[Shape], dict[str, Any]]  # of the inputs, and the attributes drawn together with them

_SIDE = 3  # the longest axis
_DIMS = 3  # the most axes
_SIZE = 12  # the most elements of an array: two axes of the longest, and some of three


def arguments(
    operation: Operation | Callable[..., Any], dtype: DTypeLike = np.float64
) -> st.SearchStrategy[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments ``(args, kwargs)`` at which ``operation`` is defined and smooth, floating arrays of ``dtype``.

    operation : an operation, or a function of operations that states its domain (``minigrad.ops.domain.composed``);
        the arguments are those of its ``drawn`` form.

    Shapes are small, and empty or 0-d where the domain allows it; an optional input
    is sometimes None.  A generator among the attributes moves with each call: copy it.

    >>> import minigrad as mg
    >>> from hypothesis import given
    >>> @given(arguments(mg.multiply))
    ... def test_multiply(call):
    ...     args, kwargs = call
    ...     check_grads(mg.multiply, *args, **kwargs)
    """
    operation = getattr(operation, "drawn", operation)
    domain = getattr(operation, "domain", None)
    if domain is None:
        raise ValueError(f"{operation.__name__} states no domain")
    return _arguments(operation, domain, np.dtype(dtype))


@st.composite
def _arguments(draw: st.DrawFn, operation: Any, domain: Domain, dtype: np.dtype[Any]) -> Any:
    names = list(operation.inputs) * (draw(st.integers(1, 3)) if operation.variadic else 1)
    shapes, attributes = draw(_shapes(domain.shapes, len(names)))
    known = dict(zip(names, shapes, strict=True))
    args = []
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        missing = i >= operation.required and not operation.variadic and draw(st.booleans())
        args.append(None if missing else draw(_values(name, shape, domain, known, dtype)))
    for name, kind in domain.attributes.items():
        if name not in attributes:
            attributes[name] = draw(_attribute(kind, shapes[0]))
    return tuple(args), attributes


# Values --------------------------------------------------------------------------------


def _values(
    name: str, shape: Shape, domain: Domain, shapes: dict[str, Shape], dtype: np.dtype[Any]
) -> st.SearchStrategy[NDArray[Any]]:
    kind = domain.inputs.get(name, Real())
    if isinstance(kind, Boolean):
        return hnp.arrays(np.bool_, shape)
    if isinstance(kind, Integer):
        return hnp.arrays(np.int64, shape, elements=st.integers(kind.low, kind.high))
    if isinstance(kind, Matrix):
        return st.integers(0, 2**32 - 1).map(lambda seed: _matrix(kind, shape, Generator(seed)).astype(dtype))
    if isinstance(kind, Labels):
        return hnp.arrays(np.int64, shape, elements=st.integers(0, shapes[kind.of][kind.axis] - 1))
    if isinstance(kind, Bits):
        return hnp.arrays(np.uint8, (math.prod(shapes[kind.of]) + 7) // 8)
    if name in domain.apart:
        reals = _apart(kind, shape, domain.apart.index(name), unique=len(domain.apart) == 1)
    else:
        reals = hnp.arrays(np.float64, shape, elements=_reals(kind))
    return reals.map(lambda array: array.astype(dtype))


def _matrix(kind: Matrix, shape: Shape, rng: Generator) -> NDArray[np.float64]:
    *batch, m, n = shape
    k = min(m, n)
    u, v = (np.linalg.qr(rng.normal((*batch, side, side), dtype=np.float64))[0] for side in (m, n))
    values = 1 + 0.6 * np.arange(k) + rng.uniform((*batch, k), 0, 0.2, np.float64)
    if kind.symmetric and not kind.definite:
        values *= np.sign(rng.normal((*batch, k), dtype=np.float64))
    right = u if kind.symmetric or kind.definite else v
    product: NDArray[np.float64] = (u[..., :k] * values[..., None, :]) @ right[..., :k].swapaxes(-1, -2)
    return product


def _reals(kind: Real) -> st.SearchStrategy[float]:
    """Floats of the interval without its gaps: multiples of 2**-16, so that float32 holds them too."""
    edges = [kind.low, *(p + side * kind.gap for p in sorted(kind.exclude) for side in (-1, 1)), kind.high]
    grid = [math.floor(edge * 2**16) if i % 2 else math.ceil(edge * 2**16) for i, edge in enumerate(edges)]
    pieces = [st.integers(low, high) for low, high in zip(grid[::2], grid[1::2], strict=True) if low <= high]
    return st.one_of(pieces).map(lambda n: n * 2.0**-16)


def _apart(kind: Real, shape: Shape, parity: int, unique: bool) -> st.SearchStrategy[NDArray[Any]]:
    """Multiples of the gap: the even ones for one input, the odd ones for the other."""
    places = st.integers(0, int((kind.high - kind.low) / (2 * kind.gap)) - 1)
    drawn = hnp.arrays(np.int64, shape, elements=places, unique=unique)
    return drawn.map(lambda n: np.asarray(kind.low + kind.gap * (2 * n + parity)))


# Shapes --------------------------------------------------------------------------------


def _shapes(relation: str, count: int) -> st.SearchStrategy[Shapes]:
    if relation in ("same", "nonempty"):
        least = int(relation == "nonempty")
        shapes = hnp.array_shapes(min_dims=least, max_dims=_DIMS, min_side=least, max_side=_SIDE)
        return shapes.filter(_is_small).map(lambda shape: ([shape] * count, {}))
    if relation == "joined":
        return _joined(count)
    if relation == "indexed":
        return _indexed()
    if relation == "reduced":
        return _reduced()
    if relation in ("image", "columns", "windows"):
        return _windowed(relation)
    if relation.startswith(("convolution", "pooling")):
        return (_convolution if relation.startswith("convolution") else _pooling)(int(relation[-1]))
    if relation.endswith("filled image"):
        return _filled(relation, count)
    return _signature(",".join(["(...)"] * count) if relation == "broadcast" else relation)


def _is_small(shape: Shape) -> bool:
    return math.prod(shape) <= _SIZE


@st.composite
def _signature(draw: st.DrawFn, signature: str) -> Shapes:
    specs = [spec.split(",") for spec in re.findall(r"\(([^)]+)\)", signature)]
    letters = sorted({name for spec in specs for name in spec if name != "..."})
    lengths = {
        name: (int(name) if name.isdecimal() else draw(st.integers(int(name.isupper()), _SIDE)),) for name in letters
    }
    loops = [i for i, spec in enumerate(specs) if "..." in spec]
    drawn: dict[int, Shape] = {}
    if loops:
        together = hnp.mutually_broadcastable_shapes(
            num_shapes=len(loops), max_dims=_DIMS - min(map(len, specs)) + 1, min_side=0, max_side=_SIDE
        )
        small = together.filter(lambda shapes: _is_small(shapes.result_shape))
        drawn = dict(zip(loops, draw(small).input_shapes, strict=True))
    parts = [[drawn[i] if name == "..." else lengths[name] for name in spec] for i, spec in enumerate(specs)]
    return [tuple(n for part in spec for n in part) for spec in parts], {}


@st.composite
def _joined(draw: st.DrawFn, count: int) -> Shapes:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=_DIMS, min_side=0, max_side=_SIDE))
    axis = draw(_axis(shape))
    lengths = draw(st.lists(st.integers(0, _SIDE), min_size=count, max_size=count))
    place = axis % len(shape)
    return [(*shape[:place], n, *shape[place + 1 :]) for n in lengths], {"axis": axis}


@st.composite
def _indexed(draw: st.DrawFn) -> Shapes:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=_DIMS, min_side=0, max_side=_SIDE))
    index = draw(_index(shape))
    return [np.empty(shape)[index].shape], {"index": index, "shape": shape}


@st.composite
def _reduced(draw: st.DrawFn) -> Shapes:
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=_DIMS, min_side=0, max_side=_SIDE))
    axis = draw(_axes(shape))
    axes, keepdims = normalize_axes(axis, len(shape)), draw(st.booleans())
    kept = [1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes]
    return [tuple(kept)], {"axis": axis, "shape": shape}


@st.composite
def _windowed(draw: st.DrawFn, relation: str) -> Shapes:
    """An image batch, or its columns, with windows that fit."""

    def pair(least: int, most: int) -> tuple[int, int]:
        return draw(st.integers(least, most)), draw(st.integers(least, most))

    (n, c), size, kernel, stride, dilation = pair(0, 2), pair(1, 4), pair(1, 3), pair(1, 2), pair(1, 2)
    short = [max(d * (k - 1) + 1 - n, 0) for n, k, d in zip(size, kernel, dilation, strict=True)]
    before = [draw(st.integers(0, s)) for s in short]
    padding = tuple((b, s - b + draw(st.integers(0, 1))) for b, s in zip(before, short, strict=True))
    attributes: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if relation == "image":
        return [(n, c, *size)], attributes
    windows = count_windows(size, **attributes)
    shape = (n, c * math.prod(kernel), math.prod(windows)) if relation == "columns" else (n, c, *windows)
    return [shape], {"size": size, **attributes}


@st.composite
def _filled(draw: st.DrawFn, relation: str, count: int) -> Shapes:
    """Images, of the first perhaps its windows, each of which has an element outside the padding."""
    sides: list[Any] = []
    for _ in range(2):
        k = draw(st.integers(1, 3))
        d = draw(st.integers(1, 1 if k == 3 else 2))
        before, after = draw(st.tuples(*[st.integers(0, int(k > 1))] * 2))
        reach = d * (k - 1) + 1
        length = draw(st.integers(reach, max(reach, _SIDE)))
        sides.append((length, k, draw(st.integers(1, 2)), (before, after), d))
    size, kernel, stride, padding, dilation = zip(*sides, strict=True)
    attributes = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    lead = draw(st.sampled_from([(1, 1), (1, 2), (0, 1)]))
    shapes = [(*lead, *size)] * count
    if relation.startswith("windows"):
        shapes[0] = (*lead, *count_windows(size, **attributes))
    return shapes, attributes


@st.composite
def _convolution(draw: st.DrawFn, dims: int) -> Shapes:
    """x, weight and bias of a convolution, and what it is called with."""
    groups, per_group, outputs = draw(st.sampled_from([(1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 2)]))
    kernel = [draw(st.integers(1, 2)) for _ in range(dims)]
    stride, dilation = draw(st.sampled_from([(1, 1), (2, 1), (1, 2)]))
    padding = draw(st.sampled_from([0, 1, "valid", *["same"] * (stride == 1)]))
    least = [dilation * (k - 1) + 1 for k in kernel]
    size = [n + draw(st.integers(0, 1)) for n in least]
    x = (draw(st.sampled_from([1, 0])), groups * per_group, *size)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return [x, (outputs, per_group, *kernel), (outputs,)], attributes


@st.composite
def _pooling(draw: st.DrawFn, dims: int) -> Shapes:
    """x of a pooling, whose windows all have elements of it, and what it is called with."""
    kernel, stride = draw(st.integers(1, 2)), draw(st.sampled_from([None, 1, 2]))
    size = [draw(st.integers(kernel, 3)) for _ in range(dims)]
    x = draw(st.sampled_from([(1, 1), (1, 2), (0, 1)])) + tuple(size)
    attributes = {"kernel_size": kernel, "stride": stride, "padding": draw(st.integers(0, kernel // 2))}
    return [x], attributes


# Attributes ----------------------------------------------------------------------------


def _attribute(kind: Any, shape: Shape) -> st.SearchStrategy[Any]:
    return st.sampled_from(kind) if isinstance(kind, tuple) else _ATTRIBUTES[kind](shape)


def _axis(shape: Shape) -> st.SearchStrategy[int]:
    return st.integers(-len(shape), len(shape) - 1)


def _either_sign(axes: Sequence[int], ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    """The same axes, each counted from the front or from the back."""
    return st.tuples(*[st.sampled_from((axis, axis - ndim)) for axis in axes])


def _some_of(axes: Sequence[int], ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    chosen = st.lists(st.sampled_from(axes), unique=True) if axes else st.just([])
    return chosen.flatmap(lambda some: _either_sign(some, ndim))


def _axis_or_none(shape: Shape) -> st.SearchStrategy[Any]:
    return st.none() | _axis(shape) if shape else st.none()


def _axes(shape: Shape) -> st.SearchStrategy[Any]:
    return _axis_or_none(shape) | _some_of(range(len(shape)), len(shape))


def _new_axes(shape: Shape) -> st.SearchStrategy[Any]:
    ndim = len(shape) + 2
    return st.integers(-ndim + 1, ndim - 2) | st.lists(
        st.integers(0, ndim - 1), min_size=2, max_size=2, unique=True
    ).flatmap(lambda two: _either_sign(two, ndim))


def _unit_axes(shape: Shape) -> st.SearchStrategy[Any]:
    return st.none() | _some_of([axis for axis, n in enumerate(shape) if n == 1], len(shape))


def _permutation(shape: Shape) -> st.SearchStrategy[Any]:
    orders = st.permutations(range(len(shape)))
    return st.none() | orders.flatmap(lambda axes: _either_sign(axes, len(shape)))


def _other_shape(shape: Shape) -> st.SearchStrategy[Any]:
    size = math.prod(shape)
    candidates: list[Any] = [size, (size,), -1, shape[::-1], (1, *shape), (*shape, 1)]
    if shape and 0 not in shape[1:]:
        candidates.append((-1, *shape[1:]))
    return st.sampled_from(candidates)


def _wider_shape(shape: Shape) -> st.SearchStrategy[Shape]:
    """A shape that ``shape`` broadcasts to."""
    lengths = st.integers(0, _SIDE)
    stretched = st.tuples(*[lengths if n == 1 else st.just(n) for n in shape])
    return st.one_of(stretched, st.tuples(lengths, stretched).map(lambda drawn: (drawn[0], *drawn[1])))


def _index(shape: Shape) -> st.SearchStrategy[Any]:
    """Slices, integers, new axes and ellipses, arrays of integers, or a mask."""
    kinds: list[st.SearchStrategy[Any]] = [
        hnp.basic_indices(shape, allow_newaxis=True, max_dims=_DIMS + 1),
        hnp.arrays(np.bool_, shape),
    ]
    if shape and 0 not in shape:
        kinds.append(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=_SIDE)))
    return st.one_of(kinds)


_ATTRIBUTES: dict[str, Callable[[Shape], st.SearchStrategy[Any]]] = {
    "axis": _axis,
    "axis or none": _axis_or_none,
    "axes": _axes,
    "new axes": _new_axes,
    "unit axes": _unit_axes,
    "permutation": _permutation,
    "shape": _other_shape,
    "wider shape": _wider_shape,
    "index": _index,
    "generator": lambda shape: st.integers(0, 2**64 - 1).map(Generator),
}
