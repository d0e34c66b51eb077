"""Batch normalisation in two passes over memory, each on all threads: one for all sums, one for the result.

The reference reads x for the mean, again for the variance and again for the result. Here one pass adds up the
differences from a pivot and their squares, in float64; residual and ReLU belong to the second pass. Sums of squares
around 0 would lose a small variance beside a large mean. The pivot is the first value of each channel: the square of
its distance from the mean is at most M times the variance of M values, so of 16 digits at most those of M are lost.
The gradients' sums have no such difference of large numbers behind them: four rows at a time are added in the precision
of x (`columns`, which also says what a wide row and a part is).

The second pass takes a thread's rows in blocks, the last block first: that one is still in the thread's cache.
The ReLU's derivative needs the sign of y: computing that again from x, which is read anyway, is faster than reading y.
`bottom` is what y is not to fall below, or None without a ReLU: for that Numba compiles loops of their own.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty
from . import _jit
from ._arrays import dense, flat
from ._jit import compiled, inlined, parallel, separate
from .columns import fold, no_sums, part_start, repeat, wide, wide_rows
from .tiles import at

Array = Any

BLOCK = 128  # wide rows of a block in the second pass: 256 KiB of each float32 array


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float, residual: Array | None, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    y, C = empty(x.shape, x.dtype), x.shape[-1]
    mean, var = np.empty(C, x.dtype), np.empty(C, x.dtype)
    arrays = flat(x), _flat_residual(residual, x), dense(gamma), dense(beta)
    _forward(*arrays, eps, _bottom(activation, x), wide(x.size, C), mean, var, y.reshape(-1), _jit.threads_for(x.size))
    return y, mean, var


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    return _gradients(dy, x, gamma, beta, mean, var, eps, activation, False)


def batch_norm_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, residual: Array | None,
    activation: str | None,
) -> Array:  # fmt: skip
    """As the reference: x less one number, times one and plus another for each channel."""
    y = empty(x.shape, x.dtype)
    arrays = flat(x), _flat_residual(residual, x), dense(gamma), dense(beta), dense(mean), dense(var)
    _inference(*arrays, eps, _bottom(activation, x), wide(x.size, x.shape[-1]), y.reshape(-1),
               _jit.threads_for(x.size))  # fmt: skip
    return y


def batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    return _gradients(dy, x, gamma, beta, mean, var, eps, activation, True)


def _gradients(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None,
    fixed: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """dx, dgamma, dbeta; fixed: whether mean and variance are constants."""
    dx, C = empty(x.shape, x.dtype), x.shape[-1]
    dgamma, dbeta = np.empty(C, x.dtype), np.empty(C, x.dtype)
    arrays = flat(dy), flat(x), dense(gamma), dense(beta), dense(mean), dense(var)
    _backward(*arrays, eps, _bottom(activation, x), fixed, wide(x.size, C), dx.reshape(-1), dgamma, dbeta,
              _jit.threads_for(x.size))  # fmt: skip
    return dx, dgamma, dbeta


def _bottom(activation: str | None, x: Array) -> Array | None:
    return x.dtype.type(0) if activation == "relu" else None


def _flat_residual(residual: Array | None, x: Array) -> Array:
    """Nothing at all for None."""
    return np.empty(0, x.dtype) if residual is None else flat(residual)


# The kernels. One thread has its work already: to enter a `prange` takes longer than a small array.


@parallel
def _forward(x, residual, gamma, beta, eps, bottom, W, mean, var, y, threads):
    pivot, sums, rows = _pivot(x, len(gamma), W), no_sums(x.size, 2, W), wide_rows(x.size, W)
    Q = len(sums)
    if threads == 1:
        _sum_squares(x, pivot, sums, 0, Q)
    else:
        for thread in prange(threads):
            _sum_squares(x, pivot, sums, Q * thread // threads, Q * (thread + 1) // threads)
    _moments(pivot, sums, x.size // len(gamma), mean, var)
    table = _constants(gamma, beta, mean, var, eps, W)
    if threads == 1:
        _normalise(x, residual, 0, rows, table, bottom, y)
    else:
        for thread in prange(threads):
            _normalise(x, residual, rows * thread // threads, rows * (thread + 1) // threads, table, bottom, y)


@parallel
def _inference(x, residual, gamma, beta, mean, var, eps, bottom, W, y, threads):
    table, rows = _constants(gamma, beta, mean, var, eps, W), wide_rows(x.size, W)
    if threads == 1:
        _normalise(x, residual, 0, rows, table, bottom, y)
    else:
        for thread in prange(threads):
            _normalise(x, residual, rows * thread // threads, rows * (thread + 1) // threads, table, bottom, y)


@parallel
def _backward(dy, x, gamma, beta, mean, var, eps, bottom, fixed, W, dx, dgamma, dbeta, threads):
    table, sums = _constants(gamma, beta, mean, var, eps, W), no_sums(x.size, 2, W)
    Q, rows = len(sums), wide_rows(x.size, W)
    if threads == 1:
        _sum_products(dy, x, bottom, table, sums, 0, Q)
    else:
        for thread in prange(threads):
            _sum_products(dy, x, bottom, table, sums, Q * thread // threads, Q * (thread + 1) // threads)
    _parameter_gradients(sums, x.size // len(gamma), gamma, var, eps, table, dgamma, dbeta)
    if threads == 1:
        _combine(dy, x, bottom, fixed, 0, rows, table, dx)
    else:
        for thread in prange(threads):
            _combine(dy, x, bottom, fixed, rows * thread // threads, rows * (thread + 1) // threads, table, dx)


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
def _moments(pivot, sums, M, mean, var):
    """mean and var of M values, from the sums of their differences from the pivot and of the squares."""
    fold(sums, len(mean))
    for c in range(len(mean)):
        shift = sums[0, 0, c] / M
        square = sums[0, 1, c] / M - shift * shift
        mean[c] = pivot[0, c] + shift
        var[c] = 0 if square < 0 else square


@compiled
def _constants(gamma, beta, mean, var, eps, W):
    """mean, gamma / sqrt(var + eps), beta, and room for two more rows, each repeated over a wide row: (5, W)."""
    C, table = len(mean), np.zeros((5, W), mean.dtype)
    for c in range(C):
        table[0, c], table[2, c] = mean[c], beta[c]
        table[1, c] = gamma[c] / np.sqrt(np.float64(var[c]) + eps)
    repeat(table, C)
    return table


@compiled
def _parameter_gradients(sums, M, gamma, var, eps, table, dgamma, dbeta):
    """dgamma and dbeta from the sums of g and g * (x - mean); and of dx what `_combine` calls shift and slope."""
    C = len(gamma)
    fold(sums, C)
    for c in range(C):
        inverse = 1 / np.sqrt(np.float64(var[c]) + eps)
        dbeta[c], dgamma[c] = sums[0, 0, c], sums[0, 1, c] * inverse
        table[3, c] = -gamma[c] * inverse * sums[0, 0, c] / M
        table[4, c] = -gamma[c] * inverse * inverse * inverse * sums[0, 1, c] / M
    repeat(table, C)


# The first pass


@separate
def _sum_squares(x, pivot, sums, first, last):
    """`_add_squares` for so many parts."""
    Q, W = len(sums), pivot.shape[1]
    for q in range(first, last):
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


@separate
def _sum_products(dy, x, bottom, table, sums, first, last):
    """`_add_products` for so many parts."""
    Q, W = len(sums), table.shape[1]
    for q in range(first, last):
        _add_products(dy, x, bottom, part_start(x.size, W, q, Q), part_start(x.size, W, q + 1, Q), table, sums, q)


@compiled
def _add_products(dy, x, bottom, first, last, table, sums, q):
    """sums[q] += g and g * (x - mean), over wide rows, by fours; g is dy, or 0 where a ReLU let nothing through."""
    W, t, out, s = table.shape[1], table.ravel(), sums.ravel(), 2 * q * table.shape[1]
    fours = (last - first) // (4 * W) * 4 * W
    for i in range(first, first + fours, 4 * W):
        for j in range(W):
            p0, p1, p2, p3 = at(i) + at(j), at(i + W) + at(j), at(i + 2 * W) + at(j), at(i + 3 * W) + at(j)
            mean = t[at(j)]
            d0, d1, d2, d3 = x[p0] - mean, x[p1] - mean, x[p2] - mean, x[p3] - mean
            g0, g1 = _through(dy[p0], d0, t, W, j, bottom), _through(dy[p1], d1, t, W, j, bottom)
            g2, g3 = _through(dy[p2], d2, t, W, j, bottom), _through(dy[p3], d3, t, W, j, bottom)
            out[at(s) + at(j)] += (g0 + g1) + (g2 + g3)
            out[at(s + W) + at(j)] += (g0 * d0 + g1 * d1) + (g2 * d2 + g3 * d3)
    for i in range(first + fours, last, W):
        for j in range(min(W, last - i)):
            d0 = x[at(i) + at(j)] - t[at(j)]
            g0 = _through(dy[at(i) + at(j)], d0, t, W, j, bottom)
            out[at(s) + at(j)] += g0
            out[at(s + W) + at(j)] += g0 * d0


@inlined
def _scaled(difference, t, W, j):
    """y, from x - mean: in both directions by the same instructions, so that both agree where it is positive."""
    return t[at(W) + at(j)] * difference + t[at(2 * W) + at(j)]


@compiled
def _through(dy, difference, t, W, j, bottom):
    """The gradient in front of the ReLU: 0 where y is not above 0; without one dy."""
    if bottom is None:
        return dy
    return bottom if _scaled(difference, t, W, j) <= bottom else dy


# The second pass


@separate
def _normalise(x, residual, first, last, table, bottom, y):
    """y = scale * (x - mean) + beta + residual, if there is one, but not below `bottom`, for so many wide rows."""
    W, t = table.shape[1], table.ravel()
    for stop in range(last, first, -BLOCK):
        for i in range(max(first, stop - BLOCK) * W, min(x.size, stop * W), W):
            if len(residual):
                for j in range(min(W, x.size - i)):
                    p = at(i) + at(j)
                    y[p] = _rectified(_scaled(x[p] - t[at(j)], t, W, j) + residual[p], bottom)
            else:
                for j in range(min(W, x.size - i)):
                    p = at(i) + at(j)
                    y[p] = _rectified(_scaled(x[p] - t[at(j)], t, W, j), bottom)


@compiled
def _rectified(y, bottom):
    """The larger of both, without a ReLU y."""
    if bottom is None:
        return y
    return bottom if y <= bottom else y


@separate
def _combine(dy, x, bottom, fixed, first, last, table, dx):
    """dx = scale * g, and unless the statistics are fixed shift + slope * (x - mean) on top, for so many wide rows."""
    W, t = table.shape[1], table.ravel()
    for stop in range(last, first, -BLOCK):
        for i in range(max(first, stop - BLOCK) * W, min(x.size, stop * W), W):
            if fixed:
                for j in range(min(W, x.size - i)):
                    p = at(i) + at(j)
                    dx[p] = t[at(W) + at(j)] * _through(dy[p], x[p] - t[at(j)], t, W, j, bottom)
            else:
                for j in range(min(W, x.size - i)):
                    p = at(i) + at(j)
                    d = x[p] - t[at(j)]
                    scaled = t[at(W) + at(j)] * _through(dy[p], d, t, W, j, bottom)
                    dx[p] = scaled + (t[at(3 * W) + at(j)] + t[at(4 * W) + at(j)] * d)
