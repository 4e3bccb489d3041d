"""Schedules: the learning rate as a pure function of the update number.

``schedule(0)`` is the rate of the first update. A schedule holds no state and touches no optimizer: it is a
frozen value that can be compared, printed, pickled, asked for any step in any order, and evaluated over a
whole run at once, ``schedule(np.arange(n))``. So a run that goes on at step k has the rates of one that never
stopped. An optimizer takes one for its ``lr``, and ``schedule.plot(n)`` draws it.

The contract, for steps counted from 0:

==================  ========================  ==============================  ====================================
schedule            step 0                    last step and beyond            zero length
==================  ========================  ==============================  ====================================
`constant`          lr                        lr                              it has none
`step`              lr                        goes on for ever                refused: ``step_size`` is at least 1
`multistep`         lr (a milestone at 0      what the last milestone left    no milestones: lr for ever
                    has been passed)
`exponential`       lr                        goes on for ever                it has none
`inverse_sqrt`      lr, as at step 1          goes on for ever                it has none
`inverse_time`      lr                        goes on for ever                it has none
`linear`            lr                        eta_min from step T_max on      eta_min from step 0 on
`polynomial`        lr                        eta_min from step T_max on      eta_min from step 0 on
`cosine`            lr                        eta_min from step T_max on      eta_min from step 0 on
`one_cycle`         lr / div_factor           lr / div_factor /               its last rate from step 0 on
                                              final_div_factor from T_max on
`trapezoid`         start                     eta_min from step T_max on      eta_min from step 0 on
`cosine_restarts`   lr                        restarts for ever               refused: ``T_0`` is at least 1
`cyclic`            base_lr                   repeats for ever                refused: a cycle is at least 1
`warmup`            start                     the schedule's own              of 0 steps: the schedule itself
`join`              of the first piece        of the last piece               such a piece is never seen
`scale`             factor times its rate     factor times its rate           the schedule's own
`repeat`            of the schedule           repeats for ever                refused: ``period`` is at least 1
`per_epoch`         of epoch 0                the schedule's own              refused: an epoch is at least 1
==================  ========================  ==============================  ====================================

A length T means that the end is met exactly at step T: a run of T updates makes the steps 0 to T - 1, and its
last rate is the one just before the end. Where a stretch within a schedule has zero length (``warmup=0`` of a
`trapezoid`, ``pct_start=0`` of `one_cycle`, ``step_size_up=0`` of `cyclic`), it is at its end from the start.
Steps are counted exactly up to 2**53. Fractions of a step are allowed everywhere. A rate is within 2 ulp of its formula
where that is a line, a root or a power of gamma, and within 10 where it takes a sine or adds a lowest rate to a power
(of the larger of the two, then).

`ReduceOnPlateau` is the one with state: it listens to a metric.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from itertools import pairwise
from math import isfinite, isnan, pi
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Float64Array: TypeAlias = NDArray[np.float64]

_COUNTED = 2**53  # beyond it float64 cannot tell a step from the next


class Schedule(ABC):
    """A pure function of the update number, computed in float64.

    A schedule is a frozen dataclass: its fields are its arguments, `_check` checks them, and `_formula` says
    what it is.
    """

    vectorized = True  # an array of steps gives the same rates, bit for bit

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if isinstance(value, (np.integer, np.floating)):  # repr, hash and arithmetic are those of the number
                plain = int(value) if isinstance(value, np.integer) else float(value)
                object.__setattr__(self, field.name, plain)
        self._check()

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
        given = np.asarray(step)
        if given.dtype.kind not in "iuf":
            raise TypeError(f"step must be an int, a float or an array of these, got {step!r}")
        with np.errstate(all="ignore"):  # a rate that leaves float64 is 0 or inf, which an optimizer refuses
            steps = given.astype(np.float64)
            outside = ~(np.isfinite(steps) & (steps >= 0))
            if outside.any():
                raise ValueError(f"step must be finite and not negative, got {given[outside].flat[0]}")
            rates = self._formula(steps)
        return rates if steps.ndim else float(rates)

    def plot(self, steps: int = 1000, axes: Any = None) -> Any:
        """Draw the rates of the first `steps` updates.

        Parameters
        ----------
        steps : int
            At least 1.
        axes : matplotlib Axes, optional
            Where to draw; None makes a figure of its own, outside pyplot.

        Returns
        -------
        matplotlib Axes
            With the figure as ``axes.figure``, to be saved by ``axes.figure.savefig(path)``.

        Raises
        ------
        ImportError
            Where matplotlib is missing.
        """
        _check_int("steps", steps, least=1)
        if axes is None:
            try:
                from matplotlib.backends.backend_agg import FigureCanvasAgg
                from matplotlib.figure import Figure
            except ImportError as error:
                raise ImportError("plots need matplotlib: pip install 'minigrad[plot]'") from error
            figure = Figure(figsize=(5.5, 3.5), layout="constrained")
            FigureCanvasAgg(figure)
            axes = figure.subplots()
            axes.set(xlabel="update", ylabel="learning rate")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25)
        at = np.arange(steps)
        axes.plot(at, self(at), label=repr(self), marker="." if steps < 30 else "")
        return axes

    @abstractmethod
    def _check(self) -> None:
        """Raise `TypeError` or `ValueError` for an argument that is not as it should be."""

    @abstractmethod
    def _formula(self, step: Float64Array) -> Float64Array:
        """Return the rates at checked steps."""


# Decays without an end


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

    def _check(self) -> None:
        _check_rate("lr", self.lr)

    def _formula(self, step: Float64Array) -> Float64Array:
        return np.full_like(step, self.lr)


@dataclass(frozen=True)
class step(Schedule):
    """A factor `gamma` every `step_size` updates: ``lr gamma^floor(step / step_size)``.

    Parameters
    ----------
    lr, gamma : float
        Finite and not negative.
    step_size : int
        At least 1.

    Notes
    -----
    The lecture's form, a tenth after 30, 60 and 90 epochs, is ``per_epoch(step(lr, 30, gamma=0.1), n)`` with n
    updates an epoch. PyTorch's ``StepLR`` multiplies factor by factor and so rounds otherwise; optax has it as
    ``exponential_decay(..., staircase=True)``.

    Examples
    --------
    >>> step(0.5, 30, gamma=0.5)([0, 29, 30, 60])
    array([0.5  , 0.5  , 0.25 , 0.125])
    """

    lr: float
    step_size: int
    _: KW_ONLY
    gamma: float = 0.1

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_int("step_size", self.step_size, least=1)
        _check_rate("gamma", self.gamma)

    def _formula(self, step: Float64Array) -> Float64Array:
        return _decayed(self.lr, self.gamma, np.floor_divide(step, self.step_size))


@dataclass(frozen=True)
class multistep(Schedule):
    """A factor `gamma` at each milestone: ``lr gamma^(number of milestones <= step)``.

    Parameters
    ----------
    lr, gamma : float
        Finite and not negative.
    milestones : sequence of int
        Steps in rising order; one that is listed twice counts twice.

    Notes
    -----
    PyTorch's ``MultiStepLR`` sorts its milestones. optax's ``piecewise_constant_schedule`` takes a factor each:
    a `join` of constants here.

    Examples
    --------
    >>> multistep(0.5, (10, 15), gamma=0.5)([9, 10, 14, 15])
    array([0.5  , 0.25 , 0.25 , 0.125])
    """

    lr: float
    milestones: Sequence[int]
    _: KW_ONLY
    gamma: float = 0.1

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        object.__setattr__(self, "milestones", _checked_milestones(self.milestones))
        _check_rate("gamma", self.gamma)

    def _formula(self, step: Float64Array) -> Float64Array:
        passed = np.searchsorted(np.array(self.milestones, np.float64), step, side="right")
        return _decayed(self.lr, self.gamma, np.asarray(passed, np.float64))


@dataclass(frozen=True)
class exponential(Schedule):
    """A factor `gamma` every update: ``lr gamma^step``.

    Parameters
    ----------
    lr, gamma : float
        Finite and not negative. With a `gamma` above 1 the rate grows, and is inf where float64 ends.

    Notes
    -----
    optax's ``exponential_decay`` has a factor every ``transition_steps`` updates: ``gamma = rate ** (1 / steps)``,
    or ``per_epoch(exponential(lr, rate), steps, smooth=True)``. It takes a rate of 0 for none, which here gives lr
    at step 0 and 0 from then on.

    Examples
    --------
    >>> exponential(1.0, 0.5)([0, 1, 10])
    array([1.000000e+00, 5.000000e-01, 9.765625e-04])
    """

    lr: float
    gamma: float

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_rate("gamma", self.gamma)

    def _formula(self, step: Float64Array) -> Float64Array:
        return _decayed(self.lr, self.gamma, step)


@dataclass(frozen=True)
class inverse_sqrt(Schedule):
    """``lr / sqrt(step)``, with lr also at step 0: ``lr / sqrt(max(step, 1))``.

    Parameters
    ----------
    lr : float
        Finite and not negative.

    Notes
    -----
    The schedule of A. Vaswani et al., "Attention Is All You Need" (2017), equation 3, with d = 512 and w = 4000
    updates of warm-up is ``warmup(inverse_sqrt(512**-0.5), 4000, inside=True)``, where their first step, number 1,
    is step 1 here.

    Examples
    --------
    >>> inverse_sqrt(0.1)([0, 1, 4, 100])
    array([0.1 , 0.1 , 0.05, 0.01])
    """

    lr: float

    def _check(self) -> None:
        _check_rate("lr", self.lr)

    def _formula(self, step: Float64Array) -> Float64Array:
        return self.lr / np.sqrt(np.maximum(step, 1.0))


@dataclass(frozen=True)
class inverse_time(Schedule):
    """``lr / (1 + decay step)``.

    Parameters
    ----------
    lr, decay : float
        Finite and not negative.

    Notes
    -----
    H. Robbins and S. Monro, "A Stochastic Approximation Method" (1951): the sum of the rates diverges, that of their
    squares does not. Keras's ``InverseTimeDecay`` has ``decay = decay_rate / decay_steps``.

    Examples
    --------
    >>> inverse_time(0.5, 0.25)([0, 4, 12])
    array([0.5  , 0.25 , 0.125])
    """

    lr: float
    decay: float

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_rate("decay", self.decay)

    def _formula(self, step: Float64Array) -> Float64Array:
        return self.lr / (1.0 + self.decay * step)


# From one rate to another, where it stays


@dataclass(frozen=True)
class linear(Schedule):
    """A straight line from `lr` at step 0 to `eta_min` at step `T_max`, where it stays.

    ::

        lr (1 - step / T_max) + eta_min step / T_max    for step <= T_max
        eta_min                                         beyond

    Parameters
    ----------
    lr, eta_min : float
        Finite and not negative; `eta_min` may be the larger one.
    T_max : int
        The length in updates, not negative.

    Notes
    -----
    With ``eta_min=0`` the common form alpha_t = alpha_0 (1 - t / T). PyTorch's ``LinearLR`` takes factors of the
    rate, from a third to 1 by default: it is a warm-up. optax's ``linear_schedule`` of zero length stays at its
    first value.

    Examples
    --------
    >>> linear(0.5, 100)([0, 50, 100, 101])
    array([0.5 , 0.25, 0.  , 0.  ])
    """

    lr: float
    T_max: int
    _: KW_ONLY
    eta_min: float = 0.0

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_int("T_max", self.T_max)
        _check_rate("eta_min", self.eta_min)

    def _formula(self, step: Float64Array) -> Float64Array:
        done, left = _shares(step, self.T_max)
        return left * self.lr + done * self.eta_min


@dataclass(frozen=True)
class polynomial(Schedule):
    """A power of the remaining share, from `lr` at step 0 down to `eta_min` at step `T_max`, where it stays.

    ::

        eta_min + (lr - eta_min) (1 - step / T_max)^power    for step <= T_max
        eta_min                                              beyond

    Parameters
    ----------
    lr, eta_min : float
        Finite and not negative.
    T_max : int
        The length in updates, not negative.
    power : float
        Finite and above 0.

    Notes
    -----
    PyTorch's ``PolynomialLR`` ends at 0. optax's ``polynomial_schedule`` of zero length stays at its first value.

    Examples
    --------
    >>> polynomial(0.5, 100, power=2)([0, 50, 100])
    array([0.5  , 0.125, 0.   ])
    """

    lr: float
    T_max: int
    _: KW_ONLY
    power: float = 1.0
    eta_min: float = 0.0

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_int("T_max", self.T_max)
        _check_rate("power", self.power)
        if self.power == 0:
            raise ValueError("power must be above 0, got 0: the same rate for ever is constant(lr)")
        _check_rate("eta_min", self.eta_min)

    def _formula(self, step: Float64Array) -> Float64Array:
        weight = np.float_power(_shares(step, self.T_max)[1], self.power)
        return weight * self.lr + (1.0 - weight) * self.eta_min


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
    PyTorch's ``CosineAnnealingLR`` is periodic instead: beyond `T_max` it climbs back to `lr`. optax's
    ``cosine_decay_schedule`` has ``eta_min = alpha lr`` and refuses zero length.

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

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_int("T_max", self.T_max)
        _check_rate("eta_min", self.eta_min)

    def _formula(self, step: Float64Array) -> Float64Array:
        return _half_wave(self.lr, self.eta_min, *_shares(step, self.T_max))


@dataclass(frozen=True)
class one_cycle(Schedule):
    """Up from ``lr / div_factor`` to `lr` at step ``pct_start T_max``, then down to a rate far below, where it stays.

    ::

        from lr / div_factor to lr                        for step < pct_start T_max
        from lr to lr / div_factor / final_div_factor     up to step T_max, and that beyond

    Parameters
    ----------
    lr : float
        The peak; finite and not negative.
    T_max : int
        The length in updates, not negative.
    pct_start : float
        The share of the way up, from 0 to 1.
    div_factor, final_div_factor : float
        Finite and above 0.
    anneal : {"cosine", "linear"}
        The form of both parts: half a cosine wave or a straight line.

    Notes
    -----
    After L. N. Smith and N. Topin, "Super-Convergence" (2018), in the form that became common. PyTorch's
    ``OneCycleLR`` ends at step ``total_steps - 1``, has its peak at ``pct_start * total_steps - 1`` and raises
    beyond; it also moves the momentum. optax's ``cosine_onecycle_schedule`` has its peak at a whole step,
    ``int(pct_start * T_max)``. The paper's own form, with equal lines up and down and a last fall, is a `join`
    of three `linear`.

    Examples
    --------
    >>> one_cycle(0.5, 100, pct_start=0.5, div_factor=4, final_div_factor=2)([0, 50, 100])
    array([0.125 , 0.5   , 0.0625])
    """

    lr: float
    T_max: int
    _: KW_ONLY
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: str = "cosine"

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_int("T_max", self.T_max)
        _check_share("pct_start", self.pct_start)
        last = self.lr
        for name in ("div_factor", "final_div_factor"):
            _check_rate(name, getattr(self, name))
            last = last / getattr(self, name) if getattr(self, name) else float("inf")
            if not isfinite(last):
                raise ValueError(
                    f"{name} must be above 0, and large enough for finite rates, got {getattr(self, name)!r}"
                )
        _check_choice("anneal", self.anneal, ("cosine", "linear"))

    def _formula(self, step: Float64Array) -> Float64Array:
        peak = self.pct_start * self.T_max
        first = self.lr / self.div_factor
        between = _half_wave if self.anneal == "cosine" else _line
        up = between(first, self.lr, *_shares(step, peak))
        down = between(self.lr, first / self.final_div_factor, *_shares(step - peak, self.T_max - peak))
        return np.where(step < peak, up, down)


@dataclass(frozen=True)
class trapezoid(Schedule):
    """A line up to `lr`, `lr` for most of the run, a line down to `eta_min`: warm-up, stable, decay.

    ::

        start + (lr - start) step / warmup                for step < warmup
        lr                                                up to step T_max - cooldown
        lr + (eta_min - lr) (step - T_max + cooldown) / cooldown    up to step T_max
        eta_min                                           beyond

    Parameters
    ----------
    lr, start, eta_min : float
        Finite and not negative.
    T_max, warmup, cooldown : int
        Lengths in updates, not negative; ``warmup + cooldown`` is at most `T_max`.

    Notes
    -----
    A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations" (2024).

    Examples
    --------
    >>> trapezoid(0.5, 100, warmup=10, cooldown=20)([0, 5, 10, 80, 90, 100])
    array([0.  , 0.25, 0.5 , 0.5 , 0.25, 0.  ])
    """

    lr: float
    T_max: int
    _: KW_ONLY
    warmup: int
    cooldown: int
    start: float = 0.0
    eta_min: float = 0.0

    def _check(self) -> None:
        for name in ("lr", "start", "eta_min"):
            _check_rate(name, getattr(self, name))
        for name in ("T_max", "warmup", "cooldown"):
            _check_int(name, getattr(self, name))
        if self.warmup + self.cooldown > self.T_max:
            raise ValueError(
                f"warmup + cooldown must be at most T_max, got {self.warmup} + {self.cooldown} of {self.T_max}"
            )

    def _formula(self, step: Float64Array) -> Float64Array:
        falls = self.T_max - self.cooldown
        up = _line(self.start, self.lr, *_shares(step, self.warmup))
        down = _line(self.lr, self.eta_min, *_shares(step - falls, self.cooldown))
        return np.where(step < falls, up, down)


# Up and down for ever


@dataclass(frozen=True)
class cosine_restarts(Schedule):
    """Half a cosine wave after the other, each `T_mult` times as long, and `decay` times as high, as the one before.

    ::

        eta_min + (lr - eta_min) decay^i (1 + cos(pi t / T_i)) / 2

    in cycle i = 0, 1, ..., which has the length ``T_i = T_0 T_mult^i``, at step t of it. A cycle begins at its peak,
    ``eta_min + (lr - eta_min) decay^i``; `eta_min` is what it would meet at the step where the next one begins.

    Parameters
    ----------
    lr, eta_min : float
        Finite and not negative.
    decay : float
        From 0 to 1.
    T_0, T_mult : int
        At least 1.

    Notes
    -----
    Equation 5 of I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), whose
    section 3 thinks of lower peaks at later restarts; Keras's ``CosineDecayRestarts`` has them as ``m_mul``, in this
    form. PyTorch's ``CosineAnnealingWarmRestarts`` has none. optax's ``sgdr_schedule`` takes a list of cycles, each
    with a warm-up: a `join` here.

    Examples
    --------
    >>> cosine_restarts(0.5, 10, T_mult=2, decay=0.5)([0, 5, 10, 20, 30])
    array([0.5  , 0.25 , 0.25 , 0.125, 0.125])
    """

    lr: float
    T_0: int
    _: KW_ONLY
    T_mult: int = 1
    eta_min: float = 0.0
    decay: float = 1.0

    def _check(self) -> None:
        _check_rate("lr", self.lr)
        _check_int("T_0", self.T_0, least=1)
        _check_int("T_mult", self.T_mult, least=1)
        _check_rate("eta_min", self.eta_min)
        _check_share("decay", self.decay)

    def _formula(self, step: Float64Array) -> Float64Array:
        cycle, since, length = self._cycle(step)
        height = _decayed(1.0, self.decay, cycle) * np.square(np.sin(pi / 2 * (np.maximum(length - since, 0) / length)))
        return height * self.lr + (1.0 - height) * self.eta_min

    def _cycle(self, step: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the number of the cycle, the steps since it began, and its length."""
        if self.T_mult == 1:
            return np.floor_divide(step, self.T_0), np.fmod(step, self.T_0), np.full_like(step, self.T_0)
        # Where cycles begin is found in whole numbers: a logarithm would be off by one now and then.
        starts, lengths = [0], [self.T_0]
        last = min(int(step.max(initial=0.0)), 2**900)  # so that all of them fit float64
        while starts[-1] + lengths[-1] <= last:
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.T_mult)
        begins = np.array(starts, np.float64)
        i = np.asarray(np.searchsorted(begins, step, side="right") - 1)
        return i.astype(np.float64), step - begins[i], np.array(lengths, np.float64)[i]


@dataclass(frozen=True)
class cyclic(Schedule):
    """Triangles between `base_lr` and `max_lr`: up in `step_size_up` updates, down in `step_size_down`.

    ::

        base_lr + (max_lr - base_lr) h(step) a

    with h the triangle wave from 0 to 1, and a the amplitude: 1 (``"triangular"``), a half more in each cycle,
    2^-cycle (``"triangular2"``), or gamma^step (``"exp_range"``).

    Parameters
    ----------
    base_lr, max_lr : float
        Finite and not negative.
    step_size_up, step_size_down : int
        Not negative, and not both 0; `step_size_down` is `step_size_up` if None. Of a part of 0 updates only the end
        is seen: with ``step_size_up=0`` a cycle begins at its peak.
    mode : {"triangular", "triangular2", "exp_range"}
    gamma : float
        From 0 to 1, used by ``"exp_range"``.

    Notes
    -----
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017). PyTorch's ``CyclicLR`` has the same
    rates and also moves the momentum.

    Examples
    --------
    >>> cyclic(0.0, 0.5, 10, mode="triangular2")([0, 5, 10, 15, 20, 30])
    array([0.  , 0.25, 0.5 , 0.25, 0.  , 0.25])
    """

    base_lr: float
    max_lr: float
    step_size_up: int
    step_size_down: int | None = None
    _: KW_ONLY
    mode: str = "triangular"
    gamma: float = 1.0

    def _check(self) -> None:
        _check_rate("base_lr", self.base_lr)
        _check_rate("max_lr", self.max_lr)
        _check_int("step_size_up", self.step_size_up)
        if self.step_size_down is not None:
            _check_int("step_size_down", self.step_size_down)
        if self.step_size_up == 0 and not self.step_size_down:
            raise ValueError("a cycle must have at least 1 update, got step_size_up=0 and no step_size_down")
        _check_choice("mode", self.mode, ("triangular", "triangular2", "exp_range"))
        _check_share("gamma", self.gamma)

    def _formula(self, step: Float64Array) -> Float64Array:
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        since = np.fmod(step, up + down)
        height = np.where(since < up, since / max(up, 1), (up + down - since) / max(down, 1))
        if self.mode == "triangular2":
            height = _decayed(1.0, 0.5, np.floor_divide(step, up + down)) * height
        elif self.mode == "exp_range":
            height = _decayed(1.0, self.gamma, step) * height
        return height * self.max_lr + (1.0 - height) * self.base_lr


# Schedules made of schedules


@dataclass(frozen=True)
class warmup(Schedule):
    """A line from `start` at step 0 to the schedule's own rate at step `steps`, before the schedule or within it.

    ::

        start + (schedule(0) - start) step / steps          for step < steps
        schedule(step - steps)                              from then on

    so that the schedule is delayed; with ``inside=True`` the line meets the schedule where it then is, and the whole
    is as long as before::

        start + (schedule(steps) - start) step / steps      for step < steps
        schedule(step)                                      from then on

    Parameters
    ----------
    schedule : Schedule
    steps : int
        Not negative; with 0 the result is the schedule itself.
    start : float
        The rate of the first update; finite and not negative.
    inside : bool

    Notes
    -----
    P. Goyal et al., "Accurate, Large Minibatch SGD" (2017). With ``start=0``, as papers have it, the first update
    changes nothing. The other count, ``(step + 1) / steps``, is ``warmup(schedule, steps - 1, start=peak / steps)``,
    up to rounding. optax's ``warmup_cosine_decay_schedule(start, lr, steps, T, eta_min)`` counts the warm-up within
    its length: ``warmup(cosine(lr, T - steps, eta_min=eta_min), steps, start=start)``. A third form multiplies the
    schedule by a rising factor: ``scale(schedule, warmup(constant(1), steps))``.

    Examples
    --------
    >>> warmup(cosine(0.5, 100), 10)([0, 5, 10, 60, 110])
    array([0.  , 0.25, 0.5 , 0.25, 0.  ])
    >>> warmup(linear(0.5, 100), 20, inside=True)([0, 10, 20, 60, 100])
    array([0. , 0.2, 0.4, 0.2, 0. ])
    """

    schedule: Schedule
    steps: int
    _: KW_ONLY
    start: float = 0.0
    inside: bool = False

    def _check(self) -> None:
        _check_schedule("schedule", self.schedule)
        _check_int("steps", self.steps)
        _check_rate("start", self.start)
        _check_flag("inside", self.inside)

    def _formula(self, step: Float64Array) -> Float64Array:
        delay = 0 if self.inside else self.steps
        met = self.schedule(self.steps - delay)
        up = _line(self.start, met, *_shares(step, self.steps))
        return np.where(step < self.steps, up, self.schedule._formula(np.maximum(step - delay, 0.0)))


@dataclass(frozen=True)
class join(Schedule):
    """One schedule after the other: the next one begins, at its step 0, at each milestone.

    Parameters
    ----------
    schedules : sequence of Schedule
        At least one.
    milestones : sequence of int
        The steps, in rising order, where the second begins, the third, and so on. Of two that are the same the later
        one holds: a schedule of no steps is never seen.

    Notes
    -----
    PyTorch's ``SequentialLR`` and optax's ``join_schedules``.

    Examples
    --------
    >>> join([constant(0.5), linear(0.25, 10)], [100])([99, 100, 105, 110])
    array([0.5  , 0.25 , 0.125, 0.   ])
    """

    schedules: Sequence[Schedule]
    milestones: Sequence[int]

    def _check(self) -> None:
        if isinstance(self.schedules, Schedule) or not isinstance(self.schedules, Sequence):
            raise TypeError(f"schedules must be a sequence of schedules, got {self.schedules!r}")
        object.__setattr__(self, "schedules", tuple(self.schedules))
        for schedule in self.schedules:
            _check_schedule("schedules", schedule)
        object.__setattr__(self, "milestones", _checked_milestones(self.milestones))
        if len(self.milestones) != len(self.schedules) - 1:
            raise ValueError(
                "milestones must be one fewer than schedules, "
                f"got {len(self.milestones)} for {len(self.schedules)} schedules"
            )

    def _formula(self, step: Float64Array) -> Float64Array:
        rates = self.schedules[0]._formula(step)
        for schedule, begins in zip(self.schedules[1:], self.milestones, strict=True):
            rates = np.where(step < begins, rates, schedule._formula(np.maximum(step - begins, 0.0)))
        return rates


@dataclass(frozen=True)
class scale(Schedule):
    """The rates of a schedule times a factor, which may be a schedule, too.

    Parameters
    ----------
    schedule : Schedule
    factor : float or Schedule
        A float is finite and not negative.

    Examples
    --------
    >>> scale(linear(0.5, 100), 0.5)(50)
    0.125
    >>> scale(cosine(0.5, 100), warmup(constant(1), 10))([0, 50])
    array([0.  , 0.25])
    """

    schedule: Schedule
    factor: float | Schedule

    def _check(self) -> None:
        _check_schedule("schedule", self.schedule)
        if not isinstance(self.factor, Schedule):
            _check_rate("factor", self.factor)

    def _formula(self, step: Float64Array) -> Float64Array:
        factor = self.factor._formula(step) if isinstance(self.factor, Schedule) else self.factor
        return self.schedule._formula(step) * factor


@dataclass(frozen=True)
class repeat(Schedule):
    """The first `period` steps of a schedule over and over: ``schedule(step mod period)``.

    Parameters
    ----------
    schedule : Schedule
    period : int
        At least 1.

    Examples
    --------
    >>> repeat(linear(0.5, 10), 10)([0, 5, 10, 15])
    array([0.5 , 0.25, 0.5 , 0.25])
    """

    schedule: Schedule
    period: int

    def _check(self) -> None:
        _check_schedule("schedule", self.schedule)
        _check_int("period", self.period, least=1)

    def _formula(self, step: Float64Array) -> Float64Array:
        return self.schedule._formula(np.fmod(step, self.period))


@dataclass(frozen=True)
class per_epoch(Schedule):
    """A schedule that counts epochs: ``schedule(floor(step / steps_per_epoch))``, or without the floor if `smooth`.

    Parameters
    ----------
    schedule : Schedule
    steps_per_epoch : int
        Updates in an epoch, at least 1: ``ceil(rows / batch_size)``, ``len(loader)``.
    smooth : bool
        Whether the rate changes within an epoch, as well.

    Examples
    --------
    The lecture's steps, a tenth after 30, 60 and 90 epochs, here of 57 updates:

    >>> per_epoch(step(0.1, 30, gamma=0.1), 57)([0, 30 * 57 - 1, 30 * 57, 60 * 57, 90 * 57])
    array([0.1   , 0.1   , 0.01  , 0.001 , 0.0001])
    """

    schedule: Schedule
    steps_per_epoch: int
    _: KW_ONLY
    smooth: bool = False

    def _check(self) -> None:
        _check_schedule("schedule", self.schedule)
        _check_int("steps_per_epoch", self.steps_per_epoch, least=1)
        _check_flag("smooth", self.smooth)

    def _formula(self, step: Float64Array) -> Float64Array:
        epoch = step / self.steps_per_epoch if self.smooth else np.floor_divide(step, self.steps_per_epoch)
        return self.schedule._formula(epoch)


# The one with state


class ReduceOnPlateau:
    """A rate that falls when a metric has stopped improving.

    ``step(metric)`` after each epoch counts the epochs in a row that did not improve on the best metric so far; after
    more than `patience` of them the rate becomes ``max(factor lr, min_lr)``, and the next `cooldown` epochs are not
    counted. The best is beaten by a metric that is better by more than ``threshold |best|`` (``"rel"``) or
    `threshold` (``"abs"``), whatever its sign. NaN never is an improvement.

    Parameters
    ----------
    lr : float
        The first rate, finite and not negative.
    mode : {"min", "max"}
        Whether a smaller metric is the better one.
    factor : float
        From 0 to 1, below 1.
    patience, cooldown : int
        Numbers of epochs, not negative.
    threshold : float
        Finite and not negative.
    threshold_mode : {"rel", "abs"}
    min_lr : float
        Finite and not negative.

    Notes
    -----
    PyTorch's ``ReduceLROnPlateau`` asks for less than ``best * (1 - threshold)``: for a negative best, such as a log
    likelihood, a worse metric then counts as better. It also ignores changes of the rate below ``eps=1e-8``.

    An instance is a callable like any schedule and gives the present rate at every step, so an optimizer takes it for
    its ``lr``, under capture, too; or set ``group["lr"] = plateau.step(metric)``. Its state is not in the
    optimizer's: save `state_dict` beside it.

    Examples
    --------
    >>> plateau = ReduceOnPlateau(0.5, factor=0.5, patience=1)
    >>> [plateau.step(loss) for loss in (3.0, 2.0, 2.0, 2.0, 1.0)]
    [0.5, 0.5, 0.5, 0.25, 0.25]

    With ``fit`` it listens by the callback::

        plateau = ReduceOnPlateau(0.1)
        optimizer = optim.SGD(model.parameters(), lr=plateau)
        fit(model, train, optimizer=optimizer, epochs=50, validation=validation,
            callback=lambda epoch: plateau.step(epoch.val_loss))
    """

    def __init__(
        self,
        lr: float,
        *,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        _check_rate("lr", lr)
        _check_choice("mode", mode, ("min", "max"))
        _check_rate("factor", factor)
        if factor >= 1:
            raise ValueError(f"factor must be below 1, got {factor!r}")
        _check_int("patience", patience)
        _check_rate("threshold", threshold)
        _check_choice("threshold_mode", threshold_mode, ("rel", "abs"))
        _check_int("cooldown", cooldown)
        _check_rate("min_lr", min_lr)
        self.mode, self.factor, self.patience, self.threshold = mode, float(factor), int(patience), float(threshold)
        self.threshold_mode, self.cooldown, self.min_lr = threshold_mode, int(cooldown), float(min_lr)
        self.lr = float(lr)
        self.best: float | None = None
        self.bad_epochs = 0
        self.cooling = 0  # epochs that will not be counted

    def __call__(self, step: int) -> float:
        """Return the present rate, which is that of every step until the next metric."""
        return self.lr

    def step(self, metric: float) -> float:
        """Take the metric of an epoch, a number or a 0-d tensor, and return the rate from now on."""
        if metric is None or isinstance(metric, (str, bytes, bool)):
            raise TypeError(f"metric must be a number, got {metric!r}")
        value = float(metric)
        if self._improves(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.cooling:
            self.cooling, self.bad_epochs = self.cooling - 1, 0
        if self.bad_epochs > self.patience:
            self.lr = min(self.lr, max(self.lr * self.factor, self.min_lr))
            self.cooling, self.bad_epochs = self.cooldown, 0
        return self.lr

    def _improves(self, metric: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        if isnan(metric) or sign * metric == float("inf"):
            return False
        if self.best is None:
            return True
        margin = self.threshold * abs(self.best) if self.threshold_mode == "rel" else self.threshold
        return sign * (self.best - metric) > margin

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on: the rate, the best metric (None before the first) and the two counts."""
        return {"lr": self.lr, "best": self.best, "bad_epochs": self.bad_epochs, "cooling": self.cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; what does not fit raises before anything is changed."""
        if not isinstance(state, Mapping):
            raise TypeError(f"the state must be a dict, got {type(state).__name__}")
        if state.keys() != self.state_dict().keys():
            raise KeyError(f"the state must have {', '.join(self.state_dict())}, got {', '.join(map(str, state))}")
        _check_rate("lr", state["lr"])
        best = state["best"]
        if best is not None and (isinstance(best, bool) or not isinstance(best, (int, float)) or isnan(best)):
            raise ValueError(f"best must be a number or None, got {best!r}")
        _check_int("bad_epochs", state["bad_epochs"])
        _check_int("cooling", state["cooling"])
        self.lr, self.best = float(state["lr"]), best
        self.bad_epochs, self.cooling = int(state["bad_epochs"]), int(state["cooling"])

    def __repr__(self) -> str:
        return (
            f"ReduceOnPlateau(lr={self.lr}, mode={self.mode!r}, factor={self.factor}, patience={self.patience}, "
            f"threshold={self.threshold}, threshold_mode={self.threshold_mode!r}, cooldown={self.cooldown}, "
            f"min_lr={self.min_lr})"
        )


def _shares(step: Float64Array, length: float) -> tuple[Float64Array, Float64Array]:
    """Return how much of a stretch lies behind a step and ahead of it: exactly 0 and 1 at its ends and outside."""
    if length == 0:
        return np.ones_like(step), np.zeros_like(step)
    done = np.clip(step, 0.0, length)
    return done / length, (length - done) / length


def _line(first: float, last: float, done: Float64Array, left: Float64Array) -> Float64Array:
    return left * first + done * last


def _half_wave(first: float, last: float, done: Float64Array, left: Float64Array) -> Float64Array:
    # (1 + cos(pi t)) / 2 = sin(pi (1 - t) / 2)**2: on the right nothing cancels near the end, and the weighted mean
    # is exact at both ends.
    return np.square(np.sin(pi / 2 * left)) * first + np.square(np.sin(pi / 2 * done)) * last


def _decayed(lr: float, gamma: float, times: Float64Array) -> Float64Array:
    """Return ``lr gamma^times``; `float_power` is the C library's and has the same bits alone and in an array."""
    return lr * np.float_power(gamma, times) if lr else np.zeros_like(times)  # 0 times inf would be NaN


def _check_rate(name: str, value: object) -> None:
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        good = isfinite(value) and value >= 0
    except OverflowError:  # an int beyond float64
        good = False
    if not good:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")


def _check_share(name: str, value: float) -> None:
    _check_rate(name, value)
    if value > 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value!r}")


def _check_int(name: str, value: object, least: int = 0) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, a number of updates, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must {'not be negative' if least == 0 else f'be at least {least}'}, got {value!r}")
    if value > _COUNTED:
        raise ValueError(f"{name} must be at most 2**53, beyond which steps are not told apart, got {value!r}")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")


def _check_schedule(name: str, value: object) -> None:
    if not isinstance(value, Schedule):
        raise TypeError(f"{name} must be a Schedule of this module, got {value!r}")


def _checked_milestones(milestones: object) -> tuple[int, ...]:
    if isinstance(milestones, str) or not isinstance(milestones, (Sequence, np.ndarray)):
        raise TypeError(f"milestones must be a sequence of ints, got {milestones!r}")
    for milestone in milestones:
        _check_int("milestones", milestone)
    if any(later < earlier for earlier, later in pairwise(milestones)):
        raise ValueError(f"milestones must be in rising order, got {milestones!r}")
    return tuple(int(milestone) for milestone in milestones)
