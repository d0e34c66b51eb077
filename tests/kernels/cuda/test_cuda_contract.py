"""What holds for every kernel of the CUDA room; on an emulator, so it needs no GPU."""

import numpy as np
import pytest
from agreement import DTYPES, call, converted
from numpy.testing import assert_allclose, assert_array_equal
from test_reference_contract import CALLS, LAYOUTS, convert

from minicnn.kernels import cuda, reference

CALLS = [each for each in CALLS if each[0] in cuda.__all__]
EVERY_CALL = pytest.mark.parametrize(
    ("name", "arguments"), CALLS, ids=[f"{i}-{call[0]}" for i, call in enumerate(CALLS)]
)


def halved(name, arguments):
    """Arguments and results in float16; what batch norm has one of for each channel stays float32."""
    given = convert(arguments, np.float16)
    if not name.startswith("batch_norm"):
        return given
    return [a.astype(np.float32) if isinstance(a, np.ndarray) and a.ndim == 1 else a for a in given]


@EVERY_CALL
def test_half_precision_is_the_reference_rounded(emulator, name, arguments):
    """A float16 has 11 binary digits: rounding a result to it changes it by at most 5e-4 of itself."""
    given = halved(name, arguments)
    for result, expected in zip(
        call(cuda, name, given), call(reference, name, converted(given, np.float64)), strict=True
    ):
        channels = name.startswith("batch_norm") and result.ndim == 1
        assert result.dtype == (np.int32 if result.dtype.kind == "i" else np.float32 if channels else np.float16)
        assert result.shape == expected.shape
        assert_allclose(result, expected, rtol=1e-3, atol=1e-3)


@EVERY_CALL
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_are_those_of_the_reference_and_fresh_and_inputs_are_untouched(emulator, name, arguments, dtype):
    given = convert(arguments, dtype)
    before = [np.copy(a) if isinstance(a, np.ndarray) else a for a in given]
    results = call(cuda, name, given)
    tolerance = {np.float32: 1e-5, np.float64: 1e-12}[dtype]
    for result, expected in zip(results, call(reference, name, converted(given, np.float64)), strict=True):
        assert type(result) is np.ndarray
        assert result.dtype == (np.int32 if result.dtype.kind == "i" else dtype)
        assert result.shape == expected.shape
        assert result.flags.c_contiguous
        assert not any(np.shares_memory(result, a) for a in given if isinstance(a, np.ndarray))
        assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    for a, b in zip(given, before, strict=True):
        if isinstance(a, np.ndarray):
            assert_array_equal(a, b)


@EVERY_CALL
@pytest.mark.parametrize("layout", ["transposed", "backwards", "every second"])
def test_the_memory_layout_changes_no_bit(emulator, name, arguments, layout):
    plain = call(cuda, name, convert(arguments, np.float32))
    other = call(cuda, name, convert(arguments, np.float32, lambda a: LAYOUTS[layout](a) if a.ndim else a.copy()))
    for a, b in zip(plain, other, strict=True):
        assert_array_equal(a, b)
