"""Optimizers' steps that divide each gradient by its own usual size: the kernels of update_adaptive.cu.

What a formula takes from 1 is taken before it is rounded to float32: of 1 - 0.9999 little would be left afterwards.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

from ._launch import addresses, launch
from ._update import ARRAYS, in_place

Array = Any
Arrays = Sequence[Array]

FILE = "update_adaptive"


def adagrad_update(ws: Arrays, dws: Arrays, square_sums: Arrays, lr: float, eps: float, weight_decay: float) -> None:
    """As the reference; writes ws and square_sums."""
    in_place(FILE, "adagrad_update", (ws, square_sums, dws), float(lr), float(eps), float(weight_decay))


def rmsprop_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, averages: Arrays | None, velocities: Arrays | None,
    lr: float, alpha: float, eps: float, momentum: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes all but dws."""
    nothing = [None] * len(ws)
    kept = (square_averages, nothing if averages is None else averages, nothing if velocities is None else velocities)
    settings = map(float, (lr, alpha, 1 - alpha, eps, momentum, weight_decay))
    in_place(FILE, "rmsprop_update", (ws, *kept, dws), *settings)


def adadelta_update(
    ws: Arrays, dws: Arrays, square_averages: Arrays, update_averages: Arrays,
    lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """As the reference; writes ws, square_averages and update_averages."""
    settings = map(float, (lr, rho, 1 - rho, eps, weight_decay))
    in_place(FILE, "adadelta_update", (ws, square_averages, update_averages, dws), *settings)


def adam_update(
    ws: Arrays, dws: Arrays, averages: Arrays, square_averages: Arrays, steps: Arrays,
    lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """As the reference; writes all but dws. The counts stay on the GPU: a recorded step counts when it is repeated."""
    _count(steps)
    decay, added = (lr * weight_decay, 0.0) if decoupled else (0.0, weight_decay)
    first, second = ((beta, 1 - beta, math.log(max(beta, sys.float_info.min))) for beta in (beta1, beta2))
    settings = map(float, (lr, *first, *second, eps, decay, added))
    in_place(FILE, "adam_update", (ws, averages, square_averages, steps, dws), *settings)


def _count(steps: Arrays) -> None:
    """Add 1 to every count."""
    for dtype in dict.fromkeys(step.dtype for step in steps):
        alike = [step for step in steps if step.dtype == dtype]
        for i in range(0, len(alike), ARRAYS):
            some = alike[i : i + ARRAYS]
            launch(FILE, "count_step", dtype, (1,), (ARRAYS,), len(some), addresses(some, ARRAYS))
