"""The gallery of augmentations: one picture through every transform, and digits through a training pipeline.

    python examples/augmentation_gallery.py [--out runs/augmentation] [--seed 0] [--quick]

Writes ``gallery.png`` and ``digits.png`` into the output folder.  Needs Matplotlib.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from minigrad import augmentation as A
from minigrad import random
from minigrad.augmentation import functional as F
from minigrad.data import load_digits


def scene(rows: int, columns: int) -> np.ndarray:
    """A house by the sea under a low sun: straight lines, smooth shades and fine texture, (rows, columns, 3) bytes."""
    y, x = np.mgrid[:rows, :columns] / (rows - 1.0)
    right = (columns - 1) / (rows - 1)
    picture = np.stack([0.95 - 0.55 * y, 0.75 - 0.1 * y, 0.45 + 0.45 * y], 2)[::-1]  # the sky
    glow = np.exp(-(((x - 0.75 * right) ** 2 + (y - 0.38) ** 2) / 0.02))
    picture = picture + glow[..., None] * [0.9, 0.6, 0.1]

    def paint(where: np.ndarray, colour: Any) -> None:
        picture[where] = (np.ones((rows, columns, 3)) * colour)[where]

    waves = 0.5 + 0.5 * np.sin(90 * y + 6 * np.sin(9 * x + 20 * y))
    paint(y > 0.55, np.stack([0.1 + 0.15 * waves, 0.3 + 0.2 * waves, 0.5 + 0.2 * waves], 2))
    grain = np.random.default_rng(0).random((rows, columns))[..., None]
    paint(y > 0.78 + 0.05 * np.sin(4 * x), [0.3, 0.5, 0.2] + 0.25 * (grain - 0.5))
    bricks = (np.floor(y * 28) + np.floor(x * 14 + 0.5 * (np.floor(y * 28) % 2))) % 2
    red = np.stack([0.7 + 0.12 * bricks, 0.35 + 0 * x, 0.25 + 0 * x], 2)
    paint((np.abs(x - 0.41) < 0.21) & (np.abs(y - 0.68) < 0.18), red)
    paint((y < 0.5) & (y > 0.28 + 0.9 * np.abs(x - 0.41)), [0.35, 0.16, 0.16])
    for left in (0.26, 0.46):
        glass = (np.abs(x - left - 0.05) < 0.05) & (np.abs(y - 0.625) < 0.055)
        paint(glass, [0.95, 0.9, 0.55])
        paint(glass & (np.abs(x - left - 0.05) < 0.006), [0.25, 0.15, 0.1])
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def gallery(picture: np.ndarray, seed: int) -> list[tuple[str, np.ndarray]]:
    """The picture (1, rows, columns, 3) through each of the functions."""
    rows, columns = picture.shape[1:3]
    corners = np.array([[0, 0], [columns - 1, 0], [columns - 1, rows - 1], [0, rows - 1]])
    inwards = np.array([[0.12, 0.1], [-0.02, 0], [-0.15, 0], [0, -0.2]])
    moved = corners + inwards * [columns, rows]
    field = F.elastic_field(seed, 1, (rows, columns), alpha=0.9 * rows, sigma=0.06 * rows)
    other = F.hue(F.hflip(picture), 0.3)
    both = np.concatenate([picture, other])
    labels = np.eye(2, dtype=np.float32)
    return [
        ("original", picture),
        ("mirrored", F.hflip(picture)),
        ("upside down", F.vflip(picture)),
        ("rotated", F.rotate(picture, 25)),
        ("rotated, reflected border", F.rotate(picture, 25, padding_mode="reflect")),
        ("sheared", F.shear(picture, (20, 0))),
        ("moved, edges repeated", F.translate(picture, (columns // 5, rows // 8), padding_mode="edge")),
        ("scaled", F.scale(picture, 1.5)),
        ("perspective", F.perspective(picture, corners, moved)),
        ("cropped and resized", F.resized_crop(picture, rows // 3, 0, rows // 2, columns // 2, (rows, columns))),
        ("elastic", F.warp(picture, field, padding_mode="reflect")),
        ("barrel lens", F.lens_distort(picture, 1.0, 0.5)),
        ("pincushion lens", F.lens_distort(picture, -0.6)),
        ("decentred lens", F.lens_distort(picture, 0.2, 0, 0.15, 0.15)),
        ("brighter", F.brightness(picture, 1.5)),
        ("more contrast", F.contrast(picture, 1.8)),
        ("less saturation", F.saturation(picture, 0.3)),
        ("hue", F.hue(picture, 0.35)),
        ("gamma 0.5", F.gamma(picture, 0.5)),
        ("grey", F.grayscale(picture)),
        ("2 bits", F.posterize(picture, 2)),
        ("solarized", F.solarize(picture, 128)),
        ("equalized", F.equalize(picture)),
        ("autocontrast of half", F.autocontrast(F.contrast(picture, 0.3))),
        ("inverted", F.invert(picture)),
        ("Gaussian noise", F.gaussian_noise(picture, seed, 0.15)),
        ("salt and pepper", F.salt_and_pepper(picture, seed, 0.08)),
        ("shot noise", F.shot_noise(picture, seed, 15)),
        ("speckle noise", F.speckle_noise(picture, seed, 0.3)),
        ("Gaussian blur", F.gaussian_filter(picture, rows / 60)),
        ("motion blur", F.motion_blur(picture, rows / 8, 20)),
        ("JPEG, quality 5", F.jpeg(picture, 5)),
        ("coarse pixels", F.pixelate(picture, max(rows // 20, 2))),
        ("erased", F.erase(picture, rows // 3, columns // 4, rows // 4, columns // 3)),
        ("mixup", A.MixUp(0.8)(both, labels, seed)[0][:1]),
        ("CutMix", A.CutMix(3.0)(both, labels, seed)[0][:1]),
    ]


def draw(tiles: list[tuple[str, np.ndarray]], across: int, path: Path) -> None:
    down = -(-len(tiles) // across)
    figure = Figure(figsize=(2.1 * across, 1.85 * down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, (title, image) in zip(axes, tiles, strict=False):
        ax.imshow(image[0], interpolation="nearest")
        ax.set_title(title, fontsize=9)
    figure.savefig(path, dpi=100)


def digits(count: int, results: int, seed: int, path: Path) -> None:
    """Digits as a network would see them in five epochs of training."""
    images = load_digits()[0][:count].astype(np.float32)
    images = F.resized_crop(images / images.max(), 0, 0, 8, 8, 32, interpolation="bicubic").clip(0, 1)
    augment = A.Compose(
        [
            A.RandomAffine(15, (0.08, 0.08), (0.85, 1.15), 10),
            A.ElasticTransform(25, 4),
            A.RandomApply([A.GaussianBlur((0.3, 1.2))], 0.3),
            A.GaussianNoise((0.0, 0.1)),
            A.RandomErasing(0.3, (0.02, 0.1)),
        ]
    )
    A.show(augment, images, random.keys(seed, 0, np.arange(count)), results=results).savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw every augmentation.")
    parser.add_argument("--out", type=Path, default=Path("runs/augmentation"), help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--quick", action="store_true", help="a small picture, to see that it runs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows, columns = (40, 50) if arguments.quick else (160, 200)
    tiles = gallery(scene(rows, columns)[None], arguments.seed)
    draw(tiles, 6, arguments.out / "gallery.png")
    digits(2 if arguments.quick else 8, 3 if arguments.quick else 9, arguments.seed, arguments.out / "digits.png")
    print(f"{len(tiles)} pictures in {arguments.out / 'gallery.png'}, digits in {arguments.out / 'digits.png'}")


if __name__ == "__main__":
    main()
