"""A network large enough for threads: they change no bit, and a forked child can train too."""

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.random import Generator
from minigrad.schedules import cosine

X = Generator(0).normal((256, 64))
LABELS = np.arange(256) % 10


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = mg.num_threads()
    yield
    mg.set_num_threads(before)


def train(threads: int) -> bytes:
    """The weights after three steps."""
    mg.set_num_threads(threads)
    model = nn.Sequential(
        nn.Linear(64, 1024, rng=1), nn.ReLU(), nn.Dropout(0.1, rng=2), nn.Linear(1024, 512, rng=3), nn.Tanh(),
        nn.Linear(512, 10, rng=4),
    )  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), lr=cosine(1e-3, 3))
    for _ in range(3):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(model(X), LABELS).backward()
        optimizer.step()
    return b"".join(p.data.tobytes("A") for p in model.parameters())


def test_the_number_of_threads_changes_no_bit(target: str) -> None:
    if target == "reference":
        pytest.skip("the reference inherits NumPy's BLAS and promises nothing about threads")
    weights = train(1)
    assert np.isfinite(np.frombuffer(weights, np.float32)).all()
    for threads in (2, 3, 5):
        assert train(threads) == weights


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_trains_after_the_parent_used_the_pool() -> None:
    weights = train(2)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send_bytes(train(2)), daemon=True)
    child.start()
    try:
        assert receiver.poll(60), "the child hangs"
        assert receiver.recv_bytes() == weights
        child.join(10)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert train(2) == weights  # and the parent goes on
