"""The gallery is drawn."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "augmentation_gallery.py"


def test_the_pictures_are_drawn(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("36 pictures in ")
    for name in ("gallery.png", "digits.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
