"""Dropout and Philox of the CUDA room: the bits of the reference."""

import numpy as np
import pytest
from agreement import DTYPES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import cuda, reference

SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORD = st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1), st.just(2**32 - 1))
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@SETTINGS
@given(
    shape=st.one_of(SHAPES, st.sampled_from([(3, 1028), (5, 1027), (300, 4), (1, 2**12)])),
    p=st.sampled_from([0.0, 1e-9, 0.1, 0.25, 0.5, 0.9, 0.999, 1 - 2**-24, 1 - 2**-30]),
    seed=st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)),
    layer=WORD,
    step=WORD,
    first_sample=WORD,
    dtype=st.sampled_from(DTYPES),
)
def test_dropout_is_the_reference_bit_for_bit(emulator, shape, p, seed, layer, step, first_sample, dtype):
    x = (1 + np.random.default_rng(0).random(shape)).astype(dtype)
    for name in ("dropout_forward", "dropout_backward"):
        got, expected = (getattr(r, name)(x, p, seed, layer, step, first_sample) for r in (cuda, reference))
        assert got.dtype == dtype
        assert_array_equal(got != 0, expected != 0)
        assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps)


def test_an_element_is_kept_exactly_from_p_on(emulator):
    """Where p is the very number that is drawn, a bit less and a bit more."""
    counter, key = np.array([[0, 4, 3, 2]], np.uint32), np.array([1, 0], np.uint32)
    for element, word in enumerate(reference.philox4x32(counter, key)[0]):
        drawn = int(word >> 8) * 2.0**-24
        x = np.ones((1, 4))
        kept = [cuda.dropout_forward(x, drawn + bit, 1, 2, 3, 4)[0, element] != 0 for bit in (-(2**-30), 0, 2**-30)]
        assert kept == [True, True, False]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_dropout_of_nothing_is_nothing(emulator, shape):
    assert cuda.dropout_forward(np.zeros(shape, np.float32), 0.5, 1, 2, 3, 4).shape == shape


def test_a_dropped_nan_stays_nan_as_in_the_reference(emulator):
    x = np.full((2, 50), np.nan)
    x[:, ::2] = np.inf
    with np.errstate(invalid="ignore"):
        assert_array_equal(cuda.dropout_forward(x, 0.5, 1, 2, 3, 4), reference.dropout_forward(x, 0.5, 1, 2, 3, 4))


@SETTINGS
@given(lead=st.one_of(SHAPES, st.just((300,))), key=st.tuples(WORD, WORD))
def test_philox_is_the_reference_bit_for_bit(emulator, lead, key):
    counter = np.random.default_rng(0).integers(0, 2**32, (*lead, 4), dtype=np.uint32)
    counter.reshape(-1)[:4] = 2**32 - 1
    key = np.array(key, np.uint32)
    got = cuda.philox4x32(counter, key)
    assert got.dtype == np.uint32
    assert_array_equal(got, reference.philox4x32(counter, key))
    assert_array_equal(cuda.philox4x32(counter[..., ::-1], key), reference.philox4x32(counter[..., ::-1], key))
