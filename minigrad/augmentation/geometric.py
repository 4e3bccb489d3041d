"""Random geometry: flips, turns, crops, perspective, elastic deformation and lenses."""

from typing import Any

import numpy as np

from ..random import Keys
from . import functional as F
from . import geometry as g
from .geometry import Float64, Geometry, Sampling
from .layout import pair
from .transforms import Geometric, Params, Size, between, interval, probability

Shape = tuple[int, int, int]


class _Flip(Geometric):
    _axis = 0

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)
        self.sampling = Sampling()

    def draw(self, keys: Keys, shape: Shape) -> Params:
        return {"flip": keys.uniform()[:, 0] < self.p}

    def geometry(self, params: Params, size: Size) -> Geometry:
        return g.flipped(Geometry((), size), self._axis, params["flip"])


class RandomHorizontalFlip(_Flip):
    """Left and right exchanged with probability ``p``."""


class RandomVerticalFlip(_Flip):
    """Top and bottom exchanged with probability ``p``."""

    _axis = 1


class RandomRotation(Geometric):
    """Turned counter-clockwise by an angle drawn from ``degrees``, (low, high) or ±degrees.

    ``interpolation``, ``padding_mode`` and ``fill`` as in ``geometry.Sampling``; torchvision's default is the nearest
    pixel, ours bilinear.  The frame keeps its size.
    """

    def __init__(
        self,
        degrees: Any,
        interpolation: str = "bilinear",
        center: Any = None,
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.degrees = interval("degrees", degrees, 0.0)
        self.center = center
        self.sampling = Sampling(interpolation, padding_mode, fill)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        return {"angle": between(keys.uniform()[:, 0], self.degrees)}

    def geometry(self, params: Params, size: Size) -> Geometry:
        n = len(params["angle"])
        nothing = np.zeros((n, 2))
        return Geometry((g.affine_matrix(size, -params["angle"], nothing, np.ones(n), nothing, self.center),), size)


class RandomAffine(Geometric):
    """Sheared, turned clockwise, scaled and moved, by amounts drawn from intervals.

    Parameters
    ----------
    degrees : (low, high) or a number for ±degrees
    translate : (x, y), optional
        The largest shifts as fractions of width and height; whole pixels are drawn, as torchvision does.
    scale : (low, high), optional
    shear : (low, high) or a number for ±shear along x; or (x low, x high, y low, y high), degrees, optional
    """

    def __init__(
        self,
        degrees: Any,
        translate: Any = None,
        scale: Any = None,
        shear: Any = None,
        interpolation: str = "bilinear",
        fill: float = 0.0,
        center: Any = None,
        padding_mode: str = "constant",
    ) -> None:
        self.degrees = interval("degrees", degrees, 0.0)
        self.translate = (0.0, 0.0) if translate is None else (float(translate[0]), float(translate[1]))
        if not all(0 <= t <= 1 for t in self.translate):
            raise ValueError(f"translate must be two fractions from 0 to 1, got {translate!r}")
        self.scale = (1.0, 1.0) if scale is None else interval("scale", scale, least=1e-6)
        four = (0.0, 0.0) if shear is None else shear if np.ndim(shear) == 0 else tuple(shear)
        along, down = (four[:2], four[2:]) if np.ndim(four) and len(four) == 4 else (four, (0.0, 0.0))
        self.shear = (*interval("shear", along, 0.0, -89.9), *interval("shear", down, 0.0, -89.9))
        self.center = center
        self.sampling = Sampling(interpolation, padding_mode, fill)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        u = keys.uniform(6)
        reach = np.array([self.translate[0] * shape[2], self.translate[1] * shape[1]])
        return {
            "angle": between(u[:, 0], self.degrees),
            "translate": np.rint((2 * u[:, 1:3] - 1) * reach),
            "scale": between(u[:, 3], self.scale),
            "shear": np.stack([between(u[:, 4], self.shear[:2]), between(u[:, 5], self.shear[2:])], 1),
        }

    def geometry(self, params: Params, size: Size) -> Geometry:
        angle, translate, scale, shear = (params[name] for name in ("angle", "translate", "scale", "shear"))
        return Geometry((g.affine_matrix(size, angle, translate, scale, shear, self.center),), size)


class RandomPerspective(Geometric):
    """With probability ``p`` seen from aside: each corner moves inwards by up to half of ``distortion_scale``."""

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: str = "bilinear",
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.distortion_scale, self.p = probability(distortion_scale), probability(p)
        self.sampling = Sampling(interpolation, padding_mode, fill)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        u = keys.uniform(9)
        moved = u[:, :8].reshape(-1, 4, 2) * (u[:, 8] < self.p)[:, None, None] * self.distortion_scale / 2
        inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [shape[2], shape[1]]
        return {"shift": moved * inwards}

    def geometry(self, params: Params, size: Size) -> Geometry:
        right, bottom = max(size[1] - 1, 1), max(size[0] - 1, 1)
        corners = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])
        start = np.broadcast_to(corners, params["shift"].shape)
        matrix = g.perspective_matrix(start, start + params["shift"])
        matrix[(params["shift"] == 0).all((1, 2))] = np.eye(3)
        return Geometry((matrix,), size)


class RandomCrop(Geometric):
    """A window of ``size``, anywhere in the image, which ``padding`` pixels on all sides enlarge before.

    ``padding`` is one number or (left and right, top and bottom), filled as ``padding_mode`` and ``fill`` say.
    """

    def __init__(self, size: Any, padding: Any = 0, fill: float = 0.0, padding_mode: str = "constant") -> None:
        self.window = pair("size", size)
        along, down = (padding, padding) if np.ndim(padding) == 0 else padding
        if not all(isinstance(p, int | np.integer) and p >= 0 for p in (along, down)):
            raise ValueError(f"padding must be one or two whole numbers, at least 0, got {padding!r}")
        self.padding = (int(along), int(down))
        self.sampling = Sampling("bilinear", padding_mode, fill)

    def size(self, size: Size) -> Size:
        return self.window

    def draw(self, keys: Keys, shape: Shape) -> Params:
        room = [n + 2 * p - w for n, p, w in zip(shape[1:], self.padding[::-1], self.window, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"a window of {self.window} does not fit into images of {shape[1:]} with padding {self.padding}"
            )
        at = np.floor(keys.uniform(2) * (np.array(room) + 1))
        return {"corner": at - self.padding[::-1]}

    def geometry(self, params: Params, size: Size) -> Geometry:
        return Geometry((F._shift(params["corner"]),), self.window)


class RandomResizedCrop(Geometric):
    """A window of a random share of the area (``scale``) and of random proportions (``ratio``), resampled to ``size``.

    The first of ten draws that fits is taken, else the largest window of allowed proportions in the middle: Szegedy
    and others (2014), as in torchvision; no antialiasing.
    """

    def __init__(
        self,
        size: Any,
        scale: Any = (0.08, 1.0),
        ratio: Any = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        self.window = pair("size", size)
        self.scale, self.ratio = interval("scale", scale, least=1e-6), interval("ratio", ratio, least=1e-6)
        self.sampling = Sampling(interpolation, "edge")

    def size(self, size: Size) -> Size:
        return self.window

    def draw(self, keys: Keys, shape: Shape) -> Params:
        rows, columns = shape[1:]
        u = keys.uniform(40).reshape(-1, 10, 4)
        area = rows * columns * between(u[..., 0], self.scale)
        proportion = np.exp(between(u[..., 1], (np.log(self.ratio[0]), np.log(self.ratio[1]))))
        height, width = np.rint(np.sqrt(area / proportion)), np.rint(np.sqrt(area * proportion))
        fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
        top = np.floor(u[..., 2] * (rows - height + 1))
        left = np.floor(u[..., 3] * (columns - width + 1))
        chosen = fits.argmax(1)[:, None, None]
        window = np.take_along_axis(np.stack([top, left, height, width], 2), chosen, 1)[:, 0]
        wide = min(max(columns / max(rows, 1), self.ratio[0]), self.ratio[1])
        height_, width_ = round(min(rows, columns / wide)), round(min(columns, rows * wide))
        window[~fits.any(1)] = [(rows - height_) // 2, (columns - width_) // 2, height_, width_]
        return {"window": window}

    def geometry(self, params: Params, size: Size) -> Geometry:
        return Geometry((F.resized_matrix(params["window"], self.window),), self.window)


class ElasticTransform(Geometric):
    """Smooth random displacements, see ``functional.elastic_field``; their ``field`` is among the parameters."""

    def __init__(
        self,
        alpha: float = 50.0,
        sigma: float = 5.0,
        interpolation: str = "bilinear",
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.alpha, self.sigma = float(alpha), float(sigma)
        if not (np.isfinite(self.alpha) and 0 <= self.sigma < 1000):
            raise ValueError(f"alpha must be finite and sigma from 0 to 1000, got {alpha!r} and {sigma!r}")
        self.sampling = Sampling(interpolation, padding_mode, fill)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        if 0 in shape[1:]:
            return {"field": np.empty((len(keys), 2, *shape[1:]), np.float32)}
        return {"field": F.elastic_field(keys, len(keys), shape[1:], self.alpha, self.sigma)}

    def geometry(self, params: Params, size: Size) -> Geometry:
        return Geometry((g.Field(params["field"]),) if self.alpha else (), size)


class RandomLensDistortion(Geometric):
    """A lens with numbers drawn from intervals, each (low, high) or a number for ±: see ``functional.lens_distort``."""

    def __init__(
        self,
        k1: Any = 0.3,
        k2: Any = 0.0,
        p1: Any = 0.0,
        p2: Any = 0.0,
        k3: Any = 0.0,
        focal: float | None = None,
        interpolation: str = "bilinear",
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.intervals = [interval(k, v, 0.0) for k, v in (("k1", k1), ("k2", k2), ("p1", p1), ("p2", p2), ("k3", k3))]
        self.focal = focal
        self.sampling = Sampling(interpolation, padding_mode, fill)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        u = keys.uniform(5)
        return {"k": np.stack([between(u[:, i], bounds) for i, bounds in enumerate(self.intervals)], 1)}

    def geometry(self, params: Params, size: Size) -> Geometry:
        k: Float64 = params["k"]
        return Geometry((g.Lens(F.lens_numbers(k, size, self.focal)),), size)
