"""Adagrad and RMSprop: each weight has a rate of its own."""

from collections.abc import Mapping
from typing import Any

from .optimizer import Optimizer, Params, Schedule, check_flag, is_number


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011), PyTorch's form.

    ``s <- s + d^2`` and ``w <- w - lr / (1 + (t - 1) * lr_decay) * d / (sqrt(s) + eps)``,
    t = 1, 2, ...; s starts at ``initial_accumulator_value``.  ``lr`` is a number or a
    schedule; d and the decays are explained at ``Optimizer``, and know no ``lr_decay``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        decoupled_weight_decay: float = 0.0,
        l1: float = 0.0,
        l1_form: str = "subgradient",
    ) -> None:
        self._check("initial_accumulator_value", initial_accumulator_value, ())
        self._start = initial_accumulator_value
        super().__init__(
            params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps,
            decoupled_weight_decay=decoupled_weight_decay, l1=l1, l1_form=l1_form,
        )  # fmt: skip

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return "adagrad", ("sum",)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012), PyTorch's form.

    ``s <- alpha * s + (1 - alpha) * d^2`` and ``w <- w - lr * d / (sqrt(s) + eps)``.
    ``centered`` (Graves 2013) puts ``max(s - a^2, 0)`` under the root, where
    ``a <- alpha * a + (1 - alpha) * d``.  With momentum ``b <- momentum * b + d / (sqrt(...) + eps)``
    and ``w <- w - lr * b``.  ``lr`` is a number or a schedule; d and the decays are
    explained at ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        decoupled_weight_decay: float = 0.0,
        l1: float = 0.0,
        l1_form: str = "subgradient",
    ) -> None:
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered,
            decoupled_weight_decay=decoupled_weight_decay, l1=l1, l1_form=l1_form,
        )  # fmt: skip

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        kernel, slots = "rmsprop", ["square_avg"]
        if options["centered"]:
            kernel, slots = kernel + "_centered", [*slots, "grad_avg"]
        if is_number(options["momentum"]) and options["momentum"]:
            kernel, slots = kernel + "_momentum", [*slots, "momentum_buffer"]
        return kernel, tuple(slots)

    @staticmethod
    def _check(name: str, value: Any, slots: tuple[str, ...]) -> None:
        if name == "centered":
            check_flag(name, value)
            if value != ("grad_avg" in slots):
                raise ValueError("centered needs a state of its own and is fixed when the optimizer is made")
        elif name == "alpha" and not (is_number(value) and 0 <= value <= 1):
            raise ValueError(f"alpha must be a finite number in [0, 1], got {value!r}")
        else:
            Optimizer._check(name, value, slots)
