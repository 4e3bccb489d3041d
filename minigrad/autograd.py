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
from sys import getrefcount
from typing import Any

import numpy as np
from numpy import ndarray

from .errors import GraphError
from .kernels import recording
from .kernels.launch import Slot, has_form, launch, same_order, sole_holder
from .operations import INPUT, INPUTS, OUTPUT, SHAPE, SHAPES, Operation, Recipe
from .tensor import Tensor, ops, wrap

RECORDING, DEBUGGING = 1, 2  # bits of the mode, which each thread and each task has for itself
_mode: ContextVar[int] = ContextVar("mode", default=RECORDING)
_current_mode = _mode.get
_ONE = np.ones((), np.float32)
_ONE.flags.writeable = False
_next_order = itertools.count().__next__


class Node:
    """One recorded call: who made it, from what, and what its rules need.

    op, attributes : the operation and the values of its attributes, in the order of ``op.attributes``.
    parents : for each input a Node, a leaf Tensor, or None where no gradient goes.
    indices : which output of each parent was used; None where all are the first.
    recipe, saved : what the rules name, and the values; saved is None once backward has passed.
    versions : (name, storage, version) of the saved arrays that somebody could write to.
    outputs : (shape, dtype) of each output.
    order : counts up with every node, a topological order.
    source : file and line, under ``debug()``.
    """

    __slots__ = ("attributes", "indices", "op", "order", "outputs", "parents", "recipe", "saved", "source", "versions")

    op: Operation
    parents: Any
    indices: Any
    attributes: Any
    recipe: Recipe
    saved: Any
    versions: Any
    outputs: Any
    order: int
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is saved."""
        return self.recipe.names

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
                tracked |= 1 if op.variadic else 1 << len(arrays)
            arrays.append(tensor.data)
        else:
            arrays.append(_operand(op, x))
    if op.variadic:
        result = op.forward(*arrays, **dict(zip(op.attributes, attributes, strict=True)))
    elif attributes:
        result = op.forward(*arrays, *attributes)
    else:
        result = op.forward(*arrays)
    if type(result) is not ndarray or len(op.outputs) > 1:
        return _apply_rest(op, inputs, arrays, attributes, result, tracked)
    node = None
    if tracked and op.differentiable and result.dtype.kind == "f":
        mode = _current_mode()
        if mode & RECORDING:
            node = _record(op, inputs, arrays, attributes, (result,), tracked, mode)
    y = wrap(result, node, 0)
    if op.view:
        _share(y, inputs[0])
    return y


def _apply_rest(op: Operation, inputs: Any, arrays: Any, attributes: Any, result: Any, tracked: int) -> Any:
    """The end of ``apply`` for several outputs, or for one that is not simply an array."""
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(op.outputs):
        raise _wrong_results(op, result)
    for a in results:
        if type(a) is not ndarray and not (a is None and len(results) > 1):
            results = _results(op, results)
            break
    node = None
    if tracked and op.differentiable:
        mode = _current_mode()
        if mode & RECORDING:
            node = _record(op, inputs, arrays, attributes, results, tracked, mode)
    tensors: list[Any] = []
    for a in results:
        place = node if node is not None and a is not None and a.dtype.kind == "f" else None
        tensors.append(None if a is None else wrap(a, place, len(tensors)))
    if op.view:
        _share(tensors[0], inputs[0])
    return tuple(tensors) if isinstance(result, tuple) else tensors[0]


def _share(y: Tensor, x: Any) -> None:
    """Let a view and its input have one write counter."""
    if isinstance(x, Tensor) and _shares(y.data, x.data):
        y._storage = x.storage()


def _shares(view: Any, array: Any) -> bool:
    """Whether both lie in one allocation: a view names the owner of its memory as its base."""
    base = view.base
    return view is array or (base is not None and (base is array or base is array.base))


def _operand(op: Operation, x: Any) -> Any:
    if isinstance(x, int | float) or (x is None and op.required < len(op.inputs)):
        return x
    if not isinstance(x, ndarray | np.generic):
        raise TypeError(
            f"{op.name} takes tensors, arrays and numbers, got {type(x).__name__}; minigrad.tensor() converts"
        )
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{op.name} takes floats, integers and bools, got dtype {x.dtype}")
    return x


def _results(op: Operation, results: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a forward function gave, as arrays; None stands for one of several that is not wanted."""
    arrays = tuple([None if a is None and len(results) > 1 else np.asarray(a) for a in results])
    if any([a is not None and a.dtype.kind not in "fiub" for a in arrays]):
        raise _wrong_results(op, results)
    return arrays


def _wrong_results(op: Operation, result: Any) -> TypeError:
    return TypeError(f"{op.name} should give an array for each of {op.outputs}, its forward gave {result!r}")


def _record(op: Any, inputs: Any, arrays: Any, attributes: Any, results: Any, tracked: int, mode: int) -> Node:
    parents = []
    later = False  # whether a parent's second or later output is used
    for x in inputs:
        parent = None
        if isinstance(x, Tensor):
            tensor = x
            if tensor._requires_grad:
                parent = tensor if tensor.node is None else tensor.node
                later |= tensor.index > 0
        parents.append(parent)
    node = Node()
    node.op, node.parents, node.attributes = op, tuple(parents), attributes
    node.indices = tuple([x.index if isinstance(x, Tensor) else 0 for x in inputs]) if later else None
    recipe = node.recipe = op.recipe(tracked)
    saved = node.saved = []
    versions = node.versions = []
    for kind, i in recipe.saves:
        if kind == INPUT:
            if i < len(arrays):
                saved.append(arrays[i])
                _watch(versions, op.inputs[i], inputs[i])
            else:
                saved.append(None)
        elif kind == OUTPUT:
            saved.append(results[i])
        elif kind == SHAPE:
            saved.append(arrays[i].shape)
        elif kind == SHAPES:
            saved.append([np.shape(a) for a in arrays])
        else:  # the inputs of a variadic operation
            saved.append(arrays)
            for x in inputs:
                _watch(versions, op.inputs[0], x)
    node.outputs = [None if a is None else (a.shape, a.dtype) for a in results]
    node.order = _next_order()
    node.source = _source_line() if mode & DEBUGGING else ""
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


def sweep(roots: Any, seeds: Any, targets: Any, retain_graph: bool, create_graph: bool) -> tuple[Any, Any]:
    """Carry the cotangents ``seeds`` from ``roots`` back to ``targets``, or to all leaves if None.

    Roots and targets are edges, ``(node, index)`` for a result and ``(leaf, 0)``
    for a leaf.  Gives ``{leaf: [gradient]}`` and, of targets that are results, ``{edge: gradient}``.
    """
    nodes = reachable([place for place, _ in roots])
    wanted = None if targets is None else _leading_to(nodes, targets)
    for node in nodes:
        if (node.versions or node.saved is None) and (wanted is None or node in wanted):
            _check_saved(node)
    pending: dict[Any, list[Any]] = {}  # for each node or leaf, the cotangent of each output
    arrived: dict[Any, Any] = {}
    for i in range(len(roots)):
        place, index = roots[i]
        _accumulate(pending, place, index, seeds[i], create_graph)
    while nodes:
        node = nodes.pop()
        cotangents = pending.pop(node, None)
        if cotangents is None:
            continue
        if targets is not None:
            for i, g in enumerate(cotangents):
                if g is not None and (node, i) in targets:
                    arrived[(node, i)] = g
        if wanted is not None and node not in wanted:
            continue
        parents, indices = node.parents, node.indices
        gradients = _step(node, cotangents, wanted, targets, create_graph)
        for i in range(len(gradients)):
            if gradients[i] is not None:
                index = indices[i] if indices is not None else 0
                _accumulate(pending, parents[i], index, gradients[i], create_graph)
        if _slot.observer is not None:
            _slot.observer(node, cotangents[0] if len(cotangents) == 1 else tuple(cotangents), gradients)
        if not retain_graph:
            node.saved, node.parents, node.indices, node.versions = None, (), None, None
    return pending, arrived


def reachable(places: list[Any]) -> list[Node]:
    """All nodes behind ``places``, nodes and leaves: themselves too, oldest first."""
    stack = [place for place in places if isinstance(place, Node)]
    found = {node.order: node for node in stack}
    while stack:
        node = stack.pop()
        for parent in node.parents:
            if isinstance(parent, Node):
                other = parent
                if other.order not in found:
                    found[other.order] = other
                    stack.append(other)
    return [found[order] for order in sorted(found)]


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


def _accumulate(pending: Any, place: Any, index: int, g: Any, create_graph: bool) -> None:
    slots = pending.get(place)
    if slots is None:
        if isinstance(place, Node):
            node = place
            slots = [None] * len(node.outputs)
        else:
            slots = [None]
        pending[place] = slots
    if slots[index] is None:
        slots[index] = g
    elif not create_graph and _unshared(slots, index):
        into = slots[index].data
        launch("add", (into, into, g.data))
    else:
        slots[index] = ops.add(slots[index], g)


def _unshared(slots: list[Any], index: int) -> bool:
    """Whether nobody else holds the tensor ``slots[index]`` or its memory, so that it may be written or kept.

    ``getrefcount`` counts its argument, too.
    """
    return getrefcount(slots[index]) <= 2 and sole_holder(slots[index])


def _step(node: Node, cotangents: Any, wanted: Any, targets: Any, create_graph: bool) -> list[Any]:
    """The gradients of a node's parents: its rules, applied."""
    op, recipe, parents, saved = node.op, node.recipe, node.parents, node.saved
    if saved is None:  # another thread has passed here since the sweep began
        _check_saved(node)
    needs = [parent is not None for parent in parents]
    if wanted is not None:
        for i in range(len(needs)):
            index = node.indices[i] if node.indices is not None else 0
            needs[i] = needs[i] and (parents[i] in wanted or (parents[i], index) in targets)
    known = [cotangents[0] if len(cotangents) == 1 else tuple(cotangents), needs]
    known += node.attributes
    for i in range(len(saved)):
        known.append(_revived(node, recipe.saves[i], saved[i], create_graph))
    known.append(None)
    gradients: list[Any] = [None] * len(needs)
    if op.joint is not None:
        gradients = list(op.joint(*[known[k] for k in recipe.joint]))
        if len(gradients) != len(needs):
            raise GraphError(f"the rule of {op.name} gave {len(gradients)} gradients for {len(needs)} inputs")
    for i in range(len(needs)):
        if not needs[i]:
            gradients[i] = None
        elif op.joint is None and op.rules[i] is not None:
            gradients[i] = op.rules[i](*[known[k] for k in recipe.takes[i]])
        if gradients[i] is not None:
            index = node.indices[i] if node.indices is not None else 0
            gradients[i] = _conform(op, gradients[i], parents[i], index)
    return gradients


def _revived(node: Node, source: Any, value: Any, create_graph: bool) -> Any:
    """A saved value as rules see it: an array becomes a Tensor, with ``create_graph`` on its old place."""
    kind, i = source
    if kind == INPUT:
        return _placed(node, i, value, create_graph)
    if kind == OUTPUT:
        return wrap(value, node if create_graph and value.dtype.kind == "f" else None, i)
    if kind == INPUTS:
        return [_placed(node, j, a, create_graph) for j, a in enumerate(value)]
    return value


def _placed(node: Node, i: int, value: Any, create_graph: bool) -> Any:
    if not isinstance(value, ndarray):
        return value
    parent = node.parents[i] if create_graph and i < len(node.parents) else None
    if isinstance(parent, Tensor):
        return parent
    return wrap(value, parent, node.indices[i] if node.indices is not None else 0)


def _conform(op: Operation, g: Any, parent: Any, index: int) -> Tensor:
    """A gradient in the shape and dtype of the input it belongs to."""
    if isinstance(parent, Node):
        node = parent
        shape, dtype = node.outputs[index]
    else:
        leaf = parent
        shape, dtype = leaf.data.shape, leaf.data.dtype
    gradient = g if isinstance(g, Tensor) else Tensor(np.asarray(g, dtype))
    if has_form(gradient.data, shape, dtype):
        return gradient
    found = gradient.data.shape
    if found != shape:
        lead = len(found) - len(shape)
        if not op.broadcasts or lead < 0 or any([n != m != 1 for n, m in zip(found[lead:], shape, strict=True)]):
            raise GraphError(f"a rule of {op.name} gave a gradient of shape {found} for an input of shape {shape}")
        stretched = [lead + i for i, n in enumerate(shape) if n == 1 and found[lead + i] != 1]
        gradient = ops.reshape(ops.sum(gradient, (*range(lead), *stretched)), shape)
    return gradient if gradient.data.dtype == dtype else ops.astype(gradient, dtype)


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
    seeds = [_seed("backward()", tensor, gradient)]
    found, _ = _run([_edge(tensor)], seeds, targets, retain_graph, create_graph)
    for leaf, slots in found.items():
        if targets is None or (leaf, 0) in targets:
            _deposit(leaf, slots, create_graph)


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
    leaves, arrived = _run([_edge(t) for t in outs], seeds, set(edges), retain_graph, create_graph)
    result = []
    for i, edge in enumerate(edges):
        g = leaves[edge[0]][0] if edge[0] in leaves else arrived.get(edge)
        if g is None and not allow_unused:
            raise RuntimeError(f"the outputs do not depend on input {i}; allow_unused=True gives None for it")
        result.append(g)
    return tuple(result)


def _run(roots: Any, seeds: Any, targets: Any, retain_graph: bool | None, create_graph: bool) -> Any:
    mode = _mode.get()
    token = _mode.set(mode | RECORDING if create_graph else mode & ~RECORDING)
    try:
        return sweep(roots, seeds, targets, create_graph if retain_graph is None else retain_graph, create_graph)
    finally:
        _mode.reset(token)


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
        return wrap(_one(tensor.data))
    g = gradient if isinstance(gradient, Tensor) else Tensor(np.array(gradient, tensor.data.dtype))
    if g.data.shape != tensor.data.shape:
        raise ValueError(f"{caller} got a gradient of shape {g.data.shape} for a tensor of shape {tensor.data.shape}")
    return g if g.data.dtype == tensor.data.dtype else ops.astype(g, tensor.data.dtype)


def _one(like: Any) -> Any:
    """A 1 in the shape and dtype of ``like``, of which the most common is kept."""
    return _ONE if like.ndim == 0 and like.dtype == _ONE.dtype else np.ones(like.shape, like.dtype)


def _deposit(leaf: Tensor, slots: list[Any], create_graph: bool) -> None:
    """Add ``slots[0]`` to ``leaf.grad``, which owns its memory and has the leaf's memory order."""
    recorder = recording.current and recording.recorder()
    if recorder is not None:
        recorder.deposit(leaf)
    before = leaf.grad
    alone = before is None and _unshared(slots, 0)
    g = slots[0]
    if alone and same_order(g.data, leaf.data) and (create_graph or not g._requires_grad):
        leaf.grad = g
        return
    if before is not None and (before.node is not None or (create_graph and g.node is not None)):
        with enable_grad() if create_graph else no_grad():
            g, before = ops.add(before, g), None
    if before is None:
        copy = np.empty_like(leaf.data)
        launch("copy", (copy, g.data))
        leaf.grad = wrap(copy, g.node if create_graph else None, g.index)
    else:
        launch("add", (before.data, before.data, g.data))
        before.storage().written("backward")


@contextmanager
def _held(bit: int, on: bool) -> Iterator[None]:
    mode = _mode.get()
    token = _mode.set(mode | bit if on else mode & ~bit)
    try:
        yield
    finally:
        _mode.reset(token)


def no_grad() -> _GeneratorContextManager[None]:
    """Record nothing inside; also a decorator.  Holds for the running thread or task only."""
    return _held(RECORDING, False)


def enable_grad() -> _GeneratorContextManager[None]:
    """Record again inside a ``no_grad`` block."""
    return _held(RECORDING, True)


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return bool(_mode.get() & RECORDING)


def debug() -> _GeneratorContextManager[None]:
    """Note the source line of every operation and write, for error messages.  Slow."""
    return _held(DEBUGGING, True)


def written(tensors: list[Tensor], writer: str) -> None:
    """Say that ``writer`` has written to the memory of ``tensors``."""
    recorder = recording.current and recording.recorder()
    source = _source_line() if _mode.get() & DEBUGGING else ""
    for tensor in tensors:
        if recorder is not None:
            recorder.wrote(tensor, writer)
        tensor.storage().written(writer, source)


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
