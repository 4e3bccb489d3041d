"""Teams: a call that is cut has the bits of the whole, and no thread touches what another is at."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim, team
from minigrad.kernels import KERNELS
from minigrad.passes import Step
from minigrad.team import Team, collide, cut, cuts

F32 = np.float32


@contextmanager
def forced(threads: int) -> Iterator[None]:
    """Teams of so many threads, however small the work."""
    before = mg.num_threads(), team.WORTH, team.UNCUT
    mg.set_num_threads(threads)
    team.WORTH, team.UNCUT = 1, 1
    try:
        yield
    finally:
        threads, team.WORTH, team.UNCUT = before
        mg.set_num_threads(threads)


@pytest.fixture(params=mg.kernels.targets()[1:], scope="module")
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every target that has teams."""
    before = mg.kernels.active()
    mg.kernels.use(request.param)
    yield request.param
    mg.kernels.use(before)


def collisions(found: Team) -> list[int]:
    """The phases in which two threads touch the same byte and one of them writes, and the end of the step."""
    bad = [p for p in range(len(found.starts)) if collide(found.accesses(p))]
    last = len(found.starts) - 1
    crossing = not found.closed and collide([*found.accesses(last), *found.accesses(0)])
    return bad + [last + 1] * crossing


# Cutting ------------------------------------------------------------------------------------------

LENGTHS = st.integers(2, 40) | st.sampled_from([64, 96, 100, 130, 200, 300])
THREADS = st.integers(2, 4)


def matrix(draw: st.DrawFn, rng: np.random.Generator, *shape: int) -> Any:
    """Numbers in rows or in columns."""
    a = rng.standard_normal(shape, F32)
    return np.asfortranarray(a) if draw(st.booleans()) else a


@st.composite
def products(draw: st.DrawFn) -> Step:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    m, n = draw(LENGTHS), draw(LENGTHS | st.just(1))
    k = draw(st.integers(1, 20) | st.sampled_from([64, 100, 400]))
    kernel = draw(st.sampled_from(["matmul", "linear", "matmul_relu_grad", "batch"]))
    out, a = np.empty((m, n), F32), matrix(draw, rng, m, k)
    if kernel == "linear":
        numbers = matrix(draw, rng, n, k), rng.standard_normal(n, F32)
        return Step(kernel, (out, a, *numbers), (draw(st.sampled_from([0.0, 1.0])),))
    if kernel == "matmul_relu_grad":
        return Step(kernel, (out, a, matrix(draw, rng, k, n), rng.standard_normal((m, n), F32)))
    if kernel == "batch":
        entries = draw(st.integers(1, 9))
        factors = rng.standard_normal((entries, m, k), F32), rng.standard_normal((draw(st.just(1)), k, n), F32)
        return Step("matmul", (np.empty((entries, m, n), F32), *factors))
    return Step(kernel, (np.asfortranarray(out) if draw(st.booleans()) else out, a, matrix(draw, rng, k, n)))


@st.composite
def others(draw: st.DrawFn) -> Step:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    m, n = draw(LENGTHS), draw(LENGTHS)
    x, y, row = matrix(draw, rng, m, n), matrix(draw, rng, m, n), rng.standard_normal((n,), F32)
    same, plain = np.empty_like(x), np.ascontiguousarray
    label, lost = rng.integers(0, n, m), rng.standard_normal(m, F32)
    made: dict[str, Callable[[], Step]] = {
        "exp": lambda: Step("exp", (same, x)),
        "tanh": lambda: Step("tanh", (same, x)),
        "add": lambda: Step("add", (same, x, row)),
        "where": lambda: Step("where", (same, x > 0, x, y)),
        "sum": lambda: Step("sum", (np.empty((m, 1, 3), F32), rng.standard_normal((m, n, 3), F32))),
        "rows": lambda: Step("mean", (np.empty((m, 1), F32), x)),
        "columns": lambda: Step("max", (np.empty((1, n), F32), x)),
        "softmax": lambda: Step("softmax", (plain(same), plain(x))),
        "cross_entropy": lambda: Step("cross_entropy", (np.empty(m, F32), plain(x), label)),
        "cross_entropy_grad": lambda: Step("cross_entropy_grad", (plain(same), lost, plain(x), label)),
        "layer_norm": lambda: Step("layer_norm", (plain(same), plain(x), row, row + 1), (1e-5,)),
        "layer_norm_grad": lambda: Step("layer_norm_grad", (plain(same), plain(y), plain(x), row), (1e-5,)),
        "dropout": lambda: Step(
            "dropout", (plain(same), np.zeros((m * n + 7) // 8, np.uint8), plain(x)), (3e4, 77.0, 5.0), 2
        ),
        "dropout_grad": lambda: Step(
            "dropout_grad", (plain(same), plain(y), rng.integers(0, 256, (m * n + 7) // 8).astype(np.uint8)), (3e4,)
        ),
        "adam": lambda: Step(
            "adam",
            (*(np.abs(a) for a in (x, x, x, x)), *(lost + 9,) * 4),
            (0.1, 0.9, 0.99, 1e-8, 3.0, 0.1, 0, 0, 0, np.inf, 0),
            3,
        ),
        "lion": lambda: Step(
            "lion", (*(np.copy(a, "K") for a in (x, x, x)), *(lost + 9,) * 3), (0.1, 0.9, 0.99, 0.1, 0, 0, 0, 0.5, 0), 2
        ),
        "sgd": lambda: Step("sgd", (x.copy("K"), np.copy(x, "K")), (0.1, 0.1, 0.0, 0.1, 1.0, np.inf, 0.0)),
    }
    return made[draw(st.sampled_from(sorted(made)))]()


@given(step=products() | others(), threads=THREADS)
def test_the_parts_of_a_call_have_the_bits_of_the_whole(target: str, step: Step, threads: int) -> None:
    parts = cut(step, threads)
    assume(parts is not None and step.call().ready)
    assert parts is not None
    assert not collide(team.touched(parts))
    before = [a.copy("K") for a in step.arrays]
    step.call().run()
    wanted = [a.tobytes() for a in step.written]
    for a, value in zip(step.arrays, before, strict=True):
        np.copyto(a, value)
    if step.family != "UPDATE":
        for a in step.arrays[: step.outputs]:
            a.fill(0 if a.dtype == np.uint8 else 99)
    for part in reversed(parts):
        call = part.call()
        assert call.native
        assert call.ready
        call.run()
    assert [a.tobytes() for a in step.written] == wanted


@given(n=st.integers(0, 500), threads=THREADS)
def test_rows_are_cut_fairly(n: int, threads: int) -> None:
    at = cuts(n, threads)
    if at is None:
        assert n < 2 * threads
        return
    lengths = [b - a for a, b in pairwise(at)]
    assert (at[0], at[-1], len(lengths)) == (0, n, threads)
    assert min(lengths) >= 2
    assert max(lengths) <= n / threads + 8


def test_what_is_not_cut(target: str) -> None:
    x = np.ones((8, 8), F32)
    number = np.ones((), np.int64)
    whole = [
        Step("advance", (number, number, number)),
        Step("sum", (np.empty((1, 1), F32), x)),
        Step("add", (np.empty((3, 1), F32), x[:3, :1], x[:3, :1])),
        Step("dropout", (np.empty((9, 5), F32), np.zeros(6, np.uint8), np.ones((9, 5), F32)), (3e4, 1.0, 1.0), 2),
    ]
    assert [cut(step, 4) for step in whole] == [None] * 4
    assert {step.family for step in whole} < {kernel.family for kernel in KERNELS.values()}


# Whole steps ---------------------------------------------------------------------------------------

X, Y = np.random.default_rng(0).standard_normal((24, 16), F32), np.arange(24) % 3


def stepper(forward: Callable[[Any, Any], Any] = lambda model, x: model(x), p: float = 0.0) -> tuple[Any, Any]:
    """A model, and a step that trains it."""
    mg.manual_seed(0)
    drop = [nn.Dropout(p)] if p else []
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), *drop, nn.Linear(32, 32), nn.ReLU(), *drop, nn.Linear(32, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = mg.cross_entropy(forward(model, x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def bits(model: Any) -> list[bytes]:
    return [p.data.tobytes() for p in model.parameters()]


def normalized(model: Any, x: Any) -> Any:
    """Reads across the batch, as batch norm does."""
    h = model[0](x)
    return model[4](mg.relu(model[2]((h - h.mean(0)) / mg.sqrt((h * h).mean(0) + 1))))


def both(
    forward: Callable[[Any, Any], Any] = lambda model, x: model(x), p: float = 0.0, threads: int = 2
) -> tuple[mg.Program, Any, Any, Any]:
    """A program with a team, its model, and a model and step that have done the same eagerly."""
    with forced(threads):
        model, step = stepper(forward, p)
        program = mg.capture(step, X, Y)
        assert program.team is not None
        assert program.team.threads == threads
    other, eager = stepper(forward, p)
    eager(X, Y)
    return program, model, other, eager


@pytest.mark.parametrize("p", [0.0, 0.5])
@pytest.mark.parametrize("threads", [2, 3])
def test_a_step_has_one_barrier(target: str, p: float, threads: int) -> None:
    program, model, other, eager = both(p=p, threads=threads)
    assert program.team is not None
    assert program.team.barriers == 1
    assert f"{threads} threads, barriers: 1" in str(program)
    assert str(program).count("all threads meet") == 2
    assert collisions(program.team) == []
    with forced(threads):
        for _ in range(5):
            assert program(X, Y).item() == eager(X, Y).item()
        losses = program.run((X, Y), np.tile(np.arange(24), 20))
    assert losses.data.tolist() == [eager(X, Y).item() for _ in range(20)]
    assert bits(model) == bits(other)


def test_a_step_that_reads_across_the_batch_has_more(target: str) -> None:
    program, model, other, eager = both(normalized)
    assert program.team is not None
    assert 2 <= program.team.barriers <= 6
    assert collisions(program.team) == []
    with forced(2):
        program.run((X, Y), np.tile(np.arange(24), 20))
    for _ in range(20):
        eager(X, Y)
    assert bits(model) == bits(other)


def test_a_missing_barrier_and_a_wrong_cut_are_seen(target: str) -> None:
    for forward in (normalized, lambda model, x: model(x)):
        found = both(forward)[0].team
        assert found is not None
        for missing in range(1, len(found.starts)):
            starts = [s for i, s in enumerate(found.starts) if i != missing]
            assert collisions(replace(found, starts=starts, closed=True))
    layers = [i for i, step in enumerate(found.steps) if step.kernel == "linear"]
    for i in layers:
        wrong = [*found.parts[:i], found.parts[i][::-1], *found.parts[i + 1 :]]
        assert collisions(replace(found, parts=wrong))
    assert len(layers) == 3
    assert collisions(replace(found, rows=[0, 3, 24]))


def test_the_collision_check_asks_for_two_threads_one_byte_and_a_write() -> None:
    assert collide([(0, 10, 20, True), (1, 19, 30, False)])
    assert collide([(1, 10, 20, False), (0, 12, 13, True)])
    assert not collide([(0, 10, 20, False), (1, 10, 20, False)])
    assert not collide([(0, 10, 20, True), (0, 10, 20, False), (1, 20, 30, True)])


def test_gradients_that_nobody_keeps_share_memory_in_a_team(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "HELD", 20_000)
    sizes = []
    for threads in (1, 2):
        with forced(threads):
            mg.manual_seed(0)
            model = nn.Sequential(*[nn.Linear(96, 96) for _ in range(8)])
            sgd = optim.SGD(model.parameters(), lr=0.1)

            def step(x: Any, model: Any = model, sgd: Any = sgd) -> None:
                sgd.zero_grad()
                model(x).mean().backward()
                sgd.step()

            program = mg.capture(step, np.ones((8, 96), F32), keep_grads=False)
            sizes.append(program.arena.nbytes)
            program(np.ones((8, 96), F32))
    assert program.team is not None
    assert program.team.barriers > 4
    assert collisions(program.team) == []
    assert sizes[1] < 2 * sizes[0] + 40_000 < 8 * 4 * 96 * 96


def test_small_work_python_steps_and_one_thread_have_no_team() -> None:
    def numbers(x: Any) -> Any:
        return (x.astype(np.float64) * 2).astype(F32) * 2

    before = mg.num_threads()
    try:
        mg.set_num_threads(2)
        assert mg.capture(stepper()[1], X, Y).team is None
        with forced(2), mg.no_grad():
            assert mg.capture(numbers, X).team is None
        with forced(1):
            assert mg.capture(stepper()[1], X, Y).team is None
    finally:
        mg.set_num_threads(before)


def test_work_enough_has_a_team(target: str) -> None:
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 10))
    before = mg.num_threads()
    try:
        mg.set_num_threads(2)
        with mg.no_grad():
            program = mg.capture(model, np.ones((64, 300), F32))
    finally:
        mg.set_num_threads(before)
    assert program.team is not None
    assert (program.team.threads, program.team.barriers) == (2, 0)


@pytest.mark.parametrize("row", [0, 20, 23])
def test_a_bad_label_stops_all_threads(target: str, row: int) -> None:
    program, model, other, eager = both()
    wrong = Y.copy()
    wrong[row] = 3
    with forced(2):
        for _ in range(20):
            with pytest.raises(IndexError, match=f"for 3 classes, got 3 at position {row}") as caught:
                program(X, wrong)
        assert "in call cross_entropy(float32[24]," in caught.value.__notes__[0]
        assert bits(model) == bits(other)
        program(X, Y)
    eager(X, Y)
    assert bits(model) == bits(other)


def test_another_number_of_threads_makes_the_same_step(target: str) -> None:
    program, model, other, eager = both(p=0.5)
    for threads in (1, 3, 2, 4):
        with forced(threads):
            program(X, Y)
            program.run((X, Y), np.tile(np.arange(24), 3))
        for _ in range(4):
            eager(X, Y)
        assert bits(model) == bits(other)


def test_two_programs_in_two_threads_at_once(target: str) -> None:
    made = [both(p=0.5) for _ in range(2)]
    with forced(2):
        order = np.tile(np.arange(24), 200)
        threads = [threading.Thread(target=program.run, args=((X, Y), order)) for program, *_ in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    other, eager = made[0][2:]
    for _ in range(200):
        eager(X, Y)
    assert bits(made[0][1]) == bits(made[1][1]) == bits(other)


def test_a_fork_goes_on_with_a_team(target: str) -> None:
    program, model, other, eager = both()
    with forced(2):
        program(X, Y)
        child = os.fork()
        if child == 0:
            try:
                program.run((X, Y), np.tile(np.arange(24), 50))
                for _ in range(2):
                    eager(X, Y)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        program(X, Y)
    for _ in range(2):
        eager(X, Y)
    assert bits(model) == bits(other)
