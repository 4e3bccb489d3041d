import sys
from pathlib import Path
from typing import Any

import pytest

from minigrad.training import Epoch, History


def epochs(n: int, **changes: Any) -> list[Epoch]:
    """Validation losses fall until epoch 3."""
    return [
        Epoch(**{"epoch": e, "loss": 1 / e, "accuracy": 1 - 0.5 / e, "val_loss": 1 + (e - 3) ** 2,
                 "val_accuracy": 0.9 - 0.1 * abs(e - 3), "lr": 0.1, "steps": 4, "seconds": 0.02} | changes)
        for e in range(1, n + 1)
    ]  # fmt: skip


def test_an_epoch_prints_what_it_knows() -> None:
    (epoch,) = epochs(1)
    assert str(epoch) == "epoch   1  loss 1.0000  accuracy 50.00 %  val loss 5.0000  val accuracy 70.00 %  lr 1.00e-01"
    (epoch,) = epochs(1, accuracy=None, val_loss=None, val_accuracy=None)
    assert str(epoch) == "epoch   1  loss 1.0000  lr 1.00e-01"


def test_steps_and_time() -> None:
    history = History(epochs(5))
    assert history.steps == 20
    assert history.seconds_per_step == pytest.approx(0.005)
    assert History().seconds_per_step == 0


def test_the_plot_marks_the_epoch_whose_weights_were_kept(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = History(epochs(6), best_epoch=3).plot(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    loss, accuracy = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy in %"]
    for axes, value in ((loss, "1"), (accuracy, "90 %")):
        training, validation, line, point = axes.get_lines()
        assert list(training.get_xdata()) == list(validation.get_xdata()) == [1, 2, 3, 4, 5, 6]
        assert list(line.get_xdata()) == [3, 3]
        assert list(point.get_xdata()) == [3]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["training", "validation", f"weights kept: epoch 3, {value}"]
    assert list(accuracy.get_lines()[0].get_ydata()) == pytest.approx([50, 75, 250 / 3, 87.5, 90, 275 / 3])


def test_the_plot_shows_only_what_is_there() -> None:
    pytest.importorskip("matplotlib")
    (axes,) = History(epochs(4, accuracy=None, val_accuracy=None)).plot().axes
    assert len(axes.get_lines()) == 2
    axes, _ = History(epochs(4, val_loss=None, val_accuracy=None)).plot().axes
    assert [line.get_label() for line in axes.get_lines()] == ["training"]
    (axes,) = History(epochs(4, loss=-1.0, accuracy=None, val_accuracy=None)).plot().axes
    assert axes.get_yscale() == "linear"
    with pytest.raises(ValueError, match="there is no epoch to plot"):
        History().plot()


def test_the_error_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ImportError, match=r"plots need matplotlib: pip install 'minigrad\[plot\]'"):
        History(epochs(2)).plot()
