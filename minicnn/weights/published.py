"""Where trained weights are published, and how the photos are prepared that they were trained on."""

import difflib
import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .._download import cache_folder, download_file
from ..data.photos import DEVIATION, MEAN

URL = "https://download.pytorch.org/models/"
HALVES = (0.5, 0.5, 0.5)
_CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class Published:
    """Weights trained on ImageNet.

    file: behind `URL`; before the dot it bears the first digits of its SHA-256.
    short_side: of a photo before the middle is cut out, in pixels.
    mean, deviation: subtracted from red, green and blue in [0, 1], and divided by.
    """

    file: str
    short_side: int = 256
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[float, float, float] = DEVIATION


# torchvision/models/*.py: the weights that it calls IMAGENET1K_V1, by the name of the network here and there. Its
# GoogLeNet and Inception v3 (`transform_input`) and with them their weights see pixels from -1 to 1.
PUBLISHED = {
    "alexnet": Published("alexnet-owt-7be5be79.pth"),
    "densenet121": Published("densenet121-a639ec97.pth"),
    "googlenet": Published("googlenet-1378be20.pth", mean=HALVES, deviation=HALVES),
    "inception_v3": Published("inception_v3_google-0cc3c7bd.pth", 342, HALVES, HALVES),
    "mobilenet_v2": Published("mobilenet_v2-b0353104.pth"),
    "resnet18": Published("resnet18-f37072fd.pth"),
    "resnet34": Published("resnet34-b627a593.pth"),
    "resnet50": Published("resnet50-0676ba61.pth"),
    "resnet101": Published("resnet101-63fe2227.pth"),
    "resnet152": Published("resnet152-394f9c45.pth"),
    "resnext50_32x4d": Published("resnext50_32x4d-7cdf4587.pth"),
    "resnext101_32x8d": Published("resnext101_32x8d-8ba56ff5.pth"),
    "resnext101_64x4d": Published("resnext101_64x4d-173b62eb.pth", short_side=232),
    "squeezenet1_0": Published("squeezenet1_0-b66bff10.pth"),
    "vgg11": Published("vgg11-8a719046.pth"),
    "vgg11_bn": Published("vgg11_bn-6002323d.pth"),
    "vgg13": Published("vgg13-19584684.pth"),
    "vgg13_bn": Published("vgg13_bn-abd245e5.pth"),
    "vgg16": Published("vgg16-397923af.pth"),
    "vgg16_bn": Published("vgg16_bn-6c64b313.pth"),
    "vgg19": Published("vgg19-dcbb9e9d.pth"),
    "vgg19_bn": Published("vgg19_bn-c79401a0.pth"),
    "wide_resnet50_2": Published("wide_resnet50_2-95faca4d.pth"),
    "wide_resnet101_2": Published("wide_resnet101_2-32ee1156.pth"),
}


def locate(source: str | os.PathLike[str]) -> Path:
    """The file of weights: a path as it is, a name of PUBLISHED in the cache, after a download where it is not there.

    The cache is the folder weights in `cache_folder()`. A file there is held against its SHA-256 each time.

    Raises FileNotFoundError where there is neither such a file nor such a name, with the names that look like it;
    OSError where the download fails; ValueError where the file is not the published one.
    """
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"expected the path of a file of weights or a name such as 'resnet50', got {source!r}")
    path = Path(source)
    if path.is_file() or isinstance(source, os.PathLike):
        return path
    if source in PUBLISHED:
        return _cached(PUBLISHED[source].file)
    near = difflib.get_close_matches(source, PUBLISHED, n=3, cutoff=0.5) or PUBLISHED
    raise FileNotFoundError(
        f"there is no file {source!r}, and no weights are published under that name here: there are {', '.join(near)}"
    )


def _cached(name: str) -> Path:
    path = cache_folder() / "weights" / name
    if not path.exists():
        cure = f"download it elsewhere and put it at {path}, or give its path to load_pretrained"
        download_file([URL + name], path, partial(_check, name), cure)
    try:
        _check(name, path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete the file, and it is downloaded again") from error
    return path


def _check(name: str, path: Path) -> None:
    """Raise ValueError unless the SHA-256 of the file at `path` begins as the name says."""
    expected, digest = name.removesuffix(".pth").rpartition("-")[2], hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if not digest.hexdigest().startswith(expected):
        raise ValueError(f"the SHA-256 of the file begins with {digest.hexdigest()[:8]}, not with {expected}")
