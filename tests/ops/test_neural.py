"""Softmax, losses and dropout at their edges; values and gradients are tested for all operations alike."""

from typing import Any

import numpy as np
import pytest
from scipy import special

import minigrad as mg
from minigrad.random import Generator, default_generator
from minigrad.testing import check_grads

LOGITS = np.array([[1.0, -2.0, 0.5], [0.1, 0.2, 0.3]])
LABELS = np.array([2, 0])


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


# Losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_cross_entropy_takes_any_integers(dtype: Any) -> None:
    expected = -special.log_softmax(LOGITS, 1)[[0, 1], LABELS]
    for labels in (LABELS.astype(dtype), mg.tensor(LABELS.astype(dtype)), LABELS.tolist()):
        found = mg.cross_entropy(LOGITS, labels, "none")
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert mg.cross_entropy(LOGITS, LABELS).item() == pytest.approx(expected.mean())
    assert mg.cross_entropy(LOGITS, LABELS, "sum").item() == pytest.approx(expected.sum())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_are_differentiated(reduction: str) -> None:
    check_grads(lambda x: mg.cross_entropy(x, LABELS, reduction), LOGITS)
    check_grads(lambda a, b: mg.mse_loss(a, b, reduction), LOGITS, LOGITS[::-1])


@pytest.mark.parametrize(
    ("logits", "labels", "error", "match"),
    [
        (LOGITS, [0, 3], IndexError, r"labels must lie in \[0, 3\) for 3 classes, got 3 at position 1"),
        (LOGITS, [-1, 0], IndexError, r"got -1 at position 0"),
        (LOGITS, [0.0, 1.0], TypeError, "class indices, integers, as labels, got float64"),
        (LOGITS, [True, False], TypeError, "got bool"),
        (LOGITS, [0, 1, 2], ValueError, r"logits \(N, C\) and labels \(N,\), C at least 1, got \(2, 3\) and \(3,\)"),
        (LOGITS, np.eye(3, dtype=int)[LABELS], ValueError, r"got \(2, 3\) and \(2, 3\)"),
        (LOGITS[0], [0], ValueError, r"got \(3,\) and \(1,\)"),
        (np.zeros((2, 0)), [0, 0], ValueError, r"\(2, 0\)"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_refuses(logits: Any, labels: Any, error: type[Exception], match: str, dtype: Any) -> None:
    with pytest.raises(error, match=match):
        mg.cross_entropy(mg.tensor(logits, dtype), np.array(labels))


@pytest.mark.parametrize("loss", [mg.cross_entropy, mg.mse_loss])
def test_losses_refuse_an_unknown_reduction(loss: Any) -> None:
    target = LABELS if loss is mg.cross_entropy else LOGITS
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        loss(LOGITS, target, "avg")


def test_mse_loss_does_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"equal shapes, got \(2, 3\) and \(3,\)"):
        mg.mse_loss(LOGITS, LOGITS[0])


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


# Layer norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [5, (5,), (4, 5), (3, 4, 5)])
def test_layer_norm_over_the_last_axes(shape: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5)) * 7 + 100
    axes = tuple(range(-len(np.atleast_1d(shape)), 0))
    standard = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(mg.layer_norm(x, shape).numpy(), standard, rtol=1e-12)
    weight, bias = np.random.default_rng(1).standard_normal((2, *np.atleast_1d(shape)))
    y = mg.layer_norm(x, shape, weight, bias, eps=1e-5).numpy()
    np.testing.assert_allclose(y, standard * weight + bias, rtol=1e-12, atol=1e-12)


def test_layer_norm_trains_its_weight_and_bias() -> None:
    x, weight, bias = (
        np.random.default_rng(i).standard_normal(s) for i, s in enumerate([(2, 3, 2, 4), (2, 4), (2, 4)])
    )
    check_grads(lambda *a: mg.layer_norm(a[0], (2, 4), *a[1:], eps=0.1), x, weight, bias)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((3, 4), 3), ValueError, r"x that ends in it"),
        (((3, 0), 0), ValueError, r"no axis empty"),
        (((3, 4), ()), ValueError, r"over \(\) needs x"),
        (((), 1), ValueError, r"got \(\)"),
        (((3, 4), 4, np.ones(3)), ValueError, r"needs weight \(4,\), got \(3,\)"),
        (((3, 4), 4, None, np.ones((1, 4))), ValueError, r"needs bias \(4,\), got \(1, 4\)"),
        (((3, 4), 4, None, None, -1.0), ValueError, r"eps of at least 0, got -1.0"),
        (((3, 4), 4, None, None, np.nan), ValueError, r"eps of at least 0, got nan"),
        (((3, 4), 4, np.ones(4, np.float32)), TypeError, "layer_norm does not mix float32 and float64"),
        (((3, 4), 4, None, None, "small"), ValueError, "could not convert"),
        (((3, 4), 4, mg.ones(4)), TypeError, "layer_norm does not mix float32 and float64"),
        (((3, 4), np.ones(4), np.zeros(4)), TypeError, "as normalized_shape, its second argument, got ndarray"),
    ],
)
def test_layer_norm_refuses(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mg.layer_norm(np.ones(arguments[0]), *arguments[1:])
