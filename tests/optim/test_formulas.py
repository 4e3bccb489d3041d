"""Trajectories against the formulas of the papers and of PyTorch's documentation, in plain float64 NumPy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.schedules import cosine

Array = np.ndarray[Any, Any]
STEPS = 30


def sgd(w: Array, gradients: Any, rates: Any, momentum: float = 0, dampening: float = 0, nesterov: bool = False,
        **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Sutskever, Martens, Dahl and Hinton 2013, in PyTorch's form."""
    buffer: Any = None
    for g, lr in zip(gradients, rates, strict=True):
        d = decayed(g, w, **decays)
        if momentum:
            buffer = d if buffer is None else momentum * buffer + (1 - dampening) * d
            d = d + momentum * buffer if nesterov else buffer
        w = moved(w, lr * d, lr, **decays)
        yield w


def adagrad(w: Array, gradients: Any, rates: Any, lr_decay: float = 0, initial_accumulator_value: float = 0,
            eps: float = 1e-10, **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Duchi, Hazan and Singer 2011; the decay of the rate is PyTorch's."""
    total = np.full_like(w, initial_accumulator_value)
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True)):
        d = decayed(g, w, **decays)
        total = total + d**2
        w = moved(w, lr / (1 + t * lr_decay) * d / (np.sqrt(total) + eps), lr, **decays)
        yield w


def rmsprop(w: Array, gradients: Any, rates: Any, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0,
            centered: bool = False, **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Tieleman and Hinton 2012; Graves 2013 where centered."""
    square = mean = buffer = np.zeros_like(w)
    for g, lr in zip(gradients, rates, strict=True):
        d = decayed(g, w, **decays)
        square, mean = alpha * square + (1 - alpha) * d**2, alpha * mean + (1 - alpha) * d
        buffer = momentum * buffer + d / (np.sqrt(square - centered * mean**2) + eps)
        w = moved(w, lr * buffer, lr, **decays)
        yield w


def adam(w: Array, gradients: Any, rates: Any, betas: Any = (0.9, 0.999), eps: float = 1e-8,
         **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2 with the rate in the decay."""
    beta1, beta2 = betas
    m = v = np.zeros_like(w)
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        d = decayed(g, w, **decays)
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        w = moved(w, lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), lr, **decays)
        yield w


def adamw(w: Array, gradients: Any, rates: Any, weight_decay: float = 1e-2, **options: Any) -> Iterator[Array]:
    return adam(w, gradients, rates, decoupled_weight_decay=weight_decay, **options)


def decayed(g: Array, w: Array, weight_decay: float = 0, l1: float = 0, l1_form: str = "subgradient",
            **others: float) -> Array:  # fmt: skip
    return g + weight_decay * w + (l1 * np.sign(w) if l1_form == "subgradient" else 0)


def moved(w: Array, step: Array, lr: float, decoupled_weight_decay: float = 0, l1: float = 0,
          l1_form: str = "subgradient", **others: float) -> Array:  # fmt: skip
    w = w - lr * decoupled_weight_decay * w - step
    return np.sign(w) * np.maximum(np.abs(w) - lr * l1, 0) if l1_form == "proximal" else w


CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"weight_decay": 0.1}),
    (optim.SGD, sgd, {"momentum": 0.9}),
    (optim.SGD, sgd, {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    (optim.SGD, sgd, {"l1": 0.2}),
    (optim.SGD, sgd, {"momentum": 0.9, "decoupled_weight_decay": 0.4, "l1": 0.3, "l1_form": "proximal"}),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adagrad, adagrad, {"l1": 0.5, "l1_form": "proximal"}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-3, "momentum": 0.8, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-3, "centered": True}),
    (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-2, "centered": True, "momentum": 0.5, "l1": 0.1}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"weight_decay": 0.1, "decoupled_weight_decay": 0.2, "l1": 0.3}),
    (optim.Adam, adam, {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, adam, {"betas": (0.0, 0.5)}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"betas": (0.7, 0.9), "weight_decay": 0.3}),
    (optim.AdamW, adamw, {"l1": 0.5, "l1_form": "proximal"}),
]
IDS = [f"{kind.__name__} {', '.join(map(str, options))}".strip() for kind, _, options in CASES]
every_case = pytest.mark.parametrize(("kind", "formula", "options"), CASES, ids=IDS)


def compare(
    kind: Any, formula: Any, options: dict[str, Any], dtype: Any, shapes: list[Any], **tolerance: float
) -> None:
    rng = np.random.default_rng(0)
    schedule = cosine(0.05, STEPS, eta_min=0.001)
    starts = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    gradients = [rng.normal(1, 2, (STEPS, *shape)).astype(dtype) for shape in shapes]
    parameters = [nn.Parameter(np.array(start, order="F")) for start in starts]
    optimizer = kind(parameters, lr=schedule, **options)
    rates = [schedule(step) for step in range(STEPS)]
    expected = [formula(np.float64(w), np.float64(g), rates, **options) for w, g in zip(starts, gradients, strict=True)]
    for step in range(STEPS):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = mg.tensor(gradient[step])
        optimizer.step()
        for parameter, trajectory in zip(parameters, expected, strict=True):
            assert parameter.dtype == dtype
            np.testing.assert_allclose(parameter.numpy(), next(trajectory), **tolerance)


@every_case
def test_trajectory_in_float32(kind: Any, formula: Any, options: dict[str, Any], target: str) -> None:
    compare(kind, formula, options, np.float32, [(), (7,), (3, 5), (2, 3, 4), (17_000,)], rtol=2e-5, atol=1e-5)


@every_case
def test_trajectory_in_float64(kind: Any, formula: Any, options: dict[str, Any]) -> None:
    compare(kind, formula, options, np.float64, [(), (7,), (3, 5), (2, 3, 4), (0,)], rtol=1e-12, atol=1e-13)


def test_weight_decay_of_sgd_is_half_the_squared_norm_in_the_loss() -> None:
    start, x = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -0.7])
    in_loss, in_step = nn.Parameter(start.copy()), nn.Parameter(start.copy())
    first = optim.SGD([in_loss], lr=0.1, momentum=0.9)
    second = optim.SGD([in_step], lr=0.1, momentum=0.9, weight_decay=0.3)
    for _ in range(5):
        for w, optimizer, penalty in ((in_loss, first, 0.15), (in_step, second, 0.0)):
            optimizer.zero_grad()
            ((w * x).sum().square() + penalty * (w * w).sum()).backward()
            optimizer.step()
    np.testing.assert_allclose(in_loss.numpy(), in_step.numpy(), rtol=1e-13)


def test_decoupled_decay_is_blind_to_the_gradient_and_coupled_decay_is_normalised_away() -> None:
    weights = {}
    for kind in (optim.Adam, optim.AdamW):
        w = nn.Parameter(np.array([2.0, 4.0]))
        w.grad = mg.tensor(np.zeros(2))
        kind([w], lr=0.1, weight_decay=0.5).step()
        weights[kind] = w.numpy()
    np.testing.assert_allclose(weights[optim.AdamW], [2 * 0.95, 4 * 0.95], rtol=1e-15)
    np.testing.assert_allclose(weights[optim.Adam], [2 - 0.1, 4 - 0.1], rtol=1e-7)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adagrad, optim.RMSprop, optim.Adam, optim.AdamW])
def test_only_the_proximal_form_gives_true_zeros(kind: Any) -> None:
    zeros = {}
    for form in ("subgradient", "proximal"):
        w = nn.Parameter(np.linspace(-0.3, 0.3, 101, dtype=np.float32) + np.float32(1e-3))
        optimizer = kind([w], lr=0.01, l1=0.5, l1_form=form)
        for _ in range(30):
            w.grad = mg.tensor(0.01 * w.numpy())
            optimizer.step()
        zeros[form] = np.count_nonzero(w.numpy() == 0)
    assert zeros["subgradient"] < 5 < 20 < zeros["proximal"]
