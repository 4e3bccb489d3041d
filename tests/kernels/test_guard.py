"""Every kernel of every target between poisoned borders, at every length around its vectors and every start;
and the checks themselves, shown to fail."""

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from minigrad import kernels
from minigrad.kernels import reference

from .guarded import BORDER, LAYOUTS, Guarded
from .harness import NATIVE, Sample, check, each_row, samples
from .oracle import assert_near, bound, expected

LENGTHS = [*range(1, 34), 47, 48, 49, 64, 97]  # with a start of each residue modulo the widest vector


@each_row()
def test_borders_hold_at_every_length_and_start(target: str, name: str) -> None:
    for n in LENGTHS:
        for sample in samples(name, n, np.random.default_rng(n)):
            sample.check(offsets=[n % 16, n * 3 % 16, n * 5 % 16, n * 7 % 16])


@each_row([row for row in NATIVE if row.family != "UPDATE"])
def test_every_layout(target: str, name: str) -> None:
    for sample in samples(name, 19, np.random.default_rng(0)):
        count = len(sample.outputs) + len(sample.inputs)
        for layout in LAYOUTS:
            sample.check(layouts=[layout] * count, offsets=[1, 2, 3, 5])
            for i in range(count):
                sample.check(layouts=["C"] * i + [layout], offsets=[5, 3, 2, 1])


# The checks are seen to fail ---------------------------------------------------------------------

needs_border = pytest.mark.skipif(BORDER == 0, reason="the planted write would leave the buffer")


@needs_border
@pytest.mark.parametrize("at", [-1, 6])
def test_a_write_beside_an_array_is_seen(at: int) -> None:
    guarded = Guarded.holding(np.zeros(6, np.float32), offset=3)
    guarded.assert_border_intact("untouched")
    ctypes.cast(guarded.array.ctypes.data + 4 * at, ctypes.POINTER(ctypes.c_float))[0] = 0.0
    with pytest.raises(AssertionError, match=f"outside the array, at .{4 * at}"):
        guarded.assert_border_intact("planted")


@needs_border
@pytest.mark.parametrize("layout", ["gaps", "every other", "backwards"])
def test_a_write_into_the_gaps_of_an_array_is_seen(layout: str) -> None:
    guarded = Guarded.holding(np.zeros((3, 4), np.float32), layout)
    guarded.assert_border_intact("untouched")
    as_strided(guarded.array, (24,), (4,) if layout != "backwards" else (-4,))[12:] = 0.0
    with pytest.raises(AssertionError, match="outside the array"):
        guarded.assert_border_intact("planted")


def one_longer(a: Any) -> Any:
    return as_strided(a, (len(a) + 1,), a.strides)


def swapped_arguments(out: Any, a: Any, b: Any) -> None:
    np.subtract(b, a, out=out)


def wrong_sign(out: Any, a: Any, b: Any) -> None:
    np.negative(a - b, out=out)


def writes_one_too_many(out: Any, a: Any, b: Any) -> None:
    one_longer(out)[...] = np.append(a - b, 0)


def reads_the_next_element(out: Any, a: Any, b: Any) -> None:
    np.subtract(a, b + 0 * one_longer(b)[1:], out=out)


def forgets_the_last(out: Any, a: Any, b: Any) -> None:
    np.subtract(a[:-1], b[:-1], out=out[:-1])


def changes_an_input(out: Any, a: Any, b: Any) -> None:
    np.subtract(a, b, out=out)
    a[0] += 1


def one_unit_off(out: Any, a: Any, b: Any) -> None:
    np.nextafter(a - b, np.float32(np.inf), out=out)


PLANTED = [
    swapped_arguments,
    wrong_sign,
    writes_one_too_many,
    reads_the_next_element,
    forgets_the_last,
    changes_an_input,
    one_unit_off,
]


@needs_border
@pytest.mark.parametrize("faulty", PLANTED)
def test_a_faulty_kernel_is_caught(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 9)).astype(np.float32)
    before = kernels.active()
    try:
        kernels.use("reference")
        check("subtract", [np.empty_like(a)], [a, b])
        monkeypatch.setattr(reference, "subtract", faulty)
        with pytest.raises(AssertionError):
            check("subtract", [np.empty_like(a)], [a, b])
    finally:
        kernels.use(before)


def off_by_ulps(y: Any, ulps: int) -> Any:
    return y + ulps * np.spacing(y)


@pytest.mark.parametrize("ulps", [-8, -3, 3, 8])
def test_the_comparison_sees_a_few_ulps(ulps: int) -> None:
    x = np.linspace(-80, 80, 999, dtype=np.float32)
    outputs, (wanted,) = [x], expected("exp", [x], [x], ())
    within = bound("exp", wanted, outputs, [x], ())
    assert_near("exp", off_by_ulps(wanted.astype(np.float32), 1), wanted, within)
    with pytest.raises(AssertionError, match="999 of 999"):
        assert_near("exp", off_by_ulps(wanted.astype(np.float32), ulps), wanted, within)


@pytest.mark.parametrize("name", ["sum", "mean", "matmul", "linear", "matmul_relu_grad"])
def test_the_comparison_sees_a_missing_term(name: str) -> None:
    rng = np.random.default_rng(0)
    for sample in samples(name, 300, rng):
        assert_wrong_input_is_seen(sample)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad"])
def test_the_comparison_sees_a_wrong_column(name: str) -> None:
    for sample in samples(name, 50, np.random.default_rng(0)):
        assert_wrong_input_is_seen(sample)


def assert_wrong_input_is_seen(sample: Sample) -> None:
    """One element of the float inputs counts as zero: the smallest slip that an index can make."""
    (wanted, *_) = expected(sample.name, sample.outputs, sample.inputs, sample.scalars)
    within = bound(sample.name, wanted, sample.outputs, sample.inputs, sample.scalars)
    x = sample.inputs[1] if sample.name == "cross_entropy_grad" else sample.inputs[0]
    x.flat[np.argmax(np.abs(x))] = 0
    slipped, *_ = expected(sample.name, sample.outputs, sample.inputs, sample.scalars)
    with pytest.raises(AssertionError, match="differ"):
        assert_near(sample.name, slipped.astype(np.float32), wanted, within)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (1.0, np.inf), (-np.inf, np.inf), (np.inf, np.nan)],
)
def test_the_comparison_sees_nan_and_infinity(got: float, wanted: float) -> None:
    for within in (0.0, 1e-5):
        with pytest.raises(AssertionError):
            assert_near("x", np.float32([got]), np.array([wanted]), within)
    assert_near("x", np.float32([got]), np.array([got]), 0.0)
    assert_near("x", np.float32([-0.0]), np.array([0.0]), 0.0)
