"""Batch normalisation in two passes over memory, each on all threads: one for all sums, one for the result.

The reference reads x for the mean, again for the variance and again for the result. Here one pass adds up the
differences from a pivot and their squares, in float64; residual and ReLU belong to the second pass. Sums of squares
around 0 would lose a small variance beside a large mean. The pivot is the first value of each channel: the square of
its distance from the mean is at most M times the variance of M values, so of 16 digits at most those of M are lost.
The ReLU's derivative needs the sign of y: computing that again from x, which is read anyway, is faster than reading y.

A row of C numbers is a short loop, so as many rows as make about 512 numbers are taken as one, with the channels'
constants repeated as often. The sums are taken over parts of the rows. How many parts there are depends on the shape
alone, so the result has the same bits on any number of threads.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty, zeros
from . import _jit
from ._arrays import dense, flat
from ._jit import compiled, inlined, parallel
from .tiles import add, at, copy

Array = Any

WIDE = 512  # numbers of the rows that are taken as one


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float, residual: Array | None, activation: str | None
) -> tuple[Array, Array, Array]:
    """As the reference."""
    y, C = empty(x.shape, x.dtype), x.shape[-1]
    mean, var = np.empty(C, x.dtype), np.empty(C, x.dtype)
    added = np.zeros(0, x.dtype) if residual is None else flat(residual)
    constants = dense(gamma), dense(beta), eps, _bottom(activation, x)
    _forward(flat(x), added, *constants, _no_sums(x), mean, var, y.reshape(-1), _jit.threads_for(x.size))
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
    added = np.zeros(0, x.dtype) if residual is None else flat(residual)
    table = _constants(dense(gamma), dense(beta), dense(mean), dense(var), eps, _width(x))
    _inference(flat(x), added, table, _bottom(activation, x), y.reshape(-1), _jit.threads_for(x.size))
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
    constants = dense(gamma), dense(beta), dense(mean), dense(var), eps, _bottom(activation, x), fixed
    _backward(flat(dy), flat(x), *constants, _no_sums(x), dx.reshape(-1), dgamma, dbeta, _jit.threads_for(x.size))
    return dx, dgamma, dbeta


def _bottom(activation: str | None, x: Array) -> Array:
    """What y is not to fall below: 0 with ReLU; without it NaN, for no number is below or equal to that."""
    return x.dtype.type(0 if activation == "relu" else np.nan)


def _width(x: Array) -> int:
    """How many numbers whole rows (..., C) have that are taken as one."""
    C = x.shape[-1]
    return int(max(1, WIDE // C) * C)


def _no_sums(x: Array) -> Array:
    """Zeros for the two sums in each place of a wide row, in so many parts: (parts, 2, width)."""
    width = _width(x)
    return zeros((max(1, min(32, x.size // (32 * width))), 2, width), np.float64)


@parallel
def _forward(x, residual, gamma, beta, eps, bottom, sums, mean, var, y, threads):
    Q, _, W = sums.shape
    rows, C, pivot = (x.size + W - 1) // W, len(gamma), np.empty((1, W), x.dtype)
    for c in range(C):
        pivot[0, c] = x[c] if np.isfinite(x[c]) else 0
    _repeat(pivot, C)
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            _add_squares(x, rows * q // Q * W, min(x.size, rows * (q + 1) // Q * W), pivot, sums, q)
    totals, M = _channel_sums(sums, C), x.size // C
    for c in range(C):
        shift = totals[c] / M
        square = totals[C + c] / M - shift * shift
        mean[c] = pivot[0, c] + shift
        var[c] = 0 if square < 0 else square
    table = _constants(gamma, beta, mean, var, eps, W)
    for thread in prange(threads):
        first, last = rows * thread // threads * W, min(x.size, rows * (thread + 1) // threads * W)
        _normalise(x, residual, first, last, table, bottom, y)


@parallel
def _inference(x, residual, table, bottom, y, threads):
    W = table.shape[1]
    rows = (x.size + W - 1) // W
    for thread in prange(threads):
        first, last = rows * thread // threads * W, min(x.size, rows * (thread + 1) // threads * W)
        _normalise(x, residual, first, last, table, bottom, y)


@parallel
def _backward(dy, x, gamma, beta, mean, var, eps, bottom, fixed, sums, dx, dgamma, dbeta, threads):
    Q, _, W = sums.shape
    rows, C, table = (x.size + W - 1) // W, len(gamma), _constants(gamma, beta, mean, var, eps, W)
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            first, last = rows * q // Q * W, min(x.size, rows * (q + 1) // Q * W)
            _add_products(dy, x, bottom, first, last, table, sums, q)
    totals, M = _channel_sums(sums, C), x.size // C
    for c in range(C):
        inverse = 1 / np.sqrt(np.float64(var[c]) + eps)
        dbeta[c], dgamma[c] = totals[c], totals[C + c] * inverse
        table[3, c] = -gamma[c] * inverse * totals[c] / M
        table[4, c] = -gamma[c] * inverse * inverse * inverse * totals[C + c] / M
    _repeat(table, C)
    for thread in prange(threads):
        first, last = rows * thread // threads * W, min(x.size, rows * (thread + 1) // threads * W)
        _combine(dy, x, bottom, fixed, first, last, table, dx)


@compiled
def _constants(gamma, beta, mean, var, eps, W):
    """mean, gamma / sqrt(var + eps), beta, and room for two more rows, each repeated over a wide row: (5, W)."""
    C, table = len(mean), np.zeros((5, W), mean.dtype)
    for c in range(C):
        table[0, c], table[2, c] = mean[c], beta[c]
        table[1, c] = gamma[c] / np.sqrt(np.float64(var[c]) + eps)
    _repeat(table, C)
    return table


@compiled
def _repeat(table, C):
    """The first C numbers of each row, again and again to its end."""
    W, t = table.shape[1], table.ravel()
    for k in range(len(table)):
        for first in range(k * W + C, (k + 1) * W, C):
            copy(t, first, t, k * W, C)


@compiled
def _channel_sums(sums, C):
    """(parts, 2, W) -> (2 * C)."""
    parts, W, totals = sums.ravel(), sums.shape[2], np.zeros(2 * C)
    for q in range(2 * len(sums)):
        for first in range(q * W, (q + 1) * W, C):
            add(totals, q % 2 * C, parts, first, C)
    return totals


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


@compiled
def _add_products(dy, x, bottom, first, last, table, sums, q):
    """sums[q] += g and g * (x - mean), over wide rows, by twos; g is dy, or 0 where a ReLU let nothing through."""
    W, t, out, s = table.shape[1], table.ravel(), sums.ravel(), 2 * q * table.shape[1]
    twos = (last - first) // (2 * W) * 2 * W
    for i in range(first, first + twos, 2 * W):
        for j in range(W):
            p, r = at(i) + at(j), at(i + W) + at(j)
            d0, d1 = x[p] - t[at(j)], x[r] - t[at(j)]
            g0 = np.float64(_through(dy[p], _scaled(d0, t, W, j), bottom))
            g1 = np.float64(_through(dy[r], _scaled(d1, t, W, j), bottom))
            out[at(s) + at(j)] += g0 + g1
            out[at(s + W) + at(j)] += g0 * d0 + g1 * d1
    for i in range(first + twos, last, W):
        for j in range(min(W, last - i)):
            d0 = x[at(i) + at(j)] - t[at(j)]
            g0 = np.float64(_through(dy[at(i) + at(j)], _scaled(d0, t, W, j), bottom))
            out[at(s) + at(j)] += g0
            out[at(s + W) + at(j)] += g0 * d0


@inlined
def _scaled(difference, t, W, j):
    """y, from x - mean: in both directions by the same instructions, so that both agree where it is positive."""
    return t[at(W) + at(j)] * difference + t[at(2 * W) + at(j)]


@inlined
def _through(dy, y, bottom):
    """The gradient in front of the ReLU: 0 where y is not above 0; without one (`_bottom`) dy."""
    return bottom if y <= bottom else dy


@compiled
def _normalise(x, residual, first, last, table, bottom, y):
    """y = scale * (x - mean) + beta + residual, if there is one, but not below `bottom`."""
    W, t = table.shape[1], table.ravel()
    for i in range(first, last, W):
        if len(residual):
            for j in range(min(W, last - i)):
                p = at(i) + at(j)
                v = _scaled(x[p] - t[at(j)], t, W, j) + residual[p]
                y[p] = bottom if v <= bottom else v
        else:
            for j in range(min(W, last - i)):
                p = at(i) + at(j)
                v = _scaled(x[p] - t[at(j)], t, W, j)
                y[p] = bottom if v <= bottom else v


@compiled
def _combine(dy, x, bottom, fixed, first, last, table, dx):
    """dx = scale * g, and unless the statistics are fixed shift + slope * (x - mean) on top."""
    W, t = table.shape[1], table.ravel()
    for i in range(first, last, W):
        for j in range(min(W, last - i)):
            p = at(i) + at(j)
            d = x[p] - t[at(j)]
            scaled = t[at(W) + at(j)] * _through(dy[p], _scaled(d, t, W, j), bottom)
            dx[p] = scaled if fixed else scaled + (t[at(3 * W) + at(j)] + t[at(4 * W) + at(j)] * d)
