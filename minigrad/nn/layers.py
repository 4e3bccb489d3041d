"""Layers with weights: linear maps, convolutions, embeddings."""

import math
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..ops.convolution import whole_numbers
from ..random import Generator, as_generator
from ..tensor import Tensor
from . import init
from .module import Module, Parameter, check_flag, is_real

Rng = Generator | int | None


def count(**numbers: Any) -> int:
    """The one number given, if it is a positive integer."""
    ((name, value),) = numbers.items()
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


class Linear(Module):
    """``y = x weight^T + bias``: x (..., in_features), y (..., out_features).

    ``weight`` is (out_features, in_features) and lies in memory as its transpose,
    so that the forward product reads it row by row.  Both start uniform in
    ``+-1 / sqrt(in_features)``, as PyTorch's do (Kaiming uniform with a = sqrt 5).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, rng: Rng = None) -> None:
        self.in_features, self.out_features = count(in_features=in_features), count(out_features=out_features)
        self.weight = Parameter(np.empty((self.in_features, self.out_features), np.float32).T)
        self.bias = _uniform(self.weight, in_features, bias, rng)

    def forward(self, x: Any) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def _uniform(weight: Parameter, fan_in: int, bias: bool, rng: Rng) -> Parameter | None:
    """Fill ``weight`` uniformly in ``+-1 / sqrt(fan_in)``, and give a bias filled alike, if there is to be one."""
    check_flag("bias", bias)
    generator, bound = as_generator(rng), 1 / math.sqrt(fan_in)
    init.uniform_(weight, -bound, bound, rng=generator)
    return Parameter(generator.uniform((len(weight),), -bound, bound)) if bias else None


class _Conv(Module):
    dims: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        rng: Rng = None,
    ) -> None:
        self.in_channels, self.out_channels = count(in_channels=in_channels), count(out_channels=out_channels)
        self.groups = count(groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide {in_channels} and {out_channels} channels, got {groups}")
        self.kernel_size = self._sizes("kernel_size", kernel_size, 1)
        self.stride, self.dilation = self._sizes("stride", stride, 1), self._sizes("dilation", dilation, 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"padding is 'same', 'valid' or a number of zeros, got {padding!r}")
            if padding == "same" and set(self.stride) != {1}:
                raise ValueError(f'padding="same" needs stride 1, got {stride!r}')
        self.padding = padding if isinstance(padding, str) else self._sizes("padding", padding, 0)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, np.float32))
        self.bias = _uniform(self.weight, math.prod(shape[1:]), bias, rng)

    @property
    def settings(self) -> Any:
        """What follows weight and bias in the arguments of the operation."""
        return self.stride, self.padding, self.dilation, self.groups

    def _sizes(self, argument: str, value: Any, least: int) -> tuple[int, ...]:
        return whole_numbers(type(self).__name__, argument, value, least, self.dims)[-self.dims :]

    def extra_repr(self) -> str:
        ones, zeros = (1,) * self.dims, (0,) * self.dims
        usual: dict[str, Any] = {"kernel_size": None, "stride": ones, "padding": zeros, "dilation": ones, "groups": 1}
        told = [f", {name}={value!r}" for name in usual if (value := getattr(self, name)) != usual[name]]
        told += [", bias=False"] if self.bias is None else []
        return f"{self.in_channels}, {self.out_channels}{''.join(told)}"


class Conv2d(_Conv):
    """Cross-correlation with kernels: x (N, in_channels, H, W), y (N, out_channels, H', W').

    The formula, the sizes and ``padding="same"`` are those of ``minigrad.conv2d``.  ``weight`` is
    (out_channels, in_channels / groups, kh, kw), ``bias`` (out_channels,); both start uniform in
    ``+-1 / sqrt(in_channels / groups kh kw)``, as PyTorch's do.
    """

    dims = 2

    def forward(self, x: Any) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, *self.settings)


class Conv1d(_Conv):
    """Cross-correlation with kernels: x (N, in_channels, L), y (N, out_channels, L'): ``Conv2d`` of height 1.

    ``weight`` is (out_channels, in_channels / groups, k).
    """

    dims = 1

    def forward(self, x: Any) -> Tensor:
        return ops.conv1d(x, self.weight, self.bias, *self.settings)


class Embedding(Module):
    """The rows of ``weight`` (num_embeddings, embedding_dim) at x, integers of any shape: (*x.shape, embedding_dim).

    ``weight`` starts standard normal.  The row ``padding_idx``, which may count from the end,
    starts at 0 and receives no gradient.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, rng: Rng = None
    ) -> None:
        rows, columns = count(num_embeddings=num_embeddings), count(embedding_dim=embedding_dim)
        if padding_idx is not None:
            whole = isinstance(padding_idx, int | np.integer) and not isinstance(padding_idx, bool)
            if not whole or not -rows <= padding_idx < rows:
                raise ValueError(f"Embedding needs a padding_idx in [-{rows}, {rows}), got {padding_idx!r}")
            padding_idx = int(padding_idx) % rows
        self.num_embeddings, self.embedding_dim, self.padding_idx = rows, columns, padding_idx
        self.weight = Parameter(as_generator(rng).normal((rows, columns)))
        if padding_idx is not None:
            self.weight.assign_(0, padding_idx)

    def forward(self, x: Any) -> Tensor:
        return ops.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class PReLU(Module):
    """x above 0, ``weight x`` below, the weight learned (He et al. 2015).

    weight : (num_parameters,), one for all or one for each channel, axis 1; starts at ``init``.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        if not is_real(init):
            raise ValueError(f"init must be a number, got {init!r}")
        self.weight = Parameter(np.full(count(num_parameters=num_parameters), init, np.float32))

    def forward(self, x: Any) -> Tensor:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.weight.size}"
