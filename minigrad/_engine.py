"""Which build of the engine runs: ``MINIGRAD_ENGINE=python|compiled``.

``tensor.py``, ``operations.py`` and ``autograd.py`` are plain Python; a wheel holds them compiled
by Cython beside their source, and Python's import prefers the compiled file.
``python`` loads the sources themselves, to step through them.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

_MODULES = ("tensor", "operations", "autograd")


def _load_source(name: str) -> None:
    path = str(Path(__file__).with_name(f"{name}.py"))
    full = f"{__package__}.{name}"
    loader = importlib.machinery.SourceFileLoader(full, path)
    spec = importlib.util.spec_from_file_location(full, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    loader.exec_module(module)
    setattr(sys.modules[__package__], name, module)


def has_compiled() -> bool:
    """Whether this install has the compiled engine, in use or not."""
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    return all(any(Path(__file__).with_name(name + suffix).exists() for suffix in suffixes) for name in _MODULES)


def choose(wanted: str) -> str:
    """Load the engine that ``wanted`` names, or the compiled one where there is one; says which."""
    if wanted not in ("", "python", "compiled"):
        raise ValueError(f"MINIGRAD_ENGINE must be 'python' or 'compiled', got {wanted!r}")
    compiled = has_compiled()
    if wanted == "compiled" and not compiled:
        raise ImportError(
            "MINIGRAD_ENGINE=compiled, but this install has no compiled engine; install with MINIGRAD_COMPILE_ENGINE=1"
        )
    if wanted == "python" or not compiled:
        for name in _MODULES:
            _load_source(name)
        return "python"
    return "compiled"


engine = choose(os.environ.get("MINIGRAD_ENGINE", ""))
