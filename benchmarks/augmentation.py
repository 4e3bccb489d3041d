"""Images per second of the augmentations, beside OpenCV, Pillow, albumentations, kornia, torchvision and SciPy.

    python benchmarks/augmentation.py [--quick]

One thread on every side, and ours with two as well.  Peers get the memory layout that they document, one image after
the other where they have no call for a batch; parameters are the same for all images of a peer that takes only such.
"""

import argparse
import importlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from harness import QUICK, Row, compare, markdown, single_thread, surroundings, verdict
from numpy.typing import NDArray

from minigrad import kernels, random
from minigrad.augmentation import functional as F

Array = NDArray[Any]
Side = Callable[[], object]

SIZES = ((256, 1, 28), (256, 3, 32), (32, 3, 224))


def module(name: str) -> Any:
    """An optional peer, or None; a torchvision without its operators does not count."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError):
        return None


cv2, pil, ndimage = module("cv2"), module("PIL.Image"), module("scipy.ndimage")
torch, kornia, torchvision = module("torch"), module("kornia"), module("torchvision.transforms.v2.functional")
albumentations = module("albumentations")
PEERS = {"OpenCV": cv2, "Pillow": pil, "albumentations": albumentations, "kornia": kornia, "torchvision": torchvision}
PEERS |= {"torch": torch, "SciPy": ndimage}


def each(function: Callable[[Array], Any], images: Sequence[Array]) -> Side:
    """A peer that takes one image a call."""
    return lambda: [function(image) for image in images]


def cases(x: Array) -> Iterator[tuple[str, Side, dict[str, Side]]]:
    """Every augmentation of a batch (N, C, H, W): its name, our side, the peers' sides."""
    n, c, h, w = x.shape
    rng = np.random.default_rng(0)
    top = 255 if x.dtype == np.uint8 else 1.0
    hwc = [np.ascontiguousarray(np.moveaxis(image, 0, 2)) for image in x]
    flat = [image[..., 0] if c == 1 else image for image in hwc]
    tensor = torch.from_numpy(x) if torch else None
    floats = x.dtype == np.float32
    k: dict[str, Any] = {"layout": "NCHW"}
    angles = rng.uniform(-30, 30, n)

    def peers(**sides: Callable[[], Side]) -> dict[str, Side]:
        return {name: make() for name, make in sides.items() if PEERS[name]}

    yield (
        "hflip",
        lambda: F.hflip(x, **k),
        peers(
            OpenCV=lambda: each(lambda i: cv2.flip(i, 1), flat),
            torch=lambda: lambda: torch.flip(tensor, (3,)),
            torchvision=lambda: lambda: torchvision.horizontal_flip(tensor),
            albumentations=lambda: each_album(albumentations.HorizontalFlip(p=1), hwc),
            SciPy=lambda: lambda: np.ascontiguousarray(x[..., ::-1]),
        ),
    )
    corner = rng.integers(-4, 5, (2, n))
    yield (
        "crop, padding 4",
        lambda: F.crop(x, corner[0], corner[1], h, w, **k),
        peers(
            OpenCV=lambda: each(
                lambda i: cv2.copyMakeBorder(i, 4, 4, 4, 4, cv2.BORDER_CONSTANT)[3 : 3 + h, 2 : 2 + w].copy(), flat
            ),
            torchvision=lambda: lambda: torchvision.crop(torchvision.pad(tensor, 4), 3, 2, h, w),
            albumentations=lambda: each_album(albumentations.RandomCrop(h, w, pad_if_needed=True, p=1), hwc),
        ),
    )
    turns = [cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), a, 1.0) for a in angles] if cv2 else []
    yield (
        "rotate, 30 degrees",
        lambda: F.rotate(x, angles, **k),
        peers(
            OpenCV=lambda: lambda: [cv2.warpAffine(i, m, (w, h)) for i, m in zip(flat, turns, strict=True)],
            Pillow=lambda: each(lambda i: pil.fromarray(i).rotate(20, pil.Resampling.BILINEAR), [] if floats else flat),
            kornia=lambda: kornia_side(
                floats, lambda: kornia.geometry.rotate(tensor, torch.from_numpy(angles).float())
            ),
            torchvision=lambda: lambda: torchvision.rotate(tensor, 20.0, torchvision.InterpolationMode.BILINEAR),
            albumentations=lambda: each_album(albumentations.Rotate(30, p=1), hwc),
            SciPy=lambda: each(lambda i: ndimage.rotate(i, 20, reshape=False, order=1), list(x[:, 0])),
        ),
    )
    yield (
        "affine",
        lambda: F.affine(x, angles, (1.5, -1), 1.1, (5, 0), **k),
        peers(
            OpenCV=lambda: lambda: [cv2.warpAffine(i, 1.1 * m, (w, h)) for i, m in zip(flat, turns, strict=True)],
            kornia=lambda: kornia_side(
                floats, lambda: kornia.geometry.affine(tensor, torch.eye(3)[None, :2].repeat(n, 1, 1) * 1.1)
            ),
            albumentations=lambda: each_album(albumentations.Affine(1.1, rotate=(-30, 30), shear=5, p=1), hwc),
        ),
    )
    keys = random.keys(0, 0, np.arange(n))

    def elastic_cv2(image: Array) -> Array:
        noise = [cv2.GaussianBlur(np.random.rand(h, w).astype(np.float32) * 2 - 1, (33, 33), 4) * 34 for _ in range(2)]
        return np.asarray(cv2.remap(image, grid[0] + noise[0], grid[1] + noise[1], cv2.INTER_LINEAR))

    grid = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    yield (
        "elastic, sigma 4",
        lambda: F.warp(x, F.elastic_field(keys, n, (h, w), 34, 4), **k),
        peers(
            OpenCV=lambda: each(elastic_cv2, flat),
            albumentations=lambda: each_album(albumentations.ElasticTransform(alpha=34, sigma=4, p=1), hwc),
        ),
    )
    focal = float(max(h, w))
    camera = np.array([[focal, 0, (w - 1) / 2], [0, focal, (h - 1) / 2], [0, 0, 1]])
    lens = np.array([0.3, 0.1, 0.01, 0.01, 0.02])
    numbers = [torch.tensor(a).float().expand(n, *a.shape).clone() for a in (camera, lens)] if torch else []
    yield (
        "lens",
        lambda: F.lens_distort(x, *lens, **k),
        peers(
            OpenCV=lambda: lens_cv2(flat, camera, lens, (w, h)),
            kornia=lambda: kornia_side(floats, lambda: kornia.geometry.undistort_image(tensor, *numbers)),
            albumentations=lambda: each_album(albumentations.OpticalDistortion(0.3, p=1), hwc),
        ),
    )  # fmt: skip
    gain = rng.uniform(0.7, 1.4, n)
    yield (
        "brightness",
        lambda: F.brightness(x, gain, **k),
        peers(
            OpenCV=lambda: each(
                lambda i: np.minimum(i * np.float32(1.2), 1) if floats else cv2.convertScaleAbs(i, alpha=1.2), flat
            ),
            torch=lambda: lambda: (tensor * 1.2).clamp_(0, top).to(tensor.dtype),
            torchvision=lambda: lambda: torchvision.adjust_brightness(tensor, 1.2),
            albumentations=lambda: each_album(albumentations.RandomBrightnessContrast(0.2, 0, p=1), hwc),
        ),
    )
    if c == 3:
        turn = rng.uniform(-0.3, 0.3, n)
        yield (
            "hue",
            lambda: F.hue(x, turn, **k),
            peers(
                torchvision=lambda: lambda: torchvision.adjust_hue(tensor, 0.2),
                kornia=lambda: kornia_side(floats, lambda: kornia.enhance.adjust_hue(tensor, 0.5)),
                albumentations=lambda: each_album(albumentations.HueSaturationValue(20, 0, 0, p=1), hwc),
            ),
        )
    yield (
        "Gaussian noise",
        lambda: F.gaussian_noise(x, keys, 0.1, **k),
        peers(
            OpenCV=lambda: each(noise_cv2(flat[0], 0.1 * top), flat),
            torch=lambda: lambda: (tensor + torch.randn(tensor.shape) * (0.1 * top)).clamp_(0, top).to(tensor.dtype),
            albumentations=lambda: each_album(albumentations.GaussNoise((0.1, 0.1), p=1), hwc),
        ),
    )
    sigma = rng.uniform(0.5, 1.5, n)
    yield (
        "Gaussian blur",
        lambda: F.gaussian_filter(x, sigma, **k),
        peers(
            OpenCV=lambda: each(lambda i: cv2.GaussianBlur(i, (9, 9), 1.0), flat),
            torchvision=lambda: lambda: torchvision.gaussian_blur(tensor, [9, 9], [1.0, 1.0]),
            SciPy=lambda: lambda: [ndimage.gaussian_filter(p, 1.0) for p in x.reshape(-1, h, w)],
        ),
    )
    if not floats:
        quality = [1, 50]
        yield (
            "JPEG, quality 50",
            lambda: F.jpeg(x, 50, **k),
            peers(
                OpenCV=lambda: each(
                    lambda i: cv2.imdecode(cv2.imencode(".jpg", i, quality)[1], cv2.IMREAD_UNCHANGED), flat
                ),
                Pillow=lambda: each(jpeg_pillow, flat),
                albumentations=lambda: each_album(albumentations.ImageCompression("jpeg", (50, 50), p=1), hwc),
            ),
        )


def each_album(transform: Any, images: Sequence[Array]) -> Side:
    return lambda: [transform(image=image)["image"] for image in images]


def kornia_side(floats: bool, call: Side) -> Side:
    return call if floats else lambda: None


def lens_cv2(images: Sequence[Array], camera: Array, lens: Array, size: tuple[int, int]) -> Side:
    """One map for all images, made before."""
    maps = cv2.initUndistortRectifyMap(camera, lens, None, camera, size, cv2.CV_32FC1)
    return each(lambda i: cv2.remap(i, *maps, cv2.INTER_LINEAR), images)


def noise_cv2(like: Array, deviation: float) -> Callable[[Array], Any]:
    drawn = np.empty(like.shape, np.int16 if like.dtype == np.uint8 else np.float32)

    def noisy(image: Array) -> Any:
        cv2.randn(drawn, 0, deviation)
        return cv2.add(image, drawn, dtype=cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_32F)

    return noisy


def jpeg_pillow(image: Array) -> Array:
    file = io.BytesIO()
    pil.fromarray(image).save(file, "JPEG", quality=50)
    return np.asarray(pil.open(file))


def with_threads(count: int, call: Side) -> Side:
    def run() -> None:
        kernels.set_num_threads(count)
        call()
        kernels.set_num_threads(1)

    return run


def measure(quick: bool = False) -> list[Row]:
    """Seconds for a batch, by the side; quickly only the middle size, in bytes, of few images."""
    if cv2:
        cv2.setNumThreads(1)
    if torch:
        torch.set_num_threads(1)
    rows = []
    for n, c, side in SIZES[1:2] if quick else SIZES:
        for dtype in (np.uint8,) if quick else (np.uint8, np.float32):
            count = 4 if quick else n
            x = (np.random.default_rng(0).random((count, c, side, side)) * (255 if dtype == np.uint8 else 1)).astype(
                dtype
            )
            for name, ours, peers in cases(x):
                # A peer that does not take the dtype does nothing, and so is told apart by being left out.
                usable = {
                    peer: call for peer, call in peers.items() if _gives(f"{peer}, {name}, {np.dtype(dtype)}", call)
                }
                sides = {"minigrad": ours, "2 threads": with_threads(2, ours), **usable}
                seconds = compare(sides, **(QUICK if quick else {"rounds": 7, "block": 5e-3, "settle": 2e-3}))
                rate = {key: s / count for key, s in seconds.items()}
                rows.append(Row(name, f"{np.dtype(dtype)} {c}x{side}x{side}", rate))
    return rows


def _gives(what: str, call: Side) -> bool:
    """Whether a peer takes the call; its refusal, for which each has exceptions of its own, is told."""
    try:
        result = call()
    except Exception as error:
        print(f"left out: {what}: {error!r}", file=sys.stderr)
        return False
    return result is not None and not (isinstance(result, list) and not result)


def rate(seconds: float) -> str:
    """Images per second."""
    per_second = 1 / seconds
    unit, value = next((u, per_second / s) for u, s in (("M", 1e6), ("k", 1e3), ("", 1.0)) if per_second >= s or not u)
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{unit}"


def report(rows: Sequence[Row]) -> str:
    """Images per second, as Markdown; the ratio is to the fastest peer, and losers are marked."""
    names = [peer for peer in PEERS if any(peer in row.seconds for row in rows)]
    lines = []
    for row in rows:
        found = {peer: row.seconds[peer] for peer in names if peer in row.seconds}
        fastest = min(found, key=found.__getitem__) if found else ""
        verdict_ = verdict(row.ratio("minigrad", fastest)) if found else ""
        cells = [rate(row.seconds[k]) if k in row.seconds else "" for k in ("minigrad", "2 threads", *names)]
        lines.append([row.name, row.case, *cells, fastest, verdict_])
    header = ["", "", "minigrad", "2 threads", *names, "fastest peer", "minigrad / fastest"]
    return "## Augmentation, images per second\n\n" + markdown(header, lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Augmentations beside other libraries, images per second.")
    parser.add_argument("--quick", action="store_true", help="one size, few images, few rounds")
    arguments = parser.parse_args()
    single_thread()
    print(surroundings(), report(measure(arguments.quick)), sep="\n\n")


if __name__ == "__main__":
    main()
