"""Layers."""

import math
from collections.abc import Iterator
from typing import Any, overload

import numpy as np

from .. import ops
from ..kernels.launch import in_turn
from ..ops.neural import keep_count
from ..random import Generator, as_generator
from ..tensor import Tensor
from . import init
from .module import Module, Parameter


class Linear(Module):
    """``y = x weight^T + bias``: x (..., in_features), y (..., out_features).

    ``weight`` is (out_features, in_features) and lies in memory as its transpose,
    so that the forward product reads it row by row.  Both start uniform in
    ``+-1 / sqrt(in_features)``, as PyTorch's do (Kaiming uniform with a = sqrt 5).
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: Generator | int | None = None
    ) -> None:
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        generator = as_generator(rng)
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(np.empty((in_features, out_features), np.float32).T)
        init.uniform_(self.weight, -bound, bound, rng=generator)
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(generator.uniform((out_features,), -bound, bound))

    def forward(self, x: Any) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        return f"in_features={in_features}, out_features={out_features}, bias={self.bias is not None}"


class ReLU(Module):
    """``max(x, 0)``."""

    def forward(self, x: Any) -> Tensor:
        return ops.relu(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        return ops.tanh(x)


class Dropout(Module):
    """Zero each element with probability ``p`` while training, and divide the others by the keep probability.

    Inverted dropout (Srivastava et al. 2014): at test time nothing is done.  The
    module has its own random stream, so its masks do not depend on other layers.
    """

    def __init__(self, p: float = 0.5, rng: Generator | int | None = None) -> None:
        keep_count(p)
        self.p = p
        self.rng = as_generator(rng)

    def forward(self, x: Any) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Sequential(Module):
    """Modules applied one after the other."""

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules, got {type(module).__name__} at position {i}")
        self._modules = list(modules)

    def forward(self, x: Any) -> Any:
        return in_turn(self._modules, x, Module.__call__)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> "Module | Sequential":
        return Sequential(*self._modules[index]) if isinstance(index, slice) else self._modules[index]


class CrossEntropyLoss(Module):
    """Cross-entropy of class indices under ``softmax(logits)``: see ``minigrad.cross_entropy``."""

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction

    def forward(self, logits: Any, labels: Any) -> Tensor:
        return ops.cross_entropy(logits, labels, reduction=self.reduction)
