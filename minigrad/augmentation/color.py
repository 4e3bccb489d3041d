"""Random colours: every transform changes pixels one by one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..random import Keys
from . import functional as F
from .layout import Array
from .transforms import Params, RandomOrder, Sample, Transform, between, interval, probability

Shape = tuple[int, int, int]


class _Adjusted(Transform):
    """One number for each image, drawn from an interval, given to a function."""

    _function: Callable[..., Array]

    def __init__(self, name: str, bounds: tuple[float, float]) -> None:
        self.name, self.bounds = name, bounds

    def draw(self, keys: Keys, shape: Shape) -> Params:
        return {self.name: between(keys.uniform()[:, 0], self.bounds)}

    def pixels(self, planes: Array, params: Params) -> Array:
        adjusted: Array = type(self)._function(planes, params[self.name], layout="NCHW")
        return adjusted


class _Brightness(_Adjusted):
    _function = staticmethod(F.brightness)


class _Contrast(_Adjusted):
    _function = staticmethod(F.contrast)


class _Saturation(_Adjusted):
    _function = staticmethod(F.saturation)


class _Hue(_Adjusted):
    _function = staticmethod(F.hue)


class ColorJitter(RandomOrder):
    """Brightness, contrast, saturation and hue by random amounts, in an order of its own for each image.

    ``brightness``, ``contrast`` and ``saturation`` are factors from (low, high), or a number v for (1 - v, 1 + v) from
    0 on; ``hue`` is in turns, (low, high) or a number for ±hue, at most 0.5.  None leaves one out.
    """

    def __init__(self, brightness: Any = None, contrast: Any = None, saturation: Any = None, hue: Any = None) -> None:
        chosen: list[Transform] = []
        for kind, name, value in (
            (_Brightness, "brightness", brightness),
            (_Contrast, "contrast", contrast),
            (_Saturation, "saturation", saturation),
        ):
            if value is not None:
                chosen.append(kind(name, interval(name, value, 1.0, 0.0)))
        if hue is not None:
            bounds = interval("hue", hue, 0.0)
            if max(map(abs, bounds)) > 0.5:
                raise ValueError(f"hue must lie between -0.5 and 0.5, got {hue!r}")
            chosen.append(_Hue("hue", bounds))
        super().__init__(chosen)


class RandomGamma(_Adjusted):
    """x to a power drawn from ``gamma``, (low, high)."""

    _function = staticmethod(F.gamma)

    def __init__(self, gamma: Any = (0.7, 1.5)) -> None:
        super().__init__("gamma", interval("gamma", gamma, least=0.0))


class _Sometimes(Transform):
    """A function applied to each image with probability ``p``."""

    _function: Callable[..., Array]

    def __init__(self, p: float = 0.5, **settings: Any) -> None:
        self.p, self._settings = probability(p), settings

    def draw(self, keys: Keys, shape: Shape) -> Params:
        return {"chosen": keys.uniform()[:, 0] < self.p}

    def pixels(self, planes: Array, params: Params) -> Array:
        rows = params["chosen"]
        if not rows.any():
            return planes
        changed = type(self)._function(planes[rows], **self._settings, layout="NCHW")
        return Sample(planes).merged(rows, Sample(changed)).planes


class RandomGrayscale(_Sometimes):
    """Grey, in all channels, with probability ``p``."""

    _function = staticmethod(F.grayscale)

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)


class RandomInvert(_Sometimes):
    """White minus the image with probability ``p``."""

    _function = staticmethod(F.invert)


class RandomAutocontrast(_Sometimes):
    """``functional.autocontrast`` with probability ``p``."""

    _function = staticmethod(F.autocontrast)


class RandomEqualize(_Sometimes):
    """``functional.equalize`` with probability ``p``."""

    _function = staticmethod(F.equalize)


class RandomPosterize(_Sometimes):
    """``functional.posterize`` to ``bits`` with probability ``p``."""

    _function = staticmethod(F.posterize)

    def __init__(self, bits: int, p: float = 0.5) -> None:
        F.posterize(np.zeros((1, 1, 1), np.uint8), bits)
        super().__init__(p, bits=bits)


class RandomSolarize(_Sometimes):
    """``functional.solarize`` from ``threshold`` on with probability ``p``."""

    _function = staticmethod(F.solarize)

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        F.solarize(np.zeros((1, 1, 1), np.uint8), threshold)
        super().__init__(p, threshold=threshold)


class Grayscale(Transform):
    """Grey: ``num_output_channels`` 1, or 3 alike."""

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ValueError(f"num_output_channels must be 1 or 3, got {num_output_channels!r}")
        self.num_output_channels = num_output_channels

    def empty(self, sample: Sample) -> Sample:
        return replace(
            sample, planes=np.empty((0, self.num_output_channels, *sample.planes.shape[2:]), sample.planes.dtype)
        )

    def pixels(self, planes: Array, params: Params) -> Array:
        grey = F.grayscale(planes, layout="NCHW")[:, : self.num_output_channels]
        return np.ascontiguousarray(np.broadcast_to(grey, (len(grey), self.num_output_channels, *grey.shape[2:])))
