"""Light and colours: brightness, contrast, saturation, and noise along the colours' own axes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minicnn.data.transforms.checks import Range, check_colours, checked_number, checked_range
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform, checked_images

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue look (ITU-R BT.601)


class ColorJitter(Transform):
    """Change brightness, contrast and saturation of each image by factors of its own.

    brightness, contrast, saturation: the ranges of the factors, of which 1 changes nothing; a number a stands for
    max(0, 1 - a) to 1 + a. With x in [0, 1] and grey = 0.299 red + 0.587 green + 0.114 blue, each in turn is

        brightness    x <- f x
        contrast      x <- f x + (1 - f) mean of grey over the image
        saturation    x <- f x + (1 - f) grey

    and what leaves [0, 1] is cut off. Images of one channel are grey themselves, and have no saturation to change.
    uint8 is rounded once, at the end. torchvision has the same three (and hue), in an order that it draws, and rounds
    uint8 after each of them.

    Raises ValueError for images that have neither 1 nor 3 channels.
    """

    def __init__(self, brightness: Range = 0.0, contrast: Range = 0.0, saturation: Range = 0.0) -> None:
        given = (("brightness", brightness), ("contrast", contrast), ("saturation", saturation))
        self.ranges = np.array([checked_range("ColorJitter", name, value, 1, 0, 1000) for name, value in given])

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        if images.shape[3] != 1:
            check_colours("ColorJitter", images)
        low, high = self.ranges.T
        factors = (low + draws.uniform(3) * (high - low)).astype(np.float32)
        brightness, contrast, saturation = factors.T[:, :, np.newaxis, np.newaxis, np.newaxis]  # each (n, 1, 1, 1)
        x = np.clip(brightness * _as_floats(images), 0, 1)
        x = _blended(x, _grey(x).mean(axis=(1, 2), keepdims=True), contrast)
        if images.shape[3] == 3:
            x = _blended(x, _grey(x), saturation)
        return _as_before(x, images.dtype)


class PrincipalColors(NamedTuple):
    """Along which axes the colours of a data set vary, and how much: see `principal_colors`."""

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


class ColorNoise(Transform):
    """AlexNet's colour noise: to all pixels of an image the same colour is added, along the axes of the data's colours.

    colors: of the training set, from `principal_colors`; deviation: of the noise.

        (red, green, blue) <- (red, green, blue) + [p1 p2 p3] (a1 l1, a2 l2, a3 l3)^T

    with eigenvectors p and eigenvalues l of the covariance of colours in [0, 1], and a drawn for each image from the
    normal distribution with mean 0 and that standard deviation. What leaves [0, 1] is cut off.

    Raises ValueError for images that have not 3 channels.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 4.1, with its deviation of 0.1.
    """

    def __init__(self, colors: PrincipalColors, deviation: float = 0.1) -> None:
        if not isinstance(colors, PrincipalColors):
            raise TypeError(f"ColorNoise expected the result of principal_colors(images), got {type(colors).__name__}")
        self.colors = colors
        self.deviation = checked_number("ColorNoise", "deviation", deviation, 0, 1000)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        check_colours("ColorNoise", images)
        a = self.deviation * draws.normal(3)
        noise = (self.colors.eigenvectors * (a * self.colors.eigenvalues)[:, np.newaxis, :]).sum(axis=2)  # (n, 3)
        x = _as_floats(images) + noise[:, np.newaxis, np.newaxis, :].astype(np.float32)
        return _as_before(np.clip(x, 0, 1), images.dtype)


def principal_colors(images: np.ndarray) -> PrincipalColors:
    """The principal components of the colours of all pixels.

    images: (N, H, W, 3), uint8, or floats of 0 to 1. Returns eigenvalues (3,), the largest first, and eigenvectors
    (3, 3), one in each column, of the covariance matrix of (red, green, blue) in [0, 1]:

        covariance = mean of (pixel - mean pixel) (pixel - mean pixel)^T

    The sign of an eigenvector is chosen so that its channels have a sum of at least 0.
    """
    images = checked_images(images, "principal_colors")
    check_colours("principal_colors", images)
    if len(images) == 0:
        raise ValueError("principal_colors expected at least one image")
    sums, products = np.zeros(3), np.zeros((3, 3))
    scale = 255 if images.dtype == np.uint8 else 1
    for image in images:  # one by one: all of them in float64 might have no room
        pixels = image.reshape(-1, 3).astype(np.float64) / scale  # (H, W, 3) -> (H*W, 3)
        sums += pixels.sum(axis=0)
        products += pixels.T @ pixels
    count = images.size // 3
    eigenvalues, eigenvectors = np.linalg.eigh(products / count - np.outer(sums, sums) / count**2)
    signs = np.where(eigenvectors.sum(axis=0) < 0, -1, 1)
    return PrincipalColors(np.maximum(eigenvalues[::-1], 0), (eigenvectors * signs)[:, ::-1])


def _grey(x: np.ndarray) -> np.ndarray:
    """(n, H, W, 1)"""
    return x if x.shape[3] == 1 else (x * LUMA).sum(axis=3, keepdims=True)


def _blended(x: np.ndarray, other: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return np.clip(factor * x + (1 - factor) * other, 0, 1)


def _as_floats(images: np.ndarray) -> np.ndarray:
    """Fresh float32 in [0, 1]."""
    return np.divide(images, np.float32(255 if images.dtype == np.uint8 else 1), dtype=np.float32, casting="same_kind")


def _as_before(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x, of [0, 1], as images of this dtype."""
    return np.round(x * 255).astype(np.uint8) if dtype == np.uint8 else x.astype(dtype)
