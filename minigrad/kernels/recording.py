"""What a recorder must be told that kernel calls do not show.

``minigrad.capture`` sets a recorder while it runs a step; the layers above the
kernels tell it of writes and gradients, and refuse what a replay could not repeat.
"""

import threading
from typing import Any

from ..errors import CaptureError

current: Any = None


def recorder() -> Any:
    """The recorder of the running thread, or None."""
    return current if current is not None and current.thread == threading.get_ident() else None


def refuse(what: str, advice: str) -> None:
    """Raise ``CaptureError`` while a step is recorded: ``what`` would not happen again in a replay."""
    if current is not None and recorder() is not None:
        raise CaptureError(f"{what} cannot be recorded; {advice}")


READING = "a replay runs no Python: keep to operations, as where() for a branch, or return the tensor from the step"
