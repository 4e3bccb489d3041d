"""Optimizers: each is a formula in its docstring and one fused kernel over all tensors of a group."""

from .adam import Adam, AdamW
from .adaptive import Adagrad, RMSprop
from .optimizer import Optimizer, ParamGroup
from .sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "ParamGroup", "RMSprop"]
