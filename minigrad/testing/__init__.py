"""Checks for your own operations: gradients against central differences, and arguments to check them at.

``minigrad.testing.strategies`` draws arguments from an operation's domain.  It needs
Hypothesis (``minigrad[test]``), and is imported only by those who name it.
"""

from ..ops.domain import Bits, Boolean, Domain, Integer, Labels, Matrix, Real
from .gradients import GradientError, NotSmoothError, check_grads

__all__ = [
    "Bits",
    "Boolean",
    "Domain",
    "GradientError",
    "Integer",
    "Labels",
    "Matrix",
    "NotSmoothError",
    "Real",
    "check_grads",
]
