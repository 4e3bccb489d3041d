"""Checkpoints: one safetensors file, written atomically, never pickle."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..optim import EMA, Optimizer

_FORMAT = "1"


def save(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer | None = None, average: EMA | None = None
) -> None:
    """Write the parameters and buffers of ``model`` as ``model.<path>``.

    With an optimizer the file holds all that training needs to go on with the same
    bits: its state as ``optimizer.<path of the parameter>.<slot>``, its numbers and
    the random streams of the model in the metadata; schedules are not part of it.
    An average adds ``average.<path>``.  Raises ``ValueError`` where one of these
    has tensors that the model has not.

    The file appears whole or not at all: it is written beside its place, flushed
    to disk and renamed.
    """
    from safetensors.numpy import save as to_bytes

    arrays = {f"model.{k}": v for k, v in model.state_dict().items()}
    numbers = {"minigrad": _FORMAT}
    if optimizer is not None:
        state, names = optimizer.state_dict(), _slot_names(model, optimizer)
        arrays |= {names[slot]: array for slot, array in state.pop("slots").items()}
        numbers["optimizer"] = json.dumps(state)
        numbers["generators"] = json.dumps({name: rng.state() for name, rng in model.named_generators()})
    if average is not None:
        state, names = average.state_dict(), _average_names(model, average)
        arrays |= {names[place]: array for place, array in state.pop("averages").items()}
        numbers["average"] = json.dumps(state)
    content = to_bytes(arrays, numbers)
    place = Path(path)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer | None = None, average: EMA | None = None
) -> None:
    """Write the arrays of a checkpoint into ``model`` and, where given, into an optimizer and an average.

    Raises ``ValueError`` for a file that is no minigrad checkpoint, ``KeyError``
    or ``ValueError`` for one of another model or without what is asked for; then
    all is left as it was.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="np") as file:
            numbers = file.metadata() or {}
            version = numbers.get("minigrad")
            if version != _FORMAT:
                raise ValueError(f"{os.fspath(path)!r} is no minigrad checkpoint of format {_FORMAT} (found {version})")
            arrays = {k: np.asarray(file.get_tensor(k)) for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged or no checkpoint: {error}") from error
    states: list[tuple[Any, Mapping[str, Any]]] = [(model, _below("model.", arrays))]
    if optimizer is not None:
        names = _slot_names(model, optimizer)
        states.append((optimizer, _state("optimizer", "slots", names, arrays, numbers)))
    if average is not None:
        names = _average_names(model, average)
        states.append((average, _state("average", "averages", names, arrays, numbers)))
    before = [(part, part.state_dict()) for part, _ in states]
    try:
        for part, state in states:
            part.load_state_dict(state)
        _set_generators(model, json.loads(numbers["generators"]) if optimizer is not None else None)
    except BaseException:
        for part, state in before:
            part.load_state_dict(state)
        raise


def _set_generators(model: Module, states: Mapping[str, Any] | None) -> None:
    if states is None:
        return
    generators = dict(model.named_generators())
    if generators.keys() != states.keys():
        raise KeyError(f"the model has random streams {sorted(generators)}, the checkpoint {sorted(states)}")
    for name, state in states.items():
        generators[name].set_state(dict(state))


def _below(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _state(part: str, key: str, names: Mapping[str, str], arrays: Mapping[str, Any], numbers: Any) -> dict[str, Any]:
    """The state of the optimizer or the average in a file, under its own names again."""
    if part not in numbers:
        raise KeyError(f"the checkpoint has no {part}")
    found = {k: v for k, v in arrays.items() if k.startswith(f"{part}.")}
    if found.keys() != set(names.values()):
        raise KeyError(f"the checkpoint has the {part} of other parameters or with other states")
    return {**json.loads(numbers[part]), key: {own: found[name] for own, name in names.items()}}


def _paths(model: Module, what: str, tensors: Any) -> list[str]:
    """The path of each tensor in the model."""
    known = {id(t): path for path, t in [*model.named_buffers(), *model.named_parameters()]}
    if any(id(t) not in known for t in tensors):
        raise ValueError(f"the {what} has a tensor that is not the model's")
    return [known[id(t)] for t in tensors]


def _slot_names(model: Module, optimizer: Optimizer) -> dict[str, str]:
    """The name in a file of each slot of the optimizer's own state."""
    names: dict[str, str] = {}
    for i, group in enumerate(optimizer.param_groups):
        for j, path in enumerate(_paths(model, "optimizer", group.params)):
            names |= {f"{i}.{j}.{slot}": f"optimizer.{path}.{slot}" for slot in group.slots}
    return names


def _average_names(model: Module, average: EMA) -> dict[str, str]:
    return {str(i): f"average.{path}" for i, path in enumerate(_paths(model, "average", average.params))}
