"""Data sets: labelled images in two arrays."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

IMAGE_TYPES = (np.uint8, np.float32, np.float64)


class ArrayDataset:
    """A data set that lies in memory: M images of one size, and the number of the class of each.

    images: (M, H, W, C), uint8 of 0 to 255, or float32 or float64. Kept as it is, not copied.
    labels: (M,) integers, 0 for the first class. Kept as int64.
    classes: the names of the classes, one for each number; None where they have none.

    `len(dataset)` is M, and `dataset[i]` is (images[i], labels[i]): a view of shape (H, W, C), and an int. A part of
    a data set is `ArrayDataset(images[a:b], labels[a:b], classes)`.

    Raises ValueError for a wrong number of axes, unequal lengths, nothing in it, a label that is negative or has no
    name, and TypeError for a dtype other than these.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] | None

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None) -> None:
        self.images = _checked_images(np.asarray(images))
        self.labels = _checked_labels(np.asarray(labels), len(self.images))
        self.classes = None if classes is None else _checked_classes(classes, int(self.labels.max()))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: SupportsIndex) -> tuple[np.ndarray, int]:
        try:
            number = operator.index(index)
        except TypeError:
            raise TypeError(
                f"ArrayDataset expected a whole number as index, got {index!r}; for a part of it use "
                "ArrayDataset(dataset.images[a:b], dataset.labels[a:b], dataset.classes)"
            ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"there is no sample {number} in a data set of {len(self)}")
        return self.images[number], int(self.labels[number])


def _checked_images(images: np.ndarray) -> np.ndarray:
    if images.dtype.type not in IMAGE_TYPES:
        raise TypeError(f"ArrayDataset expected images of uint8, float32 or float64, got {images.dtype}; use .astype")
    if images.ndim != 4:
        cure = "; use images[..., np.newaxis] for images with one channel" if images.ndim == 3 else ""
        raise ValueError(f"ArrayDataset expected images of shape (M, H, W, C), got {images.shape}{cure}")
    if images.size == 0:
        raise ValueError(f"ArrayDataset expected at least one image with a pixel, got an array of shape {images.shape}")
    return images


def _checked_labels(labels: np.ndarray, count: int) -> np.ndarray:
    """The labels as int64."""
    if labels.ndim != 1:
        cure = "; if they are one-hot, use labels.argmax(axis=1)" if labels.ndim == 2 and labels.shape[1] > 1 else ""
        raise ValueError(f"ArrayDataset expected labels of shape ({count},), got {labels.shape}{cure}")
    if len(labels) != count:
        raise ValueError(f"ArrayDataset expected one label for each of the {count} images, got {len(labels)} labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"ArrayDataset expected integer labels, got {labels.dtype}; use .astype(np.int64)")
    wrong = np.flatnonzero((labels < 0) | (labels > np.iinfo(np.int64).max))
    if wrong.size:
        raise ValueError(f"ArrayDataset expected labels from 0 up, got {labels[wrong[0]]} for sample {wrong[0]}")
    return labels.astype(np.int64)


def _checked_classes(classes: Sequence[str], last: int) -> tuple[str, ...]:
    names = tuple(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"ArrayDataset expected classes to be names, one for each class, got {classes!r}")
    if last >= len(names):
        raise ValueError(f"ArrayDataset got {len(names)} class names, too few for a label of {last}")
    return names
