from collections.abc import Iterator

import pytest

from minigrad import kernels


def _using(name: str) -> Iterator[str]:
    before = kernels.active()
    kernels.use(name)
    yield name
    kernels.use(before)


@pytest.fixture(scope="module", params=kernels.targets())
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every target that runs here, in use for the test; by module, so that Hypothesis may share it."""
    yield from _using(request.param)


@pytest.fixture(scope="module", params=kernels.targets()[1:])
def c_target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every target but the reference."""
    yield from _using(request.param)


@pytest.fixture
def threads() -> Iterator[None]:
    """Gives the number of threads back after the test."""
    before = kernels.num_threads()
    yield
    kernels.set_num_threads(before)
