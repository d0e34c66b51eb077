"""Philox against its published answers, and the dropout mask against Philox on Python's whole numbers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference

LOW = 0xFFFFFFFF
SEED = 0x1234567_89ABCDEF


def philox(counter, key):
    """Salmon et al. 2011 on Python's integers."""
    (a, b, c, d), (k, l) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * a, 2**32)
        high2, low2 = divmod(0xCD9E8D57 * c, 2**32)
        a, b, c, d = high2 ^ b ^ k, low2, high0 ^ d ^ l, low0
        k, l = (k + 0x9E3779B9) % 2**32, (l + 0xBB67AE85) % 2**32
    return a, b, c, d


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([LOW] * 4, [LOW] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers(counter, key, answer):
    words = reference.philox4x32(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert words.dtype == np.uint32
    assert words.tolist() == answer
    assert list(philox(counter, key)) == answer


def test_philox_of_many_counters_is_philox_of_each():
    rng = np.random.default_rng(0)
    counters, key = rng.integers(0, 2**32, (3, 5, 4), np.uint32), rng.integers(0, 2**32, 2, np.uint32)
    words = reference.philox4x32(counters, key)
    for i in np.ndindex(3, 5):
        assert words[i].tolist() == list(philox(counters[i].tolist(), key.tolist()))


@pytest.mark.parametrize("shape", [(3, 2, 3, 5), (2, 1), (4, 8), (3,)])
@pytest.mark.parametrize("p", [0.0, 0.25, 0.7])
def test_dropout_by_loops(shape, p):
    layer, step, first_sample = 3, 70_000, 128
    x = np.random.default_rng(0).standard_normal(shape)
    y = np.empty(shape)
    for i in range(shape[0]):
        flat = x[i].ravel()
        for e in range(flat.size):
            word = philox((e // 4, first_sample + i, step, layer), (SEED % 2**32, SEED // 2**32))[e % 4]
            kept = word // 256 / 2**24 >= p
            y[(i, *np.unravel_index(e, shape[1:]))] = flat[e] / (1 - p) if kept else 0
    assert_allclose(reference.dropout_forward(x, p, SEED, layer, step, first_sample), y, rtol=1e-15)
    assert_allclose(reference.dropout_backward(x, p, SEED, layer, step, first_sample), y, rtol=1e-15)


def test_a_sample_has_the_same_mask_in_every_batch_and_layout():
    x = np.ones((6, 3, 4, 5), np.float32)
    whole = reference.dropout_forward(x, 0.5, SEED, 1, 2, 10)
    assert_array_equal(reference.dropout_forward(x[4:], 0.5, SEED, 1, 2, 14), whole[4:])
    assert_array_equal(reference.dropout_forward(np.asfortranarray(x), 0.5, SEED, 1, 2, 10), whole)
    assert_array_equal(reference.dropout_forward(x.astype(float), 0.5, SEED, 1, 2, 10), whole)


def test_every_argument_changes_the_mask():
    x = np.ones((2, 1000))
    first = reference.dropout_forward(x, 0.5, 1, 2, 3, 4)
    for arguments in [(1 + 2**32, 2, 3, 4), (2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 6)]:
        equal = (reference.dropout_forward(x, 0.5, *arguments) == first).mean()
        assert 0.4 < equal < 0.6


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_were_asked_for_and_the_mean_stays(p):
    y = reference.dropout_forward(np.ones((10, 10_000)), p, SEED, 0, 0, 0)
    assert abs((y == 0).mean() - p) < 4 * np.sqrt(p * (1 - p) / y.size)
    assert_allclose(y[y != 0], 1 / (1 - p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_comparison_with_p_is_exact_where_float32_would_round_p(dtype):
    x = np.ones((1, 400), dtype)
    words = reference.philox4x32(
        np.array([[e, 0, 0, 0] for e in range(100)], np.uint32), np.array([7, 0], np.uint32)
    ).ravel()
    fractions = words >> 8
    large = np.flatnonzero(fractions >= 2**23)[:20]  # above one half float32 has no finer steps than 2^-24
    assert len(large) == 20
    for e in large:
        for p, kept in [((fractions[e] + 0.25) / 2**24, False), (fractions[e] / 2**24, True)]:
            y = reference.dropout_forward(x, float(p), 7, 0, 0, 0)
            assert (y[0, e] != 0) == kept
