"""Checkpoints: one safetensors file, written atomically, never pickle."""

from __future__ import annotations

import copy
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..nn.module import IncompatibleKeys
from ..optim import EMA, Optimizer
from ..preprocessing import Transformer
from ..random import check_state

_FORMAT = "1"


def save(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer | None = None,
    average: EMA | None = None,
    *,
    preprocessing: Transformer | None = None,
) -> None:
    """Write the parameters and buffers of ``model`` as ``model.<path>``.

    With an optimizer the file holds all that training needs to go on with the same
    bits: its state as ``optimizer.<path of the parameter>.<slot>``, its numbers and
    the random streams of the model in the metadata.  Not in it: schedules, and what
    shuffles the data, so keep the ``state()`` of the ``Generator`` given to ``fit``.
    After a ``fit`` with validation the model has its best epoch's weights; save in
    ``callback`` to go on from an epoch.
    An average adds ``average.<path>``.  What ``preprocessing`` has learnt, a transformer
    or a pipeline of them, goes with it as ``preprocessing.<name>``.  Raises
    ``ValueError`` where optimizer or average have tensors that the model has not.

    The file appears whole or not at all: it is written beside its place, flushed
    to disk and renamed.
    """
    if not isinstance(model, Module):
        raise TypeError(f"save() takes a path and a model, in this order; got a {type(model).__name__} as the model")
    arrays = {f"model.{k}": v for k, v in model.state_dict().items()}
    numbers = {"minigrad": _FORMAT}
    if optimizer is not None:
        names, state = _slot_names(model, optimizer), optimizer.state_dict()
        arrays |= {names[slot]: array for slot, array in state.pop("slots").items()}
        numbers["optimizer"] = json.dumps(state)
        numbers["generators"] = json.dumps({name: rng.state() for name, rng in model.named_generators()})
    if average is not None:
        state, names = average.state_dict(), _average_names(model, average)
        arrays |= {names[place]: array for place, array in state.pop("averages").items()}
        numbers["average"] = json.dumps(state)
    if preprocessing is not None:
        arrays |= {f"preprocessing.{k}": v for k, v in preprocessing.state_dict().items()}
    _write(path, arrays, numbers)


def load(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer | None = None,
    average: EMA | None = None,
    *,
    preprocessing: Transformer | None = None,
) -> None:
    """Write the arrays of a checkpoint into ``model`` and, where given, into an optimizer, an average, preprocessing.

    Raises ``ValueError`` for a file that is no minigrad checkpoint, ``KeyError``
    or ``ValueError`` for one of another model or without what is asked for; then
    all is left as it was.
    """
    arrays, numbers = _read(path, "checkpoint")
    if (version := numbers.get("minigrad")) != _FORMAT:
        raise ValueError(f"{os.fspath(path)!r} is no minigrad checkpoint of format {_FORMAT} (found {version})")
    states: list[tuple[Any, Mapping[str, Any]]] = [(model, _below("model.", arrays))]
    if optimizer is not None:
        names = _slot_names(model, optimizer)
        states.append((optimizer, _state("optimizer", "slots", names, arrays, numbers)))
    if average is not None:
        names = _average_names(model, average)
        states.append((average, _state("average", "averages", names, arrays, numbers)))
    learnt = _below("preprocessing.", arrays)
    if preprocessing is not None:
        copy.deepcopy(preprocessing).load_state_dict(learnt)  # whether it fits
    streams = {} if optimizer is None else _streams(model, numbers)
    before = [(part, part.state_dict()) for part, _ in states]
    try:
        for part, state in states:
            part.load_state_dict(state)
    except BaseException:
        for part, state in before:
            part.load_state_dict(state)
        raise
    for name, rng in model.named_generators():
        if name in streams:
            rng.set_state(streams[name])
    if preprocessing is not None:
        preprocessing.load_state_dict(learnt)


def save_weights(path: str | os.PathLike[str], model: Module) -> None:
    """Write the ``state_dict`` of ``model`` and nothing else: a file that PyTorch loads.

    Names, shapes and dtypes are PyTorch's for layers of the same names, every array in C order:
    ``model.load_state_dict(safetensors.torch.load_file(path))`` there.  Written atomically, as by ``save``.
    """
    _write(path, model.state_dict(), {"format": "pt"})


def load_weights(path: str | os.PathLike[str], model: Module, strict: bool = True) -> IncompatibleKeys:
    """Write the arrays of a safetensors file, named as in ``state_dict``, into ``model``.

    For weights from PyTorch: ``safetensors.torch.save_file(model.state_dict(), path)`` there.
    strict, result and errors are those of ``Module.load_state_dict``.
    """
    return model.load_state_dict(_read(path, "safetensors file")[0], strict)


def _write(path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: dict[str, str]) -> None:
    from safetensors.numpy import save as to_bytes

    content = to_bytes(dict(arrays), metadata)
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


def _read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no {kind} {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="np") as file:
            arrays = {k: np.asarray(file.get_tensor(k)) for k in file.keys()}  # noqa: SIM118
            return arrays, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged or no {kind}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{os.fspath(path)!r} has numbers that NumPy has not; save them as float32: {error}") from error


def _numbers(part: str, numbers: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata say of a part, a dict written as JSON."""
    if part not in numbers:
        raise KeyError(f"the checkpoint has no {part}")
    try:
        found = json.loads(numbers[part])
    except ValueError as error:
        raise ValueError(f"the {part} of the checkpoint is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"the {part} of the checkpoint is damaged: it is no dict but {found!r}")
    return found


def _streams(model: Module, numbers: Mapping[str, str]) -> dict[str, Any]:
    """The states of the model's random streams, checked."""
    states, names = _numbers("generators", numbers), [name for name, _ in model.named_generators()]
    if states.keys() != set(names):
        raise KeyError(f"the model has random streams {sorted(names)}, the checkpoint {sorted(states)}")
    for state in states.values():
        check_state(state)
    return states


def _below(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _state(part: str, key: str, names: Mapping[str, str], arrays: Mapping[str, Any], numbers: Any) -> dict[str, Any]:
    """The state of the optimizer or the average in a file, under its own names again."""
    state = _numbers(part, numbers)
    found = {k: v for k, v in arrays.items() if k.startswith(f"{part}.")}
    if found.keys() != set(names.values()):
        raise KeyError(f"the checkpoint has the {part} of other parameters or with other states")
    return {**state, key: {own: found[name] for own, name in names.items()}}


def _paths(model: Module, what: str, tensors: Any) -> list[str]:
    """The path of each tensor in the model."""
    known = {id(t): path for path, t in [*model.named_buffers(), *model.named_parameters()]}
    if any(id(t) not in known for t in tensors):
        raise ValueError(f"the {what} has a tensor that is not the model's")
    return [known[id(t)] for t in tensors]


def _slot_names(model: Module, optimizer: Optimizer) -> dict[str, str]:
    """The name in a file of each slot of the optimizer's own state."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"a checkpoint takes an Optimizer, not {type(optimizer).__name__}: keep its own state_dict()")
    names: dict[str, str] = {}
    for i, group in enumerate(optimizer.param_groups):
        for j, path in enumerate(_paths(model, "optimizer", group.params)):
            names |= {f"{i}.{j}.{slot}": f"optimizer.{path}.{slot}" for slot in group.slots}
    return names


def _average_names(model: Module, average: EMA) -> dict[str, str]:
    return {str(i): f"average.{path}" for i, path in enumerate(_paths(model, "average", average.params))}
