"""PyTorch's and JAX's ways of doing what a kernel or a training step does, where they are installed and have one."""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from harness import installed

from minigrad.kernels import Kernel

Side = Callable[[], object]

torch: Any = importlib.import_module("torch") if installed("torch") else None
jax: Any = importlib.import_module("jax") if installed("jax") else None

if jax:
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # every call is waited for: no thread between

INSTALLED = [name for name, module in (("torch", torch), ("JAX", jax)) if module]

TORCH_NAMES = {
    "negative": "neg",
    "absolute": "abs",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "power": "pow",
    "max": "amax",
    "min": "amin",
    "matmul": "mm",
}
SAME_IN_TORCH = {
    "sign",
    "square",
    "sqrt",
    "reciprocal",
    "exp",
    "log",
    "tanh",
    "sigmoid",
    "expm1",
    "log1p",
    "sin",
    "cos",
}
SAME_IN_TORCH |= {"erf", "add", "maximum", "minimum", "where", "sum", "mean"}
SAME_IN_JAX = {"copy", "negative", "absolute", "sign", "square", "sqrt", "reciprocal", "exp", "log", "tanh", "expm1"}
SAME_IN_JAX |= {"log1p", "sin", "cos", "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"}
SAME_IN_JAX |= {"sum", "mean", "max", "min", "matmul"}


def hold_threads(count: int) -> None:
    """Hold PyTorch to so many threads; JAX asks the environment, see ``harness.hold_threads``."""
    if torch:
        torch.set_num_threads(count)


def single_thread() -> None:
    hold_threads(1)


# Kernels ------------------------------------------------------------------------


def calls(row: Kernel, arrays: Sequence[Any]) -> dict[str, Side]:
    """The peers that have this kernel, ready to be called."""
    found = {}
    for name, module, way in (("torch", torch, _torch_call), ("JAX", jax, _jax_call)):
        if module and (call := way(row, arrays)):
            found[name] = call
    return found


def _reduced_axes(arrays: Sequence[Any]) -> tuple[int, ...]:
    return tuple(axis for axis, n in enumerate(arrays[0].shape) if n == 1)


def _torch_call(row: Kernel, arrays: Sequence[Any]) -> Side | None:
    """Into the same kind of destination, where PyTorch has a way."""
    out, *inputs = [torch.from_numpy(np.array(a, order="K")) for a in arrays]
    aten, functional = torch.ops.aten, torch.nn.functional
    if row.family == "REDUCE":
        function = getattr(torch, TORCH_NAMES.get(row.name, row.name))
        return partial(function, inputs[0], _reduced_axes(arrays), keepdim=True, out=out)
    if row.name in SAME_IN_TORCH or row.name in TORCH_NAMES:
        return partial(getattr(torch, TORCH_NAMES.get(row.name, row.name)), *inputs, out=out)
    ways: dict[str, Side] = {
        "copy": lambda: out.copy_(inputs[0]),
        "relu": lambda: aten.relu.out(*inputs, out=out),
        "gelu": lambda: aten.gelu.out(*inputs, out=out),
        "relu_grad": lambda: aten.threshold_backward.grad_input(*inputs, 0, grad_input=out),
        "tanh_grad": lambda: aten.tanh_backward.grad_input(*inputs, grad_input=out),
        "sigmoid_grad": lambda: aten.sigmoid_backward.grad_input(*inputs, grad_input=out),
        "gelu_grad": lambda: aten.gelu_backward.grad_input(*inputs, grad_input=out),
        "linear": lambda: functional.linear(*inputs).relu_(),
        "softmax": lambda: torch.softmax(*inputs, 1, out=out),
        "log_softmax": lambda: torch.log_softmax(*inputs, 1, out=out),
        "logsumexp": lambda: torch.logsumexp(*inputs, 1, out=out),
        "softmax_grad": lambda: aten._softmax_backward_data.out(*inputs, 1, torch.float32, grad_input=out),
        "log_softmax_grad": lambda: aten._log_softmax_backward_data.out(*inputs, 1, torch.float32, out=out),
        "cross_entropy": lambda: functional.cross_entropy(*inputs, reduction="none"),
        "layer_norm": lambda: functional.layer_norm(inputs[0], inputs[0].shape[1:], *inputs[1:]),
    }
    if row.name == "layer_norm_grad":
        g, x, weight = inputs
        columns = x.shape[1:]
        _, mean, rstd = torch.native_layer_norm(x, columns, weight, weight, 1e-5)
        wanted = (True, False, False)
        return lambda: aten.native_layer_norm_backward(g, x, columns, mean, rstd, weight, weight, wanted)
    if row.name == "dropout":
        return partial(functional.dropout, torch.from_numpy(arrays[2]), 0.5)
    return ways.get(row.name)


def _jax_call(row: Kernel, arrays: Sequence[Any]) -> Side | None:
    """Compiled, and waited for; JAX always makes a new result."""
    jnp, nn = jax.numpy, jax.nn

    def cross_entropy(x: Any, labels: Any) -> Any:
        return -jnp.take_along_axis(nn.log_softmax(x), labels[:, None], 1)[:, 0]

    def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
        centred = x - x.mean(1, keepdims=True)
        return centred / jnp.sqrt((centred * centred).mean(1, keepdims=True) + 1e-5) * weight + bias

    ways: dict[str, Callable[..., Any]] = {
        "relu": nn.relu,
        "sigmoid": nn.sigmoid,
        "erf": jax.scipy.special.erf,
        "gelu": partial(nn.gelu, approximate=False),
        "linear": lambda x, weight, bias: nn.relu(x @ weight.T + bias),
        "softmax": nn.softmax,
        "log_softmax": nn.log_softmax,
        "logsumexp": partial(nn.logsumexp, axis=1),
        "cross_entropy": cross_entropy,
        "layer_norm": layer_norm,
    }
    way = getattr(jnp, row.name) if row.name in SAME_IN_JAX else ways.get(row.name)
    if way is None:
        return None
    if row.family == "REDUCE":
        way = partial(way, axis=_reduced_axes(arrays), keepdims=True)
    compiled, inputs = jax.jit(way), [jnp.asarray(a) for a in arrays[1:]]
    return lambda: compiled(*inputs).block_until_ready()


# Training steps -------------------------------------------------------------------

RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Task:
    """A training step of a classifier, which every side makes from the same numbers.

    A layer is a weight (wide, narrow) and a bias (narrow,); between the layers stand
    ReLU and dropout.  The decay is decoupled.  The rate falls along half a cosine
    within ``cosine`` updates, unless that is 0.
    """

    layers: Sequence[tuple[Any, Any]]
    x: Any
    labels: Any
    dropout: float = 0.0
    decay: float = 0.0
    cosine: int = 0


def classifier(nn: Any, tensor: Callable[[Any], Any], task: Task) -> Any:
    """The model of a task, in the words that minigrad and PyTorch share."""
    modules: list[Any] = []
    for weight, bias in task.layers:
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": tensor(weight.T), "bias": tensor(bias)})
        modules += [linear, nn.ReLU(), nn.Dropout(task.dropout)] if task.dropout else [linear, nn.ReLU()]
    return nn.Sequential(*modules[: -2 if task.dropout else -1])


def torch_step(task: Task) -> Side:
    """Eager PyTorch with its fused optimizer and its scheduler."""
    model, loss_function = classifier(torch.nn, torch.from_numpy, task), torch.nn.CrossEntropyLoss()
    adam = torch.optim.AdamW(model.parameters(), RATE, weight_decay=task.decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, task.cosine) if task.cosine else None
    x, labels = torch.from_numpy(task.x), torch.from_numpy(task.labels)

    def step() -> Any:
        adam.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        adam.step()
        if schedule:
            schedule.step()
        return loss.detach()

    return step


def torch_compiled_step(task: Task) -> Side:
    """The step as one graph: derivatives by ``torch.func``, Adam in plain words.

    This was faster than compiling the eager step, whose ``backward`` breaks the graph.
    """
    model = classifier(torch.nn, torch.from_numpy, task)
    names = [name for name, _ in model.named_parameters()]
    weights = tuple(weight.detach() for weight in model.parameters())
    means, squares = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    x, labels, count = torch.from_numpy(task.x), torch.from_numpy(task.labels), torch.zeros(())

    def loss_function(*weights: Any) -> Any:
        y = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), x)
        return torch.nn.functional.cross_entropy(y, labels)

    def step() -> Any:
        gradients, loss = torch.func.grad_and_value(loss_function, tuple(range(len(names))))(*weights)
        rate = RATE * (1 + torch.cos(math.pi / task.cosine * count)) / 2 if task.cosine else RATE
        count.add_(1)
        root = torch.sqrt(1 - BETA2**count)
        for w, m, s, g in zip(weights, means, squares, gradients, strict=True):
            m.lerp_(g, 1 - BETA1)
            s.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            w.sub_(rate * (root / (1 - BETA1**count) * m / (s.sqrt() + EPS * root) + task.decay * w))
        return loss

    torch.compiler.reset()
    compiled = torch.compile(torch.no_grad()(step), fullgraph=True)
    compiled()
    return compiled


def jax_step(task: Task) -> Side:
    """The whole step compiled, its state donated."""
    jnp, nn, random = jax.numpy, jax.nn, jax.random
    x, labels = jnp.array(task.x), jnp.array(task.labels)

    def loss_function(layers: Any, key: Any) -> Any:
        *hidden, (weight, bias) = layers
        y = x
        for w, b in hidden:
            y = nn.relu(y @ w + b)
            if task.dropout:
                key, draw = random.split(key)
                y = jnp.where(random.bernoulli(draw, 1 - task.dropout, y.shape), y / (1 - task.dropout), 0)
        return -jnp.take_along_axis(nn.log_softmax(y @ weight + bias), labels[:, None], 1).mean()

    def step(layers: Any, means: Any, squares: Any, count: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_function)(layers, random.fold_in(random.key(0), count))
        rate = RATE * (1 + jnp.cos(math.pi / task.cosine * count)) / 2 if task.cosine else RATE
        count += 1
        root = jnp.sqrt(1 - BETA2**count)

        def update(w: Any, m: Any, s: Any) -> Any:
            return w - rate * (root / (1 - BETA1**count) * m / (jnp.sqrt(s) + EPS * root) + task.decay * w)

        means = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradients)
        squares = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, squares, gradients)
        return (jax.tree.map(update, layers, means, squares), means, squares, count), loss

    layers = jax.tree.map(jnp.array, list(task.layers))
    state = (layers, *(jax.tree.map(jnp.zeros_like, layers) for _ in range(2)), jnp.array(0))
    compiled = jax.jit(step, donate_argnums=(0, 1, 2, 3))

    def call() -> Any:
        nonlocal state
        state, loss = compiled(*state)
        return loss.block_until_ready()

    return call
