"""Adagrad and RMSprop: each weight has a rate of its own."""

from collections.abc import Mapping
from typing import Any, Unpack

from .optimizer import Optimizer, Params, Schedule, Shared, by_dialect, check_flag, is_number


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011).

    ``s <- s + d^2`` and ``w <- w - lr / (1 + (t - 1) * lr_decay) * d / (sqrt(s) + eps)``,
    t = 1, 2, ...; s starts at ``initial_accumulator_value``.  The optax dialect has
    ``sqrt(s + eps)``, as Keras does.  None stands for eps = 1e-10 and a start of 0 in
    PyTorch's dialect, 1e-7 and 0.1 in optax's, which are those of Keras, too.

    ``lr`` is a number or a schedule; d and all further options are explained at
    ``Optimizer``, and know no ``lr_decay``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float | None = None,
        eps: float | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        start = by_dialect(shared, initial_accumulator_value, torch=0.0, optax=0.1)
        self._check("initial_accumulator_value", start, ())
        self._start = start
        own = {
            "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
            "eps": by_dialect(shared, eps, torch=1e-10, optax=1e-7),
        }  # fmt: skip
        super().__init__(params, own, **shared)

    def _row(self, options: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return "adagrad", ("sum",)


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012).

    ``s <- alpha * s + (1 - alpha) * d^2`` and ``w <- w - lr * d / (sqrt(s) + eps)``.
    ``centered`` (Graves 2013) puts ``max(s - a^2, 0)`` under the root, where
    ``a <- alpha * a + (1 - alpha) * d``.  With momentum ``b <- momentum * b + d / (sqrt(...) + eps)``
    and ``w <- w - lr * b``.

    The optax dialect has ``sqrt(s + eps)`` and the rate inside the momentum:
    ``b <- momentum * b + lr * d / sqrt(...)`` and ``w <- w - b``; None stands for
    alpha = 0.99 in PyTorch's dialect and 0.9 in optax's.  Keras is as optax, with
    eps = 1e-7.  ``lr`` is a number or a schedule; d and all further options are
    explained at ``Optimizer``.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Schedule = 1e-2,
        alpha: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **shared: Unpack[Shared],
    ) -> None:
        own = {
            "lr": lr, "alpha": by_dialect(shared, alpha, torch=0.99, optax=0.9), "eps": eps,
            "weight_decay": weight_decay, "momentum": momentum, "centered": centered,
        }  # fmt: skip
        super().__init__(params, own, **shared)

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
