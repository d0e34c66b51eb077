"""The stand-in for trainings rounds as the GPU does."""

import numpy as np
import pytest
import rounded
from agreement import call, converted
from numpy.testing import assert_allclose, assert_array_equal
from test_cuda_contract import EVERY_CALL, halved

from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import _launch

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)  # every float16


@pytest.mark.slow
@EVERY_CALL
def test_half_precision_is_the_reference_rounded(monkeypatch, name, arguments):
    """As of the kernels themselves, see test_cuda_contract.py: in what type a result is, and how near."""
    rounded.installed(monkeypatch)
    given = halved(name, arguments)
    for result, expected in zip(
        call(cuda, name, given), call(reference, name, converted(given, np.float64)), strict=True
    ):
        channels = name.startswith("batch_norm") and result.ndim == 1
        assert result.dtype == (np.int32 if result.dtype.kind == "i" else np.float32 if channels else np.float16)
        assert_allclose(result.view(np.ndarray), expected, rtol=1e-3, atol=1e-3)


def test_tf32_factors_are_rounded_where_it_is_chosen(monkeypatch):
    """1 + 2**-11 is in the middle between two TF32 numbers, of which 1 is even; a bias is no factor."""
    rounded.installed(monkeypatch)
    x = w = np.full((1, 1), 1 + 2**-11, np.float32)
    b = x[0]
    for precision, factor in (("highest", x.item()), ("high", 1)):
        monkeypatch.setattr(_launch, "float32_matmul_precision", precision)
        assert cuda.linear_forward(x, w, b, None).item() == np.float32(factor * factor + b.item())


def test_float16_numbers_become_what_numpy_makes_of_them():
    assert_array_equal(rounded.to_float32(HALVES), HALVES.astype(np.float32))


def test_floats_become_the_float16_that_numpy_makes_of_them():
    """Each float16, the middles between neighbours, and their neighbours in turn; too small and too large ones."""
    numbers = np.sort(HALVES[np.isfinite(HALVES)].astype(np.float32))
    middles = np.append((numbers[1:] + numbers[:-1]) / 2, np.float32([65520, -65520]))  # where infinity begins
    far = np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-38, 1e-45, -1e-45])
    x = np.concatenate([numbers, middles, *(np.nextafter(middles, np.float32(end)) for end in (-np.inf, np.inf)), far])
    with np.errstate(over="ignore"):
        assert_array_equal(rounded.to_float16(x), x.astype(np.float16))
