"""Clipping against its formula, over whatever parameters there are."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim

F32 = np.float32
SHAPES = st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), max_size=5)


def parameter(grad: Any) -> nn.Parameter:
    """A parameter with this gradient, in its memory order."""
    p = nn.Parameter(np.zeros_like(grad))
    p.grad = mg.Tensor(grad)
    return p


@given(shapes=SHAPES, seed=st.integers(0, 99), double=st.sets(st.integers(0, 4)), turned=st.booleans())
@pytest.mark.parametrize("max_norm", [0, 0.5, np.float32(3.0), math.inf])
def test_the_norm_is_over_all_of_any_dtype(
    target: str, max_norm: Any, shapes: Any, seed: int, double: Any, turned: bool
) -> None:
    rng = np.random.default_rng(seed)
    grads = [rng.standard_normal(s).astype(np.float64 if i in double else F32) for i, s in enumerate(shapes)]
    params = [parameter(g.copy("F" if turned else "C")) for g in grads]
    bare = nn.Parameter(np.ones(3, F32))
    got = optim.clip_grad_norm_([*params, bare], max_norm)
    norm = math.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in grads))
    assert (got.shape, got.dtype, got.requires_grad) == ((), np.float64, False)
    assert got.item() == pytest.approx(norm, rel=1e-12)
    factor = min(1.0, float(max_norm) / (got.item() + 1e-6))
    for p, g in zip(params, grads, strict=True):
        np.testing.assert_array_equal(p.grad.data, g * g.dtype.type(factor))
    assert bare.grad is None


def test_a_single_tensor_and_a_generator() -> None:
    p = parameter(np.full(4, 2, F32))
    assert optim.clip_grad_norm_(p, 1.0).item() == 4
    assert optim.clip_grad_norm_((q for q in [p]), 1.0).item() == pytest.approx(1, abs=1e-6)


def test_nobody_has_a_gradient() -> None:
    for params in ([], [nn.Parameter(np.ones(3, F32))], [parameter(np.zeros((0, 3), F32))]):
        assert optim.clip_grad_norm_(params, 1.0).item() == 0
        optim.clip_grad_value_(params, 1.0)


@pytest.mark.parametrize("dtype", [F32, np.float64])
def test_values_are_held_between_bounds(target: str, dtype: Any) -> None:
    grad = np.array([-3, -0.5, 0, 0.25, 7, math.inf, -math.inf, math.nan], dtype)
    p = parameter(grad.copy())
    optim.clip_grad_value_([p], 0.5)
    np.testing.assert_array_equal(p.grad.data, np.array([-0.5, -0.5, 0, 0.25, 0.5, 0.5, -0.5, math.nan], dtype))


@pytest.mark.parametrize("layout", ["every other", "backwards", "swapped"])
def test_gradients_that_lie_in_memory_in_other_ways(target: str, layout: str) -> None:
    memory = np.arange(12, dtype=">f4" if layout == "swapped" else F32)
    grad = {"every other": memory[::2], "backwards": memory[::-1], "swapped": memory}[layout]
    wanted, norm = grad.astype(float), np.linalg.norm(grad.astype(float))
    p, q = parameter(grad), parameter(np.zeros(3, F32))
    assert optim.clip_grad_norm_([p, q], 1.0).item() == pytest.approx(norm)
    np.testing.assert_allclose(p.grad.data, wanted / norm, rtol=1e-5)
    optim.clip_grad_value_([p, q], 0.1)
    assert p.grad.data.max() == F32(0.1)
    if layout == "every other":
        np.testing.assert_array_equal(memory[1::2], np.arange(1, 12, 2))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_norm_that_is_not_finite(target: str, value: float) -> None:
    """As PyTorch says."""
    p, q = parameter(np.array([1, value], F32)), parameter(np.ones(2, F32))
    with pytest.raises(RuntimeError, match=f"the norm of the gradients is {value}"):
        optim.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(p.grad.data, np.array([1, value], F32))
    np.testing.assert_array_equal(q.grad.data, [1, 1])
    assert optim.clip_grad_norm_([q], 1.0, error_if_nonfinite=True).item() == math.sqrt(2)
    q.grad.assign_(1)
    np.testing.assert_equal(optim.clip_grad_norm_([p, q], 1.0).item(), value)
    np.testing.assert_array_equal(q.grad.data, [math.nan] * 2 if math.isnan(value) else [0, 0])


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
def test_the_write_is_known(clip: Any) -> None:
    p = parameter(np.ones(3, F32))
    before = p.grad.storage().version
    clip([p], 0.5)
    assert p.grad.storage().version == before + 1
    assert p.grad.storage().writer == clip.__name__


def test_a_rule_that_saved_the_gradient_sees_the_write() -> None:
    x, w = (mg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (x**3).sum().backward()
    again = (w * x.grad).sum()
    optim.clip_grad_norm_([x], 0.1)
    with pytest.raises(mg.GraphError, match="clip_grad_norm_ has written"):
        again.backward()


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
def test_a_gradient_in_a_graph_is_left_alone(clip: Any) -> None:
    """As by assign_: its own rules may need it."""
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    with pytest.raises(RuntimeError, match="outside the graph, not into the result of multiply"):
        clip([x], 0.1)
    x.grad = x.grad.detach()
    with pytest.raises(RuntimeError, match="outside the graph, not into the result of multiply"):
        clip([x], 0.1)
    np.testing.assert_array_equal(x.grad.data, [3, 12])
    x.grad = mg.tensor(x.grad)
    clip([x], 0.1)


def read_only() -> nn.Parameter:
    p = parameter(np.ones(3, F32))
    p.grad.data.flags.writeable = False
    return p


def odd(grad: Any) -> nn.Parameter:
    p = parameter(np.ones(3, F32))
    p.grad = grad
    return p


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (lambda p: 3, TypeError, "parameters"),
        (lambda p: [p, np.ones(3)], TypeError, "parameters must be tensors, got ndarray"),
        (lambda p: [p, "w"], TypeError, "parameters must be tensors, got str"),
        (lambda p: [p, p], ValueError, "parameters name a gradient twice"),
        (lambda p: [p, odd(p.grad)], ValueError, "parameters name a gradient twice"),
        (lambda p: [p, odd(np.ones(3, F32))], ValueError, "parameters must have gradients of floats"),
        (lambda p: [p, odd(mg.tensor([1, 2, 3]))], ValueError, "parameters must have gradients of floats"),
        (lambda p: [p, read_only()], ValueError, "parameters must have gradients .* that can be written"),
    ],
)
def test_bad_parameters_change_nothing(clip: Any, bad: Any, error: Any, says: str) -> None:
    p = parameter(np.full(3, 9, F32))
    with pytest.raises(error, match=says):
        clip(bad(p), 1.0)
    np.testing.assert_array_equal(p.grad.data, [9, 9, 9])
    assert p.grad.storage().version == 0


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, True, "1", None, [1.0], np.complex64(1), 10**400])
def test_bad_bounds_change_nothing(value: Any) -> None:
    p = parameter(np.full(3, 9, F32))
    with pytest.raises(ValueError, match=r"^max_norm must be a number of at least 0, got"):
        optim.clip_grad_norm_([p], value)
    with pytest.raises(ValueError, match=r"^clip_value must be a number of at least 0, got"):
        optim.clip_grad_value_([p], value)
    with pytest.raises(ValueError, match=r"^error_if_nonfinite must be True or False, got"):
        optim.clip_grad_norm_([p], 1.0, error_if_nonfinite=1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(p.grad.data, [9, 9, 9])
