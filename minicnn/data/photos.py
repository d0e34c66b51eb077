"""Photos as the networks for ImageNet expect them, and the names of its 1000 classes."""

from __future__ import annotations

import os
import re
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from minicnn.ops.checks import is_whole

if TYPE_CHECKING:
    from PIL import Image

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in [0, 1] on ImageNet
PIXELS = 2**27  # more than any camera makes: a small file can ask for as many as would fill the memory
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
ORIENTATION = 0x0112  # of the tags of EXIF, the one that says how the camera was held
ELONGATION = 50  # as much longer than the other may a side be; resized, such a photo is a large one

_PILLOW = re.compile("PIL")  # the module that a warning is of


def read_photo(
    path: str | os.PathLike[str],
    size: int = 224,
    short_side: int = 256,
    mean: tuple[float, float, float] = MEAN,
    deviation: tuple[float, float, float] = DEVIATION,
) -> np.ndarray:
    """A photo as networks see it that were trained on ImageNet: an array (size, size, 3) of float32.

    It is turned as the camera was held, resized until its short side has short_side pixels (bilinear, over all pixels
    of the original that one covers; the long side is rounded), cut to the middle, and each channel becomes
    (channel / 255 - mean) / deviation. Grey photos get three equal channels, of 16 bits the upper 8; what is
    transparent is laid on white.

    path: a JPEG, PNG, GIF, BMP, TIFF, WebP or PPM file; of an animation the first picture.
    size, short_side: in pixels, size <= short_side.
    mean, deviation: of red, green and blue in [0, 1].

    Raises FileNotFoundError; ImportError without Pillow; ValueError that names the file, where it is no image, is
    truncated or too large, and where size and short_side are no sizes or a deviation is not above 0.

    Source: the evaluation of Krizhevsky et al. 2012, section 2, with the sizes of torchvision's references.
    """
    if not (is_whole(size) and is_whole(short_side) and 1 <= size <= short_side <= 2**13):
        raise ValueError(f"read_photo expected 1 <= size <= short_side <= 8192, got {size} and {short_side}")
    if min(deviation) <= 0:
        raise ValueError(f"read_photo expected deviations above 0, got {deviation}")
    image = _middle(read_rgb(os.fspath(path)), size, short_side)
    x = np.asarray(image, np.float32) / 255
    return (x - np.array(mean, np.float32)) / np.array(deviation, np.float32)


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of their numbers: number 285 is "Egyptian cat".

    Source: torchvision/models/_meta.py, see files/LICENSE.md beside this module.
    """
    from importlib import resources

    text = (resources.files("minicnn.data") / "files" / "imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def read_rgb(path: str) -> Image.Image:
    """The image in a file, upright and in RGB; of an animation the first.

    Only the formats of `FORMATS` are tried: some of Pillow's others start a program to read what is in them.
    Raises FileNotFoundError, and ValueError, naming the file, for every fault of what is in it.
    """
    Image = _pillow()
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                _check_size(*image.size)
                image.load()
                return _as_rgb(_upright(image))
        except Image.UnidentifiedImageError as error:
            raise ValueError(f"{path} is no image that Pillow can read") from error
        except Exception as error:  # of a damaged file Pillow's many readers raise almost anything
            raise ValueError(f"{path} cannot be read as a photo: {error}") from error


def _pillow() -> ModuleType:
    """Pillow's module Image, hushed: of what Pillow warns about, here is an error or nothing to be done.

    Not by warnings.catch_warnings, which threads that read photos would undo for each other.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('to read photos Pillow is needed: pip install "minicnn[photos]"') from error

    if not any(module == _PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)
    return Image


def _check_size(W: int, H: int) -> None:
    if W * H > PIXELS:
        raise ValueError(f"it has {W} x {H} pixels, more than {PIXELS}: make it smaller")
    if max(W, H) > ELONGATION * min(W, H):
        raise ValueError(f"it has {W} x {H} pixels, a strip more than {ELONGATION} times as long as wide: cut it")


def _upright(image: Image.Image) -> Image.Image:
    """The image as the camera was held. What else its EXIF says may be as wrong as it likes: the pixels are turned
    alone, where Pillow's exif_transpose would write all of it anew."""
    from PIL import Image

    turn = Image.Transpose
    turns = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
             6: turn.ROTATE_270, 7: turn.TRANSVERSE, 8: turn.ROTATE_90}  # fmt: skip
    needed = turns.get(image.getexif().get(ORIENTATION, 1))
    return image if needed is None else image.transpose(needed)


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "I;16L"):  # 16 bits, which `convert` would cut off at 255
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floats, and nobody knows which of them is white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _middle(image: Image.Image, size: int, short_side: int) -> Image.Image:
    """The square in the middle, after the short side has been made `short_side` pixels long."""
    from PIL import Image

    scale = short_side / min(image.size)
    W, H = (round(side * scale) for side in image.size)
    left, top = round((W - size) / 2), round((H - size) / 2)
    return image.resize((W, H), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
