"""Dropout and Philox of the cpu room: the bits of the reference."""

import numpy as np
import pytest
from agreement import DTYPES, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cpu, reference

SETTINGS = settings(deadline=None, derandomize=True, max_examples=150)
WORD = st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1), st.just(2**32 - 1))
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(
    shape=SHAPES,
    p=st.sampled_from([0.0, 1e-9, 0.1, 0.25, 0.5, 0.9, 0.999, 1 - 2**-24, 1 - 2**-30]),
    seed=st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)),
    layer=WORD,
    step=WORD,
    first_sample=WORD,
    dtype=st.sampled_from(DTYPES),
)
def test_dropout_is_the_reference_bit_for_bit(parts, shape, p, seed, layer, step, first_sample, dtype):
    x = (1 + np.random.default_rng(0).random(shape)).astype(dtype)
    with split(parts):
        for name in ("dropout_forward", "dropout_backward"):
            got, expected = (getattr(r, name)(x, p, seed, layer, step, first_sample) for r in (cpu, reference))
            assert got.dtype == dtype
            assert_array_equal(got != 0, expected != 0)
            assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_dropout_of_nothing_is_nothing(shape):
    assert cpu.dropout_forward(np.zeros(shape, np.float32), 0.5, 1, 2, 3, 4).shape == shape


def test_a_dropped_nan_stays_nan_as_in_the_reference():
    x = np.full((2, 50), np.nan)
    x[:, ::2] = np.inf
    with np.errstate(invalid="ignore"):
        assert_array_equal(cpu.dropout_forward(x, 0.5, 1, 2, 3, 4), reference.dropout_forward(x, 0.5, 1, 2, 3, 4))


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(lead=SHAPES, key=st.tuples(WORD, WORD))
def test_philox_is_the_reference_bit_for_bit(parts, lead, key):
    counter = np.random.default_rng(0).integers(0, 2**32, (*lead, 4), dtype=np.uint32)
    counter.reshape(-1)[:4] = 2**32 - 1
    key = np.array(key, np.uint32)
    with split(parts):
        got = cpu.philox4x32(counter, key)
    assert got.dtype == np.uint32
    assert_array_equal(got, reference.philox4x32(counter, key))
    assert_array_equal(cpu.philox4x32(counter[..., ::-1], key), reference.philox4x32(counter[..., ::-1], key))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, words):
    """The known answers that come with Random123, the authors' library."""
    assert_array_equal(cpu.philox4x32(np.array(counter, np.uint32), np.array(key, np.uint32)), words)
