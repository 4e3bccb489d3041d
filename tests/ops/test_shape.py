"""Indexing, joining and views against NumPy, with their gradients and errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad.testing import check_grads

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Anything that NumPy takes as index: basic, arrays, masks, lists, and mixtures."""
    kind = draw(st.sampled_from(["basic", "arrays", "mask", "mixed"]))
    if kind == "mask" or 0 in shape or not shape:
        return draw(hnp.arrays(np.bool_, shape[: draw(st.integers(0, len(shape)))]))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_newaxis=True))
    arrays = draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    if kind == "arrays":
        return arrays
    parts = [draw(st.sampled_from([slice(None), slice(None, None, -1), int(a.flat[0]), a])) for a in arrays]
    return (*parts[:-1], ..., *parts[-1:])


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1.0, np.prod(shape, dtype=int) + 1).reshape(shape)


# Indexing -------------------------------------------------------------------------------------------


@given(case=shapes.flatmap(lambda shape: st.tuples(st.just(shape), indices(shape))))
@example(case=((1,), (0,)))
@example(case=((2, 3), (1, -1)))
def test_getitem_is_numpys_forward_and_back(case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    array = numbered(shape)
    x = mg.tensor(array, requires_grad=True)
    y = x[index]
    expected = array[index]
    if not isinstance(expected, np.ndarray):  # NumPy copies a lone element out; with an ellipsis it gives our 0-d view
        expected = array[(*np.index_exp[index], ...)]
    assert isinstance(y.data, np.ndarray)
    np.testing.assert_array_equal(y.numpy(), expected)
    assert np.shares_memory(y.data, x.data) == np.shares_memory(expected, array)
    cotangent = numbered(y.shape)
    y.backward(cotangent)
    gradient = np.zeros(shape)
    np.add.at(gradient, index, cotangent)
    np.testing.assert_array_equal(x.grad.numpy(), gradient)


@given(data=st.data(), shape=shapes)
def test_assign_by_index_is_numpys(data: st.DataObject, shape: tuple[int, ...]) -> None:
    array, index = numbered(shape), data.draw(indices(shape))
    t = mg.tensor(array)
    value = -numbered(array[index].shape)
    array[index] = value
    assert t.assign_(value, index) is t
    np.testing.assert_array_equal(t.numpy(), array)


def test_tensors_and_lists_are_indices_too() -> None:
    x = mg.tensor(numbered((3, 4)))
    np.testing.assert_array_equal(x[mg.tensor([2, 0])].numpy(), x.numpy()[[2, 0]])
    np.testing.assert_array_equal(x[mg.tensor(1), mg.tensor([0, 3])].numpy(), x.numpy()[1, [0, 3]])
    np.testing.assert_array_equal(x[x > 5].numpy(), x.numpy()[x.numpy() > 5])
    np.testing.assert_array_equal(x[[0, 0, 1]].numpy(), x.numpy()[[0, 0, 1]])
    np.testing.assert_array_equal(x[[True, False, True], 1].numpy(), x.numpy()[[True, False, True], 1])
    np.testing.assert_array_equal(mg.getitem(x, index=np.array([1, 2])).numpy(), x.numpy()[1:])


@pytest.mark.parametrize("index", [3, -4, (0, 0, 0), 0.5, "a", [0, 9], np.array([0.0]), np.ones(2, bool), (..., ...)])
def test_bad_indices_raise_numpys_error(index: Any) -> None:
    with pytest.raises(IndexError) as ours:
        mg.ones((3, 4))[index]
    with pytest.raises(IndexError) as numpys:
        np.ones((3, 4))[index]
    assert str(ours.value) == str(numpys.value)


def test_a_repeated_index_collects_every_gradient() -> None:
    x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[1, 1, 1, 0]].backward(np.array([1, 10, 100, 1000]))
    assert x.grad.tolist() == [1000.0, 111.0, 0.0]


# Joining --------------------------------------------------------------------------------------------


@given(data=st.data(), shape=hnp.array_shapes(max_dims=3, min_side=0, max_side=3), count=st.integers(1, 4))
@pytest.mark.parametrize(("f", "numpys", "more"), [(mg.concat, np.concatenate, 0), (mg.stack, np.stack, 1)])
def test_joining_is_numpys(f: Any, numpys: Any, more: int, data: st.DataObject, shape: Any, count: int) -> None:
    arrays = [numbered(shape) + 100 * i for i in range(count)]
    axis = data.draw(st.integers(-len(shape) - more, len(shape) - 1 + more))
    np.testing.assert_array_equal(f(arrays, axis).numpy(), numpys(arrays, axis))
    np.testing.assert_array_equal(f([mg.tensor(a) for a in arrays], axis).numpy(), numpys(arrays, axis))
    check_grads(lambda *arrays: f(arrays, axis), *arrays, order=1)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mg.concat([]), ValueError, "at least one array"),
        (lambda: mg.stack([]), ValueError, "at least one array"),
        (lambda: mg.concat([mg.ones(2), mg.ones(2)], 1), np.exceptions.AxisError, "axis 1 is out of bounds"),
        (lambda: mg.stack([mg.ones(2), mg.ones(2)], 3), np.exceptions.AxisError, "axis 3 is out of bounds"),
        (lambda: mg.concat([mg.ones(2), mg.ones((2, 1))]), ValueError, "same number of dimensions"),
        (lambda: mg.concat([mg.ones((2, 3)), mg.ones((2, 4))]), ValueError, "must match exactly"),
        (lambda: mg.stack([mg.ones(2), mg.ones(3)]), ValueError, "must match exactly"),
        (lambda: mg.concat([mg.ones(()), mg.ones(())]), ValueError, "zero-dimensional"),
        (lambda: mg.concat([mg.ones(2), mg.ones(2)], None), TypeError, "integer axis, got None"),
        (lambda: mg.concat([[1.0], [2.0]]), TypeError, "takes tensors, arrays and numbers, got list"),
    ],
)
def test_joining_refuses(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


# Views ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape(6),
        lambda x: x.reshape(-1, 2),
        lambda x: x.reshape((3, 2)),
        lambda x: x.flatten(),
        lambda x: x.T,
        lambda x: x.mT,
        lambda x: x.permute_dims((-1, 0)),
        lambda x: mg.expand_dims(x, (0, -1)),
        lambda x: mg.squeeze(x[None], 0),
        lambda x: mg.broadcast_to(x, (4, 2, 3)),
        lambda x: x[::-1, 1:],
    ],
)
def test_views_share_memory_and_are_differentiated(view: Any) -> None:
    array = numbered((2, 3))
    x = mg.Tensor(array)
    y = view(x)
    assert np.shares_memory(y.data, array)
    x.assign_(-array)
    np.testing.assert_array_equal(y.numpy(), view(mg.Tensor(array)).numpy())
    check_grads(lambda x: mg.square(view(x)), array)


def test_reshape_copies_only_where_it_must() -> None:
    x = mg.tensor(numbered((2, 3)))
    assert not np.shares_memory(x.T.reshape(6).data, x.data)
    assert x.T.reshape(6).tolist() == x.numpy().T.ravel().tolist()
    assert np.shares_memory(x[:, :2].reshape(2, 2, 1).data, x.data)


@pytest.mark.parametrize("axes", [(2, 0, 1), (-1, 0, 1), (-1, -3, -2), None])
def test_permute_dims_goes_back_whatever_the_signs(axes: Any) -> None:
    x = mg.tensor(numbered((2, 2, 2)), requires_grad=True)
    y = x.permute_dims(axes)
    y.backward(y.numpy().copy())
    np.testing.assert_array_equal(x.grad.numpy(), x.numpy())


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: x.reshape(5), ValueError, "cannot reshape array of size 6"),
        (lambda x: x.reshape(-1, -1), ValueError, "one unknown dimension"),
        (lambda x: x.permute_dims((0, 0)), ValueError, "repeated axis"),
        (lambda x: x.permute_dims((0,)), ValueError, "axes don't match"),
        (lambda x: x.swapaxes(0, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.squeeze(0), ValueError, "cannot select an axis to squeeze"),
        (lambda x: mg.expand_dims(x, 4), np.exceptions.AxisError, "axis 4 is out of bounds"),
        (lambda x: mg.broadcast_to(x, (3, 3)), ValueError, "could not be broadcast"),
    ],
)
def test_views_refuse(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(mg.ones((2, 3)))


# Rearranged -----------------------------------------------------------------------------------------


@given(data=st.data(), shape=shapes)
def test_moveaxis_and_unstack_are_numpys(data: st.DataObject, shape: tuple[int, ...]) -> None:
    x, ndim = numbered(shape), len(shape)
    source = data.draw(st.permutations(range(ndim)))[: data.draw(st.integers(0, ndim))]
    destination = [a - ndim for a in data.draw(st.permutations(range(ndim)))[: len(source)]]
    np.testing.assert_array_equal(
        mg.tensor(x).moveaxis(source, destination).numpy(), np.moveaxis(x, source, destination)
    )
    if shape:
        axis = data.draw(st.integers(-ndim, ndim - 1))
        parts = mg.tensor(x).unstack(axis)
        assert len(parts) == shape[axis]
        for part, expected in zip(parts, np.moveaxis(x, axis, 0), strict=True):
            np.testing.assert_array_equal(part.numpy(), expected)


@pytest.mark.parametrize("sections", [1, 2, 3, 6, [2], [1, 1, 4], [0, 9], [-2], []])
@pytest.mark.parametrize("axis", [0, -1])
def test_split_is_numpys(sections: Any, axis: int) -> None:
    x = numbered((6, 6))
    for part, expected in zip(mg.tensor(x).split(sections, axis), np.split(x, sections, axis), strict=True):
        np.testing.assert_array_equal(part.numpy(), expected)
        assert part.data.base is not None
    check_grads(lambda x: [mg.square(part) for part in mg.split(x, sections, axis)], x, order=1)


def test_split_of_nothing() -> None:
    assert [part.shape for part in mg.zeros((0, 2)).split(3)] == [(0, 2)] * 3


@pytest.mark.parametrize("repeats", [[2, 0, 1], np.array([1]), mg.tensor([0, 0, 3])])
def test_repeat_by_a_count_for_each_is_numpys(repeats: Any) -> None:
    x = numbered((2, 3))
    counts = repeats.numpy() if isinstance(repeats, mg.Tensor) else repeats
    np.testing.assert_array_equal(mg.tensor(x).repeat(repeats, 1).numpy(), np.repeat(x, counts, 1))
    check_grads(lambda x: mg.square(mg.repeat(x, repeats, 1)), x, order=1)


@pytest.mark.parametrize("axis", [None, 0, (0, 1), (-1, 0)])
@pytest.mark.parametrize("shift", [1, (2, -1)])
def test_roll_along_several_axes_is_numpys(shift: Any, axis: Any) -> None:
    x = numbered((2, 3))
    np.testing.assert_array_equal(mg.roll(x, shift, axis).numpy(), np.roll(x, shift, axis))
    check_grads(lambda x: mg.square(mg.roll(x, shift, axis)), x, order=1)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("width", [0, 3, (1, 2), ((0, 1), (2, 0)), [[1], [2]]])
def test_pad_is_numpys(mode: str, width: Any) -> None:
    x = numbered((2, 3))
    np.testing.assert_array_equal(mg.pad(x, width, mode).numpy(), np.pad(x, width, mode))
    check_grads(lambda x: mg.square(mg.pad(x, width, mode)), x, order=1)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float32])
def test_pad_keeps_the_dtype(dtype: Any) -> None:
    x = np.ones(2, dtype)
    found, expected = mg.pad(x, 1, constant_values=3).numpy(), np.pad(x, 1, constant_values=3)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: x.split(4), ValueError, "split cannot cut an axis of length 2 into 4 equal parts"),
        (lambda x: x.split(0), ValueError, "into 0 equal parts"),
        (lambda x: x.unstack(2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.roll(1, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.flip(2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.moveaxis(0, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda x: x.moveaxis((0, 1), 0), ValueError, "same number of elements"),
        (lambda x: x.repeat([1, 2, 3], 0), ValueError, "could not be broadcast"),
        (lambda x: x.repeat(-1, 0), ValueError, "negative"),
        (lambda x: x.tile(-1), ValueError, "negative"),
        (lambda x: mg.pad(x, -1), ValueError, "whole number from 0 on"),
        (lambda x: mg.pad(x, 0.5), ValueError, "whole number from 0 on"),
        (lambda x: mg.pad(x, (1, 2, 3)), ValueError, "broadcast"),
        (lambda x: mg.pad(x, 1, "mean"), NotImplementedError, "not 'mean'"),
        (lambda x: mg.unstack([1.0]), TypeError, "got list"),
    ],
)
def test_rearranging_refuses(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(mg.ones((2, 3)))
