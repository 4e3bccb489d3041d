"""Adam and its kin: AdamW, NAdam, RAdam, Lion."""

from collections.abc import Mapping
from typing import Any, Unpack

from .optimizer import Optimizer, Params, Schedule, Shared, by_dialect, check_flag, is_number


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    ``m <- b1 m + (1 - b1) d``, ``v <- b2 v + (1 - b2) d^2``,
    ``w <- w - lr * m' / (sqrt(v') + eps)`` with ``m' = m / (1 - b1^t)``,
    ``v' = v / (1 - b2^t)`` and t = 1, 2, ...  ``amsgrad`` (Reddi, Kale and Kumar 2018)
    takes for v the largest v so far, before its division by ``1 - b2^t`` in
    PyTorch's dialect and after it in optax's; it is fixed when the optimizer is made.

    Keras has eps = 1e-7, and adds it to sqrt(v): ``lr * sqrt(1 - b2^t) * m' / (sqrt(v) + eps)``.
    ``lr`` is a number or a schedule; d and all further options are explained at
    ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        **shared: Unpack[Shared],
    ) -> None:
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, own, **shared)

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        moments = ("exp_avg", "exp_avg_sq")
        return ("amsgrad", (*moments, "max_exp_avg_sq")) if options["amsgrad"] else ("adam", moments)

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        if name == "amsgrad":
            check_flag(name, value)
            if value != ("max_exp_avg_sq" in slots):
                raise ValueError("amsgrad needs a state of its own and is fixed when the optimizer is made")
        else:
            check_betas(name, value, slots)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    As Adam, with ``weight_decay`` for its ``decoupled_weight_decay``; None stands for
    0.01 in PyTorch's dialect and 1e-4 in optax's (0.004 in Keras).  The decay is
    scaled by the learning rate, as in all three; the paper scales it by the schedule
    multiplier alone.
    """

    _decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | None = None,
        amsgrad: bool = False,
        **shared: Unpack[Shared],
    ) -> None:
        decay = by_dialect(shared, weight_decay, torch=1e-2, optax=1e-4)
        super().__init__(params, lr, betas, eps, decay, amsgrad, **shared)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    As Adam, with ``mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) d / (1 - mu_1 ... mu_t)`` for m',
    where ``mu_t = b1 (1 - 0.96^(t * momentum_decay) / 2)`` for all t by the betas of now.
    The optax dialect knows no ``momentum_decay``: ``mu_t = b1``.  Keras is as PyTorch, with
    momentum_decay = 1 and eps = 1e-7.  ``lr`` is a number or a schedule; d and all further options are explained at
    ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        **shared: Unpack[Shared],
    ) -> None:
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
        super().__init__(params, own, **shared)

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return "nadam", ("exp_avg", "exp_avg_sq")

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        check_betas(name, value, slots)


class RAdam(Optimizer):
    """Adam with a rectified rate (Liu et al. 2020).

    With ``R = 2 / (1 - b2) - 1`` and ``r = R - 2 t b2^t / (1 - b2^t)``: ``w <- w - lr * m'`` while r <= 5,
    then Adam's step times ``sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r))``.  PyTorch's dialect
    divides by ``(sqrt(v) + eps) / sqrt(1 - b2^t)``, optax's by ``sqrt(v') + eps``, and it rectifies
    from r >= 5 on; the paper has no eps and the bound 4.  Keras has none.  ``lr`` is a number or a
    schedule; d and all further options are explained at ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **shared: Unpack[Shared],
    ) -> None:
        own = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, own, **shared)

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return "radam", ("exp_avg", "exp_avg_sq")

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        check_betas(name, value, slots)


class Lion(Optimizer):
    """Lion (Chen et al. 2023): every weight moves by the rate, in the direction of a sign.

    ``w <- w - lr * (sign(b1 m + (1 - b1) d) + weight_decay * w)``, then ``m <- b2 m + (1 - b2) d``.
    The decay is decoupled; None stands for 0 and, in optax's dialect, for 1e-3.  PyTorch has no
    Lion; Keras's is this.  ``lr`` is a number or a schedule; d and all further options are
    explained at ``Optimizer``.
    """

    _decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        decay = by_dialect(shared, weight_decay, torch=0.0, optax=1e-3)
        own = {"lr": lr, "betas": betas, "weight_decay": decay}
        super().__init__(params, own, **shared)

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return "lion", ("exp_avg",)

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        check_betas(name, value, slots)


def check_betas(name: str, value: Any, slots: tuple[str, ...]) -> None:
    """The check of an optimizer with two betas."""
    if name != "betas":
        return Optimizer._check(name, value, slots)
    pair = isinstance(value, tuple | list) and len(value) == 2
    if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in value):
        raise ValueError(f"betas must be two numbers in [0, 1), got {value!r}")
