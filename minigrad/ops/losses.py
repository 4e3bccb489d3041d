"""Losses, named and with their arguments as in ``torch.nn.functional``; ``reduction`` is "mean", "sum" or "none"."""

from typing import Any

import numpy as np

from ..kernels import launch as kernels
from ..kernels.launch import (
    Array,
    as_array,
    elementwise,
    launch_python,
    same_float,
    unary,
)
from ..kernels.reference import bad_label
from ..operations import operation
from ..tensor import Tensor
from .activations import as_float, softplus
from .domain import Domain, Integer, Labels, Real, composed
from .elementwise import (
    abs,
    clip,
    equal,
    exp,
    log,
    log1p,
    maximum,
    not_equal,
    relu,
    square,
    subtract,
    where,
)
from .neural import log_softmax, softmax, softmax_grad
from .reductions import mean, sum
from .shape import getitem, permute_dims, reshape

REDUCTION = {"reduction": ("mean", "sum", "none")}
WEIGHT = Real(0.2, 2)
SIGNS = Integer(-1, 1)

# What the losses share ------------------------------------------------------------------------


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        return mean(losses)
    if reduction == "sum":
        return sum(losses)
    if reduction == "none":
        return losses
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _tensors(name: str, **inputs: Any) -> list[Any]:
    """The inputs as tensors of one floating dtype; a weight may be None."""
    for argument, x in inputs.items():
        if not (x is None and argument.endswith("weight")) and not isinstance(
            x, Tensor | np.ndarray | np.generic | int | float
        ):
            raise TypeError(f"{name} takes a tensor or an array as {argument}, got {type(x).__name__}")
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs.values() if isinstance(x, Tensor | np.ndarray)]
    dtype = same_float(name, *arrays) if arrays else np.float32  # numbers never promote
    tensors = [x if x is None or isinstance(x, Tensor | np.ndarray) else np.asarray(x, dtype) for x in inputs.values()]
    return [x if x is None or isinstance(x, Tensor) else Tensor(x) for x in tensors]


def _alike(name: str, **inputs: Any) -> list[Any]:
    """The inputs as tensors, all of one shape."""
    tensors = _tensors(name, **inputs)
    if any(x.shape != tensors[0].shape for x in tensors):
        shapes = " and ".join(f"{argument} {x.shape}" for argument, x in zip(inputs, tensors, strict=True))
        raise ValueError(f"{name} needs equal shapes, got {shapes}")
    return tensors


def _weighted(name: str, losses: Any, **weights: Any) -> Any:
    """The losses times a weight that broadcasts to them, or none."""
    ((argument, weight),) = weights.items()
    if weight is None:
        return losses
    weight, _ = _tensors(name, **weights, input=losses)
    lead = losses.ndim - weight.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(weight.shape, losses.shape[lead:], strict=True)):
        raise ValueError(f"{name} needs a {argument} that broadcasts to {losses.shape}, got {weight.shape}")
    return losses * weight


def _number(name: str, least: float | None = None, **numbers: Any) -> float:
    ((argument, value),) = numbers.items()
    known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not known or value != value or (least is not None and value < least):
        wanted = "a number" if least is None else f"a number of at least {least:g}"
        raise ValueError(f"{name} needs {wanted} as {argument}, got {value!r}")
    return float(value)


# Distances -------------------------------------------------------------------------------------


@composed(Domain("nonempty", attributes=REDUCTION), "input", "target")
def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """``(input - target) ** 2``, its mean over all elements (or sum, or none); shapes must be equal."""
    return _reduced(square(subtract(*_alike("mse_loss", input=input, target=target))), reduction)


@composed(Domain("nonempty", attributes=REDUCTION, apart=("input", "target"), kinks="0 at 0"), "input", "target")
def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """``|input - target|``, with gradient 0 at 0; shapes must be equal."""
    return _reduced(abs(subtract(*_alike("l1_loss", input=input, target=target))), reduction)


@operation(
    d=lambda g, d, delta: g * clip(d, -delta, delta),
    domain=Domain(
        inputs={"d": Real(exclude=(-1, 1, -0.5, 0.5))},
        attributes={"delta": (0.5, 1.0)},
        kinks="second derivative 1 at +-delta",
    ),
)
def huber(d: Any, /, delta: float) -> Array:
    """``d^2 / 2`` up to ``|d| = delta``, from there on the tangent: ``c (d - c / 2)`` with c = d held in +-delta."""
    d = as_float(d)
    c = unary("clip", d, -delta, delta)
    return elementwise("multiply", c, elementwise("subtract", d, elementwise("multiply", c, 0.5)))


@composed(
    Domain(
        "nonempty",
        attributes={**REDUCTION, "delta": (0.5, 1.0)},
        apart=("input", "target"),
        kinks="second derivative 1 at +-delta",
    ),
    "input",
    "target",
)
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, d = input - target (Huber 1964)."""
    delta = _number("huber_loss", delta=delta)
    if delta <= 0:
        raise ValueError(f"huber_loss needs a delta above 0, got {delta!r}")
    return _reduced(huber(subtract(*_alike("huber_loss", input=input, target=target)), delta), reduction)


@composed(
    Domain(
        "nonempty",
        attributes={**REDUCTION, "beta": (0.0, 0.5, 1.0)},
        apart=("input", "target"),
        kinks="second derivative 1 / beta at +-beta; as l1_loss for beta 0",
    ),
    "input",
    "target",
)
def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """``d^2 / (2 beta)`` where ``|d| <= beta``, else ``|d| - beta / 2`` (Girshick 2015): Huber's over beta; L1 at 0."""
    beta = _number("smooth_l1_loss", 0, beta=beta)
    d = subtract(*_alike("smooth_l1_loss", input=input, target=target))
    return _reduced(huber(d, beta) / beta if beta else abs(d), reduction)


# Of two classes --------------------------------------------------------------------------------


@operation(
    p=lambda g, p, t: g * (p - t) / maximum(p * (1 - p), 1e-12),
    t=lambda g, p: g * (clip(log1p(-p), -100.0) - clip(log(p), -100.0)),
    broadcasts=True,
    domain=Domain(
        "broadcast", {"p": Real(0.2, 0.8), "t": Real(0, 1)}, kinks="logarithms end at -100, divisors p (1 - p) at 1e-12"
    ),
)
def binary_entropy(p: Any, t: Any, /) -> Array:
    """``-(t log p + (1 - t) log(1 - p))``; logarithms end at -100, denominators of gradients at 1e-12."""
    p = as_float(p)
    at_one = unary("clip", unary("log", p), -100.0, np.inf)
    at_zero = unary("clip", unary("log1p", unary("negative", p)), -100.0, np.inf)
    both = elementwise("multiply", t, at_one), elementwise("multiply", elementwise("subtract", 1, t), at_zero)
    return unary("negative", elementwise("add", *both))


@composed(
    Domain(
        "nonempty",
        {"input": Real(0.2, 0.8), "target": Real(0, 1), "weight": WEIGHT},
        REDUCTION,
        kinks="logarithms end at -100, divisors p (1 - p) at 1e-12",
    ),
    "input",
    "target",
    "weight",
)
def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """``-(t log p + (1 - t) log(1 - p))`` of probabilities p = input in [0, 1] (NaN outside), t = target.

    Logarithms end at -100 and the gradient's denominator at 1e-12, as in PyTorch.
    ``weight`` broadcasts to the losses.
    """
    losses = binary_entropy(*_alike("binary_cross_entropy", input=input, target=target))
    return _reduced(_weighted("binary_cross_entropy", losses, weight=weight), reduction)


@composed(
    Domain("nonempty", {"target": Real(0, 1), "weight": WEIGHT}, {**REDUCTION, "pos_weight": (None, 2.0)}),
    "input",
    "target",
    "weight",
)
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """``pos_weight t log(1 + e^-x) + (1 - t) log(1 + e^x)``: x = input, t = target, the probability of class 1.

    A sum of terms of one sign for t in [0, 1], so that no digits cancel, nor in its gradient.
    ``weight`` and ``pos_weight`` broadcast to the losses.
    """
    name = "binary_cross_entropy_with_logits"
    x, t = _alike(name, input=input, target=target)
    positive = _weighted(name, t * softplus(-x), pos_weight=pos_weight)
    return _reduced(_weighted(name, positive + (1 - t) * softplus(x), weight=weight), reduction)


@composed(Domain("nonempty", {"target": SIGNS}, REDUCTION), "input", "target")
def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """``log(1 + e^(-t x))``, t = target in {-1, 1}."""
    x, t = _alike("soft_margin_loss", input=input, target=target)
    return _reduced(softplus(-(t * x)), reduction)


@composed(
    Domain(
        "nonempty",
        {"input": Real(exclude=(0.5, 1.0)), "target": SIGNS},
        {**REDUCTION, "margin": (0.5, 1.0)},
        kinks="0 at the margin",
    ),
    "input",
    "target",
)
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """``x`` where target is 1, ``max(0, margin - x)`` where it is -1."""
    margin = _number("hinge_embedding_loss", margin=margin)
    x, t = _alike("hinge_embedding_loss", input=input, target=target)
    return _reduced(where(not_equal(t, -1), x, 0.0) + where(not_equal(t, 1), relu(margin - x), 0.0), reduction)


@composed(
    Domain(
        "nonempty",
        {"target": SIGNS},
        {**REDUCTION, "margin": (0.0, 0.5)},
        apart=("input1", "input2"),
        kinks="0 at the margin",
    ),
    "input1",
    "input2",
    "target",
)
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """``max(0, margin - t (input1 - input2))``, t = target: 1 where input1 should be the larger, else -1."""
    margin = _number("margin_ranking_loss", margin=margin)
    a, b, t = _alike("margin_ranking_loss", input1=input1, input2=input2, target=target)
    return _reduced(relu(margin - t * (a - b)), reduction)


@composed(
    Domain(
        "nonempty",
        {"target": Real(0.1, 2)},
        {"reduction": ("mean", "sum", "none", "batchmean"), "log_target": (False, True)},
        kinks="0 at t = 0",
    ),
    "input",
    "target",
)
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """``t (log t - input)``, input the logarithm of the model's probabilities, t = target (``e^target`` if log_target).

    Its sum over the classes of a sample is the Kullback-Leibler divergence, so that
    reduction "batchmean", the sum over the number of samples, is their mean; "mean" is over
    all elements.  At t = 0 the loss is 0.
    """
    x, t = _alike("kl_div", input=input, target=target)
    losses = exp(t) * (t - x) if log_target else t * (log(where(equal(t, 0), 1.0, t)) - x)
    if reduction == "batchmean":
        if x.ndim == 0:
            raise ValueError("kl_div with reduction 'batchmean' needs an axis of samples, got shape ()")
        return sum(losses) / len(x)
    return _reduced(losses, reduction)


# Of many classes -------------------------------------------------------------------------------


@operation(
    dy=lambda g, dy_shape, x, labels: _over_samples(
        sum(g * sample_cross_entropy_grad(np.ones(len(x), x.dtype), x, labels), 1), dy_shape
    ),
    x=lambda g, dy, x: softmax_grad(g * (dy.reshape(-1, 1) if dy.ndim else dy / len(x)), softmax(x)),
    outputs=("dx",),
    quick=kernels.cross_entropy_grad,
    domain=Domain("(n),(n,C),(n)", {"labels": Labels("x")}),
)
def sample_cross_entropy_grad(dy: Any, x: Any, labels: Any, /) -> Array:
    """``dy (softmax(x) - one_hot(label))`` of each row; a 0-d dy is that of the mean, dy / N for each."""
    return kernels.cross_entropy_grad(dy, x, labels)


@operation(
    x=sample_cross_entropy_grad,
    domain=Domain("(n,C),(n)", {"labels": Labels("x")}),
)
def sample_cross_entropy(x: Any, labels: Any, /) -> Array:
    """``-log(softmax(x)[label])`` of each row: x (N, C), labels (N,) in [0, C), result (N,)."""
    return kernels.cross_entropy(x, labels, False)


@operation(
    x=sample_cross_entropy_grad,
    quick=kernels.cross_entropy,
    domain=Domain("(N,C),(N)", {"labels": Labels("x")}),
)
def mean_cross_entropy(x: Any, labels: Any, /) -> Array:
    """The mean of ``sample_cross_entropy`` over the rows, as one operation."""
    return kernels.cross_entropy(x, labels)


def _over_samples(slopes: Any, shape: tuple[int, ...]) -> Any:
    return slopes if shape else mean(slopes)


@operation(
    x=lambda g, x_shape, labels: pick_grad(g, labels, x_shape[1]),
    domain=Domain("(n,C),(n)", {"labels": Labels("x")}),
)
def pick(x: Any, labels: Any, /) -> Array:
    """``x[i, labels[i]]`` of each row: x (N, C), labels (N,) in [0, C), result (N,)."""
    x, out = as_array(x), np.empty(len(x), x.dtype)

    def take(out: Array, x: Array, labels: Array) -> None:
        if np.any((labels < 0) | (labels >= x.shape[1])):
            raise IndexError(bad_label(labels, x.shape[1]))
        out[...] = x[np.arange(len(labels)), labels]

    launch_python(take, out, x, as_array(labels), name="pick")
    return out


@operation(
    dy=lambda g, labels: pick(g, labels),
    outputs=("dx",),
    domain=Domain("(n),(n)", {"labels": Integer(0, 3)}, {"classes": (4, 5)}),
)
def pick_grad(dy: Any, labels: Any, /, classes: int) -> Array:
    """Rows of zeros with ``dy[i]`` at ``labels[i]``: (N,) gives (N, classes)."""
    dy = as_array(dy)
    out = np.empty((len(dy), classes), dy.dtype)

    def put(out: Array, dy: Array, labels: Array) -> None:
        out.fill(0)
        out[np.arange(len(labels)), labels] = dy

    launch_python(put, out, dy, as_array(labels), name="pick_grad")
    return out


class _Classes:
    """Scores and class indices of many samples as rows x (N, C) and labels (N,), with what weighs each sample.

    shape : of the losses; (), (N,) or (N, d1, ...) for scores (C,), (N, C) or (N, C, d1, ...).
    kept : which labels are not ``ignore_index``; None for all.
    factor : the weight of each sample's class, 0 where ignored; None for 1.
    """

    def __init__(self, name: str, input: Any, target: Any, weight: Any, ignore_index: int | None) -> None:
        target = target if isinstance(target, Tensor) else np.asarray(target)
        x, self.weight = _tensors(name, input=input, weight=weight)
        axis = min(x.ndim - 1, 1)
        if target.dtype.kind not in "iu":
            raise TypeError(f"{name} takes class indices, integers, as target, got {target.dtype}")
        self.shape = x.shape[:axis] + x.shape[axis + 1 :]
        if axis < 0 or target.shape != self.shape or x.shape[axis] == 0:
            raise ValueError(
                f"{name} needs input (N, C, ...) and target (N, ...), C at least 1, got {x.shape} and {target.shape}"
            )
        classes = x.shape[axis]
        if self.weight is not None and self.weight.shape != (classes,):
            raise ValueError(f"{name} needs a weight of shape {(classes,)}, got {self.weight.shape}")
        if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
            raise TypeError(f"{name} needs an integer or None as ignore_index, got {ignore_index!r}")
        if x.ndim > 2:
            x = permute_dims(x, (0, *range(2, x.ndim), 1))
        self.x = x if x.ndim == 2 else reshape(x, (int(np.prod(self.shape)), classes))
        self.labels = reshape(target, (-1,))
        self.kept = None if ignore_index is None else not_equal(self.labels, ignore_index)
        if self.kept is not None:
            self.labels = where(self.kept, self.labels, 0)
        self.factor: Any = None

    def reduced(self, losses: Any, smooth: Any, reduction: str) -> Tensor:
        """``losses weight[label] + smooth`` of each sample that is kept; the mean is weighted alike."""
        if self.weight is not None:
            self.factor = getitem(self.weight, self.labels)
            losses = losses * self.factor
        losses = losses if smooth is None else losses + smooth
        if self.kept is not None:
            losses = where(self.kept, losses, 0.0)
            self.factor = where(self.kept, 1.0 if self.factor is None else self.factor, 0.0)
        if reduction == "mean" and self.factor is not None:
            return sum(losses) / sum(self.factor)
        return _reduced(reshape(losses, self.shape), reduction)


@composed(
    Domain(
        "(N,C),(N),(C)",
        {"target": Labels("input"), "weight": WEIGHT},
        {**REDUCTION, "ignore_index": (None, 5), "label_smoothing": (0.0, 0.25)},
    ),
    "input",
    "target",
    "weight",
)
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of class indices, or of class probabilities, under ``softmax(input)``.

    input : (N, C) scores of the classes, also (C,) or (N, C, d1, ...).
    target : integers in [0, C), shape (N,), (), (N, d1, ...); ``-log softmax(input)[target]`` each.
        Or floats in the shape of input: ``-sum over c of target_c log softmax(input)_c``.
    weight : (C,), a factor for each class.
    ignore_index : samples with this label count for nothing (PyTorch's default is -100).
    reduction : the mean over samples, for class indices weighted by their ``weight``; or "sum", "none".
    label_smoothing : the part of the target that is spread evenly over all classes (Szegedy et al. 2016).

    Raises ``IndexError`` for a label outside the classes.
    """
    if isinstance(weight, str):
        raise TypeError(f"cross_entropy takes the weight of each class third; use reduction={weight!r}")
    target = target if isinstance(target, Tensor) else np.asarray(target)
    plain = weight is None and ignore_index is None and label_smoothing == 0
    if plain and getattr(input, "ndim", 0) == 2 and target.ndim == 1:
        if reduction == "mean":
            return mean_cross_entropy(input, target)
        return _reduced(sample_cross_entropy(input, target), reduction)
    smoothing = _number("cross_entropy", 0, label_smoothing=label_smoothing)
    if smoothing > 1:
        raise ValueError(f"cross_entropy needs label_smoothing in [0, 1], got {label_smoothing!r}")
    if target.dtype.kind == "f" and target.shape == np.shape(getattr(input, "data", input)):
        return _soft_cross_entropy(input, target, weight, ignore_index, reduction, smoothing)
    rows = _Classes("cross_entropy", input, target, weight, ignore_index)
    losses = sample_cross_entropy(rows.x, rows.labels)
    if smoothing == 0:
        return rows.reduced(losses, None, reduction)
    logs = log_softmax(rows.x)
    logs = logs if rows.weight is None else logs * rows.weight
    return rows.reduced(losses * (1 - smoothing), mean(logs, 1) * -smoothing, reduction)


def _soft_cross_entropy(
    input: Any, target: Any, weight: Any, ignore_index: int | None, reduction: str, smoothing: float
) -> Tensor:
    x, target, weight = _tensors("cross_entropy", input=input, target=target, weight=weight)
    axis = min(x.ndim - 1, 1)
    if axis < 0 or x.shape[axis] == 0:
        raise ValueError(f"cross_entropy needs input (N, C, ...), C at least 1, got {x.shape}")
    if ignore_index is not None:
        raise ValueError("cross_entropy takes ignore_index with class indices only, not with probabilities")
    classes = x.shape[axis]
    if weight is not None:
        if weight.shape != (classes,):
            raise ValueError(f"cross_entropy needs a weight of shape {(classes,)}, got {weight.shape}")
        weight = reshape(weight, (-1,) + (1,) * (x.ndim - axis - 1))
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    terms = target * log_softmax(x, axis)
    return _reduced(-sum(terms if weight is None else terms * weight, axis), reduction)


@composed(
    Domain("(N,C),(N),(C)", {"target": Labels("input"), "weight": WEIGHT}, {**REDUCTION, "ignore_index": (None, 5)}),
    "input",
    "target",
    "weight",
)
def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean"
) -> Tensor:
    """``-input[target]`` of each sample: input (N, C), log-probabilities, target (N,) integers in [0, C).

    Shapes, weight, ignore_index and reduction are those of ``cross_entropy``, which is
    this after ``log_softmax``.
    """
    rows = _Classes("nll_loss", input, target, weight, ignore_index)
    return rows.reduced(-pick(rows.x, rows.labels), None, reduction)


def _violations(rows: _Classes, margin: float) -> Any:
    """``max(0, margin + x_j - x_label)`` for j other than the label, and 0 there: (N, C)."""
    own = equal(reshape(rows.labels, (-1, 1)), np.arange(rows.x.shape[1]))
    return where(own, 0.0, relu(rows.x - reshape(pick(rows.x, rows.labels), (-1, 1)) + margin))


@composed(
    Domain(
        "(N,C),(N),(C)",
        {"target": Labels("input"), "weight": WEIGHT},
        {**REDUCTION, "p": (1, 2), "margin": (0.75, 1.25)},
        apart=("input",),
        kinks="0 at the margin",
    ),
    "input",
    "target",
    "weight",
)
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """``weight_y / C sum over j != y of max(0, margin - x_y + x_j)^p``: x = input (N, C), y = target (N,), p 1 or 2.

    PyTorch's, which divides by the number of classes; ``multiclass_svm_loss`` does not.
    The mean is over samples, whatever their weights.
    """
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss needs p of 1 or 2, got {p!r}")
    rows = _Classes("multi_margin_loss", input, target, weight, None)
    found = _violations(rows, _number("multi_margin_loss", margin=margin))
    losses = mean(found if p == 1 else square(found), 1)
    if rows.weight is not None:
        losses = losses * getitem(rows.weight, rows.labels)
    return _reduced(reshape(losses, rows.shape), reduction)


@composed(
    Domain(
        "(N,C),(N)",
        {"target": Labels("input")},
        {**REDUCTION, "margin": (0.75, 1.25)},
        apart=("input",),
        kinks="0 at the margin",
    ),
    "input",
    "target",
)
def multiclass_svm_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """``sum over j != y of max(0, s_j - s_y + margin)``: s = input (N, C), y = target (N,); the mean is over samples.

    The hinge loss of Weston and Watkins (1999), as lectures on linear classifiers have it.
    """
    rows = _Classes("multiclass_svm_loss", input, target, None, None)
    losses = sum(_violations(rows, _number("multiclass_svm_loss", margin=margin)), 1)
    return _reduced(reshape(losses, rows.shape), reduction)
