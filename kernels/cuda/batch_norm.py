"""Batch normalisation: the kernels of batch_norm.cu; the array is a matrix (M, C) there.

Of float16 images what a channel has one of is float32: gamma, beta, mean, variance and their gradients.
"""

import math
from typing import Any

import numpy as np

from ._grid import column_grid, fold_block
from ._launch import dense, empty, launch, wide

Array = Any


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float, residual: Array | None, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    x = dense(x)
    mean, var = batch_norm_statistics(x)
    return batch_norm_inference_forward(x, gamma, beta, mean, var, eps, residual, activation), mean, var


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """As the reference."""
    x, C = dense(x), x.shape[-1]
    M = x.size // C
    parts = column_grid(M, C)[0][1]
    sums, mean, var = empty((2, C, parts), np.float64), empty((C,), wide(x.dtype)), empty((C,), wide(x.dtype))
    _launch("batch_norm_parts", x, x, sums)
    launch("batch_norm", "batch_norm_statistics", x.dtype, (C,), fold_block(parts), M, C, parts, x, sums, mean, var)
    return mean, var


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    given = _given(dy, x, gamma, beta, mean, var, eps, activation)
    dgamma, dbeta = _parameter_gradients(given, None)
    dx = empty(x.shape, x.dtype)
    _launch("batch_norm_backward", x, *given, dgamma, dbeta, dx)
    return dx, dgamma, dbeta


def batch_norm_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, residual: Array | None,
    activation: str | None,
) -> Array:  # fmt: skip
    """As the reference."""
    y = empty(x.shape, x.dtype)
    channels = (dense(channel) for channel in (gamma, beta, mean, var))
    added = None if residual is None else dense(residual)
    _launch("batch_norm_forward", x, dense(x), *channels, eps, added, _bottom(activation), y)
    return y


def batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    dx = empty(x.shape, x.dtype)
    dgamma, dbeta = _parameter_gradients(_given(dy, x, gamma, beta, mean, var, eps, activation), dx)
    return dx, dgamma, dbeta


def _parameter_gradients(given: tuple[Any, ...], dx: Array | None) -> tuple[Array, Array]:
    """dgamma and dbeta; and dx with constant statistics, if it is given. `given`: as _given makes it."""
    x, var, eps = given[1], given[5], given[6]
    C = x.shape[-1]
    parts = column_grid(x.size // C, C)[0][1]
    sums, dgamma, dbeta = empty((2, C, parts), np.float64), empty((C,), wide(x.dtype)), empty((C,), wide(x.dtype))
    _launch("batch_norm_backward_parts", x, *given, dx, sums)
    launch("batch_norm", "batch_norm_backward_parameters", x.dtype, (C,), fold_block(parts),
           C, parts, sums, var, eps, dgamma, dbeta)  # fmt: skip
    return dgamma, dbeta


def _given(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Any, ...]:
    """The arguments that the kernels of the backward direction share."""
    return (*(dense(array) for array in (dy, x, gamma, beta, mean, var)), eps, _bottom(activation))


def _bottom(activation: str | None) -> float:
    """What y must not fall below."""
    return 0.0 if activation == "relu" else math.nan


def _launch(kernel: str, x: Array, *arguments: Any) -> None:
    """A kernel of which every block has a part of the rows of some channels."""
    C = x.shape[-1]
    grid, block, rows = column_grid(x.size // C, C)
    launch("batch_norm", kernel, x.dtype, grid, block, x.size // C, C, rows, *arguments)
