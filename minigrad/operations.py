"""Operations: a forward function on arrays, and one derivative rule for each input.

What is declared here is only data and names; ``autograd`` runs and records it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .tensor import ops

Rule = Callable[..., Any]


# Where what a rule names comes from: an output or an input by position, a shape, or all of a variadic operation's.
OUTPUT, INPUT, SHAPE, INPUTS, SHAPES = range(5)


class Recipe:
    """What a node saves, and what its rules take, for one set of inputs that require grad.

    names, saves : what the rules name apart from g and attributes, and for each (kind, position).
    takes : for each input the places of its rule's arguments among ``(g, needs, *attributes, *saved)``.
    joint : the places of the joint rule's arguments; behind the last stands None, for what is not kept.
    direct : whether every rule is an operation, so that all can run on arrays where nothing records.
    needs : for each input whether it requires grad, as those rules take it.
    """

    __slots__ = ("direct", "joint", "names", "needs", "saves", "takes")

    def __init__(self, op: Operation, tracked: int) -> None:
        wanted = [i for i in range(len(op.inputs)) if tracked >> i & 1]
        used = {name for i in wanted for name in op.uses.get(op.inputs[i], op.joint_names)}
        named = dict.fromkeys([name for name in op.joint_names if op.variadic or name in used])
        for i in wanted:
            named |= dict.fromkeys(op.rule_names[i])
        self.names = tuple([name for name in named if name in op.sources])
        self.saves = tuple([op.sources[name] for name in self.names])
        known = ("g", "needs", *op.attributes, *self.names)
        self.takes = tuple(
            [tuple(map(known.index, names)) if tracked >> i & 1 else () for i, names in enumerate(op.rule_names)]
        )
        self.joint = tuple([known.index(name) if name in known else len(known) for name in op.joint_names])
        self.needs = tuple([bool(tracked >> i & 1) for i in range(len(op.inputs))])
        rules = [op.joint] if op.joint is not None else [op.rules[i] for i in wanted if op.rules[i] is not None]
        alone = len(op.outputs) == 1 and not op.variadic
        self.direct = alone and all(isinstance(rule, Operation) and not rule.view for rule in rules)


class Operation:
    """A forward function and its derivative rules: see ``operation``."""

    def __init__(
        self,
        forward: Callable[..., Any],
        rules: dict[str, Rule | None],
        joint: Rule | None,
        outputs: Sequence[str],
        broadcasts: bool,
        view: bool,
        domain: Any,
        uses: dict[str, tuple[str, ...]],
        quick: Callable[..., Any] | None,
    ) -> None:
        self.forward = forward
        self.quick = forward if quick is None else quick
        self.name = forward.__name__
        self.__name__ = self.name
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.joint, self.outputs, self.domain = joint, tuple(outputs), domain
        self.broadcasts, self.view, self.uses = broadcasts, view, uses
        parameters = list(inspect.signature(forward).parameters.values())
        inputs = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
        others = [p for p in parameters if p not in inputs]
        self.variadic = any(p.kind == p.VAR_POSITIONAL for p in inputs)
        self.inputs = tuple(p.name for p in inputs)
        self.required = sum(p.default is p.empty for p in inputs)
        self.attributes = tuple(p.name for p in others)
        self.optional = self.required < len(self.inputs) or "wanted" in self.attributes  # whether an input may be None
        self.defaults = tuple(p.default for p in others)
        self.least = sum(default is inspect.Parameter.empty for default in self.defaults)
        self.rules = tuple(rules.pop(name, None) for name in self.inputs)
        if rules:
            late = [name for name in rules if name in self.attributes]
            hint = f"; inputs stand before a /, as in def {self.name}({', '.join(late)}, /)" if late else ""
            raise TypeError(f"{self.name} has rules for {sorted(rules)}, but its inputs are {self.inputs}{hint}")
        self.rule_names = tuple(_parameters(rule) for rule in self.rules)
        self.joint_names = _parameters(joint)
        self.single = len(self.outputs) == 1
        self.sources = self._sources()
        self.differentiable = joint is not None or any(self.rules)
        self.recipes: dict[int, Recipe] = {}

    def _sources(self) -> dict[str, tuple[int, int]]:
        """Where the value of each name that a rule may use comes from."""
        if {"g", "needs"} & {*self.inputs, *self.attributes, *self.outputs}:
            raise TypeError(f"{self.name} cannot have a parameter or an output g or needs: in rules they are its own")
        known = {name: (OUTPUT, i) for i, name in enumerate(self.outputs)}
        for i, name in enumerate(self.inputs):
            known[name] = (INPUTS if self.variadic else INPUT, i)
            known[name + "_shape"] = (SHAPES if self.variadic else SHAPE, i)
        for name in itertools.chain(self.joint_names, *self.rule_names):
            if name not in ("g", "needs") and name not in known and name not in self.attributes:
                raise TypeError(
                    f"a rule of {self.name} names {name!r}; it may name g, needs, {', '.join(known)}, attributes"
                )
        return known

    def recipe(self, tracked: int) -> Recipe:
        """What to save and what the rules take when the inputs in the bit set ``tracked`` require grad."""
        found = self.recipes.get(tracked)
        if found is None:
            found = self.recipes[tracked] = Recipe(self, tracked)
        return found

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Split the arguments of a call into inputs and the values of all attributes."""
        count = len(args) if self.variadic else min(len(args), len(self.inputs))
        if count < self.required and not self.variadic:
            name = self.inputs[count]
            wrong = "must be given by position" if name in kwargs else "is missing"
            raise TypeError(f"{self.name} takes {', '.join(self.inputs)}; {name!r} {wrong}")
        values = list(self.defaults)
        given = dict(zip(self.attributes, args[count:], strict=False))
        doubled, unknown = given.keys() & kwargs.keys(), kwargs.keys() - set(self.attributes)
        if len(args) - count > len(self.attributes) or doubled or unknown:
            try:
                inspect.signature(self.forward).bind(*args, **kwargs)
            except TypeError as error:  # Python's own message, which does not say whose
                raise TypeError(f"{self.name}() {error}") from None
        for name, value in itertools.chain(given.items(), kwargs.items()):
            values[self.attributes.index(name)] = value
        for name, value in zip(self.attributes, values, strict=True):
            if value is inspect.Parameter.empty:
                raise TypeError(f"{self.name} needs {name!r}")
        return args[:count], tuple(values)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = len(args) - len(self.inputs)
        if not kwargs and not self.variadic and self.least <= given <= len(self.defaults):
            if given == 0:
                return _apply(self, args, self.defaults)
            return _apply(self, args[:-given], args[-given:] + self.defaults[given:])
        inputs, attributes = self.bind(args, kwargs)
        return _apply(self, inputs, attributes)

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self  # an operation kept on a class stays a function of its arguments

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def _parameters(rule: Rule | None) -> tuple[str, ...]:
    """What a rule names; an operation as a rule takes ``g`` as its first input and ``needs`` as its ``wanted``."""
    if rule is None:
        return ()
    if not isinstance(rule, Operation):
        return tuple(inspect.signature(rule).parameters)
    if rule.variadic:
        raise TypeError(f"{rule.name} takes any number of inputs, so it cannot be a rule as it is")
    names = ("g", *rule.inputs[1:], *rule.attributes)
    return tuple(["needs" if name == "wanted" else name for name in names])


def _apply(op: Operation, inputs: tuple[Any, ...], attributes: tuple[Any, ...]) -> Any:
    table = ops
    return table.apply(op, inputs, attributes)


if TYPE_CHECKING:  # how editors and type checkers see a declared operation: the forward function, of tensors
    from typing import Generic, ParamSpec, Protocol, TypeVar, overload

    from numpy.typing import NDArray

    from .tensor import Tensor

    P = ParamSpec("P")
    R = TypeVar("R")

    class Declared(Operation, Generic[P, R]):
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    class Declaration(Protocol):
        @overload
        def __call__(self, forward: Callable[P, NDArray[Any]], /) -> Declared[P, Tensor]: ...
        @overload
        def __call__(self, forward: Callable[P, tuple[Any, ...]], /) -> Declared[P, tuple[Any, ...]]: ...


def operation(
    *,
    joint: Rule | None = None,
    outputs: Sequence[str] = ("y",),
    broadcasts: bool = False,
    view: bool = False,
    domain: Any = None,
    uses: dict[str, tuple[str, ...]] | None = None,
    quick: Callable[..., Any] | None = None,
    **rules: Rule | None,
) -> Declaration:
    """Make an operation of a forward function on arrays.

    Positional-only parameters of the function are its inputs (Tensors, arrays or
    numbers when called), the others its attributes.  ``rules`` gives one
    function for each differentiable input, written with operations; its
    parameters say what it needs:

    - ``g``, the cotangent of the output (for several outputs a tuple, with None
      where nothing flowed);
    - ``needs``, for each input whether its gradient is wanted;
    - an input, an output (``y``, or a name of ``outputs``) or an attribute by name;
    - ``<input>_shape``, which keeps no array alive.

    A rule may be an operation itself.  Its first input is ``g``, its attribute ``wanted`` is ``needs``, and the
    others are found by name; where nothing is recorded it runs on arrays, which is faster.

    joint : one rule for all inputs, giving a tuple of gradients (None where there is none).
    uses : what the joint rule reads for the gradient of an input; it is given None for what no gradient needs.
    quick : a helper that the forward function only calls with its own arguments: the engine calls it directly.
    broadcasts : inputs broadcast against each other; the engine sums the gradients back.
    view : the output may share the memory of the first input.
    domain : where the operation is defined and smooth, for the property tests.

    >>> import minigrad as mg
    >>> @mg.operation(x=lambda g, x: g * 3 * x * x)
    ... def cube(x, /):
    ...     return x ** 3
    >>> x = mg.tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    Tensor([12.])
    """

    def decorate(forward: Callable[..., Any]) -> Any:
        return Operation(forward, dict(rules), joint, outputs, broadcasts, view, domain, uses or {}, quick)

    return decorate
