"""Activations as layers: each names the operation that it is."""

from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Layer


class ReLU(Layer):
    """``max(x, 0)``."""

    def forward(self, x: Any) -> Tensor:
        return ops.relu(x)


class ReLU6(Layer):
    """``min(max(x, 0), 6)``."""

    def forward(self, x: Any) -> Tensor:
        return ops.relu6(x)


class LeakyReLU(Layer):
    """x above 0, ``negative_slope x`` below (Maas, Hannun and Ng 2013)."""

    negative_slope: float = 0.01

    def forward(self, x: Any) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)


class ELU(Layer):
    """x above 0, ``alpha (e^x - 1)`` below (Clevert, Unterthiner and Hochreiter 2015)."""

    alpha: float = 1.0

    def forward(self, x: Any) -> Tensor:
        return ops.elu(x, self.alpha)


class SELU(Layer):
    """``1.0507 elu(x, 1.67326)``, which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""

    def forward(self, x: Any) -> Tensor:
        return ops.selu(x)


class GELU(Layer):
    """``x Phi(x)``, or with ``approximate="tanh"`` what is near it (Hendrycks and Gimpel 2016)."""

    approximate: str = "none"

    def forward(self, x: Any) -> Tensor:
        return ops.gelu(x, self.approximate)


class SiLU(Layer):
    """``x sigmoid(x)``, also called swish (Elfwing, Uchibe and Doya 2018)."""

    def forward(self, x: Any) -> Tensor:
        return ops.silu(x)


class Mish(Layer):
    """``x tanh(softplus(x))`` (Misra 2019)."""

    def forward(self, x: Any) -> Tensor:
        return ops.mish(x)


class Hardswish(Layer):
    """``x relu6(x + 3) / 6`` (Howard et al. 2019)."""

    def forward(self, x: Any) -> Tensor:
        return ops.hardswish(x)


class Hardtanh(Layer):
    """x held between ``min_val`` and ``max_val``."""

    min_val: float = -1.0
    max_val: float = 1.0

    def forward(self, x: Any) -> Tensor:
        return ops.hardtanh(x, self.min_val, self.max_val)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        return ops.tanh(x)


class Sigmoid(Layer):
    """``1 / (1 + e^-x)``."""

    def forward(self, x: Any) -> Tensor:
        return ops.sigmoid(x)


class LogSigmoid(Layer):
    """``log(sigmoid(x))``, without overflow."""

    def forward(self, x: Any) -> Tensor:
        return ops.log_sigmoid(x)


class Softplus(Layer):
    """``log(1 + e^(beta x)) / beta``, without overflow, and so without PyTorch's threshold beyond which it is x."""

    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.beta > 0:
            raise ValueError(f"Softplus needs a beta above 0, got {self.beta!r}")

    def forward(self, x: Any) -> Tensor:
        return ops.softplus(x) if self.beta == 1 else ops.softplus(ops.multiply(x, self.beta)) / self.beta


class Softsign(Layer):
    """``x / (1 + |x|)``."""

    def forward(self, x: Any) -> Tensor:
        return ops.softsign(x)


class Softmax(Layer):
    """``e^x / sum(e^x)`` along the axis ``dim``, which PyTorch guesses where none is given."""

    dim: int

    def forward(self, x: Any) -> Tensor:
        return ops.softmax(x, self.dim)


class LogSoftmax(Layer):
    """``x - log(sum(e^x))`` along the axis ``dim``, which PyTorch guesses where none is given."""

    dim: int

    def forward(self, x: Any) -> Tensor:
        return ops.log_softmax(x, self.dim)


class GLU(Layer):
    """The first half of x along the axis ``dim`` times the sigmoid of the second (Dauphin et al. 2017)."""

    dim: int = -1

    def forward(self, x: Any) -> Tensor:
        return ops.glu(x, self.dim)
