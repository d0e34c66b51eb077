"""Data sets in files of arrays: IDX and .npy, read whole or left on disk."""

import gzip
import pickle
import struct

import numpy as np
import pytest

from minicnn.data import ArrayDataset, DataLoader, file_dataset, transforms

rng = np.random.default_rng(0)
IMAGES = rng.integers(256, size=(6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2])
IDX_CODES = {"u1": 0x08, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    header = bytes([0, 0, IDX_CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(path, array, kind):
    if kind == "npy":
        np.save(path, array)
        return path.with_name(path.name + ".npy")
    path.write_bytes(idx(array) if kind == "idx" else gzip.compress(idx(array)))
    return path


def pair(folder, images=IMAGES, labels=LABELS, kind="npy", label_kind="npy"):
    return write(folder / "images", images, kind), write(folder / "labels", labels.astype("i4"), label_kind)


@pytest.mark.parametrize("kind", ["npy", "idx", "packed"])
@pytest.mark.parametrize("label_kind", ["npy", "idx", "packed", "array"])
@pytest.mark.parametrize("mapped", [False, True])
def test_every_pair_of_files(tmp_path, kind, label_kind, mapped):
    images, labels = pair(tmp_path, kind=kind, label_kind="npy" if label_kind == "array" else label_kind)
    if label_kind == "array":
        labels = LABELS
    if mapped and kind == "packed":
        with pytest.raises(ValueError, match="images: a compressed file cannot be mapped; unpack it with gunzip"):
            file_dataset(images, labels, mapped=True)
        return
    dataset = file_dataset(images, labels, ["a", "b", "c"], mapped)
    assert type(dataset) is ArrayDataset
    assert dataset.classes == ("a", "b", "c")
    np.testing.assert_array_equal(dataset.images, IMAGES)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.images.flags.writeable != mapped
    assert dataset[5][1] == 2
    batches = list(DataLoader(dataset, 4))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), np.float32(IMAGES / 255))


@pytest.mark.parametrize("kind", ["npy", "idx"])
@pytest.mark.parametrize("mapped", [False, True])
def test_grey_images_and_floats(tmp_path, kind, mapped):
    for dtype in ("f4", "f8"):
        grey = rng.normal(size=(6, 5, 4)).astype(dtype)
        dataset = file_dataset(*pair(tmp_path, grey, kind=kind), mapped=mapped)
        np.testing.assert_array_equal(dataset.images, grey[..., np.newaxis])
        (x, _), *_ = DataLoader(dataset, 6)
        np.testing.assert_array_equal(x, grey[..., np.newaxis].astype(np.float32))
        assert mapped or dataset.images.dtype.isnative


def test_columns_first(tmp_path):
    images, labels = pair(tmp_path, np.asfortranarray(IMAGES))
    for mapped in (False, True):
        np.testing.assert_array_equal(file_dataset(images, labels, mapped=mapped).images, IMAGES)


@pytest.mark.parametrize("kind", ["npy", "idx"])
def test_a_set_much_larger_than_memory(tmp_path, kind):
    """256 GiB on paper, of which the file system keeps what was written: the last image."""
    M, shape = 2**16, (1024, 1024, 4)
    if kind == "npy":
        path = tmp_path / "images.npy"
        with open(path, "wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (M, *shape)}
            np.lib.format.write_array_header_1_0(file, header)
    else:
        path = tmp_path / "images"
        path.write_bytes(bytes([0, 0, 8, 4]) + struct.pack(">4I", M, *shape))
    with open(path, "r+b") as file:
        file.seek(0, 2)
        file.seek(M * 2**22 - 4, 1)
        file.write(bytes([9, 8, 7, 6]))
    labels = np.arange(M) % 10
    dataset = file_dataset(path, labels, mapped=True)
    assert len(dataset) == M
    image, label = dataset[M - 1]
    assert image[-1, -1].tolist() == [9, 8, 7, 6]
    assert label == (M - 1) % 10
    assert not dataset[M // 2][0].any()
    loader = DataLoader(dataset, 2, shuffle=True)
    x, chosen = next(iter(loader))
    assert x.shape == (2, *shape)
    assert chosen.tolist() == [n % 10 for n in loader.indices(0)[0]]


def npy(header, body=b""):
    text = repr(header).encode() if not isinstance(header, bytes) else header
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


RIGHT = {"descr": "|u1", "fortran_order": False, "shape": (6, 5, 4, 3)}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (npy(RIGHT), "the data is truncated"),
        (npy(RIGHT, bytes(359)), "the data is truncated"),
        (npy(RIGHT, bytes(361)), "bytes are left over"),
        (npy({**RIGHT, "shape": (2**40,) * 3}), "more than an array can hold"),
        (npy({**RIGHT, "shape": (2**32, 2**32)}), "more than an array can hold"),
        (npy({**RIGHT, "shape": (2**70,)}), "more than an array can hold"),
        (npy({**RIGHT, "shape": (0, 2**70)}), "more than an array can hold"),
        (npy({**RIGHT, "shape": (-6, 5, 4, 3)}, bytes(360)), "expected an array of numbers"),
        (npy({**RIGHT, "shape": (True, 5, 4, 3)}, bytes(360)), "expected an array of numbers"),
        (npy({**RIGHT, "shape": (1,) * 70}, bytes(1)), "more than an array can hold"),
        (npy({**RIGHT, "shape": (0, 5, 4, 3)}), "at least one image with a pixel"),
        (npy({**RIGHT, "descr": "|O"}, bytes(360)), "expected an array of numbers, got object"),
        (npy({**RIGHT, "descr": "nonsense"}, bytes(360)), "header of this .npy file is damaged"),
        (npy({**RIGHT, "descr": [("a", "u1")]}, bytes(360)), "expected an array of numbers"),
        (npy(b"{" * 5000), "header of this .npy file is damaged"),
        (npy(b"__import__('os')"), "header of this .npy file is damaged"),
        (npy(b"\xff\xfe"), "header of this .npy file is damaged"),
        (b"\x93NUMPY", "header of this .npy file is damaged"),
        (b"\x93NUMPY\x09\x09", "header of this .npy file is damaged"),
        (b"", "the file is empty"),
        (b"PK\x03\x04", "not an IDX file"),
        (pickle.dumps([1]), "not an IDX file"),
        (idx(IMAGES)[:-1], "the data is truncated: the header promises shape"),
        (idx(IMAGES) + b"x", "bytes are left over"),
        (bytes([0, 0, 8, 4]) + b"\xff" * 16, "more than an array can hold|truncated"),
        (bytes([0, 0, 8]), "header is truncated"),
        (idx(IMAGES[:5]), r"one label for each of the 5 images, got 6"),
        (idx(LABELS.astype("i4")), r"expected images of uint8|shape \(M, H, W, C\)"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, fault, mapped):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises((ValueError, TypeError), match=fault) as caught:
        file_dataset(path, LABELS, mapped=mapped)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 600
    if "at least one image" not in fault and "expected images" not in fault:
        np.save(tmp_path / "good.npy", IMAGES)
        with pytest.raises((ValueError, TypeError)):
            file_dataset(tmp_path / "good.npy", path, mapped=mapped)


def test_other_faults(tmp_path):
    images, labels = pair(tmp_path)
    for mapped in (False, True):
        with pytest.raises(FileNotFoundError, match="absent: there is no such file"):
            file_dataset(tmp_path / "absent", labels, mapped=mapped)
        with pytest.raises(ValueError, match="this is a folder; name a file in it"):
            file_dataset(tmp_path, labels, mapped=mapped)
    with pytest.raises(FileNotFoundError, match="absent: there is no such file"):
        file_dataset(images, tmp_path / "absent")
    with pytest.raises(ValueError, match=r"labels\.npy: .* 2 class names, too few for a label of 2"):
        file_dataset(images, labels, ["a", "b"])
    with pytest.raises(TypeError, match=r"images\.npy: ArrayDataset expected integer labels, got float64"):
        file_dataset(images, LABELS / 2)


@pytest.mark.parametrize("transform", [
    lambda image, rng: image * np.float32(2),
    lambda image, rng: image * np.float32(2) if rng.random() < 0.5 else image,
    transforms.Compose([lambda image, rng: image * np.float32(2)]),
])  # fmt: skip
def test_a_function_changes_a_mapped_idx_file_as_one_in_memory(tmp_path, transform):
    """The file's floats have their high byte first, and what is computed of them the processor's order."""
    pixels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    files = pair(tmp_path, pixels, LABELS[:3], kind="idx")
    for own in (lambda dataset: dataset, list):  # gathered at once, and sample by sample
        read, mapped = (
            list(DataLoader(own(file_dataset(*files, mapped=mapped)), 2, transform=transform))
            for mapped in (False, True)
        )
        for (x, labels), (mapped_x, mapped_labels) in zip(read, mapped, strict=True):
            np.testing.assert_array_equal(mapped_x, x)
            np.testing.assert_array_equal(mapped_labels, labels)
