"""CIFAR-10 in its two archives and unpacked, written here with a few images a file; and pickles that are no data."""

import contextlib
import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from minicnn import _download
from minicnn.data import cifar, cifar10
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
    form = cifar.BINARY if writer is binary_file else cifar.PYTHON
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


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """Few images a file, an empty cache, no network, and at the end the published checksums again."""
    monkeypatch.setattr(cifar, "IMAGES", M)
    monkeypatch.setattr(cifar, "URL", "http://127.0.0.1:1/")
    monkeypatch.setattr(_download, "_RETRIES", 0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "cache"))
    published = [form.md5 for form in cifar.FORMS]
    yield
    for form, md5 in zip(cifar.FORMS, published, strict=True):
        object.__setattr__(form, "md5", md5)


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
        cifar.BINARY.archive if form == "binary" else cifar.PYTHON.archive
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
    publish(monkeypatch, cifar.BINARY, path)
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
        publish(monkeypatch, cifar.BINARY, path)
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
        ({"data": PLANES.astype(np.int16), "labels": LABELS}, "a call that does not make an array of bytes"),
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


def test_download_once(tmp_path, monkeypatch):
    served = write_archive(tmp_path / "served", monkeypatch, binary_file)
    asked = []

    def fetch(url, path):
        asked.append(url)
        shutil.copy(served, path)

    monkeypatch.setattr(_download, "_fetch", fetch)
    check(cifar10())
    check(cifar10())
    assert asked == ["http://127.0.0.1:1/cifar-10-binary.tar.gz"]


def test_a_wrong_download_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "_fetch", lambda url, path: Path(path).write_bytes(b"<html>Please sign in</html>"))
    with pytest.raises(ValueError, match="did not deliver the file expected: this is an HTML page") as caught:
        cifar10()
    assert "delete the file" not in str(caught.value)
    assert not list((tmp_path / "cache" / "cifar-10").iterdir())


def test_published_checksums():
    assert cifar.BINARY.md5 == "c32a1d4ab5d03f1284b67883e8d87530"
    assert cifar.PYTHON.md5 == "c58f30108f718f92721af3b95e74349a"
    assert len(set(cifar.CLASSES)) == 10


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
    with pytest.raises(ValueError, match="not a pickle of plain data: at byte"):
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
        b"\x80\x02NN.",
        b"\x80\x02N.N",
        b"\x80\x02h\x05.",
        b"\x80\x02q\x00.",
        b"\x80\x02\x85.",
        b"\x80\x02u.",
        b"\x80\x02N(K\x01e.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}K\x01K\x02s.",
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
        pickle.dumps(OrderedDict(a=1), protocol=2),
        pickle.dumps({1, 2}, protocol=2),
        pickle.dumps(np.arange(3.0), protocol=2),
        pickle.dumps(len, protocol=2),
        pickle.dumps([1], protocol=0),
        pickle.dumps([1], protocol=4),
    ],
)
def test_anything_else_is_an_error(content):
    with pytest.raises(ValueError, match="not a pickle of plain data: at byte"):
        read_pickle(content)


def test_each_beginning_of_a_pickle_is_an_error():
    content = old_python_file(1)
    head = content.index(b"U\x04data")
    for end in [*range(head + 200), len(content) - 1]:
        with pytest.raises(ValueError, match="not a pickle of plain data"):
            read_pickle(content[:end])


def test_every_changed_byte_is_data_or_an_error():
    content = old_python_file(1)
    planes = content.index(batch(1)[0].tobytes())
    for place in range(planes):
        for change in (1, 128, 255):
            other = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            with contextlib.suppress(ValueError):
                read_pickle(other)


def test_a_batch_of_full_size_is_read_within_seconds(monkeypatch):
    monkeypatch.setattr(cifar, "IMAGES", 10000)
    planes = np.random.default_rng(0).integers(256, size=(10000, 3072), dtype=np.uint8)
    labels = [n % 10 for n in range(10000)]
    content = {b"data": planes, b"labels": labels, b"filenames": [b"%d.png" % n for n in range(10000)]}
    start = time.perf_counter()
    read, numbers = cifar.PYTHON.read(pickle.dumps(content, protocol=2))
    assert time.perf_counter() - start < 10
    np.testing.assert_array_equal(read, planes)
    assert numbers.tolist() == labels
