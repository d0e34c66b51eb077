"""Elastic distortion: handwriting as another hand would have wavered."""

from __future__ import annotations

import functools

import numpy as np

from minicnn import kernels
from minicnn.data.transforms.checks import checked_fill, checked_number, checked_value
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform


class ElasticDistortion(Transform):
    """Move every pixel a little, and neighbours alike.

    alpha: how far, 0 to 10000; sigma: how smoothly, in pixels, 0.1 to 1000. The paper's best for MNIST are 34 and 4.
    fill, value: as in RandomAffine.

    For rows and for columns each, the displacement of pixel (i, j), in pixels, is noise smoothed by a Gaussian,

        d = alpha * (g g^T) * U,    U(i, j) even between -1 and 1,    g(t) = exp(-t^2 / (2 sigma^2)) / sum of it

    and the image is taken, bilinear, from the places (i, j) + d(i, j). The field goes around at the borders (its left
    edge continues the right one), which the paper leaves open: so every pixel moves alike far. With sigma well above
    1 and below the image's size, d has the standard deviation alpha / (sqrt(12 pi) sigma): 1.4 pixels for 34 and 4.

    Source: Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", 2003, section 2.
    """

    def __init__(self, alpha: float = 34.0, sigma: float = 4.0, fill: str = "nearest", value: float = 0.0) -> None:
        name = "ElasticDistortion"
        self.alpha = checked_number(name, "alpha", alpha, 0, 10_000)
        self.sigma = checked_number(name, "sigma", sigma, 0.1, 1000)
        self.fill = checked_fill(name, fill)
        self.value = checked_number(name, "value", value, -np.inf, np.inf)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        value = checked_value("ElasticDistortion", self.value, images.dtype)
        displacement = self.displacement(images.shape[1:3], draws)
        unturned = np.repeat(np.eye(2, 3)[np.newaxis], len(images), axis=0)
        return kernels.room(images).warp(images, unturned, displacement, self.fill, value)

    def displacement(self, size: tuple[int, int], draws: Draws) -> np.ndarray:
        """The fields for images of (H, W) pixels, (n, H, W, 2) of float64: down and right, in pixels."""
        H, W = size
        noise = 2 * draws.uniform(2 * H * W).reshape(-1, 2, H, W) - 1  # (n, 2*H*W) -> (n, 2, H, W)
        smooth = _gaussian(H, self.sigma) @ noise @ _gaussian(W, self.sigma).T
        return self.alpha * np.moveaxis(smooth, 1, -1)  # (n, 2, H, W) -> (n, H, W, 2)


@functools.lru_cache(maxsize=8)
def _gaussian(size: int, sigma: float) -> np.ndarray:
    """(size, size): the Gaussian as a matrix of which every row is the one before moved on, around the border."""
    reach = int(np.ceil(6 * sigma))
    t = np.arange(-reach, reach + 1)
    g = np.exp(-(t**2) / (2 * sigma**2))
    row = np.zeros(size)
    np.add.at(row, t % size, g / g.sum())
    return np.stack([np.roll(row, i) for i in range(size)])
