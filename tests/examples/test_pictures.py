"""The examples that draw: each runs quickly, says what it found and leaves a picture."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURES = [
    "convnet_heads",
    "dropout_ensemble",
    "dropout_rates",
    "l1_l2",
    "learning_rates",
    "optimizers",
    "rate_finder",
    "schedules",
]


def test_every_example_is_tested() -> None:
    others = {"00_scalar_engine", "augmentation_gallery", "digits", "preprocessing"}  # by modules of their own
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*PICTURES, *others}


@pytest.mark.parametrize("name", PICTURES)
def test_draws_its_picture(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("matplotlib")
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", "--quick", "--out", tmp_path / "new"],
        capture_output=True, text=True, timeout=60, env={**environment, "MINIGRAD_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    picture = tmp_path / "new" / f"{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert re.search(rf"^saved .*{name}\.png", run.stdout, re.MULTILINE)
    assert "nan" not in run.stdout
    assert f"{name}.png" in (EXAMPLES / f"{name}.py").read_text().split('"""')[1]
