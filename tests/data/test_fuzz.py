"""Files that are almost right, in great numbers: bytes changed, removed, added and swapped. What comes out is data, or
an error that begins with the file; never a crash, another exception, a file anywhere, or more memory than there is
data. The slow tests are the same with many more files."""

import functools
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

import minicnn as mc
from minicnn import nn, optim
from minicnn.data import ImageFolder, cifar, cifar10, file_dataset
from minicnn.data.photos import read_rgb
from minicnn.data.plain_pickle import read_pickle

FAST, SLOW = 50, 600  # files of a kind


def damaged(rng, content, fields=()):
    """One to four changes of the content. fields: places at which numbers begin that mean much."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(len(content))) if content else 0
        kind = rng.integers(6)
        if kind == 0:
            content[place : place + 1] = bytes([rng.integers(256)])
        elif kind == 1:
            content[place:] = b""
        elif kind == 2:
            content[place:place] = rng.bytes(rng.integers(1, 20))
        elif kind == 3:
            del content[place : place + int(rng.integers(1, 50))]
        elif kind == 4:
            start = int(rng.integers(len(content) + 1))
            content[place:place] = content[start : start + int(rng.integers(1, 200))]
        else:
            place = int(rng.choice(fields)) if len(fields) else place
            extreme = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\0\0\0\1"])
            content[place : place + 4] = extreme
    return bytes(content)


def outcome(action):
    """What it returns, and the message of its ValueError or TypeError; anything else is a failure."""
    try:
        return action(), ""
    except (ValueError, TypeError) as error:
        return None, str(error)


def must_be_named(action, path):
    """What it returns, or None if there is an error, which has to begin with the path."""
    value, error = outcome(action)
    assert not error or error.startswith(str(path)), error
    assert len(error) < 2000
    return value


def how_many(function):
    """The test with few files, and, marked slow, with many."""
    many = [FAST, pytest.param(SLOW, marks=pytest.mark.slow)]
    return pytest.mark.parametrize("count", many)(function)


# Images


def picture(suffix, **settings):
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(20, 30, 3), dtype=np.uint8)
    pixels[5:15, 5:25] = 200
    file, image = io.BytesIO(), Image.fromarray(pixels)
    if "mode" in settings:
        image = image.convert(settings.pop("mode"))
    image.save(file, suffix, **settings)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, "a cat"
PICTURES = {
    "jpeg": lambda: picture("jpeg", exif=EXIF, comment=b"hello"),
    "jpeg progressive": lambda: picture("jpeg", progressive=True),
    "jpeg CMYK": lambda: picture("jpeg", mode="CMYK"),
    "png": lambda: picture("png", exif=EXIF),
    "png palette": lambda: picture("png", mode="P", transparency=b"\x33\x44"),
    "png 16": lambda: picture("png", mode="I;16"),
    "gif": lambda: picture("gif", save_all=True, append_images=[Image.new("RGB", (30, 20))]),
    "bmp": lambda: picture("bmp"),
    "tiff": lambda: picture("tiff"),
    "tiff LZW": lambda: picture("tiff", compression="tiff_lzw"),
    "webp": lambda: picture("webp"),
    "ppm": lambda: picture("ppm"),
}


@how_many
@pytest.mark.parametrize("kind", PICTURES)
def test_images(tmp_path, kind, count):
    content, rng = PICTURES[kind](), np.random.default_rng(count)
    assert read_rgb(str(written(tmp_path / "good", content))).width in (20, 30)
    for name in ("cat", "dog"):
        written(tmp_path / "photos" / name / "a.jpg", content)
    dataset = ImageFolder(tmp_path / "photos")
    path, good = tmp_path / "photos" / "cat" / "a.jpg", 0
    for _ in range(count):
        path.write_bytes(damaged(rng, content, range(min(len(content), 60))))
        image = must_be_named(lambda: dataset[0][0], path)
        if image is not None:
            good += 1
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            assert image.size > 0
    assert good < count
    path.write_bytes(content)
    assert dataset[0][0].shape in ((20, 30, 3), (30, 20, 3))


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@functools.cache
def nothing_packed():
    return zlib.compress(bytes(2**28), 1)


@pytest.mark.parametrize("start", [b"zTXtComment\0\0", b"iTXtComment\0\1\0\0\0", b"iCCPprofile\0\0", b"IDAT"])
def test_what_unpacks_to_more_than_memory(tmp_path, start):
    """A PNG of one pixel with 256 MiB of nothing packed into it."""
    inside = chunk(start[:4], start[4:] + nothing_packed())
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0abc"))
    path = written(tmp_path / "a.png", b"\x89PNG\r\n\x1a\n" + header + inside + pixel + chunk(b"IEND", b""))
    tracemalloc.start()
    try:
        must_be_named(lambda: read_rgb(str(path)), path)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


# Arrays


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


PIXELS = np.random.default_rng(1).integers(256, size=(3, 4, 5), dtype=np.uint8)
ARRAYS = {
    "idx": bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 4, 5) + PIXELS.tobytes(),
    "idx packed": gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 4, 5) + PIXELS.tobytes()),
    "npy": npy(PIXELS),
    "npy floats": npy(PIXELS.astype(np.float64)),
}


@how_many
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(tmp_path, kind, mapped, count):
    rng, labels, path = np.random.default_rng(count), np.arange(3), tmp_path / "images"
    for _ in range(count):
        path.write_bytes(damaged(rng, ARRAYS[kind], range(20)))
        dataset = must_be_named(lambda: file_dataset(path, labels, mapped=mapped), path)
        if dataset is not None:
            assert len(dataset) == 3
            assert sum(int(image.astype(bool).sum()) for image, _ in dataset) <= dataset.images.size


NUMBERS = npy(np.arange(3))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.text(alphabet="{}()[],:'\"descrfortran_ordershapeTrueFalse|u1<f8 0123456789\n\\#", max_size=80),
    version=st.sampled_from([1, 2, 3]),
)
@example("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 1, 1)}", 1)
def test_headers_of_npy(tmp_path, header, version):
    content = header.encode()
    length = struct.pack("<H" if version == 1 else "<I", len(content))
    path = written(tmp_path / "images", b"\x93NUMPY" + bytes([version, 0]) + length + content + b"abc")
    must_be_named(lambda: file_dataset(path, np.arange(3), mapped=True), path)


# CIFAR's archives and pickles


M = 2


@pytest.fixture
def small(tmp_path, monkeypatch):
    """CIFAR-10 with two images a file; what an archive's checksum is, a test says."""
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "cache"))
    forms = cifar.SMALL.binary, cifar.SMALL.python
    published = [(form.md5, form.files) for form in forms]
    for form in forms:
        object.__setattr__(form, "files", dict.fromkeys(form.files, M))
    yield
    for form, (md5, files) in zip(forms, published, strict=True):
        object.__setattr__(form, "md5", md5)
        object.__setattr__(form, "files", files)


def binary_file(number):
    rng = np.random.default_rng(number)
    return b"".join(bytes([n]) + rng.integers(256, size=3072, dtype=np.uint8).tobytes() for n in range(M))


def python_file(number):
    planes = np.random.default_rng(number).integers(256, size=(M, 3072), dtype=np.uint8)
    return pickle.dumps({b"data": planes, b"labels": [1, 2], b"filenames": [b"x", b"y"]}, protocol=2)


def tar(form, make, members=()):
    """The archive, not compressed. members: (TarInfo, content) that come first."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry, content in members:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for number, name in enumerate(form.files):
            content, entry = make(number), tarfile.TarInfo(f"{form.folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def publish(form, path, content):
    written(path, content)
    object.__setattr__(form, "md5", hashlib.md5(content).hexdigest())


@how_many
@pytest.mark.parametrize("kind", ["binary", "python"])
@pytest.mark.parametrize("layer", ["tar", "gzip"])
def test_archives_that_somebody_gave_the_right_checksum(tmp_path, small, kind, layer, count):
    form = cifar.SMALL.binary if kind == "binary" else cifar.SMALL.python
    content = tar(form, binary_file if kind == "binary" else python_file)
    headers = [n for n in range(0, len(content), 512) if content[n : n + 5] == b"cifar"]
    fields = [n + shift for n in headers for shift in (0, 124, 148, 156, 157)]  # name, size, checksum, type, link
    path, rng = tmp_path / "mine" / form.archive, np.random.default_rng(count)
    for _ in range(count // 2):
        if layer == "tar":
            publish(form, path, gzip.compress(damaged(rng, content, fields), 1))
        else:
            publish(form, path, damaged(rng, gzip.compress(content, 1), range(10)))
        must_be_named(lambda: cifar10(path.parent), path)
    assert [each.name for each in tmp_path.rglob("*")] == ["mine", form.archive]


def member(name, **fields):
    entry = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry, b"" if fields else b"pwned"


@pytest.mark.parametrize(
    "members",
    [
        [member("../pwned")],
        [member("/tmp/pwned-by-a-test")],
        [member("cifar-10-batches-bin/../../pwned")],
        [member("cifar-10-batches-bin/test_batch.bin", type=tarfile.SYMTYPE, linkname="../../outside")],
        [member("cifar-10-batches-bin/test_batch.bin", type=tarfile.LNKTYPE, linkname="../outside")],
        [member("cifar-10-batches-bin", type=tarfile.SYMTYPE, linkname="/tmp")],
        [member("cifar-10-batches-bin/test_batch.bin", type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
        [member("cifar-10-batches-bin/test_batch.bin", type=tarfile.FIFOTYPE)],
        [member("x" * 3000)],
        [member("cifar-10-batches-bin/" + "../" * 500 + "pwned")],
    ],
)
def test_members_that_would_lead_elsewhere(tmp_path, small, members):
    """They are passed over, or refused: nothing is written anywhere, and no link followed."""
    (tmp_path / "outside").write_bytes(b"secret" * 1025)
    form = cifar.SMALL.binary
    path = tmp_path / "mine" / form.archive
    publish(form, path, gzip.compress(tar(form, binary_file, members)))
    pair = must_be_named(lambda: cifar10(path.parent), path)
    assert pair is None or pair[0].images[0, 0, 0, 0] == binary_file(0)[1]
    assert sorted(each.name for each in tmp_path.rglob("*")) == [form.archive, "mine", "outside"]


@how_many
def test_pickles(count):
    content, rng = python_file(0), np.random.default_rng(count)
    head = content.index(b"\x80\x02") + 60
    for _ in range(5 * count):
        changed = damaged(rng, content, range(head))
        _, error = outcome(functools.partial(read_pickle, changed))
        assert not error or "its pickle" in error


OPCODES = [bytes([code]) for code in b"NI01F}{])(tlude2bcoRsaqrhjp0.\x80\x85\x86\x87\x88\x89\x8a\x8bKMJXUTVG"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(OPCODES), st.binary(max_size=5)), max_size=40))
def test_programs_of_pickles(opcodes):
    _, error = outcome(lambda: read_pickle(b"\x80\x02" + b"".join(opcodes) + b"."))
    assert not error or "its pickle" in error


# Checkpoints


def trainer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return mc.Trainer(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


@how_many
def test_checkpoints(tmp_path, count):
    path = tmp_path / "model.safetensors"
    trainer().save(path)
    content, rng, other = path.read_bytes(), np.random.default_rng(count), trainer()
    for _ in range(5 * count):
        path.write_bytes(damaged(rng, content, range(8)))
        _, error = outcome(lambda: other.load(path))
        assert not error or str(path) in error
