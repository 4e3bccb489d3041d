"""Tensors from data and from shapes."""

from typing import Any

import numpy as np
import pytest

import minigrad as mg

FORTRAN = np.asfortranarray(np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (mg.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (mg.ones(2, np.int64), np.ones(2, np.int64)),
        (mg.full((2,), 1.5), np.full(2, 1.5, np.float32)),
        (mg.full(2, 7), np.full(2, 7)),
        (mg.full((), True), np.full((), True)),
        (mg.arange(4), np.arange(4)),
        (mg.arange(1, 7, 2), np.arange(1, 7, 2)),
        (mg.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (mg.arange(3, dtype=np.float64), np.arange(3.0)),
        (mg.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32)),
        (mg.linspace(1, -1, 4, np.float64, endpoint=False), np.linspace(1, -1, 4, endpoint=False)),
        (mg.linspace(0, 1, 0), np.zeros(0, np.float32)),
        (mg.full_like(FORTRAN, 2), np.full_like(FORTRAN, 2)),
        (mg.full_like(mg.tensor([1, 2]), 0.5, np.float64), np.full(2, 0.5)),
        (mg.eye(2), np.eye(2, dtype=np.float32)),
        (mg.eye(2, 3), np.eye(2, 3, dtype=np.float32)),
        (mg.zeros_like(FORTRAN), np.zeros_like(FORTRAN)),
        (mg.ones_like(mg.tensor([1, 2])), np.ones(2, np.int64)),
        (mg.ones_like(mg.tensor([1, 2]), np.float32), np.ones(2, np.float32)),
        (mg.tensor([[1, 2], [3, 4]], np.float32), np.array([[1, 2], [3, 4]], np.float32)),
        (mg.tensor([[1.5], [2.5]]), np.array([[1.5], [2.5]], np.float32)),
        (mg.tensor([[]]), np.zeros((1, 0), np.float32)),
        (mg.tensor([mg.tensor(1.0), mg.tensor(2.0)]), np.array([1, 2], np.float32)),
        (mg.tensor(np.float64(2)), np.array(2.0)),
        (mg.asarray([1.0]), np.array([1], np.float32)),
        (mg.asarray(FORTRAN, np.float64), FORTRAN.astype(np.float64)),
    ],
)
def test_creation(found: mg.Tensor, expected: np.ndarray) -> None:
    assert isinstance(found.data, np.ndarray)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected)
    assert not found.requires_grad


def test_memory_orders_are_kept() -> None:
    assert mg.zeros_like(FORTRAN).data.flags.f_contiguous
    assert mg.tensor(FORTRAN).data.flags.f_contiguous
    assert mg.exp(mg.tensor(FORTRAN)).data.flags.f_contiguous


def test_empty_tensors_have_shape_dtype_and_memory_order() -> None:
    assert mg.empty((2, 3), np.int32).shape == (2, 3)
    assert mg.empty(2).dtype == np.float32
    assert mg.empty_like(FORTRAN).data.flags.f_contiguous
    assert mg.empty_like(mg.tensor([1, 2])).dtype == np.int64
    assert mg.empty_like(mg.tensor([1, 2]), np.float32).dtype == np.float32


def test_asarray_of_a_tensor_is_that_tensor() -> None:
    t = mg.ones(2)
    assert mg.asarray(t) is t
    assert mg.asarray(t, np.float32) is t
    assert mg.asarray(t, np.float64) is not t


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: mg.tensor(None), TypeError, "dtype object"),
        (lambda: mg.tensor("a"), TypeError, "dtype <U1"),
        (lambda: mg.tensor([1j]), TypeError, "dtype complex128"),
        (lambda: mg.tensor([[1.0], [1.0, 2.0]]), ValueError, "inhomogeneous"),
        (lambda: mg.zeros(2, complex), TypeError, "dtype complex128"),
        (lambda: mg.zeros(-1), ValueError, "negative"),
        (lambda: mg.zeros(2, np.int64, requires_grad=True), TypeError, "floating-point tensors can require gradients"),
    ],
)
def test_creation_refuses(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


# Random ---------------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda **rng: mg.rand(40, 50, **rng),
    "randn": lambda **rng: mg.randn((40, 50), **rng),
    "randint": lambda **rng: mg.randint(-2, 5, (40, 50), **rng),
    "permutation": lambda **rng: mg.permutation(2000, **rng),
    "bernoulli": lambda **rng: mg.bernoulli(0.25, (40, 50), **rng),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every_draw
def test_draws_come_from_the_generator_given_or_from_the_default_one(draw: Any) -> None:
    stream = mg.random.Generator(3)
    first, second = draw(rng=stream), draw(rng=stream)
    np.testing.assert_array_equal(first.numpy(), draw(rng=3).numpy())
    assert not np.array_equal(first.numpy(), second.numpy())
    mg.manual_seed(3)
    np.testing.assert_array_equal(draw().numpy(), first.numpy())
    np.testing.assert_array_equal(draw().numpy(), second.numpy())


def test_distributions() -> None:
    for draw, mean, variance in (
        ("rand", 1 / 2, 1 / 12),
        ("randn", 0, 1),
        ("randint", 1, 4),
        ("bernoulli", 1 / 4, 3 / 16),
    ):
        x = DRAWS[draw](rng=0).numpy().astype(np.float64)
        assert abs(x.mean() - mean) < 5 * (variance / x.size) ** 0.5  # five standard errors
        assert abs(x.var() - variance) < 0.15 * variance
    assert set(np.unique(DRAWS["randint"](rng=0).numpy())) == {-2, -1, 0, 1, 2, 3, 4}
    assert sorted(DRAWS["permutation"](rng=0).tolist()) == list(range(2000))


def test_shapes_and_dtypes_of_draws() -> None:
    assert mg.rand().shape == mg.randn().shape == mg.randint(3).shape == mg.bernoulli(0.5).shape == ()
    assert mg.rand(3).shape == mg.rand((3,)).shape == (3,)
    assert mg.rand(0, 2).shape == (0, 2)
    assert mg.rand(2).dtype == mg.randn(2).dtype == mg.bernoulli(1).dtype == np.float32
    assert mg.rand(2, dtype=np.float64).dtype == np.float64
    assert mg.randn(2, requires_grad=True).requires_grad
    assert mg.randint(3, shape=4, dtype=np.uint8).dtype == np.uint8
    assert mg.bernoulli(mg.tensor([0.0, 1.0]), dtype=np.bool_).tolist() == [False, True]
    assert mg.bernoulli(np.array([0, 1]), (3, 2)).tolist() == [[0, 1]] * 3
    assert mg.permutation(0).shape == (0,)


def test_a_permutation_of_rows_hands_gradients_back() -> None:
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    y = mg.permutation(x, rng=1)
    assert sorted(y.tolist()) == x.tolist()
    y.backward(y.detach())
    np.testing.assert_array_equal(x.grad.numpy(), x.numpy())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mg.randint(0), "low < high"),
        (lambda: mg.randint(2, 2), "low < high"),
        (lambda: mg.randint(0, 2**60), "at most 2\\*\\*53 apart"),
        (lambda: mg.randint(0, 257, dtype=np.uint8), "does not fit uint8"),
        (lambda: mg.bernoulli(1.5), "probabilities in"),
        (lambda: mg.bernoulli(np.array([np.nan])), "probabilities in"),
        (lambda: mg.permutation(-1), "at least 0"),
        (lambda: mg.permutation(mg.ones(())), "0-d tensor"),
    ],
)
def test_draws_refuse(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_draws_in_a_recorded_step_are_refused() -> None:
    with pytest.raises(mg.CaptureError, match="draw them before the step"):
        mg.capture(lambda x: x + mg.rand(2), np.ones(2, np.float32))
