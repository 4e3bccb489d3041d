"""Random corruption: noise, blur, compression, coarse pixels and holes."""

from typing import Any

import numpy as np

from ..random import Keys
from . import functional as F
from .color import _Adjusted
from .layout import Array
from .transforms import Params, Transform, between, interval, probability

Shape = tuple[int, int, int]


class _Noise(Transform):
    """The key of each image is among its parameters, so a replay draws the same noise."""

    _kind = "gaussian_noise"

    def __init__(self, amount: Any, name: str) -> None:
        self.name, self.bounds = name, interval(name, (amount, amount) if np.ndim(amount) == 0 else amount, least=0.0)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        return {"key": keys.fold(0).words, self.name: between(keys.uniform()[:, 0], self.bounds)}

    def pixels(self, planes: Array, params: Params) -> Array:
        noisy: Array = getattr(F, self._kind)(planes, Keys(params["key"]), params[self.name], layout="NCHW")
        return noisy


class GaussianNoise(_Noise):
    """Normal noise of deviation ``sigma``, a number or (low, high); white is 1."""

    def __init__(self, sigma: Any = 0.1) -> None:
        super().__init__(sigma, "sigma")


class SpeckleNoise(_Noise):
    """Each value times 1 plus normal noise of deviation ``sigma``, a number or (low, high)."""

    _kind = "speckle_noise"

    def __init__(self, sigma: Any = 0.1) -> None:
        super().__init__(sigma, "sigma")


class SaltAndPepper(_Noise):
    """A share ``amount``, a number or (low, high), of the pixels black or white."""

    _kind = "salt_and_pepper"

    def __init__(self, amount: Any = 0.05) -> None:
        super().__init__(amount, "amount")
        if self.bounds[1] > 1:
            raise ValueError(f"amount must lie between 0 and 1, got {amount!r}")


class ShotNoise(_Noise):
    """Poisson noise: white sends ``photons``, a number or (low, high), on average."""

    _kind = "shot_noise"

    def __init__(self, photons: Any = 60.0) -> None:
        super().__init__(photons, "photons")
        if self.bounds[0] <= 0:
            raise ValueError(f"photons must be positive, got {photons!r}")


class GaussianBlur(_Adjusted):
    """Smoothed by a Gaussian of ``sigma`` pixels, a number or (low, high), cut off at four sigmas."""

    _function = staticmethod(F.gaussian_filter)

    def __init__(self, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__("sigma", interval("sigma", (sigma, sigma) if np.ndim(sigma) == 0 else sigma, least=0.0))


class MotionBlur(Transform):
    """The mean along a path of ``length`` pixels, (low, high), in a direction from ``angle``, degrees (low, high)."""

    def __init__(self, length: Any = (3.0, 7.0), angle: Any = (0.0, 180.0)) -> None:
        self.length, self.angle = interval("length", length, least=0.0), interval("angle", angle)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        u = keys.uniform(2)
        return {"length": between(u[:, 0], self.length), "angle": between(u[:, 1], self.angle)}

    def pixels(self, planes: Array, params: Params) -> Array:
        return F.motion_blur(planes, params["length"], params["angle"], layout="NCHW")


class JPEG(Transform):
    """A round trip through JPEG at a ``quality``, a number or (low, high), from 1 to 100."""

    def __init__(self, quality: Any = (30, 95)) -> None:
        self.quality = interval("quality", (quality, quality) if np.ndim(quality) == 0 else quality, least=1.0)
        if self.quality[1] > 100:
            raise ValueError(f"quality must lie between 1 and 100, got {quality!r}")

    def draw(self, keys: Keys, shape: Shape) -> Params:
        low, high = self.quality
        return {"quality": np.minimum(np.floor(low + (high - low + 1) * keys.uniform()[:, 0]), high)}

    def pixels(self, planes: Array, params: Params) -> Array:
        return F.jpeg(planes, params["quality"], layout="NCHW")


class Pixelate(Transform):
    """Squares of ``size`` pixels, a number or (low, high), of their mean."""

    def __init__(self, size: Any = (2, 4)) -> None:
        self.block = interval("size", (size, size) if np.ndim(size) == 0 else size, least=1.0)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        low, high = self.block
        return {"size": np.minimum(np.floor(low + (high - low + 1) * keys.uniform()[:, 0]), high)}

    def pixels(self, planes: Array, params: Params) -> Array:
        return F.pixelate(planes, params["size"], layout="NCHW")


class RandomErasing(Transform):
    """With probability ``p`` a rectangle set to ``value``: its share of the area from ``scale``, its height divided by
    its width from ``ratio``.  Zhong and others (2017); of the ten draws the first that fits is taken, if one does."""

    def __init__(self, p: float = 0.5, scale: Any = (0.02, 0.33), ratio: Any = (0.3, 3.3), value: float = 0.0) -> None:
        self.p, self.value = probability(p), float(value)
        self.scale, self.ratio = interval("scale", scale, least=0.0), interval("ratio", ratio, least=1e-6)

    def draw(self, keys: Keys, shape: Shape) -> Params:
        rows, columns = shape[1:]
        u = keys.uniform(41)
        draws = u[:, 1:].reshape(-1, 10, 4)
        area = rows * columns * between(draws[..., 0], self.scale)
        proportion = np.exp(between(draws[..., 1], (np.log(self.ratio[0]), np.log(self.ratio[1]))))
        height, width = np.rint(np.sqrt(area * proportion)), np.rint(np.sqrt(area / proportion))
        fits = (height < rows) & (width < columns)
        top, left = np.floor(draws[..., 2] * (rows - height + 1)), np.floor(draws[..., 3] * (columns - width + 1))
        window = np.take_along_axis(np.stack([top, left, height, width], 2), fits.argmax(1)[:, None, None], 1)[:, 0]
        window[~fits.any(1) | (u[:, 0] >= self.p)] = 0
        return {"window": window}

    def pixels(self, planes: Array, params: Params) -> Array:
        top, left, height, width = params["window"].T
        return F.erase(planes, top, left, height, width, self.value, layout="NCHW")
