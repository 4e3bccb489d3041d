"""Dropout, of elements and of channels."""

from typing import Any, ClassVar, Literal

import numpy as np

from .. import ops
from ..ops.neural import keep_count
from ..ops.shape import as_tensor
from ..random import Generator, as_generator
from ..tensor import Tensor
from .module import Module

Scaled = Literal["train", "test"]


class Dropout(Module):
    """While training, zero each element with probability ``p`` (Srivastava et al. 2014).

    So that the expectation is the same in both modes, with q = 1 - p the probability to keep:

    - ``scale_at="train"``, inverted dropout: what is kept is divided by q, and at test time nothing is done.
    - ``scale_at="test"``, as the paper and lectures have it: what is kept stays as it is, and at test time
      everything is multiplied by q.

    p = 0 does nothing; p = 1 gives zeros in training, and at test time x or, scaled there, zeros.
    q is rounded to a multiple of 1/65536, to neither 0 nor 1 unless it is.
    The module has a random stream of its own: its masks depend on ``rng`` and on how often it was called, not
    on other layers, threads or the CPU.
    """

    whole_channels: ClassVar[bool] = False

    def __init__(self, p: float = 0.5, rng: Generator | int | None = None, *, scale_at: Scaled = "train") -> None:
        keep_count(p)
        if not isinstance(scale_at, str) or scale_at not in ("train", "test"):
            raise ValueError(f"scale_at must be 'train' or 'test', got {scale_at!r}")
        self.p, self.scale_at = p, scale_at
        self.rng = as_generator(rng)

    def forward(self, input: Any) -> Tensor:
        inverted = self.scale_at == "train"
        if inverted and not self.whole_channels:
            return ops.dropout(input, self.p, self.training, self.rng)
        x = as_tensor(input)
        if self.whole_channels and x.ndim != 4:
            raise ValueError(f"{type(self).__name__} needs x (N, C, H, W), got {x.shape}")
        if self.p == 0 or (inverted and not self.training):
            return x
        keep = keep_count(self.p) / 65536
        if not self.training:
            return ops.multiply(x, keep) if keep else ops.where(np.False_, x, 0.0)
        shape = (*x.shape[:2], 1, 1) if self.whole_channels else x.shape
        kept = ops.dropout(np.ones(shape, x.dtype), self.p, True, self.rng)
        return ops.where(ops.greater(kept, 0), x * (1 / keep) if inverted and keep else x, 0.0)

    def extra_repr(self) -> str:
        return f"p={self.p}" + (f", scale_at={self.scale_at!r}" if self.scale_at != "train" else "")


class Dropout2d(Dropout):
    """Dropout of whole channels: x (N, C, H, W), each of the N C images kept or zeroed (Tompson et al. 2015).

    Neighbouring pixels say much the same, so that dropping some of them is no noise.  Arguments as in ``Dropout``.
    """

    whole_channels = True
