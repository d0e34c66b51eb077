"""What a network makes of a drawing: probabilities, the result of every step, the pixels that decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import functional as F
from ..._function import no_grad
from ..._tensor import Tensor
from ...data import normalized_digit
from ...nn import Module
from ...ops.movement import Reshape
from ..steps import IMAGES, differentiate, run_steps

Array = Any
IMAGE_SHAPE = (28, 28, 1)


@dataclass(frozen=True)
class Reading:
    """One drawing, read.

    image: (28, 28, 1), the drawing as MNIST would hold it, which is what the network gets.
    probabilities: (K,), softmax of the scores.
    slopes: (28, 28, 1), d score / d pixel for the class with the largest score: where it is positive more ink would
        speak for that class, where it is negative against it (Simonyan, Vedaldi & Zisserman 2014, "Deep Inside
        Convolutional Networks", section 3, which shows their absolute values).
    steps: (name, operation, result) of each step; results are (H, W, C) or (K,).
    """

    image: Array
    probabilities: Array
    slopes: Array
    steps: tuple[tuple[str, str, Array], ...]


def read(model: Module, drawing: Array) -> Reading:
    """Bring a drawing (H, W) into MNIST's form, and run the network on it forward and backward.

    Raises as `normalized_digit` does for what is no drawing, and as `run_steps` for a model that refuses images.
    """
    image = normalized_digit(drawing)
    run = run_steps(model, image, "the digit pad")
    scores = run.scores
    with no_grad():
        probabilities = F.softmax(Tensor(scores.data)).numpy()[0]
    steps = [
        (step.name, step.operation.name, step.output.numpy()[0])
        for step in run.steps
        if step.output.ndim in (2, 4) and not isinstance(step.operation, Reshape)  # which only lays out anew
    ]
    slopes = differentiate(run, scores[0, int(probabilities.argmax())])[IMAGES]
    return Reading(image, probabilities, Tensor(slopes).numpy()[0], tuple(steps))


def check(model: Module, classes: Sequence[str]) -> None:
    """Raise ValueError unless the model reads digits; afterwards its kernels are compiled."""
    reading = read(model, np.eye(IMAGE_SHAPE[0]))
    if reading.probabilities.shape != (len(classes),):
        raise ValueError(
            f"the digit pad expected a model with {len(classes)} scores, one for each of {', '.join(classes)}, "
            f"got {reading.probabilities.size}"
        )
