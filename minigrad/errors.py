"""Exceptions that NumPy and PyTorch have no name for."""


class GraphError(RuntimeError):
    """A backward pass that cannot be right: a freed graph, or a saved array that was overwritten."""
