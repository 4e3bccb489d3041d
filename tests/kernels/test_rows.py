"""Softmax and its kin over rows: any width, any layout, numbers that overflow, masked and broken rows."""

import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch, rows

from .harness import SCALARS, Sample, each_row, family, layouts, normal, seeds
from .oracle import expected

ROWS = family("ROWS")


def sample(name: str, shape: tuple[int, int], scale: float, masked: float, dtype: Any, rng: Any) -> Sample:
    """Logits of size ``scale``, some of them -inf, and what goes with them."""
    x = normal(rng, shape, dtype) * dtype(scale)
    labels = rng.integers(0, shape[1], shape[0])
    if not name.endswith("softmax_grad") and not name.startswith("layer_norm"):
        x[rng.random(shape) < masked] = -np.inf
        x[np.arange(shape[0]), labels] = 0.5
    per_row = name in ("logsumexp", "cross_entropy")
    arguments = {
        "x": x,
        "labels": labels,
        "g": normal(rng, shape[:1] if name == "cross_entropy_grad" else shape, dtype),
    }
    arguments |= {"weight": normal(rng, shape[1:], dtype), "bias": normal(rng, shape[1:], dtype)}
    arguments["y"] = getattr(special, name.removesuffix("_grad"))(x, axis=1) if name.endswith("softmax_grad") else None
    return Sample(
        name,
        (np.empty(shape[:1] if per_row else shape, dtype),),
        tuple(arguments[i] for i in KERNELS[name].inputs),
        SCALARS.get(name, tuple)(),
    )


@each_row(ROWS)
@given(
    shape=st.tuples(st.integers(0, 6), st.integers(1, 70)),
    scale=st.sampled_from([1.0, 30.0, 1e4]),
    masked=st.sampled_from([0.0, 0.5, 1.0]),
    placed=layouts,
    seed=seeds,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_shape_and_layout(
    target: str, name: str, dtype: Any, shape: Any, scale: float, masked: float, placed: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sample(name, shape, scale, masked, dtype, rng).check(layouts=placed, offsets=rng.integers(16, size=4))


@each_row([row for row in ROWS if "x" in row.inputs])
def test_a_wide_row_of_equal_logits(target: str, name: str) -> None:
    """The worst case for a running sum: every step rounds the same way."""
    x = np.full((2, 100_000), -1, np.float32)
    x[:, 0] = 0
    arguments = {"x": x, "labels": np.array([0, 99_999]), "g": np.float32([1, -2])}
    if name.startswith("layer_norm"):
        arguments |= {"g": -x, "weight": np.full(x.shape[1], 0.37, np.float32), "bias": x[0]}
    out = np.empty(2 if name in ("logsumexp", "cross_entropy") else x.shape, np.float32)
    Sample(name, (out,), tuple(arguments[i] for i in KERNELS[name].inputs), SCALARS.get(name, tuple)()).check()


def test_wide_rows_of_the_gradients(target: str) -> None:
    n = 100_000
    g, y = np.full((1, n), 0.37, np.float32), np.full((1, n), 1 / n, np.float32)
    g[0, 0], out = -0.5, np.empty((1, n), np.float32)
    launch("softmax_grad", (out, g, y))
    g64, y64 = g.astype(np.float64), y.astype(np.float64)
    np.testing.assert_allclose(out, y64 * (g64 - (g64 * y64).sum()), rtol=0, atol=1e-5 / n)
    launch("log_softmax_grad", (out, g, np.log(y)))
    np.testing.assert_allclose(out, g64 - y64 * g64.sum(), rtol=0, atol=1e-5)


inf, nan = np.inf, np.nan
BROKEN = [
    ("softmax", [0, -inf], [1, 0]),
    ("softmax", [-inf, -inf], [nan, nan]),
    ("softmax", [nan, 1], [nan, nan]),
    ("softmax", [inf, 1], [nan, nan]),
    ("log_softmax", [0, -inf], [0, -inf]),
    ("log_softmax", [-inf, -inf], [nan, nan]),
    ("log_softmax", [1, nan], [nan, nan]),
    ("logsumexp", [0, -inf], 0),
    ("logsumexp", [-inf, -inf], -inf),
    ("logsumexp", [inf, 1], inf),
    ("logsumexp", [inf, -inf], inf),
    ("logsumexp", [inf, nan], nan),
    ("logsumexp", [3e38, 3e38], 3e38),
]


@pytest.mark.parametrize(("name", "row", "wanted"), BROKEN)
@pytest.mark.parametrize("fill", [0, 20])
def test_masked_and_broken_rows(target: str, name: str, row: Any, wanted: Any, fill: int) -> None:
    """A NaN spreads over its row and no further; so does a row without a finite largest element."""
    x = np.zeros((3, 2 + fill), np.float32)
    x[1, :2] = row
    x[1, 2:] = -inf
    y = rows(name, x)
    if np.ndim(wanted):
        np.testing.assert_array_equal(y[1, :2], np.float32(wanted))
    else:
        assert y[1] == np.float32(wanted) or (y[1] != y[1] and wanted != wanted)
    assert np.isfinite(y[[0, 2]]).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmax_grad", "log_softmax_grad", "layer_norm"])
def test_in_place(target: str, name: str) -> None:
    s = sample(name, (4, 21), 1.0, 0.0, np.float32, np.random.default_rng(0))
    wanted = s.run()[0]
    launch(name, (s.inputs[0], *s.inputs), s.scalars)
    assert s.inputs[0].tobytes() == wanted


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3), (3, 0), (2, 0, 3)])
def test_the_last_axis_of_any_shape(target: str, name: str, shape: tuple[int, ...]) -> None:
    x = normal(np.random.default_rng(0), shape)
    if x.size:
        np.testing.assert_allclose(rows(name, x), getattr(special, name)(x, axis=-1), rtol=1e-5, atol=1e-6)
    assert rows(name, x).shape == (shape[:-1] if name == "logsumexp" else shape)
    assert (rows(name, x) == -inf).all() or x.size


@pytest.mark.parametrize("name", ["layer_norm", "layer_norm_grad"])
@pytest.mark.parametrize("columns", [2, 3, 5, 64, 2000])
def test_layer_norm_far_from_zero(c_target: str, name: str, columns: int) -> None:
    """The float of a mean leaves out more of it than such rows vary by."""
    rng = np.random.default_rng(0)
    x = (1000 + 0.001 * rng.standard_normal((200, columns))).astype(np.float32)
    g, (weight, bias) = normal(rng, x.shape), np.float32([[1], [0]]) * np.ones(columns, np.float32)
    arguments = {"x": x, "g": g, "weight": weight, "bias": bias}
    out = np.empty_like(x)
    inputs = tuple(arguments[i] for i in KERNELS[name].inputs)
    launch(name, (out, *inputs), (1e-5,))
    (wanted,) = expected(name, [out], inputs, (1e-5,))
    np.testing.assert_allclose(out, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_labels_that_change_meanwhile_do_no_harm(c_target: str) -> None:
    """They were checked, and then another thread writes them; what is read later stays within the row."""
    x, labels, g = np.zeros((20_000, 10), np.float32), np.zeros(20_000, np.int64), np.ones(20_000, np.float32)
    out, losses, stop = np.empty_like(x), np.empty(20_000, np.float32), threading.Event()

    def meddle() -> None:
        while not stop.is_set():
            labels[:] = 2**40
            labels[:] = 0

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        for _ in range(50):
            with suppress(IndexError):
                launch("cross_entropy_grad", (out, g, x, labels))
            with suppress(IndexError):
                launch("cross_entropy", (losses, x, labels))
    finally:
        stop.set()
        meddler.join()
