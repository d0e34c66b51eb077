"""`detect_anomaly`: every result is looked at, and the first that holds a NaN or an infinity stops the training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ... import _function, autograd
from ..._function import Function
from ..._tensor import Tensor
from ...nn import Module, Parameter, module
from ...nn.pipeline import current_calls
from ...optim import Optimizer, optimizer
from .causes import backward_cause, forward_cause, overflow
from .error import AnomalyError, Range, is_finite

Array = Any
# A weight does not grow a thousandfold while a network learns: from Kaiming's or Xavier's 0.01 to 1 that would be to
# 10 and more, where each layer multiplies its input by hundreds.
GROWN = 1000


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """`with mc.detect_anomaly():` raises an `AnomalyError` where the first NaN or infinity is made.

    Every result of an operation, every gradient and every step of an optimizer inside is looked at: `trainer.fit(...)`
    or a loop of one's own. The error names layer, operation and sample, the ranges of what went in, and what is likely
    to blame. What went in was finite, unless it came from outside: weights, images, a gradient given to `backward`.

    Training gets slower and takes more memory, for the inputs of each operation are kept for its backward pass. Steps
    on a GPU are not recorded, since nobody could look into them. Outside of it nothing is looked at.
    """
    watch = _Watch()
    with (
        np.errstate(all="ignore"),  # NumPy's warnings would come before the error, which says more
        _function.observe(watch.after_forward),
        module.observe(watch.after_module),
        autograd.observe(watch.before_backward, watch.after_backward),
        optimizer.observe(watch.before_step, watch.after_step),
    ):
        yield


@dataclass(frozen=True)
class _Place:
    """Where an operation was called. inner, outer: the Module around it and the whole network; None outside of any.

    batch: the number of samples in the network's last input, None where it is not known. inputs: of the operation.
    """

    inner: Module | None = None
    outer: Module | None = None
    batch: int | None = None
    inputs: tuple[Tensor, ...] = ()

    @property
    def layer(self) -> str:
        """The dotted name with the class: "features.3 (Conv2d)"."""
        if self.inner is None or self.outer is None:
            return ""
        name = {id(part): name for name, part in self.outer.named_modules()}.get(id(self.inner), "")
        return f"{name} ({type(self.inner).__name__})" if name else type(self.inner).__name__


class _Watch:
    """Is told of everything that is computed."""

    def __init__(self) -> None:
        self._places: WeakKeyDictionary[Function, _Place] = WeakKeyDictionary()
        self._network: Module | None = None  # the last that was called
        self._batch: int | None = None  # how many samples it got
        self._dy: Array = None
        self._steps = 0
        self._optimizer: Optimizer | None = None
        self._first: dict[int, float] = {}  # of each Parameter the largest absolute value before its first step
        self._before: dict[int, Range] = {}

    # Forward

    def after_forward(self, function: Function, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        place = self._place(inputs)
        if function.number >= 0:  # recorded: its backward will come
            self._places[function] = place
        if not is_finite(output.data):
            names = _argument_names(function, len(inputs))
            outside = self._outside(names, place)
            cause = outside or self._blamed(forward_cause(function, [x.data for x in inputs], output.dtype))
            self._raise("forward", place, function.name, names, output.data, cause)

    def after_module(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A `forward` may compute without Functions: then nobody has seen its result."""
        for result in output if isinstance(output, tuple) else (output,):
            if isinstance(result, Tensor) and result.creator is None and not is_finite(result.data):
                place = self._place(tuple(x for x in inputs if isinstance(x, Tensor)))
                names = [f"input {i}" for i in range(len(place.inputs))]
                self._raise("forward", place, "forward", names, result.data, self._outside(names, place))

    # Backward

    def before_backward(self, function: Function, dy: Array) -> None:
        self._dy = dy
        if not is_finite(dy):
            place = self._places.get(function, _Place())
            cause = f"the gradient that backward was given; or several that add up to it, {overflow(dy.dtype)}"
            names = _argument_names(function, len(place.inputs))
            self._raise("backward", place, function.name, names, dy, cause, "gradient in the result")

    def after_backward(self, function: Function, dxs: tuple[Array | None, ...]) -> None:
        dy, self._dy = self._dy, None
        place = self._places.pop(function, _Place())
        names = _argument_names(function, len(dxs))
        for i, dx in enumerate(dxs):
            if dx is None or not function.needs_gradient[i] or is_finite(dx):  # nobody asked for it, nobody gets it
                continue
            given = [x.data for x in place.inputs]
            cause = self._blamed(backward_cause(function, given, dx.dtype))
            name = f"gradient in {self._names(names, place)[i]}" if given else f"gradient in {names[i]}"
            of_samples = not (given and isinstance(place.inputs[i], Parameter))
            extra = (Range.of("gradient in the result", dy),)
            self._raise("backward", place, function.name, names, dx, cause, name, of_samples, extra)

    # Steps of the optimizer

    def before_step(self, optimizer: Optimizer) -> None:
        self._optimizer, self._before = optimizer, {}
        for i, parameter in enumerate(optimizer.params):
            if parameter.grad is None:
                continue
            self._before[i] = Range.of("before the step", parameter.data)
            self._first.setdefault(id(parameter), self._before[i].size)
            if not is_finite(parameter.grad):
                gradient = Range.of("its gradient", parameter.grad)
                cause = (
                    "the gradient was not finite before the step: gradients of several passes add up until zero_grad"
                )
                self._raise_step(optimizer, parameter, (self._before[i],), gradient, cause)

    def after_step(self, optimizer: Optimizer) -> None:
        self._steps += 1
        for i, before in self._before.items():
            parameter = optimizer.params[i]
            if not is_finite(parameter.data):
                gradient = Range.of("its gradient", parameter.grad)
                cause = "it was not finite before the step" if before.place else self._too_large(optimizer.lr)
                after = Range.of("after the step", parameter.data)
                self._raise_step(optimizer, parameter, (before, gradient), after, cause)

    # What is said

    def _place(self, inputs: tuple[Tensor, ...]) -> _Place:
        calls = current_calls()
        if not calls:  # in a loss, say, of what the network has made of its last batch
            return _Place(batch=self._batch, inputs=inputs)
        self._network, given = calls[-1]
        x = given[0] if given else None
        self._batch = x.shape[0] if isinstance(x, Tensor) and x.ndim else None
        return _Place(calls[0][0], self._network, self._batch, inputs)

    def _names(self, names: Sequence[str], place: _Place) -> list[str]:
        """The names of those inputs that are known; a Parameter's is the dotted one that it has in the network."""
        named = {id(p): name for name, p in self._network.named_parameters()} if self._network else {}
        return [named.get(id(x), name) for x, name in zip(place.inputs, names, strict=False)]

    def _outside(self, names: Sequence[str], place: _Place) -> str:
        """What to say where an input was not finite already: it is nobody's result, or would have been found."""
        for name, x in zip(self._names(names, place), place.inputs, strict=True):
            if is_finite(x.data):
                continue
            if isinstance(x, Parameter):
                return f"the weights in {name} are not finite already: begin anew, or load a checkpoint from before"
            return f"{name} is not finite already, and no operation in here has made it: look at the data"
        return ""

    def _blamed(self, cause: str) -> str:
        """A cause; and if the weights have grown beyond measure before, why."""
        parameters = [] if self._network is None else list(self._network.named_parameters())
        grown = [(Range.of(name, p.data).size / self._first[id(p)], name, p)
                 for name, p in parameters if self._first.get(id(p))]  # fmt: skip
        factor, name, p = max(grown, key=lambda each: each[0], default=(0.0, "", None))
        if factor < GROWN or p is None or self._optimizer is None:
            return cause
        sizes = f"from {self._first[id(p)]:.3g} to {Range.of(name, p.data).size:.3g}"
        return f"{cause}. {name} has grown {sizes} in {_steps(self._steps)}: {self._too_large(self._optimizer.lr)}"

    def _too_large(self, lr: float) -> str:
        return f"the learning rate {lr:g} is too large"

    def _raise(
        self, where: str, place: _Place, operation: str, names: Sequence[str], array: Array, cause: str,
        name: str = "result", of_samples: bool = True, extra: tuple[Range, ...] = (),
    ) -> None:  # fmt: skip
        inputs = [Range.of(n, x.data) for n, x in zip(self._names(names, place), place.inputs, strict=False)]
        result = Range.of(name, array)
        # Where an input is to blame, its sample: the result may have mixed them.
        whole = (place.batch,)
        told = [r for r in (*inputs, result) if r.place and r.shape[:1] == whole] if of_samples else []
        sample = told[0].place[0] if told and told[0].place else None
        raise AnomalyError(where, place.layer, operation, sample, self._when(), (*inputs, *extra), result, cause)

    def _raise_step(
        self, optimizer: Optimizer, parameter: Parameter, inputs: tuple[Range, ...], result: Range, cause: str
    ) -> None:
        named = {id(p): name for name, p in self._network.named_parameters()} if self._network else {}
        place = next(i for i, p in enumerate(optimizer.params) if p is parameter)
        layer = named.get(id(parameter), f"Parameter {place}")
        raise AnomalyError("step", layer, type(optimizer).__name__, None, self._when(), inputs, result, cause)

    def _when(self) -> list[str]:
        return [f"after {_steps(self._steps)} of the optimizer"] if self._steps else []


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _argument_names(function: Function, count: int) -> list[str]:
    """What `forward` calls its arguments: x, w, b."""
    names: list[str] = []
    for name, parameter in inspect.signature(function.forward).parameters.items():
        several = parameter.kind is parameter.VAR_POSITIONAL
        names += [name] * (count - len(names)) if several else [name]
    return [*names, *(f"input {i}" for i in range(len(names), count))][:count]
