"""The clock of these tests stands still unless a call moves it, so every figure is exact."""

import gc
import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minigrad import kernels, optim
from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch

ROOT = Path(__file__).parents[2]
RANDOM = {"dropout", "dropout_grad"}  # NumPy draws other numbers


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    """The scripts, imported as they import each other; other tests have modules of these names too."""
    names = ("harness", "peers", "kernels", "overhead", "claims", "picture", "ulp", "steps", "memory", "backward",
             "dialects", "augmentation")  # fmt: skip
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        del sys.modules[name]
    sys.modules.update(others)


@pytest.fixture(scope="module")
def harness(benchmarks: Any) -> Any:
    return benchmarks.harness


class Clock:
    """Time that passes only in calls, which are noted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def side(self, name: str, *seconds: float) -> Callable[[], None]:
        """A call that takes ``seconds``, one after the other, and the last from then on."""
        remaining = itertools.chain(seconds, itertools.repeat(seconds[-1]))

        def call() -> None:
            self.calls.append(name)
            self.now += next(remaining)

        return call


# Measuring


def test_sides_take_turns_block_by_block(harness: Any) -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 0.25), "b": clock.side("b", 0.125)}
    seconds = harness.compare(sides, rounds=4, block=1.0, clock=clock)
    assert seconds == {"a": 0.25, "b": 0.125}
    blocks = [(name, len(list(calls))) for name, calls in itertools.groupby(clock.calls)]
    calibration, measured = blocks[:2], blocks[2:]
    assert [name for name, _ in calibration] == ["a", "b"]
    assert measured == [("a", 2), ("b", 4)] * 4


def test_one_hiccup_does_not_shorten_the_blocks(harness: Any) -> None:
    clock = Clock()
    sides = {"a": clock.side("a", 5.0, 0.25), "b": clock.side("b", 0.25)}
    harness.compare(sides, rounds=1, block=2.0, clock=clock)
    measured = clock.calls[-8:]
    assert measured == ["a"] * 4 + ["b"] * 4


def test_the_median_counts(harness: Any) -> None:
    clock = Clock()
    calibration = (1.0, 1.0, 1.0)
    sides = {"a": clock.side("a", *calibration, 9.0, 1.0, 2.0), "b": clock.side("b", *calibration, 3.0, 3.0, 700.0)}
    assert harness.compare(sides, rounds=3, block=1.0, clock=clock) == {"a": 2.0, "b": 3.0}


@pytest.mark.parametrize("enabled", [True, False])
def test_no_collection_while_timing(harness: Any, enabled: bool) -> None:
    clock, seen = Clock(), []
    advance = clock.side("a", 1.0)

    def call() -> None:
        seen.append(gc.isenabled())
        advance()

    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        harness.compare({"a": call}, rounds=2, block=1.0, clock=clock)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert seen
    assert not any(seen)


# Printing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.37e-7, "237 ns"),
        (9.994e-7, "999 ns"),
        (9.996e-7, "1.00 us"),
        (4.25e-6, "4.25 us"),
        (1.25e-4, "125 us"),
        (0.0123, "12.3 ms"),
        (1234.5, "1234 s"),
        (0.0, "0.00 ns"),
        (float("nan"), ""),
    ],
)
def test_durations_have_three_digits(harness: Any, seconds: float, text: str) -> None:
    assert harness.duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(2.0, "2.00"), (1.0, "1.00"), (0.996, "1.00"), (0.99, "**0.99 slower**"), (float("nan"), "")],
)
def test_losers_are_marked(harness: Any, ratio: float, text: str) -> None:
    assert harness.verdict(ratio) == text


def test_a_table_has_times_and_ratios_and_gaps(harness: Any) -> None:
    rows = [harness.Row("add", "2x2", {"ours": 1e-6, "peer": 3e-6}), harness.Row("exp", "2x2", {"ours": 4e-6})]
    assert rows[0].ratio("ours", "peer") == 3
    assert harness.table(rows, ["ours"], ["peer"]).splitlines() == [
        "|     |     | ours    | peer    | peer / ours |",
        "| --- | --- | ------- | ------- | ----------- |",
        "| add | 2x2 | 1.00 us | 3.00 us | 3.00        |",
        "| exp | 2x2 | 4.00 us |         |             |",
    ]


def test_the_summary_has_mean_and_worst(harness: Any) -> None:
    rows = [harness.Row("add", case, {"ours": 1.0, "peer": peer}) for case, peer in (("small", 8.0), ("large", 0.5))]
    line = harness.summary(rows, "ours", "peer").splitlines()[2]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["add", "2.00", "**0.50 slower**", "large"]


def test_processes_are_merged_by_medians(harness: Any, benchmarks: Any) -> None:
    rows = [harness.Row("add", "2x2", {"peer": float(i), f"engine {i % 2}": 10.0 * i}) for i in range(5)]
    merged = benchmarks.overhead.merged(rows)
    assert merged.seconds == {"peer": 2.0, "engine 0": 20.0, "engine 1": 20.0}


def test_claims_say_what_is_not_met(benchmarks: Any) -> None:
    claims = benchmarks.claims.Claims()
    claims.at_least("slow", 0.95, [(1.2, "small"), (0.9, "large")])
    claims.mean_at_least("quick", 1.9, [(2.0, "small"), (8.0, "large")])
    claims.at_most("ns", 100, 101)
    claims.at_least("without a peer", 1, [])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in str(claims).splitlines()[2:]]
    assert lines == [
        ["slow", "0.95", "0.90 at large", "**no**"],
        ["quick", "1.9", "4.00", "yes"],
        ["ns", "at most 100", "101", "**no**"],
    ]


def test_the_picture_is_drawn(benchmarks: Any, harness: Any, tmp_path: Path) -> None:
    rows = [harness.Row(name, "2x2", {"minigrad": 2.0, "NumPy": 1.0 + i}) for i, name in enumerate("abc")]
    benchmarks.picture.draw(rows, tmp_path / "kernels.png", "a title")
    assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_memory_is_drawn(benchmarks: Any, tmp_path: Path) -> None:
    rows = [SimpleNamespace(name=name, eager=100, kept=70 + i, lean=50) for i, name in enumerate("abc")]
    benchmarks.picture.memory(rows, tmp_path / "memory.png", "a title")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


# The benchmarks


def test_the_memory_of_a_step_is_measured(benchmarks: Any) -> None:
    """Of a net whose arrays are known: two layers of 64 and a batch of 32 rows."""
    row = benchmarks.memory.measure("a net", (64, 64, 64), 32)
    gradients, activations = 4 * 2 * (64 * 64 + 64), 4 * 32 * 64
    assert gradients + activations < row.eager < 2 * gradients + 8 * activations + 10_000
    assert gradients < row.kept < gradients + 5 * activations
    assert activations < row.lean < gradients + 5 * activations
    assert row.kept < row.kept_in_all < row.kept + 120_000
    assert row.lean < row.lean_in_all < row.lean + 120_000
    cells = benchmarks.memory.line(row._replace(eager=1_250_000, lean=500))
    assert cells[:2] == ["a net", "1.25 MB"]
    assert cells[4:6] == ["0.5 kB", "0%"]


def test_the_backward_pass_is_measured(benchmarks: Any) -> None:
    backward = benchmarks.backward
    measured = {name: (f, arrays) for make in (backward.of_domains, backward.composed) for name, f, arrays in make(4)}
    assert {"exp", "softmax", "where", "sort", "layer_norm", "max_pool2d, 2 x 2"} <= measured.keys()
    assert measured.keys() >= backward.WHY.keys()
    cost = backward.measure("exp", *measured["exp"], rounds=1, block=1e-4)
    assert cost.forward > 0 < cost.backward
    dear, odd, cheap = (backward.Cost(name, 1e-3, ms * 1e-3) for name, ms in (("abs", 4), ("exp", 5), ("sin", 3)))
    text = backward.table([dear, odd, cheap])
    assert text.startswith("1 of 3 take at most 3.5 times")
    assert [line.split("|")[4].strip() for line in text.splitlines()[-3:]] == ["**4.0**", "**5.0**", "3.0"]
    assert backward.LIGHT in text


def test_a_kernel_without_a_benchmark_is_an_error(benchmarks: Any) -> None:
    row = KERNELS["add"]
    with pytest.raises(LookupError, match="kernels without a benchmark: hypot, xor"):
        benchmarks.kernels.check_complete({**KERNELS, "xor": row, "hypot": row})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a comparison may overflow; the kernel says nothing
@pytest.mark.parametrize("name", sorted(KERNELS.keys() - RANDOM))
def test_both_sides_compute_the_same(benchmarks: Any, name: str) -> None:
    kernels, row = benchmarks.kernels, KERNELS[name]
    _, _, arrays, scalars = next(kernels.FAMILIES[row.family](row))
    ours, theirs = [tuple(a.copy("K") for a in arrays) for _ in range(2)]
    launch(name, ours, scalars)
    result = kernels.numpy_call(row, theirs, scalars)()
    if name == "where":  # np.where cannot write into out
        theirs = (result, *theirs[1:])
    for mine, its in zip(ours[: len(row.outputs)], theirs, strict=False):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(name for name, row in KERNELS.items() if row.tolerance.startswith("ULP")))
def test_errors_are_measured_and_below_the_stated_bound(benchmarks: Any, name: str) -> None:
    before = kernels.active()
    try:
        with np.errstate(all="ignore"):
            found = benchmarks.ulp.measure(name, every=2**16 + 1)
    finally:
        kernels.use(before)
    assert [*found] == [*kernels.targets()[1:]]
    for worst in found.values():
        assert worst.wrong == 0
        assert 0.5 <= worst.ulp <= int(KERNELS[name].tolerance.removeprefix("ULP"))


def test_wrong_results_are_found(benchmarks: Any) -> None:
    worst, x = benchmarks.ulp.Worst(), np.arange(5, dtype=np.float32)
    exact = np.array([1, 1, np.inf, np.nan, 1])
    worst.take(x, np.array([1, 1 + 3 * 2**-23, 1, 1, np.nan], np.float32), exact, exact.astype(np.float32))
    assert (worst.ulp, worst.at, worst.wrong) == (3, 1, 3)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins a process to a core")
def test_the_second_thread_is_measured() -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, "-W", "error", "benchmarks/threads.py", "--quick"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    assert "| training step | 784-512-256-10, batch 128 |" in run.stdout
    assert "An idle process with workers takes" in run.stdout


def test_everything_runs_and_every_kernel_has_a_row() -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, "-W", "error", "benchmarks/run.py", "--quick"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    assert "threads: minigrad 1, BLAS 1" in run.stdout.splitlines()[0]
    names = {
        line.split("|")[1].split()[0] for line in run.stdout.splitlines() if line.startswith("| ") and line[2] != " "
    }
    assert KERNELS.keys() <= names
    assert "NumPy / python engine" in run.stdout
    assert "training step" in run.stdout
    assert "all told, keep_grads=False" in run.stdout
    assert "| gelu by hand | 128x128 " in run.stdout
    assert "call by call / in blocks" in run.stdout
    assert "| JPEG, quality 50 " in run.stdout


def test_dialects_equal_their_peers_where_those_are_installed(benchmarks: Any, monkeypatch: Any, capsys: Any) -> None:
    dialects = benchmarks.dialects
    for name, options in [*dialects.TORCH, *[(name, options) for name, options, _ in dialects.OPTAX]]:
        path = dialects.ours(getattr(optim, name), options)
        assert dialects.difference(name, options, path) == 0
    for peer, name, options, path in dialects.comparisons():
        assert dialects.difference(name, {**options, "dialect": peer}, path) <= dialects.BOUND
    adagrad = dialects.ours(optim.Adagrad, {"dialect": "optax"})
    monkeypatch.setattr(dialects, "comparisons", lambda: [("torch", "Adagrad", {}, adagrad)])
    assert dialects.main() == 1
    assert "WRONG torch  Adagrad()" in capsys.readouterr().out
