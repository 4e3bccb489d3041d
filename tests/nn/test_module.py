import copy
import pickle
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.random import Generator


def parameter(*shape: int, fill: float = 1.0) -> nn.Parameter:
    return nn.Parameter(np.full(shape, fill, np.float32))


class Block(nn.Module):
    """Everything that the walk knows, in an order that is not alphabetical."""

    def __init__(self) -> None:
        self.scale = parameter(2)
        self.layers = [nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2, bias=False)]
        self.heads = {"b": nn.Linear(2, 1), "a": (parameter(1), nn.Dropout(0.5))}
        self.count = nn.Buffer(np.zeros(1, np.int64))
        self.bias = parameter(3)
        self.note = "not state"
        self.constant = mg.ones(3)


PATHS = ["scale", "layers.0.weight", "layers.0.bias", "layers.2.weight",
         "heads.b.weight", "heads.b.bias", "heads.a.0", "count", "bias"]  # fmt: skip


# The walk


def test_parameters_come_in_definition_order_through_lists_dicts_and_tuples() -> None:
    block = Block()
    assert [path for path, _ in block.named_parameters()] == [p for p in PATHS if p != "count"]
    assert [path for path, _ in block.named_buffers()] == ["count"]
    assert list(block.state_dict()) == PATHS
    assert [p.shape for p in block.parameters()] == [(2,), (2, 3), (2,), (2, 2), (1, 2), (1,), (1,), (3,)]
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in block.parameters())
    assert not any(b.requires_grad for b in block.buffers())


def test_modules_and_generators() -> None:
    block = Block()
    paths = [path for path, _ in block.named_modules()]
    assert paths == ["", "layers.0", "layers.1", "layers.2", "heads.b", "heads.a.1"]
    assert next(block.modules()) is block
    assert [path for path, _ in block.named_generators()] == ["heads.a.1.rng"]


def test_sequential_names_its_children_as_pytorch_does() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 2)))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.1.weight", "2.1.bias"]
    assert [path for path, _ in model.named_modules()] == ["", "0", "1", "2", "2.0", "2.1"]


def test_a_shared_parameter_is_yielded_once_and_listed_under_both_paths() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    model = nn.Sequential(first, second, first)
    assert [path for path, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert len(list(model.modules())) == 3


def test_the_walk_sees_what_was_assigned_later() -> None:
    model = nn.Linear(2, 2)
    model.extra = nn.Linear(1, 1)  # type: ignore[attr-defined]
    model.bias = None
    assert list(model.state_dict()) == ["weight", "extra.weight", "extra.bias"]


def test_cycles_end() -> None:
    parent, child = nn.Sequential(nn.Linear(1, 1)), nn.Linear(2, 2)
    parent.child, child.parent = child, parent  # type: ignore[attr-defined]
    child.items = [child]  # type: ignore[attr-defined]
    child.items.append(child.items)  # type: ignore[attr-defined]
    assert list(parent.state_dict()) == ["0.weight", "0.bias", "child.weight", "child.bias"]
    assert list(child.state_dict()) == ["weight", "bias", "parent.0.weight", "parent.0.bias"]
    assert list(parent.modules()) == [parent, parent[0], child]
    assert "..." in repr(parent)


def test_two_tensors_under_one_path_are_refused() -> None:
    model = nn.Module()
    model.parts = {1: parameter(2), "1": parameter(2)}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"two tensors have the path 'parts\.1'"):
        model.state_dict()


# Parameters and buffers


def test_a_parameter_shares_the_memory_and_the_version_of_what_it_was_made_from() -> None:
    array = np.zeros(3, np.float32)
    assert nn.Parameter(array).data is array
    x = mg.ones(3)
    w = mg.ones(3, requires_grad=True)
    product = w * x
    nn.Parameter(x).assign_(2)
    assert x.tolist() == [2, 2, 2]
    with pytest.raises(mg.GraphError, match="assign_ has written"):
        product.sum().backward()


@pytest.mark.parametrize(("data", "message"), [([1.0], "got list"), (np.ones(2, np.int64), "got int64")])
def test_a_parameter_refuses_what_cannot_be_trained(data: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        nn.Parameter(data)


# State


def test_state_is_a_copy_in_logical_order() -> None:
    linear = nn.Linear(3, 2, rng=0)
    state = linear.state_dict()
    assert state["weight"].flags.c_contiguous
    state["weight"][:] = 7
    assert not (linear.weight.data == 7).any()


def test_state_round_trip_writes_into_the_same_memory() -> None:
    source, model = Block(), Block()
    places = {path: t.data.ctypes.data for path, t in model.named_parameters()}
    source.count.assign_(5)
    model.load_state_dict(source.state_dict())
    for path, array in source.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[path], array)
    assert places == {path: t.data.ctypes.data for path, t in model.named_parameters()}


def test_state_may_hold_tensors_other_floats_and_any_memory_order() -> None:
    model = nn.Linear(3, 2)
    weight = np.arange(6.0).reshape(2, 3)
    model.load_state_dict({"weight": np.asfortranarray(weight), "bias": mg.tensor([1.0, 2.0], requires_grad=True)})
    np.testing.assert_array_equal(model.weight.data, weight)
    assert model.weight.dtype == np.float32
    assert model.bias is not None
    assert model.bias.tolist() == [1, 2]


def test_without_strict_what_is_in_both_is_written_and_the_rest_named() -> None:
    model = nn.Linear(3, 2, rng=0)
    before = model.state_dict()
    found = model.load_state_dict({"weight": np.ones((2, 3)), "more": np.ones(1)}, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["bias"], ["more"])
    assert (model.weight.data == 1).all()
    np.testing.assert_array_equal(model.state_dict()["bias"], before["bias"])
    with pytest.raises(ValueError, match=r"weight has shape \(2, 3\), the state has \(1, 3\)"):
        model.load_state_dict({"weight": np.ones((1, 3))}, strict=False)
    assert model.load_state_dict(before) == ([], [])


def read_only(model: nn.Module) -> None:
    model.frozen = nn.Buffer(np.broadcast_to(np.float32(1), (2,)))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bias": None}, KeyError, r"missing \['bias'\], unexpected \[\]"),
        ({"more": np.ones(1)}, KeyError, r"missing \[\], unexpected \['more'\]"),
        ({"bias": np.ones(3)}, ValueError, r"bias has shape \(2,\), the state has \(3,\)"),
        ({"bias": np.float32(1)}, ValueError, r"bias has shape \(2,\), the state has \(\)"),
        ({"bias": np.ones(2, complex)}, TypeError, "bias is float32, the state has complex128"),
        ({"bias": np.array(["a", "b"])}, TypeError, "bias is float32, the state has <U1"),
        ({"bias": [[1.0], [1.0, 2.0]]}, ValueError, "inhomogeneous"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: dict[str, Any], error: Any, message: str) -> None:
    model = nn.Linear(3, 2, rng=0)
    before = model.state_dict()
    state = {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)} | change
    with pytest.raises(error, match=message):
        model.load_state_dict({path: array for path, array in state.items() if array is not None})
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[path])


def test_read_only_memory_and_what_is_no_dict_are_refused_before_anything_is_written() -> None:
    model = nn.Linear(3, 2, rng=0)
    read_only(model)
    before = model.state_dict()
    with pytest.raises(ValueError, match="frozen lies in read-only memory"):
        model.load_state_dict({path: np.zeros_like(array) for path, array in before.items()})
    with pytest.raises(TypeError, match="a dict of arrays by path, got list"):
        model.load_state_dict(list(before.items()))  # type: ignore[arg-type]
    for path, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[path])


def test_loading_after_a_forward_pass_is_noticed_by_backward() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=1))
    loss = model(mg.ones((1, 2))).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(mg.GraphError, match="linear needs its 'weight' as it was"):
        loss.backward()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_share_nothing(duplicate: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model[0].twin = model[0].weight  # type: ignore[attr-defined]
    other = duplicate(model)
    assert other[0].twin is other[0].weight
    other[0].weight.assign_(0)
    assert model[0].weight.data.any()  # type: ignore[attr-defined]
    assert other[1].rng.state() == model[1].rng.state()  # type: ignore[attr-defined]
    assert other[1].rng is not model[1].rng  # type: ignore[attr-defined]


# Modes, gradients, the rest


def test_train_and_eval_reach_every_module() -> None:
    block = Block()
    assert all(m.training for m in block.modules())
    assert block.eval() is block
    assert not any(m.training for m in block.modules())
    assert block.train() is block
    assert all(m.training for m in block.modules())
    assert list(block.state_dict()) == PATHS
    with pytest.raises(TypeError, match=r"train\(\) takes True or False, got ndarray"):
        block.train(np.ones(3))  # type: ignore[arg-type]


def test_zero_grad_forgets_all_gradients() -> None:
    model = nn.Linear(2, 1)
    model(mg.ones((1, 2))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_module_without_forward_says_so() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no forward\(\)"):
        Empty()(1)
    assert list(Empty().parameters()) == []
    assert repr(Empty()) == "Empty()"


def test_repr_shows_the_tree() -> None:
    model = nn.Sequential(nn.Linear(4, 3, rng=Generator(0)), nn.Sequential(nn.ReLU(), nn.Dropout(0.25)))
    assert (
        repr(model)
        == """\
Sequential(
  (0): Linear(in_features=4, out_features=3, bias=True)
  (1): Sequential(
    (0): ReLU()
    (1): Dropout(p=0.25)
  )
)"""
    )
