"""Function transforms: derivatives of functions of nested dicts, lists and tuples of tensors.

Named as in JAX and ``torch.func``.  Every transform calls the function on aliases of its
arguments and runs the one reverse pass of ``autograd`` from what came out; so there is no second
set of rules, transforms apply to each other, and whatever the function closes over may be
differentiated too, from outside.  What a transform gives is part of a graph only if something
outside that requires grad went into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autograd import Node, enable_grad, is_grad_enabled
from .autograd import grad as gradients
from .ops import ones_like, reshape, stack, zeros_like
from .tensor import Tensor

Function = Callable[..., Any]


# Trees -----------------------------------------------------------------------------------


def _map(f: Function, tree: Any, *others: Any) -> Any:
    """The same tree with ``f(leaf, ...)`` in place of each leaf."""
    if isinstance(tree, dict):
        return {key: _map(f, part, *[other[key] for other in others]) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [_map(f, *together) for together in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return f(tree, *others)


def _leaves(tree: Any) -> list[Any]:
    found: list[Any] = []
    _map(found.append, tree)
    return found


def _rebuilt(tree: Any, leaves: Sequence[Any]) -> Any:
    left = iter(leaves)
    return _map(lambda _: next(left), tree)


def _floats(name: str, tree: Any) -> Any:
    """``tree`` with a floating-point tensor for each leaf."""

    def convert(leaf: Any) -> Tensor:
        if isinstance(leaf, float | np.ndarray | np.generic):
            leaf = Tensor(np.asarray(leaf, np.float32 if type(leaf) is float else None))
        if not isinstance(leaf, Tensor) or leaf.dtype.kind != "f":
            got = f"{leaf.dtype} {leaf.shape}" if isinstance(leaf, Tensor) else type(leaf).__name__
            raise TypeError(f"{name} must hold floating-point tensors in dicts, lists and tuples, got {got}")
        return leaf

    return _map(convert, tree)


def _like(name: str, tree: Any, model: Any) -> list[Any]:
    """The leaves of ``tree``, which must have the structure and the shapes of ``model``."""
    kinds = [dict if isinstance(t, dict) else list if isinstance(t, list | tuple) else None for t in (tree, model)]
    if kinds[0] is not kinds[1] or (kinds[0] and len(tree) != len(model)):
        raise ValueError(f"{name} must be nested as {_outline(model)}, got {_outline(tree)}")
    if kinds[1] is dict:
        if tree.keys() != model.keys():
            raise ValueError(f"{name} must have the keys {list(model)}, got {list(tree)}")
        return [leaf for key, part in model.items() for leaf in _like(f"{name}[{key!r}]", tree[key], part)]
    if kinds[1] is list:
        return [leaf for i, part in enumerate(model) for leaf in _like(f"{name}[{i}]", tree[i], part)]
    leaf = _floats(name, tree)
    if leaf.shape != model.shape:
        raise ValueError(f"{name} must have the shape {model.shape}, got {leaf.shape}")
    return [leaf]


def _outline(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"a dict of {len(tree)}"
    return f"a {type(tree).__name__} of {len(tree)}" if isinstance(tree, list | tuple) else "one tensor"


# One call and its way back ---------------------------------------------------------------------


class _Traced:
    """One call of a function on aliases of its ``primals``, and the way back from its outputs.

    outer : whether something that requires grad came in from outside, so that results stay on a graph.
    """

    def __init__(self, f: Function, primals: Any, has_aux: bool) -> None:
        self.primals = primals
        outer = is_grad_enabled()
        with enable_grad():
            self.aliases = [_alias(x, outer) for x in _leaves(primals)]
            out = f(*_rebuilt(primals, self.aliases))
        self.aux = None
        if has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError(f"with has_aux the function must give (output, aux), got {_outline(out)}")
            out, self.aux = out
        for leaf in _leaves(out):
            if not isinstance(leaf, Tensor):
                raise TypeError(f"the function must give tensors in dicts, lists and tuples, got {type(leaf).__name__}")
        self.out = out
        self.outer = outer and self._reaches_outside()

    def _reaches_outside(self) -> bool:
        """Whether the outputs depend on a leaf, or on an alias that another transform made."""
        own = {alias.node for alias in self.aliases}
        stack = [t if t.node is None else t.node for t in _leaves([self.out, self.aux]) if _tracked(t)]
        seen = set(stack)
        while stack:
            place = stack.pop()
            if not isinstance(place, Node):
                return True
            fresh = {parent for parent in place.parents if parent is not None}
            if not fresh and place not in own:
                return True
            stack.extend(fresh - seen)
            seen |= fresh
        return False

    def pull(self, seeds: Sequence[Tensor | None], again: bool) -> Any:
        """The cotangents of the primals for those of the outputs (None for 0), in their structure.

        again : keep the graph for another pull.
        """
        pairs = [(y, g) for y, g in zip(_leaves(self.out), seeds, strict=True) if g is not None and y.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(self.aliases)
        if pairs and self.aliases:
            record = is_grad_enabled() and (self.outer or any(g.requires_grad for _, g in pairs))
            outputs, cotangents = [y for y, _ in pairs], [g for _, g in pairs]
            found = gradients(outputs, self.aliases, cotangents, again or record, record, allow_unused=True)
        filled = [zeros_like(x) if g is None else g for x, g in zip(self.aliases, found, strict=True)]
        return _rebuilt(self.primals, filled)

    def shown(self, tree: Any) -> Any:
        """An output for the caller: on the graph only if that leads outside."""
        return tree if self.outer else _map(lambda t: t.detach() if isinstance(t, Tensor) else t, tree)


def _alias(x: Tensor, linked: bool) -> Tensor:
    """The same memory as the result of a node of its own: what requires grad stays linked to its graph if
    ``linked``; behind another there is nothing, so that a backward pass from outside ends there."""
    tracked = linked and x.requires_grad
    alias: Tensor = reshape(x if tracked else x.detach().requires_grad_(), x.shape)
    if not tracked:
        alias.node.parents = (None,)
    return alias


def _tracked(t: Any) -> bool:
    return isinstance(t, Tensor) and t.requires_grad


def _chosen(f: Function, argnums: int | Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``f`` as a function of one tree, that of the arguments at ``argnums``, and that tree."""
    single = isinstance(argnums, int)
    places = [argnums] if isinstance(argnums, int) else list(argnums)
    if len({i % max(len(args), 1) for i in places if isinstance(i, int)}) != len(places):
        raise ValueError(f"argnums must be different integers, got {argnums!r}")
    for i in places:
        if isinstance(i, bool) or not isinstance(i, int) or not -len(args) <= i < len(args):
            raise ValueError(f"argnums must name some of the {len(args)} positional arguments, got {argnums!r}")
    primals = tuple(_floats(f"argument {i}", args[i]) for i in places)

    def of_chosen(*chosen: Any) -> Any:
        full = list(args)
        for i, x in zip(places, chosen, strict=True):
            full[i] = x
        return f(*full, **kwargs)

    return of_chosen, primals, (lambda parts: parts[0]) if single else (lambda parts: parts)


def _check_sequences(primals: Any, tangents: Any) -> None:
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, list | tuple):
            raise TypeError(f"{name} must be a tuple or a list, one for each argument, got {type(given).__name__}")


# Transforms --------------------------------------------------------------------------------------


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that gives ``(f(...), gradient)``: see ``grad``; with ``has_aux``, ``((value, aux), gradient)``."""

    def transformed(*args: Any, **kwargs: Any) -> Any:
        of_chosen, primals, unpack = _chosen(f, argnums, args, kwargs)
        traced = _Traced(of_chosen, primals, has_aux)
        y = traced.out
        if not isinstance(y, Tensor) or y.size != 1 or y.dtype.kind != "f":
            got = f"{y.dtype} {y.shape}" if isinstance(y, Tensor) else _outline(y)
            raise TypeError(f"grad needs a function that gives one floating-point number, got {got}")
        gradient = unpack(traced.pull([ones_like(y)], again=False))
        value = traced.shown(y)
        return ((value, traced.shown(traced.aux)) if has_aux else value), gradient

    return transformed


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of ``f``, in the structure of the argument at ``argnums``.

    f : gives one floating-point number (with ``has_aux``: that, and anything else).
    argnums : position of the argument, or several positions for a tuple of gradients.
    has_aux : give ``(gradient, aux)``.

    An argument is a tensor, or a dict, list or tuple of such; what ``f`` does not
    use has gradient 0.  ``grad(grad(f))`` is the second derivative.

    >>> from minigrad import func, tensor
    >>> func.grad(lambda w: (w["a"] * w["b"]).sum())({"a": tensor([1.0, 2.0]), "b": tensor(3.0)})
    {'a': Tensor([3., 3.]), 'b': Tensor(3.)}
    """

    def transformed(*args: Any, **kwargs: Any) -> Any:
        value, gradient = value_and_grad(f, argnums, has_aux)(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return transformed


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """``(f(*primals), back)``, with ``has_aux`` ``(output, back, aux)``: vector-Jacobian products.

    ``back(cotangent)``, in the structure of the output, gives the tuple of ``cotangent^T J``
    for each primal; it may be called again.
    """
    traced = _Traced(f, _floats("primals", primals), has_aux)
    model = _map(lambda y: y.detach(), traced.out)

    def back(cotangent: Any) -> Any:
        return traced.pull(_like("cotangent", cotangent, model), again=True)

    out = traced.shown(traced.out)
    return (out, back, traced.shown(traced.aux)) if has_aux else (out, back)


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """``(f(*primals), J tangents)``, with ``has_aux`` also aux: the derivative along ``tangents``.

    Reverse twice: ``u -> u^T J`` is linear in u, and the way back through that is ``J t``
    (J. Townsend, A new trick for calculating Jacobian vector products, 2017).
    """
    _check_sequences(primals, tangents)
    traced = _Traced(f, _floats("primals", tuple(primals)), has_aux)
    moves = _like("tangents", tuple(tangents), traced.primals)
    back = _Traced(lambda *u: traced.pull(u, again=True), tuple(map(zeros_like, _leaves(traced.out))), False)
    back.outer = traced.outer  # the aliases of the first call are as private as those of the second
    moved = _rebuilt(traced.out, back.pull(moves, again=False))
    return (traced.shown(traced.out), moved, *([traced.shown(traced.aux)] if has_aux else []))


def jacobian(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that gives the derivative of each output element in each element of the argument.

    For an output of shape S and an argument of shape T the result has shape S + T;
    for trees it is a tree like the output, each leaf one like the argument.  Costs a
    backward pass for each output element.
    """

    def transformed(*args: Any, **kwargs: Any) -> Any:
        of_chosen, primals, unpack = _chosen(f, argnums, args, kwargs)
        traced = _Traced(of_chosen, primals, has_aux)
        outputs = _leaves(traced.out)

        def rows(k: int) -> Any:
            y = outputs[k]
            found = []
            for i in range(y.size):
                seed = np.zeros(y.shape, y.dtype)
                seed.reshape(-1)[i] = 1
                seeds = [Tensor(seed) if j == k else None for j in range(len(outputs))]
                found.append(traced.pull(seeds, again=True))

            def whole(x: Tensor, *parts: Tensor) -> Any:
                shape = (*y.shape, *x.shape)
                return reshape(stack(parts), shape) if parts else Tensor(np.zeros(shape, x.dtype))

            return unpack(_map(whole, primals, *found))

        result = _rebuilt(traced.out, [rows(k) for k in range(len(outputs))])
        return (result, traced.shown(traced.aux)) if has_aux else result

    return transformed


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """A function that gives all second derivatives: the ``jacobian`` of the ``jacobian``.

    For a number that depends on an argument of shape T the result has shape T + T, at the
    cost of a backward pass through the gradient for each element.
    """
    return jacobian(jacobian(f, argnums), argnums)


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of ``f`` (one number) times ``tangents``: a tuple in the structure of ``primals``.

    The way back from ``sum(gradient * tangents)``, since the Hessian is symmetric: it costs
    and keeps about twice what a gradient does, whatever the number of elements (B. A.
    Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6, 1994).
    """
    _check_sequences(primals, tangents)
    traced = _Traced(grad(f, tuple(range(len(primals)))), _floats("primals", tuple(primals)), False)
    return traced.pull(_like("tangents", tuple(tangents), traced.primals), again=False)
