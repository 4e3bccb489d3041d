"""Matrix products of vectors, batches and nothing, sums over indices, norms, and what goes through LAPACK."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import func, linalg
from minigrad.kernels import launch
from minigrad.testing import check_grads

rng = mg.random.Generator(0)


def draw(shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(shape, dtype=np.float64)


@given(shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=3, max_dims=2))
def test_matmul_is_numpys(shapes: Any) -> None:
    a, b = map(draw, shapes.input_shapes)
    found = mg.tensor(a) @ b
    assert found.shape == shapes.result_shape
    np.testing.assert_allclose(found.numpy(), a @ b, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose((mg.tensor(a, np.float32) @ b.astype(np.float32)).numpy(), a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 1, 2, 3), (2, 3, 2)), ((3,), (2, 3, 2)), ((2, 0), (0, 3))],
)
def test_matmul_is_differentiated(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check_grads(mg.matmul, draw(a), draw(b))


@pytest.mark.parametrize(
    ("a", "b", "match"),
    [
        ((2, 3), (2, 3), r"got \(2, 3\) and \(2, 3\)"),
        ((3,), (2,), r"got \(1, 3\) and \(2, 1\)"),
        ((2, 3), (), r"got \(2, 3\) and \(\)"),
        ((2, 2, 3), (3, 3, 2), "cannot broadcast the batch axes"),
    ],
)
def test_matmul_refuses(a: tuple[int, ...], b: tuple[int, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        mg.ones(a) @ mg.ones(b)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "match"),
    [
        ((2, 3), (4, 2), (4,), r"got \(2, 3\) and \(4, 2\)"),
        ((), (4, 2), (4,), r"got \(\) and \(4, 2\)"),
        ((2, 3), (3,), (4,), r"got \(2, 3\) and \(3,\)"),
        ((2, 3), (4, 3), (3,), r"bias \(4,\) for weight \(4, 3\), got \(3,\)"),
    ],
)
def test_linear_refuses(x: Any, weight: Any, bias: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        mg.linear(mg.ones(x), mg.ones(weight), mg.ones(bias))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_gradients_of_a_layer_are_computed_once(threads: int) -> None:
    """Where the sums over many rows have no quick way, the products are not done anew: they would be there twice."""
    dy, x, weight = (draw(shape).astype(np.float32) for shape in ((3000, 4), (3000, 300), (4, 300)))
    before = mg.num_threads()
    mg.set_num_threads(threads)
    tracemalloc.start()
    try:
        found = launch.linear_grad(dy, x, weight, (True, True, True))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        mg.set_num_threads(before)
    assert peak < 1.5 * x.nbytes
    for y, wanted in zip(found, (dy @ weight, dy.T @ x, dy.sum(0)), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-3)


def test_the_gradient_of_a_column_major_weight_is_column_major() -> None:
    weight = mg.Tensor(np.zeros((4, 3), np.float32, order="F"), requires_grad=True)
    mg.linear(mg.ones((5, 3)), weight).sum().backward()
    assert weight.grad.data.flags.f_contiguous
    assert weight.grad.tolist() == [[5.0] * 3] * 4


# Sums over indices ----------------------------------------------------------------------------------------


def agree(found: Any, wanted: Any, dtype: Any = np.float64) -> None:
    assert found.shape == np.shape(wanted)
    assert found.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        found.numpy(), wanted, rtol=64 * eps, atol=64 * eps * (1 + np.abs(wanted).max(initial=0))
    )


small = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@given(small, small, st.sampled_from([np.float32, np.float64]))
def test_outer_inner_and_dot_are_numpys(left: Any, right: Any, dtype: Any) -> None:
    a, b = draw(left).astype(dtype), draw(right).astype(dtype)
    agree(mg.outer(a, b), np.outer(a, b), dtype)
    if a.ndim and b.ndim:
        b = draw((*right[:-1], left[-1])).astype(dtype)
    agree(mg.inner(a, b), np.inner(a, b), dtype)
    if b.ndim > 1:
        b = b.swapaxes(-1, -2)
    agree(mg.dot(a, b), np.dot(a, b), dtype)
    agree(mg.tensor(a).dot(b), np.dot(a, b), dtype)


@given(st.data())
def test_tensordot_is_numpys(data: st.DataObject) -> None:
    a = draw(data.draw(small))
    count = data.draw(st.integers(0, a.ndim))
    axes = data.draw(st.permutations(range(a.ndim)))[:count]
    more = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    places = data.draw(st.permutations(range(count + len(more))))
    shape = [*(a.shape[i] for i in axes), *more]
    b = draw(tuple(shape)).transpose(places)
    pairs = list(axes), [places.index(i) - b.ndim for i in range(count)]
    agree(mg.tensordot(a, b, pairs), np.tensordot(a, b, pairs))
    whole = draw((*a.shape[a.ndim - count :], *more))
    agree(mg.tensordot(a, whole, count), np.tensordot(a, whole, count))


@given(st.data(), st.integers(-3, 3))
def test_trace_is_numpys(data: st.DataObject, offset: int) -> None:
    x = draw(data.draw(hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=3)))
    i, j = data.draw(st.permutations(range(x.ndim)))[:2]
    agree(mg.trace(x, offset, i, j - x.ndim), np.trace(x, offset, i, j))
    assert mg.tensor(np.arange(9).reshape(3, 3)).trace(1).item() == 6


EINSUMS = [
    "ij,jk->ik",
    "ij,jk",
    "i,i",
    "i,j",
    "ij->",
    "ij->ji",
    "ii->i",
    "ii",
    "iij->j",
    "ij,ij->ij",
    "ij,ij->i",
    "bij,bjk->bik",
    "ij,jk,kl->il",
    "i,ij,j->",
    "ijk,k",
    "ij,kj->",
    "...ij,...jk->...ik",
    "...i->...",
    "i...,i...->...",
    "...,...",
    "ij...,jk",
    "ij,ik->jk",
    "iii->i",
    "->",
    "ijij->ij",
    "abc,cd,de->abe",
    "i...j,j->...i",
    ",ij",
]
SIDES = dict(zip("abcdeijklo", (2, 3, 2, 4, 3, 3, 2, 4, 2, 3), strict=True)) | {"i": 2, "j": 3}


def operands(subscripts: str, ellipsis: tuple[tuple[int, ...], ...]) -> list[Any]:
    terms = subscripts.replace(" ", "").partition("->")[0].split(",")
    square = any(len(set(t.replace(".", ""))) < len(t.replace(".", "")) for t in terms)
    shapes = []
    for k, term in enumerate(terms):
        head, _, tail = term.partition("...")
        middle = ellipsis[k % len(ellipsis)] if "..." in term else ()
        head, tail = ([2 if square else SIDES[c] for c in part] for part in (head, tail))
        shapes.append((*head, *middle, *tail))
    return [draw(shape) for shape in shapes]


@pytest.mark.parametrize("subscripts", EINSUMS)
@pytest.mark.parametrize("ellipsis", [((),), ((2, 3), (3,)), ((2, 1), (1, 3)), ((0,),)])
def test_einsum_is_numpys(subscripts: str, ellipsis: Any) -> None:
    arrays = operands(subscripts, ellipsis)
    agree(mg.einsum(subscripts, *arrays), np.einsum(subscripts, *arrays))
    agree(mg.einsum(subscripts, *[a.astype(np.float32) for a in arrays]), np.einsum(subscripts, *arrays), np.float32)


def test_einsum_stretches_axes_of_length_one_and_takes_integers() -> None:
    a, b = draw((1, 3)), draw((2, 1))
    agree(mg.einsum(" i j, ij -> ij", a, b), a * b)
    agree(mg.einsum("ij,ij", a, b), (a * b).sum())
    assert mg.einsum("ij,jk", np.eye(2, dtype=int), np.arange(4).reshape(2, 2)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("subscripts", ["ij,jk->ik", "ii->i", "ij,ij,j->i", "...ij,jk->...k", "ij->", "i,j"])
def test_einsum_is_differentiated(subscripts: str) -> None:
    check_grads(lambda *a: mg.einsum(subscripts, *a), *operands(subscripts, ((2,),)))


def test_the_others_are_differentiated() -> None:
    a, b = draw((2, 3)), draw((3, 2))
    check_grads(mg.outer, a[0], b[:2])
    check_grads(mg.inner, a, b.T.copy())
    check_grads(mg.dot, a, b)
    check_grads(lambda a, b: mg.tensordot(a, b, ([1, 0], [0, 1])), a, b)
    check_grads(lambda a: mg.trace(a, 1), a)
    check_grads(lambda a: mg.trace(a, -1, 2, 0), draw((2, 2, 3)))


A, B = np.ones((2, 3)), np.ones((3, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mg.tensordot(A, B, 3), ValueError, "over 3 axes"),
        (lambda: mg.tensordot(A, B, ([0], [0, 1])), ValueError, "as many axes of a as of b"),
        (lambda: mg.tensordot(A, B, (0, 0)), ValueError, r"axes 0 and 0, got \(2, 3\) and \(3, 2\)"),
        (lambda: mg.tensordot(A, B, ([0, 0], [1, 1])), ValueError, "names an axis twice"),
        (lambda: mg.tensordot(A, B, (5, 0)), np.exceptions.AxisError, "axis 5"),
        (lambda: mg.tensordot(A, B.astype(np.float32), 1), TypeError, "tensordot does not mix"),
        (lambda: mg.dot(A, A), ValueError, "equal lengths"),
        (lambda: mg.inner(A, B), ValueError, "equal lengths"),
        (lambda: mg.dot([1.0], A), TypeError, "got list"),
        (lambda: mg.trace(A[0]), np.exceptions.AxisError, "axis 1 is out of bounds"),
        (lambda: mg.trace(A, 0, 1, 1), ValueError, "got 1 twice"),
        (lambda: mg.einsum("ij,jk->ik", A), ValueError, "names 2 operands, got 1"),
        (lambda: mg.einsum("ij,jk->ik", A, A), ValueError, "'j' has the lengths 3 and 2"),
        (lambda: mg.einsum("ii", A), ValueError, "'i' has the lengths 2 and 3"),
        (lambda: mg.einsum("ijk", A), ValueError, "'ijk' does not name 2 axes"),
        (lambda: mg.einsum("i", A), ValueError, "'i' does not name 2 axes"),
        (lambda: mg.einsum("i1", A), ValueError, "by letters"),
        (lambda: mg.einsum("ij->ii", A), ValueError, "names an index twice"),
        (lambda: mg.einsum("ij->ik", A), ValueError, "one that no operand has"),
        (lambda: mg.einsum("ij,jk", A, B.astype(np.float32)), TypeError, "einsum does not mix"),
    ],
)
def test_sums_over_indices_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# Norms ------------------------------------------------------------------------------------------------------

ORDERS = [2, 1, 0, np.inf, -np.inf, 3, 0.5, -1, 2.5]


@pytest.mark.parametrize("ord", ORDERS)
@pytest.mark.parametrize(("axis", "keepdims"), [(None, False), (None, True), (1, False), (-1, True), ((0, 2), False)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vector_norm_is_numpys(ord: float, axis: Any, keepdims: bool, dtype: Any) -> None:
    x = draw((2, 3, 4)).astype(dtype)
    x[0, 0] = 0
    with np.errstate(divide="ignore"):
        wanted = np.linalg.vector_norm(x.astype(np.float64), axis=axis, keepdims=keepdims, ord=ord)
    agree(linalg.vector_norm(x, axis, keepdims, ord), wanted, dtype)


@pytest.mark.parametrize("ord", ORDERS)
def test_norms_are_differentiated_and_have_slope_zero_at_zero(ord: float) -> None:
    x = rng.uniform((2, 3), 0.5, 3, np.float64) * np.array([1, -1, 1])
    if ord:
        check_grads(lambda x: linalg.vector_norm(x, 1, ord=ord), x)
    zero = mg.tensor(np.zeros((2, 2)), requires_grad=True)
    norm = linalg.vector_norm(zero, 1, ord=ord)
    assert norm.tolist() == [0, 0]
    if ord:
        assert mg.grad(norm.sum(), zero)[0].tolist() == [[0, 0]] * 2
    assert not linalg.vector_norm(mg.tensor(x, requires_grad=True), ord=0).requires_grad


@pytest.mark.parametrize("ord", [2, 1, 3, np.inf])
def test_norms_of_nothing_of_nan_and_of_integers(ord: float) -> None:
    assert np.isnan(linalg.vector_norm(np.array([1.0, np.nan]), ord=ord).item())
    assert linalg.vector_norm(np.array([1.0, -np.inf]), ord=ord).item() == np.inf
    assert linalg.vector_norm(np.array([0, -2]), ord=ord).item() == 2
    if ord < np.inf:
        assert linalg.vector_norm(np.zeros((2, 0)), 1, ord=ord).tolist() == [0, 0]
    with pytest.raises(ValueError, match="a number as ord, got 'fro'"):
        linalg.vector_norm(A, ord="fro")


# LAPACK -------------------------------------------------------------------------------------------------------


def invertible(shape: tuple[int, ...]) -> np.ndarray:
    return draw(shape) + 3 * np.eye(shape[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 3), (2, 1, 3, 3), (0, 3, 3), (0, 0), (2, 0, 0), (1, 1)])
def test_batches_through_lapack_are_numpys(shape: tuple[int, ...], dtype: Any) -> None:
    a = invertible(shape).astype(dtype)
    wide = a.astype(np.float64)
    agree(linalg.inv(a), np.linalg.inv(wide), dtype)
    for found, wanted in zip(linalg.slogdet(a), np.linalg.slogdet(wide), strict=True):
        agree(found, wanted, dtype)
    definite = a @ a.mT
    lower = linalg.cholesky(definite)
    agree(lower @ lower.mT, definite, dtype)
    assert (np.triu(lower.numpy(), 1) == 0).all()
    w, v = linalg.eigh(definite)
    agree(w, np.linalg.eigvalsh(definite.astype(np.float64)), dtype)
    agree((v * mg.expand_dims(w, -2)) @ v.mT, definite, dtype)
    for full in (False, True):
        u, s, vh = linalg.svd(a, full)
        agree(s, np.linalg.svd(wide, compute_uv=False), dtype)
        agree((u * mg.expand_dims(s, -2)) @ vh, a, dtype)
    for b in (draw((shape[-1],)), draw((*shape[:-1], 2)), draw((shape[-1], 2))):
        agree(linalg.solve(a, b.astype(dtype)), np.linalg.solve(wide, b), dtype)


def test_svd_of_wide_and_tall_batches() -> None:
    for shape in ((2, 2, 4), (2, 4, 2), (3, 0), (0, 2, 3)):
        a = draw(shape)
        u, s, vh = linalg.svd(a)
        assert (u.shape, s.shape, vh.shape) == tuple(part.shape for part in np.linalg.svd(a, full_matrices=False))
        agree((u * mg.expand_dims(s, -2)) @ vh, a)
    check_grads(lambda a: linalg.svd(a)[1].sum(), draw((2, 2, 3)))


@pytest.mark.parametrize("f", [linalg.eigh, lambda a: linalg.svd(a)[1::-1]])
def test_equal_values_have_right_gradients_and_their_vectors_none(f: Any) -> None:
    a = mg.tensor(np.eye(3), requires_grad=True)
    values, vectors = f(a)
    agree(mg.grad(values.sum(), a, retain_graph=True)[0], np.eye(3))
    assert not np.isfinite(mg.grad((vectors * np.arange(3)).sum(), a)[0].numpy()).all()


def test_solve_is_differentiated_over_batches_and_vectors() -> None:
    check_grads(linalg.solve, invertible((2, 2)), draw((2,)))
    check_grads(linalg.solve, invertible((2, 2)), draw((2, 2, 1)))
    check_grads(lambda a: mg.trace(linalg.inv(a)), invertible((3, 3)))


def test_known_derivatives() -> None:
    """Of log det, of the nuclear norm, of the largest eigenvalue, and the Hessian of log det along a direction."""
    a, v = invertible((3, 3)), draw((3, 3))
    logdet = lambda a: linalg.slogdet(a)[1]  # noqa: E731
    agree(func.grad(logdet)(a), np.linalg.inv(a).T)
    inverse = np.linalg.inv(a)
    agree(func.hvp(logdet, (a,), (v,))[0], -(inverse @ v @ inverse).T)
    u, _, vh = np.linalg.svd(a)
    agree(func.grad(lambda a: linalg.svd(a)[1].sum())(a), u @ vh)
    symmetric = a + a.T
    _, vectors = np.linalg.eigh(symmetric)
    agree(func.grad(lambda a: linalg.eigh(a)[0][-1])(symmetric), np.outer(vectors[:, -1], vectors[:, -1]))


def test_what_does_not_depend_on_signs_or_bases_is_differentiated_through_vectors() -> None:
    a = invertible((2, 3, 3))
    check_grads(lambda a: _function_of(a, mg.exp), a[0, :2, :2] + a[0, :2, :2].T)
    u, _, vh = linalg.svd(mg.tensor(a, requires_grad=True))
    rotation = u @ vh  # of the polar decomposition
    agree(rotation @ rotation.mT, np.broadcast_to(np.eye(3), (2, 3, 3)))
    check_grads(lambda a: (lambda u, s, vh: u @ vh)(*linalg.svd(a)), a[0, :, :2])


def _function_of(a: Any, f: Any) -> Any:
    w, v = linalg.eigh(a)
    return (v * mg.expand_dims(f(w), -2)) @ v.mT


def test_equal_eigenvalues_leave_their_own_gradient_right() -> None:
    x = mg.tensor(np.eye(3) * 2, requires_grad=True)
    w, v = linalg.eigh(x)
    agree(mg.grad((w * w).sum(), x)[0], 4 * np.eye(3))
    assert not np.isfinite(mg.grad(linalg.eigh(x)[1].sum(), x)[0].numpy()).all()
    assert v.shape == (3, 3)
    y = mg.tensor(np.diag([2.0, 2.0, 1.0]), requires_grad=True)
    agree(mg.grad(linalg.svd(y)[1].sum(), y)[0], np.eye(3))


def test_the_gradient_of_a_symmetric_matrix_is_symmetric() -> None:
    a = invertible((3, 3))
    for f in (lambda a: linalg.cholesky(a)[1, 0], lambda a: linalg.eigh(a)[1][0, 0]):
        found = func.grad(f)(a @ a.T).numpy()
        np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-14)
    agree(linalg.cholesky(np.array([[4.0, 2.0], [0.0, 5.0]])), [[2, 0], [0.5, np.sqrt(4.75)]])  # (a + a^T) / 2


def test_integers_become_float32() -> None:
    a = np.array([[2, 0], [0, 4]])
    agree(linalg.inv(a), [[0.5, 0], [0, 0.25]], np.float32)
    agree(linalg.solve(a, np.array([2, 2])), [1, 0.5], np.float32)
    agree(linalg.solve(a, np.array([2.0, 2.0])), [1, 0.5])


SINGULAR = np.ones((2, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: linalg.inv(SINGULAR), np.linalg.LinAlgError, "Singular matrix"),
        (lambda: linalg.solve(SINGULAR, A), np.linalg.LinAlgError, "Singular matrix"),
        (lambda: linalg.cholesky(-SINGULAR), np.linalg.LinAlgError, "not positive definite"),
        (lambda: linalg.inv(A), ValueError, r"inv needs square matrices \(..., n, n\), got \(2, 3\)"),
        (lambda: linalg.cholesky(A), ValueError, "cholesky needs square"),
        (lambda: linalg.slogdet(A), ValueError, "slogdet needs square"),
        (lambda: linalg.eigh(A[0]), ValueError, "eigh needs square"),
        (lambda: linalg.svd(A[0]), ValueError, r"svd needs matrices \(..., m, n\), got \(3,\)"),
        (lambda: linalg.svd(A, True), NotImplementedError, "full_matrices needs square"),
        (lambda: linalg.solve(A, A), ValueError, "solve needs square"),
        (lambda: linalg.solve(SINGULAR, B), ValueError, r"got \(2, 2\) and \(3, 2\)"),
        (lambda: linalg.solve(SINGULAR, np.array(1.0)), ValueError, r"got \(2, 2\) and \(\)"),
        (lambda: linalg.solve(np.ones((2, 2, 2)), np.ones((3, 2, 1))), ValueError, "batch axes"),
        (lambda: linalg.solve(SINGULAR, mg.ones(2)), TypeError, "solve does not mix float32 and float64"),
    ],
)
def test_lapack_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_singular_matrix_has_a_determinant_but_no_gradient() -> None:
    x = mg.tensor(SINGULAR, requires_grad=True)
    sign, size = linalg.slogdet(x)
    assert (sign.item(), size.item()) == (0, -np.inf)
    with pytest.raises(np.linalg.LinAlgError):
        size.backward()


def test_einsum_refuses_operands_before_the_subscripts() -> None:
    with pytest.raises(TypeError, match="takes the subscripts first"):
        mg.einsum(np.ones(2), "i->")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"an axis of '...' has the lengths 3 and 2"):
        mg.einsum("...i,i...->...", np.ones((3, 2)), np.ones((2, 2)))
