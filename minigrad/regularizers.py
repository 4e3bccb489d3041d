"""Regularisers: penalties on parameters, to be added to a loss.

``loss = cross_entropy(model(x), y) + L2(1e-4)(model)``.  A penalty is a function of parameters alone, so no size of a
batch changes it.  Added to a mean over N samples, the strength s does what N s does beside their sum.

Two conventions are about for squares, s sum(w^2) and s/2 |w|^2: the first is that of the lecture, of Keras and of
these classes; ``half=True`` is the second, PyTorch's ``weight_decay=s`` (its gradient is s w) and scikit-learn's
``ElasticNet``.  An optimizer takes the same decays as arguments, which cost no graph: with SGD ``weight_decay=2 * s``
is ``L2(s)`` and ``l1=s`` is ``L1(s)`` to rounding.  True zeros come from ``l1_form="proximal"`` there, and
``max_norm`` projects: see ``minigrad.optim.Optimizer``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import numpy as np

from . import ops
from .tensor import Tensor

__all__ = ["L1", "L2", "ElasticNet", "MaxNorm", "Orthogonal", "Regularizer"]


class Regularizer(ABC):
    """A penalty on parameters, of a fixed strength: ``penalty(model)`` is a tensor of no axes.

    A penalty is a frozen dataclass: its fields are its arguments.
    """

    strength: float
    weights_only = True

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type] # every subclass is a dataclass
            value = getattr(self, field.name)
            if isinstance(field.default, bool):
                if not isinstance(value, bool):
                    raise ValueError(f"{field.name} must be True or False, got {value!r}")
            elif (
                isinstance(value, bool)
                or not isinstance(value, int | float | np.integer | np.floating)
                or not 0 <= value < np.inf
            ):
                raise ValueError(f"{field.name} must be a finite number of at least 0, got {value!r}")

    def __call__(self, parameters: Any) -> Tensor:
        """The penalty of a module, a tensor, or an iterable of tensors.

        Weights are the parameters of two or more axes; ``weights_only=False`` takes
        biases and the parameters of norms as well.  Raises ``TypeError`` for what is no
        tensor and ``ValueError`` where nothing is left to penalise.
        """
        chosen = [p for p in _tensors(parameters) if not self.weights_only or p.ndim > 1]
        if not chosen:
            raise ValueError(
                f"{type(self).__name__} found no parameter {'of two axes ' * self.weights_only}to penalise"
            )
        total = self._formula(chosen[0])
        for p in chosen[1:]:
            total = total + self._formula(p)
        return self.strength * total

    @abstractmethod
    def _formula(self, w: Tensor) -> Tensor:
        """The penalty of one tensor at the strength 1."""


@dataclass(frozen=True)
class L1(Regularizer):
    """``strength * sum(|w|)`` (Tibshirani 1996).  The gradient of |w| at 0 is 0."""

    strength: float
    _: KW_ONLY
    weights_only: bool = True

    def _formula(self, w: Tensor) -> Tensor:
        return ops.abs(w).sum()


@dataclass(frozen=True)
class L2(Regularizer):
    """``strength * sum(w^2)``, or ``strength / 2 * sum(w^2)`` with ``half`` (Hoerl and Kennard 1970)."""

    strength: float
    _: KW_ONLY
    half: bool = False
    weights_only: bool = True

    def _formula(self, w: Tensor) -> Tensor:
        return _squares(w, self.half)


@dataclass(frozen=True)
class ElasticNet(Regularizer):
    """``strength * sum(beta * w^2 + |w|)``, with ``half`` of ``beta / 2 * w^2`` (Zou and Hastie 2005).

    In scikit-learn's terms ``half=True``, ``strength = alpha * l1_ratio`` and
    ``beta = (1 - l1_ratio) / l1_ratio``.
    """

    strength: float
    beta: float
    _: KW_ONLY
    half: bool = False
    weights_only: bool = True

    def _formula(self, w: Tensor) -> Tensor:
        return self.beta * _squares(w, self.half) + ops.abs(w).sum()


@dataclass(frozen=True)
class MaxNorm(Regularizer):
    """``strength * sum(max(|w[u]| - max_norm, 0)^2)`` over the units u of each weight, or half of it.

    ``w[u]`` are the weights that come into a unit: a row of (out, in), a filter of a
    convolution.  It is the squared distance from the set that an optimizer's
    ``max_norm`` projects on (Srebro and Shraibman 2005).
    """

    strength: float
    max_norm: float
    _: KW_ONLY
    half: bool = False

    def _formula(self, w: Tensor) -> Tensor:
        over = ops.relu(ops.linalg.vector_norm(_rows(w), axis=1) - self.max_norm)
        return _squares(over, self.half)


@dataclass(frozen=True)
class Orthogonal(Regularizer):
    """``strength * |W W^T - I|^2`` over all elements, or half of it, of each weight W as (out, in * ...).

    Where W has more rows than columns, ``W^T W - I``: the smaller of the two can be 0
    (Brock et al. 2017; Bansal, Chen and Wang 2018).
    """

    strength: float
    _: KW_ONLY
    half: bool = False

    def _formula(self, w: Tensor) -> Tensor:
        rows = _rows(w)
        rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
        return _squares(rows @ rows.T - np.eye(rows.shape[0], dtype=w.dtype), self.half)


def _squares(w: Tensor, half: bool) -> Tensor:
    total = ops.square(w).sum()
    return 0.5 * total if half else total


def _rows(w: Tensor) -> Tensor:
    """A weight as a matrix with a row for each unit."""
    return w if w.ndim == 2 else w.reshape((w.shape[0], w.size // max(w.shape[0], 1)))


def _tensors(parameters: Any) -> list[Tensor]:
    listed = parameters.parameters() if callable(getattr(parameters, "parameters", None)) else parameters
    found = [listed] if isinstance(listed, Tensor) else list(listed) if isinstance(listed, Iterable) else [listed]
    for p in found:
        if not isinstance(p, Tensor):
            raise TypeError(f"a penalty takes a module or tensors, got {type(p).__name__}")
        if p.dtype.kind != "f":
            raise TypeError(f"a penalty takes tensors of floats, got {p.dtype}")
    return found
