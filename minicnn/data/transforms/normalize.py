"""Channels brought to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform


class Normalize(Transform):
    """Subtract from each channel its mean and divide by its standard deviation: (x - mean) / std.

    mean, std: one number for each channel, of x in [0, 1], std above 0. Images of uint8 are divided by 255 before.

    It returns float32, whatever it gets; the loader passes that on as it is. So in a Compose it stands last, where all
    that knows colours (0 to 255, or 0 to 1) is done; nor may it be left out of testing: give `fit` and `evaluate` a
    DataLoader with it, and `predict` what `Normalize(mean, std).apply(images)` gives.

    Raises ValueError for images of another number of channels.
    """

    returns_float32 = True

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (_checked(name, values) for name, values in (("mean", mean), ("std", std)))
        if len(self.mean) != len(self.std):
            raise ValueError(f"Normalize expected as many std as mean, got {len(self.std)} and {len(self.mean)}")
        if (self.std <= 0).any():
            raise ValueError(f"Normalize expected std above 0, got {self.std.tolist()}")

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        if images.shape[3] != len(self.mean):
            raise ValueError(
                f"Normalize has the mean of {len(self.mean)} channels (last axis), got images of shape {images.shape}"
            )
        scale = 255.0 if images.dtype == np.uint8 else 1.0
        return ((images - scale * self.mean) / (scale * self.std)).astype(np.float32)


def _checked(name: str, values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"Normalize expected {name} to be numbers, one for each channel, got {values!r}")
    return array.astype(np.float64)
