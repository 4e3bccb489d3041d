"""The graph as text and as a picture: complete, each thing once, and nothing changed by looking."""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.errors import GraphError
from minigrad.inspect import graph
from minigrad.inspect.picture import Picture

SVG = "{http://www.w3.org/2000/svg}"


@mg.operation(x=lambda g, y, turns: g * turns * (1 + y * y))
def my_tan(x: Any, /, turns: int = 1) -> Any:
    return np.tan(turns * x)


@mg.operation(joint=lambda g, a, b: (g[0] * b, g[0] * a), outputs=("product", "larger"))
def two(a: Any, b: Any, /) -> Any:
    return a * b, a > b


def leaf(*values: float) -> mg.Tensor:
    return mg.tensor(values, requires_grad=True)


def diamond() -> tuple[mg.Tensor, dict[str, mg.Tensor]]:
    """One operation used by two, an own operation, and a constant."""
    w, v = leaf(0.1, 0.2), leaf(1.0, 2.0)
    shared = w * v
    return (my_tan(shared, turns=2) + shared * np.float32(3)).sum(), {"w": w, "v": v}


def test_it_lists_a_model_in_the_order_of_backward() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loss = mg.cross_entropy(model(np.ones((5, 4), np.float32)), np.zeros(5, np.int64))
    assert re.sub(" +", " ", str(graph(loss, model))).splitlines() == [
        "4 operations, the first that backward visits first",
        "%4 mean_cross_entropy(x=%3, labels=constant) float32 () keeps x, labels; result",
        "%3 linear(x=%2, weight=2.weight, bias=2.bias) float32 (5, 3) keeps x, weight",
        "%2 relu(x=%1) float32 (5, 8) keeps y",
        "%1 linear(x=constant, weight=0.weight, bias=0.bias) float32 (5, 8) keeps x",
        "0.weight leaf float32 (8, 4)",
        "0.bias leaf float32 (8,)",
        "2.weight leaf float32 (3, 8)",
        "2.bias leaf float32 (3,)",
    ]


def test_the_order_is_that_of_a_backward_pass() -> None:
    y, _ = diamond()
    listed, visited = [v.name for v in graph(y).operations], []
    with mg.autograd.observe(lambda node, g, gradients: visited.append(node.op.name)):
        y.backward()
    assert listed == visited[::-1]


def test_a_shared_operation_stands_once_and_an_own_one_like_any_other() -> None:
    y, names = diamond()
    found = graph(y, names)
    assert Counter(v.name for v in found.operations) == {"multiply": 2, "my_tan": 1, "add": 1, "sum": 1}
    assert [v.attributes for v in found.operations if v.name == "my_tan"] == [("turns=2",)]
    assert sorted(found.edges()) == [
        ("%1", "%2", ""),
        ("%1", "%3", "a"),
        ("%2", "%4", "a"),
        ("%3", "%4", "b"),
        ("%4", "%5", ""),
        ("v", "%1", "b"),
        ("w", "%1", "a"),
    ]
    assert repr(found) == "<Graph of 5 operations and 2 leaves>"


def test_several_tensors_outputs_and_orders() -> None:
    """Outputs are named where an operation has several, and a gradient that was recorded is drawn with its origin."""
    w = leaf(1.0, 2.0)
    product, larger = two(w, my_tan(w))
    assert not larger.requires_grad
    (g,) = mg.grad(product.sum(), w, create_graph=True)
    found = graph([product, g, w], {"w": w, "slope": g})
    assert {r for v in found.operations for r in v.results} == {"result 1 (product)", "slope"}
    assert "float32 (2,), bool (2,)" in str(found)
    assert ("%2", "%3", "product as x") not in found.edges()  # sum has one input, whose name says nothing
    assert ("%2", "%3", "product") in [*graph([mg.sum(product)]).edges()]
    assert len(found.leaves) == 1
    assert all(v.name in str(found) for v in found.operations)


def test_attributes_and_the_line_are_told_in_few_words() -> None:
    with mg.debug():
        x = leaf(1.0, 2.0, 3.0)
        y = x[None, ..., 1:][np.zeros((1, 2), bool)].astype(np.float64).sum()
    assert x.requires_grad
    text = str(graph(y))
    assert "getitem(x=leaf 1, index=(None, ..., 1:))" in text
    assert "index=bool (1, 2)" in text
    assert "dtype=float64" in text
    assert text.count("test_graph.py:") == 4


def test_names_that_are_taken_and_names_that_are_not() -> None:
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    found = graph(a * b * c, {"leaf 1": b, "other": leaf(1.0)})
    assert sorted(v.key for v in found.leaves) == ["leaf 1", "leaf 2", "leaf 3"]
    assert len(found.vertices) == 5


def test_looking_changes_nothing() -> None:
    y, names = diamond()
    counts = [sys.getrefcount(t) for t in (y, *names.values())]
    found = graph(y, names)
    str(found), found.dot(), found.svg()
    assert [sys.getrefcount(t) for t in (y, *names.values())] == counts
    assert all(t.grad is None for t in names.values())
    y.backward()
    assert names["w"].grad is not None


def test_what_has_no_graph_says_so() -> None:
    y, names = diamond()
    y.backward()
    with pytest.raises(GraphError, match=r"behind sum was freed.*retain_graph=True"):
        graph(y)
    assert str(graph(names["w"])).splitlines()[1:] == ["leaf 1  leaf  float32 (2,)"]
    with pytest.raises(ValueError, match="no graph behind tensor 0"):
        graph(mg.tensor([1.0]))
    with pytest.raises(TypeError, match="got float as number 1"):
        graph([names["w"], 1.0])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="a dict of tensors by name, or a module"):
        graph(names["w"], [names["w"]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'w': ndarray"):
        graph(names["w"], {"w": np.ones(2)})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="cannot begin with %"):
        graph(names["w"], {"%1": names["w"]})


def test_a_long_chain() -> None:
    x = y = leaf(1.0)
    for _ in range(20_000):
        y = y * 1.5
    found = graph(y, {"x": x})
    assert len(str(found).splitlines()) == 20_002
    assert len(found.dot().splitlines()) == 20_001 + 20_000 + 4
    assert found._repr_svg_() is None
    with pytest.raises(ValueError, match=r"20001 operations and leaves is too large for a picture"):
        found.svg()


# Pictures ------------------------------------------------------------------------------------------

ODD = 'a "b" \\n <c> & $x_1$ \N{GREEK SMALL LETTER ALPHA}\n\x00'


def test_dot_quotes_what_is_special() -> None:
    x = leaf(1.0)
    text = graph(x * x, {ODD: x}).dot()
    statements = text.splitlines()
    assert statements[0] == "digraph {"
    assert statements[-1] == "}"
    quoted = '"a \\"b\\" \\\\n <c> & $x_1$ \N{GREEK SMALL LETTER ALPHA}\\n\x00"'
    assert [s for s in statements if "->" in s] == [f'  {quoted} -> "%1" [label="{name}"]' for name in "ab"]
    assert all(len(re.findall(r'(?<!\\)(?:\\\\)*"', s)) % 2 == 0 for s in statements)


def test_svg_is_xml_with_a_box_for_each_vertex() -> None:
    x = leaf(1.0)
    found = graph(my_tan(x) * x, {ODD: x})
    root = ElementTree.fromstring(found.svg())
    assert found._repr_svg_() == found.svg()
    assert len(root.findall(f"{SVG}rect")) == 1 + len(found.vertices)
    written = [t.text for t in root.findall(f"{SVG}text")]
    assert {"%1 my_tan", "turns=1", "%2 multiply", "result ="} <= set(written)
    assert ODD.replace("\n", "\N{REPLACEMENT CHARACTER}").replace("\x00", "\N{REPLACEMENT CHARACTER}") in written


@given(data=st.data())
def test_boxes_of_any_graph_stand_apart_and_edges_go_down(data: st.DataObject) -> None:
    known = [leaf(0.5) for _ in range(data.draw(st.integers(1, 3)))]
    for _ in range(data.draw(st.integers(0, 12))):
        a, b = (known[data.draw(st.integers(0, len(known) - 1))] for _ in range(2))
        known.append(
            data.draw(st.sampled_from([lambda a, b: a + b, lambda a, b: two(a, b)[0], lambda a, b: my_tan(a)]))(a, b)
        )
    found = graph(known[-3:])
    picture = Picture(found)
    assert len(picture.boxes) == len(found.vertices)
    assert len(picture.curves) == len([*found.edges()])
    for i, a in enumerate(picture.boxes):
        assert a.width / 2 <= a.x <= picture.width - a.width / 2
        assert a.height / 2 <= a.y <= picture.height - a.height / 2
        for b in picture.boxes[:i]:
            assert abs(a.x - b.x) > (a.width + b.width) / 2 or abs(a.y - b.y) > (a.height + b.height) / 2
    for curve in picture.curves:
        heights = [y for _, y in curve.points]
        assert heights == sorted(heights)
    assert picture.svg() == Picture(found).svg()


@pytest.mark.parametrize("ending", [".svg", ".dot", ".gv", ".png", ".pdf"])
def test_it_is_saved(ending: str, tmp_path: Path) -> None:
    if ending in (".png", ".pdf"):
        pytest.importorskip("matplotlib")
    found = graph(diamond()[0], {ODD: leaf(1.0)})
    path = tmp_path / f"graph{ending}"
    found.save(path)
    content = path.read_bytes()
    assert content.startswith(
        {".svg": b"<svg", ".dot": b"digraph", ".gv": b"digraph", ".png": b"\x89PNG"}.get(ending, b"%PDF")
    )
    if ending == ".png":
        from matplotlib.image import imread

        height, width = imread(path).shape[:2]
        picture = Picture(found)
        assert abs(width / height - picture.width / picture.height) < 0.01


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[plot\]'"):
        graph(leaf(1.0)).save(tmp_path / "graph.png")
