"""What happens to one sample in a network: every value of the forward pass, every gradient of the backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import _function, autograd
from ... import functional as F
from ..._function import Function
from ..._tensor import Tensor
from ...data import to_input
from ...device import is_array, to_device
from ...graph.network import INPUT, settings
from ...graph.recording import Call, holders, watched
from ...graph.recording import Recording as Names
from ...nn import Module, Parameter
from ...nn.sample import buffers_kept
from ...ops.checks import is_whole

Array = Any
Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class RecordedTensor:
    """An array of the recorded pass, and the gradient of the loss in it.

    role: "input", "parameter", "buffer", "constant" (an array that a `forward` made), "activation" or "loss".
    value, gradient: NumPy copies of one shape; gradient None where none was wanted or none arrived.
    """

    id: int
    name: str
    role: str
    value: Array
    gradient: Array | None


@dataclass(frozen=True)
class Step:
    """One call of a Function.

    operation: the Function, with its settings; it has served its call.
    module: the dotted name of the Module whose `forward` called it; "" for the model itself, and for the loss.
    inputs, output: ids of RecordedTensors.
    saved: what `forward` kept for `backward`, arrays on the CPU. reads: ids of the RecordedTensors that are among it.
    parts: for each input what `backward` gave it. Where several steps read one tensor, its gradient is the sum of
        their parts. None for an input that wants no gradient; empty where the backward pass did not come by.
    """

    id: int
    operation: Function
    module: str
    inputs: tuple[int, ...]
    output: int
    saved: tuple[Any, ...]
    reads: tuple[int, ...]
    parts: tuple[Array | None, ...]

    def arguments(self) -> tuple[str, ...]:
        """What the Function's `forward` calls its inputs: ("x", "w", "b") of a layer."""
        names = [p.name for p in inspect.signature(type(self.operation).forward).parameters.values()][1:]
        several = len(self.inputs) - len(names)  # *xs stands for several
        if several > 0:
            names[-1:] = [f"{names[-1]}{i}" for i in range(several + 1)]
        return tuple(names[: len(self.inputs)])

    def settings(self) -> dict[str, Any]:
        """The operation's own attributes, such as a stride."""
        return settings(self.operation)


@dataclass(frozen=True)
class Recording:
    """One sample's pass forward and backward; see `record`.

    model: the class of the network. training: the mode that it was in. label: as given to `record`.
    tensors, steps: by id; steps in the order of the forward pass. output: the ids of what the model returned.
    backward: the ids of the steps in the order in which the engine ran their `backward`.
    """

    model: str
    training: bool
    label: Any
    tensors: tuple[RecordedTensor, ...]
    steps: tuple[Step, ...]
    output: tuple[int, ...]
    backward: tuple[int, ...]

    @property
    def loss(self) -> RecordedTensor:
        """What the backward pass began with."""
        return next(t for t in self.tensors if t.role == "loss")

    @property
    def input(self) -> RecordedTensor:
        """The sample, with the axis N in front."""
        return self.tensors[0]


def record(model: Module, x: Array | Tensor, label: Any, loss: Loss = F.cross_entropy) -> Recording:
    """Run one sample through a model and back, and keep copies of every value and every gradient.

    x: one sample without the axis N, like (H, W, C), or with an axis N of 1; uint8 is divided by 255, as in training.
    label: the number of the class; or what `loss` takes for one sample, an array or a Tensor.
    loss: called with what the model returns and the label for a batch of one, returns a Tensor of one element.

    The mode is the model's own: in training its dropout drops, and its batch normalisation takes the statistics of
    this sample; call `model.eval()` first to see what evaluation computes. Unlike in training the sample itself asks
    for its gradient too, so that the first layer's can be looked at.

    The gradients are those that the engine's own backward pass handed on, as it ran. Weights, buffers (running
    statistics, the steps that dropout counts), gradients and random numbers of the model are afterwards as before;
    only layers that did not know their sizes have learnt them.

    Raises TypeError for what is no Module, no array or no label, ValueError for a sample or a label that does not fit.
    """
    if not isinstance(model, Module):
        raise TypeError(f"record expected a Module, got {type(model).__name__}")
    sample, target = _sample(model, x), _target(label)
    pass_ = _Pass(sample)
    with buffers_kept(model), watched(model) as calls, _function.observe(pass_.forward):
        y = model(sample)
        result = loss(y, target)
    _check_loss(result)
    with _gradients_kept(calls), autograd.observe(pass_.before, pass_.after):
        result.backward()
        leaves = {id(t): pass_.copy(t.grad) for t in _leaves(calls) if t.grad is not None}
    return _Assembly(model, sample, calls, pass_, leaves).recording(y, result, label)


def telling_cells(gradient: Array, count: int) -> list[tuple[int, ...]]:
    """A few cells of a gradient, without repetition: that of the largest number, and others drawn by a fixed seed."""
    if gradient.size == 0:
        return []
    largest = int(np.nan_to_num(np.abs(gradient.astype(np.float64))).argmax())
    others = np.random.default_rng(0).choice(gradient.size, min(count, gradient.size), replace=False)
    chosen = list(dict.fromkeys([largest, *map(int, others)]))[:count]
    return [tuple(int(i) for i in np.unravel_index(place, gradient.shape)) for place in chosen]


def _sample(model: Module, x: Any) -> Tensor:
    """x as a batch of one, a leaf of the model's dtype and on its device that asks for its gradient."""
    array = x.numpy() if isinstance(x, Tensor) else x
    if not isinstance(array, np.ndarray):
        raise TypeError(f"record expected a sample as a NumPy array or a Tensor, got {type(x).__name__}")
    single = array if array.ndim in (2, 4) else array[None]
    if array.ndim not in (1, 2, 3, 4) or len(single) != 1 or array.size == 0:
        shape = "(H, W, C)" if model.input_shape is None else model.input_shape
        raise ValueError(
            f"record expected one sample of shape {shape}, with or without an axis N of 1 in front, got {array.shape}: "
            "give one image, such as images[0]"
        )
    first = next((p for p in model.parameters() if p.is_filled), None)
    single = to_input(single) if single.ndim == 4 and single.dtype == np.uint8 else single
    if single.dtype not in (np.float32, np.float64):
        raise TypeError(
            f'record expected a sample of uint8, float32 or float64, got {single.dtype}: use .astype("float32")'
        )
    dtype, device = (np.dtype(np.float32), "cpu") if first is None else (first.dtype, first.device)
    return Tensor(to_device(np.array(single, dtype, order="C"), device), requires_grad=True)


def _target(label: Any) -> Any:
    """The label of a batch of one."""
    if is_whole(label):
        return np.array([label], np.int64)
    if isinstance(label, np.ndarray | Tensor):
        return label
    raise TypeError(
        f"record expected the number of a class as its label, or an array that the loss takes, got {label!r}"
    )


def _check_loss(result: Any) -> None:
    if not isinstance(result, Tensor) or result.size != 1:
        got = f"a Tensor of shape {result.shape}" if isinstance(result, Tensor) else type(result).__name__
        raise TypeError(f"record expected the loss as a Tensor of one element, got {got}: reduce it with .mean()")
    if result.creator is None:
        raise ValueError(
            "record expected a loss that minicnn's Functions compute from the sample, outside of no_grad: this one "
            "does not depend on anything that asks for a gradient"
        )


@contextmanager
def _gradients_kept(calls: list[Call]) -> Iterator[None]:
    """Inside no leaf has a gradient; afterwards each has that of before."""
    kept = [(leaf, leaf.grad) for leaf in _leaves(calls)]
    for leaf, _ in kept:
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, grad in kept:
            leaf.grad = grad


def _leaves(calls: list[Call]) -> list[Tensor]:
    """The Tensors in which a backward pass would write a gradient, each once."""
    inputs = {id(t): t for call in calls for t in call.inputs}
    return [t for t in inputs.values() if t.requires_grad and t.creator is None]


class _Pass:
    """Keeps copies while the passes run: forward as a Function is called, backward before and after each step."""

    def __init__(self, sample: Tensor) -> None:
        # By id of the array, which the list of calls keeps alive.
        self.values: dict[int, Array] = {id(sample.data): self.copy(sample.data)}
        self.saved: dict[Function, tuple[Any, ...]] = {}
        self.gradients: dict[Function, Array] = {}  # in the Function's result
        self.parts: dict[Function, tuple[Array | None, ...]] = {}  # in its inputs; in the order of the backward pass

    def forward(self, function: Function, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        for t in (*inputs, output):
            if id(t.data) not in self.values:
                self.values[id(t.data)] = self.copy(t.data)
        self.saved[function] = function.saved

    def before(self, function: Function, dy: Array) -> None:
        self.gradients[function] = self.copy(dy)

    def after(self, function: Function, dxs: tuple[Array | None, ...]) -> None:
        wanted = zip(dxs, function.needs_gradient, strict=True)
        self.parts[function] = tuple(self.copy(dx) if wants and dx is not None else None for dx, wants in wanted)

    @staticmethod
    def copy(array: Array) -> Array:
        """A NumPy copy: the engine uses memory again, and a user may write into a gradient."""
        return np.array(to_device(array, "cpu"), order="C")


class _Assembly:
    """Puts names, values and gradients together."""

    def __init__(self, model: Module, sample: Tensor, calls: list[Call], kept: _Pass, leaves: dict[int, Array]) -> None:
        self.model, self.kept, self.calls, self.leaves = model, kept, calls, leaves
        self.holders = holders(model)
        self.names = Names(self.holders, sample)
        self.ids: dict[str, int] = {}
        self.tensors: list[RecordedTensor] = []
        self._id(INPUT, sample)

    def recording(self, y: Any, loss: Tensor, label: Any) -> Recording:
        steps = [self._step(number, call) for number, call in enumerate(self.calls)]
        functions = {call.operation: number for number, call in enumerate(self.calls)}
        outputs = [t for t in (y if isinstance(y, tuple | list) else [y]) if isinstance(t, Tensor)]
        last = self.ids[self.names.name(loss)]
        tensors = [t if t.id != last else _with_role(t, "loss") for t in self.tensors]
        return Recording(
            type(self.model).__name__,
            self.model.training,
            label,
            tuple(tensors),
            tuple(steps),
            tuple(self.ids[self.names.name(t)] for t in outputs if self.names.name(t) in self.ids),
            tuple(functions[function] for function in self.kept.parts),
        )

    def _step(self, number: int, call: Call) -> Step:
        self.names.add(call)
        node = self.names.nodes[-1]
        tensors = {id(t.data): self._id(name, t) for name, t in zip(node.inputs, call.inputs, strict=True)}
        inputs = tuple(self._id(name, t) for name, t in zip(node.inputs, call.inputs, strict=True))
        output = self._id(node.output, call.output)
        saved = self.kept.saved[call.operation]
        tensors.setdefault(id(call.output.data), output)
        reads = tuple(dict.fromkeys(tensors[id(array)] for array in saved if id(array) in tensors))
        parts = self.kept.parts.get(call.operation, ())
        saved = tuple(to_device(value, "cpu") if is_array(value) else value for value in saved)
        return Step(number, node.operation, call.module, inputs, output, saved, reads, parts)

    def _id(self, name: str, t: Tensor) -> int:
        if name not in self.ids:
            self.ids[name] = len(self.tensors)
            self.tensors.append(self._tensor(name, t))
        return self.ids[name]

    def _tensor(self, name: str, t: Tensor) -> RecordedTensor:
        gradient = self.leaves.get(id(t)) if t.creator is None else self.kept.gradients.get(t.creator)
        return RecordedTensor(len(self.tensors), name, self._role(name, t), self.kept.values[id(t.data)], gradient)

    def _role(self, name: str, t: Tensor) -> str:
        if name == INPUT:
            return "input"
        if name in self.holders:
            return "parameter" if isinstance(self.holders[name], Parameter) else "buffer"
        return "constant" if name in self.names.holders else "activation"


def _with_role(t: RecordedTensor, role: str) -> RecordedTensor:
    return RecordedTensor(t.id, t.name, role, t.value, t.gradient)
