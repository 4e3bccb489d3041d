"""Optimizers: each is a formula in its docstring and one fused kernel over all tensors of a group."""

from .adam import Adam, AdamW
from .optimizer import Optimizer, ParamGroup
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "ParamGroup"]
