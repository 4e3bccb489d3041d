"""Large results take memory that others have given back."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

from minigrad.kernels import launch

pytestmark = pytest.mark.skipif(not launch.targets()[1:], reason="an install without extension leaves memory to NumPy")
F32 = np.dtype(np.float32)
SIDE = 256  # of an array that is large


def address(a: np.ndarray) -> int:
    return int(a.__array_interface__["data"][0])


def test_a_large_result_takes_what_another_gave_back(target: str) -> None:
    x = np.ones((SIDE, SIDE), F32)
    y = launch.unary("exp", x)
    there = address(y)
    if target != "reference":
        assert get_handler_name(y) == "minigrad"
    assert there % 64 == 0 or target == "reference"
    del y
    for _ in range(3):
        again = launch.elementwise("add", x, x)
        assert target == "reference" or address(again) == there
        assert (again == 2).all()
        del again


def test_memory_in_use_is_nobody_elses() -> None:
    held = [launch.empty_array((SIDE, SIDE), F32) for _ in range(100)]
    for i, a in enumerate(held):
        a.fill(i)
    assert len({address(a) for a in held}) == 100
    assert all((a == i).all() for i, a in enumerate(held))
    views = [a[1:] for a in held]
    del held, a
    others = [launch.empty_array((SIDE, SIDE), F32) for _ in range(100)]
    for b in others:
        b.fill(-1)
    assert all((v == i).all() for i, v in enumerate(views)), "a view keeps its memory"


def test_small_and_foreign_arrays_are_numpys() -> None:
    assert get_handler_name(launch.empty_array((3, 4), F32)) != "minigrad"
    assert launch.empty_array((), F32).shape == ()
    assert launch.empty_array((0, 5), F32).size == 0
    swapped = launch.empty_array((SIDE, SIDE), F32.newbyteorder())
    assert swapped.dtype == F32.newbyteorder()
    assert launch.empty_array((SIDE, SIDE), np.dtype(np.int64), "F").flags.f_contiguous
    assert get_handler_name(np.empty((SIDE, SIDE), F32)) != "minigrad", "NumPy's own arrays stay as they are"


@pytest.mark.parametrize("rows", [1, SIDE - 1, SIDE, SIDE + 1, 4 * SIDE])
def test_resizing_keeps_what_was_there(rows: int) -> None:
    a = launch.empty_array((SIDE, SIDE), F32)
    a[:] = np.arange(SIDE)[:, None]
    a.resize((rows, SIDE), refcheck=False)
    kept = min(rows, SIDE)
    assert (a[:kept] == np.arange(kept)[:, None]).all()
    assert (a[kept:] == 0).all()


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="tells resident memory on Linux only")
def test_not_more_than_so_much_is_kept() -> None:
    def fill_and_drop(bytes_each: int, count: int) -> None:
        held = [launch.empty_array((bytes_each // 4,), F32) for _ in range(count)]
        for a in held:
            a.fill(1)

    fill_and_drop(1 << 20, 8)
    before = resident()
    fill_and_drop(48 << 20, 8)  # 384 MB, of which 128 at most are kept
    assert resident() - before < 160 << 20
    fill_and_drop(600 << 20, 1)  # larger than all that is kept
    assert resident() - before < 160 << 20
    for size in range(100):  # blocks of many sizes push each other out
        fill_and_drop((1 << 20) + 4096 * size, 1)
    assert resident() - before < 160 << 20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="tells resident memory on Linux only")
def test_a_block_takes_little_more_than_its_array() -> None:
    held = [launch.empty_array((1024, 1024), F32) for _ in range(40)]  # what is kept is used up
    before = resident()
    more = [launch.empty_array((1024, 1024), F32) for _ in range(20)]
    for a in more:
        a.fill(1)
    assert resident() - before < 20 * (a.nbytes * 5 // 4)  # a sanitizer keeps a byte for each eight
    del held


LIMITED = """
import resource
import numpy as np
from minigrad.kernels import launch
held = [launch.empty_array((6 << 20,), np.dtype(np.float32)) for _ in range(4)]
del held  # and 96 MB are kept
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), used + (16 << 20)))
print(launch.empty_array((12 << 20,), np.dtype(np.float32)).nbytes)
try:
    launch.empty_array((1 << 40,), np.dtype(np.float32))
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="tells the size of a process on Linux only")
def test_what_is_kept_is_given_back_before_memory_is_refused(environment: dict[str, str]) -> None:
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the sanitizer needs terabytes of address space")
    run = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, env=environment)
    assert run.stdout.split() == [str(48 << 20), "refused"], run.stderr
