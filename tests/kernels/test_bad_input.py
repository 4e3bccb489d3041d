"""Bad input raises a clear error before anything is written, on every target."""

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from minigrad import kernels
from minigrad.kernels.launch import Call, elementwise, launch, linear, matmul, rows, where

from .guarded import Guarded

compiled = pytest.mark.skipif(len(kernels.targets()) == 1, reason="without the extension NumPy says what is wrong")

F, D = np.float32, np.float64


def ones(*shape: int, dtype: Any = F) -> Any:
    return np.ones(shape, dtype)


def read_only(a: Any) -> Any:
    a.flags.writeable = False
    return a


def misaligned(*shape: int, dtype: Any = F) -> Any:
    guarded = Guarded(shape, dtype, "misaligned")
    guarded.array[...] = 1
    return guarded.array


LABELS = np.zeros(3, np.int64)
SGD: tuple[Any, ...] = (0.1, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0)
ADAM = (0.1, 0.9, 0.999, 1e-8, 0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0)
CELL = np.array(0, np.uint64)
MASK = np.ones(1, np.uint8)

BAD = {
    "too few arrays": ("add", (ones(3), ones(3)), (), TypeError, "add takes 3 arrays, got 2"),
    "too many arrays": ("exp", (ones(3), ones(3), ones(3)), (), TypeError, "exp takes 2 arrays, got 3"),
    "no arrays": ("sgd", (), SGD, TypeError, "sgd takes 2 arrays, got 0"),
    "half a tensor": ("sgd", (ones(3),) * 3, SGD, TypeError, "sgd takes 2 arrays, got 3"),
    "too few scalars": ("clip", (ones(3), ones(3)), (1.0,), TypeError, "clip takes 2 scalars, got 1"),
    "too many scalars": ("exp", (ones(3), ones(3)), (1.0,), TypeError, "exp takes 0 scalars, got 1"),
    "a list": ("exp", (ones(3), [1.0, 2.0, 3.0]), (), TypeError, "exp takes ndarrays, got list"),
    "a number": ("add", (ones(3), ones(3), 1.0), (), TypeError, "add takes ndarrays, got float"),
    "a scalar that is text": ("clip", (ones(3), ones(3)), ("low", 1.0), TypeError, "must be real number"),
    "read-only": ("exp", (read_only(ones(3)), ones(3)), (), ValueError, "exp cannot write into a read-only array"),
    "read-only mask": (
        "dropout",
        (ones(3), read_only(np.ones(1, np.uint8)), ones(3)),
        (9, CELL, CELL),
        ValueError,
        "read-only",
    ),
    "mixed floats": ("add", (ones(3), ones(3), ones(3, dtype=D)), (), TypeError, "add takes one floating dtype"),
    "mixed update": ("sgd", (ones(3), ones(3, dtype=D)), SGD, TypeError, "sgd takes one floating dtype"),
    "float beside integer": ("add", (ones(3), ones(3), np.ones(3, int)), (), TypeError, "one floating dtype"),
    "elementwise": ("add", (ones(2, 3), ones(3), ones(2)), (), ValueError, r"add: .* out \(2, 3\), a \(3,\), b \(2,\)"),
    "input larger": ("exp", (ones(3), ones(2, 3)), (), ValueError, r"exp: shapes do not fit: out \(3,\), x \(2, 3\)"),
    "output broadcast": ("add", (ones(1), ones(3), ones(3)), (), ValueError, "add: shapes do not fit"),
    "reduced axes": ("sum", (ones(2, 3), ones(4, 3)), (), ValueError, "sum: shapes do not fit"),
    "reduced ndim": ("sum", (ones(3), ones(4, 3)), (), ValueError, "sum: shapes do not fit"),
    "inner sizes": ("matmul", (ones(2, 4), ones(2, 3), ones(2, 4)), (), ValueError, "matmul: shapes do not fit"),
    "outer sizes": ("matmul", (ones(2, 5), ones(2, 3), ones(3, 4)), (), ValueError, "matmul: shapes do not fit"),
    "a vector": ("matmul", (ones(2, 4), ones(3), ones(3, 4)), (), ValueError, "matmul: shapes do not fit"),
    "batches": ("matmul", (ones(3, 2, 4), ones(2, 2, 3), ones(3, 4)), (), ValueError, "matmul: shapes do not fit"),
    "more batches": ("matmul", (ones(2, 4), ones(5, 2, 3), ones(3, 4)), (), ValueError, "matmul: shapes do not fit"),
    "bias": ("linear", (ones(2, 4), ones(2, 3), ones(4, 3), ones(3)), (0.0,), ValueError, r"linear: .* bias \(3,\)"),
    "weight": (
        "linear",
        (ones(2, 4), ones(2, 3), ones(3, 4), ones(4)),
        (0.0,),
        ValueError,
        "linear: shapes do not fit",
    ),
    "batched linear": (
        "linear",
        (ones(1, 2, 4), ones(1, 2, 3), ones(4, 3), ones(4)),
        (0.0,),
        ValueError,
        "linear: shapes do not fit",
    ),
    "one axis": ("softmax", (ones(3), ones(3)), (), ValueError, "softmax: shapes do not fit"),
    "three axes": ("softmax", (ones(1, 2, 3), ones(1, 2, 3)), (), ValueError, "softmax: shapes do not fit"),
    "no columns": ("softmax", (ones(3, 0), ones(3, 0)), (), ValueError, "softmax: shapes do not fit"),
    "columns": ("softmax_grad", (ones(3, 4), ones(3, 4), ones(3, 5)), (), ValueError, "softmax_grad: shapes"),
    "norm weight": (
        "layer_norm",
        (ones(3, 4), ones(3, 4), ones(3), ones(4)),
        (1e-5,),
        ValueError,
        r"weight \(3,\)",
    ),
    "norm bias": ("layer_norm", (ones(3, 4), ones(3, 4), ones(4), ones(5)), (1e-5,), ValueError, r"bias \(5,\)"),
    "too few labels": ("cross_entropy", (ones(3), ones(3, 4), LABELS[:2]), (), ValueError, r"labels \(2,\)"),
    "one label": ("cross_entropy", (ones(3), ones(3, 4), LABELS[:1]), (), ValueError, r"labels \(1,\)"),
    "one gradient": ("cross_entropy_grad", (ones(3, 4), ones(1), ones(3, 4), LABELS), (), ValueError, r"g \(1,\)"),
    "mask": ("dropout", (ones(9), MASK, ones(9)), (9, CELL, CELL), ValueError, r"mask \(1,\)"),
    "gradient mask": ("dropout_grad", (ones(9), ones(9), MASK), (9,), ValueError, r"mask \(1,\)"),
    "philox key": ("philox", tuple(np.ones((2, n), np.uint32) for n in (4, 4, 4)), (10,), ValueError, r"key \(2, 4\)"),
    "update shapes": ("sgd", (ones(3), ones(1)), SGD, ValueError, "sgd: the arrays of a tensor need one shape"),
    "update order": ("sgd", (ones(2, 3), ones(3, 2).T), SGD, ValueError, "one dense, native memory order"),
    "update gaps": ("sgd", (ones(6)[::2], ones(6)[::2]), SGD, ValueError, "one dense, native memory order"),
    "update backwards": ("sgd", (ones(6)[::-1], ones(6)[::-1]), SGD, ValueError, "one dense, native"),
    "update swapped": ("sgd", (ones(3, dtype=">f4"),) * 2, SGD, ValueError, "one dense, native memory order"),
    "update misaligned": ("sgd", (misaligned(3), misaligned(3)), SGD, ValueError, "one dense, native memory"),
    "update overlapping": (
        "sgd",
        (as_strided(ones(8), (2, 2, 2), (4, 8, 8)), as_strided(ones(8), (2, 2, 2), (4, 8, 8))),
        SGD,
        ValueError,
        "one dense, native memory order",
    ),
    "norm of nothing": ("global_norm", (np.zeros(()),), (0.0,), TypeError, "global_norm takes 2 arrays, got 1"),
    "clipping nothing": ("clip_to_norm", (), (1.0, 1.0), TypeError, "clip_to_norm takes 1 arrays, got 0"),
    "norm of mixed floats": (
        "global_norm",
        (np.zeros(()), ones(3), ones(3, dtype=D)),
        (0.0,),
        TypeError,
        "global_norm takes one floating dtype",
    ),
    "norm into an array": ("global_norm", (np.zeros(2), ones(3)), (0.0,), ValueError, r"shapes do not fit: out \(2,\)"),
    "clipping what is read-only": (
        "clip_to_norm",
        (ones(3), read_only(ones(3))),
        (9.0, 1.0),
        ValueError,
        "cannot write into a read-only array",
    ),
    "second tensor": ("adam", (*[ones(3)] * 4, *[ones(3)] * 3, ones(4)), ADAM, ValueError, "adam: the arrays"),
    "cell dtype": (
        "sgd",
        (ones(3), ones(3)),
        (np.array(0.1, F), *SGD[1:]),
        TypeError,
        "a cell is float64, int64 or uint64",
    ),
    "cell size": ("sgd", (ones(3), ones(3)), (np.ones(2), *SGD[1:]), ValueError, "one aligned, writable element"),
    "cell swapped": ("sgd", (ones(3), ones(3)), (np.array(0.1, ">f8"), *SGD[1:]), ValueError, "one aligned, writable"),
    "cell misaligned": (
        "sgd",
        (ones(3), ones(3)),
        (misaligned(dtype=D), *SGD[1:]),
        ValueError,
        "one aligned, writable",
    ),
    "cell read-only": (
        "sgd",
        (ones(3), ones(3)),
        (read_only(np.array(0.1)), *SGD[1:]),
        ValueError,
        "one aligned, writable",
    ),
    "float key": ("dropout", (ones(3), MASK, ones(3)), (9, np.array(1.0), CELL), TypeError, "dropout: key is a uint64"),
    "signed counter": ("dropout", (ones(3), MASK, ones(3)), (9, CELL, np.array(1)), TypeError, "counter is a uint64"),
    "long key": ("dropout", (ones(3), MASK, ones(3)), (9, 2**53, CELL), TypeError, "whole number below 2.*53"),
    "negative key": ("dropout", (ones(3), MASK, ones(3)), (9, -1, CELL), TypeError, "whole number below 2.*53"),
    "broken counter": ("dropout", (ones(3), MASK, ones(3)), (9, CELL, 0.5), TypeError, "whole number below 2.*53"),
}


@compiled
@pytest.mark.parametrize(("name", "arrays", "scalars", "error", "says"), BAD.values(), ids=BAD)
def test_bad_launches(target: str, name: str, arrays: Any, scalars: Any, error: Any, says: str) -> None:
    before = [np.copy(a) for a in (*arrays, *scalars)]
    with pytest.raises(error, match=says):
        launch(name, arrays, scalars)
    for a, b in zip((*arrays, *scalars), before, strict=True):
        np.testing.assert_array_equal(a, b, err_msg="something was written")


@pytest.mark.parametrize("label", [-1, 4, 2**62, -(2**63)])
@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("dtype", [F, D])
def test_labels_out_of_range(target: str, label: int, at: int, dtype: Any) -> None:
    x, labels = np.ones((5, 4), dtype), np.zeros(5, np.int64)
    labels[at] = label
    says = rf"labels must lie in \[0, 4\) for 4 classes, got {label} at position {at}"
    for name, out, inputs in [
        ("cross_entropy", np.full(5, 7, dtype), (x, labels)),
        ("cross_entropy_grad", np.full((5, 4), 7, dtype), (np.ones(5, dtype), x, labels)),
    ]:
        with pytest.raises(IndexError, match=says):
            launch(name, (out, *inputs))
        assert (out == 7).all()


@pytest.mark.parametrize("name", ["", "expp", "__init__", "run", None])
def test_a_kernel_that_is_not_in_the_table(target: str, name: Any) -> None:
    with pytest.raises(KeyError, match=repr(name)):
        launch(name, (ones(3), ones(3)))


@compiled
@pytest.mark.parametrize("arguments", [(None, (ones(3), ones(3))), (None, None), ("exp", ()), ()])
def test_a_call_of_nothing_does_not_crash(arguments: Any) -> None:
    with pytest.raises(TypeError):
        Call(*arguments)


def test_arrays_of_most_axes(target: str) -> None:
    x = np.full((1,) * 60 + (2, 1, 3, 1), 2, F)
    out = np.empty_like(x)
    launch("add", (out, x, x[..., :1]))
    assert (out == 4).all()
    total = np.empty((1,) * 64, F)
    launch("sum", (total, x))
    assert total.item() == 12


HELPERS = [
    (lambda: elementwise("add", ones(3), ones(4)), ValueError, r"add cannot broadcast shapes \(3,\) and \(4,\)"),
    (lambda: where(ones(3), ones(4), 1.0), ValueError, r"where cannot broadcast shapes \(3,\) and \(4,\)"),
    (lambda: matmul(ones(3), ones(3, 4)), ValueError, r"matmul needs \(..., m, k\) and \(..., k, n\), got \(3,\)"),
    (lambda: matmul(ones(2, 3), ones(4, 5)), ValueError, r"got \(2, 3\) and \(4, 5\)"),
    (lambda: matmul(ones(2, 3, 4), ones(3, 4, 5)), ValueError, "cannot broadcast the batch axes"),
    (lambda: matmul(ones(2, 2), ones(2, 2, dtype=D)), TypeError, "matmul does not mix float32 and float64"),
    (lambda: linear(ones(2, 3), ones(4, 5)), ValueError, r"linear needs .* got \(2, 3\) and \(4, 5\)"),
    (lambda: linear(ones(2, 3), ones(3)), ValueError, "linear needs"),
    (lambda: linear(ones(2, 3), ones(4, 3), ones(3)), ValueError, r"linear needs bias \(4,\)"),
    (lambda: linear(ones(2, 3), ones(4, 3), ones(4, dtype=D)), TypeError, "linear does not mix"),
    (lambda: rows("softmax", np.array(1, F)), ValueError, "softmax needs at least one axis"),
]


@pytest.mark.parametrize(("function", "error", "says"), HELPERS)
def test_bad_operands_of_the_helpers(target: str, function: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        function()
