"""Checkpoints: one safetensors file, written atomically, never pickle."""

from __future__ import annotations

import copy
import os
import secrets
from pathlib import Path

import numpy as np

from ..nn import Module
from ..preprocessing import Transformer

_FORMAT = "1"


def save(path: str | os.PathLike[str], model: Module, *, preprocessing: Transformer | None = None) -> None:
    """Write the parameters and buffers of ``model`` as ``model.<path>``.

    What ``preprocessing`` has learnt, a transformer or a pipeline of them, goes with it as
    ``preprocessing.<name>``.

    The file appears whole or not at all: it is written beside its place, flushed
    to disk and renamed.
    """
    from safetensors.numpy import save as to_bytes

    learnt = {} if preprocessing is None else preprocessing.state_dict()
    parts = {"model": model.state_dict(), "preprocessing": learnt}
    arrays = {f"{part}.{k}": v for part, state in parts.items() for k, v in state.items()}
    content = to_bytes(arrays, {"minigrad": _FORMAT})
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


def load(path: str | os.PathLike[str], model: Module, *, preprocessing: Transformer | None = None) -> None:
    """Write the arrays of a checkpoint into ``model`` and, if given, ``preprocessing``.

    Raises ``ValueError`` for a file that is no minigrad checkpoint, ``KeyError``
    or ``ValueError`` for one of another model or preprocessing, before anything is written.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    try:
        with safe_open(path, framework="np") as file:
            version = (file.metadata() or {}).get("minigrad")
            if version != _FORMAT:
                raise ValueError(f"{os.fspath(path)!r} is no minigrad checkpoint of format {_FORMAT} (found {version})")
            arrays = {k: np.asarray(file.get_tensor(k)) for k in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)!r} is damaged or no checkpoint: {error}") from error
    learnt = _part(arrays, "preprocessing")
    if preprocessing is not None:
        copy.deepcopy(preprocessing).load_state_dict(learnt)  # whether it fits
    model.load_state_dict(_part(arrays, "model"))
    if preprocessing is not None:
        preprocessing.load_state_dict(learnt)


def _part(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays under ``<name>.``, without it."""
    return {k.removeprefix(f"{name}."): v for k, v in arrays.items() if k.startswith(f"{name}.")}
