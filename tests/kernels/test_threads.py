"""The pool: the same bits for any number of threads, callers that find it busy, children of a fork."""

import itertools
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minigrad import kernels
from minigrad.kernels import KERNELS
from minigrad.kernels.launch import matmul, reduce, unary

from .harness import Sample, each_row, normal, samples, whole

pytestmark = pytest.mark.usefixtures("threads")

# The longest axis, so that three threads find enough work.
LARGE = {
    "ELEMENTWISE": 1_600_001,
    "REDUCE": 400_003,
    "MATMUL": 120_001,
    "ROWS": 150_001,
    "FLAT": 1_000_003,
    "CELLS": 1000,
    "IMAGES": 3001,
    "UPDATE": 500_001,
    "TENSORS": 300_001,
}


def large(name: str) -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    yield from samples(name, 1000 if name == "philox" else LARGE[KERNELS[name].family], rng)
    if name == "matmul":
        for batch, m, n, k in [((), 150, 150, 150), ((), 300, 17, 800), ((7,), 60, 70, 80), ((), 2, 1300, 900)]:
            for a, b in [
                (normal(rng, (*batch, m, k)), normal(rng, (*batch, k, n))),
                (normal(rng, (*batch, k, m)).swapaxes(-1, -2), normal(rng, (*batch, n, k)).swapaxes(-1, -2)),
            ]:
                yield Sample(name, (np.empty((*batch, m, n), np.float32),), (a, b))


@each_row()
def test_the_same_bits_for_any_number_of_threads(c_target: str, name: str) -> None:
    for sample in large(name):
        results = []
        for count in (1, 2, 3):
            kernels.set_num_threads(count)
            results.append(sample.run())
        assert all(result == results[0] for result in results), sample.inputs[0].shape


@pytest.mark.parametrize("name", ["exp", "sum", "matmul", "softmax", "dropout", "adam", "global_norm"])
def test_large_calls_are_right(c_target: str, name: str) -> None:
    """The checks of small sizes do not reach the second thread; these do."""
    kernels.set_num_threads(3)
    for sample in large(name):
        got = sample.run()
        kernels.use("reference")
        wanted = sample.run()
        kernels.use(c_target)
        for out, a, b in zip(sample.outputs, got, wanted, strict=True):
            np.testing.assert_allclose(np.frombuffer(a, out.dtype), np.frombuffer(b, out.dtype), rtol=1e-4, atol=1e-3)


# Callers side by side -----------------------------------------------------------------------------------


def together(*functions: Callable[[], None]) -> None:
    """Run the functions in threads at once; the first of their exceptions is raised."""
    raised: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if raised:
        raise raised[0]


def repeated_product(seed: int, n: int, times: int) -> Callable[[], None]:
    rng = np.random.default_rng(seed)
    a, b = whole(rng, (n, n)), whole(rng, (n, n + 3))
    wanted = a.astype(np.float64) @ b

    def run() -> None:
        for _ in range(times):
            np.testing.assert_array_equal(matmul(a, b), wanted)

    return run


def test_a_busy_pool_serves_the_second_caller_as_well(c_target: str) -> None:
    kernels.set_num_threads(2)
    together(*(repeated_product(seed, 110 + 10 * seed, 60) for seed in range(3)))


def test_knobs_may_turn_while_kernels_run(c_target: str) -> None:
    """Scratch, parts and kernel of a call belong together, whatever other threads choose meanwhile."""
    done = threading.Event()

    def turn() -> None:
        for count, target in itertools.cycle(itertools.product((4, 1, 3, 2), kernels.targets()[1:])):
            kernels.set_num_threads(count)
            kernels.use(target)
            if done.is_set():
                break

    def work() -> None:
        try:
            together(repeated_product(1, 150, 20), repeated_product(2, 140, 20))
        finally:
            done.set()

    together(turn, work)
    kernels.use(c_target)


def test_jobs_at_every_moment_of_a_worker(c_target: str) -> None:
    """Awake, about to sleep, asleep: a job must reach a worker in any state, or its caller waits forever."""
    kernels.set_num_threads(3)
    x = np.ones((110, 10_000), np.float32)
    for microseconds in np.random.default_rng(0).uniform(0, 80, 500):
        until = time.perf_counter() + microseconds * 1e-6
        while time.perf_counter() < until:
            pass
        assert (reduce("max", x, 1) == 1).all()


# Forks --------------------------------------------------------------------------------------------------


def forked(function: Callable[[], bytes]) -> bytes:
    """What ``function`` returns in a forked child, which must end within a minute."""
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on a fork beside threads warns
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os.close(receive)
            with os.fdopen(send, "wb") as pipe:
                pipe.write(function())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        result = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return result


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def pooled() -> bytes:
    """Work for the pool, and what it gives."""
    rng = np.random.default_rng(0)
    a, b = normal(rng, (200, 200)), normal(rng, (200, 200))
    return matmul(a, b).tobytes() + unary("exp", np.zeros(1_600_000, np.float32)).tobytes()


@needs_fork
def test_a_child_works_after_its_parent_used_the_pool(c_target: str) -> None:
    kernels.set_num_threads(3)
    wanted = pooled()
    assert forked(pooled) == wanted
    assert forked(lambda: forked(pooled)) == wanted
    assert pooled() == wanted


@needs_fork
def test_a_child_of_a_busy_parent(c_target: str) -> None:
    """Forked while another thread holds the pool: the child has a pool of its own."""
    kernels.set_num_threads(2)
    wanted, done = pooled(), threading.Event()

    def keep_busy() -> None:
        while not done.is_set():
            pooled()

    def fork_often() -> None:
        try:
            for _ in range(5):
                assert forked(pooled) == wanted
        finally:
            done.set()

    together(keep_busy, fork_often)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
@needs_fork
def test_large_calls_hire_workers_and_small_ones_do_not(c_target: str) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/task"))

    def hired() -> bytes:
        kernels.set_num_threads(3)
        at_first = count()
        unary("exp", np.zeros(100_000, np.float32))
        after_small = count()
        unary("exp", np.zeros(1_600_000, np.float32))
        return bytes([after_small - at_first, count() - at_first])

    assert [*forked(hired)] == [0, 2]


def test_a_call_is_native_only_where_it_says_so(c_target: str) -> None:
    calls: list[Any] = []
    with kernels.observe(lambda call: (calls.append(call), call.run())[0]):
        unary("exp", np.zeros(3, np.float32))
        unary("exp", np.zeros(3, np.float64))
        kernels.use("reference")
        unary("exp", np.zeros(3, np.float32))
    kernels.use(c_target)
    assert [call.native for call in calls] == [True, False, False]
