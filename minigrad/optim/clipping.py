"""Clipping of gradients between backward and update."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..kernels import recording
from ..kernels.launch import Array, launch
from ..tensor import Tensor
from .optimizer import check_flag, global_norm, is_number


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> Tensor:
    """Shorten the gradients, taken as one vector, to ``max_norm`` (Pascanu, Mikolov and Bengio 2013).

    ``norm = sqrt(sum of g^2)`` over all gradients, and ``g <- g * min(1, max_norm / (norm + 1e-6))``, PyTorch's form
    (optax and Keras have no 1e-6).  Returns the norm before clipping, a 0-d float64 tensor, 0 where nobody has a
    gradient; ``max_norm=inf`` only measures.  A norm that is not finite makes the gradients NaN, or 0 beside an
    infinity, as in PyTorch; with ``error_if_nonfinite`` it raises ``RuntimeError`` before a gradient is changed.
    """
    _check_bound("max_norm", max_norm)
    check_flag("error_if_nonfinite", error_if_nonfinite)
    if error_if_nonfinite:
        recording.refuse("error_if_nonfinite=True", "return the norm from the step and look at it there")
    gradients = _gradients(parameters)
    norm: Array = np.zeros(())
    global_norm([g.data for g in gradients], norm)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"the norm of the gradients is {norm}, so they cannot be clipped")
    for dtype in dict.fromkeys(g.dtype for g in gradients):
        launch("clip_to_norm", tuple(g.data for g in gradients if g.dtype == dtype), (norm, float(max_norm)))
    for g in gradients:
        g.storage().written("clip_grad_norm_")
    return Tensor(norm)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Hold each element of the gradients in [-clip_value, clip_value]; NaN stays."""
    _check_bound("clip_value", clip_value)
    for g in _gradients(parameters):
        launch("clip", (g.data, g.data), (-float(clip_value), float(clip_value)))
        g.storage().written("clip_grad_value_")


def _check_bound(name: str, value: Any) -> None:
    if not (is_number(value) or (isinstance(value, float | np.floating) and value == math.inf)) or value < 0:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")


def _gradients(parameters: Any) -> list[Tensor]:
    """The gradients that are about to be written, checked; a recorder is told, as of what backward adds."""
    if not isinstance(parameters, Iterable):  # as a Tensor is
        raise TypeError(f"parameters must be tensors, got {type(parameters).__name__}")
    leaves = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    recorder, found = recording.recorder(), []
    for p in leaves:
        if not isinstance(p, Tensor):
            raise TypeError(f"parameters must be tensors, got {type(p).__name__}")
        if p.grad is None:
            continue
        if not isinstance(p.grad, Tensor) or p.grad.dtype.kind != "f" or not p.grad.data.flags.writeable:
            raise ValueError(f"parameters must have gradients of floats that can be written, got {p.grad!r}")
        if recorded := p.grad.storage().recorded if p.grad.node is None else p.grad.node.op.name:
            raise RuntimeError(f"clipping writes into gradients outside the graph, not into the result of {recorded}")
        found.append(p.grad)
    if len({id(g) for g in found}) < len(found):
        raise ValueError("parameters name a gradient twice")
    if recorder is not None:
        for p in leaves:
            if p.grad is not None:
                recorder.deposit(p)
    return found
