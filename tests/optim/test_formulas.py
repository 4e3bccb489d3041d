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
        dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Sutskever, Martens, Dahl and Hinton 2013, in PyTorch's form."""
    buffer: Any = None
    for g, lr in zip(gradients, rates, strict=True):
        d = decayed(g, w, **decays)
        if momentum:
            buffer = d if buffer is None else momentum * buffer + (1 - dampening) * d
            d = d + momentum * buffer if nesterov else buffer
        w = moved(w, lr * d, lr, **decays)
        yield w


def adagrad(w: Array, gradients: Any, rates: Any, lr_decay: float = 0, initial_accumulator_value: float | None = None,
            eps: float | None = None, dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Duchi, Hazan and Singer 2011; the decay of the rate is PyTorch's."""
    optax = dialect == "optax"
    start = initial_accumulator_value if initial_accumulator_value is not None else 0.1 if optax else 0
    eps = eps if eps is not None else 1e-7 if optax else 1e-10
    total = np.full_like(w, start)
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True)):
        d = decayed(g, w, **decays)
        total = total + d**2
        root = np.sqrt(total + eps) if optax else np.sqrt(total) + eps
        w = moved(w, lr / (1 + t * lr_decay) * d / root, lr, **decays)
        yield w


def rmsprop(w: Array, gradients: Any, rates: Any, alpha: float | None = None, eps: float = 1e-8, momentum: float = 0,
            centered: bool = False, dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Tieleman and Hinton 2012; Graves 2013 where centered."""
    optax = dialect == "optax"
    alpha = alpha if alpha is not None else 0.9 if optax else 0.99
    square = mean = buffer = np.zeros_like(w)
    for g, lr in zip(gradients, rates, strict=True):
        d = decayed(g, w, **decays)
        square, mean = alpha * square + (1 - alpha) * d**2, alpha * mean + (1 - alpha) * d
        variance = np.maximum(square - mean**2, 0) if centered else square
        if optax:
            buffer = momentum * buffer + lr * d / np.sqrt(variance + eps)
            w = moved(w, buffer, lr, **decays)
        else:
            buffer = momentum * buffer + d / (np.sqrt(variance) + eps)
            w = moved(w, lr * buffer, lr, **decays)
        yield w


def adam(w: Array, gradients: Any, rates: Any, betas: Any = (0.9, 0.999), eps: float = 1e-8, amsgrad: bool = False,
         dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2 with the rate in the decay.

    Reddi, Kale and Kumar 2018, algorithm 2, for amsgrad, with a correction of the bias after or before the maximum.
    """
    beta1, beta2 = betas
    m = v = top = np.zeros_like(w)
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        d = decayed(g, w, **decays)
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        unbiased = v / (1 - beta2**t)
        if amsgrad:
            top = np.maximum(top, unbiased if dialect == "optax" else v)
            unbiased = top if dialect == "optax" else top / (1 - beta2**t)
        w = moved(w, lr * (m / (1 - beta1**t)) / (np.sqrt(unbiased) + eps), lr, **decays)
        yield w


def adamw(w: Array, gradients: Any, rates: Any, weight_decay: float | None = None, **options: Any) -> Iterator[Array]:
    default = 1e-4 if options.get("dialect") == "optax" else 1e-2
    decay = default if weight_decay is None else weight_decay
    return adam(w, gradients, rates, decoupled_weight_decay=decay, **options)


def nadam(w: Array, gradients: Any, rates: Any, betas: Any = (0.9, 0.999), eps: float = 1e-8,
          momentum_decay: float = 4e-3, dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Dozat 2016, algorithm 8 with the schedule of his section 3.2; without the schedule for optax."""
    beta1, beta2 = betas
    m = v = np.zeros_like(w)
    product = 1.0

    def mu(t: int) -> float:
        return float(beta1) if dialect == "optax" else float(beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)))

    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        d = decayed(g, w, **decays)
        product *= mu(t)
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        ahead = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * d / (1 - product)
        w = moved(w, lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps), lr, **decays)
        yield w


def radam(w: Array, gradients: Any, rates: Any, betas: Any = (0.9, 0.999), eps: float = 1e-8,
          dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Liu et al. 2020, algorithm 2, with the bound 5 of both libraries."""
    beta1, beta2 = betas
    m = v = np.zeros_like(w)
    longest = 2 / (1 - beta2) - 1
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        d = decayed(g, w, **decays)
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d**2
        y = m / (1 - beta1**t)
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        if length > 5:
            r = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            correction = np.sqrt(1 - beta2**t)
            root = np.sqrt(v) / correction + eps if dialect == "optax" else (np.sqrt(v) + eps) / correction
            y = r * y / root
        w = moved(w, lr * y, lr, **decays)
        yield w


def lion(w: Array, gradients: Any, rates: Any, betas: Any = (0.9, 0.99), weight_decay: float | None = None,
         dialect: str = "torch", **decays: Any) -> Iterator[Array]:  # fmt: skip
    """Chen et al. 2023, algorithm 2."""
    beta1, beta2 = betas
    decay = weight_decay if weight_decay is not None else 1e-3 if dialect == "optax" else 0
    m = np.zeros_like(w)
    for g, lr in zip(gradients, rates, strict=True):
        d = decayed(g, w, **decays)
        c = beta1 * m + (1 - beta1) * d
        m = beta2 * m + (1 - beta2) * d
        w = moved(w, lr * np.sign(c), lr, decoupled_weight_decay=decay, **decays)
        yield w


def decayed(g: Array, w: Array, weight_decay: float = 0, l1: float = 0, l1_form: str = "subgradient",
            **others: Any) -> Array:  # fmt: skip
    return g + weight_decay * w + (l1 * np.sign(w) if l1_form == "subgradient" else 0)


def moved(w: Array, step: Array, lr: float, decoupled_weight_decay: float = 0, l1: float = 0,
          l1_form: str = "subgradient", max_norm: float | None = None, **others: Any) -> Array:  # fmt: skip
    w = w - lr * decoupled_weight_decay * w - step
    w = np.sign(w) * np.maximum(np.abs(w) - lr * l1, 0) if l1_form == "proximal" else w
    if max_norm is not None and w.ndim > 1:
        lengths = np.sqrt((w**2).sum(axis=tuple(range(1, w.ndim)), keepdims=True))
        w = w * np.minimum(1, max_norm / np.maximum(lengths, 1e-300))
    return w


OPTAX = {"dialect": "optax"}
PROXIMAL = {"l1": 0.05, "l1_form": "proximal"}
CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"weight_decay": 0.1, "max_norm": 0.8}),
    (optim.SGD, sgd, {"momentum": 0.9, **OPTAX}),
    (optim.SGD, sgd, {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    (optim.SGD, sgd, {"l1": 0.2}),
    (optim.SGD, sgd, {"momentum": 0.9, "decoupled_weight_decay": 0.4, "max_norm": 0.5, **PROXIMAL}),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adagrad, adagrad, PROXIMAL),
    (optim.Adagrad, adagrad, OPTAX),
    (optim.Adagrad, adagrad, {"eps": 0.1, "initial_accumulator_value": 0.0, "max_norm": 0.5, **OPTAX}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-3, "momentum": 0.8, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-3, "centered": True}),
    (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-2, "centered": True, "momentum": 0.5, "l1": 0.1}),
    (optim.RMSprop, rmsprop, {"eps": 1e-3, "decoupled_weight_decay": 0.1, **OPTAX}),
    (optim.RMSprop, rmsprop, {"eps": 1e-3, "momentum": 0.8, **OPTAX}),
    (optim.RMSprop, rmsprop, {"eps": 1e-3, "centered": True, **OPTAX}),
    (optim.RMSprop, rmsprop, {"eps": 1e-2, "centered": True, "momentum": 0.5, **OPTAX, **PROXIMAL}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"weight_decay": 0.1, "decoupled_weight_decay": 0.2, "l1": 0.3}),
    (optim.Adam, adam, {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, **OPTAX}),
    (optim.Adam, adam, {"betas": (0.0, 0.5)}),
    (optim.Adam, adam, {"betas": (0.9, 0.9), "amsgrad": True, "eps": 1e-3}),
    (optim.Adam, adam, {"betas": (0.9, 0.9), "amsgrad": True, "eps": 1e-3, "max_norm": 0.5, **OPTAX}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"betas": (0.7, 0.9), "weight_decay": 0.3, "amsgrad": True}),
    (optim.AdamW, adamw, {**OPTAX, **PROXIMAL}),
    (optim.NAdam, nadam, {}),
    (optim.NAdam, nadam, {"betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.0, "decoupled_weight_decay": 0.1}),
    (
        optim.NAdam,
        nadam,
        {"betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 1.0, "weight_decay": 0.1, "max_norm": 0.5},
    ),
    (optim.NAdam, nadam, {"l1": 0.1, **OPTAX}),
    (optim.RAdam, radam, {"eps": 1e-2}),
    (optim.RAdam, radam, {"betas": (0.8, 0.95), "eps": 1e-2, "decoupled_weight_decay": 0.1, "max_norm": 0.5}),
    (optim.RAdam, radam, {"betas": (0.8, 0.5), "weight_decay": 0.1}),
    (optim.RAdam, radam, {"betas": (0.8, 0.95), "eps": 1e-2, **OPTAX, **PROXIMAL}),
    (optim.Lion, lion, {}),
    (optim.Lion, lion, {"betas": (0.7, 0.9), "weight_decay": 0.3, "max_norm": 0.5}),
    (optim.Lion, lion, {**OPTAX, **PROXIMAL}),
]
IDS = [f"{kind.__name__} {', '.join(f'{k}={v}' for k, v in options.items())}".strip() for kind, _, options in CASES]
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


_rng = np.random.default_rng(1)
_turn, _ = np.linalg.qr(_rng.normal(size=(12, 12)))
HESSIAN = _turn @ np.diag(np.geomspace(0.1, 3, 12)) @ _turn.T
X, Y = _rng.normal(size=(40, 4)), np.eye(3)[_rng.integers(0, 3, 40)]


def quadratic(w: Array) -> Array:
    """The gradient of a strongly convex quadratic function of twelve numbers."""
    return (HESSIAN @ (w.ravel() - np.linspace(-1, 1, 12))).reshape(w.shape)


def logistic(w: Array) -> Array:
    """The gradient of the logistic loss of three classes on 40 samples of four numbers, and of |w|^2 / 20."""
    p = np.exp(X @ w.T)
    return (p / p.sum(1, keepdims=True) - Y).T @ X / 40 + 0.1 * w


@every_case
@pytest.mark.parametrize("gradient", [quadratic, logistic])
def test_200_steps_down_a_convex_function(gradient: Any, kind: Any, formula: Any, options: dict[str, Any]) -> None:
    """In float64, to 1e-12.  With a small eps and short memory steps do not die out, and rounding grows in any code."""
    steps = 200
    schedule = cosine(0.02, steps, eta_min=0.001)
    rates = [schedule(step) for step in range(steps)]
    start = np.random.default_rng(0).normal(size=(3, 4))
    at = [start]
    expected = formula(start, (gradient(at[-1]) for _ in rates), rates, **options)
    w = nn.Parameter(start.copy())
    optimizer = kind([w], lr=schedule, **options)
    found = []
    for _ in rates:
        w.grad = mg.Tensor(gradient(w.data))
        optimizer.step()
        at.append(next(expected))
        found.append(w.data.copy())
    np.testing.assert_allclose(found, at[1:], rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize(
    "kind",
    [optim.SGD, optim.Adagrad, optim.RMSprop, optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Lion],
)
def test_only_the_proximal_form_gives_true_zeros(kind: Any) -> None:
    zeros = {}
    for form in ("subgradient", "proximal"):
        w = nn.Parameter(np.linspace(-0.3, 0.3, 101, dtype=np.float32) + np.float32(1e-3))
        optimizer = kind([w], lr=0.01, l1=0.5, l1_form=form)
        for _ in range(30):
            w.grad = mg.tensor(0.01 * w.numpy())
            optimizer.step()
        zeros[form] = np.count_nonzero(w.numpy() == 0)
    assert zeros["subgradient"] < 5 < 15 < zeros["proximal"]
