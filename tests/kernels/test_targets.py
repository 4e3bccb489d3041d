"""Which target runs: chosen by name or by environment, never silently, and what is left without the extension."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from minigrad import kernels
from minigrad.kernels import KERNELS, launch

from .harness import NATIVE, each_row, normal, samples
from .oracle import tolerance

TARGETS = kernels.targets()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, which takes warnings as errors."""
    lines = "import numpy as np\nfrom minigrad import kernels\nfrom minigrad.kernels import launch\n" + code
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MINIGRAD_TARGET", "MINIGRAD_NUM"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", lines], env=clean | environment, capture_output=True, text=True
    )


def printed(code: str, **environment: str) -> str:
    done = run(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_targets_go_upward_from_the_reference() -> None:
    assert ("reference", "portable", "avx2", "avx512")[: len(TARGETS)] == TARGETS
    assert kernels.active() in TARGETS


def test_the_best_target_is_the_default() -> None:
    assert printed("print(kernels.active())") == TARGETS[-1]


def test_use(target: str) -> None:
    assert kernels.active() == target


@pytest.mark.parametrize("bad", ["sse9", "", "AVX2", None, 1])
def test_a_target_that_cannot_run_changes_nothing(bad: object) -> None:
    before = kernels.active()
    with pytest.raises(ValueError, match="cannot run here; available: reference"):
        kernels.use(bad)  # type: ignore[arg-type]
    assert kernels.active() == before


@pytest.mark.parametrize("bad", [0, -1, 65, 2.0, True, "2", None])
def test_a_number_of_threads_that_is_none_changes_nothing(bad: object) -> None:
    before = kernels.num_threads()
    with pytest.raises(ValueError, match="from 1 to 64"):
        kernels.set_num_threads(bad)  # type: ignore[arg-type]
    assert kernels.num_threads() == before


@pytest.mark.parametrize("name", TARGETS)
def test_the_environment_chooses_the_target(name: str) -> None:
    assert printed("print(kernels.active())", MINIGRAD_TARGET=name) == name


@pytest.mark.skipif(len(TARGETS) == 1, reason="no threads without the extension")
def test_the_environment_chooses_the_number_of_threads() -> None:
    assert printed("print(kernels.num_threads())", MINIGRAD_NUM_THREADS="3") == "3"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(TARGETS) == 1, reason="no affinity or no threads")
def test_the_affinity_mask_is_the_default_number_of_threads() -> None:
    code = "import os\nprint(kernels.num_threads() == len(os.sched_getaffinity(0)))"
    assert printed(code) == "True"
    one = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nprint(kernels.num_threads())"
    assert printed(one) == "1"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MINIGRAD_TARGET", "avx9", "target 'avx9' cannot run here; available: reference"),
        ("MINIGRAD_NUM_THREADS", "0", "MINIGRAD_NUM_THREADS must be a number from 1 to 64, got '0'"),
        ("MINIGRAD_NUM_THREADS", "two", "MINIGRAD_NUM_THREADS must be a number from 1 to 64, got 'two'"),
    ],
)
def test_a_bad_environment_is_an_error_at_import(name: str, value: str, says: str) -> None:
    done = run("", **{name: value})
    assert done.returncode == 1
    assert says in done.stderr


WITHOUT_EXTENSION = """
import sys
for name in [n for n in sys.modules if n.startswith("minigrad")]:
    del sys.modules[name]
sys.modules["minigrad.kernels._binding"] = None
from minigrad import kernels
from minigrad.kernels import launch
assert kernels.targets() == ("reference",) and kernels.active() == "reference" and kernels.num_threads() == 1
kernels.set_num_threads(4)
x = np.arange(12, dtype=np.float32).reshape(3, 4)
np.testing.assert_array_equal(launch.matmul(x, x.T), x @ x.T)
np.testing.assert_array_equal(launch.linear(x, x, x[:, 0], relu=True), np.maximum(x @ x.T + x[:, 0], 0))
np.testing.assert_array_equal(launch.reduce("sum", x, 1), x.sum(1))
np.testing.assert_array_equal(launch.elementwise("add", x[:, ::-1], 1.0), x[:, ::-1] + 1)
np.testing.assert_array_equal(launch.unary("exp", x), np.exp(x))
np.testing.assert_allclose(launch.rows("softmax", x).sum(1), 1, rtol=1e-6)
counter = np.array(2**64 - 1, np.uint64)
launch.launch("dropout", (x.copy(), np.empty(2, np.uint8), x), (32768, np.array(7, np.uint64), counter))
assert counter == 1
calls = []
with kernels.observe(calls.append):
    launch.unary("exp", x)
assert repr(calls[0]) == "exp(float32[3, 4], float32[3, 4])  # reference" and not calls[0].native
try:
    launch.launch("add", (x, x))
except TypeError as error:
    print(error)
"""


def test_without_the_extension_the_reference_serves_every_call() -> None:
    assert printed(WITHOUT_EXTENSION) == "add takes 3 arrays, got 2"
    assert "available: reference" in run(WITHOUT_EXTENSION + "kernels.use('portable')").stderr


@each_row([row for row in NATIVE if tolerance(row.name) in ("EXACT", "PIXEL")])
def test_exact_rows_have_the_same_bits_on_every_target(name: str) -> None:
    before = kernels.active()
    for sample in samples(name, 1000, np.random.default_rng(0)):
        results = []
        for target in TARGETS:
            kernels.use(target)
            results.append(sample.run())
        kernels.use(before)
        assert all(result == results[0] for result in results)


def test_one_observer_at_a_time() -> None:
    seen: list[str] = []

    def watch(call: Any) -> None:
        seen.append(call.kernel)
        call.run()

    x = np.float32([1, 4])
    with kernels.observe(watch):
        np.testing.assert_array_equal(launch.unary("sqrt", x), [1, 2])
        with pytest.raises(RuntimeError, match="observed already"), kernels.observe(watch):
            pass
        launch.elementwise("add", x, 1.0)
        launch.launch_python(lambda out, a: np.copyto(out, a), x, x)
    with pytest.raises(IndexError), kernels.observe(watch):
        launch.launch("cross_entropy", (np.empty(1, np.float32), x[None], np.array([2])))
    launch.unary("sqrt", x)
    assert seen == ["sqrt", "add", "<lambda>", "cross_entropy"]


@each_row([row for row in NATIVE if row.family == "ELEMENTWISE"])
def test_the_short_cut_of_the_helpers_gives_what_a_launch_gives(target: str, name: str) -> None:
    """Without an observer the helpers may skip the call object; with one they make calls."""
    rng, row = np.random.default_rng(0), KERNELS[name]
    shapes = [(4, 3, 5), (3, 5), (5,), (1, 3, 1), (4, 1, 5), ()]
    for _ in range(100):
        operands: list[Any] = [rng.standard_normal(shapes[rng.integers(6)], np.float32) for _ in row.inputs]
        operands = [a.T.copy().T if rng.integers(3) == 0 else a for a in operands]
        if len(operands) > 1 and rng.integers(4) == 0:
            operands[rng.integers(len(operands))] = [2, -0.5, np.float32(3), True, np.arange(5)][rng.integers(5)]
        if row.scalars:
            operands += [-0.5, 0.75]
        helper = {1: launch.unary, 2: launch.elementwise}.get(len(row.inputs))
        arguments = (name, *operands) if helper else operands
        quick = (helper or launch.where)(*arguments)
        with kernels.observe(lambda call: call.run()):
            careful = (helper or launch.where)(*arguments)
        assert (quick.dtype, quick.shape) == (careful.dtype, careful.shape)
        assert quick.tobytes() == careful.tobytes()
        assert not any(isinstance(a, np.ndarray) and np.shares_memory(quick, a) for a in operands)


X, Y = normal(np.random.default_rng(0), (6, 5)), normal(np.random.default_rng(1), (6, 5))
HELPED = {
    "matmul": lambda: launch.matmul(X, Y.T),
    "matmul batched": lambda: launch.matmul(X.reshape(2, 3, 5), Y.T),
    "matmul of nothing": lambda: launch.matmul(X[:, :0], Y.T[:0]),
    "matmul float64": lambda: launch.matmul(X.astype(float), Y.T.astype(float)),
    "linear": lambda: launch.linear(X, Y, Y[:, 0].copy()),
    "linear, relu": lambda: launch.linear(X, Y, Y[:, 0], relu=True),
    "linear without bias": lambda: launch.linear(X, Y),
    "linear of a vector": lambda: launch.linear(X[0], Y, Y[:, 0].copy()),
    **{
        f"{name} over {axis}, {keepdims}": lambda name=name, axis=axis, keepdims=keepdims: launch.reduce(
            name, X.reshape(2, 3, 5), axis, keepdims
        )
        for name in ("sum", "mean", "max", "min")
        for axis in (None, 0, -1, (0, 2), (-1, 0), [1], ())
        for keepdims in (False, True)
    },
    "sum of turned": lambda: launch.reduce("sum", X.reshape(2, 3, 5).transpose(2, 0, 1), 1),
    "sum of nothing": lambda: launch.reduce("sum", X[:0], 0),
    "softmax": lambda: launch.rows("softmax", X),
    "softmax of turned": lambda: launch.rows("softmax", X.T),
    "softmax of three axes": lambda: launch.rows("softmax", X.reshape(2, 3, 5)),
    "softmax_grad": lambda: launch.rows("softmax_grad", X, Y),
    "logsumexp": lambda: launch.rows("logsumexp", X),
}


@pytest.mark.parametrize("name", HELPED)
def test_the_other_helpers_give_the_same_in_short(target: str, name: str) -> None:
    quick = HELPED[name]()
    with kernels.observe(lambda call: call.run()):
        careful = HELPED[name]()
    assert (quick.dtype, quick.shape, quick.tobytes()) == (careful.dtype, careful.shape, careful.tobytes())


@pytest.mark.parametrize("axis", [3, -4, (0, 0), (1, -2), 1.0, True, "0", (0, None)])
def test_the_short_cut_refuses_the_same_axes(axis: Any) -> None:
    def error() -> Any:
        with pytest.raises((TypeError, ValueError)) as raised:
            launch.reduce("sum", X.reshape(2, 3, 5), axis)
        return type(raised.value), str(raised.value)

    quick = error()
    with kernels.observe(lambda call: call.run()):
        assert error() == quick
