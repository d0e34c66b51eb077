"""One forward and backward pass of a batch, with all that the rules look at; and how all is put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import autograd
from ..._function import Function
from ..._tensor import Tensor
from ...device import array_module, to_device
from ...nn import Module
from ...nn.sample import buffers_kept
from ...ops import activation, conv, linear
from ...ops.loss import CrossEntropy
from ...optim import Optimizer
from ...train.metrics import main_output
from ..steps import Step, Watch

Array = Any
Loss = Callable[[Any, Array], Tensor]


@dataclass(frozen=True)
class Examination:
    """What a pass has shown.

    x: the batch as the model got it. outputs: what the model returned, (N, K), as a NumPy array. steps: in order.
    loss: before any change. is_cross_entropy: whether it comes from `F.cross_entropy`.
    gradients: of each step, the root of the mean square of the gradient in its result; one that the loss does not
        depend on is missing. weight_gradients: by the Parameter's name its gradient's largest absolute value; None
        where there is none.
    """

    model: Module
    x: Tensor
    labels: Array
    loss_function: Loss
    outputs: Array
    steps: tuple[Step, ...]
    loss: float
    is_cross_entropy: bool
    gradients: dict[str, float] = field(default_factory=dict)
    weight_gradients: dict[str, float | None] = field(default_factory=dict)

    @property
    def layers(self) -> list[Step]:
        """The convolutions and fully connected layers."""
        return [step for step in self.steps if isinstance(step.operation, conv.Conv2d | linear.Linear)]


def watched_forward(model: Module, x: Tensor) -> tuple[Any, tuple[Step, ...]]:
    """What the model returns for a batch, and every step on the way."""
    watch = Watch(model)
    with watch.watching():
        result = model(x)
    return result, tuple(watch.steps())


def backward(loss: Tensor, steps: tuple[Step, ...]) -> dict[str, float]:
    """Compute all gradients; returns for each step how large that in its result is."""
    names = {step.operation: step.name for step in steps}
    sizes: dict[str, float] = {}

    def note(function: Function, dy: Array) -> None:
        if function in names:
            sizes[names[function]] = root_mean_square(dy)

    with autograd.observe(before=note):
        loss.backward()
    return sizes


def examine(model: Module, x: Tensor, labels: Array, loss_function: Loss) -> Examination:
    """Both passes; the gradients are then in the model's Parameters."""
    result, steps = watched_forward(model, x)
    loss = loss_function(result, labels)
    creator = loss.creator
    model.zero_grad()
    gradients = backward(loss, steps) if loss.requires_grad else {}
    weights = {
        name: None if p.grad is None else float(abs(p.grad).max())
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    outputs = to_device(main_output(result).data, "cpu")
    known = isinstance(creator, CrossEntropy)
    return Examination(model, x, labels, loss_function, outputs, steps, loss.item(), known, gradients, weights)


def activation_of(operation: Function) -> str | None:
    """ "relu", "tanh" or "sigmoid" if that is the last that the operation does, else None."""
    kinds = {activation.ReLU: "relu", activation.ReLU6: "relu", activation.Tanh: "tanh", activation.Sigmoid: "sigmoid"}
    return kinds.get(type(operation)) or getattr(operation, "activation", None)


def root_mean_square(array: Array) -> float:
    """The root of the mean of the squares, taken in float64: float32 would lose those below 1e-19."""
    return float(array_module(array).square(array.astype("float64")).mean() ** 0.5)


@contextmanager
def put_back(model: Module, optimizer: Optimizer | None) -> Iterator[None]:
    """Afterwards weights, gradients, buffers, modes, the optimizer and NumPy's random state are as before, bit for bit.

    Inside, the model is in training mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    weights = [(p, p.data, p.data.copy(), p.grad) for p in model.parameters() if p.is_filled]
    state, numbers = None if optimizer is None else optimizer.state_dict(), np.random.get_state()  # noqa: NPY002
    model.train()
    try:
        with buffers_kept(model):
            yield
    finally:
        np.random.set_state(numbers)  # noqa: NPY002  a model's forward may draw from it
        for module, mode in modes:
            module.training = mode
        for parameter, data, values, gradient in weights:
            data[...] = values
            parameter.data, parameter.grad = data, gradient
        if optimizer is not None and state is not None:
            optimizer.load_state_dict(state)
