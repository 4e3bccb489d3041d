"""Checkpoints and model files: safetensors, written atomically, never pickle."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..nn.module import IncompatibleKeys

_FORMAT = "1"


def save(path: str | os.PathLike[str], model: Module) -> None:
    """Write the parameters and buffers of ``model`` as ``model.<path>``.

    The file appears whole or not at all: it is written beside its place, flushed
    to disk and renamed.
    """
    _write(path, {f"model.{k}": v for k, v in model.state_dict().items()}, {"minigrad": _FORMAT})


def load(path: str | os.PathLike[str], model: Module) -> None:
    """Write the arrays of a checkpoint into ``model``.

    Raises ``ValueError`` for a file that is no minigrad checkpoint, ``KeyError``
    or ``ValueError`` for one of another model, before anything is written.
    """
    state, metadata = _read(path, "checkpoint")
    if (version := metadata.get("minigrad")) != _FORMAT:
        raise ValueError(f"{os.fspath(path)!r} is no minigrad checkpoint of format {_FORMAT} (found {version})")
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})


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
            state = {k: np.asarray(file.get_tensor(k)) for k in file.keys()}  # noqa: SIM118
            return state, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged or no {kind}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{os.fspath(path)!r} has numbers that NumPy has not; save them as float32: {error}") from error
