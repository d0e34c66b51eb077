"""Mathematics on each element, where NumPy and CuPy both already do it well."""

from typing import Any

from .._function import Function
from .._tensor import Tensor
from ..device import array_module
from .checks import check_float

Array = Any


class Exp(Function):
    """y = e**x; dx = dy * y."""

    def forward(self, x: Array) -> Array:
        y = array_module(x).exp(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (dy * y,)


def exp(x: Tensor) -> Tensor:
    """e to the power of each element; x of any shape."""
    check_float(x, "exp")
    return Exp()(x)


class Log(Function):
    """y = ln x; dx = dy / x."""

    def forward(self, x: Array) -> Array:
        self.save(x)
        return array_module(x).log(x)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (x,) = self.saved
        return (dy / x,)


def log(x: Tensor) -> Tensor:
    """The natural logarithm of each element; x of any shape."""
    check_float(x, "log")
    return Log()(x)


class Sqrt(Function):
    """y = x**(1/2); dx = dy / (2 * y)."""

    def forward(self, x: Array) -> Array:
        y = array_module(x).sqrt(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (dy / (2 * y),)


def sqrt(x: Tensor) -> Tensor:
    """The square root of each element; x of any shape."""
    check_float(x, "sqrt")
    return Sqrt()(x)
