"""Tensor: an array, its gradient, and the Function that made it.

`y = x * 2` computes at once, like NumPy; if x asks for a gradient, y also remembers how it was made, and
`y.backward()` can later push gradients back. Each operator is one line here; what it does, forward and
backward, stands in `ops/`.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import device as _device

if TYPE_CHECKING:
    from ._function import Function

Array = Any
Scalar = float | int | np.number
Operand: TypeAlias = "Tensor | Array | Scalar"


class Tensor:
    """An array that can ask for its gradient.

    data: the array (NumPy on the CPU, CuPy on a GPU).
    grad: the gradient of the last losses in this Tensor, of data's shape and dtype; None before `backward`.
        Only leaves have one: Tensors that the user made, not results of operations. It accumulates until it
        is set to None (`optimizer.zero_grad()`).
    requires_grad: whether a gradient is wanted, here or further up.
    creator: the Function that made this Tensor; None for a leaf.
    changed: the number, among those of the Functions, of the last change of data in place that the engine has made
        (`optimizer.step()`); -1 for none. By it the backward pass finds that values it needs are gone.

    Make one with `mc.tensor`, which checks and copies; the class itself wraps an array as it is.
    """

    __slots__ = ("__weakref__", "changed", "creator", "data", "grad", "requires_grad")
    # NumPy asks this before it treats a Tensor on its right as an element: array * tensor then calls our __rmul__.
    __array_ufunc__ = None

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self.creator: Function | None = None
        self.changed = -1

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return int(self.data.ndim)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of an element."""
        return np.dtype(self.data.dtype)

    @property
    def device(self) -> str:
        """Where the array lives: "cpu" or "cuda"."""
        return _device.device_of(self.data)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The array as NumPy, without a copy if it is on the CPU."""
        return np.asarray(_device.to_device(self.data, "cpu"))

    def item(self) -> float:
        """The one element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item expected a Tensor of one element, got shape {self.shape}")
        return self.data.item()

    def to(self, device: str | None = None, dtype: Any = None) -> Tensor:
        """This Tensor on another device or in another float dtype; gradients flow back through the move.

        float16 is for a GPU: layers take it there, round their float32 weights to it, and return it.
        """
        if device is None and dtype is None:
            raise TypeError('to expected a device ("cpu", "cuda") or a dtype, got neither')
        return movement.To(
            device or self.device, self.dtype if dtype is None else _float_dtype(dtype, device or self.device)
        )(self)

    def detach(self) -> Tensor:
        """The same array in a Tensor that remembers nothing: gradients stop here."""
        return Tensor(self.data)

    def backward(self, gradient: Array | None = None) -> None:
        """Compute the gradient of this Tensor in every leaf that it was made from; see `autograd.backward`."""
        autograd.backward(self, gradient)

    def __repr__(self) -> str:
        asks = ", requires_grad=True" if self.requires_grad else ""
        values = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=50)
        kind = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        where = "" if self.device == "cpu" else f', device="{self.device}"'
        return f"tensor({values}{kind}{where}{asks})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        raise TypeError("a Tensor is neither true nor false: compare its .data or its .item()")

    # Arithmetic, with NumPy's broadcasting.

    def __add__(self, other: Operand) -> Tensor:
        return arithmetic.Add()(self, self._operand(other))

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Tensor:
        return arithmetic.Subtract()(self, self._operand(other))

    def __rsub__(self, other: Operand) -> Tensor:
        return arithmetic.Subtract()(self._operand(other), self)

    def __mul__(self, other: Operand) -> Tensor:
        return arithmetic.Multiply()(self, self._operand(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Tensor:
        return arithmetic.divide(self, self._operand(other))

    def __rtruediv__(self, other: Operand) -> Tensor:
        return arithmetic.divide(self._operand(other), self)

    def __pow__(self, exponent: float) -> Tensor:
        return arithmetic.power(self, exponent)

    def __neg__(self) -> Tensor:
        return arithmetic.Negate()(self)

    def __matmul__(self, other: Operand) -> Tensor:
        return arithmetic.matmul(self, self._operand(other))

    def __rmatmul__(self, other: Operand) -> Tensor:
        return arithmetic.matmul(self._operand(other), self)

    # Elementwise mathematics.

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return elementwise.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm of each element."""
        return elementwise.log(self)

    def sqrt(self) -> Tensor:
        """The square root of each element."""
        return elementwise.sqrt(self)

    # Reductions. axis: one axis, several, or None for all.

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis`."""
        return reduction.sum_over(self, axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis`."""
        return reduction.mean(self, axis, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The largest element over `axis`; on ties the first one receives the gradient."""
        return reduction.max_over(self, axis, keepdims)

    # Movement: the same elements in other places.

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        """The same elements in the same order with other axes; one length may be -1."""
        return movement.Reshape(_as_ints(shape))(self)

    def transpose(self, *axes: int | tuple[int, ...]) -> Tensor:
        """The axes in another order; without arguments reversed."""
        return movement.Transpose(_as_ints(axes) or tuple(range(self.ndim))[::-1])(self)

    def __getitem__(self, index: Any) -> Tensor:
        return movement.GetItem(index)(self)

    def _operand(self, other: Operand) -> Tensor:
        """The other side of an operator as a Tensor of this one's dtype and device."""
        if isinstance(other, Tensor):
            operand = other
        elif isinstance(other, numbers.Number | np.generic):
            return Tensor(_scalar(other, self.data))
        else:
            operand = tensor(other)
        if self.dtype == np.float16 and operand.dtype == np.float32:
            return operand.to(dtype=np.float16)  # a Parameter, which layers round too: its gradient stays float32
        if operand.dtype != self.dtype:
            raise TypeError(
                f"an operator expected two Tensors of one dtype, got {self.dtype} and {operand.dtype}: "
                f'convert one with .to(dtype="{self.dtype}") or mc.tensor(array.astype("{self.dtype}"))'
            )
        return operand


def tensor(array: Any, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """A Tensor that holds a copy of `array`.

    array: a NumPy or CuPy array, a list, or a number. Lists and Python numbers become float32; arrays of
        float32, float64, integers and booleans keep their dtype (integers can index and be labels; only
        floats can ask for a gradient).
    device: "cpu" or "cuda"; None leaves the array where it is.

    Raises TypeError for any other dtype (float16, complex, object ...).
    """
    if isinstance(array, Tensor):
        raise TypeError("tensor expected an array, a list or a number, got a Tensor: use .detach() or .to()")
    if isinstance(array, np.ndarray | np.generic) or _device.is_cuda(array):
        data = array.copy() if _device.is_cuda(array) else np.array(array, order="C")
        data = data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
    else:
        data = _from_python(array)
    if data.dtype not in (np.float32, np.float64) and data.dtype.kind not in "iub":
        raise TypeError(f'tensor expected float32, float64 or integers, got {data.dtype}: use .astype("float32")')
    if requires_grad and data.dtype.kind != "f":
        raise TypeError(f'a gradient needs float32 or float64, got {data.dtype}: use .astype("float32")')
    return Tensor(data if device is None else _device.to_device(data, device), requires_grad)


def _from_python(values: Any) -> Array:
    """Lists and Python numbers as float32."""
    try:
        array = np.array(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"tensor expected an array, a list of equal rows or a number: {error}") from None
    if array.dtype.kind not in "fiub":  # NumPy would read None as NaN and the string "3" as 3
        raise TypeError(f"tensor expected an array, a list of numbers or a number, got {values!r:.80}")
    return array.astype(np.float32)


def _scalar(number: Any, like: Array) -> Array:
    """A number as an array without axes, of the dtype and device of `like`."""
    kind = np.asarray(number).dtype.kind
    if kind not in "fiub":
        raise TypeError(f"an operator expected a Tensor, an array or a real number, got {number!r}")
    if kind == "f" and like.dtype.kind != "f":
        raise TypeError(
            f"an operator expected a whole number beside a Tensor of {like.dtype}, got {number!r}: "
            'convert the Tensor with .to(dtype="float32")'
        )
    # Not asarray: a step that is recorded on a GPU must not fetch anything from the CPU's memory.
    return _device.array_module(like).full((), number, dtype=like.dtype)


def _float_dtype(dtype: Any, device: str) -> np.dtype[Any]:
    wanted = np.dtype(dtype)
    if wanted not in (np.float32, np.float64) and not (wanted == np.float16 and device == "cuda"):
        raise TypeError(f"to expected dtype float32 or float64, or on a GPU float16, got {wanted}")
    return wanted


def _as_ints(values: tuple[Any, ...]) -> tuple[int, ...]:
    """reshape(2, 3) and reshape((2, 3)) both as (2, 3)."""
    if len(values) == 1 and isinstance(values[0], tuple | list):
        values = tuple(values[0])
    return tuple(operator.index(v) for v in values)


# The operators above call the operations, and the operations wrap their results in Tensor: the class must exist first.
from . import autograd  # noqa: E402
from .ops import arithmetic, elementwise, movement, reduction  # noqa: E402
