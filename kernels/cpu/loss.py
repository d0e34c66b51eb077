"""Losses in one pass: softmax, its logarithm and the sum without an array between them."""

from typing import Any

import numpy as np

from ..memory import empty
from . import _jit
from ._arrays import dense, flat
from ._jit import on_threads
from .softmax import exponentials, rows_at_once, take_logarithms
from .tiles import at, share

Array = Any


def cross_entropy_forward(logits: Array, target: Array) -> tuple[Array, Array]:
    """As the reference; the costs of the samples are added in float64."""
    p, costs, threads = empty(logits.shape, logits.dtype), np.empty(len(logits)), _jit.threads_for(16 * logits.size)
    if target.ndim == 1:
        classes, rows = dense(target), np.empty((0, 0), logits.dtype)
    else:
        classes, rows = np.empty(0, np.int64), dense(target.astype(logits.dtype))
    _cross_entropy(dense(logits), classes, rows, p, costs, threads)
    return np.asarray(np.add.reduce(costs) / len(p), logits.dtype), p


def cross_entropy_backward(dloss: Array, p: Array, target: Array) -> Array:
    """As the reference."""
    factor, threads = p.dtype.type(float(dloss) / len(p)), _jit.threads_for(p.size)
    dlogits = empty(p.shape, p.dtype)
    if target.ndim == 2:
        _scaled_difference(factor, flat(p), flat(target.astype(p.dtype)), dlogits.reshape(-1), threads)
    else:
        _cross_entropy_backward(factor, dense(p), dense(target), dlogits, threads)
    return dlogits


@on_threads
def _cross_entropy(logits, classes, rows, p, costs, thread, threads):
    """p and the costs of the samples; of classes (N,) and rows (N, K) one is empty."""
    N, K = logits.shape
    at_once, last = rows_at_once(K), N * (thread + 1) // threads
    largest, totals = np.empty(at_once, p.dtype), np.empty(at_once, p.dtype)
    for start in range(N * thread // threads, last, at_once):
        stop = min(last, start + at_once)
        exponentials(logits, p, largest, totals, start, stop)
        for n in range(start, stop):
            total = totals[n - start]
            for k in range(K):
                p[n, k] /= total
        take_logarithms(totals, stop - start)
        for n in range(start, stop):
            most, logarithm = largest[n - start], totals[n - start]
            if len(classes):
                costs[n] = logarithm - (logits[n, classes[n]] - most)
            else:
                cost = 0.0
                for k in range(K):
                    if rows[n, k] != 0:
                        cost += rows[n, k] * (logarithm - (logits[n, k] - most))
                costs[n] = cost


@on_threads
def _cross_entropy_backward(factor, p, target, dlogits, thread, threads):
    N, K = p.shape
    for n in range(N * thread // threads, N * (thread + 1) // threads):
        for k in range(K):
            dlogits[n, k] = factor * p[n, k]
        dlogits[n, target[n]] = factor * (p[n, target[n]] - p.dtype.type(1))


def mean_squared_error_forward(y: Array, target: Array) -> Array:
    """As the reference; the squares are added in float64."""
    return np.asarray(_sum_of_squares(y, target) / y.size, y.dtype)


def mean_squared_error_backward(dloss: Array, y: Array, target: Array) -> Array:
    """As the reference."""
    return _difference(dloss * 2 / y.size, y, target)


def half_squared_error_forward(y: Array, target: Array) -> Array:
    """As the reference; the squares are added in float64."""
    return np.asarray(_sum_of_squares(y, target) / 2 / (y.size // y.shape[-1]), y.dtype)


def half_squared_error_backward(dloss: Array, y: Array, target: Array) -> Array:
    """As the reference."""
    return _difference(dloss / (y.size // y.shape[-1]), y, target)


def _sum_of_squares(y: Array, target: Array) -> float:
    # As many parts as the size alone says, so that the sum is the same on any number of threads.
    parts = np.zeros(max(1, min(64, y.size >> 14)))
    _square_sums(flat(y), flat(target), parts, _jit.threads_for(y.size))
    return float(parts.sum())


@on_threads
def _square_sums(y, target, parts, thread, threads):
    Q = len(parts)
    for q in range(Q * thread // threads, Q * (thread + 1) // threads):
        total = 0.0
        for i in range(y.size * q // Q, y.size * (q + 1) // Q):
            difference = y[at(i)] - target[at(i)]
            total += np.float64(difference) * difference
        parts[q] = total


def _difference(factor: Any, y: Array, target: Array) -> Array:
    dy = empty(y.shape, y.dtype)
    _scaled_difference(y.dtype.type(factor), flat(y), flat(target), dy.reshape(-1), _jit.threads_for(y.size))
    return dy


@on_threads
def _scaled_difference(factor, y, target, dy, thread, threads):
    for i in range(share(y.size, thread, threads), share(y.size, thread + 1, threads)):
        dy[at(i)] = factor * (y[at(i)] - target[at(i)])
