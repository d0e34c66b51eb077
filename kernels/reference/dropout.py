"""Dropout, with a mask that is a pure function of numbers: it is never stored, and backward draws the same one."""

import math

import numpy as np

from ._arrays import Array

LOW32 = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)


def dropout_forward(x: Array, p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """Set each element to zero with probability p and divide the others by 1 - p, so that the mean stays.

    x: (N, ...); p: 0 <= p < 1; seed: 0 .. 2^64 - 1; layer, step: 0 .. 2^32 - 1, which layer in which training step;
    first_sample: the number, in the whole batch of this step, of the sample x[0]. Result y: as x.

        y = x * mask / (1 - p)

    Element e (row-major) of sample n = first_sample + i is kept where u(e, n) >= p. u is 24 random bits as a fraction,

        u(e, n) = (word >> 8) * 2^-24
        word = philox4x32(counter=(e // 4, n, step, layer), key=(seed % 2^32, seed // 2^32))[e % 4]

    The comparison is exact (float64); in integers it reads
    (word >> 8) >= ceil(p * 2^24). A sample's mask depends on nothing else: not on the batch size, the memory layout,
    the dtype, the room, or the number of machines that share the batch.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", 2014, section 4; section 10 for dividing in training rather than multiplying at test time.
    """
    return x * _mask(x.shape, p, seed, layer, step, first_sample) / (1 - p)


def dropout_backward(dy: Array, p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """Gradient of dropout: dx = dy * mask / (1 - p), with the mask drawn again from the same numbers.

    dy: (N, ...); the rest as in the forward direction. Result dx: as dy.
    """
    return dy * _mask(dy.shape, p, seed, layer, step, first_sample) / (1 - p)


def philox4x32(counter: Array, key: Array) -> Array:
    """Philox4x32-10: turn a counter into four random words, ten rounds of multiplying and mixing.

    counter: (..., 4) uint32; key: (2,) uint32. Result: (..., 4) uint32. It is a bijection of the counters for each
    key, and it has no state: the millionth word costs as much as the first, in any order, on any machine.

    Salmon, Moraes, Dror & Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
    """
    c0, c1, c2, c3 = np.moveaxis(counter.astype(np.uint64), -1, 0)  # (..., 4) -> (4, ...)
    k0, k1 = key.astype(np.uint64)
    for _ in range(10):
        product0, product2 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (product2 >> HIGH) ^ c1 ^ k0, product2 & LOW32, (product0 >> HIGH) ^ c3 ^ k1, product0 & LOW32
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & LOW32, (k1 + np.uint64(0xBB67AE85)) & LOW32
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)  # (4, ...) -> (..., 4)


def _mask(shape: tuple[int, ...], p: float, seed: int, layer: int, step: int, first_sample: int) -> Array:
    """True where an element is kept."""
    N, E = shape[0], math.prod(shape[1:])
    counter = np.empty((N, -(-E // 4), 4), np.uint32)
    counter[:, :, 0] = np.arange(counter.shape[1])
    counter[:, :, 1] = first_sample + np.arange(N)[:, None]
    counter[:, :, 2] = step
    counter[:, :, 3] = layer
    words = philox4x32(counter, np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32))
    words = words.reshape(N, counter.shape[1] * 4)[
        :, :E
    ]  # (N, ceil(E/4), 4) -> (N, E): the last counter may give words too many
    uniform = (words >> 8) * 2.0**-24
    return (uniform >= p).reshape(shape)  # (N, E) -> (N, ...)
