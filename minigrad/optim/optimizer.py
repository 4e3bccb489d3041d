"""What all optimizers share: groups of parameters, hyperparameters in cells, one launch a group."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..autograd import forget_gradients, ready, written
from ..kernels import KERNELS, recording
from ..kernels.launch import launch, prepare, run_prepared, spent
from ..tensor import Tensor

Schedule = Callable[[int], float]
Params = Iterable[Tensor] | Iterable[Mapping[str, Any]]
Check = Callable[[str, Any, tuple[str, ...]], None]
Held = list[tuple[Tensor, tuple[NDArray[Any], ...]]]
CHOICES = {"l1_form": ("subgradient", "proximal"), "dialect": ("torch", "optax")}
ONE = np.array(1, np.int64)


class Shared(TypedDict, total=False):
    """What every optimizer takes besides its own hyperparameters; explained at ``Optimizer``."""

    dialect: str
    decoupled_weight_decay: float
    l1: float
    l1_form: str
    max_norm: float | None
    no_decay: bool | Callable[[Tensor], bool]
    skip_nonfinite: bool


class ParamGroup(MutableMapping[str, Any]):
    """Parameters and their hyperparameters, read and written like a dict.

    A number lives in a cell, a float64 array at a fixed address that the kernel
    reads when it runs; so does a flag, the place of ``l1_form`` and ``dialect`` among
    their values, and each number of a pair (``betas`` in ``beta1`` and ``beta2``).  Setting
    ``group["lr"]`` to a number replaces a schedule; a schedule writes the rate of
    an update when that update is made.
    """

    def __init__(self, params: list[Tensor], options: Mapping[str, Any], slots: tuple[str, ...], check: Check) -> None:
        self.params = params
        self.slots = slots
        self.kernel = ""
        self.scalars: tuple[Any, ...] = ()  # the cells the kernel and the cells that it reads
        self.alike: list[Held] = []  # the parameters with their states, by dtype
        self.calls: list[Any] = []  # for each of these the last update, to be filled anew, or None
        self.schedule: Schedule | None = None
        self.cells: dict[str, NDArray[np.float64]] = {}
        self._check = check
        self.kinds: dict[str, type] = {}  # of the hyperparameters
        for name, value in options.items():
            if name == "lr" and callable(value):
                self.schedule, value = value, value(0)
            check(name, value, slots)
            kinds = {str: str, bool: bool, tuple: tuple, list: tuple}
            self.kinds[name] = kinds.get(type(value), float)
            self.cells |= {cell: np.array(number, np.float64) for cell, number in _numbers(name, value)}

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        kind = self.kinds[name]
        if kind is tuple:
            return tuple(float(self.cells[cell]) for cell in _pair(name))
        return CHOICES[name][int(self.cells[name])] if kind is str else kind(self.cells[name])

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.kinds:
            raise KeyError(f"this optimizer has no {name!r}; it has {', '.join(self.kinds)}")
        if name == "lr" and callable(value):
            self.schedule = value
            return
        self._check(name, value, self.slots)
        self.write(name, value)
        if name == "lr":
            self.schedule = None

    def write(self, name: str, value: Any) -> None:
        """Set a hyperparameter and leave the schedule; the value has been checked."""
        for cell, number in _numbers(name, value):
            self.cells[cell][...] = number

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "calls": [None] * len(self.calls)}  # a copy's arrays lie elsewhere

    def __delitem__(self, name: str) -> None:
        raise TypeError("a hyperparameter cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return iter(("params", *self.kinds))

    def __len__(self) -> int:
        return 1 + len(self.kinds)

    def rate(self, step: int) -> float:
        """The learning rate of update ``step``."""
        if self.schedule is None:
            return float(self.cells["lr"])
        rate = self.schedule(step)
        self._check("lr", rate, self.slots)
        return rate


def _pair(name: str) -> tuple[str, str]:
    """The cells of a hyperparameter with two numbers: beta1 and beta2 for betas."""
    return f"{name[:-1]}1", f"{name[:-1]}2"


def _numbers(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """The cells of a hyperparameter and what they hold."""
    if isinstance(value, tuple | list):
        return zip(_pair(name), value, strict=True)
    return [(name, CHOICES[name].index(value) if isinstance(value, str) else value)]


class Optimizer:
    """Base of the optimizers: a subclass names its kernel, what states that keeps, and hyperparameters of its own.

    ``params`` is an iterable of tensors, or of dicts with ``"params"`` and
    hyperparameters of their own.  State is allocated here, in each parameter's
    memory order; ``step_count`` is a cell that counts finished steps, one count
    for all parameters, also for those that a step skipped for want of a gradient.

    Every optimizer takes four kinds of decay.  From the gradient g the formula
    sees ``d = g + weight_decay * w + l1 * sign(w)``; ``decoupled_weight_decay``
    takes ``lr * decoupled_weight_decay * w`` off the weight before the step
    (Loshchilov and Hutter 2019).  With ``l1_form="proximal"`` l1 stays out of d
    and follows the step: ``w <- sign(w) * max(|w| - lr * l1, 0)``, which gives
    true zeros; beside ``weight_decay=2 * beta * l1`` it minimises the elastic net
    ``l1 * sum(beta * w^2 + |w|)``.  sign(0) is 0, and lr the rate of this step by
    the schedule.

    max_norm : last in a step, each unit of a weight of two or more axes, which is
        ``w[u]``, the weights that come into it, is made no longer than this
        (Srebro and Shraibman 2005): ``w[u] <- w[u] * min(1, max_norm / |w[u]|)``.
        A unit whose norm is not finite stays as it is.  None projects nothing, and
        is fixed when the optimizer is made.
    no_decay : which parameters have none of the four decays: those of less than two
        axes, as biases and the parameters of norms are, if True; or those for which
        a function of a parameter says so.  They become groups of their own.
    skip_nonfinite : a step in which any gradient is infinite or NaN changes no
        parameter, no state and not ``step_count``, and is counted in ``skipped``.
        The norm over all gradients decides (in float64 it is infinite from 1e154 on).
    dialect : "torch" or "optax": whose formula and defaults are taken where the two
        differ, as told at each optimizer.

    Gradients of several backward passes add up until ``zero_grad``: k micro-batches,
    each with its mean loss divided by k, take the step of one batch k times as large.
    """

    _start = 0.0  # of the states
    _decoupled = False  # whether weight_decay is itself the decoupled one

    def __init__(
        self,
        params: Params,
        own: Mapping[str, Any],
        *,
        dialect: str = "torch",
        decoupled_weight_decay: float | None = None,
        l1: float = 0.0,
        l1_form: str = "subgradient",
        max_norm: float | None = None,
        no_decay: bool | Callable[[Tensor], bool] = False,
        skip_nonfinite: bool = False,
    ) -> None:
        recording.refuse("making an optimizer", "make it before the step, which uses it")
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            hint = "; give it model.parameters()" if hasattr(params, "parameters") else ""
            raise TypeError(f"an optimizer takes an iterable of tensors or of dicts, got {type(params).__name__}{hint}")
        if not callable(no_decay):
            check_flag("no_decay", no_decay)
        check_flag("skip_nonfinite", skip_nonfinite)
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("the optimizer got no parameters")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        decays: dict[str, Any] = {"l1": l1, "l1_form": l1_form}
        if not self._decoupled:
            decoupled = 0.0 if decoupled_weight_decay is None else decoupled_weight_decay
            decays = {"decoupled_weight_decay": decoupled, **decays}
        elif decoupled_weight_decay is not None:
            raise TypeError(f"the weight_decay of {type(self).__name__} is the decoupled one already")
        defaults = {**own, **decays, "max_norm": max_norm, "dialect": dialect}
        rule = no_decay if callable(no_decay) else _not_a_weight
        self.param_groups: list[ParamGroup] = []
        self.step_count = np.array(0, np.int64)
        self._skipped = np.array(0, np.int64)
        self._norm = np.zeros(()) if skip_nonfinite else None  # of all gradients of a step
        self.state: dict[Tensor, tuple[NDArray[Any], ...]] = {}
        for group in groups:
            if not isinstance(group, Mapping) or "params" not in group:
                raise TypeError(f"a parameter group is a dict with 'params', got {group!r}")
            for part in _parted(group, rule, defaults.keys()) if no_decay else [group]:
                self._add_group(dict(part), defaults)

    def _add_group(self, options: dict[str, Any], defaults: dict[str, Any]) -> None:
        listed = options.pop("params")
        params = [listed] if isinstance(listed, Tensor) else list(listed)
        if unknown := sorted(options.keys() - defaults.keys()):
            raise TypeError(f"{type(self).__name__} has no hyperparameter {', '.join(unknown)}")
        options = {name: v for name, v in {**defaults, **options}.items() if name != "max_norm" or v is not None}
        kernel, slots = self._row(options)
        for p in params:
            check_parameter(p)
            if p in self.state:
                raise ValueError("a parameter is listed twice")
            self.state[p] = tuple(np.full_like(p.data, self._start) for _ in slots)
        group = ParamGroup(params, options, slots, self._check)
        cells = self._cells(group)
        group.kernel, group.scalars = kernel, tuple(cells[name] for name in KERNELS[kernel].scalars)
        for dtype in sorted({p.dtype for p in params}):
            group.alike.append([(p, self.state[p]) for p in params if p.dtype == dtype])
            group.calls.append(None)
        self.param_groups.append(group)

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The kernel of a group with these hyperparameters, and the names of its states."""
        raise NotImplementedError

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        """Raise ``ValueError`` for a value that hyperparameter ``name`` of a group with ``slots`` cannot have."""
        if name in CHOICES:
            if not isinstance(value, str) or value not in CHOICES[name]:
                raise ValueError(f"{name} must be {' or '.join(map(repr, CHOICES[name]))}, got {value!r}")
        elif not (is_number(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
        elif name == "momentum" and value and "momentum_buffer" not in slots:
            raise ValueError("momentum needs a buffer: give a momentum above 0 when the optimizer is made")

    def _cells(self, group: ParamGroup) -> dict[str, Any]:
        """What the kernel reads, by the names of its row."""
        cells = {"max_norm": math.inf, "norm": 0.0 if self._norm is None else self._norm, **group.cells}
        if self._decoupled:
            cells |= {"weight_decay": 0.0, "decoupled_weight_decay": group.cells["weight_decay"]}
        return {**cells, "proximal": group.cells["l1_form"], "step": self.step_count}

    @property
    def skipped(self) -> int:
        """How many steps were skipped because a gradient was not finite."""
        return int(self._skipped)

    def step(self) -> None:
        """Update every parameter that has a gradient, from its gradient and state.

        Raises ``ValueError`` for a schedule or a gradient that does not fit, before anything is written.
        """
        rates, calls = [], []
        updated: list[Tensor] = []
        for group in self.param_groups:  # everything is checked before anything is written
            if group.schedule is not None:
                rates.append((group.cells["lr"], group.rate(int(self.step_count))))
            for i, held in enumerate(group.alike):
                if arrays := ready(held, updated):
                    before, group.calls[i] = group.calls[i], None
                    calls.append((group, i, _prepared(group, arrays, held, before)))
        for cell, rate in rates:
            cell[...] = rate
        recorder = recording.current and recording.recorder()
        if recorder is not None:
            recorder.updating(self.param_groups, self.step_count)
        gate = self._norm if updated else None
        if gate is not None:
            global_norm([p.grad.data for p in updated if p.grad is not None], gate)
        for group, i, call in calls:
            run_prepared(call)
            group.calls[i] = spent(call)
        written(updated, type(self).__name__)
        if gate is None:
            launch("advance", (self.step_count, self.step_count, ONE))
        else:
            launch("advance_if", (self.step_count, self.step_count, gate), (1.0,))
            launch("advance_if", (self._skipped, self._skipped, gate), (0.0,))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            forget_gradients(group.params)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all state: step count, hyperparameters, slots by group and position."""
        return {
            "step": int(self.step_count),
            "skipped": self.skipped,
            "groups": [{name: g[name] for name in g.kinds} for g in self.param_groups],
            "slots": {path: array.copy() for path, array in self._named_slots()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict`` of an optimizer over parameters of the same shapes.

        Schedules stay as they are.  Raises ``KeyError`` or ``ValueError`` for a
        state that does not fit, before anything is written.
        """
        check_mapping("a state of an optimizer", state)
        counts = {"step": state["step"], "skipped": state.get("skipped", 0)}
        check_mapping("slots", state["slots"])
        groups, arrays = state["groups"], {k: np.asarray(v) for k, v in state["slots"].items()}
        slots = dict(self._named_slots())
        if slots.keys() != arrays.keys() or len(groups) != len(self.param_groups):
            raise KeyError("the state belongs to an optimizer over other parameters")
        for group, values in zip(self.param_groups, groups, strict=True):
            check_mapping("a group of the state", values)
            if values.keys() != group.kinds.keys():
                raise KeyError(f"the state has hyperparameters {sorted(values)}, this optimizer {sorted(group.kinds)}")
            for name, value in values.items():
                self._check(name, value, group.slots)
        for path, array in slots.items():
            got = arrays[path]
            if (got.shape, got.dtype) != (array.shape, array.dtype):
                raise ValueError(f"slot {path} is {array.dtype} {array.shape}, the state has {got.dtype} {got.shape}")
        for name, count in counts.items():
            check_counted(name, count)
        for group, values in zip(self.param_groups, groups, strict=True):
            for name, value in values.items():
                group.write(name, value)
        for path, array in slots.items():
            array[...] = arrays[path]
        self.step_count[...], self._skipped[...] = counts["step"], counts["skipped"]

    def _named_slots(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for i, group in enumerate(self.param_groups):
            for j, p in enumerate(group.params):
                for slot, array in zip(group.slots, self.state[p], strict=True):
                    yield f"{i}.{j}.{slot}", array

    def __repr__(self) -> str:
        lines = [", ".join(f"{name}={g[name]!r}" for name in g.kinds) for g in self.param_groups]
        return f"{type(self).__name__}({'; '.join(lines)})"


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number that float64 holds, finite and not a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return abs(value) <= sys.float_info.max if isinstance(value, int) else math.isfinite(value)


def global_norm(gradients: Iterable[NDArray[Any]], norm: NDArray[Any]) -> None:
    """Write the norm of all gradients as one vector to the cell ``norm``; without gradients it stays."""
    alike: dict[np.dtype[Any], list[NDArray[Any]]] = {}
    for g in gradients:
        alike.setdefault(g.dtype, []).append(g)
    start: float | NDArray[Any] = 0.0
    for arrays in alike.values():
        launch("global_norm", (norm, *arrays), (start,))
        start = norm


def _not_a_weight(p: Tensor) -> bool:
    return p.ndim < 2


def _parted(
    group: Mapping[str, Any], rule: Callable[[Tensor], bool], known: Iterable[str]
) -> Iterator[Mapping[str, Any]]:
    """A group as one with decays and one without, those that have parameters."""
    params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
    for p in params:
        check_parameter(p)
    spared = [bool(rule(p)) for p in params]
    none = dict.fromkeys({"weight_decay", "decoupled_weight_decay", "l1"}.intersection(known), 0.0)
    for part, decays in ((False, {}), (True, none)):
        if chosen := [p for p, found in zip(params, spared, strict=True) if found == part]:
            yield {**group, **decays, "params": chosen}


def _prepared(group: ParamGroup, arrays: list[NDArray[Any]], held: Held, before: Any) -> Any:
    """The call that updates one dtype: tensor after tensor the parameter, its states and its gradient."""
    try:
        return prepare(group.kernel, tuple(arrays), group.scalars, before)
    except (TypeError, ValueError):  # a gradient in another memory order, or one that is wrong
        each = len(group.slots) + 2
        arrays[each - 1 :: each] = [_fitting(p) for p, _ in held if p.grad is not None]
        return prepare(group.kernel, tuple(arrays), group.scalars)


def _fitting(p: Tensor) -> NDArray[Any]:
    """The gradient of a parameter, in its memory order."""
    if not isinstance(p.grad, Tensor):
        raise TypeError(f"a gradient must be a Tensor, got {type(p.grad).__name__}")
    if p.grad.shape != p.shape or p.grad.dtype != p.dtype:
        raise ValueError(f"a gradient is {p.grad.dtype} {p.grad.shape}, its parameter {p.dtype} {p.shape}")
    copied = np.empty_like(p.data)
    launch("copy", (copied, p.grad.data))
    return copied


def by_dialect(shared: Shared, value: float | None, *, torch: float, optax: float) -> float:
    """``value`` or, for None, the default of the dialect."""
    return value if value is not None else optax if shared.get("dialect") == "optax" else torch


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_mapping(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless ``value`` is a dict."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, got {type(value).__name__}")


def check_counted(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a number of steps that a cell can hold."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**63:
        raise ValueError(f"{name} must be a whole number of at least 0, below 2**63, got {value!r}")


def check_parameter(p: Any) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what an optimizer cannot update."""
    if not isinstance(p, Tensor):
        hint = "; give it model.parameters()" if hasattr(p, "parameters") else ""
        raise TypeError(f"an optimizer updates tensors, got {type(p).__name__}{hint}")
    if not p.is_leaf or not p.requires_grad:
        raise ValueError(f"an optimizer updates leaves that require grad, got {p!r}")
    check_updatable(p)


def check_updatable(p: Tensor) -> None:
    """Raise ``ValueError`` for a tensor in whose memory an update could not go from one end to the other."""
    a = p.data
    dense = a.transpose(np.argsort(a.strides)[::-1]).flags.c_contiguous  # in whatever order of axes
    if not (dense and a.flags.behaved and a.dtype.isnative):
        raise ValueError(
            "an optimizer updates writeable arrays without gaps in memory, aligned and in native byte order, "
            f"got dtype {a.dtype.str}, shape {a.shape}, strides {a.strides}, writeable={a.flags.writeable}"
        )
