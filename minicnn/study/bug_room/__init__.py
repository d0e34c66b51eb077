"""Ten famous bugs, to be put into the engine one at a time and found: see examples/bug_room.py.

from minicnn.study.bug_room import BUGS
with BUGS[0].injected():
    ...

bug.py              what a bug is, and how it gets into the engine and out again
wrong_gradients.py  six that gradcheck finds
wrong_habits.py     four that it cannot see: forward and backward agree, and yet something is wrong
"""

from .bug import Bug, normal
from .wrong_gradients import (
    BATCH_STATISTICS,
    BROADCASTING,
    CROSS_ENTROPY,
    KERNEL_NOT_TURNED,
    OVERLAPPING_WINDOWS,
    STRIDE_REMAINDER,
)
from .wrong_habits import BIASED_VARIANCE, DROPOUT_ALWAYS, GRADIENTS_KEPT, SOFTMAX_OVERFLOW

__all__ = ["BUGS", "Bug", "normal"]

# Mixed, so that a bug's place says nothing about its kind.
BUGS: tuple[Bug, ...] = (
    CROSS_ENTROPY,
    GRADIENTS_KEPT,
    OVERLAPPING_WINDOWS,
    SOFTMAX_OVERFLOW,
    KERNEL_NOT_TURNED,
    BROADCASTING,
    DROPOUT_ALWAYS,
    BATCH_STATISTICS,
    BIASED_VARIANCE,
    STRIDE_REMAINDER,
)
