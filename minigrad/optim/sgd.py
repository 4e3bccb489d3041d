"""Stochastic gradient descent."""

from collections.abc import Mapping
from typing import Any

from .optimizer import Optimizer, ParamGroup, Params, Schedule, is_number


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay, PyTorch's form.

    ``d = g + weight_decay * w``; without momentum ``w <- w - lr * d``; with it
    ``v <- momentum * v + (1 - dampening) * d`` (``v = d`` at the optimizer's first step) and
    ``w <- w - lr * v``, or with ``nesterov`` ``w <- w - lr * (d + momentum * v)``.

    The learning rate multiplies the velocity when it is used, not when it is
    accumulated (Sutskever et al. 2013 do the latter).  ``lr`` is a number or a schedule.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )
        for group in self.param_groups:
            if group["nesterov"] and (not group["momentum"] or group["dampening"]):
                raise ValueError("nesterov needs a momentum above 0 and no dampening")

    def _slots(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        momentum = options["momentum"]
        return ("momentum_buffer",) if is_number(momentum) and momentum else ()

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        if name != "nesterov":
            Optimizer._check(name, value, slots)
        elif not isinstance(value, bool):
            raise ValueError(f"nesterov must be True or False, got {value!r}")
        if name == "momentum" and value and not slots:
            raise ValueError("momentum needs a buffer: give a momentum above 0 when the optimizer is made")

    def _call(self, group: ParamGroup) -> tuple[str, tuple[Any, ...]]:
        c = group.cells
        if not group.slots:
            return "sgd", (c["lr"], c["weight_decay"])
        return "sgd_momentum", (
            c["lr"], c["momentum"], c["dampening"], c["nesterov"], c["weight_decay"], self.step_count
        )  # fmt: skip
