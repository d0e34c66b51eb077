"""What a network makes of a drawing: probabilities, the result of every step, the pixels that decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import functional as F
from ..._function import no_grad
from ..._tensor import Tensor
from ...data.drawing import SIDE, normalized_digit
from ...nn import Module
from ...ops.movement import Reshape
from ..steps import IMAGES, Run, differentiate, run_steps

Array = Any


@dataclass(frozen=True)
class Layer:
    """A Module's result, (H, W, C) or (K,), with the Module's dotted name and its class.

    What the network computes in its own `forward`, outside of its Modules, is a layer for each operation.
    """

    name: str
    kind: str
    result: Array


@dataclass(frozen=True)
class Reading:
    """One drawing, read.

    image: (28, 28, 1), the drawing as MNIST would hold it, which is what the network gets.
    probabilities: (K,), softmax of the scores.
    slopes: (28, 28, 1), d score / d pixel for the class with the largest score: where it is positive more ink would
        speak for that class, where it is negative against it (Simonyan, Vedaldi & Zisserman 2014, "Deep Inside
        Convolutional Networks", section 3, which shows their absolute values).
    layers: in the order of their work.
    """

    image: Array
    probabilities: Array
    slopes: Array
    layers: tuple[Layer, ...]


def read(model: Module, drawing: Array) -> Reading:
    """Bring a drawing (H, W) into MNIST's form, and run the network on it forward and backward.

    Raises as `normalized_digit` does for what is no drawing; ValueError for a model that refuses images, returns
    something else than a row of scores, or scores that are not finite.
    """
    image = normalized_digit(drawing)
    run = run_steps(model, image, "the digit pad")
    scores = run.scores
    if not isinstance(scores, Tensor) or scores.ndim != 2 or not scores.requires_grad:
        got = getattr(scores, "shape", type(scores).__name__)
        raise ValueError(f"the digit pad expected a model that computes scores (1, K) of one image, got {got}")
    with no_grad():
        probabilities = F.softmax(Tensor(scores.data)).numpy()[0]
    if not np.isfinite(probabilities).all():
        raise ValueError("the digit pad: the model's scores are not finite, did its training diverge?")
    slopes = differentiate(run, scores[0, int(probabilities.argmax())])[IMAGES]
    return Reading(image, probabilities, Tensor(slopes).numpy()[0], tuple(_layers(model, run)))


def _layers(model: Module, run: Run) -> Iterator[Layer]:
    """Of each Module its last step, but for those that only lay out anew what was there, as Flatten does."""
    classes = {name: type(module).__name__ for name, module in model.named_modules()}
    last = {step.modules[-1]: step for step in run.steps if step.modules}
    for step in run.steps:
        name = step.modules[-1] if step.modules else step.name
        if last.get(name, step) is step and step.output.ndim in (2, 4) and not isinstance(step.operation, Reshape):
            yield Layer(name, classes.get(name, step.operation.name), step.output.numpy()[0])


def check(model: Module, classes: Sequence[str]) -> None:
    """Raise ValueError unless the model reads digits; afterwards its kernels are compiled."""
    reading = read(model, np.eye(SIDE))
    if reading.probabilities.shape != (len(classes),):
        raise ValueError(
            f"the digit pad expected a model with {len(classes)} scores, one for each of {', '.join(classes)}, "
            f"got {reading.probabilities.size}"
        )
