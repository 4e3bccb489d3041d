"""What the kernels promise, asked and measured: one thread, one run, PyTorch and JAX beside NumPy where installed.

    python benchmarks/claims.py [--quick] [--target avx2]

The share of the peak is that of a loop of fused multiply-adds in registers, and
the share of the bandwidth that of a triad ``a = b + s c`` of the same size, both
compiled here and timed in turn with the kernels.  With ``--target avx2`` OpenBLAS
is held to its AVX2 kernels (Haswell), too.
"""

import argparse
import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import peers
from harness import QUICK, Row, compare, markdown, single_thread, surroundings, table
from kernels import normal, numpy_call, random
from overhead import binding
from peers import torch

import minigrad as mg
from minigrad import kernels
from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch

Side = Callable[[], object]

LAYERS = [(2, 16), (16, 16), (64, 64), (128, 10), (512, 10), (784, 128), (784, 512), (512, 512), (1024, 512)]
LAYERS.append((1024, 1024))
BATCHES = (1, 8, 32, 64, 128, 256)
SQUARES = (64, 128, 256, 512, 1024, 2048)
SIZES = (10**3, 10**5, 10**7)
COLUMNS = 100  # of a row kernel: 10, 1,000 and 100,000 rows
FUNCTIONS = ("exp", "tanh", "sigmoid", "gelu", "softmax", "cross_entropy", "layer_norm")


# The machine's own limits ----------------------------------------------------------------

LIMITS = """
typedef float vec __attribute__((vector_size(BYTES)));
float multiply_adds(long n) { /* 24 independent chains fill the pipelines */
    vec sum[24], x, y;
    for (unsigned i = 0; i < BYTES / 4; i++) x[i] = 0.999f, y[i] = 1e-3f;
    for (int i = 0; i < 24; i++) sum[i] = x;
    for (long j = 0; j < n; j++)
        _Pragma("GCC unroll 24") for (int i = 0; i < 24; i++) sum[i] = sum[i] * x + y;
    for (int i = 1; i < 24; i++) sum[0] += sum[i];
    return sum[0][0];
}
void triad(float *restrict a, const float *restrict b, const float *restrict c, long n) {
    for (long i = 0; i < n; i++) a[i] = b[i] + 3.0f * c[i];
}
"""


def limits() -> Any:
    """The two loops, compiled for this processor; None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    size = {"avx512": 64, "avx2": 32}.get(kernels.active(), 16)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "limits.so"
        options = ["-O3", "-march=native", "-ffp-contract=fast", f"-mprefer-vector-width={8 * size}", f"-DBYTES={size}"]
        command = [compiler, *options, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        if subprocess.run(command, input=LIMITS, text=True, stderr=subprocess.DEVNULL, check=False).returncode:
            return None
        found = ctypes.CDLL(str(library))
    found.multiply_adds.restype, found.multiply_adds.argtypes = ctypes.c_float, [ctypes.c_long]
    found.triad.restype, found.triad.argtypes = None, [ctypes.c_void_p] * 3 + [ctypes.c_long]
    found.flops = 2 * 24 * (size // 4)  # of a round
    return found


# Everything that is timed -------------------------------------------------------------------


def tensors(*arrays: Any) -> list[Any]:
    return [torch.from_numpy(a) for a in arrays]


def products(variant: str, quick: bool) -> Iterator[tuple[str, float, dict[str, Side]]]:
    """Case, FLOP and sides: a layer forward (NN), its gradients in the input (NT) and the weight (TN), or squares."""
    layers = [(*layer, BATCHES) for layer in LAYERS]
    if variant == "square":
        layers = [(size, size, (size,)) for size in SQUARES]
    for wide, narrow, batches in layers[: 2 if quick else None]:
        for batch in batches:
            x, weight, g = normal(batch, wide), normal(wide, narrow), normal(batch, narrow)
            a, b = {"NT": (g, weight.T), "TN": (x.T, g)}.get(variant, (x, weight))
            out = np.empty((len(a), b.shape[1]), np.float32)
            sides: dict[str, Side] = {
                "minigrad": partial(launch, "matmul", (out, a, b)),
                "NumPy": partial(np.matmul, a, b, out=out.copy()),
            }
            if torch:
                sides["torch"] = partial(torch.mm, *tensors(a, b), out=torch.from_numpy(out.copy()))
            yield f"{batch} x {wide}x{narrow}", 2.0 * batch * wide * narrow, sides


def functions(quick: bool) -> Iterator[tuple[str, str, int, dict[str, Side]]]:
    """Name, case, bytes moved at least, sides."""
    for name in FUNCTIONS:
        row = KERNELS[name]
        for n in SIZES[: 1 if quick else None]:
            shape = (n // COLUMNS, COLUMNS) if row.family == "ROWS" else (n,)
            given = {"x": normal(*shape), "labels": np.random.default_rng(0).integers(0, COLUMNS, shape[0])}
            given |= {"weight": normal(COLUMNS), "bias": normal(COLUMNS)}
            out = np.empty(shape[:1] if name == "cross_entropy" else shape, np.float32)
            arrays = (out, *(given[i] for i in row.inputs))
            scalars = (1e-5,) if name == "layer_norm" else ()
            sides: dict[str, Side] = {"minigrad": partial(launch, name, arrays, scalars), **peers.calls(row, arrays)}
            if name != "gelu":  # NumPy has none
                sides["NumPy"] = numpy_call(row, arrays, scalars)
            yield name, f"{n:.0e}", out.nbytes + 4 * n, sides


def updates(quick: bool) -> Iterator[tuple[str, str, dict[str, Side]]]:
    """One step of Adam over one tensor: ours and PyTorch's fused one, each as its user calls it."""
    for n in (10**3, 10**5, 10**6, 10**7)[: 1 if quick else None]:
        w, g = normal(n), normal(n)
        parameter = mg.Tensor(w.copy(), requires_grad=True)
        parameter.grad = mg.Tensor(g)
        sides: dict[str, Side] = {"minigrad": mg.optim.Adam([parameter], lr=1e-6).step}
        if torch:
            theirs = torch.from_numpy(w).requires_grad_()
            theirs.grad = torch.from_numpy(g)
            sides["torch"] = torch.optim.Adam([theirs], lr=1e-6, fused=True).step
        state = [normal(n), np.abs(normal(n))]
        scalars = (1e-6, 0.9, 0.999, 1e-8, 5, 0.0, 0.0, 0.0, 0.0, np.inf, 0.0)
        sides["NumPy"] = numpy_call(KERNELS["adam"], (normal(n), *state, g), scalars)
        yield "Adam", f"{n:.0e}", sides


def dropout_as_usual(x: Any, out: Any, numbers: Any) -> None:
    """As one writes it with NumPy; ``kernels.py`` has a way with 16 random bits an element, twice as fast."""
    np.copyto(out, random.random(out=numbers, dtype=np.float32) < 0.5)
    np.multiply(out, x, out=out)
    np.multiply(out, 2, out=out)


def dropouts(quick: bool) -> Iterator[tuple[str, str, dict[str, Side]]]:
    n = 10**3 if quick else 10**6
    x, out, mask = normal(n), np.empty(n, np.float32), np.empty((n + 7) // 8, np.uint8)
    scaled, scalars = (normal(n) > 0) * np.float32(2), (32768, np.array(7, np.uint64), np.array(0, np.uint64))
    sides: dict[str, Side] = {
        "minigrad": partial(launch, "dropout", (out, mask, x), scalars),
        "NumPy": partial(dropout_as_usual, x, out.copy(), np.empty(n, np.float32)),
    }
    back: dict[str, Side] = {
        "minigrad": partial(launch, "dropout_grad", (out, x, mask), (32768,)),
        "NumPy": partial(np.multiply, x, scaled, out=out.copy()),
        "masked multiply": partial(launch, "multiply", (out.copy(), x, scaled)),
    }
    if torch:
        sides["torch"] = partial(torch.nn.functional.dropout, torch.from_numpy(x), 0.5)
        back["torch"] = partial(torch.mul, *tensors(x, scaled), out=torch.from_numpy(out.copy()))
    yield "dropout", f"{n:.0e}", sides
    yield "its gradient", f"{n:.0e}", back


# What was asked ------------------------------------------------------------------------------


class Claims:
    """Lines of asked, measured and met."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []

    def at_least(self, what: str, asked: float, ratios: Sequence[tuple[float, str]]) -> None:
        """The least of the ratios, and where it was found; no line without a peer."""
        if ratios:
            least, case = min(ratios)
            self.line(what, f"{asked:g}", f"{least:.2f} at {case}", least >= asked)

    def mean_at_least(self, what: str, asked: float, ratios: Sequence[tuple[float, str]]) -> None:
        if ratios:
            mean = geometric_mean(ratio for ratio, _ in ratios)
            self.line(what, f"{asked:g}", f"{mean:.2f}", mean >= asked)

    def at_most(self, what: str, asked: float, found: float) -> None:
        self.line(what, f"at most {asked:g}", f"{found:.0f}", found <= asked)

    def line(self, what: str, asked: str, measured: str, met: bool) -> None:
        self.lines.append([what, asked, measured, "yes" if met else "**no**"])

    def __str__(self) -> str:
        return markdown(["", "asked", "measured", "met"], self.lines)


def share_of(shares: Mapping[str, float], row: Row) -> str:
    return f"{shares[str(row)]:.0%}" if str(row) in shares else ""


def compared(rows: Sequence[Row], peer: str) -> list[tuple[float, str]]:
    """How many times as fast as the peer, and where."""
    return [(row.ratio("minigrad", peer), str(row)) for row in rows if peer in row.seconds]


def is_large(row: Row, layer: str) -> bool:
    batch, _, size = row.case.partition(" x ")
    return size == layer and int(batch) >= 32


def measured_products(
    variant: str, machine: Any, quick: bool, options: dict[str, Any]
) -> tuple[list[Row], dict[str, float]]:
    """The rows of a variant, and of each the share of the peak."""
    rows, shares = [], {}
    for case, flop, sides in products(variant, quick):
        if machine:
            rounds = max(int(flop / machine.flops), 1000)
            sides["peak"] = partial(machine.multiply_adds, rounds)
        rows.append(Row(f"matmul {variant}", case, compare(sides, **options)))
        if machine:
            seconds = rows[-1].seconds
            shares[str(rows[-1])] = seconds["peak"] / (rounds * machine.flops) * flop / seconds["minigrad"]
    return rows, shares


def report(quick: bool = False) -> str:
    """The tables and the claims, as Markdown."""
    options: dict[str, Any] = QUICK if quick else {"rounds": 9}
    claims, machine, parts = Claims(), limits(), []

    for variant in ("NN", "NT", "TN", "square"):
        rows, shares = measured_products(variant, machine, quick, options)
        parts.append(table(rows, ["minigrad"], ["NumPy", "torch"], {"of the peak": partial(share_of, shares)}))
        if variant == "square":
            claims.at_least("squares: of NumPy's speed", 0.97, compared(rows, "NumPy"))
            continue
        title = f"60 layers, {variant}"
        claims.mean_at_least(f"{title}: of np.matmul(out=), mean", 1.9, compared(rows, "NumPy"))
        claims.mean_at_least(f"{title}: of torch.mm(out=), mean", 1.8, compared(rows, "torch"))
        claims.at_least(f"{title}: of the faster", 0.95, compared(rows, "NumPy") + compared(rows, "torch"))
        for layer, asked in (("512x512", 0.88), ("1024x1024", 0.85)):
            large = [(shares[str(row)], row.case) for row in rows if str(row) in shares and is_large(row, layer)]
            claims.at_least(f"{title}: share of the peak, {layer}, batch 32 and more", asked, large)

    rows, bandwidth = [], {}
    for name, case, moved, sides in functions(quick):
        if machine and moved >= 10**7:
            a, b, c = (np.zeros(moved // 12, np.float32) for _ in range(3))
            sides["triad"] = partial(machine.triad, a.ctypes.data, b.ctypes.data, c.ctypes.data, a.size)
        rows.append(Row(name, case, compare(sides, **options)))
        if "triad" in sides:
            bandwidth[str(rows[-1])] = rows[-1].ratio("minigrad", "triad")
    for peer in ("NumPy", "torch"):
        claims.at_least(f"{', '.join(FUNCTIONS)}: of {peer}'s speed", 1, compared(rows, peer))
    parts.append(table(rows, ["minigrad"], ["NumPy", *peers.INSTALLED], {"of a triad": partial(share_of, bandwidth)}))

    rows = [Row(name, case, compare(sides, **options)) for name, case, sides in updates(quick)]
    for row, asked in zip(rows, (20, 2.2, 1.5, 1.2), strict=False):
        claims.at_least("Adam: of PyTorch's fused", asked, compared([row], "torch"))
    parts.append(table(rows, ["minigrad"], ["NumPy", "torch"]))

    rows = [Row(name, case, compare(sides, **options)) for name, case, sides in dropouts(quick)]
    for peer, asked in (("NumPy", 8), ("torch", 30)):
        claims.at_least(f"dropout: of {peer}'s speed", asked, compared(rows[:1], peer))
    claims.at_least("its gradient: of a masked multiply's", 0.9, compared(rows[1:], "masked multiply"))
    parts.append(table(rows, ["minigrad"], ["NumPy", "torch"]))

    if kernels.targets()[1:]:
        claims.at_most("launch of add, beyond its kernel, ns", 100, 1e9 * binding("add", options)["beyond"])
    return "\n\n".join(["## Asked and measured", str(claims), "## Kernels and peers", *parts]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest cases, few rounds")
    parser.add_argument("--target", choices=kernels.targets(), default=kernels.active())
    arguments = parser.parse_args()
    if arguments.target == "avx2" and os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell") == "Haswell":
        os.environ["MINIGRAD_TARGET"] = "avx2"
    single_thread()
    peers.single_thread()
    kernels.use(arguments.target)
    print(surroundings(), report(arguments.quick), sep="\n\n")


if __name__ == "__main__":
    main()
