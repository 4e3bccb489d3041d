"""The graph owns no cycles, and chains of any length come and go at the default recursion limit."""

import gc
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

LONG_CHAIN = """
import sys
import minigrad as mg

assert sys.getrecursionlimit() == 1000
x = mg.ones((), requires_grad=True)
y = x
for _ in range(1_000_000):
    y = y + 1.0
y.backward()
assert y.item() == 1_000_001 and x.grad.item() == 1.0
z = x
for _ in range(1_000_000):
    z = z + 1.0
del z  # released without a backward pass
"""


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_a_million_operations(engine: str, environment: dict[str, str]) -> None:
    if engine == "compiled" and not mg._engine.has_compiled():
        pytest.skip("this install has no compiled engine")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LONG_CHAIN],
        env=environment | {"MINIGRAD_ENGINE": engine},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr


def test_a_thousand_steps_leave_nothing_behind() -> None:
    rng = mg.random.Generator(0)
    model = nn.Sequential(nn.Linear(8, 16, rng=1), nn.ReLU(), nn.Dropout(0.2, rng=2), nn.Linear(16, 4, rng=3))
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    x, y = rng.normal((32, 8)), np.arange(32) % 4

    def steps(n: int) -> None:
        for _ in range(n):
            loss = mg.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def alive() -> tuple[int, int]:
        """Objects that the collector tracks, and bytes of array memory; Python's free lists are neither."""
        arrays = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
        return len(gc.get_objects()), sum(trace.size for trace in arrays.traces)

    steps(10)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        steps(100)
        before = alive()
        steps(900)
        after = alive()
        assert gc.collect() == 0
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after[0] - before[0] < 20
    assert after[1] == before[1]


def test_the_collector_sees_a_planted_cycle() -> None:
    """The check above can fail: a saved output Tensor would be such a cycle."""
    x = mg.ones(3, requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        y = mg.exp(x)
        y.node.saved = [y]
        del y
        assert gc.collect() > 0
    finally:
        gc.enable()


def test_backward_drops_what_was_saved() -> None:
    x = mg.ones(1000, requires_grad=True)
    y = mg.exp(x)
    node = y.node
    y.sum().backward()
    assert node.saved is None
    assert node.parents == ()
