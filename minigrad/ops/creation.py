"""Tensors from data, from shapes and from random generators; float32 unless told otherwise."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..random import Generator, as_generator, default_generator
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
    if isinstance(data, Tensor) and data.node is not None:
        data._shared("tensor()", RuntimeError)
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
    if not hasattr(data, "__dlpack__"):
        raise TypeError(f"from_dlpack takes an array or a tensor of any library, got {type(data).__name__}")
    return Tensor(np.from_dlpack(data))


def zeros(shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Zeros of ``shape``."""
    return Tensor(np.zeros(shape, dtype), requires_grad)


def ones(shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Ones of ``shape``."""
    return Tensor(np.ones(shape, dtype), requires_grad)


def empty(shape: Any, dtype: DTypeLike = np.float32) -> Tensor:
    """A tensor of ``shape`` that holds whatever was in its memory."""
    return Tensor(np.empty(shape, dtype))


def full(shape: Any, value: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """``value`` repeated to ``shape``."""
    return Tensor(np.full(shape, _to_array(value, dtype, copy=None)), requires_grad)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: DTypeLike | None = None) -> Tensor:
    """``start, start + step, ...`` up to but not including ``stop``; one argument is the stop."""
    array = np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype=dtype)
    return Tensor(array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array)


def linspace(start: float, stop: float, num: int = 50, dtype: DTypeLike = np.float32, endpoint: bool = True) -> Tensor:
    """``num`` numbers at equal distances from ``start`` to ``stop``, with the stop or (``endpoint=False``) without."""
    return Tensor(np.linspace(start, stop, num, endpoint).astype(dtype))


def eye(n: int, m: int | None = None, dtype: DTypeLike = np.float32) -> Tensor:
    """The n x m matrix with ones on its diagonal."""
    return Tensor(np.eye(n, m, dtype=dtype))


def zeros_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros in the shape, dtype and memory order of ``x``."""
    return Tensor(np.zeros_like(x.data if isinstance(x, Tensor) else x, dtype))


def ones_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """Ones in the shape, dtype and memory order of ``x``."""
    return Tensor(np.ones_like(x.data if isinstance(x, Tensor) else x, dtype))


def empty_like(x: Any, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor in the shape, dtype and memory order of ``x`` that holds whatever was in its memory."""
    return Tensor(np.empty_like(x.data if isinstance(x, Tensor) else x, dtype))


def full_like(x: Any, value: Any, dtype: DTypeLike | None = None) -> Tensor:
    """``value`` repeated in the shape, dtype and memory order of ``x``."""
    return Tensor(np.full_like(x.data if isinstance(x, Tensor) else x, value, dtype))


# Random: from the generator given (or an integer seed), or from the default one ------------------------


def _generator(rng: Generator | int | None) -> Generator:
    return default_generator() if rng is None else as_generator(rng)


def _shape_of(shape: tuple[Any, ...]) -> Any:
    """A shape given as one tuple or as its lengths."""
    return shape[0] if len(shape) == 1 else shape


def rand(
    *shape: Any, rng: Generator | int | None = None, dtype: DTypeLike = np.float32, requires_grad: bool = False
) -> Tensor:
    """Uniform random numbers in [0, 1): ``rand(2, 3)`` or ``rand((2, 3))``."""
    return Tensor(_generator(rng).uniform(_shape_of(shape), dtype=dtype), requires_grad)


def randn(
    *shape: Any, rng: Generator | int | None = None, dtype: DTypeLike = np.float32, requires_grad: bool = False
) -> Tensor:
    """Normal random numbers of mean 0 and variance 1: ``randn(2, 3)`` or ``randn((2, 3))``."""
    return Tensor(_generator(rng).normal(_shape_of(shape), dtype=dtype), requires_grad)


def randint(
    low: int, high: int | None = None, shape: Any = (), rng: Generator | int | None = None, dtype: DTypeLike = np.int64
) -> Tensor:
    """Random integers in [low, high), or in [0, low) where high is None.

    They are ``low + floor(u (high - low))`` with u of 53 random bits: no integer is more likely than
    another by more than a part in ``2**53 / (high - low)``.
    """
    low, high = (0, low) if high is None else (low, high)
    if not 0 < high - low <= 2**53:
        raise ValueError(f"randint needs low < high, at most 2**53 apart, got {low} and {high}")
    info = np.iinfo(dtype)
    if low < info.min or high - 1 > info.max:
        raise ValueError(f"randint in [{low}, {high}) does not fit {np.dtype(dtype)}")
    drawn = np.floor(_generator(rng).uniform(shape, 0, high - low, np.float64)).astype(np.int64)
    return Tensor(np.asarray(drawn + low).astype(dtype))


def permutation(x: Any, rng: Generator | int | None = None) -> Tensor:
    """The integers 0 .. x - 1 in random order, or what x, a tensor, has along its first axis."""
    if isinstance(x, int | np.integer):
        return Tensor(_generator(rng).permutation(int(x)))
    x = asarray(x)
    if x.ndim == 0:
        raise ValueError("permutation takes a length or what has a first axis, got a 0-d tensor")
    return x[_generator(rng).permutation(len(x))]


def bernoulli(p: Any, shape: Any = None, rng: Generator | int | None = None, dtype: DTypeLike = np.float32) -> Tensor:
    """1 with probability p, else 0: p a number or a tensor, of the result's shape unless ``shape`` is given."""
    p = np.asarray(p.numpy() if isinstance(p, Tensor) else p)
    if p.dtype.kind not in "fiub" or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"bernoulli needs probabilities in [0, 1], got {p}")
    shape = p.shape if shape is None else shape
    return Tensor(
        np.asarray(_generator(rng).uniform(shape, dtype=np.float64) < np.broadcast_to(p, shape)).astype(dtype)
    )
