"""Shape and indexing: results share the memory of their input where NumPy's do."""

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import written
from ..kernels.launch import Array, as_array, contiguous, launch, launch_python, normalize_axes, result_dtype
from ..kernels.recording import refuse
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, composed


def as_tensor(x: Any) -> Tensor:
    """``x`` as a Tensor, where operations put together must see its shape; they take no lists either."""
    if not isinstance(x, Tensor | np.ndarray | np.generic | int | float):
        raise TypeError(
            f"operations take tensors, arrays and numbers, got {type(x).__name__}; minigrad.tensor() converts"
        )
    return x if isinstance(x, Tensor) else Tensor(as_array(x))


@operation(x=lambda g, x_shape: reshape(g, x_shape), view=True, domain=Domain(attributes={"shape": "shape"}))
def reshape(x: Any, /, shape: Any) -> Array:
    """The same elements, in C order, in another shape; one length may be -1."""
    x = as_array(x)
    if x.flags.c_contiguous:
        return x.reshape(shape)
    try:
        return x.reshape(shape, copy=False)
    except ValueError:
        return contiguous(x).reshape(shape)
    except TypeError:  # NumPy 2.0 knows no copy=
        y = x.reshape(shape)
        return y if np.may_share_memory(x, y) else contiguous(x).reshape(shape)


@operation(
    x=lambda g, axes: permute_dims(g, None if axes is None else tuple(np.argsort([a % len(axes) for a in axes]))),
    view=True,
    domain=Domain(attributes={"axes": "permutation"}),
)
def permute_dims(x: Any, /, axes: Sequence[int] | None = None) -> Array:
    """The axes in another order; None reverses them."""
    return as_array(x).transpose(axes)


@composed(Domain("(m,n,k)", attributes={"axis1": (0, -1), "axis2": (1, 0)}), "x")
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    order = list(range(np.ndim(getattr(x, "data", x))))
    (i,), (j,) = (normalize_axes(axis, len(order)) for axis in ((axis1,), (axis2,)))
    order[i], order[j] = order[j], order[i]
    return permute_dims(x, tuple(order))


@operation(x=lambda g, x_shape: reshape(g, x_shape), view=True, domain=Domain(attributes={"axis": "new axes"}))
def expand_dims(x: Any, /, axis: Any) -> Array:
    """A new axis of length 1 at position ``axis`` (an integer or several)."""
    return np.expand_dims(as_array(x), axis)


@operation(x=lambda g, x_shape: reshape(g, x_shape), view=True, domain=Domain(attributes={"axis": "unit axes"}))
def squeeze(x: Any, /, axis: Any = None) -> Array:
    """Axes of length 1 removed: all of them, or those named (``ValueError`` if longer)."""
    return np.squeeze(as_array(x), axis)


@operation(x=lambda g: g, broadcasts=True, view=True, domain=Domain(attributes={"shape": "wider shape"}))
def broadcast_to(x: Any, /, shape: Any) -> Array:
    """Repeated, without copying, to a shape that x broadcasts to; the result is read-only."""
    return repeated(as_array(x), tuple(shape) if isinstance(shape, Sequence) else (shape,))


def repeated(x: Array, shape: tuple[int, ...]) -> Array:
    """A read-only view of ``x``, broadcast to ``shape``: ``np.broadcast_to``, several times quicker for one element."""
    if x.size == 1 and x.ndim <= len(shape):
        view = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        view.flags.writeable = False
        return view
    return np.broadcast_to(x, shape)


@operation(
    joint=lambda g, arrays_shape, axis: _parts(g, arrays_shape, axis),
    domain=Domain("joined", attributes={"axis": "axis"}),
)
def concat_arrays(*arrays: Any, axis: int = 0) -> Array:
    """Arrays joined along an axis that they have."""
    if axis is None:
        raise TypeError("concat needs an integer axis, got None; flatten the arrays first")
    dtype = result_dtype("concat", *arrays)
    probe = np.concatenate([np.broadcast_to(np.empty((), bool), np.shape(a)) for a in arrays], axis=axis)
    out = np.empty(probe.shape, dtype)
    launch_python(lambda out, *arrays: np.concatenate(arrays, axis=axis, out=out), out, *arrays, name="concat")
    return out


def _parts(g: Any, shapes: Sequence[tuple[int, ...]], axis: int) -> tuple[Tensor, ...]:
    """The pieces of a concatenation's cotangent."""
    parts = []
    start = 0
    for shape in shapes:
        stop = start + shape[axis]
        index = (slice(None),) * (axis % len(shape)) + (slice(start, stop),)
        parts.append(getitem(g, index))
        start = stop
    return tuple(parts)


@composed(Domain("joined", attributes={"axis": "axis"}), "*arrays")
def concat(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis; their other lengths must agree."""
    return concat_arrays(*arrays, axis=axis)


@composed(Domain(attributes={"axis": (0, -1)}), "*arrays")
def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    return concat_arrays(*[expand_dims(a, axis) for a in arrays], axis=axis)


# Rearranged -----------------------------------------------------------------------------------------


@composed(Domain("(m,n,k)", attributes={"source": (0, -1), "destination": (1, -3)}), "x")
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes moved to other places, the others in their order."""
    x = as_tensor(x)
    names = np.empty(range(x.ndim), bool)  # each length names its axis; the first makes it empty
    return permute_dims(x, np.moveaxis(names, source, destination).shape)


@operation(x=lambda g, axis: flip(g, axis), view=True, domain=Domain(attributes={"axis": "axes"}))
def flip(x: Any, /, axis: Any = None) -> Array:
    """The order reversed along ``axis`` (an integer, several, or None for all), without copying."""
    return np.flip(as_array(x), axis)


@operation(
    x=lambda g, shift, axis: roll(g, tuple(-s for s in shift) if isinstance(shift, tuple) else -shift, axis),
    domain=Domain(attributes={"shift": (0, 1, -2, 7), "axis": "axis or none"}),
)
def roll(x: Any, /, shift: int | tuple[int, ...], axis: Any = None) -> Array:
    """Moved along ``axis`` by ``shift``, what leaves at the end comes in at the start; flattened for None."""
    x = as_array(x)
    out = np.empty(x.shape, x.dtype)
    launch_python(lambda out, x: np.copyto(out, np.roll(x, shift, axis)), out, x, name="roll")
    return out


@composed(Domain(attributes={"repetitions": (0, 2, (2,), (1, 2), (2, 1, 1, 2))}))
def tile(x: Any, /, repetitions: int | Sequence[int]) -> Tensor:
    """Copies of x side by side, ``repetitions`` along each axis, the last ones if there are fewer than axes."""
    x = as_tensor(x)
    counts = tuple(repetitions) if isinstance(repetitions, Sequence) else (repetitions,)
    ndim = max(len(counts), x.ndim)
    counts, shape = (1,) * (ndim - len(counts)) + counts, (1,) * (ndim - x.ndim) + x.shape
    apart = reshape(x, tuple(m for n in shape for m in (1, n)))
    wide = broadcast_to(apart, tuple(m for pair in zip(counts, shape, strict=True) for m in pair))
    return reshape(wide, tuple(c * n for c, n in zip(counts, shape, strict=True)))


@composed(Domain(attributes={"repeats": (0, 1, 3), "axis": "axis or none"}))
def repeat(x: Any, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element ``repeats`` times in a row (a number, or one for each), along ``axis`` or flattened."""
    x = reshape(x, -1) if axis is None else as_tensor(x)
    (place,) = normalize_axes((0 if axis is None else axis,), x.ndim)
    counts = np.asarray(repeats.numpy() if isinstance(repeats, Tensor) else repeats)
    if counts.ndim:
        return getitem(x, (slice(None),) * place + (np.repeat(np.arange(x.shape[place]), counts),))
    before, after, count = x.shape[: place + 1], x.shape[place + 1 :], operator.index(repeats)
    wide = broadcast_to(expand_dims(x, place + 1), (*before, count, *after))
    return reshape(wide, (*before[:-1], before[-1] * count, *after))


@composed(Domain("(m,2)", attributes={"sections": (1, 2, (1,), (0, 1)), "axis": (1, -1)}), "x")
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts along ``axis``: so many equal ones, or cut before each of the indices."""
    x = as_tensor(x)
    (place,) = normalize_axes((axis,), x.ndim)
    n = x.shape[place]
    if isinstance(sections, int | np.integer):
        count = int(sections)
        if count < 1 or n % count:
            raise ValueError(f"split cannot cut an axis of length {n} into {count} equal parts")
        cuts = list(range(n // count, n, n // count)) if n else [0] * (count - 1)
    else:
        cuts = [operator.index(i) for i in sections]
    before = (slice(None),) * place
    return [getitem(x, (*before, slice(*ends))) for ends in itertools.pairwise([0, *cuts, None])]


@composed(Domain("(M,n)", attributes={"axis": (0, -2)}), "x")
def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along ``axis``, without that axis: the opposite of ``stack``."""
    x = as_tensor(x)
    (place,) = normalize_axes((axis,), x.ndim)
    return tuple(getitem(x, (slice(None),) * place + (i,)) for i in range(x.shape[place]))


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """Before and after of every axis, from NumPy's number, pair or pairs."""
    widths = np.broadcast_to(np.asarray(pad_width), (ndim, 2))
    if widths.dtype.kind not in "iu" or (widths < 0).any():
        raise ValueError(f"pad_width is a whole number from 0 on, a pair, or a pair for each axis, got {pad_width!r}")
    return [(int(before), int(after)) for before, after in widths]


def _inside(pad_width: Any, shape: tuple[int, ...]) -> Any:
    return (*(slice(b, b + n) for (b, _), n in zip(_widths(pad_width, len(shape)), shape, strict=True)), ...)


@operation(
    x=lambda g, x_shape, pad_width: getitem(g, _inside(pad_width, x_shape)),
    domain=Domain(attributes={"pad_width": (0, 1, (1, 2)), "value": (0.0, 1.5)}),
)
def pad_constant(x: Any, /, pad_width: Any, value: float = 0.0) -> Array:
    """x with ``value`` around it."""
    x = as_array(x)
    widths = _widths(pad_width, x.ndim)
    out = np.empty([b + n + a for (b, a), n in zip(widths, x.shape, strict=True)], x.dtype)
    launch("copy", (out, np.asarray(value).astype(x.dtype)))
    launch("copy", (out[_inside(pad_width, x.shape)], x))
    return out


@composed(
    Domain(
        "nonempty",
        attributes={"pad_width": (0, 1, (1, 2)), "mode": ("constant", "edge", "reflect", "symmetric", "wrap")},
    ),
    "x",
)
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Tensor:
    """More elements before and after each axis, as NumPy's ``pad``.

    pad_width : a number, a pair (before, after), or a pair for each axis.
    mode : ``"constant"``, or what the elements are taken from: ``"edge"``, ``"reflect"``, ``"symmetric"``, ``"wrap"``.
    """
    if mode == "constant":
        return pad_constant(x, pad_width, constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise NotImplementedError(f"pad has the modes constant, edge, reflect, symmetric and wrap, not {mode!r}")
    x = as_tensor(x)
    for axis, width in enumerate(_widths(pad_width, x.ndim)):
        if any(width):
            places = np.pad(np.arange(x.shape[axis]), width, mode)  # type: ignore[call-overload]
            x = getitem(x, (slice(None),) * axis + (places,))
    return x


FEW = 8  # times that a row may be named before it pays to sort all of them

# Indexing --------------------------------------------------------------------------------------------


def _plain(index: Any) -> Any:
    """An index with its Tensors replaced by their arrays."""
    if isinstance(index, tuple):
        return tuple(_plain(i) for i in index)
    if isinstance(index, Tensor) and index.dtype.kind == "b":
        refuse("indexing by a boolean tensor", "how much it picks depends on the data; use where()")
    return index.data if isinstance(index, Tensor) else index


def _arrays_in(index: Any) -> list[Array]:
    return [part for part in (index if isinstance(index, tuple) else (index,)) if isinstance(part, np.ndarray)]


def _with_arrays(index: Any, arrays: Sequence[Array]) -> Any:
    """The index with other arrays in place of its own, in their order."""
    left = iter(arrays)
    if isinstance(index, tuple):
        return tuple(next(left) if isinstance(part, np.ndarray) else part for part in index)
    return next(left, index)


def _is_basic(index: Any) -> bool:
    """Whether NumPy answers this index with a view."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is ... or isinstance(p, slice | int | np.integer) for p in parts) and not any(
        isinstance(p, bool) for p in parts
    )


@operation(
    x=lambda g, x_shape, index: getitem_grad(g, index, x_shape),
    view=True,
    domain=Domain(attributes={"index": "index"}),
)
def getitem(x: Any, /, index: Any) -> Array:
    """``x[index]`` with every index that NumPy takes; a view where NumPy gives one."""
    x, index = as_array(x), _plain(index)
    if _is_basic(index):
        y = x[index]
        if isinstance(y, np.ndarray):
            return y
        return x[(*(index if isinstance(index, tuple) else (index,)), ...)]
    out = np.array(x[index])

    def gather(out: Array, x: Array, *arrays: Array) -> None:
        np.copyto(out, x[_with_arrays(index, arrays)])

    launch_python(gather, out, x, *_arrays_in(index), name="getitem")
    return out


def add_at(out: Array, index: Any, dy: Array) -> None:
    """Add ``dy`` to zeros at ``index``, as often as an element is named: ``np.add.at``, quicker for rows and masks."""
    only = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    kind = only.dtype.kind if isinstance(only, np.ndarray) else ""
    if _is_basic(index) or kind == "b":
        out[index] = dy  # which names nothing twice
    elif kind and out.ndim > 1 and out.size:
        _add_rows(out, only.ravel().astype(np.intp), dy.reshape(-1, *out.shape[1:]))
    else:
        np.add.at(out, index, dy)


def _add_rows(out: Array, index: Array, dy: Array) -> None:
    """Row i of ``dy`` added to row ``index[i]`` of zeros."""
    index = np.where(index < 0, index + len(out), index)
    counts = np.bincount(index, minlength=len(out))
    most = counts.max(initial=0)
    if most <= 1:
        out[index] = dy
        return
    order = np.argsort(index, kind="stable")
    starts = (np.cumsum(counts) - counts)[counts > 0]
    if most > FEW:
        out[counts > 0] = np.add.reduceat(dy[order], starts)
        return
    for k in range(most):  # the rows that are named for the k-th time
        again = counts > k
        out[again] += dy[order[starts[again[counts > 0]] + k]]


@operation(
    dy=lambda g, index: getitem(g, index),
    outputs=("dx",),
    domain=Domain("indexed", attributes={"index": "index", "shape": "shape"}),
)
def getitem_grad(dy: Any, /, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of ``shape`` with ``dy`` added at ``index``, as often as an element is named."""
    index, dy = _plain(index), as_array(dy)
    out = np.empty(shape, dy.dtype)

    def scatter(out: Array, dy: Array, *arrays: Array) -> None:
        out.fill(0)
        add_at(out, _with_arrays(index, arrays), dy)

    launch_python(scatter, out, dy, *_arrays_in(index), name="getitem_grad")
    return out


def assign_(tensor: Tensor, value: Any, index: Any = ...) -> Tensor:
    """Write ``value`` into ``tensor[index]``, outside the graph, and return the tensor.

    The value is broadcast and cast within its kind.  Later backward passes
    through operations that saved the old values raise ``GraphError``.
    """
    recorded = tensor.storage().recorded if tensor.node is None else tensor.node.op.name
    if recorded:
        raise RuntimeError(
            f"assign_ writes into leaves and constants, not into the result of {recorded}; minigrad.tensor() copies it"
        )
    source = value.data if isinstance(value, Tensor) else np.asarray(value)
    if not np.can_cast(source.dtype, tensor.dtype, "same_kind"):
        raise TypeError(f"assign_ cannot write {source.dtype} into {tensor.dtype}; convert it with astype")
    index = _plain(index)
    place = tensor.data[index] if index is not ... else tensor.data
    if np.broadcast_shapes(place.shape, source.shape) != place.shape:
        raise ValueError(f"assign_ cannot broadcast {source.shape} into {place.shape}")
    if not tensor.data.flags.writeable:
        raise ValueError("assign_ cannot write into a read-only array")
    if np.may_share_memory(source, tensor.data):
        source = contiguous(source)
    if index is ...:
        launch("copy", (tensor.data, source))
    else:

        def write(out: Array, value: Array, *arrays: Array) -> None:
            out[_with_arrays(index, arrays)] = value

        launch_python(write, tensor.data, source, *_arrays_in(index), name="assign_")
    written([tensor], "assign_")
    return tensor
