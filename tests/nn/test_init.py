import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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
    values = init.uniform_(mg.zeros(10_000), 2.0, 2.5, rng=0).numpy()
    assert values.min() >= 2
    assert values.max() < 2.5
    assert init.normal_(mg.zeros(3), 1.5, 0.0).tolist() == [1.5] * 3
    assert init.zeros_(mg.ones(2)).tolist() == [0, 0]
    assert init.ones_(mg.zeros(2)).tolist() == [1, 1]


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
        (lambda: init.kaiming_normal_(np.zeros((2, 2))), TypeError, "floating-point tensors, got ndarray"),
    ],
)
def test_bad_arguments_are_named(fill: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fill()
