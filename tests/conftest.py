import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import minigrad
from minigrad import _engine, kernels

settings.register_profile("dev", max_examples=20, deadline=None, derandomize=bool(os.environ.get("CI")))
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

TARGETS = kernels.targets()
_tested: dict[str, int] = {}


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every target that runs here, in use for the test; by module, so that Hypothesis may share it."""
    before = kernels.active()
    kernels.use(request.param)
    yield request.param
    kernels.use(before)


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment for a child process that imports the package under test."""
    return os.environ | {"PYTHONPATH": str(Path(minigrad.__file__).parents[1])}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and not report.skipped:
        for name in TARGETS:
            if f"[{name}" in report.nodeid or f"-{name}" in report.nodeid:
                _tested[name] = _tested.get(name, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the suite ran on: nothing is left out silently."""
    missing = [name for name in ("reference", "portable", "avx2", "avx512") if name not in TARGETS]
    counts = ", ".join(f"{name} {_tested.get(name, 0)}" for name in TARGETS)
    write = terminalreporter.write_line
    profile = settings.get_current_profile_name()
    write(f"engine: {_engine.engine}; active target: {kernels.active()}; Hypothesis: {profile}")
    write(f"tests by target: {counts}" + (f"; not available here: {', '.join(missing)}" if missing else ""))
