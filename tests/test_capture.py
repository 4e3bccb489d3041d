"""Capture: a replay is the eager step, bit for bit; what it could not repeat is refused."""

import gc
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim, passes
from minigrad.testing.strategies import arguments
from tests.ops.test_gradients import every_operation
from tests.test_team import collisions, forced

Step = Callable[..., Any]
F32 = np.float32

# Whole training steps ------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": mg.relu,
    "tanh": mg.tanh,
    "sigmoid": mg.sigmoid,
    "gelu": mg.gelu,
    "none": lambda x: x,
    "clip": lambda x: mg.clip(x, -0.5, 0.5),
}
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda p, **o: optim.SGD(p, weight_decay=0.01, **o),
    "momentum": lambda p, **o: optim.SGD(p, momentum=0.9, l1=0.001, **o),
    "nesterov": lambda p, **o: optim.SGD(p, momentum=0.9, nesterov=True, **o),
    "adagrad": optim.Adagrad,
    "rmsprop": lambda p, **o: optim.RMSprop(p, momentum=0.5, centered=True, **o),
    "adam": optim.Adam,
    "amsgrad": lambda p, **o: optim.Adam(p, amsgrad=True, **o),
    "adamw": lambda p, **o: optim.AdamW(p, l1=0.01, l1_form="proximal", **o),
    "nadam": optim.NAdam,
    "radam": lambda p, **o: optim.RAdam(p, betas=(0.9, 0.5), **o),
    "lion": optim.Lion,
}
AVERAGES: dict[str, Callable[[Any], Any]] = {
    "no": lambda p: None,
    "ema": lambda p: optim.EMA(p, 0.9),
    "mean": lambda p: optim.EMA(p, 1, bias_correction=True),
}
RATES: dict[str, Any] = {
    "number": 0.05,
    "cosine": mg.schedules.cosine(0.05, T_max=5),
    "function": lambda step: 0.05 if step < 3 else 0.7**step,
}
CLIPPING: dict[str, Callable[[Any], Any]] = {
    "no": lambda p: None,
    "norm": lambda p: optim.clip_grad_norm_(p, 0.5),
    "value": lambda p: optim.clip_grad_value_(p, 0.01),
}


class Net(nn.Module):
    """A small net of drawn parts."""

    def __init__(self, sizes: list[int], activation: str, p: float, norm: bool) -> None:
        mg.manual_seed(7)
        self.layers = nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.drop = nn.Dropout(p)
        self.activation, self.norm = activation, norm

    def forward(self, x: Any) -> Any:
        for i, layer in enumerate(self.layers):
            if i:
                x = self.drop(ACTIVATIONS[self.activation](x))
                x = mg.layer_norm(x, x.shape[-1]) if self.norm else x
            x = layer(x)
        return x


# What keeps images (N, 4, 5, 6), and what keeps sequences (N, 4, 7).
IMAGES: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2),
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm, cumulative": lambda: nn.BatchNorm2d(4, momentum=None),
    "layer norm": lambda: nn.LayerNorm((5, 6)),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "prelu": lambda: nn.PReLU(4),
    "dropout2d": lambda: nn.Dropout2d(0.3),
    "dropout, scaled at test": lambda: nn.Dropout(0.3, scale_at="test"),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "average pool": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "hardswish": nn.Hardswish,
}
SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv1d(4, 4, 4, padding="same", dilation=2),
    "batch norm": lambda: nn.BatchNorm1d(4, 0.1, 0.5),
    "layer norm": lambda: nn.LayerNorm(7, bias=False),
    "rms norm": lambda: nn.RMSNorm((4, 7)),
    "prelu": nn.PReLU,
    "max pool": lambda: nn.MaxPool1d(3, 1, 1),
    "average pool": lambda: nn.AvgPool1d(3, 1, 1),
    "softmax": lambda: nn.Softmax(dim=1),
}


class Layered(nn.Module):
    """Drawn layers between a convolution of images, or an embedding of tokens, and a head."""

    def __init__(self, kind: str, layers: list[str], pooled: bool) -> None:
        mg.manual_seed(7)
        self.tokens = kind == "tokens"
        self.first = nn.Embedding(9, 4, padding_idx=0) if self.tokens else nn.Conv2d(2, 4, 3, stride=2, padding=1)
        table = SEQUENCES if self.tokens else IMAGES
        self.layers = nn.ModuleList([table[name]() for name in layers])
        self.drop = nn.Dropout(0.2)
        pooled = pooled and not self.tokens
        self.join = nn.GlobalAvgPool2d() if pooled else nn.Flatten()
        self.head = nn.Linear(4 if pooled else 28 if self.tokens else 120, 3)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        x = mg.permute_dims(x, (0, 2, 1)) if self.tokens else x
        for layer in self.layers:
            x = layer(x)
        return self.head(self.drop(self.join(x)))


@st.composite
def layered_trainings(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["images", "tokens"]))
    names = st.sampled_from(sorted(SEQUENCES if kind == "tokens" else IMAGES))
    drawn = draw(trainings()) | {"kind": kind, "sizes": [3], "batch": draw(st.integers(2, 8))}
    drawn["nan"] = None  # which running statistics would keep
    return drawn | {"layers": draw(st.lists(names, min_size=1, max_size=3)), "pooled": draw(st.booleans())}


@st.composite
def trainings(draw: st.DrawFn) -> dict[str, Any]:
    sizes = draw(st.lists(st.integers(1, 20), min_size=2, max_size=4))
    return {
        "sizes": sizes,
        "batch": draw(st.integers(1, 20)),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "p": draw(st.sampled_from([0.0, 0.3])),
        "norm": draw(st.booleans()),
        "loss": draw(st.sampled_from(["cross_entropy", "mse", "sum of rows"])),
        "optimizer": draw(st.sampled_from(sorted(OPTIMIZERS))),
        "rate": draw(st.sampled_from(sorted(RATES))),
        "halves": draw(st.booleans()),
        "zeroed": draw(st.sampled_from(["before", "after"])),
        "clip": draw(st.sampled_from(["no", "norm", "value"])),
        "average": draw(st.sampled_from(sorted(AVERAGES))),
        "nan": draw(st.none() | st.integers(0, 4)),  # in which batch, if any
        "options": {
            "max_norm": draw(st.sampled_from([None, 0.5])),
            "no_decay": draw(st.booleans()),
            "dialect": draw(st.sampled_from(["torch", "optax"])),
        },
    }


class Training:
    """A step, and all that it changes."""

    def __init__(self, drawn: dict[str, Any]) -> None:
        self.drawn = drawn
        self.net: Any = (
            Layered(drawn["kind"], drawn["layers"], drawn["pooled"])
            if "layers" in drawn
            else Net(drawn["sizes"], drawn["activation"], drawn["p"], drawn["norm"])
        )
        options = {**drawn["options"], "lr": RATES[drawn["rate"]], "skip_nonfinite": drawn["nan"] is not None}
        self.optimizer = OPTIMIZERS[drawn["optimizer"]](self.net.parameters(), **options)
        self.average = AVERAGES[drawn["average"]](self.net.parameters())

    def loss(self, x: Any, y: Any) -> Any:
        found = self.net(x)
        if self.drawn["loss"] == "cross_entropy":
            return mg.cross_entropy(found, y)
        if self.drawn["loss"] == "mse":
            return mg.mse_loss(found, mg.reshape(y, (-1, 1)).astype(F32) + mg.zeros(found.shape))
        return (found * found).sum(1).mean()

    def step(self, x: Any, y: Any) -> Any:
        if self.drawn["zeroed"] == "before":
            self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        if self.drawn["halves"]:
            self.loss(x * 0.5 if x.dtype == F32 else x, y).backward()
        norm = CLIPPING[self.drawn["clip"]](self.net.parameters())
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        if self.drawn["zeroed"] == "after":
            self.optimizer.zero_grad()
        return {"loss": loss, "more": (loss * 2, 3), "norm": norm}

    def state(self) -> list[bytes]:
        arrays = [p.data for p in self.net.parameters()]
        arrays += [a for states in self.optimizer.state.values() for a in states]
        arrays += [np.zeros(0) if p.grad is None else p.grad.data for p in self.net.parameters()]
        arrays += [self.optimizer.step_count, *[g.counter for _, g in self.net.named_generators()]]
        arrays += [b.data for b in self.net.buffers()]
        arrays += [cell for group in self.optimizer.param_groups for cell in group.cells.values()]
        arrays += [np.array(self.optimizer.skipped)]
        if self.average is not None:
            arrays += [*self.average.averages, self.average.count]
        return [number_bits(a) for a in arrays]


def number_bits(a: Any) -> bytes:
    """The bits of an array; a NaN is a NaN."""
    return np.where(np.isnan(a), a.dtype.type(np.nan), a).tobytes() if a.dtype.kind == "f" else a.tobytes()  # type: ignore[no-any-return]


def batches(drawn: dict[str, Any], count: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    n, first, last = drawn["batch"], drawn["sizes"][0], drawn["sizes"][-1]
    if "layers" in drawn:
        tokens = drawn["kind"] == "tokens"
        make = (lambda: rng.integers(0, 9, (n, 7))) if tokens else lambda: rng.standard_normal((n, 2, 9, 11), F32)
        return [(make(), rng.integers(0, 3, n)) for _ in range(count)]
    made = [(rng.standard_normal((n, first), F32), rng.integers(0, last, n)) for _ in range(count)]
    if drawn["nan"] is not None:
        made[drawn["nan"]][0][0] = np.nan
    return made


SUBSETS = st.lists(st.sampled_from(passes.DEFAULT), unique=True).map(tuple) | st.just(passes.DEFAULT)


@contextmanager
def short_chains() -> Iterator[None]:
    """Elementwise calls run in blocks in arrays as small as those drawn here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "LEAST", 2)
        patch.setattr(passes, "BLOCK", 8)
        yield


@given(drawn=trainings(), chosen=SUBSETS, arenas=st.booleans(), threads=st.sampled_from([1, 2, 3]))
def test_a_replay_is_the_eager_step_bit_for_bit(
    target: str, drawn: dict[str, Any], chosen: Any, arenas: bool, threads: int
) -> None:
    with forced(threads):
        compare_with_eager(drawn, chosen, arenas)


def compare_with_eager(drawn: dict[str, Any], chosen: Any, arenas: bool) -> None:
    """Replays by calls and by ``run``, on teams of all threads, beside eager steps, which are too small to share."""
    eager, replayed, run = Training(drawn), Training(drawn), Training(drawn)
    made = batches(drawn, 5)
    with short_chains():
        program = mg.capture(replayed.step, *made[0], passes=chosen)
    whole = mg.capture(run.step, *made[0])
    for each in (program, whole):
        assert each.team is None or collisions(each.team) == []
    losses = [eager.step(*made[0])["loss"].item()]
    for x, y in made[1:]:
        wanted = eager.step(x, y)
        x, y = (x, y) if arenas else (np.asfortranarray(x), mg.tensor(y))
        got = program(x, y)
        assert number_bits(got["loss"].data) == number_bits(wanted["loss"].data)
        np.testing.assert_equal((got["more"][0].item(), got["more"][1]), (wanted["more"][0].item(), 3))
        assert (got["norm"] is None) == (wanted["norm"] is None) == (drawn["clip"] != "norm")
        np.testing.assert_equal(*(None if r["norm"] is None else r["norm"].item() for r in (got, wanted)))
        assert replayed.state() == eager.state()
        losses.append(got["loss"].item())
    data = [np.concatenate(parts) for parts in zip(*made, strict=True)]
    found = whole.run(data, np.arange(drawn["batch"], len(data[0])))
    np.testing.assert_equal(found["loss"].tolist(), losses[1:])
    assert run.state() == eager.state()
    assert eager.optimizer.skipped == (drawn["nan"] is not None)


@given(drawn=layered_trainings(), chosen=SUBSETS, arenas=st.booleans(), threads=st.sampled_from([1, 2, 3]))
def test_a_replay_of_any_layers_is_the_eager_step_bit_for_bit(
    drawn: dict[str, Any], chosen: Any, arenas: bool, threads: int
) -> None:
    """Buffers and generators included: running statistics move in a replay as they do eagerly."""
    with forced(threads):
        compare_with_eager(drawn, chosen, arenas)


@every_operation
@settings(max_examples=settings.default.max_examples // 2)  # of each operation; their numbers are tested elsewhere
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_every_operation_and_its_gradient_replay(operation: Any, data: st.DataObject, dtype: Any) -> None:
    args, kwargs = data.draw(arguments(operation, dtype))
    tensors = [i for i, a in enumerate(args) if isinstance(a, np.ndarray | mg.Tensor)]
    given = [np.array(args[i].data if isinstance(args[i], mg.Tensor) else args[i]) for i in tensors]
    assume(all(a.size for a in given))
    other = [a.reshape(-1)[::-1].reshape(a.shape) for a in given]

    def stepper() -> Step:
        attributes = deepcopy(kwargs)

        def step(*inputs: Any) -> Any:
            made = [x.detach().requires_grad_() if x.dtype.kind == "f" else x for x in inputs]
            full = [made[tensors.index(i)] if i in tensors else a for i, a in enumerate(args)]
            outputs = operation(*full, **attributes)
            outputs = tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)
            tracked = [y for y in outputs if y.requires_grad]
            leaves = [x for x in made if x.requires_grad]
            if not tracked:
                return outputs
            total = sum([(y * y).sum() for y in tracked[1:]], (tracked[0] * tracked[0]).sum())
            return outputs, [g for g in mg.grad(total, leaves, allow_unused=True) if g is not None]

        return step

    with forced(data.draw(st.sampled_from([1, 2]))), short_chains():
        program, eager = mg.capture(stepper(), *given), stepper()
    eager(*map(mg.tensor, given))
    with forced(mg.num_threads() if program.team is None else program.team.threads):
        found = program(*other)
    assert leaves_of(found) == leaves_of(eager(*map(mg.tensor, other)))


def leaves_of(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in leaves_of(part)]
    return [(result.shape, result.dtype, (result.data + 0).tobytes())]


# One at a time -------------------------------------------------------------------------------------


@pytest.fixture
def model() -> nn.Sequential:
    mg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def optimizer(model: nn.Sequential) -> optim.Adam:
    return optim.Adam(model.parameters(), lr=0.01)


@pytest.fixture
def step(model: nn.Sequential, optimizer: optim.Adam) -> Step:
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


X, Y = np.random.default_rng(0).standard_normal((6, 4), F32), np.array([0, 1, 2, 0, 1, 2])


def test_a_users_operation_replays(step: Step) -> None:
    @mg.operation(x=lambda g, x: g * 3 * x * x)
    def cube(x: Any, /) -> Any:
        return x**3

    w = mg.tensor(np.ones(4, F32), requires_grad=True)
    program = mg.capture(lambda x: (cube(x), mg.grad(cube(w * x).sum(), w)[0]), X)
    y, g = program(2 * X)
    np.testing.assert_array_equal(y.data, (2 * X) ** 3)
    np.testing.assert_allclose(g.data, (3 * (2 * X) ** 3).sum(0), rtol=1e-5)


def test_a_step_that_adds_to_gradients(model: nn.Sequential) -> None:
    def step(x: Any) -> None:
        model(x).sum().backward()

    step(X)
    program = mg.capture(step, X)
    once = [p.grad.data / 2 for p in model.parameters()]
    program(X)
    for p, g in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(p.grad.data, 3 * g, rtol=1e-5)
    model.zero_grad()
    with pytest.raises(mg.CaptureError, match="replaced or forgotten; call zero_grad"):
        program(X)


def test_hyperparameters_and_parameters_are_read_where_they_are(
    step: Step, model: nn.Sequential, optimizer: optim.Adam
) -> None:
    program = mg.capture(step, X, Y)
    before = [p.data.copy() for p in model.parameters()]
    optimizer.param_groups[0]["lr"] = 0.0
    program(X, Y)
    assert all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))
    model[2].weight.assign_(0)
    model[2].bias.assign_(0)
    assert program(X, Y).item() == pytest.approx(np.log(3))


def test_a_schedule_may_be_changed_or_replaced_by_a_number(step: Step, optimizer: optim.Adam) -> None:
    group = optimizer.param_groups[0]
    group["lr"] = lambda step: 0.1 / (1 + step)
    program = mg.capture(step, X, Y)
    program(X, Y)
    assert group["lr"] == 0.05
    group["lr"] = mg.schedules.cosine(1.0, T_max=10)
    program(X, Y)
    assert group["lr"] == group.schedule(2)
    group["lr"] = 0.125
    program(X, Y)
    assert group["lr"] == 0.125


@pytest.mark.parametrize("schedule", [mg.schedules.cosine(0.1, T_max=7), lambda step: 0.1 / (1 + step)])
def test_two_updates_in_a_step_have_their_own_rates(schedule: Any) -> None:
    states = []
    for captured in (False, True):
        w = mg.tensor(np.ones((6, 4), F32), requires_grad=True)
        sgd = optim.SGD([w], lr=schedule)

        def step(x: Any, w: Any = w, sgd: Any = sgd) -> None:
            for _ in range(2):
                sgd.zero_grad()
                (w * x).sum().backward()
                sgd.step()

        program = mg.capture(step, X) if captured else step
        for _ in range(2 if captured else 3):
            program(X)
        if captured:
            program.run((X,), np.tile(np.arange(6), 3))
        else:
            for _ in range(3):
                step(X)
        states.append((w.data.tobytes(), float(sgd.param_groups[0]["lr"]), int(sgd.step_count)))
    assert states[0] == states[1]


def test_gradients_and_results_are_there_afterwards(step: Step, model: nn.Sequential, optimizer: optim.Adam) -> None:
    weight = model[0].weight
    version = weight.storage().version
    program = mg.capture(step, X, Y)
    held = weight.grad
    optimizer.zero_grad()
    program(X, Y)
    assert weight.grad is held
    loss = program(X, Y)
    value = loss.item()
    program(X, Y)
    assert loss.item() == value, "results are copies"
    assert weight.storage().version == version + 4
    assert weight.storage().writer == "Adam"


def test_other_tensors_keep_what_they_were(model: nn.Sequential) -> None:
    seen: list[mg.Tensor] = []

    def step(x: Any) -> Any:
        seen.append(model[0](x))
        return seen[0].sum()

    program = mg.capture(step, X)
    before = seen[0].data.copy()
    program(2 * X)
    np.testing.assert_array_equal(seen[0].data, before)


def test_without_gradients_kept(step: Step, model: nn.Sequential) -> None:
    kept, lean = mg.capture(step, X, Y), mg.capture(step, X, Y, keep_grads=False)
    lean(X, Y)
    assert all(p.grad is None for p in model.parameters())
    assert lean.arena.nbytes > kept.arena.nbytes


def test_a_program_needs_less_memory_than_eager() -> None:
    """All that a program holds without gradients, against the peak of an eager step, both above model and optimizer."""
    sizes, batch = [784, *[1024] * 7, 10], 128
    model = nn.Sequential(*[layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())][:-1])
    adam = optim.Adam(model.parameters())
    x, y = mg.ones((batch, 784)), mg.tensor(np.arange(batch) % 10)

    def step(x: Any, y: Any) -> Any:
        adam.zero_grad()
        loss = mg.cross_entropy(model(x), y)
        loss.backward()
        adam.step()
        return loss

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        step(x, y)
        eager = tracemalloc.get_traced_memory()[1] - before
        adam.zero_grad()
        program = mg.capture(step, x, y, keep_grads=False)
        gc.collect()
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0] - before
        program(x, y)
        replayed = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert program.arena.nbytes < held <= 0.6 * eager
    if mg.kernels.active() != "reference":  # NumPy has temporaries of its own
        assert replayed < held + 10_000


def test_an_input_may_lie_in_memory_that_the_step_writes() -> None:
    w = mg.tensor(np.ones((2, 3), F32), requires_grad=True)
    sgd = optim.SGD([w], lr=1.0)

    def step(x: Any) -> Any:
        sgd.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        sgd.step()
        return x * 1

    program = mg.capture(step, np.ones((2, 3), F32))
    before = w.data.copy()
    np.testing.assert_array_equal(program(w.data).data, before)
    np.testing.assert_array_equal(w.data, 0)


def test_run_scales_bytes_and_reports_progress(step: Step) -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 4), np.uint8)
    labels = np.arange(30) % 3
    program = mg.capture(step, images[:6].astype(F32) * F32(1 / 255), labels[:6])
    seen: list[int] = []
    losses = program.run((images, labels), np.arange(6, 30), progress=seen.append)
    assert losses.shape == (4,)
    assert seen[-1] == 4
    assert sorted(seen) == seen


def test_run_is_the_program_called(model: nn.Sequential) -> None:
    program = mg.capture(lambda x: (model(x), model(x).sum()), X[:2])
    last, sums = program.run((X,), [0, 1, 4, 5])
    assert sums.tolist() == [program(X[:2])[1].item(), program(X[4:])[1].item()]
    np.testing.assert_array_equal(last.data, program(X[4:])[0].data)


def test_a_profile_times_every_call_and_trains_nothing(step: Step, model: nn.Sequential, optimizer: optim.Adam) -> None:
    program = mg.capture(step, X, Y)
    before = [p.data.tobytes() for p in model.parameters()], int(optimizer.step_count)
    profile = program.profile(replays=3)
    assert len(profile.seconds) == len(profile.flops) == len(profile.bytes) == len(program)
    assert profile.flops[0] == 2 * 6 * 4 * 8
    assert len(str(profile).splitlines()) == len(program) + 2
    assert len(profile.shares) == len(program)
    assert ([p.data.tobytes() for p in model.parameters()], int(optimizer.step_count)) == before


def test_a_profile_has_shares_of_the_peak() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((128, 256), F32), mg.tensor(rng.standard_normal((256, 256), F32))
    profile = mg.capture(lambda x: mg.exp(x @ w), x).profile(replays=5)
    product, function = profile.shares
    if mg.kernels.active() == "reference":
        assert np.isnan(product)
    else:
        assert 0.05 < product < 1.1
    assert 0.001 < function < 100
    assert profile.bytes == [4 * (128 + 256 + 128) * 256, 4 * 2 * 128 * 256]
    assert f"{function:7.0%}  exp(" in str(profile)


def test_a_profile_times_a_chain_as_one() -> None:
    x = np.ones((16, 1024), F32)
    program = mg.capture(lambda x: mg.exp(mg.tanh(x * 2) + x), x)
    profile = program.profile(replays=3)
    if mg.kernels.active() == "reference":
        assert all(profile.seconds)
    else:
        assert [seconds > 0 for seconds in profile.seconds] == [True, False, False, False]
        assert profile.bytes[1:] == [0, 0, 0]
        assert 2 * x.nbytes < profile.bytes[0] < 2.5 * x.nbytes
        assert [line[44] for line in str(profile).splitlines()[2:]] == [*"/||\\"]
    assert len(str(profile).splitlines()) == 6


def test_print_shows_every_call(step: Step, optimizer: optim.Adam) -> None:
    program = mg.capture(step, X, Y)
    text = str(program)
    assert len(program) == len(text.splitlines()) - 6
    assert "  0 linear(float32[6, 8], float32[6, 4], float32[8, 4], float32[8]" in text
    made = [step.kernel for step in program.steps]
    assert made[:3] == ["linear", "linear", "cross_entropy"]
    assert made[-2:] == ["adam", "advance"]
    assert "matmul_relu_grad" in made
    assert not {"relu", "relu_grad"} & {*made}


# Clipping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_grads", [True, False])
def test_the_norm_of_mixed_dtypes(keep_grads: bool) -> None:
    """Float64 runs in Python, and reads the norm where the kernel for float32 left it."""
    results = []
    for captured in (False, True):
        parts = [mg.tensor(np.ones(4, dtype), requires_grad=True) for dtype in (F32, np.float64)]
        sgd = optim.SGD(parts, lr=0.1)

        def step(x: Any, parts: Any = parts, sgd: Any = sgd) -> Any:
            sgd.zero_grad()
            for part in parts:
                (part * x.astype(part.dtype)).sum().backward()
            norm = optim.clip_grad_norm_(parts, 1.0)
            sgd.step()
            return norm

        program = mg.capture(step, X, keep_grads=keep_grads) if captured else step
        norms = [program(x).item() for x in ((2 * X, 3 * X) if captured else (X, 2 * X, 3 * X))]
        results.append(([p.data.tobytes() for p in parts], norms[-2:]))
    assert results[0] == results[1]


def test_the_norm_of_the_recorded_step_stays(model: nn.Sequential, optimizer: optim.Adam) -> None:
    seen: list[mg.Tensor] = []

    def step(x: Any) -> None:
        optimizer.zero_grad()
        model(x).sum().backward()
        seen.append(optim.clip_grad_norm_(model.parameters(), 1.0))
        optimizer.step()

    program = mg.capture(step, X)
    before = seen[0].item()
    program(2 * X)
    assert seen[0].item() == before
    assert [s.kernel for s in program.steps][-4:] == ["global_norm", "clip_to_norm", "adam", "advance"]


def test_a_norm_that_nobody_reads_is_not_worked_out(model: nn.Sequential) -> None:
    model(X).sum().backward()
    program = mg.capture(lambda x: optim.clip_grad_norm_(model.parameters(), 1.0), X)
    assert [s.kernel for s in program.steps] == ["global_norm", "clip_to_norm"]
    measured = mg.capture(lambda x: [optim.clip_grad_norm_([], 1.0), x * 2][1], X)
    assert [s.kernel for s in measured.steps] == ["multiply"]


def test_clipping_gradients_from_before(model: nn.Sequential) -> None:
    """They are changed where they are; another gradient in their place is refused."""
    (model(X) ** 2).sum().backward()
    program = mg.capture(lambda x: optim.clip_grad_norm_(model.parameters(), 1.0), X)
    (model(X) ** 2).sum().backward()
    flat = np.concatenate([p.grad.data.ravel() for p in model.parameters()]).astype(float)
    assert program(X).item() == pytest.approx(np.linalg.norm(flat))
    clipped = np.concatenate([p.grad.data.ravel() for p in model.parameters()])
    np.testing.assert_allclose(clipped, flat / np.linalg.norm(flat), rtol=1e-5)
    with pytest.raises(mg.CaptureError, match="must keep them"):
        mg.capture(lambda x: optim.clip_grad_norm_(model.parameters(), 1.0), X, keep_grads=False)
    model.zero_grad()
    with pytest.raises(mg.CaptureError, match="was replaced or forgotten"):
        program(X)


def test_a_batch_may_serve_as_gradient() -> None:
    """A kernel of many tensors finds its arrays through a table, where no other batch can be put: it is copied in."""
    w = mg.tensor(np.zeros((6, 4), F32), requires_grad=True)
    sgd = optim.SGD([w], lr=1.0)

    def step(x: Any) -> Any:
        w.grad = x
        norm = optim.clip_grad_norm_([mg.zeros(1)], 1.0)
        sgd.step()
        return norm

    program = mg.capture(step, X)
    program(2 * X)
    np.testing.assert_array_equal(w.data, -3 * X)


def facts_of(program: Any) -> dict[str, str]:
    """The lines that print(program) puts before the calls, by their titles."""
    lines = str(program).splitlines()[1 : -len(program)]
    return {title.strip(): text for title, _, text in (line.partition(": ") for line in lines)}


def test_print_lists_what_is_read_changed_and_baked_in(step: Step, model: nn.Sequential) -> None:
    found = facts_of(mg.capture(step, X, Y))
    assert found["reads where it lies"] == (
        "inputs; float32[8, 4], float32[8], float32[3, 8], float32[3]; m of adam, v of adam"
    )
    assert found["reads cells"].startswith("adam: lr=0.01, beta1=0.9, beta2=0.999, eps=1e-08, step=1")
    assert found["reads cells"].endswith("; advance: by=1")
    assert found["current afterwards"] == (
        "float32[]; 4 tensors written by Adam; m of adam, v of adam; .grad of 4 leaves; adam step"
    )
    assert found["baked in"] == "linear relu=1, linear relu=0; constants 1, 6; shapes, flags, branches"
    lean = facts_of(mg.capture(step, X, Y, keep_grads=False))
    assert "no .grad in 4 leaves" in lean["current afterwards"]
    assert ".grad of" not in lean["current afterwards"]


def test_print_lists_constants_numbers_and_what_is_no_tensor() -> None:
    drop, scale = nn.Dropout(0.25), mg.tensor([2.0, 1.0, 1.0, 1.0])

    def step(x: Any) -> Any:
        y = mg.clip(drop(x) * scale * 0.75, -0.5, 2) + np.arange(4, dtype=F32) * np.ones((6, 4), F32)
        return {"y": y, "k": 3, "name": ["left", None]}

    program = mg.capture(step, X)
    found = facts_of(program)
    assert found["reads where it lies"] == "inputs; float32[4]"
    assert found["reads cells"] == f"dropout: key={drop.rng.key}, counter={drop.rng.counter}"
    assert found["current afterwards"] == "float32[6, 4]; dropout counter"
    assert found["baked in"] == (
        "dropout keep=49152, clip low=-0.5, clip high=2; constants 0.75, float32[6, 4] [...]; returned 3, "
        "returned 'left'; shapes, flags, branches"
    )
    program(X)
    assert f"counter={drop.rng.counter}" in str(program), "cells are read when it is printed"


def test_print_of_a_float64_step_names_what_python_runs() -> None:
    @mg.operation(x=lambda g, x: 3 * g * x * x)
    def cube(x: Any, /) -> Any:
        return x**3

    program = mg.capture(lambda x: cube(x * np.array([1.0, 2, 3, 4])), X.astype(float))
    found = facts_of(program)
    assert found["baked in"] == "constants float64[4] [1 2 3 4]; what cube took from Python; shapes, flags, branches"
    assert found["reads cells"] == "nothing"


def test_print_keeps_long_lists_short() -> None:
    weights = [mg.ones((1, n)) for n in range(1, 31)]
    program = mg.capture(lambda x: sum([(x[:, :1] * w).sum() for w in weights], mg.zeros(())), X)
    assert facts_of(program)["reads where it lies"].endswith("float32[1, 8], and 22 more")
    assert max(len(line) for line in str(program).splitlines()) < 300


# What is refused -------------------------------------------------------------------------------------


def reading(how: Callable[[Any], Any]) -> Step:
    def step(x: Any) -> Any:
        how(x.sum())
        return x

    return step


def pick(x: Any) -> Any:
    return x[x > 0]


@dataclass
class Losses:
    total: Any


class Pair(NamedTuple):
    left: Any
    right: Any


MISUSE: dict[str, tuple[Step, str]] = {
    "bool": (lambda x: x if x.sum() > 0 else -x, "a branch on a tensor"),
    "float": (reading(float), "a number from a tensor"),
    "int": (reading(int), "a number from a tensor"),
    "item": (reading(lambda t: t.item()), "a number from a tensor"),
    "numpy": (reading(lambda t: t.numpy()), r"numpy\(\)"),
    "tolist": (reading(lambda t: t.tolist()), r"tolist\(\)"),
    "asarray": (reading(np.asarray), r"np.asarray\(\)"),
    "dlpack": (reading(np.from_dlpack), "DLPack"),
    "index": (lambda x: x[[0, 1][mg.argmax(x)]], "a number from a tensor"),
    "data-dependent shape": (pick, "boolean tensor"),
    "tensor of a tensor": (reading(mg.tensor), r"numpy\(\)"),
    "optimizer": (lambda x: optim.SGD([mg.ones(1)], 0.1), "making an optimizer"),
    "generator": (lambda x: mg.random.Generator(3), "making a generator"),
    "module": (lambda x: nn.Linear(4, 4)(x), "making a generator"),
    "random numbers": (lambda x: x + mg.random.default_generator().uniform(x.shape), "drawing numbers"),
    "permutation": (lambda x: x[mg.random.default_generator().permutation(6)], "drawing numbers"),
    "a norm that must be finite": (
        lambda x: optim.clip_grad_norm_([], 1.0, error_if_nonfinite=True),
        "error_if_nonfinite=True cannot be recorded; return the norm from the step",
    ),
    "nesting": (lambda x: mg.capture(lambda x: x, X), "does not nest"),
    "a written input": (lambda x: x.assign_(0), "writes into an input"),
    "a NumPy result": (lambda x: np.ones(3), "returned a NumPy array"),
    "a generator function": (lambda x: (y for y in (x, x)), "returned a generator"),
    "a set": (lambda x: {x}, "returned a set"),
    "an object": (lambda x: Losses(x), "returned a Losses; return a tuple, a list or a dict"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_refuses_to_record(name: str) -> None:
    step, message = MISUSE[name]
    with pytest.raises(mg.CaptureError, match=message) as caught:
        mg.capture(step, X)
    what, _, advice = str(caught.value).partition("; ")
    assert min(len(what), len(advice)) > 10, "what is wrong, then what to do"
    assert mg.capture(lambda x: x + 1, X)(X).shape == X.shape, "the recorder must be gone"
    assert float(mg.ones(())) == 1


def test_a_named_tuple_comes_back_as_one() -> None:
    program = mg.capture(lambda x: Pair(x + 1, [x * 2, 3]), X)
    found = program(2 * X)
    assert isinstance(program.first_result, Pair)
    assert isinstance(found, Pair)
    assert found.left.data[0, 0] == 2 * X[0, 0] + 1
    assert found.right[1] == 3


def test_train_and_eval_are_two_programs() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    training = mg.capture(model, X)
    evaluation = mg.capture(model.eval(), X)
    assert ("dropout keep=32768" in str(training), "dropout" in str(evaluation)) == (True, False)
    np.testing.assert_array_equal(evaluation(2 * X).data, model(mg.tensor(2 * X)).data)
    counter = int(model[0].rng.counter)
    assert (training(X).data != training(X).data).any(), "a program goes on as it was captured"
    assert model[0].rng.counter > counter


def test_refuses_a_gradient_left_where_there_was_none(model: nn.Sequential) -> None:
    with pytest.raises(mg.CaptureError, match="zero_grad"):
        mg.capture(lambda x: model(x).sum().backward(), X)


def test_refuses_to_forget_gradients_that_it_adds_to(model: nn.Sequential) -> None:
    def step(x: Any) -> None:
        model(x).sum().backward()
        model.zero_grad()

    model(X).sum().backward()
    with pytest.raises(mg.CaptureError, match="must keep them"):
        mg.capture(step, X)
    step(X)
    mg.capture(step, X)(X)
    assert model[0].weight.grad is None


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((X[:5], Y[:5]), mg.CaptureError, r"float32 \(6, 4\) as input 0, got float32 \(5, 4\); capture a second"),
        ((X.astype(float), Y), mg.CaptureError, "got float64"),
        ((X, Y.astype(np.int32)), mg.CaptureError, "input 1, got int32"),
        ((X,), TypeError, "captured with 2 inputs, got 1"),
        ((X, list(Y)), TypeError, "input 1 of step is an array"),
        ((X, Y + 3), IndexError, "label"),
    ],
)
def test_refuses_another_batch(step: Step, inputs: Any, error: type[Exception], message: str) -> None:
    program = mg.capture(step, X, Y)
    with pytest.raises(error, match=message):
        program(*inputs)
    program(X, Y)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((X,),), TypeError, "tuple of 2 arrays"),
        ((X,), TypeError, "tuple of 2 arrays"),
        (((X, Y[:5]),), ValueError, "data 1"),
        (((X[:, :3], Y),), ValueError, "data 0"),
        (((X.astype(float), Y),), TypeError, "data 0 of run.. is float64"),
        (((X, Y), [0, 1]), ValueError, "at least one step"),
        (((X, Y), [0, 1], 1), ValueError, "need 6 rows, order has 2"),
        (((X, Y), [0, 1, 2, 3, 4, 6]), IndexError, "rows from 0 to 6"),
        (((X, Y), [0, 1, 2, 3, 4, -1]), IndexError, "rows from -1"),
        (((X, Y), [0.0, 1, 2, 3, 4, 5]), TypeError, "row of integers"),
        (((X, Y), None, 0), ValueError, "at least one step"),
        (((X, Y + 1),), IndexError, "label 3 lies outside the 3 classes"),
    ],
)
def test_run_refuses(step: Step, optimizer: optim.Adam, arguments: Any, error: type[Exception], message: str) -> None:
    program = mg.capture(step, X, Y)
    with pytest.raises(error, match=message):
        program.run(*arguments)
    assert optimizer.step_count == 1, "nothing was changed"


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((1.0,), TypeError, "a number: 0-d"),
        ((X[:0],), ValueError, "a batch with something in it"),
        ((mg.tensor(X, requires_grad=True),), mg.CaptureError, "requires grad"),
    ],
)
def test_capture_refuses_inputs(inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mg.capture(lambda x: x, *inputs)


def test_refuses_what_has_changed_since(step: Step, optimizer: optim.Adam) -> None:
    program = mg.capture(step, X, Y)
    before = mg.kernels.active()
    for other in {*mg.kernels.targets()} - {before}:
        mg.kernels.use(other)
        try:
            with pytest.raises(mg.CaptureError, match="capture it again"):
                program(X, Y)
        finally:
            mg.kernels.use(before)
    optimizer.param_groups[0]["lr"] = lambda step: 0.1
    with pytest.raises(mg.CaptureError, match="became a schedule"):
        program(X, Y)


def test_refuses_when_a_tensor_it_reads_is_gone() -> None:
    scale = [mg.tensor([2.0])]
    program = mg.capture(lambda x: x * scale[0], X)
    assert program(X).data[0, 0] == 2 * X[0, 0]
    scale.clear()
    gc.collect()
    with pytest.raises(mg.CaptureError, match=r"a tensor of shape \(1,\) that .* uses is gone"):
        program(X)


def test_what_the_step_made_and_returned_may_die() -> None:
    def step(x: Any) -> Any:
        made = x.detach().requires_grad_()
        y = made - mg.tensor([1.0, 2.0, 3.0, 4.0])
        (g,) = mg.grad((y * y).sum(), made)
        return y, g, made, mg.ones(2) + x.sum()

    results = [mg.capture(step, X) for _ in range(3)]
    gc.collect()
    wanted = step(mg.tensor(2 * X))
    for program in results:
        for got, want in zip(program(2 * X), wanted, strict=True):
            np.testing.assert_array_equal(got.data, want.data)


def test_refuses_two_threads_and_a_replay_in_a_recording(step: Step) -> None:
    program = mg.capture(step, X, Y)
    failures: list[BaseException] = []

    def elsewhere(done: int) -> None:
        def call() -> None:
            with pytest.raises(mg.CaptureError, match="another thread") as caught:
                program(X, Y)
            failures.append(caught.value)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    program.run((X, Y), progress=elsewhere)
    assert len(failures) == 1
    with pytest.raises(mg.CaptureError, match="inside a step that is recorded"):
        mg.capture(lambda x: program(x, Y), X)


def test_other_threads_go_on_while_a_step_is_recorded() -> None:
    sums: list[float] = []

    def step(x: Any) -> Any:
        thread = threading.Thread(target=lambda: sums.append((mg.ones(3) + 1).sum().item()))
        thread.start()
        thread.join()
        return x + 1

    assert len(mg.capture(step, X)) == 1
    assert sums == [6]


def test_a_step_that_fails_leaves_no_recorder(step: Step) -> None:
    with pytest.raises(IndexError):
        mg.capture(step, X, Y + 5)
    mg.capture(step, X, Y)


def test_the_same_bits_for_any_number_of_threads() -> None:
    drawn = {"sizes": [200, 256, 10], "batch": 256, "activation": "relu", "p": 0.3, "norm": False, "rate": "cosine"}
    drawn |= {"loss": "cross_entropy", "optimizer": "adam", "halves": False, "zeroed": "before", "clip": "norm"}
    drawn |= {"average": "ema", "nan": 1, "options": {"max_norm": 0.5}}
    made = batches(drawn, 4)
    eager = Training(drawn)
    for batch in made:
        eager.step(*batch)
    states = [eager.state()]
    before = mg.num_threads()
    try:
        for threads in (1, 2, 3):
            mg.set_num_threads(1)
            training = Training(drawn)
            program = mg.capture(training.step, *made[0])
            mg.set_num_threads(threads)
            for batch in made[1:]:
                program(*batch)
            states.append(training.state())
    finally:
        mg.set_num_threads(before)
    if mg.kernels.active() != "reference":
        assert states[0] == states[1] == states[2] == states[3]


def test_a_fork_goes_on_with_the_program(step: Step) -> None:
    program = mg.capture(step, X, Y)
    child = os.fork()
    if child == 0:
        try:
            program(X, Y)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_run_with_many_inputs_and_results() -> None:
    x = np.ones((4, 3), F32)
    many = mg.capture(lambda x: [x.sum() * float(i) for i in range(200)], x)
    for i, found in enumerate(many.run((np.ones((40, 3), F32),))):
        assert found.tolist() == [12.0 * i] * 10
    wide = mg.capture(lambda *xs: sum(xs[1:], xs[0]).sum(), *[x] * 40)
    assert wide.run(tuple([np.full((8, 3), i, F32) for i in range(40)])).tolist() == [12.0 * 780] * 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p.profile(0), ValueError, "at least one replay, got replays=0"),
        (lambda p: p.profile(True), ValueError, "replays=True"),
        (lambda p: p.run((X, Y), scale="a"), TypeError, "scale must be a number, got 'a'"),
        (lambda p: p.run((X, Y), progress=3), TypeError, "progress is a function"),
    ],
)
def test_refuses_arguments(step: Step, optimizer: optim.Adam, call: Any, error: type[Exception], message: str) -> None:
    program = mg.capture(step, X, Y)
    with pytest.raises(error, match=message):
        call(program)
    assert optimizer.step_count == 1, "nothing was changed"
