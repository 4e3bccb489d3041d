"""Checkpoints: one safetensors file, written atomically, never pickle."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import numpy as np

from ..nn import Module

_FORMAT = "1"


def save(path: str | os.PathLike[str], model: Module) -> None:
    """Write the parameters and buffers of ``model`` as ``model.<path>``.

    The file appears whole or not at all: it is written beside its place, flushed
    to disk and renamed.
    """
    from safetensors.numpy import save as to_bytes

    content = to_bytes({f"model.{k}": v for k, v in model.state_dict().items()}, {"minigrad": _FORMAT})
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


def load(path: str | os.PathLike[str], model: Module) -> None:
    """Write the arrays of a checkpoint into ``model``.

    Raises ``ValueError`` for a file that is no minigrad checkpoint, ``KeyError``
    or ``ValueError`` for one of another model, before anything is written.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="np") as file:
            version = (file.metadata() or {}).get("minigrad")
            if version != _FORMAT:
                raise ValueError(f"{os.fspath(path)!r} is no minigrad checkpoint of format {_FORMAT} (found {version})")
            state = {k.removeprefix("model."): np.asarray(file.get_tensor(k)) for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged or no checkpoint: {error}") from error
    model.load_state_dict(state)
