"""The table of operations: complete, and true about what runs them."""

import subprocess
import sys
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import linalg, nn, ops
from minigrad.kernels import launch
from minigrad.operations import Operation
from minigrad.ops.__main__ import registry, rows, runs_on, table
from minigrad.ops.domain import Domain
from minigrad.testing.strategies import arguments
from tests.ops.test_gradients import operations

# Public functions without a domain: they create or draw a tensor, with no input to differentiate, or write into one.
WITHOUT = """arange asarray assign_ bernoulli empty empty_like eye from_dlpack full full_like linspace ones ones_like
permutation rand randint randn tensor zeros zeros_like"""


# Of helpers that are named like a kernel: what they launch without a bias, and after it.
BESIDES = {"linear": {"matmul"}, "mean_cross_entropy": {"mean"}}


def test_every_public_operation_states_a_domain() -> None:
    modules = (nn.functional, ops, linalg)  # PyTorch's pad is written by ours, whose domain it shares
    public = {name: getattr(module, name) for module in modules for name in module.__all__}
    stated = {name for name, value in public.items() if isinstance(getattr(value, "domain", None), Domain)}
    assert public.keys() - stated == set(WITHOUT.split())
    assert {public[name].__name__ for name in stated} <= registry().keys()
    assert registry().keys() == operations().keys()


def test_the_table_is_printed(environment: dict[str, str]) -> None:
    run = subprocess.run([sys.executable, "-m", "minigrad.ops"], capture_output=True, text=True, env=environment)
    assert (run.stdout, run.stderr) == (table() + "\n", "")
    for row in rows():
        assert row[0] in run.stdout
    line = next(line for line in run.stdout.splitlines() if line.startswith("abs("))
    assert line.split() == ["abs(x)", "same", "2", "absolute", "0", "at", "0"]
    assert "power (reference)" in run.stdout
    composed = "cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)"
    line = next(line for line in run.stdout.splitlines() if line.startswith(composed))
    assert line[len(composed) :].split() == ["(N,C),(N),(C)", "2", "composed"]
    assert "concat(*arrays, axis)" in run.stdout


@pytest.mark.parametrize(
    "operation", [pytest.param(o, id=n) for n, o in registry().items() if isinstance(o, Operation)]
)
@settings(max_examples=5)
@given(data=st.data())
def test_what_the_table_says_runs_is_what_is_launched(operation: Operation, data: st.DataObject) -> None:
    args, kwargs = data.draw(arguments(operation, np.float32))
    launched = set()

    def note(call: Any) -> None:
        launched.add("NumPy" if isinstance(call, launch.PythonCall) else call.kernel)
        call.run()

    with launch.observe(note):
        operation(*args, **deepcopy(kwargs))
    told = {name.removesuffix(" (reference)") for name in runs_on(operation.__wrapped__)}
    told |= BESIDES.get(operation.name, set())
    assert launched - {"copy"} <= told  # where a layout asks for it, anything is copied
