"""Which pixels decide: the saliency map and Grad-CAM, for any model that returns one row of scores for an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..device import to_device
from ..nn import Module
from ..ops.checks import is_whole
from ..ops.conv import Conv2d
from .steps import IMAGES, Run, Step, differentiate, run_steps

Array = Any


@dataclass(frozen=True)
class Attribution:
    """What decides for a class.

    map: (h, w) >= 0, of the image's size, or in Grad-CAM of the layer's. image: (H, W, C), what the model got.
    label: the number of the class. probabilities: (K,), softmax of the scores. layer: of Grad-CAM; "" for saliency.
    """

    map: Array
    image: Array
    label: int
    probabilities: Array
    layer: str


def saliency(model: Module, image: Array, label: int | None = None) -> Attribution:
    """How much each pixel moves the score of a class: map[h, w] = max over c of |d score[label] / d image[h, w, c]|.

    image: (H, W, C), floats as the model takes them or uint8. label: None is the class with the largest score.

    The score is the logit: a Softmax at the model's end is left out, since its probability could also rise because
    those of other classes fall. Evaluation mode; the model is left as it was.
    Raises ValueError for a model that returns something else than scores (1, K), and for a label that it has not.

    Source: Simonyan, Vedaldi, Zisserman 2014, "Deep Inside Convolutional Networks", sections 3 and 3.1.
    """
    run, label, probabilities = _run(model, image, label, "saliency")
    dx = differentiate(run, run.scores[0, label])[IMAGES]
    pixels = np.abs(to_device(dx, "cpu")[0]).max(axis=2)  # (H, W, C) -> (H, W)
    return Attribution(pixels, run.images.numpy()[0], label, probabilities, "")


def grad_cam(model: Module, image: Array, label: int | None = None, layer: str | None = None) -> Attribution:
    """Where the feature maps A of a layer speak for a class, on the layer's own grid.

        alpha[k] = the mean over i, j of d score[label] / d A[i, j, k]        (equation 1)
        map[i, j] = max(0, sum over k of alpha[k] * A[i, j, k])               (equation 2)

    layer: the name of a step or of a Module that makes maps of more than one pixel. None takes the last convolution
        that does, behind its activation: the last step whose maps are as large as its own.
    Everything else as in `saliency`. Raises ValueError also where no layer, or not this one, makes such maps.

    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks", section 3.
    """
    run, label, probabilities = _run(model, image, label, "grad_cam")
    step = _last_maps(run) if layer is None else run.find(layer, "grad_cam")
    if not step.is_image:
        raise ValueError(
            f"grad_cam expected a layer that makes maps (1, H, W, C) of more than one pixel, {step.name} makes "
            f"{step.output.shape}: name one before it"
        )
    gradients = differentiate(run, run.scores[0, label])
    if step.name not in gradients:
        raise ValueError(f"grad_cam: the scores do not depend on {step.name}, or it does not depend on the image")
    A, dA = step.output.numpy()[0], to_device(gradients[step.name], "cpu")[0]  # (h, w, K)
    alpha = dA.mean(axis=(0, 1))
    return Attribution(np.maximum(A @ alpha, 0), run.images.numpy()[0], label, probabilities, step.name)


def _run(model: Module, image: Array, label: int | None, what: str) -> tuple[Run, int, Array]:
    """The run of one image, the class in question, and the probabilities (K,)."""
    if np.ndim(image) != 3:
        raise ValueError(f"{what} expected one image (H, W, C), got shape {np.shape(image)}")
    run = run_steps(model, image, what)
    scores = run.scores
    if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[0] != 1:
        got = getattr(scores, "shape", type(scores).__name__)
        raise ValueError(f"{what} expected a model that returns scores (1, K) for one image, got {got}")
    if not scores.requires_grad:
        raise ValueError(
            f"{what}: the model's scores do not depend on the image by way of minicnn's Functions: compute with "
            "Tensors, not with their arrays, and outside of no_grad"
        )
    logits = scores.numpy()[0].astype(np.float64)
    label = int(logits.argmax()) if label is None else label
    if not is_whole(label) or not 0 <= label < len(logits):
        raise ValueError(f"{what} expected a label from 0 to {len(logits) - 1}, got {label!r}")
    exponentials = np.exp(logits - logits.max())
    return run, int(label), exponentials / exponentials.sum()


def _last_maps(run: Run) -> Step:
    """The last step whose maps are as large as those of the last convolution with maps of more than one pixel."""
    sizes = [step.output.shape[1:3] for step in run.steps if isinstance(step.operation, Conv2d) and step.is_image]
    if not sizes:
        raise ValueError("grad_cam found no convolution with maps of more than one pixel: name a layer")
    return [step for step in run.steps if step.is_image and step.output.shape[1:3] == sizes[-1]][-1]
