"""Data sets: labelled images in two arrays, and the two sets of 28 x 28 grey images that everybody begins with."""

import contextlib
import operator
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import SupportsIndex

import numpy as np

from minicnn._download import cache_folder, download_file
from minicnn.data.idx import AGAIN, read_idx

IMAGE_TYPES = (np.uint8, np.float32, np.float64)

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

MNIST_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# The SHA-256 of each uncompressed file. Both sets bear the same file names.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


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


def mnist() -> tuple[ArrayDataset, ArrayDataset]:
    """MNIST: handwritten digits, 60000 to train on and 10000 to test on. It comes with minicnn; nothing is downloaded.

    Returns (train, test), of images (60000, 28, 28, 1) and (10000, 28, 28, 1), uint8, 0 for the background and 255
    for ink; the class names are "0" to "9".
    Raises ValueError or FileNotFoundError where an installed file is damaged or missing.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    1998, section III.A. Licence: CC BY-SA 3.0, see files/LICENSE.md beside this module.
    """
    from importlib import resources

    folder = resources.files("minicnn.data") / "files"
    with contextlib.ExitStack() as stack:  # as_file unpacks them where the package is imported from a zip file
        paths = {name: stack.enter_context(resources.as_file(folder / f"{name}.gz")) for name in MNIST_SHA256}
        return _read_pair(paths, MNIST_SHA256, MNIST_CLASSES)


def fashion_mnist(
    folder: str | os.PathLike[str] | None = None, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """Fashion-MNIST: pictures of clothes in MNIST's format, and harder to tell apart than digits.

    folder: where its four IDX files lie, compressed or not. None looks in /usr/share/datasets/fashion-mnist (where
        Debian's package dataset-fashion-mnist puts them), then in the cache: $MINICNN_CACHE/fashion-mnist if that
        is set, else minicnn/fashion-mnist in $XDG_CACHE_HOME or ~/.cache.
    download: whether a file that is in none of these may be downloaded (30 MB in all, once) into the cache.

    Returns (train, test), of images (60000, 28, 28, 1) and (10000, 28, 28, 1), uint8; `classes` has the ten names.
    Raises FileNotFoundError where files are missing, OSError where one cannot be downloaded, and ValueError where
    one is not, byte for byte, the published file.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", 2017, arXiv:1708.07747. Licence: MIT.
    """
    if folder is not None:
        paths = _find_files(Path(folder))
        if missing := FASHION_SHA256.keys() - paths.keys():
            raise FileNotFoundError(
                f"{os.fspath(folder)}: {_listed(missing)} not found there; name the folder with the four files of "
                "Fashion-MNIST, or leave out folder="
            )
    else:
        paths = _find_files(DEBIAN_FOLDER)
        if len(paths) < len(FASHION_SHA256):
            paths = _cached_files(download)
    return _read_pair(paths, FASHION_SHA256, FASHION_CLASSES)


def _read_pair(
    paths: Mapping[str, Path], sha256s: Mapping[str, str], classes: tuple[str, ...]
) -> tuple[ArrayDataset, ArrayDataset]:
    arrays = {name: read_idx(paths[name], sha256s[name]) for name in sha256s}

    def dataset(part: str) -> ArrayDataset:
        images = arrays[f"{part}-images-idx3-ubyte"][..., np.newaxis]  # (M, H, W) -> (M, H, W, 1)
        return ArrayDataset(images, arrays[f"{part}-labels-idx1-ubyte"], classes)

    return dataset("train"), dataset("t10k")


def _find_files(folder: Path) -> dict[str, Path]:
    """Those of the four files that are in the folder; `.gz` first, since that is how they are published."""
    candidates = [(name, folder / (name + suffix)) for name in FASHION_SHA256 for suffix in ("", ".gz")]
    return {name: path for name, path in candidates if path.is_file()}


def _cached_files(download: bool) -> dict[str, Path]:
    """The four files in the cache, after what is missing has been downloaded into it."""
    folder = cache_folder() / "fashion-mnist"
    missing = sorted(FASHION_SHA256.keys() - _find_files(folder).keys())
    cure = (
        f"put {_listed(FASHION_SHA256)} into {folder}, or name their folder: fashion_mnist(folder=...), or install "
        "Debian's package dataset-fashion-mnist"
    )
    if missing and not download:
        raise FileNotFoundError(f"{folder}: {_listed(missing)} not found there, nor in {DEBIAN_FOLDER}; {cure}")
    for name in missing:
        download_file(f"{FASHION_URL}{name}.gz", folder / f"{name}.gz", partial(_check_idx, FASHION_SHA256[name]), cure)
    return _find_files(folder)


def _check_idx(sha256: str, path: Path) -> None:
    try:
        read_idx(path, sha256)
    except ValueError as error:
        # The file at this path is about to be gone, so the advice to delete it would only confuse.
        raise ValueError(str(error).removeprefix(f"{path}: ").removesuffix(f"; {AGAIN}")) from error


def _listed(names: Sequence[str] | Mapping[str, str] | set[str]) -> str:
    return ", ".join(f"{name}.gz" for name in sorted(names))


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
