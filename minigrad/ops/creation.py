"""Tensors from data and from shapes; float32 unless told otherwise."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..tensor import Tensor


def _to_array(data: Any, dtype: DTypeLike | None, copy: bool | None) -> np.ndarray[Any, Any]:
    if isinstance(data, Tensor):
        data = data.numpy()
    elif not isinstance(data, np.ndarray | np.generic) and hasattr(data, "__dlpack__"):
        data = np.from_dlpack(data)
    known = isinstance(data, np.ndarray | np.generic)
    array = np.array(data, dtype, copy=copy)
    if dtype is None and not known and array.dtype == np.float64:
        array = array.astype(np.float32)
    return array


def tensor(data: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of ``data``: a number, nested lists, an array or a Tensor.

    Python floats become float32; an array keeps its dtype unless ``dtype`` is given.
    """
    return Tensor(_to_array(data, dtype, copy=True), requires_grad)


def asarray(data: Any, dtype: DTypeLike | None = None) -> Tensor:
    """``data`` as a Tensor that shares its memory where that is possible (arrays, DLPack)."""
    if isinstance(data, Tensor) and (dtype is None or data.dtype == dtype):
        return data
    return Tensor(_to_array(data, dtype, copy=None))


def from_dlpack(data: Any) -> Tensor:
    """A Tensor that shares the memory of whatever speaks DLPack on the CPU: arrays and tensors of other libraries.

    ``BufferError`` where it cannot be shared; a Tensor that requires grad must be detached first.
    """
    return Tensor(np.from_dlpack(data))


def zeros(shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Zeros of ``shape``."""
    return Tensor(np.zeros(shape, dtype), requires_grad)


def ones(shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Ones of ``shape``."""
    return Tensor(np.ones(shape, dtype), requires_grad)


def full(shape: Any, value: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """``value`` repeated to ``shape``."""
    return Tensor(np.full(shape, _to_array(value, dtype, copy=None)), requires_grad)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: DTypeLike | None = None) -> Tensor:
    """``start, start + step, ...`` up to but not including ``stop``; one argument is the stop."""
    array = np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype=dtype)
    return Tensor(array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array)


def eye(n: int, m: int | None = None, dtype: DTypeLike = np.float32) -> Tensor:
    """The n x m matrix with ones on its diagonal."""
    return Tensor(np.eye(n, m, dtype=dtype))


def zeros_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros in the shape, dtype and memory order of ``x``."""
    return Tensor(np.zeros_like(x.data if isinstance(x, Tensor) else x, dtype))


def ones_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Ones in the shape, dtype and memory order of ``x``."""
    return Tensor(np.ones_like(x.data if isinstance(x, Tensor) else x, dtype))
