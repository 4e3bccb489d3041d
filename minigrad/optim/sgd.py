"""Stochastic gradient descent."""

from collections.abc import Mapping
from typing import Any, Unpack

from .optimizer import Optimizer, Params, Schedule, Shared, check_flag, is_number


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, PyTorch's form.

    Without momentum ``w <- w - lr * d``; with it
    ``v <- momentum * v + (1 - dampening) * d`` (``v = d`` at the optimizer's first step) and
    ``w <- w - lr * v``, or with ``nesterov`` ``w <- w - lr * (d + momentum * v)``.

    The learning rate multiplies the velocity when it is used, not when it is
    accumulated: Sutskever et al. 2013 and Keras do the latter, which differs where
    the rate changes.  optax is as PyTorch, without dampening.  ``lr`` is a number
    or a schedule; d and all further options are explained at ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **shared: Unpack[Shared],
    ) -> None:
        own = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov,
        }  # fmt: skip
        super().__init__(params, own, **shared)
        for group in self.param_groups:
            if group["nesterov"] and (not group["momentum"] or group["dampening"]):
                raise ValueError("nesterov needs a momentum above 0 and no dampening")

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        momentum = options["momentum"]
        return ("sgd_momentum", ("momentum_buffer",)) if is_number(momentum) and momentum else ("sgd", ())

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        if name == "nesterov":
            check_flag(name, value)
        else:
            Optimizer._check(name, value, slots)
