"""What all transforms share, and the ways to put them together.

A transform is a callable ``(images, rng)``.  What it draws for an image depends on the image's key and on the
transform's position in its Compose alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..random import Generator, Keys, as_keys
from .geometry import Geometry, Sampling
from .layout import Array, Batch

Size: TypeAlias = tuple[int, int]
Params: TypeAlias = dict[str, Any]  # arrays with an entry for each image, or such dictionaries


@dataclass(frozen=True)
class Sample:
    """Images as planes (N, C, rows, columns), and what lies on them: masks alike, and points (N, K, 2)."""

    planes: Array
    masks: Array | None = None
    points: NDArray[np.float64] | None = None

    def rows(self, rows: Array) -> "Sample":
        """Those of some of the images."""
        masks = None if self.masks is None else self.masks[rows]
        return Sample(self.planes[rows], masks, None if self.points is None else self.points[rows])

    def merged(self, rows: Array, changed: "Sample") -> "Sample":
        """With some of the images changed."""
        if rows.all():
            return changed

        def put(a: Any, b: Any) -> Any:
            if a is None or b is None:
                return a
            if a.shape[1:] != b.shape[1:]:
                raise ValueError(
                    f"what is applied to some images must keep their shape: {a.shape[1:]} became {b.shape[1:]}"
                )
            a = a.copy()
            a[rows] = b
            return a

        masks, points = put(self.masks, changed.masks), put(self.points, changed.points)
        return Sample(put(self.planes, changed.planes), masks, points)


class Transform:
    """A callable ``(images, rng)``; subclasses say what they ``draw`` and what they make of ``pixels``."""

    def __call__(
        self,
        images: ArrayLike,
        rng: Keys | Generator | int | None = None,
        *,
        masks: ArrayLike | None = None,
        points: ArrayLike | None = None,
        params: Params | None = None,
        return_params: bool = False,
        layout: str | None = None,
    ) -> Any:
        """Transform a batch: uint8 or floats, (N, H, W), (N, C, H, W) or (N, H, W, C), the same dtype and layout out.

        Parameters
        ----------
        rng : Keys, Generator, int or None
            ``minigrad.random.keys(seed, epoch, indices)``, one key for each image; or a generator or seed from which
            they are made; None asks the default generator.
        masks : integers or floats (N, H, W) or of four axes, optional
            Take part in the geometry alone, by nearest pixel; outside they are 0.
        points : (N, K, 2), optional
            Each (x, y) in pixels; they go where the pixels there go.
        params : dict, optional
            What an earlier call returned as its parameters: done again, without drawing.
        return_params : bool
            Return the parameters, too.
        layout : "NHW", "NCHW" or "NHWC", optional
            Where the shape alone leaves it open.

        Returns
        -------
        The images, or a tuple of images, masks (if given), points (if given), parameters (if asked for).
        """
        batch = Batch.of(images, layout)
        n, channels, rows, columns = batch.planes.shape
        covers = None if masks is None else Batch.of(masks, _mask_layout(masks, batch), "masks", any_integer=True)
        places = None if points is None else np.array(points, np.float64)
        if covers is not None and (len(covers.planes), *covers.planes.shape[2:]) != (n, rows, columns):
            raise ValueError(f"masks must be as many and as large as the images, got {covers.planes.shape}")
        if places is not None and (places.ndim != 3 or places.shape[::2] != (n, 2)):
            raise ValueError(f"points must be (N, K, 2) with N = {n}, got {places.shape}")
        if params is None:
            params = self.draw(as_keys(rng, n), (channels, rows, columns))
        else:
            _check_params(params, n)
        changed = self.apply(Sample(batch.planes, None if covers is None else covers.planes, places), params)
        parts: list[Any] = [batch.back(changed.planes)]
        if covers is not None and changed.masks is not None:
            parts.append(covers.back(changed.masks))
        if changed.points is not None:
            parts.append(changed.points)
        if return_params:
            parts.append(params)
        return parts[0] if len(parts) == 1 else tuple(parts)

    def draw(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        """The parameters of each image, from its key; ``shape`` is (channels, rows, columns)."""
        return {}

    def apply(self, sample: Sample, params: Params) -> Sample:
        """With parameters drawn before."""
        return replace(sample, planes=self.pixels(sample.planes, params)) if len(sample.planes) else self.empty(sample)

    def empty(self, sample: Sample) -> Sample:
        """Of no images: only their size may change."""
        size = self.size((sample.planes.shape[2], sample.planes.shape[3]))
        planes = np.empty((*sample.planes.shape[:2], *size), sample.planes.dtype)
        masks = None if sample.masks is None else np.empty((*sample.masks.shape[:2], *size), sample.masks.dtype)
        return Sample(planes, masks, sample.points)

    def pixels(self, planes: Array, params: Params) -> Array:
        """The images (N, C, rows, columns), at least one, changed, in memory of their own or as they are."""
        raise NotImplementedError(f"{type(self).__name__} must define pixels or apply")

    def size(self, size: Size) -> Size:
        """Rows and columns of what images of ``size`` become."""
        return size

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({settings})"


class Geometric(Transform):
    """A transform that moves pixels: subclasses give its ``geometry``, and Compose joins neighbours into one map."""

    sampling: Sampling

    def geometry(self, params: Params, size: Size) -> Geometry:
        """The maps of images of ``size``."""
        raise NotImplementedError(f"{type(self).__name__} must define geometry")

    def apply(self, sample: Sample, params: Params) -> Sample:
        return (
            _moved(sample, self.geometry(params, _size(sample)), self.sampling)
            if len(sample.planes)
            else self.empty(sample)
        )


def _size(sample: Sample) -> Size:
    return sample.planes.shape[2], sample.planes.shape[3]


def _moved(sample: Sample, geometry: Geometry, sampling: Sampling) -> Sample:
    masks = sample.masks
    if masks is not None:
        wide = masks if masks.dtype in (np.uint8, np.float32, np.float64) else masks.astype(np.float64)
        masks = geometry.resample(wide, Sampling("nearest", sampling.padding_mode)).astype(masks.dtype)
    points = None if sample.points is None else geometry.move(sample.points)
    return Sample(geometry.resample(sample.planes, sampling), masks, points)


def _mask_layout(masks: ArrayLike, batch: Batch) -> str:
    return "NHW" if np.ndim(masks) == 3 else "NCHW" if batch.layout == "NHW" else batch.layout


def _check_params(params: Params, n: int) -> None:
    for name, value in params.items():
        if isinstance(value, dict):
            _check_params(value, n)
        elif len(value) != n:
            raise ValueError(f"params[{name!r}] is of {len(value)} images, the batch has {n}")


def _rows(params: Params, rows: Array) -> Params:
    return {k: _rows(v, rows) if isinstance(v, dict) else v[rows] for k, v in params.items()}


# Together ---------------------------------------------------------------------------------------------------


class _Several(Transform):
    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)
        for t in self.transforms:
            if not isinstance(t, Transform):
                raise TypeError(f"transforms must be transforms of minigrad.augmentation, got {t!r}")

    def _draw_all(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        params = {}
        for i, t in enumerate(self.transforms):
            params[str(i)] = t.draw(keys.fold(i), shape)
            shape = (shape[0], *t.size((shape[1], shape[2])))
        return params

    def _apply_some(self, sample: Sample, params: Params, which: Array) -> Sample:
        """To each image the transform whose number it has in ``which``; -1 is none."""
        for i, t in enumerate(self.transforms):
            rows = which == i
            if rows.any():
                sample = sample.merged(rows, t.apply(sample.rows(rows), _rows(params[str(i)], rows)))
        return sample


class Compose(_Several):
    """One transform after the other.

    Geometric neighbours with the same interpolation, padding mode and fill become one map and one resampling: what
    one of them would push out of the frame is still there for the next.
    """

    def draw(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        return self._draw_all(keys, shape)

    def size(self, size: Size) -> Size:
        for t in self.transforms:
            size = t.size(size)
        return size

    def apply(self, sample: Sample, params: Params) -> Sample:
        pending: tuple[Geometry, Sampling] | None = None
        for i, t in enumerate(self.transforms):
            own = params[str(i)]
            if isinstance(t, Geometric) and len(sample.planes):
                if pending is not None and pending[1] == t.sampling:
                    pending = (pending[0].then(t.geometry(own, pending[0].size)), t.sampling)
                    continue
                if pending is not None:
                    sample = _moved(sample, *pending)
                pending = (t.geometry(own, _size(sample)), t.sampling)
                continue
            if pending is not None:
                sample, pending = _moved(sample, *pending), None
            sample = t.apply(sample, own)
        return sample if pending is None else _moved(sample, *pending)


class RandomApply(_Several):
    """All transforms in order, or none of them: each image with probability ``p``."""

    def __init__(self, transforms: Sequence[Transform], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = probability(p)

    def draw(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        return {"chosen": keys.uniform()[:, 0] < self.p, **self._draw_all(keys, shape)}

    def apply(self, sample: Sample, params: Params) -> Sample:
        rows = params["chosen"]
        if not rows.any():
            return sample
        inner = {k: v for k, v in params.items() if k != "chosen"}
        return sample.merged(rows, Compose(self.transforms).apply(sample.rows(rows), _rows(inner, rows)))


class OneOf(_Several):
    """One transform for each image, drawn with the weights ``p``, by default evenly (torchvision: RandomChoice)."""

    def __init__(self, transforms: Sequence[Transform], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        weights = np.ones(len(self.transforms)) if p is None else np.asarray(p, float)
        if (
            not self.transforms
            or weights.shape != (len(self.transforms),)
            or not (weights >= 0).all()
            or not weights.sum() > 0
        ):
            raise ValueError(f"p must be a weight, at least 0, for each of the transforms, got {p!r}")
        self.p = (weights / weights.sum()).tolist()

    def draw(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        which = np.searchsorted(np.cumsum(self.p)[:-1], keys.uniform()[:, 0], side="right")
        return {"which": which, **self._draw_all(keys, shape)}

    def _draw_all(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        return {str(i): t.draw(keys.fold(i), shape) for i, t in enumerate(self.transforms)}

    def apply(self, sample: Sample, params: Params) -> Sample:
        return self._apply_some(sample, params, params["which"])


class RandomOrder(OneOf):
    """All transforms, for each image in an order of its own."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        _Several.__init__(self, transforms)

    def draw(self, keys: Keys, shape: tuple[int, int, int]) -> Params:
        order = np.argsort(keys.uniform(len(self.transforms)), axis=1, kind="stable")
        return {"order": order, **self._draw_all(keys, shape)}

    def apply(self, sample: Sample, params: Params) -> Sample:
        for which in params["order"].T:
            sample = self._apply_some(sample, params, which)
        return sample


def probability(p: float) -> float:
    """``p``, checked to be a number from 0 to 1."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"p must be a number from 0 to 1, got {p!r}")
    return float(p)


def interval(name: str, value: Any, around: float | None = None, least: float = -np.inf) -> tuple[float, float]:
    """(low, high); a single number v is (around - v, around + v), cut off at ``least``."""
    if np.ndim(value) == 0 and around is not None:
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value!r}")
        return max(around - float(value), least), around + float(value)
    low_high = np.asarray(value, float)
    if low_high.shape != (2,) or not least <= low_high[0] <= low_high[1] < np.inf:
        raise ValueError(f"{name} must be (low, high) with {least} <= low <= high, got {value!r}")
    return float(low_high[0]), float(low_high[1])


def between(unit: Array, bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Numbers in [0, 1) spread over an interval."""
    spread: NDArray[np.float64] = bounds[0] + (bounds[1] - bounds[0]) * unit
    return spread
