import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, ops
from minigrad.random import Generator, default_generator
from minigrad.testing import check_grads


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return Generator(seed).normal(shape)


# Linear


def test_weight_is_out_by_in_and_lies_transposed_in_memory() -> None:
    linear = nn.Linear(5, 3)
    assert linear.weight.shape == (3, 5)
    assert linear.weight.data.T.flags.c_contiguous
    linear(mg.ones((2, 5))).sum().backward()
    assert linear.weight.grad is not None
    assert linear.weight.grad.data.strides == linear.weight.data.strides


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (1,), (7,), (2, 3), (0,)])
def test_linear_is_the_affine_map_of_its_last_axis(target: str, lead: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(5, 3, bias=bias, rng=1)
    x = normal(*lead, 5)
    expected = x.astype(np.float64) @ linear.weight.numpy().T.astype(np.float64)
    if linear.bias is not None:
        expected = expected + linear.bias.numpy()
    y = linear(mg.tensor(x))
    assert y.shape == (*lead, 3)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_linear_takes_arrays_of_integers() -> None:
    linear = nn.Linear(2, 1, rng=0)
    x = np.array([[1, 200]], np.uint8)
    np.testing.assert_array_equal(linear(x).numpy(), linear(x.astype(np.float32)).numpy())


def test_linear_starts_uniform_within_one_over_root_of_fan_in_and_depends_on_its_stream_only() -> None:
    linear = nn.Linear(400, 300, rng=Generator(3))
    assert linear.bias is not None
    for values in (linear.weight.numpy(), linear.bias.numpy()):
        assert np.abs(values).max() < 1 / 20
        assert np.abs(values).max() > 0.98 / 20
        assert values.var() == pytest.approx(1 / 400 / 3, rel=0.3)
    again = nn.Linear(400, 300, rng=Generator(3))
    np.testing.assert_array_equal(linear.weight.numpy(), again.weight.numpy())
    mg.manual_seed(11)
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    assert (first.weight.numpy() != second.weight.numpy()).any()
    mg.manual_seed(11)
    np.testing.assert_array_equal(nn.Linear(2, 2).weight.numpy(), first.weight.numpy())


@pytest.mark.parametrize("sizes", [(0, 1), (1, -1), (2.0, 1), (1, True), ("3", 1)])
def test_linear_refuses_sizes_that_are_no_counts(sizes: Any) -> None:
    with pytest.raises(ValueError, match="_features must be a positive integer, got"):
        nn.Linear(*sizes)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((4, 3), np.float32), ValueError, r"got \(4, 3\) and \(1, 2\)"),
        (np.ones((4, 2)), TypeError, "does not mix float32 and float64"),
        ([[1.0, 2.0]], TypeError, "got list"),
    ],
)
def test_linear_names_an_input_that_does_not_fit(x: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.Linear(2, 1)(x)


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_zeroes_a_share_p_and_scales_the_rest(target: str, p: float) -> None:
    x = np.abs(normal(200, 150)) + 0.1
    y = nn.Dropout(p, rng=1)(mg.tensor(x)).numpy()
    kept = y != 0
    keep = round((1 - p) * 65536) / 65536
    np.testing.assert_allclose(y[kept], x[kept] / keep, rtol=1e-6)
    spread = math.sqrt(keep * (1 - keep) / x.size)
    assert kept.mean() == pytest.approx(keep, abs=5 * spread)
    assert y.mean() == pytest.approx(x.mean(), rel=5 * spread / keep + 0.01)
    assert np.abs(kept.mean(axis=0) - keep).max() < 6 * spread * math.sqrt(150)  # and evenly so in each column


def test_dropout_has_the_same_bits_on_every_target(target: str) -> None:
    x = mg.tensor(normal(37, 11))
    y = nn.Dropout(0.3, rng=4)(x)
    mg.kernels.use("reference")
    expected = nn.Dropout(0.3, rng=4)(x)
    mg.kernels.use(target)
    np.testing.assert_array_equal(y.numpy(), expected.numpy())


def test_dropout_does_nothing_in_evaluation_mode_or_with_p_0() -> None:
    x = mg.tensor(normal(5, 4))
    dropout = nn.Dropout(0.5, rng=0)
    before = dropout.rng.state()
    np.testing.assert_array_equal(dropout.eval()(x).numpy(), x.numpy())
    assert dropout.rng.state() == before
    np.testing.assert_array_equal(nn.Dropout(0)(x).numpy(), x.numpy())
    assert not nn.Dropout(1.0)(x).numpy().any()


def test_dropout_passes_the_gradient_where_it_passes_the_value() -> None:
    x = mg.ones((20, 30), requires_grad=True)
    y = nn.Dropout(0.25, rng=2)(x)
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_each_dropout_has_a_stream_of_its_own() -> None:
    x = mg.ones((50, 50))
    alone = nn.Dropout(0.5, rng=Generator(7))
    beside = nn.Dropout(0.5, rng=Generator(7))
    masks = [alone(x).numpy() for _ in range(3)]
    for mask in masks:
        nn.Dropout(0.5)(x)
        nn.Linear(50, 50)(x)
        np.testing.assert_array_equal(beside(x).numpy(), mask)
    assert (masks[0] != masks[1]).any()

    mg.manual_seed(3)
    first, second = nn.Dropout(0.5), nn.Dropout(0.5)
    before = default_generator().state()
    assert (first(x).numpy() != second(x).numpy()).any()
    assert default_generator().state() == before


@pytest.mark.parametrize("p", [-0.1, 1.5, np.nan, True, "0.5", None])
def test_dropout_refuses_what_is_no_probability(p: Any) -> None:
    with pytest.raises(ValueError, match=r"a probability p in \[0, 1\], got"):
        nn.Dropout(p)


# Sequential, losses, activations


def test_sequential_is_a_list_of_modules() -> None:
    layers = [nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    assert list(model[:2]) == layers[:2]
    x = mg.tensor(normal(4, 3))
    np.testing.assert_array_equal(model(x).numpy(), layers[2](layers[1](layers[0](x))).numpy())
    assert nn.Sequential()(x) is x
    with pytest.raises(TypeError, match="Sequential takes modules, got list at position 0"):
        nn.Sequential(layers)  # type: ignore[arg-type]


def test_activations() -> None:
    x = np.array([-2.0, 0.0, 3.0], np.float32)
    assert nn.ReLU()(x).tolist() == [0, 0, 3]
    np.testing.assert_allclose(nn.Tanh()(x).numpy(), np.tanh(x), rtol=1e-6)


def test_cross_entropy_loss_is_the_negative_log_likelihood(target: str) -> None:
    logits, labels = normal(6, 4) * 5, np.array([0, 3, 1, 1, 2, 0])
    x = logits.astype(np.float64)
    losses = np.log(np.exp(x).sum(axis=1)) - x[np.arange(6), labels]
    for reduction, expected in (("none", losses), ("sum", losses.sum()), ("mean", losses.mean())):
        y = nn.CrossEntropyLoss(reduction)(logits, labels)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 3]), IndexError, r"labels must lie in \[0, 3\) for 3 classes, got 3 at position 1"),
        (np.array([-1, 0]), IndexError, "got -1 at position 0"),
        (np.array([0.0, 1.0]), TypeError, "integers, as labels, got float64"),
        (np.array([0]), ValueError, r"got \(2, 3\) and \(1,\)"),
    ],
)
def test_cross_entropy_loss_names_bad_labels(target: str, labels: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.CrossEntropyLoss()(mg.ones((2, 3)), labels)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'average'"):
        nn.CrossEntropyLoss("average")


def test_functional_offers_the_operations_themselves() -> None:
    for name in nn.functional.__all__:
        assert getattr(nn.functional, name) is getattr(ops, name)


# A whole network


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_gradients_of_a_whole_network(activation: Callable[[], nn.Module]) -> None:
    dropout = nn.Dropout(0.3, rng=0)
    model: Any = nn.Sequential(nn.Linear(4, 5, rng=1), activation(), dropout, nn.Linear(5, 3, rng=2))
    labels = np.array([2, 0, 1])

    def loss(x: Any, *parameters: Any) -> Any:
        model[0].weight, model[0].bias, model[3].weight, model[3].bias = parameters
        dropout.rng.set_state(Generator(9).state())  # the same mask each time
        return nn.CrossEntropyLoss()(model(x), labels)

    check_grads(loss, normal(3, 4), *[p.numpy() for p in model.parameters()], order=1)
