"""The matrix products and rearrangements of the cpu room against the reference."""

import itertools

import numpy as np
import pytest
from agreement import DTYPES, assert_sums_agree, split
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from minicnn.kernels import cpu, reference
from minicnn.kernels.geometry import output_sizes

SETTINGS = settings(deadline=None, derandomize=True, max_examples=150)


def arrays(M, K, N, dtype):
    """x, w, b and dy."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in [(M, K), (K, N), (N,), (M, N)]]


def assert_products_agree(M, K, N, dtype):
    x, w, b, dy = arrays(M, K, N, dtype)
    assert_sums_agree("linear_forward", (x, w, b, None), cpu)
    assert_sums_agree("linear_forward", (x, w, None, None), cpu)
    assert_sums_agree("linear_backward_input", (dy, w), cpu)
    assert_sums_agree("linear_backward_weight", (dy, x), cpu)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M", range(1, 10))
def test_every_small_size(M, dtype):
    for (K, N), parts in itertools.product(itertools.product(range(1, 10), repeat=2), (1, 3)):
        with split(parts):
            assert_products_agree(M, K, N, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [15, 16, 17, 31, 32, 33, 63, 64, 65, 511, 512, 513, 1024, 1025])
def test_every_side_at_the_edges_of_the_blocks(length, dtype):
    for M, K, N in [(length, 6, 7), (6, length, 7), (6, 7, length), (5, length, length), (1, length, 513)]:
        assert_products_agree(M, K, N, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(130, 400, 83), (1, 2000, 1100), (33, 84, 10), (700, 3, 600), (4, 5000, 4)])
def test_large_products_have_the_same_bits_on_any_number_of_threads(sizes, dtype):
    assert_products_agree(*sizes, dtype)
    x, w, b, dy = arrays(*sizes, dtype)
    results = []
    for parts in (1, 2, 3, 7):
        with split(parts):
            results.append(
                [cpu.linear_forward(x, w, b, None), cpu.linear_backward_input(dy, w), cpu.linear_backward_weight(dy, x)]
            )
    for one, other in itertools.product(results[:1], results[1:]):
        for a, b in zip(one, other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_spoilt_number_reaches_only_its_row_or_column(value):
    for position, which in itertools.product((0, 0.5, 1), range(3)):
        x, w, b, dy = arrays(7, 6, 9, np.float64)
        victim = (x, w, dy)[which]
        victim.flat[int(position * (victim.size - 1))] = value
        for name, arguments in [
            ("linear_forward", (x, w, b, None)),
            ("linear_backward_input", (dy, w)),
            ("linear_backward_weight", (dy, x)),
        ]:
            got, expected = (getattr(room, name)(*arguments) for room in (cpu, reference))
            assert np.isfinite(expected).any()
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_a_batch_of_none_and_a_sum_over_nothing():
    x, w, b = np.zeros((0, 3), np.float32), np.ones((3, 2), np.float32), np.ones(2, np.float32)
    assert cpu.linear_forward(x, w, b, None).shape == (0, 2)
    assert_array_equal(cpu.linear_backward_weight(np.zeros((0, 2), np.float32), x), np.zeros((3, 2)))
    assert_array_equal(cpu.linear_forward(np.zeros((2, 0), np.float32), w[:0], b, None), np.ones((2, 2)))
    assert_array_equal(cpu.bias_backward(x), np.zeros(3))


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(
    lead=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    O=st.sampled_from([1, 2, 3, 10, 31, 32, 33, 63, 64, 65, 130]),
    dtype=st.sampled_from(DTYPES),
)
def test_the_gradient_of_a_bias_is_the_reference(parts, lead, O, dtype):
    dy = np.random.default_rng(0).standard_normal((*lead, O)).astype(dtype)
    with split(parts):
        assert_sums_agree("bias_backward", (dy,), cpu)


def test_a_bias_gradient_of_a_million_float32_keeps_its_digits():
    db = cpu.bias_backward(np.full((1000, 1000, 3), 0.1, np.float32))
    np.testing.assert_allclose(db, 1e6 * float(np.float32(0.1)), rtol=1e-7)


@st.composite
def axes(draw):
    """size, kernel, stride, (before, after), dilation; the smallest size is that of a single window."""
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    before, after = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    smallest = max(1, dilation * (kernel - 1) + 1 - before - after)
    return draw(st.integers(smallest, smallest + 6)), kernel, stride, (before, after), dilation


@pytest.mark.parametrize("parts", [1, 3])
@SETTINGS
@given(
    rows=axes(),
    columns=axes(),
    N=st.integers(1, 3),
    C=st.sampled_from([1, 2, 5, 33]),
    dtype=st.sampled_from(DTYPES),
)
def test_im2col_and_col2im_are_the_reference(parts, rows, columns, N, C, dtype):
    (H, KH, SH, vertical, DH), (W, KW, SW, horizontal, DW) = rows, columns
    shape, where = (N, H, W, C), ((KH, KW), (SH, SW), (vertical, horizontal), (DH, DW))
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    OH, OW = output_sizes(shape, where[0], *where[1:])
    windows = rng.standard_normal((N * OH * OW, KH * KW * C)).astype(dtype)
    with split(parts):
        got = cpu.im2col(x, *where)
        assert got.dtype == dtype
        assert_array_equal(got, reference.im2col(x, *where))
        assert_sums_agree("col2im", (windows, shape, *where), cpu)
