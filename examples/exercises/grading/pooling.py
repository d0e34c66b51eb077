"""The tests of the exercise pooling."""

from types import ModuleType

import numpy as np

from .answers import call, compare, slopes

Shape = tuple[int, ...]


def test_max_by_hand(student: ModuleType) -> None:
    """max: by hand, one window of 2 x 2; the winner receives all of it"""
    dy, index = np.array([7.0]).reshape(1, 1, 1, 1), np.array([2]).reshape(1, 1, 1, 1)
    expected = np.array([[0.0, 0.0], [7.0, 0.0]]).reshape(1, 2, 2, 1)
    compare("dx", call(student, "max_pool2d_backward", dy, index, (1, 2, 2, 1), 2, 2), expected)


def test_max_of_a_cell_that_wins_twice(student: ModuleType) -> None:
    """max: by hand, a cell that wins in two overlapping windows"""
    dy, index = np.array([3.0, 5.0]).reshape(1, 1, 2, 1), np.array([1, 0]).reshape(1, 1, 2, 1)
    expected = np.array([[0.0, 8.0, 0.0], [0.0, 0.0, 0.0]]).reshape(1, 2, 3, 1)
    compare("dx", call(student, "max_pool2d_backward", dy, index, (1, 2, 3, 1), 2, 1), expected)


def test_max_side_by_side(student: ModuleType) -> None:
    """max: two images, two channels, windows side by side"""
    _check_max(student, (2, 4, 6, 2), kernel_size=2, stride=2)


def test_max_overlapping(student: ModuleType) -> None:
    """max: windows of 3 x 3 with stride 2, as in AlexNet"""
    _check_max(student, (1, 7, 7, 2), kernel_size=3, stride=2)


def test_max_with_remainder(student: ModuleType) -> None:
    """max: a row and a column that no window reaches get 0"""
    _check_max(student, (1, 5, 7, 1), kernel_size=2, stride=2)


def test_average_by_hand(student: ModuleType) -> None:
    """average: by hand, one window of 2 x 2; each cell receives a quarter"""
    dy = np.array([6.0]).reshape(1, 1, 1, 1)
    compare("dx", call(student, "avg_pool2d_backward", dy, (1, 2, 2, 1), 2, 2), np.full((1, 2, 2, 1), 1.5))


def test_average_side_by_side(student: ModuleType) -> None:
    """average: two images, two channels, windows side by side"""
    _check_average(student, (2, 4, 6, 2), kernel_size=2, stride=2)


def test_average_overlapping(student: ModuleType) -> None:
    """average: windows of 3 x 3 with stride 2, which overlap"""
    _check_average(student, (1, 7, 5, 2), kernel_size=3, stride=2)


def test_average_with_remainder(student: ModuleType) -> None:
    """average: a row and a column that no window reaches get 0"""
    _check_average(student, (1, 5, 7, 1), kernel_size=2, stride=2)


def test_float32(student: ModuleType) -> None:
    """max and average: float32 in, float32 out"""
    _check_max(student, (1, 4, 4, 1), kernel_size=2, stride=2, dtype=np.float32)
    _check_average(student, (1, 4, 4, 1), kernel_size=2, stride=2, dtype=np.float32)


def windows(x: np.ndarray, kernel_size: int, stride: int) -> np.ndarray:
    """The cells of every window in row-major order: (N, OH, OW, C, K*K), by the definition."""
    (N, H, W, C), K = x.shape, kernel_size
    cells = np.empty((N, (H - K) // stride + 1, (W - K) // stride + 1, C, K * K))
    for n, oh, ow, c, kh, kw in np.ndindex(*cells.shape[:4], K, K):
        cells[n, oh, ow, c, kh * K + kw] = x[n, oh * stride + kh, ow * stride + kw, c]
    return cells


def _check_max(student: ModuleType, x_shape: Shape, kernel_size: int, stride: int, dtype: type = np.float64) -> None:
    # No two cells are equal, so that a nudge makes nobody else the winner.
    x = np.random.default_rng(0).permutation(int(np.prod(x_shape))).reshape(x_shape) / 10
    cells = windows(x, kernel_size, stride)
    dy, index = _gradient(cells), cells.argmax(axis=-1)
    expected = slopes(lambda x: windows(x, kernel_size, stride).max(axis=-1), x, dy)
    got = call(student, "max_pool2d_backward", dy.astype(dtype), index, x_shape, kernel_size, stride)
    compare("dx", got, expected.astype(dtype))


def _check_average(
    student: ModuleType, x_shape: Shape, kernel_size: int, stride: int, dtype: type = np.float64
) -> None:
    x = np.zeros(x_shape)  # an average has the same slopes everywhere
    dy = _gradient(windows(x, kernel_size, stride))
    expected = slopes(lambda x: windows(x, kernel_size, stride).mean(axis=-1), x, dy)
    got = call(student, "avg_pool2d_backward", dy.astype(dtype), x_shape, kernel_size, stride)
    compare("dx", got, expected.astype(dtype))


def _gradient(cells: np.ndarray) -> np.ndarray:
    """Some dy (N, OH, OW, C) without a zero."""
    return np.random.default_rng(1).integers(1, 20, cells.shape[:4]) / 10
