"""Tensor: an ndarray that remembers the operation it came from.

The class is short on purpose.  Every method is one visible line through
``ops``, a table that ``minigrad.ops`` fills when it is imported; so this file
depends on nothing above it, and an editor or a type checker sees the methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .kernels import recording
from .kernels.launch import address


class Table:
    """The operations by name, ``apply``, which runs any of them, and what NumPy calls; filled from above."""

    __slots__ = ("__dict__", "apply")


ops: Any = Table()


class Storage:
    """The memory that a tensor and its views share: counts writes and names the last writer.

    ``recorded`` names the operation whose result it is, where a graph may hold that
    result without counting; it must not be written to.
    """

    __slots__ = ("recorded", "source", "version", "writer")

    def __init__(self, recorded: str = "") -> None:
        self.recorded = recorded
        self.version = 0
        self.writer = ""
        self.source = ""

    def written(self, writer: str, source: str = "") -> None:
        self.version += 1
        self.writer, self.source = writer, source


class Tensor:
    """An array with a gradient.

    ``Tensor(array)`` shares the memory of a NumPy array; ``minigrad.tensor``
    copies.  ``data`` is always an ndarray, also for 0-d; ``shape``, ``dtype``,
    ``ndim``, ``size`` and ``T`` are its own, ``mT`` swaps the last two axes.  A
    leaf that requires grad (``is_leaf``, ``requires_grad``) receives ``.grad``, a
    Tensor of its own memory, from ``backward()``.
    Tensors compare elementwise and hash by identity.  NumPy's functions take
    tensors and record the graph as ours do: see ``minigrad.ops.numpy_protocol``.
    """

    __slots__ = ("__weakref__", "_requires_grad", "_storage", "data", "grad", "index", "node")

    def __init__(self, data: NDArray[Any], requires_grad: bool = False, node: Any = None, index: int = 0) -> None:
        if type(data) is not np.ndarray:
            if not isinstance(data, np.ndarray):
                raise TypeError(f"Tensor() wraps an ndarray, got {type(data).__name__}; minigrad.tensor() converts")
            data = np.asarray(data)
        if data.dtype.kind not in "fiub":
            raise TypeError(f"a Tensor holds floats, integers or bools, got dtype {data.dtype}")
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors can require gradients, got {data.dtype}")
        self.data = data
        self.node = node
        self.index = index
        self.grad: Tensor | None = None
        self._requires_grad = bool(requires_grad)
        self._storage: Storage | None = None

    # What it is ------------------------------------------------------------------

    # fmt: off
    @property
    def shape(self) -> tuple[int, ...]: return self.data.shape
    @property
    def dtype(self) -> np.dtype[Any]: return self.data.dtype
    @property
    def ndim(self) -> int: return self.data.ndim
    @property
    def size(self) -> int: return self.data.size
    @property
    def is_leaf(self) -> bool: return self.node is None
    @property
    def requires_grad(self) -> bool: return self._requires_grad
    # fmt: on

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Start or stop receiving gradients; only a leaf can be told so."""
        if self.node is not None:
            raise RuntimeError("requires_grad can be set on leaves only; use detach() for a leaf with these values")
        if value and self.data.dtype.kind != "f":
            raise TypeError(f"only floating-point tensors can require gradients, got {self.data.dtype}")
        self._requires_grad = bool(value)
        return self

    def storage(self) -> Storage:
        """The write counter of its memory, shared with its views."""
        if self._storage is None:
            self._storage = Storage("" if self.node is None else self.node.op.name)
        return self._storage

    # In and out --------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same memory as a leaf outside the graph."""
        result = Tensor(self.data)
        result._storage = self.storage()
        return result

    def numpy(self) -> NDArray[Any]:
        """The array itself; read-only where the tensor requires grad, since a write would go unseen."""
        array = self._taken("numpy()").view()
        if self._requires_grad:
            array.flags.writeable = False
        return array

    def item(self) -> Any:
        """The only element as a Python number; ``ValueError`` if there is not exactly one."""
        self._taken("a number from a tensor")
        if self.data.size != 1:
            raise ValueError(f"item() needs exactly one element, got shape {self.data.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._taken("tolist()").tolist()

    def flatten(self) -> Tensor:
        """The elements in one row, in C order."""
        return ops.reshape(self, -1)

    def _taken(self, how: str) -> NDArray[Any]:
        """The array, about to leave for where a recorder cannot follow it."""
        if recording.current is not None:
            recording.refuse(how, recording.READING)
        return self.data

    def _shared(self, how: str, error: type[Exception]) -> NDArray[Any]:
        """The array for others to read and write, so not where a gradient would be lost on the way."""
        array = self._taken(how)
        if self._requires_grad:
            raise error(f"{how} would lose the gradient of a tensor that requires grad; detach() it first")
        return array

    def _number(self, kind: type) -> Any:
        """The only element for ``float`` or ``int``, which raise ``TypeError`` as NumPy's do."""
        if self.data.size != 1:
            raise TypeError(f"{kind.__name__}() needs exactly one element, got shape {self.data.shape}")
        return kind(self._taken("a number from a tensor").item())

    def assign_(self, value: Any, index: Any = ...) -> Tensor:
        """Write ``value`` (broadcast) into the tensor, or into ``tensor[index]``, outside the graph."""
        return ops.assign_(self, value, index)

    def backward(
        self,
        gradient: Tensor | ArrayLike | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor to the ``.grad`` of the leaves: see ``minigrad.autograd.backward``."""
        ops.backward(self, gradient, retain_graph, create_graph, inputs)

    def __repr__(self) -> str:
        text = np.array2string(self.data, separator=", ", prefix="Tensor(")
        kind = "" if self.data.dtype == np.float32 else f", dtype={self.data.dtype}"
        origin = f", node={self.node.op.name}" if self.node else ", requires_grad=True" if self._requires_grad else ""
        return f"Tensor({text}{kind}{origin})"

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu" or self.data.ndim:
            raise TypeError(f"only a 0-d integer tensor is an index, got {self.data.dtype} {self.data.shape}")
        return int(self.item())

    def __contains__(self, value: Any) -> bool:
        """Whether any element equals ``value``."""
        self._taken("a branch on a tensor")
        found = self == value
        return isinstance(found, Tensor) and bool(found.data.any())

    def __reduce__(self) -> Any:
        """Copies, by ``copy`` or by pickle, are leaves of their own memory."""
        if self.node is not None:
            raise RuntimeError(
                f"the result of {self.node.op.name} is not copied or pickled with its graph; detach() it"
            )
        grad = None if self.grad is None else copy(self.grad)
        state = (type(self), self.data.copy(order="K"), self._requires_grad, grad)
        return _restored, state, getattr(self, "__dict__", None)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("tensors do not change in place: use t.assign_(value, index) outside the graph, or where()")

    def _renamed(self, symbol: str, result: Tensor) -> Tensor:
        """What ``t += x`` binds the name t to, a new tensor: for a leaf that requires grad never what is meant."""
        if self._requires_grad and self.node is None:
            raise RuntimeError(
                f"t {symbol}= x would leave the leaf t, which requires grad, as it is and name a new tensor t; "
                f"to update the leaf write t.assign_(t {symbol} x), to go on from it t = t {symbol} x"
            )
        return result

    # One line each --------------------------------------------------------

    # fmt: off
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self._shared("np.asarray()", RuntimeError), dtype, copy=copy)
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return ops.array_ufunc(ufunc, method, inputs, options)
    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return ops.array_function(function, args, kwargs)
    def __dlpack__(self, **arguments: Any) -> Any: return self._shared("DLPack", BufferError).__dlpack__(**arguments)
    def __dlpack_device__(self) -> Any: return self.data.__dlpack_device__()
    def __len__(self) -> int: return len(self.data)
    def __iter__(self) -> Iterator[Tensor]: return (self[i] for i in range(len(self.data)))
    def __bool__(self) -> bool: return bool(self._taken("a branch on a tensor"))
    def __float__(self) -> float: return self._number(float)
    def __int__(self) -> int: return self._number(int)
    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and not self.data.ndim else object.__format__(self, spec)
    def __hash__(self) -> int: return address(self)

    def __getitem__(self, index: Any) -> Tensor: return ops.getitem(self, index)
    def __add__(self, other: Any) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return ops.subtract(self, other)
    def __rsub__(self, other: Any) -> Tensor: return ops.subtract(other, self)
    def __mul__(self, other: Any) -> Tensor: return ops.multiply(self, other)
    def __rmul__(self, other: Any) -> Tensor: return ops.multiply(other, self)
    def __truediv__(self, other: Any) -> Tensor: return ops.divide(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return ops.divide(other, self)
    def __pow__(self, other: Any) -> Tensor: return ops.power(self, other)
    def __rpow__(self, other: Any) -> Tensor: return ops.power(other, self)
    def __matmul__(self, other: Any) -> Tensor: return ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return ops.matmul(other, self)
    def __iadd__(self, other: Any) -> Tensor: return self._renamed("+", ops.add(self, other))
    def __isub__(self, other: Any) -> Tensor: return self._renamed("-", ops.subtract(self, other))
    def __imul__(self, other: Any) -> Tensor: return self._renamed("*", ops.multiply(self, other))
    def __itruediv__(self, other: Any) -> Tensor: return self._renamed("/", ops.divide(self, other))
    def __neg__(self) -> Tensor: return ops.negative(self)
    def __pos__(self) -> Tensor: return self
    def __abs__(self) -> Tensor: return ops.abs(self)
    def __mod__(self, other: Any) -> Tensor: return ops.remainder(self, other)
    def __rmod__(self, other: Any) -> Tensor: return ops.remainder(other, self)
    def __floordiv__(self, other: Any) -> Tensor: return ops.floor_divide(self, other)
    def __rfloordiv__(self, other: Any) -> Tensor: return ops.floor_divide(other, self)
    def __and__(self, other: Any) -> Tensor: return ops.bitwise_and(self, other)
    def __rand__(self, other: Any) -> Tensor: return ops.bitwise_and(other, self)
    def __or__(self, other: Any) -> Tensor: return ops.bitwise_or(self, other)
    def __ror__(self, other: Any) -> Tensor: return ops.bitwise_or(other, self)
    def __xor__(self, other: Any) -> Tensor: return ops.bitwise_xor(self, other)
    def __rxor__(self, other: Any) -> Tensor: return ops.bitwise_xor(other, self)
    def __invert__(self) -> Tensor: return ops.bitwise_invert(self)
    def __eq__(self, x: Any) -> Any: return ops.equal(self, x) if isinstance(x, _COMPARABLE) else NotImplemented
    def __ne__(self, x: Any) -> Any: return ops.not_equal(self, x) if isinstance(x, _COMPARABLE) else NotImplemented
    def __lt__(self, other: Any) -> Tensor: return ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return ops.less_equal(self, other)
    def __gt__(self, other: Any) -> Tensor: return ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return ops.greater_equal(self, other)

    def abs(self) -> Tensor: return ops.abs(self)
    def sign(self) -> Tensor: return ops.sign(self)
    def square(self) -> Tensor: return ops.square(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def rsqrt(self) -> Tensor: return ops.rsqrt(self)
    def reciprocal(self) -> Tensor: return ops.reciprocal(self)
    def exp(self) -> Tensor: return ops.exp(self)
    def expm1(self) -> Tensor: return ops.expm1(self)
    def exp2(self) -> Tensor: return ops.exp2(self)
    def log(self) -> Tensor: return ops.log(self)
    def log1p(self) -> Tensor: return ops.log1p(self)
    def log2(self) -> Tensor: return ops.log2(self)
    def log10(self) -> Tensor: return ops.log10(self)
    def sin(self) -> Tensor: return ops.sin(self)
    def cos(self) -> Tensor: return ops.cos(self)
    def tan(self) -> Tensor: return ops.tan(self)
    def asin(self) -> Tensor: return ops.asin(self)
    def acos(self) -> Tensor: return ops.acos(self)
    def atan(self) -> Tensor: return ops.atan(self)
    def sinh(self) -> Tensor: return ops.sinh(self)
    def cosh(self) -> Tensor: return ops.cosh(self)
    def asinh(self) -> Tensor: return ops.asinh(self)
    def acosh(self) -> Tensor: return ops.acosh(self)
    def atanh(self) -> Tensor: return ops.atanh(self)
    def erf(self) -> Tensor: return ops.erf(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def floor(self) -> Tensor: return ops.floor(self)
    def ceil(self) -> Tensor: return ops.ceil(self)
    def round(self) -> Tensor: return ops.round(self)
    def trunc(self) -> Tensor: return ops.trunc(self)
    def isnan(self) -> Tensor: return ops.isnan(self)
    def isinf(self) -> Tensor: return ops.isinf(self)
    def isfinite(self) -> Tensor: return ops.isfinite(self)
    def logical_and(self, other: Any) -> Tensor: return ops.logical_and(self, other)
    def logical_or(self, other: Any) -> Tensor: return ops.logical_or(self, other)
    def logical_xor(self, other: Any) -> Tensor: return ops.logical_xor(self, other)
    def logical_not(self) -> Tensor: return ops.logical_not(self)
    def maximum(self, other: Any) -> Tensor: return ops.maximum(self, other)
    def minimum(self, other: Any) -> Tensor: return ops.minimum(self, other)
    def atan2(self, other: Any) -> Tensor: return ops.atan2(self, other)
    def hypot(self, other: Any) -> Tensor: return ops.hypot(self, other)
    def logaddexp(self, other: Any) -> Tensor: return ops.logaddexp(self, other)
    def xlogy(self, other: Any) -> Tensor: return ops.xlogy(self, other)
    def clip(self, min: Any = None, max: Any = None) -> Tensor: return ops.clip(self, min, max)
    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.sum(self, axis, keepdims)
    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.mean(self, axis, keepdims)
    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.max(self, axis, keepdims)
    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.min(self, axis, keepdims)
    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.prod(self, axis, keepdims)
    def var(self, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        return ops.var(self, axis, correction, keepdims)
    def std(self, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        return ops.std(self, axis, correction, keepdims)
    def norm(self, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor:
        return ops.norm(self, axis, keepdims, ord)
    def median(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.median(self, axis, keepdims)
    def logsumexp(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.logsumexp(self, axis, keepdims)
    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.any(self, axis, keepdims)
    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.all(self, axis, keepdims)
    def count_nonzero(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return ops.count_nonzero(self, axis, keepdims)
    def dot(self, other: Any) -> Tensor: return ops.dot(self, other)
    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return ops.trace(self, offset, axis1, axis2)
    def argmax(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.argmax(self, axis, keepdims)
    def argmin(self, axis: Any = None, keepdims: bool = False) -> Tensor: return ops.argmin(self, axis, keepdims)
    def cumsum(self, axis: int | None = None) -> Tensor: return ops.cumsum(self, axis)
    def cumprod(self, axis: int | None = None) -> Tensor: return ops.cumprod(self, axis)
    def cummax(self, axis: int | None = None) -> Tensor: return ops.cummax(self, axis)
    def sort(self, axis: int | None = -1, descending: bool = False) -> Tensor: return ops.sort(self, axis, descending)
    def argsort(self, axis: Any = -1, descending: bool = False) -> Tensor: return ops.argsort(self, axis, descending)
    def topk(self, k: int, axis: int = -1, largest: bool = True) -> Any: return ops.topk(self, k, axis, largest)
    def softmax(self, axis: int = -1) -> Tensor: return ops.softmax(self, axis)
    def log_softmax(self, axis: int = -1) -> Tensor: return ops.log_softmax(self, axis)
    def reshape(self, *shape: Any) -> Tensor: return ops.reshape(self, shape[0] if len(shape) == 1 else shape)
    def permute_dims(self, axes: Any) -> Tensor: return ops.permute_dims(self, axes)
    def swapaxes(self, axis1: int, axis2: int) -> Tensor: return ops.swapaxes(self, axis1, axis2)
    def squeeze(self, axis: Any = None) -> Tensor: return ops.squeeze(self, axis)
    def expand_dims(self, axis: Any) -> Tensor: return ops.expand_dims(self, axis)
    def broadcast_to(self, shape: Any) -> Tensor: return ops.broadcast_to(self, shape)
    def moveaxis(self, source: Any, destination: Any) -> Tensor: return ops.moveaxis(self, source, destination)
    def flip(self, axis: Any = None) -> Tensor: return ops.flip(self, axis)
    def roll(self, shift: Any, axis: Any = None) -> Tensor: return ops.roll(self, shift, axis)
    def tile(self, repetitions: Any) -> Tensor: return ops.tile(self, repetitions)
    def repeat(self, repeats: Any, axis: int | None = None) -> Tensor: return ops.repeat(self, repeats, axis)
    def split(self, sections: Any, axis: int = 0) -> list[Tensor]: return ops.split(self, sections, axis)
    def unstack(self, axis: int = 0) -> tuple[Tensor, ...]: return ops.unstack(self, axis)
    def tril(self, k: int = 0) -> Tensor: return ops.tril(self, k)
    def triu(self, k: int = 0) -> Tensor: return ops.triu(self, k)
    def diag(self, k: int = 0) -> Tensor: return ops.diag(self, k)
    def diagonal(self, offset: int = 0, *axes: int) -> Tensor: return ops.diagonal(self, offset, *axes)
    def take(self, indices: Any, axis: int | None = None) -> Tensor: return ops.take(self, indices, axis)
    def take_along_axis(self, indices: Any, axis: Any = -1) -> Tensor: return ops.take_along_axis(self, indices, axis)
    def gather(self, axis: int, index: Any) -> Tensor: return ops.gather(self, axis, index)
    def scatter_add(self, axis: int, index: Any, src: Any) -> Tensor: return ops.scatter_add(self, axis, index, src)
    def index_add(self, axis: int, index: Any, source: Any) -> Tensor: return ops.index_add(self, axis, index, source)
    def astype(self, dtype: DTypeLike) -> Tensor: return ops.astype(self, dtype)
    @property
    def T(self) -> Tensor: return ops.permute_dims(self, None)
    @property
    def mT(self) -> Tensor: return ops.swapaxes(self, -1, -2)
    # fmt: on


# What == meets elementwise, or with an error; whatever else it meets is simply another thing.
_COMPARABLE = (Tensor, np.ndarray, np.generic, int, float, complex, list, tuple)


def _restored(kind: type[Tensor], data: NDArray[Any], requires_grad: bool, grad: Tensor | None) -> Tensor:
    """A copied or unpickled leaf."""
    t = kind.__new__(kind)
    t.data, t.node, t.index, t.grad, t._requires_grad, t._storage = data, None, 0, grad, requires_grad, None
    return t


def wrap(data: NDArray[Any], node: Any = None, index: int = 0) -> Tensor:
    """``Tensor(data, ...)`` for the engine, which need not check its own results."""
    t = Tensor.__new__(Tensor)
    t.data = data
    t.node = node
    t.index = index
    t.grad = None
    t._requires_grad = node is not None
    t._storage = None
    return t
