"""Losses against loops and NumPy, at huge values against mpmath, their gradients, and what they refuse."""

import inspect
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import minigrad as mg
from minigrad.testing import check_grads

LOGITS = np.array([[1.0, -2.0, 0.5], [0.1, 0.2, 0.3]])
LABELS = np.array([2, 0])
RNG = np.random.default_rng(0)
SIGNS = np.array([[1, -1, 1], [-1, -1, 1]])
SCORES = np.array([[0.9, -1.7, 0.45], [0.1, 0.22, 0.37]])
PROBABILITIES = special.softmax(RNG.standard_normal((2, 3)), 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_cross_entropy_takes_any_integers(dtype: Any) -> None:
    expected = -special.log_softmax(LOGITS, 1)[[0, 1], LABELS]
    for labels in (LABELS.astype(dtype), mg.tensor(LABELS.astype(dtype)), LABELS.tolist()):
        found = mg.cross_entropy(LOGITS, labels, reduction="none")
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert mg.cross_entropy(LOGITS, LABELS).item() == pytest.approx(expected.mean())
    assert mg.cross_entropy(LOGITS, LABELS, reduction="sum").item() == pytest.approx(expected.sum())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_are_differentiated(reduction: str) -> None:
    check_grads(lambda x: mg.cross_entropy(x, LABELS, reduction=reduction), LOGITS)
    check_grads(lambda a, b: mg.mse_loss(a, b, reduction), LOGITS, LOGITS[::-1])


@pytest.mark.parametrize(
    ("logits", "labels", "error", "match"),
    [
        (LOGITS, [0, 3], IndexError, r"labels must lie in \[0, 3\) for 3 classes, got 3 at position 1"),
        (LOGITS, [-1, 0], IndexError, r"got -1 at position 0"),
        (LOGITS, [0.0, 1.0], TypeError, "class indices, integers, as labels, got float64"),
        (LOGITS, [True, False], TypeError, "got bool"),
        (LOGITS, [0, 1, 2], ValueError, r"logits \(N, C\) and labels \(N,\), C at least 1, got \(2, 3\) and \(3,\)"),
        (LOGITS, np.eye(3, dtype=int)[LABELS], ValueError, r"got \(2, 3\) and \(2, 3\)"),
        (LOGITS[0], [0], ValueError, r"got \(3,\) and \(1,\)"),
        (np.zeros((2, 0)), [0, 0], ValueError, r"\(2, 0\)"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_refuses(logits: Any, labels: Any, error: type[Exception], match: str, dtype: Any) -> None:
    with pytest.raises(error, match=match):
        mg.cross_entropy(mg.tensor(logits, dtype), np.array(labels))


# Each against a formula of one element ---------------------------------------------------------------


def relu(x: float) -> float:
    return max(0.0, x)


# The loss, its further arguments, the inputs, and what it is of one element of each.
CASES: list[tuple[Any, dict[str, Any], tuple[Any, ...], Callable[..., float]]] = [
    (mg.mse_loss, {}, (SCORES, PROBABILITIES), lambda x, t: (x - t) ** 2),
    (mg.l1_loss, {}, (SCORES, SIGNS), lambda x, t: abs(x - t)),
    (mg.huber_loss, {}, (SCORES, PROBABILITIES), lambda x, t: special.huber(1, x - t)),
    (mg.huber_loss, {"delta": 0.3}, (SCORES, SIGNS), lambda x, t: special.huber(0.3, x - t)),
    (mg.smooth_l1_loss, {}, (SCORES, PROBABILITIES), lambda x, t: special.huber(1, x - t)),
    (mg.smooth_l1_loss, {"beta": 0.5}, (SCORES, SIGNS), lambda x, t: special.huber(0.5, x - t) / 0.5),
    (mg.smooth_l1_loss, {"beta": 0}, (SCORES, SIGNS), lambda x, t: abs(x - t)),
    (
        mg.binary_cross_entropy,
        {},
        (PROBABILITIES, SIGNS > 0),
        lambda p, t: -special.xlogy(t, p) - special.xlogy(1 - t, 1 - p),
    ),
    (
        mg.binary_cross_entropy_with_logits,
        {},
        (SCORES, PROBABILITIES),
        lambda x, t: -t * special.log_expit(x) - (1 - t) * special.log_expit(-x),
    ),
    (
        mg.binary_cross_entropy_with_logits,
        {"pos_weight": 2.5},
        (SCORES, PROBABILITIES),
        lambda x, t: -2.5 * t * special.log_expit(x) - (1 - t) * special.log_expit(-x),
    ),
    (mg.soft_margin_loss, {}, (SCORES, SIGNS), lambda x, t: np.log1p(np.exp(-t * x))),
    (mg.hinge_embedding_loss, {}, (SCORES, SIGNS), lambda x, t: x if t == 1 else relu(1 - x)),
    (mg.hinge_embedding_loss, {"margin": 0.2}, (SCORES, SIGNS), lambda x, t: x if t == 1 else relu(0.2 - x)),
    (mg.margin_ranking_loss, {}, (SCORES, PROBABILITIES, SIGNS), lambda a, b, t: relu(-t * (a - b))),
    (mg.margin_ranking_loss, {"margin": 0.4}, (SCORES, PROBABILITIES, SIGNS), lambda a, b, t: relu(0.4 - t * (a - b))),
    (mg.kl_div, {}, (SCORES, PROBABILITIES), lambda x, t: t * (np.log(t) - x)),
    (mg.kl_div, {"log_target": True}, (SCORES, np.log(PROBABILITIES)), lambda x, t: np.exp(t) * (t - x)),
]
each = pytest.mark.parametrize(
    ("loss", "options", "inputs", "formula"),
    CASES,
    ids=[f"{case[0].__name__}{i}" for i, case in enumerate(CASES)],
)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_is_its_formula(loss: Any, options: Any, inputs: Any, formula: Any, dtype: Any) -> None:
    cast = [a.astype(dtype) if a.dtype.kind == "f" else a for a in inputs]
    wanted = np.array([formula(*map(float, together)) for together in zip(*[a.flat for a in cast], strict=True)])
    limit = {"rtol": 16 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    found = loss(*cast, reduction="none", **options)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), wanted.reshape(2, 3), **limit)
    np.testing.assert_allclose(loss(*cast, reduction="sum", **options).item(), wanted.sum(), **limit)
    np.testing.assert_allclose(loss(*map(mg.tensor, cast), **options).item(), wanted.mean(), **limit)
    nothing = loss(*[a[:0] for a in cast], reduction="none", **options)
    assert nothing.shape == (0, 3)
    assert loss(*[a[:0] for a in cast], reduction="sum", **options).item() == 0


@each
def test_a_loss_is_differentiated(loss: Any, options: Any, inputs: Any, formula: Any) -> None:
    for reduction in ("mean", "none"):
        check_grads(partial(loss, reduction=reduction, **options), *inputs)


@each
def test_a_loss_passes_nan(loss: Any, options: Any, inputs: Any, formula: Any) -> None:
    x = inputs[0].copy()
    x[0, 1] = np.nan
    found = loss(x, *inputs[1:], reduction="none", **options).numpy()
    assert np.isnan(found).tolist() == [[False, True, False], [False] * 3]


@each
def test_a_loss_takes_equal_shapes_of_one_precision_and_known_reductions(
    loss: Any, options: Any, inputs: Any, formula: Any
) -> None:
    first, second = list(inspect.signature(loss).parameters)[:2]
    with pytest.raises(
        ValueError, match=rf"{loss.__name__} needs equal shapes, got {first} \(2, 3\) and {second} \(3,\)"
    ):
        loss(inputs[0], inputs[1][0], *inputs[2:], **options)
    with pytest.raises(TypeError, match=f"{loss.__name__} takes a tensor or an array as {second}, got list"):
        loss(inputs[0], inputs[1].tolist(), *inputs[2:], **options)
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        loss(*inputs, reduction="avg", **options)
    with pytest.raises(TypeError, match=f"{loss.__name__} does not mix float32 and float64"):
        loss(inputs[0].astype(np.float32), *[a.astype(np.float64) for a in inputs[1:]], **options)


def test_kl_div_of_batches_and_of_impossible_events() -> None:
    found = mg.kl_div(np.log(PROBABILITIES[::-1]), PROBABILITIES, reduction="batchmean")
    wanted = [special.rel_entr(p, q).sum() for p, q in zip(PROBABILITIES, PROBABILITIES[::-1], strict=True)]
    assert found.item() == pytest.approx(np.mean(wanted))
    x, t = (mg.tensor(a, np.float64, requires_grad=True) for a in ([-1.0, -2.0], [0.0, 1.0]))
    losses = mg.kl_div(x, t, reduction="none")
    assert losses.tolist() == [0, 2]
    losses.sum().backward()
    assert x.grad.tolist() == [0, -1]
    assert np.isfinite(t.grad.numpy()).all()
    with pytest.raises(ValueError, match="batchmean"):
        mg.kl_div(np.array(1.0), np.array(1.0), reduction="batchmean")


def test_weights_of_binary_losses() -> None:
    weight = np.array([1.0, 0.0, 3.0])
    for loss, x in ((mg.binary_cross_entropy, PROBABILITIES), (mg.binary_cross_entropy_with_logits, LOGITS)):
        plain = loss(x, PROBABILITIES, reduction="none").numpy()
        np.testing.assert_allclose(loss(x, PROBABILITIES, weight, "none").numpy(), plain * weight, rtol=1e-14)
        assert loss(x, PROBABILITIES, weight).item() == pytest.approx((plain * weight).mean())
        with pytest.raises(ValueError, match=r"a weight that broadcasts to \(2, 3\), got \(2,\)"):
            loss(x, PROBABILITIES, weight[:2])
    loss = mg.binary_cross_entropy_with_logits
    plain, positive = (loss(LOGITS, SIGNS * 0 + t, reduction="none").numpy() for t in (0, 1))
    mixed = loss(LOGITS, PROBABILITIES, reduction="none", pos_weight=weight).numpy()
    np.testing.assert_allclose(mixed, (1 - PROBABILITIES) * plain + PROBABILITIES * weight * positive, rtol=1e-14)
    with pytest.raises(ValueError, match=r"a pos_weight that broadcasts to \(2, 3\), got \(1, 2, 3\)"):
        loss(LOGITS, PROBABILITIES, pos_weight=np.ones((1, 2, 3)))


def test_binary_cross_entropy_at_the_ends() -> None:
    p = mg.tensor([0.0, 0.0, 1.0, 1.0], requires_grad=True)
    losses = mg.binary_cross_entropy(p, np.array([0, 1, 0, 1]), reduction="none")
    assert losses.tolist() == [0, 100, 100, 0]
    losses.sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), np.array([0, -1e12, 1e12, 0]), rtol=1e-6)
    assert np.isnan(mg.binary_cross_entropy(np.array([-0.1]), np.array([0.5])).item())


def test_kinks_have_gradient_zero_or_pass() -> None:
    x = mg.tensor([0.0, 1.0, -1.0, np.inf, -np.inf], requires_grad=True)
    zero = mg.zeros(5)
    for loss, slopes in ((mg.l1_loss, [0, 1, -1, 1, -1]), (mg.huber_loss, [0, 1, -1, 1, -1])):
        assert mg.grad(loss(x, zero, reduction="sum"), x)[0].tolist() == slopes
    d = mg.tensor([-2.0, -1.0, 0.5, 1.0], requires_grad=True)
    (slope,) = mg.grad(mg.huber_loss(d, mg.zeros(4), reduction="sum"), d, create_graph=True)
    assert mg.grad(slope.sum(), d)[0].tolist() == [0, 1, 1, 1]
    assert mg.grad(mg.hinge_embedding_loss(x, zero - 1, reduction="sum"), x)[0].tolist() == [-1, 0, -1, 0, -1]


# Losses of many classes -----------------------------------------------------------------------------------


def log_softmax(row: Any) -> Any:
    top = max(row)
    return [v - top - np.log(sum(np.exp(u - top) for u in row)) for v in row]


@st.composite
def classified(draw: st.DrawFn) -> tuple[Any, ...]:
    """Scores, class indices, and the options that cross_entropy and nll_loss share."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes, more = draw(st.integers(1, 4)), draw(st.sampled_from([(), (2,), (2, 3)]))
    samples = draw(st.sampled_from([(), (0,), (1,), (3,)])) if not more else (draw(st.integers(0, 2)),)
    ignored = draw(st.sampled_from([None, -100, 0]))
    x = rng.standard_normal((*samples, classes, *more)) * 3
    labels = np.asarray(rng.integers(0, classes, (*samples, *more)))
    if ignored == -100:
        labels = np.where(rng.random(labels.shape) < 0.3, ignored, labels)
    weight = rng.random(classes) + 0.1 if draw(st.booleans()) else None
    reduction = draw(st.sampled_from(["mean", "sum", "none"] if labels.size else ["sum", "none"]))  # no mean of nothing
    return x, labels, {"weight": weight, "ignore_index": ignored, "reduction": reduction}


def loop(x: Any, labels: Any, options: Any, one: Callable[..., float], smoothing: float = 0) -> Any:
    """PyTorch's formulas, sample by sample; ``one(row)`` gives the losses of all classes of a sample."""
    classes = x.shape[0 if x.ndim == 1 else 1]
    weight = np.ones(classes) if options["weight"] is None else options["weight"]
    rows = np.moveaxis(x, 0 if x.ndim == 1 else 1, -1)
    losses, total = np.zeros(labels.shape), 0.0
    for place in np.ndindex(*labels.shape):
        label = labels[place]
        if label != options["ignore_index"]:
            each = one(list(rows[place]))
            smooth = sum(w * v for w, v in zip(weight, each, strict=True)) / classes
            losses[place] = (1 - smoothing) * weight[label] * each[label] + smoothing * smooth
            total += weight[label]
    if options["reduction"] == "none":
        return losses
    return losses.sum() if options["reduction"] == "sum" else losses.sum() / total if total else np.nan


@given(classified(), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([np.float32, np.float64]))
def test_cross_entropy_and_nll_loss_are_their_loops(drawn: Any, smoothing: float, dtype: Any) -> None:
    x, labels, options = drawn
    given = {**options, "weight": None if options["weight"] is None else options["weight"].astype(dtype)}
    limit = {"rtol": 64 * np.finfo(dtype).eps, "atol": 64 * np.finfo(dtype).eps}
    found = mg.cross_entropy(x.astype(dtype), labels, label_smoothing=smoothing, **given)
    wanted = loop(x, labels, options, lambda row: [-v for v in log_softmax(row)], smoothing)
    assert found.shape == np.shape(wanted)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), wanted, **limit)
    found = mg.nll_loss(x.astype(dtype), mg.tensor(labels), **given)
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found.numpy(), loop(x, labels, options, lambda row: [-v for v in row]), **limit)


@given(classified(), st.sampled_from([0.0, 0.2]))
def test_cross_entropy_of_probabilities(drawn: Any, smoothing: float) -> None:
    x, _, options = drawn
    axis = 0 if x.ndim == 1 else 1
    target = special.softmax(x[..., ::-1] * 0.5, axis)
    weight = np.ones(x.shape[axis]) if options["weight"] is None else options["weight"]
    spread = target * (1 - smoothing) + smoothing / x.shape[axis]
    terms = -special.log_softmax(x, axis) * spread * weight.reshape(-1, *[1] * (x.ndim - axis - 1))
    losses = terms.sum(axis)
    wanted = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / max(losses.size, 1)}
    options = {"weight": options["weight"], "reduction": options["reduction"], "label_smoothing": smoothing}
    found = mg.cross_entropy(x, target, **options)
    assert found.shape == np.shape(wanted[options["reduction"]])
    np.testing.assert_allclose(found.numpy(), wanted[options["reduction"]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "order"), [((2, 3), 2), ((1, 3, 2), 1)])
def test_losses_of_classes_are_differentiated(shape: tuple[int, ...], order: int) -> None:
    rng = np.random.default_rng(5)
    x, weight = rng.standard_normal(shape), rng.random(3) + 0.1
    labels = np.array([2, 1]).reshape(*shape[:1], *shape[2:])
    target = special.softmax(rng.standard_normal(shape), 1)
    check = partial(check_grads, order=order)
    for options in ({"ignore_index": 2}, {"label_smoothing": 0.3}, {"ignore_index": 2, "label_smoothing": 0.3}):
        check(partial(mg.cross_entropy, weight=weight, **options), x, labels)
    check(partial(mg.cross_entropy, weight=weight, label_smoothing=0.2), x, target)
    check(lambda x, w: mg.cross_entropy(x, labels, w), x, weight)
    check(partial(mg.nll_loss, weight=weight, ignore_index=2), x, labels)
    for p in (1, 2):
        check(partial(mg.multi_margin_loss, p=p, margin=0.7), x, labels)
    check(lambda x, w: mg.multi_margin_loss(x, labels, 2, 0.7, w), x, weight)
    check(lambda x: mg.multiclass_svm_loss(x, labels, reduction="none"), x)


@given(classified(), st.sampled_from([1, 2]), st.sampled_from([0.5, 1.0]))
def test_margins_are_their_loops(drawn: Any, p: int, margin: float) -> None:
    x, labels, options = drawn
    labels = np.maximum(labels, 0)
    rows = np.moveaxis(x, 0 if x.ndim == 1 else 1, -1)
    weight = np.ones(rows.shape[-1]) if options["weight"] is None else options["weight"]
    svm, margins = np.zeros(labels.shape), np.zeros(labels.shape)
    for place in np.ndindex(*labels.shape):
        s, y = rows[place], labels[place]
        others = [j for j in range(len(s)) if j != y]
        svm[place] = sum(relu(s[j] - s[y] + margin) for j in others)
        margins[place] = sum(relu(margin - s[y] + s[j]) ** p for j in others) * weight[y] / len(s)
    for found, losses in (
        (mg.multiclass_svm_loss(x, labels, margin, options["reduction"]), svm),
        (mg.multi_margin_loss(x, labels, p, margin, options["weight"], options["reduction"]), margins),
    ):
        mean = losses.sum() / max(losses.size, 1)
        wanted = {"none": losses, "sum": losses.sum(), "mean": mean}[options["reduction"]]
        assert found.shape == np.shape(wanted)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_the_lectures_svm_example() -> None:
    """Cat, car, frog: scores of three images whose losses are 2.9, 0 and 12.9 (Stanford CS231n, lecture 3)."""
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    np.testing.assert_allclose(mg.multiclass_svm_loss(scores, [0, 1, 2], reduction="none").numpy(), [2.9, 0, 12.9])
    assert mg.multiclass_svm_loss(scores, [0, 1, 2]).item() == pytest.approx(15.8 / 3)
    assert mg.multi_margin_loss(scores, [0, 1, 2]).item() == pytest.approx(15.8 / 9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mg.cross_entropy(LOGITS, LABELS, "sum"), TypeError, "use reduction='sum'"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, np.ones(2)), ValueError, r"a weight of shape \(3,\), got \(2,\)"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, np.ones(3, np.float32)), TypeError, "does not mix"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, ignore_index=1.0), TypeError, "ignore_index, got 1.0"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, label_smoothing=1.5), ValueError, r"in \[0, 1\], got 1.5"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, label_smoothing=-1), ValueError, "label_smoothing, got -1"),
        (lambda: mg.cross_entropy(LOGITS, PROBABILITIES, ignore_index=1), ValueError, "with class indices only"),
        (lambda: mg.cross_entropy(LOGITS, PROBABILITIES, np.ones(2)), ValueError, r"weight of shape \(3,\)"),
        (lambda: mg.cross_entropy(LOGITS, [0, 3], np.ones(3)), IndexError, "got 3 at position 1"),
        (lambda: mg.cross_entropy(LOGITS, [0, -1], ignore_index=-100), IndexError, "got -1 at position 1"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, reduction="avg"), ValueError, "reduction"),
        (lambda: mg.cross_entropy(LOGITS, LABELS, ignore_index=1, reduction="avg"), ValueError, "reduction"),
        (lambda: mg.cross_entropy(LOGITS[:, :0], LOGITS[:, :0]), ValueError, "C at least 1"),
        (lambda: mg.nll_loss(LOGITS, [0, 3]), IndexError, "got 3 at position 1"),
        (lambda: mg.nll_loss(LOGITS, [0, -1]), IndexError, "got -1 at position 1"),
        (lambda: mg.nll_loss(LOGITS, PROBABILITIES), TypeError, "nll_loss takes class indices"),
        (lambda: mg.nll_loss(LOGITS, LABELS[:1]), ValueError, r"got \(2, 3\) and \(1,\)"),
        (lambda: mg.nll_loss(np.array(1.0), np.array(0)), ValueError, "nll_loss needs input"),
        (lambda: mg.multi_margin_loss(LOGITS, LABELS, 3), ValueError, "p of 1 or 2, got 3"),
        (lambda: mg.multi_margin_loss(LOGITS, LABELS, margin=None), ValueError, "margin, got None"),
        (lambda: mg.multiclass_svm_loss(LOGITS, [5, 0]), IndexError, "got 5 at position 0"),
        (lambda: mg.huber_loss(LOGITS, LOGITS, delta=0), ValueError, "delta above 0"),
        (lambda: mg.smooth_l1_loss(LOGITS, LOGITS, beta=-1), ValueError, "at least 0 as beta, got -1"),
        (lambda: mg.hinge_embedding_loss(LOGITS, SIGNS, margin="a"), ValueError, "margin, got 'a'"),
    ],
)
def test_losses_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# Huge values ------------------------------------------------------------------------------------------------

HUGE = [-1e4, -300.0, -30.0, 0.0, 1e-3, 5.0, 40.0, 9.9e3, 1e4]
mpmath.mp.dps = 50


def exactly(row: Any) -> dict[str, Any]:
    """softmax, log_softmax and logsumexp of a row in 50 digits."""
    row = [mpmath.mpf(float(v)) for v in row]
    top = max(row)
    total = mpmath.fsum(mpmath.exp(v - top) for v in row)
    softmax = [mpmath.exp(v - top) / total for v in row]
    return {
        "softmax": softmax,
        "log_softmax": [v - top - mpmath.log(total) for v in row],
        "logsumexp": top + mpmath.log(total),
    }


def near(found: Any, wanted: Any, dtype: Any, scale: float = 1.0) -> None:
    """Right but for a few units in the last place of ``scale`` and of the value; nothing below the smallest float."""
    wanted = np.array(wanted, dtype=np.float64)
    eps = np.finfo(dtype).eps
    assert np.isfinite(found.numpy()).all()
    np.testing.assert_allclose(found.numpy(), wanted, rtol=32 * eps, atol=8 * eps * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", [*itertools.permutations([-1e4, 0.3, 1e4]), HUGE, [1e4] * 3, [-1e4, -1e4]])
def test_softmax_and_its_kin_of_huge_values(row: Any, dtype: Any) -> None:
    x = mg.tensor(np.array(row, dtype), requires_grad=True)
    n, size = len(row), max(map(abs, row))
    wanted = exactly(x.numpy())
    near(mg.softmax(x), wanted["softmax"], dtype)
    near(mg.log_softmax(x), wanted["log_softmax"], dtype, size)
    near(mg.logsumexp(x), wanted["logsumexp"], dtype, size)
    near(mg.grad(mg.logsumexp(x), x)[0], wanted["softmax"], dtype, size)
    for k in range(n):
        own = [mpmath.mpf(i == k) for i in range(n)]
        slopes = [o - p for o, p in zip(own, wanted["softmax"], strict=True)]
        near(mg.grad(mg.log_softmax(x)[k], x)[0], slopes, dtype, size)
        near(mg.grad(mg.softmax(x)[k], x)[0], [wanted["softmax"][k] * s for s in slopes], dtype)
        loss = mg.cross_entropy(x.reshape(1, -1), [k])
        near(loss, -wanted["log_softmax"][k], dtype, size)
        near(mg.grad(loss, x)[0], [-s for s in slopes], dtype)
        for options in ({"label_smoothing": 0.1}, {"weight": np.ones(n, dtype)}, {"ignore_index": -1}):
            loss = mg.cross_entropy(x.reshape(1, -1), [k], **options)
            smooth = options.get("label_smoothing", 0)
            target = [(1 - smooth) * o + smooth / n for o in own]
            exact = -sum(t * v for t, v in zip(target, wanted["log_softmax"], strict=True))
            near(loss, exact, dtype, size)
            near(mg.grad(loss, x)[0], [p - t for p, t in zip(wanted["softmax"], target, strict=True)], dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_binary_cross_entropy_with_logits_of_huge_values(target: float, dtype: Any) -> None:
    """To the last digits, also where the loss is tiny."""
    x = mg.tensor(np.array([*HUGE, -20.0, 20.0, -90.0], dtype), requires_grad=True)
    losses = mg.binary_cross_entropy_with_logits(x, np.full(x.shape, target, dtype), reduction="none", pos_weight=3.0)
    t = mpmath.mpf(target)
    wanted, slopes = [], []
    for value in x.numpy():
        v = mpmath.mpf(float(value))
        wanted.append(3 * t * mpmath.log1p(mpmath.exp(-v)) + (1 - t) * mpmath.log1p(mpmath.exp(v)))
        slopes.append(-3 * t / (1 + mpmath.exp(v)) + (1 - t) / (1 + mpmath.exp(-v)))
    limit = np.finfo(dtype)
    smallest = limit.tiny if target in (0, 1) else limit.eps  # between, the two terms of a slope may cancel
    for found, exact in ((losses, wanted), (mg.grad(losses.sum(), x)[0], slopes)):
        assert np.isfinite(found.numpy()).all()
        np.testing.assert_allclose(found.numpy(), np.array(exact, np.float64), rtol=16 * limit.eps, atol=smallest)


@pytest.mark.parametrize("loss", [mg.mse_loss, mg.kl_div, mg.binary_cross_entropy, mg.cross_entropy, mg.nll_loss])
def test_what_is_missing_is_named(loss: Any) -> None:
    with pytest.raises(TypeError, match="a tensor or an array as input, got NoneType"):
        loss(None, np.array([0, 1]))
