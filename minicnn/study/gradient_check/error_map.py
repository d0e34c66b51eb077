"""Where a gradient is wrong, in characters: what a student sees at one glance."""

from __future__ import annotations

import numpy as np

from .differences import Array

WIDEST, TALLEST = 56, 20  # characters of a picture; longer axes are drawn in blocks
LEGEND = ". right  - up to 1 %  + up to 10 %  # more, of the largest error"


def error_map(error: Array, wrong: Array) -> str:
    """Lines of at most 76 columns: for each axis where along it the error is, and a picture of two of the axes.

    error: what came less what was expected. wrong: where that is more than allowed; both of one shape.
    Each character stands for the largest error over what it does not show. The picture has the two axes along which
    right and wrong differ most; among equals rows and columns of (N, H, W, C).
    """
    if error.ndim == 0:
        return ""
    marks = _marks(error, wrong)
    lines = [f"  error ({LEGEND})"]
    axes = [a for a, n in enumerate(error.shape) if n > 1] or [0]
    if len(axes) > 1:
        lines += [f"    axis {a} {_note(error.shape[a])} {_line(_largest(marks, (a,)))}" for a in axes]
        axes = sorted(_most_telling(wrong, axes))
        lines.append(f"  axis {axes[0]} from top to bottom, axis {axes[1]} from left to right")
    picture = _largest(marks, tuple(axes))
    return "\n".join([*lines, *(f"    {row}" for row in _picture(np.atleast_2d(picture)))])


def _marks(error: Array, wrong: Array) -> Array:
    """0 right, 1, 2, 3 for wrong by up to 1 %, up to 10 %, more of the largest error; NaN counts as the largest."""
    size = np.where(wrong, np.nan_to_num(np.abs(error), nan=np.inf), 0)
    finite = size[np.isfinite(size)].max(initial=0)
    levels = 1 + (size > 0.01 * finite).astype(np.int64) + (size > 0.1 * finite)
    return np.where(wrong, levels, 0)


def _largest(marks: Array, axes: tuple[int, ...]) -> Array:
    """The largest mark over all other axes."""
    result: Array = marks.max(axis=tuple(a for a in range(marks.ndim) if a not in axes))
    return result


def _most_telling(wrong: Array, axes: list[int]) -> list[int]:
    """The two axes along which the share of wrong elements changes most."""

    def change(axis: int) -> float:
        shares = np.moveaxis(wrong, axis, 0).reshape(wrong.shape[axis], -1).mean(axis=1)
        return round(float(np.ptp(shares)), 1)

    preferred = [1, 2, 0, 3] if wrong.ndim == 4 else list(range(wrong.ndim))
    return sorted(axes, key=lambda a: (-change(a), preferred.index(a)))[:2]


def _note(n: int) -> str:
    return f"({n})".ljust(6)


def _line(marks: Array) -> str:
    return "".join(_picture(marks[None])[0])


def _picture(marks: Array) -> list[str]:
    """A matrix of marks as lines of characters, in blocks where it is larger than the page."""
    for axis, most in ((0, TALLEST), (1, WIDEST)):
        block = -(-marks.shape[axis] // most)
        starts = np.arange(0, marks.shape[axis], block)
        marks = np.maximum.reduceat(marks, starts, axis=axis)
    return ["".join(".-+#"[mark] for mark in row) for row in marks]
