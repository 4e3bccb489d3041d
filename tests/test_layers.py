"""Imports go downwards only: the table of layers, enforced."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent

# What each part may import of ours, besides itself.
ENGINE = {"errors", "kernels", "random", "tensor", "operations", "autograd"}
BELOW_TRAINING = ENGINE | {
    "ops", "func", "nn", "optim", "schedules", "regularizers", "data", "preprocessing", "augmentation",
    "capture", "listing", "passes",
}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "_engine": set(),
    "schedules": set(),
    "kernels": {"errors"},
    "random": {"errors", "kernels"},
    "tensor": {"errors", "kernels"},
    "operations": {"tensor"},
    "autograd": {"errors", "kernels", "tensor", "operations"},
    "ops": ENGINE,
    "func": ENGINE | {"ops"},
    "nn": ENGINE | {"ops", "func"},
    "regularizers": ENGINE | {"ops"},
    "optim": ENGINE,
    "passes": {"errors", "kernels", "team"},  # the type alone
    "team": {"errors", "kernels", "passes"},
    "listing": {"errors", "kernels", "tensor", "passes"},
    "capture": ENGINE | {"passes", "team", "listing"},
    "data": {"errors", "kernels", "random"},
    "preprocessing": {"errors", "kernels", "random"},
    "augmentation": {"errors", "kernels", "random"},
    "training": BELOW_TRAINING,
    "sklearn": BELOW_TRAINING | {"training"},
    "inspect": BELOW_TRAINING | {"training", "sklearn", "testing"},
    "testing": BELOW_TRAINING | {"training", "sklearn", "inspect"},
}
CYTHON_IMPORT = re.compile(r"^ *(?:from +([\w.]+) +c?import|c?import +([\w.]+))", re.MULTILINE)


def imported(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """The dotted names of all modules that a source imports, wherever in it; ``module`` is its own name."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module of ours that its layer does not allow."""
    part = module.split(".")[1]
    names = [name.split(".") for name in imported(source, module, is_package)]
    ours = [name for name in names if name[0] == "minigrad"]
    return [f"{module} imports {'.'.join(n)}" for n in ours if n[1:2] == [] or n[1] not in ALLOWED[part] | {part}]


def modules() -> Iterator[tuple[Path, str]]:
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")]):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts != ("minigrad", "__init__"):  # the public surface, which re-exports everything
            yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read(path: Path) -> str:
    """A Python source; of a Cython source its imports, in Python."""
    source = path.read_text()
    if path.suffix == ".py":
        return source
    return "\n".join(f"from {a} import _" if a else f"import {b}" for a, b in CYTHON_IMPORT.findall(source))


MODULES = list(modules())


@pytest.mark.parametrize(("path", "module"), MODULES, ids=[f"{module}{path.suffix}" for path, module in MODULES])
def test_imports_go_downwards(path: Path, module: str) -> None:
    assert violations(read(path), module, path.name == "__init__.py") == []


def test_the_engine_needs_numpy_only() -> None:
    for path, module in MODULES:
        if module.split(".")[1] in ENGINE | {"ops", "nn", "optim", "schedules"}:
            names = {name.split(".")[0] for name in imported(read(path), module)}
            if module == "minigrad.schedules":
                names.discard("matplotlib")  # by plot(), when it is called
            assert not names & {"scipy", "sklearn", "matplotlib", "tqdm", "safetensors", "hypothesis", "PIL"}, module


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("minigrad.optim.sgd", "from ..ops import add"),
        ("minigrad.optim.sgd", "from .. import nn"),
        ("minigrad.optim", "from ..nn import Module"),
        ("minigrad.capture", "def late():\n    from .ops import add"),
        ("minigrad.schedules", "import minigrad.random"),
        ("minigrad.tensor", "from .autograd import backward"),
        ("minigrad.kernels.launch", "from ..tensor import Tensor"),
        ("minigrad.data.loader", "import numpy\nfrom minigrad.tensor import Tensor"),
        ("minigrad.data.loader", "import minigrad as mg"),
        ("minigrad.preprocessing", "from . import nn"),
        ("minigrad.nn.layers", "from ..testing import check_grads"),
        ("minigrad.training.fit", "if True:\n    from ..inspect.graph import draw"),
        ("minigrad.ops.shape", "from ..nn.module import Module"),
    ],
)
def test_the_check_can_fail(module: str, source: str) -> None:
    assert len(violations(source, module, is_package=module == "minigrad.optim")) == 1


def test_the_check_reads_cython(tmp_path: Path) -> None:
    source = tmp_path / "_binding.pyx"
    source.write_text("cimport numpy as cnp\nfrom . import reference\ncdef f():\n    from ..ops cimport add\n")
    assert violations(read(source), "minigrad.kernels._binding") == ["minigrad.kernels._binding imports minigrad.ops._"]


def test_the_check_lets_the_allowed_pass() -> None:
    assert violations("import numpy\nfrom . import init\nfrom ..ops.shape import assign_\nfrom .. import ops",
                      "minigrad.nn.layers") == []  # fmt: skip
    assert violations("from .sgd import SGD\nfrom ..kernels import launch", "minigrad.optim", is_package=True) == []


def test_every_part_has_a_layer() -> None:
    assert {module.split(".")[1] for _, module in MODULES} <= ALLOWED.keys()
