"""Modules that hold modules."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, overload

from .module import Module


def _module(container: str, module: Any, place: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{container} takes modules, got {type(module).__name__} at {place!r}")
    return module


class Identity(Module):
    """x itself; arguments are ignored, so that it can stand in for any layer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


class Sequential(Module):
    """Modules applied one after the other.

    Given one after the other they are named "0", "1", ...; given as one dict, by its keys, which are
    attributes, too: ``Sequential({"body": body, "head": head}).head``.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        named: Any = {str(i): module for i, module in enumerate(modules)}
        if len(modules) == 1 and isinstance(modules[0], Mapping) and not isinstance(modules[0], Module):
            named = modules[0]
            if wrong := [name for name in named if not isinstance(name, str)]:
                raise TypeError(f"Sequential takes strings as names, got {type(wrong[0]).__name__}")
        self._modules = {name: _module("Sequential", module, name) for name, module in named.items()}

    def forward(self, x: Any) -> Any:
        for module in self._modules.values():
            x = module(x)
        return x

    def append(self, module: Module) -> "Sequential":
        """Add a module behind the last, named by its position."""
        if str(len(self)) in self._modules:
            raise ValueError(f"Sequential has a module named {str(len(self))!r}, the position of the next, already")
        self._modules[str(len(self))] = _module("Sequential", module, len(self))
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getattr__(self, name: str) -> Any:
        try:
            return vars(self)["_modules"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> "Module | Sequential":
        if not isinstance(index, slice):
            return list(self)[index]
        names = list(self._modules)
        if names == [str(i) for i in range(len(names))]:
            return Sequential(*list(self)[index])
        return Sequential({name: self._modules[name] for name in names[index]})


class ModuleList(Module, MutableSequence[Module]):
    """A list whose modules are found as parts of the model: "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._modules = [_module("ModuleList", module, i) for i, module in enumerate(modules)]

    def insert(self, index: int, value: Module) -> None:
        self._modules.insert(index, _module("ModuleList", value, index))

    def __len__(self) -> int:
        return len(self._modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> "ModuleList": ...
    def __getitem__(self, index: int | slice) -> "Module | ModuleList":
        return ModuleList(self._modules[index]) if isinstance(index, slice) else self._modules[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._modules[index] = ModuleList(value)._modules if isinstance(index, slice) else _module(
            "ModuleList", value, index
        )  # fmt: skip

    def __delitem__(self, index: Any) -> None:
        del self._modules[index]


class ModuleDict(Module, MutableMapping[str, Module]):
    """A dict whose modules are found as parts of the model, by their keys."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self._modules: dict[str, Module] = {}
        self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, value: Module) -> None:
        if not isinstance(key, str):
            raise TypeError(f"ModuleDict takes strings as keys, got {type(key).__name__}")
        self._modules[key] = _module("ModuleDict", value, key)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    __eq__, __hash__ = object.__eq__, object.__hash__  # modules are themselves, whatever they hold
