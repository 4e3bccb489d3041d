"""Tensors from data and from shapes."""

from typing import Any

import numpy as np
import pytest

import minigrad as mg

FORTRAN = np.asfortranarray(np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (mg.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (mg.ones(2, np.int64), np.ones(2, np.int64)),
        (mg.full((2,), 1.5), np.full(2, 1.5, np.float32)),
        (mg.full(2, 7), np.full(2, 7)),
        (mg.full((), True), np.full((), True)),
        (mg.arange(4), np.arange(4)),
        (mg.arange(1, 7, 2), np.arange(1, 7, 2)),
        (mg.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (mg.arange(3, dtype=np.float64), np.arange(3.0)),
        (mg.eye(2), np.eye(2, dtype=np.float32)),
        (mg.eye(2, 3), np.eye(2, 3, dtype=np.float32)),
        (mg.zeros_like(FORTRAN), np.zeros_like(FORTRAN)),
        (mg.ones_like(mg.tensor([1, 2])), np.ones(2, np.int64)),
        (mg.ones_like(mg.tensor([1, 2]), np.float32), np.ones(2, np.float32)),
        (mg.tensor([[1, 2], [3, 4]], np.float32), np.array([[1, 2], [3, 4]], np.float32)),
        (mg.tensor([[1.5], [2.5]]), np.array([[1.5], [2.5]], np.float32)),
        (mg.tensor([[]]), np.zeros((1, 0), np.float32)),
        (mg.tensor([mg.tensor(1.0), mg.tensor(2.0)]), np.array([1, 2], np.float32)),
        (mg.tensor(np.float64(2)), np.array(2.0)),
        (mg.asarray([1.0]), np.array([1], np.float32)),
        (mg.asarray(FORTRAN, np.float64), FORTRAN.astype(np.float64)),
    ],
)
def test_creation(found: mg.Tensor, expected: np.ndarray) -> None:
    assert isinstance(found.data, np.ndarray)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected)
    assert not found.requires_grad


def test_memory_orders_are_kept() -> None:
    assert mg.zeros_like(FORTRAN).data.flags.f_contiguous
    assert mg.tensor(FORTRAN).data.flags.f_contiguous
    assert mg.exp(mg.tensor(FORTRAN)).data.flags.f_contiguous


def test_asarray_of_a_tensor_is_that_tensor() -> None:
    t = mg.ones(2)
    assert mg.asarray(t) is t
    assert mg.asarray(t, np.float32) is t
    assert mg.asarray(t, np.float64) is not t


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mg.tensor(None), TypeError, "dtype object"),
        (lambda: mg.tensor("a"), TypeError, "dtype <U1"),
        (lambda: mg.tensor([1j]), TypeError, "dtype complex128"),
        (lambda: mg.tensor([[1.0], [1.0, 2.0]]), ValueError, "inhomogeneous"),
        (lambda: mg.zeros(2, complex), TypeError, "dtype complex128"),
        (lambda: mg.zeros(-1), ValueError, "negative"),
        (lambda: mg.zeros(2, np.int64, requires_grad=True), TypeError, "floating-point tensors can require gradients"),
    ],
)
def test_creation_refuses(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
