"""Training: the loop, its history, checkpoints."""

from .checkpoint import load, save
from .fit import evaluate, fit, predict
from .history import Epoch, History

__all__ = ["Epoch", "History", "evaluate", "fit", "load", "predict", "save"]
