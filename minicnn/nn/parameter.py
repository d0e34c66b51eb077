"""Parameter: a Tensor that is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _random
from .. import device as _device
from .._function import mark_changed
from .._tensor import Tensor, tensor
from .init import Initializer

Array = Any
KnownShape = tuple[int | None, ...]


class Parameter(Tensor):
    """A leaf that asks for its gradient, and that a Module registers when it becomes an attribute.

    Parameter(array) holds a copy of a float32 or float64 array. `Parameter.drawn` draws its values, at once or, where
    a layer does not know its sizes yet, when it is filled; until then the object exists without values, so that an
    optimizer made early holds the same object later.

    Every Parameter takes a number when it is made, and draws from the stream (seed, number) alone. So its values
    depend neither on when it is filled nor on what other Parameters draw.
    """

    __slots__ = ("_known_shape", "_target", "initializer", "number", "seed")

    def __init__(self, array: Array) -> None:
        super().__init__(tensor(array, requires_grad=True).data, requires_grad=True)
        self._begin(None, self.shape)

    @classmethod
    def drawn(cls, initializer: Initializer, shape: KnownShape | None = None) -> Parameter:
        """A float32 Parameter whose values `initializer(shape, generator)` draws.

        shape: the shape; or None, or a shape with None where a length is unknown: then it is unfilled until `fill`.
        """
        parameter = cls.__new__(cls)
        Tensor.__init__(parameter, None, requires_grad=True)
        del parameter.data  # an empty slot: whoever reads it comes to __getattr__ below
        parameter._begin(initializer, shape)
        if shape is not None and None not in shape:
            parameter.fill(tuple(n for n in shape if n is not None))
        return parameter

    def _begin(self, initializer: Initializer | None, shape: KnownShape | None) -> None:
        self.initializer = initializer
        self.seed, self.number = _random.current_seed(), _random.next_construction_number()
        self._known_shape = shape
        self._target: tuple[str, Any] = ("cpu", np.dtype(np.float32))  # where to, and as what, it will be filled

    def __getattr__(self, name: str) -> Any:
        # Python comes here when ordinary lookup finds nothing; for `data` that means an empty slot.
        if name == "data":
            raise RuntimeError(
                "this Parameter has no values yet, because its layer has not seen its input: "
                "run one forward pass first so that the layer can infer its sizes"
            )
        raise AttributeError(f"a Parameter has no attribute {name!r}", name=name, obj=self)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """For copy and pickle: the slots that have something in them; an unfilled Parameter is copied as one."""
        slots = {name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())} - {"__weakref__"}
        values = {name: getattr(self, name) for name in slots if name != "data" or self.is_filled}
        return None, values | {"changed": -1}  # no Function has read the copy yet, and another process counts anew

    @property
    def is_filled(self) -> bool:
        """Whether there are values."""
        try:
            object.__getattribute__(self, "data")
        except AttributeError:
            return False
        return True

    @property
    def known_shape(self) -> KnownShape | None:
        """The shape, with None for each length that an unfilled Parameter does not know; None if it knows nothing."""
        return self.shape if self.is_filled else self._known_shape

    @property
    def place(self) -> tuple[str, Any]:
        """The device and the dtype of the values; those that they will have, where there are none yet."""
        return (self.device, self.dtype) if self.is_filled else self._target

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether values of this shape could be this Parameter's: every length that is known agrees."""
        known = self.known_shape
        return known is None or (
            len(known) == len(shape) and all(k is None or k == n for k, n in zip(known, shape, strict=True))
        )

    def fill(self, shape: tuple[int, ...]) -> None:
        """Draw the values of an unfilled Parameter, now that its shape is known.

        Raises RuntimeError if it is filled already, ValueError if `shape` contradicts what was known of it.
        """
        if self.is_filled:
            raise RuntimeError(f"this Parameter is filled already, with shape {self.shape}")
        assert self.initializer is not None  # only `drawn` makes unfilled ones
        self.assign(self._draw(self.initializer, shape))

    def initialize(self, initializer: Initializer) -> None:
        """Draw the values again, by another initialiser, from this Parameter's own stream; later if it is unfilled."""
        if not callable(initializer):
            raise TypeError(f"initialize expected a function (shape, generator) -> array, got {initializer!r}")
        if self.is_filled:
            self.assign(self._draw(initializer, self.shape))
        self.initializer = initializer

    def assign(self, values: Array) -> None:
        """Write values in place, converted to this Parameter's dtype and device; an unfilled one is filled with them.

        Raises ValueError if their shape is not this Parameter's.
        """
        if not self.fits(values.shape):
            raise ValueError(f"this Parameter expected values of shape {self.known_shape}, got {values.shape}")
        if self.is_filled:
            mark_changed(self)
            self.data[...] = _device.to_device(values, self.device)
        else:
            device, dtype = self._target
            self.data = _device.to_device(values.astype(dtype, order="C"), device)  # a copy: nobody else holds it

    def move(self, device: str | None = None, dtype: Any = None) -> None:
        """Put values and gradient on another device or into another float dtype, in this same object.

        (`to` leaves this object as it is, and returns another Tensor through which gradients flow back.)
        """
        if not self.is_filled:
            before = self._target
            self._target = (device or before[0], before[1] if dtype is None else np.dtype(dtype))
            return
        device, dtype = device or self.device, self.dtype if dtype is None else np.dtype(dtype)
        self.data = _device.to_device(self.data, device).astype(dtype, copy=False)
        if self.grad is not None:
            self.grad = _device.to_device(self.grad, device).astype(dtype, copy=False)

    def __repr__(self) -> str:
        if self.is_filled:
            return f"Parameter({super().__repr__()})"
        return f"Parameter(unfilled, shape {self.known_shape})"

    def _draw(self, initializer: Initializer, shape: tuple[int, ...]) -> Array:
        values = initializer(shape, _random.generator(self.seed, _random.PARAMETER, self.number))
        if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype.kind != "f":
            raise ValueError(f"an initialiser must return an array of floats of shape {shape}, got {values!r:.200}")
        return values
