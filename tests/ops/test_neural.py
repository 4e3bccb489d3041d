"""Softmax, dropout and embedding at their edges; values and gradients are tested for all operations alike."""

from typing import Any

import numpy as np
import pytest
from scipy import special

import minigrad as mg
from minigrad.random import Generator, default_generator
from minigrad.testing import check_grads


@pytest.mark.parametrize(
    "row", [[1e30, -1e30, 88.0], [1e4, 1e4 - 1, 0.0], [-np.inf, 0.0, 1.0], [-3e38, -3e38, -3e38], [89.0, 104.0, -104.0]]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_huge_values(row: list[float], dtype: Any) -> None:
    x = mg.tensor(np.array([row], dtype), requires_grad=True)
    y = mg.softmax(x)
    np.testing.assert_allclose(y.numpy(), special.softmax(np.array([row]), 1), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(mg.log_softmax(x).numpy(), special.log_softmax(np.array([row]), 1), 1e-5, 1e-6)
    assert np.isfinite(mg.grad((y * y).sum(), x)[0].numpy()).all()
    assert mg.cross_entropy(x, np.array([1])).item() == pytest.approx(-special.log_softmax(row)[1], 1e-5, 1e-6)


def test_softmax_of_nothing() -> None:
    assert mg.softmax(mg.zeros((2, 0))).shape == (2, 0)
    assert mg.log_softmax(mg.zeros((0, 3)), 0).shape == (0, 3)


@pytest.mark.parametrize(
    ("axis", "error"), [(2, np.exceptions.AxisError), (None, TypeError), ((0, 1), TypeError), (0.0, TypeError)]
)
def test_softmax_refuses_a_bad_axis(axis: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="axis"):
        mg.softmax(mg.ones((2, 2)), axis)


# Dropout ------------------------------------------------------------------------------------------


def test_dropout_keeps_the_expectation_and_the_gradient_follows_the_mask() -> None:
    x = mg.ones((200, 50), requires_grad=True)
    y = mg.dropout(x, 0.25, rng=Generator(1))
    kept = y.numpy() > 0
    assert abs(kept.mean() - 0.75) < 6 * np.sqrt(0.25 * 0.75 / kept.size)
    np.testing.assert_array_equal(y.numpy()[kept], np.float32(4 / 3))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_dropout_out_of_training_or_at_the_ends() -> None:
    x = mg.ones(100, requires_grad=True)
    before = default_generator().state()
    assert mg.dropout(x, 0.5, training=False) is x
    assert mg.dropout(x, 0.0) is x
    assert default_generator().state() == before
    assert mg.dropout(x, 1.0).tolist() == [0.0] * 100
    small = mg.dropout(mg.ones(10_000), 1e-9, rng=Generator(0))
    assert set(small.tolist()) <= {0.0, float(np.float32(65536 / 65535))}


def test_dropout_is_a_function_of_its_generator_not_of_target_or_memory_order(target: str) -> None:
    x = np.arange(1.0, 13.0, dtype=np.float32).reshape(3, 4)
    y = mg.dropout(x, 0.5, rng=Generator(7))
    np.testing.assert_array_equal(mg.dropout(x.copy(order="F"), 0.5, rng=Generator(7)).numpy(), y.numpy())
    np.testing.assert_array_equal(mg.dropout(x.astype(np.float64), 0.5, rng=Generator(7)).numpy(), y.numpy())
    assert (y.numpy() > 0).astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0]]


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan, "a", None, True])
def test_dropout_refuses(p: Any) -> None:
    with pytest.raises(ValueError, match="probability p in"):
        mg.dropout(mg.ones(3), p)
    with pytest.raises(TypeError, match="dropout takes floats, got int64"):
        mg.dropout(mg.tensor([1]), 0.5)


# Embedding ----------------------------------------------------------------------------------------

TABLE = np.arange(12.0).reshape(4, 3)


def test_embedding_takes_rows_and_gives_back_to_them() -> None:
    weight = mg.tensor(TABLE, requires_grad=True)
    found = mg.embedding(np.array([[1, 3], [1, 0]]), weight)
    np.testing.assert_array_equal(found.numpy(), TABLE[[[1, 3], [1, 0]]])
    (found * found).sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), 2 * TABLE * np.array([[1], [2], [0], [1]]))
    assert mg.embedding(np.zeros((2, 0), int), weight).shape == (2, 0, 3)
    assert mg.embedding([2], TABLE.astype(np.float32)).dtype == np.float32
    check_grads(lambda w: mg.embedding(np.array([0, 0, 2]), w), TABLE)


@pytest.mark.parametrize("padding_idx", [1, -3])
def test_the_padding_of_an_embedding_gets_no_gradient(padding_idx: int) -> None:
    weight = mg.tensor(TABLE, requires_grad=True)
    found = mg.embedding([1, 2, 1], weight, padding_idx)
    np.testing.assert_array_equal(found.numpy(), TABLE[[1, 2, 1]])
    found.sum().backward()
    assert weight.grad.numpy().sum(1).tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([4], TABLE), IndexError, r"indices must lie in \[0, 4\), got 4"),
        (([-1], TABLE), IndexError, "got -1"),
        (([1.0], TABLE), TypeError, "embedding takes integers as input, its first argument, got float64"),
        ((TABLE, [1]), TypeError, "as input, its first argument"),
        (([1], TABLE[0]), ValueError, r"weight \(V, D\), got \(3,\)"),
        (([1], TABLE, 4), ValueError, r"padding_idx in \[-4, 4\), got 4"),
        (([1], TABLE, 1.0), ValueError, "padding_idx"),
    ],
)
def test_embedding_refuses(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mg.embedding(*arguments)
