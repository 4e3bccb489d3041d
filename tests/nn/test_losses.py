from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_squared_error

import minigrad as mg
from minigrad import nn, ops
from minigrad.random import Generator

N, C = 5, 3
WEIGHT = [0.5, 2.0, 1.5]


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return Generator(seed).normal(shape)


def test_cross_entropy_loss_is_the_negative_log_likelihood(target: str) -> None:
    logits, labels = normal(6, 4) * 5, np.array([0, 3, 1, 1, 2, 0])
    x = logits.astype(np.float64)
    losses = np.log(np.exp(x).sum(axis=1)) - x[np.arange(6), labels]
    for reduction, expected in (("none", losses), ("sum", losses.sum()), ("mean", losses.mean())):
        y = nn.CrossEntropyLoss(reduction=reduction)(logits, labels)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 3]), IndexError, r"labels must lie in \[0, 3\) for 3 classes, got 3 at position 1"),
        (np.array([-1, 0]), IndexError, "got -1 at position 0"),
        (np.array([0.0, 1.0]), TypeError, "integers, as labels, got float64"),
        (np.array([0]), ValueError, r"got \(2, 3\) and \(1,\)"),
    ],
)
def test_cross_entropy_loss_names_bad_labels(target: str, labels: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.CrossEntropyLoss()(mg.ones((2, 3)), labels)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'average'"):
        nn.CrossEntropyLoss(reduction="average")


# Every loss: the operation that it is, and what it is given ---------------------------------------

SHARES, SIGNS = "shares", "signs"
LOSSES: dict[str, tuple[str, Callable[..., Any]]] = {
    "MSELoss()": ("", mg.mse_loss),
    "L1Loss()": ("", mg.l1_loss),
    "HuberLoss(delta=0.4)": ("", lambda x, t, reduction: mg.huber_loss(x, t, reduction, 0.4)),
    "SmoothL1Loss(beta=0.4)": ("", lambda x, t, reduction: mg.smooth_l1_loss(x, t, reduction, 0.4)),
    "BCEWithLogitsLoss(WEIGHT, pos_weight=2 * WEIGHT)": (
        SHARES,
        lambda x, t, reduction: mg.binary_cross_entropy_with_logits(x, t, W, reduction, 2 * W),
    ),
    "BCELoss(WEIGHT)": (SHARES, lambda x, t, reduction: mg.binary_cross_entropy(x, t, W, reduction)),
    "KLDivLoss()": (SHARES, mg.kl_div),
    "KLDivLoss(log_target=True)": ("", lambda x, t, reduction: mg.kl_div(x, t, reduction, log_target=True)),
    "SoftMarginLoss()": (SIGNS, mg.soft_margin_loss),
    "HingeEmbeddingLoss(0.4)": (SIGNS, lambda x, t, reduction: mg.hinge_embedding_loss(x, t, 0.4, reduction)),
    "MarginRankingLoss(0.4)": ("pair", lambda a, b, t, reduction: mg.margin_ranking_loss(a, b, t, 0.4, reduction)),
    "CrossEntropyLoss()": ("labels", lambda x, t, reduction: mg.cross_entropy(x, t, reduction=reduction)),
    "CrossEntropyLoss(WEIGHT, ignore_index=1, label_smoothing=0.2)": (
        "labels",
        lambda x, t, reduction: mg.cross_entropy(x, t, W, 1, reduction, 0.2),
    ),
    "CrossEntropyLoss(WEIGHT)": (SHARES, lambda x, t, reduction: mg.cross_entropy(x, t, W, reduction=reduction)),
    "NLLLoss(WEIGHT, ignore_index=2)": ("labels", lambda x, t, reduction: mg.nll_loss(x, t, W, 2, reduction)),
    "MultiMarginLoss(2, 0.4, WEIGHT)": (
        "labels",
        lambda x, t, reduction: mg.multi_margin_loss(x, t, 2, 0.4, W, reduction),
    ),
    "MultiClassSVMLoss(0.4)": ("labels", lambda x, t, reduction: mg.multiclass_svm_loss(x, t, 0.4, reduction)),
}
W = np.array(WEIGHT, np.float32)
every_loss = pytest.mark.parametrize("expression", LOSSES)


def made(expression: str, reduction: str = "mean") -> Any:
    changed = expression[:-1] + ("" if expression.endswith("()") else ", ") + f"reduction={reduction!r})"
    return eval(changed, {**vars(nn), "WEIGHT": W})


def inputs(expression: str, n: int = N) -> list[Any]:
    rng = np.random.default_rng(1)
    x = rng.uniform(0.1, 0.9, (n, C)).astype(np.float32)
    kind = LOSSES[expression][0]
    signs = rng.choice([-1.0, 1.0], (n, C)).astype(np.float32)
    labels = rng.integers(0, C, n)
    labels[0] = 0  # one at least is not ignored
    shares = rng.dirichlet(np.ones(C), n).astype(np.float32)
    more = {SHARES: [shares], SIGNS: [signs], "pair": [x[::-1].copy(), signs], "labels": [labels]}
    return [x, *more.get(kind, [normal(n, C)])]


@every_loss
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_is_its_operation(expression: str, reduction: str) -> None:
    arguments = inputs(expression)
    found = made(expression, reduction)(*arguments)
    wanted = LOSSES[expression][1](*arguments, reduction=reduction)
    assert found.data.tobytes() == wanted.data.tobytes()
    assert found.shape == wanted.shape


def test_every_loss_is_in_the_table() -> None:
    names = {name for name in nn.__all__ if name.endswith("Loss")}
    assert names == {name.partition("(")[0] for name in LOSSES}
    assert len(names) == len([name for name in ops.losses.__dict__ if name.endswith("_loss") and name[0] != "_"]) + 4


# Sample weights --------------------------------------------------------------------------------------


@every_loss
@given(times=st.lists(st.integers(0, 3), min_size=N, max_size=N))
def test_a_weight_of_k_is_the_sample_k_times(expression: str, times: list[int]) -> None:
    """In float64, for the sum and the weighted mean, class weights and ignored labels included."""
    single, double = [], []
    for a in inputs(expression):
        wide = a if a.dtype.kind == "i" else a.astype(np.float64)
        single.append(wide)
        double.append(np.repeat(wide, times, axis=0))
    for reduction in ("sum", "mean", *(["batchmean"] if expression.startswith("KL") else [])):
        loss = eval(expression[:-1] + ("" if expression.endswith("()") else ", ") + f"reduction={reduction!r})",
                    {**vars(nn), "WEIGHT": W.astype(np.float64)})  # fmt: skip
        found = loss(*single, sample_weight=np.array(times, np.float64)).numpy()
        if sum(times) == 0:
            assert np.isnan(found) if reduction != "sum" else found == 0
            continue
        np.testing.assert_allclose(found, loss(*double).numpy(), rtol=1e-12, atol=1e-12)


@every_loss
def test_weights_of_one_change_nothing_and_none_keeps_each_loss(expression: str) -> None:
    arguments = inputs(expression)
    for reduction in ("mean", "sum", "none"):
        loss = made(expression, reduction)
        found = loss(*arguments, sample_weight=np.ones(N, np.float32)).numpy()
        np.testing.assert_allclose(found, loss(*arguments).numpy(), rtol=1e-6)
    weight = normal(N, seed=3)
    losses = loss(*arguments).numpy()
    wanted = losses * weight.reshape(-1, *[1] * (losses.ndim - 1))
    np.testing.assert_allclose(loss(*arguments, sample_weight=weight).numpy(), wanted, rtol=1e-6)


def test_the_weighted_mean_is_scikit_learns() -> None:
    x, labels, weight = normal(6, 4).astype(np.float64), np.array([0, 3, 1, 1, 2, 0]), np.arange(1.0, 7.0)
    found = nn.CrossEntropyLoss()(x, labels, sample_weight=weight).item()
    assert found == pytest.approx(log_loss(labels, mg.softmax(x, axis=1).numpy(), sample_weight=weight), rel=1e-12)
    target = normal(6, 4, seed=1).astype(np.float64)
    found = nn.MSELoss()(x, target, sample_weight=weight).item()
    assert found == pytest.approx(mean_squared_error(target, x, sample_weight=weight), rel=1e-12)


def test_weights_of_elements_and_integers_and_gradients() -> None:
    x = mg.tensor(normal(2, 3), requires_grad=True)
    weight = np.array([[1, 0, 0], [0, 2, 1]])
    loss = nn.L1Loss()(x, np.zeros((2, 3), np.float32), sample_weight=weight)
    assert loss.item() == pytest.approx((np.abs(x.numpy()) * weight).sum() / 4)
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.sign(x.numpy()) * weight / 4)  # type: ignore[union-attr]


def test_class_weights_are_buffers_that_are_saved_and_read_where_they_are() -> None:
    loss = nn.CrossEntropyLoss(weight=WEIGHT)
    assert [type(b) for b in loss.buffers()] == [nn.Buffer]
    arguments = inputs("CrossEntropyLoss()")
    loss.load_state_dict({"weight": np.ones(3, np.float32)})
    assert loss(*arguments).item() == pytest.approx(nn.CrossEntropyLoss()(*arguments).item())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nn.MSELoss()(x, x, sample_weight=np.ones(3, np.float32)), ValueError,
         r"sample_weight needs the shape of the losses, \(5, 3\), or of their first axes, got \(3,\)"),
        (lambda x: nn.MSELoss()(x, x, sample_weight=np.ones(5)), TypeError, "MSELoss does not mix float32 and float64"),
        (lambda x: nn.MSELoss()(x, x, sample_weight=[1.0] * 5), TypeError, "got list"),
        (lambda x: nn.KLDivLoss(reduction="batchmean")(x, x, sample_weight=np.ones((5, 3), np.float32)), ValueError,
         r"'batchmean' needs one sample_weight a sample, got \(5, 3\)"),
        (lambda x: nn.CrossEntropyLoss("sum"), TypeError, "takes numbers as weight, its first argument, got 'sum'"),
        (lambda x: nn.HuberLoss("sum"), TypeError, "positional"),  # type: ignore[call-arg]
        (lambda x: nn.MSELoss(reduction="batchmean"), ValueError, "'mean', 'sum' or 'none', got 'batchmean'"),
        (lambda x: nn.KLDivLoss(reduction="x"), ValueError, "'mean', 'batchmean', 'sum' or 'none', got 'x'"),
        (lambda x: nn.CrossEntropyLoss([1.0, 2.0])(x, np.zeros(5, int)), ValueError, r"shape \(3,\), got \(2,"),
        (lambda x: nn.HuberLoss(delta=-1)(x, x), ValueError, "delta above 0, got -1"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call: Callable[[Any], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(normal(N, C))


def test_functional_offers_the_operations_themselves() -> None:
    """But for ``pad``, whose arguments are others than NumPy's: see test_functional.py."""
    assert nn.functional.logsigmoid is ops.log_sigmoid
    for name in {*nn.functional.__all__} - {"pad", "logsigmoid"}:
        assert getattr(nn.functional, name) is getattr(ops, name)
