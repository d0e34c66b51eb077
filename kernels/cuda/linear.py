"""The fully connected layer: three matrix products (gemm.cuh), and the gradient of a bias."""

from typing import Any

from ._launch import THREADS, dense, empty, launch
from ._product import across, core, split_sum
from .activation import CODES

Array = Any


def linear_forward(x: Array, w: Array, b: Array | None, activation: str | None) -> Array:
    """As the reference; bias and activation come while the sums are still in registers."""
    (M, K), N = x.shape, w.shape[1]
    x, w, b, y = dense(x), dense(w), None if b is None else dense(b), empty((M, N), x.dtype)
    way = core(M, N, K, (x, K), (w, N))
    way.launch("linear", "linear_forward", x.dtype, M, N, M, N, K, x, w, b, CODES[activation], y)
    return y


def linear_backward_input(dy: Array, w: Array) -> Array:
    """As the reference; w.T is w, read the other way round."""
    (M, K), N = dy.shape, w.shape[0]
    dy, w, dx = dense(dy), dense(w), empty((M, N), dy.dtype)
    core(M, N, K, (dy, K), (w, K)).launch("linear", "linear_backward_input", dy.dtype, M, N, M, N, K, dy, w, dx)
    return dx


def linear_backward_weight(dy: Array, x: Array) -> Array:
    """As the reference; the samples are shared among blocks, because there may be few weights and many samples."""
    (K, M), N = x.shape, dy.shape[1]
    dy, x = dense(dy), dense(x)
    way = core(M, N, K, (x, M), (dy, N), cut=True)

    def fill(sums: Array, parts: int, depth: int) -> None:
        way.launch("linear", "linear_backward_weight", dy.dtype, M, N, M, N, K, depth, x, dy, sums, parts=parts)

    return split_sum(empty((M, N), dy.dtype), K, way.blocks(M, N), fill)


def bias_backward(dy: Array) -> Array:
    """As the reference; the rows are shared among blocks."""
    O = dy.shape[-1]
    dy, rows = dense(dy), dy.size // max(O, 1)
    width = across(rows)
    blocks = -(-O // width)

    def fill(sums: Array, parts: int, depth: int) -> None:
        launch("columns", "bias_backward", dy.dtype, (blocks, parts), (THREADS,), rows, O, width, depth, dy, sums)

    return split_sum(empty((O,), dy.dtype), rows, blocks, fill)
