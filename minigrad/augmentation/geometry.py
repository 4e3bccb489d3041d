"""Geometry: where each pixel of a result comes from, composed as maps, and one resampling at the end.

A map goes from pixels of the result to places in the image: x to the right, y down, in pixels, the centre of the
first pixel at (0, 0).  Maps of one batch are matrices (N, 3, 3), lenses (N, 9) and fields (N, 2, rows, columns).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.launch import empty_array, launch
from .layout import Array

Float64 = NDArray[np.float64]

INTERPOLATIONS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
PADDING_MODES = {"constant": 0, "edge": 1, "reflect": 2, "symmetric": 3, "wrap": 4}


@dataclass(frozen=True)
class Sampling:
    """How pixels are found between pixels, and outside of the image.

    ``padding_mode`` is one of NumPy's: "constant" (``fill``, in the unit of the pixels), "edge", "reflect" (without
    repeating the edge), "symmetric" (repeating it), "wrap".  "bicubic" is Keys's (1981) with a = -0.75.
    """

    interpolation: str = "bilinear"
    padding_mode: str = "constant"
    fill: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("interpolation", self.interpolation, INTERPOLATIONS),
            ("padding_mode", self.padding_mode, PADDING_MODES),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if isinstance(self.fill, bool) or not isinstance(self.fill, int | float | np.integer | np.floating):
            raise TypeError(f"fill must be a number, got {self.fill!r}")
        if not np.isfinite(self.fill):
            raise ValueError(f"fill must be finite, got {self.fill!r}")


@dataclass(frozen=True)
class Lens:
    """Brown's model (1966) as OpenCV has it: k1 k2 p1 p2 k3, focal lengths and centre in pixels, (N, 9)."""

    numbers: Float64


@dataclass(frozen=True)
class Field:
    """Displacements (dx, dy) in pixels, (N, 2, rows, columns): a result's pixel p comes from p + field(p)."""

    pixels: Array


@dataclass(frozen=True)
class Geometry:
    """Maps one after the other, the first applied to the image first; ``size`` (rows, columns) is the result's."""

    stages: tuple[Float64 | Lens | Field, ...]
    size: tuple[int, int]

    def then(self, after: "Geometry") -> "Geometry":
        """This, and ``after`` applied to its result."""
        return Geometry(self.stages + after.stages, after.size)

    def settled(self, n: int) -> tuple[Array, Float64]:
        """All stages as a field, (0, 2, rows, columns) for none, and after it matrix and lens, (N, 2, 9)."""
        rows, columns = self.size
        field: Array = np.empty((0, 2, rows, columns), np.float32)
        identity: Float64 = np.broadcast_to(np.eye(3), (n, 3, 3))
        matrix = identity
        lens: Float64 | None = None

        def flush() -> None:
            nonlocal field, matrix, lens
            before = field if len(field) else np.zeros((n, 2, rows, columns), np.float32)
            field = np.empty_like(before)
            launch("displacement", (field, before, _as_map(matrix, lens)))
            matrix, lens = identity, None

        for stage in reversed(self.stages):
            if isinstance(stage, Field):
                given = np.ascontiguousarray(stage.pixels, np.float32)
                if len(field) == 0 and matrix is identity and lens is None and given.shape[2:] == self.size:
                    field = given
                    continue
                flush()
                found = np.empty_like(field)
                launch("warp", (found, given, _as_map(matrix, None), field), (1, PADDING_MODES["edge"], 0))
                field = field + found
            elif lens is not None:
                flush()
                matrix, lens = (matrix, stage.numbers) if isinstance(stage, Lens) else (stage, None)
            elif isinstance(stage, Lens):
                lens = stage.numbers
            else:
                matrix = stage if matrix is identity else stage @ matrix
        return field, _as_map(matrix, lens)

    def resample(self, planes: Array, sampling: Sampling) -> Array:
        """Images (N, C, rows, columns), all stages in one resampling; whole shifts and flips copy pixels."""
        n, channels = planes.shape[:2]
        out = empty_array((n, channels, *self.size), planes.dtype)
        if out.size and not planes.size:
            raise ValueError(f"images without pixels, {planes.shape}, cannot be resampled to {self.size}")
        border, fill = PADDING_MODES[sampling.padding_mode], float(sampling.fill)
        if planes.dtype == np.uint8 and not 0 <= fill <= 255:
            raise ValueError(f"fill must lie between 0 and 255 for uint8 images, got {sampling.fill!r}")
        field, map = self.settled(n)
        if len(field) == 0 and (window := _as_window(map, self.size)) is not None:
            launch("crop", (out, planes, window), (border, fill))
        else:
            if planes.dtype == np.float64:
                field = field.astype(np.float64)
            launch("warp", (out, planes, map, field), (INTERPOLATIONS[sampling.interpolation], border, fill))
        return out

    def move(self, points: Float64) -> Float64:
        """Points (N, K, 2), each (x, y), go where the pixels there go."""
        for stage in self.stages:
            if isinstance(stage, Lens):
                points = _solved(points, through_lens, stage.numbers)
            elif isinstance(stage, Field):
                points = _solved(points, through_field, stage.pixels)
            else:
                points = project(points, np.linalg.inv(stage).astype(np.float64))
        return points


def _as_map(matrix: Float64, lens: Float64 | None) -> Float64:
    map = np.zeros((len(matrix), 2, 9))
    bottom = matrix[:, 2:, 2:]
    map[:, 0] = np.divide(matrix, bottom, out=matrix.copy(), where=bottom != 0).reshape(-1, 9)
    if lens is not None:
        map[:, 1] = lens
    return map


def _as_window(map: Float64, size: tuple[int, int]) -> NDArray[np.int64] | None:
    """(top, left, upside down, mirrored) of each image if all maps are flips and whole shifts, else None."""
    m = map[:, 0]
    if map[:, 1].any() or m[:, [1, 3, 6, 7]].any() or not (np.abs(m[:, [0, 4]]) == 1).all():
        return None
    shift = m[:, [5, 2]]
    if (shift != np.rint(shift)).any() or (np.abs(shift) > 2**40).any():
        return None
    window = np.empty((len(m), 4), np.int64)
    window[:, 2:] = m[:, [4, 0]] < 0
    window[:, :2] = shift - window[:, 2:] * (np.array(size) - 1)
    return window


# Points -----------------------------------------------------------------------------------------------


def project(points: Float64, matrix: Float64) -> Float64:
    """Points (N, K, 2) through matrices (N, 3, 3)."""
    moved: Float64 = np.concatenate([points, np.ones_like(points[..., :1])], -1) @ matrix.swapaxes(1, 2)
    return moved[..., :2] / moved[..., 2:]


def through_lens(points: Float64, numbers: Float64) -> Float64:
    """Brown's formula: points (N, K, 2) of a result to places in the image."""
    k1, k2, p1, p2, k3, focal_x, focal_y, centre_x, centre_y = numbers.T[..., None]
    u, v = (points[..., 0] - centre_x) / focal_x, (points[..., 1] - centre_y) / focal_y
    r = u * u + v * v
    radial = 1 + k1 * r + k2 * r**2 + k3 * r**3
    x = u * radial + 2 * p1 * u * v + p2 * (r + 2 * u * u)
    y = v * radial + p1 * (r + 2 * v * v) + 2 * p2 * u * v
    return np.stack([x * focal_x + centre_x, y * focal_y + centre_y], -1)


def through_field(points: Float64, field: Array) -> Float64:
    """Points (N, K, 2) of a result to places in the image, by a field (N, 2, rows, columns)."""
    return points + _field_at(points, field)


def _solved(points: Float64, map: Callable[[Float64, Any], Float64], numbers: Any) -> Float64:
    """What ``map``, with its numbers, takes to the points: by steps of what is missing, a hundred at most."""
    found = points
    for _ in range(100):
        missing = points - map(found, numbers)
        if not (np.abs(missing) > 1e-9).any():
            break
        found = found + missing
    return found


def _field_at(points: Float64, field: Array) -> Float64:
    """A field between its pixels, bilinear; beyond its edge as at it."""
    rows, columns = field.shape[2:]
    x, y = np.clip(points[..., 0], 0, columns - 1), np.clip(points[..., 1], 0, rows - 1)
    j, i = np.minimum(x.astype(int), max(columns - 2, 0)), np.minimum(y.astype(int), max(rows - 2, 0))
    a, b = (x - j)[..., None], (y - i)[..., None]
    n = np.arange(len(points))[:, None]

    def at(down: int, along: int) -> Array:
        return field[n, :, np.minimum(i + down, rows - 1), np.minimum(j + along, columns - 1)]

    upper, lower = at(0, 0) * (1 - a) + at(0, 1) * a, at(1, 0) * (1 - a) + at(1, 1) * a
    found: Float64 = upper * (1 - b) + lower * b
    return found


# Matrices ------------------------------------------------------------------------------------------------


def cos_sin(degrees: Float64) -> tuple[Float64, Float64]:
    """Exact at multiples of 90 degrees."""
    quarters = np.rint(degrees / 90)
    rest = np.deg2rad(degrees - 90 * quarters)
    c, s, q = np.cos(rest), np.sin(rest), quarters.astype(np.int64) % 4
    return np.choose(q, [c, -s, -c, s]), np.choose(q, [s, c, -s, -c])


def about(linear: Float64, centre: Any, shift: Any = (0.0, 0.0)) -> Float64:
    """The matrices (N, 3, 3) of linear maps (N, 2, 2) around a centre (x, y) of pixels moved by ``shift``."""
    matrix = np.zeros((len(linear), 3, 3))
    matrix[:, :2, :2], matrix[:, 2, 2] = linear, 1
    centre = np.asarray(centre, float)
    x, y = (centre + shift).T
    for row in (0, 1):
        matrix[:, row, 2] = centre[..., row] - (linear[:, row, 0] * x + linear[:, row, 1] * y)
    return matrix


def middle(size: tuple[int, int]) -> tuple[float, float]:
    """The centre (x, y) of an image of so many rows and columns."""
    return (size[1] - 1) / 2, (size[0] - 1) / 2


def affine_matrix(
    size: tuple[int, int], angle: Float64, translate: Float64, scale: Float64, shear: Float64, center: Any = None
) -> Float64:
    """From the result to the image, (N, 3, 3): turned by ``angle`` degrees clockwise after shearing, see ``affine``."""
    c, s = cos_sin(angle - shear[:, 1])
    tan_x, cos_y = np.tan(np.deg2rad(shear[:, 0])), np.cos(np.deg2rad(shear[:, 1]))
    cos, sin = cos_sin(angle)
    forward = np.empty((len(angle), 2, 2))
    forward[:, 0, 0], forward[:, 0, 1] = c / cos_y, -c * tan_x / cos_y - sin
    forward[:, 1, 0], forward[:, 1, 1] = s / cos_y, -s * tan_x / cos_y + cos
    inverse = np.empty_like(forward)  # its determinant is 1
    inverse[:, 0, 0], inverse[:, 0, 1] = forward[:, 1, 1], -forward[:, 0, 1]
    inverse[:, 1, 0], inverse[:, 1, 1] = -forward[:, 1, 0], forward[:, 0, 0]
    return about(inverse / scale[:, None, None], middle(size) if center is None else center, translate)


def perspective_matrix(startpoints: Float64, endpoints: Float64) -> Float64:
    """The map that takes four ``endpoints`` (N, 4, 2) of a result to the ``startpoints`` of its image."""
    n = len(startpoints)
    x, y = endpoints[..., 0], endpoints[..., 1]
    equations = np.zeros((n, 8, 8))
    for axis in (0, 1):
        rows = slice(axis * 4, axis * 4 + 4)
        equations[:, rows, 3 * axis], equations[:, rows, 3 * axis + 1], equations[:, rows, 3 * axis + 2] = x, y, 1
        equations[:, rows, 6], equations[:, rows, 7] = -x * startpoints[..., axis], -y * startpoints[..., axis]
    targets = startpoints.swapaxes(1, 2).reshape(n, 8, 1)
    try:
        solved = np.linalg.solve(equations, targets)[..., 0]
    except np.linalg.LinAlgError:
        raise ValueError("endpoints must be four corners of which no three lie on a line") from None
    return np.concatenate([solved, np.ones((n, 1))], 1).reshape(n, 3, 3)


def flipped(geometry: Geometry, axis: int, rows: NDArray[np.bool_]) -> Geometry:
    """The images of ``rows`` upside down (axis 1) or mirrored (axis 0)."""
    matrix = np.tile(np.eye(3), (len(rows), 1, 1))
    matrix[rows, axis, axis] = -1
    matrix[rows, axis, 2] = geometry.size[1 - axis] - 1
    return replace(geometry, stages=(*geometry.stages, matrix))
