"""What is put together from operations, recorded once and replayed: nothing is computed off the record."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import linalg

RNG = np.random.default_rng(0)
ROWS, OTHER = RNG.standard_normal((2, 4, 3))
IMAGES = RNG.standard_normal((2, 4, 5, 6))
SQUARE = RNG.standard_normal((2, 3, 3)) + 3 * np.eye(3)
LABELS = np.array([0, 2, 1, 2])
WEIGHT = np.array([0.5, 1.0, 2.0])
SIGNS = np.array([1, -1, 1, -1]).reshape(4, 1) * np.ones((1, 3), int)


def soft(x: Any) -> Any:
    return mg.softmax(x * 0.5)


CASES: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "cross_entropy": (lambda x, y: mg.cross_entropy(x, y), ROWS, LABELS),
    "weights": (lambda x, y: mg.cross_entropy(x, y, WEIGHT.astype(x.dtype), 0, "mean", 0.2), ROWS, LABELS),
    "probabilities": (lambda x, p: mg.cross_entropy(x, soft(p), label_smoothing=0.1), ROWS, OTHER),
    "nll_loss": (lambda x, y: mg.nll_loss(mg.log_softmax(x), y, WEIGHT.astype(x.dtype), 2), ROWS, LABELS),
    "multi_margin_loss": (lambda x, y: mg.multi_margin_loss(x, y, 2, 0.5, WEIGHT.astype(x.dtype)), ROWS, LABELS),
    "multiclass_svm_loss": (lambda x, y: mg.multiclass_svm_loss(x, y), ROWS, LABELS),
    "mse_loss": (mg.mse_loss, ROWS, OTHER),
    "l1_loss": (mg.l1_loss, ROWS, OTHER),
    "huber_loss": (lambda x, t: mg.huber_loss(x, t, delta=0.7), ROWS, OTHER),
    "smooth_l1_loss": (lambda x, t: mg.smooth_l1_loss(x, t, beta=0.3), ROWS, OTHER),
    "binary_cross_entropy": (lambda x, t: mg.binary_cross_entropy(soft(x), soft(t)), ROWS, OTHER),
    "with_logits": (
        lambda x, t: mg.binary_cross_entropy_with_logits(x, soft(t), WEIGHT.astype(x.dtype), pos_weight=2.0),
        ROWS,
        OTHER,
    ),
    "kl_div": (lambda x, t: mg.kl_div(x, soft(t), reduction="batchmean"), ROWS, OTHER),
    "hinge_embedding_loss": (mg.hinge_embedding_loss, ROWS, SIGNS),
    "margin_ranking_loss": (lambda x, t: mg.margin_ranking_loss(x, x * x, t, 0.5), ROWS, SIGNS),
    "soft_margin_loss": (mg.soft_margin_loss, ROWS, SIGNS),
    "rms_norm": (lambda x, w: mg.rms_norm(x, 3, w[0]), ROWS, OTHER),
    "group_norm": (lambda x, w: mg.group_norm(x, 2, w[:, 0]), IMAGES, ROWS),
    "batch_norm": (lambda x, w: mg.batch_norm(x, None, None, w[:, 0], w[:, 1], True), IMAGES, ROWS),
    "conv1d": (lambda x, w: mg.conv1d(x[:, :, 0], w[:, :, :, 0], padding="same", groups=2), IMAGES, IMAGES[:, :2]),
    "max_pool2d": (lambda x, w: mg.max_pool2d(x * w[:, :1, None], 3, 2, 1, 1, True), IMAGES, ROWS),
    "max_pool1d": (lambda x, w: mg.max_pool1d(x[:, 0], 3, dilation=2) * w[0, 0], IMAGES, ROWS),
    "avg_pool2d": (lambda x, w: mg.avg_pool2d(x * w[0, 0], 3, 2, 1, True, False), IMAGES, ROWS),
    "avg_pool1d": (lambda x, w: mg.avg_pool1d(x[:, 0], 2) * w[0, 0], IMAGES, ROWS),
    "global_avg_pool2d": (lambda x, w: mg.global_avg_pool2d(x) * w[:2, :1], IMAGES, ROWS),
    "embedding": (lambda w, i: mg.embedding(i, w, 1), ROWS, LABELS),
    "einsum": (lambda a, b: mg.einsum("...ii,ij->i", a, b[:3]), SQUARE, ROWS),
    "tensordot": (lambda a, b: mg.tensordot(a, b, ([0, 2], [0, 1])), SQUARE, SQUARE),
    "trace": (lambda a, b: mg.outer(mg.trace(a, 1, 1, 2), mg.dot(b[0], b[1])), SQUARE, ROWS),
    "vector_norm": (lambda a, b: linalg.vector_norm(a, 1) * linalg.vector_norm(b, ord=3), SQUARE, ROWS),
    "solve": (lambda a, b: linalg.solve(a, b[0]) + linalg.slogdet(a)[1][0], SQUARE, ROWS),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_composition_and_its_gradient_replay(name: str, dtype: Any) -> None:
    function, *given = CASES[name]
    first = [a.astype(dtype) if a.dtype.kind == "f" else a for a in given]
    second = [np.flip(a).copy() for a in first]

    def step(*inputs: Any) -> Any:
        leaves = [x.detach().requires_grad_() if x.dtype.kind == "f" else x for x in inputs]
        y = function(*leaves)
        wanted = [x for x in leaves if x.requires_grad]
        return y, mg.grad((y * y).sum(), wanted)

    program = mg.capture(step, *first)
    for arrays in (second, first):
        eager = step(*map(mg.tensor, arrays))
        replayed = program(*arrays)
        for wanted, found in zip([eager[0], *eager[1]], [replayed[0], *replayed[1]], strict=True):
            assert wanted.dtype == found.dtype == dtype
            assert np.isfinite(wanted.data).all()
            assert (found.data + 0).tobytes() == (wanted.data + 0).tobytes()
    assert any(g.numpy().any() for g in eager[1])
