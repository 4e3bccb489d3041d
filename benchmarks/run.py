"""Everything that is measured: what the kernels promise, every kernel, the eager path, gradients, steps, their memory.

    python benchmarks/run.py [--quick] [--save runs/bench]

Being slow is no error: only a benchmark that cannot run ends with a status other than 0.
"""

import argparse
import importlib.util
from pathlib import Path

import augmentation
import backward
import claims
import kernels
import memory
import overhead
import peers
import picture
import steps
from harness import single_thread, surroundings


def main() -> None:
    parser = argparse.ArgumentParser(description="All benchmarks, as Markdown and pictures.")
    parser.add_argument("--quick", action="store_true", help="the smallest case of each kernel, few rounds")
    parser.add_argument("--save", type=Path, help="a folder for the Markdown and, with Matplotlib, the pictures")
    arguments = parser.parse_args()
    single_thread()
    peers.single_thread()
    rows = kernels.measure(arguments.quick)
    parts = [surroundings(), claims.report(arguments.quick), kernels.report(rows), overhead.report(arguments.quick)]
    parts.append(steps.report(arguments.quick, save=arguments.save))
    parts.append(memory.report(arguments.quick, arguments.save))
    parts.append(backward.report(arguments.quick))
    parts.append(augmentation.report(augmentation.measure(arguments.quick)))
    text = "\n\n".join(parts)
    print(text)
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        (arguments.save / "bench.md").write_text(text)
        if importlib.util.find_spec("matplotlib"):
            picture.draw(rows, arguments.save / "kernels.png", surroundings())


if __name__ == "__main__":
    main()
