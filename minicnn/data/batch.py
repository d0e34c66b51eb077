"""How a batch is made: samples are drawn and augmented, and in one place their pixels become floats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minicnn import _part, _random
from minicnn.data import loader_checks as checks
from minicnn.data.datasets import IMAGE_TYPES, ArrayDataset
from minicnn.data.mapped import gather
from minicnn.data.transforms import Draws, Transform

Augmentation = Transform | Callable[[np.ndarray, np.random.Generator], np.ndarray]
BatchTransform = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class Dataset(Protocol):
    """What a DataLoader can draw from: `len(dataset)` pairs `dataset[i]` of an image (H, W, C) and an integer label.

    `dataset.describe(i)`, where there is one, says what sample i is to a person, for errors: the path of its file.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class Recipe:
    """All that a batch is made of, beside the numbers of its samples; `DataLoader` says what each part is.

    part: (rank, size): of each batch only what that rank computes.
    """

    dataset: Dataset
    transform: Augmentation | None
    batch_transform: BatchTransform | None
    seed: int
    part: tuple[int, int] = (0, 1)

    def batch(self, epoch: int, number: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Batch `number` of an epoch, of the samples `indices` (n,): x (n, H, W, C) float32, and targets.

        Of several ranks each makes its own samples; all of them where a batch_transform mixes them. One without samples
        makes the first and drops it: x (0, H, W, C) has the shape of the others.
        """
        begin, end = _part.bounds(len(indices), *self.part)
        if self.batch_transform is None:
            indices = indices[begin:end] if end > begin else indices[:1]
            begin, end = 0, end - begin
        x, targets = self._whole(epoch, number, indices)
        return (x, targets) if end - begin == len(x) else (x[begin:end], targets[begin:end])

    def _whole(self, epoch: int, number: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images and targets of all the samples `indices`."""
        images, labels = self._samples(indices)
        x = to_input(self._augmented(images, epoch, indices), indices)
        if self.batch_transform is None:
            return x, labels
        rng = _random.generator(self.seed, _random.BATCH, epoch, number)
        with checks.naming(f"batch_transform of batch {number} of epoch {epoch}") as name:
            changed = self.batch_transform(x, labels, rng)
        return checks.changed_batch(changed, len(x), name)

    def _samples(self, indices: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Images of their own dtype, in native byte order, that nobody else holds, and labels (n,) int64.

        The images are [(n, H, W, C)], or n of (1, H, W, C) where they are not alike.
        """
        # A subclass may have a __getitem__ of its own, so only ArrayDataset itself is gathered at once.
        if type(self.dataset) is ArrayDataset:
            return [_native(gather(self.dataset.images, indices))], self.dataset.labels[indices]
        images: list[np.ndarray] = []
        labels = np.empty(len(indices), np.int64)
        for i, index in enumerate(indices.tolist()):
            with checks.naming(self._name(index)) as name:
                sample = self.dataset[index]
            image, labels[i] = checks.sample(sample, name)
            images.append(_native(image))
        if checks.are_alike(images):
            return [np.stack(images)], labels
        return [image[np.newaxis].copy() for image in images], labels

    def _augmented(self, images: list[np.ndarray], epoch: int, indices: np.ndarray) -> np.ndarray:
        """What the transform makes of the images of `_samples`: (n, H, W, C), which nobody else holds."""
        if isinstance(self.transform, Transform) and not self.transform.alone and len(images) == 1:
            return self._change_at_once(self.transform, images[0], epoch, indices)
        if self.transform is not None:
            # (n, H, W, C) -> n of (1, H, W, C)
            images = [image[i : i + 1] for image in images for i in range(len(image))]
            images = [self._change(image, epoch, index) for image, index in zip(images, indices.tolist(), strict=True)]
        if not checks.are_alike(images):
            raise ValueError(checks.difference(images, [self._name(index) for index in indices.tolist()]))
        # Of one image too concatenate makes a copy: a function may keep what it has returned.
        return images[0] if self.transform is None else np.concatenate(images)

    def _change_at_once(self, transform: Transform, images: np.ndarray, epoch: int, indices: np.ndarray) -> np.ndarray:
        """A batch (n, H, W, C) after the transform; where that fails, the error names the sample to blame."""
        try:
            return transform.apply(images, Draws(self.seed, epoch, indices))
        except Exception as error:
            for i, index in enumerate(indices.tolist()):
                self._change(images[i : i + 1], epoch, index)
            samples = f"samples {', '.join(map(str, indices))}"
            raise RuntimeError(
                f"transform of {samples} raised {type(error).__name__}: {error}; none of them fails alone"
            ) from error

    def _change(self, image: np.ndarray, epoch: int, index: int) -> np.ndarray:
        """One image (1, H, W, C) after the transform."""
        with checks.naming(f"transform of {self._name(index)}") as name:
            if isinstance(self.transform, Transform):
                return self.transform.apply(image, Draws(self.seed, epoch, np.array([index])))
            assert self.transform is not None
            changed = self.transform(image[0], _random.generator(self.seed, _random.AUGMENTATION, epoch, index))
        return checks.changed_image(changed, image[0], name)[np.newaxis]

    def _name(self, index: int) -> str:
        """A sample's number, and what the data set says of it."""
        describe = getattr(self.dataset, "describe", None)
        return f"sample {index}" if describe is None else f"sample {index} ({describe(index)})"


def _native(images: np.ndarray) -> np.ndarray:
    """The images in the byte order that arithmetic gives, which a mapped file need not have."""
    return images.astype(images.dtype.newbyteorder("="), copy=False)


def to_input(images: np.ndarray, indices: np.ndarray | None = None) -> np.ndarray:
    """What a model is given for these images: uint8 of 0 to 255 becomes float32 of 0 to 1, floats become float32.

    images: (N, H, W, C), uint8, float32 or float64. Floats are taken to have the range that the model wants.
    indices: (N,) the number of each in its data set, for the error; None where there is none.

    Returns (N, H, W, C) float32: x = images / 255, correctly rounded, or x = images. Float32 in native byte order is
    returned as it is, not copied.
    Raises TypeError for another dtype, and ValueError for a single image and for a NaN or an infinity (also one made
    by rounding to float32), naming the first image that has one.
    """
    images = np.asarray(images)
    if images.dtype.type not in IMAGE_TYPES:
        raise TypeError(
            f"to_input expected images of uint8 (0 to 255), float32 or float64, got {images.dtype}; use .astype"
        )
    if images.ndim != 4:
        cure = {3: "; use images[np.newaxis] for one image, images[..., np.newaxis] for grey ones"}.get(images.ndim, "")
        raise ValueError(f"to_input expected images of shape (N, H, W, C), got {images.shape}{cure}")
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32)
    with np.errstate(over="ignore"):  # an overflow is reported below, with the sample
        x = images.astype(np.float32, copy=False)
    finite = np.isfinite(x).all(axis=(1, 2, 3))  # (N, H, W, C) -> (N,)
    if not finite.all():
        first = int(np.argmin(finite))
        name = "" if indices is None else f" (number {indices[first]} of the data set)"
        raise ValueError(f"sample {first} of the batch{name} has a NaN, an infinity or a value too large for float32")
    return x
