"""Images of another size, each pixel from all that it covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minicnn.data.transforms.checks import checked_range, checked_size
from minicnn.data.transforms.draws import Draws
from minicnn.data.transforms.transform import Transform

ATTEMPTS = 10


class Resize(Transform):
    """Make images larger or smaller.

    size: (height, width); or one number, the length of the shorter side, to which the longer one keeps its proportion
    (cut off to a whole number, as in torchvision).

    Bilinear; where images shrink, the weights are as much wider, so that each new pixel is a mean over all old ones
    that it covers and their neighbours (torchvision: antialias=True). float64 has float32's precision afterwards.
    It is done by Pillow; ImportError where that is missing.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.shorter = isinstance(size, int | np.integer)
        self.size = checked_size("Resize", "size", size)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        H, W = images.shape[1:3]
        h, w = self.size
        if self.shorter:
            h, w = (h, h * W // H) if H <= W else (h * H // W, h)
        h, w = checked_size("Resize", "the longer side", (h, w))
        result = np.empty((len(images), h, w, images.shape[3]), images.dtype)
        for image, place in zip(images, result, strict=True):
            place[...] = _resized(image, (h, w))
        return result


class RandomResizedCrop(Transform):
    """Cut a part of any size and proportion out of each image, and make all of them `size` large.

    size: (height, width) of the result, or one number for both; scale: the range of the part's area, as a fraction of
    the image's; ratio: the range of its width / height, drawn evenly on a logarithmic scale.

    Ten parts are drawn for each image and the first one that fits is taken; where none does, the largest one in the
    middle whose proportion is in the range. Resized as by `Resize`.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2015, section 6: areas of 8 % to 100 %, ratios 3/4 to 4/3.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        name = "RandomResizedCrop"
        self.size = checked_size(name, "size", size)
        for argument, value in (("scale", scale), ("ratio", ratio)):
            if not isinstance(value, tuple | list):
                raise TypeError(f"{name} expected {argument} to be a pair (low, high), got {value!r}")
        self.scale = checked_range(name, "scale", scale, 0, 1e-6, 1)
        self.ratio = checked_range(name, "ratio", ratio, 0, 1e-3, 1e3)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        boxes = self.boxes(images.shape[1:3], draws).tolist()
        result = np.empty((len(images), *self.size, images.shape[3]), images.dtype)
        for image, (top, left, bottom, right), place in zip(images, boxes, result, strict=True):
            place[...] = _resized(image[top:bottom, left:right], self.size)
        return result

    def boxes(self, size: tuple[int, int], draws: Draws) -> np.ndarray:
        """The parts of images of (H, W) pixels: (n, 4) whole numbers top, left, bottom, right, the last two without."""
        H, W = size
        u = draws.uniform(4 * ATTEMPTS).reshape(-1, ATTEMPTS, 4)  # (n, 4 * attempts) -> (n, attempts, 4)
        area = H * W * (self.scale[0] + u[..., 0] * (self.scale[1] - self.scale[0]))
        logarithms = np.log(self.ratio)
        ratio = np.exp(logarithms[0] + u[..., 1] * (logarithms[1] - logarithms[0]))
        h, w = np.round(np.sqrt(area / ratio)), np.round(np.sqrt(area * ratio))  # (n, attempts)
        fits = (h >= 1) & (h <= H) & (w >= 1) & (w <= W)
        top, left = np.floor(u[..., 2] * (H - h + 1)), np.floor(u[..., 3] * (W - w + 1))
        boxes = np.stack([top, left, top + h, left + w], axis=-1)
        first = boxes[np.arange(len(boxes)), fits.argmax(axis=1)]
        return np.where(fits.any(axis=1)[:, np.newaxis], first, self._middle(H, W)).astype(np.int64)

    def _middle(self, H: int, W: int) -> tuple[int, int, int, int]:
        ratio = min(max(W / H, self.ratio[0]), self.ratio[1])
        h, w = min(H, max(1, round(W / ratio))), min(W, max(1, round(H * ratio)))
        top, left = (H - h) // 2, (W - w) // 2
        return top, left, top + h, left + w


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (H, W, C) made `size` large."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('to resize images Pillow is needed: pip install "minicnn[photos]"') from error

    def resized(plane: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))

    if image.dtype == np.uint8 and image.shape[2] == 3:
        return resized(np.ascontiguousarray(image))
    plain = image if image.dtype == np.uint8 else image.astype(np.float32)
    planes = [resized(np.ascontiguousarray(plain[:, :, c])) for c in range(image.shape[2])]
    return np.stack(planes, axis=2).astype(image.dtype)
