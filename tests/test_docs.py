"""Docs run or they are not docs: every doctest, and every Python block of the README and of docs/."""

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def doctests(path: Path) -> Iterator[doctest.DocTest]:
    """The examples of every docstring in a source, whatever a decorator has made of the function."""
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
            name = f"{module}.{getattr(node, 'name', '')}"
            test = doctest.DocTestParser().get_doctest(docstring, {}, name, str(path), node.body[0].lineno - 1)
            if test.examples:
                test.globs = dict(vars(importlib.import_module(module)))
                yield test


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Line number and source of the Python blocks of a page."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        yield text.count("\n", 0, match.start(1)), match[1]


ALL = [test for path in sorted(PACKAGE.rglob("*.py")) for test in doctests(path)]


@pytest.mark.parametrize("test", ALL, ids=[test.name for test in ALL])
def test_docstring(test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for line, source in blocks(page):
        exec(compile("\n" * line + source, page, "exec"), names)


def test_the_collectors_find_what_is_there(tmp_path: Path) -> None:
    assert list(blocks(ROOT / "README.md"))
    names = {test.name for test in ALL}
    assert {"minigrad.operations.operation", "minigrad.schedules.cosine", "minigrad.random.philox4x32"} <= names
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\nx = 1\n```\n\n```console\nmake\n```\n\n```python\nassert x == 1\n```\n")
    assert list(blocks(page)) == [(3, "x = 1\n"), (11, "assert x == 1\n")]


def test_the_readme_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"`((?:minigrad|examples|csrc|tests|docs|benchmarks|\.ci)/[\w./-]*|Makefile|\w+\.py)`", text)
    assert named
    missing = [name for name in named if not (ROOT / name).exists() and not list(PACKAGE.rglob(name))]
    assert missing == []
