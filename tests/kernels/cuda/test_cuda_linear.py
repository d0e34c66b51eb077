"""The fully connected layer of the CUDA room against the reference: tails of the tiles, several tiles each way."""

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import _product

SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SIZES = st.integers(1, 20) | st.sampled_from([31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 130])


def arrays(M, N, K, dtype):
    """x (M, K), w (K, N), b (N,), dy (M, N)."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((M, K), (K, N), (N,), (M, N))]


def assert_all_directions_agree(M, N, K, dtype):
    x, w, b, dy = arrays(M, N, K, dtype)
    assert_sums_agree("linear_forward", (x, w, b, None), cuda)
    assert_sums_agree("linear_forward", (x, w, None, None), cuda)
    assert_sums_agree("linear_backward_input", (dy, w), cuda)
    assert_sums_agree("linear_backward_weight", (dy, x), cuda)


@SETTINGS
@given(M=SIZES, N=SIZES, K=SIZES, dtype=st.sampled_from(DTYPES))
def test_it_is_the_reference(emulator, M, N, K, dtype):
    assert_all_directions_agree(M, N, K, dtype)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fused_activation_has_the_bits_of_the_separate_one(emulator, activation, dtype):
    x, w, b, _ = arrays(70, 67, 9, dtype)
    separate = getattr(cuda, f"{activation}_forward")(cuda.linear_forward(x, w, b, None))
    assert_array_equal(cuda.linear_forward(x, w, b, activation), separate)


def test_a_narrow_tile_gives_the_bits_of_a_wide_one(emulator, monkeypatch):
    """Both add up a sum in the order of k."""
    x, w, b, dy = arrays(150, 11, 37, np.float32)
    calls = ("linear_forward", x, w, b, "relu"), ("linear_backward_input", dy[:, :9], w[:16, :9])
    narrow = [getattr(cuda, name)(*arguments) for name, *arguments in calls]
    assert {_product.core(150, N, 37, (x, 37), (w, 11)).width for N in (11, 16)} == {16}
    monkeypatch.setattr(_product, "SIMT", dict.fromkeys(_product.SIMT, _product.SIMT[64]))
    for result, (name, *arguments) in zip(narrow, calls, strict=True):
        assert_array_equal(result, getattr(cuda, name)(*arguments))


@pytest.mark.parametrize("samples", [1000, 3000])
def test_a_long_sum_is_cut_into_parts_of_one_order(emulator, monkeypatch, samples):
    x, _, _, dy = arrays(samples, 5, 70, np.float32)
    bits = []
    for deep in (256, 256, 100, 10**9):
        monkeypatch.setattr(_product, "DEEP", deep)
        assert_sums_agree("linear_backward_weight", (dy, x), cuda)
        bits.append(cuda.linear_backward_weight(dy, x))
    assert_array_equal(bits[0], bits[1])
    assert (bits[0] != bits[2]).any()  # or nothing was cut
    assert (bits[0] != bits[3]).any()


@SETTINGS
@given(
    rows=st.integers(1, 700),
    O=st.sampled_from([1, 2, 3, 7, 85, 128, 129, 255, 256, 257, 600]),
    dtype=st.sampled_from(DTYPES),
)
def test_a_bias_collects_all_rows(emulator, rows, O, dtype):
    dy = np.random.default_rng(0).standard_normal((rows, O)).astype(dtype)
    assert_sums_agree("bias_backward", (dy,), cuda)


def test_a_sum_over_no_samples_is_zero(emulator):
    x, w, b, dy = arrays(0, 5, 7, np.float32)
    assert cuda.linear_forward(x, w, b, "relu").shape == (0, 5)
    assert cuda.linear_backward_input(dy, w).shape == (0, 7)
    assert_array_equal(cuda.linear_backward_weight(dy, x), np.zeros((7, 5)))
    assert_array_equal(cuda.bias_backward(dy), np.zeros(5))


@pytest.mark.parametrize("emulator", ["shuffled"], indirect=True)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_reach_what_they_reach_in_the_reference(emulator, value):
    """One such number at a time, in the first, a middle and the last element of each array, over several tiles."""
    for position in (0, 0.37, 1):
        for spoilt in range(2):
            x, w, b, dy = arrays(70, 67, 18, np.float64)
            for kernel, operands in [
                ("linear_forward", [x, w]),
                ("linear_backward_input", [dy, w]),
                ("linear_backward_weight", [dy, x]),
            ]:
                victim = operands[spoilt]
                i = int(position * (victim.size - 1))
                kept, victim.flat[i] = victim.flat[i], value
                arguments = (*operands, b, None) if kernel == "linear_forward" else operands
                got, expected = getattr(cuda, kernel)(*arguments), getattr(reference, kernel)(*arguments)
                np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11, err_msg=kernel)
                victim.flat[i] = kept
