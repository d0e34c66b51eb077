"""Faults of layers, in what they make of the batch and in the gradients that come back.

Where a limit stands, the comment says what healthy networks have, fresh and after a hundred steps on digits:
`benchmarks/measure_health.py` prints it for small ones of every family and for LeNet-5 in all its forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...device import array_module
from ...ops.activation import Softmax
from ..steps import Step
from .examination import Examination, activation_of, root_mean_square
from .findings import Finding

ENOUGH = 8  # samples: of fewer, too many units are 0 by chance
# Of the units of a ReLU layer that are 0 for the whole batch. Healthy: up to 0.43 fresh, 0.74 trained (VGG-11).
DEAD = 0.9
# Of the numbers of a layer where tanh or sigmoid has a twentieth of its largest slope or less. Healthy: up to 0.47, the
# gates of a highway network, which begin nearly closed.
SATURATED = 0.75
# A layer's root mean square beside the first layer's. Healthy: from 0.025 to 32 times as much.
GROWN = 1000.0
# The relative gradient, |dw| / |w|, beside the largest of a later layer (healthy: 5e-4 and more, in SqueezeNet), and
# beside the last layer's (healthy: up to 34, in GoogLeNet).
VANISHED, EXPLODED = 5e-5, 1000.0


def forward_findings(seen: Examination) -> Iterator[Finding]:
    """Faults of results. Of several layers with one fault the first is named: it feeds the others."""
    for step in seen.steps:
        if not bool(array_module(step.output.data).isfinite(step.output.data).all()):
            yield Finding("not finite", step.name, "the result holds a NaN or an infinity: `mc.detect_anomaly()` says "
                          "why.")  # fmt: skip
            return
    yield from _first("dead ReLU", seen, "relu", dead_share, DEAD, lambda share: (
        f"{100 * share:.0f} % of its units are 0 for every sample, and learn no more: a smaller learning rate, He's "
        "initialisation or batch normalisation before it keep them alive."))  # fmt: skip
    for kind in ("tanh", "sigmoid"):
        yield from _first(f"saturated {kind}", seen, kind, saturated_share, SATURATED, lambda share: (
            f"{100 * share:.0f} % of its results are at the ends, where the slope is nearly 0: its inputs are too "
            "large; start with smaller weights, or normalise before it."))  # fmt: skip
    yield from _scale(seen)
    yield from _softmax(seen)


def _first(
    kind: str, seen: Examination, activation: str, share_of: Callable[[Step], float], limit: float,
    sentence: Callable[[float], str],
) -> Iterator[Finding]:  # fmt: skip
    """The first layer with that activation of which a share beyond the limit is ill."""
    if len(seen.x) < ENOUGH:
        return
    steps = [step for step in seen.steps if activation_of(step.operation) == activation]
    ill = [(step, share) for step in steps if (share := share_of(step)) > limit]
    if ill:
        step, share = ill[0]
        yield Finding(kind, step.name, sentence(share), {"share": share, "layers": len(ill)})


def dead_share(step: Step) -> float:
    """The share of units, channels in an image, that are 0 everywhere. Not of cells: a black border keeps many at 0."""
    y = step.output.data
    return float((y.reshape(-1, y.shape[-1]).max(axis=0) <= 0).mean())


def saturated_share(step: Step) -> float:
    y = step.output.data
    slope = 1 - y**2 if activation_of(step.operation) == "tanh" else 4 * y * (1 - y)  # both 1 at most
    return float((slope <= 0.05).mean())


def _scale(seen: Examination) -> Iterator[Finding]:
    sizes = [(step, root_mean_square(step.output.data)) for step in seen.layers]
    if not sizes or sizes[0][1] == 0:
        return
    first, start = sizes[0]
    for step, size in sizes[1:]:
        if size and not 1 / GROWN <= size / start <= GROWN:
            grows = size > start
            yield Finding(
                "activations grow" if grows else "activations shrink", step.name,
                f"its results have a root mean square of {size:.2g}, those of {first.name}, the first layer, one of "
                f"{start:.2g}: the weights are too {'large' if grows else 'small'}, layer by layer. Use He's or "
                "Xavier's initialisation, or batch normalisation.", {"first": start, "here": size},
            )  # fmt: skip
            return


def _softmax(seen: Examination) -> Iterator[Finding]:
    """Rows that are probabilities already. (A log-softmax does no harm: its softmax is itself.)"""
    if not seen.is_cross_entropy:
        return
    rows = seen.outputs
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3) and rows.shape[1] > 1:
        last = seen.steps[-1].name if seen.steps and isinstance(seen.steps[-1].operation, Softmax) else ""
        yield Finding(
            "softmax twice", last, "the outputs are probabilities already, and cross_entropy takes the softmax of what "
            "it gets: gradients get small, and the loss cannot reach 0. Leave the softmax out.",
            {"outputs": rows.shape[1]},
        )  # fmt: skip


def backward_findings(seen: Examination) -> Iterator[Finding]:
    """Faults of gradients."""
    without = [name for name, size in seen.weight_gradients.items() if size is None]
    if without:
        others = f", and so have {len(without) - 1} others" if len(without) > 1 else ""
        yield Finding(
            "no gradient", without[0], f"it has no gradient, for the loss does not depend on it{others}: is its layer "
            "called, is its result used, and not detached or computed in no_grad?", {"parameters": len(without)},
        )  # fmt: skip
        return
    relative = list(relative_gradients(seen))
    for i, (step, size) in enumerate(relative[:-1]):
        behind, largest = max(relative[i + 1 :], key=lambda each: each[1])
        if size < VANISHED * largest:
            yield Finding(
                "vanishing gradients", step.name, f"its gradient is {size:.1e} of its weights, that of {behind.name} "
                f"{largest:.1e}: on the way back the gradient gets lost. Use ReLU for sigmoid, shortcuts or batch "
                "normalisation.", {"here": size, "behind": largest},
            )  # fmt: skip
            return
        if size > EXPLODED * relative[-1][1]:
            yield Finding(
                "exploding gradients", step.name, f"its gradient is {size:.1e} of its weights, that of "
                f"{relative[-1][0].name}, the last layer, {relative[-1][1]:.1e}: on the way back the gradient grows. "
                "Use smaller weights or batch normalisation, and clip the gradients.",
                {"here": size, "last": relative[-1][1]},
            )  # fmt: skip
            return


def relative_gradients(seen: Examination) -> Iterator[tuple[Step, float]]:
    """For each layer the root mean square of its weight's gradient, beside that of the weight.

    Those of 0 are left out: a residual block or a last layer may begin with weights of 0, and what lies before it then
    has no gradient in the first step, and one in the second.
    """
    for step in seen.layers:
        weight = step.inputs[1]
        if weight.grad is not None:
            size, length = root_mean_square(weight.grad), root_mean_square(weight.data)
            if size and length:
                yield step, size / length
