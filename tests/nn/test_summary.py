import copy
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.random import default_generator


def convnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.5),
        nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(8, 3)),
    )  # fmt: skip


def test_layers_shapes_parameters_and_multiply_adds(capsys: pytest.CaptureFixture[str]) -> None:
    found = convnet().summary((5, 2, 6, 4))
    assert [(r.path, r.kind, r.output, r.parameters, r.multiply_adds) for r in found.rows] == [
        ("", "Sequential", (5, 3), 0, 0),
        ("0", "Conv2d", (5, 8, 6, 4), 8 * 9 + 8, 5 * 8 * 6 * 4 * 9),
        ("1", "BatchNorm2d", (5, 8, 6, 4), 16, 0),
        ("2", "ReLU", (5, 8, 6, 4), 0, 0),
        ("3", "MaxPool2d", (5, 8, 3, 2), 0, 0),
        ("4", "Dropout2d", (5, 8, 3, 2), 0, 0),
        ("5", "Sequential", (5, 3), 0, 0),
        ("5.0", "GlobalAvgPool2d", (5, 8), 0, 0),
        ("5.1", "Linear", (5, 3), 27, 5 * 8 * 3),
    ]
    assert (found.parameters, found.trainable, found.buffers) == (123, 123, 17)
    assert found.multiply_adds == 8640 + 120
    assert found.flops == 2 * found.multiply_adds
    assert repr(found) == "<Summary: 123 parameters, 8,760 multiply-adds>"
    assert capsys.readouterr().out == str(found) + "\n"
    assert str(found).splitlines()[:4] == [
        "layer                    output        parameters  multiply-adds",
        "----------------------------------------------------------------",
        "Sequential               (5, 3)",
        "  (0) Conv2d             (5, 8, 6, 4)          80          8,640",
    ]
    last = str(found).splitlines()[-1]
    assert last == "123 parameters, 17 in buffers; 8,760 multiply-adds = 17,520 FLOPs in matrix products"


class Busy(nn.Module):
    """A module that takes several inputs, shares, draws, counts, and leaves a part alone."""

    def __init__(self) -> None:
        self.embed = nn.Embedding(9, 4)
        self.mix = nn.Linear(4, 4)
        self.again = self.mix
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5, rng=default_generator())
        self.unused = nn.ModuleList([nn.Linear(4, 2)])
        self.scale = nn.Parameter(np.ones((4, 4), np.float32))
        self.calls = nn.Buffer(np.zeros((), np.int64))
        self.scale.requires_grad_(False)

    def forward(self, tokens: Any, x: Any) -> Any:
        self.calls.assign_(self.calls + 1)
        y = self.mix(self.again(self.embed(tokens))) @ self.scale
        return self.drop(self.norm(y[:, 0])), {"more": x}


def test_nothing_changes() -> None:
    model = Busy()
    model.norm.eval()
    state, modes = model.state_dict(), [m.training for m in model.modules()]
    streams = [g.state() for _, g in model.named_generators()]
    versions = [t.storage().version for t in (*model.parameters(), *model.buffers())]
    twin = copy.deepcopy(model)
    found = model.summary(np.zeros((3, 5), np.int64), (7,))
    rows = {row.path: row for row in found.rows}
    assert list(rows) == ["", "embed", "mix", "norm", "drop", "unused", "unused.0"]
    assert rows[""].multiply_adds == 15 * 4 * 4
    assert rows["mix"].multiply_adds == 2 * 15 * 4 * 4
    assert (rows[""].parameters, rows["mix"].parameters, rows[""].output) == (16, 20, ((3, 4), None))
    assert rows["unused.0"].output is None
    assert (rows["unused.0"].parameters, found.parameters, found.trainable) == (10, 90, 74)
    assert "not called" in str(found)
    assert "90 parameters (16 fixed), 10 in buffers" in str(found)
    assert [m.training for m in model.modules()] == modes
    assert streams == [g.state() for _, g in model.named_generators()]
    assert versions == [t.storage().version for t in (*model.parameters(), *model.buffers())]
    assert {k: a.tobytes() for k, a in model.state_dict().items()} == {k: a.tobytes() for k, a in state.items()}
    assert repr(twin) == repr(model)
    assert all("forward" not in vars(m) for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_shared_layer_counts_once_and_dtypes_come_from_arrays() -> None:
    shared = nn.Linear(3, 3)
    found = nn.Sequential(shared, nn.Tanh(), shared).summary((2, 3))
    assert (found.parameters, found.multiply_adds) == (12, 2 * 2 * 9)
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = shared.weight  # type: ignore[attr-defined]
    tied[0].weight = shared.weight  # type: ignore[attr-defined]
    assert [row.parameters for row in tied.summary(mg.ones((4, 3))).rows] == [0, 9, 0]
    assert nn.Tanh().summary(4).rows[0].output == (4,)
    assert nn.Tanh().summary(()).rows[0].output == ()


@pytest.mark.parametrize(
    ("shapes", "error", "message"),
    [
        (((2, -1),), ValueError, r"summary\(\) takes shapes, the batch first, or arrays, got \(2, -1\)"),
        (("ab",), ValueError, "got 'ab'"),
        ((2.5,), ValueError, "got 2.5"),
        (((2, 4),), ValueError, r"got \(2, 4\) and \(3, 3\)"),
        ((), TypeError, "missing 1 required positional argument"),
    ],
)
def test_an_input_that_does_not_fit_is_named(shapes: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.Linear(3, 3).summary(*shapes)
    assert nn.Linear(3, 3).summary((1, 3)).parameters == 12  # nothing is left observing
