"""PyTorch's and JAX's ways of doing what a kernel does, where they are installed and have one."""

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from harness import installed

from minigrad.kernels import Kernel

Side = Callable[[], object]

torch: Any = importlib.import_module("torch") if installed("torch") else None
jax: Any = importlib.import_module("jax") if installed("jax") else None

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


def single_thread() -> None:
    """Hold PyTorch to one thread; JAX asks the environment, see ``harness.THREADS``."""
    if torch:
        torch.set_num_threads(1)


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
