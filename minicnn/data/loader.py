"""From a data set to batches: the order, the augmentation, and the one place where pixels become floats."""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from minicnn import _random
from minicnn.data.datasets import IMAGE_TYPES, ArrayDataset

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Dataset(Protocol):
    """What a DataLoader can draw from: `len(dataset)` pairs `dataset[i]` of an image (H, W, C) and an integer label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


class DataLoader:
    """Draws a data set in batches, once for each iteration: `for x, labels in loader`.

    dataset: an ArrayDataset, or anything with `len` and `dataset[i] -> (image, label)`; images (H, W, C) of one size.
    batch_size: how many samples a batch has; the last one has the remainder.
    shuffle: whether each epoch has an order of its own.
    transform: called as transform(image, rng) with a copy of each image as the data set has it (uint8 of 0 to 255,
        say), and a NumPy generator of its own; returns an image of the same dtype. It may change the size, if it does
        so for all images of a batch alike.
    drop_last: whether a last batch that is not full is left out.

    Yields x (n, H, W, C) float32, made by `to_input`, and labels (n,) int64, as fresh arrays.
    `len(loader)` is the number of batches.

    `loader.epoch` is the number of the next iteration, 0 at first; beginning an iteration adds one. The order is drawn
    from the stream (seed, epoch) and a sample's augmentation from (seed, epoch, sample), with the seed in force when
    the loader was made: they depend on nothing else, so setting `epoch` resumes, and iterations may overlap.

    Raises TypeError and ValueError for a wrong argument, for an empty data set, and where drop_last would leave no
    batch; and during an iteration, naming the sample, for one that cannot go into the batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        transform: Transform | None = None,
        drop_last: bool = False,
    ) -> None:
        _check_arguments(dataset, batch_size, transform, drop_last)
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.transform = transform
        self.drop_last = drop_last
        self.seed = _random.current_seed()
        self.epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # Not a generator itself, so that the epoch moves on now and not at the first batch; what the iteration then
        # needs it has as arguments, and a second one that begins meanwhile changes none of it.
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._batches(epoch, self.indices(epoch))

    def indices(self, epoch: int) -> list[np.ndarray]:
        """For each batch of an epoch the numbers (n,) of its samples, in order."""
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = _random.generator(self.seed, _random.SHUFFLE, epoch).permutation(order)
        return [order[batch * self.batch_size : (batch + 1) * self.batch_size] for batch in range(len(self))]

    def _batches(self, epoch: int, order: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for indices in order:
            # A subclass may have a __getitem__ of its own, so only ArrayDataset itself is gathered at once.
            if type(self.dataset) is ArrayDataset and self.transform is None:
                images, labels = self.dataset.images[indices], self.dataset.labels[indices]
            else:
                images, labels = self._gather(indices.tolist(), epoch)
            yield to_input(images, indices), labels

    def _gather(self, indices: list[int], epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The samples one by one: images (n, H, W, C) of their own dtype, and labels (n,) int64."""
        images: list[np.ndarray] = []
        labels: list[int] = []
        for index in indices:
            image, label = _checked_sample(self.dataset[index], index)
            if self.transform is not None:
                rng = _random.generator(self.seed, _random.AUGMENTATION, epoch, index)
                # A copy: a transform that works in place must not change the data set.
                image = _checked_change(image, self.transform(image.copy(), rng), index)
            if images and (image.shape, image.dtype) != (images[0].shape, images[0].dtype):
                raise ValueError(
                    f"the samples of a batch have to be alike: sample {indices[0]} is {images[0].dtype} of shape "
                    f"{images[0].shape}, sample {index} is {image.dtype} of shape {image.shape}; "
                    "crop or resize them to one size"
                )
            images.append(image)
            labels.append(label)
        return np.stack(images), np.array(labels, dtype=np.int64)


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


def _check_arguments(dataset: Dataset, batch_size: int, transform: Transform | None, drop_last: bool) -> None:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"DataLoader expected a data set with len() and [i], got {type(dataset).__name__}; "
            "for two arrays use ArrayDataset(images, labels)"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
        raise TypeError(f"DataLoader expected a whole number as batch_size, got {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"DataLoader expected a batch_size of at least 1, got {batch_size}")
    if transform is not None and not callable(transform):
        raise TypeError(f"DataLoader expected transform to be a function of (image, rng), got {transform!r}")
    if len(dataset) == 0:
        raise ValueError("DataLoader expected a data set with at least one sample, got an empty one")
    if drop_last and len(dataset) < batch_size:
        raise ValueError(
            f"drop_last leaves no batch: the data set has {len(dataset)} samples, fewer than batch_size={batch_size}; "
            "use drop_last=False or a smaller batch_size"
        )


def _checked_sample(sample: Any, index: int) -> tuple[np.ndarray, int]:
    """The image and the label of sample `index` of any data set."""
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise TypeError(
            f"sample {index}: the data set should give (image, label), got {type(sample).__name__}; "
            "for two arrays use ArrayDataset(images, labels)"
        )
    image = np.asarray(sample[0])
    if image.dtype.type not in IMAGE_TYPES:
        raise TypeError(f"sample {index}: expected an image of uint8, float32 or float64, got {image.dtype}")
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"sample {index}: expected an image of shape (H, W, C), got shape {image.shape}")
    try:
        label = operator.index(sample[1])
    except TypeError:
        raise TypeError(f"sample {index}: expected an integer label, got {sample[1]!r}") from None
    if not 0 <= label < 2**63:
        raise ValueError(f"sample {index}: expected a label from 0 up, got {label}")
    return image, label


def _checked_change(before: np.ndarray, after: Any, index: int) -> np.ndarray:
    """What the transform made of sample `index`."""
    if not isinstance(after, np.ndarray):
        raise TypeError(f"transform of sample {index}: expected an array of shape (H, W, C), got {after!r}")
    if after.ndim != 3 or after.size == 0:
        raise ValueError(f"transform of sample {index}: expected an image of shape (H, W, C), got shape {after.shape}")
    # uint8 that silently became float would not be divided by 255, and the model would see values 255 times too large.
    if after.dtype != before.dtype:
        raise TypeError(
            f"transform of sample {index}: the image went in as {before.dtype} and came out as {after.dtype}; "
            f"end the transform with .astype(image.dtype), or give the data set images of {after.dtype}"
        )
    return after
