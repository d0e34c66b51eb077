"""Optimizers' steps along a mean of past gradients: the kernels of update_momentum.cu."""

from collections.abc import Sequence
from typing import Any

from ._launch import THREADS, empty, launch, wide
from ._update import Batch, batches, in_place

Array = Any
Arrays = Sequence[Array]

FILE = "update_momentum"


def sgd_update(
    ws: Arrays, dws: Arrays, velocities: Arrays | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """As the reference; writes ws and velocities."""
    states = [None] * len(ws) if velocities is None else velocities
    in_place(FILE, "sgd_update", (ws, states, dws), float(lr), float(momentum), bool(nesterov), float(weight_decay))


def lion_update(
    ws: Arrays, dws: Arrays, averages: Arrays, lr: float, beta1: float, beta2: float, weight_decay: float
) -> None:
    """As the reference; writes ws and averages."""
    # 1 - beta is taken before beta is rounded to float32: of 1 - 0.9999 little would be left afterwards.
    settings = map(float, (lr, beta1, 1 - beta1, beta2, 1 - beta2, weight_decay))
    in_place(FILE, "lion_update", (ws, averages, dws), *settings)


def lars_update(
    ws: Arrays, dws: Arrays, velocities: Arrays,
    lr: float, momentum: float, weight_decay: float, trust_coefficient: float | None,
) -> None:  # fmt: skip
    """As the reference; writes ws and velocities. The squares are added in the arrays' own precision, in a tree."""
    for batch in batches((ws, velocities, dws)):
        trust = None if trust_coefficient is None else _trust(batch, float(trust_coefficient), float(weight_decay))
        batch.launch(FILE, "lars_update", trust, float(lr), float(momentum), float(weight_decay))


def _trust(batch: Batch, coefficient: float, weight_decay: float) -> Array:
    """By how much LARS multiplies the learning rate of each Parameter of a launch."""
    sums, trust = (empty((n,), wide(batch.dtype)) for n in (2 * batch.blocks, batch.arrays))
    batch.launch(FILE, "lars_sums", sums)
    settings = (batch.cut, sums, coefficient, weight_decay, trust)
    launch(FILE, "lars_trust", batch.dtype, (batch.arrays,), (THREADS,), *settings)
    return trust
