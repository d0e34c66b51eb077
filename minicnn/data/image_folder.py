"""A data set of image files, sorted into folders by class: read one by one, when they are needed."""

from __future__ import annotations

import copy
import operator
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import SupportsIndex

import numpy as np

from minicnn import _random
from minicnn.data.photos import read_rgb
from minicnn.nn.checks import flag, real

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
_NUMBERED = re.compile(r"(.+)\.\d+\.\w+")  # cat.0.jpg


class ImageFolder:
    """Photos in files, a folder for each class; or all in one folder, with the class before the number in their names.

        train/cat/a.jpg            train/cat.0.jpg
        train/cat/b.png     or     train/cat.1.jpg
        train/dog/c.jpg            train/dog.0.jpg

    folder: train. Folders within those of the classes count to these.
    classes: the names of the classes, in the order of their numbers; None takes those that are found, in the order of
        the alphabet. For a test set, `classes=train.classes` gives them the same numbers.
    follow_links: whether links are followed that lead out of the folder. Those within it are.
    skip_damaged: whether to read all files now, and leave out those that are no images, as whole collections from the
        web have some. Otherwise such a file is an error when its turn comes.

    `len(dataset)` is the number of images; `dataset[i]` is (image, label): (H, W, 3) uint8, fresh, in its own size and
    upright as the camera was held, and an int; `dataset.describe(i)` is the path of its file. Of an animation the first
    picture counts; grey photos get three equal channels, of 16 bits the upper 8; what is transparent is laid on white.
    For batches a transform has to bring them to one size.

    paths, labels, classes: of all images, (M,) each, int64 the labels; and the names of the classes. Classes and files
        are sorted by name, so that the numbers are the same everywhere.
    skipped: what was left out, and why, by path within the folder. Hidden files, with a dot before their name, are not
        mentioned.

    Raises FileNotFoundError and NotADirectoryError for the folder; ValueError where there are fewer than two classes,
    a class has no image, or a folder is not among `classes`; ImportError without Pillow, when an image is read; and
    then ValueError, naming the file, where it is no image, is truncated or too large.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    skipped: dict[str, str]

    def __init__(
        self,
        folder: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        follow_links: bool = False,
        skip_damaged: bool = False,
    ) -> None:
        self.folder = os.fspath(folder)
        self.skipped = {}
        flag(follow_links, "ImageFolder", "follow_links")
        flag(skip_damaged, "ImageFolder", "skip_damaged")
        _check_folder(self.folder)
        names = None if classes is None else _checked_names(classes)
        found = self._by_folder(follow_links)
        if not found:
            self.skipped.clear()
            found = self._by_name(follow_links)
        self.classes = self._checked_classes(found, names)
        samples = [(path, label) for label, name in enumerate(self.classes) for path in found.get(name, ())]
        if skip_damaged:
            samples = [sample for sample in samples if self._is_readable(sample[0])]
            self._check_left({label for _, label in samples}, found)
        self.paths = tuple(path for path, _ in samples)
        self.labels = np.array([label for _, label in samples], np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: SupportsIndex) -> tuple[np.ndarray, int]:
        number = self._checked_index(index)
        return np.array(read_rgb(self.paths[number])), int(self.labels[number])

    def describe(self, index: SupportsIndex) -> str:
        """The path of image `index`, for errors."""
        return self.paths[self._checked_index(index)]

    def split(self, share: float, seed: int = 0) -> tuple[ImageFolder, ImageFolder]:
        """Two parts of the set without a common image: to train on, and to see how well that went.

        share: between 0 and 1, how much of each class is in the first part, rounded to whole images.
        seed: the same seed gives the same parts, whatever `mc.seed` is, so that all trainings are judged alike.

        Raises ValueError for another share, and where it leaves no image for a part.
        """
        if not 0 < real(share, "split", "share") < 1:
            raise ValueError(f"split expected a share between 0 and 1, got {share}")
        first = np.zeros(len(self), bool)
        for label in range(len(self.classes)):
            members = np.flatnonzero(self.labels == label)
            members = _random.generator(seed, _random.SPLIT, label).permutation(members)
            first[members[: round(share * len(members))]] = True
        if first.all() or not first.any():
            raise ValueError(f"split: a share of {share} leaves no image for a part of a data set of {len(self)}")
        return self._part(first), self._part(~first)

    def _part(self, chosen: np.ndarray) -> ImageFolder:
        """The images for which `chosen` (M,) is true, with the numbers that the classes have."""
        part = copy.copy(self)
        part.paths = tuple(path for path, taken in zip(self.paths, chosen, strict=True) if taken)
        part.labels = self.labels[chosen]
        return part

    def _checked_index(self, index: SupportsIndex) -> int:
        try:
            number = operator.index(index)
        except TypeError:
            raise TypeError(f"ImageFolder expected a whole number as index, got {index!r}") from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"there is no image {number} in a data set of {len(self)}")
        return number

    def _by_folder(self, follow_links: bool) -> dict[str, list[str]]:
        """The images of each class, where each has a folder."""
        found = {}
        for entry in _visible(self.folder):
            if not self._may_follow(entry, follow_links):
                continue
            if not entry.is_dir():
                self._skip(entry.path, "it lies beside the folders of the classes")
            else:
                found[entry.name] = list(self._images(entry.path, (os.path.realpath(self.folder),), follow_links))
        return found

    def _by_name(self, follow_links: bool) -> dict[str, list[str]]:
        """The images of each class, where the names of the files say it."""
        found: dict[str, list[str]] = {}
        for path in self._images(self.folder, (), follow_links):
            if match := _NUMBERED.fullmatch(os.path.basename(path)):
                found.setdefault(match[1], []).append(path)
            else:
                self._skip(path, "its name is not of the form cat.0.jpg")
        return dict(sorted(found.items()))

    def _images(self, folder: str, above: tuple[str, ...], follow_links: bool) -> Iterator[str]:
        """The paths of the images in a folder and those below it, by name. above: the real paths of those it is in."""
        real = os.path.realpath(folder)
        if real in above:
            self._skip(folder, "a link to a folder that it lies in")
            return
        for entry in _visible(folder):
            if not self._may_follow(entry, follow_links):
                continue
            if entry.is_dir():
                yield from self._images(entry.path, (*above, real), follow_links)
            elif not entry.name.lower().endswith(SUFFIXES):
                self._skip(entry.path, "by its name it is no image")
            elif not entry.is_file():  # a pipe, on which reading would wait for ever; or a link to nothing
                self._skip(entry.path, "there is no file")
            else:
                yield entry.path

    def _may_follow(self, entry: os.DirEntry[str], follow_links: bool) -> bool:
        """Whether an entry of a folder is no link out of the data set's, or links are to be followed."""
        if follow_links or not entry.is_symlink():
            return True
        inside = os.path.join(os.path.realpath(self.folder), "")
        if (os.path.realpath(entry.path) + os.sep).startswith(inside):
            return True
        self._skip(entry.path, "a link out of the folder; follow_links=True follows it")
        return False

    def _skip(self, path: str, why: str) -> None:
        self.skipped[os.path.relpath(path, self.folder)] = why

    def _is_readable(self, path: str) -> bool:
        try:
            read_rgb(path)
        except ValueError as error:
            self._skip(path, str(error).removeprefix(path).strip())
            return False
        return True

    def _checked_classes(self, found: dict[str, list[str]], names: tuple[str, ...] | None) -> tuple[str, ...]:
        left = f"; left out: {_few(f'{path} ({why})' for path, why in self.skipped.items())}" if self.skipped else ""
        if names is None and len(found) < 2:
            raise ValueError(
                f"{self.folder}: expected a folder of images for each of at least two classes, or files with names "
                f"such as cat.0.jpg and dog.0.jpg, found {_few(found) or 'none'}{left}"
            )
        if names is not None and (strange := found.keys() - set(names)):
            raise ValueError(f"{self.folder}: {_few(strange)} not among the classes {_few(names)}")
        if empty := [name for name, paths in found.items() if not paths]:
            raise ValueError(f"{self.folder}: no image in {_few(empty)}; put some there, or take the folder away{left}")
        if not found:
            raise ValueError(f"{self.folder}: no image of {_few(names or ())} there{left}")
        return names or tuple(found)

    def _check_left(self, labels: set[int], found: Collection[str]) -> None:
        if lost := [name for label, name in enumerate(self.classes) if name in found and label not in labels]:
            faults = _few(f"{path} {why}" for path, why in self.skipped.items())
            raise ValueError(f"{self.folder}: no image in {_few(lost)} can be read: {faults}")


def _check_folder(folder: str) -> None:
    if not os.path.exists(folder):
        raise FileNotFoundError(f"{folder}: there is no such folder; name the one with a folder of images per class")
    if not os.path.isdir(folder):
        raise NotADirectoryError(
            f"{folder} is a file; ImageFolder expected the folder with a folder of images per class"
        )


def _checked_names(classes: Sequence[str]) -> tuple[str, ...]:
    names = tuple(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"ImageFolder expected classes to be names, one for each class, got {classes!r}")
    if len(set(names)) < len(names) or len(names) < 2:
        raise ValueError(f"ImageFolder expected at least two classes, each with its name, got {_few(names) or 'none'}")
    return names


def _visible(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without what is hidden."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _few(names: Iterable[str]) -> str:
    """The first ten, for an error."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
