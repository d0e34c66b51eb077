"""ArrayDataset, the MNIST files that come with the package, and where Fashion-MNIST is looked for and got from."""

import gzip
import hashlib
import http.server
import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import minicnn.data
from minicnn import _download
from minicnn.data import ArrayDataset, datasets, fashion_mnist, mnist, read_idx

IMAGES = np.arange(5 * 4 * 3 * 2, dtype=np.uint8).reshape(5, 4, 3, 2)
LABELS = np.array([2, 0, 1, 1, 0], dtype=np.uint8)
NAMES = tuple(datasets.FASHION_SHA256)


def test_array_dataset():
    dataset = ArrayDataset(IMAGES, LABELS, ["cat", "dog", "bird"])
    assert len(dataset) == 5
    assert dataset.classes == ("cat", "dog", "bird")
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [2, 0, 1, 1, 0]
    assert np.shares_memory(dataset.images, IMAGES)
    for index in (0, 4, -1, -5, np.int64(2)):
        image, label = dataset[index]
        np.testing.assert_array_equal(image, IMAGES[index])
        assert type(label) is int
        assert label == LABELS[index]
    assert [label for _, label in dataset] == [2, 0, 1, 1, 0]
    assert ArrayDataset(IMAGES, LABELS).classes is None


@pytest.mark.parametrize("index", [5, -6])
def test_index_out_of_range(index):
    with pytest.raises(IndexError, match=f"no sample {index} in a data set of 5"):
        ArrayDataset(IMAGES, LABELS)[index]


@pytest.mark.parametrize("index", [slice(0, 2), 1.0, "0"])
def test_index_of_another_type(index):
    with pytest.raises(TypeError, match="expected a whole number as index"):
        ArrayDataset(IMAGES, LABELS)[index]


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", ">f8"])
@pytest.mark.parametrize("label_dtype", ["int8", "uint16", ">i4", "int64", "uint64"])
def test_accepted_types(dtype, label_dtype):
    dataset = ArrayDataset(IMAGES.astype(dtype), LABELS.astype(label_dtype))
    assert dataset[3][0].tolist() == IMAGES[3].tolist()
    assert dataset[0][1] == 2
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.dtype.isnative


@pytest.mark.parametrize("dtype", ["int64", "float16", "bool", "complex64", "object", "uint16", "int8"])
def test_wrong_image_type(dtype):
    with pytest.raises(TypeError, match="images of uint8, float32 or float64, got"):
        ArrayDataset(IMAGES.astype(dtype), LABELS)


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64", "object", "str"])
def test_wrong_label_type(dtype):
    with pytest.raises(TypeError, match="expected integer labels, got"):
        ArrayDataset(IMAGES, LABELS.astype(dtype))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[..., 0], LABELS, r"shape \(M, H, W, C\), got \(5, 4, 3\); use images\[\.\.\., np\.newaxis\]"),
        (IMAGES[None], LABELS, r"shape \(M, H, W, C\), got \(1, 5, 4, 3, 2\)"),
        (IMAGES[:0], LABELS[:0], r"at least one image with a pixel, got an array of shape \(0, 4, 3, 2\)"),
        (IMAGES[:, :0], LABELS, r"at least one image with a pixel"),
        (IMAGES, LABELS[:4], "one label for each of the 5 images, got 4"),
        (IMAGES, np.eye(5, dtype=int), r"labels of shape \(5,\), got \(5, 5\); if they are one-hot"),
        (IMAGES, np.int64(1), r"labels of shape \(5,\), got \(\)"),
        (IMAGES, np.array([0, 1, -1, 0, -2]), "labels from 0 up, got -1 for sample 2"),
        (IMAGES, np.array([0, 1, 1, 2**63, 0], dtype=np.uint64), "got 9223372036854775808 for sample 3"),
    ],
)
def test_wrong_arrays(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataset(images, labels)


def test_wrong_classes():
    with pytest.raises(ValueError, match="2 class names, too few for a label of 2"):
        ArrayDataset(IMAGES, LABELS, ("a", "b"))
    for classes in ("abc", (0, 1, 2)):
        with pytest.raises(TypeError, match="expected classes to be names"):
            ArrayDataset(IMAGES, LABELS, classes)


def test_mnist_is_mnist():
    train, test = mnist()
    assert train.images.shape == (60000, 28, 28, 1)
    assert test.images.shape == (10000, 28, 28, 1)
    assert train.images.dtype == test.images.dtype == np.uint8
    # How often each digit occurs, as published.
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.classes == test.classes == tuple("0123456789")
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    # The mean and standard deviation that everybody quotes for the training images.
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    # Ink lies in the middle and not at the edge: neither transposed across samples nor shifted.
    assert train.images[:, 14, 14].mean() > 50 > 1 > train.images[:, 0].mean()


def test_mnist_licence_is_in_the_package():
    text = (Path(minicnn.data.__file__).parent / "files" / "LICENSE.md").read_text(encoding="utf-8")
    assert "https://creativecommons.org/licenses/by-sa/3.0/" in text
    for name, sha256 in datasets.MNIST_SHA256.items():
        assert f"`{name}.gz`" in text
        assert sha256 in text


def test_a_changed_mnist_file_is_noticed(tmp_path):
    name = "t10k-labels-idx1-ubyte"
    original = Path(minicnn.data.__file__).parent / "files" / f"{name}.gz"
    shutil.copy(original, tmp_path)
    assert read_idx(tmp_path / f"{name}.gz", datasets.MNIST_SHA256[name]).shape == (10000,)
    content = bytearray(gzip.decompress(original.read_bytes()))
    content[100] ^= 1
    (tmp_path / "flipped.gz").write_bytes(gzip.compress(bytes(content)))  # so that gzip finds nothing wrong with it
    assert read_idx(tmp_path / "flipped.gz").shape == (10000,)
    with pytest.raises(ValueError, match=f"expected {datasets.MNIST_SHA256[name]}"):
        read_idx(tmp_path / "flipped.gz", datasets.MNIST_SHA256[name])


# Fashion-MNIST, from four small files in its place.


def small_idx(seed: int, shape: tuple[int, ...], high: int) -> bytes:
    values = np.random.default_rng(seed).integers(high, size=shape, dtype=np.uint8)
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


CONTENTS = {
    "train-images-idx3-ubyte": small_idx(1, (6, 28, 28), 256),
    "train-labels-idx1-ubyte": small_idx(2, (6,), 10),
    "t10k-images-idx3-ubyte": small_idx(3, (4, 28, 28), 256),
    "t10k-labels-idx1-ubyte": small_idx(4, (4,), 10),
}


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The small files' checksums, an empty cache, no Debian folder, and no network unless a test starts a server."""
    sha256s = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(datasets, "FASHION_SHA256", sha256s)
    monkeypatch.setattr(datasets, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(datasets, "FASHION_URL", "http://127.0.0.1:1/")
    monkeypatch.setattr(_download, "_RETRIES", 0)  # each waits a second
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fashion-mnist"


@pytest.fixture
def served(tmp_path, monkeypatch, cache):
    """A folder with the four files, and a server on this machine that publishes it."""
    folder = put_files(tmp_path / "served")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(datasets, "FASHION_URL", f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def put_files(folder: Path, packed: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    return folder


def check(pair: tuple[ArrayDataset, ArrayDataset]) -> None:
    for dataset, part in zip(pair, ("train", "t10k"), strict=True):
        images, labels = CONTENTS[f"{part}-images-idx3-ubyte"], CONTENTS[f"{part}-labels-idx1-ubyte"]
        assert dataset.images.shape == (len(labels) - 8, 28, 28, 1)
        assert dataset.images.tobytes() == images[16:]
        assert dataset.labels.tolist() == list(labels[8:])
        assert len(dataset.classes) == 10
        assert dataset.classes[0] == "T-shirt/top"
        assert dataset.classes[9] == "Ankle boot"


@pytest.mark.parametrize("packed", [True, False])
def test_folder_of_the_user(tmp_path, cache, packed):
    check(fashion_mnist(put_files(tmp_path / "mine", packed)))
    check(fashion_mnist(folder=str(tmp_path / "mine")))


def test_folder_of_the_user_is_the_only_one_looked_in(tmp_path, cache, served):
    put_files(cache)
    mine = put_files(tmp_path / "mine")
    (mine / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"mine: t10k-labels-idx1-ubyte\.gz not found there; name the folder"):
        fashion_mnist(mine)
    with pytest.raises(FileNotFoundError, match=r"train-labels-idx1-ubyte\.gz not found there"):
        fashion_mnist(tmp_path / "absent")


def test_folder_with_mnist_in_it_is_refused(cache):
    folder = Path(minicnn.data.__file__).parent / "files"
    with pytest.raises(ValueError, match="the SHA-256 of the uncompressed file is"):
        fashion_mnist(folder)


def test_debian_folder_before_the_cache(cache):
    put_files(datasets.DEBIAN_FOLDER)
    check(fashion_mnist())
    assert not cache.exists()


@pytest.mark.parametrize("variable", ["MINICNN_CACHE", "XDG_CACHE_HOME", "HOME", "relative"])
def test_where_the_cache_is(tmp_path, cache, monkeypatch, variable):
    for name in ("MINICNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setattr(datasets, "FASHION_URL", "http://127.0.0.1:1/")
    folder = tmp_path / "home" / ".cache" / "minicnn"
    if variable == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    elif variable != "HOME":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        folder = tmp_path / "xdg" / "minicnn"
        if variable == "MINICNN_CACHE":
            monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "own"))
            folder = tmp_path / "own"
    put_files(folder / "fashion-mnist")
    check(fashion_mnist(download=False))


def test_download_once(served, cache):
    check(fashion_mnist())
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    shutil.rmtree(served)
    check(fashion_mnist())


def test_download_fetches_only_what_is_missing(served, cache):
    put_files(cache)
    (cache / f"{NAMES[1]}.gz").unlink()
    for name in NAMES[:1] + NAMES[2:]:
        (served / f"{name}.gz").unlink()
    check(fashion_mnist())


def test_no_download_unless_allowed(served, cache):
    with pytest.raises(FileNotFoundError, match=r"not found there.*package dataset-fashion-mnist"):
        fashion_mnist(download=False)
    assert not cache.exists()


def corrupted(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda content: gzip.compress(corrupted(gzip.decompress(content))), "the SHA-256 of the uncompressed file is"),
        (corrupted, "gzip data is corrupt|SHA-256|begins with the bytes|data is truncated|left over"),
        (lambda content: content[:-50], "the gzip data is truncated"),
        (lambda content: b"<html>Please sign in</html>", "this is an HTML page"),
        (lambda content: b"", "the file is empty"),
    ],
)
def test_a_corrupted_download_is_not_kept(served, cache, damage, fault):
    path = served / "train-images-idx3-ubyte.gz"
    good = path.read_bytes()
    path.write_bytes(damage(good))
    with pytest.raises(ValueError, match=fault) as caught:
        fashion_mnist()
    assert str(caught.value).startswith(f"{datasets.FASHION_URL}{path.name} did not deliver the file expected: ")
    assert str(cache) in str(caught.value)
    assert "delete the file" not in str(caught.value)
    assert not (cache / path.name).exists()
    assert {path.name for path in cache.iterdir()} < {f"{name}.gz" for name in NAMES}
    path.write_bytes(good)
    check(fashion_mnist())


def test_offline(cache):
    with pytest.raises(OSError, match=r"could not download http://127\.0\.0\.1:1/") as caught:
        fashion_mnist()
    for part in (str(cache), "fashion_mnist(folder=...)", "dataset-fashion-mnist", *(f"{name}.gz" for name in NAMES)):
        assert part in str(caught.value)
    assert not list(cache.iterdir())


def test_not_found_on_the_server(served, cache):
    (served / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(OSError, match=r"could not download .*train-labels-idx1-ubyte\.gz: HTTP Error 404"):
        fashion_mnist()
    assert {path.name for path in cache.iterdir()} < {f"{name}.gz" for name in NAMES}


def test_a_server_that_never_stops(served, cache, monkeypatch):
    monkeypatch.setattr(_download, "_LIMIT", 1000)
    with pytest.raises(OSError, match="it is larger than 1000 bytes"):
        fashion_mnist()
    assert not list(cache.glob("*images*"))


def test_a_damaged_file_in_the_cache_is_named(cache):
    put_files(cache)
    path = cache / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="the gzip data is truncated; delete the file and get it again") as caught:
        fashion_mnist()
    assert str(path) in str(caught.value)


def test_published_checksums_are_different_and_whole():
    values = [*datasets.MNIST_SHA256.values(), *datasets.FASHION_SHA256.values()]
    assert len(set(values)) == 8
    assert all(len(bytes.fromhex(value)) == 32 for value in values)
    assert datasets.MNIST_SHA256.keys() == datasets.FASHION_SHA256.keys()
    assert len(set(datasets.FASHION_CLASSES)) == 10


def test_import_leaves_the_network_alone(tmp_path):
    code = "import sys, minicnn.data; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "minicnn.data.datasets" in loaded
    assert not {"urllib.request", "http.client", "ssl", "requests", "pooch"} & set(loaded)
