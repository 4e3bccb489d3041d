"""The door: every kernel call of the library passes ``launch``.

The helpers below it check shapes and dtypes, allocate the destination and
launch one call.  They take and give ndarrays; Tensors live a floor above.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from sys import getrefcount
from time import perf_counter
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import reference
from .table import KERNELS, Kernel

try:
    from . import _binding
except ImportError:  # built without a compiler: the reference serves every call
    _binding = None  # type: ignore[assignment]

Array = NDArray[Any]
Scalar = float | Array
Helper = TypeVar("Helper", bound=Callable[..., Any])


def _quick(helper: Helper) -> Helper:
    """The compiled twin of ``helper``: it does what is common at once and calls ``helper`` for the rest."""
    return _binding.quicken(helper) if _binding else helper


class ReferenceCall:
    """A call that NumPy runs: the twin of the compiled ``Call`` where there is no extension."""

    native = False
    ready = True

    def __init__(self, row: Kernel, arrays: tuple[Array, ...], scalars: tuple[Scalar, ...] = ()) -> None:
        group, count = len(row.arrays), len(arrays)
        fits = {"UPDATE": count > 0 == count % group, "TENSORS": count >= group}
        if not fits.get(row.family, count == group):
            raise TypeError(f"{row.name} takes {group} arrays, got {count}")
        if row.family == "UPDATE":
            for i, a in enumerate(arrays):
                first = arrays[i - i % group]
                if not isinstance(a, np.ndarray):
                    raise TypeError(f"{row.name} takes ndarrays, got {type(a).__name__}")
                if a.shape != first.shape or a.dtype != first.dtype:
                    raise ValueError(f"{row.name}: {a.dtype} {a.shape} beside {first.dtype} {first.shape}")
        self.kernel, self.arrays, self.scalars = row.name, arrays, scalars
        self._row = row
        self.work = arrays[0].size

    def run(self) -> None:
        reference.run(self.kernel, self._row.family, len(self._row.arrays), self.arrays, self.scalars)

    def __repr__(self) -> str:
        return f"{self._row.line(self.arrays, self.scalars)}  # reference"


class PythonCall:
    """A step that has no row in the table: a function that fills arrays, kept as a call like any other."""

    native = False
    ready = True
    scalars = ()

    outputs = 1

    def __init__(self, function: Callable[..., None], arrays: tuple[Array, ...], name: str = "") -> None:
        self.kernel, self.arrays, self.function = name or getattr(function, "__name__", "python"), arrays, function
        self.work = arrays[0].size

    def run(self) -> None:
        with np.errstate(all="ignore"):
            self.function(*self.arrays)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self.arrays)
        return f"{self.kernel}({shapes})  # python"


Call: Any = _binding.Call if _binding else ReferenceCall
_ROWS: dict[str, Any] = _binding.rows_of_the_table() if _binding else KERNELS


def make_call(
    name: str, arrays: tuple[Array, ...], scalars: tuple[Scalar, ...] = (), whole: tuple[int, ...] = (0, 0)
) -> Any:
    """A call of kernel ``name``, checked and not run; where it is a part, ``whole`` tells C of what."""
    return Call(_ROWS[name], arrays, scalars, whole) if any(whole) else Call(_ROWS[name], arrays, scalars)


def _after_replay(writes: list[Any], leaves: list[Any]) -> None:
    for storage, writer in writes:
        storage.written(writer)
    for leaf, grad in leaves:
        leaf.grad = grad


class ReferenceReplay:
    """A recorded list of calls, run again: the twin of the compiled ``Replay`` where there is no extension."""

    def __init__(
        self,
        calls: list[Any],
        inputs: list[Array],
        outputs: list[Array],
        written: list[Array],
        chains: list[tuple[int, int]],  # of calls in C: there are none here
        team: Any = None,
    ) -> None:
        self.calls, self.inputs, self.outputs = calls, inputs, outputs

    def fitting(self, inputs: tuple[Any, ...]) -> list[Array] | None:
        arrays: list[Any] = [x if isinstance(x, np.ndarray) else getattr(x, "data", None) for x in inputs]
        fit = len(arrays) == len(self.inputs) and all(
            isinstance(a, np.ndarray) and a.shape == own.shape and a.dtype == own.dtype
            for a, own in zip(arrays, self.inputs, strict=True)
        )
        return arrays if fit else None

    def run(self, arrays: list[Array], writes: list[Any], leaves: list[Any]) -> list[Array]:
        for own, given in zip(self.inputs, arrays, strict=True):
            np.copyto(own, given)
        for call in self.calls:
            call.run()
        after_replay(writes, leaves)
        return [out.copy() for out in self.outputs]

    def timed(self) -> list[float]:
        seconds = []
        for call in self.calls:
            start = perf_counter()
            call.run()
            seconds.append(perf_counter() - start)
        return seconds

    def run_steps(
        self,
        data: tuple[Array, ...],
        order: Array,
        rows: int,
        steps: int,
        scale: float,
        logged: list[Array],
        logs: list[Array],
        first: int,
    ) -> None:
        for step in range(first, first + steps):
            picked = order[step * rows : (step + 1) * rows]
            for own, a in zip(self.inputs, data, strict=True):
                np.copyto(own, a[picked] if a.dtype == own.dtype else a[picked] * np.float32(scale))
            for call in self.calls:
                call.run()
            for log, a in zip(logs, logged, strict=True):
                log[step] = a


multiply_adds: Any = _binding.multiply_adds if _binding else None  # made in registers, to see how fast they can be
Replay: Any = _binding.Replay if _binding else ReferenceReplay
after_replay: Any = _binding.after_replay if _binding else _after_replay


class Slot:
    """Room for one observer of ``what``: a recorder, a profiler, a NaN watcher, a stepper."""

    __slots__ = ("observer", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self.observer: Callable[..., None] | None = None

    @contextmanager
    def observe(self, observer: Callable[..., None]) -> Iterator[None]:
        """Keep ``observer`` in the slot until the block ends; raises ``RuntimeError`` if it is taken."""
        if self.observer is not None:
            raise RuntimeError(f"{self.what} are being observed already; end that observer first")
        self.observer = observer
        try:
            yield
        finally:
            self.observer = None


_slot = Slot("kernel calls")
if _binding:
    _binding.set_slot(_slot)


def observe(observer: Callable[[Any], None]) -> AbstractContextManager[None]:
    """Hand every call to ``observer(call)``, which must ``call.run()`` it, until the block ends."""
    return _slot.observe(observer)


@_quick
def pass_on(call: Any) -> None:
    """Run a call, or hand it to the observer, who does."""
    if _slot.observer is None:
        call.run()
    else:
        _slot.observer(call)


@_quick
def launch(name: str, arrays: tuple[Array, ...], scalars: tuple[Scalar, ...] = ()) -> None:
    """Run kernel ``name``: destinations first, then inputs, then scalars (numbers or cells).

    Float32 runs in C on the active target, other dtypes on the reference.
    Arrays that C cannot read in place are copied first, each copy a call of its own.
    Raises ``TypeError`` for a wrong number of arrays or mixed floating dtypes and
    ``ValueError`` for shapes that do not fit, before anything is written.
    """
    call = Call(_ROWS[name], arrays, scalars)
    if call.ready:
        pass_on(call)
    else:
        _launch_copied(KERNELS[name], arrays, scalars)


@_quick
def prepare(name: str, arrays: tuple[Array, ...], scalars: tuple[Scalar, ...] = (), before: Any = None) -> Any:
    """An update that has been checked and waits for ``run_prepared``, so that several can be checked
    before the first of them writes.  Raises as ``launch`` does.

    ``before`` is a ``spent`` call of the same update, or None: it is filled anew where it can be.
    """
    return Call(_ROWS[name], arrays, scalars)


@_quick
def spent(call: Any) -> Any:
    """An update that has run, without its gradients, to be filled anew; None where an observer may have kept it."""
    return None


run_prepared = pass_on


def launch_python(function: Callable[..., None], *arrays: Array, name: str = "", outputs: int = 1) -> None:
    """Run ``function(*arrays)``, the destination (or ``outputs`` of them) first, through the same door as a kernel.

    A replay calls it again, with arrays elsewhere in memory: it may keep none but those.
    """
    call = PythonCall(function, arrays, name)
    call.outputs = outputs
    pass_on(call)


def _launch_copied(row: Kernel, arrays: tuple[Array, ...], scalars: tuple[Scalar, ...]) -> None:
    """Launch on C-contiguous copies, broadcasts written out, and copy the results back."""
    outputs = len(row.outputs) if row.inputs else len(arrays)
    shapes = [a.shape for a in arrays]
    if row.family == "ELEMENTWISE":
        shapes = [arrays[0].shape] * len(arrays)
    elif row.family == "MATMUL" and row.name != "linear":
        shapes = [arrays[0].shape[:-2] + a.shape[-2:] for a in arrays]
    order = _kept_first(*shapes) if row.family == "REDUCE" else None
    settled = []
    for i, (a, shape) in enumerate(zip(arrays, shapes, strict=True)):
        fresh = _empty(shape, a.dtype.newbyteorder("="), order)
        if i >= outputs or not row.inputs:  # what is changed in place is read, too
            launch("copy", (fresh, a))
        settled.append(fresh)
    if row.family == "MATMUL":
        settled = [_fold_batch(a) if row.name != "linear" else a for a in settled]
    pass_on(Call(_ROWS[row.name], tuple(settled), scalars))
    for a, fresh in zip(arrays[:outputs], settled[:outputs], strict=True):
        launch("copy", (a, fresh.reshape(a.shape)))


def _kept_first(out: tuple[int, ...], x: tuple[int, ...]) -> list[int]:
    """The axes of a reduction in a memory order that merges them into two."""
    return sorted(range(len(x)), key=lambda axis: out[axis] == 1 != x[axis])


def _empty(shape: tuple[int, ...], dtype: DTypeLike, order: list[int] | None) -> Array:
    if order is None:
        return np.empty(shape, dtype)
    return np.empty([shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def _fold_batch(a: Array) -> Array:
    return a.reshape(-1, *a.shape[-2:])


# What autograd asks, which the compiled engine calls as C ------------------------------------

_count = itertools.count(1)


@_quick
def next_order() -> int:
    """1, then 2, and so on, whoever asks."""
    return next(_count)


@_quick
def address(x: Any) -> int:
    """Which object it is: ``id``."""
    return id(x)


@_quick
def called(function: Callable[..., Any], first: list[Any], rest: tuple[Any, ...]) -> Any:
    """``function(*first, *rest)``."""
    return function(*first, *rest)


@_quick
def chosen(
    function: Callable[..., Any],
    places: tuple[int, ...],
    g: Any,
    needs: Any,
    attributes: tuple[Any, ...],
    saved: list[Any],
) -> Any:
    """``function`` of what stands at ``places`` in ``(g, needs, *attributes, *saved, None)``."""
    known = (g, needs, *attributes, *saved, None)
    return function(*[known[k] for k in places])


@_quick
def unshared(tensors: list[Any], i: int) -> bool:
    """Whether nothing but the list refers to ``tensors[i]``, and nothing else to its memory, which is no larger and
    writeable: so it may be written or kept.

    ``getrefcount`` counts its argument, too; the memory of a view belongs to its base.
    """
    if getrefcount(tensors[i]) > 2 or getrefcount(tensors[i].data) > 2 or not tensors[i].data.flags.writeable:
        return False
    base = tensors[i].data.base
    if base is None:
        return True
    return (
        type(base) is np.ndarray
        and base.base is None
        and getrefcount(base) <= 3
        and base.nbytes == tensors[i].data.nbytes
    )


@_quick
def form_of(x: Array) -> Any:
    """Shape and dtype of an array, kept without it."""
    return x.shape, x.dtype


@_quick
def has_form(x: Array, form: Any) -> bool:
    """Whether ``x`` has this shape and dtype, or those of another array."""
    return bool(form_of(x) == (form_of(form) if isinstance(form, np.ndarray) else form))


@_quick
def same_order(x: Array, like: Array) -> bool:
    """Whether two arrays of one shape and dtype lie in memory alike."""
    return x.strides == like.strides


@_quick
def is_floating(x: Array) -> bool:
    """Whether ``x`` holds floating-point numbers."""
    return x.dtype.kind == "f"


# Dtypes ---------------------------------------------------------------------------

_FLOAT_VALUED = frozenset(
    [
        "sqrt",
        "reciprocal",
        "exp",
        "log",
        "tanh",
        "sigmoid",
        "expm1",
        "log1p",
        "sin",
        "cos",
        "erf",
        "gelu",
        "divide",
        "mean",
    ]
)
_FLOAT32 = np.dtype(np.float32)
_INT64 = np.dtype(np.int64)


def result_dtype(name: str, *operands: Any) -> np.dtype[Any]:
    """The dtype in which operands meet: NumPy's, except that scalars never
    promote and that integers and bools become float32 beside float32, beside
    a float scalar, and in functions with fractional values."""
    dtypes = {x.dtype for x in operands if isinstance(x, np.ndarray)}
    scalars = [x for x in operands if not isinstance(x, np.ndarray)]
    if not dtypes:
        dtypes = {_FLOAT32 if isinstance(x, float | np.floating) else np.asarray(x).dtype for x in scalars}
    floating = {d for d in dtypes if d.kind == "f"}
    if not floating and (name in _FLOAT_VALUED or any(isinstance(x, float | np.floating) for x in scalars)):
        return _FLOAT32
    dtype = np.result_type(*(floating if any(d.itemsize == 4 for d in floating) else dtypes))
    if dtype.kind == "b" and any(not isinstance(x, bool | np.bool_) for x in scalars):
        return _INT64
    return dtype.newbyteorder("=")


@_quick
def as_array(x: Any) -> Array:
    """``x`` as an ndarray; a float becomes float32, as in ``minigrad.tensor``."""
    return x if isinstance(x, np.ndarray) else np.asarray(x, _FLOAT32 if isinstance(x, float) else None)


def as_rows(x: Array) -> Array:
    """``x`` (..., n) as C-contiguous (rows, n), copied (by a launch) only if it must be."""
    if not x.flags.c_contiguous:
        x = contiguous(x)
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def contiguous(x: Array) -> Array:
    """A C-ordered copy."""
    out = np.empty(x.shape, x.dtype)
    launch("copy", (out, x))
    return out


def as_dtype(x: Any, dtype: DTypeLike) -> Array:
    """``x`` as an ndarray of ``dtype``, copied (by a launch) only if it is not one yet."""
    if not isinstance(x, np.ndarray):
        return np.asarray(x, dtype)
    return x if x.dtype == dtype else cast(x, dtype)


def cast(x: Array, dtype: DTypeLike) -> Array:
    """A copy of ``x`` in another dtype."""
    out = np.empty_like(x, dtype)
    launch_python(reference.copy, out, x)
    return out


def same_float(name: str, *arrays: Array) -> np.dtype[Any]:
    """The one dtype of a matrix product or a loss: unlike elementwise operations they never mix precisions."""
    floating = {a.dtype for a in arrays if a.dtype.kind == "f"}
    if len(floating) > 1 and len({d.newbyteorder("=") for d in floating}) > 1:
        names = " and ".join(sorted(str(d) for d in floating))
        raise TypeError(f"{name} does not mix {names}; convert one side with .astype")
    return result_dtype(name, *arrays)


# Helpers: one launch each ------------------------------------------------------------


@_quick
def unary(name: str, x: Any, *scalars: Scalar) -> Array:
    """``name`` of every element; a column-major array stays one."""
    x = as_array(x)
    x = as_dtype(x, result_dtype(name, x))
    out = _empty_like(x, x.shape, x.dtype)
    launch(name, (out, x), scalars)
    return out


@_quick
def elementwise(name: str, *operands: Any) -> Array:
    """``name`` of two operands (arrays or scalars) broadcast together."""
    dtype = result_dtype(name, *operands)
    arrays = [as_dtype(x, dtype) for x in operands]
    return _broadcast(name, dtype, arrays)


@_quick
def where(condition: Any, a: Any, b: Any) -> Array:
    """``a`` where ``condition`` is true or non-zero, else ``b``."""
    dtype = result_dtype("where", a, b)
    return _broadcast("where", dtype, [as_dtype(condition, np.bool_), as_dtype(a, dtype), as_dtype(b, dtype)])


@_quick
def empty_array(shape: tuple[int, ...], dtype: np.dtype[Any], order: Literal["C", "F"] = "C") -> Array:
    """``np.empty``; a large array takes memory that another has given back, which the system need not clear anew."""
    return np.empty(shape, dtype, order)


def _empty_like(like: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Memory for a result: column-major beside a column-major array, else row-major, as the quick way has it."""
    return empty_array(tuple(shape), np.dtype(dtype), "F" if like.flags.fnc else "C")


def _broadcast(name: str, dtype: np.dtype[Any], arrays: Sequence[Array]) -> Array:
    out = _destination(name, dtype, arrays)
    launch(name, (out, *arrays))
    return out


def _destination(name: str, dtype: DTypeLike, arrays: Sequence[Array]) -> Array:
    """Room for what arrays broadcast to, in the memory order of the first that has as many axes."""
    like = max(arrays, key=lambda a: a.ndim)
    shape = like.shape
    if any(a.shape != shape for a in arrays):
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arrays))
        except ValueError:
            shapes = " and ".join(str(a.shape) for a in arrays)
            raise ValueError(f"{name} cannot broadcast shapes {shapes} together") from None
    return _empty_like(like, shape, dtype)


def ufunc(name: str, function: Callable[..., Any], dtype: DTypeLike, *arrays: Array) -> Array:
    """``function(*arrays, out=out)`` of arrays broadcast together, in NumPy: for what has no kernel."""
    out = _destination(name, dtype, arrays)
    launch_python(lambda out, *arrays: function(*arrays, out=out), out, *arrays, name=name)
    return out


def float_ufunc(name: str, function: Callable[..., Any], *operands: Any) -> Array:
    """``ufunc`` in the floating dtype of the operands; integers become float32."""
    dtype = result_dtype("exp", *operands)
    return ufunc(name, function, dtype, *[as_dtype(x, dtype) for x in operands])


def compare(function: Callable[..., Any], a: Any, b: Any) -> Array:
    """A NumPy comparison of two operands, as a bool array."""
    return ufunc(function.__name__, function, np.bool_, _comparable(a, b), _comparable(b, a))


def _comparable(x: Any, other: Any) -> Array:
    """``x`` as an array, a number in the dtype of the ``other`` side where that can hold it."""
    if isinstance(x, np.ndarray):
        return x
    dtype = result_dtype("", other, x)
    fits = dtype.kind not in "iu" or np.iinfo(dtype).min <= x <= np.iinfo(dtype).max
    return np.asarray(x, dtype if fits else None)


def normalize_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes as a sorted tuple of non-negative integers; ``None`` is all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, tuple | list | range) else (axis,)
    for a in axes:
        if not isinstance(a, int | np.integer) or isinstance(a, bool):
            raise TypeError(f"axis must be an integer or a tuple of them, got {a!r}")
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(int(a), ndim)
    found = tuple(sorted(int(a) % ndim for a in axes))
    if len(set(found)) != len(found):
        raise ValueError(f"axis {axis} names an axis twice")
    return found


@_quick
def reduce(name: str, x: Array, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Array:
    """``name`` over ``axis``; sums of integers and bools are 64 bits wide, means of them float32."""
    axes = normalize_axes(axis, x.ndim)
    dtype = result_dtype(name, x)
    if name == "sum" and dtype.kind in "biu":
        dtype = np.dtype(np.uint64) if dtype.kind == "u" else _INT64
    x = as_dtype(x, dtype)
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    out = empty_array(kept, dtype)
    launch(name, (out, x))
    return out if keepdims else out.reshape([n for i, n in enumerate(x.shape) if i not in axes])


@_quick
def matmul(a: Array, b: Array) -> Array:
    """``(..., m, k) @ (..., k, n)``, batch axes broadcast."""
    dtype = same_float("matmul", a, b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul needs (..., m, k) and (..., k, n), got {a.shape} and {b.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul cannot broadcast the batch axes of {a.shape} and {b.shape}") from None
    out = empty_array((*batch, a.shape[-2], b.shape[-1]), dtype)
    launch("matmul", (out, as_dtype(a, dtype), as_dtype(b, dtype)))
    return out


@_quick
def linear(x: Any, weight: Any, bias: Any = None, relu: bool = False) -> Array:
    """``x @ weight.T + bias`` with an optional ReLU: x (..., in), weight (out, in), bias (out,)."""
    x, weight, bias = as_array(x), as_array(weight), None if bias is None else as_array(bias)
    arrays = [x, weight] if bias is None else [x, weight, bias]
    dtype = same_float("linear", *arrays)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear needs x (..., in) and weight (out, in), got {x.shape} and {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear needs bias {weight.shape[:1]} for weight {weight.shape}, got {bias.shape}")
    rows = as_dtype(x, dtype)
    rows = rows if x.ndim == 2 else as_rows(rows)
    weight = as_dtype(weight, dtype)
    out = empty_array((len(rows), len(weight)), dtype)
    if bias is None:
        launch("matmul", (out, rows, weight.T))
        if relu:
            launch("relu", (out, out))
    else:
        launch("linear", (out, rows, weight, as_dtype(bias, dtype)), (float(relu),))
    return out.reshape(*x.shape[:-1], len(weight))


@_quick
def rows(name: str, *arrays: Array) -> Array:
    """A row kernel over the last axis of (..., columns) arrays; ``logsumexp`` drops that axis."""
    x = arrays[0]
    if x.ndim < 1:
        raise ValueError(f"{name} needs at least one axis, got a 0-d array")
    dtype = same_float(name, *arrays)
    dtype = _FLOAT32 if dtype.kind != "f" else dtype
    shape = x.shape[:-1] if name == "logsumexp" else x.shape
    out = empty_array(shape, dtype)
    if x.size == 0:
        out.fill(-np.inf)
        return out
    flat = [as_rows(as_dtype(a, dtype)) for a in arrays]
    launch(name, (out.reshape(-1) if name == "logsumexp" else out.reshape(-1, x.shape[-1]), *flat))
    return out


@_quick
def linear_grad(
    dy: Any, x: Any, weight: Any, wanted: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Of ``linear``, three launches: dy (..., out), x (..., in), weight (out, in); None for what is not ``wanted``.

    weight counts for the first alone, x for the second; either may be None where it does not.
    """
    to_x, to_weight, to_bias = (*wanted, False)[:3]
    dy, x, weight = [None if a is None else as_array(a) for a in (dy, x, weight)]
    rows = dy if dy.ndim == 2 else as_rows(dy)
    dx = matmul(rows, weight).reshape(*dy.shape[:-1], weight.shape[1]) if to_x else None
    dweight = matmul((x if x.ndim == 2 else as_rows(x)).T, rows).T if to_weight else None
    return dx, dweight, reduce("sum", rows, 0) if to_bias else None


@_quick
def cross_entropy(x: Any, labels: Any, mean: bool = True) -> Array:
    """Of each row of x (N, C) with labels (N,), or the mean over the rows."""
    x, labels = as_array(x), as_array(labels)
    labels = _class_indices(labels, x)
    if x.dtype != _FLOAT32:
        x = as_dtype(x, result_dtype("exp", x))
    out = np.empty(len(x), x.dtype)
    launch("cross_entropy", (out, x, labels))
    return reduce("mean", out) if mean else out


@_quick
def cross_entropy_grad(dy: Any, x: Any, labels: Any) -> Array:
    """In x: dy (N,), or 0-d of the mean over the rows."""
    dy, x, labels = as_array(dy), as_array(x), as_array(labels)
    labels = _class_indices(labels, x)
    if dy.ndim == 0:
        each = np.empty(len(x), x.dtype)
        launch("divide", (each, dy, np.array(len(x), x.dtype)))
        dy = each
    out = np.empty(x.shape, x.dtype)
    launch("cross_entropy_grad", (out, dy if dy.flags.c_contiguous else contiguous(dy), x, labels))
    return out


def _class_indices(labels: Array, logits: Array) -> Array:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy takes class indices, integers, as labels, got {labels.dtype}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] == 0:
        raise ValueError(
            f"cross_entropy needs logits (N, C) and labels (N,), C at least 1, got {logits.shape} and {labels.shape}"
        )
    return as_dtype(labels, np.int64)


# Targets and threads --------------------------------------------------------------------

_C_TARGETS = ("portable", "avx2", "avx512")
_active = "reference"


def targets() -> tuple[str, ...]:
    """The targets that can run here, plainest first."""
    return ("reference", *_C_TARGETS[: _binding.targets()]) if _binding else ("reference",)


def active() -> str:
    """The target in use."""
    return _active


def use(target: str) -> None:
    """Choose the target: ``"reference"``, ``"portable"``, ``"avx2"`` or ``"avx512"``.

    Raises ``ValueError`` if this build or processor cannot run it.
    """
    global _active
    if target not in targets():
        raise ValueError(f"target {target!r} cannot run here; available: {', '.join(targets())}")
    if _binding:
        _binding.use(0 if target == "reference" else _C_TARGETS.index(target) + 1)
    _active = target


def num_threads() -> int:
    """How many threads a large call may use."""
    return int(_binding.num_threads()) if _binding else 1


def set_num_threads(n: int) -> None:
    """Let large calls use up to ``n`` threads, from 1 to 64.  Results do not depend on it."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= 64:
        raise ValueError(f"the number of threads must be an integer from 1 to 64, got {n!r}")
    if _binding:
        _binding.set_num_threads(int(n))


use(os.environ.get("MINIGRAD_TARGET") or targets()[-1])
if os.environ.get("MINIGRAD_NUM_THREADS"):
    text = os.environ["MINIGRAD_NUM_THREADS"]
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError(f"MINIGRAD_NUM_THREADS must be a number from 1 to 64, got {text!r}")
    set_num_threads(int(text))
