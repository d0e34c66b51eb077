"""Adaptive average pooling: the kernels of adaptive_pool2d.cu."""

from typing import Any

import numpy as np

from ..geometry import Pair
from ._grid import even_width, pixel_grid
from ._launch import THREADS, dense, empty, launch

Array = Any

SHARING = np.dtype([(name, np.int32) for name in ("H", "W", "C", "OH", "OW")])  # the struct of adaptive_pool2d.cu


def adaptive_avg_pool2d_forward(x: Array, output_size: Pair) -> Array:
    """As the reference."""
    (N, H, W, C), (OH, OW) = x.shape, output_size
    y = empty((N, OH, OW, C), x.dtype)
    across, down = _block(C, -(-H // OH) * -(-W // OW))
    blocks = N * OH * OW * -(-C // across)
    launch("adaptive_pool2d", "adaptive_avg_pool2d_forward", x.dtype, (blocks,), (across, down),
           np.array([(H, W, C, OH, OW)], SHARING), dense(x), y)  # fmt: skip
    return y


def adaptive_avg_pool2d_backward(dy: Array, x_shape: tuple[int, ...]) -> Array:
    """As the reference."""
    (N, H, W, C), (OH, OW) = x_shape, dy.shape[1:3]
    dx = empty(x_shape, dy.dtype)
    launch("adaptive_pool2d", "adaptive_avg_pool2d_backward", dy.dtype, *pixel_grid(N * H, W, C),
           np.array([(H, W, C, OH, OW)], SHARING), dense(dy), dx)  # fmt: skip
    return dx


def _block(channels: int, cells: int) -> Pair:
    """Threads for the channels, and threads that share the cells of a window: about eight cells for each."""
    down = min(8, 1 << (cells // 8).bit_length())
    across = even_width(channels, THREADS // down)
    return across, min(THREADS // across, -(-cells // 8))
