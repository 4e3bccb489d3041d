"""Averages of weights over the steps of a training."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd import written
from ..kernels import recording
from ..kernels.launch import launch
from ..tensor import Tensor
from .optimizer import ONE, check_counted, check_flag, check_mapping, check_updatable, is_number


class EMA:
    """A running average of weights, to be used in their place.

    Each ``update()``, called after the optimizer's step, takes ``a <- decay * a + (1 - decay) * w``; the first a is w
    as it is when the average is made.  With ``bias_correction`` that start does not count, and after t updates
    ``a = sum(decay^(t-i) w_i) / sum(decay^(t-i))`` over i = 1 ... t (Kingma and Ba 2015, section 7.2); ``decay=1`` is
    then the plain mean of them (Polyak and Juditsky 1992), as PyTorch's ``AveragedModel`` has it; optax's ``ema``
    corrects, too.  It also counts steps that an optimizer skipped.

    params : tensors of floats; buffers, too, where they should be averaged.

    ``with ema.swapped():`` the tensors hold the averages, to evaluate or save the model, and their own values again
    afterwards.  An update is two calls on cells and one on all tensors of a dtype, recorded like any other.
    """

    def __init__(self, params: Iterable[Tensor], decay: float = 0.999, *, bias_correction: bool = False) -> None:
        recording.refuse("making an average", "make it before the step, which updates it")
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"EMA takes an iterable of tensors, got {type(params).__name__}")
        self.params = list(params)
        for p in self.params:
            if not isinstance(p, Tensor) or p.dtype.kind != "f":
                raise TypeError(f"EMA averages tensors of floats, got {p.dtype if isinstance(p, Tensor) else type(p)}")
            check_updatable(p)
        if not self.params or len({id(p) for p in self.params}) < len(self.params):
            raise ValueError("EMA got no tensors, or one of them twice")
        check_flag("bias_correction", bias_correction)
        self.bias_correction = bias_correction
        self._decay, self._rate, self.count = np.zeros(()), np.zeros(()), np.array(0, np.int64)
        self.decay = decay
        self.averages = [p.data.copy("K") for p in self.params]
        self._swapped = False

    @property
    def decay(self) -> float:
        """How much of the average an update leaves; a number in [0, 1] that may be set at any time."""
        return float(self._decay)

    @decay.setter
    def decay(self, value: float) -> None:
        if not (is_number(value) and 0 <= value <= 1):
            raise ValueError(f"decay must be a number in [0, 1], got {value!r}")
        self._decay[...] = value

    def update(self) -> None:
        """Take the present weights into the average."""
        if self._swapped:
            raise RuntimeError("the weights are the averages now; update after swapped()")
        launch("advance", (self.count, self.count, ONE))
        launch("average_rate", (self._rate, self.count, self._decay), (float(self.bias_correction),))
        for dtype in dict.fromkeys(p.dtype for p in self.params):
            pairs = [(a, p.data) for a, p in zip(self.averages, self.params, strict=True) if p.dtype == dtype]
            # A step of SGD: w <- (1 - lr decoupled) w - lr g with lr = decay - 1, decoupled = -1 and the weight for g.
            launch("sgd", tuple(a for pair in pairs for a in pair), (self._rate, 0.0, -1.0, 0.0, 0.0, np.inf, 0.0))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The tensors hold the averages inside the block, and what they held before behind it."""
        recording.refuse("EMA.swapped()", "swap around the step")
        if self._swapped:
            raise RuntimeError("the averages are in the tensors already")
        self._swapped = True
        before = [p.data.copy("K") for p in self.params]
        try:
            self._put(self.averages)
            yield
        finally:
            self._put(before)
            self._swapped = False

    def _put(self, arrays: list[NDArray[Any]]) -> None:
        for p, array in zip(self.params, arrays, strict=True):
            p.data[...] = array
        written(self.params, "EMA")

    def state_dict(self) -> dict[str, Any]:
        """Copies of all state: the count of updates, the decay, and the averages by position."""
        averages = {str(i): a.copy() for i, a in enumerate(self.averages)}
        return {"count": int(self.count), "decay": self.decay, "averages": averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict`` of an average over tensors of the same shapes.

        Raises ``KeyError`` or ``ValueError`` for one that does not fit, before anything is written.
        """
        check_mapping("a state of an average", state)
        check_mapping("averages", state["averages"])
        arrays, count = {k: np.asarray(v) for k, v in state["averages"].items()}, state["count"]
        if arrays.keys() != {str(i) for i in range(len(self.averages))}:
            raise KeyError("the state belongs to an average over other tensors")
        for i, a in enumerate(self.averages):
            if (got := arrays[str(i)]).shape != a.shape or got.dtype != a.dtype:
                raise ValueError(f"average {i} is {a.dtype} {a.shape}, the state has {got.dtype} {got.shape}")
        check_counted("count", count)
        self.decay = state["decay"]
        self.count[...] = count
        for i, a in enumerate(self.averages):
            a[...] = arrays[str(i)]
