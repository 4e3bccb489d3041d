"""The functions that have another name or other arguments here than in NumPy: as PyTorch has them."""

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import functional

X = np.random.default_rng(0).normal(size=(2, 3, 4))


@pytest.mark.parametrize(
    ("mode", "numpys"), [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
def test_pad_counts_from_the_last_axis(mode: str, numpys: Any) -> None:
    """Compared with torch 2.13, too."""
    x = mg.tensor(X, requires_grad=True)
    y = functional.pad(x, (1, 2, 0, 1), mode)
    np.testing.assert_array_equal(y.numpy(), np.pad(X, ((0, 0), (0, 1), (1, 2)), numpys))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.sum().item() == (X.size if mode == "constant" else y.size)


def test_pad_by_a_value_by_nothing_and_by_what_does_not_fit() -> None:
    assert functional.pad(np.ones(2), [1, 0], value=3.0).tolist() == [3, 1, 1]
    assert functional.pad(np.ones(2), ()).tolist() == [1, 1]
    for pad in ((1,), (1, 1, 1, 1), 1):
        with pytest.raises(ValueError, match="a pair for each of at most 1 axes"):
            functional.pad(np.ones(2), pad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="from 0 on"):
        functional.pad(np.ones(2), (-1, 0))
    with pytest.raises(NotImplementedError, match="constant, reflect, replicate, circular, not 'edge'"):
        functional.pad(np.ones(2), (1, 0), "edge")
    with pytest.raises(ValueError, match="in the mode constant only"):
        functional.pad(np.ones(2), (1, 0), "reflect", 1.0)


def test_logsigmoid_is_log_sigmoid() -> None:
    assert functional.logsigmoid is mg.log_sigmoid
