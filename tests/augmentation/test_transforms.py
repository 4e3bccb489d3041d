"""Transforms: what is drawn depends on the key alone, geometry is composed, masks and points come along."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import minigrad as mg
from minigrad import augmentation as A
from minigrad import random
from minigrad.augmentation import functional as F

from .test_functional import draw, same, smooth

TRANSFORMS = [
    A.RandomHorizontalFlip(),
    A.RandomVerticalFlip(),
    A.RandomRotation(30),
    A.RandomAffine(10, (0.1, 0.1), (0.8, 1.2), (-5, 5, -3, 3), interpolation="bicubic", padding_mode="reflect"),
    A.RandomPerspective(p=0.7),
    A.RandomCrop((9, 12), padding=2),
    A.RandomResizedCrop(11),
    A.ElasticTransform(20, 2),
    A.RandomLensDistortion(0.3, 0.1, 0.02, 0.02, 0.01),
    A.ColorJitter(0.5, 0.5, 0.5, 0.1),
    A.RandomGamma(),
    A.RandomGrayscale(0.5),
    A.Grayscale(),
    A.Grayscale(3),
    A.RandomInvert(),
    A.RandomAutocontrast(),
    A.RandomEqualize(),
    A.RandomPosterize(3),
    A.RandomSolarize(0.5),
    A.GaussianNoise((0.0, 0.2)),
    A.SpeckleNoise(),
    A.SaltAndPepper(),
    A.ShotNoise(),
    A.GaussianBlur(),
    A.MotionBlur(),
    A.JPEG(),
    A.Pixelate(),
    A.RandomErasing(),
    A.Compose([A.RandomRotation(20), A.RandomCrop(12, padding=3), A.GaussianNoise(), A.RandomHorizontalFlip()]),
    A.RandomApply([A.RandomRotation(20), A.GaussianBlur()], 0.6),
    A.OneOf([A.RandomInvert(1.0), A.RandomRotation(20), A.GaussianNoise()], [1, 2, 0.5]),
    A.RandomOrder([A.RandomRotation(20), A.GaussianNoise(), A.RandomSolarize(0.5)]),
    A.Compose([]),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=[f"{type(t).__name__}-{i}" for i, t in enumerate(TRANSFORMS)])
def test_a_result_depends_on_seed_epoch_and_index(transform: A.Transform) -> None:
    """So a batch of N is N batches of 1; parameters replay it; another layout gives the same; empty batches stay so."""
    for dtype in (np.uint8, np.float32):
        x = draw(np.random.default_rng(0), dtype, 6, 3, 14, 17)
        x.flags.writeable = False
        keys = random.keys(1, 2, [9, 4, 7, 1, 0, 3])
        got, params = transform(x, keys, return_params=True)
        assert got.dtype == dtype
        assert not np.shares_memory(got, x)
        same(transform(x, params=params), got)
        ones = [transform(x[i : i + 1], random.keys(1, 2, [k])) for i, k in enumerate([9, 4, 7, 1, 0, 3])]
        same(np.concatenate(ones), got)
        same(transform(np.moveaxis(x, 1, 3), keys), np.moveaxis(got, 1, 3))
        same(transform(x[:0], random.keys(1, 2, [])), got[:0])
        assert type(transform).__name__ in repr(transform)
        with pytest.raises(ValueError, match="images, the batch has 5"):
            transform(x[:5], keys)
        if params:
            with pytest.raises(ValueError, match="the batch has 5"):
                transform(x[:5], params=params)


@pytest.mark.parametrize("transform", TRANSFORMS[:2] + TRANSFORMS[2:5] + TRANSFORMS[7:11] + TRANSFORMS[13:18])
def test_other_seeds_epochs_and_indices_give_others(transform: A.Transform) -> None:
    x = np.broadcast_to(draw(np.random.default_rng(0), np.float32, 1, 3, 16, 16), (40, 3, 16, 16))
    base = transform(x, random.keys(0, 0, np.arange(40)))
    for keys in (
        random.keys(1, 0, np.arange(40)),
        random.keys(0, 1, np.arange(40)),
        random.keys(0, 0, np.arange(40, 80)),
    ):
        assert (transform(x, keys) != base).any() or transform.__class__ is A.Grayscale
    assert len({image.tobytes() for image in base}) > 1 or transform.__class__ is A.Grayscale


def test_composed_geometry_is_one_resampling() -> None:
    """Eight turns by 45 degrees are the identity, which eight resamplings are far from; matrices, a lens and a field
    meet in the place that the maps lead to one after the other."""
    x = draw(np.random.default_rng(0), np.float32, 2, 1, 33, 33)
    chain = A.Compose([A.RandomRotation((45, 45))] * 8)
    np.testing.assert_allclose(chain(x, 0), x, atol=1e-4)

    field = F.elastic_field(3, 1, (33, 33), 30, 4)
    parts = [
        A.RandomRotation((20, 20)),
        A.RandomLensDistortion((0.2, 0.2)),
        A.ElasticTransform(30, 4),
        A.RandomAffine((-8, -8)),
    ]
    keys = random.keys(0, 0, [0])
    _, params = A.Compose(parts)(x[:1], keys, return_params=True)
    params["2"]["field"] = field
    got = A.Compose(parts)(x[:1], params=params)[0, 0]
    y, at_x = np.indices((33, 33), float)
    theta = np.deg2rad(-8.0)
    u, v = at_x - 16, y - 16
    u, v = np.cos(theta) * u + np.sin(theta) * v + 16, -np.sin(theta) * u + np.cos(theta) * v + 16
    dx, dy = (ndimage.map_coordinates(f.astype(float), [v, u], order=1, mode="nearest") for f in field[0])
    u, v = (u + dx - 16) / 33, (v + dy - 16) / 33
    radial = 1 + 0.2 * (u * u + v * v)
    u, v = u * radial * 33, v * radial * 33
    theta = np.deg2rad(20.0)
    u, v = np.cos(theta) * u - np.sin(theta) * v + 16, np.sin(theta) * u + np.cos(theta) * v + 16
    np.testing.assert_allclose(got, ndimage.map_coordinates(x[0, 0], [v, u], order=1, mode="grid-constant"), atol=2e-4)


GEOMETRY = A.Compose(
    [
        A.RandomHorizontalFlip(),
        A.RandomAffine(25, (0.1, 0.1), (0.9, 1.2), 8),
        A.RandomLensDistortion(0.2, 0, 0.02, 0.02),
        A.ElasticTransform(20, 4),
        A.RandomPerspective(0.2, 1.0),
    ]
)


def test_masks_and_points_go_where_the_pixels_go() -> None:
    rng = np.random.default_rng(5)
    x = smooth(rng, np.float32, 3, 1, 48, 60)
    mask = (x[:, 0] > 0.5) * np.int64(2**40)
    points = np.stack([rng.uniform(18, 40, (3, 7)), rng.uniform(15, 32, (3, 7))], 2)
    images, masks, moved = GEOMETRY(x, random.keys(0, 0, [1, 2, 3]), masks=mask, points=points)
    assert masks.dtype == np.int64
    assert set(np.unique(masks)) == {0, 2**40}
    inner = (slice(None), slice(12, 36), slice(14, 46))
    clear = np.abs(images[:, 0] - 0.5) > 0.05
    assert ((masks > 0) == (images[:, 0] > 0.5))[inner][clear[inner]].mean() > 0.999
    for n in range(3):
        before = ndimage.map_coordinates(x[n, 0], points[n].T[::-1], order=1)
        after = ndimage.map_coordinates(images[n, 0], moved[n].T[::-1], order=1)
        np.testing.assert_allclose(after, before, atol=0.02)
    flags = GEOMETRY(x, 0, masks=mask > 0)[1]
    assert flags.dtype == bool


def test_colours_leave_masks_and_points() -> None:
    x, mask, points = draw(np.random.default_rng(0), np.uint8, 2, 3, 8, 8), np.ones((2, 8, 8), bool), np.ones((2, 1, 2))
    got = A.Compose([A.ColorJitter(0.5), A.RandomApply([A.GaussianNoise()])])(x, 0, masks=mask, points=points)
    same(got[1], mask)
    same(got[2], points)


def test_probabilities_are_met() -> None:
    x = draw(np.random.default_rng(0), np.uint8, 1, 4, 4).repeat(4000, 0)
    keys = random.keys(0, 0, np.arange(4000))
    for transform, share in ((A.RandomHorizontalFlip(0.3), 0.3), (A.RandomApply([A.RandomInvert(1.0)], 0.8), 0.8)):
        assert abs((transform(x, keys) != x).any((1, 2)).mean() - share) < 0.03
    which = A.OneOf([A.RandomInvert(), A.JPEG()], [3, 1])(x, keys, return_params=True)[1]["which"]
    assert abs((which == 0).mean() - 0.75) < 0.03
    order = A.RandomOrder([A.Compose([])] * 3)(x, keys, return_params=True)[1]["order"]
    assert {tuple(o) for o in order.tolist()} == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    corner = A.RandomCrop(4, padding=1)(x, keys, return_params=True)[1]["corner"]
    assert np.unique(corner, axis=0, return_counts=True)[1].min() > 350
    window = A.RandomResizedCrop(4, (0.2, 0.5))(np.zeros((500, 60, 80), np.uint8), 0, return_params=True)[1]["window"]
    assert (window[:, :2] >= 0).all()
    assert (window[:, :2] + window[:, 2:] <= [60, 80]).all()
    assert ((window[:, 2:].prod(1) / 4800 > 0.18) & (window[:, 2:].prod(1) / 4800 < 0.52)).all()


@pytest.mark.parametrize("kind", [A.MixUp, A.CutMix])
def test_mixing_mixes_labels_in_the_shares_of_the_pixels(kind: Any) -> None:
    labels = np.arange(8) % 3
    x = np.broadcast_to(np.eye(3)[labels][:, :, None, None], (8, 3, 20, 30)).astype(
        np.float32
    )  # a channel for each class
    mixed, shares, params = kind(1.0, num_classes=3)(x, labels, 0, return_params=True)
    np.testing.assert_allclose(mixed.mean((2, 3)), shares, atol=1e-6)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert sorted(params["partner"]) == [*range(8)]
    assert (params["partner"] != np.arange(8)).all()
    again = kind(1.0)(x, np.eye(3, dtype=np.float32)[labels], params=params)
    same(again[0], mixed)
    same(again[1], shares)
    assert kind(num_classes=3)(x[:0], labels[:0])[0].shape == (0, 3, 20, 30)
    assert kind(num_classes=3)((x * 255).astype(np.uint8), labels, 0)[0].dtype == np.uint8
    for bad, says in (((x, labels), "say num_classes"), ((x, labels[:3]), "labels must be class indices")):
        with pytest.raises(ValueError, match=says):
            kind()(*bad)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 0 to 2"):
        kind(num_classes=2)(x, labels)
    with pytest.raises(ValueError, match="alpha must be positive"):
        kind(0.0)


BAD: list[tuple[Any, Any, str]] = [
    (lambda: A.RandomHorizontalFlip(1.5), ValueError, "p must be a number from 0 to 1"),
    (lambda: A.RandomRotation(-3), ValueError, "degrees must not be negative"),
    (lambda: A.RandomRotation((3, -3)), ValueError, "degrees must be .low, high."),
    (lambda: A.RandomAffine(0, (2, 0)), ValueError, "translate must be two fractions"),
    (lambda: A.RandomCrop(0), ValueError, "size must be one or two positive integers"),
    (lambda: A.RandomCrop(4, padding=-1), ValueError, "padding must be one or two whole numbers"),
    (lambda: A.RandomCrop(9)(np.zeros((1, 8, 8)), 0), ValueError, "does not fit into images"),
    (lambda: A.ElasticTransform(1, -1), ValueError, "sigma from 0 to 1000"),
    (lambda: A.ColorJitter(hue=0.6), ValueError, "hue must lie between"),
    (lambda: A.RandomPosterize(9), ValueError, "bits must be whole numbers"),
    (lambda: A.Grayscale(2), ValueError, "num_output_channels must be 1 or 3"),
    (lambda: A.JPEG(101), ValueError, "quality must lie between 1 and 100"),
    (lambda: A.SaltAndPepper(2), ValueError, "amount must lie between 0 and 1"),
    (lambda: A.ShotNoise(0), ValueError, "photons must be positive"),
    (lambda: A.Compose([np.flip]), TypeError, "transforms must be transforms"),
    (lambda: A.OneOf([]), ValueError, "p must be a weight"),
    (lambda: A.RandomApply([A.RandomCrop(2)])(np.zeros((9, 4, 4)), 0), ValueError, "must keep their shape"),
    (lambda: A.JPEG()(np.zeros((1, 4, 4)), 0, masks=np.zeros((1, 5, 4), int)), ValueError, "masks must be as many"),
    (lambda: A.JPEG()(np.zeros((1, 4, 4)), 0, points=np.zeros((1, 2))), ValueError, "points must be"),
    (lambda: A.show(A.JPEG(), np.zeros((0, 4, 4))), ValueError, "at least one image"),
    (lambda: A.Transform()(np.zeros((1, 4, 4)), 0), NotImplementedError, "must define pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "says"), BAD)
def test_bad_arguments_are_named(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_a_recording_refuses_to_bake_draws_in() -> None:
    x = mg.tensor(np.ones((2, 4, 4), np.float32))
    with pytest.raises(mg.CaptureError, match="augment batches before the step"):
        mg.capture(lambda x: x * A.RandomInvert()(np.ones((2, 4, 4)), 0), x)


def test_the_grid_is_drawn(tmp_path: Any) -> None:
    for shape in ((2, 8, 8), (2, 3, 8, 8), (2, 8, 8, 3)):
        figure = A.show(A.RandomRotation(30), np.zeros(shape, np.uint8), results=2)
        figure.savefig(tmp_path / "grid.png")
        assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
        assert len(figure.axes) == 6
