"""Normalizations."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..autograd import written
from ..kernels.launch import launch
from ..ops.shape import as_tensor
from ..tensor import Tensor
from .layers import count
from .module import Buffer, Module, Parameter, check_flag, is_real

_ONE = np.array(1, np.int64)


class _Norm(Module):
    """What normalizations share: a weight that starts at 1 and a bias that starts at 0, either None."""

    weight: Parameter | None
    bias: Parameter | None
    own_eps: ClassVar[bool] = False  # whether eps may be None

    def __init__(self, shape: tuple[int, ...], eps: float | None, affine: bool, bias: bool) -> None:
        if not ((eps is None and self.own_eps) or (is_real(eps, 0) and eps != math.inf)):
            raise ValueError(f"{type(self).__name__} needs eps of at least 0, got {eps!r}")
        check_flag("affine", affine)
        check_flag("bias", bias)
        self.eps: Any = eps
        self.weight = Parameter(np.ones(shape, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(shape, np.float32)) if affine and bias else None

    def _settings(self, *names: str) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class _BatchNorm(_Norm):
    ranks: ClassVar[tuple[int, ...]]
    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        if momentum is not None and not is_real(momentum, 0, 1):
            raise ValueError(f"{type(self).__name__} needs a momentum in [0, 1] or None, got {momentum!r}")
        check_flag("track_running_stats", track_running_stats)
        super().__init__((count(num_features=num_features),), eps, affine, bias)
        self.num_features, self.track_running_stats = int(num_features), track_running_stats
        self.momentum: Any = momentum
        self.running_mean = Buffer(np.zeros(num_features, np.float32)) if track_running_stats else None
        self.running_var = Buffer(np.ones(num_features, np.float32)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            wanted = " or ".join(["(N, C)", "(N, C, L)", "(N, C, H, W)"][rank - 2] for rank in self.ranks)
            raise ValueError(f"{type(self).__name__} needs x {wanted}, C = {self.num_features}, got {x.shape}")
        batches, share = self.num_batches_tracked, self.momentum
        training = self.training or batches is None
        if training and batches is not None and share is None:
            share = 1 / (batches.astype(x.dtype) + 1)
        running = (self.running_mean, self.running_var)
        y = ops.batch_norm(x, *running, self.weight, self.bias, training, share, self.eps)
        if training and batches is not None:
            launch("advance", (batches.data, batches.data, _ONE))
            written([batches], type(self).__name__)
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, {self._settings('eps', 'momentum', 'track_running_stats')}"


class BatchNorm2d(_BatchNorm):
    """Standardise each channel of x (N, C, H, W) over the batch, then scale and shift it (Ioffe and Szegedy 2015).

    In training by mean and variance of the batch, which move the running ones:
    ``running = (1 - momentum) running + momentum batch``, the variance in it with Bessel's correction, as in
    PyTorch; momentum None gives every batch so far the same share.  In evaluation mode by the running ones, or
    by those of the batch with ``track_running_stats=False``.  ``weight`` and ``bias`` are (C,); ``running_mean``,
    ``running_var`` and the count ``num_batches_tracked`` are buffers: saved with the weights, moved by replays.
    Keras's momentum is 1 minus this one, and its running variance has no correction.
    """

    ranks = (4,)


class BatchNorm1d(_BatchNorm):
    """``BatchNorm2d`` of x (N, C) or (N, C, L)."""

    ranks = (2, 3)


class LayerNorm(_Norm):
    """Standardise x over its last axes, of shape ``normalized_shape``, then scale and shift.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, weight and bias of that shape, the variance
    without Bessel's correction (Ba, Kiros and Hinton 2016).
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        check_flag("elementwise_affine", elementwise_affine)
        self.normalized_shape = _shape(normalized_shape)
        super().__init__(self.normalized_shape, eps, elementwise_affine, bias)

    def forward(self, x: Any) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, {self._settings('eps')}"


class RMSNorm(_Norm):
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last axes of x, of shape ``normalized_shape``.

    eps None is the spacing of the dtype at 1, as in PyTorch (Zhang and Sennrich 2019).
    """

    own_eps = True

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        check_flag("elementwise_affine", elementwise_affine)
        self.normalized_shape = _shape(normalized_shape)
        super().__init__(self.normalized_shape, eps, elementwise_affine, bias=False)

    def forward(self, x: Any) -> Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, {self._settings('eps')}"


class GroupNorm(_Norm):
    """Standardise x (N, C, ...) over each of ``num_groups`` groups of channels of a sample, then scale and shift.

    The formula of ``LayerNorm`` over C / num_groups channels and all positions (Wu and He 2018);
    ``weight`` and ``bias`` are (num_channels,).
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True
    ) -> None:
        self.num_groups, self.num_channels = count(num_groups=num_groups), count(num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_groups must divide {num_channels} channels, got {num_groups}")
        super().__init__((self.num_channels,), eps, affine, bias)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm needs x (N, C, ...), C = {self.num_channels}, got {x.shape}")
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, {self._settings('eps')}"


def _shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    many = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    if not many:
        raise ValueError("normalized_shape must have an axis at least, got ()")
    return tuple(count(normalized_shape=n) for n in many)
