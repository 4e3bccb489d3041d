"""Empty and odd reductions; values and gradients are tested for all operations alike."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("f", ["sum", "max", "min", "argmax", "argmin"])
def test_empty_arrays_follow_numpy(f: str, shape: tuple[int, ...], axis: Any) -> None:
    a = np.zeros(shape, np.float32)
    try:
        expected = getattr(np, f)(a, axis)
    except ValueError:
        with pytest.raises(ValueError, match=r"empty|zero-size"):
            getattr(mg, f)(mg.tensor(a), axis)
    else:
        found = getattr(mg, f)(mg.tensor(a), axis).numpy()
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_the_mean_of_nothing_is_nan_with_numpys_warning() -> None:
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(mg.zeros(0).mean().item())
    assert mg.zeros((0, 3)).mean(1).shape == (0,)


def test_logsumexp_of_nothing_and_of_infinities() -> None:
    assert mg.logsumexp(mg.zeros((2, 0)), 1).tolist() == [-np.inf] * 2
    assert mg.logsumexp(mg.tensor([-np.inf, -np.inf])).item() == -np.inf
    assert mg.logsumexp(mg.tensor([-np.inf, 3.0])).item() == 3.0
    assert mg.logsumexp(mg.tensor([np.inf, 3.0])).item() == np.inf
    assert mg.logsumexp(mg.tensor([1e30, 1e30])).item() == pytest.approx(1e30)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int32, np.int64, np.uint64, np.float16, np.float64])
def test_sums_have_numpys_dtype_and_do_not_overflow(dtype: Any) -> None:
    a = np.full(300, 1, dtype)
    expected = a.sum()
    found = mg.tensor(a).sum()
    assert found.dtype == expected.dtype
    assert found.item() == 300


@pytest.mark.parametrize("f", [mg.max, mg.min])
def test_nan_wins_and_first_position_counts(f: Any) -> None:
    assert np.isnan(f(mg.tensor([1.0, np.nan, 3.0])).item())
    assert mg.argmax(mg.tensor([1, 3, 3])).item() == 1
    assert mg.argmin(mg.tensor([1, 0, 0])).item() == 1
    assert mg.argmax(mg.tensor([1.0, np.nan, 3.0])).item() == 1


@given(ties=st.lists(st.integers(0, 2), min_size=1, max_size=6), largest=st.booleans())
def test_ties_share_the_gradient_evenly(ties: list[int], largest: bool) -> None:
    x = mg.tensor(np.array(ties, np.float32), requires_grad=True)
    (x.max() if largest else x.min()).backward()
    best = max(ties) if largest else min(ties)
    np.testing.assert_allclose(x.grad.numpy(), [(t == best) / ties.count(best) for t in ties], rtol=1e-6)


@pytest.mark.parametrize(
    ("axis", "error", "match"),
    [
        (2, np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
        ((0, 0), ValueError, "names an axis twice"),
        ((0, -2), ValueError, "names an axis twice"),
        (0.0, TypeError, "axis must be an integer or a tuple of them, got 0.0"),
        (True, TypeError, "axis must be an integer"),
        ("0", TypeError, "axis must be an integer"),
    ],
)
@pytest.mark.parametrize("f", [mg.sum, mg.mean, mg.max, mg.logsumexp])
def test_bad_axes(f: Any, axis: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        f(mg.ones((2, 3)), axis)
