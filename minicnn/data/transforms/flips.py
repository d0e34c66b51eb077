"""Mirror images."""

from __future__ import annotations

import numpy as np

from minicnn.data.transforms.checks import checked_probability
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform


class RandomHorizontalFlip(Transform):
    """Exchange left and right of an image, with probability p. Not for digits and letters."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = checked_probability("RandomHorizontalFlip", p)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        return np.where(_chosen(draws, self.p), images[:, :, ::-1], images)


class RandomVerticalFlip(Transform):
    """Exchange top and bottom of an image, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = checked_probability("RandomVerticalFlip", p)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        return np.where(_chosen(draws, self.p), images[:, ::-1], images)


def _chosen(draws: Draws, p: float) -> np.ndarray:
    """(n, 1, 1, 1): which samples."""
    return (draws.uniform(1) < p)[:, :, np.newaxis, np.newaxis]
