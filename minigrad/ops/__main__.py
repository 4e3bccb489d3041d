"""``python -m minigrad.ops``: the table of all operations."""

import ast
import importlib
import inspect
import itertools
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from .. import ops
from ..kernels import launch
from ..kernels.table import KERNELS
from ..operations import Operation
from .domain import Domain

IN_NUMPY = ("launch_python", "ufunc", "float_ufunc", "compare", "cast")
HELPERS = ("launch", "as_dtype", "as_rows", "contiguous")  # the door, and what changes how something lies in memory
DOOR = {id(value): name for name, value in vars(launch).items() if callable(value)}


def registry() -> dict[str, Any]:
    """All operations, and functions made of them that state a domain, by name."""
    modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(ops.__path__, "minigrad.ops.")]
    values = [getattr(value, "drawn", value) for module in modules for value in vars(module).values()]
    return {value.name: value for value in values if isinstance(getattr(value, "domain", None), Domain)}


def runs_on(forward: Callable[..., Any], seen: tuple[Any, ...] = ()) -> Iterator[str]:
    """What a forward function calls, as its source tells: names of kernels, and NumPy for what has none."""
    seen, forward = (*seen, forward), inspect.unwrap(forward)
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(forward))).body
    for node in itertools.chain.from_iterable(map(ast.walk, getattr(definition, "body", []))):  # without the rules
        if not isinstance(node, ast.Call):
            continue
        function = _resolved(node.func, forward.__globals__)
        door = DOOR.get(id(function), "")
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else door
        if door in IN_NUMPY:
            yield "NumPy"
        elif first in KERNELS and (door or inspect.isfunction(function)) and door != "result_dtype":
            yield str(first) if KERNELS[first].dtypes else f"{first} (reference)"
        elif door not in HELPERS and _is_ours(function) and function not in seen:
            yield from runs_on(function, seen)


def _is_ours(function: Any) -> bool:
    """Whether it is a function of an operation's module, or one of several launches."""
    ours = inspect.isfunction(function) and function.__module__.startswith(ops.__name__)
    return ours or id(function) in DOOR


def _resolved(node: ast.expr, names: dict[str, Any]) -> Any:
    """The object that a name, or an attribute of one, stands for; of an operation's forward the function itself."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    return getattr(_resolved(node.value, names), node.attr, None) if isinstance(node, ast.Attribute) else None


def rows() -> Iterator[tuple[str, ...]]:
    """Name and arguments, shapes, highest tested order, what runs it, and the rule where it is not smooth."""
    for name, operation in sorted(registry().items()):
        is_made = not isinstance(operation, Operation)
        forward = operation if is_made else operation.__wrapped__
        attributes = [p for p in inspect.signature(forward).parameters if p not in operation.inputs]
        inputs = [("*" if operation.variadic else "") + i for i in operation.inputs]
        runs = "composed" if is_made else ", ".join(dict.fromkeys(runs_on(forward))) or "view"
        order = str(operation.domain.order or "-") if is_made or operation.differentiable else "-"
        yield (
            f"{name}({', '.join([*inputs, *attributes])})",
            operation.domain.shapes,
            order,
            runs,
            operation.domain.kinks,
        )


def table() -> str:
    """The rows in columns, and below them what has no domain of its own."""
    lines = [("operation", "shapes", "order", "runs on", "where it is not smooth"), *rows()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    others = sorted(set(ops.__all__) - set(registry()))
    return "\n".join([*text, "", *textwrap.wrap("What creates, draws or writes: " + ", ".join(others), 120)])


if __name__ == "__main__":
    print(table())
