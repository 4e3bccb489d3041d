"""Every operation: first and second derivatives against central differences."""

import importlib
import inspect
import pkgutil
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import minigrad.ops
from minigrad.operations import Operation
from minigrad.testing import check_grads
from minigrad.testing.strategies import arguments


def operations() -> dict[str, Operation]:
    """All operations that the package defines, and functions made of them that state a domain, by name."""
    modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(minigrad.ops.__path__, "minigrad.ops.")]
    found = [getattr(value, "drawn", value) for module in modules for value in vars(module).values()]
    return {v.name: v for v in found if isinstance(v, Operation) or (inspect.isfunction(v) and hasattr(v, "domain"))}


every_operation = pytest.mark.parametrize("operation", [pytest.param(o, id=name) for name, o in operations().items()])


@every_operation
def test_states_its_domain(operation: Operation) -> None:
    assert operation.domain is not None, f"{operation.name} needs a domain: see minigrad/ops/domain.py"


def chosen(made: bool) -> Any:
    """Operations, or functions made of them, whose parts are checked already."""
    wanted = {n: o for n, o in operations().items() if isinstance(o, Operation) != made}
    return pytest.mark.parametrize("operation", [pytest.param(o, id=name) for name, o in wanted.items()])


@chosen(made=False)
@settings(max_examples=settings.default.max_examples // 3)  # hundreds of slopes each
@given(data=st.data())
def test_gradients(operation: Operation, data: st.DataObject) -> None:
    check(operation, data)


@chosen(made=True)
@settings(max_examples=settings.default.max_examples // 10)
@given(data=st.data())
def test_gradients_of_what_is_made_of_operations(operation: Operation, data: st.DataObject) -> None:
    check(operation, data)


def check(operation: Operation, data: st.DataObject) -> None:
    args, kwargs = data.draw(arguments(operation))

    def call(*args: Any) -> Any:
        return operation(*args, **deepcopy(kwargs))  # a generator starts anew each time

    outputs = call(*args)
    results = outputs if isinstance(outputs, tuple | list) else (outputs,)
    if all(any(a is not None and a.dtype.kind == "f" for a in arrays) for arrays in (args, results)):
        check_grads(call, *args, order=operation.domain.order)
    else:
        assert not getattr(operation, "differentiable", False)


@every_operation
@settings(max_examples=5)
@given(data=st.data())
def test_integers_never_get_a_gradient(operation: Operation, data: st.DataObject) -> None:
    """Neither those that an operation gives, nor those that it takes beside floats that do."""
    args, kwargs = data.draw(arguments(operation))
    leaves = [a if a is None else mg.tensor(a, requires_grad=a.dtype.kind == "f") for a in args]
    outputs = operation(*leaves, **deepcopy(kwargs))
    results = outputs if isinstance(outputs, tuple | list) else (outputs,)
    assert not any(y.requires_grad for y in results if y.dtype.kind != "f")
    for y in results:
        if y.requires_grad:
            y.backward(np.ones(y.shape), retain_graph=True)
    assert all(a is None or a.grad is None or a.dtype.kind == "f" for a in leaves)
