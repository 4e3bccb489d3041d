"""Which build of the engine runs."""

import subprocess
import sys

import pytest

from minigrad import _engine


def run(environment: dict[str, str], engine: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment | {"MINIGRAD_ENGINE": engine}, capture_output=True, text=True
    )


def test_the_python_engine_is_source(environment: dict[str, str]) -> None:
    code = "from minigrad import autograd, operations; print(autograd.__file__, operations.__file__)"
    result = run(environment, "python", code)
    assert result.returncode == 0, result.stderr
    assert [path[-3:] for path in result.stdout.split()] == [".py", ".py"]


def test_the_compiled_engine_is_compiled_or_refused(environment: dict[str, str]) -> None:
    result = run(environment, "compiled", "from minigrad import autograd; print(autograd.__file__)")
    if _engine.has_compiled():
        assert result.returncode == 0, result.stderr
        assert not result.stdout.strip().endswith(".py")
    else:
        assert "MINIGRAD_COMPILE_ENGINE=1" in result.stderr


def test_an_unknown_engine_is_refused(environment: dict[str, str]) -> None:
    result = run(environment, "fast", "import minigrad")
    assert result.returncode != 0
    assert "MINIGRAD_ENGINE must be 'python' or 'compiled', got 'fast'" in result.stderr


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_a_chosen_engine_says_so(engine: str, environment: dict[str, str]) -> None:
    if engine == "python" or _engine.has_compiled():
        assert run(environment, engine, "from minigrad import _engine; print(_engine.engine)").stdout.strip() == engine
