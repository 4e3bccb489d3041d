"""L-BFGS: for losses over all the data, where a step may look at the loss as often as it likes."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd import enable_grad, forget_gradients, written
from ..kernels import recording
from ..tensor import Tensor
from .optimizer import check_mapping, check_parameter, is_number

Float64Array = NDArray[np.float64]
Point = tuple[float, float, float, Any]  # along a line: how far, the loss, its slope, its gradient


class LBFGS:
    """L-BFGS (Liu and Nocedal 1989) with a line search for the strong Wolfe conditions.

    An iteration goes from w to ``w - t H g``: H stands for the inverse Hessian, by the last ``history_size`` pairs of
    ``s = w' - w`` and ``y = g' - g`` (Nocedal and Wright 2006, algorithm 7.4, from ``(s.y / y.y) I`` on); t is found by
    their algorithms 3.5 and 3.6, cubic and with c1 = 1e-4, c2 = 0.9, from 1 on; ``1 / sum(|g|)`` if that is less,
    while there is no pair.

    ``step(closure)`` makes at most ``max_iter`` iterations.  ``closure()`` computes the loss, without randomness, and
    its gradients by ``backward``, ``zero_grad`` first; it is called once and then for each place that is tried.  The
    step ends where no gradient is larger than ``tolerance_grad``, where weights or loss move by no more than
    ``tolerance_change``, or where no place is better: with the weights of the best place.  A pair without curvature
    is left out.  All that is not the closure's is done in float64, on the host: a step cannot be recorded.

    PyTorch's ``line_search_fn="strong_wolfe"`` is the same method with another interpolation.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        max_iter: int = 20,
        history_size: int = 10,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
    ) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"LBFGS takes an iterable of tensors, got {type(params).__name__}")
        self.params = list(params)
        for p in self.params:
            check_parameter(p)
        if not self.params or len({id(p) for p in self.params}) < len(self.params):
            raise ValueError("LBFGS got no parameters, or one of them twice")
        for name, count in (("max_iter", max_iter), ("history_size", history_size)):
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise ValueError(f"{name} must be a positive integer, got {count!r}")
        for name, value in (("tolerance_grad", tolerance_grad), ("tolerance_change", tolerance_change)):
            if not (is_number(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
        self.max_iter, self.history_size = max_iter, history_size
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.pairs: list[tuple[Float64Array, Float64Array]] = []  # (s, y), the oldest first

    def step(self, closure: Callable[[], Tensor]) -> float:
        """Go down as far as ``max_iter`` iterations lead; the loss before."""
        recording.refuse("a step of LBFGS", "its line search looks at the loss: run it as it is")
        w = _flat([p.data for p in self.params])
        loss, g = self._evaluate(closure)
        start = loss
        for _ in range(self.max_iter):
            if not (math.isfinite(loss) and np.isfinite(g).all()) or np.abs(g).max(initial=0) <= self.tolerance_grad:
                break
            direction = self.direction(g)
            if not (slope := float(g @ direction)) < 0:  # what the pairs say of curvature is rounding alone
                self.pairs, direction, slope = [], -g, -float(g @ g)

            def along(t: float, w: Float64Array = w, direction: Float64Array = direction) -> Point:
                self._write(w + t * direction)
                value, gradient = self._evaluate(closure)
                return t, value, float(gradient @ direction), gradient

            t = 1.0 if self.pairs else min(1.0, 1 / float(np.abs(g).sum()))
            try:
                t, found, _, gradient = search(along, t, (0.0, loss, slope, g))
            except BaseException:  # the closure's
                self._write(w)
                raise
            s, y = t * direction, gradient - g
            w, change, loss, g = w + s, loss - found, found, gradient
            self._write(w)
            if s @ y > 1e-10 * (y @ y):
                self.pairs = [*self.pairs, (s, y)][-self.history_size :]
            if np.abs(s).max() <= self.tolerance_change or change <= self.tolerance_change:
                break
        return start

    def direction(self, g: Float64Array) -> Float64Array:
        """``-H g``, by the two loops over the pairs."""
        d, taken = -g, []
        for s, y in reversed(self.pairs):
            taken.append(share := (s @ d) / (s @ y))
            d = d - share * y
        if self.pairs:
            s, y = self.pairs[-1]
            d = (s @ y) / (y @ y) * d
        for (s, y), share in zip(self.pairs, reversed(taken), strict=True):
            d = d + (share - (y @ d) / (s @ y)) * s
        return d

    def zero_grad(self) -> None:
        """Forget all gradients."""
        forget_gradients(self.params)

    def state_dict(self) -> dict[str, Any]:
        """A copy of the pairs, (pairs, 2, weights) float64: all that a later step takes from this one."""
        n = sum(p.size for p in self.params)
        return {"pairs": np.array(self.pairs, np.float64).reshape(len(self.pairs), 2, n)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict`` over parameters of the same sizes; others raise ``ValueError``."""
        check_mapping("a state of LBFGS", state)
        pairs, n = np.array(state["pairs"], np.float64), sum(p.size for p in self.params)
        if pairs.ndim != 3 or (len(pairs) and pairs.shape[1:] != (2, n)):
            raise ValueError(f"the pairs of {n} weights have shape (pairs, 2, {n}), the state has {pairs.shape}")
        if not (np.isfinite(pairs).all() and all(s @ y > 0 for s, y in pairs)):
            raise ValueError("the pairs of a state must be finite and have curvature, s.y above 0")
        self.pairs = [(s, y) for s, y in pairs[-self.history_size :]]

    def _evaluate(self, closure: Callable[[], Tensor]) -> tuple[float, Float64Array]:
        with enable_grad():
            loss = closure()
        if not isinstance(loss, Tensor) or loss.size != 1:
            raise TypeError(f"the closure of LBFGS returns the loss, a tensor of one number, got {loss!r}")
        grads = [np.zeros_like(p.data) if p.grad is None else p.grad.data for p in self.params]
        return float(loss.data.reshape(())), _flat(grads)

    def _write(self, w: Float64Array) -> None:
        at = 0
        for p in self.params:
            with np.errstate(over="ignore"):  # a place too far away, where the loss is not finite
                p.data[...] = w[at : at + p.size].reshape(p.shape)
            at += p.size
        written(self.params, "LBFGS")


def _flat(arrays: list[NDArray[Any]]) -> Float64Array:
    return np.concatenate([a.reshape(-1).astype(np.float64) for a in arrays])


def search(along: Callable[[float], Point], t: float, start: Point, c1: float = 1e-4, c2: float = 0.9) -> Point:
    """A point that meets the strong Wolfe conditions; after 25 trials the best that is lower by the first of them.

    ``low`` is always such a point, or the start; the one looked for lies between it and ``high``, once that is known.
    """
    low, high = start, None
    for _ in range(25):
        point = along(t)
        _, value, slope, _ = point
        if not value <= start[1] + c1 * t * start[2] or (low is not start and value >= low[1]):
            high = point
        elif abs(slope) <= -c2 * start[2]:
            return point
        else:
            if slope * (1 if high is None else high[0] - low[0]) >= 0:
                high = low
            low = point
        t = 2 * t if high is None else between(low, high)
    return low


def between(a: Point, b: Point) -> float:
    """Where the cubic through two points and slopes is least, not too near to either; else halfway."""
    width = b[0] - a[0]
    bend = a[2] + b[2] - 3 * (b[1] - a[1]) / width
    root = math.sqrt(max(bend * bend - a[2] * b[2], 0)) * math.copysign(1, width) if math.isfinite(bend) else math.nan
    below = b[2] - a[2] + 2 * root
    share = 1 - (b[2] + root - bend) / below if below else math.nan
    return a[0] + width * (min(max(share, 0.1), 0.9) if math.isfinite(share) else 0.5)
