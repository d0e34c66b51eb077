"""Several networks, or several views of an image, that answer as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import functional as F
from .._tensor import Tensor
from ..nn import Module, ModuleList
from .metrics import main_output

Array = np.ndarray[Any, Any]
Views = Callable[[Array], Array]


class Ensemble(Module):
    """Several classifiers that answer with the mean of their probabilities.

    models: the members, at least one, of the same classes; networks that began with other random numbers err in other
        places, and the mean of several errs less than each. They stay the same objects, under the names "members.0",
        "members.1", ... of `state_dict`.

    A call gives what `log_mean_softmax` makes of the members' outputs: the logarithms of probabilities, which serve as
    logits everywhere (argmax, softmax, cross_entropy, a Trainer's metrics). Where a member returns a tuple, as one
    with auxiliary heads does in training, the first counts.

    It can be differentiated like any Module; but members that are trained through their mean, instead of each alone,
    learn to lean on one another. Train each with a Trainer of its own first.

    Raises TypeError for what is no Module, ValueError for no models, and at the call for outputs of several shapes.
    Source: Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks",
    section 6: one network has a top-5 error of 18.2 %, five as one 16.4 %, and with two larger ones, seven, 15.4 %.
    """

    def __init__(self, models: Iterable[Module]) -> None:
        super().__init__()
        if isinstance(models, Module) or not isinstance(models, Iterable):
            raise TypeError(f"Ensemble expected a list of Modules, got {type(models).__name__}")
        self.members = ModuleList(models)
        if len(self.members) == 0:
            raise ValueError("Ensemble expected at least one model, got none")
        shapes = {member.input_shape for member in self.members}
        self.input_shape = shapes.pop() if len(shapes) == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return log_mean_softmax([main_output(member(x)) for member in self.members])


def log_mean_softmax(outputs: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of the probabilities that M outputs stand for: (N, K) from M Tensors (N, K).

    Forward:   l[m] = log softmax(outputs[m]),  y = log(1/M * sum over m of exp l[m])
    Backward:  dl[m] = softmax over the m of l * dy, then as log_softmax

    The exponents are taken relative to the largest l of each class, so that a class that all find impossible, at
    1e-400 say, costs its 921 nats and not infinity.
    Raises ValueError for Tensors of several shapes or other than (N, K).
    """
    if not all(isinstance(y, Tensor) and y.ndim == 2 and y.shape == outputs[0].shape for y in outputs):
        got = [getattr(output, "shape", type(output).__name__) for output in outputs]
        raise ValueError(f"the mean of several outputs expected Tensors of the same shape (N, K), got {got}")
    N, K = outputs[0].shape
    logs = F.concatenate([F.log_softmax(output).reshape(1, N, K) for output in outputs], axis=0)  # (M, N, K)
    largest = logs.max(axis=0).detach()  # a constant to the gradient: it cancels
    return (logs - largest).exp().mean(axis=0).log() + largest


def checked_views(views: Views, images: Array) -> Array:
    """What views(images) makes of images (n, H, W, C): (V, n, h, w, C), at least one view of each."""
    if not callable(views):
        raise TypeError(f"predict expected views to be a function of images (n, H, W, C), got {views!r}")
    seen = views(images)
    if not isinstance(seen, np.ndarray) or seen.ndim != 5 or seen.shape[1] != len(images) or seen.size == 0:
        got = f"an array of shape {seen.shape}" if isinstance(seen, np.ndarray) else type(seen).__name__
        raise ValueError(
            f"predict expected views to make (V, {len(images)}, h, w, C) of images {images.shape}, got {got}"
        )
    return seen
