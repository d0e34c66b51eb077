"""What the tests of warping in the fast rooms share: drawn problems, and how near a result must be."""

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minicnn.kernels import reference

DTYPES = [np.uint8, np.float32, np.float64]


@st.composite
def problems(draw):
    """Arguments of warp: images and matrices of all kinds, far away and at whole pixels too."""
    N, H, W, C = (draw(st.integers(a, b)) for a, b in ((0, 3), (1, 6), (1, 7), (1, 5)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from(DTYPES))
    x = rng.integers(256, size=(N, H, W, C)).astype(dtype)
    matrices = rng.standard_normal((N, 2, 3)) * draw(st.sampled_from([1, 40]))
    if draw(st.booleans()):
        matrices = np.round(matrices)
    displacement = rng.standard_normal((N, H, W, 2)) if draw(st.booleans()) else None
    return x, matrices, displacement, draw(st.sampled_from(["nearest", "constant", "reflect"])), 7.0


def assert_warps_agree(room, problem):
    """Floats to their last digits; bytes exactly, but for a sum within rounding of a half."""
    x, matrices, displacement, *fill = problem
    y = room.warp(x, matrices, displacement, *fill)
    exact = reference.warp(x.astype(np.float64), matrices, displacement, *fill)
    assert y.dtype == x.dtype
    if x.dtype == np.uint8:
        assert_allclose(y, exact, rtol=0, atol=0.5 + 1e-9)
    else:
        # Of a place h some digits are lost, in proportion to its terms; neighbours differ by up to 255.
        terms = abs(matrices).max(initial=1) * (x.shape[1] + x.shape[2] + 1)
        assert_allclose(y, exact, rtol=0, atol=2 * np.finfo(x.dtype).eps * terms * 255)
