from pathlib import Path

import numpy as np
import pytest

import minigrad.data.digits
from minigrad.data import load_digits

FOLDER = Path(minigrad.data.digits.__file__).parent


def test_shapes_dtypes_and_ranges() -> None:
    images, labels = load_digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 16
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    # The class sizes that the UCI repository documents for the test part.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_equals_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    expected = datasets.load_digits()
    images, labels = load_digits()
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(labels, expected.target)


def test_each_call_returns_fresh_writable_arrays() -> None:
    images, labels = load_digits()
    before = images.copy(), labels.copy()
    images[:] = 99
    labels[:] = 99
    again = load_digits()
    np.testing.assert_array_equal(again[0], before[0])
    np.testing.assert_array_equal(again[1], before[1])


def test_file_is_small_and_its_licence_lies_beside_it() -> None:
    assert (FOLDER / "digits.npz").stat().st_size < 100_000
    licence = (FOLDER / "DIGITS-LICENSE.txt").read_text()
    for words in ("Alpaydin", "Kaynak", "CC BY 4.0", "creativecommons.org/licenses/by/4.0/", "Changes:"):
        assert words in licence
