"""The kernel layer: the table, the door, and which target runs."""

from .launch import active, num_threads, observe, set_num_threads, targets, use
from .table import KERNELS, Kernel

__all__ = [
    "KERNELS",
    "Kernel",
    "active",
    "num_threads",
    "observe",
    "set_num_threads",
    "targets",
    "use",
]
