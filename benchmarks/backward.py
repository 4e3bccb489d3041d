"""What the backward pass of an operation costs beside its forward pass, on 1,000 x 1,000 elements.

    python benchmarks/backward.py [--quick]

Every public operation that touches all elements: elementwise ones, reductions, what
runs along an axis, losses, norms, pooling.  Inputs come from the domains that the property
tests draw from.  The backward pass is what ``y = f(x)`` and ``grad(y, x)`` take together, less ``f(x)``.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from harness import QUICK, compare, duration, markdown, single_thread, surroundings

import minigrad as mg
from minigrad import ops
from minigrad.ops.__main__ import registry
from minigrad.ops.domain import Boolean, Integer, Real

SIDE = 1000
ASKED = 3.5  # about three times
ATTRIBUTES = {"axis": -1, "axes": -1, "axis or none": -1, "generator": mg.random.Generator(0)}
LIGHT = "the forward pass is one walk through memory, the gradient two: a mask or a slope, and its product with g"
WHY = {
    **dict.fromkeys(["abs", "clip", "hardtanh", "relu6", "square", "reciprocal", "maximum", "minimum"], LIGHT),
    "divide": "two gradients, that of the divisor of three products",
    **dict.fromkeys(["max", "min"], "the forward pass only reads; backward ties are counted, and all elements written"),
    "prod": "the product of all others, exact beside zeros: running products from both ends",
    "cumprod": "exact beside zeros: a recurrence from the end on shifted copies, and a product with one more",
    "cummax": "the places of the maxima are found anew, and added to one by one",
    "nll_loss": "the forward pass reads an element of a row; all are written backward",
    "x[::2]": "the forward pass is a view; all elements are written backward",
    **dict.fromkeys(["layer_norm", "rms_norm"], "gradients of x and of what scales and shifts it, each a pass over x"),
    **dict.fromkeys(
        ["max_pool2d, 2 x 2", "max_pool2d, 3 x 3, stride 2", "max_pool2d, 3 x 3, stride 1"],
        "NumPy finds the maxima anew: three passes for each place of the window",
    ),
}


class Cost(NamedTuple):
    """Seconds of one operation."""

    name: str
    forward: float
    backward: float

    @property
    def ratio(self) -> float:
        return self.backward / self.forward


def drawn(kind: Real | Boolean | Integer, shape: tuple[int, ...], rng: mg.random.Generator) -> Any:
    if isinstance(kind, Boolean):
        return rng.uniform(shape) < 0.5
    if isinstance(kind, Integer):
        return np.floor(rng.uniform(shape, kind.low, kind.high + 1)).astype(np.int64)
    return rng.uniform(shape, kind.low, kind.high)


def of_domains(side: int) -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """Public operations with domains of whole arrays, and inputs for them; but those below."""
    rng = mg.random.Generator(0)
    others = {name.partition(",")[0] for name, _, _ in composed(1)}
    for name, operation in sorted(registry().items()):
        domain = operation.domain
        known = all(isinstance(kind, tuple) or kind in ATTRIBUTES for kind in domain.attributes.values())
        whole = domain.shapes in ("same", "broadcast", "nonempty", "(M,N)") and known
        differentiable = getattr(operation, "differentiable", True) and domain.order
        if (
            name in ops.__all__
            and name not in others
            and whole
            and differentiable
            and not getattr(operation, "view", False)
        ):
            attributes = {
                attribute: kind[0] if isinstance(kind, tuple) else ATTRIBUTES[kind]
                for attribute, kind in domain.attributes.items()
            }
            kinds = [domain.inputs.get(i, Real()) for i in operation.inputs]
            yield name, partial(operation, **attributes), tuple(drawn(k, (side, side), rng) for k in kinds)


def composed(side: int) -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """What takes labels, indices or images, and what is measured with other attributes than the first of its domain."""
    rng = mg.random.Generator(1)
    x, t = (rng.uniform((side, side), -3, 3) for _ in range(2))
    p, q = (rng.uniform((side, side), 0.1, 0.9) for _ in range(2))
    labels = np.arange(side) % side
    image = x.reshape(1, 1, side, side)
    scale = rng.uniform((side,), 0.5, 2)
    yield "binary_cross_entropy", lambda p: mg.binary_cross_entropy(p, q), (p,)
    yield "binary_cross_entropy_with_logits", lambda x: mg.binary_cross_entropy_with_logits(x, q), (x,)
    yield "cross_entropy, indices", lambda x: mg.cross_entropy(x, labels), (x,)
    yield "cross_entropy, probabilities", lambda x: mg.cross_entropy(x, q), (x,)
    yield "huber_loss", lambda x: mg.huber_loss(x, t), (x,)
    yield "kl_div", lambda x: mg.kl_div(x, q), (x,)
    yield "l1_loss", lambda x: mg.l1_loss(x, t), (x,)
    yield "mse_loss", lambda x: mg.mse_loss(x, t), (x,)
    yield "multi_margin_loss", lambda x: mg.multi_margin_loss(x, labels), (x,)
    yield "multiclass_svm_loss", lambda x: mg.multiclass_svm_loss(x, labels), (x,)
    yield "nll_loss", lambda x: mg.nll_loss(x, labels), (x,)
    yield "smooth_l1_loss", lambda x: mg.smooth_l1_loss(x, t), (x,)
    yield "soft_margin_loss", lambda x: mg.soft_margin_loss(x, np.sign(t)), (x,)
    yield "layer_norm", lambda x, w, b: mg.layer_norm(x, side, w, b), (x, scale, scale)
    yield "rms_norm", lambda x, w: mg.rms_norm(x, side, w), (x, scale)
    yield "batch_norm", lambda x, w, b: mg.batch_norm(x, None, None, w, b, training=True), (x, scale, scale)
    yield "group_norm", lambda x: mg.group_norm(x, side // 10), (x,)
    yield "max_pool2d, 2 x 2", lambda x: mg.max_pool2d(x, 2), (image,)
    yield "max_pool2d, 3 x 3, stride 2", lambda x: mg.max_pool2d(x, 3, 2, 1), (image,)
    yield "max_pool2d, 3 x 3, stride 1", lambda x: mg.max_pool2d(x, 3, 1, 1), (image,)
    yield "avg_pool2d, 2 x 2", lambda x: mg.avg_pool2d(x, 2), (image,)
    yield "avg_pool2d, 3 x 3, stride 2", lambda x: mg.avg_pool2d(x, 3, 2, 1), (image,)
    yield "dropout", lambda x: mg.dropout(x, 0.5), (x,)
    yield "concat", lambda x, t: mg.concat([x, t]), (x, t)
    yield "repeat", lambda x: mg.repeat(x, 2, 1), (x,)
    yield "tile", lambda x: mg.tile(x, 2), (x,)
    yield "pad", lambda x: mg.pad(x, 1), (x,)
    yield "x[index]", lambda x: x[labels[::-1]], (x,)
    yield "embedding, each row twice", lambda w: mg.embedding(labels // 2, w), (x,)
    yield "x[::2]", lambda x: x[::2], (x,)
    yield "x[x > 0]", lambda x: x[t > 0], (x,)
    yield "take_along_axis", lambda x: mg.take_along_axis(x, np.argsort(t), 1), (x,)
    yield "matmul", lambda x, t: x @ t, (x, t)
    yield "linear", lambda x, t, b: mg.linear(x, t, b), (x, t, scale)


def measure(name: str, f: Callable[..., Any], arrays: tuple[Any, ...], **options: Any) -> Cost:
    inputs = [mg.Tensor(a, requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]
    leaves = [x for x in inputs if isinstance(x, mg.Tensor)]
    y = f(*inputs)
    seed = mg.ones_like(y)

    def both() -> None:
        mg.grad(f(*inputs), leaves, seed)

    seconds = compare({"forward": partial(f, *inputs), "both": both}, **options)
    return Cost(name, seconds["forward"], max(seconds["both"] - seconds["forward"], math.ulp(0)))


def measured(quick: bool) -> list[Cost]:
    side = 20 if quick else SIDE
    options = QUICK if quick else {"rounds": 5, "block": 2e-3}
    return [measure(*each, **options) for each in (*of_domains(side), *composed(side))]


def table(costs: Sequence[Cost]) -> str:
    """Figures and, of those that take longer than asked, why."""
    lines = []
    for cost in costs:
        ratio, why = f"{cost.ratio:.1f}", ""
        if cost.ratio > ASKED:
            ratio, why = f"**{ratio}**", WHY.get(cost.name, "")
        lines.append([cost.name, duration(cost.forward), duration(cost.backward), ratio, why])
    within = sum(cost.ratio <= ASKED for cost in costs)
    said = f"{within} of {len(costs)} take at most {ASKED} times as long backward as forward."
    return said + "\n\n" + markdown(["", "forward", "backward", "backward / forward", "why more"], lines)


def report(quick: bool = False) -> str:
    """The table, as Markdown."""
    return f"## Backward and forward\n\n{table(measured(quick))}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a backward pass costs beside its forward pass.")
    parser.add_argument("--quick", action="store_true", help="small arrays, few rounds")
    arguments = parser.parse_args()
    single_thread()
    print(surroundings(), report(arguments.quick), sep="\n\n")


if __name__ == "__main__":
    main()
