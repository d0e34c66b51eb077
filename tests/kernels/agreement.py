"""What the tests of the cpu room share: how near to the reference a result lies, and how work is cut into parts."""

import contextlib

import numpy as np

from minicnn.kernels import reference
from minicnn.kernels.cpu import _jit

DTYPES = [np.float32, np.float64]


def call(room, name, arguments):
    """The results of a kernel, always as a tuple."""
    results = getattr(room, name)(*arguments)
    return results if isinstance(results, tuple) else (results,)


def converted(arguments, dtype):
    """The arguments, with floating-point arrays in `dtype`."""
    return [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments]


def assert_sums_agree(name, arguments, room, digits=32, mixed=False):
    """A kernel that is linear in each array agrees with the float64 reference on the very same numbers.

    Rounding errors of a sum grow with the magnitudes that were added, not with what is left of them. So the error
    allowed is `digits` units of the last place of the same kernel over absolute values: enough for thousands of terms
    in any order, and thousands of times less than one term lost, doubled or taken from a neighbour. A kernel that
    mixes neighbouring sums, as Winograd's, has the errors of the largest of them: `mixed`.
    """
    dtype = next(a.dtype for a in arguments if isinstance(a, np.ndarray))
    wide = converted(arguments, np.float64)
    magnitudes = [abs(a) if isinstance(a, np.ndarray) else a for a in wide]
    got = getattr(room, name)(*arguments)
    expected, allowed = getattr(reference, name)(*wide), getattr(reference, name)(*magnitudes)
    assert got.dtype == dtype
    assert got.shape == expected.shape
    if mixed:
        allowed[...] = allowed.max(initial=0)
    error = abs(got - expected)
    assert (error <= digits * np.finfo(dtype).eps * allowed).all(), f"{name}: {error.max()} of {allowed.max()}"


@contextlib.contextmanager
def split(parts):
    """Cut every kernel's work into that many parts, however small it is: a small array alone would be one thread's."""
    original = _jit.threads_for
    _jit.threads_for = lambda work, grain=1: parts
    try:
        yield
    finally:
        _jit.threads_for = original
