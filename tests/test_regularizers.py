"""Penalties against NumPy; and that they do what the decays of the optimizers do."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, optim
from minigrad.regularizers import L1, L2, ElasticNet, MaxNorm, Orthogonal, Regularizer
from minigrad.testing import check_grads

Array = np.ndarray[Any, Any]


def rows(w: Array) -> Array:
    return w.reshape(len(w), -1) if w.size else np.zeros((len(w), int(np.prod(w.shape[1:]))))


def orthogonal(w: Array) -> float:
    matrix = rows(w)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return float(np.linalg.norm(gram - np.eye(len(gram))) ** 2)


def max_norm(w: Array) -> float:
    return float(sum(max(np.linalg.norm(row) - 0.7, 0) ** 2 for row in rows(w)))


FORMULAS: list[tuple[Regularizer, Any]] = [
    (L1(0.3), lambda w: 0.3 * np.abs(w).sum()),
    (L2(0.3), lambda w: 0.3 * (w * w).sum()),
    (L2(0.3, half=True), lambda w: 0.15 * np.linalg.norm(w.ravel()) ** 2),
    (ElasticNet(0.3, 0.4), lambda w: 0.3 * (0.4 * w * w + np.abs(w)).sum()),
    (ElasticNet(0.3, 0.4, half=True), lambda w: 0.3 * (0.2 * w * w + np.abs(w)).sum()),
    (MaxNorm(0.3, 0.7), lambda w: 0.3 * max_norm(w)),
    (MaxNorm(0.3, 0.7, half=True), lambda w: 0.15 * max_norm(w)),
    (Orthogonal(0.3), lambda w: 0.3 * orthogonal(w)),
    (Orthogonal(0.3, half=True), lambda w: 0.15 * orthogonal(w)),
]
every_penalty = pytest.mark.parametrize(("penalty", "formula"), FORMULAS, ids=[repr(p) for p, _ in FORMULAS])


@every_penalty
@given(shapes=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=3), seed=st.integers(0, 99),
       dtype=st.sampled_from([np.float32, np.float64]))  # fmt: skip
def test_the_formula_over_weights(penalty: Any, formula: Any, shapes: Any, seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    tensors = [mg.Tensor(np.asarray(a, order="F"), requires_grad=True) for a in arrays]
    weights = [a for a in arrays if a.ndim > 1]
    if not weights:
        with pytest.raises(ValueError, match=f"^{type(penalty).__name__} found no parameter of two axes to penalise"):
            penalty(tensors)
        return
    found = penalty(t for t in tensors)
    assert (found.shape, found.dtype) == ((), dtype)
    wanted = sum(formula(w.astype(float)) for w in weights)
    np.testing.assert_allclose(found.item(), wanted, rtol=1e-4 if dtype is np.float32 else 1e-12, atol=1e-12)
    found.backward()
    assert [t.grad is not None for t in tensors] == [t.ndim > 1 for t in tensors]


@every_penalty
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (2, 2, 1, 2)])
def test_gradients(penalty: Any, formula: Any, shape: tuple[int, ...]) -> None:
    check_grads(penalty, np.random.default_rng(3).normal(size=shape), order=2)


def test_what_is_chosen() -> None:
    model = nn.Linear(3, 2, rng=0)
    model.scale, model.shift = nn.Parameter(np.full(2, 3, np.float32)), nn.Parameter(np.ones(2, np.float32))
    weight, *others = model.parameters()
    assert L2(1.0)(model).item() == L2(1.0)(weight).item() == pytest.approx((weight.data**2).sum())
    everything = sum((p.data**2).sum() for p in model.parameters())
    assert len(others) == 3
    assert L2(1.0, weights_only=False)(model).item() == pytest.approx(everything)
    assert L1(2.0, weights_only=False)(others[0]).item() == pytest.approx(2 * np.abs(others[0].data).sum())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(-1e-9), "strength must be a finite number of at least 0, got -1e-09"),
        (lambda: L2(np.nan), "strength must be a finite number"),
        (lambda: L2("1"), "strength must be a finite number"),
        (lambda: L2(True), "strength must be a finite number"),
        (lambda: L2(np.complex64(1)), "strength must be a finite number"),
        (lambda: ElasticNet(1, np.inf), "beta must be a finite number"),
        (lambda: MaxNorm(1, -1), "max_norm must be a finite number"),
        (lambda: L2(1, half=1), "half must be True or False, got 1"),
        (lambda: L1(1, weights_only=None), "weights_only must be True or False, got None"),
        (lambda: L1(1)([]), "L1 found no parameter of two axes to penalise"),
        (lambda: L1(1, weights_only=False)([]), "L1 found no parameter to penalise"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bad", [None, 3, [np.ones((2, 2))], "weights", mg.tensor([[1, 2]])])
def test_what_is_no_parameter(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"a penalty takes (a module or tensors|tensors of floats), got"):
        L2(1.0)(bad)


# The equalities of the lecture, in float64 -------------------------------------------------------------


SAMPLES = 6


def trained(penalty: Any, reduction: str, **decays: Any) -> Array:
    """The weights of a linear classifier after 10 steps of SGD."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(SAMPLES, 4)), rng.integers(0, 3, SAMPLES)
    w = nn.Parameter(rng.normal(size=(3, 4)))
    sgd = optim.SGD([w], lr=0.1 if reduction == "mean" else 0.1 / SAMPLES, momentum=0.9, **decays)
    for _ in range(10):
        sgd.zero_grad()
        loss = mg.cross_entropy(mg.tensor(x) @ w.T, y, reduction=reduction)
        (loss if penalty is None else loss + penalty(w)).backward()
        sgd.step()
    return w.data


@settings(max_examples=settings.default.max_examples // 4)
@given(strength=st.floats(1e-3, 1))
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_penalty_in_the_loss_is_a_decay_in_the_step(reduction: str, strength: float) -> None:
    """λ/2 |w|² and weight_decay=λ; λ Σw² and 2 λ; λ Σ|w| and the subgradient; so beside a sum and beside a mean."""
    pairs: list[tuple[Any, dict[str, float]]] = [
        (L2(strength, half=True), {"weight_decay": strength}),
        (L2(strength), {"weight_decay": 2 * strength}),
        (L1(strength), {"l1": strength}),
        (ElasticNet(strength, 0.5), {"weight_decay": strength, "l1": strength}),
    ]
    for penalty, decays in pairs:
        in_loss, in_step = trained(penalty, reduction), trained(None, reduction, **decays)
        np.testing.assert_allclose(in_loss, in_step, rtol=1e-12, atol=1e-14)


@settings(max_examples=settings.default.max_examples // 4)
@given(strength=st.floats(1e-3, 1))
@pytest.mark.parametrize("kind", [L1, L2])
def test_beside_the_sum_a_strength_is_n_times_that_beside_the_mean(kind: Any, strength: float) -> None:
    beside_sum, beside_mean = trained(kind(strength * SAMPLES), "sum"), trained(kind(strength), "mean")
    np.testing.assert_allclose(beside_sum, beside_mean, rtol=1e-11, atol=1e-13)


@every_penalty
def test_twice_the_batch_leaves_the_gradient_of_the_penalty(penalty: Any, formula: Any) -> None:
    rng = np.random.default_rng(6)
    w, x, y = nn.Parameter(rng.normal(size=(3, 4))), rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    gradients = []
    for times in (1, 2):
        logits = mg.tensor(np.tile(x, (times, 1))) @ w.T
        loss = mg.cross_entropy(logits, np.tile(y, times), reduction="sum")
        (whole,), (alone,) = mg.grad(loss + penalty(w), w, retain_graph=True), mg.grad(loss, w)
        gradients.append(whole.data - alone.data)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)
    (own,) = mg.grad(penalty(w), w)
    np.testing.assert_allclose(gradients[0], own.data, rtol=1e-10, atol=1e-12)


# Proximal steps ------------------------------------------------------------------------------------------


def regression(l1: float, ridge: float, x: Array, y: Array, steps: int = 3000) -> Array:
    """The least |x w - y|² / (2 N) + ridge/2 |w|² + l1 |w|, by proximal steps."""
    w = nn.Parameter(np.zeros(x.shape[1]))
    lr = 1 / (np.linalg.eigvalsh(x.T @ x / len(x)).max() + ridge)
    sgd = optim.SGD([w], lr=float(lr), weight_decay=ridge, l1=l1, l1_form="proximal")
    for _ in range(steps):
        w.grad = mg.Tensor(x.T @ (x @ w.data - y) / len(x))
        sgd.step()
    return w.data


def test_proximal_l1_finds_the_support() -> None:
    """Of 40 weights 5 are not 0: those are found, all others are true zeros, and the optimality conditions hold."""
    rng = np.random.default_rng(7)
    x, truth = rng.normal(size=(100, 40)), np.zeros(40)
    truth[[3, 8, 17, 21, 33]] = [2, -3, 1.5, -1, 4]
    y = x @ truth + 0.05 * rng.normal(size=100)
    w = regression(0.1, 0.0, x, y)
    np.testing.assert_array_equal(w != 0, truth != 0)
    slope = x.T @ (x @ w - y) / len(x)
    np.testing.assert_allclose(slope[truth != 0], -0.1 * np.sign(w[truth != 0]), atol=1e-10)
    assert (np.abs(slope[truth == 0]) < 0.1).all()
    subgradient = nn.Parameter(np.zeros(40))
    sgd = optim.SGD([subgradient], lr=0.1, l1=0.1)
    for _ in range(300):
        subgradient.grad = mg.Tensor(x.T @ (x @ subgradient.data - y) / len(x))
        sgd.step()
    assert np.count_nonzero(subgradient.data[truth == 0]) == 35, "the subgradient gives no zeros"


@given(seed=st.integers(0, 999), l1=st.floats(0, 1), ridge=st.floats(0, 2))
def test_the_elastic_net_between_ridge_and_soft_threshold(seed: int, l1: float, ridge: float) -> None:
    """Of orthonormal columns: soft(z, l1) / (1 + ridge).  Without l1 it is ridge regression of any columns."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(12, 5)))
    x, y = q * np.sqrt(12), rng.normal(size=12)
    z = x.T @ y / 12
    wanted = np.sign(z) * np.maximum(np.abs(z) - l1, 0) / (1 + ridge)
    found = regression(l1, ridge, x, y, steps=5)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_array_equal(found == 0, np.abs(z) <= l1)
    x = rng.normal(size=(12, 5))
    gram = x.T @ x / 12 + (ridge + 0.5) * np.eye(5)
    found = regression(0.0, ridge + 0.5, x, y, steps=400)
    np.testing.assert_allclose(found, np.linalg.solve(gram, x.T @ y / 12), atol=1e-10)


def test_max_norm_projects_on_what_its_penalty_measures() -> None:
    rng = np.random.default_rng(8)
    w, bias = nn.Parameter(rng.normal(size=(5, 3, 2))), nn.Parameter(rng.normal(size=5) + 9)
    before = w.data.copy()
    away = MaxNorm(1.0, 0.9)(w).item()
    assert away > 0
    for p in (w, bias):
        p.grad = mg.zeros_like(p)
    optim.SGD([w, bias], lr=0.1, max_norm=0.9).step()
    assert MaxNorm(1.0, 0.9 + 1e-12)(w).item() == 0
    assert ((w.data - before) ** 2).sum() == pytest.approx(away, rel=1e-12)
    assert (bias.data > 5).all(), "a bias is no unit"
