"""Matrix products of vectors, batches and nothing; ``linear`` is tested with all operations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import minigrad as mg
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


def test_the_gradient_of_a_column_major_weight_is_column_major() -> None:
    weight = mg.Tensor(np.zeros((4, 3), np.float32, order="F"), requires_grad=True)
    mg.linear(mg.ones((5, 3)), weight).sum().backward()
    assert weight.grad.data.flags.f_contiguous
    assert weight.grad.tolist() == [[5.0] * 3] * 4
