"""Faults of the batch, and of what the network says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..._tensor import Tensor
from ...device import to_device
from ...nn import BatchNorm2d, Module
from .findings import Finding

Array = Any

# The root of the mean square of images: of digits in [0, 1] it is 0.3, of photographs in [0, 1] 0.5, normalised to
# mean 0 and deviation 1 it is 1. As bytes from 0 to 255 digits have 85 and photographs 130; divided by 255 twice 0.002.
LARGE, SMALL = 10.0, 0.01
ENOUGH = 16  # samples: of ten classes as many are all of one kind once in 10**15 batches

# Of the most likely class. A fresh network may be sure of itself too, and wrong: AlexNet and VGG-11 with batch
# normalisation have 0.74, the most that `benchmarks/measure_health.py` prints for fresh ones.
SURE = 0.85


def batch_findings(model: Module, x: Tensor, labels: Array) -> Iterator[Finding]:
    """What can be said before the network has seen the batch."""
    images = to_device(x.data, "cpu").astype(np.float64)
    yield from _inputs(images)
    norms = [name for name, module in model.named_modules() if isinstance(module, BatchNorm2d)]
    if len(x) == 1 and norms:
        yield Finding(
            "batch of one", norms[0], "batch normalisation in training takes mean and variance from the batch, and a "
            "single sample cannot tell them. Use larger batches, or evaluation mode.", {"samples": 1},
        )  # fmt: skip
    if labels.ndim == 1 and len(labels) >= ENOUGH and (labels == labels[0]).all():
        yield Finding(
            "labels", "", f"all {len(labels)} labels of the batch are {labels[0]}: is the data sorted by class, and "
            "not shuffled?", {"label": float(labels[0])},
        )  # fmt: skip


def _inputs(images: Array) -> Iterator[Finding]:
    finite = np.isfinite(images)
    if not finite.all():
        first = int(np.argmin(finite.reshape(len(images), -1).all(axis=1)))
        yield Finding("inputs", "", f"sample {first} of the batch holds a NaN or an infinity.", {"sample": first})
        return
    low, high, rms = float(images.min()), float(images.max()), float(np.sqrt(np.square(images).mean()))
    numbers = {"low": low, "high": high, "root mean square": rms}
    span = f"the inputs go from {low:.4g} to {high:.4g}, with a root mean square of {rms:.2g}"
    if len(images) > 1 and (images == images[:1]).all():
        yield Finding("inputs", "", f"all {len(images)} samples of the batch are the same, and nothing tells them "
                      "apart.", numbers)  # fmt: skip
    elif rms > LARGE:
        yield Finding("inputs", "", f"{span}: normalise them. Pixels from 0 to 255 given as floats are divided by "
                      "nobody; divide by 255, or give them as uint8.", numbers)  # fmt: skip
    elif rms < SMALL:
        yield Finding("inputs", "", f"{span}, which is very little: were they divided by 255 twice?", numbers)


def label_findings(outputs: Array, labels: Array) -> Iterator[Finding]:
    """What the labels and the outputs (N, K) cannot have to do with each other: there is no loss then."""
    K = outputs.shape[1]
    if labels.ndim == 1 and ((labels < 0) | (labels >= K)).any():
        low, high = int(labels.min()), int(labels.max())
        yield Finding(
            "labels", "", f"the labels go from {low} to {high}, and {K} outputs are for 0 to {K - 1}: number the "
            "classes from 0, or give the last layer more outputs.", {"low": low, "high": high, "outputs": K},
        )  # fmt: skip


def confidence(outputs: Array) -> float:
    """The probability of the most likely class, in the mean over the samples."""
    p = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    return float((1 / p.sum(axis=1)).mean())


def confidence_findings(outputs: Array, labels: Array) -> Iterator[Finding]:
    """A network that is sure, and wrong."""
    if labels.ndim != 1 or len(labels) < ENOUGH:
        return
    N, K = outputs.shape
    sure, right = confidence(outputs), float((outputs.argmax(axis=1) == labels).mean())
    guessing = 1 / K + 2 * np.sqrt((1 / K) * (1 - 1 / K) / N)  # and two standard deviations
    if sure > SURE and right <= guessing:
        yield Finding(
            "labels", "", f"the network is sure of itself, with {100 * sure:.0f} % for its class in the mean, and "
            f"right in {100 * right:.0f} % of the samples, as by guessing: have labels and images been shuffled apart, "
            "or the classes been numbered in another way?", {"confidence": sure, "accuracy": right},
        )  # fmt: skip
