"""ArrayDataset."""

import numpy as np
import pytest

from minicnn import data
from minicnn.data import ArrayDataset

IMAGES = np.arange(5 * 4 * 3 * 2, dtype=np.uint8).reshape(5, 4, 3, 2)
LABELS = np.array([2, 0, 1, 1, 0], dtype=np.uint8)


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


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: data.ImageFolder(".", follow_links="no"), "ImageFolder expected follow_links to be True or False"),
        (lambda: data.ImageFolder(".", skip_damaged=1), "ImageFolder expected skip_damaged to be True or False"),
        (lambda: data.file_dataset("x", "y", mapped="yes"), "file_dataset expected mapped to be True or False"),
        (lambda: data.fashion_mnist(download="no"), "fashion_mnist expected download to be True or False"),
        (lambda: data.kmnist(download=None), "kmnist expected download to be True or False"),
        (lambda: data.cifar10(download=0), "cifar10 expected download to be True or False"),
        (lambda: data.read_idx("x", sha256=3), "read_idx expected sha256 to be a checksum"),
    ],
)
def test_what_is_no_answer_is_refused(call, words):
    with pytest.raises(TypeError, match=words):
        call()
