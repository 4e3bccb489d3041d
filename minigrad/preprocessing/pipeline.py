"""Several transformers, one after the other, as one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from numpy.typing import ArrayLike, NDArray

from .transformer import Transformer, check_mapping


class Pipeline(Transformer):
    """Apply transformers one after the other: each learns from what those before it make of the data.

    There is no `partial_fit`: what a step learns from a stream depends on the steps before it, which must have
    seen all of the stream. Stream through the steps one by one, a pass for each.

    Parameters
    ----------
    steps : list of (str, transformer)
        At least one; the names differ, are not empty and have no dots and no double underscores. Any object
        with `fit` and `transform` will do, also scikit-learn's. ``pipeline[name]`` and ``pipeline[i]`` give a
        step; the parameters of a step are ``<name>__<parameter>``, what it learnt is ``<name>.<key>`` in the
        state.

    Raises
    ------
    TypeError, ValueError
        For steps that are not as above; what a step raises. A `fit` that fails leaves all steps as they were.
    NotFittedError
        For a transform before fit.

    Examples
    --------
    >>> from minigrad.preprocessing import PCA, StandardScaler
    >>> pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA(1))])
    >>> pipeline.fit_transform([[0.0, 0.0], [1.0, 10.0], [2.0, 20.0]]).round(3).ravel().tolist()
    [-1.732, 0.0, 1.732]
    >>> sorted(pipeline.state_dict())[-1]
    'scale.var_'
    """

    def __init__(self, steps: Sequence[tuple[str, Any]]) -> None:
        self.steps = steps

    @property
    def n_features_in_(self) -> int:  # type: ignore[override] # asked of a step, where others keep it
        """The number of features of the first step."""
        return int(self._transformers()[0].n_features_in_)

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit every step to what those before it make of `X`; `y` is passed on."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: ArrayLike, y: object = None) -> NDArray[Any]:
        """Fit every step to what those before it make of `X`, and return what the last one makes of it."""
        found: Any = X  # what the next step gets
        with self._all_or_none():
            for step in self._transformers():
                found = step.fit(found, y).transform(found)
        result: NDArray[Any] = found
        return result

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return `X` transformed by every step in turn."""
        found: Any = X  # what the next step gets
        for step in self._transformers():
            found = step.transform(found)
        result: NDArray[Any] = found
        return result

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return `X` transformed back by every step, the last one first."""
        steps = list(zip(self._names(), self._transformers(), strict=True))[::-1]
        for name, step in steps:
            if not hasattr(step, "inverse_transform"):
                raise NotImplementedError(f"step {name!r} has no inverse: {step!r}")
        found: Any = X  # what the next step gets
        for _, step in steps:
            found = step.inverse_transform(found)
        result: NDArray[Any] = found
        return result

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return `steps` and, if `deep`, every step by name and its parameters as ``<name>__<parameter>``."""
        params: dict[str, Any] = {"steps": self.steps}
        if deep:
            for name, step in zip(self._names(), self._transformers(), strict=True):
                params[name] = step
                params.update({f"{name}__{key}": value for key, value in step.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set `steps`, whole steps and their parameters, in this order; for an unknown name nothing is set."""
        steps = list(params.get("steps", self.steps))
        _check_steps(steps)
        steps = [(name, params.get(name, step)) for name, step in steps]
        _check_steps(steps)
        inner: dict[str, dict[str, Any]] = {name: {} for name, _ in steps}
        for key, value in params.items():
            name, separator, rest = key.partition("__")
            if key == "steps" or (not separator and name in inner):
                continue
            if name not in inner or rest not in dict(steps)[name].get_params():
                raise ValueError(f"{type(self).__name__} has no parameter {key!r}; its steps are {list(inner)}")
            inner[name][rest] = value
        if "steps" in params or not inner.keys().isdisjoint(params):
            self.steps = steps
        for name, step in steps:
            step.set_params(**inner[name])
        return self

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return what all steps have learnt, as arrays by ``<name>.<key>``."""
        for name, step in self.steps:
            if not isinstance(step, Transformer):
                raise TypeError(f"step {name!r} has no state to save, it is no minigrad transformer: {step!r}")
        steps = zip(self._names(), self._transformers(), strict=True)
        return {f"{name}.{key}": value for name, step in steps for key, value in step.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over what another pipeline of the same steps has learnt; a state that does not fit changes nothing."""
        check_mapping(state)
        parts: dict[str, dict[str, ArrayLike]] = {name: {} for name in self._names()}
        for key, value in state.items():
            name, _, rest = key.partition(".")
            if name not in parts:
                raise KeyError(f"the state does not fit the pipeline: unknown {key!r}, the steps are {list(parts)}")
            parts[name][rest] = value
        with self._all_or_none():
            for step, part in zip(self._transformers(), parts.values(), strict=True):
                step.load_state_dict(part)

    def __getitem__(self, step: str | int) -> Any:
        """Return the step of a name or at a position."""
        return self._transformers()[step if isinstance(step, int) else self._names().index(step)]

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(step, "n_features_in_") for step in self._transformers())

    def _names(self) -> list[str]:
        _check_steps(self.steps)
        return [name for name, _ in self.steps]

    def _transformers(self) -> list[Any]:
        _check_steps(self.steps)
        return [step for _, step in self.steps]

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """Give all steps back what they had when something fails."""
        before = [(step, dict(vars(step))) for step in self._leaves()]
        try:
            yield
        except BaseException:
            for step, attributes in before:
                vars(step).clear()
                vars(step).update(attributes)
            raise

    def _leaves(self) -> Iterator[Any]:
        """Yield the steps, and those of pipelines among them."""
        for step in self._transformers():
            if isinstance(step, Pipeline):
                yield from step._leaves()
            else:
                yield step


def _check_steps(steps: Any) -> None:
    if not isinstance(steps, list | tuple) or not steps:
        raise TypeError(f"steps must be a list of (name, transformer), got {steps!r}")
    for pair in steps:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"steps must be a list of (name, transformer), got {pair!r} in it")
        name, step = pair
        if isinstance(step, type) or not (hasattr(step, "fit") and hasattr(step, "transform")):
            raise TypeError(f"step {name!r} must be a transformer with fit and transform, got {step!r}")
        if not name or "." in name or "__" in name or name == "steps":
            raise ValueError(f"a step cannot have the name {name!r}")
    names = [name for name, _ in steps]
    if len(set(names)) < len(names):
        raise ValueError(f"the names of steps must differ, got {names}")
