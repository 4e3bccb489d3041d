"""No allocation during a replay: counted by a malloc that is put before the C library's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad import kernels

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = [
    pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="needs a C compiler, and Linux"),
    pytest.mark.skipif(len(kernels.targets()) == 1, reason="without the extension a replay runs in Python"),
]

# Where AddressSanitizer has a malloc of its own, it calls us.
COUNTER = """
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static atomic_long calls, bytes;
long counted_calls(void) { return calls; }
long counted_bytes(void) { return bytes; }

static size_t counted(size_t n) { calls++; bytes += (long)n; return n; }
void *malloc(size_t n) { return __libc_malloc(counted(n)); }
void *calloc(size_t n, size_t size) { counted(n * size); return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, counted(n)); }
void *memalign(size_t alignment, size_t n) { return __libc_memalign(alignment, counted(n)); }
void *aligned_alloc(size_t alignment, size_t n) { return __libc_memalign(alignment, counted(n)); }
int posix_memalign(void **p, size_t alignment, size_t n) {
    return (*p = __libc_memalign(alignment, counted(n))) ? 0 : ENOMEM;
}

static void allocated(const volatile void *p, size_t n) { (void)p; counted(n); }
static void released(const volatile void *p) { (void)p; }
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                                                    void (*)(const volatile void *));
__attribute__((constructor)) static void watch(void) {
    if (__sanitizer_install_malloc_and_free_hooks) __sanitizer_install_malloc_and_free_hooks(allocated, released);
}
"""

# A training step with all that has a state: dropout, a norm that is a cell, Adam.
SETTING = """
import ctypes
import importlib
import sys

import numpy as np

import minigrad as mg
from minigrad import kernels, nn, optim

importlib.import_module("minigrad.capture").PAUSE = 1e9  # the first step, then all others without a look at Ctrl-C
kernels.use(kernels.targets()[-1])
kernels.set_num_threads(int(sys.argv[2]))
counter = ctypes.CDLL(sys.argv[1])
x, y = np.random.default_rng(0).random((640, 64), np.float32), np.arange(640) % 10
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 10))
adam = optim.Adam(model.parameters())


def step(x, y):
    adam.zero_grad()
    found = model(x)
    loss = mg.cross_entropy(found, y)
    loss.backward()
    norm = optim.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    return loss, norm, found


def planted(x, y):
    return mg.log(step(x, y)[0].astype(np.float64))  # float64 runs in Python


def counted(call, *arguments, **options):
    found = []
    for _ in range(10):  # Python makes many things once, and makes itself faster on the way
        before = counter.counted_calls(), counter.counted_bytes()
        call(*arguments, **options)
        found.append((counter.counted_calls() - before[0], counter.counted_bytes() - before[1]))
    return found[-1]


program = mg.capture(globals()[sys.argv[3]], x[:64], y[:64])
"""

RUNS = """
order = np.arange(64 * 600) % 640
few, many = (counted(program.run, (x, y), order, steps=steps)[0] for steps in (300, 600))
print(few, many)
"""

CALLS = """
def calls(times):
    for _ in range(times):
        program(x[:64], y[:64])


found = [counted(calls, times) for times in (50, 150)]
print(found[1][0] - found[0][0], found[1][1] - found[0][1], 64 * 10 * 4)
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that counts."""
    library = tmp_path_factory.mktemp("counter") / "counter.so"
    command = [str(COMPILER), "-std=gnu11", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=COUNTER, text=True, check=True)
    return library


def numbers(counter: Path, code: str, environment: dict[str, str], step: str = "step", threads: int = 1) -> list[int]:
    """What a child prints whose allocations are counted."""
    preload = f"{os.environ.get('LD_PRELOAD', '')} {counter}".strip()
    done = subprocess.run(
        [sys.executable, "-c", SETTING + code, str(counter), str(threads), step],
        env=environment | {"LD_PRELOAD": preload},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("threads", [1, 2])
def test_more_steps_of_a_run_allocate_nothing(counter: Path, environment: dict[str, str], threads: int) -> None:
    """Not even a Python object, all of which come from malloc here.  What a run itself allocates, between two looks at
    Ctrl-C and for its results, does not depend on the number of steps."""
    few, many = numbers(counter, RUNS, environment | {"PYTHONMALLOC": "malloc"}, threads=threads)
    assert 0 < few == many


def test_a_call_allocates_what_it_returns(counter: Path, environment: dict[str, str]) -> None:
    """Of what is larger than NumPy keeps at hand (1 kB) one array, and it is returned; Python's objects are smaller."""
    calls, count, returned = numbers(counter, CALLS, environment)
    assert (calls, count) == (100, 100 * returned)


def test_the_counter_sees_a_step_in_python(counter: Path, environment: dict[str, str]) -> None:
    few, many = numbers(counter, RUNS, environment | {"PYTHONMALLOC": "malloc"}, step="planted")
    assert many - few >= 300
