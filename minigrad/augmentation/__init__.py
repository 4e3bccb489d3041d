"""Augmentation: whole batches of images, uint8 or floats, changed at random, each image by its own key.

>>> import numpy as np
>>> from minigrad import augmentation as A, random
>>> images = np.zeros((2, 3, 32, 32), np.uint8)
>>> augment = A.Compose([A.RandomHorizontalFlip(), A.RandomRotation(15), A.RandomCrop(32, padding=4)])
>>> augment(images, random.keys(0, 1, [7, 8])).shape
(2, 3, 32, 32)
"""

from . import functional
from .color import (
    ColorJitter,
    Grayscale,
    RandomAutocontrast,
    RandomEqualize,
    RandomGamma,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from .corruption import (
    JPEG,
    GaussianBlur,
    GaussianNoise,
    MotionBlur,
    Pixelate,
    RandomErasing,
    SaltAndPepper,
    ShotNoise,
    SpeckleNoise,
)
from .gallery import show
from .geometric import (
    ElasticTransform,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomLensDistortion,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)
from .mixing import CutMix, MixUp
from .transforms import Compose, OneOf, RandomApply, RandomOrder, Transform

__all__ = [
    "JPEG",
    "ColorJitter",
    "Compose",
    "CutMix",
    "ElasticTransform",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "MixUp",
    "MotionBlur",
    "OneOf",
    "Pixelate",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGamma",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomLensDistortion",
    "RandomOrder",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "SaltAndPepper",
    "ShotNoise",
    "SpeckleNoise",
    "Transform",
    "functional",
    "show",
]
