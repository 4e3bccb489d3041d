"""conv2d and conv1d against seven loops, their gradients, and what they refuse."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import kernels, ops
from minigrad.testing import check_grads

from .test_forward import using

pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))


def seven_loops(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    (n, _, height, width), (o, c, kh, kw) = x.shape, weight.shape
    rows = range(0, height - dilation[0] * (kh - 1), stride[0])
    columns = range(0, width - dilation[1] * (kw - 1), stride[1])
    y = np.zeros((n, o, len(rows), len(columns))) + bias[:, None, None]
    for b, k, (i, r), (j, s) in itertools.product(range(n), range(o), enumerate(rows), enumerate(columns)):
        first = k // (o // groups) * c
        for d, u, v in itertools.product(range(c), range(kh), range(kw)):
            y[b, k, i, j] += weight[k, d, u, v] * x[b, first + d, r + u * dilation[0], s + v * dilation[1]]
    return y


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    groups, kernel, dilation, stride = draw(st.integers(1, 3)), draw(pairs), draw(pairs), draw(pairs)
    inside, outside = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    padding = draw(st.one_of(st.integers(0, 2), pairs, st.just("valid"), st.just("same")))
    if padding == "same":
        stride = (1, 1)
    size = [draw(st.integers(d * (k - 1) + 1, 6)) for k, d in zip(kernel, dilation, strict=True)]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = [
        (draw(st.integers(0, 2)), groups * inside, *size),
        (groups * outside, inside, *kernel),
        (groups * outside,),
    ]
    return [random.standard_normal(shape) for shape in shapes], {
        "stride": draw(st.sampled_from([stride, stride[0]])) if stride[0] == stride[1] else stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }


def twice(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def zeros_around(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, int]) -> list[tuple[int, int]]:
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, (total + 1) // 2) for total in totals]
    return [(p, p) for p in twice(0 if padding == "valid" else padding)]


@settings(max_examples=200)
@given(convolutions(), st.sampled_from([np.float32, np.float64]))
def test_conv2d_is_its_seven_loops(drawn: Any, dtype: Any) -> None:
    arrays, options = drawn
    arrays = [a.astype(dtype) for a in arrays]
    padding = zeros_around(options["padding"], arrays[1].shape[2:], options["dilation"])
    wide = [a.astype(np.float64) for a in arrays]
    wanted = seven_loops(*wide, twice(options["stride"]), padding, options["dilation"], options["groups"])
    for target in kernels.targets():
        with using(target):
            y = ops.conv2d(*arrays, **options)
        assert y.shape == wanted.shape
        assert y.dtype == dtype
        np.testing.assert_allclose(
            y.numpy(), wanted, rtol=0, atol=64 * np.finfo(dtype).eps * (1 + abs(wanted).max(initial=0))
        )


@settings(max_examples=10)  # some hundred derivatives each; of what it is made of the second ones are tested, too
@given(convolutions())
def test_conv2d_gradients(drawn: Any) -> None:
    arrays, options = drawn
    check_grads(lambda *a: ops.conv2d(*a, **options), *arrays, order=1)


def test_conv2d_twice_differentiated() -> None:
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(shape) for shape in ((1, 2, 3, 3), (2, 1, 2, 2), (2,))]
    check_grads(lambda *a: ops.conv2d(*a, stride=2, padding=1, groups=2), *arrays)


def test_the_bias_may_be_missing_and_the_images_strided() -> None:
    x = np.random.default_rng(0).standard_normal((2, 8, 9, 3), np.float32)
    weight = np.random.default_rng(1).standard_normal((4, 3, 3, 3), np.float32)
    turned = x.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(
        ops.conv2d(turned, weight, stride=2).numpy(), ops.conv2d(turned.copy(), weight, stride=2).numpy()
    )


X, W = np.zeros((2, 4, 5, 5), np.float32), np.zeros((6, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[0], W), {}, ValueError, "conv2d needs x"),
        ((X, W[0]), {}, ValueError, "conv2d needs x"),
        ((X, W[..., :0]), {}, ValueError, "conv2d needs x"),
        ((X[:, :3], W), {}, ValueError, "groups=1"),
        ((X, W), {"groups": 4}, ValueError, "groups=4"),
        ((X, W), {"groups": 0}, ValueError, "groups=0"),
        ((X, W), {"groups": True}, ValueError, "groups=True"),
        ((X, W, np.zeros(5, np.float32)), {}, ValueError, r"bias of shape \(6,\)"),
        ((X, W.astype(np.float64)), {}, TypeError, "conv2d does not mix float32 and float64"),
        ((X, W, np.zeros(6)), {}, TypeError, "conv2d does not mix float32 and float64"),
        ((X, W), {"stride": 0}, ValueError, "as stride, got 0"),
        ((X, W), {"stride": (1, 2, 3)}, ValueError, "as stride"),
        ((X, W), {"stride": 1.5}, ValueError, "as stride"),
        ((X, W), {"dilation": 0}, ValueError, "as dilation"),
        ((X, W), {"dilation": 3}, ValueError, "reaches over 7 does not fit"),
        ((X, W), {"padding": -1}, ValueError, "as padding"),
        ((X, W), {"padding": "full"}, ValueError, "'full'"),
        ((X, W), {"padding": "same", "stride": 2}, ValueError, "stride 1"),
    ],
)
def test_conv2d_refuses(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mg.conv2d(*arguments, **options)


# Sequences -------------------------------------------------------------------------------------------------


@given(convolutions(), st.sampled_from([np.float32, np.float64]))
def test_conv1d_is_the_seven_loops_of_height_one(drawn: Any, dtype: Any) -> None:
    (x, weight, bias), options = drawn
    x, weight, bias = x[:, :, 0].astype(dtype), weight[:, :, 0].astype(dtype), bias.astype(dtype)
    stride, dilation = (twice(options[name])[1] for name in ("stride", "dilation"))
    padding = options["padding"] if isinstance(options["padding"], str) else twice(options["padding"])[1]
    zeros = [(0, 0), zeros_around(padding, (1, weight.shape[2]), (1, dilation))[1]]
    wide = [a.astype(np.float64) for a in (x[:, :, None], weight[:, :, None], bias)]
    wanted = seven_loops(*wide, (1, stride), zeros, (1, dilation), options["groups"])[:, :, 0]
    y = mg.conv1d(x, weight, bias, stride, padding, dilation, options["groups"])
    assert y.shape == wanted.shape
    assert y.dtype == dtype
    limit = 64 * np.finfo(dtype).eps * (1 + abs(wanted).max(initial=0))
    np.testing.assert_allclose(y.numpy(), wanted, rtol=0, atol=limit)


def test_conv1d_gradients() -> None:
    x, weight, bias = (np.random.default_rng(i).standard_normal(s) for i, s in enumerate([(2, 2, 4), (2, 1, 2), (2,)]))
    check_grads(lambda *a: mg.conv1d(*a, padding="same", dilation=2, groups=2), x, weight, bias)
    check_grads(lambda *a: mg.conv1d(*a, stride=(2,), padding=1, groups=2), x, weight)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, W), {}, r"conv1d needs x \(N, C, L\) and weight \(O, C, k\), got \(2, 4, 5, 5\)"),
        ((X[:, :3, 0], W[:, :, 0]), {}, r"conv1d needs x with as many channels .* got x \(2, 3, 5\)"),
        ((X[:, :, 0], W[:, :, 0], np.zeros(5, np.float32)), {}, r"conv1d needs a bias of shape \(6,\)"),
        (
            (X[:, :, 0], W[:, :, 0]),
            {"stride": (1, 2)},
            r"conv1d needs an integer of at least 1 as stride, got \(1, 2\)",
        ),
        ((X[:, :, 0], W[:, :, 0]), {"padding": -1}, "conv1d needs an integer of at least 0 as padding, got -1"),
        ((X[:, :, 0], W[:, :, 0]), {"padding": "same", "stride": 2}, r"needs stride 1, got \(2,\)"),
    ],
)
def test_conv1d_refuses(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mg.conv1d(*arguments, **options)


def test_what_is_missing_or_no_array_is_named() -> None:
    for x, weight in ((None, np.ones((1, 1, 1, 1))), (np.ones((1, 1, 2, 2)), [[[[1.0]]]])):
        with pytest.raises(TypeError, match=r"take tensors, arrays and numbers, got (NoneType|list)"):
            mg.conv2d(x, weight)
