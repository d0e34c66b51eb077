"""Batch normalisation in two passes over memory, each on all threads: one for all sums, one for the result.

The reference reads x for the mean, again for the variance and again for the result. Here one pass adds up the
differences from a pivot and their squares, in float64; residual and ReLU belong to the second pass. Sums of squares
around 0 would lose a small variance beside a large mean. The pivot is the first value of each channel: the square of
its distance from the mean is at most M times the variance of M values, so of 16 digits at most those of M are lost.
The gradients' sums have no such difference of large numbers behind them: four rows at a time are added in the precision
of x (`columns`, which also says what a wide row and a part is).

The second pass takes a thread's rows in blocks, the last block first: that one is still in the thread's cache. With
fixed statistics nothing waits for the sums, and the gradients need one pass only.

The ReLU's derivative needs the sign of y: computing that again from x, which is read anyway, is faster than reading y.
`bottom` is what y is not to fall below: 0 with a ReLU, without one NaN, for no number is below or equal to that. So the
loops are the same with and without it, and a ReLU behind the kernel gives the same bits as the one inside it.
"""

from typing import Any

import numpy as np

from ..memory import empty
from . import _jit
from ._arrays import dense, flat
from ._jit import compiled, inlined, on_threads
from .columns import fold, no_sums, part_start, repeat, wide, wide_rows
from .tiles import at

Array = Any

BLOCK = 128  # wide rows of a block in the second pass: 256 KiB of each float32 array


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float, residual: Array | None, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    mean, var = batch_norm_statistics(x)
    return _normalised(x, dense(gamma), dense(beta), mean, var, eps, residual, activation, BLOCK), mean, var


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """As the reference."""
    numbers, C = flat(x), x.shape[-1]
    W = wide(x.size, C)
    pivot, sums = _pivot(numbers, C, W), no_sums(x.size, 2, W)
    _sum_squares(numbers, pivot, sums, _jit.threads_for(x.size))
    return _moments(pivot, sums, x.size // C, C)


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    dx = empty(x.shape, x.dtype)
    table, dgamma, dbeta = _sums_of_gradients(dy, x, (gamma, beta, mean, var), eps, activation, None)
    _combine(flat(dy), flat(x), _bottom(activation, x), table, dx.reshape(-1), _jit.threads_for(x.size))
    return dx, dgamma, dbeta


def batch_norm_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, residual: Array | None,
    activation: str | None,
) -> Array:  # fmt: skip
    """As the reference."""
    # Nothing is in the cache yet: one block, forwards, as the processor reads ahead.
    channels = dense(gamma), dense(beta), dense(mean), dense(var)
    return _normalised(x, *channels, eps, residual, activation, x.size)


def batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    dx = empty(x.shape, x.dtype)
    _, dgamma, dbeta = _sums_of_gradients(dy, x, (gamma, beta, mean, var), eps, activation, dx.reshape(-1))
    return dx, dgamma, dbeta


def _normalised(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, residual: Array | None,
    activation: str | None, block: int,
) -> Array:  # fmt: skip
    """y; block: how many wide rows are taken at a time, the last of them first."""
    y = empty(x.shape, x.dtype)
    added = np.empty(0, x.dtype) if residual is None else flat(residual)
    table = _constants(gamma, beta, mean, var, eps, wide(x.size, x.shape[-1]))
    _normalise(flat(x), added, block, table, _bottom(activation, x), y.reshape(-1), _jit.threads_for(x.size))
    return y


def _sums_of_gradients(
    dy: Array, x: Array, channels: tuple[Array, ...], eps: float, activation: str | None, dx: Array | None
) -> tuple[Array, Array, Array]:
    """The constants of `_combine`, dgamma and dbeta; and dx with fixed statistics, if it is given."""
    C = x.shape[-1]
    gamma, beta, mean, var = (dense(channel) for channel in channels)
    W = wide(x.size, C)
    table, sums = _constants(gamma, beta, mean, var, eps, W), no_sums(x.size, 2, W)
    _sum_products(flat(dy), flat(x), _bottom(activation, x), table, sums, dx, _jit.threads_for(x.size))
    return table, *_parameter_gradients(sums, x.size // C, gamma, var, eps, table)


def _bottom(activation: str | None, x: Array) -> Array:
    """What y is not to fall below, of the dtype of x."""
    return x.dtype.type(0 if activation == "relu" else np.nan)


# Of each channel


@compiled
def _pivot(x, C, W):
    """The first value of each channel, or 0 for one that is not finite, repeated over a wide row: (1, W)."""
    pivot = np.empty((1, W), x.dtype)
    for c in range(C):
        pivot[0, c] = x[c] if np.isfinite(x[c]) else 0
    repeat(pivot, C)
    return pivot


@compiled
def _moments(pivot, sums, M, C):
    """mean and var of M values, from the sums of their differences from the pivot and of the squares."""
    fold(sums, C)
    mean, var = np.empty(C, pivot.dtype), np.empty(C, pivot.dtype)
    for c in range(C):
        shift = sums[0, 0, c] / M
        square = sums[0, 1, c] / M - shift * shift
        mean[c] = pivot[0, c] + shift
        var[c] = 0 if square < 0 else square
    return mean, var


@compiled
def _constants(gamma, beta, mean, var, eps, W):
    """mean, scale, beta, and room for two more rows, each repeated over a wide row: (5, W)."""
    C, table = len(mean), np.zeros((5, W), mean.dtype)
    for c in range(C):
        table[0, c], table[2, c] = mean[c], beta[c]
        table[1, c] = gamma[c] / np.sqrt(np.float64(var[c]) + eps)
    repeat(table, C)
    return table


@compiled
def _parameter_gradients(sums, M, gamma, var, eps, table):
    """dgamma and dbeta from the sums of g and g * (x - mean).

    Into the last rows of the table: what the gradients through mean and variance add to dx; see `_combine`.
    """
    C = len(gamma)
    fold(sums, C)
    dgamma, dbeta = np.empty(C, gamma.dtype), np.empty(C, gamma.dtype)
    for c in range(C):
        inverse = 1 / np.sqrt(np.float64(var[c]) + eps)
        dbeta[c], dgamma[c] = sums[0, 0, c], inverse * sums[0, 1, c]
        table[4, c] = -gamma[c] * inverse * inverse * inverse * sums[0, 1, c] / M
        table[3, c] = -gamma[c] * inverse * sums[0, 0, c] / M
    repeat(table, C)
    return dgamma, dbeta


# The first pass


@on_threads
def _sum_squares(x, pivot, sums, thread, threads):
    """`_add_squares` for each part."""
    Q, W = len(sums), pivot.shape[1]
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        _add_squares(x, part_start(x.size, W, q, Q), part_start(x.size, W, q + 1, Q), pivot, sums, q)


@compiled
def _add_squares(x, first, last, pivot, sums, q):
    """sums[q] += x - pivot and its square, over wide rows; by fours, to read and write the sums less often."""
    W, center, out, s = pivot.shape[1], pivot.ravel(), sums.ravel(), 2 * q * pivot.shape[1]
    fours = (last - first) // (4 * W) * 4 * W
    for i in range(first, first + fours, 4 * W):
        for j in range(W):
            p, v = at(i) + at(j), np.float64(center[at(j)])
            d0, d1 = np.float64(x[p]) - v, np.float64(x[p + at(W)]) - v
            d2, d3 = np.float64(x[p + at(2 * W)]) - v, np.float64(x[p + at(3 * W)]) - v
            out[at(s) + at(j)] += (d0 + d1) + (d2 + d3)
            out[at(s + W) + at(j)] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for i in range(first + fours, last, W):
        for j in range(min(W, last - i)):  # the last row may be cut short
            d0 = np.float64(x[at(i) + at(j)]) - np.float64(center[at(j)])
            out[at(s) + at(j)] += d0
            out[at(s + W) + at(j)] += d0 * d0


@on_threads
def _sum_products(dy, x, bottom, table, sums, dx, thread, threads):
    """`_add_products` for each part."""
    Q, W = len(sums), table.shape[1]
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        _add_products(dy, x, bottom, part_start(x.size, W, q, Q), part_start(x.size, W, q + 1, Q), table, sums, q, dx)


@compiled
def _add_products(dy, x, bottom, first, last, table, sums, q, dx):
    """sums[q] += g and g * (x - mean), over wide rows, by fours; g is dy, or 0 where a ReLU let nothing through.

    dx: None, or where scale * g is written of every four rows, while they are in the nearest cache.
    """
    W, t, out, s = table.shape[1], table.ravel(), sums.ravel(), 2 * q * table.shape[1]
    fours = (last - first) // (4 * W) * 4 * W
    for i in range(first, first + fours, 4 * W):
        for j in range(W):
            p0, p1, p2, p3 = at(i) + at(j), at(i + W) + at(j), at(i + 2 * W) + at(j), at(i + 3 * W) + at(j)
            x0, x1, x2, x3, mean = x[p0], x[p1], x[p2], x[p3], t[at(j)]
            g0, g1 = _through(dy[p0], x0, t, W, j, bottom), _through(dy[p1], x1, t, W, j, bottom)
            g2, g3 = _through(dy[p2], x2, t, W, j, bottom), _through(dy[p3], x3, t, W, j, bottom)
            out[at(s) + at(j)] += (g0 + g1) + (g2 + g3)
            low, high = g0 * (x0 - mean) + g1 * (x1 - mean), g2 * (x2 - mean) + g3 * (x3 - mean)
            out[at(s + W) + at(j)] += low + high
        if dx is not None:
            _scale(dy, x, bottom, i, i + 4 * W, table, dx)
    for i in range(first + fours, last, W):
        for j in range(min(W, last - i)):
            p = at(i) + at(j)
            g = _through(dy[p], x[p], t, W, j, bottom)
            out[at(s) + at(j)] += g
            out[at(s + W) + at(j)] += g * (x[p] - t[at(j)])
    if dx is not None:
        _scale(dy, x, bottom, first + fours, last, table, dx)


@compiled
def _scale(dy, x, bottom, first, last, table, dx):
    """dx = scale * g, over wide rows."""
    W, t = table.shape[1], table.ravel()
    for i in range(first, last, W):
        for j in range(min(W, last - i)):
            p = at(i) + at(j)
            dx[p] = t[at(W) + at(j)] * _through(dy[p], x[p], t, W, j, bottom)


@inlined
def _scaled(x, t, W, j):
    """y: in both directions by the same instructions, so that both agree where it is positive."""
    return t[at(W) + at(j)] * (x - t[at(j)]) + t[at(2 * W) + at(j)]


@inlined
def _through(dy, x, t, W, j, bottom):
    """The gradient in front of the ReLU: 0 where y is not above 0; without one dy."""
    return bottom if _scaled(x, t, W, j) <= bottom else dy


# The second pass


@on_threads
def _normalise(x, residual, block, table, bottom, y, thread, threads):
    """y = scale * (x - mean) + beta + residual, if there is one, but not below `bottom`."""
    W, t = table.shape[1], table.ravel()
    rows = wide_rows(x.size, W)
    first, last = rows * thread // threads, rows * (thread + 1) // threads
    for stop in range(last, first, -block):
        for i in range(max(first, stop - block) * W, min(x.size, stop * W), W):
            if len(residual):
                for j in range(min(W, x.size - i)):
                    p = at(i) + at(j)
                    y[p] = _rectified(_scaled(x[p], t, W, j) + residual[p], bottom)
            else:
                for j in range(min(W, x.size - i)):
                    p = at(i) + at(j)
                    y[p] = _rectified(_scaled(x[p], t, W, j), bottom)


@inlined
def _rectified(y, bottom):
    """The larger of both, without a ReLU y."""
    return bottom if y <= bottom else y


@on_threads
def _combine(dy, x, bottom, table, dx, thread, threads):
    """dx = scale * g + slope * (x - mean) + offset, by blocks as `_normalise`."""
    W, t = table.shape[1], table.ravel()
    rows = wide_rows(x.size, W)
    first, last = rows * thread // threads, rows * (thread + 1) // threads
    for stop in range(last, first, -BLOCK):
        for i in range(max(first, stop - BLOCK) * W, min(x.size, stop * W), W):
            for j in range(min(W, x.size - i)):
                p = at(i) + at(j)
                g = _through(dy[p], x[p], t, W, j, bottom)
                dx[p] = t[at(W) + at(j)] * g + (t[at(4 * W) + at(j)] * (x[p] - t[at(j)]) + t[at(3 * W) + at(j)])
