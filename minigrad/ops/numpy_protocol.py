"""NumPy's functions on tensors: ``np.exp(t)`` is ``minigrad.exp(t)``, and ``array + t`` is ``minigrad.add(array, t)``.

A function is looked up by its name when it is called, so an operation that is
named as in NumPy, with NumPy's parameters, is found without an entry here.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from ..tensor import Tensor, ops
from . import linalg

# Functions and ufuncs that we name otherwise.
OURS = {
    "absolute": "abs",
    "amax": "max",
    "amin": "min",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "around": "round",
    "concatenate": "concat",
    "expit": "sigmoid",
    "invert": "bitwise_invert",
    "rint": "round",
    "transpose": "permute_dims",
    "true_divide": "divide",
}
REDUCTIONS = {
    "add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any",
}  # fmt: skip
# Parameters that are named otherwise; the ones that an operation cannot do without are told by their position.
PARAMETERS = {"a_min": "min", "a_max": "max", "ddof": "correction"}

# What NumPy answers about a tensor without looking at its elements, and what it tells of them without an array.
ABOUT = {"can_cast", "iscomplexobj", "may_share_memory", "ndim", "result_type", "shape", "shares_memory", "size"}
TOLD = {"allclose", "array2string", "array_equal", "array_equiv", "array_repr", "array_str", "save", "savetxt", "savez"}

# What is not ours, or not quite, though something may have its name; and what to call instead, where we have that.
INSTEAD = {
    "add.accumulate": "cumsum", "append": "concat", "argpartition": "argsort", "array_split": "split",
    "average": "mean", "block": "concat", "column_stack": "concat", "copy": "tensor", "dstack": "concat",
    "float_power": "power", "fmax": "maximum", "fmin": "minimum", "fmod": "remainder", "hstack": "concat",
    "linalg.diagonal": "diagonal", "linalg.norm": "norm", "linalg.trace": "trace", "linspace": "",
    "matrix_transpose": "swapaxes", "partition": "sort", "ravel": "reshape", "rollaxis": "moveaxis",
    "select": "where", "vdot": "dot", "vstack": "concat",
}  # fmt: skip
COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}


def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """``ufunc`` of tensors, arrays and numbers, or its ``reduce``, by the operation of that name."""
    name = ufunc.__name__
    if "out" in options:
        raise TypeError(
            f"np.{name} cannot write what it computes from tensors into out=, or in place as in a += t; "
            "write a = a + t, or a += t.detach().numpy()"
        )
    if method == "__call__":
        ours = getattr(ops, OURS.get(name, name), None)
        if name in COMPARISONS:  # a NumPy scalar on the left arrives as an array
            inputs = tuple([x[()] if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs])
    elif method == "reduce":
        ours = getattr(ops, REDUCTIONS.get(name, ""), None)
        options = {"axis": 0} | options
    else:
        ours = None
    if ours is None:
        raise _uncovered(name if method == "__call__" else f"{name}.{method}")
    return ours(*inputs, **_taken(name, ours, options, {})) if options else ours(*inputs)


def array_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function of NumPy of tensors, by the operation of that name; NumPy has checked the call itself."""
    name = function.__name__
    if name in ABOUT or name in TOLD:
        plain = _described if name in ABOUT else _told
        return function(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})
    title = f"{function.__module__}.{name}".removeprefix("numpy.")
    place = {name: ops, f"linalg.{name}": linalg}.get(title)
    ours = None if title in INSTEAD else getattr(place, OURS.get(name, name), None)
    if ours is None:
        raise _uncovered(title)
    defaults = _defaults(function)
    if defaults is None:
        return ours(*args, **_taken(title, ours, kwargs, {}))
    given = dict(zip(defaults, args, strict=False)) | kwargs
    inputs = [given.pop(key) for key in list(defaults)[: _needed(ours)] if key in given]
    return ours(*inputs, **_taken(title, ours, given, defaults))


def _described(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _told(x: Any) -> Any:
    return x.numpy() if isinstance(x, Tensor) else x


def _taken(title: str, ours: Any, options: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` under our names; one that we do not have may only be what it is anyway."""
    names = _signature(ours)
    taken = {key: value for key, value in defaults.items() if key in names and value not in _UNSET}
    for key, value in options.items():
        ours_key, default = PARAMETERS.get(key, key), defaults.get(key)
        if ours_key in names:
            taken[ours_key] = value
        elif value is not None and not (type(value) is type(default) and value == default):
            takes = ", ".join(names)
            raise TypeError(f"np.{title} of tensors does not take {key}=; minigrad.{ours.__name__} takes {takes}")
    return taken


_UNSET = (inspect.Parameter.empty, getattr(np, "_NoValue", None))


@cache
def _signature(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


@cache
def _needed(ours: Any) -> int:
    """How many parameters an operation of ours cannot do without."""
    return sum([p.default is p.empty and p.kind != p.VAR_POSITIONAL for p in _signature(ours).values()])


@cache
def _defaults(function: Any) -> dict[str, Any] | None:
    """NumPy's parameters with their defaults; None where it takes any number of arrays."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # those in C had none before NumPy 2.4
        names = {"concatenate": ("arrays", "axis"), "where": ("condition", "x", "y")}.get(function.__name__, ("a", "b"))
        return dict.fromkeys(names, inspect.Parameter.empty)
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    return {p.name: p.default for p in parameters}


def _uncovered(title: str) -> TypeError:
    ours = INSTEAD.get(title, "")
    other = f"minigrad.{ours} or " if hasattr(ops, ours) else ""
    return TypeError(f"np.{title} does not take tensors; use {other}t.detach().numpy()")
