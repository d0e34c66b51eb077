"""Rotation, shift, shear and zoom as one matrix and one resampling."""

from __future__ import annotations

import numpy as np

from minicnn import kernels
from minicnn.data.transforms.checks import Range, checked_fill, checked_number, checked_range, checked_value
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform


class RandomAffine(Transform):
    """Rotate, shift, shear and zoom each image by amounts of its own, drawn evenly from ranges.

    rotation: in degrees, positive ones turn clockwise; shift: as a fraction of height and width, drawn for each;
    shear: an angle in radians; zoom: factors by which height and width of what is seen grow, so above 1 things become
    smaller, drawn for each. A number a stands for the range -a to a (zoom: 1 - a to 1 + a), a pair (low, high) for
    itself.
    fill: what comes from outside, "nearest", "constant" or "reflect" (d c b a | a b c d | d c b a); value: of
    "constant", in the images' own units.

    The four make one matrix (`affine_matrices`), so that the image is resampled once; bilinear. The meanings are those
    of Keras' ImageDataGenerator: RandomAffine(rotation=30, shift=0.1, shear=0.2, zoom=0.2) is its rotation_range=30,
    width_shift_range=height_shift_range=.1, shear_range=.2, zoom_range=.2, where shear is in radians as in its first
    versions; later ones take degrees, and 0.2 of those nobody would see. torchvision's RandomAffine has shear in
    degrees, one factor for both axes (scale, above 1 larger), and a constant outside.

    Raises TypeError and ValueError for other arguments; shift goes up to 1, zoom from 0.01 to 100, shear to 1.5.
    """

    def __init__(
        self,
        rotation: Range = 0.0,
        shift: Range = 0.0,
        shear: Range = 0.0,
        zoom: Range = 0.0,
        fill: str = "nearest",
        value: float = 0.0,
    ) -> None:
        name = "RandomAffine"
        self.rotation = checked_range(name, "rotation", rotation, 0, -360, 360)
        self.shift = checked_range(name, "shift", shift, 0, -1, 1)
        self.shear = checked_range(name, "shear", shear, 0, -1.5, 1.5)
        self.zoom = checked_range(name, "zoom", zoom, 1, 0.01, 100)
        self.fill = checked_fill(name, fill)
        self.value = checked_number(name, "value", value, -np.inf, np.inf)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        u = draws.uniform(6)
        rotation, shear = _scaled(u[:, 0], self.rotation), _scaled(u[:, 1], self.shear)
        shift, zoom = _scaled(u[:, 2:4], self.shift), _scaled(u[:, 4:6], self.zoom)
        matrices = affine_matrices(rotation, shift, shear, zoom, images.shape[1:3])
        value = checked_value("RandomAffine", self.value, images.dtype)
        return kernels.room(images).warp(images, matrices, None, self.fill, value)


def affine_matrices(
    rotation: np.ndarray, shift: np.ndarray, shear: np.ndarray, zoom: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The matrices of images that are rotated, shifted, sheared and zoomed: for each pixel the place it comes from.

    rotation: (n,) degrees; shift: (n, 2) fractions of (height, width); shear: (n,) radians; zoom: (n, 2) factors;
    size: (H, W) in pixels. Result (n, 2, 3), float64, for columns (row, column, 1) counted in pixels from the first.

    About the middle of the image, a place is zoomed, then sheared, shifted and rotated,

        M = R T S Z = [cos r  -sin r  0] [1  0  H t0] [1  -sin s  0] [z0   0  0]
                      [sin r   cos r  0] [0  1  W t1] [0   cos s  0] [ 0  z1  0]
                      [  0       0    1] [0  0    1 ] [0     0    1] [ 0   0  1]

    and the result is C M C^-1, where C moves the origin to the middle ((H - 1) / 2, (W - 1) / 2). As M tells where a
    pixel comes from, the picture itself does the contrary: with z0 = 2 it becomes half as high.
    """
    r, (cos_s, sin_s) = np.deg2rad(rotation), (np.cos(shear), np.sin(shear))
    turn = np.stack([np.cos(r), -np.sin(r), np.sin(r), np.cos(r)], axis=-1).reshape(-1, 2, 2)  # (n, 4) -> (n, 2, 2)
    lean = np.stack([np.ones_like(sin_s), -sin_s, np.zeros_like(sin_s), cos_s], axis=-1).reshape(-1, 2, 2)
    middle = (np.array(size) - 1) / 2
    linear = turn @ lean * zoom[:, np.newaxis, :]
    moved = turn @ (shift * np.array(size))[:, :, np.newaxis]  # (n, 2, 1)
    constant = middle[:, np.newaxis] + moved - linear @ middle[:, np.newaxis]
    return np.concatenate([linear, constant], axis=2)


def _scaled(u: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    low, high = bounds
    return low + u * (high - low)
