import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import load_digits, split
from minigrad.preprocessing import StandardScaler
from minigrad.training import evaluate, load

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.py"
PACKAGE = Path(mg.__file__).parents[1]


def run(out: Path, **environment: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), **environment}
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--out", out / "run", "--seed", "0"],
        capture_output=True, text=True, timeout=300, env=environment, check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def result(folder: Path) -> Any:
    return run(folder, MINIGRAD_NUM_THREADS="1")


def accuracy(result: Any) -> float:
    last = re.fullmatch(r"accuracy: (\d+\.\d) %", result.stdout.splitlines()[-1])
    assert last
    return float(last[1])


def test_reads_at_least_97_percent_of_the_held_out_fifth(result: Any) -> None:
    assert accuracy(result) >= 97


def test_reports_plainly_where_there_is_no_terminal(result: Any) -> None:
    assert result.stderr == ""
    epochs = re.findall(r"^epoch +(\d+)  loss .* val accuracy .*$", result.stdout, re.MULTILINE)
    assert [int(epoch) for epoch in epochs] == list(range(1, len(epochs) + 1))
    stop = re.search(r"^(?:stopped early|ran to the end) after (\d+) epochs; kept .* epoch (\d+)$", result.stdout, re.M)
    assert stop
    assert int(stop[1]) == len(epochs) >= int(stop[2])
    assert re.search(r"^time per step: \d+ us over \d+ steps", result.stdout, re.MULTILINE)
    assert re.search(r"^capture: \d+ us a step, \d+ without it", result.stdout, re.MULTILINE)


def test_the_confusion_matrix_counts_the_held_out_fifth(result: Any) -> None:
    rows = re.findall(r"^ ?\[+([\d ]+)\]+$", result.stdout, re.MULTILINE)
    counts = np.array([[int(n) for n in row.split()] for row in rows])
    assert counts.shape == (10, 10)
    assert counts.sum() == 359  # a fifth of 1,797
    assert round(100 * np.trace(counts) / counts.sum(), 1) == accuracy(result)


def test_the_picture_and_the_weights_are_there_and_load_again(result: Any, folder: Path) -> None:
    assert (folder / "run" / "digits.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    model = runpy.run_path(str(EXAMPLE))["make_model"](seed=99)
    load(folder / "run" / "digits.safetensors", model)
    images, labels = load_digits()
    rows = images.reshape(len(images), -1).astype(np.float32)
    (x, _), _, (x_test, y_test) = split(rows, labels, fractions=(0.6, 0.2, 0.2), rng=0)
    _, share = evaluate(model, (StandardScaler().fit(x).transform(x_test), y_test))
    assert round(100 * (share or 0), 1) == accuracy(result)


def test_a_second_run_with_more_threads_ends_with_the_same_bytes(result: Any, folder: Path) -> None:
    first = (folder / "run" / "digits.safetensors").read_bytes()
    again = run(folder, MINIGRAD_NUM_THREADS="2")
    assert (folder / "run" / "digits.safetensors").read_bytes() == first
    assert accuracy(again) == accuracy(result)
