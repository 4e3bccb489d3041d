"""Image kernels over all borders and ways to interpolate, against SciPy, Keys's formula and Pillow; bad shapes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.kernels.launch import launch

from .harness import check, seeds

sides = st.integers(1, 9)


@given(
    seeds,
    sides,
    sides,
    sides,
    sides,
    st.integers(0, 2),
    st.integers(0, 4),
    st.sampled_from([np.uint8, np.float32, np.float64]),
)
def test_places_far_outside_in_every_mode(
    target: str, seed: int, rows: int, columns: int, h: int, w: int, order: int, border: int, dtype: Any
) -> None:
    """At places that floats hold, and that are never in the middle between two pixels."""
    rng = np.random.default_rng(seed)
    x = (rng.random((2, 2, rows, columns)) * 255).astype(dtype)
    map = np.zeros((2, 2, 9))
    map[:, 0, :6] = rng.integers(-32, 33, (2, 6)) / 16
    map[:, 0, 2], map[:, 0, 5] = (2 * rng.integers(-1500, 1500, (2, 2)) + 1) / 128
    map[:, 0, 8] = 1
    field = (rng.integers(-32, 33, (2 * (seed % 2), 2, h, w)) / 16).astype(
        np.float64 if dtype == np.float64 else np.float32
    )
    check("warp", [np.zeros((2, 2, h, w), dtype)], [x, map, field], (order, border, 7.0))


@given(seeds, sides, sides, st.integers(0, 4), st.sampled_from([np.uint8, np.float32]))
def test_windows_and_filters_in_every_mode(target: str, seed: int, h: int, w: int, border: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.random((2, 1, h, w)) * 255).astype(dtype)
    window = np.concatenate([rng.integers(-25, 25, (2, 2)), rng.integers(0, 2, (2, 2))], 1)
    check("crop", [np.zeros((2, 1, *rng.integers(1, 40, 2)), dtype)], [x, window], (border, 7.0))
    taps = [(rng.random((2, *rng.integers(1, 6, 2))) / 20).astype(np.float32) for _ in range(2)]
    check("filter", [np.zeros_like(x)], [x, *taps], (border, 7.0))


@given(seeds, st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]), st.booleans())
def test_jpeg_has_the_bits_of_pillow(target: str, seed: int, h: int, w: int, channels: int, smooth: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (3, channels, h, w))
    if smooth:
        x = np.clip(np.cumsum(np.cumsum(rng.normal(size=x.shape), 2), 3) * 5 + 128, 0, 255)
    check("jpeg", [np.zeros(x.shape, np.uint8)], [x.astype(np.uint8), rng.integers(1, 101, 3)], exact=True)


@given(seeds, st.integers(0, 3))
def test_noise_of_every_kind(target: str, seed: int, kind: int) -> None:
    rng = np.random.default_rng(seed)
    x, key = rng.random((2, 2, 5, 30)).astype(np.float32), rng.integers(0, 2**32, (2, 2), np.uint32)
    check("noise", [np.zeros_like(x)], [x, key, np.array([0.3, 0.6])], (kind, 0.0, 1.0))


X, OUT = np.zeros((2, 3, 4, 5), np.float32), np.zeros((2, 3, 4, 5), np.float32)
BYTES = X.astype(np.uint8)
MAP, FIELD = np.zeros((2, 2, 9)), np.zeros((0, 2, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("name", "arrays", "scalars", "error"),
    [
        ("warp", (OUT, X, MAP[:1], FIELD), (1, 0, 0), ValueError),
        ("warp", (OUT, X, MAP[:, :1], FIELD), (1, 0, 0), ValueError),
        ("warp", (OUT, X, MAP, FIELD[..., :4]), (1, 0, 0), ValueError),
        ("warp", (OUT, X[:, :, :0], MAP, FIELD), (1, 0, 0), ValueError),
        ("warp", (OUT, X[0], MAP, FIELD), (1, 0, 0), ValueError),
        ("warp", (OUT, BYTES, MAP, FIELD), (1, 0, 0), TypeError),
        ("crop", (OUT, X, np.zeros((2, 3), int)), (0, 0), ValueError),
        ("recolor", (OUT, X, np.zeros((2, 3, 3))), (0, 1), ValueError),
        ("hue", (OUT[:, :2], X[:, :2], np.zeros(2)), (), ValueError),
        ("recode", (BYTES, BYTES, np.zeros((2, 3, 255), np.uint8)), (), ValueError),
        ("noise", (OUT, X, np.zeros((2, 2), np.uint32), np.zeros(1)), (0, 0, 1), ValueError),
        ("filter", (OUT, X, np.zeros((2, 3), np.float32), np.zeros((2, 1, 1), np.float32)), (0, 0), ValueError),
        ("jpeg", (BYTES[:, :2], BYTES[:, :2], np.zeros(2, int)), (), ValueError),
    ],
)
def test_shapes_that_do_not_fit_are_refused(c_target: str, name: str, arrays: Any, scalars: Any, error: Any) -> None:
    with pytest.raises(error, match=f"{name}: shapes do not fit|{name} takes images of one dtype"):
        launch(name, arrays, scalars)
