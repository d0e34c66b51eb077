"""Workers: the same batches whoever makes them, never more ahead than was asked for, and nothing left behind."""

import sys
import threading
import time
import traceback

import numpy as np
import pytest

from minicnn import _random, kernels
from minicnn.data import ArrayDataset, DataLoader
from minicnn.data.prefetch import THREADS
from minicnn.data.transforms import Compose, Resize, Transform
from minicnn.kernels.cpu import _jit

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(23, 4, 3, 2), dtype=np.uint8)
DATASET = ArrayDataset(IMAGES, np.arange(23))


class Noise(Transform):
    """Draws a new image."""

    def change(self, images, draws):
        words = draws.uniform(images[0].size) * 256
        return words.astype(np.uint8).reshape(images.shape)


class Named:
    """Ten samples with names, of which number 7 cannot be read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return IMAGES[[index, "seven"][index == 7]], index

    def describe(self, index):
        return f"pictures/{index}.jpg"


def noise(image, rng):
    return rng.integers(256, size=image.shape, dtype=np.uint8)


def shaken(x, labels, rng):
    return x + rng.random(x.shape, np.float32), labels[::-1].copy()


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    assert not threads()


def assert_same(batches, expected):
    for (x, labels), (other_x, other_labels) in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.mark.parametrize("transform", [None, noise, Noise()])
@pytest.mark.parametrize("batch_transform", [None, shaken])
def test_the_same_batches_whatever_the_number_of_workers(transform, batch_transform):
    def epochs(workers, prefetch):
        loader = DataLoader(DATASET, 5, True, transform, False, batch_transform, workers, prefetch)
        return [batch for _ in range(2) for batch in loader]

    alone = epochs(0, 2)
    assert len(alone) == 10
    for workers, prefetch in [(1, 1), (1, 3), (3, 1), (4, 2), (30, 1)]:
        assert_same(epochs(workers, prefetch), alone)


def test_batches_come_in_order_though_later_ones_are_done_sooner():
    class Slow(ArrayDataset):
        def __getitem__(self, index):
            time.sleep(0.02 if index == 0 else 0)
            return super().__getitem__(index)

    labels = [int(label) for _, ys in DataLoader(Slow(IMAGES, np.arange(23)), 2, workers=4) for label in ys]
    assert labels == list(range(23))


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 1), (2, 3)])
def test_never_more_ahead_than_asked_for(workers, prefetch):
    begun, lock = [], threading.Lock()

    class Counted(ArrayDataset):
        def __getitem__(self, index):
            with lock:
                begun.append(index)
            return super().__getitem__(index)

    ahead = workers * prefetch
    for number, _ in enumerate(DataLoader(Counted(IMAGES, np.arange(23)), 1, workers=workers, prefetch=prefetch)):
        expected = min(number + 1 + ahead, 23)
        end = time.monotonic() + 5
        while len(begun) < expected and time.monotonic() < end:
            time.sleep(0.001)  # so many are made while the loop is busy, ...
        time.sleep(0.005)
        assert len(begun) == expected  # ... and no more


def test_without_workers_a_batch_is_made_when_it_is_asked_for():
    seen = []
    loader = DataLoader(DATASET, 5, transform=lambda image, rng: seen.append(threading.get_ident()) or image)
    next(iter(loader))
    assert seen == [threading.get_ident()] * 5


def test_workers_work_in_threads_of_their_own():
    seen, here = [], threading.get_ident()
    loader = DataLoader(DATASET, 5, transform=lambda image, rng: seen.append(threading.get_ident()) or image, workers=2)
    list(loader)
    assert len(seen) == 23
    assert here not in seen


def test_what_the_caller_has_chosen_holds_for_the_workers():
    rooms = []
    loader = DataLoader(
        DATASET, 5, transform=lambda image, rng: rooms.append(kernels.room(image).__name__) or image, workers=2
    )
    with kernels.use("reference"):
        list(loader)
    assert set(rooms) == {"minicnn.kernels.reference"}


def _long_work(x, times):
    total = x[0]
    for _ in range(times):
        for i in range(len(x)):
            total = 0.5 * total + x[i]
    return total


def test_a_serial_kernel_lets_workers_work():
    """One that held Python's lock would let no other thread do anything until its end."""
    kernel, x = _jit.compiled(_long_work), np.ones(1000)
    kernel(x, 1)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(time.monotonic())

    worker = threading.Thread(target=tick)
    worker.start()
    begin = time.monotonic()
    kernel(x, 50_000)  # some 0.2 s
    end = time.monotonic()
    stop.set()
    worker.join()
    assert len([moment for moment in ticks if begin < moment < end]) > 3


# Batches of an epoch from any number on


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_middle(workers):
    seen = []

    def transform(image, rng):
        seen.append(image)
        return noise(image, rng)

    loader = DataLoader(DATASET, 5, True, transform, False, shaken, workers)
    loader.epoch = 3
    whole = list(loader)
    for start in range(6):
        del seen[:]
        assert_same(loader.batches(3, start), whole[start:])
        assert len(seen) == sum(len(labels) for _, labels in whole[start:])  # what came before is not made
    assert loader.epoch == 4  # as one iteration left it


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "expected epoch of at least 0, got -1"),
        ((1.0,), TypeError, r"expected a whole number as epoch, got 1\.0"),
        ((True,), TypeError, "expected a whole number as epoch"),
        ((0, -1), ValueError, "expected start of at least 0 and at most 5, got -1"),
        ((0, 6), ValueError, "expected start of at least 0 and at most 5, got 6"),
        ((0, None), TypeError, "expected a whole number as start"),
    ],
)
def test_wrong_epoch_or_start(arguments, error, message):
    with pytest.raises(error, match=message):  # at the call, not at the first batch
        DataLoader(DATASET, 5).batches(*arguments)


# Errors


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_read_is_named(workers):
    iterator = iter(DataLoader(Named(), 3, workers=workers))
    assert [len(next(iterator)[1]) for _ in range(2)] == [3, 3]  # what comes before is there
    with pytest.raises(RuntimeError, match=r"^sample 7 \(pictures/7\.jpg\) raised IndexError: only integers") as caught:
        next(iterator)
    assert isinstance(caught.value.__cause__, IndexError)
    lines = traceback.format_exception(caught.value.__cause__)
    assert any('[index, "seven"]' in line for line in lines)  # where it happened
    assert not threads()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["function", "transform"])
def test_a_transform_that_fails_names_the_sample(workers, kind):
    def fail(image):
        if (image == IMAGES[7]).all():
            raise KeyError("colour")
        return image

    class Failing(Transform):
        def change(self, images, draws):
            return np.stack([fail(image) for image in images])

    transform = Failing() if kind == "transform" else lambda image, rng: fail(image)
    iterator = iter(DataLoader(DATASET, 5, transform=transform, workers=workers))
    next(iterator)
    with pytest.raises(RuntimeError, match=r"^transform of sample 7 raised KeyError: 'colour'") as caught:
        next(iterator)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["data set", "function", "transform"])
def test_a_stop_iteration_is_named_as_everything_else_is(workers, kind):
    """`next` of an iterator that has nothing more, say: Python itself takes it for the end of a generator."""

    class Ends(ArrayDataset):
        def __getitem__(self, index):
            return next(iter(())) if index == 7 else super().__getitem__(index)

    class Ending(Transform):
        def change(self, images, draws):
            return np.stack([change(image, None) for image in images])

    def change(image, rng):
        return next(iter(())) if (image == IMAGES[7]).all() else image

    dataset = Ends(IMAGES, np.arange(23)) if kind == "data set" else DATASET
    transform = {"data set": None, "function": change, "transform": Ending()}[kind]
    iterator = iter(DataLoader(dataset, 5, transform=transform, workers=workers))
    next(iterator)
    with pytest.raises(RuntimeError, match=r"^(transform of )?sample 7 raised StopIteration: ") as caught:
        next(iterator)
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_transform_that_fails_for_several_samples_only():
    class Alone(Transform):
        def change(self, images, draws):
            if len(images) > 1:
                raise ValueError("too many")
            return images

    with pytest.raises(RuntimeError, match=r"^transform of samples 0, 1, 2 raised ValueError: too many; none of them"):
        next(iter(DataLoader(DATASET, 3, transform=Alone())))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_transform_that_fails_is_named(workers):
    def fail(x, labels, rng):
        if 7 in labels:
            raise ZeroDivisionError("mixed too much")
        return x, labels

    with pytest.raises(RuntimeError, match=r"^batch_transform of batch 1 of epoch 0 raised ZeroDivisionError: mixed"):
        list(DataLoader(DATASET, 5, batch_transform=fail, workers=workers))


def test_the_loader_works_on_after_an_error():
    loader = DataLoader(Named(), 3, workers=2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="sample 7"):
            list(loader)


# Ends


def test_break_ends_the_workers():
    for _ in DataLoader(DATASET, 1, workers=3):
        assert threads()
        break
    assert not threads()


def test_an_exception_in_the_loop_ends_the_workers():
    def stumble():
        for _ in DataLoader(DATASET, 1, workers=3):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        stumble()
    assert not threads()


def test_an_iterator_that_nobody_holds_ends_its_workers():
    iterator = iter(DataLoader(DATASET, 1, workers=3))
    next(iterator)
    assert threads()
    del iterator
    assert not threads()


def test_an_iterator_that_was_never_asked_has_no_workers():
    iterators = [iter(DataLoader(DATASET, 1, workers=3)) for _ in range(3)]
    assert not threads()
    del iterators


def test_garbage_collected_by_a_worker_itself():
    """A cycle is collected in whatever thread allocates; a worker cannot wait for its own end."""
    held, complaints, done = [], [], threading.Event()

    class Collects(ArrayDataset):
        def __getitem__(self, index):
            if index == 2:
                release.wait(5)
                held.clear()  # the last reference to the iterator
                done.set()
            return super().__getitem__(index)

    release = threading.Event()
    held.append(iter(DataLoader(Collects(IMAGES, np.arange(23)), 1, workers=1, prefetch=3)))
    next(held[0])
    before, threading.excepthook = threading.excepthook, complaints.append
    unraisable = []

    before_hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        release.set()
        assert done.wait(5)
        for thread in threads():
            thread.join(5)
    finally:
        threading.excepthook, sys.unraisablehook = before, before_hook
    assert not complaints
    assert not unraisable


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"workers": -1}, ValueError, "expected workers of at least 0 and at most 256, got -1"),
        ({"workers": 257}, ValueError, "expected workers of at least 0 and at most 256, got 257"),
        ({"workers": 1.0}, TypeError, r"expected a whole number as workers, got 1\.0"),
        ({"workers": True}, TypeError, "expected a whole number as workers, got True"),
        ({"workers": "2"}, TypeError, "expected a whole number as workers, got '2'"),
        ({"prefetch": 0}, ValueError, "expected prefetch of at least 1, got 0"),
        ({"prefetch": None}, TypeError, "expected a whole number as prefetch, got None"),
        ({"shuffle": 128}, TypeError, "expected shuffle to be True or False, got 128"),
        ({"drop_last": "no"}, TypeError, "expected drop_last to be True or False, got 'no'"),
        ({"transform": Noise}, TypeError, "expected transform to be a Transform or a function .* got <class"),
        ({"batch_transform": 0.2}, TypeError, r"expected batch_transform to be a function of \(x, labels, rng\)"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        DataLoader(DATASET, 5, **arguments)


# Batch transforms


def test_batch_transform_gets_the_batch_and_a_stream_of_its_own():
    seen = []

    def batch_transform(x, labels, rng):
        seen.append((x, labels.copy(), rng.integers(2**60)))
        return x, labels

    _random.seed(9)
    loader = DataLoader(DATASET, 5, True, batch_transform=batch_transform)
    loader.epoch = 2
    batches = list(loader)
    _random.seed(0)
    assert_same(batches, [(x, labels) for x, labels, _ in seen])
    assert [number for _, _, number in seen] == [
        _random.generator(9, _random.BATCH, 2, batch).integers(2**60) for batch in range(5)
    ]


def test_targets_may_be_probabilities_and_the_size_may_change():
    def mix(x, labels, rng):
        return x[:, 1:], np.eye(23)[labels] * 0.9 + 0.1 / 23

    for x, targets in DataLoader(DATASET, 5, batch_transform=mix):
        assert x.shape[1:] == (3, 3, 2)
        assert targets.dtype == np.float32
        assert targets.shape == (len(x), 23)
        np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y: None, TypeError, r"expected \(x, targets\), got NoneType"),
        (lambda x, y: (x, y, 1), TypeError, r"expected \(x, targets\), got tuple"),
        (lambda x, y: (x.astype(float), y), ValueError, "expected x to be float32 of shape .*, got float64 of shape"),
        (lambda x, y: (x[:4], y[:4]), ValueError, r"expected x to be float32 of shape \(5, H, W, C\), got float32"),
        (lambda x, y: (x[0], y), ValueError, r"got float32 of shape \(4, 3, 2\)"),
        (lambda x, y: (x[:, :0], y), ValueError, r"got float32 of shape \(5, 0, 3, 2\)"),
        (lambda x, y: (x, y[:4]), ValueError, r"expected targets of shape \(5,\) or \(5, K\), got int64 of shape \(4,"),
        (lambda x, y: (x, list(y)), ValueError, r"expected targets of shape \(5,\) or \(5, K\), got \["),
        (lambda x, y: (x, y * 1.0), TypeError, r"expected targets \(5,\) to be whole numbers, got float64"),
        (lambda x, y: (x, y - 9), ValueError, "expected labels from 0 up, got -9"),
        (lambda x, y: (x, np.eye(5, dtype=int)), TypeError, r"expected targets \(5, 5\) to be floats, got int64"),
        (lambda x, y: (x, np.eye(5) * 2), ValueError, "probabilities that add up to 1, got rows with sums from 2 to 2"),
        (lambda x, y: (x, np.eye(5) * 3 - 0.5), ValueError, "a smallest entry of -0.5"),
        (lambda x, y: (x, np.eye(5) * np.nan), ValueError, "probabilities that add up to 1"),
    ],
)
def test_wrong_batch_transform(change, error, message):
    with pytest.raises(error, match=f"batch_transform of batch 0 of epoch 0: .*{message}"):
        next(iter(DataLoader(DATASET, 5, batch_transform=lambda x, labels, rng: change(x, labels))))


# Samples of several sizes


class Sizes:
    """Pictures (4 + i, 5 + i % 2, 1)."""

    def __init__(self):
        self.pictures = [
            np.random.default_rng(i).integers(256, size=(4 + i % 3, 5 + i % 2, 1), dtype=np.uint8) for i in range(9)
        ]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index], index


class RandomCorner(Transform):
    """A crop of 3 x 3 pixels from anywhere."""

    def change(self, images, draws):
        _, H, W, _ = images.shape
        u = draws.uniform(2) * (H - 2, W - 2)
        corners = zip(images, u.astype(int), strict=True)
        return np.stack([image[top : top + 3, left : left + 3] for image, (top, left) in corners])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_may_make_sizes_equal(workers):
    pictures = Sizes().pictures
    by_sample = {}
    for batch_size in (1, 4, 9):  # alone, with others, with all of them: the same pixels
        for x, labels in DataLoader(Sizes(), batch_size, True, RandomCorner(), workers=workers):
            for image, label in zip(np.rint(x * 255).astype(np.uint8), labels.tolist(), strict=True):
                assert by_sample.setdefault(label, image).tobytes() == image.tobytes()
    for label, image in by_sample.items():
        H, W, _ = pictures[label].shape
        crops = [pictures[label][i : i + 3, j : j + 3] for i in range(H - 2) for j in range(W - 2)]
        assert any(np.array_equal(image, crop) for crop in crops)


def test_a_function_may_make_sizes_equal():
    x, _ = next(iter(DataLoader(Sizes(), 9, transform=lambda image, rng: image[:4, :5])))
    assert x.shape == (9, 4, 5, 1)


def test_sizes_that_stay_different():
    with pytest.raises(ValueError, match=r"sample 0 is uint8 of shape \(4, 5, 1\), sample 1 is uint8 of shape \(5, 6"):
        next(iter(DataLoader(Sizes(), 9)))


def test_a_transform_sees_the_same_pixels_at_once_or_alone():
    class Single(ArrayDataset):  # gathered sample by sample, with an image of another size among them
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image if index else np.pad(image, ((0, 1), (0, 0), (0, 0)))), label

    class Shift(Transform):
        def change(self, images, draws):
            return images[:, :4] ^ (draws.uniform(1) * 256).astype(np.uint8)[:, :, None, None]

    at_once = DataLoader(DATASET, 23, transform=Shift())
    alone = DataLoader(Single(IMAGES, np.arange(23)), 23, transform=Shift())
    assert_same(alone.batches(4), at_once.batches(4))


@pytest.mark.parametrize("nested", [False, True])
def test_a_function_among_the_steps_may_cut_samples_of_one_size_into_several(nested):
    """What a sample becomes does not depend on the sizes of those that happen to be in its batch."""

    def cut(image, rng):
        return image[: rng.integers(5, 9), : rng.integers(5, 9)]

    images = np.random.default_rng(0).integers(256, size=(7, 9, 9, 3), dtype=np.uint8)
    steps = [Compose([cut]) if nested else cut, Resize((8, 8))]
    one, three = (
        np.concatenate([x for x, _ in DataLoader(ArrayDataset(images, np.arange(7)), size, transform=Compose(steps))])
        for size in (1, 3)
    )
    assert one.shape == (7, 8, 8, 3)
    assert one.tobytes() == three.tobytes()


def test_sizes_that_differ_behind_all_steps_name_both_samples():
    def cut(image, rng):
        return image[:2] if (image == IMAGES[1]).all() else image

    with pytest.raises(ValueError, match=r"sample 0 is uint8 of shape \(4, 3, 2\), sample 1 is uint8 of shape \(2, 3"):
        next(iter(DataLoader(DATASET, 3, transform=Compose([cut]))))
