"""MNIST, and two sets in its format that are harder: 60000 + 10000 grey images of 28 x 28 pixels in ten classes.

Each consists of four IDX files, which bear the same names in every set.
"""

import contextlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minicnn._download import cache_folder, download_file
from minicnn.data.datasets import ArrayDataset
from minicnn.data.idx import AGAIN, check_digest, read_idx
from minicnn.nn.checks import flag

Pair = tuple[ArrayDataset, ArrayDataset]
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

MNIST_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
# The SHA-256 of each uncompressed file.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True)
class Family:
    """A set that is not part of the package.

    title, function: what it is called, and what reads it. place: its folder in the cache.
    mirrors: where the four files are published, compressed, asked in this order.
    sha256: of each file; of the compressed one where `packed` is true, and else of what is in it.
    elsewhere: a folder in which to look before the cache, and the phrase that says how it comes to be.
    """

    title: str
    function: str
    place: str
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]
    packed: bool
    classes: tuple[str, ...]
    elsewhere: tuple[Path, str] | None = None

    def find(self, folder: Path) -> dict[str, Path]:
        """Those of the four files that are in the folder; `.gz` first, since that is how they are published."""
        suffixes = (".gz",) if self.packed else ("", ".gz")
        candidates = [(name, folder / (name + suffix)) for name in self.sha256 for suffix in suffixes]
        return {name: path for name, path in candidates if path.is_file()}

    def read(self, name: str, path: Path) -> np.ndarray:
        """The array in one of the files. Raises ValueError, naming the path, where it is not the published one."""
        if not self.packed:
            return read_idx(path, self.sha256[name])
        try:
            check_digest(path, "sha256", self.sha256[name])
        except ValueError as error:
            raise ValueError(f"{path}: {error}; {AGAIN}") from error
        return read_idx(path)

    def check(self, name: str, path: Path) -> None:
        """As `read`, of a file that is deleted if it is wrong: the advice to do that would only confuse."""
        try:
            self.read(name, path)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{path}: ").removesuffix(f"; {AGAIN}")) from error


FASHION = Family(
    "Fashion-MNIST",
    "fashion_mnist",
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # its authors, here and on GitHub
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",  # Keras
    ),
    {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    False,
    (
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
    ),
    (DEBIAN_FOLDER, "Debian's package dataset-fashion-mnist"),
)
KMNIST = Family(
    "KMNIST",
    "kmnist",
    "kmnist",
    ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
    # Of the compressed files, since nobody publishes others: tensorflow_datasets/url_checksums/kmnist.txt in the
    # repository tensorflow/datasets.
    {
        "train-images-idx3-ubyte": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    },
    True,
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)


def mnist() -> Pair:
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
        return _pair({name: read_idx(paths[name], MNIST_SHA256[name]) for name in paths}, MNIST_CLASSES)


def fashion_mnist(folder: str | os.PathLike[str] | None = None, download: bool = True) -> Pair:
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
    return _read(FASHION, folder, download)


def kmnist(folder: str | os.PathLike[str] | None = None, download: bool = True) -> Pair:
    """KMNIST, Kuzushiji-MNIST: ten letters of Hiragana in the cursive hand of old Japanese books, in MNIST's format.

    Each class is one letter that was written in quite different ways, so that it is harder to learn than digits.

    folder: where its four IDX files lie, as they are published: compressed. None looks in the cache:
        $MINICNN_CACHE/kmnist if that is set, else minicnn/kmnist in $XDG_CACHE_HOME or ~/.cache.
    download: whether a file that is not there may be downloaded (21 MB in all, once) into the cache.

    Returns (train, test), of images (60000, 28, 28, 1) and (10000, 28, 28, 1), uint8; `classes` has the ten sounds.
    Raises FileNotFoundError where files are missing, OSError where one cannot be downloaded, and ValueError where
    one is not, byte for byte, the published file.

    Source: T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto, D. Ha, "Deep learning for classical
    Japanese literature", 2018, arXiv:1812.01718. Licence: CC BY-SA 4.0.
    """
    return _read(KMNIST, folder, download)


def _read(family: Family, folder: str | os.PathLike[str] | None, download: bool) -> Pair:
    flag(download, family.function, "download")
    if folder is not None:
        paths = family.find(Path(folder))
        if missing := family.sha256.keys() - paths.keys():
            raise FileNotFoundError(
                f"{os.fspath(folder)}: {_listed(missing)} not found there; name the folder with the four files of "
                f"{family.title}, or leave out folder="
            )
    else:
        paths = family.find(family.elsewhere[0]) if family.elsewhere else {}
        if len(paths) < len(family.sha256):
            paths = _cached_files(family, download)
    return _pair({name: family.read(name, paths[name]) for name in family.sha256}, family.classes)


def _cached_files(family: Family, download: bool) -> dict[str, Path]:
    """The four files in the cache, after what is missing has been downloaded into it."""
    folder = cache_folder() / family.place
    missing = sorted(family.sha256.keys() - family.find(folder).keys())
    cure = f"put {_listed(family.sha256)} into {folder}, or name their folder: {family.function}(folder=...)"
    looked = ""
    if family.elsewhere is not None:
        cure, looked = f"{cure}, or install {family.elsewhere[1]}", f", nor in {family.elsewhere[0]}"
    if missing and not download:
        raise FileNotFoundError(f"{folder}: {_listed(missing)} not found there{looked}; {cure}")
    for name in missing:
        urls = [f"{mirror}{name}.gz" for mirror in family.mirrors]
        download_file(urls, folder / f"{name}.gz", partial(family.check, name), cure)
    return family.find(folder)


def _pair(arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> Pair:
    def dataset(part: str) -> ArrayDataset:
        images = arrays[f"{part}-images-idx3-ubyte"][..., np.newaxis]  # (M, H, W) -> (M, H, W, 1)
        return ArrayDataset(images, arrays[f"{part}-labels-idx1-ubyte"], classes)

    return dataset("train"), dataset("t10k")


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"{name}.gz" for name in sorted(names))
