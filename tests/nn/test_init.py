import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import minigrad as mg
from minigrad.nn import init
from minigrad.random import Generator

SHAPE = (60, 20, 5, 7)  # fan_in 20 * 35, fan_out 60 * 35
FAN_IN, FAN_OUT = 700, 2100

# Each initialiser with the variance that its paper gives for SHAPE.
UNIFORM: dict[str, tuple[Callable[..., Any], float]] = {
    "xavier": (init.xavier_uniform_, 2 / (FAN_IN + FAN_OUT)),
    "xavier, gain": (lambda t, rng: init.xavier_uniform_(t, gain=5 / 3, rng=rng), 25 / 9 * 2 / (FAN_IN + FAN_OUT)),
    "kaiming": (init.kaiming_uniform_, 2 / FAN_IN),
    "kaiming, fan_out": (lambda t, rng: init.kaiming_uniform_(t, mode="fan_out", rng=rng), 2 / FAN_OUT),
    "kaiming, gain": (lambda t, rng: init.kaiming_uniform_(t, gain=1.0, rng=rng), 1 / FAN_IN),
    "range": (lambda t, rng: init.uniform_(t, -0.5, 0.5, rng=rng), 1 / 12),
}
NORMAL: dict[str, tuple[Callable[..., Any], float]] = {
    "xavier": (init.xavier_normal_, 2 / (FAN_IN + FAN_OUT)),
    "xavier, gain": (lambda t, rng: init.xavier_normal_(t, gain=2.0, rng=rng), 4 * 2 / (FAN_IN + FAN_OUT)),
    "kaiming": (init.kaiming_normal_, 2 / FAN_IN),
    "kaiming, fan_out": (lambda t, rng: init.kaiming_normal_(t, mode="fan_out", rng=rng), 2 / FAN_OUT),
    "kaiming, tanh": (lambda t, rng: init.kaiming_normal_(t, nonlinearity="tanh", rng=rng), 25 / 9 / FAN_IN),
    "kaiming, slope": (lambda t, rng: init.kaiming_normal_(t, 0.5, rng=rng), 2 / 1.25 / FAN_IN),
    "std": (lambda t, rng: init.normal_(t, 0.0, 0.3, rng=rng), 0.09),
}


@pytest.mark.parametrize(("fill", "variance"), UNIFORM.values(), ids=UNIFORM.keys())
def test_uniform_initialisers_fill_their_range_evenly(fill: Callable[..., Any], variance: float) -> None:
    values = fill(mg.zeros(SHAPE), rng=Generator(1)).numpy().ravel()
    bound = math.sqrt(3 * variance)
    assert np.abs(values).max() <= np.float32(bound)
    counts, _ = np.histogram(values, bins=20, range=(-bound, bound))
    expected = values.size / 20
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)  # five standard deviations


@pytest.mark.parametrize(("fill", "variance"), NORMAL.values(), ids=NORMAL.keys())
def test_normal_initialisers_have_the_quantiles_of_a_normal(fill: Callable[..., Any], variance: float) -> None:
    values = fill(mg.zeros(SHAPE), rng=Generator(2)).numpy().ravel() / math.sqrt(variance)
    assert values.mean() == pytest.approx(0, abs=5 / math.sqrt(values.size))
    assert values.var() == pytest.approx(1, abs=5 * math.sqrt(2 / values.size))
    for z in (-2, -1, 0, 1, 2):
        assert (values < z).mean() == pytest.approx((1 + math.erf(z / math.sqrt(2))) / 2, abs=0.01)


def test_mean_and_range_are_where_they_were_put() -> None:
    assert init.normal_(mg.zeros(10_000), 3.0, 0.1, rng=0).numpy().mean() == pytest.approx(3, abs=0.01)
    assert (init.uniform_(mg.zeros(9), 0.5, 0.5, rng=0).numpy() == 0.5).all()
    assert (init.xavier_uniform_(mg.ones((2, 3)), gain=0.0, rng=0).numpy() == 0).all()
    values = init.uniform_(mg.zeros(10_000), 2.0, 2.5, rng=0).numpy()
    assert values.min() >= 2
    assert values.max() < 2.5
    assert init.normal_(mg.zeros(3), 1.5, 0.0).tolist() == [1.5] * 3
    assert init.zeros_(mg.ones(2)).tolist() == [0, 0]
    assert init.ones_(mg.zeros(2)).tolist() == [1, 1]
    assert init.constant_(mg.zeros(2), 0.25).tolist() == [0.25, 0.25]


@pytest.mark.parametrize("bounds", [(-2, 2), (-0.5, 3), (1, 2), (4, 9), (-40, -20), (-1, np.inf), (25, 26)])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.2)])
def test_the_truncated_normal_has_exactly_that_distribution(bounds: Any, mean: float, std: float) -> None:
    """Kolmogorov and Smirnov's distance to SciPy's distribution function, below what one in 10,000 exceeds."""
    low, high = bounds
    a, b = (float(mean + std * min(z, 1e6)) for z in bounds)
    values = init.trunc_normal_(mg.zeros((100, 50), dtype=np.float64), mean, std, a, b, rng=1).numpy().ravel()
    assert a <= values.min() <= values.max() <= b
    found = stats.kstest(values, stats.truncnorm(low, high, mean, std).cdf)
    assert found.pvalue > 1e-4


def test_the_truncated_normal_at_its_edges() -> None:
    assert init.trunc_normal_(mg.zeros(3), 0.0, 0.0).tolist() == [0, 0, 0]
    assert init.trunc_normal_(mg.zeros(2), 5.0, 0.0).tolist() == [2, 2]
    assert init.trunc_normal_(mg.zeros(2), 0.0, 1.0, 0.5, 0.5).tolist() == [0.5, 0.5]
    assert init.trunc_normal_(mg.zeros((0, 3))).shape == (0, 3)
    values = init.trunc_normal_(mg.zeros(1000), a=-0.1, b=0.1, rng=0).numpy()
    assert np.abs(values).max() <= np.float32(0.1)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (6, 2, 2, 3), (2, 3, 2), (1, 5), (5, 1)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(shape: Any, gain: float) -> None:
    weight = init.orthogonal_(mg.zeros(shape, dtype=np.float64), gain, rng=0).numpy().reshape(shape[0], -1)
    small = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(small, gain**2 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    """Of one drawn evenly of all (n, n), every element has mean 0 and variance 1/n, and the trace variance 1."""
    drawn = np.stack([init.orthogonal_(mg.zeros((3, 3)), rng=i).numpy() for i in range(2000)])
    assert np.abs(drawn.mean(0)).max() < 5 * math.sqrt(1 / 3 / 2000)
    np.testing.assert_allclose((drawn**2).mean(0), 1 / 3, atol=0.04)
    assert drawn.trace(axis1=1, axis2=2).var() == pytest.approx(1, abs=0.15)
    assert (np.linalg.det(drawn) > 0).mean() == pytest.approx(0.5, abs=0.06)


def test_gains_are_pytorchs() -> None:
    gains = {"linear": 1, "conv1d": 1, "conv2d": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    assert {name: init.calculate_gain(name) for name in gains} == gains
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(1.3545709229571927)
    with pytest.raises(ValueError, match=r"nonlinearity must be leaky_relu, linear, .* got 'gelu'"):
        init.calculate_gain("gelu")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fills_in_place_outside_the_graph_and_depends_on_the_stream_only(dtype: Any) -> None:
    weight = mg.zeros((4, 3), dtype=dtype, requires_grad=True)
    place = weight.data.ctypes.data
    assert init.kaiming_normal_(weight, rng=5) is weight
    assert weight.is_leaf
    assert weight.data.ctypes.data == place
    assert weight.dtype == dtype
    turned = mg.Tensor(np.zeros((3, 4), dtype).T)
    np.testing.assert_array_equal(init.kaiming_normal_(turned, rng=5).numpy(), weight.numpy())
    assert (init.kaiming_normal_(turned, rng=6).numpy() != weight.numpy()).any()


@pytest.mark.parametrize(
    ("fill", "error", "message"),
    [
        (lambda: init.uniform_(mg.zeros(2), np.nan, 1), ValueError, "low must be a finite number, got nan"),
        (lambda: init.uniform_(mg.zeros(2), 0, np.inf), ValueError, "high must be a finite number, got inf"),
        (lambda: init.uniform_(mg.zeros(2), 2, 1), ValueError, "low <= high, got low=2 and high=1"),
        (lambda: init.normal_(mg.zeros(2), std=-1), ValueError, "std must not be negative, got -1"),
        (lambda: init.normal_(mg.zeros(2), mean="0"), ValueError, "mean must be a finite number, got '0'"),
        (lambda: init.xavier_normal_(mg.zeros((2, 2)), gain=np.inf), ValueError, "gain must be a finite number"),
        (lambda: init.xavier_uniform_(mg.zeros(3)), ValueError, r"at least two axes, none empty, got shape \(3,\)"),
        (lambda: init.kaiming_uniform_(mg.zeros((3, 0))), ValueError, r"none empty, got shape \(3, 0\)"),
        (lambda: init.kaiming_normal_(mg.zeros((3, 2)), mode="in"), ValueError, "'fan_in' or 'fan_out', got 'in'"),
        (lambda: init.uniform_(mg.zeros(2, dtype=np.int64)), TypeError, "fill floating-point .* got a tensor of int64"),
        (
            lambda: init.kaiming_normal_(mg.zeros((3, 2)), "fan_in"),
            ValueError,
            "param must be a finite number, got 'fan_in'",
        ),
        (
            lambda: init.trunc_normal_(mg.zeros(2), a=1, b=0),
            ValueError,
            "std >= 0 and a <= b, got std=1.0, a=1 and",
        ),
        (lambda: init.trunc_normal_(mg.zeros(2), std=-1), ValueError, "got std=-1, a=-2.0"),
        (
            lambda: init.trunc_normal_(mg.zeros(2), a=38.0, b=39),
            ValueError,
            r"less than 37 std .* got \[38",
        ),
        (lambda: init.trunc_normal_(mg.zeros(2), b=np.nan), ValueError, "b must be a finite number, got nan"),
        (lambda: init.orthogonal_(mg.zeros(2)), ValueError, "at least two axes"),
        (lambda: init.orthogonal_(mg.zeros((2, 2)), gain=np.nan), ValueError, "gain must be a finite number"),
        (lambda: init.kaiming_normal_(np.zeros((2, 2))), TypeError, "floating-point tensors, got ndarray"),
    ],
)
def test_bad_arguments_are_named(fill: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fill()
