"""Adam and AdamW."""

from collections.abc import Mapping
from typing import Any

from .optimizer import Optimizer, ParamGroup, Params, Schedule, is_number


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    ``m <- b1 m + (1 - b1) d``, ``v <- b2 v + (1 - b2) d^2``,
    ``w <- w - lr * m' / (sqrt(v') + eps)`` with ``m' = m / (1 - b1^t)``,
    ``v' = v / (1 - b2^t)`` and t = 1, 2, ...  ``lr`` is a number or a schedule;
    d and the decays are explained at ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: float = 0.0,
        l1: float = 0.0,
        l1_form: str = "subgradient",
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay, l1=l1, l1_form=l1_form,
        )  # fmt: skip

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return "adam", ("exp_avg", "exp_avg_sq")

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        if name != "betas":
            return Optimizer._check(name, value, slots)
        pair = isinstance(value, tuple | list) and len(value) == 2
        if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in value):
            raise ValueError(f"betas must be two numbers in [0, 1), got {value!r}")


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    As Adam, with ``weight_decay`` for its ``decoupled_weight_decay``.  The decay
    is scaled by the learning rate, as in PyTorch; the paper scales it by the
    schedule multiplier alone.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        l1: float = 0.0,
        l1_form: str = "subgradient",
    ) -> None:
        Optimizer.__init__(self, params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, l1=l1, l1_form=l1_form)

    def _cells(self, group: ParamGroup) -> dict[str, Any]:
        cells = super()._cells(group)
        return {**cells, "weight_decay": 0.0, "decoupled_weight_decay": cells["weight_decay"]}
