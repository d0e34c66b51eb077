"""The loader: that each epoch is every sample once, that it repeats and resumes, and what it refuses."""

import numpy as np
import pytest

from minicnn import _random
from minicnn.data import ArrayDataset, DataLoader, to_input

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(23, 4, 3, 2), dtype=np.uint8)
LABELS = np.arange(23, dtype=np.uint8)  # each sample's label is its number, so a batch tells whom it holds
DATASET = ArrayDataset(IMAGES, LABELS)


class Pairs:
    """A data set of one's own: a list of pairs, and nothing but len and [i]."""

    def __init__(self, pairs):
        self.pairs = list(pairs)

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


@pytest.fixture(autouse=True)
def _restore_seed():
    _random.seed(0)
    yield
    _random.seed(0)


def order(loader: DataLoader) -> list[int]:
    return [int(label) for _, labels in loader for label in labels]


# to_input


def test_to_input_uint8_is_the_correctly_rounded_quotient():
    images = np.arange(256, dtype=np.uint8).reshape(2, 8, 8, 2)
    x = to_input(images)
    assert x.dtype == np.float32
    assert x.shape == images.shape
    for value, result in enumerate(x.ravel()):
        assert result == np.float32(value / 255)  # by way of float64
    assert x.ravel()[0] == 0
    assert x.ravel()[255] == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", ">f8"])
def test_to_input_keeps_the_range_of_floats(dtype):
    images = np.array([-300.0, 0.1, 255.0, 1e-40]).reshape(2, 2, 1, 1).astype(dtype)
    x = to_input(images)
    assert x.dtype == np.float32
    assert x.dtype.isnative
    assert x.ravel().tolist() == [float(np.float32(value)) for value in (-300.0, 0.1, 255.0, 1e-40)]


def test_to_input_takes_any_memory_order():
    images = np.asfortranarray(IMAGES)[::-2, :, ::-1]
    images.flags.writeable = False
    expected = (np.array(images.tolist()) / 255).astype(np.float32)
    np.testing.assert_array_equal(to_input(images), expected)
    broadcast = np.broadcast_to(IMAGES[:1], (3, 4, 3, 2))
    np.testing.assert_array_equal(to_input(broadcast)[2], to_input(IMAGES[:1])[0])


def test_to_input_of_no_image():
    assert to_input(IMAGES[:0]).shape == (0, 4, 3, 2)


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "bool", "float16", "complex64", "object"])
def test_to_input_wrong_type(dtype):
    with pytest.raises(TypeError, match=r"expected images of uint8 \(0 to 255\), float32 or float64, got"):
        to_input(IMAGES.astype(dtype))


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (4, 3, 2), (1, 5, 4, 3, 2)])
def test_to_input_wrong_rank(shape):
    with pytest.raises(ValueError, match=r"expected images of shape \(N, H, W, C\), got \("):
        to_input(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_to_input_names_the_first_bad_sample(dtype, value):
    images = np.ones((5, 4, 3, 2), dtype)
    images[2, 3, 1, 1] = images[4, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"^sample 2 of the batch has a NaN, an infinity"):
        to_input(images)
    with pytest.raises(ValueError, match=r"^sample 2 of the batch \(number 70 of the data set\) has a NaN"):
        to_input(images, np.array([90, 80, 70, 60, 50]))


@pytest.mark.filterwarnings("error")
def test_to_input_too_large_for_float32():
    images = np.ones((3, 1, 1, 1))
    images[1] = 1e39
    with pytest.raises(ValueError, match=r"sample 1 .* a value too large for float32"):
        to_input(images)


# batches


def identity(image, rng):
    return image


@pytest.mark.parametrize("dataset", [DATASET, Pairs(zip(IMAGES, LABELS, strict=True))])
@pytest.mark.parametrize("transform", [None, identity])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("batch_size", "drop_last"), [(5, False), (5, True), (23, True), (1, False), (100, False)])
def test_batches(dataset, transform, shuffle, batch_size, drop_last):
    loader = DataLoader(dataset, batch_size, shuffle, transform, drop_last)
    batches = list(loader)
    full, rest = divmod(23, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0 and not drop_last)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(loader) == len(sizes)
    for x, labels in batches:
        assert x.dtype == np.float32
        assert labels.dtype == np.int64
        assert x.shape == (len(labels), 4, 3, 2)
        np.testing.assert_array_equal(x, IMAGES[labels] / np.float32(255))
    seen = [int(label) for _, labels in batches for label in labels]
    assert len(set(seen)) == len(seen) == sum(sizes)
    if not shuffle:
        assert seen == list(range(len(seen)))


def test_the_ways_through_the_loader_agree():
    fast = list(DataLoader(DATASET, 5, shuffle=True))
    slow = list(DataLoader(Pairs(DATASET), 5, shuffle=True))
    for (x, labels), (slow_x, slow_labels) in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(x, slow_x)
        np.testing.assert_array_equal(labels, slow_labels)


def test_a_subclass_is_asked_for_its_samples():
    class Inverted(ArrayDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return 255 - image, label

    x, _ = next(iter(DataLoader(Inverted(IMAGES, LABELS), 23)))
    np.testing.assert_array_equal(x, to_input(255 - IMAGES))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("transform", [None, identity])
def test_batches_are_fresh(dtype, transform):
    images, labels = IMAGES.astype(dtype), LABELS.astype(np.int64)
    dataset = ArrayDataset(images, labels)
    for x, y in DataLoader(dataset, 5, transform=transform):
        x[...] = 0
        y[...] = 0
    np.testing.assert_array_equal(images, IMAGES)
    assert dataset.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_batch_is_fresh_where_a_function_keeps_what_it_returns(batch_size):
    images = IMAGES.astype(np.float32)
    kept = {}

    def transform(image, rng):
        return kept.setdefault(image.tobytes(), image)

    def blacken(x, labels, rng):
        x[...] = 0
        return x, labels

    for x, _ in DataLoader(ArrayDataset(images, LABELS), batch_size, transform=transform, batch_transform=blacken):
        assert not x.any()
    np.testing.assert_array_equal(list(kept.values()), images)


# order and epochs


def test_each_epoch_has_its_order_and_repeats():
    loader = DataLoader(DATASET, 5, shuffle=True)
    epochs = [order(loader) for _ in range(4)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert list(range(23)) not in epochs
    assert [order(again) for again in [DataLoader(DATASET, 7, shuffle=True)] for _ in range(4)] == epochs


def test_the_order_is_the_named_stream():
    _random.seed(5)
    loader = DataLoader(DATASET, 5, shuffle=True)
    loader.epoch = 3
    expected = _random.generator(5, _random.SHUFFLE, 3).permutation(23)
    assert order(loader) == expected.tolist()


def test_the_seed_is_taken_when_the_loader_is_made():
    first = order(DataLoader(DATASET, 5, shuffle=True))
    loader = DataLoader(DATASET, 5, shuffle=True)
    _random.seed(1)
    assert order(loader) == first
    assert order(DataLoader(DATASET, 5, shuffle=True)) != first


def test_epoch_counts_iterations_begun_and_resumes():
    loader = DataLoader(DATASET, 5, shuffle=True)
    assert loader.epoch == 0
    iterator = iter(loader)
    assert loader.epoch == 1  # begun, no batch drawn yet
    next(iterator)
    assert loader.epoch == 1
    second = order(loader)
    assert loader.epoch == 2
    resumed = DataLoader(DATASET, 5, shuffle=True)
    resumed.epoch = 1
    assert order(resumed) == second
    assert resumed.epoch == 2


@pytest.mark.parametrize("transform", [None, lambda image, rng: rng.integers(256, size=(4, 3, 2), dtype=np.uint8)])
def test_iterations_may_overlap(transform):
    loader = DataLoader(DATASET, 5, shuffle=True, transform=transform)
    one_by_one = [list(loader), list(loader)]
    loader.epoch = 0
    together = zip(*zip(loader, loader, strict=True), strict=True)
    for alone, overlapped in zip(one_by_one, together, strict=True):
        for (x, labels), (other_x, other_labels) in zip(alone, overlapped, strict=True):
            np.testing.assert_array_equal(x, other_x)
            np.testing.assert_array_equal(labels, other_labels)


# transforms


def test_transform_sees_the_raw_image_and_its_own_generator():
    _random.seed(9)
    seen = {}

    def transform(image, rng):
        assert image.dtype == np.uint8
        seen[image.tobytes()] = rng.integers(2**60)
        return image

    loader = DataLoader(DATASET, 5, shuffle=True, transform=transform)
    loader.epoch = 2
    order(loader)
    expected = {
        IMAGES[i].tobytes(): _random.generator(9, _random.AUGMENTATION, 2, i).integers(2**60) for i in range(23)
    }
    assert seen == expected
    assert len(set(seen.values())) == 23


def test_augmentation_depends_on_neither_batch_size_nor_order():
    def transform(image, rng):
        return rng.integers(256, size=image.shape, dtype=np.uint8)

    def by_sample(loader):
        return {int(label): x.tobytes() for batch, labels in loader for x, label in zip(batch, labels, strict=True)}

    first = DataLoader(DATASET, 5, shuffle=True, transform=transform)
    second = DataLoader(DATASET, 8, transform=transform)
    epoch_0 = by_sample(first)
    assert by_sample(second) == epoch_0
    epoch_1 = by_sample(first)
    assert by_sample(second) == epoch_1
    assert not set(epoch_0.values()) & set(epoch_1.values())


def test_transform_in_place_leaves_the_data_set_alone():
    images = IMAGES.copy()
    images.flags.writeable = False  # what it is given has to be writable all the same

    def blacken(image, rng):
        image[:2] = 0
        return image[::-1, ::-1]  # a view with negative strides

    for x, labels in DataLoader(ArrayDataset(images, LABELS), 5, transform=blacken):
        assert not x[:, 2:].any()
        np.testing.assert_array_equal(x[:, :2], to_input(IMAGES[labels][:, :1:-1, ::-1]))
    np.testing.assert_array_equal(images, IMAGES)


def test_transform_may_change_the_size():
    x, _ = next(iter(DataLoader(DATASET, 5, transform=lambda image, rng: image[:2, :, :1])))
    np.testing.assert_array_equal(x, to_input(IMAGES[:5, :2, :, :1]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda image: None, TypeError, r"expected an array of shape \(H, W, C\), got None"),
        (lambda image: image * 0.5, TypeError, r"went in as uint8 and came out as float64; .*\.astype\(image\.dtype\)"),
        (lambda image: image.astype(np.int16), TypeError, "went in as uint8 and came out as int16"),
        (lambda image: image[..., 0], ValueError, r"expected an image of shape \(H, W, C\), got shape \(4, 3\)"),
        (lambda image: image[:0], ValueError, r"got shape \(0, 3, 2\)"),
    ],
)
def test_wrong_transform_names_the_sample(change, error, message):
    def transform(image, rng):
        return change(image) if image.tobytes() == IMAGES[7].tobytes() else image

    iterator = iter(DataLoader(DATASET, 5, transform=transform))
    next(iterator)
    with pytest.raises(error, match=f"transform of sample 7: .*{message}"):
        next(iterator)


def test_sizes_that_differ_name_both_samples():
    def transform(image, rng):
        return image[1:] if image.tobytes() == IMAGES[7].tobytes() else image

    iterator = iter(DataLoader(DATASET, 5, transform=transform))
    next(iterator)
    with pytest.raises(ValueError, match=r"sample 5 is uint8 of shape \(4, 3, 2\), sample 7 is uint8 of shape \(3, 3"):
        next(iterator)


@pytest.mark.parametrize("transform", [None, identity])
def test_nan_names_the_sample_of_the_data_set(transform):
    images = IMAGES.astype(np.float32)
    images[13, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"sample 3 of the batch \(number 13 of the data set\) has a NaN"):
        list(DataLoader(ArrayDataset(images, LABELS), 5, transform=transform))


# data sets of one's own


GOOD = (IMAGES[0], 1)


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (IMAGES[0], TypeError, r"should give \(image, label\), got ndarray"),
        ((IMAGES[0],), TypeError, r"should give \(image, label\), got tuple"),
        ((IMAGES[0].astype(int), 0), TypeError, "expected an image of uint8, float32 or float64, got int64"),
        ((IMAGES[0, ..., 0], 0), ValueError, r"expected an image of shape \(H, W, C\), got shape \(4, 3\)"),
        ((IMAGES[0, :0], 0), ValueError, r"expected an image of shape \(H, W, C\), got shape \(0, 3, 2\)"),
        ((IMAGES[0], 1.0), TypeError, r"expected an integer label, got 1\.0"),
        ((IMAGES[0], "cat"), TypeError, "expected an integer label, got 'cat'"),
        ((IMAGES[0], np.array([0, 1])), TypeError, "expected an integer label"),
        ((IMAGES[0], -1), ValueError, "expected a label from 0 up, got -1"),
        ((IMAGES[0], 2**63), ValueError, "expected a label from 0 up, got 9223372036854775808"),
    ],
)
def test_wrong_sample_is_named(sample, error, message):
    with pytest.raises(error, match=f"^sample 2: .*{message}"):
        list(DataLoader(Pairs([GOOD, GOOD, sample]), 4))


def test_mixed_types_are_refused():
    with pytest.raises(ValueError, match=r"sample 0 is uint8 .* sample 1 is float32"):
        list(DataLoader(Pairs([GOOD, (IMAGES[0].astype(np.float32), 1)]), 4))


@pytest.mark.parametrize("label", [3, np.uint8(3), np.int64(3), np.array(3)])
def test_labels_of_any_integer_type(label):
    _, labels = next(iter(DataLoader(Pairs([(IMAGES[0], label)]), 4)))
    assert labels.dtype == np.int64
    assert labels.tolist() == [3]


# arguments


@pytest.mark.parametrize("batch_size", [2.0, "5", None, True])
def test_batch_size_of_another_type(batch_size):
    with pytest.raises(TypeError, match="expected a whole number as batch_size"):
        DataLoader(DATASET, batch_size)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_too_small(batch_size):
    with pytest.raises(ValueError, match=f"batch_size of at least 1, got {batch_size}"):
        DataLoader(DATASET, batch_size)


def test_numpy_batch_size():
    assert [len(labels) for _, labels in DataLoader(DATASET, np.uint8(10))] == [10, 10, 3]


def test_empty_data_set():
    with pytest.raises(ValueError, match="at least one sample, got an empty one"):
        DataLoader(Pairs([]), 4)


def test_drop_last_that_leaves_no_batch():
    with pytest.raises(ValueError, match="drop_last leaves no batch: the data set has 23 samples"):
        DataLoader(DATASET, 24, drop_last=True)


@pytest.mark.parametrize("dataset", [5, iter([GOOD]), DataLoader(DATASET, 4)])
def test_not_a_data_set(dataset):
    with pytest.raises(TypeError, match=r"expected a data set with len\(\) and \[i\], got"):
        DataLoader(dataset, 4)


def test_two_arrays_are_not_a_data_set():
    with pytest.raises(TypeError, match=r"for two arrays use ArrayDataset\(images, labels\)"):
        list(DataLoader((IMAGES, LABELS), 2))


def test_transform_has_to_be_a_function():
    with pytest.raises(TypeError, match="expected transform to be a Transform or a function"):
        DataLoader(DATASET, 4, transform="flip")
