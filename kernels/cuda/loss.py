"""The losses: the kernels of loss.cu. No number comes back to the CPU, so nothing waits for the GPU."""

from typing import Any

import numpy as np

from ._launch import AT_ONCE, THREADS, dense, empty, launch, launch_each, wide
from .softmax import launch_rows

Array = Any

MOST_PARTS = 1024  # of a sum of squares, each from one block
MEAN_THREADS = 1024  # of the one block that adds the parts


def cross_entropy_forward(logits: Array, target: Array) -> tuple[Array, Array]:
    """As the reference."""
    p, costs = empty(logits.shape, logits.dtype), empty(logits.shape[:1], wide(logits.dtype))
    launch_rows("loss", "cross_entropy_forward", p, dense(logits), *_target(p, target), costs, p)
    return _mean(costs, len(p), p.dtype), p


def cross_entropy_backward(dloss: Array, p: Array, target: Array) -> Array:
    """As the reference."""
    dlogits = empty(p.shape, p.dtype)
    launch_rows("loss", "cross_entropy_backward", p, dense(dloss), dense(p), *_target(p, target), dlogits)
    return dlogits


def mean_squared_error_forward(y: Array, target: Array) -> Array:
    """As the reference."""
    return _squared_error(y, target, y.size)


def mean_squared_error_backward(dloss: Array, y: Array, target: Array) -> Array:
    """As the reference."""
    return _squared_error_backward(dloss, y, target, 2 / y.size)


def half_squared_error_forward(y: Array, target: Array) -> Array:
    """As the reference."""
    return _squared_error(y, target, 2 * (y.size // y.shape[-1]))


def half_squared_error_backward(dloss: Array, y: Array, target: Array) -> Array:
    """As the reference."""
    return _squared_error_backward(dloss, y, target, 1 / (y.size // y.shape[-1]))


def _target(p: Array, target: Array) -> tuple[Array | None, Array | None]:
    """classes (N,) int64 and rows (N, K) as the kernels take them, of which one is null."""
    if target.ndim == 1:
        return dense(target.astype(np.int64, copy=False)), None
    return None, dense(target.astype(p.dtype, copy=False))


def _squared_error(y: Array, target: Array, divisor: int) -> Array:
    share = THREADS * AT_ONCE * -(-y.size // (THREADS * AT_ONCE * MOST_PARTS))
    parts = empty((-(-y.size // max(share, 1)),), wide(y.dtype))
    launch("loss", "squared_error_forward", y.dtype, parts.shape, (THREADS,),
           y.size, dense(y), dense(target), share, parts)  # fmt: skip
    return _mean(parts, divisor, y.dtype)


def _squared_error_backward(dloss: Array, y: Array, target: Array, factor: float) -> Array:
    dy = empty(y.shape, y.dtype)
    launch_each("loss", "squared_error_backward", y.size, dense(y), dense(target), factor, dense(dloss), dy)
    return dy


def _mean(parts: Array, divisor: int, dtype: Any) -> Array:
    """The sum of the parts, divided, as an array without axes."""
    loss = empty((), dtype)
    launch("loss", "mean", loss.dtype, (1,), (MEAN_THREADS,), parts.size, parts, float(divisor), loss)
    return loss
