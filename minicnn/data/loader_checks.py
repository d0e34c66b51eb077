"""What a DataLoader asks of its arguments, of samples, and of what transforms make of them."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn.data.datasets import IMAGE_TYPES
from minicnn.data.transforms import Transform

MOST_WORKERS = 256


def dataset(value: Any) -> None:
    """Raise TypeError for what is no data set, and ValueError for an empty one."""
    if not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise TypeError(
            f"DataLoader expected a data set with len() and [i], got {type(value).__name__}; "
            "for two arrays use ArrayDataset(images, labels)"
        )
    if len(value) == 0:
        raise ValueError("DataLoader expected a data set with at least one sample, got an empty one")


def whole(value: Any, name: str, least: int, most: int | None = None) -> int:
    """A whole number from `least` to `most` as an int."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"DataLoader expected a whole number as {name}, got {value!r}")
    if value < least or (most is not None and value > most):
        limit = "" if most is None else f" and at most {most}"
        raise ValueError(f"DataLoader expected {name} of at least {least}{limit}, got {value}")
    return int(value)


def part(value: Any) -> tuple[int, int]:
    """A rank and the number of ranks."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"DataLoader expected part to be (rank, size), got {value!r}")
    size = whole(value[1], "the size of part", 1)
    return whole(value[0], "the rank of part", 0, size - 1), size


def function(value: Any, name: str, expected: str) -> None:
    """Raise TypeError for what cannot be called; None is none."""
    if isinstance(value, type) or not (value is None or isinstance(value, Transform) or callable(value)):
        raise TypeError(f"DataLoader expected {name} to be {expected}, got {value!r}")


def full_batch(samples: int, batch_size: int) -> None:
    """Raise ValueError where drop_last leaves nothing."""
    if samples < batch_size:
        raise ValueError(
            f"drop_last leaves no batch: the data set has {samples} samples, fewer than batch_size={batch_size}; "
            "use drop_last=False or a smaller batch_size"
        )


class naming:
    """Whatever is raised inside is the cause of a RuntimeError that says where it was: in a data set or a transform.

    A class, because what contextlib makes of a generator takes a StopIteration for the generator's own end.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            raise RuntimeError(f"{self.name} raised {type(error).__name__}: {error}") from error


def sample(value: Any, name: str) -> tuple[np.ndarray, int]:
    """The image and the label of a sample of any data set."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"{name}: the data set should give (image, label), got {type(value).__name__}; "
            "for two arrays use ArrayDataset(images, labels)"
        )
    image = np.asarray(value[0])
    if image.dtype.type not in IMAGE_TYPES:
        raise TypeError(f"{name}: expected an image of uint8, float32 or float64, got {image.dtype}")
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"{name}: expected an image of shape (H, W, C), got shape {image.shape}")
    try:
        label = operator.index(value[1])
    except TypeError:
        raise TypeError(f"{name}: expected an integer label, got {value[1]!r}") from None
    if not 0 <= label < 2**63:
        raise ValueError(f"{name}: expected a label from 0 up, got {label}")
    return image, label


def are_alike(images: Sequence[np.ndarray]) -> bool:
    """Whether the images have one shape and dtype."""
    return all((image.shape, image.dtype) == (images[0].shape, images[0].dtype) for image in images)


def difference(images: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """What to say of images (1, H, W, C) that are not alike."""
    said = [f"{name} is {image.dtype} of shape {image.shape[1:]}" for name, image in zip(names, images, strict=True)]
    other = next(i for i in range(len(images)) if not are_alike([images[0], images[i]]))
    return (
        f"the samples of a batch have to be alike: {said[0]}, {said[other]}; "
        "crop or resize them to one size, with a transform"
    )


def changed_image(after: Any, before: np.ndarray, name: str) -> np.ndarray:
    """What a function made of an image (H, W, C)."""
    if not isinstance(after, np.ndarray):
        raise TypeError(f"{name}: expected an array of shape (H, W, C), got {after!r}")
    if after.ndim != 3 or after.size == 0:
        raise ValueError(f"{name}: expected an image of shape (H, W, C), got shape {after.shape}")
    # uint8 that silently became float would not be divided by 255, and the model would see values 255 times too large.
    if after.dtype != before.dtype:
        raise TypeError(
            f"{name}: the image went in as {before.dtype} and came out as {after.dtype}; "
            f"end the transform with .astype(image.dtype), or give the data set images of {after.dtype}"
        )
    return after


def changed_batch(after: Any, n: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What a batch_transform made of a batch of n: x (n, H, W, C), and targets (n,) int64 or (n, K) float32."""
    if not isinstance(after, tuple | list) or len(after) != 2:
        raise TypeError(f"{name}: expected (x, targets), got {type(after).__name__}")
    x, targets = after
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim != 4 or len(x) != n or x.size == 0:
        raise ValueError(f"{name}: expected x to be float32 of shape ({n}, H, W, C), got {_described(x)}")
    if not isinstance(targets, np.ndarray) or targets.ndim not in (1, 2) or len(targets) != n:
        raise ValueError(f"{name}: expected targets of shape ({n},) or ({n}, K), got {_described(targets)}")
    return x, _labels(targets, name) if targets.ndim == 1 else _probabilities(targets, name)


def _labels(targets: np.ndarray, name: str) -> np.ndarray:
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected targets ({len(targets)},) to be whole numbers, got {targets.dtype}")
    if targets.min() < 0:
        raise ValueError(f"{name}: expected labels from 0 up, got {targets.min()}")
    return targets.astype(np.int64, copy=False)


def _probabilities(targets: np.ndarray, name: str) -> np.ndarray:
    if targets.dtype.kind != "f":
        raise TypeError(f"{name}: expected targets {targets.shape} to be floats, got {targets.dtype}")
    sums = targets.sum(axis=1)
    if not (targets >= 0).all() or not np.allclose(sums, 1, atol=1e-4):
        raise ValueError(
            f"{name}: expected each row of the targets to be probabilities that add up to 1, got rows with sums from "
            f"{sums.min():g} to {sums.max():g} and a smallest entry of {targets.min():g}"
        )
    return targets.astype(np.float32, copy=False)


def _described(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
