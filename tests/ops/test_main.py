"""The table of operations: complete, and true about what runs them."""

import subprocess
import sys
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import ops
from minigrad.kernels import launch
from minigrad.operations import Operation
from minigrad.ops.__main__ import registry, rows, runs_on, table
from minigrad.testing.strategies import arguments
from tests.ops.test_gradients import operations

# Public functions without a domain: made of operations that have one, or without an input to differentiate.
WITHOUT = """arange asarray assign_ avg_pool1d avg_pool2d batch_norm bernoulli binary_cross_entropy
binary_cross_entropy_with_logits concat conv1d conv2d cross_entropy diag dot dropout einsum embedding empty
empty_like eye from_dlpack full full_like gather global_avg_pool2d group_norm hinge_embedding_loss
huber_loss index_add inner kl_div l1_loss layer_norm linspace margin_ranking_loss matmul max_pool1d
max_pool2d moveaxis mse_loss multi_margin_loss multiclass_svm_loss nll_loss ones ones_like outer pad
permutation prelu rand randint randn rms_norm scatter_add smooth_l1_loss soft_margin_loss split stack
swapaxes take take_along_axis tensor tensordot topk trace unstack zeros zeros_like"""


# Of helpers that are named like a kernel: what they launch without a bias, and after it.
BESIDES = {"linear": {"matmul"}, "mean_cross_entropy": {"mean"}}


def test_every_public_operation_states_a_domain() -> None:
    assert set(ops.__all__) - set(registry()) == set(WITHOUT.split())
    assert registry().keys() == operations().keys()


def test_the_table_is_printed(environment: dict[str, str]) -> None:
    run = subprocess.run([sys.executable, "-m", "minigrad.ops"], capture_output=True, text=True, env=environment)
    assert (run.stdout, run.stderr) == (table() + "\n", "")
    for row in rows():
        assert row[0] in run.stdout
    line = next(line for line in run.stdout.splitlines() if line.startswith("abs("))
    assert line.split() == ["abs(x)", "same", "2", "absolute", "0", "at", "0"]
    assert "power (reference)" in run.stdout


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
