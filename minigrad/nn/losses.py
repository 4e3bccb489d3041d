"""Losses as layers, named and with their arguments as in PyTorch; each names the operation that it is."""

from collections.abc import Callable
from dataclasses import KW_ONLY, field
from typing import Any, ClassVar

from .. import ops
from ..kernels.launch import same_float
from ..ops.shape import as_tensor
from ..tensor import Tensor
from .module import Buffer, Layer


class Loss(Layer):
    """``loss(input, target)``, reduced over all losses: their "mean" or "sum", or "none".

    ``loss(input, target, sample_weight=s)`` weighs them: s has the shape of the losses, or of their first axes, as
    (N,) of (N, ...).  "none" gives ``s l``, "sum" ``sum(s l)``, "mean" ``sum(s l) / sum(s)``, each s counted as
    often as it is used: the weighted mean of scikit-learn's metrics, so that a sample of weight 2 is the same as
    the sample twice.  (Keras divides by the number of losses unless asked for "mean_with_sample_weight".)
    Where the mean is weighted by class, too, s multiplies the class weight.
    """

    function: ClassVar[Callable[..., Tensor]]  # what it is; the annotated attributes are its arguments
    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")
    reduction: str = field(default="mean", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.reduction, str) or self.reduction not in self.reductions:
            allowed = ", ".join(map(repr, self.reductions[:-1]))
            raise ValueError(f"reduction must be {allowed} or {self.reductions[-1]!r}, got {self.reduction!r}")
        for name in ("weight", "pos_weight"):  # buffers where they are given, as in PyTorch
            if isinstance(given := getattr(self, name, None), str):
                raise TypeError(f"{type(self).__name__} takes numbers as {name}, its first argument, got {given!r}")
            if given is not None:
                setattr(self, name, Buffer(ops.tensor(given).data))

    def forward(self, *inputs: Any, sample_weight: Any = None) -> Tensor:
        settings = {name: getattr(self, name) for name in self.settings}
        if sample_weight is None:
            return self.function(*inputs, **settings)
        losses = self.function(*inputs, **settings | {"reduction": "none"})
        weight = as_tensor(sample_weight)
        same_float(type(self).__name__, losses.data, weight.data)
        if weight.shape != losses.shape[: weight.ndim]:
            wanted = f"the shape of the losses, {losses.shape}, or of their first axes"
            raise ValueError(f"sample_weight needs {wanted}, got {weight.shape}")
        weight = ops.reshape(weight, weight.shape + (1,) * (losses.ndim - weight.ndim))
        losses = losses * weight
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return ops.sum(losses)
        if self.reduction == "batchmean" and weight.size != len(losses):
            raise ValueError(f"reduction 'batchmean' needs one sample_weight a sample, got {weight.shape}")
        counted = weight if self.reduction == "batchmean" else ops.broadcast_to(weight, losses.shape)
        factor = self.factor(*inputs)
        return ops.sum(losses) / ops.sum(counted if factor is None else counted * factor)

    def factor(self, *inputs: Any) -> Tensor | None:
        """What weighs each loss in the mean without sample weights; None for 1."""
        return None


class MSELoss(Loss):
    """``(input - target)^2``."""

    function = staticmethod(ops.mse_loss)


class L1Loss(Loss):
    """``|input - target|``."""

    function = staticmethod(ops.l1_loss)


class HuberLoss(Loss):
    """``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, d = input - target (Huber 1964)."""

    function = staticmethod(ops.huber_loss)
    _: KW_ONLY
    delta: float = 1.0


class SmoothL1Loss(Loss):
    """``d^2 / (2 beta)`` where ``|d| <= beta``, else ``|d| - beta / 2``, d = input - target (Girshick 2015)."""

    function = staticmethod(ops.smooth_l1_loss)
    _: KW_ONLY
    beta: float = 1.0


class BCELoss(Loss):
    """``-(t log p + (1 - t) log(1 - p))`` of probabilities: see ``minigrad.binary_cross_entropy``."""

    function = staticmethod(ops.binary_cross_entropy)
    weight: Any = None


class BCEWithLogitsLoss(Loss):
    """``BCELoss`` of ``sigmoid(input)``: see ``minigrad.binary_cross_entropy_with_logits``."""

    function = staticmethod(ops.binary_cross_entropy_with_logits)
    weight: Any = None
    _: KW_ONLY
    pos_weight: Any = None


class KLDivLoss(Loss):
    """``t (log t - input)``; reduction "batchmean" is the divergence: see ``minigrad.kl_div``."""

    function = staticmethod(ops.kl_div)
    reductions = ("mean", "batchmean", "sum", "none")
    _: KW_ONLY
    log_target: bool = False


class SoftMarginLoss(Loss):
    """``log(1 + e^(-t x))``, t = target in {-1, 1}."""

    function = staticmethod(ops.soft_margin_loss)


class HingeEmbeddingLoss(Loss):
    """``x`` where target is 1, ``max(0, margin - x)`` where it is -1."""

    function = staticmethod(ops.hinge_embedding_loss)
    margin: float = 1.0


class MarginRankingLoss(Loss):
    """``max(0, margin - t (input1 - input2))``, t = target: 1 where input1 should be the larger, else -1."""

    function = staticmethod(ops.margin_ranking_loss)
    margin: float = 0.0


class _OfClasses(Loss):
    weight: Any = None
    _: KW_ONLY
    ignore_index: int | None = None

    def factor(self, *inputs: Any) -> Tensor | None:
        """The weight of each sample's class, 0 where it is ignored: the loss of -1 for every class."""
        input, target = map(as_tensor, inputs)
        if target.dtype.kind not in "iu" or (self.weight is None and self.ignore_index is None):
            return None
        return ops.nll_loss(ops.full_like(input, -1), target, self.weight, self.ignore_index, "none")


class CrossEntropyLoss(_OfClasses):
    """Cross-entropy of class indices or probabilities under ``softmax(input)``: see ``minigrad.cross_entropy``."""

    function = staticmethod(ops.cross_entropy)
    weight: Any = None
    _: KW_ONLY
    ignore_index: int | None = None
    label_smoothing: float = 0.0


class NLLLoss(_OfClasses):
    """``-input[target]``, input the logarithms of probabilities: see ``minigrad.nll_loss``."""

    function = staticmethod(ops.nll_loss)
    weight: Any = None
    _: KW_ONLY
    ignore_index: int | None = None


class MultiMarginLoss(Loss):
    """``weight_y / C sum over j != y of max(0, margin - x_y + x_j)^p``: see ``minigrad.multi_margin_loss``."""

    function = staticmethod(ops.multi_margin_loss)
    p: int = 1
    margin: float = 1.0
    weight: Any = None


class MultiClassSVMLoss(Loss):
    """``sum over j != y of max(0, s_j - s_y + margin)``, s = input, y = target (Weston and Watkins 1999).

    The lecture's hinge loss, its mean over samples; ``MultiMarginLoss`` divides by the number of classes, too.
    """

    function = staticmethod(ops.multiclass_svm_loss)
    margin: float = 1.0
