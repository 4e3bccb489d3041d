"""Module: what walking the attributes finds is its state.  No registration."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from ..autograd import forget_gradients
from ..ops.shape import assign_
from ..random import Generator
from ..tensor import Tensor

if TYPE_CHECKING:
    from .summary import Summary


def check_flag(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def is_real(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether ``value`` is a number from ``least`` to ``most``, neither NaN, a bool nor an int beyond float64."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return False
    return bool(least <= value <= most)


class Parameter(Tensor):
    """A leaf that training changes.

    It shares the memory of ``data``.  Its storage never moves: whatever writes, writes into it.
    """

    __slots__ = ()

    def __init__(self, data: NDArray[Any] | Tensor) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad=True)
        if isinstance(data, Tensor):
            self._storage = data.storage()


class Buffer(Tensor):
    """State that is saved but not trained."""

    __slots__ = ()


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` left alone: paths that the state, or the model, does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A function with parameters: give it a ``forward``, and assign parameters and modules as attributes.

    Attributes are found by walking ``vars(self)``, lists, tuples and dicts in
    definition order, so ``state_dict`` keys are attribute paths, as in PyTorch.
    """

    training: bool = True

    def forward(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if len(inputs) == 1 and not options:  # as most are, and quicker than stars
            return self.forward(inputs[0])
        return self.forward(*inputs, **options)

    # The walk -------------------------------------------------------------------------

    def _walk(self, kind: type | tuple[type, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Paths and values of all attributes of ``kind``, shared ones once for each path."""
        yield from _found(vars(self), kind, prefix, (self,))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, under the first path that leads to it."""
        return _once(self._walk(Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Each parameter once, in definition order."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Each buffer once, under the first path that leads to it."""
        return _once(self._walk(Buffer))

    def buffers(self) -> Iterator[Buffer]:
        """Each buffer once, in definition order."""
        return (b for _, b in self.named_buffers())

    def named_generators(self) -> Iterator[tuple[str, Generator]]:
        """Each random stream once: part of a checkpoint, not of ``state_dict``."""
        return _once(self._walk(Generator))

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module, as ``""``, and each one inside it once."""
        return _once(chain([("", self)], self._walk(Module)))

    def modules(self) -> Iterator[Module]:
        """This module and each one inside it, once."""
        return (m for _, m in self.named_modules())

    # State ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters and buffers by path; a shared one stands under every path."""
        return {path: np.array(t.data, order="C") for path, t in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Write the arrays of ``state`` into the parameters and buffers.

        strict : every path must be in both; else those in only one are left alone, and returned.

        Raises ``KeyError`` that lists missing and unexpected paths, ``ValueError`` for
        shapes and ``TypeError`` for dtypes that do not fit, before anything is written.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dict of arrays by path, got {type(state).__name__}")
        own = self._tensors()
        apart = IncompatibleKeys(sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys()))
        if strict and any(apart):
            raise KeyError(f"the state does not fit the model: missing {apart[0]}, unexpected {apart[1]}")
        found = {path: state[path] for path in own if path in state}
        arrays = {path: a.data if isinstance(a, Tensor) else np.asarray(a) for path, a in found.items()}
        for path, array in arrays.items():
            if array.shape != own[path].shape:
                raise ValueError(f"{path} has shape {own[path].shape}, the state has {array.shape}")
            if not np.can_cast(array.dtype, own[path].dtype, "same_kind"):
                raise TypeError(f"{path} is {own[path].dtype}, the state has {array.dtype}")
            if not own[path].data.flags.writeable:
                raise ValueError(f"{path} lies in read-only memory")
        for path, array in arrays.items():
            assign_(own[path], array)
        return apart

    def _tensors(self) -> dict[str, Parameter | Buffer]:
        """Parameters and buffers by path."""
        found: dict[str, Parameter | Buffer] = {}
        for path, tensor in self._walk((Parameter, Buffer)):
            if found.setdefault(path, tensor) is not tensor:
                raise ValueError(f"two tensors have the path {path!r}; rename one of the keys that lead to them")
        return found

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of this module and all inside it; ``eval()`` is ``train(False)``."""
        if not isinstance(mode, bool):
            raise TypeError(f"train() takes True or False, got {type(mode).__name__}; minigrad.training.fit trains")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Leave the training mode: dropout keeps everything, batch norm goes by its running statistics."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        forget_gradients(self.parameters())

    def summary(self, *inputs: Any) -> Summary:
        """Print the layers with their outputs, parameters and multiply-adds: see ``minigrad.nn.summary``."""
        from .summary import summarize

        found = summarize(self, *inputs)
        print(found)
        return found

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr."""
        return ""

    @recursive_repr()
    def __repr__(self) -> str:
        children = [(path, m) for path, m in _found(vars(self), Module, "", (self,), deep=False)]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"  ({path}): {module!r}".replace("\n", "\n  ") for path, module in children]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


@dataclass_transform(eq_default=False)
class Layer(Module):
    """A module whose annotated attributes are the arguments of its constructor, as in a dataclass, and its repr."""

    settings: ClassVar[tuple[str, ...]]  # the names of those attributes

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclass(eq=False, repr=False)(cls)
        cls.settings = tuple(f.name for f in fields(cls))  # type: ignore[arg-type] # a dataclass since the line above

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type] # every subclass is a dataclass
            if isinstance(f.default, bool):
                check_flag(f.name, getattr(self, f.name))
            elif isinstance(f.default, float) and not is_real(value := getattr(self, f.name)):
                raise ValueError(f"{f.name} must be a number, got {value!r}")

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self.settings}
        return ", ".join(f"{name}={v!r}" for name, v in values.items() if not isinstance(v, Tensor))


def _found(
    value: Any, kind: type | tuple[type, ...], path: str, above: tuple[Any, ...], deep: bool = True
) -> Iterator[tuple[str, Any]]:
    """Everything of ``kind`` inside ``value``; ``above`` holds what lies on the way, against cycles."""
    if isinstance(value, Mapping):
        items = [(str(key), v) for key, v in value.items()]
    else:
        items = [(str(i), v) for i, v in enumerate(value)]
    for key, v in items:
        here = f"{path}.{key}" if path else key
        if isinstance(v, kind):
            yield here, v
        if any(v is a for a in above):
            continue
        if isinstance(v, Module):
            if deep:
                yield from _found(vars(v), kind, here, (*above, v))
        elif isinstance(v, Mapping | list | tuple):
            # The list inside a container is not part of the path: keys are "0.weight", as in PyTorch.
            yield from _found(v, kind, path if key == "_modules" else here, (*above, v), deep)


def _once(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for path, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield path, value
