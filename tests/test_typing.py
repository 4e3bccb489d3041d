"""What editors and type checkers see of operations and methods."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import minigrad as mg

SNIPPET = """
import minigrad as mg
t = mg.ones((2, 3))
reveal_type(t.sum(axis=0))
reveal_type(mg.exp(t))
reveal_type(mg.sum(t, axis=0, keepdims=True))
reveal_type(mg.concat([t, t]))
reveal_type(mg.less(t, 1) < t)
reveal_type(mg.from_dlpack(t) + 1)
mg.exp(t, 1)
mg.sum(t, axes=0)
t.summ()
mg.nn.LeakyReLU(slope=0.1)
"""


def test_operations_show_their_parameters() -> None:
    assert str(inspect.signature(mg.sum)).startswith("(x: Any, /, axis: Any = None, keepdims: bool = False)")
    assert str(inspect.signature(mg.Tensor.sum)).startswith("(self, axis: 'Any' = None, keepdims: 'bool' = False)")


if importlib.util.find_spec("mypy"):

    def test_mypy_sees_operations_and_methods(environment: dict[str, str], tmp_path: Path) -> None:
        snippet = tmp_path / "snippet.py"
        snippet.write_text(SNIPPET)
        root = Path(mg.__file__).parents[1]
        run = subprocess.run(
            [sys.executable, "-m", "mypy", str(snippet)], cwd=root, env=environment, capture_output=True, text=True
        )
        told = re.findall(r"snippet.py:\d+: (.*)", run.stdout)
        assert [line for line in told if "Revealed" in line] == ['note: Revealed type is "minigrad.tensor.Tensor"'] * 6
        errors = [line for line in told if line.startswith("error")]
        assert [word in error for word, error in zip(("arguments", "axes", "summ", "slope"), errors, strict=True)] == [
            True
        ] * 4, run.stdout
