"""CIFAR-10 and CIFAR-100 in their archives and unpacked, written here with a few images a file; and pickles that are
no data."""

import contextlib
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from web_server import NO_SERVER, Site, serve

from minicnn import _download
from minicnn.data import cifar, cifar10, cifar100
from minicnn.data.cifar_classes import CIFAR10, CIFAR100_COARSE, CIFAR100_FINE, SUPERCLASSES
from minicnn.data.plain_pickle import PickledArray, read_pickle

M = 7  # images in a file, where the published ones have 10,000
PYTHON_FILES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


def batch(number):
    """Planes (M, 3, 32, 32) and labels of a file."""
    rng = np.random.default_rng(number)
    return rng.integers(256, size=(M, 3, 32, 32), dtype=np.uint8), [int(n) for n in rng.integers(10, size=M)]


def binary_file(number):
    planes, labels = batch(number)
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(planes, labels, strict=True))


def old_string(text):
    """A str of Python 2: SHORT_BINSTRING, or BINSTRING from 256 characters on."""
    return (b"U" + bytes([len(text)]) if len(text) < 256 else b"T" + struct.pack("<i", len(text))) + text


def old_python_file(number):
    """What cPickle of Python 2 makes of a batch, opcode by opcode, in the order of the published files."""
    planes, labels = batch(number)
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    names = b"".join(b"U\x09" + b"name%05d" % n + b"r" + struct.pack("<I", 300 + n) for n in range(M))
    dtype = b"cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", M) + b"M\x00\x0c\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
        b"(K\x01" + shape + dtype + b"\x89" + old_string(planes.tobytes()) + b"tb"
    )
    title = b"training batch %d of 5" % number
    return (
        b"\x80\x02}q\x01(" + old_string(b"batch_label") + b"q\x02" + old_string(title)
        + old_string(b"labels") + b"]q\x03(" + numbers + b"e" + old_string(b"data") + array
        + old_string(b"filenames") + b"]q\x04(" + names + b"eu."
    )  # fmt: skip


def new_python_file(number):
    """What Python 3 makes of a batch in protocol 2, with keys of bytes."""
    planes, labels = batch(number)
    content = {b"data": planes.reshape(M, -1), b"labels": labels, b"batch_label": b"a batch", b"filenames": [b"x"] * M}
    return pickle.dumps(content, protocol=2)


WRITERS = {"binary": binary_file, "python 2": old_python_file, "python 3": new_python_file}


def write_files(folder, writer):
    folder.mkdir(parents=True)
    for number, name in enumerate(PYTHON_FILES, 1):
        (folder / (name + ".bin" * (writer is binary_file))).write_bytes(writer(number))
    (folder / "batches.meta").write_bytes(b"names")
    return folder


def write_archive(folder, monkeypatch, writer, change=None):
    """The archive of a form, of which the published checksum is then said to be; change(members) before."""
    form = cifar.SMALL.binary if writer is binary_file else cifar.SMALL.python
    suffix = ".bin" if writer is binary_file else ""
    members = {f"{form.folder}/{name}{suffix}": writer(n) for n, name in enumerate(PYTHON_FILES, 1)}
    members = {f"{form.folder}/readme.html": b"<html>", **dict(reversed(members.items()))}  # in another order
    if change is not None:
        change(members)
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / form.archive, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    publish(monkeypatch, form, folder / form.archive)
    return folder / form.archive


def publish(monkeypatch, form, path):
    """Make the MD5 of this file the published one."""
    object.__setattr__(form, "md5", hashlib.md5(path.read_bytes()).hexdigest())


FORMS = [form for each in (cifar.SMALL, cifar.LARGE) for form in (each.binary, each.python)]


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """Few images a file, an empty cache, no network, and at the end the published facts again."""
    monkeypatch.setattr(_download, "_PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "cache"))
    published = [(form.md5, form.files) for form in FORMS]
    mirrors = [each.mirrors for each in (cifar.SMALL, cifar.LARGE)]
    for form in FORMS:
        object.__setattr__(form, "files", dict.fromkeys(form.files, M))
    for each in (cifar.SMALL, cifar.LARGE):
        object.__setattr__(each, "mirrors", (NO_SERVER,))
    yield
    for form, (md5, files) in zip(FORMS, published, strict=True):
        object.__setattr__(form, "md5", md5)
        object.__setattr__(form, "files", files)
    for each, urls in zip((cifar.SMALL, cifar.LARGE), mirrors, strict=True):
        object.__setattr__(each, "mirrors", urls)


def check(pair):
    train, test = pair
    assert train.images.shape == (5 * M, 32, 32, 3)
    assert test.images.shape == (M, 32, 32, 3)
    assert train.images.dtype == np.uint8
    assert train.images.flags.c_contiguous
    for number, images, labels in [
        *((n, train.images[(n - 1) * M : n * M], train.labels[(n - 1) * M : n * M]) for n in range(1, 6)),
        (6, test.images, test.labels),
    ]:
        planes, expected = batch(number)
        for channel in range(3):
            np.testing.assert_array_equal(images[..., channel], planes[:, channel])
        assert labels.tolist() == expected
    assert train.classes == test.classes
    assert train.classes[0] == "airplane"
    assert train.classes[9] == "truck"


@pytest.mark.parametrize("form", WRITERS)
def test_unpacked(tmp_path, form):
    folder = write_files(
        tmp_path / ("cifar-10-batches-bin" if form == "binary" else "cifar-10-batches-py"), WRITERS[form]
    )
    check(cifar10(folder))
    check(cifar10(str(tmp_path)))


@pytest.mark.parametrize("form", WRITERS)
def test_archive(tmp_path, monkeypatch, form):
    write_archive(tmp_path / "mine", monkeypatch, WRITERS[form])
    check(cifar10(tmp_path / "mine"))
    write_archive(tmp_path / "cache" / "cifar-10", monkeypatch, WRITERS[form])
    check(cifar10(download=False))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [
        cifar.SMALL.binary.archive if form == "binary" else cifar.SMALL.python.archive
    ]


def test_a_name_that_leads_out_of_the_archive_is_not_followed(tmp_path, monkeypatch):
    def change(members):
        first = next(name for name in members if "batch" in name.rpartition("/")[2])
        members["../" + first] = members.pop(first)

    path = write_archive(tmp_path / "mine", monkeypatch, binary_file, change)
    with pytest.raises(ValueError, match=r"test_batch\.bin not found in it"):
        cifar10(path.parent)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_link_in_the_archive_is_not_followed(tmp_path, monkeypatch):
    path = write_archive(tmp_path / "mine", monkeypatch, binary_file)
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    publish(monkeypatch, cifar.SMALL.binary, path)
    with pytest.raises(ValueError, match=r"data_batch_1\.bin, .*test_batch\.bin not found in it"):
        cifar10(path.parent)


def damaged(path, kind):
    content = path.read_bytes()
    return {
        "truncated": content[:-400],
        "corrupt": content[:2000] + bytes([content[2000] ^ 255]) + content[2001:],
        "page": b"\n <!DOCTYPE html><html>Please sign in</html>",
        "empty": b"",
        "no tar": gzip.compress(b"x" * 5000),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "corrupt", "page", "empty", "no tar"])
def test_a_damaged_archive(tmp_path, monkeypatch, kind):
    """Known by its checksum; and where somebody gave it the right one, by what is in it."""
    path = write_archive(tmp_path, monkeypatch, binary_file)
    path.write_bytes(damaged(path, kind))
    with pytest.raises(
        ValueError, match="this is an HTML page" if kind == "page" else "the MD5 of .*, expected"
    ) as one:
        cifar10(tmp_path)
    assert str(one.value).startswith(f"{path}: ")
    if kind not in ("page", "corrupt"):
        publish(monkeypatch, cifar.SMALL.binary, path)
        with pytest.raises(ValueError, match=r"the archive is damaged|not found in it|expected \d+ bytes"):
            cifar10(tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_too_large(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(cifar, "_LIMIT", M * 3073 - 1)
    if packed:
        write_archive(tmp_path, monkeypatch, binary_file)
    else:
        write_files(tmp_path / "cifar-10-batches-bin", binary_file)
    with pytest.raises(ValueError, match=rf"has {M * 3073} bytes, more than {M * 3073 - 1}"):
        cifar10(tmp_path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda content: content[:-1], rf"expected {M * 3073} bytes, {M} records of 3073, got {M * 3073 - 1}"),
        (lambda content: content + b"x", r"expected \d+ bytes"),
        (lambda content: b"<html></html>", r"expected \d+ bytes"),
        (lambda content: content[:3073] + b"\x0a" + content[3074:], "labels from 0 to 9, got another one for image 1"),
    ],
)
def test_a_wrong_binary_file(tmp_path, change, fault):
    folder = write_files(tmp_path / "mine", binary_file)
    path = folder / "data_batch_3.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=fault) as caught:
        cifar10(folder)
    assert str(caught.value).startswith(f"{folder}: data_batch_3.bin: ")


PLANES, LABELS = batch(3)[0].reshape(M, -1), batch(3)[1]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([1, 2], 'not a dictionary with "data" and "labels"'),
        ({"data": PLANES}, 'not a dictionary with "data" and "labels"'),
        ({"data": PLANES[:-1], "labels": LABELS}, rf'"data" should be an array of shape \({M}, 3072\)'),
        ({"data": "x" * PLANES.size, "labels": LABELS}, '"data" should be an array'),
        ({"data": PLANES, "labels": LABELS[:-1]}, f'"labels" should be a list of {M} numbers'),
        ({"data": PLANES, "labels": tuple(LABELS)}, f'"labels" should be a list of {M} numbers'),
        ({"data": PLANES, "labels": [*LABELS[:-1], "1"]}, f'"labels" should be a list of {M} numbers'),
        ({"data": PLANES, "labels": [*LABELS[:-1], True]}, f'"labels" should be a list of {M} numbers'),
        ({"data": PLANES, "labels": [*LABELS[:-1], 10]}, f"got another one for image {M - 1}"),
        ({"data": PLANES, "labels": [-1, *LABELS[1:]]}, "got another one for image 0"),
        ({"data": PLANES, "labels": [*LABELS[:-1], 256]}, f"got another one for image {M - 1}"),
        ({"data": PLANES, "labels": [*LABELS[:-1], 2**70]}, f"got another one for image {M - 1}"),
        (
            {"data": PLANES.astype(np.int16), "labels": LABELS},
            "call of numpy.dtype that does not make an array of bytes",
        ),
        ({"data": np.asfortranarray(PLANES), "labels": LABELS}, "not one of bytes in row-major order"),
    ],
)
def test_a_wrong_python_file(tmp_path, content, fault):
    folder = write_files(tmp_path / "mine", new_python_file)
    (folder / "data_batch_3").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=fault) as caught:
        cifar10(folder)
    assert str(caught.value).startswith(f"{folder}: data_batch_3: ")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent: CIFAR-10 not found there; put cifar-10-binary\.tar\.gz or"):
        cifar10(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="name the folder with one of them"):
        cifar10(download=False)
    folder = write_files(tmp_path / "mine", binary_file)
    (folder / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError, match="CIFAR-10 not found there"):
        cifar10(folder)


def test_offline(tmp_path):
    with pytest.raises(OSError, match=r"could not download http://127\.0\.0\.1:1/cifar-10-binary\.tar\.gz") as caught:
        cifar10()
    assert str(tmp_path / "cache" / "cifar-10") in str(caught.value)
    assert not list((tmp_path / "cache" / "cifar-10").iterdir())


@pytest.mark.parametrize("name", ["cifar-10", "cifar-100"])
def test_download_once(tmp_path, monkeypatch, name):
    """From the second mirror, in pieces; and after that from nowhere."""
    if name == "cifar-10":
        path, published, read = write_archive(tmp_path, monkeypatch, binary_file), cifar.SMALL, cifar10
    else:
        path, published, read = write_large_archive(tmp_path, monkeypatch, "binary"), cifar.LARGE, cifar100
    site = Site({path.name: path.read_bytes()}, cut=lambda n: min(n, 40_000))
    with serve(site) as url:
        object.__setattr__(published, "mirrors", (NO_SERVER, url))
        first = read()
    again = read()
    assert site.sent == path.stat().st_size > 40_000
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert [each.name for each in (tmp_path / "cache" / name).iterdir()] == [path.name]


def test_a_wrong_download_is_not_kept(tmp_path):
    with serve(Site({cifar.SMALL.binary.archive: b"<html>Please sign in</html>"})) as url:
        object.__setattr__(cifar.SMALL, "mirrors", (url,))
        with pytest.raises(ValueError, match="did not deliver the file expected: this is an HTML page") as caught:
            cifar10()
    assert "delete the file" not in str(caught.value)
    assert not list((tmp_path / "cache" / "cifar-10").iterdir())


# CIFAR-100


def large_batch(number):
    planes, _ = batch(number)
    rng = np.random.default_rng(100 + number)
    return planes, rng.integers(20, size=M).tolist(), rng.integers(100, size=M).tolist()


def large_file(number, form):
    planes, coarse, fine = large_batch(number)
    if form == "binary":
        return b"".join(bytes([c, f]) + x.tobytes() for x, c, f in zip(planes, coarse, fine, strict=True))
    content = {"data": planes.reshape(M, -1), "coarse_labels": coarse, "fine_labels": fine, "filenames": ["x"] * M}
    return pickle.dumps(content, protocol=2)


def write_large_archive(folder, monkeypatch, form):
    published = cifar.LARGE.binary if form == "binary" else cifar.LARGE.python
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / published.archive, "w:gz", compresslevel=1) as archive:
        for number, name in enumerate([*published.files, "meta"], 1):
            content = large_file(number, form)
            entry = tarfile.TarInfo(f"{published.folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    publish(monkeypatch, published, folder / published.archive)
    return folder / published.archive


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("labels", ["fine", "coarse"])
@pytest.mark.parametrize("packed", [True, False])
def test_cifar100(tmp_path, monkeypatch, form, labels, packed):
    path = write_large_archive(tmp_path / "mine", monkeypatch, form)
    if not packed:
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path / "mine")
        path.unlink()
    for number, dataset in enumerate(cifar100(tmp_path / "mine", labels=labels), 1):
        planes, coarse, fine = large_batch(number)
        np.testing.assert_array_equal(dataset.images.transpose(0, 3, 1, 2), planes)
        assert dataset.labels.tolist() == (fine if labels == "fine" else coarse)
        assert len(dataset.classes) == (100 if labels == "fine" else 20)


def test_a_label_of_cifar100_that_is_none(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for number, name in enumerate(("train.bin", "test.bin"), 1):
        (folder / name).write_bytes(large_file(number, "binary"))
    content = bytearray((folder / "test.bin").read_bytes())
    content[3074:3076] = bytes([20, 100])
    (folder / "test.bin").write_bytes(content)
    for labels, last in (("fine", 99), ("coarse", 19)):
        with pytest.raises(
            ValueError, match=rf"test\.bin: expected labels from 0 to {last}, got another one for image 1"
        ):
            cifar100(folder, labels=labels)
    with pytest.raises(ValueError, match='cifar100 expected labels "fine" or "coarse", got \'superclass\''):
        cifar100(folder, labels="superclass")


# The coarse number of each fine one, as the data set's users quote it.
GROUPS = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
    12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
    12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14,
    13,
]  # fmt: skip


def test_classes_of_cifar100():
    assert len(GROUPS) == len(set(CIFAR100_FINE)) == 100
    for fine, coarse in zip(CIFAR100_FINE, GROUPS, strict=True):
        assert fine in SUPERCLASSES[CIFAR100_COARSE[coarse]]
    assert list(CIFAR100_COARSE) == sorted(SUPERCLASSES)
    assert len(set(CIFAR10)) == 10


# The authors' page, https://www.cs.toronto.edu/~kriz/cifar.html, has these beside its links.
def test_published_checksums():
    published = {form.archive: form.md5 for form in FORMS}
    assert published == {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    }


# Pickles


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, 255, 256, 70000, -1, 2**40, 0.5, "", "text", "é" * 300, (), (1,), (1, 2), (1, 2, 3),
     (1, 2, 3, 4), [], [1], [1, [2, "x"]], {}, {"a": 1}, {"a": [1, 2], "b": {"c": None}}],
)  # fmt: skip
def test_plain_values(value):
    assert read_pickle(pickle.dumps(value, protocol=2)) == value


def test_bytes_are_text_of_a_character_each():
    every = bytes(range(256))
    assert read_pickle(pickle.dumps(every, protocol=2)) == every.decode("latin-1")
    assert read_pickle(b"\x80\x02" + old_string(every) + b".") == every.decode("latin-1")


def test_one_value_in_two_places():
    """Kept under a number and fetched again, with numbers below and above 256."""
    words = [f"word {n}" for n in range(300)]
    assert read_pickle(pickle.dumps([words, words, words[-1]], protocol=2)) == [words, words, words[-1]]


@pytest.mark.parametrize("shape", [(3, 4), (12,), (2, 3, 2), (1, 1)])
def test_arrays(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    read = read_pickle(pickle.dumps([array], protocol=2))[0]
    assert isinstance(read, PickledArray)
    np.testing.assert_array_equal(read.values, array)
    assert read.values.shape == shape


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_pickle_is_run(tmp_path):
    content = pickle.dumps({"data": Harmful(tmp_path / "run"), "labels": []}, protocol=2)
    with pytest.raises(ValueError, match="its pickle"):
        read_pickle(content)
    assert not (tmp_path / "run").exists()
    pickle.loads(content)  # which does run it
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\x80\x02.",
        b"\x80\x02N",
        b"\x80\x02N.N",
        b"\x80\x02h\x05.",
        b"\x80\x02q\x00.",
        b"\x80\x02\x85.",
        b"\x80\x02u.",
        b"\x80\x02N(K\x01e.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}]K\x02s.",
        b"\x80\x02]K\x01b.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02U\x06numpy )R.",
        b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
        b"\x80\x02cbuiltins\neval\nU\x011\x85R.",
        b"\x80\x02(U\x02lsios\nsystem\n.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85RK\x01b.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85RK\x01\x85b.",
        b"\x80\x02c_codecs\nencode\n)R.",
        b"\x80\x02c_codecs\nencode\nK\x01R.",
        b"\x80\x02c_codecs\nencode\nU\x01xU\x05rot13\x86R.",
        b"\x80\x02T\xff\xff\xff\x7fabc.",
        b"\x80\x02T\xff\xff\xff\xffabc.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        b"\x80\x02\x8b\xff\xff\xff\xff.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Pid\n.",
        b"\x80\x02\x81.",
        b"\x80\x02cnumpy",
        b"\x80\x02I" + b"9" * 5000 + b"\n.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R(K\x01K\x01\x85cnumpy\ndtype\nU\x02u1\x85R"
        b"\x89X\x02\x00\x00\x00\xd9\xb7tb.",  # an array whose content is an Arabic letter
        pickle.dumps(OrderedDict(a=1), protocol=2),
        pickle.dumps({1, 2}, protocol=2),
        pickle.dumps(np.arange(3.0), protocol=2),
        pickle.dumps(len, protocol=2),
        pickle.dumps(b"x" * 300, protocol=4),
    ],
)
def test_anything_else_is_an_error(content):
    with pytest.raises(ValueError, match="its pickle"):
        read_pickle(content)


def test_each_beginning_of_a_pickle_is_an_error():
    content = old_python_file(1)
    head = content.index(b"U\x04data")
    for end in [*range(head + 200), len(content) - 1]:
        with pytest.raises(ValueError, match="its pickle"):
            read_pickle(content[:end])


def test_every_changed_byte_is_data_or_an_error():
    content = old_python_file(1)
    planes = content.index(batch(1)[0].tobytes())
    for place in range(planes):
        for change in (1, 128, 255):
            other = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            with contextlib.suppress(ValueError):
                read_pickle(other)


def test_a_batch_of_full_size_is_read_within_seconds():
    planes = np.random.default_rng(0).integers(256, size=(10000, 3072), dtype=np.uint8)
    labels = [n % 10 for n in range(10000)]
    content = {"data": planes, b"labels": labels, b"filenames": [b"%d.png" % n for n in range(10000)]}
    start = time.perf_counter()
    read, numbers = cifar.SMALL.python.read(pickle.dumps(content, protocol=2), 10000, cifar.Labels(CIFAR10))
    assert time.perf_counter() - start < 10
    np.testing.assert_array_equal(read, planes)
    assert numbers.tolist() == labels
