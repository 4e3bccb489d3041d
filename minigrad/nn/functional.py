"""The neural operations, with PyTorch's names and argument order."""

from collections.abc import Sequence
from typing import Any

from ..ops import (
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    conv1d,
    conv2d,
    cross_entropy,
    dropout,
    elu,
    embedding,
    gelu,
    global_avg_pool2d,
    glu,
    group_norm,
    hardswish,
    hardtanh,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    log_sigmoid,
    log_softmax,
    margin_ranking_loss,
    max_pool1d,
    max_pool2d,
    mish,
    mse_loss,
    multi_margin_loss,
    multiclass_svm_loss,
    nll_loss,
    one_hot,
    prelu,
    relu,
    relu6,
    rms_norm,
    selu,
    sigmoid,
    silu,
    smooth_l1_loss,
    soft_margin_loss,
    softmax,
    softplus,
    softsign,
    tanh,
)
from ..ops import pad as pad_axes
from ..ops.shape import as_tensor
from ..tensor import Tensor

logsigmoid = log_sigmoid  # PyTorch's name for it

PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """PyTorch's: ``pad`` has how much goes before and after, the last axis first, for as many axes as there are pairs.

    mode : ``"constant"`` (``value``, 0 unless told), ``"reflect"``, ``"replicate"`` or ``"circular"``.
    ``minigrad.pad`` is NumPy's.  Negative lengths, which cut in PyTorch, raise ``ValueError``.
    """
    lengths, input = list(pad) if isinstance(pad, Sequence) else [pad], as_tensor(input)
    ndim = input.ndim
    if len(lengths) % 2 or len(lengths) > 2 * ndim:
        raise ValueError(f"pad takes a pair for each of at most {ndim} axes, the last axis first, got {pad!r}")
    if mode not in PAD_MODES:
        raise NotImplementedError(f"pad has the modes {', '.join(PAD_MODES)}, not {mode!r}")
    if value is not None and mode != "constant":
        raise ValueError(f"pad takes a value in the mode constant only, got {value!r} in the mode {mode}")
    pairs = [(0, 0)] * (ndim - len(lengths) // 2) + list(zip(lengths[-2::-2], lengths[::-2], strict=True))
    return pad_axes(input, pairs or 0, PAD_MODES[mode], 0.0 if value is None else value)


__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "global_avg_pool2d",
    "glu",
    "group_norm",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multiclass_svm_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]
