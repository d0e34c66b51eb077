"""Grids of the kernels that walk over images and matrices: how channels, columns and rows are shared among threads.

All of them come from shapes alone, and so do the orders of all sums.
"""

from typing import Any

from ._launch import AT_ONCE, THREADS, launch

Pair = tuple[int, int]

MOST_ROWS = 65_535  # blocks that a grid may have on its second axis
LINE = 32  # columns of a block that adds them up: of float numbers, a whole line of memory
PARTS = 2048  # blocks of such a grid, at most: several for each multiprocessor, of which large GPUs have about 150
LEAST = 8  # rows that a thread adds up, where there are several parts


def pixel_grid(rows: int, columns: int, channels: int) -> tuple[Pair, Pair]:
    """(grid, block) of a kernel of `pixels.cuh`, for an array (rows, columns, channels)."""
    across = min(-(-channels // AT_ONCE), THREADS)
    down = min(THREADS // across, columns)
    return (rows, min(-(-columns // down), MOST_ROWS)), (across, down)


def launch_pixels(file: str, kernel: str, result: Any, *arguments: Any) -> None:
    """Run a kernel of `pixels.cuh` that computes every number of `result` (N, H, W, C)."""
    N, H, W, C = result.shape
    if result.size == 0:
        return
    launch(file, kernel, result.dtype, *pixel_grid(N * H, W, C), *arguments)


def even_width(channels: int, most: int) -> int:
    """Into how wide groups of at most `most` channels all of them are best shared out: 40 are 2 x 20, not 32 + 8."""
    return max(1, -(-channels // max(1, -(-channels // most))))


def column_block(rows: int, columns: int) -> Pair:
    """Threads that add up columns (columns.cuh): a line of them, or more where there are few rows."""
    across = even_width(columns, LINE if rows > THREADS // LINE else THREADS)
    return across, THREADS // across


def column_grid(rows: int, channels: int) -> tuple[Pair, Pair, int]:
    """(grid, block, rows of a part) for a matrix (rows, channels) whose columns are added up in parts.

    The first axis of the grid shares out the channels, the second one the rows; of no rows there is one empty part.
    """
    across, down = column_block(rows, channels)
    groups = -(-channels // across)
    part = max(-(-rows // max(1, PARTS // groups)), LEAST * down)
    return (groups, max(1, -(-rows // part))), (across, down), part


def fold_block(parts: int) -> tuple[int]:
    """Whole warps that add up that many partial sums, about one for each thread."""
    return (min(THREADS, 32 * -(-parts // 32)),)
