"""Matrix products and sums over indices; through LAPACK what solves and takes apart.

The last two axes are the matrix, those before them a batch, as in ``numpy.linalg``.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import launch
from ..kernels.launch import Array, as_array, as_dtype, launch_python, normalize_axes, result_dtype, same_float
from ..operations import operation
from ..tensor import Tensor
from .domain import Domain, Matrix, composed
from .elementwise import multiply, square, where
from .indexing import diagonal
from .reductions import norm, sum
from .shape import as_tensor, broadcast_to, expand_dims, permute_dims, reshape, squeeze

__all__ = ["cholesky", "eigh", "inv", "slogdet", "solve", "svd", "vector_norm"]


@operation(
    a=lambda g, b: matmul(g, b.mT),
    b=lambda g, a: matmul(a.mT, g),
    broadcasts=True,
    domain=Domain("(...,m,k),(...,k,n)"),
)
def matmul_arrays(a: Any, b: Any, /) -> Array:
    """(..., m, k) times (..., k, n), batch axes broadcast."""
    return launch.matmul(as_array(a), as_array(b))


@composed(Domain("(...,m,k),(...,k,n)"), "a", "b")
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
    dy=lambda g, dy_shape, x, weight: _added(
        g[0] is not None and linear(g[0], weight),
        g[1] is not None and linear(x, g[1]),
        g[2] is not None and broadcast_to(g[2], dy_shape),
    ),
    x=lambda g, dy: matmul(dy, g[1]) if g[1] is not None else None,
    weight=lambda g, dy: matmul(_rows(dy).T, _rows(g[0])) if g[0] is not None else None,
    outputs=("dx", "dweight", "dbias"),
    quick=launch.linear_grad,
    domain=Domain("(n,o),(n,i),(o,i)", attributes={"wanted": ((True, True, True),)}),
)
def linear_grad(dy: Any, x: Any, weight: Any, /, wanted: Sequence[bool]) -> tuple[Array | None, ...]:
    """``dy @ weight``, ``sum(dy^T x)`` and ``sum(dy)``, the sums over all rows; None for what is not wanted.

    dy (..., out), x (..., in), weight (out, in); x counts only for the weight's gradient, weight for that of x.  The
    weight's gradient lies in memory as x^T dy, transposed: the order in which nn.Linear keeps its weight.
    """
    return launch.linear_grad(dy, x, weight, wanted)


@operation(
    joint=linear_grad,
    quick=launch.linear,
    uses={"x": ("weight",), "weight": ("x",), "bias": ()},
    domain=Domain("(...,i),(o,i),(o)"),
)
def linear(x: Any, weight: Any, bias: Any = None, /) -> Array:
    """``x @ weight.T + bias``: x (..., in), weight (out, in), bias (out,) or None."""
    return launch.linear(x, weight, bias)


def _added(*terms: Any) -> Any:
    """The sum of the terms that are there."""
    first, *others = [term for term in terms if term is not False]
    for term in others:
        first = first + term
    return first


# Sums over indices: each a product of matrices ---------------------------------------------------


def _lengths(x: Any, labels: Sequence[Any]) -> dict[Any, int]:
    return dict(zip(labels, x.shape, strict=True))


def _contract(a: Any, left: list[Any], b: Any, right: list[Any], kept: set[Any]) -> tuple[Any, list[Any]]:
    """The product of two tensors whose axes have labels, summed over the common labels that are not ``kept``."""
    together = [label for label in left if label in right and label in kept]
    summed = [label for label in left if label in right and label not in kept]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    lengths = _lengths(b, right) | _lengths(a, left)
    batch, m, k, n = ([lengths[label] for label in labels] for labels in (together, rows, summed, columns))
    a = permute_dims(a, [left.index(label) for label in (*together, *rows, *summed)])
    if summed:
        b = permute_dims(b, [right.index(label) for label in (*together, *summed, *columns)])
        a = reshape(a, (*batch, math.prod(m), math.prod(k)))
        y = matmul(a, reshape(b, (*batch, math.prod(k), math.prod(n))))
    else:
        b = permute_dims(b, [right.index(label) for label in (*together, *columns)])
        y = multiply(reshape(a, (*batch, *m, *[1] * len(n))), reshape(b, (*batch, *[1] * len(m), *n)))
    return reshape(y, (*batch, *m, *n)), [*together, *rows, *columns]


@composed(Domain("(m,k),(k,n)", attributes={"axes": (1, ((1,), (0,)), (-1, 0))}), "a", "b")
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """The sum of products over pairs of axes, as NumPy's: the last ``axes`` of a with the first of b, or two lists.

    The result has the other axes of a, then those of b.
    """
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int | np.integer):
        if not 0 <= axes <= np.minimum(a.ndim, b.ndim):
            raise ValueError(f"tensordot cannot sum over {axes} axes of shapes {a.shape} and {b.shape}")
        axes = range(a.ndim - axes, a.ndim), range(axes)
    pairs: list[list[Any]] = [[part] if isinstance(part, int | np.integer) else list(part) for part in axes]
    if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
        raise ValueError(f"tensordot needs as many axes of a as of b, got {axes!r}")
    left, right = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for side, x in zip(pairs, (a, b), strict=True):
        normalize_axes(tuple(side), x.ndim)
    for i, j in zip(*pairs, strict=True):
        if a.shape[i] != b.shape[j]:
            raise ValueError(f"tensordot needs equal lengths along axes {i} and {j}, got {a.shape} and {b.shape}")
        right[j] = left[i]
    same_float("tensordot", a.data, b.data)
    return _contract(a, left, b, right, set())[0]


@composed(Domain("(m,k),(k,n)"), "a", "b")
def dot(a: Any, b: Any) -> Tensor:
    """NumPy's: the inner product of vectors, the product with a number, else ``sum(a[..., k] b[..., k, :])``."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    return tensordot(a, b, (-1, -1 if b.ndim == 1 else -2))


@composed(Domain("(m,k),(n,k)"), "a", "b")
def inner(a: Any, b: Any) -> Tensor:
    """The sum of products over the last axis of both; the product with a number."""
    a, b = as_tensor(a), as_tensor(b)
    return multiply(a, b) if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, (-1, -1))


@composed(Domain("(m),(n)"), "a", "b")
def outer(a: Any, b: Any) -> Tensor:
    """``a[i] b[j]`` of all elements of a and b in C order: (a.size, b.size)."""
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


@composed(Domain("(m,n,k)", attributes={"offset": (0, 1, -1), "axis1": (0, 2), "axis2": (1,)}), "x")
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of ``x[i, i + offset]`` along two axes, those that are left in their order."""
    return sum(diagonal(x, offset, axis1, axis2), -1)


@composed(
    Domain("(m,k),(k,n)", attributes={"subscripts": ("ij,jk->ik", "ab,bc", "ij,jk->j", "ij,jk->", "...i,ij->j...")}),
    "a",
    "b",
    call=lambda einsum, a, b, subscripts: einsum(subscripts, a, b),
)
def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Products summed over indices, as NumPy's: ``einsum("bij,jk->bik", x, w)``.

    A letter names an axis; ``...`` are axes that broadcast; letters that the part after ``->`` does not
    name are summed over, by default those that occur twice.  Operands are put together from left
    to right, two at a time, as matrix products.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum takes the subscripts first, a string such as 'ij,jk->ik', got {subscripts!r}")
    tensors = [as_tensor(x) for x in operands]
    same_float("einsum", *[x.data for x in tensors])
    labels, kept = _subscripts(subscripts, [x.ndim for x in tensors])
    lengths: dict[Any, int] = {}
    for x, own in zip(tensors, labels, strict=True):
        for label, n in zip(own, x.shape, strict=True):
            if n != lengths.setdefault(label, n) and 1 not in (n, lengths[label]):
                name = "an axis of '...'" if isinstance(label, int) else repr(label)
                raise ValueError(f"einsum {subscripts!r}: {name} has the lengths {lengths[label]} and {n}")
            lengths[label] = n if lengths[label] == 1 else lengths[label]
    parts = [_simplified(x, own, lengths) for x, own in zip(tensors, labels, strict=True)]
    for i, (x, own) in enumerate(parts):
        others = {*kept, *itertools.chain(*[more for j, (_, more) in enumerate(parts) if j != i])}
        alone = [k for k, label in enumerate(own) if label not in others]
        if alone:
            parts[i] = sum(x, tuple(alone)), [label for label in own if label in others]
    x, own = parts[0]
    for i, (other, more) in enumerate(parts[1:], 1):
        x, own = _contract(x, own, other, more, {*kept, *itertools.chain(*[later for _, later in parts[i + 1 :]])})
    return permute_dims(x, [own.index(label) for label in kept])


def _simplified(x: Any, labels: list[Any], lengths: dict[Any, int]) -> tuple[Any, list[Any]]:
    """One operand of einsum with each label once, and without the axes that another operand stretches."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i, j = [at for at, each in enumerate(labels) if each == label][:2]
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum: {label!r} has the lengths {x.shape[i]} and {x.shape[j]} in one operand")
            x = diagonal(x, 0, i, j)
            labels = [*[each for at, each in enumerate(labels) if at not in (i, j)], label]
    dropped = [i for i, label in enumerate(labels) if x.shape[i] == 1 != lengths[label]]
    x = squeeze(x, tuple(dropped)) if dropped else x
    return x, [label for i, label in enumerate(labels) if i not in dropped]


def _subscripts(text: str, ndims: list[int]) -> tuple[list[list[Any]], list[Any]]:
    """The labels of the axes of each operand, and of the result: letters, and -1, -2, ... for those of an ellipsis."""
    before, arrow, after = text.replace(" ", "").partition("->")
    terms = before.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {text!r} names {len(terms)} operands, got {len(ndims)}")
    labels = []
    for term, ndim in zip(terms, ndims, strict=True):
        labels.append(_labels(text, term, ndim))
    flat = [label for own in labels for label in own]
    hidden = sorted({label for label in flat if isinstance(label, int)})
    if arrow:
        kept = _labels(text, after, len(after.replace("...", "")) + (len(hidden) if "..." in after else 0))
    else:
        kept = [*hidden, *sorted({label for label in flat if flat.count(label) == 1 and isinstance(label, str)})]
    if len(set(kept)) != len(kept) or not set(kept) <= set(flat):
        raise ValueError(f"einsum {text!r}: the result names an index twice, or one that no operand has")
    return labels, kept


def _labels(text: str, term: str, ndim: int) -> list[Any]:
    head, dots, tail = term.partition("...")
    more = ndim - len(head) - len(tail)
    if not all(c.isascii() and c.isalpha() for c in head + tail) or more < 0 or (more and not dots):
        raise ValueError(f"einsum {text!r}: {term!r} does not name {ndim} axes by letters and at most one '...'")
    return [*head, *range(-more, 0), *tail]


vector_norm = norm


SINGULAR = "LinAlgError where singular"
EQUAL = "inf or NaN through vectors of equal values; through the values alone right"

# Through LAPACK -------------------------------------------------------------------------------------


def _lapack(name: str, function: Callable[..., Any], shapes: Sequence[tuple[int, ...]], *arrays: Array) -> Any:
    """``function`` of NumPy's, its result or results in new arrays of ``shapes``, float32 or float64."""
    same_float(name, *arrays)
    dtype = result_dtype("exp", *arrays)
    outs = tuple(np.empty(shape, dtype) for shape in shapes)

    count = len(outs)

    def call(*arrays: Array) -> None:
        found = function(*arrays[count:])
        for out, part in zip(arrays[:count], found if count > 1 else (found,), strict=True):
            np.copyto(out, part)

    launch_python(call, *outs, *[as_dtype(a, dtype) for a in arrays], name=name, outputs=count)
    return outs if count > 1 else outs[0]


def _square(name: str, a: Any) -> Array:
    a = as_array(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"{name} needs square matrices (..., n, n), got {a.shape}")
    return a


def _symmetric(a: Any) -> Any:
    """The symmetric part of each matrix, of an array or a tensor."""
    return (a + a.mT) * 0.5


@operation(
    a=lambda g, y: -matmul(matmul(y.mT, g), y.mT),
    domain=Domain("(...,n,n)", {"a": Matrix()}, kinks=SINGULAR),
)
def inv(a: Any, /) -> Array:
    """The inverse of each matrix (..., n, n); ``LinAlgError`` for a singular one."""
    a = _square("inv", a)
    return _lapack("inv", np.linalg.inv, [a.shape], a)


@operation(
    a=lambda g, a, y: -matmul(solve_matrices(a.mT, g), y.mT),
    b=lambda g, a: solve_matrices(a.mT, g),
    broadcasts=True,
    domain=Domain("(...,m,m),(...,m,n)", {"a": Matrix()}, kinks=SINGULAR),
)
def solve_matrices(a: Any, b: Any, /) -> Array:
    """x with ``a x = b``: a (..., m, m), b (..., m, n), batch axes broadcast."""
    a, b = _square("solve", a), as_array(b)
    if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
        raise ValueError(f"solve needs a (..., m, m) and b (..., m, n) or (m,), got {a.shape} and {b.shape}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"solve cannot broadcast the batch axes of {a.shape} and {b.shape}") from None
    return _lapack("solve", np.linalg.solve, [(*batch, *b.shape[-2:])], a, b)


@composed(Domain("(...,m,m),(...,m,n)", {"a": Matrix()}, kinks=SINGULAR), "a", "b")
def solve(a: Any, b: Any) -> Tensor:
    """x with ``a x = b``: a (..., m, m), b (..., m, n), or (m,) for a vector; ``LinAlgError`` where a is singular."""
    a, b = as_tensor(a), as_tensor(b)
    if b.ndim != 1:
        return solve_matrices(a, b)
    return squeeze(solve_matrices(a, expand_dims(b, -1)), -1)


@operation(
    a=lambda g, y: _cholesky_gradient(g, y),
    domain=Domain("(...,n,n)", {"a": Matrix(definite=True)}, kinks="LinAlgError where not positive definite"),
)
def cholesky(a: Any, /) -> Array:
    """The lower triangular L with ``L L^T = (a + a^T) / 2``; ``LinAlgError`` where that is not positive definite.

    The gradient is symmetric (I. Murray, Differentiation of the Cholesky decomposition, 2016).
    """
    a = _square("cholesky", a)
    return _lapack("cholesky", lambda a: np.linalg.cholesky(_symmetric(a)), [a.shape], a)


def _cholesky_gradient(g: Any, y: Any) -> Any:
    """``L^-T P L^-1`` made symmetric, P the lower triangle of ``L^T g`` with half its diagonal."""
    n = y.shape[-1]
    half = (np.tril(np.ones((n, n))) - 0.5 * np.eye(n)).astype(y.dtype)
    middle = multiply(matmul(y.mT, g), half)
    return _symmetric(solve_matrices(y.mT, solve_matrices(y.mT, middle.mT).mT))


@operation(
    a=lambda g, a: None if g[1] is None else multiply(reshape(g[1], (*g[1].shape, 1, 1)), inv(a).mT),
    outputs=("sign", "logabsdet"),
    domain=Domain("(...,n,n)", {"a": Matrix()}, kinks=SINGULAR),
)
def slogdet(a: Any, /) -> tuple[Array, Array]:
    """The sign of the determinant of each matrix and the logarithm of its size: ``sign e^logabsdet``.

    Of a singular matrix 0 and -inf, whose gradient raises ``LinAlgError``; the sign has gradient 0.
    """
    a = _square("slogdet", a)
    return _lapack("slogdet", lambda a: tuple(np.linalg.slogdet(a)), [a.shape[:-2]] * 2, a)


@operation(
    a=lambda g, w, v: _eigh_gradient(g[0], g[1], w, v),
    outputs=("w", "v"),
    domain=Domain("(n,n)", {"a": Matrix(symmetric=True)}, kinks=EQUAL),
)
def eigh(a: Any, /) -> tuple[Array, Array]:
    """Eigenvalues w (..., n), ascending, and eigenvectors, the columns of v (..., n, n), of ``(a + a^T) / 2``.

    The gradient is symmetric.  Where eigenvalues are equal the eigenvectors are not unique and
    their gradient is inf or NaN; that of the eigenvalues alone is right.  The sign of a vector is LAPACK's.
    """
    a = _square("eigh", a)
    return _lapack("eigh", lambda a: tuple(np.linalg.eigh(_symmetric(a))), [a.shape[:-1], a.shape], a)


def _reciprocal_gaps(values: Any) -> Any:
    """``1 / (values_j - values_i)``, 0 on the diagonal."""
    own = np.eye(values.shape[-1], dtype=bool)
    gaps = expand_dims(values, -2) - expand_dims(values, -1)
    return where(own, 0.0, 1 / where(own, 1.0, gaps))


def _eigh_gradient(gw: Any, gv: Any, w: Any, v: Any) -> Any:
    """``v (diag(gw) + F * (v^T gv)) v^T`` made symmetric, F the reciprocal gaps."""
    parts = []
    if gw is not None:
        parts.append(v * expand_dims(gw, -2))
    if gv is not None:
        parts.append(matmul(v, _reciprocal_gaps(w) * matmul(v.mT, gv)))
    return _symmetric(matmul(parts[0] if len(parts) == 1 else parts[0] + parts[1], v.mT))


@operation(
    a=lambda g, u, s, vh: _svd_gradient(g[0], g[1], g[2], u, s, vh),
    outputs=("u", "s", "vh"),
    domain=Domain("(m,n)", {"a": Matrix()}, kinks=EQUAL),
)
def reduced_svd(a: Any, /) -> tuple[Array, Array, Array]:
    """``a = u diag(s) vh``: u (..., m, k), s (..., k) descending, vh (..., k, n), k the smaller of m and n."""
    a = as_array(a)
    if a.ndim < 2:
        raise ValueError(f"svd needs matrices (..., m, n), got {a.shape}")
    *batch, m, n = a.shape
    k = m if m < n else n
    shapes = [(*batch, m, k), (*batch, k), (*batch, k, n)]
    return _lapack("svd", lambda a: tuple(np.linalg.svd(a, full_matrices=False)), shapes, a)


def _svd_gradient(gu: Any, gs: Any, gvh: Any, u: Any, s: Any, vh: Any) -> Any:
    """``u (J s + s K + diag(gs)) vh`` and what gu and gvh have outside the spaces of u and vh.

    J and K are ``F * (u^T gu)`` and ``F * (vh gvh^T)`` plus their transposes, F the reciprocal gaps
    of s^2 (J. Townsend, Differentiating the singular value decomposition, 2016).
    """
    row, column = expand_dims(s, -2), expand_dims(s, -1)
    total = None if gs is None else matmul(u * expand_dims(gs, -2), vh)
    for g, side in ((gu, u), (gvh, vh)):
        if g is None:
            continue
        lower = side is vh
        inside = matmul(vh, g.mT) if lower else matmul(u.mT, g)
        turned = _reciprocal_gaps(square(s)) * inside
        turned = turned + turned.mT
        part = matmul(matmul(u, column * turned if lower else turned * row), vh)
        if lower and vh.shape[-1] > s.shape[-1]:
            part = part + matmul(u, (g - matmul(inside.mT, vh)) / column)
        if not lower and u.shape[-2] > s.shape[-1]:
            part = part + matmul((g - matmul(u, inside)) / row, vh)
        total = part if total is None else total + part
    return total


@composed(Domain("(m,n)", {"a": Matrix()}, {"full_matrices": (False,)}, kinks=EQUAL), "a")
def svd(a: Any, full_matrices: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """``a = u diag(s) vh``: a (..., m, n), u (..., m, k), s (..., k) descending, vh (..., k, n), k the smaller of m, n.

    Where singular values are equal, or 0, u and vh are not unique and their gradients are inf or
    NaN; that of s alone is right where it is differentiable.  Signs are LAPACK's.
    NumPy's default is full_matrices=True, which is here for square matrices only.
    """
    a = as_tensor(a)
    if full_matrices and (a.ndim < 2 or a.shape[-1] != a.shape[-2]):
        raise NotImplementedError(f"svd with full_matrices needs square matrices, got {a.shape}")
    return reduced_svd(a)
