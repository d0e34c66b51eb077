"""Batch normalisation: one pass for the mean, one for the variance, one for the result, on all threads.

The sums run in float64 over parts of the rows. How many parts there are depends on the shape alone, so the result has
the same bits on any number of threads.
"""

from typing import Any

import numpy as np
from numba import prange

from ..memory import empty, zeros
from . import _jit
from ._arrays import dense
from ._jit import parallel

Array = Any


def batch_norm_forward(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """As the reference."""
    rows, threads = _rows(x), _jit.threads_for(x.size)
    M, C = rows.shape
    parts = zeros((_part_count(M), C), np.float64)
    _sum(rows, parts, threads)
    mean = (parts.sum(axis=0) / M).astype(x.dtype)
    parts[:] = 0
    _sum_squares(rows, mean, parts, threads)
    var = (parts.sum(axis=0) / M).astype(x.dtype)
    return batch_norm_inference_forward(x, gamma, beta, mean, var, eps), mean, var


def batch_norm_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """As the reference."""
    dgamma, dbeta, inverse = _sums(dy, x, mean, var, eps)
    M = x.size // x.shape[-1]
    dx = _combine(dy, x, gamma * inverse, dbeta / M, mean, inverse * dgamma / M)
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


def batch_norm_inference_forward(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    """As the reference: x times one number and plus another for each channel."""
    rows = _rows(x)
    y = empty(rows.shape, rows.dtype)
    _normalise(rows, gamma / np.sqrt(var + x.dtype.type(eps)), dense(mean), dense(beta), y, _jit.threads_for(x.size))
    return y.reshape(x.shape)


def batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """As the reference."""
    dgamma, dbeta, inverse = _sums(dy, x, mean, var, eps)
    dx = np.multiply(dy, (gamma * inverse).astype(x.dtype), out=empty(dy.shape, dy.dtype))
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


def _rows(x: Array) -> Array:
    return dense(x).reshape(-1, x.shape[-1])  # (..., C) -> (M, C)


def _part_count(M: int) -> int:
    return max(1, min(32, M // 64))


def _sums(dy: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array, Array]:
    """dgamma, dbeta and 1 / sqrt(var + eps), in float64."""
    inverse = 1 / np.sqrt(var.astype(np.float64) + eps)
    rows = _rows(x)
    parts = zeros((_part_count(len(rows)), 2, rows.shape[1]), np.float64)
    _gradient_sums(_rows(dy), rows, dense(mean), parts, _jit.threads_for(x.size))
    dbeta, dgamma = parts.sum(axis=0)
    return dgamma * inverse, dbeta, inverse


def _combine(dy: Array, x: Array, scale: Array, shift: Array, mean: Array, slope: Array) -> Array:
    """scale * (dy - shift - slope * (x - mean))."""
    rows, constants = _rows(dy), np.array([scale, shift, mean, slope], x.dtype)
    dx = empty(rows.shape, rows.dtype)
    _combine_rows(rows, _rows(x), constants, dx, _jit.threads_for(x.size))
    return dx.reshape(x.shape)


@parallel
def _sum(x, parts, threads):
    (M, C), Q = x.shape, len(parts)
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            for m in range(M * q // Q, M * (q + 1) // Q):
                for c in range(C):
                    parts[q, c] += x[m, c]


@parallel
def _sum_squares(x, mean, parts, threads):
    (M, C), Q = x.shape, len(parts)
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            for m in range(M * q // Q, M * (q + 1) // Q):
                for c in range(C):
                    difference = x[m, c] - mean[c]
                    parts[q, c] += difference * difference


@parallel
def _normalise(x, scale, mean, beta, y, threads):
    M, C = x.shape
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            for c in range(C):
                y[m, c] = scale[c] * (x[m, c] - mean[c]) + beta[c]


@parallel
def _gradient_sums(dy, x, mean, parts, threads):
    (M, C), Q = x.shape, len(parts)
    for thread in prange(threads):
        for q in range(Q * thread // threads, Q * (thread + 1) // threads):
            for m in range(M * q // Q, M * (q + 1) // Q):
                for c in range(C):
                    parts[q, 0, c] += dy[m, c]
                    parts[q, 1, c] += dy[m, c] * (x[m, c] - mean[c])


@parallel
def _combine_rows(dy, x, constants, dx, threads):
    M, C = x.shape
    scale, shift, mean, slope = constants[0], constants[1], constants[2], constants[3]
    for thread in prange(threads):
        for m in range(M * thread // threads, M * (thread + 1) // threads):
            for c in range(C):
                dx[m, c] = scale[c] * (dy[m, c] - shift[c] - slope[c] * (x[m, c] - mean[c]))
