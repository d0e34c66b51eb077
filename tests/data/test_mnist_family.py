"""The MNIST files that come with the package; and where Fashion-MNIST and KMNIST are looked for and got from."""

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from web_server import NO_SERVER, Site, serve

import minicnn.data
from minicnn import _download
from minicnn.data import ArrayDataset, fashion_mnist, kmnist, mnist, mnist_family, read_idx

NAMES = tuple(mnist_family.MNIST_SHA256)


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
    for name, sha256 in mnist_family.MNIST_SHA256.items():
        assert f"`{name}.gz`" in text
        assert sha256 in text


def test_a_changed_mnist_file_is_noticed(tmp_path):
    name = "t10k-labels-idx1-ubyte"
    original = Path(minicnn.data.__file__).parent / "files" / f"{name}.gz"
    shutil.copy(original, tmp_path)
    assert read_idx(tmp_path / f"{name}.gz", mnist_family.MNIST_SHA256[name]).shape == (10000,)
    content = bytearray(gzip.decompress(original.read_bytes()))
    content[100] ^= 1
    (tmp_path / "flipped.gz").write_bytes(gzip.compress(bytes(content)))  # so that gzip finds nothing wrong with it
    assert read_idx(tmp_path / "flipped.gz").shape == (10000,)
    with pytest.raises(ValueError, match=f"expected {mnist_family.MNIST_SHA256[name]}"):
        read_idx(tmp_path / "flipped.gz", mnist_family.MNIST_SHA256[name])


# The other two, from four small files in their place.


def small_idx(seed: int, shape: tuple[int, ...], high: int) -> bytes:
    values = np.random.default_rng(seed).integers(high, size=shape, dtype=np.uint8)
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


CONTENTS = {
    "train-images-idx3-ubyte": small_idx(1, (6, 28, 28), 256),
    "train-labels-idx1-ubyte": small_idx(2, (6,), 10),
    "t10k-images-idx3-ubyte": small_idx(3, (4, 28, 28), 256),
    "t10k-labels-idx1-ubyte": small_idx(4, (4,), 10),
}


PACKED = {name: gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}
READERS = {"FASHION": fashion_mnist, "KMNIST": kmnist}


@pytest.fixture(params=READERS)
def family(request, tmp_path, monkeypatch):
    """One of the two, with the small files' checksums, an empty cache, no Debian folder, and no network."""
    published = getattr(mnist_family, request.param)
    contents = PACKED if published.packed else CONTENTS
    changed = replace(
        published,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        mirrors=(NO_SERVER,),
        elsewhere=published.elsewhere and (tmp_path / "debian", published.elsewhere[1]),
    )
    monkeypatch.setattr(mnist_family, request.param, changed)
    monkeypatch.setattr(_download, "_PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "cache"))
    return changed


@pytest.fixture
def read(family):
    """fashion_mnist or kmnist."""
    return READERS["KMNIST" if family.packed else "FASHION"]


@pytest.fixture
def cache(family, tmp_path):
    return tmp_path / "cache" / family.place


@pytest.fixture
def served(family, monkeypatch):
    """The four files, and a server that publishes them; a mirror that nobody reaches is asked first."""
    site = Site({f"{name}.gz": content for name, content in PACKED.items()})
    with serve(site) as url:
        name = "KMNIST" if family.packed else "FASHION"
        monkeypatch.setattr(mnist_family, name, replace(family, mirrors=(NO_SERVER, url)))
        yield site


def put_files(folder: Path, packed: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / (name + ".gz" * packed)).write_bytes(PACKED[name] if packed else content)
    return folder


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def check(pair: tuple[ArrayDataset, ArrayDataset]) -> None:
    for dataset, part in zip(pair, ("train", "t10k"), strict=True):
        images, labels = CONTENTS[f"{part}-images-idx3-ubyte"], CONTENTS[f"{part}-labels-idx1-ubyte"]
        assert dataset.images.shape == (len(labels) - 8, 28, 28, 1)
        assert dataset.images.tobytes() == images[16:]
        assert dataset.labels.tolist() == list(labels[8:])
        assert len(dataset.classes) == 10
        assert (dataset.classes[0], dataset.classes[9]) in (("T-shirt/top", "Ankle boot"), ("o", "wo"))


@pytest.mark.parametrize("packed", [True, False])
def test_folder_of_the_user(tmp_path, family, read, packed):
    put_files(tmp_path / "mine", packed)
    if family.packed and not packed:
        with pytest.raises(FileNotFoundError, match=r"train-labels-idx1-ubyte\.gz not found there"):
            read(tmp_path / "mine")
    else:
        check(read(tmp_path / "mine"))
        check(read(folder=str(tmp_path / "mine")))


def test_folder_of_the_user_is_the_only_one_looked_in(tmp_path, read, cache, served):
    put_files(cache)
    mine = put_files(tmp_path / "mine")
    (mine / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"mine: t10k-labels-idx1-ubyte\.gz not found there; name the folder"):
        read(mine)
    with pytest.raises(FileNotFoundError, match=r"train-labels-idx1-ubyte\.gz not found there"):
        read(tmp_path / "absent")


def test_folder_with_mnist_in_it_is_refused(read):
    folder = Path(minicnn.data.__file__).parent / "files"
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: the SHA-256 of the (uncompressed )?file is"):
        read(folder)


@pytest.mark.parametrize("family", ["FASHION"], indirect=True)
def test_debian_folder_before_the_cache(tmp_path, read, cache):
    put_files(tmp_path / "debian")
    check(read())
    assert not cache.exists()


@pytest.mark.parametrize("variable", ["MINICNN_CACHE", "XDG_CACHE_HOME", "HOME", "relative"])
def test_where_the_cache_is(tmp_path, read, family, monkeypatch, variable):
    for name in ("MINICNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".cache" / "minicnn"
    if variable == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    elif variable != "HOME":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        folder = tmp_path / "xdg" / "minicnn"
        if variable == "MINICNN_CACHE":
            monkeypatch.setenv("MINICNN_CACHE", str(tmp_path / "own"))
            folder = tmp_path / "own"
    put_files(folder / family.place)
    check(read(download=False))


def test_download_once(read, served, cache):
    check(read())
    assert files(cache) == {f"{name}.gz" for name in NAMES}
    served.files.clear()
    check(read())


def test_download_fetches_only_what_is_missing(read, served, cache):
    put_files(cache)
    (cache / f"{NAMES[1]}.gz").unlink()
    check(read())
    assert served.asked == [(f"{NAMES[1]}.gz", None)]


def test_no_download_unless_allowed(read, served, cache):
    with pytest.raises(FileNotFoundError, match=r"not found there.*or name their folder"):
        read(download=False)
    assert not cache.exists()


def corrupted(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda content: gzip.compress(corrupted(gzip.decompress(content))), "SHA-256"),
        (corrupted, "gzip data is corrupt|begins with the bytes|data is truncated|left over"),
        (lambda content: content[:-50], "the gzip data is truncated"),
        (lambda content: b"<html>Please sign in</html>", "this is an HTML page"),
        (lambda content: b"", "the file is empty"),
    ],
)
def test_a_corrupted_download_is_not_kept(read, family, served, cache, damage, fault):
    name = "train-images-idx3-ubyte.gz"
    good = served.files[name]
    served.files[name] = damage(good)
    with pytest.raises(OSError, match=fault if not family.packed else "HTML|SHA-256") as caught:
        read()
    assert f"/{name}: it did not deliver the file expected: " in str(caught.value)
    assert f"could not download {NO_SERVER}{name}: no connection (ConnectionError); nor http" in str(caught.value)
    assert str(cache) in str(caught.value)
    assert "delete the file" not in str(caught.value)
    assert files(cache) < {f"{name}.gz" for name in NAMES} - {name}
    served.files[name] = good
    check(read())


def test_offline(read, family, cache):
    with pytest.raises(OSError, match=r"could not download http://127\.0\.0\.1:1/") as caught:
        read()
    for part in (str(cache), f"{family.function}(folder=...)", *(f"{name}.gz" for name in NAMES)):
        assert part in str(caught.value)
    assert ("dataset-fashion-mnist" in str(caught.value)) == (family.elsewhere is not None)
    assert not files(cache)


def test_not_found_on_the_server(read, served, cache):
    del served.files["train-labels-idx1-ubyte.gz"]
    with pytest.raises(OSError, match=r"train-labels-idx1-ubyte\.gz: HTTP Error 404"):
        read()
    assert files(cache) < {f"{name}.gz" for name in NAMES}


def test_a_damaged_file_in_the_cache_is_named(read, cache):
    put_files(cache)
    path = cache / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        ValueError, match=r"truncated|SHA-256 of the file.*; delete the file and get it again"
    ) as caught:
        read()
    assert str(path) in str(caught.value)


def test_published_checksums_are_different_and_whole():
    published = (mnist_family.MNIST_SHA256, mnist_family.FASHION.sha256, mnist_family.KMNIST.sha256)
    values = [value for each in published for value in each.values()]
    assert len(set(values)) == 12
    assert all(len(bytes.fromhex(value)) == 32 for value in values)
    assert all(each.keys() == set(NAMES) for each in published)
    for each in (mnist_family.FASHION, mnist_family.KMNIST):
        assert len(set(each.classes)) == 10
        assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in each.mirrors)


def test_import_leaves_the_network_alone(tmp_path):
    code = "import sys, minicnn.data; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "minicnn.data.mnist_family" in loaded
    assert not {"urllib.request", "http.client", "ssl", "requests", "filelock", "PIL"} & set(loaded)
