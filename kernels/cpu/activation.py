"""Activations in one pass over memory, on all threads.

What differs from the reference: NumPy makes an array for each step of a formula, here an element is read once and
written once. tanh and exp of float32 are polynomials, because a call into the C library for each element cannot
become vector code; of float64, which serves gradient checks, they are the library's.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ..memory import empty
from . import _jit
from ._arrays import flat
from ._jit import inlined, on_threads
from .tiles import at, share

Array = Any


def exp_nonpositive(x: float) -> float:
    """e**x for x <= 0 or NaN, inside compiled code."""
    raise NotImplementedError("only for compiled code")


@overload(exp_nonpositive, inline="always")
def _exp_nonpositive(x):
    return _exp32 if x == types.float32 else _exp64


def _exp64(x):
    return math.exp(x)


def _exp32(x):
    """2**z * e**r with z whole and |r| <= ln(2) / 2; relative error 4e-7, results below 8.4e-39 are 0.

    The polynomial is that of Cephes, expf.c (Moshier 1989). Its two parts of ln 2 are one here, which costs 2e-7 where
    e**x is smallest: `fastmath` adds them up anyway.
    """
    v = np.float32(-88.1) if x < np.float32(-88.1) else x
    # A number near 1.5 * 2**23 has no digits behind the point: its last bits are z. Of a NaN they are anything, which
    # is no matter: r is NaN as well.
    shifted = np.float32(v * np.float32(1.44269504088896341) + np.float32(12582912))
    exponent = np.int32(shifted.view(np.int32) - np.int32(0x4B400000))
    z = np.float32(exponent)
    r = v - z * np.float32(0.69314718056)
    s = np.float32(1.9875691500e-4)
    s = s * r + np.float32(1.3981999507e-3)
    s = s * r + np.float32(8.3334519073e-3)
    s = s * r + np.float32(4.1665795894e-2)
    s = s * r + np.float32(1.6666665459e-1)
    s = s * r + np.float32(5.0000001201e-1)
    power = np.int32((exponent + np.int32(127)) << np.int32(23)).view(np.float32)  # 0 for the smallest z, -127
    return (s * r * r + r + np.float32(1)) * power


def log_from_one(x: float) -> float:
    """The natural logarithm of x >= 1 or NaN, inside compiled code."""
    raise NotImplementedError("only for compiled code")


@overload(log_from_one, inline="always")
def _log_from_one(x):
    return _log32 if x == types.float32 else _log64


def _log64(x):
    return math.log(x)


def _log32(x):
    """z * ln(2) + log(1 + r) with z whole and 1 + r from sqrt(1/2) to sqrt(2); relative error 2e-7.

    The polynomial is that of Cephes, logf.c (Moshier 1989).
    """
    bits = np.float32(x).view(np.int32)
    z = np.int32((bits - np.int32(0x3F3504F3)) >> np.int32(23))  # those are the bits of sqrt(1/2)
    r = np.int32(bits - np.int32(z << np.int32(23))).view(np.float32) - np.float32(1)
    s = np.float32(7.0376836292e-2)
    s = s * r - np.float32(1.1514610310e-1)
    s = s * r + np.float32(1.1676998740e-1)
    s = s * r - np.float32(1.2420140846e-1)
    s = s * r + np.float32(1.4249322787e-1)
    s = s * r - np.float32(1.6668057665e-1)
    s = s * r + np.float32(2.0000714765e-1)
    s = s * r - np.float32(2.4999993993e-1)
    s = s * r + np.float32(3.3333331174e-1)
    y = r + r * r * (s * r - np.float32(0.5)) + np.float32(z) * np.float32(0.69314718056)
    return y if x == x else x


def tanh(x: float) -> float:
    """The hyperbolic tangent, inside compiled code."""
    raise NotImplementedError("only for compiled code")


@overload(tanh, inline="always")
def _choose_tanh(x):
    return _tanh32 if x == types.float32 else _tanh64


def _tanh64(x):
    return math.tanh(x)


def _tanh32(x):
    """A quotient of polynomials in x; the coefficients are those of Eigen, MathFunctionsImpl.h (ptanh_float)."""
    limit = np.float32(7.90531110763549805)  # beyond it tanh is 1, and this 2e-7 less
    v = limit if x > limit else (-limit if x < -limit else x)
    q = v * v
    top = np.float32(-2.76076847742355e-16)
    top = top * q + np.float32(2.00018790482477e-13)
    top = top * q + np.float32(-8.60467152213735e-11)
    top = top * q + np.float32(5.12229709037114e-08)
    top = top * q + np.float32(1.48572235717979e-05)
    top = top * q + np.float32(6.37261928875436e-04)
    top = top * q + np.float32(4.89352455891786e-03)
    bottom = np.float32(1.19825839466702e-06)
    bottom = bottom * q + np.float32(1.18534705686654e-04)
    bottom = bottom * q + np.float32(2.26843463243900e-03)
    bottom = bottom * q + np.float32(4.89352518554385e-03)
    return v * top / bottom


@inlined
def logistic(x, one):
    """1 / (1 + e**-x), inside compiled code; `one` is 1 of the type of x."""
    e = exp_nonpositive(-abs(x))
    return (e if x < 0 else one) / (one + e)


def relu_forward(x: Array) -> Array:
    """As the reference."""
    return _apply(_relu, x)


def relu_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _apply_two(_relu_backward, dy, y)


def relu6_forward(x: Array) -> Array:
    """As the reference."""
    return _apply(_relu6, x)


def relu6_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _apply_two(_relu6_backward, dy, y)


def tanh_forward(x: Array) -> Array:
    """As the reference; in float32 with an absolute error of at most 3e-7."""
    return _apply(_tanh, x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _apply_two(_tanh_backward, dy, y)


def sigmoid_forward(x: Array) -> Array:
    """As the reference; in float32 with an absolute error of at most 2e-7."""
    return _apply(_sigmoid, x)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """As the reference."""
    return _apply_two(_sigmoid_backward, dy, y)


def _apply(kernel: Any, x: Array) -> Array:
    y = empty(x.shape, x.dtype)
    kernel(flat(x), y.reshape(-1), _jit.threads_for(x.size))
    return y


def _apply_two(kernel: Any, dy: Array, y: Array) -> Array:
    dx = empty(dy.shape, dy.dtype)
    kernel(flat(dy), flat(y), dx.reshape(-1), _jit.threads_for(dy.size))
    return dx


@on_threads
def _relu(x, y, thread, threads):
    for i in range(share(x.size, thread, threads), share(x.size, thread + 1, threads)):
        v = x[at(i)]
        y[at(i)] = x.dtype.type(0) if v <= 0 else v


@on_threads
def _relu_backward(dy, y, dx, thread, threads):
    for i in range(share(y.size, thread, threads), share(y.size, thread + 1, threads)):
        dx[at(i)] = y.dtype.type(0) if y[at(i)] <= 0 else dy[at(i)]


@on_threads
def _relu6(x, y, thread, threads):
    for i in range(share(x.size, thread, threads), share(x.size, thread + 1, threads)):
        v = x[at(i)]
        rectified = x.dtype.type(0) if v <= 0 else v
        y[at(i)] = x.dtype.type(6) if rectified >= 6 else rectified


@on_threads
def _relu6_backward(dy, y, dx, thread, threads):
    for i in range(share(y.size, thread, threads), share(y.size, thread + 1, threads)):
        flat_there = (y[at(i)] <= 0) | (y[at(i)] >= 6)  # `or` would be a branch, and no vector code
        dx[at(i)] = y.dtype.type(0) if flat_there else dy[at(i)]


@on_threads
def _tanh(x, y, thread, threads):
    for i in range(share(x.size, thread, threads), share(x.size, thread + 1, threads)):
        y[at(i)] = tanh(x[at(i)])


@on_threads
def _tanh_backward(dy, y, dx, thread, threads):
    for i in range(share(y.size, thread, threads), share(y.size, thread + 1, threads)):
        dx[at(i)] = dy[at(i)] * (y.dtype.type(1) - y[at(i)] * y[at(i)])


@on_threads
def _sigmoid(x, y, thread, threads):
    one = x.dtype.type(1)
    for i in range(share(x.size, thread, threads), share(x.size, thread + 1, threads)):
        y[at(i)] = logistic(x[at(i)], one)


@on_threads
def _sigmoid_backward(dy, y, dx, thread, threads):
    for i in range(share(y.size, thread, threads), share(y.size, thread + 1, threads)):
        dx[at(i)] = dy[at(i)] * y[at(i)] * (y.dtype.type(1) - y[at(i)])
