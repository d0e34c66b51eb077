"""The worked examples of the lectures, number for number, in every room."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

NONE = ((0, 0), (0, 0))
BITS = ["100001", "010010", "001100", "100010", "010010", "001010"]
DIAGONAL = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
PHOTO = [
    [60, 113, 56, 139, 85],
    [73, 121, 54, 84, 128],
    [131, 99, 70, 129, 127],
    [80, 57, 115, 69, 134],
    [104, 126, 123, 95, 130],
]
CELLS = [[29, 15, 28, 184], [0, 100, 70, 38], [12, 12, 7, 2], [12, 12, 45, 6]]


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


def image(rows, dtype):
    """(H, W) -> (1, H, W, 1)"""
    return np.array(rows, dtype)[None, :, :, None]


def kernel(rows, dtype):
    """(KH, KW) -> (KH, KW, 1, 1)"""
    return np.array(rows, dtype)[:, :, None, None]


@pytest.mark.parametrize("algorithm", ["auto", "im2col", "implicit_gemm"])
@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (1, [[3, -1, -3, -1], [-3, 1, 0, -3], [-3, -3, 0, 1], [3, -2, -2, -1]]),
        (2, [[3, -3], [-3, 0]]),
    ],
)
def test_a_filter_finds_the_diagonals_of_a_six_by_six_image(room, dtype, stride, expected, algorithm):
    x = image([[int(bit) for bit in row] for row in BITS], dtype)
    y = room.conv2d_forward(x, kernel(DIAGONAL, dtype), None, (stride, stride), NONE, (1, 1), 1, algorithm, None)
    assert_array_equal(y, image(expected, dtype))


@pytest.mark.parametrize("algorithm", ["auto", "im2col", "implicit_gemm"])
def test_a_kernel_sharpens_a_photo(room, dtype, algorithm):
    x, w = image(PHOTO, dtype), kernel(SHARPEN, dtype)
    y = room.conv2d_forward(x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1, algorithm, None)
    assert y.shape == x.shape
    assert_array_equal(y[0, 0, :, 0], [114, 328, -26, 470, 158])


def test_pooling_two_by_two(room, dtype):
    x = image(CELLS, dtype)
    largest, index = room.max_pool2d_forward(x, (2, 2), (2, 2), NONE, False)
    assert_array_equal(largest, image([[100, 184], [12, 45]], dtype))
    assert_array_equal(index, image([[3, 1], [0, 2]], np.int32))
    average = room.avg_pool2d_forward(x, (2, 2), (2, 2), NONE, False, False)
    assert_array_equal(average, image([[36, 80], [12, 15]], dtype))
    total = room.sum_pool2d_forward(x, (2, 2), (2, 2), NONE, False)
    assert_array_equal(total, image([[144, 320], [48, 60]], dtype))


def test_the_half_squared_error_of_four_answers(room, dtype):
    y, target = np.array([[0.2, 0.4, 0.1, 0.3]], dtype), np.array([[0, 0, 1, 0]], dtype)
    assert_allclose(room.half_squared_error_forward(y, target), 0.55, rtol=1e-6)
    dy = room.half_squared_error_backward(np.array(1, dtype), y, target)
    assert_allclose(dy, [[0.2, 0.4, -0.9, 0.3]], rtol=1e-6)
