"""Gradients against central differences, at every order: a checker that must be seen to fail."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..autograd import enable_grad, grad
from ..random import Generator, as_generator, default_generator
from ..tensor import Tensor

Array = NDArray[np.float64]
Function = Callable[[Sequence[Tensor]], list[Tensor]]

_EPS, _TINY = 2.0**-52, 2.0**-1022
_CLEAR = 1e-8  # a slope known to this part of itself can confirm at once
_KNOWN = 1e-3  # one known worse than this cannot contradict,
_SMALL = 1e-8  # unless its noise is so small a part of f that the slope is known to be small
_ROUND = 1e-12  # noise so small a part of f is rounding, and confirms at once
_NOTHING = 1e-18  # a gradient that over the first step is so small a part of f
_MOVES = 8  # gradients at inputs an ulp or a few away tell the rounding errors of the rules,
_OWN = 4  # which are at most so many times what these differ by
_ELEMENTS = 100  # of a larger input so many elements are looked at,
_MIXTURES = 4  # and so many random directions through all of them

_POINTS = np.arange(-4, 5)
# From nine equally spaced values: the slope of eighth order, that of sixth order, the eighth difference.
_STENCILS = np.array([
    [1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280],
    [0, -1 / 60, 3 / 20, -3 / 4, 0, 3 / 4, -3 / 20, 1 / 60, 0],
    [1, -8, 28, -56, 70, -56, 28, -8, 1],
])  # fmt: skip


class GradientError(AssertionError):
    """A gradient that central differences contradict."""


class NotSmoothError(ValueError):
    """No verdict: at these inputs f jumps, has a kink, is not finite, or is lost in rounding errors."""


def check_grads(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    eps: float = 2.0**-8,
    rtol: float = 1e-8,
    atol: float = 0.0,
    rng: Generator | int = 0,
) -> None:
    """Check the gradients of ``f(*inputs)``, a tensor or several, up to ``order`` times differentiated.

    For a random cotangent v, the engine's gradient of ``sum(v * f(x))`` must equal
    the slope of that sum, ``(s(x + h u) - s(x - h u)) / 2h`` in its eighth-order form,
    along every u of the standard basis, for every input.  Order 2 checks in the same
    way the function ``(x, v) -> gradient``, built with ``create_graph=True``, and so on.

    inputs : floating arrays and tensors become float64 leaves; anything else, such as
        labels or numbers, is passed on as it is.  Close over what is to stay constant.
    order : the highest derivative that is checked.
    eps : the first step h, relative to the element.
    rtol, atol : what may remain between the two beside the rounding errors of f itself.
    rng : what cotangents and directions are drawn from; the default generator stays where it is.

    The engine's a and the numeric slope d agree if ``|a - d| <= atol + rtol |d| + doubt``.
    The doubt is measured: by how much the slopes of eighth and sixth order differ, and
    what their polynomial does not explain.  Where it is more than 1e-8 of d, narrower and
    wider steps are tried, and the one of least doubt decides.  An engine that disagrees then is
    allowed its own rounding errors: by how much a changes when inputs and v move by a few ulps, if that
    is no more than rounding explains.  There are two cotangents, the second relative to f, so that
    small outputs count beside large ones.  Of an input with more than 100 elements 100 are
    drawn, and 4 random directions u through all.

    Raises ``GradientError`` for a wrong gradient, naming order, input and element;
    ``NotSmoothError`` where f is not smooth or not finite, so that differences tell
    nothing; ``ValueError`` if f is not deterministic.

    Central differences: B. Fornberg, Generation of finite difference formulas on
    arbitrarily spaced grids, Mathematics of Computation 51 (1988).

    >>> import minigrad as mg
    >>> from minigrad.testing import check_grads
    >>> check_grads(lambda x, w: mg.tanh(x @ w), np.ones((2, 3)), np.eye(3), order=3)

    >>> @mg.operation(x=lambda g, x: g * x)
    ... def square(x, /):
    ...     return x * x
    >>> check_grads(square, np.array([3.0, 1.0]))
    Traceback (most recent call last):
    ...
    minigrad.testing.gradients.GradientError: order 1, input 0, element (0,): ...
    """
    before = default_generator().state()
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"order must be an integer of at least 1, got {order!r}")
    if not (0 < eps < 1 and rtol >= 0 and atol >= 0):
        raise ValueError(f"check_grads needs 0 < eps < 1, rtol >= 0 and atol >= 0, got {eps}, {rtol} and {atol}")
    arrays = {i: _as_float64(x) for i, x in enumerate(inputs) if _is_floating(x)}
    if not arrays:
        raise ValueError("check_grads needs at least one floating array or tensor among the inputs")

    def function(leaves: Sequence[Tensor]) -> list[Tensor]:
        arguments = list(inputs)
        for i, leaf in zip(arrays, leaves, strict=True):
            arguments[i] = leaf
        return _floating_outputs(f(*arguments))

    try:
        with enable_grad(), np.errstate(all="ignore"):
            names = [f"input {i}" for i in arrays]
            level = _Level(function, list(arrays.values()), names, 1, as_generator(rng))
            level.check(eps, rtol, atol)
            for _ in range(order - 1):
                level = level.derivative()
                level.check(eps, rtol, atol)
    finally:
        default_generator().set_state(before)


def _is_floating(x: Any) -> bool:
    return isinstance(x, Tensor | np.ndarray) and x.dtype.kind == "f"


def _as_float64(x: Any) -> Array:
    return np.array(x.data if isinstance(x, Tensor) else x, np.float64)


def _floating_outputs(result: Any) -> list[Tensor]:
    """What f returned, as far as it can have a gradient."""
    outputs = list(result) if isinstance(result, tuple | list) else [result]
    for i, y in enumerate(outputs):
        if not isinstance(y, Tensor):
            raise TypeError(f"f must return a tensor or several, got {type(y).__name__} as output {i}")
        if y.dtype.kind == "f" and y.dtype != np.float64:
            raise TypeError(f"f must keep to float64 to be checked, but its output {i} is {y.dtype}")
    found = [y for y in outputs if y.dtype.kind == "f"]
    if not found:
        raise ValueError("f returned no floating tensor, so there is nothing to check")
    return found


# One order -----------------------------------------------------------------------------


class _Level:
    """A function of one order, the point where it is checked, and two cotangents of its outputs.

    ``least`` is what an output's rounding errors are at least relative to: where terms
    cancel, a gradient is far smaller than the numbers that it is made of.
    """

    def __init__(
        self,
        function: Function,
        at: list[Array],
        names: list[str],
        order: int,
        rng: Generator,
        least: Array | float = 0,
    ) -> None:
        self.function, self.at, self.names, self.order, self.rng = function, at, names, order, rng
        outputs = self.outputs(at)
        self.shapes = [y.shape for y in outputs]
        self.values = _flat(outputs)
        self.require_sound()
        self.sizes = np.maximum(np.abs(self.values), np.maximum(least, _TINY))
        relative = np.concatenate([_magnitudes(y.data.ravel()) for y in outputs])
        self.cotangents = [_signed(rng, self.values.size), _signed(rng, self.values.size) / relative]

    def outputs(self, at: Sequence[Array]) -> list[Tensor]:
        return self.function([Tensor(x.copy(), requires_grad=True) for x in at])

    def require_sound(self) -> None:
        """Raise unless f is finite here and gives the same again."""
        where = f" (in the derivative of order {self.order - 1})" if self.order > 1 else ""
        if not np.isfinite(self.values).all():
            raise NotSmoothError(f"f gives {self.values[~np.isfinite(self.values)][0]} at these inputs{where}")
        again = _flat(self.outputs(self.at))
        if again.shape != self.values.shape or not _close(again, self.values, 1e-9):
            raise ValueError(
                f"f is not deterministic: two calls with the same inputs differ{where}; "
                "if it draws random numbers, let it make its generator itself"
            )

    def gradients(self, cotangent: Array, create_graph: bool) -> list[Array]:
        """The engine's answer: the gradient of each input."""
        leaves = [Tensor(x.copy(), requires_grad=True) for x in self.at]
        found = _gradients(self.function(leaves), leaves, self.seeds(cotangent), create_graph)
        return [g.data for g in found]

    def seeds(self, cotangent: Array) -> list[Tensor]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = np.split(cotangent, ends[:-1])
        return [Tensor(part.reshape(shape)) for part, shape in zip(parts, self.shapes, strict=True)]

    def derivative(self) -> "_Level":
        """The next order: the function from inputs and cotangents to gradients."""
        count, function, cotangent = len(self.at), self.function, self.cotangents[1]

        def derivative(leaves: Sequence[Tensor]) -> list[Tensor]:
            return _gradients(function(leaves[:count]), leaves[:count], leaves[count:], create_graph=True)

        seeds = [v.data for v in self.seeds(cotangent)]
        names = [f"cotangent {k} of order {self.order}" for k in range(len(seeds))]
        least = np.concatenate([terms.ravel() for terms in self.terms])
        return _Level(derivative, self.at + seeds, self.names + names, self.order + 1, self.rng, least)

    def check(self, eps: float, rtol: float, atol: float) -> None:
        """Compare the engine's gradients with slopes, along every line."""
        gradients = [self.gradients(v, create_graph=False) for v in self.cotangents]
        for plain, recorded in zip(gradients[0], self.gradients(self.cotangents[0], create_graph=True), strict=True):
            if not _close(plain, recorded, 1e-12):
                raise GradientError(f"order {self.order}: create_graph=True changes the gradient")
        self.terms = [np.zeros(x.shape) for x in self.at]  # how large the terms of each gradient seem to be
        for line in self.lines(eps):
            along = line.u != 0
            for g, cotangent in zip(gradients, self.cotangents, strict=True):
                a = float(g[line.i][along] @ line.u[along])
                known = (line.slope(h, cotangent) for h in line.steps)
                slope = _judge(a, known, line.name, rtol, atol, partial(self.rounding, line, cotangent))
            self.terms[line.i][along] = slope.noise / slope.h / (35 * _EPS)

    def rounding(self, line: "_Line", cotangent: Array) -> tuple[float, float]:
        """By what the gradient along a line may be off, and how large the numbers are that f is made of.

        Both from points where little but rounding differs.  Where terms cancel the rest is noise,
        of a size that neither f nor its slope may show.
        """
        along, slopes, moves = line.u != 0, [], []
        for k in range(_MOVES + 1):
            rng = Generator(k)
            leaves = [Tensor(_ulps_away(x, rng) if k else x.copy(), requires_grad=True) for x in self.at]
            seeds = self.seeds(_ulps_away(cotangent, rng) if k else cotangent)
            outputs = self.function(leaves)
            moves.append(_flat(outputs))
            g = _gradients(outputs, leaves, seeds, create_graph=False)[line.i].data
            slopes.append(float(g[along] @ line.u[along]))
        off = np.abs(np.array(slopes) - slopes[0]).max()
        return _OWN * float(off), float(np.abs(cotangent) @ np.abs(np.array(moves) - moves[0]).max(0)) / _EPS

    def lines(self, eps: float) -> Iterator["_Line"]:
        """One through every element, or through many and some random mixtures of all."""
        for i, x in enumerate(self.at):
            elements = range(x.size)
            if x.size > _ELEMENTS:
                elements = self.rng.permutation(x.size)[:_ELEMENTS].tolist()
                for _ in range(_MIXTURES):
                    u = _signed(self.rng, x.size).reshape(x.shape) * np.where(x, np.abs(x), _top(x) or 1)
                    yield _Line(self, i, "a random direction", u, _steps([1.0], eps))
            for e in elements:
                place = tuple(int(n) for n in np.unravel_index(e, x.shape))
                u = np.zeros(x.shape)
                u[place] = 1
                yield _Line(self, i, f"element {place}", u, _steps([abs(float(x[place])), _top(x), 1.0], eps))


def _gradients(
    outputs: list[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor], create_graph: bool
) -> list[Tensor]:
    """The engine's gradients, zeros where it sees no dependence."""
    pairs = [(y, v) for y, v in zip(outputs, cotangents, strict=True) if y.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if pairs:
        roots, seeds = zip(*pairs, strict=True)
        found = grad(roots, leaves, seeds, create_graph=create_graph, allow_unused=True)
    return [Tensor(np.zeros(x.shape)) if g is None else g for x, g in zip(leaves, found, strict=True)]


# Numeric slopes ------------------------------------------------------------------------


class _Slope(NamedTuple):
    """A numeric slope and how far to trust it."""

    h: float
    moving: int  # how many outputs changed at all
    value: float
    noise: float  # by what the value may be off, times h
    size: float  # of the numbers that were summed

    def allowance(self, rtol: float, atol: float) -> float:
        """How far a right gradient may lie from it."""
        return atol + rtol * abs(self.value) + self.noise / self.h

    def is_clear(self) -> bool:
        return self.noise <= _CLEAR * abs(self.value) * self.h

    def is_nothing(self, a: float) -> bool:
        """Whether it is 0 but for rounding errors, and so is ``a``."""
        return self.noise <= _ROUND * self.size and abs(a) * self.h <= _NOTHING * self.size

    def suits(self, other: "_Slope") -> bool:
        """Whether both may be slopes of one function."""
        return abs(self.value - other.value) <= self.noise / self.h + other.noise / other.h


class _Line:
    """The function along ``u`` of input ``i``: x + t u."""

    def __init__(self, level: _Level, i: int, where: str, u: Array, steps: list[float]) -> None:
        self.level, self.i, self.u, self.steps = level, i, u, steps
        self.name = f"order {level.order}, {level.names[i]}, {where}"
        self.known: dict[float, tuple[Array, Array, Array, int]] = {}

    def slope(self, h: float, cotangent: Array) -> _Slope:
        """The slope of ``sum(cotangent * f)``, in steps of ``h``."""
        if h not in self.known:
            self.known[h] = self.measure(h)
        slope, noise, size, moving = self.known[h]
        weight = np.abs(cotangent)
        return _Slope(h, moving, float(cotangent @ slope), float(weight @ noise), float(weight @ size))

    def measure(self, h: float) -> tuple[Array, Array, Array, int]:
        """For each output its slope, noise and size; and how many of them move."""
        at, level = list(self.level.at), self.level
        moves = np.zeros((len(_POINTS), level.values.size))
        for row, k in zip(moves, _POINTS, strict=True):
            if k:
                at[self.i] = np.asarray(level.at[self.i] + k * h * self.u)
                try:
                    values = _flat(level.outputs(at))
                except np.linalg.LinAlgError:  # a wide step may end at a matrix that has no inverse or no root
                    values = np.empty(0)
                row[:] = values - level.values if values.shape == level.values.shape else np.nan
        fine, coarse, rough = _STENCILS @ moves
        noise = 50 * np.abs(fine - coarse) + np.abs(rough) / 4 + 4 * _EPS * level.sizes
        noise += 2 * _EPS * _top(level.at[self.i][self.u != 0]) / h * np.abs(fine)  # of x + h itself
        return fine / h, noise, level.sizes + np.abs(moves).max(axis=0), int(moves.any(axis=0).sum())


def _judge(
    a: float, slopes: Iterator[_Slope], name: str, rtol: float, atol: float, rounding: Callable[[], tuple[float, float]]
) -> _Slope:
    """Raise unless ``a`` is the slope, trying one step after the other; gives the one that decided."""
    tried: list[Any] = []
    for slope in slopes:
        if not np.isfinite(slope.value + slope.noise):
            continue
        agrees = abs(a - slope.value) <= slope.allowance(rtol, atol)
        if agrees and (slope.is_clear() or (not tried and slope.is_nothing(a))):
            return slope
        tried.append(slope)
    best = _best(tried)
    if best is None:
        raise NotSmoothError(f"{name}: f is not smooth here, or lost in rounding errors; no step gives a slope")
    limit = best.allowance(rtol, atol)
    if not abs(a - best.value) <= limit:
        own, size = rounding()
        limit += own if own * best.h <= _ROUND * max(size, best.size) else 0
    if not abs(a - best.value) <= limit:
        raise GradientError(
            f"{name}: the rules give {a:.10g}, central differences give {best.value:.10g} (tolerance {limit:.1e})"
        )
    return best


def _best(tried: list[_Slope]) -> _Slope | None:
    """The slope of least doubt among those that are known well enough, if any is."""
    known: list[_Slope] = []
    noise = 0.0
    for slope in sorted(tried):  # from narrow to wide: what a narrow step has seen, a wider one cannot undo
        witnessed = noise > 0
        noise = max(noise, slope.noise)
        slope = slope._replace(noise=noise)
        exact = noise <= max(_KNOWN * abs(slope.value) * slope.h, _SMALL * slope.size)
        if witnessed and exact and all(slope.moving > other.moving or slope.suits(other) for other in known):
            known.append(slope)
    return min(known, key=lambda slope: (-slope.moving, slope.noise / slope.h), default=None)


def _steps(scales: Sequence[float], eps: float) -> list[float]:
    """Round numbers, so that x + h is exact: ``eps`` times each scale first, then narrower and wider ones."""
    exponents = [int(np.floor(np.log2(scale * eps))) for scale in scales if scale * eps > 0]
    offsets = (0, -6, -12, -18, 4, 8)
    steps = [float(np.ldexp(1.375, e)) for e in dict.fromkeys(e + offset for offset, e in product(offsets, exponents))]
    return [h for h in steps if 0 < h < np.inf]


# Small change --------------------------------------------------------------------------


def _flat(tensors: Sequence[Tensor]) -> Array:
    return np.concatenate([t.data.ravel() for t in tensors])


def _signed(rng: Generator, n: int) -> Array:
    """Random numbers of either sign, from 1/2 to 3/2 in size: none so small that it hides its term."""
    sign = np.where(rng.uniform(n, dtype=np.float64) < 0.5, -1.0, 1.0)
    size: Array = rng.uniform(n, 0.5, 1.5, np.float64)
    return sign * size


def _ulps_away(x: Array, rng: Generator) -> Array:
    """x, each element changed in its last three bits or so."""
    return np.asarray(x * (1 + 4 * _EPS * _signed(rng, x.size).reshape(x.shape)))


def _top(x: Array) -> float:
    return float(np.nanmax(np.abs(x), initial=0))


def _close(a: Array, b: Array, tolerance: float) -> bool:
    return np.allclose(a, b, rtol=tolerance, atol=tolerance * _top(b), equal_nan=True)


def _magnitudes(y: Array) -> Array:
    """The sizes of a flat output's elements, as far as they are not cancelled beside the largest."""
    sizes: Array = np.maximum(np.abs(y), 1e-6 * _top(y))
    sizes[sizes < 1e-100] = 1
    return sizes
