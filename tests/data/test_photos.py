"""Photos prepared for the networks of ImageNet, and files that are none."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from minicnn.data import imagenet_classes, read_photo
from minicnn.data.photos import read_rgb

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
rng = np.random.default_rng(0)
PIXELS = np.random.default_rng(1).integers(0, 256, (5, 8, 3), np.uint8)


def prepared(pixels):
    return (np.asarray(pixels) / 255 - MEAN) / DEVIATION


def saved(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("shape", "top", "left"), [((256, 256), 16, 16), ((256, 300), 16, 38), ((301, 256), 38, 16), ((256, 259), 16, 18)]
)
def test_the_middle_of_a_photo_that_has_the_size_already(tmp_path, shape, top, left):
    pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
    x = read_photo(saved(tmp_path / "a.png", pixels))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, prepared(pixels[top : top + 224, left : left + 224]), rtol=1e-5, atol=1e-6)


def test_bilinear_over_all_pixels_that_one_covers(tmp_path):
    """Half as large: weights 1, 3, 3, 1 of 8 along each axis, a triangle over four pixels."""
    pixels = rng.integers(0, 256, (12, 16, 3), np.uint8)
    x = read_photo(saved(tmp_path / "a.png", pixels), 4, 6, (0, 0, 0), (1, 1, 1)) * 255
    for i, j in np.ndindex(4, 4):
        y, z = 2 * (i + 1), 2 * (j + 2)
        window = pixels[y - 1 : y + 3, z - 1 : z + 3].astype(float)
        expected = np.einsum("i,j,ijc->c", *[np.array([1, 3, 3, 1]) / 8] * 2, window)
        np.testing.assert_allclose(x[i, j], expected, atol=1.01)  # Pillow rounds twice, each axis for itself


def test_the_long_side_is_rounded(tmp_path):
    """19 x 10 becomes 6 x 3, since 3 * 19 / 10 = 5.7: its middle has other columns than that of 5 x 3."""
    pixels = np.zeros((10, 19, 3), np.uint8) + np.arange(0, 190, 10, dtype=np.uint8)[:, None]
    x = read_photo(saved(tmp_path / "a.png", pixels), 3, 3, (0, 0, 0), (1, 1, 1)) * 255
    for j in range(3):
        centre = (j + 2 + 0.5) * 19 / 6 - 0.5  # in the original, whose columns rise by 10
        np.testing.assert_allclose(x[:, j], 10 * centre, atol=1)


def constant(path, mode, colour, **settings):
    Image.new(mode, (40, 30), colour).save(path, **settings)
    return read_photo(path, 8, 16, (0, 0, 0), (1, 1, 1))[3, 3] * 255


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("RGB", (10, 20, 30), "png", (10, 20, 30)),
        ("L", 77, "png", (77, 77, 77)),
        ("1", 1, "png", (255, 255, 255)),
        ("I;16", 0x4D12, "png", (0x4D, 0x4D, 0x4D)),
        ("RGBA", (10, 20, 30, 255), "png", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), "png", (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), "png", (204, 204, 204)),
        ("LA", (0, 0), "png", (255, 255, 255)),
        ("P", 0, "gif", (0, 0, 0)),
        ("CMYK", (255, 0, 0, 0), "tiff", (0, 255, 255)),
        ("RGB", (200, 100, 50), "bmp", (200, 100, 50)),
    ],
)
def test_every_kind_of_colour(tmp_path, mode, colour, suffix, expected):
    np.testing.assert_allclose(constant(tmp_path / f"a.{suffix}", mode, colour), expected, atol=1)


def test_a_photo_taken_with_the_camera_on_its_side_is_turned(tmp_path):
    pixels = np.zeros((64, 32, 3), np.uint8)
    pixels[:32] = (250, 0, 0)  # red above, when it is upright
    image = Image.fromarray(pixels).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise", and `rotate` turned it the other way
    image.save(tmp_path / "a.png", exif=exif)
    x = read_photo(tmp_path / "a.png", 32, 32, (0, 0, 0), (1, 1, 1))
    assert x[2, 16, 0] > 0.9
    assert x[-3, 16, 0] < 0.1


def jpeg_of(orientation, *tags):
    """A JPEG whose EXIF has an orientation and other tags (number, type, count, four bytes), written by hand."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", quality=95, subsampling=0)
    tags = [(0x0112, 3, 1, struct.pack(">HH", orientation, 0)), *tags]
    entries = b"".join(struct.pack(">HHI", *numbers) + value for *numbers, value in tags)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4)
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + file.getvalue()[2:]


# What is seen upright at (row, column), of the rows and columns stored: as the table of EXIF's tag 0x0112 says where
# the 0th row and the 0th column are.
UPRIGHT = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.transpose(1, 0, 2),  # left, top
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],  # right, top
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],  # left, bottom
    0: lambda stored: stored,  # no orientation at all: left as it is
    9: lambda stored: stored,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_orientation_whatever_else_the_exif_says(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_of(1))
    stored = np.asarray(read_rgb(str(path)))
    assert stored.shape == PIXELS.shape
    odd = (0x011A, 2, 4, b"72\0\0")  # the resolution in letters, where a fraction belongs
    for tags in ((), (odd,)):
        path.write_bytes(jpeg_of(orientation, *tags))
        np.testing.assert_array_equal(np.asarray(read_rgb(str(path))), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.tiff", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_rgb(str(tmp_path / "a.tiff"))), UPRIGHT[orientation](PIXELS))


def png_of(W, H):
    """A PNG whose header claims W x H pixels, with ten bytes of them behind it."""
    header, body = b"IHDR" + struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"")[:10]
    chunks = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (header, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no image that Pillow can read"),
        (b"PK\x03\x04", "is no image"),
        (b"<html>", "is no image"),
        (b"\x89PNG\r\n\x1a\n", "photo"),
        (png_of(100, 100), "cannot be read as a photo"),
        (png_of(11_586, 11_586), "has 11586 x 11586 pixels, more than 134217728: make it smaller"),
        (png_of(100_000, 100_000), "cannot be read as a photo: .*decompression bomb"),
        (png_of(1, 51), "a strip more than 50 times as long as wide"),
        (png_of(0, 5), "cannot be read as a photo|is no image"),
    ],
)
def test_what_is_no_photo_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_photo(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff"])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", rng.integers(0, 256, (40, 40, 3), np.uint8))
    content = path.read_bytes()
    for length in range(0, len(content) * 9 // 10, max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"no image|cannot be read"):
            read_photo(path)


def test_other_faults(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(IsADirectoryError):
        read_photo(tmp_path)
    for size, short_side in ((0, 256), (300, 256), (224, 10**5), (224.5, 256), ("224", 256)):
        with pytest.raises(ValueError, match=f"1 <= size <= short_side <= 8192, got {size} and {short_side}"):
            read_photo(tmp_path / "a", size, short_side)
    with pytest.raises(ValueError, match=r"deviations above 0, got \(1, 0, 1\)"):
        read_photo(tmp_path / "a", deviation=(1, 0, 1))
    Image.new("F", (40, 40)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="its pixels are floats"):
        read_photo(tmp_path / "a.tiff")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "minicnn\[photos\]"'):
        read_photo(tmp_path / "a.tiff")


# Numbers and names as ImageNet's competition of 2012 has them.
@pytest.mark.parametrize(
    ("number", "name"), [(0, "tench"), (1, "goldfish"), (285, "Egyptian cat"), (340, "zebra"), (967, "espresso"),
                         (999, "toilet tissue")]
)  # fmt: skip
def test_the_classes_of_imagenet(number, name):
    classes = imagenet_classes()
    assert classes[number] == name
    assert len(set(classes)) == len(classes) == 1000
