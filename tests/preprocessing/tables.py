"""Data as they are met: offsets that dwarf what varies, features that repeat others, fewer samples than features."""

import numpy as np
from hypothesis import strategies as st

EPS = 2.0**-52


@st.composite
def tables(draw: st.DrawFn, max_features: int = 8) -> np.ndarray:
    """Float64 tables (n, d) of any rank from 0, with constant and duplicated columns, scales and offsets to 1e8."""
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, max_features))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rank = draw(st.none() | st.integers(0, min(n, d)))
    X = rng.standard_normal((n, d if rank is None else rank))
    if rank is not None:
        X = X @ rng.standard_normal((rank, d))
    X *= 10.0 ** rng.integers(-3, 4, d) if draw(st.booleans()) else 1.0
    if draw(st.booleans()):
        X[:, -1] = X[:, 0]
    if draw(st.booleans()):
        X[:, rng.integers(d)] = draw(st.sampled_from([0.0, 0.1, 1e8]))
    return X + rng.choice(draw(st.sampled_from([[0.0], [0.0, 1.0, 1e8], [-1e4, 1e8]])), d)


def chunks(X: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    """X cut before the rows `cuts`, without empty parts."""
    return [part for part in np.split(X, sorted(set(cuts))) if len(part)]


cuts = st.lists(st.integers(1, 39), max_size=6)
