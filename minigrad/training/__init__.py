"""Training: the loop, its history, checkpoints."""

from .checkpoint import load, load_weights, save, save_weights
from .fit import evaluate, fit, mc_predict, predict
from .history import Epoch, History

__all__ = [
    "Epoch",
    "History",
    "evaluate",
    "fit",
    "load",
    "load_weights",
    "mc_predict",
    "predict",
    "save",
    "save_weights",
]
