import ast
import math
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parents[2] / "examples" / "00_scalar_engine.py"
Value: Any = runpy.run_path(str(EXAMPLE))["Value"]

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "add a number": lambda a, b: 2.0 + a + 3,
    "subtract": lambda a, b: a - b,
    "subtract from a number": lambda a, b: 2.0 - a - 1,
    "negate": lambda a, b: -a,
    "multiply": lambda a, b: a * b,
    "multiply a number": lambda a, b: 3 * a * 0.5,
    "divide": lambda a, b: a / b,
    "divide a number": lambda a, b: 2.0 / a / 3,
    "power": lambda a, b: a**3 + b**-2 + a**0.5 * 1,
    "used twice": lambda a, b: a * a + a,
    "used at different depths": lambda a, b: (a * b / 2 + a) * (a - b / a) + b,
}
FUNCTIONS = ARITHMETIC | {
    "tanh": lambda a, b: a.tanh(),
    "relu": lambda a, b: (a - b).relu() + (b - 2 * a).relu(),
}


@pytest.mark.parametrize("f", ARITHMETIC.values(), ids=ARITHMETIC.keys())
@given(a=st.floats(0.25, 2), b=st.floats(0.25, 2))
def test_values_are_those_of_python_floats(f: Callable[[Any, Any], Any], a: float, b: float) -> None:
    assert f(Value(a), Value(b)).data == pytest.approx(f(a, b), rel=1e-12, abs=1e-12)


@given(x=st.floats(-30, 30))
def test_values_of_tanh_and_relu(x: float) -> None:
    assert Value(x).tanh().data == pytest.approx(math.tanh(x), rel=1e-12, abs=1e-15)
    assert Value(x).relu().data == (x if x > 0 else 0.0)


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
@given(a=st.floats(0.25, 2), b=st.floats(0.25, 2))
def test_gradients_equal_central_differences(f: Callable[[Any, Any], Any], a: float, b: float) -> None:
    if abs(a - b) < 1e-3 or abs(b - 2 * a) < 1e-3:
        return  # too near to a kink of relu
    x, y = Value(a), Value(b)
    f(x, y).backward()

    def at(a: float, b: float) -> float:
        return f(Value(a), Value(b)).data  # type: ignore[no-any-return]

    h = 1e-5
    assert x.grad == pytest.approx((at(a + h, b) - at(a - h, b)) / (2 * h), rel=1e-6, abs=1e-6)
    assert y.grad == pytest.approx((at(a, b + h) - at(a, b - h)) / (2 * h), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("x", "y", "slope"), [(-1e4, -1.0, 0.0), (0.0, 0.0, 1.0), (1e4, 1.0, 0.0)])
def test_tanh_neither_overflows_nor_leaves_its_range(x: float, y: float, slope: float) -> None:
    leaf = Value(x)
    result = leaf.tanh()
    result.backward()
    assert (result.data, leaf.grad) == (y, slope)


def test_relu_has_slope_0_at_0() -> None:
    x = Value(0.0)
    x.relu().backward()
    assert x.grad == 0.0


def test_leaves_accumulate_over_backward_passes() -> None:
    x = Value(3.0)
    y = x * x * 2
    y.backward()
    y.backward()
    assert x.grad == 2 * 12.0


def test_a_long_chain_does_not_recurse() -> None:
    x = y = Value(1.0)
    for _ in range(20_000):
        y = y + x
    y.backward()
    assert x.grad == 20_001.0


def test_fits_on_two_screens_and_imports_nothing() -> None:
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) <= 100
    nodes = list(ast.walk(ast.parse(source)))
    assert not [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not [node for node in nodes if isinstance(node, ast.Name) and node.id == "__import__"]


def test_learns_exclusive_or() -> None:
    run = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=60, check=True)
    losses = [float(line.split()[-1]) for line in run.stdout.splitlines() if line.startswith("step")]
    assert len(losses) >= 3
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 < 0.5 < losses[0]
    answers = [line.split() for line in run.stdout.splitlines() if "xor" in line]
    assert len(answers) == 4
    for a, _, b, _, target, _, prediction in answers:
        assert (int(target) > 0) == (int(a) != int(b))
        assert float(prediction) == pytest.approx(int(target), abs=0.1)
