"""Functions with given parameters, against NumPy, SciPy, Pillow and plain formulas."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from minigrad import random
from minigrad.augmentation import functional as F

Array = NDArray[Any]
DTYPES = (np.uint8, np.float32, np.float64)


def same(a: Array, b: Array) -> None:
    """Bit for bit."""
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def draw(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    return (rng.random(shape) * (255 if dtype == np.uint8 else 1)).astype(dtype)


def smooth(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), [0] * (len(shape) - 2) + [4, 4])
    scaled = (noise - noise.min()) / np.ptp(noise)
    return (scaled * (255 if dtype == np.uint8 else 1)).astype(dtype)


@st.composite
def batches(draw_: Any, channels: tuple[int, ...] = (1, 3, 4)) -> tuple[Array, str, tuple[int, int]]:
    """A batch in one of the layouts, not always contiguous or writable, and the axes of its rows and columns."""
    rng = np.random.default_rng(draw_(st.integers(0, 2**32 - 1)))
    n, h, w, c = (
        draw_(st.integers(0, 3)),
        *draw_(st.tuples(st.integers(1, 9), st.integers(1, 9))),
        draw_(st.sampled_from(channels)),
    )
    layout = draw_(st.sampled_from(("NHW", "NCHW", "NHWC")))
    shape, axes = {"NHW": ((n, h, w), (1, 2)), "NCHW": ((n, c, h, w), (2, 3)), "NHWC": ((n, h, w, c), (1, 2))}[layout]
    x = draw(rng, draw_(st.sampled_from(DTYPES)), *shape)
    form = draw_(st.sampled_from(("plain", "read-only", "backwards", "fortran", "swapped")))
    if form == "backwards":
        x = x[..., ::-1]
    elif form == "fortran":
        x = np.asfortranarray(x)
    elif form == "swapped":
        x = x.astype(x.dtype.newbyteorder())
    x.flags.writeable = False
    return x, layout, axes


NOTHING: dict[str, Any] = {
    "rotate": lambda x, k: F.rotate(x, 0, **k),
    "affine": lambda x, k: F.affine(x, **k),
    "shear": lambda x, k: F.shear(x, (0, 0), **k),
    "translate": lambda x, k: F.translate(x, (0, 0), **k),
    "scale": lambda x, k: F.scale(x, 1, **k),
    "lens_distort": lambda x, k: F.lens_distort(x, **k),
    "brightness": lambda x, k: F.brightness(x, 1, **k),
    "gamma": lambda x, k: F.gamma(x, 1, **k),
    "gaussian_noise": lambda x, k: F.gaussian_noise(x, 0, 0, **k),
    "speckle_noise": lambda x, k: F.speckle_noise(x, 0, 0, **k),
    "salt_and_pepper": lambda x, k: F.salt_and_pepper(x, 0, 0, **k),
    "gaussian_filter": lambda x, k: F.gaussian_filter(x, 0, **k),
    "motion_blur": lambda x, k: F.motion_blur(x, 1, 30, **k),
    "pixelate": lambda x, k: F.pixelate(x, 1, **k),
    "erase": lambda x, k: F.erase(x, 0, 0, 0, 0, **k),
    "flip twice": lambda x, k: F.hflip(F.vflip(F.hflip(F.vflip(x, **k), **k), **k), **k),
    "four quarters": lambda x, k: square(x, k, lambda s: turned(s, k, 4)),
}


def turned(x: Array, k: dict[str, Any], times: int) -> Array:
    for _ in range(times):
        x = F.rotate(x, 90, **k)
    return x


def square(x: Array, k: dict[str, Any], f: Any) -> Array:
    """``f`` of the square that fits; the rest as it was."""
    i, j = (2, 3) if k["layout"] == "NCHW" else (1, 2)
    side = min(x.shape[i], x.shape[j])
    piece = tuple(slice(side) if axis in (i, j) else slice(None) for axis in range(x.ndim))
    out = x.astype(x.dtype.newbyteorder("="))
    out[piece] = f(x[piece])
    return out


@given(batches())
def test_strength_0_changes_no_bit(drawn: Any) -> None:
    x, layout, axes = drawn
    native, k = x.astype(x.dtype.newbyteorder("=")), {"layout": layout}
    for call in NOTHING.values():
        same(call(x, k), native)
    same(F.hflip(x, **k), np.flip(native, axes[1]))
    same(F.vflip(x, **k), np.flip(native, axes[0]))
    same(square(x, k, lambda s: F.rotate(s, 90, **k)), square(x, k, lambda s: np.rot90(s, axes=axes)))
    channels = x.shape[1] if layout == "NCHW" else x.shape[3] if layout == "NHWC" else 1
    if channels in (1, 3):
        for call in (lambda: F.contrast(x, 1, **k), lambda: F.saturation(x, 1, **k), lambda: F.hue(x, 0, **k)):
            same(call(), native)
    else:
        for function in (F.contrast, F.saturation, F.hue, F.jpeg):
            with pytest.raises(ValueError, match="takes images of 1 or 3 channels, got 4"):
                function(x, 0.5, **k)


@given(
    batches(),
    st.integers(-9, 9),
    st.integers(-9, 9),
    st.sampled_from(("constant", "edge", "reflect", "symmetric", "wrap")),
)
def test_a_crop_is_a_slice_of_the_padded_images(drawn: Any, top: int, left: int, mode: str) -> None:
    x, layout, axes = drawn
    widths = [(20, 20) if axis in axes else (0, 0) for axis in range(x.ndim)]
    padded = np.pad(x.astype(x.dtype.newbyteorder("=")), widths, mode)  # type: ignore[call-overload]
    for axis, start, length in zip(axes, (top, left), (5, 3), strict=True):
        padded = padded.take(np.arange(20 + start, 20 + start + length), axis)
    same(F.crop(x, top, left, 5, 3, padding_mode=mode, layout=layout), padded)
    moved = F.translate(x, (-left, -top), padding_mode=mode, layout=layout)
    rows = [min(n, 5 if axis == axes[0] else 3 if axis == axes[1] else n) for axis, n in enumerate(x.shape)]
    corner = tuple(slice(n) for n in rows)
    same(moved[corner], padded[corner])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_non_square_images_transform_as_their_transpose(interpolation: str) -> None:
    x = draw(np.random.default_rng(0), np.float32, 2, 3, 17, 26)
    options: Any = {"interpolation": interpolation, "padding_mode": "edge"}
    turned = F.rotate(x.swapaxes(2, 3), [-20.3, 31.7], **options).swapaxes(2, 3)
    np.testing.assert_allclose(F.rotate(x, [20.3, -31.7], **options), turned, atol=1e-4)
    lens = F.lens_distort(x.swapaxes(2, 3), 0.2, -0.1, 0.02, 0.01, 0.05, **options).swapaxes(2, 3)
    np.testing.assert_allclose(F.lens_distort(x, 0.2, -0.1, 0.01, 0.02, 0.05, **options), lens, atol=1e-4)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_turn_and_another_are_one_by_the_sum(interpolation: str) -> None:
    x = smooth(np.random.default_rng(1), np.float32, 2, 1, 64, 64)
    twice = F.rotate(F.rotate(x, 17, interpolation=interpolation), 25, interpolation=interpolation)
    once = F.rotate(x, 42, interpolation=interpolation)
    inner = (..., slice(20, 44), slice(20, 44))
    assert np.abs(twice[inner] - once[inner]).max() < 0.01
    assert np.abs(x[inner] - once[inner]).max() > 0.1


WARPS: dict[str, Any] = {
    "affine": lambda x, k: F.affine(x, 20, (1.5, -2), 1.2, (10, -5), **k),
    "perspective": lambda x, k: F.perspective(
        x, [[0, 0], [30, 0], [30, 22], [0, 22]], [[3, 1], [28, 4], [27, 20], [1, 21]], **k
    ),
    "lens": lambda x, k: F.lens_distort(x, 0.3, 0.1, 0.02, -0.03, 0.01, **k),
    "warp": lambda x, k: F.warp(x, F.elastic_field(3, 2, (23, 31), 20, 3), **k),
    "resized_crop": lambda x, k: F.resized_crop(x, 2, 3, 14, 20, (23, 31), **k),
    "brightness": lambda x, k: F.brightness(x, [0.7, 1.4]),
    "contrast": lambda x, k: F.contrast(x, [0.5, 1.5]),
    "saturation": lambda x, k: F.saturation(x, [0.2, 1.5]),
    "hue": lambda x, k: F.hue(x, [0.2, -0.3]),
    "grayscale": lambda x, k: F.grayscale(x),
    "invert": lambda x, k: F.invert(x),
    "gamma": lambda x, k: F.gamma(x, [0.6, 2], 0.9),
    "autocontrast": lambda x, k: F.autocontrast(x),
    "equalize": lambda x, k: F.equalize(x),
    "gaussian_filter": lambda x, k: F.gaussian_filter(x, [0.7, 2]),
    "motion_blur": lambda x, k: F.motion_blur(x, [5, 3], [30, 100]),
    "gaussian_noise": lambda x, k: F.gaussian_noise(x, 5, 0.1),
    "speckle_noise": lambda x, k: F.speckle_noise(x, 5, 0.1),
    "salt_and_pepper": lambda x, k: F.salt_and_pepper(x, 5, 0.2),
    "shot_noise": lambda x, k: F.shot_noise(x, 5, 100),
    "pixelate": lambda x, k: F.pixelate(x, [3, 4]),
    "erase": lambda x, k: F.erase(x, [2, 3], 4, 5, 6),
    "jpeg": lambda x, k: F.jpeg(x, [30, 90]),
}


@pytest.mark.parametrize("name", WARPS)
def test_bytes_and_floats_agree_to_a_level(target: str, name: str) -> None:
    """And a batch of N is N batches of 1; nothing is written into the input."""
    x = draw(np.random.default_rng(2), np.uint8, 2, 3, 23, 31)
    before = x.copy()
    got = WARPS[name](x, {})
    floats = WARPS[name]((x / 255).astype(np.float32), {})
    doubles = WARPS[name](x / 255, {})
    same(x, before)
    assert (got.dtype, floats.dtype, doubles.dtype) == (np.uint8, np.float32, np.float64)
    assert np.abs(got - floats * 255.0).max() <= 1.001
    assert np.abs(floats - doubles).max() <= (1e-4 if name != "shot_noise" else 1.5e-2)
    assert (got != x).any()


def kept(x: Array) -> Array:
    return np.clip(np.rint(x), 0, 255)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_levels_are_those_of_pillow(seed: int, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.minimum(draw(rng, np.uint8, 1, h, w, 3), rng.integers(1, 256)).astype(np.uint8)
    image, k = Image.fromarray(x[0]), {"layout": "NHWC"}
    same(F.posterize(x, 3, **k)[0], np.asarray(ImageOps.posterize(image, 3)))
    same(F.solarize(x, 100, **k)[0], np.asarray(ImageOps.solarize(image, 100)))
    same(F.invert(x, **k)[0], np.asarray(ImageOps.invert(image)))
    same(F.equalize(x, **k)[0], np.asarray(ImageOps.equalize(image)))
    assert np.abs(F.autocontrast(x, **k)[0].astype(int) - np.asarray(ImageOps.autocontrast(image))).max() <= 1
    same(F.brightness(x, 1.3, **k), kept(x * np.float32(1.3)).astype(np.uint8))
    grey = x @ np.array([0.299, 0.587, 0.114])
    assert np.abs(F.saturation(x, 0.4, **k) - kept(0.4 * x + 0.6 * grey[..., None])).max() <= 1
    assert np.abs(F.contrast(x, 1.6, **k) - kept(1.6 * x - 0.6 * grey.mean())).max() <= 1


def test_filters_and_coarse_pixels() -> None:
    x = draw(np.random.default_rng(4), np.float64, 1, 31, 40)
    wanted = ndimage.gaussian_filter(x[0], 1.5, mode="mirror", truncate=4)
    np.testing.assert_allclose(F.gaussian_filter(x, 1.5)[0], wanted, atol=1e-6)
    line = np.ones((1, 5)) / 5
    np.testing.assert_allclose(F.motion_blur(x, 5)[0], ndimage.correlate(x[0], line, mode="mirror"), atol=1e-6)
    np.testing.assert_allclose(
        F.motion_blur(x, 5, 90)[0], F.motion_blur(x.swapaxes(1, 2), 5).swapaxes(1, 2)[0], atol=1e-6
    )
    coarse = F.pixelate(x[:, :28, :36], 4)[0]
    np.testing.assert_allclose(coarse, x[0, :28, :36].reshape(7, 4, 9, 4).mean((1, 3)).repeat(4, 0).repeat(4, 1))
    erased = F.erase(x, 3, -2, 4, 7, value=0.5)[0]
    assert (erased[3:7, :5] == 0.5).all()
    assert (erased != x[0]).sum() == 20


def test_noise_is_what_it_says() -> None:
    grey = np.full((1, 300, 300), 0.5)
    z = (F.gaussian_noise(grey, 1, 0.1) - 0.5) / 0.1
    assert abs(z.mean()) < 0.015
    assert abs(z.std() - 1) < 0.01
    assert abs((z**4).mean() - 3) < 0.1
    shot = F.shot_noise(grey, 1, 200) * 200
    assert abs(shot.mean() - 100) < 0.2
    assert abs(shot.var() - 100) < 2
    pepper = F.salt_and_pepper(np.broadcast_to(grey[:, None], (1, 3, 300, 300)), 1, 0.3)
    assert (pepper == pepper[:, :1]).all()
    assert abs((pepper == 0).mean() - 0.15) < 0.01
    assert abs((pepper == 1).mean() - 0.15) < 0.01
    field = F.elastic_field(1, 4, (200, 200), 50, 5)
    rms = np.sqrt((field**2).mean())
    assert abs(rms / (50 / (np.sqrt(3) * 5 * np.sqrt(4 * np.pi))) - 1) < 0.1
    assert abs(np.corrcoef(field[:, 0].ravel(), field[:, 1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 3, 0, 5), (2, 3, 5, 0), (1, 3, 1, 1), (0, 1, 0, 0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_or_one_pixel_works_or_says_so(shape: tuple[int, ...], dtype: Any) -> None:
    x = np.zeros(shape, dtype)
    k: Any = {"layout": "NCHW"}
    for name in NOTHING:
        same(NOTHING[name](x, k), x)
    for call in (
        lambda: F.jpeg(x, 50, **k), lambda: F.equalize(x, **k), lambda: F.autocontrast(x, **k),
        lambda: F.hue(x, 0.1, **k), lambda: F.contrast(x, 2, **k),
        lambda: F.posterize(x, 8, **k), lambda: F.pixelate(x, 3, **k),
    ):  # fmt: skip
        same(call(), x)
    if 0 in shape[2:] and shape[0]:
        with pytest.raises(ValueError, match="images without pixels"):
            F.crop(x, 0, 0, 2, 2, **k)
    else:
        assert F.crop(x, 0, 0, 2, 2, **k).shape == (*shape[:2], 2, 2)


X = np.zeros((2, 3, 8, 8), np.uint8)
BAD: list[tuple[Any, Any, str]] = [
    (lambda: F.hflip(X.astype(int)), TypeError, "images must be uint8, float32 or float64, got int64"),
    (lambda: F.hflip(X[0, 0]), ValueError, r"images must be \(N, H, W\), .* got shape \(8, 8\)"),
    (lambda: F.hflip(np.zeros((2, 3, 8, 3))), ValueError, "both the second and the last axis"),
    (lambda: F.hflip(np.zeros((2, 8, 8, 8))), ValueError, "neither the second nor the last axis"),
    (lambda: F.hflip(X, layout="CHW"), ValueError, "layout must be 'NHW', 'NCHW' or 'NHWC', got 'CHW'"),
    (lambda: F.hflip(X, layout="NHW"), ValueError, "images of layout NHW have 3 axes"),
    (lambda: F.rotate(X, [1, 2, 3]), ValueError, "angle must be one number, or such for each of the 2 images"),
    (lambda: F.rotate(X, np.nan), ValueError, "angle must be finite, got nan"),
    (lambda: F.rotate(X, "30"), TypeError, "angle must be numbers, got '30'"),
    (lambda: F.rotate(X, 3, interpolation="cubic"), ValueError, "interpolation must be one of nearest, bilinear"),
    (lambda: F.rotate(X, 3, padding_mode="mirror"), ValueError, "padding_mode must be one of constant, edge, reflect"),
    (lambda: F.rotate(X, 3, fill=300), ValueError, "fill must lie between 0 and 255"),
    (lambda: F.rotate(X, 3, fill="0"), TypeError, "fill must be a number"),
    (lambda: F.affine(X, scale=0), ValueError, "scale must be positive"),
    (lambda: F.affine(X, shear=(90, 0)), ValueError, "shear must lie between -90 and 90"),
    (lambda: F.crop(X, 0.5, 0, 2, 2), ValueError, "top and left must be whole"),
    (lambda: F.crop(X, 0, 0, 0, 2), ValueError, "must be one or two positive integers"),
    (lambda: F.resized_crop(X, 0, 0, 0, 2, 4), ValueError, "height and width must be positive"),
    (lambda: F.perspective(X, [[0, 0]] * 4, [[0, 0]] * 4), ValueError, "no three lie on a line"),
    (lambda: F.warp(X, np.zeros((2, 8, 7))), ValueError, r"field must be numbers of shape \(2, 8, 8\)"),
    (lambda: F.lens_distort(X, focal=0), ValueError, "focal must be positive"),
    (lambda: F.gaussian_filter(X, -1), ValueError, "sigma must lie between 0 and 1000"),
    (lambda: F.motion_blur(X, -1), ValueError, "length must lie between 0 and 1000"),
    (lambda: F.brightness(X, -1), ValueError, "factor must not be negative"),
    (lambda: F.hue(X, 0.7), ValueError, "turns must lie between -0.5 and 0.5"),
    (lambda: F.posterize(X, 9), ValueError, "bits must be whole numbers from 0 to 8"),
    (lambda: F.jpeg(X, 0), ValueError, "quality must be whole numbers from 1 to 100"),
    (lambda: F.pixelate(X, 0), ValueError, "size must be whole numbers from 1"),
    (lambda: F.shot_noise(X, 0, 0), ValueError, "photons must be positive"),
    (lambda: F.gaussian_noise(X, random.keys(0, 0, [1])), ValueError, "rng has keys for 1 images, the batch has 2"),
    (lambda: F.gaussian_noise(X, "rng"), TypeError, "rng must be minigrad.random.keys"),
    (lambda: F.erase(X, 0, 0, 1, 1, 256), ValueError, "value must lie between 0 and 255"),
    (lambda: F.elastic_field(0, 2, 8, sigma=-1), ValueError, "sigma must not be negative"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "says"), BAD)
def test_bad_arguments_are_named(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()
