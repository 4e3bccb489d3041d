import os
import pty
import re
import select
import termios
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, ops, optim
from minigrad.data import DataLoader
from minigrad.random import Generator
from minigrad.schedules import cosine
from minigrad.training import Epoch, evaluate, fit, mc_predict, predict

Array = np.ndarray[Any, Any]


def blobs(n: int, seed: int = 0) -> tuple[Array, Array]:
    """Two classes that a line separates."""
    labels = np.arange(n) % 2
    return Generator(seed).normal((n, 2)) + 4 * labels[:, None].astype(np.float32), labels


def classifier() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 8, rng=1), nn.ReLU(), nn.Dropout(0.2, rng=2), nn.Linear(8, 2, rng=3))


def weights(model: nn.Module) -> bytes:
    return b"".join(array.tobytes() for array in model.state_dict().values())


def run(model: nn.Module, train: Any, optimizer: optim.Optimizer | None = None, **options: Any) -> Any:
    optimizer = optimizer or optim.Adam(model.parameters(), lr=0.05)
    return fit(model, train, optimizer=optimizer, **{"epochs": 3, "progress": False, "rng": 0} | options)


class Scripted:
    """A run whose validation losses are given, while every step changes the one weight.

    ``weights`` has the weight's bytes after each epoch.
    """

    def __init__(self, losses: list[float]) -> None:
        self.losses = iter(losses)
        self.model = nn.Linear(1, 1, bias=False, rng=0)
        self.weights: list[bytes] = []
        self.interrupt_at = 0

    def loss(self, output: Any, y: Any) -> Any:
        return output.sum() if self.model.training else mg.tensor(next(self.losses))

    def callback(self, epoch: Epoch) -> None:
        self.weights.append(weights(self.model))
        if epoch.epoch == self.interrupt_at:
            raise KeyboardInterrupt

    def fit(self, epochs: int, patience: int | None = None) -> Any:
        ones = np.ones((4, 1), np.float32)
        return run(self.model, (ones, ones), optim.SGD(self.model.parameters(), lr=0.1), epochs=epochs,
                   loss=self.loss, validation=(ones, ones), patience=patience, callback=self.callback)  # fmt: skip


# Learning


def test_learns_and_reports_what_it_did() -> None:
    model = classifier()
    train, validation = blobs(50), blobs(30, seed=1)
    seen: list[Epoch] = []
    optimizer = optim.Adam(model.parameters(), lr=cosine(0.05, 100))
    history = run(model, train, optimizer, epochs=10, batch_size=16, validation=validation, callback=seen.append)
    assert evaluate(model, validation)[1] >= 0.95
    assert history.epochs == seen
    assert [e.epoch for e in seen] == list(range(1, 11))
    assert history.steps == 40 == optimizer.step_count
    assert history.seconds_per_step > 0
    assert seen[-1].lr == cosine(0.05, 100)(39)
    assert not history.stopped_early
    best = seen[history.best_epoch - 1]
    assert best.val_loss == min(e.val_loss for e in seen)
    assert (best.val_loss, best.val_accuracy) == evaluate(model, validation)


def test_epoch_numbers_are_means_over_samples_however_they_are_batched() -> None:
    model, train = nn.Linear(2, 2, rng=0), blobs(23)
    frozen = optim.SGD(model.parameters(), lr=0.0)
    (epoch,) = run(model, train, frozen, epochs=1, batch_size=5, validation=train).epochs
    loss, accuracy = evaluate(model, train, batch_size=4)
    assert epoch.loss == pytest.approx(loss, rel=1e-6)
    assert epoch.val_loss == pytest.approx(loss, rel=1e-6)
    assert epoch.accuracy == epoch.val_accuracy == accuracy
    logits = model(train[0]).numpy().astype(float)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(23), train[1]]
    assert loss == pytest.approx(expected.mean(), rel=1e-6)
    assert accuracy == (logits.argmax(axis=1) == train[1]).mean()


def test_targets_that_are_no_classes_have_no_accuracy() -> None:
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    model = nn.Linear(1, 1, rng=0)
    history = run(model, (x, 3 * x - 1), loss=ops.mse_loss, epochs=60, batch_size=8, validation=(x, 3 * x - 1))
    assert history.epochs[-1].accuracy is None
    assert history.epochs[-1].val_accuracy is None
    assert model.weight.item() == pytest.approx(3, abs=0.02)

    class Flat(nn.Module):
        def forward(self, x: Any) -> Any:
            return mg.asarray(x).sum(1)

    counts = np.arange(4)
    assert evaluate(Flat(), (counts[:, None].astype(np.float32), counts), ops.mse_loss) == (0, None)


def test_arrays_a_loader_and_a_list_of_batches_are_the_same_training() -> None:
    x, y = blobs(40)
    results = []
    for train in ((x, y), [x, y], DataLoader(x, y, batch_size=64, shuffle=True, rng=0)):
        model = classifier()
        run(model, train)
        results.append(weights(model))
    assert len(set(results)) == 1
    model, again = classifier(), classifier()
    run(model, DataLoader(x, y, batch_size=10))
    run(again, [(x[i : i + 10], y[i : i + 10]) for i in range(0, 40, 10)])
    assert weights(model) == weights(again) != results[0]


def test_the_same_streams_give_the_same_bits() -> None:
    outcomes = set()
    for _ in range(2):
        model = classifier()
        run(model, blobs(40), batch_size=8, rng=Generator(5))
        outcomes.add(weights(model))
    other = classifier()
    run(other, blobs(40), batch_size=8, rng=Generator(6))
    assert len(outcomes) == 1
    assert weights(other) not in outcomes


# The best epoch


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([5, 4, 3, 4, 5, 6], 3),
        ([1, 2, 3, 4, 5, 6], 1),
        ([6, 5, 4, 3, 2, 1], 6),
        ([2, 2, 2, 2, 2, 2], 1),
        ([-1, -3, -2, -1, 0, 1], 2),
        ([np.nan, 4, np.nan, 3, np.inf, np.nan], 4),
        ([np.nan, np.inf, 7, np.nan, np.nan, np.nan], 3),
    ],
)
def test_the_model_ends_with_the_weights_of_its_best_epoch(losses: list[float], best: int) -> None:
    script = Scripted(losses)
    history = script.fit(epochs=6)
    assert len(set(script.weights)) == 6
    assert history.best_epoch == best
    assert weights(script.model) == script.weights[best - 1]
    assert not script.model.training


def test_nan_alone_is_never_best() -> None:
    script = Scripted([np.nan] * 9)
    history = script.fit(epochs=9, patience=4)
    assert (history.best_epoch, len(history.epochs), history.stopped_early) == (None, 4, True)
    assert weights(script.model) == script.weights[-1]


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [
        ([3, 2, 3, 3, 3, 1, 1, 1], 2, 4),
        ([3, 2, 3, 3, 1, 2, 2, 2], 3, 8),
        ([3, 2, 2, 2, 2, 1, 1, 1], 1, 3),
        ([3, np.nan, np.nan, 2, 9, 9, 9, 9], 3, 7),
        ([8, 7, 6, 5, 4, 3, 2, 1], 1, 8),
    ],
)
def test_patience_counts_epochs_in_a_row_that_did_not_improve(losses: list[float], patience: int, epochs: int) -> None:
    script = Scripted(losses)
    history = script.fit(epochs=8, patience=patience)
    assert len(history.epochs) == epochs
    assert history.stopped_early is (epochs < 8)
    assert weights(script.model) == script.weights[history.best_epoch - 1]


@pytest.mark.parametrize(("losses", "at", "best"), [([3, 1, 2, 5], 4, 2), ([4, 3, 2, 1], 3, 3), ([4, 5, 6, 7], 1, 1)])
def test_an_interruption_leaves_the_best_weights_and_is_passed_on(losses: list[float], at: int, best: int) -> None:
    script = Scripted(losses)
    script.interrupt_at = at
    with pytest.raises(KeyboardInterrupt):
        script.fit(epochs=9)
    assert weights(script.model) == script.weights[best - 1]
    assert not script.model.training


def test_without_validation_the_last_weights_stay() -> None:
    model = classifier()
    kept: list[bytes] = []
    history = run(model, blobs(20), callback=lambda epoch: kept.append(weights(model)))
    assert history.best_epoch is None
    assert weights(model) == kept[-1]
    assert history.epochs[0].val_loss is None


# Modes


class Spy(nn.Module):
    def __init__(self) -> None:
        self.linear = nn.Linear(2, 2)
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        self.modes.append((self.training, y.requires_grad))
        return y


def test_training_mode_for_training_only_and_no_graph_elsewhere() -> None:
    spy = Spy().eval()
    run(spy, blobs(4), epochs=2, batch_size=2, validation=blobs(4))
    assert spy.modes == 2 * [(True, True), (True, True), (False, False)]
    assert not spy.training


@pytest.mark.parametrize("judge", [lambda m: evaluate(m, blobs(4)), lambda m: predict(m, blobs(4)[0])])
def test_judging_a_model_leaves_its_modes_alone(judge: Callable[[nn.Module], Any]) -> None:
    spy = Spy()
    spy.linear.eval()
    judge(spy)
    assert spy.modes == [(False, False)]
    assert (spy.training, spy.linear.training) == (True, False)
    assert mg.is_grad_enabled()
    spy.linear = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        judge(spy)
    assert spy.training
    assert mg.is_grad_enabled()


def test_predict_gives_all_rows_in_order() -> None:
    model, (x, _) = classifier(), blobs(11)
    y = predict(model, x, batch_size=4)
    np.testing.assert_allclose(y, model.eval()(x).numpy(), rtol=1e-6)
    y[:] = 0  # a plain array of our own


# What is refused


def generator() -> Iterator[Any]:
    yield blobs(4)


X, Y = blobs(6)


@pytest.mark.parametrize(
    ("train", "options", "error", "message"),
    [
        (generator(), {}, TypeError, "an iterator is used up by the first"),
        (iter([(X, Y)]), {}, TypeError, "an iterator is used up by the first"),
        (7, {}, TypeError, r"arrays \(x, y\) or an iterable of batches, got int"),
        ((X[:0], Y[:0]), {}, ValueError, r"train is empty: x has shape \(0, 2\)"),
        ((X, Y[:5]), {}, ValueError, r"as many rows in x as in y, got shapes \(6, 2\) and \(5,\)"),
        ((X, np.int64(1)), {}, ValueError, r"got shapes \(6, 2\) and \(\)"),
        ([], {}, ValueError, r"fit\(\) got no batch to train on"),
        ([(X[:0], Y[:0])], {}, ValueError, r"fit\(\) got an empty batch"),
        ([X, Y, Y], {}, TypeError, r"fit\(\) takes batches \(x, y\), got ndarray"),
        (DataLoader(X), {}, TypeError, r"takes batches \(x, y\), got tuple of 1"),
        ((X.astype(np.float64), Y), {}, TypeError, "does not mix float32 and float64"),
        ((X, Y.astype(np.float32)), {}, ValueError, r"neither class indices nor probabilities: give a loss"),
        ((X, X), {}, ValueError, r"neither class indices nor probabilities: give a loss"),
        (DataLoader(X, X), {"validation": (X, X)}, ValueError, r"neither class indices nor probabilities"),
        ((X, Y), {"loss": "mse"}, TypeError, r"loss must be a function of output and target, .* got 'mse'"),
        ((X, Y), {"loss": nn.MSELoss}, TypeError, r"loss must be a function of output and target"),
        ((X, Y + 1), {}, IndexError, r"labels must lie in \[0, 2\) for 2 classes, got 2"),
        ((X, Y), {"validation": (X[:0], Y[:0])}, ValueError, "validation is empty"),
        ((X, Y), {"validation": X}, TypeError, r"validation must be two arrays \(x, y\), got ndarray"),
        ((X, Y), {"patience": 2}, ValueError, "patience needs validation data"),
        ((X, Y), {"patience": 0, "validation": (X, Y)}, ValueError, "patience must be a positive integer, got 0"),
        ((X, Y), {"epochs": 0}, ValueError, "epochs must be a positive integer, got 0"),
        ((X, Y), {"epochs": 2.0}, ValueError, "epochs must be a positive integer, got 2.0"),
        ((X, Y), {"epochs": True}, ValueError, "epochs must be a positive integer, got True"),
        ((X, Y), {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ((X, Y), {"rng": "seed"}, TypeError, "rng must be a Generator, an int or None, got 'seed'"),
        ((X, Y), {"loss": lambda output, y: output}, RuntimeError, "needs a scalar"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(train: Any, options: Any, error: Any, message: str) -> None:
    model = classifier()
    before = weights(model)
    with pytest.raises(error, match=message):
        run(model, train, **options)
    assert weights(model) == before


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: fit(lambda x: x, (X, Y), optimizer=None, epochs=1), TypeError, "must be a Module, got function"),
        (lambda m: evaluate(None, (X, Y)), TypeError, "must be a Module, got NoneType"),
        (lambda m: evaluate(m, (X[:0], Y[:0])), ValueError, "data is empty"),
        (lambda m: evaluate(m, (X, Y), batch_size=0), ValueError, "batch_size must be a positive integer, got 0"),
        (lambda m: predict(m, X[:0]), ValueError, r"got no rows: x has shape \(0, 2\)"),
        (lambda m: predict(m, X, batch_size=-1), ValueError, "batch_size must be a positive integer, got -1"),
    ],
)
def test_bad_arguments_are_named(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(classifier())


# What is shown

LINE = r"epoch +\d  loss \d\.\d{4}  accuracy \d+\.\d\d %  val loss \d\.\d{4}  val accuracy \d+\.\d\d %  lr 5\.00e-02"


def test_a_line_an_epoch_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(classifier(), blobs(20), validation=blobs(20), progress=None)
    out, err = capsys.readouterr()
    assert re.fullmatch(f"({LINE}\n){{3}}", out)
    assert err == ""
    run(classifier(), blobs(20), progress=False)
    assert capsys.readouterr() == ("", "")
    run(classifier(), blobs(20), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    shown = b""
    with os.fdopen(master, "rb", buffering=0) as screen, os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        run(classifier(), blobs(20), validation=blobs(20), progress=None)
        terminal.flush()
        # A terminal hands over what it has so far, so read until the last words have arrived.
        while b"%" not in shown.partition(b"epoch 3/3")[2] and select.select([screen], [], [], 10)[0]:
            shown += screen.read(65536)
    assert re.search(r"epoch 3/3 \|█+\| \d+:\d\d<\d+:\d\d, loss \d\.\d{4}, val \d\.\d{4}, \d+\.\d %", shown.decode())
    assert capsys.readouterr().out == ""


def test_a_loss_that_is_not_finite_is_told_and_scores_nothing() -> None:
    x, y = np.full((20, 2), np.nan, np.float32), np.zeros(20, np.int64)
    model = nn.Linear(2, 3, rng=0)
    with pytest.warns(UserWarning, match="the training loss of epoch 1 is nan"):
        history = fit(model, (x, y), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=2, progress=False)
    assert [epoch.accuracy for epoch in history.epochs] == [0, 0]
    assert evaluate(model, (x, y))[1] == 0


def test_capture_trains_to_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4), np.float32), rng.integers(0, 3, 50)
    weights, losses = [], []
    for capture in (False, True):
        model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.ReLU(), nn.Dropout(0.2, rng=1), nn.Linear(8, 3, rng=2))
        optimizer = optim.Adam(model.parameters(), lr=cosine(0.01, T_max=30))
        history = fit(
            model, (x, y), optimizer=optimizer, epochs=6, validation=(x, y), batch_size=16, rng=3, progress=False,
            capture=capture,
        )  # fmt: skip
        weights.append([p.data.tobytes() for p in model.parameters()])
        losses.append([(epoch.loss, epoch.accuracy, epoch.val_loss, epoch.lr) for epoch in history.epochs])
    assert weights[0] == weights[1]
    assert losses[0] == losses[1]


# Monte-Carlo dropout


def test_mc_predict_is_the_mean_over_masks_with_its_spread() -> None:
    """Of the sum of n inputs x, each kept with probability q and scaled: mean n x, variance n x^2 (1 - q) / q."""
    n, p = 8, 0.25
    model = nn.Sequential(nn.Dropout(p), nn.Linear(n, 1, bias=False))
    model[1].weight.assign_(1)  # type: ignore[attr-defined]
    x = np.full((500, n), 2.0, np.float32)
    mean, spread = mc_predict(model, x, 400, rng=0, batch_size=300)
    assert mean.shape == spread.shape == (500, 1)
    assert mean.dtype == spread.dtype == np.float32
    std = 2 * np.sqrt(n * p / (1 - p))
    assert np.abs(mean - 2 * n).max() < 5 * std / 20
    assert mean.mean() == pytest.approx(2 * n, abs=5 * std / np.sqrt(500 * 400))
    np.testing.assert_allclose(spread, std, rtol=0.2)
    assert spread.mean() == pytest.approx(std, rel=0.01)


def test_mc_predict_samples_dropout_alone_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5, scale_at="test"), nn.Linear(8, 2)).eval()
    model[1].training = True
    x = blobs(30)[0]
    state, modes = weights(model), [m.training for m in model.modules()]
    streams = [(g, g.state()) for _, g in model.named_generators()]
    first = mc_predict(model, x, 5, function=lambda y: ops.softmax(y, axis=1), rng=3)
    np.testing.assert_allclose(first[0].sum(1), 1, rtol=1e-6)
    again = mc_predict(model, x, 5, function=lambda y: ops.softmax(y, axis=1), rng=3)
    assert [a.tobytes() for a in first] == [a.tobytes() for a in again]
    assert mc_predict(model, x, 5, rng=4)[0].tobytes() != mc_predict(model, x, 5, rng=5)[0].tobytes()
    assert weights(model) == state
    assert [m.training for m in model.modules()] == modes
    assert [(g, g.state()) for _, g in model.named_generators()] == streams
    with pytest.raises(ValueError, match="and"):
        mc_predict(model, np.ones((3, 5), np.float32))
    assert [(g, g.state()) for _, g in model.named_generators()] == streams

    plain = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8))
    mean, spread = mc_predict(plain, x, 3)
    np.testing.assert_allclose(mean, predict(plain, x), rtol=1e-6)
    assert not spread.any()
    assert not mc_predict(model, x, 1)[1].any()


def test_mc_predict_comes_nearer_with_more_samples() -> None:
    """The mean over k masks deviates by spread / sqrt(k), in the root of the mean over rows and repetitions."""
    model = classifier()
    x = blobs(200)[0]
    exact, spread = mc_predict(model, x, 600, rng=0)
    for k in (1, 4, 16):
        apart = [mc_predict(model, x, k, rng=seed)[0] - exact for seed in range(1, 9)]
        assert np.sqrt(np.mean(np.square(apart))) == pytest.approx(np.sqrt(np.mean(spread**2) / k), rel=0.15)


@pytest.mark.parametrize("samples", [0, -1, 2.0, True])
def test_mc_predict_refuses_what_is_no_count(samples: Any) -> None:
    with pytest.raises(ValueError, match="samples must be a positive integer, got"):
        mc_predict(classifier(), np.ones((1, 2), np.float32), samples)


def test_an_optimizer_of_another_model_is_named() -> None:
    model, other = classifier(), classifier()
    for wrong, error, message in [
        (optim.SGD(other.parameters(), lr=0.1), ValueError, "updates no parameter of this model"),
        ("adam", TypeError, "must be one of minigrad.optim, got str"),
        (optim.LBFGS(model.parameters()), TypeError, r"LBFGS has a step\(closure\) of its own"),
    ]:
        with pytest.raises(error, match=message):
            fit(model, (X, Y), optimizer=wrong, epochs=1)


def test_shares_of_classes_are_targets_of_the_usual_loss() -> None:
    shares = np.stack([Y, 1 - Y], axis=1).astype(np.float32)
    loss, accuracy = evaluate(classifier(), (X, shares))
    assert loss > 0
    assert accuracy is None
    with pytest.raises(ValueError, match="give a loss"):
        evaluate(classifier(), (X, shares[:, :1]))
