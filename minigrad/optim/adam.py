"""Adam and AdamW."""

from typing import Any

from .optimizer import Optimizer, ParamGroup, Params, Schedule, is_number


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with PyTorch's coupled weight decay.

    ``d = g + weight_decay * w``, ``m <- b1 m + (1 - b1) d``, ``v <- b2 v + (1 - b2) d^2``,
    ``w <- w - lr * m' / (sqrt(v') + eps)`` with ``m' = m / (1 - b1^t)``,
    ``v' = v / (1 - b2^t)`` and t = 1, 2, ...  ``lr`` is a number or a schedule.
    """

    slots = ("exp_avg", "exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        if name != "betas":
            return Optimizer._check(name, value, slots)
        pair = isinstance(value, tuple | list) and len(value) == 2
        if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in value):
            raise ValueError(f"betas must be two numbers in [0, 1), got {value!r}")

    def _call(self, group: ParamGroup) -> tuple[str, tuple[Any, ...]]:
        c = group.cells
        beta1, beta2 = c["betas"][0:1].reshape(()), c["betas"][1:2].reshape(())
        return "adam", (c["lr"], beta1, beta2, c["eps"], c["weight_decay"], self._decoupled, self.step_count)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    As Adam with ``d = g``, and ``w <- w - lr * weight_decay * w`` before the
    update.  The decay is scaled by the learning rate, as in PyTorch; the paper
    scales it by the schedule multiplier alone.
    """

    _decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
