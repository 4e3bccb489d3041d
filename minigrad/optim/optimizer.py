"""What all optimizers share: groups of parameters, hyperparameters in cells, one launch a group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

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
L1_FORMS = ("subgradient", "proximal")
_ONE = np.array(1, np.int64)


class ParamGroup(MutableMapping[str, Any]):
    """Parameters and their hyperparameters, read and written like a dict.

    A number lives in a cell, a float64 array at a fixed address that the kernel
    reads when it runs; so does a flag, the place of ``l1_form`` among its values,
    and each number of a pair (``betas`` in ``beta1`` and ``beta2``).  Setting
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
        return L1_FORMS[int(self.cells[name])] if kind is str else kind(self.cells[name])

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
    return [(name, L1_FORMS.index(value) if isinstance(value, str) else value)]


class Optimizer:
    """Base of the optimizers: a subclass names its kernel and the states that the kernel keeps.

    ``params`` is an iterable of tensors, or of dicts with ``"params"`` and
    hyperparameters of their own.  State is allocated here, in each parameter's
    memory order; ``step_count`` is a cell that counts finished steps, one count
    for all parameters, also for those that a step skipped for want of a gradient.

    Every optimizer takes four kinds of decay.  From the gradient g the formula
    sees ``d = g + weight_decay * w + l1 * sign(w)``; ``decoupled_weight_decay``
    takes ``lr * decoupled_weight_decay * w`` off the weight before the step
    (Loshchilov and Hutter 2019).  With ``l1_form="proximal"`` l1 stays out of d
    and follows the step: ``w <- sign(w) * max(|w| - lr * l1, 0)``, which gives
    true zeros.  sign(0) is 0, and lr the rate of this step by the schedule.
    """

    _start = 0.0  # of the states

    def __init__(self, params: Params, **defaults: Any) -> None:
        recording.refuse("making an optimizer", "make it before the step, which uses it")
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"an optimizer takes an iterable of tensors or of dicts, got {type(params).__name__}")
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("the optimizer got no parameters")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        self.param_groups: list[ParamGroup] = []
        self.step_count = np.array(0, np.int64)
        self.state: dict[Tensor, tuple[NDArray[Any], ...]] = {}
        for group in groups:
            if not isinstance(group, Mapping) or "params" not in group:
                raise TypeError(f"a parameter group is a dict with 'params', got {group!r}")
            self._add_group(dict(group), defaults)

    def _add_group(self, options: dict[str, Any], defaults: dict[str, Any]) -> None:
        listed = options.pop("params")
        params = [listed] if isinstance(listed, Tensor) else list(listed)
        if unknown := sorted(options.keys() - defaults.keys()):
            raise TypeError(f"{type(self).__name__} has no hyperparameter {', '.join(unknown)}")
        options = {**defaults, **options}
        kernel, slots = self._row(options)
        for p in params:
            _check_parameter(p)
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
        if name == "l1_form":
            if value not in L1_FORMS:
                raise ValueError(f"l1_form must be 'subgradient' or 'proximal', got {value!r}")
        elif not (is_number(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
        elif name == "momentum" and value and "momentum_buffer" not in slots:
            raise ValueError("momentum needs a buffer: give a momentum above 0 when the optimizer is made")

    def _cells(self, group: ParamGroup) -> dict[str, Any]:
        """What the kernel reads, by the names of its row."""
        return {**group.cells, "proximal": group.cells["l1_form"], "step": self.step_count}

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
        for group, i, call in calls:
            run_prepared(call)
            group.calls[i] = spent(call)
        written(updated, type(self).__name__)
        launch("advance", (self.step_count, self.step_count, _ONE))

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            forget_gradients(group.params)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all state: step count, hyperparameters, slots by group and position."""
        return {
            "step": int(self.step_count),
            "groups": [{name: g[name] for name in g.kinds} for g in self.param_groups],
            "slots": {path: array.copy() for path, array in self._named_slots()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict`` of an optimizer over parameters of the same shapes.

        Schedules stay as they are.  Raises ``KeyError`` or ``ValueError`` for a
        state that does not fit, before anything is written.
        """
        step, groups, arrays = state["step"], state["groups"], {k: np.asarray(v) for k, v in state["slots"].items()}
        slots = dict(self._named_slots())
        if slots.keys() != arrays.keys() or len(groups) != len(self.param_groups):
            raise KeyError("the state belongs to an optimizer over other parameters")
        for group, values in zip(self.param_groups, groups, strict=True):
            if values.keys() != group.kinds.keys():
                raise KeyError(f"the state has hyperparameters {sorted(values)}, this optimizer {sorted(group.kinds)}")
            for name, value in values.items():
                self._check(name, value, group.slots)
        for path, array in slots.items():
            got = arrays[path]
            if (got.shape, got.dtype) != (array.shape, array.dtype):
                raise ValueError(f"slot {path} is {array.dtype} {array.shape}, the state has {got.dtype} {got.shape}")
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
            raise ValueError(f"step must be a whole number of at least 0, got {step!r}")
        for group, values in zip(self.param_groups, groups, strict=True):
            for name, value in values.items():
                group.write(name, value)
        for path, array in slots.items():
            array[...] = arrays[path]
        self.step_count[...] = step

    def _named_slots(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for i, group in enumerate(self.param_groups):
            for j, p in enumerate(group.params):
                for slot, array in zip(group.slots, self.state[p], strict=True):
                    yield f"{i}.{j}.{slot}", array

    def __repr__(self) -> str:
        lines = [", ".join(f"{name}={g[name]!r}" for name in g.kinds) for g in self.param_groups]
        return f"{type(self).__name__}({'; '.join(lines)})"


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number, not a bool."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


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


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def _check_parameter(p: Any) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"an optimizer updates tensors, got {type(p).__name__}")
    if not p.is_leaf or not p.requires_grad:
        raise ValueError(f"an optimizer updates leaves that require grad, got {p!r}")
    a = p.data
    dense = a.transpose(np.argsort(a.strides)[::-1]).flags.c_contiguous  # in whatever order of axes
    if not (dense and a.flags.behaved and a.dtype.isnative):
        raise ValueError(
            "an optimizer updates writeable arrays without gaps in memory, aligned and in native byte order, "
            f"got dtype {a.dtype.str}, shape {a.shape}, strides {a.strides}, writeable={a.flags.writeable}"
        )
