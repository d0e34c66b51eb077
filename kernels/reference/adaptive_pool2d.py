"""Average pooling that is told its output size instead of its window."""

import numpy as np

from ..geometry import Pair, adaptive_window
from ._arrays import Array


def adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    """Share an image out among OH x OW windows and take the average of each.

    x: (N, H, W, C); output_size: (OH, OW). Result y: (N, OH, OW, C).

        y[n, oh, ow, c] = average of x[n, h, w, c] over h in rows(oh), w in columns(ow)
        rows(oh) = [floor(oh * H / OH), ceil((oh + 1) * H / OH)),  columns(ow) alike with W and OW

    Where OH does not divide H, neighbouring windows overlap by a row; where it exceeds H, they repeat rows.
    output_size (1, 1) is the global average pooling of Lin, Chen & Yan, "Network In Network", 2014, section 3.2.
    """
    (N, H, W, C), (OH, OW) = x.shape, output_size
    y = np.empty((N, OH, OW, C), x.dtype)
    # The windows differ in size, so they are walked one by one; there are few of them.
    for oh in range(OH):
        for ow in range(OW):
            rows, columns = slice(*adaptive_window(oh, H, OH)), slice(*adaptive_window(ow, W, OW))
            # A window may be the whole image: float64 keeps the sum of a float32 image exact enough for an oracle.
            y[:, oh, ow] = x[:, rows, columns].mean(axis=(1, 2), dtype=np.float64)
    return y


def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """Gradient of adaptive average pooling: every cell receives its share from all windows that cover it.

    dy: (N, OH, OW, C); x_shape: (N, H, W, C). Result dx: (N, H, W, C), dtype of dy.

        dx[n, h, w, c] = sum of dy[n, oh, ow, c] / cells[oh, ow] over all windows that cover cell (h, w)
    """
    (_, H, W, _), (_, OH, OW, _) = x_shape, dy.shape
    dx = np.zeros(x_shape, dy.dtype)
    for oh in range(OH):
        for ow in range(OW):
            (top, bottom), (left, right) = adaptive_window(oh, H, OH), adaptive_window(ow, W, OW)
            cells = (bottom - top) * (right - left)
            dx[:, top:bottom, left:right] += dy[:, oh : oh + 1, ow : ow + 1] / cells
    return dx
