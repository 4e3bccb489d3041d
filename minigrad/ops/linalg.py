"""Matrix products."""

import math
from typing import Any

import numpy as np

from ..kernels import launch
from ..kernels.launch import Array, as_array
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain
from .shape import broadcast_to, expand_dims, reshape, squeeze


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
    return x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


@operation(
    joint=lambda g, x, weight, needs: linear_grad(g, x, weight, *needs)[: len(needs)],
    domain=Domain("(...,i),(o,i),(o)"),
)
def linear(x: Any, weight: Any, bias: Any = None, /) -> Array:
    """``x @ weight.T + bias``: x (..., in), weight (out, in), bias (out,) or None."""
    return launch.linear(as_array(x), as_array(weight), None if bias is None else as_array(bias))


@operation(
    dy=lambda g, dy_shape, x, weight: _added(
        g[0] is not None and linear(g[0], weight),
        g[1] is not None and linear(x, g[1]),
        g[2] is not None and broadcast_to(g[2], dy_shape),
    ),
    x=lambda g, dy: matmul(dy, g[1]) if g[1] is not None else None,
    weight=lambda g, dy: matmul(_rows(dy).T, _rows(g[0])) if g[0] is not None else None,
    outputs=("dx", "dweight", "dbias"),
    domain=Domain("(n,o),(n,i),(o,i)", attributes={"to_x": (True,), "to_weight": (True,), "to_bias": (True,)}),
)
def linear_grad(
    dy: Any, x: Any, weight: Any, /, to_x: bool, to_weight: bool, to_bias: bool = False
) -> tuple[Array | None, ...]:
    """``dy @ weight``, ``sum(dy^T x)`` and ``sum(dy)``, the sums over all rows; None for what is not wanted.

    dy (..., out), x (..., in), weight (out, in).  The weight's gradient lies in memory as x^T dy, transposed: the
    order in which nn.Linear keeps its weight.
    """
    return launch.linear_grad(as_array(dy), as_array(x), as_array(weight), to_x, to_weight, to_bias)


def _added(*terms: Any) -> Any:
    """The sum of the terms that are there."""
    first, *others = [term for term in terms if term is not False]
    for term in others:
        first = first + term
    return first
