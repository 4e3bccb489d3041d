import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.random import Generator
from minigrad.testing import check_grads


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return Generator(seed).normal(shape)


# Linear


def test_weight_is_out_by_in_and_lies_transposed_in_memory() -> None:
    linear = nn.Linear(5, 3)
    assert linear.weight.shape == (3, 5)
    assert linear.weight.data.T.flags.c_contiguous
    linear(mg.ones((2, 5))).sum().backward()
    assert linear.weight.grad is not None
    assert linear.weight.grad.data.strides == linear.weight.data.strides


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (1,), (7,), (2, 3), (0,)])
def test_linear_is_the_affine_map_of_its_last_axis(target: str, lead: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(5, 3, bias=bias, rng=1)
    x = normal(*lead, 5)
    expected = x.astype(np.float64) @ linear.weight.numpy().T.astype(np.float64)
    if linear.bias is not None:
        expected = expected + linear.bias.numpy()
    y = linear(mg.tensor(x))
    assert y.shape == (*lead, 3)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_linear_takes_arrays_of_integers() -> None:
    linear = nn.Linear(2, 1, rng=0)
    x = np.array([[1, 200]], np.uint8)
    np.testing.assert_array_equal(linear(x).numpy(), linear(x.astype(np.float32)).numpy())


def test_linear_starts_uniform_within_one_over_root_of_fan_in_and_depends_on_its_stream_only() -> None:
    linear = nn.Linear(400, 300, rng=Generator(3))
    assert linear.bias is not None
    for values in (linear.weight.numpy(), linear.bias.numpy()):
        assert np.abs(values).max() < 1 / 20
        assert np.abs(values).max() > 0.98 / 20
        assert values.var() == pytest.approx(1 / 400 / 3, rel=0.3)
    again = nn.Linear(400, 300, rng=Generator(3))
    np.testing.assert_array_equal(linear.weight.numpy(), again.weight.numpy())
    mg.manual_seed(11)
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    assert (first.weight.numpy() != second.weight.numpy()).any()
    mg.manual_seed(11)
    np.testing.assert_array_equal(nn.Linear(2, 2).weight.numpy(), first.weight.numpy())


@pytest.mark.parametrize("sizes", [(0, 1), (1, -1), (2.0, 1), (1, True), ("3", 1)])
def test_linear_refuses_sizes_that_are_no_counts(sizes: Any) -> None:
    with pytest.raises(ValueError, match="_features must be a positive integer, got"):
        nn.Linear(*sizes)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((4, 3), np.float32), ValueError, r"got \(4, 3\) and \(1, 2\)"),
        (np.ones((4, 2)), TypeError, "does not mix float32 and float64"),
        ([[1.0, 2.0]], TypeError, "got list"),
    ],
)
def test_linear_names_an_input_that_does_not_fit(x: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.Linear(2, 1)(x)


# Every layer

IMAGES, SEQUENCES, ROWS = (4, 6, 5, 8), (4, 6, 11), (5, 6)

# Each with its input and the operation that it is; the arguments are those of PyTorch's class of that name.
LAYERS: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "Linear(6, 3)": (ROWS, lambda m, x: mg.linear(x, m.weight, m.bias)),
    "Embedding(7, 3, padding_idx=-2)": (7, lambda m, x: mg.embedding(x, m.weight, 5)),
    "Conv1d(6, 4, 4, stride=2, padding=3, dilation=2, groups=2)": (
        SEQUENCES,
        lambda m, x: mg.conv1d(x, m.weight, m.bias, 2, 3, 2, 2),
    ),
    "Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)": (
        IMAGES,
        lambda m, x: mg.conv2d(x, m.weight, m.bias, (2, 1), (1, 2), (1, 2), 2),
    ),
    "Conv2d(6, 6, (3, 5), padding='same', groups=6, bias=False)": (
        IMAGES,
        lambda m, x: mg.conv2d(x, m.weight, None, 1, "same", 1, 6),
    ),
    "MaxPool1d(3, 2, 1, 2, ceil_mode=True)": (SEQUENCES, lambda m, x: mg.max_pool1d(x, 3, 2, 1, 2, True)),
    "MaxPool2d((3, 2), 2, 1, ceil_mode=True)": (IMAGES, lambda m, x: mg.max_pool2d(x, (3, 2), 2, 1, 1, True)),
    "AvgPool1d(4, 3, 2, True, False)": (SEQUENCES, lambda m, x: mg.avg_pool1d(x, 4, 3, 2, True, False)),
    "AvgPool2d(3, 2, 1, True, False, 5)": (IMAGES, lambda m, x: mg.avg_pool2d(x, 3, 2, 1, True, False, 5)),
    "GlobalAvgPool2d()": (IMAGES, lambda m, x: x.mean((2, 3))),
    "Flatten()": (IMAGES, lambda m, x: x.reshape(4, 240)),
    "Flatten(0, -2)": (IMAGES, lambda m, x: x.reshape(120, 8)),
    "Identity(3, why=1)": (IMAGES, lambda m, x: x),
    "BatchNorm1d(6, 0.1, 0.3)": (ROWS, lambda m, x: mg.batch_norm(x, None, None, m.weight, m.bias, True, eps=0.1)),
    "BatchNorm2d(6, affine=False)": (IMAGES, lambda m, x: mg.batch_norm(x, training=True)),
    "LayerNorm((5, 8), 0.1)": (IMAGES, lambda m, x: mg.layer_norm(x, (5, 8), m.weight, m.bias, 0.1)),
    "LayerNorm(8, elementwise_affine=False)": (IMAGES, lambda m, x: mg.layer_norm(x, 8)),
    "LayerNorm([8], bias=False)": (IMAGES, lambda m, x: mg.layer_norm(x, 8, m.weight)),
    "RMSNorm((5, 8), 0.1)": (IMAGES, lambda m, x: mg.rms_norm(x, (5, 8), m.weight, 0.1)),
    "GroupNorm(3, 6, 0.1)": (IMAGES, lambda m, x: mg.group_norm(x, 3, m.weight, m.bias, 0.1)),
    "PReLU(6, 0.1)": (IMAGES, lambda m, x: mg.prelu(x, mg.full(6, 0.1))),
    "ReLU()": (ROWS, lambda m, x: mg.relu(x)),
    "ReLU6()": (ROWS, lambda m, x: mg.relu6(x)),
    "LeakyReLU(0.3)": (ROWS, lambda m, x: mg.leaky_relu(x, 0.3)),
    "ELU(0.3)": (ROWS, lambda m, x: mg.elu(x, 0.3)),
    "SELU()": (ROWS, lambda m, x: mg.selu(x)),
    "GELU()": (ROWS, lambda m, x: mg.gelu(x)),
    "GELU('tanh')": (ROWS, lambda m, x: mg.gelu(x, "tanh")),
    "SiLU()": (ROWS, lambda m, x: mg.silu(x)),
    "Mish()": (ROWS, lambda m, x: mg.mish(x)),
    "Hardswish()": (ROWS, lambda m, x: mg.hardswish(x)),
    "Hardtanh(-0.5, 0.25)": (ROWS, lambda m, x: mg.hardtanh(x, -0.5, 0.25)),
    "Tanh()": (ROWS, lambda m, x: mg.tanh(x)),
    "Sigmoid()": (ROWS, lambda m, x: mg.sigmoid(x)),
    "LogSigmoid()": (ROWS, lambda m, x: mg.log_sigmoid(x)),
    "Softplus()": (ROWS, lambda m, x: mg.softplus(x)),
    "Softplus(2.5)": (ROWS, lambda m, x: mg.softplus(x * 2.5) / 2.5),
    "Softsign()": (ROWS, lambda m, x: mg.softsign(x)),
    "Softmax(dim=1)": (IMAGES, lambda m, x: mg.softmax(x, axis=1)),
    "LogSoftmax(-1)": (IMAGES, lambda m, x: mg.log_softmax(x, axis=-1)),
    "GLU(1)": (IMAGES, lambda m, x: mg.glu(x, axis=1)),
    "Dropout(0)": (ROWS, lambda m, x: x),
    "Dropout2d(0)": (IMAGES, lambda m, x: x),
    "Sequential(Tanh(), Linear(6, 2))": (ROWS, lambda m, x: mg.linear(mg.tanh(x), m[1].weight, m[1].bias)),
}


def made(expression: str) -> Any:
    mg.manual_seed(0)
    return eval(expression, dict(vars(nn)))


def given(shape: Any) -> Any:
    return np.arange(14).reshape(2, 7) % shape if isinstance(shape, int) else normal(*shape, seed=1)


def same(found: Any, wanted: Any) -> None:
    assert found.data.tobytes() == wanted.data.tobytes()
    assert found.shape == wanted.shape


@pytest.mark.parametrize("expression", LAYERS)
def test_a_layer_is_its_operation_and_copies_are_whole(expression: str) -> None:
    shape, operation = LAYERS[expression]
    layer, x = made(expression), mg.tensor(given(shape))
    wanted = operation(layer, x)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    same(layer(x), wanted)
    for other in copies:
        assert repr(other) == repr(layer)
        same(other(x), wanted)
        assert [p.data.tobytes() for p in other.parameters()] == [p.data.tobytes() for p in layer.parameters()]
        assert {*map(id, other.state_dict())}.isdisjoint(map(id, layer.parameters()))


def test_every_module_is_in_a_table() -> None:
    modules = {name for name, value in vars(nn).items() if isinstance(value, type) and issubclass(value, nn.Module)}
    losses = {name for name in modules if name.endswith("Loss")}
    assert modules - losses - {"Module", "ModuleList", "ModuleDict"} == {
        name.partition("(")[0] for name in [*LAYERS, "Sequential("]
    }


# Names and shapes as in PyTorch.
RUNNING: dict[str, tuple[int, ...]] = {"running_mean": (6,), "running_var": (6,), "num_batches_tracked": ()}
STATES: dict[str, dict[str, tuple[int, ...]]] = {
    "Linear(6, 3)": {"weight": (3, 6), "bias": (3,)},
    "Linear(6, 3, bias=False)": {"weight": (3, 6)},
    "Embedding(7, 3)": {"weight": (7, 3)},
    "Conv1d(6, 4, 5, groups=2)": {"weight": (4, 3, 5), "bias": (4,)},
    "Conv2d(6, 4, (3, 2), bias=False)": {"weight": (4, 6, 3, 2)},
    "BatchNorm1d(6)": {"weight": (6,), "bias": (6,), **RUNNING},
    "BatchNorm2d(6, affine=False)": RUNNING,
    "BatchNorm2d(6, track_running_stats=False, bias=False)": {"weight": (6,)},
    "LayerNorm((5, 8))": {"weight": (5, 8), "bias": (5, 8)},
    "LayerNorm(8, bias=False)": {"weight": (8,)},
    "RMSNorm(8)": {"weight": (8,)},
    "GroupNorm(3, 6)": {"weight": (6,), "bias": (6,)},
    "PReLU(6)": {"weight": (6,)},
    "PReLU()": {"weight": (1,)},
    "CrossEntropyLoss(weight=[1.0, 2.0])": {"weight": (2,)},
    "BCEWithLogitsLoss(pos_weight=[1.0])": {"pos_weight": (1,)},
    "MSELoss()": {},
    "Dropout()": {},
}  # fmt: skip


@pytest.mark.parametrize("expression", STATES)
def test_states_have_pytorchs_names_shapes_and_dtypes(expression: str) -> None:
    state = made(expression).state_dict()
    assert {name: array.shape for name, array in state.items()} == STATES[expression]
    assert list(state) == list(STATES[expression])
    assert {a.dtype for name, a in state.items() if name != "num_batches_tracked"} <= {np.dtype(np.float32)}
    assert state.get("num_batches_tracked", np.zeros((), np.int64)).dtype == np.int64


def test_reprs_can_be_read_back() -> None:
    for expression in ("MaxPool2d(kernel_size=2, stride=None, padding=1, dilation=1, ceil_mode=False)", "ReLU()",
                       "Conv2d(3, 6, kernel_size=(3, 2), padding=(1, 0), groups=3)",
                       "Conv1d(3, 4, kernel_size=(3,), padding='same', bias=False)", "Embedding(4, 3, padding_idx=3)",
                       "LayerNorm((2, 3), eps=1e-05)", "GroupNorm(2, 4, eps=0.1)", "PReLU(num_parameters=2)",
                       "BatchNorm2d(4, eps=1e-05, momentum=None, track_running_stats=True)", "Softmax(dim=1)",
                       "Linear(in_features=2, out_features=3, bias=False)", "Dropout2d(p=0.25, scale_at='test')",
                       "HuberLoss(reduction='sum', delta=0.5)"):  # fmt: skip
        assert repr(made(expression)) == expression


def test_weights_start_as_pytorchs_do_and_depend_on_their_stream_only() -> None:
    convolution = nn.Conv2d(30, 40, (3, 5), groups=2, rng=Generator(3))
    bound = 1 / math.sqrt(15 * 15)
    for values in (convolution.weight.numpy(), convolution.bias.numpy()):  # type: ignore[union-attr]
        assert 0.9 * bound < np.abs(values).max() < bound
    assert convolution.weight.numpy().var() == pytest.approx(bound**2 / 3, rel=0.05)
    same(nn.Conv2d(30, 40, (3, 5), groups=2, rng=Generator(3)).weight, convolution.weight)
    embedding = nn.Embedding(100, 50, padding_idx=-1, rng=1)
    assert embedding.weight.numpy()[:-1].std() == pytest.approx(1, abs=0.05)
    assert not embedding.weight.numpy()[99].any()
    assert embedding.padding_idx == 99


def test_the_padding_row_of_an_embedding_stays() -> None:
    embedding = nn.Embedding(4, 2, padding_idx=1)
    (embedding(np.array([[0, 1], [1, 3]])) ** 2).sum().backward()
    assert embedding.weight.grad is not None
    assert [bool(row.any()) for row in embedding.weight.grad.data] == [True, False, False, True]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Conv2d(0, 1, 3), ValueError, "in_channels must be a positive integer, got 0"),
        (lambda: nn.Conv2d(3, 1.5, 3), ValueError, "out_channels must be a positive integer, got 1.5"),  # type: ignore[arg-type]
        (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, "groups must divide 4 and 6 channels, got 4"),
        (lambda: nn.Conv2d(4, 6, 3, groups=0), ValueError, "groups must be a positive integer, got 0"),
        (
            lambda: nn.Conv2d(4, 6, (3, 0)),
            ValueError,
            "Conv2d needs an integer of at least 1, or two of them, as",
        ),
        (lambda: nn.Conv1d(4, 6, (3, 2)), ValueError, r"Conv1d needs an integer of at least 1 as kernel_size, got \(3"),
        (lambda: nn.Conv2d(4, 6, 3, padding="full"), ValueError, "padding is 'same', 'valid' or .* got 'full'"),
        (lambda: nn.Conv2d(4, 6, 3, 2, "same"), ValueError, 'padding="same" needs stride 1, got 2'),
        (lambda: nn.Conv2d(4, 6, 3, padding=-1), ValueError, "at least 0, or two of them, as padding, got -1"),
        (
            lambda: nn.Conv2d(4, 6, 3)(np.ones((1, 3, 5, 5), np.float32)),
            ValueError,
            "conv2d needs x with as many",
        ),
        (lambda: nn.Embedding(4, 2, 4), ValueError, r"padding_idx in \[-4, 4\), got 4"),
        (lambda: nn.Embedding(4, 2, 1.0), ValueError, "got 1.0"),  # type: ignore[arg-type]
        (lambda: nn.Embedding(4, 0), ValueError, "embedding_dim must be a positive integer, got 0"),
        (lambda: nn.Embedding(4, 2)(np.array([4])), IndexError, r"\[0, 4\), got 4"),
        (lambda: nn.PReLU(0), ValueError, "num_parameters must be a positive integer, got 0"),
        (lambda: nn.Softmax(), TypeError, "dim"),  # type: ignore[call-arg]
        (lambda: nn.Softplus(0), ValueError, "Softplus needs a beta above 0, got 0"),
        (lambda: nn.Flatten(1, 3)(np.ones((2, 3))), ValueError, r"Flatten from axis 1 to 3 does not fit \(2, 3\)"),
        (lambda: nn.Flatten(2, 1)(np.ones((2, 3, 4))), ValueError, "from axis 2 to 1 does not fit"),
        (lambda: nn.MaxPool2d(2)(np.ones((2, 3))), ValueError, r"max_pool2d needs x \(N, C, H, W\), got \(2, 3\)"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


NO_FLAGS: list[Any] = ["x", "", None, np.nan, 1, 0, np.float32(1), [True], np.ones(2)]
NO_NUMBERS: list[Any] = ["1e-5", np.nan, True, 1j, np.complex64(1), [0.1], np.ones(2), 10**400]


@pytest.mark.parametrize(
    ("make", "name", "values"),
    [(lambda **k: nn.Linear(2, 3, **k), "bias", NO_FLAGS)]
    + [(lambda **k: nn.Conv2d(2, 3, 1, **k), "bias", NO_FLAGS)]
    + [(lambda **k: nn.BatchNorm1d(2, **k), n, NO_FLAGS) for n in ("affine", "track_running_stats", "bias")]
    + [(lambda **k: nn.LayerNorm(2, **k), n, NO_FLAGS) for n in ("elementwise_affine", "bias")]
    + [(lambda **k: nn.RMSNorm(2, **k), "elementwise_affine", NO_FLAGS)]
    + [(lambda **k: nn.GroupNorm(1, 2, **k), n, NO_FLAGS) for n in ("affine", "bias")]
    + [(lambda **k: nn.MaxPool2d(2, **k), "ceil_mode", NO_FLAGS)]
    + [(lambda **k: nn.AvgPool2d(2, **k), n, NO_FLAGS) for n in ("ceil_mode", "count_include_pad")]
    + [(nn.KLDivLoss, "log_target", NO_FLAGS)]
    + [
        (lambda k=kind, **o: k(2, **o), "eps", [*NO_NUMBERS, -1, np.inf, None])
        for kind in (nn.BatchNorm1d, nn.LayerNorm)
    ]
    + [(lambda **k: nn.RMSNorm(2, **k), "eps", [*NO_NUMBERS, np.float32(np.inf)])]
    + [(lambda **k: nn.BatchNorm1d(2, **k), "momentum", [*NO_NUMBERS, -0.1, 1.1])]
    + [(nn.PReLU, "init", [*NO_NUMBERS, None]), (nn.LeakyReLU, "negative_slope", [*NO_NUMBERS, None])]
    + [(nn.ELU, "alpha", NO_NUMBERS), (nn.Hardtanh, "max_val", NO_NUMBERS), (nn.Softplus, "beta", NO_NUMBERS)]
    + [(nn.HuberLoss, "delta", NO_NUMBERS), (nn.MarginRankingLoss, "margin", NO_NUMBERS)]
    + [(nn.Dropout, "scale_at", ["both", None, np.array(["train", "test"])])]
    + [(nn.MSELoss, "reduction", ["all", None, np.array(["mean", "sum"])])]
    + [(nn.Dropout, "p", [*NO_NUMBERS, None, 1.5])],
)
def test_settings_that_cannot_be_are_refused_when_a_layer_is_made(make: Any, name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"\b{name}\b.*, got "):
            make(**{name: value})


def test_numbers_of_numpy_will_do() -> None:
    assert nn.Embedding(4, 2, np.int64(-1)).padding_idx == 3
    assert nn.LayerNorm(2, np.float32(0.5))(np.array([1.0, 3.0], np.float32)).shape == (2,)
    assert nn.Hardtanh(max_val=np.inf)(np.float32(7)).item() == 7


# A whole network


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_gradients_of_a_whole_network(activation: Callable[[], nn.Module]) -> None:
    dropout = nn.Dropout(0.3, rng=0)
    model: Any = nn.Sequential(nn.Linear(4, 5, rng=1), activation(), dropout, nn.Linear(5, 3, rng=2))
    labels = np.array([2, 0, 1])

    def loss(x: Any, *parameters: Any) -> Any:
        model[0].weight, model[0].bias, model[3].weight, model[3].bias = parameters
        dropout.rng.set_state(Generator(9).state())  # the same mask each time
        return nn.CrossEntropyLoss()(model(x), labels)

    check_grads(loss, normal(3, 4), *[p.numpy() for p in model.parameters()], order=1)
