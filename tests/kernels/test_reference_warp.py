"""Warping: the formula in loops, and what turning, shifting and mirroring must give without any formula."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minicnn.kernels import reference
from minicnn.kernels.reference import warp

FILLS = ["nearest", "constant", "reflect"]
RNG = np.random.default_rng(0)
IDENTITY = np.eye(2, 3)[np.newaxis]
IMAGES = RNG.integers(256, size=(3, 5, 7, 2), dtype=np.uint8)


def shift(down, right):
    """The matrix of an image whose pixels move that far: each looks up the place it came from."""
    return np.array([[[1.0, 0, -down], [0, 1, -right]]])


def pixel(row, i, fill, value):
    """Cell i of a row that goes on outside: laid out cell by cell, as the docstring draws it."""
    if fill == "nearest":
        return row[0] if i < 0 else row[-1] if i >= len(row) else row[i]
    if fill == "constant":
        return row[i] if 0 <= i < len(row) else value
    there_and_back = list(row) + list(row)[::-1]
    return there_and_back[i % len(there_and_back)]


def by_loops(x, matrices, displacement, fill, value):
    y = np.empty(x.shape)
    N, H, W, C = x.shape
    for n, i, j, c in np.ndindex(N, H, W, C):
        h, w = matrices[n] @ (i, j, 1) + (0 if displacement is None else displacement[n, i, j])
        total = 0.0
        for p in (math.floor(h), math.floor(h) + 1):
            for q in (math.floor(w), math.floor(w) + 1):
                columns = [pixel([x[n, r, s, c] for s in range(W)], q, fill, value) for r in range(H)]
                outside = [value] * W if fill == "constant" else None
                neighbour = pixel(columns, p, fill, value) if outside is None or 0 <= p < H else value
                total += (1 - abs(h - p)) * (1 - abs(w - q)) * neighbour
        y[n, i, j, c] = total
    return y


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("bent", [False, True])
def test_the_formula_by_loops(fill, bent):
    x = RNG.standard_normal((2, 4, 5, 2))
    matrices = RNG.standard_normal((2, 2, 3)) * [1, 1, 4]
    displacement = 3 * RNG.standard_normal((2, 4, 5, 2)) if bent else None
    assert_allclose(
        warp(x, matrices, displacement, fill, 0.7), by_loops(x, matrices, displacement, fill, 0.7), atol=1e-12
    )


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_nothing_changed_is_nothing_changed(fill, dtype):
    x = IMAGES.astype(dtype) / np.array(1 if dtype == np.uint8 else 3, dtype)
    x = x.astype(dtype)
    assert_array_equal(warp(x, np.repeat(IDENTITY, 3, axis=0), None, fill, 9.0), x)


@pytest.mark.parametrize(("fill", "mode"), [("nearest", "edge"), ("constant", "constant"), ("reflect", "symmetric")])
@pytest.mark.parametrize(("down", "right"), [(2, 0), (0, -3), (-1, 2), (4, 6)])
def test_a_shift_by_whole_pixels_is_a_slice_of_the_padded_image(fill, mode, down, right):
    """NumPy's pad knows the three kinds by other names."""
    more = {"constant_values": 9} if mode == "constant" else {}
    padded = np.pad(IMAGES, ((0, 0), (7, 7), (7, 7), (0, 0)), mode, **more)
    expected = padded[:, 7 - down : 12 - down, 7 - right : 14 - right]
    assert_array_equal(warp(IMAGES, np.repeat(shift(down, right), 3, axis=0), None, fill, 9.0), expected)
    moved = np.broadcast_to(np.array([-down, -right], float), (3, 5, 7, 2))
    assert_array_equal(warp(IMAGES, np.repeat(IDENTITY, 3, axis=0), moved, fill, 9.0), expected)


@pytest.mark.parametrize("far", [13, 14, 29, 1000])
def test_reflected_images_repeat_however_far_one_goes(far):
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (far + 7, far + 7), (0, 0)), "symmetric")
    for way in (far, -far):
        expected = padded[:, :, far + 7 + way : far + 14 + way]
        assert_array_equal(warp(IMAGES, np.repeat(shift(0, -way), 3, axis=0), None, "reflect", 0.0), expected)


def test_halves_of_bytes_are_rounded_up():
    x = np.array([0, 1, 2, 255, 255, 254], np.uint8).reshape(1, 1, 6, 1)
    y = warp(x, shift(0, -0.5), None, "nearest", 0.0)
    assert y.ravel().tolist() == [1, 2, 129, 255, 255, 254]


def test_the_outermost_pixels_run_into_the_constant():
    x = np.full((1, 1, 3, 1), 10.0)
    assert_allclose(warp(x, shift(0, 0.25), None, "constant", 2.0).ravel(), [8, 10, 10])
    assert_allclose(warp(x, shift(0, -2.25), None, "constant", 2.0).ravel(), [8, 2, 2])


def test_it_is_a_kernel_of_the_reference():
    assert "warp" in reference.__all__
