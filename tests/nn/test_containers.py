from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

X = np.random.default_rng(0).standard_normal((4, 3), np.float32)


def test_sequential_is_a_list_of_modules() -> None:
    layers = [nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    assert list(model[:2]) == layers[:2]
    assert list(model[1:].state_dict()) == ["1.weight", "1.bias"]
    x = mg.tensor(X)
    np.testing.assert_array_equal(model(x).numpy(), layers[2](layers[1](layers[0](x))).numpy())
    assert nn.Sequential()(x) is x
    assert model.append(nn.Tanh()) is model
    assert (len(model), repr(model[3])) == (4, "Tanh()")


def test_sequential_takes_names() -> None:
    body, head = nn.Linear(3, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 1))
    for names in (OrderedDict(body=body, head=head), {"body": body, "head": head}, nn.ModuleDict({"b": body})):
        model = nn.Sequential(names)
        if isinstance(names, nn.ModuleDict):  # a module like any other, not a dict of names
            assert list(model.state_dict()) == ["0.b.weight", "0.b.bias"]
            continue
        assert list(model.state_dict()) == ["body.weight", "body.bias", "head.1.weight", "head.1.bias"]
        assert [path for path, _ in model.named_modules()] == ["", "body", "head", "head.0", "head.1"]
        assert (model.body, model.head, model[1]) == (body, head, head)
        assert list(model[1:].state_dict()) == ["head.1.weight", "head.1.bias"]
        np.testing.assert_array_equal(model(X).numpy(), head(body(X)).numpy())
        assert "(head): Sequential(" in repr(model)
        with pytest.raises(AttributeError, match="Sequential has no 'tail'"):
            model.tail  # noqa: B018


def test_a_module_list_is_a_list_that_the_walk_finds() -> None:
    layers = nn.ModuleList([nn.Linear(3, 3), nn.ReLU()])
    layers.append(nn.Linear(3, 2, bias=False))
    layers.insert(0, nn.Tanh())
    layers += [nn.Sigmoid()]
    layers.extend([nn.ELU()])
    assert [type(m).__name__ for m in layers] == ["Tanh", "Linear", "ReLU", "Linear", "Sigmoid", "ELU"]
    assert list(layers.state_dict()) == ["1.weight", "1.bias", "3.weight"]
    assert isinstance(layers[1:3], nn.ModuleList)
    assert list(layers[1:3].state_dict()) == ["0.weight", "0.bias"]
    layers[0] = nn.Linear(1, 1)
    layers[4:] = [nn.Mish()]
    del layers[2]
    assert [type(m).__name__ for m in layers] == ["Linear", "Linear", "Linear", "Mish"]
    assert type(layers.pop()).__name__ == "Mish"
    assert layers.index(layers[1]) == 1
    assert not any(m.training for m in layers.eval())
    with pytest.raises(NotImplementedError, match=r"ModuleList has no forward\(\)"):
        layers(X)


def test_a_module_dict_is_a_dict_that_the_walk_finds() -> None:
    parts = nn.ModuleDict({"b": nn.Linear(3, 3), "a": nn.ReLU()})
    parts["keys"] = nn.Linear(2, 1, bias=False)
    parts.update({"a": nn.PReLU()})
    assert list(parts) == ["b", "a", "keys"]
    assert list(parts.state_dict()) == ["b.weight", "b.bias", "a.weight", "keys.weight"]
    assert [type(m).__name__ for m in parts.values()] == ["Linear", "PReLU", "Linear"]
    assert "a" in parts
    assert type(parts.pop("a")).__name__ == "PReLU"
    del parts["keys"]
    assert (len(parts), list(parts.items())) == (1, [("b", parts["b"])])
    assert parts != nn.ModuleDict(parts)
    assert parts in {parts}
    assert list(nn.ModuleDict([("x", nn.Tanh())])) == ["x"]


def test_containers_in_a_module_are_found_under_its_attributes() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Dropout(0.5)])
            self.heads = nn.ModuleDict({"mean": nn.Linear(3, 1)})

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return self.heads["mean"](x)

    net = Net()
    assert list(net.state_dict()) == ["layers.0.weight", "layers.0.bias", "heads.mean.weight", "heads.mean.bias"]
    assert [path for path, _ in net.named_generators()] == ["layers.1.rng"]
    assert net(X).shape == (4, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential([nn.ReLU()]), "Sequential takes modules, got list at '0'"),  # type: ignore[arg-type]
        (lambda: nn.Sequential({"a": mg.relu}), "Sequential takes modules, got Operation at 'a'"),  # type: ignore[dict-item]
        (lambda: nn.Sequential().append(1), "Sequential takes modules, got int at 0"),  # type: ignore[arg-type]
        (lambda: nn.ModuleList([nn.ReLU(), 3]), "ModuleList takes modules, got int at 1"),  # type: ignore[list-item]
        (lambda: nn.ModuleList().append(None), "ModuleList takes modules, got NoneType at 0"),  # type: ignore[arg-type]
        (lambda: nn.ModuleDict({"a": 1}), "ModuleDict takes modules, got int at 'a'"),  # type: ignore[dict-item]
        (lambda: nn.ModuleDict({1: nn.ReLU()}), "ModuleDict takes strings as keys, got int"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_module_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_sequential_loses_no_module_to_another_of_its_name() -> None:
    first = nn.ReLU()
    net = nn.Sequential({"1": first})
    with pytest.raises(ValueError, match="Sequential has a module named '1'"):
        net.append(nn.Tanh())
    assert list(net) == [first]
    with pytest.raises(TypeError, match="Sequential takes strings as names, got int"):
        nn.Sequential({1: first, "1": nn.Tanh()})  # type: ignore[dict-item]
