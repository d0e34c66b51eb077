"""CIFAR-10: small photographs of ten kinds of things, on which ResNet and its relatives were studied.

It is published in two archives with the same images. In the binary one each image is a record of 3073 bytes: its
label, and its red, green and blue plane, 32 x 32 each, row by row. In the Python one the planes of 10000 images are an
array inside a pickle, which is read without unpickling (`plain_pickle`).
"""

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minicnn._download import cache_folder, download_file
from minicnn.data.datasets import ArrayDataset
from minicnn.data.idx import AGAIN, page_fault
from minicnn.data.plain_pickle import PickledArray, read_pickle

URL = "https://www.cs.toronto.edu/~kriz/"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (32, 32, 3)
IMAGES = 10000  # in each file
_PLANES = 3 * 32 * 32  # bytes of an image
_LIMIT = 2**25  # bytes of a file; the largest has 31 million
_CHUNK = 2**20  # bytes

Batch = tuple[np.ndarray, np.ndarray]  # planes (IMAGES, 3072) and labels (IMAGES,), uint8


@dataclass(frozen=True)
class Form:
    """A form in which CIFAR-10 is published.

    archive: its name; md5: of the whole archive, as its authors publish it. folder: what it unpacks to.
    files: the five to train on, and the one to test on. read: the planes and labels in the bytes of such a file.
    """

    archive: str
    md5: str
    folder: str
    files: tuple[str, ...]
    read: Callable[[bytes], Batch]


def cifar10(folder: str | os.PathLike[str] | None = None, download: bool = True) -> tuple[ArrayDataset, ArrayDataset]:
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
    place = cache_folder() / "cifar-10" if folder is None else Path(folder)
    found = _find(place)
    if found is None and (folder is not None or not download):
        raise FileNotFoundError(f"{place}: CIFAR-10 not found there; {_cure(place)}")
    if found is None:
        found = BINARY, place / BINARY.archive
        download_file(URL + BINARY.archive, found[1], partial(_check_archive, BINARY), _cure(place))
    return _read(*found)


def _cure(place: Path) -> str:
    return (
        f"put {BINARY.archive} or {PYTHON.archive} into {place}, or name the folder with one of them, unpacked or not: "
        "cifar10(folder=...)"
    )


def _find(place: Path) -> tuple[Form, Path] | None:
    """The form that lies in a folder, and its archive, or the folder with its files; archives first."""
    for form in FORMS:
        if (place / form.archive).is_file():
            return form, place / form.archive
    for form in FORMS:
        for unpacked in (place / form.folder, place):
            if all((unpacked / name).is_file() for name in form.files):
                return form, unpacked
    return None


def _read(form: Form, path: Path) -> tuple[ArrayDataset, ArrayDataset]:
    """All of an archive, or of a folder."""
    batches = {}
    for name, content in _unpacked_files(form, path) if path.is_dir() else _archived_files(form, path):
        try:
            batches[name] = form.read(content)
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}; {AGAIN}") from error
    if missing := [name for name in form.files if name not in batches]:
        raise ValueError(f"{path}: {', '.join(missing)} not found in it; {AGAIN}")
    return _dataset([batches[name] for name in form.files[:-1]]), _dataset([batches[form.files[-1]]])


def _dataset(batches: list[Batch]) -> ArrayDataset:
    planes = np.concatenate([planes for planes, _ in batches])
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (M, 3072) -> (M, C, H, W) -> (M, H, W, C)
    return ArrayDataset(np.ascontiguousarray(images), np.concatenate([labels for _, labels in batches]), CLASSES)


def _unpacked_files(form: Form, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file's name and content."""
    for name in form.files:
        _check_size(folder, name, (folder / name).stat().st_size)
        yield name, (folder / name).read_bytes()


def _archived_files(form: Form, path: Path) -> Iterator[tuple[str, bytes]]:
    """Each file's name and content, in the archive's order: read from the stream, and never written anywhere."""
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
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        if fault := page_fault(file.read(512)):
            raise ValueError(fault)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != form.md5:
        raise ValueError(
            f"the MD5 of {form.archive} is {digest.hexdigest()}, expected {form.md5}: it is damaged or another file"
        )


def _read_binary(content: bytes) -> Batch:
    """A file of the binary form: a record (label, planes) for each image."""
    expected = IMAGES * (1 + _PLANES)
    if len(content) != expected:
        raise ValueError(f"expected {expected} bytes, {IMAGES} records of {1 + _PLANES}, got {len(content)}")
    records = np.frombuffer(content, np.uint8).reshape(IMAGES, 1 + _PLANES)
    return records[:, 1:], _checked_labels(records[:, 0])


def _read_python(content: bytes) -> Batch:
    """A file of the Python form: a pickled dictionary with the array "data" and the list "labels"."""
    batch = read_pickle(content)
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        raise ValueError('the pickle is not a dictionary with "data" and "labels"')
    data, labels = batch["data"], batch["labels"]
    planes = data.values if isinstance(data, PickledArray) else None
    if planes is None or planes.shape != (IMAGES, _PLANES):
        raise ValueError(f'"data" should be an array of shape {(IMAGES, _PLANES)}')
    if not isinstance(labels, list) or len(labels) != IMAGES or not all(type(n) is int for n in labels):
        raise ValueError(f'"labels" should be a list of {IMAGES} numbers')
    return planes, _checked_labels(np.clip(labels, -1, 255))


def _checked_labels(labels: np.ndarray) -> np.ndarray:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))
    if wrong.size:
        raise ValueError(f"expected labels from 0 to {len(CLASSES) - 1}, got another one for image {wrong[0]}")
    return labels.astype(np.uint8)


BINARY = Form(
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-10-batches-bin",
    (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
    _read_binary,
)
PYTHON = Form(
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    "cifar-10-batches-py",
    (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
    _read_python,
)
FORMS = (BINARY, PYTHON)
