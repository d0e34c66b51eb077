"""Running a model step by step: each call of a Function with a name, its result, and later the gradient in it.

    run = run_steps(model, images)
    gradients = differentiate(run, run.scores[0, 7])
    run.find("conv2d_1").output, gradients["conv2d_1"]

It sees operations and not only layers, so models that compute with `F.conv2d` and the like are served too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _function, autograd, nn
from .._function import Function
from .._tensor import Tensor
from ..data import to_input
from ..device import to_device
from ..graph.network import enter
from ..nn import Module
from ..nn.sample import buffers_kept
from ..ops.activation import LogSoftmax, Softmax
from ..train.metrics import main_output

Array = Any
IMAGES = "x"  # the name under which `differentiate` gives the gradient in the images


@dataclass(frozen=True)
class Step:
    """One call of a Function.

    name: the dotted name of the Module in whose `forward` it stood ("layer1.0.conv1"), with a number where the Module
        was called before ("layer1.0.relu_2"), and with the operation where the Module has several ("c1.tanh").
    modules: the Modules around it, inner one last, by the same names without the operation.
    """

    name: str
    modules: tuple[str, ...]
    operation: Function
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def is_image(self) -> bool:
        """Whether its result is (N, H, W, C) of more than one pixel."""
        return self.output.ndim == 4 and self.output.shape[1] * self.output.shape[2] > 1


@dataclass(frozen=True)
class Run:
    """One forward pass. images: what went in, as the model got it. steps: in order. result: what the model returned."""

    images: Tensor
    steps: tuple[Step, ...]
    result: Any

    def find(self, layer: str, what: str) -> Step:
        """The step of that name; for the name of a Module the last step in it.

        Raises ValueError, with the names that look like it, for what is neither. what: the caller, whom it names.
        """
        last = {module: step for step in self.steps for module in step.modules}
        found = {**last, **{step.name: step for step in self.steps}}
        if layer in found:
            return found[layer]
        near = difflib.get_close_matches(str(layer), found, n=5, cutoff=0.4) or list(found)[:20]
        raise ValueError(f"{what} knows no layer {layer!r} of this model: there are {', '.join(near)}")

    @property
    def scores(self) -> Tensor:
        """The model's result (N, K) before a Softmax or LogSoftmax at its end; of a tuple the first."""
        scores = main_output(self.result)
        for step in self.steps:
            if step.output is scores and isinstance(step.operation, Softmax | LogSoftmax):
                return step.inputs[0]
        return scores


def run_steps(model: Module, images: Array, what: str, training: bool = False) -> Run:
    """Run a model on images and keep every step, ready for `differentiate` in the images; Parameters ask for nothing.

    images: (N, H, W, C) or one (H, W, C); uint8 of 0 to 255 becomes 0 to 1, as in training.
    training: in training mode, else in evaluation. The model is afterwards as it was, running statistics, counters and
        gradients included, but that layers which did not know their sizes have learned them.
    what: the caller, whom errors name.

    Raises TypeError for what is no Module, ValueError for images that the model refuses.
    """
    x = as_batch(model, images, what)
    watch = Watch(model)
    try:
        with undisturbed(model, training), watch.watching():
            result = model(x)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what}: the model refused images of shape {x.shape}: {error}") from error
    return Run(x, tuple(watch.steps()), result)


def as_batch(model: Module, images: Array, what: str) -> Tensor:
    """Images as the model takes them: (N, H, W, C), of its dtype and on its device, asking for their gradient."""
    if not isinstance(model, Module):
        raise TypeError(f"{what} expected a Module, got {type(model).__name__}")
    array = np.asarray(images)
    array = array[np.newaxis] if array.ndim == 3 else array
    if array.ndim != 4 or array.size == 0 or array.dtype.kind not in "fu":
        raise ValueError(
            f"{what} expected images (N, H, W, C) or (H, W, C) of uint8 or floats, got {array.dtype} {array.shape}"
        )
    array = to_input(array) if array.dtype == np.uint8 else array
    own = np.float64 if array.dtype == np.float64 else np.float32
    device, dtype = next((p.place for p in model.parameters()), ("cpu", own))
    return Tensor(to_device(array.astype(dtype), device), requires_grad=True)


@contextmanager
def undisturbed(model: Module, training: bool) -> Iterator[None]:
    """Inside, a model is in one mode, and its Parameters ask for no gradient; afterwards all is as it was before."""
    modes = [(module, module.training) for module in model.modules()]
    wishes = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.train(training)
    for parameter, _ in wishes:
        parameter.requires_grad = False
    try:
        with buffers_kept(model):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wish in wishes:
            parameter.requires_grad = wish


class Watch:
    """Is told of the calls of Modules and Functions, and makes Steps of them."""

    def __init__(self, model: Module) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._taken = {IMAGES}  # no Module is called what the images are
        self._inside: list[str] = []  # the calls that have begun, outer ones first; "" for the model itself
        self._calls: list[tuple[tuple[str, ...], Function, tuple[Tensor, ...], Tensor]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, what is called is noted."""
        with _function.observe(self._note), nn.observe(self._leave, before=self._enter):
            yield

    def _enter(self, module: Module) -> None:
        name = self._names.get(id(module), "")
        self._inside.append(enter(name, self._taken) if name else "")

    def _leave(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._inside.pop()

    def _note(self, operation: Function, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._calls.append((tuple(self._inside), operation, inputs, output))

    def steps(self) -> Iterator[Step]:
        """The Steps, in order."""
        alone = [inside[-1] for inside, *_ in self._calls]
        taken = set(self._taken)
        for inside, operation, inputs, output in self._calls:
            name = inside[-1]
            if not name or alone.count(name) > 1:
                name = enter(f"{name}.{operation.name.lower()}".lstrip("."), taken)
            yield Step(name, tuple(filter(None, inside)), operation, inputs, output)


def differentiate(run: Run, root: Tensor, gradient: Array | None = None) -> dict[str, Array]:
    """The gradient of `root` in the result of each step that it depends on, by name, and in the images under "x".

    root: a Tensor that was made from the run. gradient: as in `Tensor.backward`.
    It is the engine's own backward pass; a run serves one. Raises as `Tensor.backward`.
    """
    names = {step.operation: step.name for step in run.steps}
    gradients: dict[str, Array] = {}

    def note(function: Function, dy: Array) -> None:
        if function in names:
            gradients[names[function]] = dy.copy()  # the pass's own array, which it may use again

    with autograd.observe(before=note):
        root.backward(gradient)
    return {IMAGES: run.images.grad, **gradients}
