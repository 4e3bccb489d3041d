"""A destination that lies in an input's memory: the result is as if it lay elsewhere."""

from typing import Any

import numpy as np
import pytest

from minigrad.kernels.launch import launch

from .harness import F32, normal


def floats(shift: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """An array, and one of its size that starts ``shift`` elements later in the same memory."""
    size = int(np.prod(shape))
    memory = normal(np.random.default_rng(0), (size + shift,))
    return memory[:size].reshape(shape), memory[shift:].reshape(shape)


CASES: dict[str, Any] = {
    "matmul, all the same": ("matmul", lambda x, y: (x, x, x), (9, 9), ()),
    "matmul, the first factor": ("matmul", lambda x, y: (x, x, np.eye(9, dtype=F32)), (9, 9), ()),
    "matmul, shifted": ("matmul", lambda x, y: (y, x, np.eye(9, dtype=F32)), (9, 9), ()),
    "linear": ("linear", lambda x, y: (y, x, np.eye(9, dtype=F32), np.ones(9, F32)), (9, 9), (0.0,)),
    "linear, its bias": ("linear", lambda x, y: (x, normal(np.random.default_rng(1), (9, 9)), y, x[3]), (9, 9), (1.0,)),
    "sum, into its input": ("sum", lambda x, y: (x[:, 3:4], x), (9, 9), ()),
    "max, into its input": ("max", lambda x, y: (x[2:3], x), (9, 9), ()),
    "softmax, itself": ("softmax", lambda x, y: (x, x), (9, 9), ()),
    "softmax, shifted": ("softmax", lambda x, y: (y, x), (9, 9), ()),
    "softmax_grad, shifted": (
        "softmax_grad",
        lambda x, y: (y, x, normal(np.random.default_rng(1), (9, 9))),
        (9, 9),
        (),
    ),
    "layer_norm, shifted": ("layer_norm", lambda x, y: (y, x, np.ones(9, F32), x[0]), (9, 9), (0.1,)),
    "layer_norm_grad, itself": ("layer_norm_grad", lambda x, y: (x, y.copy(), x, np.ones(9, F32)), (9, 9), (0.1,)),
    "cross_entropy_grad, its gradient": (
        "cross_entropy_grad",
        lambda x, y: (x, x.reshape(-1)[:9], y.copy(), np.arange(9)),
        (9, 9),
        (),
    ),
    "dropout_grad, shifted": ("dropout_grad", lambda x, y: (y, x, np.full(11, 0x5A, np.uint8)), (81,), (30000,)),
    "copy, other strides": ("copy", lambda x, y: (x[:200:2], x[5:105]), (300,), ()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shift", [1, 5])
def test_a_destination_in_an_input(target: str, case: str, shift: int) -> None:
    name, arguments, shape, scalars = CASES[case]
    out, *inputs = arguments(*floats(shift, *shape))
    elsewhere = np.empty_like(out)
    launch(name, (elsewhere, *[a.copy() for a in inputs]), scalars)
    launch(name, (out, *inputs), scalars)
    np.testing.assert_allclose(out, elsewhere, rtol=1e-5, atol=1e-6)


def test_labels_in_the_destination(target: str) -> None:
    memory = np.zeros(4, F32)
    labels = memory[:2].view(np.int64)
    labels[0] = 1
    launch("cross_entropy_grad", (memory.reshape(1, 4), np.ones(1, F32), np.zeros((1, 4), F32), labels))
    np.testing.assert_allclose(memory, [0.25, -0.75, 0.25, 0.25])
