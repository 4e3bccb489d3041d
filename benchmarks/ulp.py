"""The largest error of every kernel with a bound in ulp, over all 2**32 float32 numbers, on every target.

    python benchmarks/ulp.py [--every 1] [kernel ...]

The error is |result - f(x)| in units of the last place of f(x) rounded to
float32.  f is worked out in float64 by NumPy (erf and gelu by SciPy's erf and
ndtr), whose own error of a few float64 units, some hundred in gelu's far tail,
is below 1e-6 of these.  ``--every n`` takes every n-th bit pattern.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import surroundings
from numpy.typing import NDArray
from scipy import special

from minigrad import kernels
from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch

Array = NDArray[Any]
CHUNK = 2**14  # so that every array stays in the L2 cache

EXACT: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "expm1": np.expm1,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "erf": special.erf,
    "gelu": lambda x: np.maximum(x, -40) * special.ndtr(x),
}


class Worst:
    """The largest error so far, where it occurred, and how many exceptional results were wrong."""

    def __init__(self) -> None:
        self.ulp, self.at, self.wrong = 0.5, np.float32(0), 0  # rounding alone errs by half a unit

    def take(self, x: Array, y: Array, exact: Array, rounded: Array) -> None:
        """Only results some floats away from the rounded one need the division: an error above the worst so
        far, less the half that rounding may hide, is so many floats, or two at the least beyond a power of two."""
        apart = np.abs(y.view(np.int32) - rounded.view(np.int32)).view(np.uint32)
        found = np.flatnonzero(apart >= min(int(self.ulp + 0.5), 2))
        x, y, exact, rounded = x[found], y[found], exact[found], rounded[found]
        same = (y == rounded) & ~np.isfinite(y) | np.isnan(y) & np.isnan(rounded)
        self.wrong += int(np.count_nonzero(~same & ~(np.isfinite(y) & np.isfinite(rounded))))
        finite = np.isfinite(y) & np.isfinite(rounded)
        if not finite.any():
            return
        ulps = np.abs(y[finite] - exact[finite]) / np.spacing(np.abs(rounded[finite])).astype(np.float64)
        i = int(ulps.argmax())
        if ulps[i] > self.ulp:
            self.ulp, self.at = float(ulps[i]), x[finite][i]


def measure(name: str, every: int) -> dict[str, Worst]:
    worst = {target: Worst() for target in kernels.targets()[1:]}
    patterns = np.arange(0, CHUNK * every, every, dtype=np.uint32)
    for start in range(0, 2**32, CHUNK * every):
        x = (patterns[: -(-(2**32 - start) // every)] + np.uint32(start)).view(np.float32)
        exact = EXACT[name](x.astype(np.float64))
        rounded = exact.astype(np.float32)
        for target, so_far in worst.items():
            kernels.use(target)
            y = np.empty_like(x)
            launch(name, (y, x))
            so_far.take(x, y, exact, rounded)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="kernel", default=list(EXACT), help="all by default")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="sample every N-th bit pattern")
    arguments = parser.parse_args()
    numbers = "all 2^32 numbers" if arguments.every == 1 else f"one number of every {arguments.every}"
    print(f"# Errors of the elementwise kernels over {numbers}\n\n{surroundings()}\n")
    print("| kernel | stated | target | largest error, ulp | at x | wrong NaN or inf |")
    print("| --- | --- | --- | --- | --- | --- |")
    with np.errstate(all="ignore"):
        for name in arguments.names:
            for target, worst in measure(name, arguments.every).items():
                stated = KERNELS[name].tolerance.removeprefix("ULP")
                print(
                    f"| {name} | {stated} | {target} | {worst.ulp:.3f} | {float(worst.at).hex()} | {worst.wrong} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
