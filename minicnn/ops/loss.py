"""Losses: how far a batch of predictions is from the truth, as one number, the mean over the batch."""

from typing import Any

import numpy as np

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from ..device import array_module, is_recording, to_device
from .checks import check_dtypes, check_float

Array = Any


class CrossEntropy(Function):
    """See `cross_entropy`."""

    def __init__(self, target: Array) -> None:
        self.target = target

    def forward(self, logits: Array) -> Array:
        loss, p = kernels.room(logits).cross_entropy_forward(logits, self.target)
        self.save(p)
        return loss

    def backward(self, dy: Array) -> tuple[Array, ...]:
        (p,) = self.saved
        return (kernels.room(p).cross_entropy_backward(dy, p, self.target),)


def cross_entropy(logits: Tensor, labels: Tensor | Array) -> Tensor:
    """The mean over the batch of minus the logarithm of the probability that softmax gives to the truth.

    logits: (N, K), before softmax. labels: (N,) whole numbers from 0 to K - 1, or (N, K) rows that are
    probabilities (one-hot, or smoothed). Labels are no part of the graph. Returns a Tensor without axes.

    Forward:   p = softmax(logits),  loss = -1/N * sum over n, k of t[n, k] * log p[n, k],  t the labels one-hot
    Backward:  dlogits = (p * sum over k of t - t) / N * dloss, which is (p - t) / N for probabilities

    Raises TypeError for float labels of shape (N,), ValueError for labels out of range, a wrong length or rows
    that are not probabilities.
    """
    if isinstance(logits, tuple):
        raise TypeError(
            f"cross_entropy expected one Tensor, got a tuple of {len(logits)}: a network with auxiliary heads returns "
            "several in training, and has a loss of its own, such as models.googlenet_loss"
        )
    check_float(logits, "cross_entropy")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"cross_entropy expected logits (N, K) with N >= 1 and K >= 1, got shape {logits.shape}")
    return CrossEntropy(_target(logits, labels))(logits)


def _target(logits: Tensor, labels: Tensor | Array) -> Array:
    """The labels checked: (N,) int64 or (N, K) of the logits' dtype, on the logits' device."""
    N, K = logits.shape
    xp = array_module(logits.data)
    target = labels.data if isinstance(labels, Tensor) else labels
    target = np.asarray(target) if isinstance(target, list | tuple) else target
    if not hasattr(target, "dtype"):
        raise TypeError(f"cross_entropy expected labels as an array, got {type(target).__name__}")
    target = to_device(target, logits.device)
    if target.shape == (N, K) and target.dtype.kind in "fiub":
        target = target.astype(logits.dtype)
        if not bool((target >= 0).all() & (abs(target.sum(axis=1) - 1) <= 1e-3).all()):
            sums = target.sum(axis=1)
            raise ValueError(
                "cross_entropy expected every row of (N, K) labels to be probabilities that add up to 1, "
                f"got numbers from {target.min()} on and sums from {sums.min()} to {sums.max()}"
            )
        return target
    if target.shape != (N,):
        raise ValueError(
            f"cross_entropy expected labels of shape ({N},) or one-hot ({N}, {K}) for logits {logits.shape}, "
            f"got shape {tuple(target.shape)}"
        )
    if target.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy expected labels of whole numbers, got {target.dtype}: use labels.astype(int)")
    # A recorded step cannot wait for what is on the GPU: there the Trainer has checked the labels of the data set.
    low, high = (0, 0) if is_recording() else (int(target.min()), int(target.max()))
    if low < 0 or high >= K:
        raise ValueError(
            f"cross_entropy expected labels from 0 to {K - 1} for {K} classes, got {low if low < 0 else high}"
        )
    return xp.array(target, dtype=xp.int64)  # a copy: the caller may fill the array anew before backward reads it


class MeanSquaredError(Function):
    """See `mean_squared_error`."""

    def forward(self, y: Array, target: Array) -> Array:
        self.save(y, target)
        return kernels.room(y, target).mean_squared_error_forward(y, target)

    def backward(self, dloss: Array) -> tuple[Array | None, ...]:
        y, target = self.saved
        dy = kernels.room(y).mean_squared_error_backward(dloss, y, target)
        return dy, -dy if self.needs_gradient[1] else None


def mean_squared_error(y: Tensor, target: Tensor) -> Tensor:
    """The mean over all elements of (y - target)**2; y and target of one shape.

    Backward: dy = 2 * (y - target) / size * dloss, dtarget = -dy.
    """
    _check_pair("mean_squared_error", y, target)
    return MeanSquaredError()(y, target)


class HalfSquaredError(Function):
    """See `half_squared_error`."""

    def forward(self, y: Array, target: Array) -> Array:
        self.save(y, target)
        return kernels.room(y, target).half_squared_error_forward(y, target)

    def backward(self, dloss: Array) -> tuple[Array | None, ...]:
        y, target = self.saved
        dy = kernels.room(y).half_squared_error_backward(dloss, y, target)
        return dy, -dy if self.needs_gradient[1] else None


def half_squared_error(y: Tensor, target: Tensor) -> Tensor:
    """Half the sum over the last axis of (y - target)**2, and of that the mean over the other axes.

    Backward: dy = (y - target) / N * dloss, N the number of samples; dtarget = -dy.
    """
    _check_pair("half_squared_error", y, target)
    return HalfSquaredError()(y, target)


def _check_pair(what: str, y: Tensor, target: Tensor) -> None:
    check_dtypes(what, y, target=target)
    if y.shape != target.shape or y.ndim == 0 or y.size == 0:
        raise ValueError(
            f"{what} expected two Tensors of one shape with at least one element, got {y.shape} and {target.shape}"
        )
