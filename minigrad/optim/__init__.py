"""Optimizers, each a formula in its docstring and one fused kernel over all tensors of a group; clipping, averaging."""

from .adam import Adam, AdamW, Lion, NAdam, RAdam
from .adaptive import Adagrad, RMSprop
from .averaging import EMA
from .clipping import clip_grad_norm_, clip_grad_value_
from .lbfgs import LBFGS
from .optimizer import Optimizer, ParamGroup
from .sgd import SGD

__all__ = [
    "EMA", "LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "ParamGroup", "RAdam", "RMSprop",
    "clip_grad_norm_", "clip_grad_value_",
]  # fmt: skip
