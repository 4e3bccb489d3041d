"""Picking and adding by index against NumPy and plain loops, with gradients, repeated indices and errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.ops.shape import getitem_grad
from minigrad.testing import check_grads

shapes = hnp.array_shapes(max_dims=3, max_side=3)
X = np.random.default_rng(0).normal(size=(3, 4))


@st.composite
def places(draw: st.DrawFn, shorter: bool = False) -> tuple[np.ndarray, int, np.ndarray]:
    """A numbered array, an axis of it and indices along that axis, some of them repeated or negative."""
    shape = draw(shapes)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    wanted = tuple(draw(st.integers(0, n)) if shorter else n for n in shape)
    wanted = (*wanted[: axis % len(shape)], draw(st.integers(0, 4)), *wanted[axis % len(shape) + 1 :])
    index = draw(hnp.arrays(np.int64, wanted, elements=st.integers(-shape[axis], shape[axis] - 1)))
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape), axis, index


@given(case=places(), wrapped=st.booleans())
def test_take_along_axis_is_numpys(case: Any, wrapped: bool) -> None:
    x, axis, index = case
    expected = np.take_along_axis(x, index, axis)
    np.testing.assert_array_equal(mg.take_along_axis(x, mg.tensor(index) if wrapped else index, axis).numpy(), expected)
    np.testing.assert_array_equal(mg.tensor(x).take_along_axis(index.ravel(), None).numpy(), x.ravel()[index.ravel()])
    if index.size:
        check_grads(lambda x: mg.square(mg.take_along_axis(x, index, axis)), x, order=1)


@given(case=places(), index=hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2), elements=st.integers(0, 0)))
def test_take_is_numpys(case: Any, index: np.ndarray) -> None:
    x, axis, along = case
    for indices in (index, along.ravel(), mg.tensor(along.ravel()), along.ravel().tolist() or [0], 0):
        for where in (axis, None):
            plain = np.asarray(indices.data if isinstance(indices, mg.Tensor) else indices)
            np.testing.assert_array_equal(mg.take(x, indices, where).numpy(), np.take(x, plain, where))


@given(case=places(shorter=True))
def test_gather_and_scatter_add_are_adjoint_loops(case: Any) -> None:
    x, axis, index = case
    gathered, added = np.empty(index.shape), x.copy()
    source = np.arange(1.0, index.size + 1).reshape(index.shape)
    for place in np.ndindex(*index.shape):
        there = list(place)
        there[axis] = index[place]
        gathered[place] = x[tuple(there)]
        added[tuple(there)] += source[place]
    np.testing.assert_array_equal(mg.gather(x, axis, index).numpy(), gathered)
    np.testing.assert_array_equal(mg.scatter_add(x, axis, index, source).numpy(), added)
    longer = np.pad(source, [(0, 1)] * source.ndim)
    np.testing.assert_array_equal(mg.tensor(x).scatter_add(axis, index, longer).numpy(), added)
    leaf = mg.tensor(x, requires_grad=True)
    mg.gather(leaf, axis, mg.tensor(index)).backward(source)
    np.testing.assert_array_equal(leaf.grad.numpy(), added - x)
    if index.size:
        check_grads(lambda x, s: mg.square(mg.scatter_add(x, axis, index, s)), x, source, order=1)


def test_scatter_add_of_a_number_and_of_integers() -> None:
    counts = mg.scatter_add(mg.zeros(3, np.int64), 0, np.array([2, 2, 0]), 1)
    assert counts.dtype == np.int64
    assert counts.tolist() == [1, 0, 2]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_index_add(axis: int) -> None:
    index, source = np.array([1, 1, 0]), np.random.default_rng(1).normal(size=(3, 4) if axis == 0 else (3, 3))
    expected = X.copy()
    np.add.at(expected, (slice(None),) * (axis % 2) + (index,), 2 * source)
    np.testing.assert_allclose(mg.index_add(X, axis, index, source, alpha=2).numpy(), expected)
    check_grads(lambda x, s: mg.square(x.index_add(axis, index, s)), X, source)


def test_one_hot() -> None:
    assert mg.one_hot(mg.tensor([[1, 0]]), 3).tolist() == [[[0, 1, 0], [1, 0, 0]]]
    assert mg.one_hot(np.array(2, np.uint8), 3, np.bool_).tolist() == [False, False, True]
    assert mg.one_hot(np.zeros(0, int), 3).shape == (0, 3)
    for bad in (-1, 3):
        with pytest.raises(IndexError, match=f"label {bad} lies outside the 3 classes"):
            mg.one_hot(mg.tensor([0, bad]), 3)


@pytest.mark.parametrize("k", [-2, -1, 0, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_diag_is_numpys(n: int, k: int) -> None:
    vector = X.ravel()[:n]
    np.testing.assert_array_equal(mg.diag(vector, k).numpy(), np.diag(vector, k))
    np.testing.assert_array_equal(mg.tensor(X[:n]).diag(k).numpy(), np.diag(X[:n], k))
    if n:
        check_grads(lambda v: mg.square(mg.diag(v, k)), vector)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 0), (-1, 1)])
@pytest.mark.parametrize("offset", [-3, -1, 0, 1])
def test_diagonal_of_any_axes_is_numpys(offset: int, axes: Any) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(mg.tensor(x).diagonal(offset, *axes).numpy(), np.diagonal(x, offset, *axes))


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.float16])
def test_triangles_keep_the_dtype_and_stop_nan(dtype: Any) -> None:
    x = np.ones((2, 3), dtype)
    for f in ("tril", "triu"):
        assert getattr(mg.tensor(x), f)().dtype == dtype
        np.testing.assert_array_equal(getattr(mg, f)(x, 1).numpy(), getattr(np, f)(x, 1))
    assert mg.tril(mg.tensor([[1, np.nan], [2, 3]])).tolist() == [[1, 0], [2, 3]]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mg.take(X, [0.5]), TypeError, "take takes integers as indices, got float64"),
        (lambda: mg.take(X, np.array([True])), TypeError, "take takes integers as indices, got bool"),
        (lambda: mg.take(X, 3, 0), IndexError, "out of bounds"),
        (lambda: mg.take_along_axis(X, np.array([0]), 0), ValueError, "take_along_axis needs indices of 2 axes"),
        (lambda: mg.take_along_axis(X, np.array([[4]]), 1), IndexError, "out of bounds"),
        (lambda: mg.gather(X, 0, np.array([0])), ValueError, "gather needs indices of 2 axes"),
        (lambda: mg.gather(X, 0, np.array([[3]])), IndexError, "out of bounds"),
        (lambda: mg.scatter_add(X, 0, np.array([[0, 1]]), np.ones((1, 1))), ValueError, "indices within its source"),
        (lambda: mg.scatter_add(X, 0, np.array([[3]]), np.ones((1, 1))), IndexError, "out of bounds"),
        (lambda: mg.index_add(X, 0, [0], np.ones((1, 3))), ValueError, r"needs a source \(1, 4\), got \(1, 3\)"),
        (lambda: mg.one_hot(mg.ones(2), 3), TypeError, "one_hot takes integers as labels, got float32"),
        (lambda: mg.tril(mg.ones(2)), ValueError, "tril needs matrices"),
        (lambda: mg.diagonal(X, 0, 1, -1), ValueError, "diagonal needs two axes, got 1 twice"),
        (lambda: mg.diagonal(mg.ones(2)), np.exceptions.AxisError, "axis 1 is out of bounds"),
        (lambda: mg.diag(mg.ones((1, 1, 1))), ValueError, "diag takes a vector or a matrix"),
    ],
)
def test_indexing_refuses(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64, np.int64]))
def test_rows_are_added_as_often_as_they_are_named(data: st.DataObject, dtype: Any) -> None:
    """Seldom, often and never; counted from the end; at several axes of indices."""
    rows, width = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 3))
    shape = data.draw(st.sampled_from([(0,), (3,), (40,), (2, 2)]))
    index = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-rows, rows - 1)))
    dy = np.arange(index.size * width).reshape(*shape, width).astype(dtype)
    expected = np.zeros((rows, width), dtype)
    np.add.at(expected, index, dy)
    for place in (index, (index,)):
        found = getitem_grad(dy, place, (rows, width)).numpy()
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
    if dtype != np.int64:
        weight = mg.tensor(np.ones((rows, width), dtype), requires_grad=True)
        mg.embedding(index % rows, weight).backward(dy)
        assert weight.grad is not None
        np.testing.assert_array_equal(weight.grad.numpy(), expected)
