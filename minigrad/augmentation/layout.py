"""Batches of images as they come, and as the kernels take them: planes (N, C, rows, columns)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import recording

Array = NDArray[Any]
CHANNELS = (1, 2, 3, 4)  # how many an axis has that is taken for the channels
LAYOUTS = {"NHW": 3, "NCHW": 4, "NHWC": 4}


def layout_of(images: Array, layout: str | None) -> str:
    """``layout`` itself, checked; for None it is told from the shape.

    Three axes are (N, H, W).  Of four axes, the second or the last has 1 to 4 channels; where both could be the
    channels, ``ValueError`` asks for the layout.
    """
    if layout is not None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be 'NHW', 'NCHW' or 'NHWC', got {layout!r}")
        if images.ndim != LAYOUTS[layout]:
            raise ValueError(f"images of layout {layout} have {LAYOUTS[layout]} axes, got shape {images.shape}")
        return layout
    if images.ndim == 3:
        return "NHW"
    if images.ndim != 4:
        raise ValueError(f"images must be (N, H, W), (N, C, H, W) or (N, H, W, C), got shape {images.shape}")
    first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
    if first == last:
        both = "both the second and the last" if first else "neither the second nor the last"
        raise ValueError(
            f"{both} axis of images {images.shape} could be the channels (1 to 4): say layout='NCHW' or layout='NHWC'"
        )
    return "NCHW" if first else "NHWC"


@dataclass(frozen=True)
class Batch:
    """Images as contiguous planes, and the way back."""

    planes: Array
    layout: str

    @classmethod
    def of(cls, images: Any, layout: str | None = None, name: str = "images", any_integer: bool = False) -> "Batch":
        """Check ``images`` and lay them out; they are never written to."""
        recording.refuse("augmenting images", "augment batches before the step and give them as inputs")
        array = np.asarray(images)
        if array.dtype.newbyteorder("=") not in (np.uint8, np.float32, np.float64) and not (
            any_integer and array.dtype.kind in "iub"
        ):
            raise TypeError(f"{name} must be uint8, float32 or float64, got {array.dtype}")
        chosen = layout_of(array, layout)
        planes = array[:, None] if chosen == "NHW" else np.moveaxis(array, 3, 1) if chosen == "NHWC" else array
        return cls(np.ascontiguousarray(planes, planes.dtype.newbyteorder("=")), chosen)

    def back(self, planes: Array) -> Array:
        """``planes`` in the layout of the batch, in memory of their own."""
        if np.may_share_memory(planes, self.planes):
            planes = planes.copy()
        if self.layout == "NHW":
            return planes[:, 0]
        return np.ascontiguousarray(np.moveaxis(planes, 1, 3)) if self.layout == "NHWC" else planes


def per_image(name: str, value: Any, n: int, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """A parameter as float64 (n, *shape): one value of ``shape`` for all images, or one for each.  Finite."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be numbers, got {value!r}")
    array = array.astype(np.float64)
    if array.shape not in (shape, (n, *shape)):
        one = f"of shape {shape}" if shape else "one number"
        raise ValueError(f"{name} must be {one}, or such for each of the {n} images, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return np.array(np.broadcast_to(array, (n, *shape)))


def pair(name: str, size: Any) -> tuple[int, int]:
    """(rows, columns) of positive integers; one integer stands for both."""
    values = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, int | np.integer) or v < 1 for v in values):
        raise ValueError(f"{name} must be one or two positive integers, got {size!r}")
    return int(values[0]), int(values[1])


def top_of(planes: Array) -> float:
    """The value of white: 255 of bytes, 1 of floats."""
    return 255.0 if planes.dtype == np.uint8 else 1.0
