"""Where an operation is defined and smooth, as plain data: ``minigrad.testing`` turns it into property tests."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Real:
    """Floats in ``[low, high]``, at least ``gap`` away from the points where a derivative jumps or grows."""

    low: float = -3.0
    high: float = 3.0
    exclude: tuple[float, ...] = ()
    gap: float = 0.05


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or False: a condition, without a gradient."""


@dataclass(frozen=True, slots=True)
class Integer:
    """Integers in ``[low, high]``, without a gradient."""

    low: int = -4
    high: int = 4


@dataclass(frozen=True, slots=True)
class Matrix:
    """Matrices whose singular values lie from 1 to 3, at least 0.4 apart.

    ``symmetric`` with eigenvalues of these sizes, ``definite`` all positive.
    """

    symmetric: bool = False
    definite: bool = False


@dataclass(frozen=True, slots=True)
class Labels:
    """Class indices below a length of input ``of``, that of its last axis unless told, without a gradient."""

    of: str
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Bits:
    """A packed mask of one bit for each element of input ``of``, without a gradient; flat, whatever the shapes."""

    of: str


@dataclass(frozen=True, slots=True)
class Domain:
    """What to draw for each input, how the shapes relate, and what to draw for each attribute.

    shapes : ``"same"`` for all inputs, any or (``"nonempty"``) with at least one axis and no axis of
        length 0; ``"broadcast"`` together; ``"joined"``, differing along the drawn ``axis`` only;
        ``"indexed"``, that of an array of the drawn ``shape`` at the drawn ``index``; ``"reduced"``, the
        drawn ``shape`` reduced over the drawn ``axis``, with or without it; ``"image"``, ``"columns"``
        and ``"windows"``, an image batch, the columns of its windows, and one number of each window, all
        about them drawn; ``"filled image"`` and ``"windows and filled image"``, where every window has
        elements of the image; or a signature
        as generalised ufuncs have it, such as ``"(...,m,k),(...,k,n)"``: a letter is a length,
        a capital one at least 1, a number itself, and ``...`` are axes that broadcast together;
        ``"convolution of 1"`` or 2 axes, ``"pooling of 1"`` or 2, all about the windows drawn.
    inputs : a Real, Boolean, Integer, Labels, Matrix or Bits for each input name; inputs not named are ``Real()``.
    attributes : for each attribute a tuple of values to choose from, or what to draw for the shape of
        the first input: ``"axis"``, ``"axis or none"``, ``"axes"``, ``"shape"``, ``"wider shape"``,
        ``"permutation"``, ``"new axes"``, ``"unit axes"``, ``"index"``; or a ``"generator"``.
    apart : inputs whose elements keep the gap from each other where they meet (a maximum is not
        smooth at ties); one name alone means that all its elements do.
    kinks : what the gradient is where the mathematical one is not defined, in words.
    order : how often derivatives are checked, 0 where there is none.
    """

    shapes: str = "same"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    kinks: str = ""
    order: int = 2


def composed(domain: Domain, *inputs: str, call: Callable[..., Any] | None = None) -> Callable[[Function], Function]:
    """State the domain of a function that is made of operations: it is tested and listed as they are.

    inputs : the parameters that it differentiates or takes arrays for, the others are attributes; positional-only ones
        unless named.  ``"*arrays"`` is a parameter that takes a list of them.
    call : how the function is called with its inputs and attributes, where not by these names.

    ``function.domain`` is the domain, and ``function.drawn`` the function as what is drawn from the domain calls it:
    inputs first, one after the other.
    """

    def decorate(function: Function) -> Function:
        parameters = inspect.signature(function).parameters
        names = inputs or tuple(p.name for p in parameters.values() if p.kind is p.POSITIONAL_ONLY)
        listed = names[0].startswith("*")

        def drawn(*args: Any, **attributes: Any) -> Any:
            if call is not None:
                return call(function, *args, **attributes)
            if listed:
                return function(args, **attributes)
            if inputs:
                return function(**dict(zip(inputs, args, strict=True)), **attributes)
            return function(*args, **attributes)

        drawn = functools.update_wrapper(drawn, function)
        required = [
            name for name in names if name not in parameters or parameters[name].default is inspect.Parameter.empty
        ]
        drawn.__dict__.update(
            name=function.__name__,
            domain=domain,
            inputs=tuple(name.removeprefix("*") for name in names),
            required=len(required),
            variadic=listed,
        )
        function.__dict__.update(domain=domain, drawn=drawn)
        return function

    return decorate
