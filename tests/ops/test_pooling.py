"""Pooling against plain loops, its gradients, ties and NaN, and what it refuses."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import kernels
from minigrad.testing import check_grads

from .test_forward import using


def length(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """How many windows PyTorch puts along an axis."""
    left = n + 2 * p - d * (k - 1) - 1
    count = (-(-left // s) if ceil_mode else left // s) + 1
    return count - 1 if ceil_mode and (count - 1) * s >= n + p else count


def loops(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, include: Any = None) -> Any:
    """Every window element by element: the maximum, or with ``include`` (count_include_pad) the mean."""
    n, c, *size = x.shape
    about = list(zip(size, kernel, stride, padding, dilation, strict=True))
    counts = [length(*each, ceil_mode) for each in about]
    y = np.zeros((n, c, *counts))
    for b, k, i, j in itertools.product(range(n), range(c), *map(range, counts)):
        found, number = [], 1
        lines = []
        for at, (m, width, s, p, d) in zip((i, j), about, strict=True):
            first = at * s - p
            lines.append([first + t * d for t in range(width) if 0 <= first + t * d < m])
            number *= min(first + width, m + p) - first if include else len(lines[-1])
        found = [x[b, k, u, v] for u in lines[0] for v in lines[1]]
        y[b, k, i, j] = max(found, default=-np.inf) if include is None else sum(found) / number
    return y


@st.composite
def poolings(draw: st.DrawFn, dilated: bool) -> tuple[Any, dict[str, Any]]:
    sides = []
    for _ in range(2):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2)) if dilated else 1
        reach = d * (k - 1) + 1
        p = draw(st.integers(0, reach // 2))
        sides.append((k, draw(st.integers(1, 4)), p, d, draw(st.integers(max(reach - 2 * p, 1), 7))))
    kernel, stride, padding, dilation, size = zip(*sides, strict=True)
    x = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal((draw(st.integers(0, 2)), 2, *size))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    if draw(st.booleans()):
        options["stride"] = None
    return x, options | ({"dilation": dilation} if dilated else {})


def by_loops(x: Any, options: Any, include: Any = None) -> Any:
    stride = options["stride"] or options["kernel_size"]
    dilation = options.get("dilation", (1, 1))
    return loops(x, options["kernel_size"], stride, options["padding"], dilation, options["ceil_mode"], include)


@given(poolings(dilated=True), st.sampled_from([np.float32, np.float64]))
def test_max_pool2d_is_its_loops(drawn: Any, dtype: Any) -> None:
    x, options = drawn
    x = x.astype(dtype)
    for target in kernels.targets():
        with using(target):
            y = mg.max_pool2d(x, **options)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), by_loops(x, options))


@given(poolings(dilated=False), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_avg_pool2d_is_its_loops(drawn: Any, include: bool, dtype: Any) -> None:
    x, options = drawn
    x = x.astype(dtype)
    wanted = by_loops(x.astype(np.float64), options, include)
    for target in kernels.targets():
        with using(target):
            y = mg.avg_pool2d(x, count_include_pad=include, **options)
        assert y.dtype == dtype
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-14 if dtype == np.float64 else 1e-6, atol=1e-6)


@given(poolings(dilated=True))
def test_pooling_of_sequences_is_that_of_images_of_height_one(drawn: Any) -> None:
    x, options = drawn
    x = x[:, :, 0]
    line = {name: v[1] if isinstance(v, tuple) else v for name, v in options.items()}
    flat = {name: (0 if name == "padding" else 1, v[1]) if isinstance(v, tuple) else v for name, v in options.items()}
    np.testing.assert_array_equal(
        mg.max_pool1d(x, **line).numpy(), mg.max_pool2d(x[:, :, None], **flat).numpy()[:, :, 0]
    )
    del line["dilation"], flat["dilation"]
    if line["padding"] <= line["kernel_size"] // 2 and x.shape[2] + 2 * line["padding"] >= line["kernel_size"]:
        np.testing.assert_array_equal(
            mg.avg_pool1d(x, **line, count_include_pad=False).numpy(),
            mg.avg_pool2d(x[:, :, None], **flat, count_include_pad=False).numpy()[:, :, 0],
        )


def test_pooling_is_differentiated() -> None:
    x = np.random.default_rng(0).permutation(24).reshape(1, 2, 3, 4) / 4
    check_grads(lambda x: mg.max_pool2d(x, (2, 3), (1, 2), 1), x)
    check_grads(lambda x: mg.max_pool2d(x, 2, ceil_mode=True, dilation=(2, 1)), x)
    check_grads(lambda x: mg.max_pool1d(x, 3, 1, 1), x[:, :, 0])
    check_grads(lambda x: mg.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), x)
    check_grads(lambda x: mg.avg_pool1d(x, 2), x[:, :, 0])
    check_grads(mg.global_avg_pool2d, x)


def test_the_largest_of_a_window_share_and_the_padding_takes_none() -> None:
    x = mg.tensor([[[1.0, 1.0, 0.0, 1.0]]], requires_grad=True)
    assert mg.grad(mg.max_pool1d(x, 2).sum(), x)[0].tolist() == [[[0.5, 0.5, 0, 1]]]
    low = mg.tensor([[[-np.inf, -np.inf]]], requires_grad=True)
    assert mg.grad(mg.max_pool1d(low, 2, padding=1).sum(), low)[0].tolist() == [[[1, 1]]]


def test_nan_wins_and_receives_nothing() -> None:
    x = mg.tensor([[[1.0, np.nan, 0.0, 2.0, np.inf, 3.0]]], requires_grad=True)
    y = mg.max_pool1d(x, 2)
    np.testing.assert_array_equal(y.numpy(), [[[np.nan, 2, np.inf]]])
    assert mg.grad(y.sum(), x)[0].tolist() == [[[0, 0, 0, 1, 1, 0]]]
    np.testing.assert_array_equal(mg.avg_pool1d(x, 2).numpy(), [[[np.nan, 1, np.inf]]])


def test_divisor_override_and_the_mean_of_everything() -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    assert mg.avg_pool2d(x, 2, divisor_override=2).tolist() == [[[[5, 9], [21, 25]]]]
    assert mg.avg_pool2d(x, 4).tolist() == [[[[7.5]]]]
    assert mg.global_avg_pool2d(np.stack([x[0], x[0] + 1])).tolist() == [[7.5], [8.5]]
    assert mg.global_avg_pool2d(x[:0]).shape == (0, 1)


def test_a_window_of_ceil_mode_may_hold_less_than_half_an_image() -> None:
    x = np.arange(2.0).reshape(1, 1, 2)
    assert mg.max_pool1d(x, 3, 2, ceil_mode=True).tolist() == [[[1]]]
    assert mg.avg_pool1d(x, 3, 2, ceil_mode=True).tolist() == [[[0.5]]]


X = np.zeros((2, 3, 5, 5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mg.max_pool2d(X[0], 2), ValueError, r"max_pool2d needs x \(N, C, H, W\), got \(3, 5, 5\)"),
        (lambda: mg.max_pool1d(X, 2), ValueError, r"max_pool1d needs x \(N, C, L\)"),
        (lambda: mg.max_pool2d(X.astype(int), 2), TypeError, "max_pool2d takes floats, got int64"),
        (lambda: mg.max_pool2d(X, 0), ValueError, "at least 1, or two of them, as kernel_size, got 0"),
        (lambda: mg.max_pool2d(X, (2, 2, 2)), ValueError, "kernel_size"),
        (lambda: mg.max_pool2d(X, 6), ValueError, "reaches over 6 does not fit"),
        (lambda: mg.max_pool2d(X, 2, 0), ValueError, "as stride, got 0"),
        (lambda: mg.max_pool2d(X, 2, padding=2), ValueError, "padding of at most half the window's reach 2, got 2"),
        (lambda: mg.max_pool2d(X, 2, padding=-1), ValueError, "as padding, got -1"),
        (lambda: mg.max_pool2d(X, 2, dilation=True), ValueError, "as dilation, got True"),
        (lambda: mg.max_pool2d(X[..., :0], 2, ceil_mode=True), ValueError, "does not fit"),
        (lambda: mg.avg_pool2d(X, 2, divisor_override=0), ValueError, "other than 0 as divisor_override, got 0"),
        (lambda: mg.avg_pool1d(X[0], 2.0), ValueError, "avg_pool1d needs an integer of at least 1 as kernel_size"),
        (lambda: mg.global_avg_pool2d(X[0]), ValueError, r"got \(3, 5, 5\)"),
        (lambda: mg.global_avg_pool2d(X[..., :0]), ValueError, "H and W at least 1"),
    ],
)
def test_pooling_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
