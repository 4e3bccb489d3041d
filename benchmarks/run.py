"""Everything that is measured, as Markdown: kernels beside NumPy, the eager path beside NumPy and PyTorch.

    python benchmarks/run.py [--quick]

Being slow is no error: only a benchmark that cannot run ends with a status other than 0.
"""

import argparse

import kernels
import overhead
from harness import single_thread, surroundings


def main() -> None:
    parser = argparse.ArgumentParser(description="All benchmarks, as Markdown.")
    parser.add_argument("--quick", action="store_true", help="the smallest case of each kernel, few rounds")
    arguments = parser.parse_args()
    single_thread()
    print(surroundings(), end="\n\n", flush=True)
    for part in (kernels, overhead):
        print(part.report(arguments.quick), flush=True)


if __name__ == "__main__":
    main()
