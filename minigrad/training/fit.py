"""The plain training loop."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd import no_grad
from ..capture import Program
from ..capture import capture as record
from ..data import DataLoader
from ..nn import CrossEntropyLoss, Dropout, Module
from ..optim import Optimizer
from ..random import Generator, as_generator
from ..tensor import Tensor
from .history import Epoch, History

Array = NDArray[Any]
Data = tuple[Array, Array]
Loss = Callable[[Any, Any], Any]
Step = Callable[[Any, Any], tuple[Any, Any]]


def fit(
    model: Module,
    train: Data | Iterable[Data],
    *,
    optimizer: Optimizer,
    epochs: int,
    loss: Loss | None = None,
    validation: Data | None = None,
    patience: int | None = None,
    batch_size: int = 64,
    rng: Generator | int | None = None,
    progress: bool | None = None,
    callback: Callable[[Epoch], None] | None = None,
    capture: bool = False,
) -> History:
    """Train ``model``, and keep the weights of its best epoch.

    train : arrays (x, y), drawn in shuffled batches of ``batch_size`` from the stream ``rng``,
        or any iterable of batches such as a ``DataLoader``.
    loss : ``loss(model(x), y)`` is a scalar, a mean over samples; cross-entropy if None.
    validation : arrays (x, y), judged after each epoch.  The epoch with the lowest validation loss is the
        best one; NaN never is.  At the end, also after an interruption, the model has that epoch's weights.
    patience : stop after so many epochs in a row that did not improve (Prechelt 1998).
    progress : a bar; None shows one on a terminal and prints a line an epoch elsewhere; False is silent.
    callback : called with each finished ``Epoch``.
    capture : record the step once for each shape of batch and replay it without Python, to the same bits
        (``minigrad.capture``, which tells what a step may do then).

    Warns (``UserWarning``) at the first epoch whose training loss is not finite.
    Leaves the model in evaluation mode.  Raises ``ValueError`` for empty data and empty batches.
    """
    _check_model(model)
    _check_optimizer(model, optimizer)
    _check_count("epochs", epochs)
    if patience is not None:
        _check_count("patience", patience)
        if validation is None:
            raise ValueError("patience needs validation data to judge epochs by")
    if validation is not None:
        validation = _checked("validation", validation)
    batches = _batches(train, batch_size, rng)
    loss = _checked_loss(loss, train if _are_arrays(train) else validation)
    history = History()
    step = _step_of(model, loss, optimizer)
    if capture:
        step = _replayed(step)
    best: dict[str, Array] | None = None
    best_loss = float("inf")
    report = _Report(epochs, progress)
    try:
        for number in range(1, epochs + 1):
            epoch = _epoch(number, model, batches, optimizer, step, report)
            if not math.isfinite(epoch.loss) and all(math.isfinite(e.loss) for e in history.epochs):
                hint = "look for such numbers in the data, or lower the learning rate"
                warnings.warn(f"the training loss of epoch {number} is {epoch.loss}: {hint}", stacklevel=2)
            if validation is not None:
                val_loss, val_accuracy = evaluate(model, validation, loss)
                epoch = replace(epoch, val_loss=val_loss, val_accuracy=val_accuracy)
                if val_loss < best_loss:
                    best, best_loss, history.best_epoch = model.state_dict(), val_loss, number
            history.epochs.append(epoch)
            report.epoch_done(epoch)
            if callback is not None:
                callback(epoch)
            if patience is not None and number - (history.best_epoch or 0) >= patience:
                history.stopped_early = number < epochs
                break
    finally:
        report.close()
        if best is not None:
            model.load_state_dict(best)
        model.eval()
    return history


def evaluate(
    model: Module, data: Data, loss: Loss | None = None, *, batch_size: int = 1024
) -> tuple[float, float | None]:
    """The mean loss over arrays (x, y) and, for class indices, the accuracy; in evaluation mode, without a graph."""
    _check_model(model)
    _check_count("batch_size", batch_size)
    x, y = _checked("data", data)
    loss = _checked_loss(loss, (x, y))
    total = hits = 0.0
    with _evaluating(model):
        for start in range(0, len(x), batch_size):
            target = y[start : start + batch_size]
            output = model(x[start : start + batch_size])
            total += loss(output, target).item() * len(target)
            hits += _hits(output, target)
    return total / len(x), _share(hits, len(x))


def predict(model: Module, x: Array, *, batch_size: int = 1024) -> Array:
    """The model's outputs for all rows of ``x``, in evaluation mode, without a graph."""
    _check_model(model)
    return _outputs(model, x, batch_size, None, ())


def mc_predict(
    model: Module,
    x: Array,
    samples: int = 20,
    *,
    function: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 1024,
    rng: Generator | int | None = None,
) -> tuple[Array, Array]:
    """Mean and standard deviation of the model's outputs over ``samples`` sampled networks: Monte-Carlo dropout.

    Dropout stays active, everything else is in evaluation mode, batch norm too; each of the sampled networks sees
    all rows, and each row has masks of its own (Gal and Ghahramani 2016).
    function : applied to the outputs first, as ``minigrad.softmax``, to average probabilities instead of scores.
    rng : the stream of the masks; the layers' own streams stay where they are.

    Result: (mean, spread), each of the outputs' shape and dtype; spread is the root of the mean squared deviation, 0
    for one sample or a model without dropout.
    """
    _check_model(model)
    _check_count("samples", samples)
    _check_count("batch_size", batch_size)
    generator = as_generator(rng)
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    streams = [layer.rng for layer in layers]
    mean = squares = np.zeros((), np.float64)
    try:
        for layer in layers:
            layer.rng = generator.spawn()
        for count in range(1, samples + 1):
            y = _outputs(model, x, batch_size, function, layers)
            step = y - mean  # Welford's recurrence (1962)
            mean = mean + step / count
            squares = squares + step * (y - mean)
    finally:
        for layer, stream in zip(layers, streams, strict=True):
            layer.rng = stream
    return mean.astype(y.dtype), np.sqrt(squares / samples).astype(y.dtype)


def _outputs(
    model: Module, x: Array, batch_size: int, function: Callable[[Tensor], Tensor] | None, active: Sequence[Module]
) -> Array:
    """The model's outputs for all rows, or a function of them, in evaluation mode but for the modules ``active``."""
    _check_count("batch_size", batch_size)
    x = np.asarray(x)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"predict() got no rows: x has shape {x.shape}")
    parts = []
    with _evaluating(model):
        for module in active:
            module.training = True
        for start in range(0, len(x), batch_size):
            y = model(x[start : start + batch_size])
            parts.append((y if function is None else function(y)).numpy())
    return np.concatenate(parts)


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without a graph; the modes of all modules come back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _step_of(model: Module, loss: Loss, optimizer: Optimizer) -> Step:
    """One update: gives the loss, and the outputs that it judged."""

    def step(x: Any, y: Any) -> tuple[Any, Any]:
        output = model(x)
        value = loss(output, y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value, output

    return step


def _replayed(step: Step) -> Step:
    """The step as a program for each shape of batch."""
    programs: dict[Any, Program] = {}

    def replay(x: Any, y: Any) -> tuple[Any, Any]:
        arrays = [a.data if isinstance(a, Tensor) else np.asarray(a) for a in (x, y)]
        key = tuple((a.shape, a.dtype) for a in arrays)
        if key in programs:
            return programs[key](*arrays)  # type: ignore[no-any-return]
        programs[key] = record(step, *arrays)
        return programs[key].first_result  # type: ignore[no-any-return]

    return replay


def _epoch(
    number: int, model: Module, batches: Iterable[Data], optimizer: Optimizer, step: Step, report: _Report
) -> Epoch:
    model.train()
    total = hits = 0.0
    samples = steps = 0
    start = time.perf_counter()
    for batch in batches:
        x, y = _pair(batch)
        value, output = step(x, y)
        total += value.item() * len(x)
        hits += _hits(output, y)
        samples += len(x)
        steps += 1
        report.step_done(total / samples)
    if not steps:
        raise ValueError("fit() got no batch to train on")
    seconds = time.perf_counter() - start
    lr = float(optimizer.param_groups[0]["lr"])
    return Epoch(number, total / samples, _share(hits, samples), None, None, lr, steps, seconds)


def _hits(output: Any, y: Any) -> float:
    """How many rows have their largest output at the label; NaN where the targets are no class indices."""
    y = np.asarray(y)
    if output.ndim != 2 or y.ndim != 1 or y.dtype.kind not in "iu":
        return math.nan
    found = output.data.argmax(axis=1)  # the first NaN, where there is one: no answer
    return float(((found == y) & ~np.isnan(output.data[np.arange(len(y)), found])).sum())


def _share(hits: float, rows: int) -> float | None:
    return None if math.isnan(hits) else hits / rows


def _check_model(model: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")


def _check_optimizer(model: Module, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        hint = "; LBFGS has a step(closure) of its own" if hasattr(optimizer, "step") else ""
        raise TypeError(f"optimizer must be one of minigrad.optim, got {type(optimizer).__name__}{hint}")
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group.params):
        raise ValueError(
            "the optimizer updates no parameter of this model: make it after the model, of its parameters()"
        )


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _pair(batch: Any) -> Data:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise TypeError(f"fit() takes batches (x, y), got {type(batch).__name__}{size}")
    if len(batch[0]) == 0:
        raise ValueError("fit() got an empty batch")
    return batch[0], batch[1]


def _checked(name: str, data: Any) -> Data:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"{name} must be two arrays (x, y), got {type(data).__name__}")
    x, y = np.asarray(data[0]), np.asarray(data[1])
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"{name} must have as many rows in x as in y, got shapes {x.shape} and {y.shape}")
    if len(x) == 0:
        raise ValueError(f"{name} is empty: x has shape {x.shape}")
    return x, y


def _checked_loss(loss: Loss | None, data: Any) -> Loss:
    """The loss, or cross-entropy where what is known of the targets can be that of classes."""
    if loss is not None:
        if isinstance(loss, type) or not callable(loss):
            raise TypeError(f"loss must be a function of output and target, as nn.MSELoss() is, got {loss!r}")
        return loss
    y: Array = np.asarray([0] if data is None else data[1])
    shares = y.ndim > 1 and y.shape[1] > 1 and (y >= 0).all() and np.allclose(y.sum(axis=1), 1, atol=1e-3)
    if y.dtype.kind == "f" and not shares:
        raise ValueError("y holds numbers, neither class indices nor probabilities: give a loss, such as nn.MSELoss()")
    return CrossEntropyLoss()


def _are_arrays(train: Any) -> bool:
    """Whether these are arrays (x, y), not batches."""
    return isinstance(train, tuple | list) and len(train) == 2 and all(hasattr(a, "shape") for a in train)


def _batches(train: Any, batch_size: int, rng: Generator | int | None) -> Iterable[Any]:
    if _are_arrays(train):
        x, y = _checked("train", train)
        return DataLoader(x, y, batch_size=batch_size, shuffle=True, rng=rng)
    if isinstance(train, Iterator):
        raise TypeError("train must be iterable once an epoch, as a DataLoader is; an iterator is used up by the first")
    if not isinstance(train, Iterable):
        raise TypeError(f"train must be arrays (x, y) or an iterable of batches, got {type(train).__name__}")
    return train


class _Report:
    """A bar on a terminal, a line an epoch elsewhere, or nothing."""

    def __init__(self, epochs: int, progress: bool | None) -> None:
        self.bar: Any = None
        self.judged = ""  # what the last epoch was found to be
        self.lines = progress is None and not sys.stderr.isatty()
        if progress or (progress is None and not self.lines):
            from tqdm import tqdm

            layout = "epoch {n_fmt}/{total_fmt} |{bar:20}| {elapsed}<{remaining}{postfix}"
            self.bar = tqdm(total=epochs, bar_format=layout)

    def step_done(self, loss: float) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4f}{self.judged}", refresh=False)
            self.bar.update(0)

    def epoch_done(self, epoch: Epoch) -> None:
        if self.bar is not None:
            accuracy = epoch.accuracy if epoch.val_loss is None else epoch.val_accuracy
            self.judged = "" if epoch.val_loss is None else f", val {epoch.val_loss:.4f}"
            self.judged += "" if accuracy is None else f", {100 * accuracy:.1f} %"
            self.bar.set_postfix_str(f"loss {epoch.loss:.4f}{self.judged}", refresh=False)
            self.bar.update()
        elif self.lines:
            print(epoch, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
