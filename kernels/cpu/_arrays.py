"""What every wrapper of this room does to its arguments before compiled code sees them."""

from typing import Any

import numpy as np

Array = Any


def dense(x: Array) -> Array:
    """x as a plain writable array in row-major order: compiled code is made for one layout, not for every one."""
    x = np.ascontiguousarray(x)
    return x if x.flags.writeable else x.copy()


def flat(x: Array) -> Array:
    """x as one dense writable row."""
    x = x.ravel()
    return x if x.flags.writeable else x.copy()
