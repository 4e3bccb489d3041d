"""Launches of the image kernels, and what they must give: SciPy, Pillow, and formulas in float64."""

import colorsys
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[Any]

BORDERS = ("constant", "edge", "reflect", "symmetric", "wrap")
AT_THE_BORDER = ("grid-constant", "nearest", "mirror", "reflect", "grid-wrap")  # what SciPy calls them


def rounded(value: Array, out: Array) -> Array:
    return value if out.dtype.kind == "f" else np.clip(np.rint(value), 0, 255)


# Oracles --------------------------------------------------------------------------------------------------


def crop(out: Array, x: Array, window: Array, border: int, fill: float) -> Array:
    (h, w), found = out.shape[2:], np.empty(out.shape, out.dtype)
    reach = int(np.abs(window[:, :2]).max(initial=0)) + max(h, w)
    options = {"constant_values": fill} if border == 0 else {}
    framed = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), BORDERS[border], **options)  # type: ignore[call-overload]
    for n, (top, left, upside_down, mirrored) in enumerate(window):
        piece = framed[n, :, reach + top :, reach + left :][:, :h, :w]
        found[n] = piece[:, :: -1 if upside_down else 1, :: -1 if mirrored else 1]
    return found


def places(shape: tuple[int, ...], field: Array | None, map: Array) -> tuple[Array, Array]:
    """One image's, worked out with complex numbers for the lens."""
    y, x = np.indices(shape, np.float64)
    if field is not None:
        x, y = x + field[0], y + field[1]
    u, v, w = np.einsum("ij,jyx->iyx", map[0].reshape(3, 3), np.stack([x, y, np.ones_like(x)]))
    u, v = u / w, v / w
    k1, k2, p1, p2, k3, fx, fy, cx, cy = map[1]
    if map[1, :5].any():
        z = (u - cx) / fx + 1j * (v - cy) / fy
        r = np.abs(z)
        # Tangential: conj(p2 + i p1) z^2 + 2 (p2 + i p1) |z|^2, with p = p2 + i p1 in the plane of z.
        p = p2 + 1j * p1
        z = z * (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) + np.conj(p) * z * z + 2 * p * r**2
        u, v = z.real * fx + cx, z.imag * fy + cy
    return u, v


def displacement(out: Array, field: Array, map: Array) -> Array:
    found = np.empty(out.shape)
    for n in range(len(out)):
        u, v = places(out.shape[2:], field[n], map[n])
        found[n] = u - np.arange(out.shape[3]), v - np.arange(out.shape[2])[:, None]
    return found


def keys_weight(t: Array) -> Array:
    a, t = -0.75, np.abs(t)
    inner, outer = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0))


def keys_cubic(x: Array, v: Array, u: Array, border: int, fill: float) -> Array:
    """Keys's sum over the sixteen neighbours of each place, on a plane padded by NumPy."""
    reach = int(max(np.abs(u).max(initial=0), np.abs(v).max(initial=0))) + 3
    options = {"constant_values": fill} if border == 0 else {}
    framed = np.pad(x, reach, BORDERS[border], **options)  # type: ignore[call-overload]
    i, j = np.floor(v).astype(int), np.floor(u).astype(int)
    total = np.zeros(u.shape)
    for down in range(-1, 3):
        for along in range(-1, 3):
            weight = keys_weight(v - (i + down)) * keys_weight(u - (j + along))
            total += weight * framed[i + down + reach, j + along + reach]
    return total


def warp(out: Array, x: Array, map: Array, field: Array, order: int, border: int, fill: float) -> Array:
    found = np.empty(out.shape)
    for n in range(len(out)):
        u, v = places(out.shape[2:], field[n] if field.size else None, map[n])
        for c in range(out.shape[1]):
            plane = x[n, c].astype(np.float64)
            if order == 2:
                found[n, c] = keys_cubic(plane, v, u, border, fill)
            else:
                options: dict[str, Any] = {"order": order, "mode": AT_THE_BORDER[border], "cval": fill}
                found[n, c] = ndimage.map_coordinates(plane, [v, u], **options)
    return rounded(found, out)


def recolor(out: Array, x: Array, matrix: Array, low: float, high: float) -> Array:
    value = np.einsum("ncd,ndhw->nchw", matrix[..., :-1], x.astype(np.float64)) + matrix[..., -1, None, None]
    return rounded(np.clip(value, low, high), out)


def hue(out: Array, x: Array, turns: Array) -> Array:
    """Through HSV, pixel by pixel."""
    found = np.empty(x.shape)
    for n, _, i, j in np.ndindex(x.shape[0], 1, *x.shape[2:]):
        h, s, v = colorsys.rgb_to_hsv(*x[n, :, i, j].astype(float))
        found[n, :, i, j] = colorsys.hsv_to_rgb((h + turns[n]) % 1, s, v)
    return rounded(found, out)


def recode(out: Array, x: Array, table: Array) -> Array:
    return np.array(np.take_along_axis(table, x.reshape(*x.shape[:2], -1).astype(int), 2).reshape(x.shape))


def noise(out: Array, x: Array, key: Array, amount: Array, kind: int, low: float, high: float) -> Array:
    from .oracle import philox_block

    found = np.empty(x.shape)
    for n, c in np.ndindex(x.shape[:2]):
        v, plane = x[n, c].astype(np.float64).ravel(), 0 if kind == 2 else c
        words = np.empty(-(-v.size // 128) * 128, np.int64)
        for block in range(len(words) // 4):
            drawn = philox_block([block, 0, plane, 0], [int(k) for k in key[n]], 10)
            words[block // 32 * 128 + block % 32 :: 32][:4] = drawn
        unit = (words >> 8) / 2**24
        pairs = words.reshape(-1, 2, 2, 32)  # (chunk, pair, word of the pair, block)
        radius = np.sqrt(-2 * np.log(((pairs[:, :, 0] >> 8) + 0.5) / 2**24))
        turn = (pairs[:, :, 1] >> 30) / 4 + ((pairs[:, :, 1] >> 6 & 0xFFFFFF) / 2**24 - 0.5) / 4
        z = radius[:, :, None] * np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], 2)
        z, unit, a = z.ravel()[: v.size], unit[: v.size], amount[n]
        v = {
            0: lambda v=v, z=z, a=a: v + a * z,
            1: lambda v=v, z=z, a=a: v * (1 + a * z),
            2: lambda v=v, u=unit, a=a: np.where(u < a / 2, low, np.where(u < a, high, v)),
            3: lambda v=v, u=unit, a=a: v + a * (2 * u - 1),
        }[kind]()
        found[n, c] = np.clip(v, low, high).reshape(x.shape[2:])
    return rounded(found, out)


def filter(out: Array, x: Array, first: Array, second: Array, border: int, fill: float) -> Array:
    found = np.empty(x.shape)
    for n, c in np.ndindex(x.shape[:2]):
        plane = x[n, c].astype(np.float64)
        for taps in (first[n], second[n]):
            plane = ndimage.correlate(plane, taps.astype(np.float64), mode=AT_THE_BORDER[border], cval=fill)
        found[n, c] = plane
    return rounded(found, out)


def jpeg(out: Array, x: Array, quality: Array) -> Array:
    found = np.empty(x.shape, x.dtype)
    for n in range(len(x)):
        pixels = x[n, 0] if x.shape[1] == 1 else np.moveaxis(x[n], 0, 2)
        with io.BytesIO() as file:
            Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=int(quality[n]))
            back = np.asarray(Image.open(file))
        found[n] = back if x.shape[1] == 1 else np.moveaxis(back, 2, 0)
    return found


ORACLE: dict[str, Callable[..., Any]] = {
    "crop": crop,
    "displacement": displacement,
    "warp": warp,
    "recolor": recolor,
    "hue": hue,
    "recode": recode,
    "noise": noise,
    "filter": filter,
    "jpeg": jpeg,
}


def bound(name: str, wanted: Array, outputs: Any, inputs: Any) -> Any:
    """The class PIXEL at the top of ``kernels.def``."""
    out = outputs[0]
    largest = max([1.0, *(float(np.abs(a).max(initial=0)) for a in (inputs[0], wanted))])
    unit = 2.0**-17 if out.dtype != np.float64 else 2.0**-21 if name == "noise" else 2.0**-40
    return (16 + sum(out.shape[-2:])) * unit * largest + (1 if out.dtype.kind != "f" else 0)


# Samples ---------------------------------------------------------------------------------------------------


def maps(rng: np.random.Generator, n: int, h: int, w: int) -> Array:
    """A turn and a shift; the last image also through a perspective and a lens."""
    map, angle = np.zeros((n, 2, 9)), rng.uniform(-0.5, 0.5, n)
    map[:, 0, 0], map[:, 0, 1], map[:, 0, 3], map[:, 0, 4] = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
    map[:, 0, 2], map[:, 0, 5], map[:, 0, 8] = rng.uniform(-2, 2, n), rng.uniform(-2, 2, n), 1
    map[-1, 0, 6:8] = rng.uniform(-0.1, 0.1, 2) / max(h, w)
    map[-1, 1] = [*rng.uniform(-0.1, 0.1, 5), max(h, w), max(h, w), (w - 1) / 2, (h - 1) / 2]
    return map


def arguments(
    name: str, n: int, rng: np.random.Generator
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]]:
    """Outputs, inputs and scalars of launches on images n pixels wide, bytes and floats."""
    count, h = 2, 4

    def pixels(dtype: Any, *shape: int) -> Array:
        return (rng.random(shape) * (255 if dtype == np.uint8 else 1)).astype(dtype)

    for dtype in (np.uint8, np.float32):
        top = 255.0 if dtype == np.uint8 else 1.0
        x, blank = pixels(dtype, count, 3, h, n), np.zeros((count, 3, h, n), dtype)
        if name == "crop":
            window = np.concatenate([rng.integers(-4, 5, (count, 2)), rng.integers(0, 2, (count, 2))], 1)
            for border in (0, 2):
                yield (np.zeros((count, 3, 4, n), dtype),), (x, window), (border, top)
        elif name == "warp":
            field = rng.normal(size=(count, 2, h, n)).astype(np.float32)
            yield (blank,), (x, maps(rng, count, h, n), field), (1, 3, 0.0)
            yield (blank,), (x, maps(rng, count, h, n), field[:0]), (2, 0, top / 2)
        elif name == "recolor":
            yield (np.zeros((count, 2, h, n), dtype),), (x, rng.normal(size=(count, 2, 4))), (0.0, top)
        elif name == "hue":
            yield (blank,), (x, np.append(rng.uniform(-0.5, 0.5, count - 1), 0)), ()
        elif name == "noise":
            key = rng.integers(0, 2**32, (count, 2), np.uint32)
            for kind, size in ((0, 0.1 * top), (3, top)):
                yield (blank,), (x, key, np.array([size, 0.0])), (kind, 0.0, top)
        elif name == "filter":
            taps = [rng.random((count, *shape)).astype(np.float32) / 10 for shape in ((3, 1), (2, 5))]
            yield (blank,), (x, *taps), (4, 0.0)
        elif name == "displacement" and dtype == np.float32:
            field = rng.normal(size=(count, 2, h, n)).astype(np.float32)
            yield (np.zeros_like(field),), (field, maps(rng, count, h, n)), ()
        elif name == "recode" and dtype == np.uint8:
            yield (blank,), (x, rng.integers(0, 256, (count, 3, 256)).astype(np.uint8)), ()
        elif name == "jpeg" and dtype == np.uint8:
            for planes in (1, 3):
                yield (blank[:, :planes].copy(),), (x[:, :planes].copy(), rng.integers(1, 101, count)), ()
