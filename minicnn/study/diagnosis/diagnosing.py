"""`diagnose`: what is wrong with a network that does not learn, in a sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import functional as F
from ..._function import no_grad
from ..._tensor import Tensor
from ...nn import Module
from ...nn.checks import positive
from ...optim import Optimizer
from ...train.metrics import main_output
from ..steps import as_batch
from .data_rules import batch_findings, confidence_findings, label_findings
from .examination import Examination, Loss, examine, put_back
from .findings import Diagnosis, Finding
from .layer_rules import backward_findings, forward_findings
from .learning_rules import is_learnt, learn_along_gradients, learn_with, rate_findings, slope_findings

Array = Any


def diagnose(
    model: Module,
    images: Array,
    labels: Array,
    loss: Loss = F.cross_entropy,
    optimizer: Optimizer | None = None,
    steps: int = 10,
) -> Diagnosis:
    """Look for what keeps a network from learning, with one batch of its training data.

    images: (N, H, W, C), uint8 or floats, as the Trainer gets them; 32 or more tell most. labels: (N,) whole numbers,
        or (N, K) probabilities. loss: as the Trainer's.
    optimizer: the one that trains; then its learning rate is judged too. steps: how many are tried on this one batch.

    Data, results of layers, gradients, learning: the first of these four that has faults has the word, since a fault
    brings others with it. What is found stands in `findings`, what each kind means in the guide, and why a limit is
    where it is, beside it in the code.

    The model is run in training mode. Afterwards weights, gradients, buffers, modes, the optimizer and NumPy's random
    state are as they were, bit for bit, but that layers which did not know their sizes have learned them.

    Raises TypeError for what is no Module, Optimizer or function, ValueError for images that the model refuses, labels
    of another number, and an optimizer of another model's Parameters.
    """
    x = as_batch(model, images, "diagnose")
    labels = _checked(model, len(x), labels, loss, optimizer)
    steps = positive(steps, "diagnose", "steps")
    found = list(batch_findings(model, x, labels))
    if found:
        return Diagnosis(tuple(found), len(x))
    with put_back(model, None), no_grad(), np.errstate(all="ignore"):
        outputs = main_output(model(x))  # fills what is lazy, so that all can be put back
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(x):
        got = f"shape {outputs.shape}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"diagnose expected the model to return a Tensor (N, K), a row for each image, got {got}")
    found = list(label_findings(outputs.numpy(), labels))
    if found:
        return Diagnosis(tuple(found), len(x))
    with put_back(model, optimizer), np.errstate(all="ignore"):
        seen = examine(model, x, labels, loss)
        for rules in (forward_findings(seen), _behind_the_layers(seen)):
            if found := list(rules):
                return Diagnosis(tuple(found), len(x), seen.loss)
        if is_learnt(seen):
            return Diagnosis((), len(x), seen.loss)
        return _learn(seen, optimizer, steps)


def _behind_the_layers(seen: Examination) -> Iterator[Finding]:
    yield from confidence_findings(seen.outputs, seen.labels)
    yield from backward_findings(seen)


def _learn(seen: Examination, optimizer: Optimizer | None, steps: int) -> Diagnosis:
    """Learn the batch twice from the same weights: with steps that fit, then with the optimizer's."""
    with put_back(seen.model, None):
        after = along = learn_along_gradients(seen, steps)
        found = list(slope_findings(seen, along))
    if optimizer is not None and not found:
        after = learn_with(seen, optimizer, steps)
        found = list(rate_findings(seen, optimizer, after, along))
    return Diagnosis(tuple(found), len(seen.x), seen.loss, after if math.isfinite(after) else None)


def _checked(model: Module, N: int, labels: Array, loss: Loss, optimizer: Optimizer | None) -> Array:
    """The labels as an array; raises for arguments that do not go together."""
    if not callable(loss):
        raise TypeError(f"diagnose expected loss to be a function of (outputs, labels), got {loss!r}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"diagnose expected optimizer to be an Optimizer or None, got {type(optimizer).__name__}")
    if optimizer is not None and not {id(p) for p in optimizer.params} <= {id(p) for p in model.parameters()}:
        raise ValueError("diagnose got an optimizer of Parameters that are not this model's")
    labels = np.asarray(labels)
    if labels.ndim not in (1, 2) or len(labels) != N or labels.dtype.kind not in ("iu" if labels.ndim == 1 else "f"):
        raise ValueError(
            f"diagnose expected {N} labels, one for each image: whole numbers ({N},) or probabilities ({N}, K), got "
            f"{labels.dtype} {labels.shape}"
        )
    return labels
