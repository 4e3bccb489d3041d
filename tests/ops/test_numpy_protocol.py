"""NumPy's functions on tensors: NumPy's values and dtypes, and the graph and the gradients of our own names."""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

import minigrad as mg
from minigrad.operations import Operation
from minigrad.ops.numpy_protocol import INSTEAD, OURS
from minigrad.tensor import ops
from minigrad.testing.strategies import arguments


def assert_same(found: Any, expected: Any, leaves: list[mg.Tensor]) -> None:
    """Results of NumPy's name and of ours: the same bits, dtypes, operations and gradients."""
    pairs = zip(*(y if isinstance(y, list | tuple) else [y] for y in (found, expected)), strict=True)
    for y, z in pairs:
        assert isinstance(y, mg.Tensor)
        assert y.dtype == z.dtype
        np.testing.assert_array_equal(y.data, z.data)
        assert (y.node and y.node.op) is (z.node and z.node.op)
        if z.requires_grad:
            seed = np.cos(np.arange(y.size)).reshape(y.shape)
            for g, h in zip(*(mg.grad(x, leaves, seed, allow_unused=True) for x in (y, z)), strict=True):
                assert (g is None) == (h is None)
                assert g is None or np.array_equal(g, h)


# Universal functions ---------------------------------------------------------------------

UFUNCS = {f.__name__: f for f in (*vars(np).values(), special.erf, special.expit) if isinstance(f, np.ufunc)}
OPERATIONS = {name: getattr(ops, OURS.get(name, name), None) for name in UFUNCS}
COVERED = [name for name, own in OPERATIONS.items() if isinstance(own, Operation)]


def test_what_has_the_name_of_a_ufunc_is_found() -> None:
    assert {"add", "divide", "absolute", "maximum", "less_equal", "power", "expm1", "erf", "expit"} <= {*COVERED}


@pytest.mark.parametrize("name", COVERED)
@given(data=st.data())
def test_ufuncs(name: str, data: st.DataObject) -> None:
    ufunc, own = UFUNCS[name], OPERATIONS[name]
    dtype = data.draw(st.sampled_from([np.float64, np.float32]))
    values, _ = data.draw(arguments(own, dtype))
    among = data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1))
    inputs = [mg.tensor(x, requires_grad=x.dtype.kind == "f") if i in among else x for i, x in enumerate(values)]
    found = ufunc(*inputs)
    assert_same(found, own(*inputs), [x for x in inputs if isinstance(x, mg.Tensor) and x.requires_grad])
    assert not own.differentiable or found.node is not None
    assert found.dtype == ufunc(*values).dtype
    np.testing.assert_allclose(found.data, ufunc(*values), 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["add", "divide", "less", "sign", "square"])
def test_ufuncs_of_integers_follow_our_promotion(name: str) -> None:
    inputs = [mg.tensor([1, 2]), np.array([3, 4])][: UFUNCS[name].nin]
    assert_same(UFUNCS[name](*inputs), OPERATIONS[name](*inputs), [])


@pytest.mark.parametrize(
    "symbol", ["add", "sub", "mul", "truediv", "pow", "matmul", "eq", "ne", "lt", "le", "gt", "ge"]
)
def test_operators_of_an_array_and_a_tensor(symbol: str) -> None:
    own = getattr(operator, symbol)
    a, t = np.array([1.5, 2.0, 3.0], np.float32), mg.tensor([2.0, 2.0, 0.5], requires_grad=True)
    assert_same(own(a, t), own(mg.asarray(a), t), [t])
    assert_same(own(t, a), own(t, mg.asarray(a)), [t])
    np.testing.assert_allclose(own(a, t).data, own(a, t.data), 1e-6)


@pytest.mark.parametrize("number", [np.float64(0.1), np.float32(0.1), np.int64(2), np.bool_(True)])
@pytest.mark.parametrize("symbol", ["add", "sub", "mul", "truediv", "pow", "eq", "lt", "ge"])
def test_numpy_scalars_never_promote_on_either_side(number: Any, symbol: str) -> None:
    own = getattr(operator, symbol)
    t = mg.tensor([0.1, 1.0], requires_grad=True)
    assert_same(own(number, t), own(number.item(), t), [t])
    assert_same(own(t, number), own(t, number.item()), [t])


@pytest.mark.parametrize(
    ("ufunc", "own"), [(np.add, mg.sum), (np.maximum, mg.max), (np.minimum, mg.min)], ids=["add", "maximum", "minimum"]
)
@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": None}, {"axis": (0, 1), "keepdims": True}])
def test_reduce(ufunc: Any, own: Any, options: dict[str, Any]) -> None:
    t = mg.tensor(np.cos(np.arange(6.0)).reshape(2, 3), requires_grad=True)
    found = ufunc.reduce(t, **options)
    assert_same(found, own(t, **{"axis": 0} | options), [t])
    np.testing.assert_allclose(found.data, ufunc.reduce(t.data, **options))


# Functions ---------------------------------------------------------------------------------

Call = Callable[..., Any]
FUNCTIONS: dict[str, tuple[Call, Call]] = {  # NumPy's and ours, of two matrices of one shape
    "all": (lambda x, y: np.all(x, 0), lambda x, y: mg.all(x, 0)),
    "argmax": (lambda x, y: np.argmax(x, axis=1), lambda x, y: mg.argmax(x, 1)),
    "argsort": (lambda x, y: np.argsort(x), lambda x, y: mg.argsort(x)),
    "astype": (lambda x, y: np.astype(x, np.float64), lambda x, y: mg.astype(x, np.float64)),
    "broadcast_to": (lambda x, y: np.broadcast_to(x, (2, *x.shape)), lambda x, y: mg.broadcast_to(x, (2, *x.shape))),
    "clip": (lambda x, y: np.clip(x, -1, a_max=0.5), lambda x, y: mg.clip(x, -1, 0.5)),
    "concat": (lambda x, y: np.concatenate([x, y], 1), lambda x, y: mg.concat([x, y], 1)),
    "cumsum": (lambda x, y: np.cumsum(x, 1), lambda x, y: mg.cumsum(x, 1)),
    "diag": (lambda x, y: np.diag(x, 1), lambda x, y: mg.diag(x, 1)),
    "diagonal": (lambda x, y: np.diagonal(x), lambda x, y: mg.diagonal(x)),
    "dot": (lambda x, y: np.dot(x.T, y), lambda x, y: mg.dot(x.T, y)),
    "einsum": (lambda x, y: np.einsum("ij,ij->j", x, y), lambda x, y: mg.einsum("ij,ij->j", x, y)),
    "expand_dims": (lambda x, y: np.expand_dims(x, 1), lambda x, y: mg.expand_dims(x, 1)),
    "flip": (lambda x, y: np.flip(x), lambda x, y: mg.flip(x)),
    "inner": (lambda x, y: np.inner(x, y), lambda x, y: mg.inner(x, y)),
    "matmul": (lambda x, y: np.linalg.matmul(x.T, y), lambda x, y: mg.matmul(x.T, y)),
    "max": (lambda x, y: np.max(x, 1, None, True), lambda x, y: mg.max(x, 1, True)),
    "mean": (lambda x, y: np.mean(x, keepdims=True), lambda x, y: mg.mean(x, keepdims=True)),
    "median": (lambda x, y: np.median(x, 0), lambda x, y: mg.median(x, 0)),
    "min": (lambda x, y: np.amin(a=x), lambda x, y: mg.min(x)),
    "moveaxis": (lambda x, y: np.moveaxis(x, 0, 1), lambda x, y: mg.moveaxis(x, 0, 1)),
    "ones_like": (lambda x, y: np.ones_like(x), lambda x, y: mg.ones_like(x)),
    "outer": (lambda x, y: np.outer(x, y), lambda x, y: mg.outer(x, y)),
    "pad": (lambda x, y: np.pad(x, 1, constant_values=2), lambda x, y: mg.pad(x, 1, constant_values=2)),
    "permute_dims": (lambda x, y: np.transpose(x, axes=(1, 0)), lambda x, y: mg.permute_dims(x, (1, 0))),
    "prod": (lambda x, y: np.prod(x, axis=0), lambda x, y: mg.prod(x, axis=0)),
    "repeat": (lambda x, y: np.repeat(x, 2, axis=0), lambda x, y: mg.repeat(x, 2, axis=0)),
    "reshape": (lambda x, y: np.reshape(x, (-1,), order="C"), lambda x, y: mg.reshape(x, (-1,))),
    "roll": (lambda x, y: np.roll(x, 1), lambda x, y: mg.roll(x, 1)),
    "sort": (lambda x, y: np.sort(x, 0), lambda x, y: mg.sort(x, 0)),
    "split": (lambda x, y: np.split(x, [1], axis=1), lambda x, y: mg.split(x, [1], axis=1)),
    "squeeze": (lambda x, y: np.squeeze(x[:, :1], axis=1), lambda x, y: mg.squeeze(x[:, :1], 1)),
    "stack": (lambda x, y: np.stack((x, y), -1), lambda x, y: mg.stack((x, y), -1)),
    "std": (lambda x, y: np.std(x, 1), lambda x, y: mg.std(x, 1)),
    "sum": (lambda x, y: np.sum(x, (0, 1)), lambda x, y: mg.sum(x, (0, 1))),
    "swapaxes": (lambda x, y: np.swapaxes(x, axis1=0, axis2=1), lambda x, y: mg.swapaxes(x, 0, 1)),
    "take": (lambda x, y: np.take(x, [0], axis=1, mode="raise"), lambda x, y: mg.take(x, [0], axis=1)),
    "tensordot": (lambda x, y: np.tensordot(x, y), lambda x, y: mg.tensordot(x, y)),
    "tile": (lambda x, y: np.tile(x, reps=2), lambda x, y: mg.tile(x, 2)),
    "trace": (lambda x, y: np.trace(x), lambda x, y: mg.trace(x)),
    "tril": (lambda x, y: np.tril(x, 1), lambda x, y: mg.tril(x, 1)),
    "var": (lambda x, y: np.var(x, ddof=0), lambda x, y: mg.var(x, correction=0)),
    "where": (lambda x, y: np.where(np.array(y > 0), x, y), lambda x, y: mg.where(y > 0, x, y)),
}
HERE = {name: pair for name, pair in FUNCTIONS.items() if hasattr(mg, name)}
UNRECORDED = {"all", "argmax", "argsort", "ones_like"}


def test_the_functions_that_we_have_are_found() -> None:
    today = {"sum", "mean", "max", "min", "concat", "stack", "where", "clip", "reshape", "permute_dims", "matmul"}
    assert today <= HERE.keys()


@pytest.mark.parametrize("name", HERE)
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_functions(name: str, data: st.DataObject, dtype: Any) -> None:
    call, own = HERE[name]
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    places = st.permutations(range(2 * shape[0] * shape[1]))  # no ties, at which some are not smooth
    x, y = np.array(data.draw(places), dtype).reshape(2, *shape) / 4 - 2
    leaf = mg.tensor(x, requires_grad=True)
    found, plain = call(leaf, y), call(x, y)
    assert_same(found, own(leaf, y), [leaf])
    listed, arrays = (z if isinstance(z, list) else [z] for z in (found, plain))
    for tensor, array in zip(listed, arrays, strict=True):
        assert (tensor.node is None) == (name in UNRECORDED)
        assert tensor.dtype == array.dtype
        np.testing.assert_allclose(tensor.data, array, 1e-5, 1e-6)


@given(x=hnp.arrays(np.float32, (3,), elements=st.floats(-2, 2, width=32)))
def test_a_tensor_among_arrays_is_enough(x: Any) -> None:
    t = mg.tensor(x, requires_grad=True)
    assert_same(np.concatenate([x, t]), mg.concat([x, t]), [t])
    assert_same(np.stack([x, x, t]), mg.stack([x, x, t]), [t])
    assert_same(np.where(x > 0, x, t), mg.where(x > 0, x, t), [t])


def test_an_operation_is_looked_up_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    t = mg.tensor([2.0, 3.0], requires_grad=True)
    monkeypatch.setattr(ops, "cbrt", lambda x: x * 3, raising=False)
    monkeypatch.setattr(ops, "trapezoid", lambda y, dx=1.0: y * dx, raising=False)
    assert np.cbrt(t).tolist() == [6, 9]
    assert np.trapezoid(t).tolist() == [2, 3]
    assert np.trapezoid(y=t, dx=2.0).tolist() == [4, 6]
    with pytest.raises(TypeError, match=r"np.trapezoid of tensors does not take axis=; minigrad.* takes y, dx"):
        np.trapezoid(t, axis=0)


def test_numpys_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "trapezoid", lambda y, dx=7.0: y * dx, raising=False)
    assert np.trapezoid(mg.tensor([2.0])).tolist() == [2]


# What is told without a tensor ---------------------------------------------------------------


def test_what_numpy_says_about_a_tensor(tmp_path: Path) -> None:
    t = mg.ones((2, 3), requires_grad=True)
    assert (np.shape(t), np.ndim(t), np.size(t), np.size(t, 1)) == ((2, 3), 2, 6, 3)
    assert np.result_type(t, np.float64) == np.float64
    assert np.shares_memory(t, t.T)
    assert np.allclose(t, t * 1.0)
    assert np.array_equal(t, np.ones((2, 3)))
    assert not np.array_equal(t, a2=t + 1)
    assert np.array2string(t[0]) == "[1. 1. 1.]"
    np.save(tmp_path / "t.npy", t)
    assert np.array_equal(np.load(tmp_path / "t.npy"), t)


def test_recording_refuses_what_reads_elements() -> None:
    t = mg.ones(2)

    def shapes(x: mg.Tensor) -> mg.Tensor:
        return np.exp(x) * np.shape(x)[0]  # type: ignore[return-value]

    assert mg.capture(shapes, t)(mg.zeros(2)).tolist() == [2, 2]
    for read in (lambda x: np.allclose(x, 1), lambda x: 1 in x, lambda x: f"{x.sum():.1f}", np.asarray, np.from_dlpack):
        with pytest.raises(mg.CaptureError, match="cannot be recorded"):
            mg.capture(read, t)


# Refusals ------------------------------------------------------------------------------------

T = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
A = np.ones((2, 2), np.float32)
OTHER = r"t.detach\(\).numpy\(\)$"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: np.fft.fft(T), rf"np.fft.fft does not take tensors; use {OTHER}"),
        (lambda: np.vstack([T, A]), rf"np.vstack does not take tensors; use minigrad.concat or {OTHER}"),
        (lambda: np.ravel(T), rf"np.ravel does not take tensors; use minigrad.reshape or {OTHER}"),
        (lambda: np.linspace(T[0, 0], T[0, 1]), rf"np.linspace does not take tensors; use {OTHER}"),
        (lambda: np.linalg.trace(T), r"np.linalg.trace does not take tensors; use"),
        (lambda: np.copyto(A, T), rf"np.copyto does not take tensors; use {OTHER}"),
        (lambda: divmod(A, T), rf"np.divmod does not take tensors; use {OTHER}"),
        (lambda: np.subtract.reduce(T), rf"np.subtract.reduce does not take tensors; use {OTHER}"),
        (lambda: np.add.accumulate(T), r"np.add.accumulate does not take tensors; use "),
        (lambda: np.add.outer(T, A), rf"np.add.outer does not take tensors; use {OTHER}"),
        (lambda: np.add.at(A, 0, T), rf"np.add.at does not take tensors; use {OTHER}"),
        (lambda: np.exp(T, where=A > 0), r"np.exp of tensors does not take where=; minigrad.exp takes x$"),
        (lambda: np.exp(T, dtype=np.float64), r"np.exp of tensors does not take dtype=; minigrad.exp takes x$"),
        (lambda: np.add(T, A, casting="unsafe"), r"np.add of tensors does not take casting=; minigrad.add takes a, b$"),
        (lambda: np.exp(T, out=A), r"np.exp cannot write what it computes from tensors into out="),
        (lambda: np.exp(A, out=T), r"np.exp cannot write what it computes from tensors into out="),
        (lambda: np.add.reduce(T, out=A[0]), r"np.add cannot write what it computes from tensors into out="),
        (lambda: operator.iadd(A, T), r"or in place as in a \+= t; write a = a \+ t, or a \+= t.detach\(\).numpy\(\)"),
        (
            lambda: np.sum(T, dtype=np.float64),
            r"np.sum of tensors does not take dtype=; minigrad.sum takes x, axis, ke",
        ),
        (lambda: np.sum(T, 0, None, A[0]), r"np.sum of tensors does not take out="),
        (lambda: np.add.reduce(T, initial=1), r"np.add of tensors does not take initial=; minigrad.sum takes"),
        (
            lambda: np.reshape(T, 4, order="F"),
            r"np.reshape of tensors does not take order=; minigrad.reshape takes x, s",
        ),
        (
            lambda: np.concatenate([T, A], dtype="f8"),
            r"np.concatenate of tensors does not take dtype=; minigrad.concat",
        ),
        (lambda: np.concatenate([T, [[1.0, 2.0]]]), r"takes tensors, arrays and numbers, got list; minigrad.tensor()"),
        (lambda: A + T.detach() + "a", r"add takes tensors, arrays and numbers, got str"),
    ],
)
def test_what_is_not_covered_says_what_to_do(call: Any, message: str) -> None:
    before = A.copy()
    with pytest.raises(TypeError, match=message):
        call()
    np.testing.assert_array_equal(A, before)


def test_advice_is_about_what_numpy_has() -> None:
    assert [name for name in INSTEAD if not hasattr(np, name.partition(".")[0])] == []


def test_dlpack_takes_what_speaks_it() -> None:
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    assert mg.from_dlpack(frozen).tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="an array or a tensor of any library, got list"):
        mg.from_dlpack([1.0])
    with pytest.raises(BufferError, match="native byte order"):
        mg.from_dlpack(frozen.astype(">f8"))
