"""Looking at what a transform does."""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..random import Generator, Keys, as_keys
from .layout import Batch
from .transforms import Transform


def show(
    transform: Transform,
    images: ArrayLike,
    rng: Keys | Generator | int | None = 0,
    *,
    results: int = 5,
    layout: str | None = None,
) -> Any:
    """Draw a grid: a row for each image, first as it is, then ``results`` times transformed.

    Returns the Matplotlib figure, which its ``savefig`` writes to a file.  Needs the extra ``minigrad[plot]``.
    """
    try:
        figure_module, backend = import_module("matplotlib.figure"), import_module("matplotlib.backends.backend_agg")
    except ImportError:
        raise ImportError("augmentation.show needs Matplotlib: pip install minigrad[plot]") from None
    batch = Batch.of(images, layout)
    n = len(batch.planes)
    if n == 0 or results < 1:
        raise ValueError(f"show needs at least one image and one result, got {n} and {results}")
    keys = as_keys(rng, n)
    columns = [batch.planes] + [transform(batch.planes, keys.fold(i), layout="NCHW") for i in range(results)]
    figure = figure_module.Figure(figsize=(1.2 * len(columns), 1.25 * n + 0.25), layout="constrained")
    backend.FigureCanvasAgg(figure)
    axes = figure.subplots(n, len(columns), squeeze=False)
    for j, planes in enumerate(columns):
        for i, image in enumerate(planes):
            draw_image(axes[i][j], image)
            if i == 0:
                axes[i][j].set_title("original" if j == 0 else f"{j}", fontsize=8)
    return figure


def draw_image(axes: Any, image: Any) -> None:
    """A (C, rows, columns) image on Matplotlib's axes, black at 0 and white at the top of its dtype."""
    top = 255 if image.dtype == np.uint8 else 1
    shown = np.clip(image.astype(np.float64) / top, 0, 1)
    shown = np.moveaxis(shown[:3], 0, 2) if len(shown) >= 3 else shown[0]
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
