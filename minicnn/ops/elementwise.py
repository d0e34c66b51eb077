"""Mathematics on each element, where NumPy and CuPy both already do it well."""

from typing import Any

from .._function import Function
from ..device import array_module

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


class Log(Function):
    """y = ln x; dx = dy / x."""

    def forward(self, x: Array) -> Array:
        self.save(x)
        return array_module(x).log(x)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (x,) = self.saved
        return (dy / x,)


class Sqrt(Function):
    """y = x**(1/2); dx = dy / (2 * y)."""

    def forward(self, x: Array) -> Array:
        y = array_module(x).sqrt(x)
        self.save(y)
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (y,) = self.saved
        return (dy / (2 * y),)
