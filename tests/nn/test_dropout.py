import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.random import Generator, default_generator


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return Generator(seed).normal(shape)


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


# Scaled at test time, as the lecture has it


@pytest.mark.parametrize("make", [nn.Dropout, nn.Dropout2d])
@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_scaled_at_test_time_the_mask_only_zeroes(make: Any, p: float) -> None:
    x = normal(20, 10, 3, 3)
    x[0, 0, 0, 0] = np.inf
    layer = make(p, rng=1, scale_at="test")
    y = layer(mg.tensor(x)).numpy()
    assert ((y == x) | (y == 0)).all()
    kept = (y != 0).mean()
    assert kept == pytest.approx(1 - p, abs=0.1)
    assert (kept in (0, 1)) == (p in (0, 1))
    np.testing.assert_array_equal(layer.eval()(x).numpy(), np.zeros_like(x) if p == 1 else x * np.float32(1 - p))
    plain = make(p, rng=1)
    found = plain(x)
    np.testing.assert_array_equal(found.numpy() != 0, y != 0, "the same stream, the same mask")
    np.testing.assert_allclose(found.numpy(), y / (1 - p) if p < 1 else y, rtol=1e-6)
    np.testing.assert_array_equal(plain.eval()(x).numpy(), x)


def test_scaled_at_test_time_gradients_follow_the_values() -> None:
    layer = nn.Dropout(0.25, rng=2, scale_at="test")
    for mode in (True, False):
        x = mg.ones((20, 30), requires_grad=True)
        y = layer.train(mode)(x)
        y.sum().backward()
        assert x.grad is not None
        np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


@pytest.mark.parametrize("scale_at", ["train", "test"])
@pytest.mark.parametrize("p", [0.5, 0.25])
def test_the_expectation_of_the_lectures_neuron(scale_at: Any, p: float) -> None:
    """a = w1 x + w2 y with dropout on its two inputs: four masks, whose mean is what test time gives.

    For p = 1/2, not scaled: E[a] = (w1 x + w2 y)/4 + (w1 x)/4 + (w2 y)/4 + 0/4 = (w1 x + w2 y)/2.
    """
    draws = 4000
    inputs = np.tile(np.array([3.0, -5.0], np.float32), (draws, 1))
    neuron = nn.Linear(2, 1, bias=False)
    neuron.weight.assign_(np.array([[2.0, 0.5]]))
    model = nn.Sequential(nn.Dropout(p, rng=0, scale_at=scale_at), neuron)
    a = model(inputs).numpy()[:, 0].astype(np.float64)

    q, full = 1 - p, 2.0 * 3.0 + 0.5 * -5.0
    scale = 1 / q if scale_at == "train" else 1.0
    masks = {(i, j): (q if i else p) * (q if j else p) for i in (0, 1) for j in (0, 1)}
    values = {mask: scale * (mask[0] * 6.0 + mask[1] * -2.5) for mask in masks}
    at_test = model.eval()(inputs[:1]).item()
    assert sum(masks[m] * values[m] for m in masks) == pytest.approx(q * scale * full, rel=1e-12)
    assert at_test == pytest.approx(q * scale * full, rel=1e-6)
    assert at_test == pytest.approx(full if scale_at == "train" else q * full, rel=1e-6)
    for mask, share in masks.items():  # every mask, as often as it should be, and nothing else
        met = np.isclose(a, values[mask], rtol=1e-6, atol=1e-6).mean()
        assert met == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws))
        masks[mask] = met
    assert sum(masks.values()) == 1
    assert a.mean() == pytest.approx(at_test, abs=5 * a.std() / math.sqrt(draws))


# Channels


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_dropout2d_drops_whole_channels(p: float) -> None:
    x = np.abs(normal(60, 50, 2, 3)) + 0.1
    y = nn.Dropout2d(p, rng=0)(mg.tensor(x)).numpy()
    kept = (y != 0).reshape(60, 50, 6)
    assert (kept.all(-1) == kept.any(-1)).all()
    assert kept.mean() == pytest.approx(1 - p, abs=5 * math.sqrt(p * (1 - p) / 3000))
    keep = round((1 - p) * 65536) / 65536
    np.testing.assert_allclose(y, np.where(kept.reshape(x.shape), x / keep, 0), rtol=1e-6)
    assert nn.Dropout2d(p)(x[:0]).shape == (0, 50, 2, 3)


def test_dropout2d_needs_images() -> None:
    with pytest.raises(ValueError, match=r"Dropout2d needs x \(N, C, H, W\), got \(3, 4, 5\)"):
        nn.Dropout2d(0.5)(np.ones((3, 4, 5), np.float32))


def test_masks_do_not_depend_on_threads() -> None:
    x = mg.ones((40, 30, 11, 13))
    before = mg.num_threads()
    try:
        found = []
        for threads in (1, 2):
            mg.set_num_threads(threads)
            drops = [nn.Dropout(0.3, rng=5), nn.Dropout2d(0.3, rng=5), nn.Dropout(0.3, rng=5, scale_at="test")]
            found.append([drop(x).data.tobytes() for drop in drops for _ in range(2)])
        assert found[0] == found[1]
    finally:
        mg.set_num_threads(before)


def test_scale_at_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="scale_at must be 'train' or 'test', got 'eval'"):
        nn.Dropout(0.5, scale_at="eval")  # type: ignore[arg-type]
