"""A loader's batches shared by ranks: together they are what one rank has."""

import itertools

import numpy as np
import pytest

import minicnn as mc
from minicnn import _part, data, nn
from minicnn.data import transforms


@pytest.fixture(autouse=True)
def _seed():
    mc.seed(0)


def loader(**options):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (13, 6, 6, 1), np.uint8), rng.integers(0, 3, 13)
    return data.DataLoader(data.ArrayDataset(images, labels), 6, shuffle=True, **options)


def mixed(x, labels, rng):
    """A batch_transform in which every sample depends on all others."""
    return x + x.mean(axis=0) * np.float32(rng.random()), labels


@pytest.mark.parametrize("samples", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_follow_each_other_and_differ_by_at_most_one(samples, size):
    parts = [_part.bounds(samples, rank, size) for rank in range(size)]
    assert [i for begin, end in parts for i in range(begin, end)] == list(range(samples))
    lengths = [end - begin for begin, end in parts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    "options",
    [{}, {"transform": transforms.RandomAffine(rotation=20)}, {"batch_transform": mixed}, {"workers": 2},
     {"transform": lambda image, rng: image + np.uint8(rng.integers(9))}],
    ids=["plain", "transform", "batch_transform", "workers", "function"],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 4])
def test_the_parts_of_all_ranks_are_the_batch(options, size):
    whole = list(loader(**options).batches(3))
    parts = [list(loader(**options).batches(3, part=(rank, size))) for rank in range(size)]
    assert [len(x) for x, _ in whole] == [6, 6, 1]
    for (x, labels), own in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate([part for part, _ in own]), x)
        np.testing.assert_array_equal(np.concatenate([targets for _, targets in own]), labels)
        assert all(part.shape[1:] == x.shape[1:] and part.dtype == x.dtype for part, _ in own)


def test_a_rank_makes_its_own_samples_only():
    seen = []
    own = loader(transform=lambda image, rng: seen.append(1) or image)
    assert [len(x) for x, _ in own.batches(0, part=(1, 3))] == [2, 2, 0]
    assert len(seen) == 2 + 2 + 1  # the last for the shape


def test_a_run_goes_on_in_the_middle():
    parts = list(loader().batches(1, part=(1, 2)))
    for (x, _), (y, _) in itertools.zip_longest(loader().batches(1, 1, (1, 2)), parts[1:]):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("part", "error"), [((2, 2), ValueError), ((0, 0), ValueError), (1, TypeError)])
def test_a_part_that_there_is_not(part, error):
    with pytest.raises(error, match="part"):
        loader().batches(0, part=part)


def test_dropout_draws_for_a_part_what_it_draws_for_the_whole():
    x = np.ones((7, 20), np.float32)
    layer = nn.Dropout(0.5)
    whole = layer(mc.tensor(x)).data
    layer.counter[...] = 0
    with _part.computing(_part.Part(first=3)):
        part = layer(mc.tensor(x[3:])).data
    np.testing.assert_array_equal(part, whole[3:])
    assert _part.current() == _part.WHOLE
