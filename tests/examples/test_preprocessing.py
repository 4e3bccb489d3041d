import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "preprocessing.py"


def test_the_quick_run_draws_both_pictures_and_tells_what_they_show(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("matplotlib")
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--out", tmp_path / "run", "--quick"],
        capture_output=True, text=True, timeout=300, env=environment, check=True,
    )  # fmt: skip
    assert run.stderr == ""
    for name in ("clouds.png", "loss.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    matrix = r"\[\[(.*), (.*)\], \[(.*), (.*)\]\]"
    stages = {name: [float(v) for v in rest] for name, *rest in re.findall(rf"^  (\S+) +{matrix}$", run.stdout, re.M)}
    assert list(stages) == ["original", "zero-centred", "normalised", "decorrelated", "whitened"]
    assert stages["original"] == stages["zero-centred"]
    assert stages["decorrelated"][1] == 0
    assert stages["whitened"] == [1, 0, 0, 1]
    figures = re.findall(
        r"least loss (\S+), condition (\S+),\n  .* raise the loss by (\S+), .* steps (\S+)$", run.stdout, re.M
    )
    before, after = np.array(figures, float)
    assert before[0] == after[0]  # the same classifier
    assert before[1] > 1000 > 10 > after[1]
    assert before[2] > 10 * after[2]
    assert before[3] - before[0] > 10 * (after[3] - after[0])
