"""Every kernel of the table beside NumPy's best way, one thread on both sides.

    python benchmarks/kernels.py [--quick] [--target avx2]

Our side is a whole ``launch``: checks, call record and kernel.  NumPy's writes
into the same destination, and keeps its intermediate results in place or in
memory that it allocated before.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import peers
from harness import QUICK, Row, compare, single_thread, summary, surroundings, table
from numpy.typing import NDArray

from minigrad import kernels
from minigrad.kernels import KERNELS, Kernel, reference
from minigrad.kernels.launch import launch

Array = NDArray[Any]
Case = tuple[str, str, tuple[Array, ...], tuple[float, ...]]  # name, what is special, arrays, scalars

random = np.random.Generator(np.random.SFC64(0))


# What the kernels run on --------------------------------------------------------

SCALARS = {
    "low": -1.0,
    "high": 1.0,
    "relu": 1,
    "rounds": 10,
    "keep": 32768,
    "key": 7,
    "counter": 0,
    "lr": 1e-3,
    "momentum": 0.9,
    "dampening": 0,
    "nesterov": 0,
    "step": 3,
    "lr_decay": 0,
    "alpha": 0.99,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0,
    "decoupled_weight_decay": 0,
    "l1": 0,
    "proximal": 0,
    "start": 0,
    "norm": 1,
    "max_norm": 1,
    "dialect": 0,
    "momentum_decay": 1e9,  # the momentum as it will be
    "finite": 1,
    "corrected": 1,
    "order": 1,
    "border": 0,
    "fill": 0,
    "kind": 0,
}
POSITIVE = {"log", "log1p", "sqrt", "power"}

LAYERS = ((2, 16), (16, 16), (64, 64), (128, 10), (784, 128), (784, 512), (512, 512), (1024, 1024))
BATCHES = (1, 8, 32, 128)


def normal(*shape: int) -> Array:
    return random.standard_normal(shape, np.float32)


def elementwise(row: Kernel) -> Iterator[Case]:
    for shape in ((32, 16), (128, 128), (1024, 1024)):
        inputs = [normal(*shape) for _ in row.inputs]
        if row.name in POSITIVE:
            inputs = [np.abs(x) for x in inputs]
        if row.name == "where":
            inputs[0] = inputs[0] > 0
        yield row.name, f"{shape[0]}x{shape[1]}", (np.empty(shape, np.float32), *inputs), scalars(row)


def reduction(row: Kernel) -> Iterator[Case]:
    for shape, axes in (((32, 16), (0, 1)), ((256, 1024), (0,)), ((256, 1024), (1,)), ((256, 1024), (0, 1))):
        kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
        along = "all" if axes == (0, 1) else f"axis {axes[0]}"
        yield row.name, f"{shape[0]}x{shape[1]} {along}", (np.empty(kept, np.float32), normal(*shape)), ()


def product(row: Kernel) -> Iterator[Case]:
    """The three products of a layer: forward (NN), gradient of the input (NT), gradient of the weight (TN)."""
    for variant in {"linear": ("NN",), "matmul_relu_grad": ("NT",)}.get(row.name, ("NN", "NT", "TN")):
        for (wide, narrow), batch in itertools.product(LAYERS, BATCHES):
            x, weight, g = normal(batch, wide), normal(wide, narrow), normal(batch, narrow)
            a, b = {"NN": (x, weight), "NT": (g, weight.T), "TN": (x.T, g)}[variant]
            (m, k), n = a.shape, b.shape[1]
            case, out = f"{m}x{k}x{n}", np.empty((m, n), np.float32)
            if row.name == "linear":
                yield row.name, case, (out, x, weight.T, normal(narrow)), scalars(row)
            elif row.name == "matmul_relu_grad":
                yield row.name, case, (out, a, b, normal(m, n)), ()
            else:
                yield f"{row.name} {variant}", case, (out, a, b), ()


def rows(row: Kernel) -> Iterator[Case]:
    for shape in ((32, 10), (128, 1000), (2048, 64)):
        given = {name: normal(*shape) for name in row.arrays}
        given["labels"] = random.integers(0, shape[1], shape[0])
        if row.name in ("logsumexp", "cross_entropy"):
            given["out"] = normal(shape[0])
        if row.name == "cross_entropy_grad":
            given["g"] = normal(shape[0])
        given |= {name: normal(shape[1]) for name in ("weight", "bias")}
        yield row.name, f"{shape[0]}x{shape[1]}", tuple(given[name] for name in row.arrays), scalars(row)


def flat(row: Kernel) -> Iterator[Case]:
    for n in (2**9, 2**14, 2**20):
        if row.name == "philox":
            words = [random.integers(0, 2**32, (n // 4, columns), np.uint32) for columns in (4, 4, 2)]
            yield row.name, f"{n} words", tuple(words), scalars(row)
            continue
        given = {name: normal(n) for name in row.arrays}
        given["mask"] = random.integers(0, 256, n // 8, np.uint8)
        yield row.name, f"{n}", tuple(given[name] for name in row.arrays), scalars(row)


def cells(row: Kernel) -> Iterator[Case]:
    given = {name: np.array(1 if letter == "i" else 0.5) for name, letter in zip(row.arrays, row.dtypes, strict=True)}
    if row.name == "look_up":
        given["table"] = random.standard_normal(1000)
    yield row.name, "one", tuple(given[name] for name in row.arrays), scalars(row)


def images(row: Kernel) -> Iterator[Case]:
    """Batches of grey and coloured images; floats where the kernel takes them."""
    for n, c, side in ((64, 3, 32), (256, 1, 28), (8, 3, 224)):
        if row.name == "hue" and c == 1:
            continue
        dtype = np.float32 if row.dtypes[0] in "pf" else np.uint8
        x = (random.random((n, c, side, side)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
        turn, map = random.uniform(-0.5, 0.5, n), np.zeros((n, 2, 9))
        map[:, 0, [0, 4]], map[:, 0, 1], map[:, 0, 3] = np.cos(turn)[:, None], np.sin(turn), -np.sin(turn)
        map[:, 0, 8] = 1
        matrix = np.zeros((n, c, c + 1))
        matrix[:, :, :c] = np.eye(c) * 0.7
        field = random.standard_normal((n, 2, side, side), np.float32)
        blurs = random.random((n, 7), np.float32) / 7
        given = {
            "window": random.integers(-4, 4, (n, 4)) * [1, 1, 0, 1],
            "map": map,
            "field": field if row.name == "displacement" else field[:0],
            "matrix": matrix,
            "turns": turn,
            "table": random.integers(0, 256, (n, c, 256)).astype(np.uint8),
            "key": random.integers(0, 2**32, (n, 2), np.uint32),
            "amount": np.full(n, 0.1),
            "first": blurs[:, :, None],
            "second": blurs[:, None, :],
            "quality": np.full(n, 50),
            "x": x,
            "out": np.empty_like(field if row.name == "displacement" else x),
        }
        yield row.name, f"{n}x{c}x{side}x{side}", tuple(given[name] for name in row.arrays), scalars(row)


def update(row: Kernel) -> Iterator[Case]:
    for n in (10**3, 10**5, 10**6):
        state = [np.zeros(n, np.float32) for _ in row.outputs[1:]]
        yield row.name, f"{n}", (normal(n), *state, normal(n)), scalars(row)


def tensors(row: Kernel) -> Iterator[Case]:
    """Weights and biases of layers."""
    for sizes in ((16, 16), (512, 512), (1024, 1024)):
        shapes = [shape for _ in range(3) for shape in (sizes, sizes[:1])]
        numbers = tuple(np.zeros(()) for _ in row.arrays[:-1])
        yield row.name, f"3 of {sizes[0]}x{sizes[1]}", (*numbers, *[normal(*shape) for shape in shapes]), scalars(row)


def scalars(row: Kernel) -> tuple[float, ...]:
    return tuple(SCALARS[name] for name in row.scalars)


FAMILIES = {
    "ELEMENTWISE": elementwise,
    "REDUCE": reduction,
    "MATMUL": product,
    "ROWS": rows,
    "FLAT": flat,
    "CELLS": cells,
    "IMAGES": images,
    "UPDATE": update,
    "TENSORS": tensors,
}


# NumPy's best way ---------------------------------------------------------------


@cache
def zeros(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Memory that is kept from call to call."""
    return np.zeros(shape, dtype)


def relu(out: Array, x: Array) -> None:
    np.maximum(x, zeros(x.shape), out=out)  # quicker than beside a number


def within(out: Array, x: Array, low: float, high: float) -> None:
    np.clip(x, low, high, out=out)
    np.equal(out, x, out=out)


def sigmoid(out: Array, x: Array) -> None:
    np.negative(x, out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=out)
    np.reciprocal(out, out=out)


def greater_share(out: Array, a: Array, b: Array) -> None:
    np.subtract(a, b, out=out)
    np.heaviside(out, 0.5, out=out)


def relu_grad(out: Array, g: Array, y: Array) -> None:
    np.greater(y, 0, out=out)
    np.multiply(g, out, out=out)


def tanh_grad(out: Array, g: Array, y: Array) -> None:
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)
    np.multiply(g, out, out=out)


def sigmoid_grad(out: Array, g: Array, y: Array) -> None:
    np.subtract(1, y, out=out)
    np.multiply(y, out, out=out)
    np.multiply(g, out, out=out)


def where(out: Array, condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)  # cannot write into out; masked copies, which can, are slower


def reducer(ufunc: np.ufunc) -> Callable[[Array, Array], None]:
    def reduce(out: Array, x: Array) -> None:
        axes = tuple(axis for axis, n in enumerate(out.shape) if n == 1)
        ufunc.reduce(x, None if len(axes) == x.ndim else axes, out=out, keepdims=True)

    return reduce


def mean(out: Array, x: Array) -> None:
    total(out, x)
    np.multiply(out, out.size / x.size, out=out)


def linear(out: Array, x: Array, weight: Array, bias: Array, _relu: float) -> None:
    np.dot(x, weight.T, out)
    np.add(out, bias, out=out)
    relu(out, out)


def matmul_relu_grad(out: Array, a: Array, b: Array, y: Array) -> None:
    np.dot(a, b, out)
    np.multiply(out, np.greater(y, 0, out=zeros(y.shape, np.bool_)), out=out)


def softmax(out: Array, x: Array) -> None:
    np.subtract(x, np.maximum.reduce(x, 1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, np.add.reduce(out, 1, keepdims=True), out=out)


def log_softmax(out: Array, x: Array) -> None:
    np.subtract(x, np.maximum.reduce(x, 1, keepdims=True), out=out)
    e = np.exp(out, out=zeros(x.shape))
    np.subtract(out, np.log(np.add.reduce(e, 1, keepdims=True)), out=out)


def logsumexp(out: Array, x: Array) -> None:
    top = np.maximum.reduce(x, 1, keepdims=True)
    e = np.subtract(x, top, out=zeros(x.shape))
    np.log(np.add.reduce(np.exp(e, out=e), 1), out=out)
    np.add(out, top[:, 0], out=out)


def softmax_grad(out: Array, g: Array, y: Array) -> None:
    np.subtract(g, np.vecdot(g, y)[:, None], out=out)
    np.multiply(y, out, out=out)


def log_softmax_grad(out: Array, g: Array, y: Array) -> None:
    np.exp(y, out=out)
    np.multiply(out, np.add.reduce(g, 1, keepdims=True), out=out)
    np.subtract(g, out, out=out)


def cross_entropy(out: Array, x: Array, labels: Array) -> None:
    logsumexp(out, x)
    np.subtract(out, x[np.arange(len(x)), labels], out=out)


def cross_entropy_grad(out: Array, g: Array, x: Array, labels: Array) -> None:
    softmax(out, x)
    np.multiply(out, g[:, None], out=out)
    out[np.arange(len(x)), labels] -= g


def normalized(x: Array, eps: float) -> tuple[Array, Array]:
    """In kept memory; and what the rows were divided by."""
    n = x.shape[1]
    z = np.subtract(x, np.add.reduce(x, 1, keepdims=True) / n, out=zeros(x.shape))
    spread = np.sqrt(np.vecdot(z, z) / n + eps)[:, None]
    return np.divide(z, spread, out=z), spread


def layer_norm(out: Array, x: Array, weight: Array, bias: Array, eps: float) -> None:
    np.multiply(normalized(x, eps)[0], weight, out=out)
    np.add(out, bias, out=out)


def layer_norm_grad(out: Array, g: Array, x: Array, weight: Array, eps: float) -> None:
    (z, spread), n = normalized(x, eps), x.shape[1]
    np.multiply(g, weight, out=out)
    along = np.vecdot(out, z)[:, None] / n
    np.subtract(out, np.add.reduce(out, 1, keepdims=True) / n, out=out)
    np.subtract(out, np.multiply(z, along, out=z), out=out)
    np.divide(out, spread, out=out)


def dropout(out: Array, mask: Array, x: Array, keep: float, key: float, counter: float) -> None:
    words = random.bit_generator.random_raw((x.size + 3) // 4).view(np.uint16)[: x.size]
    kept = np.less(words, keep, out=zeros(x.shape, bool))
    np.multiply(x, kept, out=out)
    np.multiply(out, 65536 / keep, out=out)


def dropout_grad(out: Array, g: Array, mask: Array, keep: float) -> None:
    np.multiply(g, zeros(g.shape), out=out)  # as if dropout had kept its mask scaled, in float32


def sgd(w: Array, g: Array, lr: float, *decays: float) -> None:
    np.subtract(w, np.multiply(g, lr, out=zeros(w.shape)), out=w)


def sgd_momentum(w: Array, v: Array, g: Array, lr: float, momentum: float, *others: float) -> None:
    np.multiply(v, momentum, out=v)
    np.add(v, g, out=v)
    sgd(w, v, lr)


def scaled(s: Array, eps: float, g: Array) -> Array:
    """g / (sqrt(s) + eps), in kept memory; s may be that memory."""
    t = np.sqrt(s, out=zeros(s.shape))
    np.add(t, eps, out=t)
    return np.divide(g, t, out=t)


def follow(mean: Array, keep: float, x: Array) -> None:
    """Let a running mean take its share of x, which is lost; x may be kept memory."""
    np.multiply(mean, keep, out=mean)
    np.add(mean, np.multiply(x, 1 - keep, out=zeros(mean.shape)), out=mean)


def adagrad(
    w: Array, s: Array, g: Array, lr: float, lr_decay: float, eps: float, dialect: float, step: float, *decays: float
) -> None:
    np.add(s, np.multiply(g, g, out=zeros(w.shape)), out=s)
    sgd(w, scaled(s, eps, g), lr / (1 + step * lr_decay))


def rmsprop(w: Array, s: Array, g: Array, lr: float, alpha: float, eps: float, *decays: float) -> None:
    follow(s, alpha, np.multiply(g, g, out=zeros(w.shape)))
    sgd(w, scaled(s, eps, g), lr)


def rmsprop_momentum(
    w: Array, s: Array, b: Array, g: Array, lr: float, alpha: float, eps: float, momentum: float, *decays: float
) -> None:
    follow(s, alpha, np.multiply(g, g, out=zeros(w.shape)))
    np.multiply(b, momentum, out=b)
    np.add(b, scaled(s, eps, g), out=b)
    sgd(w, b, lr)


def variance(s: Array, a: Array, g: Array, alpha: float) -> Array:
    follow(s, alpha, np.multiply(g, g, out=zeros(s.shape)))
    follow(a, alpha, g)
    t = np.multiply(a, a, out=zeros(s.shape))
    np.subtract(s, t, out=t)
    return np.maximum(t, 0, out=t)


def rmsprop_centered(
    w: Array, s: Array, a: Array, g: Array, lr: float, alpha: float, eps: float, *decays: float
) -> None:
    sgd(w, scaled(variance(s, a, g, alpha), eps, g), lr)


def rmsprop_centered_momentum(
    w: Array, s: Array, a: Array, b: Array, g: Array, lr: float, alpha: float, eps: float, momentum: float, *_: float
) -> None:
    np.multiply(b, momentum, out=b)
    np.add(b, scaled(variance(s, a, g, alpha), eps, g), out=b)
    sgd(w, b, lr)


def adam(
    w: Array, m: Array, v: Array, g: Array, lr: float, beta1: float, beta2: float, eps: float, step: float, *_: float
) -> None:
    follow(m, beta1, g)
    follow(v, beta2, np.multiply(g, g, out=zeros(w.shape)))
    root = (1 - beta2 ** (step + 1)) ** 0.5
    sgd(w, scaled(v, eps * root, m), lr * root / (1 - beta1 ** (step + 1)))


def amsgrad(
    w: Array, m: Array, v: Array, top: Array, g: Array,
    lr: float, beta1: float, beta2: float, eps: float, dialect: float, step: float, *_: float,
) -> None:  # fmt: skip
    follow(m, beta1, g)
    follow(v, beta2, np.multiply(g, g, out=zeros(w.shape)))
    np.maximum(top, v, out=top)
    root = (1 - beta2 ** (step + 1)) ** 0.5
    sgd(w, scaled(top, eps * root, m), lr * root / (1 - beta1 ** (step + 1)))


def nadam(
    w: Array, m: Array, v: Array, g: Array,
    lr: float, beta1: float, beta2: float, eps: float, momentum_decay: float, dialect: float, step: float, *_: float,
) -> None:  # fmt: skip
    """Without the schedule of the momentum, a few numbers beside the arrays."""
    follow(m, beta1, g)
    follow(v, beta2, np.multiply(g, g, out=zeros(w.shape)))
    root = (1 - beta2 ** (step + 1)) ** 0.5
    t = np.multiply(m, lr * root * beta1 / (1 - beta1 ** (step + 2)), out=zeros(w.shape))
    np.add(t, g * (lr * root * (1 - beta1) / (1 - beta1 ** (step + 1))), out=t)
    np.subtract(w, np.divide(t, np.sqrt(v) + eps * root, out=t), out=w)


def radam(
    w: Array, m: Array, v: Array, g: Array, lr: float, beta1: float, beta2: float, eps: float, dialect: float,
    step: float, *_: float,
) -> None:  # fmt: skip
    """As in its first steps."""
    follow(m, beta1, g)
    follow(v, beta2, np.multiply(g, g, out=zeros(w.shape)))
    sgd(w, m, lr / (1 - beta1 ** (step + 1)))


def lion(w: Array, m: Array, g: Array, lr: float, beta1: float, beta2: float, *_: float) -> None:
    t = np.multiply(m, beta1, out=zeros(w.shape))
    np.add(t, g * (1 - beta1), out=t)
    np.subtract(w, np.multiply(np.sign(t, out=t), lr, out=t), out=w)
    follow(m, beta2, g)


def global_norm(out: Array, *arguments: Any) -> None:
    *tensors, start = arguments
    out[...] = (start**2 + sum(float(np.dot(g.reshape(-1), g.reshape(-1))) for g in tensors)) ** 0.5


def clip_to_norm(*arguments: Any) -> None:
    *tensors, norm, max_norm = arguments
    for g in tensors:
        np.multiply(g, min(1, max_norm / (norm + 1e-6)), out=g)


total = reducer(np.add)

# A ufunc takes the inputs and then the output, a function the arguments of the kernel.
NUMPY: dict[str, Callable[..., Any]] = {
    "copy": np.copyto,
    "negative": np.negative,
    "absolute": np.absolute,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
    "relu": relu,
    "clip": lambda out, x, low, high: np.clip(x, low, high, out=out),
    "within": within,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "erf": reference.erf,  # NumPy has none
    "gelu": reference.gelu,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "greater_share": greater_share,
    "relu_grad": relu_grad,
    "tanh_grad": tanh_grad,
    "sigmoid_grad": sigmoid_grad,
    "gelu_grad": reference.gelu_grad,
    "where": where,
    "sum": total,
    "mean": mean,
    "max": reducer(np.maximum),
    "min": reducer(np.minimum),
    "matmul": lambda out, a, b: np.dot(a, b, out),
    "linear": linear,
    "matmul_relu_grad": matmul_relu_grad,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "softmax_grad": softmax_grad,
    "log_softmax_grad": log_softmax_grad,
    "cross_entropy": cross_entropy,
    "cross_entropy_grad": cross_entropy_grad,
    "layer_norm": layer_norm,
    "layer_norm_grad": layer_norm_grad,
    "philox": reference.philox,
    "dropout": dropout,
    "dropout_grad": dropout_grad,
    "advance": reference.advance,
    "look_up": reference.look_up,
    "advance_if": reference.advance_if,
    "average_rate": reference.average_rate,
    "sgd": sgd,
    "sgd_momentum": sgd_momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "rmsprop_momentum": rmsprop_momentum,
    "rmsprop_centered": rmsprop_centered,
    "rmsprop_centered_momentum": rmsprop_centered_momentum,
    "adam": adam,
    "amsgrad": amsgrad,
    "nadam": nadam,
    "radam": radam,
    "lion": lion,
    "global_norm": global_norm,
    "clip_to_norm": clip_to_norm,
    **{name: getattr(reference, name) for name, row in KERNELS.items() if row.family == "IMAGES"},
}


def numpy_call(row: Kernel, arrays: tuple[Array, ...], scalars: tuple[float, ...]) -> Callable[[], Any]:
    """NumPy's way, ready to be called."""
    way = NUMPY[row.name]
    if isinstance(way, np.ufunc):
        return partial(way, *arrays[1:], out=arrays[0])
    return partial(way, *arrays, *scalars)


# The comparison -----------------------------------------------------------------


def check_complete(rows: Mapping[str, Kernel]) -> None:
    """Raise ``LookupError`` unless every kernel has a benchmark."""
    if missing := rows.keys() - NUMPY.keys():
        raise LookupError(f"kernels without a benchmark: {', '.join(sorted(missing))}")


def measure(quick: bool = False) -> list[Row]:
    """All kernels; ``quick`` takes only the first case of each."""
    check_complete(KERNELS)
    found: dict[str, list[Row]] = {}
    for row in KERNELS.values():
        for name, case, arrays, numbers in FAMILIES[row.family](row):
            if quick and name in found:
                continue
            ours, numpys = partial(launch, row.name, arrays, numbers), numpy_call(row, arrays, numbers)
            sides = {"minigrad": ours, "NumPy": numpys, **peers.calls(row, arrays)}
            with np.errstate(all="ignore"):
                seconds = compare(sides, **(QUICK if quick else {}))
            found.setdefault(name, []).append(Row(name, case, seconds))
    return list(itertools.chain(*found.values()))


def report(found: Sequence[Row]) -> str:
    """The tables, as Markdown: a line for each kernel and size, and one for each kernel."""
    tables = [table(found, ["minigrad"], ["NumPy", *peers.INSTALLED]), summary(found, "minigrad", "NumPy")]
    return "\n\n".join(["## Kernels", *tables]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every kernel beside NumPy's best way, on one thread.")
    parser.add_argument("--quick", action="store_true", help="the smallest case of each kernel, few rounds")
    parser.add_argument("--target", choices=kernels.targets(), default=kernels.active())
    arguments = parser.parse_args()
    single_thread()
    peers.single_thread()
    kernels.use(arguments.target)
    print(surroundings(), report(measure(arguments.quick)), sep="\n\n")


if __name__ == "__main__":
    main()
