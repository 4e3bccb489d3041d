"""What all preprocessors share: scikit-learn's protocol, checked input, and a state for checkpoints."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Float64Array: TypeAlias = NDArray[np.float64]
# What `fit` learns: by name, its type and a letter for each axis; the same letter is the same length.
Learnt: TypeAlias = Mapping[str, tuple[type, str]]


class NotFittedError(ValueError, AttributeError):
    """A transformer was used before ``fit``. The bases are those of scikit-learn's exception of this name."""


class Transformer(ABC):
    """What all preprocessors share: scikit-learn's protocol, without importing scikit-learn.

    The parameters are the arguments of ``__init__``, kept unchanged under their names; the names of what was
    learnt end in an underscore. So scikit-learn can clone a transformer and make it a step of a pipeline.
    `partial_fit` and `inverse_transform` are there where they are exact. A call that fails changes nothing.
    """

    n_features_in_: int

    _LEARNT: ClassVar[Learnt] = {}
    _FLAGS: ClassVar[tuple[str, ...]] = ()  # the parameters that are True or False
    # Images are (N, C, ...), their features the channels; other data are (n_samples, n_features).
    _IMAGES: ClassVar[bool] = False

    @abstractmethod
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from `X` (n_samples, n_features) alone, forgetting what was learnt before; ignore `y`."""

    @abstractmethod
    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return `X` (n_samples, n_features) transformed."""

    def fit_transform(self, X: ArrayLike, y: object = None) -> NDArray[Any]:
        """Return ``fit(X).transform(X)``."""
        return self.fit(X, y).transform(X)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name. None of them is an estimator, so `deep` changes nothing."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; an unknown name raises ValueError, and nothing is set."""
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it takes {sorted(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return a copy of all that was learnt, as arrays by name; parameters are no part of it."""
        if self._LEARNT:
            self._check_fitted()
        return {name: np.array(getattr(self, name), dtype) for name, (dtype, _) in self._LEARNT.items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take over what another transformer of this class has learnt.

        Raises KeyError for missing or unknown names, TypeError for dtypes and ValueError for shapes and values
        that cannot have been learnt, before anything is changed.
        """
        check_mapping(state)
        missing, unknown = sorted(self._LEARNT.keys() - state.keys()), sorted(state.keys() - self._LEARNT.keys())
        if missing or unknown:
            raise KeyError(f"the state does not fit {type(self).__name__}: missing {missing}, unknown {unknown}")
        sizes: dict[str, int] = {}
        learnt: dict[str, Any] = {}
        for name, (dtype, axes) in self._LEARNT.items():
            array = np.array(state[name])
            if array.dtype != np.dtype(dtype):
                raise TypeError(f"{name} is {np.dtype(dtype)}, the state has {array.dtype}")
            expected = tuple(sizes.get(axis, n) for axis, n in zip(axes, array.shape, strict=False))
            if array.ndim != len(axes) or array.shape != expected:
                raise ValueError(f"{name} has axes {tuple(axes)} with {sizes}, the state has shape {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite")
            sizes.update(zip(axes, array.shape, strict=True))
            learnt[name] = array if axes else array.item()
        if "d" in sizes and learnt["n_features_in_"] != sizes["d"]:
            raise ValueError(f"n_features_in_ is {learnt['n_features_in_']}, but the state is of {sizes['d']} features")
        vars(self).update(learnt)

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(f"this {type(self).__name__} has learnt nothing yet: call fit first")

    def _check(self, value: ArrayLike) -> NDArray[Any]:
        """Return a checked array to learn from, once the flags are checked, too."""
        for name in self._FLAGS:
            if not isinstance(flag := getattr(self, name), bool | np.bool_):
                raise ValueError(f"{name} must be True or False, got {flag!r}")
        return check_array("X", value, images=self._IMAGES)

    def _check_fitted_input(self, value: ArrayLike) -> NDArray[Any]:
        """Return a checked array with the features that `fit` has seen."""
        self._check_fitted()
        return self._check_width(self._check(value), self.n_features_in_)

    def _check_width(self, array: NDArray[Any], width: int) -> NDArray[Any]:
        if array.shape[1] != width:
            raise ValueError(
                f"X has {array.shape[1]} features, but {type(self).__name__} is expecting {width} features as input"
            )
        return array

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks for its tags, so it is there to be imported; it cannot be named statically.
        utils = import_module("sklearn.utils")
        return utils.Tags(
            estimator_type=None,
            target_tags=utils.TargetTags(required=False),
            transformer_tags=utils.TransformerTags(preserves_dtype=["float32", "float64"]),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params(deep=False).items())})"


def check_array(name: str, value: ArrayLike, *, images: bool = False, nan: bool = False) -> NDArray[Any]:
    """Return `value` as an array of finite real numbers with no axis of length 0; `nan` lets NaN pass."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers of at most 64 bits, got dtype {array.dtype}")
    if (array.ndim < 2 if images else array.ndim != 2) or not array.size:
        expected = "images (N, C, ...)" if images else "2-D (n_samples, n_features)"
        raise ValueError(f"{name} must be {expected} and not empty, got shape {array.shape}")
    refused = np.isinf(array) if nan else ~np.isfinite(array)
    if refused.any():
        at = tuple(int(i) for i in np.argwhere(refused)[0])
        place = f"column {at[1]} (row {at[0]})" if array.ndim == 2 else f"channel {at[1]} (image {at[0]})"
        raise ValueError(f"{name} must not contain {'inf' if nan else 'NaN or inf'}, got {array[at]} in {place}")
    return array


def check_mapping(state: object) -> None:
    """Raise TypeError for a state that is no dict."""
    if not isinstance(state, Mapping):
        raise TypeError(f"a state is a dict of arrays by name, got {type(state).__name__}")


def check_choice(name: str, value: object, *choices: object) -> None:
    """Raise ValueError for a parameter that is none of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """Return a parameter that is a number in [`low`, `high`] as a float."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {value!r}")
    return float(value)


def float_dtype(array: NDArray[Any]) -> type[np.floating[Any]]:
    """Return the dtype of what is computed from `array`."""
    return np.float64 if array.dtype.type is np.float64 else np.float32
