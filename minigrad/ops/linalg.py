"""Matrix products."""

import math
from typing import Any

import numpy as np

from ..kernels import launch
from ..kernels.launch import Array, as_array
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain
from .reductions import sum
from .shape import expand_dims, reshape, squeeze


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


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """(..., n) as (rows, n)."""
    return math.prod(shape[:-1]), shape[-1]


def _rows(x: Any) -> Any:
    return x if x.ndim == 2 else reshape(x, _flat(x.shape))


@operation(
    x=lambda g, weight: matmul(g, weight),
    weight=lambda g, x: linear_weight_grad(g, x),
    bias=lambda g: sum(_rows(g), 0),
    domain=Domain("(...,i),(o,i),(o)"),
)
def linear(x: Any, weight: Any, bias: Any = None, /) -> Array:
    """``x @ weight.T + bias``: x (..., in), weight (out, in), bias (out,) or None."""
    return launch.linear(as_array(x), as_array(weight), None if bias is None else as_array(bias))


@operation(
    dy=lambda g, x: linear(x, g),
    x=lambda g, dy: matmul(dy, g),
    outputs=("dweight",),
    domain=Domain("(n,o),(n,i)"),
)
def linear_weight_grad(dy: Any, x: Any, /) -> Array:
    """``sum(dy^T x)`` over all rows: dy (..., out), x (..., in), result (out, in).

    It lies in memory as x^T dy, transposed: the order in which nn.Linear keeps its weight.
    """
    dy, x = (a if a.ndim == 2 else reshape.forward(a, _flat(a.shape)) for a in (as_array(dy), as_array(x)))
    return launch.matmul(x.T, dy).T
