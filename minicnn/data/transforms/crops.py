"""Parts of images: at random for training, in the middle or at ten places for testing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minicnn.data.transforms.checks import check_room, checked_fill, checked_number, checked_size, checked_value
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform, checked_images

PADDING = {"nearest": "edge", "constant": "constant", "reflect": "symmetric"}  # NumPy's names of the fills


class RandomCrop(Transform):
    """Cut a part of size pixels out of each image, anywhere, all places alike likely.

    size: (height, width), or one number for both; padding: by how many pixels the image is enlarged before, at top and
    bottom, left and right: (rows, columns), or one number; fill, value: with what, as in RandomAffine.

    torchvision calls the fill padding_mode; its "reflect" leaves the edge out, which ours repeats, as its "symmetric".

    Raises ValueError for a crop larger than the padded image.
    Source: He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2: for CIFAR-10
    RandomCrop(32, padding=4), after Lee et al. 2015.
    """

    def __init__(
        self, size: int | Sequence[int], padding: int | Sequence[int] = 0, fill: str = "constant", value: float = 0.0
    ) -> None:
        self.size = checked_size("RandomCrop", "size", size)
        self.padding = checked_size("RandomCrop", "padding", padding, low=0)
        self.fill = checked_fill("RandomCrop", fill)
        self.value = checked_number("RandomCrop", "value", value, -np.inf, np.inf)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        images = self._padded(images)
        h, w = self.size
        check_room("RandomCrop", self.size, images)
        places = (images.shape[1] - h + 1, images.shape[2] - w + 1)
        starts = np.floor(draws.uniform(2) * places).astype(np.intp).tolist()
        crops = np.empty((len(images), h, w, images.shape[3]), images.dtype)
        for crop, image, (top, left) in zip(crops, images, starts, strict=True):
            crop[...] = image[top : top + h, left : left + w]
        return crops

    def _padded(self, images: np.ndarray) -> np.ndarray:
        top, left = self.padding
        around = ((0, 0), (top, top), (left, left), (0, 0))
        if self.fill == "constant":
            value = checked_value("RandomCrop", self.value, images.dtype)
            return np.pad(images, around, constant_values=value)
        return np.pad(images, around, PADDING[self.fill])  # type: ignore[call-overload]


class CenterCrop(Transform):
    """Cut the middle out of each image.

    size: (height, width), or one number for both. Where it is not quite in the middle, it lies half a pixel up or left
    or down or right of it: its first row is round((H - height) / 2), which to halves is the even neighbour.

    Raises ValueError for a crop larger than the image, which torchvision would pad.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = checked_size("CenterCrop", "size", size)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        check_room("CenterCrop", self.size, images)
        top, left = (round((images.shape[1 + axis] - self.size[axis]) / 2) for axis in range(2))
        return images[:, top : top + self.size[0], left : left + self.size[1]].copy()


def ten_crop(images: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
    """Ten views of each image for a test: four corners and the middle, and the same five of its mirror image.

    images: (N, H, W, C), uint8 or floats; size: (height, width) of a view, or one number. Result (10, N, height, width,
    C) of the same dtype, in the order top left, top right, bottom left, bottom right, middle. The prediction for an
    image is the mean of the probabilities for the ten: `trainer.predict(images, views=lambda x: ten_crop(x, 224))`.

    Raises ValueError for a view larger than the images.
    Source: Krizhevsky, Sutskever & Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks",
    section 4.1.
    """
    images = checked_images(images, "ten_crop")
    h, w = checked_size("ten_crop", "size", size)
    check_room("ten_crop", (h, w), images)
    H, W = images.shape[1:3]
    places = [(0, 0), (0, W - w), (H - h, 0), (H - h, W - w), (round((H - h) / 2), round((W - w) / 2))]
    both = (images, images[:, :, ::-1])
    return np.stack([x[:, top : top + h, left : left + w] for x in both for top, left in places])
