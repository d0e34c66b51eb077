"""Convolution as the lesson has it, a few hundred rows of the column matrix at a time.

    y  = im2col(x) @ w
    dw = im2col(x).T @ dy
    dx = col2im(dy @ w.T)

The whole column matrix never exists: the reference writes it to memory and reads it back, here a thread copies the
rows of a block (`gather`) into its cache and multiplies them there, and on the way back it adds a block's products to
the image while they are still in the cache (`scatter`); both stand in `column_rows`.

No two threads write to one number: of y they share out positions or filters, of dw rows, filters or parts of the sum,
of dx images, rows of images or channels. Each number is summed in one order, whatever the number of threads.
"""

from typing import Any

import numpy as np

from ..geometry import Padding, Pair
from ..memory import empty
from . import _jit
from ._jit import on_threads
from .blocks import DEPTH, ROWS_AT_ONCE, block_rows, multiply, pack, pack_rows, shares
from .column_rows import clear_band, gather, runs, scatter, side_by_side
from .fused import CODES, activate_rows
from .microkernel import panel_width
from .vectors import vector_length

Array = Any
Shape = tuple[int, ...]

PARTS = 16  # of a weight gradient, at most
SMALL = 1 << 16  # numbers that keep all threads busy; a weight gradient of fewer is summed in parts
GRAIN = 1 << 18  # products that are worth a thread: microseconds, as is waking it
PANELS_AT_ONCE = 8  # of dy, in a block of a weight gradient: 240 KB, as much as the rows of the column matrix


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, C/groups, O) and b (O,) or (0,)."""
    y = empty(y_shape, x.dtype)
    taps, run = runs(w.shape[:2], w.shape[2], padding, dilation, side_by_side(w.shape, dilation, groups))
    M, O = y.size // y.shape[3], w.shape[3] // groups
    threads = _jit.threads_for(M * w.size)
    matrix, share = w.reshape(-1, w.shape[3]), shares(M, O, y.itemsize, threads)  # (KH, KW, C, O) -> (KH*KW*C, O)
    _forward(x, matrix, b, y, taps, run, stride, groups, share, CODES[activation], threads)
    return y


@on_threads
def _forward(x, w, b, y, taps, run, stride, groups, share, code, thread, threads):
    K, channels, width = w.shape[0], w.shape[1], panel_width(w.itemsize)
    C, O, (bands, blocks) = x.shape[3] // groups, channels // groups, share
    M, size = y.shape[0] * y.shape[1] * y.shape[2], y.shape[1:3]
    P, panels = block_rows(M, bands), (O + width - 1) // width
    image, matrix, out = x.ravel(), w.ravel(), y.ravel()
    rows, panel = np.empty(P * min(K, DEPTH), x.dtype), np.empty(min(K, DEPTH) * width, x.dtype)
    tasks = groups * bands * blocks
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        g, block, first = task // (bands * blocks), task // bands % blocks, task % bands * P
        last = min(M, first + P)
        o0, o1 = panels * block // blocks * width, min(O, panels * (block + 1) // blocks * width)
        for k in range(0, K, DEPTH):
            depth = min(DEPTH, K - k)
            gather(image, x.shape, g * C, size, first, last, stride, taps, run, k, depth, rows)
            for n in range(o0, o1, width):
                count, column = min(width, o1 - n), g * O + n
                pack(matrix, k * channels + column, channels, 1, depth, count, panel, 0)
                multiply(rows, 0, depth, 1, last - first, panel, 0, width, depth,
                         out, first * channels + column, channels, count, k > 0,
                         b, column if len(b) and k == 0 else -1)  # fmt: skip
        activate_rows(out, first * channels + g * O + o0, channels, last - first, o1 - o0, code)


def input_gradient(
    dy: Array, w: Array, x_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and w (KH, KW, C/groups, O)."""
    dx = empty(x_shape, dy.dtype)
    N, H, _, C = dx.shape
    threads = _jit.threads_for(dy.size // groups * w.size // w.shape[3])
    bands, blocks, C = 1, 1, C // groups
    if N * groups % threads and N * groups < 8 * threads:  # too few images to go round: share each of them
        if C % (threads * panel_width(w.itemsize)) == 0:
            blocks = threads
        else:
            bands = min(threads, H)
    merge = blocks == 1 and side_by_side(w.shape, dilation, groups)
    taps, run = runs(w.shape[:2], C // blocks, padding, dilation, merge)
    # Panels of whole runs, none of which is added in two pieces, where there are no more of them.
    K, width = len(taps) * run, panel_width(w.itemsize)
    depth = width // run * run
    depth = depth if depth and -(-K // depth) == -(-K // width) else width
    packed = _packed_back(
        w.reshape(-1, C, w.shape[3]), groups, blocks, depth, threads
    )  # (KH, KW, C, O) -> (KH*KW, C, O)
    _input_gradient(dy, packed, dx, taps, run, stride, groups, depth, (bands, blocks), threads)
    return dx


def _packed_back(w: Array, groups: int, blocks: int, depth: int, threads: int) -> Array:
    """(groups*blocks, panels, O/groups, width): w.T for each group and each block of its channels, `depth` rows of w
    in a panel."""
    T, C, O = w.shape
    packed = empty((groups * blocks, -(-T * C // (blocks * depth)), O // groups, panel_width(w.itemsize)), w.dtype)
    _pack_back(w, packed, groups, blocks, depth, threads)
    return packed


@on_threads
def _pack_back(w, packed, groups, blocks, depth, thread, threads):
    (T, C, channels), (parts, panels, O, width) = w.shape, packed.shape
    matrix, flat, C = w.ravel(), packed.ravel(), C // blocks
    for job in range(parts * panels * thread // threads, parts * panels * (thread + 1) // threads):
        g, block, k = job // (blocks * panels), job // panels % blocks, job % panels * depth
        # A block of the channels is whole panels, all of one tap; without blocks k counts the rows of w.
        row = k if blocks == 1 else (k // C * blocks + block) * C + k % C
        pack(matrix, row * channels + g * O, 1, channels, O, min(depth, T * C - k), flat, job * O * width)


@on_threads
def _input_gradient(dy, packed, dx, taps, run, stride, groups, depth, share, thread, threads):
    N, OH, OW, channels = dy.shape
    H, (bands, blocks), (parts, panels, O, width) = dx.shape[1], share, packed.shape
    C, K, length = dx.shape[3] // parts, len(taps) * run, vector_length(dy.itemsize)
    R = max(1, ROWS_AT_ONCE // OW)  # rows of dy in a block
    highest, lowest = taps[0, 0], taps[len(taps) - 1, 0]  # the rows of the kernel go downwards
    gradient, matrix, image = dy.ravel(), packed.ravel(), dx.ravel()
    products = np.empty(min(R, OH) * OW * width, dy.dtype)
    tasks = N * parts * bands
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        n, part, band = task // (parts * bands), task // bands % parts, task % bands
        h0, h1 = H * band // bands, H * (band + 1) // bands
        clear_band(image, dx.shape, n, h0, h1, part * C, C)
        # The rows of dy that lead to this band, in blocks that begin at the same rows for every band.
        first = max(0, -((lowest - h0) // stride[0]))
        last = min(OH, (h1 - 1 - highest) // stride[0] + 1)
        for i in range(first // R * R, last, R):
            i0, i1 = max(i, first), min(i + R, last)
            start = (n * OH + i0) * OW * channels + part // blocks * O
            for k in range(0, K, depth):
                # A panel ends in zeros: the tile is stored whole, to room that is there.
                numbers = min(depth, K - k)
                count = width if numbers > length else length
                for o in range(0, O, DEPTH):
                    place = ((part * panels + k // depth) * O + o) * width
                    multiply(gradient, start + o, channels, 1, (i1 - i0) * OW, matrix, place, width,
                             min(DEPTH, O - o),
                             products, 0, width, count, o > 0, gradient, -1)  # fmt: skip
                cells = (n, i0, i1, h0, h1)
                scatter(products, width, OW, image, dx.shape, part * C, cells, stride, taps, run, k, numbers)


def weight_gradient(
    dy: Array, x: Array, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """(KH, KW, C/groups, O): the sum over all positions of row p of the column matrix times dy[p].

    A block is DEPTH rows of dw times the columns of PANELS_AT_ONCE panels. So many numbers of ROWS_AT_ONCE positions
    are copied on both sides, so that all three fit the second-level cache.
    """
    KH, KW, C, O = w_shape
    taps, run = runs((KH, KW), C, padding, dilation, side_by_side(w_shape, dilation, groups))
    M, K = dy.size // O, KH * KW * C
    # A small dw would keep few threads busy: then the positions are cut into parts, whose sums are added up at the
    # end. Into how many depends on the shapes alone, so that the result has the same bits on any number of threads.
    parts = empty((max(1, min(PARTS, SMALL // (K * O), M // ROWS_AT_ONCE)), K, O), x.dtype)
    threads = _jit.threads_for(M * K * O // groups, GRAIN)
    spans, blocks = -(-K // DEPTH), -(-O // (groups * PANELS_AT_ONCE * panel_width(x.itemsize)))
    tasks = len(parts) * groups * spans * blocks
    if tasks % threads and tasks < 8 * threads:
        spans = -(-spans // threads) * threads  # as many for each thread
    _weight_gradient(x, dy, parts, taps, run, stride, groups, (spans, blocks), threads)
    return (parts[0] if len(parts) == 1 else parts.sum(axis=0)).reshape(w_shape)


@on_threads
def _weight_gradient(x, dy, parts, taps, run, stride, groups, share, thread, threads):
    (Q, K, channels), size, (spans, blocks) = parts.shape, dy.shape[1:3], share
    C, O, M = x.shape[3] // groups, channels // groups, dy.shape[0] * dy.shape[1] * dy.shape[2]
    P, span, width = min(M, ROWS_AT_ONCE), block_rows(K, spans), panel_width(x.itemsize)
    columns = ((O + width - 1) // width + blocks - 1) // blocks * width
    image, gradient, sums = x.ravel(), dy.ravel(), parts.ravel()
    rows, panels = np.empty(P * span, x.dtype), np.empty(P * columns, x.dtype)
    tasks = Q * groups * spans * blocks
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        q, g = task // (groups * spans * blocks), task // (spans * blocks) % groups
        k, o = task // blocks % spans * span, task % blocks * columns
        start, stop, depth, filters = M * q // Q, M * (q + 1) // Q, min(span, K - k), min(columns, O - o)
        steps = (stop - start + P - 1) // P if depth > 0 and filters > 0 else 0
        for step in range(steps):
            first, last = start + (stop - start) * step // steps, start + (stop - start) * (step + 1) // steps
            gather(image, x.shape, g * C, size, first, last, stride, taps, run, k, depth, rows)
            pack_rows(gradient, first * channels + g * O + o, channels, last - first, filters, panels)
            for n in range(0, filters, width):
                place = (q * K + k) * channels + g * O + o + n
                multiply(rows, 0, 1, depth, depth, panels, n * (last - first), width, last - first,
                         sums, place, channels, min(width, filters - n), step > 0, gradient, -1)  # fmt: skip
