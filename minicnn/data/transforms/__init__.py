"""Augmentation: new training samples out of old ones, in pipelines that repeat bit for bit.

    moved = transforms.RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2)
    loader = data.DataLoader(train, 128, shuffle=True, transform=moved)

A Transform changes a batch of images (n, H, W, C) at once. What it draws for a sample depends on the seed, the epoch
and the sample's number alone (`Draws`): not on the batch it comes in, nor on who computes it.

Names are those of torchvision.transforms where it has the same thing; where the meaning differs, the docstring says so.
"""

from minicnn.data.transforms.affine import RandomAffine, affine_matrices
from minicnn.data.transforms.colour import ColorJitter, ColorNoise, PrincipalColors, principal_colors
from minicnn.data.transforms.crops import CenterCrop, RandomCrop, ten_crop
from minicnn.data.transforms.cutout import Cutout
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.elastic import ElasticDistortion
from minicnn.data.transforms.flips import RandomHorizontalFlip, RandomVerticalFlip
from minicnn.data.transforms.mixup import Mixup
from minicnn.data.transforms.normalize import Normalize
from minicnn.data.transforms.resize import RandomResizedCrop, Resize
from minicnn.data.transforms.transform import Compose, Transform

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "ColorNoise",
    "Compose",
    "Cutout",
    "Draws",
    "ElasticDistortion",
    "Mixup",
    "Normalize",
    "PrincipalColors",
    "RandomAffine",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "Transform",
    "affine_matrices",
    "principal_colors",
    "ten_crop",
]
