"""Passes: what they fold together, what they must leave, and memory in which nothing collides."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import kernels, nn, optim, passes
from minigrad.passes import Buffer, Facts, Step
from tests.test_team import forced

F32 = np.float32
X = np.random.default_rng(0).standard_normal((6, 4), F32)


def step(kernel: str, *arrays: Any, scalars: tuple[Any, ...] = ()) -> Step:
    return Step(kernel, arrays, scalars)


def array(*shape: int) -> Any:
    return np.zeros(shape, F32)


def kernels_after(improve: passes.Pass, steps: list[Step], *, kept: Any = (), outputs: Any = ()) -> list[str]:
    return [s.kernel for s in improve(steps, Facts(steps, kept, outputs))]


# What is folded, and what is not --------------------------------------------------------------------


class Case:
    """out = relu(x w + b), its gradient, and copies: the arrays that the cases below wire up."""

    def __init__(self) -> None:
        self.x, self.w, self.b = array(6, 4), array(3, 4), array(3)
        self.h, self.y, self.z, self.dh, self.dy, self.dx = (array(6, n) for n in (3, 3, 3, 3, 3, 4))
        self.linear = step("linear", self.h, self.x, self.w, self.b, scalars=(0.0,))
        self.relu = step("relu", self.y, self.h)
        self.product = step("matmul", self.dy, array(6, 5), array(5, 3))
        self.mask = step("relu_grad", self.dh, self.dy, self.y)


@pytest.fixture
def case() -> Case:
    return Case()


def test_relu_goes_into_linear(case: Case) -> None:
    (only,) = passes.relu_into_linear([case.linear, case.relu], Facts([case.linear, case.relu], [case.y], []))
    assert (only.kernel, only.scalars) == ("linear", (1.0,))
    assert only.arrays[0] is case.y


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: ([c.linear, c.relu, step("negative", c.z, c.h)], []),  # the sum before relu has another reader
        lambda c: ([c.linear, c.relu], [c.h]),  # it is returned
        lambda c: ([c.linear, step("negative", c.h, c.x[:, :3]), c.relu], []),  # another call writes it again
        lambda c: ([step("add", c.h, c.z, c.z), c.relu], []),  # no product
        lambda c: ([step("linear", c.h, c.x, c.w, c.b, scalars=(1.0,)), c.relu], []),  # has its relu
        lambda c: ([c.linear, step("relu", c.y[:3], c.h[:3])], []),  # half of it
        lambda c: ([c.linear, step("relu", array(3, 6).T, c.h)], []),  # another memory order
        lambda c: ([step("negative", c.z, c.y), c.linear, step("add", c.y, c.y, c.y), c.relu], []),
    ],
)
def test_relu_stays_where_it_would_be_wrong(case: Case, spoil: Callable[[Case], tuple[list[Step], list[Any]]]) -> None:
    steps, outputs = spoil(case)
    found = kernels_after(passes.relu_into_linear, steps, kept=[case.y], outputs=outputs)
    if len(steps) == 4:  # y is used in between, so the whole call must come where relu was
        assert found == ["negative", "add", "linear"]
    else:
        assert found == [s.kernel for s in steps]


def test_the_mask_goes_into_the_product(case: Case) -> None:
    steps = [case.linear, case.relu, case.product, case.mask]
    found = passes.mask_into_product(steps, Facts(steps, [case.dh], []))
    assert [s.kernel for s in found] == ["linear", "relu", "matmul_relu_grad"]
    assert found[-1].arrays[0] is case.dh
    assert found[-1].arrays[3] is case.y


def test_the_mask_waits_for_what_it_reads(case: Case) -> None:
    late = [case.product, case.linear, case.relu, case.mask]
    assert kernels_after(passes.mask_into_product, late, kept=[case.dh]) == ["linear", "relu", "matmul_relu_grad"]
    changed = step("negative", case.product.arrays[1], array(6, 5))
    stuck = [case.product, changed, case.linear, case.relu, case.mask]
    assert kernels_after(passes.mask_into_product, stuck, kept=[case.dh]) == [s.kernel for s in stuck]


def test_copies_are_written_in_place_whatever_the_view(case: Case) -> None:
    grad = array(4, 3)
    product = step("matmul", case.dx, array(6, 5), array(5, 4))
    first = step("matmul", (made := array(3, 4)), array(3, 6), array(6, 4))
    steps = [product, first, step("copy", grad, made.T), step("copy", array(6, 4), case.dx)]
    steps[2] = step("copy", grad.T.copy().T, made.T)  # the memory order of the source
    target = steps[2].arrays[0]
    found = passes.written_in_place(steps, Facts(steps, [target, steps[3].arrays[0]], []))
    assert [s.kernel for s in found] == ["matmul", "matmul"]
    assert found[1].arrays[0].shape == (3, 4)
    assert np.shares_memory(found[1].arrays[0], target)


def test_a_copy_into_another_memory_order_or_of_a_part_stays(case: Case) -> None:
    for copy in (step("copy", array(3, 6).T, case.dy), step("copy", array(6, 2), case.dy[:, :2])):
        assert kernels_after(passes.written_in_place, [case.product, copy], kept=[copy.arrays[0]]) == ["matmul", "copy"]


def test_calls_that_nobody_reads_are_dropped(case: Case) -> None:
    unread = step("negative", case.z, case.y)
    steps = [case.linear, case.relu, unread, step("exp", array(6, 3), case.z)]
    assert kernels_after(passes.without_dead_calls, steps, outputs=[case.y]) == ["linear", "relu"]
    assert kernels_after(passes.without_dead_calls, steps, kept=[case.z]) == ["linear", "relu", "negative"]


def test_a_draw_is_never_dropped() -> None:
    rng = mg.random.Generator(3)
    program = mg.capture(lambda x: (mg.dropout(x, 0.5, rng=rng), x * 2)[1], X)
    assert [s.kernel for s in program.steps] == ["dropout", "multiply"]
    before = int(rng.counter)
    program(X)
    assert rng.counter > before


# The order of updates -------------------------------------------------------------------------------


def updating(sizes: list[int], optimizer: Callable[..., Any] = optim.Adam, **options: Any) -> mg.Program:
    """A program of one thread that trains a chain of layers of these widths."""
    mg.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(sizes)])
    made = optimizer(model.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        made.zero_grad()
        loss = (model(x) * model(x)).mean() if options.get("twice") else model(x).mean()
        loss.backward()
        made.step()
        return loss

    x = np.ones((8, sizes[0]), F32)
    with forced(1):
        return mg.capture(step, x, **{k: v for k, v in options.items() if k != "twice"})


def test_each_large_tensor_is_updated_behind_its_gradient_and_its_last_reader() -> None:
    program = updating([200, 200, 200, 3], twice=True)
    updates = [i for i, s in enumerate(program.steps) if s.kernel == "adam"]
    assert [[a.size for a in program.steps[i].arrays[::4]] for i in updates] == [[40000, 200, 600, 3], [40000, 200]]
    for i in updates:
        update = program.steps[i]
        facts = Facts(program.steps[:i], [], [])
        last = max(j for a in update.arrays for j in facts.places(a, i))
        between = {s.kernel for s in program.steps[last + 1 : i]}
        assert between <= {"adam"}, "nothing else stands between an update and what it waits for"
    assert program.steps[-1].kernel == "advance"
    assert updates[-1] > updates[0] + 1


def test_few_parameters_are_updated_together() -> None:
    assert [s.kernel for s in updating([20, 30, 20]).steps].count("adam") == 1
    many = updating([90] * 9)
    sizes = [[a.size for a in s.arrays[::4]] for s in many.steps if s.kernel == "adam"]
    assert sizes == [[8100, 90]] * 8
    narrow = updating([30] * 50)
    sizes = [sum(a.size for a in s.arrays[::4]) for s in narrow.steps if s.kernel == "adam"]
    assert len(sizes) == 2
    assert max(sizes) >= passes.FEW_PARAMETERS


def test_the_rate_is_looked_up_before_the_first_update() -> None:
    schedule = mg.schedules.cosine(0.1, T_max=9)
    program = updating([200, 200, 200], lambda p, lr: optim.Adam(p, schedule))
    made = [s.kernel for s in program.steps]
    assert made[0] == "look_up"
    assert made.count("adam") == 2


def test_gradients_that_nobody_keeps_share_memory() -> None:
    sizes = [64] + [256] * 6
    without = tuple(p for p in passes.DEFAULT if p not in (passes.updates_apart, passes.updates_early))
    late, early = (updating(sizes, keep_grads=False, passes=p).arena.nbytes for p in (without, passes.DEFAULT))
    assert early < 0.4 * late


# Chains -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains of arrays as small as those of the tests."""
    monkeypatch.setattr(passes, "LEAST", 12)
    monkeypatch.setattr(passes, "BLOCK", 4)


def chains(program: Any) -> list[list[str]]:
    """The kernels of each chain."""
    return [[s.kernel for s in program.steps[a:b]] for a, b in passes.chains_of(program.steps)]


def in_c(lengths: list[int]) -> list[int]:
    """The lengths of chains that are expected: NumPy runs none."""
    return [] if kernels.active() == "reference" else lengths


def gelu_by_hand(x: Any) -> Any:
    return x * 0.5 * (mg.tanh((x + x * x * x * 0.044715) * 0.7978846) + 1.0)


@pytest.mark.usefixtures("small_blocks")
def test_elementwise_calls_in_a_row_are_a_chain(target: str) -> None:
    program = mg.capture(gelu_by_hand, X)
    assert [len(chain) for chain in chains(program)] == in_c([9])
    assert (program(2 * X).data == gelu_by_hand(mg.tensor(2 * X)).data).all()
    apart = mg.capture(gelu_by_hand, X, passes=passes.DEFAULT[:-1])
    assert chains(apart) == []
    assert apart(2 * X).data.tobytes() == program(2 * X).data.tobytes()
    marks = "".join(line[6] for line in str(program).splitlines()[6:])
    assert marks == ("mmmmamtam" if target == "reference" else "/|||||||\\")


ENDS: dict[str, tuple[Callable[[Any], Any], list[int]]] = {
    "a reduction": (lambda x: mg.exp(mg.tanh(x + mg.sum(mg.square(mg.sin(x)))) * 2), [2, 4]),
    "another layout": (lambda x: mg.sin(mg.exp(mg.tanh(x)) + mg.sqrt(mg.square(x)).T.reshape((6, 4))), [4, 2]),
    "a row for each": (lambda x: mg.exp(mg.tanh(x)) * np.arange(4, dtype=F32), [2]),
    "another length": (lambda x: mg.sum(mg.square(mg.exp(mg.tanh(x))[:3] * 2)), [2, 2]),
    "a number from it": (lambda x: (lambda y: mg.tanh(y) * y.reshape((24,))[23])(mg.exp(x)), [2]),
    "a dtype": (lambda x: mg.exp(mg.tanh(x)).astype(np.float64) * 2, [2]),
    "too short": (lambda x: mg.tanh(mg.exp(x[:2])), []),
    "one call": (mg.exp, []),
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("end", ENDS)
def test_ends_a_chain(end: str) -> None:
    step, lengths = ENDS[end]
    program = mg.capture(step, X)
    assert [len(chain) for chain in chains(program)] == in_c(lengths)
    np.testing.assert_array_equal(program(2 * X).data, step(mg.tensor(2 * X)).data)


def test_no_chain_without_a_good_block() -> None:
    prime = np.ones(10007, F32)
    assert chains(mg.capture(gelu_by_hand, prime)) == []
    assert passes._cut(10007) is None
    for n in (8192, 12000, 64 * 784, 128 * 1000, 1024 * 1024):
        chain = passes._cut(n)
        assert chain is not None
        assert chain.pieces * chain.blocks * chain.elements == n
        assert passes.BLOCK // 8 <= chain.elements <= passes.BLOCK
        assert 1 <= chain.pieces <= passes.PIECES


def test_long_chains_are_cut(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    def long(x: Any) -> Any:
        for _ in range(30):
            x = mg.tanh(x + 1)
        return x

    program = mg.capture(long, X)
    assert [len(chain) for chain in chains(program)] == in_c([24, 24, 12])
    np.testing.assert_array_equal(program(2 * X).data, long(mg.tensor(2 * X)).data)


def test_what_lives_in_a_chain_needs_blocks_of_memory() -> None:
    x = np.random.default_rng(0).standard_normal((64, 1024), F32)
    with forced(1):
        whole, short = mg.capture(gelu_by_hand, x, passes=passes.DEFAULT[:-1]), mg.capture(gelu_by_hand, x)
    assert whole.temporary_bytes == short.temporary_bytes == 9 * x.nbytes
    assert whole.arena.nbytes == 3 * x.nbytes
    if kernels.active() != "reference":
        assert short.arena.nbytes == x.nbytes + passes.PIECES * 2 * 4 * passes.BLOCK
    np.testing.assert_array_equal(short(2 * x).data, whole(2 * x).data)


@st.composite
def expressions(draw: st.DrawFn) -> Callable[[Any, Any], Any]:
    """A random program of elementwise operations, with a few that end a chain, and its gradient."""
    ops = [mg.tanh, mg.square, lambda a: a * 0.5, lambda a: mg.clip(a, -1, 1), lambda a: a.T.reshape(a.shape)]
    pairs = [lambda a, b: a + b, lambda a, b: a * b, mg.maximum, lambda a, b: a - b.sum(1, keepdims=True)]
    pairs.append(lambda a, b: a * b.reshape((-1,))[-1])
    kinds = st.tuples(st.sampled_from(ops) | st.sampled_from(pairs), st.integers(0, 50), st.integers(0, 50))
    made = draw(st.lists(kinds, min_size=2, max_size=25))

    def step(x: Any, other: Any) -> Any:
        x = x.detach().requires_grad_()
        values = [x, other]
        for op, i, j in made:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            values.append(op(a, b) if op in pairs else op(a))
        return values[-1], values[-2], mg.grad((values[-1] * values[-2] * x).sum(), x)

    return step


@given(step=expressions(), rows=st.integers(1, 12), columns=st.integers(1, 12), threads=st.integers(1, 3))
def test_chains_keep_every_bit(target: str, step: Any, rows: int, columns: int, threads: int) -> None:
    x, other = np.random.default_rng(0).standard_normal((2, rows, columns), F32)
    before = mg.num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "LEAST", 4)
        patch.setattr(passes, "BLOCK", 8)
        program = mg.capture(step, x, other)
    try:
        mg.set_num_threads(threads)
        found, wanted = program(other, x), step(mg.tensor(other), mg.tensor(x))
    finally:
        mg.set_num_threads(before)
    for a, b in zip([*found[:2], *found[2]], [*wanted[:2], *wanted[2]], strict=True):
        assert a.data.tobytes() == np.ascontiguousarray(b.data).tobytes()


def test_threads_share_a_chain_bit_for_bit() -> None:
    x = np.random.default_rng(0).standard_normal((96, 1024), F32)
    program = mg.capture(gelu_by_hand, x)
    before, found = mg.num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            mg.set_num_threads(threads)
            found += [program(2 * x).data.tobytes() for _ in range(20)]
    finally:
        mg.set_num_threads(before)
    assert {*found} == {gelu_by_hand(mg.tensor(2 * x)).data.tobytes()}


# Memory -----------------------------------------------------------------------------------------------


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    spans = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10), st.integers(1, 1000)), max_size=40))
    made = [Buffer(0, size, accesses=[(first, True), (first + more, False)]) for first, more, size in spans]
    return sorted(made, key=lambda b: b.first)


def collisions(found: list[Buffer]) -> int:
    """Pairs that are in use at the same time and share bytes."""
    return sum(
        a.first <= b.last
        and b.first <= a.last
        and a.offset < b.offset + b.stop - b.start
        and b.offset < a.offset + a.stop - a.start
        for i, a in enumerate(found)
        for b in found[:i]
    )


@given(found=buffers())
def test_nothing_in_use_shares_memory(found: list[Buffer]) -> None:
    size = passes._assign_offsets(found)
    assert collisions(found) == 0
    assert all(b.offset % passes.ALIGNMENT == 0 and b.offset + b.stop - b.start <= size for b in found)
    assert size <= sum(passes._rounded(b.stop - b.start) for b in found)


def test_the_collision_check_finds_one() -> None:
    made = [Buffer(0, 100, accesses=[(0, True), (3, False)], offset=0), Buffer(0, 10, accesses=[(2, True)], offset=64)]
    assert collisions(made) == 1


def test_memory_is_used_again() -> None:
    def chain(x: Any) -> Any:
        for _ in range(20):
            x = mg.tanh(x * 2)
        return x

    with mg.no_grad():
        program = mg.capture(chain, X)
    assert program.temporary_bytes == 40 * X.nbytes
    assert program.arena.nbytes <= 3 * 128
    np.testing.assert_array_equal(program(X).data, chain(mg.tensor(X)).data)


# Planted bugs -----------------------------------------------------------------------------------------


def shifted(steps: list[Step], facts: Facts) -> list[Step]:
    """A pass that is wrong: the last two calls change places."""
    return [*steps[:-2], steps[-1], steps[-2]]


def test_a_wrong_pass_is_seen() -> None:
    def stepped(x: Any) -> Any:
        return mg.exp(mg.tanh(x))

    program = mg.capture(stepped, X, passes=(*passes.DEFAULT, shifted))
    assert (program(2 * X).data != stepped(mg.tensor(2 * X)).data).any()


def test_a_wrong_chain_is_seen(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    stepped, _ = ENDS["a number from it"]
    monkeypatch.setattr(passes, "_together", lambda steps, facts: len(steps) if kernels.active() != "reference" else 0)
    program = mg.capture(stepped, X)
    seen = (program(2 * X).data != stepped(mg.tensor(2 * X)).data).any()
    assert seen == (kernels.active() != "reference")


def test_a_wrong_lifetime_in_a_chain_is_seen(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    def stepped(x: Any) -> Any:
        a = mg.exp(x)
        return mg.square(a) + a

    def one_place(found: list[Buffer], in_place: bool = False) -> int:
        for b in found:
            b.offset = 0
        return max((b.stop - b.start for b in found), default=0)

    monkeypatch.setattr(passes, "_assign_offsets", one_place)
    program = mg.capture(stepped, X)
    assert (program(2 * X).data != stepped(mg.tensor(2 * X)).data).any()


def test_a_wrong_lifetime_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def stepped(x: Any) -> Any:
        a, b = mg.tanh(x), mg.exp(x)
        return a + mg.sqrt(b) * a

    assert (mg.capture(stepped, X)(2 * X).data == stepped(mg.tensor(2 * X)).data).all()
    monkeypatch.setattr(Buffer, "last", Buffer.first)
    assert (mg.capture(stepped, X)(2 * X).data != stepped(mg.tensor(2 * X)).data).any()
