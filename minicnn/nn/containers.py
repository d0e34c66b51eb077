"""Modules that hold other Modules in order."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, TypeVar, overload

from ..ops.checks import ACTIVATIONS
from .activation import ReLU, Sigmoid, Tanh
from .conv import Conv2d
from .linear import Linear
from .module import Module, _observers
from .norm import BatchNorm2d

C = TypeVar("C", bound="_Ordered")

# What Sequential may run as one: a layer's `forward` with the activations that it can take over, and what an
# activation's `forward` is called there. Functions, not classes: whoever writes another `forward`, in a subclass or
# in place of ours, is called.
_LAYERS = {Conv2d.forward: ACTIVATIONS, Linear.forward: ACTIVATIONS, BatchNorm2d.forward: ("relu",)}
_NAMES = {ReLU.forward: "relu", Tanh.forward: "tanh", Sigmoid.forward: "sigmoid"}
_CALL = Module.__call__


class _Ordered(Module):
    """Modules in order, under the names "0", "1", ... or others; a Module may stand in several places."""

    def append(self: C, module: Module) -> C:
        """Put one more Module behind the others, named by its place, or by the next number that is free (a slice keeps
        its names); returns this container."""
        named = {name for name, _ in self.named_children()}
        self._put(next(str(i) for i in count(len(named)) if str(i) not in named), module)
        return self

    def _put(self, name: Any, module: Any) -> None:
        kind = type(self).__name__
        if not isinstance(module, Module):
            hint = f": unpack it with nn.{kind}(*modules)" if isinstance(module, list | tuple) else ""
            raise TypeError(f"{kind} expected Modules, got {type(module).__name__}{hint}")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{kind} expected a name without dots, got {name!r}")
        if name in vars(self) or hasattr(type(self), name):
            raise ValueError(f"{kind} has an attribute {name!r} already: choose another name")
        setattr(self, name, module)

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self.named_children()])

    @overload
    def __getitem__(self: C, index: slice) -> C: ...

    @overload
    def __getitem__(self, index: int) -> Module: ...

    def __getitem__(self, index: int | slice) -> Module:
        """The Module in a place; for a slice a container of the same Modules under the same names."""
        named = list(self.named_children())
        if not isinstance(index, slice):
            return named[operator.index(index)][1]
        part = type(self)()
        for name, module in named[index]:
            part._put(name, module)
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        """Put another Module in a place that is taken, under the same name."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} expected a Module, got {type(module).__name__}")
        setattr(self, list(self.named_children())[operator.index(index)][0], module)


class Sequential(_Ordered):
    """Modules one after another: each is called with what the one before returned.

    Sequential(conv, relu) names them "0" and "1"; Sequential({"conv": conv, "relu": relu}) by the names given.

    A Conv2d or Linear without an activation, directly followed by ReLU, Tanh or Sigmoid, computes both in one step,
    as with activation=...: the same numbers without a second pass over them; so does a BatchNorm2d followed by ReLU.
    Where an `observe` is on, each is called.
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                self._put(name, module)
        else:
            for each in modules:
                self._put(str(len(self)), each)

    def forward(self, x: Any) -> Any:
        modules = list(self)
        while modules:
            module = modules.pop(0)
            activation = _fused_activation(module, modules[0]) if modules else None
            if activation is None:
                x = module(x)
            else:
                modules.pop(0)
                x = module.forward_with(activation, x)
        return x


def in_one_step(layer: Module, activation: Module, *inputs: Any) -> Any:
    """activation(layer(*inputs)), without a second pass over the numbers where the layer can compute both at once."""
    name = _fused_activation(layer, activation)
    return activation(layer(*inputs)) if name is None else layer.forward_with(name, *inputs)


def _fused_activation(layer: Module, activation: Module) -> str | None:
    """The name of an activation that a layer can compute with its own result; None where both are to be called."""
    name = _NAMES.get(_plain_forward(activation))
    can = not _observers and name in _LAYERS.get(_plain_forward(layer), ()) and layer.activation is None
    return name if can else None


def _plain_forward(module: Module) -> Any:
    """The `forward` of its class, if that is all that a call of the Module runs."""
    changed = type(module).__call__ is not _CALL or "forward" in vars(module)
    return None if changed else type(module).forward


class ModuleList(_Ordered):
    """A list of Modules whose Parameters are found: what a plain list as an attribute would lose.

    It holds and does not compute; `forward` of the Module around it says how its Modules are called.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self._put(str(len(self)), module)

    def forward(self, *inputs: Any) -> Any:
        """Raises TypeError: there is nothing to compute."""
        raise TypeError("a ModuleList is not called: call the Modules in it, or use nn.Sequential")
