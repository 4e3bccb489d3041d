"""Normalization against its formulas, its gradients, and what it refuses."""

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import check_grads


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
    x, weight, bias = (np.random.default_rng(i).standard_normal(s) for i, s in enumerate([(2, 2, 3), (2, 3), (2, 3)]))
    check_grads(lambda *a: mg.layer_norm(a[0], (2, 3), *a[1:], eps=0.1), x, weight, bias)


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


# The others ----------------------------------------------------------------------------------------------

X = np.random.default_rng(2).standard_normal((3, 4, 2, 3)) * 5 + 20
SCALE, SHIFT = np.random.default_rng(3).standard_normal((2, 4))


def standard(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def per_channel(y: Any) -> Any:
    shape = (4,) + (1,) * (y.ndim - 2)
    return y * SCALE.reshape(shape) + SHIFT.reshape(shape)


def close(found: Any, wanted: Any, dtype: Any = np.float64) -> None:
    eps = np.finfo(dtype).eps
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), wanted, rtol=256 * eps, atol=256 * eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rms_norm(dtype: Any) -> None:
    x = X.astype(dtype)
    plain = x / np.sqrt((np.float64(x) ** 2).mean((-2, -1), keepdims=True) + np.finfo(dtype).eps)
    close(mg.rms_norm(x, (2, 3)), plain, dtype)
    weight = X[0, 0].astype(dtype)
    close(mg.rms_norm(x, [2, 3], weight) / 20, plain * weight / 20, dtype)
    close(mg.rms_norm(np.zeros((2, 3), dtype), 3, eps=1.0), np.zeros((2, 3)), dtype)
    close(mg.rms_norm(np.full((1, 3), 2, dtype), 3, eps=5.0), np.full((1, 3), 2 / 3), dtype)
    assert mg.rms_norm(np.zeros((0, 3), dtype), 3).shape == (0, 3)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_group_norm(groups: int, dtype: Any) -> None:
    x = X.astype(dtype)
    wanted = standard(np.float64(x).reshape(3, groups, -1), 2).reshape(X.shape)
    close(mg.group_norm(x, groups), wanted, dtype)
    close(mg.group_norm(x, groups, SCALE.astype(dtype), SHIFT.astype(dtype)), per_channel(wanted), dtype)
    assert mg.group_norm(x[:0], groups).shape == (0, 4, 2, 3)


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2), (2, 4, 2, 3), (1, 4, 3, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_in_training_and_after(shape: Any, dtype: Any) -> None:
    x = (np.random.default_rng(4).standard_normal(shape) * 5 + 20).astype(dtype)
    wide, axes, count = x.astype(np.float64), (0, *range(2, len(shape))), x.size // 4
    mean, var = mg.zeros(4, dtype), mg.ones(4, dtype)
    scale, shift = SCALE.astype(dtype), SHIFT.astype(dtype)
    wanted = standard(wide, axes)
    close(mg.batch_norm(x, mean, var, training=True, momentum=0.25), wanted, dtype)
    close(mean / 10, wide.mean(axes) * 0.25 / 10, dtype)
    close(var / 10, (0.75 + 0.25 * wide.var(axes) * count / (count - 1)) / 10, dtype)
    close(mg.batch_norm(x, None, None, scale, shift, True), per_channel(wanted), dtype)
    close(mg.batch_norm(x, mean, None, scale, None, True, eps=0.5), per_channel(standard(wide, axes, 0.5)) -
          SHIFT.reshape(4, *[1] * (len(shape) - 2)), dtype)  # fmt: skip
    kept = [mean.tolist(), var.tolist()]
    by = [np.float64(v.numpy()).reshape(4, *[1] * (len(shape) - 2)) for v in (mean, var)]
    found = mg.batch_norm(x, mean.numpy(), var, scale, shift)
    close(found / 10, per_channel((wide - by[0]) / np.sqrt(by[1] + 1e-5)) / 10, dtype)
    assert [mean.tolist(), var.tolist()] == kept


def test_batch_norm_of_equal_values_is_its_shift() -> None:
    assert mg.batch_norm(np.full((3, 1), 7.0), bias=np.array([2.0]), training=True).tolist() == [[2]] * 3


def test_the_others_are_differentiated() -> None:
    x = X[:2, :, :1, :2] - 20
    check_grads(lambda x, w: mg.rms_norm(x, 4, w, 0.1), x[:1, :, 0, 0], SCALE)
    check_grads(lambda x, w, b: mg.group_norm(x, 2, w, b, 0.1), x, SCALE, SHIFT)
    check_grads(lambda x, w, b: mg.batch_norm(x, None, None, w, b, True, eps=0.1), x[..., 0], SCALE, SHIFT)
    check_grads(lambda x, w: mg.batch_norm(x, SHIFT, SCALE**2, w), x[:1, ..., 0], SCALE)


def test_batch_norm_updates_its_buffers_in_a_replay_and_outside_the_graph() -> None:
    def start() -> list[mg.Tensor]:
        return [mg.zeros(4), mg.ones(4), mg.tensor(SCALE, np.float32, requires_grad=True)]

    def step(x: Any, mean: Any, var: Any, weight: Any) -> Any:
        y = mg.batch_norm(x, mean, var, weight, training=True)
        return y, mg.grad((y * y * y).sum(), weight)[0]

    batches = X.astype(np.float32).reshape(3, 2, 4, 3) - 20
    eager, own = start(), start()
    program = mg.capture(lambda x: step(x, *own), batches[0])
    step(mg.tensor(batches[0]), *eager)
    for batch in batches[1:]:
        for got, wanted in zip(program(batch), step(mg.tensor(batch), *eager), strict=True):
            assert got.data.tobytes() == wanted.data.tobytes()
    for got, wanted in zip(own, eager, strict=True):
        assert got.data.tobytes() == wanted.data.tobytes()
    assert own[0].is_leaf
    assert abs(own[0].numpy()).max() > 0


ONES = np.ones((2, 4, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mg.rms_norm(ONES, 4), ValueError, r"rms_norm over \(4,\) needs x that ends in it"),
        (lambda: mg.rms_norm(ONES, 3, np.ones(4)), ValueError, r"needs weight \(3,\), got \(4,\)"),
        (lambda: mg.rms_norm(ONES, 3, eps=-1), ValueError, "rms_norm needs eps of at least 0"),
        (lambda: mg.rms_norm(ONES, np.ones(3)), TypeError, "rms_norm needs an integer or several"),
        (lambda: mg.rms_norm(ONES, 3, mg.ones(3)), TypeError, "rms_norm does not mix float32 and float64"),
        (lambda: mg.group_norm(ONES, 3), ValueError, r"num_groups that divides C, got \(2, 4, 3\) and 3"),
        (lambda: mg.group_norm(ONES, 0), ValueError, "and 0"),
        (lambda: mg.group_norm(ONES, True), ValueError, "and True"),
        (lambda: mg.group_norm(ONES[0, 0], 1), ValueError, r"\(3,\)"),
        (lambda: mg.group_norm(ONES[..., :0], 2), ValueError, "nothing empty but N"),
        (lambda: mg.group_norm(ONES, 2, np.ones(2)), ValueError, r"group_norm needs weight \(4,\), got \(2,\)"),
        (lambda: mg.batch_norm(ONES), ValueError, "outside training needs running_mean and running_var"),
        (lambda: mg.batch_norm(ONES[0, 0], training=True), ValueError, r"needs x \(N, C, ...\), got \(3,\)"),
        (lambda: mg.batch_norm(ONES[:1, :, 0], training=True), ValueError, "more than one value a channel"),
        (lambda: mg.batch_norm(ONES[:0], training=True), ValueError, "more than one value a channel"),
        (lambda: mg.batch_norm(ONES, np.ones(3), np.ones(4)), ValueError, r"running_mean \(4,\), got \(3,\)"),
        (lambda: mg.batch_norm(ONES, np.ones(4), mg.ones(4)), TypeError, "batch_norm does not mix"),
        (lambda: mg.batch_norm(ONES, bias=np.ones(3), training=True), ValueError, r"bias \(4,\), got \(3,\)"),
        (lambda: mg.batch_norm(ONES, np.ones(4, int), training=True), TypeError, "assign_ cannot write float64"),
    ],
)
def test_the_others_refuse(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
