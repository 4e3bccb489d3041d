"""Every layer and loss beside PyTorch's of the same name: state, outputs, gradients, buffers, and two whole networks.

    python benchmarks/torch_layers.py [--fixture tests/nn/pytorch.safetensors]

Needs PyTorch.  Each line is one expression, evaluated with the names of ``minigrad.nn`` and of ``torch.nn``.
PyTorch's weights come here through a safetensors file, ours go there through another, and the largest deviation
is given in 2^-23 of the largest element (one float32 rounding of it is half of that).  The status is 1 if a state
differs in names, shapes or dtypes, or a number by more than 16.

``--fixture`` writes the two networks with their inputs, outputs and the state after one step of SGD, as PyTorch has
them: the file that the tests read.
"""

import argparse
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import minigrad as mg
from minigrad import optim
from minigrad.training import load_weights, save_weights

MOST = 16
OURS = {**vars(mg.nn), "AdaptiveAvgPool2d": lambda size: mg.nn.GlobalAvgPool2d()}  # which flattens, too
THEIRS = vars(torch.nn)

NETWORKS = {
    "mlp": ("Sequential(Linear(12, 16), ReLU(), Linear(16, 16), Tanh(), Linear(16, 5))", (8, 12)),
    "convnet": (
        "Sequential(Conv2d(1, 6, 3, padding=1), BatchNorm2d(6), ReLU(), MaxPool2d(2), Conv2d(6, 8, 3, stride=2), "
        "BatchNorm2d(8), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(8, 5))",
        (8, 1, 12, 12),
    ),
}
IMAGES, SEQUENCES, ROWS = (4, 6, 9, 8), (4, 6, 11), (5, 6)
LAYERS: list[tuple[str, Any]] = [
    ("Linear(6, 3)", ROWS),
    ("Linear(6, 3, bias=False)", (2, 3, 6)),
    ("Embedding(7, 3)", 7),
    ("Embedding(7, 3, padding_idx=-2)", 7),
    ("Flatten()", IMAGES),
    ("Flatten(0, 2)", IMAGES),
    ("Conv1d(6, 4, 3)", SEQUENCES),
    ("Conv1d(6, 4, 4, stride=2, padding=3, dilation=2, groups=2)", SEQUENCES),
    ("Conv1d(6, 4, 5, padding='same', bias=False)", SEQUENCES),
    ("Conv2d(6, 4, 3)", IMAGES),
    ("Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)", IMAGES),
    ("Conv2d(6, 6, (3, 5), padding='same', groups=6, bias=False)", IMAGES),
    ("MaxPool1d(3)", SEQUENCES),
    ("MaxPool1d(3, 2, 1, 2, ceil_mode=True)", SEQUENCES),
    ("MaxPool2d((3, 2), 2, 1, ceil_mode=True)", IMAGES),
    ("AvgPool1d(4, 3, 2, True, False)", SEQUENCES),
    ("AvgPool2d(3, 2, 1, True, False)", IMAGES),
    ("AvgPool2d(3, 2, 1, divisor_override=5)", IMAGES),
    ("Sequential(AdaptiveAvgPool2d(1), Flatten())", IMAGES),
    ("BatchNorm1d(6)", ROWS),
    ("BatchNorm1d(6, momentum=None)", SEQUENCES),
    ("BatchNorm2d(6, 1e-3, 0.3)", IMAGES),
    ("BatchNorm2d(6, affine=False, track_running_stats=False)", IMAGES),
    ("BatchNorm2d(6, bias=False)", IMAGES),
    ("LayerNorm(8)", IMAGES),
    ("LayerNorm((9, 8), bias=False)", IMAGES),
    ("LayerNorm(8, elementwise_affine=False)", IMAGES),
    ("RMSNorm((9, 8))", IMAGES),
    ("RMSNorm(8, 1e-3, elementwise_affine=False)", IMAGES),
    ("GroupNorm(3, 6)", IMAGES),
    ("GroupNorm(2, 6, 1e-3, affine=False)", SEQUENCES),
    *[(name + "()", ROWS) for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Tanh", "Sigmoid")],
    *[(name + "()", ROWS) for name in ("LogSigmoid", "Softsign", "Softplus", "GELU", "ELU", "LeakyReLU", "Hardtanh")],
    ("Softplus(2.5)", ROWS),
    ("GELU('tanh')", ROWS),
    ("ELU(0.3)", ROWS),
    ("LeakyReLU(0.3)", ROWS),
    ("Hardtanh(-0.5, 0.25)", ROWS),
    ("Softmax(dim=1)", IMAGES),
    ("LogSoftmax(dim=-1)", ROWS),
    ("GLU(1)", IMAGES),
    ("PReLU()", ROWS),
    ("PReLU(6, 0.1)", IMAGES),
    ("Dropout(0)", ROWS),
    ("Dropout(1.0)", ROWS),
    ("Dropout2d(1.0)", IMAGES),
    ("Identity(6, why=1)", ROWS),
    ("Sequential(OrderedDict(body=Linear(6, 4), head=Sequential(ReLU(), Linear(4, 2))))", ROWS),
]
REDUCTIONS = ["reduction='mean'", "reduction='sum'", "reduction='none'"]
WEIGHT = "weight=tensor([0.5, 2.0, 1.0, 0.25, 3.0, 1.5])"
LOSSES: list[tuple[str, str]] = [
    *[(f"{name}({r})", "like") for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss") for r in REDUCTIONS],
    ("SmoothL1Loss(beta=0.3)", "like"),
    ("HuberLoss(delta=0.3)", "like"),
    *[(f"BCELoss({r})", "probabilities") for r in REDUCTIONS],
    (f"BCELoss({WEIGHT})", "probabilities"),
    *[(f"BCEWithLogitsLoss({r})", "share") for r in REDUCTIONS],
    (f"BCEWithLogitsLoss(pos_{WEIGHT})", "share"),
    *[(f"KLDivLoss({r})", "share") for r in [*REDUCTIONS, "reduction='batchmean'", "log_target=True"]],
    *[(f"{name}({r})", "signs") for name in ("SoftMarginLoss", "HingeEmbeddingLoss") for r in REDUCTIONS],
    ("HingeEmbeddingLoss(0.4)", "signs"),
    *[(f"MarginRankingLoss({r})", "pair") for r in ["", "0.4", *REDUCTIONS]],
    *[(f"{n}({r})", "labels") for n in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss") for r in REDUCTIONS],
    *[(f"{n}({WEIGHT})", "labels") for n in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")],
    (f"CrossEntropyLoss({WEIGHT}, label_smoothing=0.2, ignore_index=1)", "labels"),
    (f"CrossEntropyLoss({WEIGHT}, label_smoothing=0.2)", "share"),
    ("MultiMarginLoss(2, 0.5)", "labels"),
]


class Difference:
    """The largest deviation so far, in 2^-23 of the largest element, and what differs otherwise."""

    def __init__(self) -> None:
        self.most, self.text = 0.0, ""

    def take(self, what: str, ours: Any, theirs: Any, scale: float = 0.0) -> None:
        if ours is None or theirs is None:
            if ours is not theirs:
                self.text += f" {what}: one is missing;"
            return
        a, b = (x.detach().numpy() for x in (ours, theirs))
        if a.shape != b.shape or a.dtype != b.dtype:
            self.text += f" {what}: {a.dtype} {a.shape}, there {b.dtype} {b.shape};"
        elif a.size:
            scale = scale or np.abs(b).max() or 1.0
            self.most = max(self.most, float(np.abs(a.astype(np.float64) - b).max() / scale * 2**23))

    def gradients(self, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
        """Beside the largest of all, as sums that cancel have few digits."""
        largest = max(float(t.grad.abs().max()) for t in theirs if t.grad is not None)
        for a, b in zip(ours, theirs, strict=True):
            self.take("gradient", a.grad, b.grad, largest)

    def state(self, ours: Any, theirs: Any) -> None:
        a, b = ours.state_dict(), theirs.state_dict()
        if list(a) != list(b):
            self.text += f" names {list(a)}, there {list(b)};"
        for name in a.keys() & b.keys():
            self.take(name, mg.Tensor(a[name]), b[name])


def both(expression: str) -> tuple[Any, Any]:
    ours = eval(expression, {**OURS, "tensor": mg.tensor, "OrderedDict": OrderedDict})
    return ours, eval(expression, {**THEIRS, "tensor": torch.tensor, "OrderedDict": OrderedDict})


def exchange(ours: Any, theirs: Any, found: Difference) -> None:
    """PyTorch's weights here, and ours there."""
    with tempfile.TemporaryDirectory() as folder:
        there, here = Path(folder) / "theirs", Path(folder) / "ours"
        save_weights(here, ours)
        theirs.load_state_dict(load_file(here))
        found.state(ours, theirs)
        for p in theirs.parameters():
            torch.nn.init.normal_(p, 0.1, 0.5)
        save_file(theirs.state_dict(), there)
        load_weights(there, ours)
        found.state(ours, theirs)


def inputs(shape: Any) -> tuple[Any, Any]:
    if isinstance(shape, int):
        labels = np.random.default_rng(0).integers(0, shape, (4, 5))
        return mg.tensor(labels), torch.from_numpy(labels)
    x = np.random.default_rng(0).standard_normal(shape, np.float32) * 2
    return mg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()


def layer(expression: str, shape: Any) -> Difference:
    found = Difference()
    ours, theirs = both(expression)
    exchange(ours, theirs, found)
    for _ in range(2):
        x, t = inputs(shape)
        y, u = ours(x), theirs(t)
        found.take("output", y, u)
        g = np.random.default_rng(1).standard_normal(u.shape, np.float32)
        if u.requires_grad:
            y.backward(mg.tensor(g))
            u.backward(torch.from_numpy(g))
            found.gradients([x, *ours.parameters()], [t, *theirs.parameters()])
        found.state(ours, theirs)
    found.take("evaluation", ours.eval()(x), theirs.eval()(t))
    return found


def loss(expression: str, target: str) -> Difference:
    found = Difference()
    ours, theirs = both(expression)
    found.state(ours, theirs)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 6), np.float32)
    if target == "probabilities":
        x = rng.uniform(0.05, 0.95, (5, 6)).astype(np.float32)
    share = rng.dirichlet(np.ones(6), 5).astype(np.float32)
    signs = rng.choice([-1.0, 1.0], (5, 6)).astype(np.float32)
    labels = np.array([0, 5, 1, 1, 3])
    more = {
        "like": [rng.standard_normal((5, 6), np.float32)],
        "probabilities": [share],
        "share": [np.log(share) if "log_target" in expression else share],
        "signs": [signs],
        "pair": [rng.standard_normal((5, 6), np.float32), signs],
        "labels": [labels],
    }[target]
    a, b = mg.tensor(x, requires_grad=True), torch.from_numpy(x).requires_grad_()
    y, u = ours(a, *more), theirs(b, *map(torch.from_numpy, more))
    found.take("loss", y, u)
    y.sum().backward()
    u.sum().backward()
    found.gradients([a], [b])
    return found


def network(name: str, fixture: dict[str, Any]) -> Difference:
    """One step of SGD from weights of PyTorch's."""
    found = Difference()
    expression, shape = NETWORKS[name]
    ours, theirs = both(expression)
    exchange(ours, theirs, found)
    x = np.random.default_rng(2).standard_normal(shape, np.float32)
    labels = np.random.default_rng(3).integers(0, 5, len(x))
    a, b = mg.tensor(x), torch.from_numpy(x)
    keep(fixture, name, {"x": b, "labels": torch.from_numpy(labels)})
    keep(fixture, name + ".before", theirs.state_dict())
    sgd, rival = optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    y, u = ours(a), theirs(b)
    value, rival_value = mg.nn.CrossEntropyLoss()(y, labels), torch.nn.CrossEntropyLoss()(u, torch.from_numpy(labels))
    value.backward()
    rival_value.backward()
    sgd.step()
    rival.step()
    found.take("output", y, u)
    found.take("loss", value, rival_value)
    found.gradients(list(ours.parameters()), list(theirs.parameters()))
    found.state(ours, theirs)
    keep(fixture, name, {"output": u, "loss": rival_value})
    keep(fixture, name + ".after", theirs.state_dict())
    with torch.no_grad():
        u = theirs.eval()(b)
    found.take("evaluation", ours.eval()(a), u)
    keep(fixture, name, {"evaluation": u})
    return found


def keep(fixture: dict[str, Any], prefix: str, tensors: dict[str, Any]) -> None:
    fixture.update({f"{prefix}.{key}": tensor.detach().clone() for key, tensor in tensors.items()})


def compared(fixture: dict[str, Any]) -> Iterator[tuple[str, Difference]]:
    for expression, shape in LAYERS:
        yield expression, layer(expression, shape)
    for expression, target in LOSSES:
        yield expression, loss(expression, target)
    for name in NETWORKS:
        yield f"{name}: weights there and back, a step of SGD", network(name, fixture)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixture", type=Path, help="write the two networks to this file")
    path = parser.parse_args().fixture
    torch.manual_seed(0)
    fixture: dict[str, Any] = {}
    bad = 0
    print(f"minigrad {mg.__version__} ({mg.kernels.active()}) beside PyTorch {torch.__version__}; 2^-23 of the largest")
    for name, found in compared(fixture):
        bad += wrong if (wrong := found.most > MOST or bool(found.text)) else 0
        print(f"{found.most:8.2f}  {'BAD ' if wrong else ''}{name}{found.text}")
    print(f"{bad} differ")
    if path:
        save_file(fixture, path, {name: expression for name, (expression, _) in NETWORKS.items()})
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
