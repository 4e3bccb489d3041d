"""Layers that make images smaller, or flat."""

import math
from dataclasses import KW_ONLY
from typing import Any

from .. import ops
from ..ops.shape import as_tensor
from ..tensor import Tensor
from .module import Layer


class MaxPool1d(Layer):
    """The largest element of each window of (N, C, L): see ``minigrad.max_pool1d``."""

    kernel_size: int
    stride: int | None = None
    padding: int = 0
    dilation: int = 1
    _: KW_ONLY
    ceil_mode: bool = False

    def forward(self, x: Any) -> Tensor:
        return ops.max_pool1d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool2d(Layer):
    """The largest element of each window of (N, C, H, W): see ``minigrad.max_pool2d``."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    _: KW_ONLY
    ceil_mode: bool = False

    def forward(self, x: Any) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class AvgPool1d(Layer):
    """The mean of each window of (N, C, L): see ``minigrad.avg_pool1d``."""

    kernel_size: int
    stride: int | None = None
    padding: int = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def forward(self, x: Any) -> Tensor:
        return ops.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(Layer):
    """The mean of each window of (N, C, H, W): see ``minigrad.avg_pool2d``."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    def forward(self, x: Any) -> Tensor:
        shape = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return ops.avg_pool2d(x, *shape, self.count_include_pad, self.divisor_override)


class GlobalAvgPool2d(Layer):
    """The mean of each channel: (N, C, H, W) gives (N, C) (Lin, Chen and Yan 2013).

    PyTorch's ``AdaptiveAvgPool2d(1)`` and ``Flatten()`` in one.
    """

    def forward(self, x: Any) -> Tensor:
        return ops.global_avg_pool2d(x)


class Flatten(Layer):
    """One axis instead of those from ``start_dim`` to ``end_dim``: (N, C, H, W) gives (N, C H W)."""

    start_dim: int = 1
    end_dim: int = -1

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        axes = range(x.ndim)
        try:
            first, last = axes[self.start_dim], axes[self.end_dim]
        except IndexError:
            first, last = 1, 0
        if first > last:
            raise ValueError(f"Flatten from axis {self.start_dim} to {self.end_dim} does not fit {x.shape}")
        merged = math.prod(x.shape[first : last + 1])
        return ops.reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))
