"""How far a float32 result is from the exact one, in units in the last place (ULPs).

Exact is what the reference room makes of the very same numbers in float64. One unit is the step from a float32 number
to the next one, `np.spacing`; a result that is rounded once is off by half a unit at most. Two distances are taken:

plain       in units of the exact number itself. Where a sum cancels it says little: of 1000 - 999.9999 nothing but
            rounding errors may be left, millions of units of the small difference, by no fault of the kernel.
of terms    in units of the sum of the absolute values of the terms that the definition adds up for that number (for a
            convolution the sum of |x * w|). This is what a rounding error is made of: n products added one after the
            other are off by about n such units at most and mostly by far fewer, one lost term by thousands and more.

Terms are those of the formulas in the reference room's docstrings. A number that is not a sum is its own only term,
and a difference of two arguments too: both are exact, and it is rounded once.

Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002, sections 3.1 (products) and 4.2 (sums).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from conv_cases import Case, each

from minicnn.kernels import reference

Array = Any


@dataclass(frozen=True)
class Agreement:
    """Median and largest distance over all numbers of all results: (of the terms, plain)."""

    median: tuple[float, float]
    largest: tuple[float, float]


def distance(result: Array, exact: Array, scale: Array) -> Array:
    """|result - exact| in units in the last place of the float32 numbers nearest to `scale`."""
    return np.abs(result - exact) / np.spacing(np.abs(scale).astype(np.float32))


def agreement(results: Sequence[Array], exact: Sequence[Array], terms: Sequence[Array]) -> Agreement:
    """Of floating-point results; there may be fewer than exact ones, where a library does not return all."""
    parts = [
        (distance(result, e, scale), distance(result, e, e))
        for result, e, scale in zip(results, exact, terms, strict=False)
        if e.dtype.kind == "f"
    ]
    both = [np.concatenate([part[i].ravel() for part in parts] or [np.zeros(1)]) for i in range(2)]
    return Agreement(
        (float(np.median(both[0])), float(np.median(both[1]))), (float(both[0].max()), float(both[1].max()))
    )


def exact_results(case: Case, arguments: tuple[Any, ...]) -> tuple[Array, ...]:
    """What the reference makes of the same arguments in float64: results, or the arrays that it writes into."""
    return _called(case, _changed(arguments, lambda a: a.astype(np.float64)))


def sums_of_terms(case: Case, arguments: tuple[Any, ...], exact: tuple[Array, ...]) -> tuple[Array, ...]:
    """For each exact number the sum of the absolute values of its terms, float64."""
    wide = _changed(arguments, lambda a: a.astype(np.float64))
    if case.kernel in _OWN_TERMS:
        return _OWN_TERMS[case.kernel](*wide)
    if not any(case.kernel.startswith(name) for name in _LINEAR):
        return tuple(map(np.abs, exact))
    # A sum of products over absolute values; with lr turned around nothing is subtracted in a step either.
    turned = (-a if case.updates and i == _LR[case.kernel] else a for i, a in enumerate(wide))
    sums = _called(case, _changed(tuple(turned), lambda a: np.asarray(np.abs(a))))
    return tuple(map(np.abs, sums))  # a velocity that has lr in it was turned around too


_LINEAR = ("conv2d", "linear", "bias", "im2col", "col2im", "sum_pool2d", "avg_pool2d", "adaptive_avg_pool2d")
_LR = {  # the argument that is the learning rate
    "sgd_update": 3,
    "lion_update": 3,
    "lars_update": 3,
    "adagrad_update": 3,
    "rmsprop_update": 5,
    "adadelta_update": 4,
    "adam_update": 5,
}
_LINEAR += ("max_pool2d_backward", *_LR)


def _changed(arguments: tuple[Any, ...], change: Callable[[Array], Array]) -> tuple[Any, ...]:
    """The arguments with all floating-point arrays changed, also those in lists; classes and indices stay."""
    return tuple(each(a, lambda array: change(array) if array.dtype.kind == "f" else array) for a in arguments)


def _called(case: Case, arguments: tuple[Any, ...]) -> tuple[Array, ...]:
    results = getattr(reference, case.kernel)(*arguments)
    results = case.written(arguments) or results
    return results if isinstance(results, tuple) else (results,)


# Sums whose terms are no products of arguments alone. Letters as in the reference room.


def _batch_norm_forward(x: Array, gamma: Array, beta: Array, eps: float, *_: Any) -> tuple[Array, ...]:
    axes = tuple(range(x.ndim - 1))
    y = _batch_norm_inference_forward(x, gamma, beta, x.mean(axes), x.var(axes), eps)
    return *y, *_batch_norm_statistics(x)


def _batch_norm_statistics(x: Array) -> tuple[Array, ...]:
    axes = tuple(range(x.ndim - 1))
    return np.abs(x).mean(axes), x.var(axes)


def _batch_norm_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, *_: Any
) -> tuple[Array, ...]:
    return (np.abs(gamma) * (np.abs(x) + np.abs(mean)) / np.sqrt(var + eps) + np.abs(beta),)


def _batch_norm_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, *_: Any
) -> tuple[Array, ...]:
    m = x.size // x.shape[-1]
    x_hat = np.abs(x - mean) / np.sqrt(var + eps)
    dx, dgamma, dbeta = _batch_norm_inference_backward(dy, x, gamma, beta, mean, var, eps)
    return dx + np.abs(gamma) / np.sqrt(var + eps) * (dbeta / m + x_hat * dgamma / m), dgamma, dbeta


def _batch_norm_inference_backward(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, *_: Any
) -> tuple[Array, ...]:
    axes = tuple(range(x.ndim - 1))
    x_hat = np.abs(x - mean) / np.sqrt(var + eps)
    dx = np.abs(gamma) / np.sqrt(var + eps) * np.abs(dy)
    return dx, (np.abs(dy) * x_hat).sum(axes), np.abs(dy).sum(axes)


def _local_response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float, beta: float, k: float
) -> tuple[Array, ...]:
    s = k + alpha / size * _channels(x * x, size // 2, (size - 1) // 2)
    damped = _channels(np.abs(dy * x) * s ** (-beta - 1), (size - 1) // 2, size // 2)
    return (np.abs(dy) * s**-beta + 2 * alpha * beta / size * np.abs(x) * damped,)


def _channels(a: Array, before: int, after: int) -> Array:
    """For each channel the sum over those from c - before to c + after."""
    padded = np.pad(a, [(0, 0)] * (a.ndim - 1) + [(before, after)])
    return np.lib.stride_tricks.sliding_window_view(padded, before + after + 1, axis=-1).sum(-1)


def _log_softmax_forward(x: Array) -> tuple[Array, ...]:
    shifted = x - x.max(-1, keepdims=True)
    return (np.abs(shifted) + np.log(np.exp(shifted).sum(-1, keepdims=True)),)


def _cross_entropy_forward(logits: Array, target: Array) -> tuple[Array, ...]:
    (costs,) = _log_softmax_forward(logits)
    return np.asarray(costs[np.arange(len(target)), target].mean()), reference.softmax_forward(logits)


_OWN_TERMS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "batch_norm_forward": _batch_norm_forward,
    "batch_norm_statistics": _batch_norm_statistics,
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_inference_forward": _batch_norm_inference_forward,
    "batch_norm_inference_backward": _batch_norm_inference_backward,
    "local_response_norm_backward": _local_response_norm_backward,
    "log_softmax_forward": _log_softmax_forward,
    "log_softmax_backward": lambda dy, y: (np.abs(dy) + np.exp(y) * np.abs(dy).sum(-1, keepdims=True),),
    "softmax_backward": lambda dy, y: (y * (np.abs(dy) + np.abs(dy * y).sum(-1, keepdims=True)),),
    "tanh_backward": lambda dy, y: (np.abs(dy) * (1 + y * y),),
    "cross_entropy_forward": _cross_entropy_forward,
    "warp": lambda x, *rest: (reference.warp(np.abs(x), *rest),),
}
