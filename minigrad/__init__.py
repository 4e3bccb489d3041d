"""minigrad: reverse-mode autodiff you can read, kernels in C, training done right."""

from . import _engine as _engine  # chooses the compiled or the Python engine, before anything imports it

# isort: split
from . import (
    augmentation,
    data,
    func,
    kernels,
    nn,
    ops,
    optim,
    preprocessing,
    random,
    regularizers,
    schedules,
    training,
)
from .autograd import backward, debug, enable_grad, grad, is_grad_enabled, no_grad
from .capture import Program, capture
from .errors import CaptureError, GraphError
from .kernels import num_threads, set_num_threads
from .operations import operation
from .ops import *  # noqa: F403
from .ops import linalg
from .random import manual_seed
from .tensor import Tensor

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "GraphError",
    "Program",
    "Tensor",
    "augmentation",
    "backward",
    "capture",
    "data",
    "debug",
    "enable_grad",
    "func",
    "grad",
    "is_grad_enabled",
    "kernels",
    "linalg",
    "manual_seed",
    "nn",
    "no_grad",
    "num_threads",
    "operation",
    "ops",
    "optim",
    "preprocessing",
    "random",
    "regularizers",
    "schedules",
    "set_num_threads",
    "training",
    *(name for name in ops.__all__ if name not in ("assign_", "getitem")),
]
