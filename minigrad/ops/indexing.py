"""Picking and adding elements by index: all through ``getitem`` and its adjoint, so the rules are theirs."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..kernels.launch import Array, as_array, launch_python, normalize_axes
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, Integer, Labels, composed
from .elementwise import add, multiply, where
from .shape import as_tensor, broadcast_to, getitem, getitem_grad, permute_dims, reshape

MATRICES = Domain("(...,m,n)", attributes={"k": (-1, 0, 2)})


def _indices(name: str, index: Any) -> Any:
    """An array or a Tensor of integers."""
    index = index if isinstance(index, Tensor) else np.asarray(index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name} takes integers as indices, got {index.dtype}")
    return index


def along(name: str, index: Any, axis: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """What indexes element ``index`` along ``axis``, and along the others of ``shape`` every place in turn."""
    index = _indices(name, index)
    (place,) = normalize_axes((axis,), len(shape))
    if index.ndim != len(shape):
        raise ValueError(f"{name} needs indices of {len(shape)} axes, as the tensor has, got {index.shape}")
    grid: list[Any] = [np.arange(n).reshape(-1, *[1] * (len(shape) - i - 1)) for i, n in enumerate(shape)]
    grid[place] = index
    return tuple(grid)


@composed(Domain("(m,N),(k)", {"indices": Labels("x")}, {"axis": (1, -1)}), "x", "indices")
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """``x[..., indices, ...]`` along ``axis``, or of the flattened tensor."""
    x, indices = as_tensor(x) if axis is not None else reshape(x, -1), _indices("take", indices)
    (place,) = normalize_axes((axis or 0,), x.ndim)
    return getitem(x, (slice(None),) * place + (indices,))


@composed(Domain("(m,N),(m,k)", {"indices": Labels("x")}, {"axis": (1, -1)}), "x", "indices")
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """The element ``indices`` names along ``axis``, at each place of the others; what argsort gives sorts so."""
    x = as_tensor(x) if axis is not None else reshape(x, -1)
    return getitem(x, along("take_along_axis", indices, 0 if axis is None else axis, x.shape))


@composed(Domain("(N,m),(k,m)", {"index": Labels("x", 0)}, {"axis": (0, -2)}), "x", "index")
def gather(x: Any, axis: int, index: Any) -> Tensor:
    """``y[i, j, k] = x[i, index[i, j, k], k]`` for axis 1, PyTorch's: index may be shorter than x along the others."""
    x, index = as_tensor(x), _indices("gather", index)
    if index.ndim != x.ndim:
        raise ValueError(f"gather needs indices of {x.ndim} axes, as the tensor has, got {index.shape}")
    return getitem(x, along("gather", index, axis, index.shape))


@composed(Domain("(N,m),(k,m),(k,m)", {"index": Labels("x", 0)}, {"axis": (0, -2)}), "x", "index", "source")
def scatter_add(x: Any, axis: int, index: Any, source: Any) -> Tensor:
    """x with ``source[i, j, k]`` added at ``[i, index[i, j, k], k]`` for axis 1, as often as a place is named.

    index may be shorter than x and source along the other axes; a number is added everywhere.
    """
    x, source, index = as_tensor(x), as_tensor(source), _indices("scatter_add", index)
    if source.ndim == 0:
        source = broadcast_to(source, index.shape)
    if not (x.ndim == source.ndim == index.ndim) or any(n > m for n, m in zip(index.shape, source.shape, strict=True)):
        raise ValueError(f"scatter_add of {x.shape} needs indices within its source, got {index.shape}, {source.shape}")
    part = getitem(source, tuple(slice(n) for n in index.shape))
    return add(x, getitem_grad(part, along("scatter_add", index, axis, index.shape), x.shape))


@composed(
    Domain("(N,m),(k),(k,m)", {"index": Labels("x", 0)}, {"axis": (0, -2), "alpha": (1, -0.5)}), "x", "index", "source"
)
def index_add(x: Any, axis: int, index: Any, source: Any, alpha: float = 1) -> Tensor:
    """x with ``alpha source[:, j]`` added to ``x[:, index[j]]`` for axis 1, as often as a place is named."""
    x, source, index = as_tensor(x), as_tensor(source), _indices("index_add", index)
    (place,) = normalize_axes((axis,), x.ndim)
    wanted = (*x.shape[:place], index.size, *x.shape[place + 1 :])
    if index.ndim != 1 or source.shape != wanted:
        raise ValueError(f"index_add of {x.shape} at {index.shape} needs a source {wanted}, got {source.shape}")
    return add(x, getitem_grad(multiply(source, alpha), (slice(None),) * place + (index,), x.shape))


@operation(
    domain=Domain(inputs={"labels": Integer(0, 2)}, attributes={"num_classes": (3, 4), "dtype": (np.float32, np.int64)})
)
def one_hot(labels: Any, /, num_classes: int, dtype: DTypeLike = np.float32) -> Array:
    """1 at the label and 0 elsewhere: labels (...) in [0, C), result (..., C); ``IndexError`` for other labels."""
    labels = as_array(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot takes integers as labels, got {labels.dtype}")
    out = np.empty((*labels.shape, num_classes), dtype)

    def mark(out: Array, labels: Array) -> None:
        wrong = (labels < 0) | (labels >= num_classes)
        if wrong.any():
            raise IndexError(f"label {labels[wrong][0]} lies outside the {num_classes} classes")
        np.copyto(out, labels[..., None] == np.arange(num_classes))

    launch_python(mark, out, labels, name="one_hot")
    return out


# Matrices --------------------------------------------------------------------------------------------


def _triangle(name: str, x: Tensor, k: int) -> Array:
    if x.ndim < 2:
        raise ValueError(f"{name} needs matrices (..., m, n), got {x.shape}")
    m, n = x.shape[-2:]
    return np.tri(m, n, k, bool)


@composed(MATRICES)
def tril(x: Any, /, k: int = 0) -> Tensor:
    """x on and below the k-th diagonal, 0 above; x (..., m, n)."""
    x = as_tensor(x)
    return where(_triangle("tril", x, k), x, False)  # a 0 of any dtype


@composed(MATRICES)
def triu(x: Any, /, k: int = 0) -> Tensor:
    """x on and above the k-th diagonal, 0 below; x (..., m, n)."""
    x = as_tensor(x)
    return where(_triangle("triu", x, k - 1), False, x)


def _on_diagonal(m: int, n: int, offset: int) -> tuple[Array, Array]:
    """Rows and columns of the diagonal of an m x n matrix."""
    down, right = max(-offset, 0), max(offset, 0)
    places = np.arange(max(min(m - down, n - right), 0))
    return places + down, places + right


@composed(Domain("(...,m,n)", attributes={"offset": (-1, 0, 2), "axis1": (-2,), "axis2": (-1,)}))
def diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements on the diagonal of two axes, ``offset`` to the right of the main one, as a new last axis."""
    x = as_tensor(x)
    pair = [normalize_axes((axis,), x.ndim)[0] for axis in (axis1, axis2)]
    if pair[0] == pair[1]:
        raise ValueError(f"a diagonal needs two axes, got {axis1} twice")
    moved = permute_dims(x, (*[i for i in range(x.ndim) if i not in pair], *pair))
    m, n = moved.shape[-2:]
    return getitem(moved, (..., *_on_diagonal(m, n, offset)))


@composed(Domain("(n)", attributes={"k": (-1, 0, 2)}), "x")
def diag(x: Any, k: int = 0) -> Tensor:
    """The matrix with x (n,) on its k-th diagonal, or the k-th diagonal of the matrix x."""
    x = as_tensor(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"diag takes a vector or a matrix, got {x.shape}")
    if x.ndim == 2:
        return diagonal(x, k)
    n = x.size + abs(k)
    return getitem_grad(x, _on_diagonal(n, n, k), (n, n))
