"""One launch between guards, checked against the oracle; and samples of every row to launch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from minigrad.kernels import KERNELS
from minigrad.kernels.launch import launch

from . import images
from .guarded import LAYOUTS, Guarded
from .oracle import assert_near, bound, expected

Array = NDArray[Any]
F32 = np.dtype(np.float32)

NATIVE = [row for row in KERNELS.values() if row.dtypes]


def each_row(rows: Sequence[Any] = NATIVE) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [row.name for row in rows])


def family(name: str) -> list[Any]:
    return [row for row in KERNELS.values() if row.family == name]


def in_place(name: str) -> bool:
    """Whether a kernel reads what it writes."""
    return KERNELS[name].family == "UPDATE" or not KERNELS[name].inputs


def check(
    name: str,
    outputs: Sequence[Array],
    inputs: Sequence[Array],
    scalars: tuple[Any, ...] = (),
    layouts: Sequence[str] = (),
    offsets: Sequence[int] = (),
    exact: bool = False,
) -> None:
    """Launch ``name`` on guarded copies and compare with the oracle, bit for bit if ``exact``.

    ``outputs`` give shape and dtype; a kernel that works in place also reads them, any other finds poison there.
    """
    arrays = [*outputs, *inputs]
    layouts = [*layouts, *["C"] * len(arrays)]
    offsets = [*offsets, *[0] * len(arrays)]
    guards = []
    for i, (a, layout, offset) in enumerate(zip(arrays, layouts, offsets, strict=False)):
        blank = i < len(outputs) and not in_place(name)
        guards.append(Guarded(a.shape, a.dtype, layout, offset) if blank else Guarded.holding(a, layout, offset))
    wanted = expected(name, outputs, inputs, scalars)
    within = 0 if exact else bound(name, wanted[0], outputs, inputs, scalars)
    launch(name, tuple(g.array for g in guards), scalars)
    for guard in guards:
        guard.assert_border_intact(name)
    for guard, given in zip(guards[len(outputs) :], inputs, strict=True):
        np.testing.assert_array_equal(guard.array, given, err_msg=f"{name} changed an input")
    for guard, want in zip(guards, wanted, strict=False):
        if not in_place(name):
            guard.assert_all_written(name)
        assert_near(name, guard.array, want, within)


# Numbers ----------------------------------------------------------------------------------------

_INFO = np.finfo(np.float32)
CORNERS = np.array(
    [
        0,
        1,
        0.5,
        _INFO.tiny,
        _INFO.smallest_subnormal,
        _INFO.tiny * (1 - _INFO.eps),
        _INFO.max,
        np.inf,
        np.nan,
        88.7,
        104,
    ],
    np.float32,
)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = F32) -> Array:
    return rng.standard_normal(shape).astype(dtype)


def whole(rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = F32) -> Array:
    """Small whole numbers: every sum and product of them is exact, so nothing hides in a tolerance."""
    return rng.integers(-8, 9, shape).astype(dtype)


def anything(rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = F32) -> Array:
    """Ordinary numbers, corners of the number line, and random bits: NaN, infinities, subnormals, both zeros."""
    with np.errstate(all="ignore"):
        bits = rng.integers(0, 2**32, shape, np.uint32).view(np.float32)
        bits = np.where(bits == bits, bits, np.float32(np.nan))  # quiet: NumPy's power tells signalling ones apart
        corners = rng.choice(np.concatenate([CORNERS, -CORNERS]), shape)
        chosen = rng.integers(0, 3, shape)
        return np.choose(chosen, [normal(rng, shape), corners, bits]).astype(dtype)


# Strategies ---------------------------------------------------------------------------------------

small_shapes = st.tuples(st.lists(st.integers(1, 4), max_size=5), st.integers(0, 40) | st.just(-1)).map(
    lambda drawn: tuple(drawn[0]) if drawn[1] < 0 else (*drawn[0], drawn[1])
)
layouts = st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 4)
seeds = st.integers(0, 2**32 - 1)

# Samples -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Arguments of one launch; the outputs give shape and dtype, and what a kernel in place starts from."""

    name: str
    outputs: tuple[Array, ...]
    inputs: tuple[Array, ...]
    scalars: tuple[Any, ...] = ()

    def check(self, **options: Any) -> None:
        check(self.name, self.outputs, self.inputs, self.scalars, **options)

    def run(self) -> list[bytes]:
        """The bytes that the outputs hold afterwards."""
        outputs = [out.copy() for out in self.outputs]
        scalars = tuple(s.copy() if isinstance(s, np.ndarray) else s for s in self.scalars)
        launch(self.name, (*outputs, *self.inputs), scalars)
        return [out.tobytes() for out in outputs]


SCALARS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "clip": lambda: (-0.5, 0.75),
    "within": lambda: (-0.5, 0.75),
    "linear": lambda: (1.0,),
    "layer_norm": lambda: (1e-2,),
    "layer_norm_grad": lambda: (1e-2,),
    "philox": lambda: (10,),
    "dropout": lambda: (40000, np.array(2**63 + 12345, np.uint64), np.array(2**40 + 7, np.uint64)),
    "dropout_grad": lambda: (40000,),
    "sgd": lambda: (0.1, 0.01, 0.02, 0.5, 1.0, 0.75, np.array(2.0)),
    "sgd_momentum": lambda: (0.1, 0.9, 0.1, 1.0, 3, 0.01, 0.02, 0.5, 1.0, 0.75, np.array(2.0)),
    "adagrad": lambda: (0.1, 0.01, 1e-10, 0.0, np.array(3, np.int64), 0.01, 0.02, 0.5, 1.0, 0.75, np.array(2.0)),
    "rmsprop": lambda: (0.1, 0.99, 1e-8, 1.0, 0.01, 0.02, 0.5, 0.0, 0.75, np.array(2.0)),
    "rmsprop_momentum": lambda: (0.1, 0.99, 1e-8, 0.9, 1.0, 0.01, 0.02, 0.5, 0.0, 0.75, np.array(2.0)),
    "rmsprop_centered": lambda: (0.1, 0.99, 1e-8, 0.0, 0.01, 0.02, 0.5, 0.0, 0.75, np.array(2.0)),
    "rmsprop_centered_momentum": lambda: (0.1, 0.99, 1e-8, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, np.inf, np.array(2.0)),
    "global_norm": lambda: (0.5,),
    "clip_to_norm": lambda: (np.array(3.0), 0.75),
    "adam": lambda: (0.1, 0.9, 0.999, 1e-8, np.array(3, np.int64), 0.01, 0.02, 0.5, 1.0, 0.75, np.array(2.0)),
    "amsgrad": lambda: (0.1, 0.9, 0.999, 1e-8, 1.0, np.array(3, np.int64), 0.01, 0.02, 0.5, 1.0, 0.75, 1.0),
    "nadam": lambda: (0.1, 0.9, 0.999, 1e-8, 4e-3, 0.0, np.array(3, np.int64), 0.01, 0.02, 0.5, 1.0, 0.75, 1.0),
    "radam": lambda: (0.1, 0.9, 0.999, 1e-8, 0.0, np.array(9, np.int64), 0.01, 0.02, 0.5, 1.0, 0.75, 1.0),
    "lion": lambda: (0.1, 0.9, 0.99, 0.01, 0.02, 0.5, 1.0, 0.75, 1.0),
    "advance_if": lambda: (1.0,),
    "average_rate": lambda: (1.0,),
}


def settled(names: Sequence[str], states: Sequence[Array]) -> Iterator[Array]:
    """States as an update may find them: sums and means of squares, called s, v or top, are not negative."""
    for name, array in zip(names, states, strict=True):
        yield np.abs(array) if name in ("s", "v", "top") else array


def samples(name: str, n: int, rng: np.random.Generator) -> Iterator[Sample]:
    """Launches of a row whose longest axis has length ``n``, in each place where the kernel may cut it."""
    row = KERNELS[name]
    scalars = SCALARS.get(name, tuple)()

    def blank(*shape: int) -> Array:
        return np.zeros(shape, F32)

    def fill(*shapes: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(normal(rng, shape) for shape in shapes)

    if row.family == "ELEMENTWISE":
        inputs = fill(*[(n,)] * len(row.inputs))
        if name == "where":
            inputs = (inputs[0] > 0, *inputs[1:])
        yield Sample(name, (blank(n),), tuple(np.abs(x) for x in inputs) if name == "log" else inputs, scalars)
    elif row.family == "REDUCE":
        for out, x in [((1,), (n,)), ((5, 1), (5, n)), ((1, n), (5, n)), ((n, 1), (n, 5)), ((1, 5), (n, 5))]:
            yield Sample(name, (blank(*out),), fill(x))
    elif row.family == "MATMUL":
        for m, k, columns in [(3, 5, n), (n, 5, 3), (3, n, 5), (13, n, 14)]:
            second = (columns, k) if name == "linear" else (k, columns)
            third = {"linear": [(columns,)], "matmul_relu_grad": [(m, columns)]}.get(name, [])
            yield Sample(name, (blank(m, columns),), fill((m, k), second, *third), scalars)
    elif row.family == "ROWS":
        for rows, columns in [(3, n), (n, 3)]:
            out = (rows,) if name in ("logsumexp", "cross_entropy") else (rows, columns)
            labels = rng.integers(0, columns, rows)
            x, y = fill((rows, columns), (rows, columns))
            arguments = {"x": x, "g": y, "y": x, "labels": labels}
            if name.endswith("softmax_grad"):
                y = y - np.logaddexp.reduce(y, axis=1, keepdims=True)
                arguments |= {"g": x, "y": np.exp(y) if name == "softmax_grad" else y}
            elif name == "cross_entropy_grad":
                arguments["g"] = y[:, 0].copy()
            arguments |= dict(zip(("weight", "bias"), fill((columns,), (columns,)), strict=True))
            yield Sample(name, (blank(*out),), tuple(arguments[i] for i in row.inputs), scalars)
    elif name == "philox":
        words = rng.integers(0, 2**32, (n, 6), np.uint32)
        yield Sample(name, (np.zeros((n, 4), np.uint32),), (words[:, :4].copy(), words[:, 4:].copy()), scalars)
    elif name == "dropout":
        yield Sample(name, (blank(n), np.zeros((n + 7) // 8, np.uint8)), fill((n,)), scalars)
    elif name == "dropout_grad":
        mask = rng.integers(0, 256, (n + 7) // 8, np.uint8)
        yield Sample(name, (blank(n),), (*fill((n,)), mask), scalars)
    elif name == "advance":
        yield Sample(name, (np.zeros((), np.int64),), (np.array(2**53 + 1), np.array(n)), scalars)
    elif name == "look_up":
        for at in (0, n - 1, n + 2, -3):
            cells = np.array(at + 7), np.array(7)
            yield Sample(name, (np.zeros(()),), (rng.standard_normal(n), *cells), scalars)
    elif name == "advance_if":
        for norm in (1.0, np.inf, np.nan):
            yield Sample(name, (np.zeros((), np.int64),), (np.array(n), np.array(norm)), scalars)
    elif name == "average_rate":
        for decay in (0.0, 0.75, 1.0):
            yield Sample(name, (np.zeros(()),), (np.array(n % 100 + 1), np.array(decay)), scalars)
    elif row.family == "IMAGES":
        for outputs, inputs, numbers in images.arguments(name, n, rng):
            yield Sample(name, outputs, inputs, numbers)
    elif row.family == "TENSORS":
        tensors = fill((n,), (3,), (0, 4), (), (5, n))
        yield Sample(name, (np.zeros(()),), tensors, scalars) if row.inputs else Sample(name, tensors, (), scalars)
    else:
        outputs = fill(*[(n,)] * len(row.outputs))
        yield Sample(name, tuple(settled(row.outputs, outputs)), fill((n,)), scalars)
