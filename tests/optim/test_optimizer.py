import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.schedules import cosine

NO_DECAY = {"decoupled_weight_decay": 0.0, "l1": 0.0, "l1_form": "subgradient", "dialect": "torch"}
KINDS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": lambda params, lr=0.1: optim.SGD(params, lr=lr),
    "momentum": lambda params, lr=0.1: optim.SGD(params, lr=lr, momentum=0.9),
    "Adam": lambda params, lr=0.1: optim.Adam(params, lr=lr),
    "AdamW": lambda params, lr=0.1: optim.AdamW(params, lr=lr),
    "Adagrad": lambda params, lr=0.1: optim.Adagrad(params, lr=lr, l1=0.1, l1_form="proximal"),
    "RMSprop": lambda params, lr=0.1: optim.RMSprop(
        params, lr=lr, momentum=0.9, centered=True, decoupled_weight_decay=0.1, dialect="optax"
    ),
    "amsgrad": lambda params, lr=0.1: optim.Adam(params, lr=lr, amsgrad=True, max_norm=0.5),
    "NAdam": lambda params, lr=0.1: optim.NAdam(params, lr=lr, skip_nonfinite=True),
    "RAdam": lambda params, lr=0.1: optim.RAdam(params, lr=lr, betas=(0.9, 0.9)),
    "Lion": lambda params, lr=0.1: optim.Lion(params, lr=lr, max_norm=2.0),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())


def parameter(*shape: int, grad: float | None = 1.0, dtype: Any = np.float32) -> nn.Parameter:
    p = nn.Parameter(np.ones(shape, dtype))
    p.grad = None if grad is None else mg.full(shape, grad, dtype)
    return p


def everything(optimizer: optim.Optimizer) -> list[Any]:
    """All that a step may change."""
    arrays = [optimizer.step_count]
    for group in optimizer.param_groups:
        arrays += group.cells.values()
    for p, slots in optimizer.state.items():
        arrays += [p.data, *slots]
    return [array.tolist() for array in arrays]


# Groups and hyperparameters


def test_groups_have_hyperparameters_of_their_own() -> None:
    a, b, c = parameter(2), parameter(2), parameter(2)
    optimizer = optim.SGD([{"params": [a, b]}, {"params": c, "lr": 0.5, "momentum": 0.9}], lr=0.1)
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(a.numpy(), 1 - 0.2, rtol=1e-6)
    np.testing.assert_allclose(b.numpy(), 1 - 0.2, rtol=1e-6)
    np.testing.assert_allclose(c.numpy(), 1 - 0.5 - 0.5 * 1.9, rtol=1e-6)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.0, 0.9]


def test_a_group_reads_like_a_dict_and_keeps_its_numbers_in_cells() -> None:
    p = parameter(2)
    (group,) = optim.Adam([p], lr=0.25, betas=[0.5, 0.75]).param_groups  # type: ignore[arg-type]
    numbers = {"lr": 0.25, "betas": (0.5, 0.75), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, **NO_DECAY}
    assert dict(group) == {"params": [p], **numbers}
    cell = group.cells["lr"]
    assert (cell.shape, cell.dtype) == ((), np.float64)
    group["lr"] = 0.125
    group.update(eps=0.5, betas=(0.25, 0.5))
    assert group.cells["lr"] is cell
    assert cell == 0.125
    assert (group["eps"], group["betas"]) == (0.5, (0.25, 0.5))
    assert optim.SGD([p], lr=1, momentum=0.9, nesterov=True).param_groups[0]["nesterov"] is True
    with pytest.raises(KeyError, match="this optimizer has no 'momentum'; it has lr, betas"):
        group["momentum"] = 0.9
    with pytest.raises(TypeError, match="cannot be deleted"):
        del group["lr"]


def test_a_new_number_counts_from_the_next_step() -> None:
    p = parameter(1)
    optimizer = optim.SGD([p], lr=0.5)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.125
    optimizer.step()
    assert p.item() == 1 - 0.5 - 0.125


BAD_NUMBERS: list[Any] = [
    np.nan, np.inf, -np.inf, -1e-9, True, "0.1", None, (0.1, 0.2), [0.1], np.ones(2), mg.ones(()),
    10**400, np.complex64(1), np.float32(np.inf),
]  # fmt: skip
BAD_PAIRS: list[Any] = [0.9, (0.9,), (0.9, 0.9, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, np.nan), (True, 0.9), "ab", None]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, "lr", value) for kind in (optim.SGD, optim.Adam, optim.AdamW) for value in BAD_NUMBERS]
    + [(optim.SGD, name, value) for name in ("momentum", "dampening", "weight_decay") for value in BAD_NUMBERS]
    + [(optim.Adam, name, value) for name in ("eps", "weight_decay") for value in BAD_NUMBERS]
    + [(optim.AdamW, "betas", value) for value in BAD_PAIRS]
    + [(optim.SGD, "nesterov", value) for value in (1, "yes", None)]
    + [(optim.RMSprop, "centered", value) for value in (1, "yes", None)]
    + [(optim.RMSprop, "alpha", value) for value in (1.1, *BAD_NUMBERS) if value is not None]
    + [(optim.Adagrad, "lr_decay", value) for value in BAD_NUMBERS]
    + [(optim.AdamW, "l1", value) for value in BAD_NUMBERS]
    + [(optim.NAdam, "momentum_decay", value) for value in BAD_NUMBERS]
    + [(kind, "betas", value) for kind in (optim.NAdam, optim.RAdam, optim.Lion) for value in BAD_PAIRS]
    + [(optim.Adam, "amsgrad", value) for value in (1, "yes", None)]
    + [(optim.Lion, "dialect", value) for value in ("keras", "", 1, None, ["optax"])]
    + [(optim.Adam, "l1_form", value) for value in ("lasso", "", 1, None, True)],
)
def test_a_hyperparameter_that_cannot_be_is_refused_everywhere(kind: Any, name: str, value: Any) -> None:
    message = f"^{name} must be (two numbers|a finite number|True or False|.subgradient.|.torch.).*, got "
    p = parameter(2)
    with pytest.raises(ValueError, match=message):
        kind([p], **{"lr": 0.1, name: value})
    with pytest.raises(ValueError, match=message):
        kind([{"params": [p], name: value}], lr=0.1)
    optimizer = kind([p], lr=0.1)
    before = everything(optimizer)
    with pytest.raises(ValueError, match=message):
        optimizer.param_groups[0][name] = value
    assert everything(optimizer) == before


def test_a_state_of_its_own_is_there_from_the_start() -> None:
    (group,) = optim.RMSprop([parameter(1)]).param_groups
    with pytest.raises(ValueError, match="momentum needs a buffer"):
        group["momentum"] = 0.9
    with pytest.raises(ValueError, match="centered needs a state of its own"):
        group["centered"] = True
    with pytest.raises(ValueError, match="amsgrad needs a state of its own"):
        optim.AdamW([parameter(1)]).param_groups[0]["amsgrad"] = True
    with pytest.raises(KeyError, match="this optimizer has no 'max_norm'"):
        group["max_norm"] = 1.0
    with pytest.raises(ValueError, match="initial_accumulator_value must be a finite number"):
        optim.Adagrad([parameter(1)], initial_accumulator_value=-1)
    optimizer = optim.Adagrad([parameter(2)], initial_accumulator_value=0.5)
    assert optimizer.state_dict()["slots"]["0.0.sum"].tolist() == [0.5, 0.5]


def test_the_form_of_l1_may_change_between_steps() -> None:
    p = parameter(1)
    optimizer = optim.SGD([p], lr=0.5, l1=2.0)
    optimizer.step()
    assert p.item() == 1 - 0.5 * (1 + 2)
    optimizer.param_groups[0]["l1_form"] = "proximal"
    assert optimizer.param_groups[0]["l1_form"] == "proximal"
    optimizer.step()
    assert p.item() == -(0.5 + 0.5 - 1)  # the step leads to -1, the threshold to 0
    resumed = optim.SGD([parameter(1)], lr=0.5)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.param_groups[0]["l1_form"] == "proximal"


def test_momentum_needs_its_buffer_from_the_start_and_nesterov_needs_momentum() -> None:
    (group,) = optim.SGD([parameter(1)], lr=0.1).param_groups
    with pytest.raises(ValueError, match="momentum needs a buffer"):
        group["momentum"] = 0.9
    for options in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="nesterov needs a momentum above 0 and no dampening"):
            optim.SGD([parameter(1)], lr=0.1, nesterov=True, **options)


# Schedules


@every_kind
def test_the_first_update_uses_the_rate_at_0(make: Any) -> None:
    asked: list[int] = []

    def schedule(step: int) -> float:
        asked.append(step)
        return 2.0**-step

    optimizer = make([parameter(1)], lr=schedule)
    assert optimizer.param_groups[0]["lr"] == 1.0
    asked.clear()
    rates = []
    for _ in range(4):
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert asked == [0, 1, 2, 3]
    assert rates == [1, 0.5, 0.25, 0.125]
    assert optimizer.step_count == 4


def test_a_number_replaces_the_schedule_and_a_schedule_the_number() -> None:
    a, b = parameter(1), parameter(1)
    optimizer = optim.SGD([{"params": a, "lr": cosine(0.5, 10)}, {"params": b, "lr": 0.25}], lr=1)
    first, second = optimizer.param_groups
    first["lr"], second["lr"] = 0.125, lambda step: step + 1
    optimizer.step()
    optimizer.step()
    assert (first["lr"], second["lr"]) == (0.125, 2.0)
    assert (a.item(), b.item()) == (1 - 2 * 0.125, 1 - 1 - 2)


@pytest.mark.parametrize("rate", [np.nan, np.inf, -1.0, None, "0.1", True])
def test_a_schedule_that_goes_wrong_stops_the_step_before_anything_is_written(rate: Any) -> None:
    optimizer = optim.Adam([{"params": parameter(2), "lr": cosine(0.1, 9)}, {"params": parameter(2)}],
                           lr=lambda step: 0.1 if step < 2 else rate)  # fmt: skip
    optimizer.step()
    optimizer.step()
    before = everything(optimizer)
    with pytest.raises(ValueError, match="lr must be a finite number of at least 0, got"):
        optimizer.step()
    assert everything(optimizer) == before
    with pytest.raises(ValueError, match="lr must be"):
        optim.SGD([parameter(1)], lr=lambda step: rate)


# Parameters


@every_kind
def test_a_parameter_without_gradient_is_skipped(make: Any) -> None:
    with_grad, without = parameter(3), parameter(3, grad=None)
    optimizer = make([without, with_grad])
    optimizer.step()
    assert without.tolist() == [1, 1, 1]
    assert not any(array.any() for array in optimizer.state[without])
    assert (with_grad.numpy() < 1).all()
    optimizer.zero_grad()
    assert with_grad.grad is None
    optimizer.step()
    assert optimizer.step_count == 2


@every_kind
def test_state_has_the_memory_order_of_its_parameter(make: Any) -> None:
    start = np.arange(12, dtype=np.float32).reshape(3, 4)
    gradient = np.arange(12, dtype=np.float32).reshape(3, 4)[::-1] - 5
    wide = np.empty((3, 2, 4), np.float32)[:, :1]  # an axis of length 1 may have any stride
    layouts = [start.copy(), np.asfortranarray(start), start.copy().reshape(3, 4, 1).swapaxes(1, 2)]
    layouts += [start.T.copy().T[:, None], wide[:1]]
    layouts[-1][:] = start[:1]
    parameters = [nn.Parameter(array) for array in layouts]
    optimizer = make(parameters)
    for p in parameters:
        p.grad = mg.tensor(gradient[: len(p)].reshape(p.shape))
        assert all(array.squeeze().strides == p.data.squeeze().strides for array in optimizer.state[p])
    optimizer.step()
    optimizer.step()
    for p in parameters[1:]:
        np.testing.assert_array_equal(p.numpy().reshape(-1, 4), parameters[0].numpy()[: len(p)])


@every_kind
def test_both_precisions_in_one_group(make: Any) -> None:
    single, double = parameter(3), parameter(3, dtype=np.float64)
    optimizer = make([double, single])
    optimizer.step()
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single.numpy(), double.numpy(), rtol=1e-6, atol=1e-6)


def read_only() -> nn.Parameter:
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    return nn.Parameter(array)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "got no parameters"),
        (None, TypeError, "an iterable of tensors or of dicts, got NoneType"),
        (parameter(2), TypeError, "an iterable of tensors or of dicts, got Parameter"),
        (nn.Linear(1, 1), TypeError, r"tensors or of dicts, got Linear; give it model.parameters\(\)"),
        ([nn.Linear(1, 1)], TypeError, r"updates tensors, got Linear; give it model.parameters\(\)"),
        ([np.ones(2)], TypeError, "updates tensors, got ndarray"),
        ([{"params": [parameter(1)]}, parameter(1)], TypeError, "a dict with 'params', got Tensor"),
        ([{"lr": 0.1}], TypeError, "a dict with 'params', got {'lr': 0.1}"),
        ([{"params": [parameter(1)], "beta": 1}], TypeError, "has no hyperparameter beta"),
        ([mg.ones(2)], ValueError, "leaves that require grad"),
        ([mg.ones(2, requires_grad=True) * 2], ValueError, "leaves that require grad"),
        ([nn.Parameter(np.ones((4, 4), np.float32)[:, :2])], ValueError, r"without gaps .* strides \(16, 4\)"),
        ([nn.Parameter(np.ones(4, np.float32)[::-1])], ValueError, "without gaps"),
        ([nn.Parameter(np.broadcast_to(np.float32(1), (3,)))], ValueError, "without gaps"),
        ([nn.Parameter(np.ones(3, ">f4"))], ValueError, "native byte order, got dtype >f4"),
        ([read_only()], ValueError, "writeable=False"),
    ],
)
def test_parameters_that_cannot_be_updated_are_refused(params: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        optim.Adam(params)


def test_a_parameter_listed_twice_is_refused() -> None:
    p, other = parameter(1), parameter(1)
    for params in ([p, other, p], [{"params": p}, {"params": [other, p]}]):
        with pytest.raises(ValueError, match="a parameter is listed twice"):
            optim.SGD(params, lr=0.1)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (mg.ones(3), ValueError, r"a gradient is float32 \(3,\), its parameter float32 \(2,\)"),
        (mg.ones(2, np.float64), ValueError, "a gradient is float64"),
        (np.ones(2, np.float32), TypeError, "a gradient must be a Tensor, got ndarray"),
    ],
)
@every_kind
def test_a_gradient_that_does_not_fit_stops_the_step_before_anything_is_written(
    make: Any, gradient: Any, error: Any, message: str
) -> None:
    good, bad = parameter(2), parameter(2, grad=None)
    optimizer = make([{"params": good}, {"params": bad}], lr=cosine(0.1, 9))
    optimizer.step()
    before = everything(optimizer)
    bad.grad = gradient
    with pytest.raises(error, match=message):
        optimizer.step()
    assert everything(optimizer) == before


@every_kind
def test_backward_notices_an_update_since_the_forward_pass(make: Any) -> None:
    w = parameter(2)
    optimizer = make([w])
    loss = (w * w).sum()
    optimizer.step()
    with pytest.raises(mg.GraphError, match=f"needs its .* but {type(optimizer).__name__} has written to that memory"):
        loss.backward()


# State


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> bytes:
    x, y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), np.array([0, 1, 1, 0])
    for _ in range(steps):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(model(x), y).backward()
        optimizer.step()
    return b"".join(p.data.tobytes("A") for p in model.parameters())


@every_kind
def test_a_loaded_state_goes_on_with_the_same_bits(make: Any) -> None:
    model, other = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    schedule = cosine(0.1, 20)
    optimizer, resumed = make(model.parameters(), lr=schedule), make(other.parameters(), lr=schedule)
    train(model, optimizer, 7)
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert resumed.param_groups[0].schedule is schedule
    assert train(model, optimizer, 5) == train(other, resumed, 5)
    assert everything(optimizer) == everything(resumed)


@every_kind
def test_a_copied_pair_goes_on_by_itself(make: Any) -> None:
    model = nn.Linear(3, 2, rng=0)
    optimizer = make(model.parameters())
    train(model, optimizer, 3)
    other, second = copy.deepcopy((model, optimizer))
    assert train(model, optimizer, 3) == train(other, second, 3)
    second.param_groups[0]["lr"] = 0.5
    assert train(model, optimizer, 1) != train(other, second, 1)


def test_state_is_plain_data_and_a_copy() -> None:
    p = parameter(2)
    optimizer = optim.Adam([p], lr=0.5)
    optimizer.step()
    state = optimizer.state_dict()
    assert state["step"] == 1
    assert state["groups"] == [
        {"lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, **NO_DECAY}
    ]
    assert list(state["slots"]) == ["0.0.exp_avg", "0.0.exp_avg_sq"]
    state["slots"]["0.0.exp_avg"][:] = 7
    assert not (optimizer.state[p][0] == 7).any()


def changed(state: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    state = copy.deepcopy(state)
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return state


@pytest.mark.parametrize(
    ("path", "to", "error", "message"),
    [
        (("slots",), {}, KeyError, "over other parameters"),
        (("groups",), [], KeyError, "over other parameters"),
        (("groups", 1), {"lr": 0.1}, KeyError, r"the state has hyperparameters \['lr'\]"),
        (("groups", 1, "lr"), np.nan, ValueError, "lr must be a finite number"),
        (("slots", "1.0.exp_avg"), np.zeros(3, np.float32), ValueError, r"\(2,\), the state has float32 \(3,\)"),
        (("slots", "1.0.exp_avg"), np.zeros(2), ValueError, r"the state has float64 \(2,\)"),
        (("step",), -1, ValueError, "step must be a whole number of at least 0, below .* got -1"),
        (("step",), 1.5, ValueError, "got 1.5"),
        (("step",), 2**63, ValueError, r"of at least 0, below 2\*\*63"),
        (("skipped",), 2**63, ValueError, "skipped must be a whole number"),
        (("groups", 0), 3, TypeError, "a group of the state must be a dict, got int"),
        (("slots",), 3, TypeError, "slots must be a dict, got int"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(path: Any, to: Any, error: Any, message: str) -> None:
    def make() -> optim.Optimizer:
        return optim.Adam([{"params": parameter(2)}, {"params": parameter(2), "lr": 0.5}], lr=0.1)

    source, optimizer = make(), make()
    source.step()
    before = everything(optimizer)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(changed(source.state_dict(), *path, to=to))
    assert everything(optimizer) == before


def test_repr_shows_the_hyperparameters_of_each_group() -> None:
    optimizer = optim.Lion([{"params": parameter(1)}, {"params": parameter(1), "lr": 0.5}], weight_decay=0.01)
    assert repr(optimizer) == (
        "Lion(lr=0.0001, betas=(0.9, 0.99), weight_decay=0.01, l1=0.0, l1_form='subgradient', dialect='torch'; "
        "lr=0.5, betas=(0.9, 0.99), weight_decay=0.01, l1=0.0, l1_form='subgradient', dialect='torch')"
    )


def test_a_parameter_that_was_resized_is_refused() -> None:
    """The last call of an optimizer is filled anew only for arrays of the sizes that it had."""
    w = mg.Tensor(np.ones((8, 4), np.float32), requires_grad=True)
    sgd = optim.SGD([w], lr=0.1, momentum=0.9)
    w.grad = mg.ones((8, 4))
    sgd.step()
    before = w.data.copy()
    for shape in ((4, 8), (2, 4)):
        w.data.resize(shape, refcheck=False)
        w.grad = mg.ones(shape)
        with pytest.raises(ValueError, match="beside"):
            sgd.step()
        assert (w.data.ravel() == before.ravel()[: w.size]).all(), "nothing was written"


# What the shared options do


@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_skips_the_step(make: Any, bad: float) -> None:
    """In whatever parameter, group or dtype: nothing changes but the count, and the next step is as if it were not."""
    sides = []
    for spoiled in (None, 0, 1, 2):
        params = [parameter(2, 3), parameter(4, dtype=np.float64), parameter(5), parameter(2, grad=None)]
        options = {name: value for name, value in make([parameter(1)]).param_groups[0].items() if name != "params"}
        groups = [{"params": params[:2]}, {"params": params[2:]}]
        optimizer = type(make([parameter(1)]))(groups, **{**options, "lr": cosine(0.1, 9)}, skip_nonfinite=True)
        for step in range(3):
            for p in params[:3]:
                p.grad = mg.full(p.shape, 0.5, p.dtype)
            before = [a.copy() for p, states in optimizer.state.items() for a in (p.data, *states)]
            if step == 1:
                if spoiled is None:
                    continue
                params[spoiled].grad.data.flat[-1] = bad
            optimizer.step()
            if step == 1:
                after = [a for p, states in optimizer.state.items() for a in (p.data, *states)]
                assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
                assert (optimizer.skipped, int(optimizer.step_count)) == (1, 1)
        assert (optimizer.skipped, int(optimizer.step_count)) == (int(spoiled is not None), 2)
        sides.append(everything(optimizer))
    assert sides[1:] == sides[:1] * 3


def test_without_a_gradient_nothing_is_skipped_and_a_loaded_count_goes_on() -> None:
    p = parameter(2)
    optimizer = optim.SGD([p], lr=0.5, skip_nonfinite=True)
    p.grad.data[0] = np.nan
    optimizer.step()
    p.grad = None
    optimizer.step()
    assert (optimizer.skipped, int(optimizer.step_count)) == (1, 1)
    other = optim.SGD([p], lr=0.5, skip_nonfinite=True)
    other.load_state_dict(optimizer.state_dict())
    assert other.skipped == 1
    with pytest.raises(ValueError, match=r"skipped must be a whole number of at least 0, below 2\*\*63, got -1"):
        other.load_state_dict({**optimizer.state_dict(), "skipped": -1})
    old = optimizer.state_dict()
    del old["skipped"]
    other.load_state_dict(old)
    assert other.skipped == 0


def test_no_decay_by_rule() -> None:
    """Biases and the like by default, or whatever a function says; each part is a group with the other numbers."""
    weight, bias, scalar = parameter(2, 2), parameter(2), parameter()
    decays = {"weight_decay": 0.1, "decoupled_weight_decay": 0.2, "l1": 0.3}
    optimizer = optim.SGD([weight, bias, scalar], lr=0.5, no_decay=True, **decays)
    first, second = optimizer.param_groups
    assert (first["params"], second["params"]) == ([weight], [bias, scalar])
    assert {name: first[name] for name in decays} == decays
    assert not any(second[name] for name in decays)
    assert second["lr"] == 0.5
    optimizer = optim.AdamW([{"params": [weight, bias], "lr": 0.1}, {"params": scalar}], no_decay=lambda p: p is weight)
    assert [g["params"] for g in optimizer.param_groups] == [[bias], [weight], [scalar]]
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.1, 0.01), (0.1, 0.0), (1e-3, 0.01)]
    assert len(optim.Lion([bias], no_decay=True).param_groups) == 1
    with pytest.raises(TypeError, match="an optimizer updates tensors, got ndarray"):
        optim.SGD([np.ones(2)], lr=0.1, no_decay=True)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"no_decay": 1}, ValueError, "no_decay must be True or False, got 1"),
        ({"no_decay": None}, ValueError, "no_decay must be True or False, got None"),
        ({"skip_nonfinite": 1}, ValueError, "skip_nonfinite must be True or False, got 1"),
        ({"max_norm": -1}, ValueError, "max_norm must be a finite number of at least 0, got -1"),
        ({"max_norm": np.inf}, ValueError, "max_norm must be a finite number of at least 0, got inf"),
        ({"max_norm": "1"}, ValueError, "max_norm must be a finite number"),
        ({"weight_decay": np.complex64(1)}, ValueError, "weight_decay must be a finite number"),
        ({"decoupled_weight_decay": 0.1}, TypeError, "the weight_decay of AdamW is the decoupled one already"),
        ({"nesterov": True}, TypeError, "nesterov"),
    ],
)
def test_options_that_cannot_be(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        optim.AdamW([parameter(2)], **options)


@every_kind
def test_micro_batches_add_up_to_a_batch(make: Any) -> None:
    """Each with its mean loss divided by their number: the step of the whole batch, to rounding."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.integers(0, 2, 12)
    found = []
    for parts in (1, 4):
        w = nn.Parameter(np.linspace(-1, 1, 6).reshape(2, 3))
        optimizer = make([w], lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            for some, labels in zip(np.split(x, parts), np.split(y, parts), strict=True):
                (mg.cross_entropy(mg.tensor(some) @ w.T, labels) / parts).backward()
            optimizer.step()
        found.append(w.data)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_units_are_those_of_the_shape_that_a_parameter_has_now() -> None:
    """The last call of an optimizer is filled anew, with the units too."""
    w = mg.Tensor(np.ones((8, 4), np.float32), requires_grad=True)
    sgd = optim.SGD([w], lr=0.1, max_norm=1.0)
    for shape in ((8, 4), (2, 16)):
        w.data.resize(shape, refcheck=False)
        w.data.fill(1)
        w.grad = mg.zeros(shape)
        sgd.step()
        np.testing.assert_allclose(w.data, 1 / np.sqrt(shape[1]), rtol=1e-6)
