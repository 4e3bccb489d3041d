"""Schedules: the learning rate as a pure function of the update number.

``schedule(0)`` is the rate of the first update. A schedule holds no state and touches no optimizer: it is a
frozen value that can be compared, printed, pickled, asked for any step in any order, and evaluated over a
whole run at once, ``schedule(np.arange(n))``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import isfinite, pi
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Float64Array: TypeAlias = NDArray[np.float64]


class Schedule(ABC):
    """A pure function of the update number, computed in float64.

    A schedule is a frozen dataclass: its fields are its arguments, ``__post_init__`` checks them, and
    `_formula` says what it is.
    """

    vectorized = True  # an array of steps gives the same rates, bit for bit

    @overload
    def __call__(self, step: float | np.number) -> float: ...
    @overload
    def __call__(self, step: Sequence[Any] | NDArray[Any]) -> Float64Array: ...

    def __call__(self, step: float | np.number | Sequence[Any] | NDArray[Any]) -> float | Float64Array:
        """Return the rate at `step`, which counts updates from 0.

        Parameters
        ----------
        step : int, float or array_like of these
            Finite and not negative.

        Returns
        -------
        float or float64 array
            A float for a scalar or a 0-d array, otherwise an array of the shape of `step` with the same
            values, bit for bit.

        Raises
        ------
        TypeError, ValueError
            If `step` holds anything but numbers, or one that is negative, infinite or NaN.
        """
        steps = np.asarray(step)
        if steps.dtype.kind not in "iuf":
            raise TypeError(f"step must be an int, a float or an array of these, got {step!r}")
        outside = ~(np.isfinite(steps) & (steps >= 0))
        if outside.any():
            raise ValueError(f"step must be finite and not negative, got {steps[outside].flat[0]}")
        rates = self._formula(steps.astype(np.float64))
        return rates if steps.ndim else float(rates)

    @abstractmethod
    def _formula(self, step: Float64Array) -> Float64Array:
        """Return the rates at checked steps."""


@dataclass(frozen=True)
class constant(Schedule):
    """The same rate for ever: ``lr``.

    Parameters
    ----------
    lr : float
        Finite and not negative.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)

    def _formula(self, step: Float64Array) -> Float64Array:
        return np.full_like(step, self.lr)


@dataclass(frozen=True)
class cosine(Schedule):
    """Half a cosine wave, from `lr` at step 0 down to `eta_min` at step `T_max`, where it stays.

    ::

        eta_min + (lr - eta_min) (1 + cos(pi step / T_max)) / 2    for step <= T_max
        eta_min                                                    beyond

    Both ends are met exactly. A schedule of zero length, ``T_max=0``, is at its end from the start: every
    step gives `eta_min`.

    Parameters
    ----------
    lr, eta_min : float
        Finite and not negative.
    T_max : int
        The length in updates, not negative.

    Notes
    -----
    Equation 5 of I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017),
    without the restarts; with ``eta_min=0`` the common form alpha_t = alpha_0 / 2 (1 + cos(t pi / T)).
    PyTorch's ``CosineAnnealingLR`` is periodic instead: beyond `T_max` it climbs back to `lr`.

    Examples
    --------
    >>> schedule = cosine(0.1, 100, eta_min=0.01)
    >>> schedule
    cosine(lr=0.1, T_max=100, eta_min=0.01)
    >>> schedule(0), schedule(100), schedule(101)
    (0.1, 0.01, 0.01)
    """

    lr: float
    T_max: int
    _: KW_ONLY
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)
        _check_length("T_max", self.T_max)
        _check_rate("eta_min", self.eta_min)

    def _formula(self, step: Float64Array) -> Float64Array:
        # (1 + cos(pi t)) / 2 = sin(pi (1 - t) / 2)**2: on the right nothing cancels near the end, and the
        # weighted mean is exact at both ends.
        remaining = np.maximum(self.T_max - step, 0.0) / max(self.T_max, 1)
        weight = np.square(np.sin(pi / 2 * remaining))
        return weight * self.lr + (1.0 - weight) * self.eta_min


def _check_rate(name: str, value: object) -> None:
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not isfinite(value) or value < 0:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")


def _check_length(name: str, value: object) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, a number of updates, got {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
