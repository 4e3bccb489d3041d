"""Mixing two images of a batch, and their labels.  What comes out depends on the whole batch."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..random import Generator, Keys, as_keys
from .layout import Array, Batch

Float64 = NDArray[np.float64]


class _Mixing:
    """A callable ``(images, labels, rng)``."""

    def __init__(self, alpha: float = 1.0, num_classes: int | None = None) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < np.inf:
            raise ValueError(f"alpha must be positive, got {alpha!r}")
        if num_classes is not None and (not isinstance(num_classes, int | np.integer) or num_classes < 1):
            raise ValueError(f"num_classes must be a positive integer, got {num_classes!r}")
        self.alpha, self.num_classes = float(alpha), num_classes

    def __call__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        rng: Keys | Generator | int | None = None,
        *,
        params: dict[str, Any] | None = None,
        return_params: bool = False,
        layout: str | None = None,
    ) -> Any:
        """Images mixed, and labels (N, classes) mixed in the same shares; then the parameters, if asked for.

        Labels are class indices (N,), which need ``num_classes``, or already a distribution (N, classes).
        """
        batch = Batch.of(images, layout)
        n = len(batch.planes)
        shares = self._distributions(labels, n)
        if params is None:
            keys = as_keys(rng, n)
            params = self._draw(keys, batch.planes.shape) if n else {"partner": np.arange(0), "share": np.empty(0)}
        mixed, kept = self._mix(batch.planes, params) if n else (batch.planes, np.empty(0))
        kept = kept.astype(shares.dtype)[:, None]
        parts = (batch.back(mixed), kept * shares + (1 - kept) * shares[params["partner"]])
        return (*parts, params) if return_params else parts

    def _distributions(self, labels: ArrayLike, n: int) -> Array:
        array = np.asarray(labels)
        if array.ndim == 2 and len(array) == n and array.dtype.kind == "f":
            return array
        if array.ndim != 1 or len(array) != n or array.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be class indices ({n},) or float distributions ({n}, classes), got {array.shape}"
            )
        if self.num_classes is None:
            raise ValueError("labels are class indices: say num_classes")
        if n and not (array.min() >= 0 and array.max() < self.num_classes):
            raise ValueError(f"labels must lie in [0, {self.num_classes}), got {array.min()} to {array.max()}")
        one_hot: Array = np.eye(self.num_classes, dtype=np.float32)[array]
        return one_hot

    def _draw(self, keys: Keys, shape: tuple[int, ...]) -> dict[str, Any]:
        """Each image's partner is the next on a random way round the batch; its share is from Beta(alpha, alpha)."""
        u = keys.uniform(3)
        circle = np.argsort(u[:, 0], kind="stable")
        partner = np.empty(len(keys), np.int64)
        partner[circle] = np.roll(circle, -1)
        words = keys.fold(0).words.astype(np.uint64)
        seeds = words[:, 0] | words[:, 1] << np.uint64(32)
        share = [np.random.Generator(np.random.Philox(key=[int(s), 0])).beta(self.alpha, self.alpha) for s in seeds]
        return {"partner": partner, "share": np.array(share), "centre": u[:, 1:]}

    def _mix(self, planes: Array, params: dict[str, Any]) -> tuple[Array, Float64]:
        raise NotImplementedError


class MixUp(_Mixing):
    """Weighted sums of two images: x = λ x₁ + (1 - λ) x₂, λ from Beta(alpha, alpha) (Zhang and others 2018).

    torchvision draws one λ for a batch, this one for each image.
    """

    def _mix(self, planes: Array, params: dict[str, Any]) -> tuple[Array, Float64]:
        share: Float64 = params["share"]
        f = np.float64 if planes.dtype == np.float64 else np.float32
        weight = share.astype(f)[:, None, None, None]
        mixed = weight * planes + (1 - weight) * planes[params["partner"]]
        return (np.rint(mixed) if planes.dtype == np.uint8 else mixed).astype(planes.dtype), share


class CutMix(_Mixing):
    """A rectangle of another image (Yun and others 2019): of a share 1 - λ of the area, cut off at the border.

    The labels' shares are those of the pixels.
    """

    def _mix(self, planes: Array, params: dict[str, Any]) -> tuple[Array, Float64]:
        rows, columns = planes.shape[2:]
        half = np.sqrt(1 - params["share"])[:, None] * [rows, columns] / 2
        centre = np.floor(params["centre"] * [rows, columns])
        low, high = np.maximum(np.rint(centre - half), 0), np.minimum(np.rint(centre + half), [rows, columns])
        i, j = np.arange(rows), np.arange(columns)
        down = (i >= low[:, :1]) & (i < high[:, :1])
        along = (j >= low[:, 1:]) & (j < high[:, 1:])
        inside = down[:, None, :, None] & along[:, None, None, :]
        kept: Float64 = 1 - inside.mean((1, 2, 3)) if rows * columns else np.ones(len(planes))
        return np.where(inside, planes[params["partner"]], planes), kept
