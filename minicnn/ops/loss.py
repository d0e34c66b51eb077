"""Losses: how far a batch of predictions is from the truth, as one number, the mean over the batch."""

from typing import Any

import numpy as np

from .. import kernels
from .._function import Function
from .._tensor import Tensor
from ..device import array_module, device_of, is_recording, to_device
from .checks import check_dtypes, check_float, real

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
        if self.target.ndim == 2:  # the kernel's p - t is the gradient where a row adds up to 1; p * sum - t wherever
            p = p * self.target.sum(axis=1, keepdims=True)
        return (kernels.room(p).cross_entropy_backward(dy, p, self.target),)


def cross_entropy(
    logits: Tensor, labels: Tensor | Array, weight: Tensor | Array | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """The mean over the batch of minus the logarithm of the probability that softmax gives to the truth.

    logits: (N, K), before softmax. labels: (N,) whole numbers from 0 to K - 1, or (N, K) rows that are
    probabilities (one-hot, or mixed). Labels and weights are no part of the graph. Returns a Tensor without axes.
    weight: (K,) numbers >= 0, what a sample of each class counts; None: all the same. Where a class is rare,
        N / (K * np.bincount(labels, minlength=K)) gives each class the same say, whatever its size.
    label_smoothing: from 0 to 1, the share eps of a label's probability that all K classes get alike. It keeps a
        network from making the logit of the truth ever larger.

    With y the labels as rows (whole numbers one-hot):

        Targets:   t[n, k] = weight[k] * ((1 - eps) * y[n, k] + eps / K)
        Forward:   p = softmax(logits),  loss = -1/M * sum over n, k of t[n, k] * log p[n, k]
        Backward:  dlogits = (p * sum over k of t - t) / M * dloss, which is (p - t) / N without weights

    M is the sum over n of weight[labels[n]], so that the loss is a weighted mean, but N for labels that are rows:
    what PyTorch divides by. Inside a Trainer: loss=functools.partial(F.cross_entropy, label_smoothing=0.1).

    Raises TypeError for float labels of shape (N,) and for what is no number; ValueError for labels out of range, a
    wrong length, rows that are not probabilities, weights that are negative, infinite or 0 for every label, and a
    label_smoothing outside 0 to 1; RuntimeError for weights on the CPU while a step on a GPU is recorded.
    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7 (smoothing).
    """
    if isinstance(logits, tuple):
        raise TypeError(
            f"cross_entropy expected one Tensor, got a tuple of {len(logits)}: a network with auxiliary heads returns "
            "several in training, and has a loss of its own, such as models.googlenet_loss"
        )
    check_float(logits, "cross_entropy")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"cross_entropy expected logits (N, K) with N >= 1 and K >= 1, got shape {logits.shape}")
    smoothing = real(label_smoothing, "cross_entropy", "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"cross_entropy expected label_smoothing from 0 to 1, got {label_smoothing!r}")
    target = _target(logits, labels)
    if weight is not None or smoothing > 0:
        target = _rows(logits, target, weight, smoothing)
    return CrossEntropy(target)(logits)


def _target(logits: Tensor, labels: Tensor | Array) -> Array:
    """The labels checked: (N,) int64 or (N, K) of the logits' dtype, on the logits' device.

    A recorded step cannot wait for what is on the GPU: there the Trainer has checked the labels of the data set.
    """
    N, K = logits.shape
    target = labels.data if isinstance(labels, Tensor) else labels
    target = np.asarray(target) if isinstance(target, list | tuple) else target
    if not hasattr(target, "dtype"):
        raise TypeError(f"cross_entropy expected labels as an array, got {type(target).__name__}")
    target = to_device(target, logits.device)
    # Both kinds are copied: the caller may fill the array anew before backward reads it.
    if target.shape == (N, K) and target.dtype.kind in "fiub":
        target = target.astype(logits.dtype)
        if not is_recording():
            _check_probabilities(target)
        return target
    if target.shape != (N,):
        raise ValueError(
            f"cross_entropy expected labels of shape ({N},) or one-hot ({N}, {K}) for logits {logits.shape}, "
            f"got shape {tuple(target.shape)}"
        )
    if target.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy expected labels of whole numbers, got {target.dtype}: use labels.astype(int)")
    low, high = (0, 0) if is_recording() else (int(target.min()), int(target.max()))
    if low < 0 or high >= K:
        raise ValueError(
            f"cross_entropy expected labels from 0 to {K - 1} for {K} classes, got {low if low < 0 else high}"
        )
    xp = array_module(target)
    return xp.array(target, dtype=xp.int64)


def _check_probabilities(target: Array) -> None:
    """Raise ValueError unless every row holds numbers >= 0 that add up to 1, up to the rounding of float16."""
    sums = target.sum(axis=1)
    if not bool((target >= 0).all() & (abs(sums - 1) <= 1e-3).all()):
        raise ValueError(
            "cross_entropy expected every row of (N, K) labels to be probabilities that add up to 1, "
            f"got numbers from {target.min()} on and sums from {sums.min()} to {sums.max()}"
        )


def _rows(logits: Tensor, target: Array, weight: Tensor | Array | None, smoothing: float) -> Array:
    """The targets t of `cross_entropy`, times N / M since the kernels divide by N: (N, K)."""
    N, K = logits.shape
    classes = target if target.ndim == 1 else None
    if classes is not None:
        target = (classes[:, np.newaxis] == array_module(classes).arange(K)).astype(logits.dtype)  # (N,) -> (N, K)
    target = (1 - smoothing) * target + smoothing / K
    if weight is None:
        return target
    weights = _weights(logits, weight)
    if classes is None:
        return weights * target
    total = weights[classes].sum()
    if not is_recording() and not total > 0:
        raise ValueError(
            "cross_entropy expected a weight above 0 for one label of the batch at least, "
            f"got 0 for all {N}: there is nothing to take the mean of"
        )
    return weights * target * (N / total)


def _weights(logits: Tensor, weight: Tensor | Array) -> Array:
    """The weights of the classes checked: (K,) of the logits' dtype, on their device."""
    K = logits.shape[1]
    weights = weight.data if isinstance(weight, Tensor) else weight
    weights = np.asarray(weights) if isinstance(weights, list | tuple) else weights
    if not hasattr(weights, "dtype") or weights.dtype.kind not in "fiu":
        got = getattr(weights, "dtype", type(weights).__name__)
        raise TypeError(f"cross_entropy expected weight to be an array of {K} numbers, got {got}")
    if weights.shape != (K,):
        raise ValueError(f"cross_entropy expected weight ({K},), a number for each class, got shape {weights.shape}")
    if not is_recording():
        if not bool(((weights >= 0) & (weights < np.inf)).all()):
            raise ValueError(
                f"cross_entropy expected weights >= 0 and finite, got numbers from {weights.min()} to {weights.max()}"
            )
    elif device_of(weights) != logits.device:
        raise RuntimeError(
            "cross_entropy got weights that are not on the GPU, and a recorded step cannot fetch them: "
            'give it mc.tensor(weight, device="cuda")'
        )
    return to_device(weights, logits.device).astype(logits.dtype)


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
