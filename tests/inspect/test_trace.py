"""A backward pass step by step: what the engine does, and nothing changed by it."""

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.inspect import Steps, graph, steps

from .test_graph import diamond, leaf, two


def test_the_steps_are_those_of_backward() -> None:
    y, names = diamond()
    expected: list[Any] = []
    with mg.autograd.observe(lambda node, g, gradients: expected.append((node.op.name, g, list(gradients)))):
        y.backward(retain_graph=True)
    for name in names:
        names[name].grad = None
    found = steps(y, names=names)
    assert all(t.grad is None for t in names.values())
    assert [(s.name, s.cotangent.tolist()) for s in found] == [(name, g.tolist()) for name, g, _ in expected]
    assert [s.key for s in found] == [v.key for v in graph(y).operations[::-1]]
    given = [g.tolist() for s in found for _, _, g in s.gradients]
    assert given == [g.tolist() for _, _, gradients in expected for g in gradients if g is not None]
    y.backward()
    arrived = sum(g.numpy() for s in found for _, to, g in s.gradients if to == "w")
    assert names["w"].grad is not None
    np.testing.assert_array_equal(arrived, names["w"].grad.numpy())


def test_it_prints_small_values_and_the_size_of_large_ones() -> None:
    model = nn.Linear(3, 2)
    text = str(steps(model(np.ones((4, 3), np.float32)).sum() * 2, names=model))
    assert text.splitlines()[:3] == [
        "%3  multiply: g = float32 () 1",
        "    a -> %2: float32 () 2",
        "%2  sum: g = float32 () 2",
    ]
    assert "    weight -> weight: float32 (2, 3) [[8, 8, 8], [8, 8, 8]]" in text
    assert "    x -> %1: float32 (4, 2) up to 2 in size" in text


def test_several_outputs_a_cotangent_and_a_leaf() -> None:
    w = leaf(1.0, 2.0)
    product, _ = two(w, w)
    (step,) = steps(product, gradient=[1.0, 3.0])
    assert str(step).splitlines()[0] == "%1  two: g = float32 (2,) [1, 3], nothing"
    assert steps(w, np.ones(2)) == Steps()
    with pytest.raises(RuntimeError, match="needs a scalar"):
        steps(product)
    with pytest.raises(ValueError, match="no graph"):
        steps(mg.tensor(1.0))
