"""Cutout: a square of each image is hidden, so that no single part of it decides."""

from __future__ import annotations

import numpy as np

from minicnn.data.transforms.checks import checked_number, checked_value
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform


class Cutout(Transform):
    """Hide a square of each image under one colour.

    size: its side in pixels; value: what all its pixels become, in the images' own units (the paper: the mean of the
    data). Its middle is any pixel, all alike likely, so a part of it may lie outside: rows i with
    middle - size // 2 <= i < middle - size // 2 + size are hidden, where the columns are too.

    torchvision has another one, RandomErasing (Zhong et al. 2017): a rectangle of drawn size that lies within.

    Source: DeVries & Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017, section 3.
    """

    def __init__(self, size: int, value: float = 0.0) -> None:
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"Cutout expected a whole number as size, got {size!r}")
        self.size = int(checked_number("Cutout", "size", int(size), 1, 2**15))
        self.value = checked_number("Cutout", "value", value, -np.inf, np.inf)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        u = draws.uniform(2)
        rows, columns = (self._hidden(u[:, axis], images.shape[1 + axis]) for axis in range(2))
        hidden = rows[:, :, np.newaxis] & columns[:, np.newaxis, :]  # (n, H, W)
        value = images.dtype.type(checked_value("Cutout", self.value, images.dtype))
        return np.where(hidden[..., np.newaxis], value, images)

    def _hidden(self, u: np.ndarray, length: int) -> np.ndarray:
        """(n, length): which rows, or columns, of each image."""
        first = np.floor(u * length)[:, np.newaxis] - self.size // 2
        i = np.arange(length)
        return (first <= i) & (i < first + self.size)
