"""The table against what reads it: every row is parsed, has a reference, and runs the kernel of its name."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import kernels
from minigrad.kernels import KERNELS, reference
from minigrad.kernels.launch import launch

from .harness import NATIVE, each_row, samples
from .oracle import ORACLE

TEXT = (Path(kernels.__file__).parent / "kernels.def").read_text(encoding="utf-8")
ALL = each_row([*KERNELS.values()])


def test_every_row_is_parsed_in_order() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("KERNEL(")]
    assert [line[len("KERNEL(") : line.index(",")] for line in lines] == [*KERNELS]
    assert [row.index for row in KERNELS.values()] == [*range(len(lines))]
    assert [row.name for row in KERNELS.values()] == [*KERNELS]


@ALL
def test_a_row_is_in_order(name: str) -> None:
    row = KERNELS[name]
    assert row.family in {"ELEMENTWISE", "REDUCE", "MATMUL", "ROWS", "FLAT", "CELLS", "IMAGES", "UPDATE", "TENSORS"}
    assert row.tolerance in {"EXACT", "ULP2", "ULP8", "TERMS4", "SUM", "ROW", "PIXEL", "DOUBLE"}
    assert row.outputs
    assert row.inputs or row.family == "TENSORS"
    assert row.arrays == row.outputs + row.inputs
    assert len(row.dtypes) in (0, len(row.arrays))
    assert set(row.dtypes) <= set("fdbiwp")
    assert len({*row.arrays, *row.scalars}) == len(row.arrays) + len(row.scalars)
    assert name in ORACLE, "the tests have no oracle of this kernel"


@ALL
def test_the_reference_names_its_arguments_as_the_row_does(name: str) -> None:
    row = KERNELS[name]
    expected = [*row.arrays, *row.scalars]
    if row.family == "UPDATE":  # the formula alone; reference.update puts the decays around it
        expected = [*row.outputs[1:], "d", *row.scalars[:-6]]
        assert [*row.scalars[-6:]] == [*inspect.signature(reference.update).parameters][-6:]
    assert [*inspect.signature(getattr(reference, name)).parameters] == expected


def test_the_page_explains_every_word_of_the_table() -> None:
    preamble = TEXT[: TEXT.index("KERNEL(copy")]
    for row in KERNELS.values():
        assert f" {row.family} " in preamble
        assert f" {row.tolerance} " in preamble


@each_row()
def test_c_runs_the_kernel_of_this_name(c_target: str, name: str) -> None:
    """The order of C and of Python agree: each row computes its own function, natively, and no other row's."""
    calls: list[Any] = []
    with kernels.observe(lambda call: (calls.append(call), call.run())[0]):
        for sample in samples(name, 9, np.random.default_rng(0)):
            sample.check()
    assert [(call.kernel, call.native) for call in calls] == [(name, True)] * len(calls)


@each_row([row for row in NATIVE if row.family != "UPDATE"])
def test_the_other_dtypes_go_to_the_reference(c_target: str, name: str) -> None:
    calls: list[Any] = []

    def wider(a: Any) -> Any:
        return a.astype({"f": np.float64, "u": np.uint64, "b": np.int64, "i": np.int32}[a.dtype.kind])

    with kernels.observe(lambda call: (calls.append(call), call.run())[0]):
        for sample in samples(name, 9, np.random.default_rng(0)):
            if name not in ("philox", "dropout", "dropout_grad", "look_up", "recode", "jpeg"):  # bits, cells, levels
                launch(name, tuple(wider(a) for a in (*sample.outputs, *sample.inputs)), sample.scalars)
    assert not any(call.native for call in calls)


@pytest.mark.parametrize("name", ["add", "power"])
def test_a_call_prints_what_it_is(target: str, name: str) -> None:
    calls: list[Any] = []
    with kernels.observe(calls.append):
        launch(name, (np.empty((2, 3), np.float32), *np.ones((2, 2, 3), np.float32)))
    native = target != "reference" and name == "add"
    shapes = ", ".join(["float32[2, 3]"] * 3)
    assert repr(calls[0]) == f"{name}({shapes})" + ("" if native else "  # reference")
    assert calls[0].work == 6
