"""Blocks of a matrix product, compiled, on buffers with a margin: it must neither be read into a result nor written.

The margins of what is only read are NaN. Those of what is written hold a number that must still be there afterwards.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from agreement import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.kernels.cpu._jit import compiled
from minicnn.kernels.cpu.blocks import block_rows, multiply, pack, pack_rows, shares
from minicnn.kernels.cpu.microkernel import CHANNEL_ROWS, HEIGHT, multiply_channels, panel_width
from minicnn.kernels.cpu.vectors import vector_length

SETTINGS = settings(deadline=None, derandomize=True, max_examples=300)
MARGIN, CANARY = 40, 12345.0


def guarded(matrix, row, fill):
    """A flat array of `fill` with the matrix in it, its rows `row` numbers apart, and where the first one begins."""
    flat = np.full(2 * MARGIN + len(matrix) * row, fill, matrix.dtype)
    for i, line in enumerate(matrix):
        flat[MARGIN + i * row : MARGIN + i * row + len(line)] = line
    return flat, MARGIN


@pytest.mark.parametrize("dtype", DTYPES)
@SETTINGS
@given(
    M=st.integers(1, 2 * HEIGHT + 1), K=st.integers(1, 9), count=st.integers(1, 32), gap=st.integers(0, 3),
    columns=st.booleans(), adding=st.booleans(), biased=st.booleans(),
)  # fmt: skip
def test_a_block_is_the_product_and_leaves_everything_else_alone(dtype, M, K, count, gap, columns, adding, biased):
    """With the left matrix as it stands, and transposed; with result rows that have numbers of others between them."""
    width, rng = panel_width(np.dtype(dtype).itemsize), np.random.default_rng(M * 1000 + K)
    count = min(count, width)
    a, b = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, count)).astype(dtype)
    before = rng.standard_normal((M, count)).astype(dtype)
    left, a0 = guarded(a.T if columns else a, M if columns else K, np.nan)
    padded = np.zeros((K, width), dtype)
    padded[:, :count] = b
    panel, p0 = guarded(padded, width, np.nan)
    out, c0 = guarded(before, count + gap, CANARY)
    bias, b0 = guarded(rng.standard_normal((1, count)).astype(dtype), count, np.nan)
    start = bias[b0 : b0 + count] if biased else 0
    expected, _ = guarded(a @ b + start + (before if adding else 0), count + gap, CANARY)
    steps = (1, M) if columns else (K, 1)
    multiply(left, a0, *steps, M, panel, p0, width, K, out, c0, count + gap, count, adding, bias, b0 if biased else -1)
    np.testing.assert_allclose(out, expected, rtol=1e-4 if dtype == np.float32 else 1e-11, atol=1e-5)
    np.testing.assert_array_equal(out == CANARY, expected == CANARY)
    # And with the places of rows and columns written down in arrays.
    again, _ = guarded(before, count + gap, CANARY)
    places = np.arange(M) * steps[0], np.arange(K) * steps[1]
    multiply(
        left, a0, *places, M, panel, p0, width, K, again, c0, count + gap, count, adding, bias, b0 if biased else -1
    )
    np.testing.assert_array_equal(again, out)


@compiled
def channels(a, a0, a_row, a_step, first, rows, w, w0, w_step, K, c, c0, c_row, count, adding, b, b0):
    multiply_channels(a, a0, a_row, a_step, first, rows, w, w0, w_step, K, c, c0, c_row, count, adding, b, b0)


@pytest.mark.parametrize("dtype", DTYPES)
@SETTINGS
@given(
    first=st.integers(0, 2), rows=st.integers(1, CHANNEL_ROWS), K=st.integers(0, 9), count=st.integers(1, 50),
    gap=st.integers(0, 3), start=st.sampled_from(["zero", "bias", "there"]), tables=st.booleans(),
)  # fmt: skip
def test_channels_are_multiplied_one_by_one_and_nothing_else_is_touched(
    dtype, first, rows, K, count, gap, start, tables
):
    """c[m] = start + the sum over k of a[m + k] * w[k], number by number, for rows from `first` on."""
    rng, M = np.random.default_rng(K * 1000 + count), first + rows
    a, w, before, bias = (rng.standard_normal((n, count)).astype(dtype) for n in (M + max(K, 1), K, M, 1))
    (image, a0), (weight, w0) = guarded(a, count, np.nan), guarded(w, count, np.nan)
    (out, c0), (added, b0) = guarded(before, count + gap, CANARY), guarded(bias, count, np.nan)
    result = before.copy()
    for m in range(first, M):
        result[m] = {"zero": 0, "bias": bias[0], "there": before[m]}[start]
        for k in range(K):
            result[m] += a[m + k] * w[k]
    expected, _ = guarded(result, count + gap, CANARY)
    row, step, w_step = (np.arange(n) * count for n in (M, K, K)) if tables else (count, count, count)
    channels(image, a0, row, step, first, rows, weight, w0, w_step, K,
             out, c0, count + gap, count, start == "there", added, b0 if start == "bias" else -1)  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=1e-4 if dtype == np.float32 else 1e-11, atol=1e-5)
    np.testing.assert_array_equal(out == CANARY, expected == CANARY)


@pytest.mark.parametrize("dtype", DTYPES)
@SETTINGS
@given(depth=st.integers(1, 40), count=st.integers(1, 32), gap=st.integers(0, 3), transposed=st.booleans())
def test_a_panel_holds_the_columns_and_zeros_and_nothing_is_written_behind_it(dtype, depth, count, gap, transposed):
    width = panel_width(np.dtype(dtype).itemsize)
    count = min(count, width)
    b = np.random.default_rng(depth).standard_normal((depth, count)).astype(dtype)
    row = (depth if transposed else count) + gap
    source, start = guarded(b.T if transposed else b, row, np.nan)
    panel = np.full(2 * MARGIN + depth * width, CANARY, dtype)
    pack(source, start, *((1, row) if transposed else (row, 1)), depth, count, panel, MARGIN)
    expected = np.zeros((depth, width), dtype)
    expected[:, :count] = b
    np.testing.assert_array_equal(panel, guarded(expected, width, CANARY)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@SETTINGS
@given(depth=st.integers(1, 9), count=st.integers(1, 100), gap=st.integers(0, 3))
def test_whole_rows_are_spread_over_panels_of_columns_and_zeros(dtype, depth, count, gap):
    width = panel_width(np.dtype(dtype).itemsize)
    panels = -(-count // width)
    b = np.random.default_rng(depth).standard_normal((depth, count)).astype(dtype)
    source, start = guarded(b, count + gap, np.nan)
    packed = np.full(panels * depth * width + MARGIN, CANARY, dtype)
    pack_rows(source, start, count + gap, depth, count, packed)
    expected = np.zeros((panels, depth, width), dtype)
    for k, n in np.ndindex(depth, count):
        expected[n // width, k, n % width] = b[k, n]
    np.testing.assert_array_equal(packed[:-MARGIN].reshape(expected.shape), expected)
    assert (packed[-MARGIN:] == CANARY).all()


@SETTINGS
@given(M=st.integers(1, 3000), N=st.integers(1, 3000), threads=st.integers(1, 16))
def test_the_shares_cover_a_result_once(M, N, threads):
    bands, blocks = shares(M, N, 4, threads)
    rows = block_rows(M, bands)
    assert bands >= 1
    assert 1 <= blocks <= threads
    assert rows % HEIGHT == 0
    assert rows * bands >= M


SCRIPT = """
import json, sys
import numpy as np
from minicnn.kernels import cpu, reference
from minicnn.kernels.cpu import microkernel
from minicnn.kernels.geometry import output_sizes

sys.path.insert(0, sys.argv[1])
from agreement import assert_sums_agree

def agree(x, w, dy, *where):
    assert_sums_agree("conv2d_forward", (x, w, None, *where, None), cpu)
    assert_sums_agree("conv2d_backward_input", (dy, w, x.shape, *where), cpu)
    assert_sums_agree("conv2d_backward_weight", (dy, x, w.shape, *where), cpu)

rng = np.random.default_rng(0)
normal = lambda *shape: rng.standard_normal(shape).astype(sys.argv[2])
for shape, kernel, C, O, groups, stride in [((2, 9, 8), 3, 5, 40, 1, 1), ((1, 12, 13), 2, 33, 7, 2, 2)]:
    x, w = normal(*shape, C * groups), normal(kernel, kernel, C, O * groups)
    where = (stride, stride), ((1, 1), (0, 2)), (1, 1)
    dy = normal(shape[0], *output_sizes(x.shape, (kernel, kernel), *where), O * groups)
    agree(x, w, dy, *where, groups, "implicit_gemm")
    agree(x, normal(kernel, kernel, 1, C * groups), normal(*dy.shape[:3], C * groups), *where, C * groups, "auto")
for M, K, N in [(37, 70, 41), (300, 9, 33)]:
    x, w, dy = normal(M, K), normal(K, N), normal(M, N)
    assert_sums_agree("linear_forward", (x, w, None, None), cpu)
    assert_sums_agree("linear_backward_input", (dy, w), cpu)
    assert_sums_agree("linear_backward_weight", (dy, x), cpu)
print(json.dumps([microkernel.BYTES, microkernel.HEIGHT, microkernel.VECTORS]))
"""


@pytest.mark.skipif(vector_length(4) < 8, reason="no processor with AVX2")
@pytest.mark.parametrize(
    ("processor", "tile"),
    [("haswell", [32, 6, 2]), pytest.param("nehalem", [16, 6, 2], marks=pytest.mark.slow)],  # few have no AVX2 any more
)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_the_tiles_of_other_processors(processor, tile, dtype):
    """In a process of its own, whose kernels are compiled for that processor: 32 and 16 bytes in a register."""
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == tile
