"""Modules: layers with parameters, losses, initialisers."""

from . import functional, init
from .layers import CrossEntropyLoss, Dropout, Linear, ReLU, Sequential, Tanh
from .module import Buffer, Module, Parameter

__all__ = [
    "Buffer",
    "CrossEntropyLoss",
    "Dropout",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Tanh",
    "functional",
    "init",
]
