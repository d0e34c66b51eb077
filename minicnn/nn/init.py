"""Initialisers: how large the first weights are.

Each is a function (shape, generator) -> float32 array of that shape. The common thought of the three papers: a
layer's output is a sum over fan_in products, so its variance is fan_in * Var[w] times that of its input. Weights too
large and the signal grows with every layer, too small and it dies; the papers differ in which factor they want to be 1.

    layer.weight.initialize(init.xavier_uniform)

A uniform draw from [-a, a] has variance a**2 / 3, hence the factor 3 between the two forms of each.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .checks import real

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Initializer = Callable[[Shape, np.random.Generator], Array]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs one output sums over, and how many outputs one input reaches.

    Linear weight (in, out): in and out.
    Convolution weight (KH, KW, C // groups, O): KH * KW * (C // groups) and KH * KW * O.
    Raises ValueError for other shapes.
    """
    if len(shape) == 2:
        return shape[0], shape[1]
    if len(shape) == 4:
        KH, KW, C, O = shape
        return KH * KW * C, KH * KW * O
    raise ValueError(f"fans expected a weight (in, out) or (KH, KW, C // groups, O), got shape {shape}")


def zeros(shape: Shape, generator: np.random.Generator) -> Array:
    """All 0: for biases. Weights of 0 never learn to differ."""
    return np.zeros(shape, np.float32)


def ones(shape: Shape, generator: np.random.Generator) -> Array:
    """All 1: for the scale of a normalisation."""
    return np.ones(shape, np.float32)


def constant(value: float) -> Initializer:
    """The initialiser that gives `value` everywhere (Krizhevsky et al. 2012, section 5: biases of 1)."""
    return partial(_full, value=real(value, "constant", "value"))


def normal(std: float) -> Initializer:
    """The initialiser that draws from N(0, std**2) (Krizhevsky et al. 2012, section 5: weights of std 0.01)."""
    number = real(std, "normal", "std")
    if not number >= 0:
        raise ValueError(f"normal expected std >= 0, got {std!r}")
    return partial(_normal, std=number)


def lecun_uniform(shape: Shape, generator: np.random.Generator) -> Array:
    """Uniform in [-a, a], a = sqrt(3 / fan_in): variance 1 / fan_in.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6, equation 16.
    """
    fan_in, _ = fans(shape)
    return _uniform(shape, generator, math.sqrt(3 / fan_in))


def lecun_normal(shape: Shape, generator: np.random.Generator) -> Array:
    """Normal with variance 1 / fan_in, so that a sum of inputs of variance 1 has variance 1.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.6, equation 16.
    """
    fan_in, _ = fans(shape)
    return _normal(shape, generator, math.sqrt(1 / fan_in))


def xavier_uniform(shape: Shape, generator: np.random.Generator) -> Array:
    """Uniform in [-a, a], a = sqrt(6 / (fan_in + fan_out)): variance 2 / (fan_in + fan_out).

    Source: Glorot and Bengio 2010, section 4.2.1, equation 16.
    """
    return _uniform(shape, generator, math.sqrt(6 / sum(fans(shape))))


def xavier_normal(shape: Shape, generator: np.random.Generator) -> Array:
    """Normal with variance 2 / (fan_in + fan_out): the mean of what keeps the signal and what keeps the gradient.

    Source: Glorot and Bengio 2010, section 4.2.1, equation 12.
    """
    return _normal(shape, generator, math.sqrt(2 / sum(fans(shape))))


def kaiming_uniform(shape: Shape, generator: np.random.Generator) -> Array:
    """Uniform in [-a, a], a = sqrt(6 / fan_in): variance 2 / fan_in. The default of Conv2d and Linear.

    Source: He et al. 2015, "Delving Deep into Rectifiers", section 2.2, equation 10.
    """
    fan_in, _ = fans(shape)
    return _uniform(shape, generator, math.sqrt(6 / fan_in))


def kaiming_normal(shape: Shape, generator: np.random.Generator) -> Array:
    """Normal with variance 2 / fan_in: twice LeCun's, because a ReLU passes half of what it gets.

    Source: He et al. 2015, "Delving Deep into Rectifiers", section 2.2, equation 10.
    """
    fan_in, _ = fans(shape)
    return _normal(shape, generator, math.sqrt(2 / fan_in))


def _full(shape: Shape, generator: np.random.Generator, value: float) -> Array:
    return np.full(shape, value, np.float32)


def _uniform(shape: Shape, generator: np.random.Generator, limit: float) -> Array:
    # Drawn as float32 and changed in place: the largest layers have a hundred million weights.
    w = generator.random(shape, dtype=np.float32)  # in [0, 1)
    w -= np.float32(0.5)
    w *= np.float32(2 * limit)
    return w


def _normal(shape: Shape, generator: np.random.Generator, std: float) -> Array:
    w = generator.standard_normal(shape, dtype=np.float32)
    w *= np.float32(std)
    return w
