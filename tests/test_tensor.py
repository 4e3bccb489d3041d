"""Tensor: what it wraps, what it shares, how it meets NumPy."""

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import minigrad as mg


def test_python_numbers_become_float32_and_arrays_keep_their_dtype() -> None:
    assert mg.tensor([1.0]).dtype == np.float32
    assert mg.tensor(1.5).dtype == np.float32
    assert mg.tensor([1]).dtype == np.int64
    assert mg.tensor([True]).dtype == np.bool_
    assert mg.tensor(np.ones(2)).dtype == np.float64
    assert mg.tensor(np.ones(2), dtype=np.float32).dtype == np.float32


def test_tensor_copies_and_asarray_shares() -> None:
    array = np.zeros(3, np.float32)
    assert not np.shares_memory(mg.tensor(array).data, array)
    for shared in (mg.Tensor(array), mg.asarray(array), mg.asarray(mg.Tensor(array))):
        assert np.shares_memory(shared.data, array)


def test_dlpack_shares_both_ways() -> None:
    t = mg.tensor([1.0, 2.0])
    assert np.shares_memory(np.from_dlpack(t), t.data)

    class Foreign:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack__(self, **arguments: Any) -> Any:
            return self.array.__dlpack__(**arguments)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    for array in (np.arange(3.0), np.arange(6)[::-2], np.ones((2, 3), np.float32).T, np.array(1)):
        for take in (mg.asarray, mg.from_dlpack):
            shared = take(Foreign(array))
            assert (shared.shape, shared.dtype, shared.data.strides) == (array.shape, array.dtype, array.strides)
            assert shared.data.ctypes.data == array.ctypes.data
        back = np.from_dlpack(mg.Tensor(array))
        assert (back.ctypes.data, back.strides) == (array.ctypes.data, array.strides)


def test_what_requires_grad_is_detached_before_it_is_shared() -> None:
    t = mg.tensor([1.0, 2.0], requires_grad=True)
    for x in (t, t * 2):
        for error, share in (
            (RuntimeError, np.asarray),
            (RuntimeError, lambda x: np.array([x, x])),
            (RuntimeError, lambda x: np.zeros(2).__setitem__(..., x)),
            (BufferError, np.from_dlpack),
            (BufferError, mg.from_dlpack),
        ):
            with pytest.raises(
                error, match=r"would lose the gradient of a tensor that requires grad; detach\(\) it first"
            ):
                share(x)
        assert np.shares_memory(np.asarray(x.detach()), x.data)
        assert np.shares_memory(np.from_dlpack(x.detach()), x.data)
        assert np.asarray(x.detach(), np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(t.detach(), np.float64, copy=False)


@pytest.mark.parametrize("data", [[1.0], 1.0, None, "a"])
def test_the_constructor_takes_arrays_only(data: Any) -> None:
    with pytest.raises(TypeError, match=r"Tensor\(\) wraps an ndarray, got .*; minigrad.tensor\(\) converts"):
        mg.Tensor(data)


@pytest.mark.parametrize("array", [np.array([1j]), np.array(["a"]), np.array([None]), np.array(["2020"], "M8[Y]")])
def test_other_dtypes_are_refused(array: Any) -> None:
    with pytest.raises(TypeError, match="a Tensor holds floats, integers or bools, got dtype"):
        mg.Tensor(array)


def test_numpy_is_read_only_where_a_write_would_go_unseen() -> None:
    assert mg.ones(2).numpy().flags.writeable
    array = mg.ones(2, requires_grad=True).numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 3


def test_elements_do_not_change_in_place() -> None:
    t = mg.ones(2)
    with pytest.raises(TypeError, match=r"use t.assign_\(value, index\)"):
        t[0] = 1


def test_assign_writes_whole_or_by_index() -> None:
    t = mg.zeros((2, 3))
    t.assign_(np.arange(3)).assign_(7.0, (0, slice(1, None))).assign_([9], ([1], [0]))
    assert t.tolist() == [[0, 7, 7], [9, 1, 2]]
    t.assign_(t.data[::-1])  # overlapping memory
    assert t.tolist() == [[9, 1, 2], [0, 7, 7]]
    view = t.detach()[0]
    view.assign_(0)
    assert t.tolist() == [[0, 0, 0], [0, 7, 7]]


@pytest.mark.parametrize(
    ("tensor", "value", "error", "message"),
    [
        (mg.ones(2, requires_grad=True) * 2, 1, RuntimeError, "not into the result of multiply"),
        (mg.ones(2), np.ones(3), ValueError, "broadcast"),
        (mg.tensor([1, 2]), 0.5, TypeError, "cannot write float64 into int64"),
        (mg.broadcast_to(mg.ones(1), (3,)), 1, ValueError, "read-only"),
    ],
)
def test_assign_refuses_before_it_writes(tensor: Any, value: Any, error: type[Exception], message: str) -> None:
    before = tensor.data.copy()
    with pytest.raises(error, match=message):
        tensor.assign_(value)
    np.testing.assert_array_equal(tensor.data, before)


def test_views_share_a_write_counter() -> None:
    t = mg.zeros((2, 3))
    for view in (t.reshape(6), t.T, t[0], t.detach(), t.swapaxes(0, 1)):
        before = view.storage().version
        t.assign_(1)
        assert view.storage().version == before + 1
    assert t[[0]].storage() is not t.storage()


def test_both_operand_orders_meet_an_array() -> None:
    t, array = mg.tensor([1.0, 2.0]), np.array([3.0, 5.0], np.float32)
    for left, right in ((t + array, array + t), (t * array, array * t), (-(t - array), array - t)):
        assert isinstance(right, mg.Tensor)
        assert left.tolist() == right.tolist()
    assert (array @ t).item() == 13
    assert (array > t).tolist() == [True, True]


def test_host_reads() -> None:
    assert float(mg.tensor([2.5])) == 2.5
    assert int(mg.tensor(3)) == 3
    assert [10, 20, 30][mg.tensor(1)] == 20
    assert bool(mg.tensor(1.0))
    assert len(mg.zeros((4, 2))) == 4
    assert [row.tolist() for row in mg.tensor([[1.0], [2.0]])] == [[1.0], [2.0]]
    assert np.asarray(mg.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="exactly one element"):
        mg.ones(2).item()
    for number in (float, int):
        with pytest.raises(TypeError, match=rf"{number.__name__}\(\) needs exactly one element, got shape \(2,\)"):
            number(mg.ones(2))
    with pytest.raises(ValueError, match="truth value of an array with more than one element is ambiguous"):
        bool(mg.ones(2))
    for sized in (len, iter):
        with pytest.raises(TypeError, match="unsized"):
            sized(mg.tensor(1.0))
    with pytest.raises(TypeError, match="0-d integer tensor"):
        [1, 2][mg.tensor(1.0)]  # type: ignore[call-overload]


def test_equality_is_elementwise_and_hash_is_identity() -> None:
    a, b = mg.ones(2), mg.ones(2)
    assert (a == b).tolist() == [True, True]
    assert (a != b).tolist() == [False, False]
    assert len({a, b, a}) == 2


def test_equality_with_other_things() -> None:
    t = mg.tensor([1.0, 2.0])
    for other in (None, "a", {}, object(), np.float32, ..., slice(None)):
        assert (t == other) is False
        assert (t != other) is True
        assert other not in t
    for number in ([1.0, 2.0], (1.0,), 1j, np.array(["a"])):
        with pytest.raises(TypeError, match="equal takes"):
            t == number  # noqa: B015


@pytest.mark.parametrize("value", [1, 2.0, 3.5, np.float32(0.1), np.float64(0.1), True, np.ones(2, np.float32), np.nan])
def test_in_asks_whether_any_element_is_equal(value: Any) -> None:
    array = np.array([[0.1, 1.0], [2.0, np.nan]], np.float32)
    assert (value in mg.Tensor(array)) == bool((array == np.float32(value)).any())
    assert (mg.tensor(value, np.float32) in mg.Tensor(array)) == (value in mg.Tensor(array))
    assert value not in mg.zeros((0, 1))


def test_formats_as_numpy() -> None:
    for x in (2.0, 2.25, 7):
        assert f"{mg.tensor(x, requires_grad=isinstance(x, float)):6.1f}" == f"{x:6.1f}"
    assert f"{mg.ones(2)}" == "Tensor([1., 1.])"
    with pytest.raises(TypeError, match=r"unsupported format string passed to .*Tensor.__format__"):
        f"{mg.ones(2):.2}"


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (mg.tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (mg.tensor([1]), "Tensor([1], dtype=int64)"),
        (mg.ones(1, requires_grad=True), "Tensor([1.], requires_grad=True)"),
        (mg.ones(1, requires_grad=True) * 2, "Tensor([2.], node=multiply)"),
    ],
)
def test_repr(tensor: mg.Tensor, text: str) -> None:
    assert repr(tensor) == text


def test_requires_grad_is_for_leaves() -> None:
    t = mg.ones(2)
    t.requires_grad = True
    assert t.requires_grad
    assert t.is_leaf
    y = t * 2
    assert not y.is_leaf
    with pytest.raises(RuntimeError, match="on leaves only"):
        y.requires_grad_(False)
    with pytest.raises(TypeError, match="got int64"):
        mg.tensor([1]).requires_grad_()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_are_their_own(copied: Any) -> None:
    t = mg.Tensor(np.asfortranarray(np.ones((2, 3), np.float32)), requires_grad=True)
    t.sum().backward()
    u = copied(t)
    assert (type(u), u.requires_grad, u.is_leaf) == (mg.Tensor, True, True)
    assert u.data.strides == t.data.strides
    assert not np.shares_memory(u.data, t.data)
    assert u.grad.tolist() == t.grad.tolist()
    assert not np.shares_memory(u.grad.data, t.grad.data)
    u.assign_(2)
    assert t.storage().version == 0
    assert type(copied(mg.nn.Parameter(t))) is mg.nn.Parameter
    copied((t * 2).detach()).assign_(1)
    with pytest.raises(
        RuntimeError, match=r"the result of multiply is not copied or pickled with its graph; detach\(\) it"
    ):
        copied(t * 2)


class Named(mg.Tensor):
    """A subclass with attributes."""


def test_copies_keep_the_attributes_of_a_subclass() -> None:
    t = Named(np.ones(2))
    t.name = ["weight"]
    assert copy.deepcopy(t).name == ["weight"]
    assert copy.deepcopy(t).name is not t.name


def test_methods_are_documented() -> None:
    methods = {name: method for name, method in vars(mg.Tensor).items() if callable(method) and name[0] != "_"}
    assert {"sum", "exp", "reshape", "item"} <= methods.keys()
    assert [name for name, method in methods.items() if not method.__doc__] == []
    assert mg.Tensor.sum.__doc__ == mg.sum.__doc__


def test_a_leaf_is_not_renamed_by_an_augmented_assignment() -> None:
    """``w -= lr * g`` would name a new tensor w and leave the leaf as it was."""
    for change in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
        leaf = mg.tensor([1.0], requires_grad=True)
        with pytest.raises(RuntimeError, match=r"write t\.assign_\(t . x\)"):
            change(leaf, 2.0)
        total = leaf * 1.0
        assert change(total, 2.0).requires_grad
        assert change(leaf.detach(), 2.0).item() == {"iadd": 3.0, "isub": -1.0, "imul": 2.0}.get(change.__name__, 0.5)


def test_a_result_is_not_copied_out_of_its_graph_unseen() -> None:
    leaf = mg.tensor([1.0], requires_grad=True)
    assert not mg.tensor(leaf).requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        mg.tensor(leaf * 2)
