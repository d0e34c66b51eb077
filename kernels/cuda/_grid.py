"""Grids of the kernels that walk over images: how channels, columns and rows are shared among threads.

All of them come from shapes alone, and so do the orders of all sums.
"""

from ._launch import AT_ONCE, THREADS

Pair = tuple[int, int]

MOST_ROWS = 65_535  # blocks that a grid may have on its second axis


def pixel_grid(rows: int, columns: int, channels: int) -> tuple[Pair, Pair]:
    """(grid, block) of a kernel of `pixels.cuh`, for an array (rows, columns, channels)."""
    across = min(-(-channels // AT_ONCE), THREADS)
    down = min(THREADS // across, columns)
    return (rows, min(-(-columns // down), MOST_ROWS)), (across, down)


def even_width(channels: int, most: int) -> int:
    """Into how wide groups of at most `most` channels all of them are best shared out: 40 are 2 x 20, not 32 + 8."""
    return -(-channels // -(-channels // most))
