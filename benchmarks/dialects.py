"""Whose trajectory is it?  Every optimizer in the dialect of PyTorch and of optax beside the peer itself.

    python benchmarks/dialects.py

Each pair takes 200 steps in float64 down a regularised logistic loss from the same weights with the same gradients'
formula.  The table gives the largest difference of any weight in any step, relative to the largest weight; the command
fails above 1e-10.  Where eps is tiny and the memory short, steps do not die out and rounding grows in any code: such
pairs have a larger eps here.  A peer that is not installed is named and left out.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import optim

try:
    import torch
except ImportError:
    torch = None
try:
    import jax
    import optax
except ImportError:
    optax = None

Array = np.ndarray[Any, Any]
STEPS, LR, BOUND = 200, 0.02, 1e-10

_rng = np.random.default_rng(0)
X, Y = _rng.normal(size=(40, 4)), np.eye(3)[_rng.integers(0, 3, 40)]
START = _rng.normal(size=(3, 4))


def gradient(w: Array) -> Array:
    """Of the logistic loss of three classes, and of |w|^2 / 20."""
    p = np.exp(X @ w.T)
    return (p / p.sum(1, keepdims=True) - Y).T @ X / 40 + 0.1 * w


def ours(kind: Any, options: dict[str, Any]) -> list[Array]:
    path = []
    w = mg.Tensor(START.copy(), requires_grad=True)
    optimizer = kind([w], lr=LR, **options)
    for _ in range(STEPS):
        w.grad = mg.Tensor(gradient(w.data))
        optimizer.step()
        path.append(w.data.copy())
    return path


def pytorch(name: str, options: dict[str, Any]) -> list[Array]:
    path, before = [], torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # that of the one number in the state of its NAdam
    try:
        w = torch.tensor(START.copy(), requires_grad=True)
        optimizer = getattr(torch.optim, name)([w], lr=LR, **options)
        for _ in range(STEPS):
            w.grad = torch.from_numpy(gradient(w.detach().numpy()))
            optimizer.step()
            path.append(w.detach().numpy().copy())
    finally:
        torch.set_default_dtype(before)
    return path


def google(make: Callable[[], Any]) -> list[Array]:
    path, before = [], jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        w, transformation = jax.numpy.asarray(START), make()
        state = transformation.init(w)
        for _ in range(STEPS):
            moves, state = transformation.update(jax.numpy.asarray(gradient(np.asarray(w))), state, w)
            w = optax.apply_updates(w, moves)
            path.append(np.asarray(w))
    finally:
        jax.config.update("jax_enable_x64", before)
    return path


def decayed(decay: float, rest: Any) -> Any:
    return optax.chain(optax.add_decayed_weights(decay), rest)


B = {"betas": (0.8, 0.95)}
TORCH: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "eps": 1e-2, "momentum": 0.5}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "eps": 1e-3, **B}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.3}),
    ("NAdam", {"eps": 1e-3}),
    ("NAdam", {"momentum_decay": 1.0, "weight_decay": 0.1, "eps": 1e-2, **B}),
    ("RAdam", {"eps": 1e-3}),
    ("RAdam", {"weight_decay": 0.1, "eps": 1e-2, **B}),
]
OPTAX: list[tuple[str, dict[str, Any], Callable[[], Any]]] = [
    ("SGD", {}, lambda: optax.sgd(LR)),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}, lambda: decayed(0.1, optax.sgd(LR, momentum=0.9))),
    ("SGD", {"momentum": 0.9, "nesterov": True}, lambda: optax.sgd(LR, momentum=0.9, nesterov=True)),
    ("Adagrad", {}, lambda: optax.adagrad(LR)),
    ("Adagrad", {"eps": 0.1, "initial_accumulator_value": 0.5},
     lambda: optax.adagrad(LR, initial_accumulator_value=0.5, eps=0.1)),
    ("RMSprop", {"eps": 1e-3}, lambda: optax.rmsprop(LR, eps=1e-3)),
    ("RMSprop", {"eps": 1e-3, "momentum": 0.8}, lambda: optax.rmsprop(LR, eps=1e-3, momentum=0.8)),
    ("RMSprop", {"eps": 1e-3, "centered": True}, lambda: optax.rmsprop(LR, eps=1e-3, centered=True)),
    ("RMSprop", {"eps": 1e-3, "centered": True, "momentum": 0.5},
     lambda: optax.rmsprop(LR, eps=1e-3, centered=True, momentum=0.5)),
    ("Adam", {}, lambda: optax.adam(LR)),
    ("Adam", {"amsgrad": True, "eps": 1e-3, **B}, lambda: optax.amsgrad(LR, b1=0.8, b2=0.95, eps=1e-3)),
    ("AdamW", {}, lambda: optax.adamw(LR)),
    ("AdamW", {"weight_decay": 0.3}, lambda: optax.adamw(LR, weight_decay=0.3)),
    ("NAdam", {}, lambda: optax.nadam(LR)),
    ("NAdam", {"decoupled_weight_decay": 0.1, "eps": 1e-3, **B},
     lambda: optax.nadamw(LR, b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.1)),
    ("RAdam", {"eps": 1e-3}, lambda: optax.radam(LR, eps=1e-3)),
    ("RAdam", {"eps": 1e-2, **B}, lambda: optax.radam(LR, b1=0.8, b2=0.95, eps=1e-2)),
    ("Lion", {}, lambda: optax.lion(LR)),
    ("Lion", {"weight_decay": 0.1, "betas": (0.8, 0.9)}, lambda: optax.lion(LR, b1=0.8, b2=0.9, weight_decay=0.1)),
]  # fmt: skip


def comparisons() -> Iterator[tuple[str, str, dict[str, Any], list[Array]]]:
    """Peer, optimizer, options, the peer's weights after each step."""
    if torch is not None:
        for name, options in TORCH:
            yield "torch", name, options, pytorch(name, options)
    if optax is not None:
        for name, options, make in OPTAX:
            yield "optax", name, options, google(make)


def difference(name: str, options: dict[str, Any], theirs: list[Array]) -> float:
    """The largest of any weight in any step, relative to the largest weight."""
    mine, other = np.array(ours(getattr(optim, name), options)), np.array(theirs)
    return float(np.abs(mine - other).max() / np.abs(other).max())


def main() -> int:
    for peer, module in (("torch", torch), ("optax", optax)):
        print(f"{peer:6} {module.__version__ if module is not None else 'is not installed, and left out'}")
    wrong = 0
    for peer, name, options, path in comparisons():
        found = difference(name, {**options, "dialect": peer}, path)
        wrong += not found <= BOUND
        written = ", ".join(f"{key}={value}" for key, value in options.items())
        print(f"{found:8.1e} {'' if found <= BOUND else 'WRONG':5} {peer:6} {name}({written})", flush=True)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
