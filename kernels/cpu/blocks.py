"""Blocks of a matrix product: what stands between a layer's loops and the tile in the registers.

A block is some hundred rows of the left matrix times a panel of the right one, DEPTH numbers deep at most: the panel,
at most 32 KB, stays in the first-level cache while the rows, from the second-level one, pass by it tile by tile. Sums
longer than DEPTH are taken in steps, each added to the last, in an order that depends on the shapes alone.
"""

from ._jit import inlined, separate
from .microkernel import HEIGHT, multiply_narrow_tile, multiply_tile, panel_width
from .tiles import at, clear, copy
from .vectors import transpose, vector_length

DEPTH = 256  # of a panel
ROWS_AT_ONCE = 240  # rows of a block, whole tiles of any height: with DEPTH 240 KB, a quarter of a second-level cache


def shares(M: int, N: int, itemsize: int, threads: int) -> tuple[int, int]:
    """Into how many bands of rows and blocks of columns to cut a result (M, N), so that every thread has work.

    Rows are read again for every block and columns for every band: the longer side is cut.
    """
    panels = -(-N // panel_width(itemsize))
    blocks = min(threads, panels) if M <= N else 1
    bands = -(-M // ROWS_AT_ONCE)
    if bands * blocks % threads:
        bands = -(-bands // threads) * threads
    return max(1, min(bands, M // HEIGHT)), blocks


@inlined
def block_rows(M, bands):
    """How many rows each of so many bands has, whole tiles; the last band has what is left."""
    return ((M + bands - 1) // bands + HEIGHT - 1) // HEIGHT * HEIGHT


@separate
def pack(b, start, k_step, n_step, depth, count, panel, p0):
    """panel[p0 + k*width + n] = b[start + k*k_step + n*n_step] for k < depth, n < count; 0 for n up to panel_width.

    One of the steps is 1; where it is that of k the panel is a transpose.
    """
    width, length = panel_width(b.itemsize), vector_length(b.itemsize)
    whole = 0
    if n_step == 1 and count == width:
        for k in range(depth):
            copy(panel, p0 + k * width, b, start + k * k_step, width)
        return
    if k_step == 1 and count == width:
        whole = depth // length * length
        for k in range(0, whole, length):
            for n in range(0, width, length):
                transpose(b, start + k + n * n_step, n_step, panel, p0 + k * width + n, width)
    for k in range(whole, depth):
        for n in range(count):
            panel[at(p0 + k * width) + at(n)] = b[at(start + k * k_step) + at(n * n_step)]
        clear(panel, p0 + k * width + count, width - count)


@separate
def pack_rows(b, start, row, depth, count, panels):
    """All panels of `count` columns, one behind the other: panel n // width has b[start + k*row + n] in its row k.

    For k < depth and n < count, with 0 up to whole panels. A row is read through before the next one: where b comes
    from memory, the processor sees what will be asked for and fetches it ahead.
    """
    width = panel_width(b.itemsize)
    whole = count // width * width
    for k in range(depth):
        for n in range(0, whole, width):
            copy(panels, n * depth + k * width, b, start + k * row + n, width)
        if whole < count:
            place = whole * depth + k * width
            copy(panels, place, b, start + k * row + whole, count - whole)
            clear(panels, place + count - whole, width - (count - whole))


@separate
def multiply(a, a0, a_row, a_step, M, panel, p0, p_step, K, c, c0, c_row, count, adding, b, b0):
    """c[c0 + m*c_row + n] = b[b0 + n] + sum over k < K of a[a0 + row(m) + step(k)] * panel[p0 + k*p_step + n].

    For m < M and n < count, at most panel_width; without the b where b0 < 0; if `adding`, added to what is there.
    row(m) = m*a_row and step(k) = k*a_step, or where these are arrays a_row[m] and a_step[k].
    """
    narrow = count <= vector_length(c.itemsize)
    for m in range(0, M, HEIGHT):
        rows = min(HEIGHT, M - m)
        if narrow:
            multiply_narrow_tile(
                a, a0, a_row, a_step, m, rows, panel, p0, p_step, K, c, c0, c_row, count, adding, b, b0
            )
        else:
            multiply_tile(a, a0, a_row, a_step, m, rows, panel, p0, p_step, K, c, c0, c_row, count, adding, b, b0)
