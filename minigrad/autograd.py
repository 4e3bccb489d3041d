"""Reverse-mode differentiation: operations record nodes, ``backward`` walks them in reverse.

Read it in this order.  An ``Operation`` is a forward function on arrays and one
rule for each input, written with operations on Tensors.  Calling it makes a
``Node`` ``(op, parents, attributes, saved)``, which holds exactly the arrays
that the rules name.  ``sweep`` visits the nodes from the newest to the oldest:
creation order is a topological order, so every node is visited once, after all
that used it.  Because rules speak Tensor, a sweep with ``create_graph`` records
nodes of its own, and derivatives of any order come for free.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, _GeneratorContextManager, contextmanager
from contextvars import ContextVar
from operator import attrgetter
from typing import Any

import numpy as np

from .errors import GraphError
from .kernels import recording
from .kernels.launch import Slot, launch
from .operations import Operation
from .tensor import Tensor, ops, wrap

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_debugging: ContextVar[bool] = ContextVar("debugging", default=False)
_is_recording, _is_debugging = _recording.get, _debugging.get
_next_order = itertools.count().__next__


class Node:
    """One recorded call: who made it, from what, and what its rules need.

    op, attributes : the operation and the values of its attributes, in the order of ``op.attributes``.
    parents : for each input a Node, a leaf Tensor, or None where no gradient goes.
    indices : which output of each parent was used; None where all are the first.
    names, saved : what the rules name, and the values; saved is None once backward has passed.
    versions : (name, storage, version) of the saved arrays that somebody could write to.
    outputs : (shape, dtype) of each output.
    order : counts up with every node, a topological order.
    source : file and line, under ``debug()``.
    """

    __slots__ = ("attributes", "indices", "names", "op", "order", "outputs", "parents", "saved", "source", "versions")

    op: Operation
    parents: Any
    indices: Any
    attributes: Any
    names: Any
    saved: Any
    versions: Any
    outputs: Any
    order: int
    source: str

    def __repr__(self) -> str:
        return f"<Node {self.order} {self.op.name}>"


# Forward ---------------------------------------------------------------------------------


def apply(op: Operation, inputs: tuple[Any, ...], attributes: tuple[Any, ...]) -> Any:
    """Run the forward function and, where a gradient may be wanted, record a node."""
    arrays: list[Any] = []
    tracked = 0  # a bit for each input that requires grad
    for x in inputs:
        if isinstance(x, Tensor):
            tensor = x
            if tensor._requires_grad:
                tracked |= 1 << len(arrays)
            arrays.append(tensor.data)
        else:
            arrays.append(_operand(op, x))
    if op.variadic:
        result = op.forward(*arrays, **dict(zip(op.attributes, attributes, strict=True)))
    elif attributes:
        result = op.forward(*arrays, *attributes)
    else:
        result = op.forward(*arrays)
    results = (result,) if type(result) is np.ndarray else _results(op, result)
    node = None
    if tracked and op.differentiable and _is_recording():
        node = _record(op, inputs, arrays, attributes, results, tracked)
    tensors: list[Any] = []
    for array in results:
        place = node if node is not None and array.dtype.kind == "f" else None
        tensors.append(wrap(array, place, len(tensors)))
    if op.view and isinstance(inputs[0], Tensor) and _shares(results[0], inputs[0].data):
        tensors[0]._storage = inputs[0].storage()
    return tuple(tensors) if isinstance(result, tuple) else tensors[0]


def _shares(view: Any, array: Any) -> bool:
    """Whether both lie in one allocation: a view names the owner of its memory as its base."""
    base = view.base
    return view is array or (base is not None and (base is array or base is array.base))


def _operand(op: Operation, x: Any) -> Any:
    if isinstance(x, int | float) or (x is None and op.required < len(op.inputs)):
        return x
    if not isinstance(x, np.ndarray | np.generic):
        raise TypeError(
            f"{op.name} takes tensors, arrays and numbers, got {type(x).__name__}; minigrad.tensor() converts"
        )
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{op.name} takes floats, integers and bools, got dtype {x.dtype}")
    return x


def _results(op: Operation, result: Any) -> tuple[Any, ...]:
    """What a forward function gave that is not simply one array."""
    results = tuple([np.asarray(a) for a in (result if isinstance(result, tuple) else (result,))])
    if len(results) != len(op.outputs) or any([a.dtype.kind not in "fiub" for a in results]):
        raise TypeError(f"{op.name} should give an array for each of {op.outputs}, its forward gave {result!r}")
    return results


def _record(op: Any, inputs: Any, arrays: Any, attributes: Any, results: Any, tracked: int) -> Node:
    parents = []
    indices = []
    later = False  # whether a parent's second or later output is used
    for x in inputs:
        tensor = x if isinstance(x, Tensor) else None
        if tensor is not None and tensor._requires_grad:
            parents.append(tensor if tensor.node is None else tensor.node)
            indices.append(tensor.index)
            later |= tensor.index > 0
        else:
            parents.append(None)
            indices.append(0)
    node = Node()
    node.op, node.parents, node.attributes = op, tuple(parents), attributes
    node.indices = tuple(indices) if later else None
    node.names = op.needed(tracked)
    saved = []
    versions: list[Any] = []
    for name in node.names:
        kind, i = op.sources[name]
        if kind == "input":
            saved.append(arrays[i] if i < len(arrays) else None)
            if i < len(inputs):
                _watch(versions, name, inputs[i])
        elif kind == "output":
            saved.append(results[i])
        elif kind == "shape":
            saved.append(arrays[i].shape)
        elif kind == "shapes":
            saved.append([np.shape(a) for a in arrays])
        else:  # the inputs of a variadic operation
            saved.append(arrays)
            for x in inputs:
                _watch(versions, name, x)
    node.saved = tuple(saved)
    node.versions = tuple(versions)
    node.outputs = tuple([(a.shape, a.dtype) for a in results])
    node.order = _next_order()
    node.source = _source_line() if _is_debugging() else ""
    return node


def _watch(versions: Any, name: str, x: Any) -> None:
    """Note the version of a saved input that somebody could write to: a recorded result only if it is a view."""
    if isinstance(x, Tensor):
        tensor = x
        if tensor.node is None or tensor._storage is not None:
            storage = tensor.storage()
            versions.append((name, storage, storage.version))


# The way back ----------------------------------------------------------------------------

_slot = Slot("backward passes")


def observe(observer: Callable[[Node, Any, Any], None]) -> AbstractContextManager[None]:
    """Call ``observer(node, cotangent, gradients)`` after each step of a backward pass, until the block ends.

    ``gradients`` has an entry for each parent of the node, None where no gradient goes.
    """
    return _slot.observe(observer)


def sweep(roots: Any, seeds: Any, targets: Any, retain_graph: bool, create_graph: bool) -> dict[Any, Any]:
    """Carry the cotangents ``seeds`` from ``roots`` back to ``targets``, or to all leaves if None.

    Roots and targets are edges, ``(node, index)`` for a result and ``(leaf, 0)``
    for a leaf.  Gives ``{edge: (gradient, owned)}``; owned tells that the sweep
    itself allocated the gradient, so that nobody else holds its memory.
    """
    nodes = _reachable([place for place, _ in roots])
    wanted = None if targets is None else _leading_to(nodes, targets)
    for node in nodes:
        if (node.versions or node.saved is None) and (wanted is None or node in wanted):
            _check_saved(node)
    pending: dict[Any, list[Any]] = {}  # for each node or leaf, the cotangent of each output
    owned: set[int] = set()  # ids of the cotangents in pending that this sweep allocated
    arrived: dict[Any, Any] = {}
    for i in range(len(roots)):
        place, index = roots[i]
        _accumulate(pending, owned, place, index, seeds[i], create_graph)
    while nodes:
        node = nodes.pop()
        cotangents = pending.pop(node, None)
        if cotangents is None:
            continue
        for i, g in enumerate(cotangents):
            if targets is not None and g is not None and (node, i) in targets:
                arrived[(node, i)] = (g, False)
            owned.discard(id(g))
        if wanted is not None and node not in wanted:
            continue
        gradients = _step(node, cotangents, wanted, targets, create_graph)
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                index = node.indices[i] if node.indices is not None else 0
                _accumulate(pending, owned, node.parents[i], index, gradient, create_graph)
        if _slot.observer is not None:
            _slot.observer(node, cotangents[0] if len(cotangents) == 1 else tuple(cotangents), gradients)
        if not retain_graph:
            node.saved, node.parents, node.indices, node.versions = None, (), None, ()
    for leaf, (total,) in pending.items():
        if targets is None or (leaf, 0) in targets:
            arrived[(leaf, 0)] = (total, id(total) in owned)
    return arrived


def _reachable(places: list[Any]) -> list[Node]:
    """All nodes behind ``places``, oldest first."""
    found = {place for place in places if isinstance(place, Node)}
    stack = list(found)
    while stack:
        node = stack.pop()
        for parent in node.parents:
            if isinstance(parent, Node) and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=attrgetter("order"))


def _leading_to(nodes: list[Node], targets: Any) -> set[Node]:
    """The nodes from which a gradient can reach a target."""
    wanted: set[Node] = set()
    for node in nodes:
        if node.saved is None and any([place is not node for place, _ in targets]):
            wanted.add(node)  # freed: nobody knows any more what lay behind it
        for i, parent in enumerate(node.parents):
            index = node.indices[i] if node.indices is not None else 0
            if parent is not None and ((parent, index) in targets or parent in wanted):
                wanted.add(node)
    return wanted


def _check_saved(node: Node) -> None:
    """Raise unless what the node saved is still there, and still the same."""
    if node.saved is None:
        advice = "pass retain_graph=True to that one, or detach() what it gave"
        raise GraphError(f"the graph behind {node.op.name} was freed by an earlier backward; {advice}")
    for name, storage, version in node.versions:
        if storage.version != version:
            here = f" (at {node.source})" if node.source else ""
            there = f" (at {storage.source})" if storage.source else ""
            hint = "" if here else "; minigrad.debug() shows both places"
            raise GraphError(
                f"{node.op.name}{here} needs its {name!r} as it was in the forward pass, "
                f"but {storage.writer}{there} has written to that memory since{hint}"
            )


def _accumulate(pending: Any, owned: Any, place: Any, index: int, g: Any, create_graph: bool) -> None:
    slots = pending.get(place)
    if slots is None:
        slots = pending[place] = [None] * (len(place.outputs) if isinstance(place, Node) else 1)
    before = slots[index]
    if before is None:
        slots[index] = g
    elif id(before) in owned:
        launch("add", (before.data, before.data, g.data))
    else:
        slots[index] = ops.add(before, g)
        if not create_graph:
            owned.add(id(slots[index]))


def _step(node: Node, cotangents: Any, wanted: Any, targets: Any, create_graph: bool) -> list[Any]:
    """The gradients of a node's parents: its rules, applied."""
    op = node.op
    known = {"g": cotangents[0] if len(op.outputs) == 1 else tuple(cotangents)}
    for i in range(len(node.attributes)):
        known[op.attributes[i]] = node.attributes[i]
    for i in range(len(node.names)):
        known[node.names[i]] = _revived(node, node.names[i], node.saved[i], create_graph)
    if op.joint is not None:
        gradients = list(op.joint(*[known[name] for name in op.joint_names]))
        if len(gradients) != len(node.parents):
            raise GraphError(f"the rule of {op.name} gave {len(gradients)} gradients for {len(node.parents)} inputs")
    else:
        gradients = [None] * len(node.parents)
    for i in range(len(node.parents)):
        parent = node.parents[i]
        index = node.indices[i] if node.indices is not None else 0
        if parent is None or (wanted is not None and parent not in wanted and (parent, index) not in targets):
            gradients[i] = None
        else:
            if op.joint is None and op.rules[i] is not None:
                gradients[i] = op.rules[i](*[known[name] for name in op.rule_names[i]])
            if gradients[i] is not None:
                gradients[i] = _conform(op, gradients[i], parent, index)
    return gradients


def _revived(node: Node, name: str, value: Any, create_graph: bool) -> Any:
    """A saved value as rules see it: an array becomes a Tensor, with ``create_graph`` on its old place."""
    kind, i = node.op.sources[name]
    if kind == "inputs":
        return [_placed(node, j, a, create_graph) for j, a in enumerate(value)]
    if kind == "input":
        return _placed(node, i, value, create_graph)
    if kind == "output":
        return wrap(value, node if create_graph and value.dtype.kind == "f" else None, i)
    return value


def _placed(node: Node, i: int, value: Any, create_graph: bool) -> Any:
    parent = node.parents[i] if create_graph and i < len(node.parents) else None
    if isinstance(parent, Tensor) or not isinstance(value, np.ndarray):
        return value if parent is None else parent
    return wrap(value, parent, node.indices[i] if node.indices is not None else 0)


def _conform(op: Any, g: Any, parent: Any, index: int) -> Any:
    """A gradient in the shape and dtype of the input it belongs to."""
    if isinstance(parent, Tensor):
        shape, dtype = parent.data.shape, parent.data.dtype
    else:
        shape, dtype = parent.outputs[index]
    if not isinstance(g, Tensor):
        g = Tensor(np.asarray(g, dtype))
    if g.data.shape != shape:
        lead = g.data.ndim - len(shape)
        if not op.broadcasts or lead < 0 or any([n != m != 1 for n, m in zip(g.data.shape[lead:], shape, strict=True)]):
            raise GraphError(
                f"a rule of {op.name} gave a gradient of shape {g.data.shape} for an input of shape {shape}"
            )
        stretched = [lead + i for i, n in enumerate(shape) if n == 1 and g.data.shape[lead + i] != 1]
        g = ops.reshape(ops.sum(g, (*range(lead), *stretched)), shape)
    if g.data.dtype != dtype:
        g = ops.astype(g, dtype)
    return g


# What users call ---------------------------------------------------------------------------


def backward(
    tensor: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of ``tensor`` to the ``.grad`` of the leaves it was computed from.

    gradient : cotangent of ``tensor``; needed unless it has one element.
    retain_graph : keep saved arrays for another pass; None means ``create_graph``.
    create_graph : record the pass itself, so that gradients can be differentiated.
    inputs : only these leaves receive gradients.

    Raises ``RuntimeError`` for a tensor outside any graph, or not scalar and
    without ``gradient``; ``GraphError`` through a freed graph or an overwritten array.
    """
    leaves = None if inputs is None else _listed(inputs)
    for leaf in leaves or ():
        if not isinstance(leaf, Tensor) or leaf.node is not None or not leaf._requires_grad:
            raise ValueError("inputs of backward() must be leaves that require grad; for others use minigrad.grad")
    targets = None if leaves is None else {(leaf, 0) for leaf in leaves}
    seed = _seed("backward()", tensor, gradient)
    arrived = _run([_edge(tensor)], [seed], targets, retain_graph, create_graph)
    for (leaf, _), (g, owned) in arrived.items():
        _deposit(leaf, g, owned, create_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of ``outputs`` (a tensor or several, summed) with respect to ``inputs``, as a tuple.

    ``.grad`` is left alone.  ``grad_outputs`` gives a cotangent for each output.
    An input that the outputs do not depend on raises ``RuntimeError``, or gives
    None with ``allow_unused``.
    """
    outs, ins = _listed(outputs), _listed(inputs)
    given = [None] * len(outs) if grad_outputs is None else _listed(grad_outputs)
    if len(given) != len(outs):
        raise ValueError(f"grad() needs one grad_output for each of {len(outs)} outputs, got {len(given)}")
    for i, x in enumerate(ins):
        if not isinstance(x, Tensor) or not x._requires_grad:
            raise ValueError(f"input {i} of grad() is not a tensor that requires grad")
    seeds = [_seed("grad()", t, g) for t, g in zip(outs, given, strict=True)]
    edges = [_edge(x) for x in ins]
    arrived = _run([_edge(t) for t in outs], seeds, set(edges), retain_graph, create_graph)
    result = []
    for i, edge in enumerate(edges):
        if edge not in arrived and not allow_unused:
            raise RuntimeError(f"the outputs do not depend on input {i}; allow_unused=True gives None for it")
        result.append(arrived[edge][0] if edge in arrived else None)
    return tuple(result)


def _run(roots: Any, seeds: Any, targets: Any, retain_graph: bool | None, create_graph: bool) -> dict[Any, Any]:
    token = _recording.set(create_graph)
    try:
        return sweep(roots, seeds, targets, create_graph if retain_graph is None else retain_graph, create_graph)
    finally:
        _recording.reset(token)


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


def _edge(tensor: Tensor) -> Any:
    return (tensor, 0) if tensor.node is None else (tensor.node, tensor.index)


def _seed(caller: str, tensor: Any, gradient: Any) -> Tensor:
    if not isinstance(tensor, Tensor) or not tensor._requires_grad:
        raise RuntimeError(f"{caller} needs a tensor that was computed from one that requires grad")
    if gradient is None:
        if tensor.data.size != 1:
            raise RuntimeError(
                f"{caller} without a gradient needs a scalar, got shape {tensor.data.shape}; sum it, or pass a gradient"
            )
        return wrap(np.ones(tensor.data.shape, tensor.data.dtype))
    g = gradient if isinstance(gradient, Tensor) else Tensor(np.array(gradient, tensor.data.dtype))
    if g.data.shape != tensor.data.shape:
        raise ValueError(f"{caller} got a gradient of shape {g.data.shape} for a tensor of shape {tensor.data.shape}")
    return g if g.data.dtype == tensor.data.dtype else ops.astype(g, tensor.data.dtype)


def _deposit(leaf: Tensor, g: Tensor, owned: bool, create_graph: bool) -> None:
    """Add to ``leaf.grad``, which owns its memory and has the leaf's memory order."""
    recorder = recording.current and recording.recorder()
    if recorder is not None:
        recorder.deposit(leaf)
    if leaf.grad is not None and (leaf.grad.node is not None or (create_graph and g.node is not None)):
        with enable_grad() if create_graph else no_grad():
            g, leaf.grad = ops.add(leaf.grad, g), None
    if leaf.grad is None:
        if not owned or g.data.strides != leaf.data.strides:
            copy = np.empty_like(leaf.data)
            launch("copy", (copy, g.data))
            g = wrap(copy, g.node if create_graph else None, g.index)
        leaf.grad = g
    else:
        launch("add", (leaf.grad.data, leaf.grad.data, g.data))
        leaf.grad.storage().written("backward")


@contextmanager
def _held(variable: ContextVar[bool], value: bool) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def no_grad() -> _GeneratorContextManager[None]:
    """Record nothing inside; also a decorator.  Holds for the running thread or task only."""
    return _held(_recording, False)


def enable_grad() -> _GeneratorContextManager[None]:
    """Record again inside a ``no_grad`` block."""
    return _held(_recording, True)


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return _recording.get()


def debug() -> _GeneratorContextManager[None]:
    """Note the source line of every operation and write, for error messages.  Slow."""
    return _held(_debugging, True)


def written(tensor: Tensor, writer: str) -> None:
    """Say that ``writer`` has written to a tensor's memory."""
    recorder = recording.current and recording.recorder()
    if recorder is not None:
        recorder.wrote(tensor, writer)
    tensor.storage().written(writer, _source_line() if _debugging.get() else "")


def forget_gradient(leaf: Tensor) -> None:
    """Set ``leaf.grad`` to None, as ``zero_grad`` does."""
    recorder = recording.current and recording.recorder()
    if recorder is not None:
        recorder.forgot(leaf)
    leaf.grad = None


def _source_line() -> str:
    """The nearest line outside this package."""
    frame: Any = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "minigrad":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


ops.apply, ops.backward = apply, backward
