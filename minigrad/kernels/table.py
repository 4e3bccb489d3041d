"""The rows of ``kernels.def``, parsed: what Python knows about every kernel."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_ROW = re.compile(
    r'^KERNEL\((\w+),\s*(\w+),\s*"([\w ]*)",\s*"([\w ]*)",\s*"([\w ]*)",\s*"(\w*)",\s*(\w+)(?:,\s*\d+)?\)', re.M
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row: names of the arrays and scalars, what the C kernel takes, how exact it is."""

    index: int
    name: str
    family: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    scalars: tuple[str, ...]
    dtypes: str
    tolerance: str

    @property
    def arrays(self) -> tuple[str, ...]:
        """Destinations first, then inputs."""
        return self.outputs + self.inputs

    def line(self, arrays: tuple[Any, ...], scalars: tuple[Any, ...]) -> str:
        """A call of it, to be read: shapes, then scalars by name; of an update one shape a tensor."""
        group = len(self.arrays) if self.family == "UPDATE" else 1
        shapes = [f"{a.dtype}{list(a.shape)}" for a in arrays[::group]]
        of = f"{' '.join(self.arrays)} of " if group > 1 else ""
        named = zip(self.scalars, scalars, strict=False)
        numbers = [f"{name}={'cell ' if isinstance(s, np.ndarray) else ''}{s}" for name, s in named]
        return f"{self.name}({of}{', '.join(shapes + numbers)})"


def _parse(text: str) -> dict[str, Kernel]:
    """Rows by name; a name is interned, as names in source are, so that to look it up compares no text."""
    return {
        name: Kernel(
            i, name, family, tuple(outputs.split()), tuple(inputs.split()), tuple(scalars.split()), dtypes, tolerance
        )
        for i, (name, family, outputs, inputs, scalars, dtypes, tolerance) in enumerate(
            (sys.intern(name), *rest) for name, *rest in _ROW.findall(text)
        )
    }


KERNELS = _parse((Path(__file__).parent / "kernels.def").read_text(encoding="utf-8"))
