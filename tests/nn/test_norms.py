from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

X = np.random.default_rng(0).standard_normal((3, 4, 5, 2)).astype(np.float32) * 3 + 7


def statistics(x: Any) -> tuple[Any, Any]:
    axes = (0, *range(2, x.ndim))
    wide = x.astype(np.float64)
    return wide.mean(axes), wide.var(axes, ddof=1)


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, None])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (3, 4, 5, 2)])
def test_running_statistics_follow_pytorchs_rule(shape: Any, momentum: Any) -> None:
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(4, momentum=momentum)
    means, variances = np.zeros(4), np.ones(4)
    for k in range(1, 4):
        x = np.random.default_rng(k).standard_normal(shape, np.float32) * k + k
        norm(x)
        share = 1 / k if momentum is None else momentum
        mean, variance = statistics(x)
        means, variances = (1 - share) * means + share * mean, (1 - share) * variances + share * variance
        assert norm.num_batches_tracked is not None
        assert (norm.num_batches_tracked.dtype, norm.num_batches_tracked.item()) == (np.int64, k)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    np.testing.assert_allclose(norm.running_mean.numpy(), means, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.numpy(), variances, rtol=1e-5)
    before = norm.state_dict()
    wide = (4,) + (1,) * (len(shape) - 2)
    wanted = (x - means.reshape(wide)) / np.sqrt(variances.reshape(wide) + 1e-5)
    np.testing.assert_allclose(norm.eval()(x).numpy(), wanted, rtol=1e-4, atol=1e-4)
    for name, array in norm.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_without_running_statistics_the_batch_is_judged_by_itself() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    trained = norm(X).numpy()
    np.testing.assert_array_equal(norm.eval()(X).numpy(), trained)
    np.testing.assert_allclose(trained.mean((0, 2, 3)), 0, atol=1e-6)


def test_buffers_are_not_trained_and_count_their_writes() -> None:
    norm = nn.BatchNorm2d(4)
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"]
    versions = [b.storage().version for b in norm.buffers()]
    norm(mg.tensor(X, requires_grad=True)).sum().backward()
    assert [b.storage().version for b in norm.buffers()] == [v + 1 for v in versions]
    assert all(b.grad is None and not b.requires_grad for b in norm.buffers())


@pytest.mark.parametrize(
    ("make", "x"), [(nn.BatchNorm1d, (1, 4)), (nn.BatchNorm2d, (1, 4, 1, 1)), (nn.BatchNorm2d, (5, 3, 2, 2)),
                    (nn.BatchNorm1d, (4,)), (nn.BatchNorm1d, (2, 4, 3, 3)), (nn.BatchNorm2d, (2, 4))]
)  # fmt: skip
def test_a_batch_that_does_not_fit_changes_nothing(make: Any, x: Any) -> None:
    norm = make(4)
    before = norm.state_dict()
    with pytest.raises(ValueError, match=r"more than one value a channel|needs x \(N, C.*C = 4, got"):
        norm(np.ones(x, np.float32))
    for name, array in norm.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.BatchNorm1d(0), "num_features must be a positive integer, got 0"),
        (lambda: nn.BatchNorm1d(3, momentum=1.5), r"momentum in \[0, 1\] or None, got 1.5"),
        (lambda: nn.BatchNorm2d(3, eps=-1), "BatchNorm2d needs eps of at least 0, got -1"),
        (lambda: nn.LayerNorm(3, eps=np.nan), "LayerNorm needs eps of at least 0, got nan"),
        (lambda: nn.LayerNorm(()), r"normalized_shape must have an axis at least, got \(\)"),
        (lambda: nn.RMSNorm((3, 0)), "normalized_shape must be a positive integer, got 0"),
        (lambda: nn.GroupNorm(3, 4), "num_groups must divide 4 channels, got 3"),
        (lambda: nn.GroupNorm(0, 4), "num_groups must be a positive integer, got 0"),
        (lambda: nn.GroupNorm(2, 6, affine=False)(X), r"needs x \(N, C, ...\), C = 6, got \(3, 4, 5, 2\)"),
        (lambda: nn.LayerNorm(3)(X), r"layer_norm over \(3,\) needs x that ends in it"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_float64_needs_a_float64_model() -> None:
    with pytest.raises(TypeError, match="batch_norm does not mix float32 and float64"):
        nn.BatchNorm2d(4)(X.astype(np.float64))
