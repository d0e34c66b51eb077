"""The tests of the exercise convolution."""

from types import ModuleType

import numpy as np

from .answers import call, compare, slopes

Shape = tuple[int, ...]


def test_bias_of_one_image(student: ModuleType) -> None:
    """db: a bias is added at every place of one map"""
    dy = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    compare("db", call(student, "conv2d_backward_bias", dy), np.array([10.0]))


def test_bias_of_several_images(student: ModuleType) -> None:
    """db: two images, three filters, float32"""
    dy = np.arange(12, dtype=np.float32).reshape(2, 2, 1, 3)
    compare("db", call(student, "conv2d_backward_bias", dy), np.array([18, 22, 26], np.float32))


def test_weight_by_hand(student: ModuleType) -> None:
    """dw: by hand, an image of 2 x 3 and a filter of 1 x 2"""
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).reshape(1, 2, 3, 1)
    dy = np.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(1, 2, 2, 1)
    # Each weight meets four cells: 1*1 + 2*10 + 4*100 + 5*1000, and the same one cell to the right.
    expected = np.array([5421.0, 6532.0]).reshape(1, 2, 1, 1)
    compare("dw", call(student, "conv2d_backward_weight", dy, x, (1, 2, 1, 1), 1, 0), expected)


def test_weight_of_several_images(student: ModuleType) -> None:
    """dw: three images, two channels, two filters"""
    _check_weight(student, (3, 4, 4, 2), (2, 2, 2, 2), stride=1, padding=0)


def test_weight_with_stride(student: ModuleType) -> None:
    """dw: stride 2, and a column that no window reaches"""
    _check_weight(student, (2, 5, 6, 1), (3, 3, 1, 2), stride=2, padding=0)


def test_weight_with_padding(student: ModuleType) -> None:
    """dw: padding 1"""
    _check_weight(student, (2, 4, 3, 2), (3, 3, 2, 1), stride=1, padding=1)


def test_input_by_hand(student: ModuleType) -> None:
    """dx: by hand, a row of three cells and a filter of 1 x 2"""
    w = np.array([1.0, 10.0]).reshape(1, 2, 1, 1)
    dy = np.array([3.0, 5.0]).reshape(1, 1, 2, 1)
    # The cell in the middle is in both windows: right in the first (3*10), left in the second (5*1).
    expected = np.array([3.0, 35.0, 50.0]).reshape(1, 1, 3, 1)
    compare("dx", call(student, "conv2d_backward_input", dy, w, (1, 1, 3, 1), 1, 0), expected)


def test_input_where_windows_overlap(student: ModuleType) -> None:
    """dx: windows of 3 x 3 that overlap"""
    _check_input(student, (1, 5, 5, 1), (3, 3, 1, 1), stride=1, padding=0)


def test_input_of_several_channels(student: ModuleType) -> None:
    """dx: two images, two channels, two filters"""
    _check_input(student, (2, 3, 4, 2), (2, 2, 2, 2), stride=1, padding=0)


def test_input_with_stride(student: ModuleType) -> None:
    """dx: stride 2, and a column that no window reaches: it gets 0"""
    _check_input(student, (1, 5, 6, 1), (3, 3, 1, 3), stride=2, padding=0)


def test_input_with_padding(student: ModuleType) -> None:
    """dx: padding 1; what falls outside of the image is dropped"""
    _check_input(student, (1, 4, 3, 2), (3, 3, 2, 1), stride=1, padding=1)


def test_float32(student: ModuleType) -> None:
    """dx and dw: float32 in, float32 out"""
    _check_input(student, (1, 3, 3, 1), (2, 2, 1, 1), stride=1, padding=0, dtype=np.float32)
    _check_weight(student, (1, 3, 3, 1), (2, 2, 1, 1), stride=1, padding=0, dtype=np.float32)


def conv2d(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """The definition, without the bias: y (N, OH, OW, O)."""
    (N, H, W, C), (KH, KW, _, O) = x.shape, w.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    y = np.zeros((N, OH, OW, O))
    for n, oh, ow, o, kh, kw, c in np.ndindex(N, OH, OW, O, KH, KW, C):
        y[n, oh, ow, o] += padded[n, oh * stride + kh, ow * stride + kw, c] * w[kh, kw, c, o]
    return y


def _check_input(
    student: ModuleType, x_shape: Shape, w_shape: Shape, stride: int, padding: int, dtype: type = np.float64
) -> None:
    x, w, dy = _numbers(x_shape, w_shape, stride, padding)
    got = call(student, "conv2d_backward_input", dy.astype(dtype), w.astype(dtype), x_shape, stride, padding)
    compare("dx", got, slopes(lambda x: conv2d(x, w, stride, padding), x, dy).astype(dtype))


def _check_weight(
    student: ModuleType, x_shape: Shape, w_shape: Shape, stride: int, padding: int, dtype: type = np.float64
) -> None:
    x, w, dy = _numbers(x_shape, w_shape, stride, padding)
    got = call(student, "conv2d_backward_weight", dy.astype(dtype), x.astype(dtype), w_shape, stride, padding)
    compare("dw", got, slopes(lambda w: conv2d(x, w, stride, padding), w, dy).astype(dtype))


def _numbers(x_shape: Shape, w_shape: Shape, stride: int, padding: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, w and dy for a convolution of these shapes; whole tenths, so that they are easily followed."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-20, 21, shape) / 10 for shape in (x_shape, w_shape))
    return x, w, rng.integers(-20, 21, conv2d(x, w, stride, padding).shape) / 10
