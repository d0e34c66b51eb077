"""Sums, products and powers of Tensors, with broadcasting."""

import numbers
from typing import Any

from .. import device, kernels
from .._function import Function, unbroadcast
from .._tensor import Tensor
from .checks import check_float

Array = Any


class Add(Function):
    """y = a + b; da = dy, db = dy, each summed back to its operand's shape."""

    def forward(self, a: Array, b: Array) -> Array:
        self.save(a.shape, b.shape)
        return a + b

    def backward(self, dy: Array) -> tuple[Array, ...]:
        shape_a, shape_b = self.saved
        return unbroadcast(dy, shape_a), unbroadcast(dy, shape_b)


class Subtract(Function):
    """y = a - b; da = dy, db = -dy."""

    def forward(self, a: Array, b: Array) -> Array:
        self.save(a.shape, b.shape)
        return a - b

    def backward(self, dy: Array) -> tuple[Array, ...]:
        shape_a, shape_b = self.saved
        return unbroadcast(dy, shape_a), unbroadcast(-dy, shape_b)


class Multiply(Function):
    """y = a * b; da = dy * b, db = dy * a."""

    def forward(self, a: Array, b: Array) -> Array:
        self.save(a, b)
        return a * b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        a, b = self.saved
        wants_a, wants_b = self.needs_gradient
        return unbroadcast(dy * b, a.shape) if wants_a else None, unbroadcast(dy * a, b.shape) if wants_b else None


class Divide(Function):
    """y = a / b; da = dy / b, db = -dy * a / b**2."""

    def forward(self, a: Array, b: Array) -> Array:
        self.save(a, b)
        return a / b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        a, b = self.saved
        wants_a, wants_b = self.needs_gradient
        da = dy / b
        return unbroadcast(da, a.shape) if wants_a else None, unbroadcast(-da * (a / b), b.shape) if wants_b else None


def divide(a: Tensor, b: Tensor) -> Tensor:
    """The quotient; of floats only, since NumPy would make float64 of whole numbers."""
    check_float(a, "/")
    return Divide()(a, b)


class Negate(Function):
    """y = -a; da = -dy."""

    def forward(self, a: Array) -> Array:
        return -a

    def backward(self, dy: Array) -> tuple[Array, ...]:
        return (-dy,)


class Power(Function):
    """y = a**n for a number n; da = dy * n * a**(n - 1)."""

    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def forward(self, a: Array) -> Array:
        self.save(a)
        return a**self.exponent

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (a,) = self.saved
        if self.exponent == 0:  # 0 * a**-1 would be NaN at a = 0
            return (dy * a.dtype.type(0),)
        return (dy * (self.exponent * a ** (self.exponent - 1)),)


def power(x: Tensor, exponent: float) -> Tensor:
    """x to the power of a number; x of any shape."""
    check_float(x, "**")
    if not isinstance(exponent, numbers.Real):
        raise TypeError(f"** expected a number as its exponent, got {type(exponent).__name__}: use (log(x) * y).exp()")
    return Power(float(exponent))(x)


class MatMul(Function):
    """y = a @ b over the last two axes, those before them broadcast; da = dy @ b.T, db = a.T @ dy."""

    def forward(self, a: Array, b: Array) -> Array:
        self.save(a, b)
        if self._has_kernels(a, b):
            return kernels.room(a, b).linear_forward(a, b, None, None)
        return a @ b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        a, b = self.saved
        wants_a, wants_b = self.needs_gradient
        if self._has_kernels(a, b):
            room = kernels.room(dy, a, b)
            da = room.linear_backward_input(dy, b) if wants_a else None
            return da, room.linear_backward_weight(dy, a) if wants_b else None
        da = unbroadcast(dy @ b.swapaxes(-1, -2), a.shape) if wants_a else None
        db = unbroadcast(a.swapaxes(-1, -2) @ dy, b.shape) if wants_b else None
        return da, db

    @staticmethod
    def _has_kernels(a: Array, b: Array) -> bool:
        """Whether it is the product of a linear layer on a GPU. CuPy would take cuBLAS, which knows nothing of our
        precision and refuses to be recorded in a CUDA graph; NumPy's on a CPU is as good as ours."""
        return device.is_cuda(a) and a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.kind == "f"


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product of a (..., M, K) and b (..., K, N): (..., M, N).

    Raises ValueError for operands of fewer than two axes (use reshape to make a vector a row or a column),
    and for lengths K that differ.
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"@ expected shapes (..., M, K) and (..., K, N), got {a.shape} and {b.shape}: "
            "make a vector a matrix with .reshape(1, -1) or .reshape(-1, 1)"
        )
    return MatMul()(a, b)
