"""Exceptions that NumPy and PyTorch have no name for."""


class GraphError(RuntimeError):
    """A backward pass that cannot be right: a freed graph, or a saved array that was overwritten."""


class CaptureError(RuntimeError):
    """A step that cannot be recorded, or a program that no longer fits what it was recorded with."""
