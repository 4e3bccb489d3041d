"""The public surface: complete, documented, typed, and light to import."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent
ROOT = Path(__file__).parents[1]


def public_modules() -> Iterator[ModuleType]:
    """The package, the modules in it, and those that they name in ``__all__``."""
    yield minigrad
    for found in pkgutil.iter_modules([str(PACKAGE)], "minigrad."):
        if not found.name.startswith("minigrad._"):
            module = importlib.import_module(found.name)
            yield module
            yield from (value for name in surface(module) if inspect.ismodule(value := getattr(module, name)))


def surface(module: ModuleType) -> list[str]:
    """``__all__``; without one, the public names of ours that a module defines or a package re-exports."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    package = module.__name__ if hasattr(module, "__path__") else module.__name__ + "."
    own = {name for name, value in vars(module).items() if f"{getattr(value, '__module__', None)}.".startswith(package)}
    return sorted(name for name in own if not name.startswith("_"))


MODULES = list(public_modules())
every_module = pytest.mark.parametrize("module", MODULES, ids=[module.__name__ for module in MODULES])


@every_module
def test_names_exist_are_public_and_named_once(module: ModuleType) -> None:
    names = surface(module)
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("_") or not hasattr(module, name)] == []


@every_module
def test_everything_public_has_a_docstring(module: ModuleType) -> None:
    assert module.__doc__
    values = {name: getattr(module, name) for name in surface(module)}
    documented = {name: v for name, v in values.items() if isinstance(v, ModuleType | type) or callable(v)}
    assert [name for name, value in documented.items() if not value.__doc__] == []


def untyped(body: list[ast.stmt]) -> Iterator[str]:
    """Public functions and methods whose signature is not fully annotated."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in untyped(node.body))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            not node.name.startswith("_") or node.name.endswith("__")
        ):
            a = node.args
            arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            named = [x for x in arguments if x.arg not in ("self", "cls")]
            if node.returns is None or any(x.annotation is None for x in named):
                yield node.name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_signature_is_typed(path: Path) -> None:
    assert list(untyped(ast.parse(path.read_text()).body)) == []


def test_the_type_check_can_fail() -> None:
    methods = "def g(self, x: int): ...\n  def h(self, x: int, *y) -> int: ...\n  def i(self) -> int: ..."
    source = f"def f(x): ...\nclass A:\n  {methods}\ndef _g(x): ..."
    assert list(untyped(ast.parse(source).body)) == ["f", "A.g", "A.h"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_nothing_else_leaks_from_the_package() -> None:
    names = {name for name, value in vars(minigrad).items() if not inspect.ismodule(value) and name[0] != "_"}
    assert names <= {*minigrad.__all__, *minigrad.ops.__all__}


def test_the_version_is_that_of_the_project() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert minigrad.__version__ == project["version"]


@pytest.mark.parametrize("module", ["minigrad", "minigrad.testing"])
def test_imports_no_optional_or_slow_package(module: str) -> None:
    others = ["matplotlib", "hypothesis", "tqdm", "safetensors", "scipy", "sklearn", "mpmath", "PIL", "pytest"]
    code = f"import sys, {module}; print([name for name in {others} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (run.stdout, run.stderr) == ("[]\n", "")
