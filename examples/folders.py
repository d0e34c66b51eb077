"""What train_folder.py and fine_tune.py share: a folder of photos as two data sets, a last layer for its classes."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import drawn_pets
import numpy as np
import script  # noqa: F401  before minicnn: it says what to do where that is missing
import together

import minicnn as mc
from minicnn import data
from minicnn.data import transforms

DRAWN = 300  # pictures with --demo


class Part:
    """Some of the images of an ImageFolder, as a data set: those with these numbers."""

    def __init__(self, whole: data.ImageFolder, numbers: np.ndarray) -> None:
        self.whole, self.numbers = whole, numbers
        self.labels, self.classes = whole.labels[numbers], whole.classes

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.whole[self.numbers[index]]

    def describe(self, index: int) -> str:
        """The path of image `index`, for errors."""
        return self.whole.describe(self.numbers[index])


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is to be learnt, and with what."""
    add = parser.add_argument
    add("dataset", nargs="?", metavar="FOLDER", help="of photos: a folder in it for each class, or the class in each "
        "file's name, as in cat.0.jpg")  # fmt: skip
    add("--demo", action="store_true", help=f"draw {DRAWN} pictures of cats and dogs into runs/drawn_pets, and take "
        "these")  # fmt: skip
    add("--validation", type=float, default=0.2, metavar="SHARE", help="of the photos of each class that are kept for "
        "the test (default: 0.2)")  # fmt: skip
    add("--workers", type=int, default=2, metavar="N", help="threads that read photos ahead (default: 2)")


def load_photos(settings: argparse.Namespace) -> tuple[Part, Part]:
    """The photos to train with, and those for the test, drawn from each class by the seed."""
    if settings.demo == (settings.dataset is not None) and not settings.resume:
        raise ValueError("name a folder of photos, or take drawn ones with --demo: one of them")
    if not 0 < settings.validation < 1:
        raise ValueError(f"--validation expected a share between 0 and 1, got {settings.validation:g}")
    if settings.demo:
        with together.main_first(settings):
            settings.dataset = str(drawn_pets.draw_folder(Path("runs") / "drawn_pets", DRAWN, seed=0))
    photos = data.ImageFolder(settings.dataset)
    check_alike(settings, photos)
    rng, kept, tested = np.random.default_rng(settings.seed), [], []
    for label, name in enumerate(photos.classes):
        numbers = rng.permutation(np.flatnonzero(photos.labels == label))
        tests = max(1, round(settings.validation * len(numbers)))
        if tests == len(numbers):
            raise ValueError(
                f"{settings.dataset}: with --validation {settings.validation:g} no {name} is left to learn"
            )
        tested.append(numbers[:tests])
        kept.append(numbers[tests:])
    return Part(photos, np.sort(np.concatenate(kept))), Part(photos, np.sort(np.concatenate(tested)))


def check_alike(settings: argparse.Namespace, photos: data.ImageFolder) -> None:
    """Raise ValueError where a resumed run would find other photos: others would be drawn for the test, and it would
    be examined with those that it has learnt. The settings keep what was found, as a checksum of the names."""
    names = "\n".join(Path(path).relative_to(settings.dataset).as_posix() for path in photos.paths)
    found = hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()
    if getattr(settings, "photos", found) != found:
        raise ValueError(f"{settings.dataset} does not hold the photos that the run was begun with: put those back, "
                         "or begin a new run")  # fmt: skip
    settings.photos = found


def training_loader(settings: argparse.Namespace, photos: Part, augment: transforms.Transform) -> data.DataLoader:
    """Batches to train with, shuffled. A last one is left out that is too small for some rank to have two photos:
    batch normalisation behind a linear layer needs as many, since one has no spread."""
    ranks = together.ranks(settings)
    rest, least = len(photos) % max(1, settings.batch_size), 2 * (1 if ranks is None else ranks.size)
    drop_last = 0 < rest < least and len(photos) >= settings.batch_size
    return data.DataLoader(photos, settings.batch_size, True, augment, drop_last, workers=settings.workers)


def middles(photos: Part, size: int, short_side: int, batch_size: int, workers: int,
            end: Sequence[transforms.Transform] = ()) -> data.DataLoader:  # fmt: skip
    """The middle of each photo, size x size of short_side pixels, in order. end: what else is done with it."""
    cut = transforms.Compose([transforms.Resize(short_side), transforms.CenterCrop(size), *end])
    return data.DataLoader(photos, batch_size, transform=cut, workers=workers)


def predict(
    trainer: mc.Trainer, loader: data.DataLoader, views: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """The outputs (N, K) for all that a loader has; views: as in `Trainer.predict`."""
    return np.concatenate([trainer.predict(x, views=views) for x, _ in loader])


def thumbnails(photos: Part, size: int, workers: int) -> np.ndarray:
    """All photos as one array (N, size, size, 3) uint8, for the pictures of a report."""
    loader = middles(photos, size, size, 32, workers)
    return np.concatenate([np.rint(255 * x).astype(np.uint8) for x, _ in loader])
