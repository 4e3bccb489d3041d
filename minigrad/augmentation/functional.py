"""Every augmentation with its parameters given: batches of images in, batches of the same dtype out.

Images are uint8 or floats, (N, H, W), (N, C, H, W) or (N, H, W, C): see ``layout_of`` for how they are told apart,
``layout=`` to say so.  A parameter is one for the whole batch, or has one entry for each image.  Nothing is written
into the input.  Colours of floats lie in [0, 1], those of bytes in [0, 255].
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels.launch import empty_array, launch
from ..random import Generator, Keys, as_keys
from . import geometry as g
from .layout import Array, Batch, pair, per_image, top_of
from .layout import layout_of as layout_of

Float64 = NDArray[np.float64]


def _resampled(batch: Batch, stage: Any, size: tuple[int, int] | None, sampling: g.Sampling) -> Array:
    rows, columns = batch.planes.shape[2:]
    return batch.back(g.Geometry((stage,), size or (rows, columns)).resample(batch.planes, sampling))


# Geometry -----------------------------------------------------------------------------------------------


def hflip(images: ArrayLike, *, layout: str | None = None) -> Array:
    """Left and right exchanged."""
    return _windowed(images, layout, (0, 0, 0, 1))


def vflip(images: ArrayLike, *, layout: str | None = None) -> Array:
    """Top and bottom exchanged."""
    return _windowed(images, layout, (0, 0, 1, 0))


def _windowed(images: ArrayLike, layout: str | None, window: tuple[int, ...]) -> Array:
    batch = Batch.of(images, layout)
    out = empty_array(batch.planes.shape, batch.planes.dtype)
    if out.size:
        launch("crop", (out, batch.planes, np.tile(np.array(window), (len(out), 1))), (0, 0))
    return batch.back(out)


def crop(
    images: ArrayLike,
    top: Any,
    left: Any,
    height: int,
    width: int,
    *,
    padding_mode: str = "constant",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """Windows of ``height`` rows and ``width`` columns; ``top`` and ``left`` are whole and may lie outside."""
    batch = Batch.of(images, layout)
    corner = np.stack([per_image(name, v, len(batch.planes)) for name, v in (("top", top), ("left", left))], 1)
    if (corner != np.rint(corner)).any():
        raise ValueError(f"top and left must be whole numbers of pixels, got {top!r} and {left!r}")
    return _resampled(
        batch, _shift(corner), pair("height, width", (height, width)), g.Sampling("nearest", padding_mode, fill)
    )


def _shift(corner: Float64) -> Float64:
    matrix = np.tile(np.eye(3), (len(corner), 1, 1))
    matrix[:, :2, 2] = corner[:, ::-1]
    return matrix


def resized_crop(
    images: ArrayLike,
    top: Any,
    left: Any,
    height: Any,
    width: Any,
    size: int | tuple[int, int],
    *,
    interpolation: str = "bilinear",
    padding_mode: str = "edge",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """Windows resampled to ``size`` (rows, columns); pixels are areas, and there is no antialiasing."""
    batch = Batch.of(images, layout)
    n, size = len(batch.planes), pair("size", size)
    window = np.stack(
        [per_image(k, v, n) for k, v in (("top", top), ("left", left), ("height", height), ("width", width))], 1
    )
    if (window[:, 2:] <= 0).any():
        raise ValueError(f"height and width must be positive, got {height!r} and {width!r}")
    return _resampled(batch, resized_matrix(window, size), size, g.Sampling(interpolation, padding_mode, fill))


def resized_matrix(window: Float64, size: tuple[int, int]) -> Float64:
    """From a result of ``size`` to the windows (top, left, height, width), (N, 3, 3)."""
    scale = window[:, 2:] / np.array(size)
    matrix = _shift(window[:, :2] + (scale - 1) / 2)
    matrix[:, [0, 1], [0, 1]] = scale[:, ::-1]
    return matrix


def rotate(
    images: ArrayLike,
    angle: Any,
    *,
    interpolation: str = "bilinear",
    center: Any = None,
    padding_mode: str = "constant",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """Turned counter-clockwise by ``angle`` degrees around ``center`` (x, y), by default the middle.

    A square image turned by 90 degrees is ``numpy.rot90``, bit for bit.
    """
    batch = Batch.of(images, layout)
    angle = per_image("angle", angle, len(batch.planes))
    return _affine(batch, -angle, (0, 0), 1, (0, 0), center, g.Sampling(interpolation, padding_mode, fill))


def affine(
    images: ArrayLike,
    angle: Any = 0.0,
    translate: Any = (0.0, 0.0),
    scale: Any = 1.0,
    shear: Any = (0.0, 0.0),
    *,
    interpolation: str = "bilinear",
    center: Any = None,
    padding_mode: str = "constant",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """Sheared by ``shear`` (x, y) degrees, turned by ``angle`` degrees, clockwise here, scaled, and moved.

    ``translate`` (x, y) is in pixels.  All as torchvision's function of this name has it, by default around the middle.
    """
    batch = Batch.of(images, layout)
    return _affine(batch, angle, translate, scale, shear, center, g.Sampling(interpolation, padding_mode, fill))


def _affine(
    batch: Batch, angle: Any, translate: Any, scale: Any, shear: Any, center: Any, sampling: g.Sampling
) -> Array:
    n, size = len(batch.planes), (batch.planes.shape[2], batch.planes.shape[3])
    scale, shear = per_image("scale", scale, n), per_image("shear", shear, n, (2,))
    if (scale <= 0).any():
        raise ValueError("scale must be positive")
    if (np.abs(shear) >= 90).any():
        raise ValueError("shear must lie between -90 and 90 degrees")
    centre = None if center is None else per_image("center", center, n, (2,))
    translate = per_image("translate", translate, n, (2,))
    matrix = g.affine_matrix(size, per_image("angle", angle, n), translate, scale, shear, centre)
    return _resampled(batch, matrix, None, sampling)


def shear(images: ArrayLike, shear: Any, **options: Any) -> Array:
    """Sheared by (x, y) degrees: ``affine`` with its other parameters left out; same options."""
    return affine(images, shear=shear, **options)


def translate(images: ArrayLike, translate: Any, **options: Any) -> Array:
    """Moved by (x, y) pixels: ``affine`` with its other parameters left out; same options."""
    return affine(images, translate=translate, **options)


def scale(images: ArrayLike, scale: Any, **options: Any) -> Array:
    """Enlarged by a factor in a frame that stays: ``affine`` with its other parameters left out; same options."""
    return affine(images, scale=scale, **options)


def perspective(
    images: ArrayLike,
    startpoints: Any,
    endpoints: Any,
    *,
    interpolation: str = "bilinear",
    padding_mode: str = "constant",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """The plane map that takes four points (4, 2), each (x, y), of the images to four points of the results."""
    batch = Batch.of(images, layout)
    n = len(batch.planes)
    corners = (per_image("startpoints", startpoints, n, (4, 2)), per_image("endpoints", endpoints, n, (4, 2)))
    matrix = g.perspective_matrix(*corners)
    return _resampled(batch, matrix, None, g.Sampling(interpolation, padding_mode, fill))


def warp(
    images: ArrayLike,
    field: ArrayLike,
    *,
    interpolation: str = "bilinear",
    padding_mode: str = "constant",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """Each pixel p of a result from p + field(p): displacements (dx, dy) in pixels, (2, H, W) or (N, 2, H, W)."""
    batch = Batch.of(images, layout)
    n, shape, pixels = len(batch.planes), (2, *batch.planes.shape[2:]), np.asarray(field)
    if pixels.dtype.kind not in "iuf" or pixels.shape not in (shape, (n, *shape)):
        raise ValueError(f"field must be numbers of shape {shape} or {(n, *shape)}, got {pixels.dtype} {pixels.shape}")
    pixels = np.broadcast_to(pixels, (n, *shape)).astype(np.float32, copy=False)
    return _resampled(batch, g.Field(pixels), None, g.Sampling(interpolation, padding_mode, fill))


def lens_numbers(k: Float64, size: tuple[int, int], focal: Any = None, center: Any = None) -> Float64:
    """Of k1, k2, p1, p2, k3 (N, 5), with focal lengths and centre, what the kernel takes: (N, 9)."""
    numbers = np.empty((len(k), 9))
    numbers[:, :5] = k
    numbers[:, 5:7] = per_image("focal", max(*size, 1) if focal is None else focal, len(k))[:, None]
    if (numbers[:, 5] <= 0).any():
        raise ValueError(f"focal must be positive, got {focal!r}")
    numbers[:, 7:] = per_image("center", g.middle(size) if center is None else center, len(k), (2,))
    return numbers


def lens_distort(
    images: ArrayLike,
    k1: Any = 0.0,
    k2: Any = 0.0,
    p1: Any = 0.0,
    p2: Any = 0.0,
    k3: Any = 0.0,
    *,
    focal: Any = None,
    center: Any = None,
    interpolation: str = "bilinear",
    padding_mode: str = "constant",
    fill: float = 0.0,
    layout: str | None = None,
) -> Array:
    """Brown's lens (1966), OpenCV's order of numbers: the pixel at (u, v) comes, with r² = u² + v², from ::

        u (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 u v + p2 (r² + 2 u²)
        v (1 + k1 r² + k2 r⁴ + k3 r⁶) + p1 (r² + 2 v²) + 2 p2 u v

    u and v are counted from ``center`` (x, y), by default the middle, in units of ``focal`` pixels, by default the
    longer side.  Positive k1 bends lines outwards (a barrel), negative inwards (a pincushion).
    """
    batch = Batch.of(images, layout)
    n, size = len(batch.planes), (batch.planes.shape[2], batch.planes.shape[3])
    given = (("k1", k1), ("k2", k2), ("p1", p1), ("p2", p2), ("k3", k3))
    k = np.stack([per_image(name, value, n) for name, value in given], 1)
    lens = g.Lens(lens_numbers(k, size, focal, center))
    return _resampled(batch, lens, None, g.Sampling(interpolation, padding_mode, fill))


def elastic_field(
    rng: Keys | Generator | int | None, n: int, size: int | tuple[int, int], alpha: Any = 50.0, sigma: Any = 5.0
) -> NDArray[np.float32]:
    """Smooth random displacements (N, 2, rows, columns) in pixels, for ``warp``.

    ``alpha`` times uniform noise in [-1, 1), smoothed by a Gaussian of ``sigma`` pixels (Simard, Steinkraus and Platt
    2003): about 0.33 alpha / sigma of root mean square.  torchvision's alpha is twice as large for the same field.
    """
    keys, (rows, columns) = as_keys(rng, n), pair("size", size)
    amount, smooth = per_image("alpha", alpha, n), per_image("sigma", sigma, n)
    if (smooth < 0).any():
        raise ValueError(f"sigma must not be negative, got {sigma!r}")
    drawn = empty_array((n, 2, rows, columns), np.dtype(np.float32))
    launch("noise", (drawn, np.zeros_like(drawn), keys.words, amount), (3, -np.inf, np.inf))
    return blurred(drawn, smooth, "constant")


# Filters --------------------------------------------------------------------------------------------------


def gaussian_taps(sigma: Float64) -> NDArray[np.float32]:
    """Weights (N, 2 r + 1) up to four sigmas, of the sum 1; a single 1 where sigma is 0."""
    radius = int(np.ceil(4 * sigma.max(initial=0)))
    at = np.arange(-radius, radius + 1)
    wide = np.maximum(sigma, 1e-6)[:, None]
    weights = np.where(np.abs(at) <= np.maximum(np.ceil(4 * wide), 0), np.exp(-0.5 * (at / wide) ** 2), 0)
    taps: NDArray[np.float32] = (weights / np.cumsum(weights, 1)[:, -1:]).astype(np.float32)
    return taps


def blurred(planes: Array, sigma: Float64, padding_mode: str) -> Array:
    """Planes (N, C, rows, columns) smoothed by Gaussians, images of sigma 0 as they are."""
    taps, out = gaussian_taps(sigma), empty_array(planes.shape, planes.dtype)
    if planes.dtype == np.float64:
        taps = taps.astype(np.float64)
    if out.size:
        launch("filter", (out, planes, taps[:, :, None], taps[:, None, :]), (g.PADDING_MODES[padding_mode], 0))
    return out


def gaussian_filter(
    images: ArrayLike, sigma: Any, *, padding_mode: str = "reflect", layout: str | None = None
) -> Array:
    """Smoothed by a Gaussian of ``sigma`` pixels, cut off at four sigmas."""
    batch = Batch.of(images, layout)
    smooth = per_image("sigma", sigma, len(batch.planes))
    if (smooth < 0).any() or (smooth > 1000).any():
        raise ValueError(f"sigma must lie between 0 and 1000, got {sigma!r}")
    return batch.back(blurred(batch.planes, smooth, g.Sampling("nearest", padding_mode).padding_mode))


def motion_taps(length: Float64, angle: Float64) -> NDArray[np.float32]:
    """Weights (N, K, K) of straight paths of ``length`` pixels, turned counter-clockwise by ``angle`` degrees.

    A pixel's weight is its share of the places on the path that it is nearest to, eight for each pixel of length.
    """
    radius = int(np.ceil(max(length.max(initial=0) / 2 - 0.5, 0)))
    taps = np.zeros((len(length), 2 * radius + 1, 2 * radius + 1))
    (c, s), steps = g.cos_sin(angle), 8 * np.maximum(np.ceil(length), 1)
    for k in range(int(steps.max(initial=0))):
        n = np.flatnonzero(k < steps)
        at = ((k + 0.5) / steps[n] - 0.5) * length[n]
        i, j = (np.clip(np.rint(v), -radius, radius).astype(np.int64) + radius for v in (-at * s[n], at * c[n]))
        taps[n, i, j] += 1
    weights: NDArray[np.float32] = (taps / steps[:, None, None]).astype(np.float32)
    return weights


def motion_blur(
    images: ArrayLike, length: Any, angle: Any = 0.0, *, padding_mode: str = "reflect", layout: str | None = None
) -> Array:
    """The mean along a straight path of ``length`` pixels, ``angle`` degrees counter-clockwise from the right."""
    batch = Batch.of(images, layout)
    n, out = len(batch.planes), empty_array(batch.planes.shape, batch.planes.dtype)
    size, turned = per_image("length", length, n), per_image("angle", angle, n)
    if (size < 0).any() or (size > 1000).any():
        raise ValueError(f"length must lie between 0 and 1000 pixels, got {length!r}")
    border = g.PADDING_MODES[g.Sampling("nearest", padding_mode).padding_mode]
    dtype = np.float64 if out.dtype == np.float64 else np.float32
    if out.size:
        taps = np.ascontiguousarray(motion_taps(size, turned), dtype)
        launch("filter", (out, batch.planes, taps, np.ones((n, 1, 1), dtype)), (border, 0))
    return batch.back(out)


# Colours ----------------------------------------------------------------------------------------------------

LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue in grey: ITU-R BT.601


def _recoloured(batch: Batch, matrix: Float64) -> Array:
    """Channels through matrices (N, C, D + 1), within black and white."""
    planes = batch.planes
    out = empty_array((planes.shape[0], matrix.shape[1], *planes.shape[2:]), planes.dtype)
    if out.size:
        launch("recolor", (out, planes, np.ascontiguousarray(matrix)), (0, top_of(planes)))
    return batch.back(out)


def _scaled(batch: Batch, scale: Float64, offset: Any) -> Array:
    """All channels of each image times ``scale`` (N,), plus ``offset``."""
    n, channels, rows, columns = batch.planes.shape
    flat = Batch(batch.planes.reshape(n, 1, channels * rows, columns), "NCHW")
    matrix = np.stack([scale, np.broadcast_to(offset, scale.shape)], 1)[:, None]
    return batch.back(_recoloured(flat, matrix).reshape(batch.planes.shape))


def _channels(batch: Batch, what: str) -> int:
    channels = batch.planes.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"{what} takes images of 1 or 3 channels, got {channels}")
    return int(channels)


def _factor(name: str, value: Any, n: int) -> Float64:
    factor = per_image(name, value, n)
    if (factor < 0).any():
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return factor


def brightness(images: ArrayLike, factor: Any, *, layout: str | None = None) -> Array:
    """All values times ``factor``: 0 is black, 1 changes nothing."""
    batch = Batch.of(images, layout)
    return _scaled(batch, _factor("factor", factor, len(batch.planes)), 0.0)


def contrast(images: ArrayLike, factor: Any, *, layout: str | None = None) -> Array:
    """Away from the image's mean grey by ``factor``: 0 is that grey, 1 changes nothing."""
    batch = Batch.of(images, layout)
    planes, scale = batch.planes, _factor("factor", factor, len(batch.planes))
    weights = LUMA if _channels(batch, "contrast") == 3 else np.ones(1)
    n, channels, rows, columns = planes.shape
    means = planes.astype(np.float64).reshape(n * channels, rows * columns).sum(1).reshape(n, channels) / max(
        rows * columns, 1
    )
    mean = np.cumsum(means * weights, 1)[:, -1]  # in one order, whatever the batch
    return _scaled(batch, scale, (1 - scale) * mean)


def saturation(images: ArrayLike, factor: Any, *, layout: str | None = None) -> Array:
    """Away from its own grey each pixel goes by ``factor``: 0 is grey, 1 changes nothing; grey images stay."""
    batch = Batch.of(images, layout)
    scale, channels = _factor("factor", factor, len(batch.planes)), _channels(batch, "saturation")
    matrix = np.zeros((len(scale), channels, channels + 1))
    matrix[:, :, :channels] = scale[:, None, None] * np.eye(channels)
    matrix[:, :, :channels] += (1 - scale)[:, None, None] * (LUMA if channels == 3 else np.ones(1))
    return _recoloured(batch, matrix)


def hue(images: ArrayLike, turns: Any, *, layout: str | None = None) -> Array:
    """The hue (of HSV) moved on by ``turns``, -0.5 to 0.5; grey images stay."""
    batch = Batch.of(images, layout)
    by = per_image("turns", turns, len(batch.planes))
    if (np.abs(by) > 0.5).any():
        raise ValueError(f"turns must lie between -0.5 and 0.5, got {turns!r}")
    if _channels(batch, "hue") == 1 or not batch.planes.size:
        return batch.back(batch.planes)
    out = empty_array(batch.planes.shape, batch.planes.dtype)
    launch("hue", (out, batch.planes, by), ())
    return batch.back(out)


def grayscale(images: ArrayLike, *, layout: str | None = None) -> Array:
    """0.299 red + 0.587 green + 0.114 blue, in all three channels; grey images stay."""
    return saturation(images, 0.0, layout=layout)


def invert(images: ArrayLike, *, layout: str | None = None) -> Array:
    """White minus the image."""
    batch = Batch.of(images, layout)
    return _scaled(batch, np.full(len(batch.planes), -1.0), top_of(batch.planes))


def _levels(batch: Batch, table: Array, floats: Any) -> Array:
    """Bytes through tables (N, C or 1, 256); floats through a function."""
    planes = batch.planes
    if planes.dtype != np.uint8:
        return batch.back(np.asarray(floats(planes), planes.dtype))
    table = np.ascontiguousarray(np.broadcast_to(table, (*planes.shape[:2], 256)), np.uint8)
    out = empty_array(planes.shape, planes.dtype)
    if out.size:
        launch("recode", (out, planes, table), ())
    return batch.back(out)


def gamma(images: ArrayLike, gamma: Any, gain: Any = 1.0, *, layout: str | None = None) -> Array:
    """gain x^gamma, with white at 1."""
    batch = Batch.of(images, layout)
    power, scale = (_factor(k, v, len(batch.planes))[:, None, None] for k, v in (("gamma", gamma), ("gain", gain)))
    table = np.rint(np.clip(scale * (np.arange(256) / 255) ** power, 0, 1) * 255)

    def floats(x: Array) -> Array:
        same = (power == 1) & (scale == 1)
        changed = np.clip(scale[..., None] * np.maximum(x, 0) ** power[..., None], 0, 1)
        return np.where(same[..., None], x, changed)

    return _levels(batch, table, floats)


def posterize(images: ArrayLike, bits: Any, *, layout: str | None = None) -> Array:
    """Only the ``bits``, 0 to 8, highest bits of each value are kept; of floats, as many levels."""
    batch = Batch.of(images, layout)
    kept = per_image("bits", bits, len(batch.planes))[:, None, None]
    if not np.isin(kept, np.arange(9)).all():
        raise ValueError(f"bits must be whole numbers from 0 to 8, got {bits!r}")
    step = 2 ** (8 - kept)

    def floats(x: Array) -> Array:
        levels = 2 ** kept[..., None]
        return np.clip(np.floor(x * levels), 0, levels - 1) / levels

    return _levels(batch, np.arange(256) // step * step, floats)


def solarize(images: ArrayLike, threshold: Any, *, layout: str | None = None) -> Array:
    """Values from ``threshold`` on, in the unit of the pixels, are inverted."""
    batch = Batch.of(images, layout)
    least, levels = per_image("threshold", threshold, len(batch.planes))[:, None, None], np.arange(256)
    return _levels(
        batch, np.where(levels >= least, 255 - levels, levels), lambda x: np.where(x >= least[..., None], 1 - x, x)
    )


def autocontrast(images: ArrayLike, *, layout: str | None = None) -> Array:
    """Each channel stretched from black to white; one of a single value stays."""
    batch = Batch.of(images, layout)
    n, channels, rows, columns = batch.planes.shape
    if not batch.planes.size:
        return batch.back(batch.planes)
    least, most = batch.planes.min((2, 3)).astype(float).ravel(), batch.planes.max((2, 3)).astype(float).ravel()
    range_ = np.where(most > least, most - least, 1)
    scale = np.where(most > least, top_of(batch.planes) / range_, 1)
    flat = Batch(batch.planes.reshape(n * channels, 1, rows, columns), "NCHW")
    matrix = np.stack([scale, np.where(most > least, -least * scale, 0)], 1)[:, None]
    return batch.back(_recoloured(flat, matrix).reshape(batch.planes.shape))


def equalize(images: ArrayLike, *, layout: str | None = None) -> Array:
    """Each channel with its 256 levels spread to be about as frequent, as Pillow does; floats by their levels."""
    batch = Batch.of(images, layout)
    planes = batch.planes
    if not planes.size:
        return batch.back(planes)
    levels = planes if planes.dtype == np.uint8 else np.rint(np.clip(planes, 0, 1) * 255).astype(np.uint8)
    n, channels = planes.shape[:2]
    at = levels.reshape(n * channels, -1) + np.arange(n * channels)[:, None] * 256
    counts = np.bincount(at.ravel(), minlength=n * channels * 256).reshape(n, channels, 256)
    last = np.take_along_axis(counts, 255 - (counts[..., ::-1] > 0).argmax(-1)[..., None], -1)
    step = (counts.sum(-1, keepdims=True) - last) // 255
    before = np.cumsum(counts, -1) - counts
    table = np.where(step > 0, np.minimum((before + step // 2) // np.maximum(step, 1), 255), np.arange(256)).astype(
        np.uint8
    )
    if planes.dtype == np.uint8:
        return _levels(batch, table, None)
    return batch.back(
        (np.take_along_axis(table, levels.reshape(n, channels, -1), -1) / 255)
        .reshape(planes.shape)
        .astype(planes.dtype)
    )


# Corruptions ------------------------------------------------------------------------------------------------


def _noisy(images: ArrayLike, rng: Any, amount: Any, kind: int, unit: bool, layout: str | None) -> Array:
    batch = Batch.of(images, layout)
    n, top, out = len(batch.planes), top_of(batch.planes), empty_array(batch.planes.shape, batch.planes.dtype)
    keys, by = as_keys(rng, n), _factor("sigma" if kind < 2 else "amount", amount, n)
    if out.size:
        launch("noise", (out, batch.planes, keys.words, by * top if unit else by), (kind, 0, top))
    return batch.back(out)


def gaussian_noise(
    images: ArrayLike, rng: Keys | Generator | int | None = None, sigma: Any = 0.1, *, layout: str | None = None
) -> Array:
    """Plus normal numbers of deviation ``sigma``, white being 1, cut off at black and white."""
    return _noisy(images, rng, sigma, 0, True, layout)


def speckle_noise(
    images: ArrayLike, rng: Keys | Generator | int | None = None, sigma: Any = 0.1, *, layout: str | None = None
) -> Array:
    """Times 1 plus normal numbers of deviation ``sigma``, cut off at black and white."""
    return _noisy(images, rng, sigma, 1, False, layout)


def salt_and_pepper(
    images: ArrayLike, rng: Keys | Generator | int | None = None, amount: Any = 0.05, *, layout: str | None = None
) -> Array:
    """A share ``amount`` of the pixels turned, in all channels, to black or white, half to each."""
    return _noisy(images, rng, amount, 2, False, layout)


def shot_noise(
    images: ArrayLike, rng: Keys | Generator | int | None = None, photons: Any = 60.0, *, layout: str | None = None
) -> Array:
    """Counts of photons, Poisson's numbers, where white sends ``photons`` of them on average."""
    batch = Batch.of(images, layout)
    n, top = len(batch.planes), top_of(batch.planes)
    keys, counts = as_keys(rng, n), per_image("photons", photons, n)
    if (counts <= 0).any():
        raise ValueError(f"photons must be positive, got {photons!r}")
    out = empty_array(batch.planes.shape, batch.planes.dtype)
    for image, x, words, count in zip(out, batch.planes, keys.words.astype(np.uint64), counts, strict=True):
        draws = np.random.Generator(
            np.random.Philox(key=np.array([words[0] | words[1] << np.uint64(32), 0], np.uint64))
        )
        value = draws.poisson(np.clip(x / top, 0, 1) * count) * (top / count)
        image[...] = np.minimum(np.rint(value) if top == 255 else value, top)
    return batch.back(out)


def jpeg(images: ArrayLike, quality: Any, *, layout: str | None = None) -> Array:
    """A round trip through JPEG at ``quality`` 1 to 100, bit for bit what Pillow gives; floats by their 256 levels.

    Images of 1 channel are grey, of 3 colours with halved chroma; others are refused.
    """
    batch = Batch.of(images, layout)
    _channels(batch, "jpeg")
    planes, chosen = batch.planes, per_image("quality", quality, len(batch.planes))
    if (chosen != np.rint(chosen)).any() or (chosen < 1).any() or (chosen > 100).any():
        raise ValueError(f"quality must be whole numbers from 1 to 100, got {quality!r}")
    levels = planes if planes.dtype == np.uint8 else np.rint(np.clip(planes, 0, 1) * 255).astype(np.uint8)
    out = empty_array(levels.shape, levels.dtype)
    if out.size:
        launch("jpeg", (out, levels, chosen.astype(np.int64)), ())
    return batch.back(out if planes.dtype == np.uint8 else (out / 255).astype(planes.dtype))


def pixelate(images: ArrayLike, size: Any, *, layout: str | None = None) -> Array:
    """The mean of each square of ``size`` pixels in all of it; squares at the far edges may be cut."""
    batch = Batch.of(images, layout)
    sizes = per_image("size", size, len(batch.planes))
    if (sizes != np.rint(sizes)).any() or (sizes < 1).any():
        raise ValueError(f"size must be whole numbers from 1 on, got {size!r}")
    out = batch.planes.copy()
    rows, columns = out.shape[2:]
    for block in np.unique(sizes[sizes > 1]).astype(int) if out.size else ():
        chosen = sizes == block
        i, j = np.arange(0, rows, block), np.arange(0, columns, block)
        sums = np.add.reduceat(np.add.reduceat(out[chosen].astype(np.float64), i, 2), j, 3)
        counts = np.diff([*i, rows])[:, None] * np.diff([*j, columns])
        means = sums / counts
        means = np.rint(means) if out.dtype == np.uint8 else means
        out[chosen] = means.repeat(np.diff([*i, rows]), 2).repeat(np.diff([*j, columns]), 3)
    return batch.back(out)


def erase(
    images: ArrayLike, top: Any, left: Any, height: Any, width: Any, value: float = 0.0, *, layout: str | None = None
) -> Array:
    """A rectangle of each image set to ``value``; parts of it outside count for nothing."""
    batch = Batch.of(images, layout)
    names = (("top", top), ("left", left), ("height", height), ("width", width))
    i0, j0, h, w = (per_image(name, v, len(batch.planes))[:, None] for name, v in names)
    if batch.planes.dtype == np.uint8 and not 0 <= value <= 255:
        raise ValueError(f"value must lie between 0 and 255 for uint8 images, got {value!r}")
    i, j = np.arange(batch.planes.shape[2]), np.arange(batch.planes.shape[3])
    inside = ((i >= i0) & (i < i0 + h))[:, None, :, None] & ((j >= j0) & (j < j0 + w))[:, None, None, :]
    return batch.back(np.where(inside, batch.planes.dtype.type(value), batch.planes))
