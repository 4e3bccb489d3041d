"""Matrix products."""

from typing import Any

import numpy as np

from ..kernels import launch
from ..kernels.launch import Array, as_array
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain
from .shape import expand_dims, permute_dims, reshape, squeeze


@operation(
    a=lambda g, b: matmul(g, b.mT),
    b=lambda g, a: matmul(a.mT, g),
    broadcasts=True,
    domain=Domain("(...,m,k),(...,k,n)"),
)
def matmul_arrays(a: Any, b: Any, /) -> Array:
    """(..., m, k) times (..., k, n), batch axes broadcast."""
    return launch.matmul(as_array(a), as_array(b))


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product ``a @ b``, (..., m, k) by (..., k, n), batch axes broadcast.

    A 1-D operand is a row on the left and a column on the right, and its axis is
    missing in the result.  float32 does not mix with float64 (``TypeError``).
    """
    left, right = np.ndim(getattr(a, "data", a)) == 1, np.ndim(getattr(b, "data", b)) == 1
    y: Tensor = matmul_arrays(expand_dims(a, 0) if left else a, expand_dims(b, 1) if right else b)
    return squeeze(y, (*((-2,) if left else ()), *((-1,) if right else ()))) if left or right else y


def _rows(x: Any) -> Any:
    """(..., n) as (rows, n)."""
    return x if x.ndim == 2 else reshape(x, (int(np.prod(x.shape[:-1])), x.shape[-1]))


@operation(
    x=lambda g, weight: matmul(g, weight),
    # Laid out as x^T g, transposed: the memory order in which nn.Linear keeps its weight.
    weight=lambda g, x: permute_dims(matmul(_rows(x).T, _rows(g))),
    bias=lambda g: _rows(g).sum(0),
    domain=Domain("(...,i),(o,i),(o)"),
)
def linear(x: Any, weight: Any, bias: Any = None, /) -> Array:
    """``x @ weight.T + bias``: x (..., in), weight (out, in), bias (out,) or None."""
    return launch.linear(as_array(x), as_array(weight), None if bias is None else as_array(bias))
