"""Averages of weights against their definition."""

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=3)


@given(shapes=SHAPES, decay=st.sampled_from([0.0, 0.5, 0.9, 1.0]), corrected=st.booleans(), steps=st.integers(0, 6),
       double=st.sets(st.integers(0, 2)), seed=st.integers(0, 99))  # fmt: skip
def test_the_definition(
    target: str, shapes: Any, decay: float, corrected: bool, steps: int, double: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dtypes = [np.float64 if i in double else np.float32 for i in range(len(shapes))]
    params = [
        nn.Parameter(np.asarray(rng.normal(size=shape).astype(dtype), order="F"))
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    ema = optim.EMA(iter(params), decay, bias_correction=corrected)
    seen = [[p.data.astype(float) for p in params]]
    for _ in range(steps):
        for p in params:
            p.assign_(rng.normal(size=p.shape))
        ema.update()
        seen.append([p.data.astype(float) for p in params])
    powers = np.array([decay**i for i in range(steps)][::-1])
    weights = [decay**steps, *((1 - decay) * powers)]  # of the start and of each update
    if corrected:
        weights = [0.0, *(powers / powers.sum())] if steps else [1.0]
    for i, (p, a) in enumerate(zip(params, ema.averages, strict=True)):
        wanted = sum(weight * arrays[i] for weight, arrays in zip(weights, seen, strict=True))
        assert (a.dtype, a.strides) == (p.dtype, p.data.strides)
        np.testing.assert_allclose(a, wanted, rtol=1e-5, atol=1e-6 if p.dtype == np.float32 else 1e-12)


def test_swapped_and_back() -> None:
    w = nn.Parameter(np.ones((2, 3), np.float32))
    ema = optim.EMA([w], 0.5)
    w.assign_(np.full((2, 3), 3, np.float32))
    ema.update()
    version = w.storage().version
    with ema.swapped():
        assert (w.data == 2).all()
        with pytest.raises(RuntimeError, match="the weights are the averages now"):
            ema.update()
        with pytest.raises(RuntimeError, match="in the tensors already"), ema.swapped():
            pass
    assert (w.data == 3).all()
    assert (ema.averages[0] == 2).all()
    assert w.storage().version == version + 2
    ema.update()
    assert (ema.averages[0] == 2.5).all()
    with pytest.raises(mg.CaptureError, match="EMA"):
        mg.capture(lambda x: ema.swapped().__enter__(), np.ones(1, np.float32))
    with pytest.raises(mg.CaptureError, match="making an average"):
        mg.capture(lambda x: optim.EMA([w]), np.ones(1, np.float32))


def test_a_loaded_state_goes_on_with_the_same_bits() -> None:
    w = nn.Parameter(np.arange(5, dtype=np.float32))
    ema, other = optim.EMA([w], 0.7, bias_correction=True), optim.EMA([w], 0.1, bias_correction=True)
    for step in range(5):
        w.assign_(w.data * np.float32(1.1))
        ema.update()
        if step == 2:
            other.load_state_dict(copy.deepcopy(ema.state_dict()))
        elif step > 2:
            other.update()
    assert other.decay == 0.7
    assert ema.averages[0].tobytes() == other.averages[0].tobytes()
    before = other.state_dict()
    for bad, error in [
        ({**before, "averages": {}}, KeyError),
        ({**before, "averages": {"0": np.zeros(5)}}, ValueError),
        ({**before, "averages": {"0": np.zeros(4, np.float32)}}, ValueError),
        ({**before, "count": -1}, ValueError),
        ({**before, "count": 2**63, "decay": 0.1}, ValueError),
        ({**before, "averages": 3}, TypeError),
        ({**before, "decay": 1.5}, ValueError),
    ]:
        with pytest.raises(error):
            other.load_state_dict(bad)
        np.testing.assert_equal(other.state_dict(), before)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.EMA(p), TypeError, "an iterable of tensors, got Parameter"),
        (lambda p: optim.EMA([p, np.ones(2)]), TypeError, "EMA averages tensors of floats"),
        (lambda p: optim.EMA([mg.tensor([1, 2])]), TypeError, "EMA averages tensors of floats, got int64"),
        (lambda p: optim.EMA([]), ValueError, "EMA got no tensors, or one of them twice"),
        (lambda p: optim.EMA([p, p]), ValueError, "EMA got no tensors, or one of them twice"),
        (lambda p: optim.EMA([p], 1.01), ValueError, r"decay must be a number in \[0, 1\], got 1.01"),
        (lambda p: optim.EMA([p], np.nan), ValueError, "decay must be"),
        (lambda p: optim.EMA([p], True), ValueError, "decay must be"),
        (lambda p: optim.EMA([p], bias_correction=1), ValueError, "bias_correction must be True or False"),
        (lambda p: optim.EMA([mg.Tensor(np.ones((4, 4))[:, :2])]), ValueError, "without gaps"),
    ],
)
def test_bad_arguments(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make(nn.Parameter(np.ones(2, np.float32)))
