"""Module: a layer or a network, which knows its Parameters, its buffers and the Modules inside it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from .. import device as _device
from .parameter import Parameter

Array = Any
Observer = Callable[["Module", tuple[Any, ...], Any], None]
M = TypeVar("M", bound="Module")
T = TypeVar("T")

# Whom each call of a Module tells about itself; see `observe`.
_observers: list[observe] = []


class observe:
    """`with observe(callback):` calls callback(module, inputs, output) after each call of a Module, inner first.

    before: if given, before(module) is called when a call begins, outer Modules first.
    """

    def __init__(self, callback: Observer, before: Callable[[Module], None] | None = None) -> None:
        self.callback, self.before = callback, before

    def __enter__(self) -> None:
        _observers.append(self)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _observers.remove(self)


class Module:
    """A layer or a network.

    A subclass makes its parts in `__init__`, after super().__init__(), and says in `forward` what it computes:

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(1, 6, 5, activation="relu")
                self.head = nn.Linear(None, 10)

            def forward(self, x):
                x = self.conv(x)
                return self.head(x.reshape(len(x), -1))

    Every Parameter and Module that becomes an attribute is registered by that alone, in the order of assignment.
    A buffer is an array that belongs to the layer but is not trained (`register_buffer`).
    training: whether layers that behave differently in training (Dropout, BatchNorm2d) do so; see `train` and `eval`.
    input_shape: that of one sample, (H, W, C), which a whole network is made for; None where nobody said. An error in
        a forward pass over samples of another shape names it.
    """

    training: bool
    input_shape: tuple[int, ...] | None = None

    def __init__(self) -> None:
        # The attributes themselves are the register: Parameters and Modules are found by their type. Only a buffer
        # cannot be told from any other array; here is its name, and whether it is saved.
        self._buffers: dict[str, bool] = {}
        self.training = True

    def forward(self, *inputs: Any) -> Any:
        """What this Module computes; a subclass writes it, others call the Module itself."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: Any) -> Any:
        """Run `forward`, and tell the observers; a ValueError in it also shows the layers before: see `pipeline`."""
        for observer in tuple(_observers):
            if observer.before is not None:
                observer.before(self)
        try:
            output = self.forward(*inputs)
        except ValueError as error:
            pipeline.explain(self, inputs, error)
            raise
        for observer in tuple(_observers):
            observer.callback(self, inputs, output)
        return output

    # Attributes: what becomes one, and what is refused because it would be lost silently.

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module) and "_buffers" not in vars(self):
            raise RuntimeError(f"call super().__init__() before assigning {type(self).__name__}.{name}")
        _refuse_containers(self, name, value)
        if isinstance(value, Module) and any(inner is self for inner in value.modules()):
            raise ValueError(f"{type(self).__name__}.{name} would contain the Module that it is part of")
        if name in vars(self).get("_buffers", ()) and not _is_array(value):
            raise TypeError(f"{name} is a buffer and expected an array, got {type(value).__name__}")
        if isinstance(vars(self).get(name), Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{name} is a Parameter and expected another one or None, got {type(value).__name__}: wrap the array "
                f"with nn.Parameter(array), or write into it with {name}.assign(array)"
            )
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._buffers.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        # Python comes here only when ordinary lookup has found nothing.
        message = f"{type(self).__name__} has no attribute {name!r}"
        if not name.startswith("__"):
            known = [other for other in dir(self) if other != name and not other.startswith("_")]
            near = difflib.get_close_matches(name, known, n=3)
            message += f": did you mean {' or '.join(near)}?" if near else ""
            message += "" if "_buffers" in vars(self) else " (was super().__init__() called?)"
        raise AttributeError(message, name=name, obj=self)

    def register_buffer(self, name: str, array: Array, persistent: bool = True) -> None:
        """Make `array` the attribute `name`: part of the layer's state, not trained.

        persistent: whether `state_dict` holds it. Assigning another array to the name later replaces it.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"register_buffer expected a name like running_mean, got {name!r}")
        if name in vars(self) or hasattr(type(self), name):
            raise ValueError(f"{type(self).__name__} has an attribute {name} already")
        if not _is_array(array):
            raise TypeError(f"register_buffer expected an array for {name}, got {type(array).__name__}")
        self._buffers[name] = bool(persistent)
        setattr(self, name, array)

    # What is inside, in the order of registration.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The Modules that are attributes, with their names; one that has two names comes twice."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            else:
                _refuse_containers(self, name, value)  # a list may have been filled after its assignment

    def children(self) -> Iterator[Module]:
        """The Modules that are attributes, each once."""
        return iter({id(child): child for _, child in self.named_children()}.values())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This Module (its name is the prefix, "") and all inside it, parents first, each once under its first name."""
        return _each_once(self._every_module(prefix))

    def modules(self) -> Iterator[Module]:
        """This Module and all inside it, parents first, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The Parameters here and inside, with dotted names ("conv1.weight"), each once under its first name."""
        return _each_once(
            (_join(prefix, name), value)
            for prefix, module in self._every_module()
            for name, value in module._own_parameters()
        )

    def parameters(self) -> Iterator[Parameter]:
        """The Parameters here and inside, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, persistent_only: bool = False) -> Iterator[tuple[str, Array]]:
        """The buffers here and inside, with dotted names; persistent_only: only those that `state_dict` holds."""
        return _each_once(
            (_join(prefix, name), getattr(module, name))
            for prefix, module in self._every_module()
            for name, persistent in module._buffers.items()
            if persistent or not persistent_only
        )

    def buffers(self) -> Iterator[Array]:
        """The buffers here and inside."""
        return (array for _, array in self.named_buffers())

    def _every_module(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """As named_modules, but a shared Module comes under each of its names."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._every_module(_join(prefix, name))

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Parameter))

    def _saved_buffers(self) -> Iterator[tuple[str, Array]]:
        return ((name, getattr(self, name)) for name, persistent in self._buffers.items() if persistent)

    # Changing all of it at once.

    def train(self: M, mode: bool = True) -> M:
        """Set `training` here and inside; returns this Module."""
        if not isinstance(mode, bool):
            raise TypeError(f"train expected True or False, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set `training` to False here and inside; returns this Module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all Parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self: M, device: str | None = None, dtype: Any = None) -> M:
        """Move Parameters and float buffers to a device or a float dtype, in place; returns this Module.

        The Parameters stay the same objects, so an optimizer keeps them. Integer buffers are counters, which Python
        reads: they stay where they are.
        """
        if device is None and dtype is None:
            raise TypeError('to expected a device ("cpu", "cuda") or a dtype, got neither')
        if device is not None:
            _device.check_device(device)
        if dtype is not None and np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"to expected dtype float32 or float64, got {np.dtype(dtype)}")
        with _device.explaining():
            for parameter in self.parameters():
                parameter.move(device, dtype)
            for module in self.modules():
                for name in module._buffers:
                    array = getattr(module, name)
                    if array.dtype.kind == "f":
                        array = _device.to_device(array, device or _device.device_of(array))
                        setattr(module, name, array.astype(array.dtype if dtype is None else dtype, copy=False))
        return self

    def state_dict(self) -> dict[str, Array]:
        """Copies of the Parameters' values and the persistent buffers, by dotted names; see `state.state_dict`."""
        return state.state_dict(self)

    def load_state_dict(self, values: dict[str, Array]) -> None:
        """Write the values of a `state_dict` in place, all of them or none; see `state.load_state_dict`."""
        state.load_state_dict(self, values)

    def load_pretrained(self: M, source: str | os.PathLike[str]) -> M:
        """Put in trained weights of torchvision's or timm's, all of them or none; see `pretrained.load_pretrained`."""
        pretrained.load_pretrained(self, source)
        return self

    # What a Module says of itself.

    def multiply_adds(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
        """Multiplications each followed by an addition, for one sample, in this Module without those inside it.

        input_shape, output_shape: of the forward pass, with or without the axis N. 0 unless a layer says otherwise.
        """
        return 0

    def extra_repr(self) -> str:
        """What stands between the brackets when a layer is printed."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "".join(f"\n  {line}" for line in lines)
        return f"{type(self).__name__}({self.extra_repr()}{inside}" + ("\n)" if lines else ")")


def _each_once(named: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Leaves out what has come before under another name."""
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _device.is_cuda(value)


def _refuse_containers(module: Module, name: str, value: Any) -> None:
    """Raise TypeError for a plain container of Modules or Parameters: nobody would find them to train them."""
    if not isinstance(value, list | tuple | set | dict):
        return
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, Module | Parameter):
            kind, what = type(value).__name__, type(item).__name__
            cure = "nn.ModuleList([...])" if isinstance(item, Module) else "attributes of their own"
            raise TypeError(
                f"{type(module).__name__}.{name} is a {kind} with a {what} in it, which would not be trained or saved: "
                f"use {cure}"
            )
        _refuse_containers(module, name, item)


from . import pipeline, pretrained, state  # noqa: E402  they take a Module apart, so the class comes first
