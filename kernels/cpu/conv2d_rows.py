"""Convolution as the lesson has it, a few hundred rows of the column matrix at a time.

    y  = im2col(x) @ w
    dw = im2col(x).T @ dy
    dx = col2im(dy @ w.T)

The whole column matrix never exists: the reference writes it to memory and reads it back, here a thread copies the
rows of a block (`_gather`) into its cache and multiplies them there, and on the way back it adds a block's products to
the image while they are still in the cache (`_scatter`). NHWC has a row of the matrix ready in runs: the channels of a
pixel lie side by side, and without dilation and groups so do the pixels of a row of the kernel.

No two threads write to one number: of y they share out positions or filters, of dw rows, of dx images, rows of images
or channels. Each number is summed in one order, whatever the number of threads.
"""

from typing import Any

import numpy as np
from numba import prange

from ..geometry import Padding, Pair
from ..memory import empty
from . import _jit
from ._jit import compiled, inlined, parallel, separate
from .blocks import DEPTH, ROWS_AT_ONCE, block_rows, multiply, pack, shares
from .fused import CODES, activate_rows
from .microkernel import panel_width
from .tiles import add, clear, copy
from .vectors import vector_length

Array = Any
Shape = tuple[int, ...]


def runs(kernel: Pair, C: int, padding: Padding, dilation: Pair, merge: bool) -> tuple[Array, int]:
    """Where a row of the column matrix lies in the image, from pixel (i*stride, j*stride) on: taps (T, 2) and the
    length of the run that begins at each. `merge`: the pixels of a row of the kernel are one run."""
    KH, KW = kernel
    taps = [
        (kh * dilation[0] - padding[0][0], kw * dilation[1] - padding[1][0])
        for kh in range(KH)
        for kw in range(1 if merge else KW)
    ]
    return np.array(taps, np.int64), KW * C if merge else C


def _side_by_side(w_shape: tuple[int, ...], dilation: Pair, groups: int) -> bool:
    """Whether nothing lies between the pixels that a row of the kernel reads."""
    return groups == 1 and (dilation[1] == 1 or w_shape[1] == 1)


def forward(
    x: Array, w: Array, b: Array, y_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int,
    activation: str | None,
) -> Array:  # fmt: skip
    """y (N, OH, OW, O) from x (N, H, W, C), w (KH, KW, C/groups, O) and b (O,) or (0,)."""
    y = empty(y_shape, x.dtype)
    taps, run = runs(w.shape[:2], w.shape[2], padding, dilation, _side_by_side(w.shape, dilation, groups))
    M, O = y.size // y.shape[3], w.shape[3] // groups
    threads = _jit.threads_for(M * w.size)
    matrix, share = w.reshape(-1, w.shape[3]), shares(M, O, y.itemsize, threads)  # (KH, KW, C, O) -> (KH*KW*C, O)
    _forward(x, matrix, b, y, taps, run, stride, groups, share, CODES[activation], threads)
    return y


@parallel
def _forward(x, w, b, y, taps, run, stride, groups, share, code, threads):
    K, channels, width = w.shape[0], w.shape[1], panel_width(w.itemsize)
    C, O, (bands, blocks) = x.shape[3] // groups, channels // groups, share
    M, size = y.shape[0] * y.shape[1] * y.shape[2], y.shape[1:3]
    P, panels = block_rows(M, bands), (O + width - 1) // width
    image, matrix, out = x.ravel(), w.ravel(), y.ravel()
    for thread in prange(threads):
        rows, panel = np.empty(P * min(K, DEPTH), x.dtype), np.empty(min(K, DEPTH) * width, x.dtype)
        tasks = groups * bands * blocks
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            g, block, first = task // (bands * blocks), task // bands % blocks, task % bands * P
            last = min(M, first + P)
            o0, o1 = panels * block // blocks * width, min(O, panels * (block + 1) // blocks * width)
            for k in range(0, K, DEPTH):
                depth = min(DEPTH, K - k)
                _gather(image, x.shape, g * C, size, first, last, stride, taps, run, k, depth, rows)
                for n in range(o0, o1, width):
                    count, column = min(width, o1 - n), g * O + n
                    pack(matrix, k * channels + column, channels, 1, depth, count, panel, 0)
                    multiply(rows, 0, depth, 1, last - first, panel, 0, width, depth,
                             out, first * channels + column, channels, count, k > 0,
                             b, column if len(b) and k == 0 else -1)  # fmt: skip
            activate_rows(out, first * channels + g * O + o0, channels, last - first, o1 - o0, code)


@separate
def _gather(image, shape, c0, size, first, last, stride, taps, run, k0, depth, rows):
    """rows[p - first, k - k0] = number k of the column matrix's row p, for first <= p < last and k0 <= k < k0 + depth.

    All positions of one row of the output at once, run by run; 0 outside the image (N, H, W, C).
    """
    _, H, W, C = shape
    p = first
    while p < last:
        n, i, j = p // (size[0] * size[1]), p // size[1] % size[0], p % size[1]
        times = min(last - p, size[1] - j)
        k, t, r = k0, k0 // run, k0 % run
        while k < k0 + depth:
            count = min(run - r, k0 + depth - k)
            out, h = (p - first) * depth + k - k0, i * stride[0] + taps[t, 0]
            place = (j * stride[1] + taps[t, 1]) * C + c0 + r
            if 0 <= h < H:
                _copy_runs(rows, out, depth, image, (n * H + h) * W * C, place, stride[1] * C, W * C, count, times)
            else:
                for q in range(times):
                    clear(rows, out + q * depth, count)
            k, t, r = k + count, t + 1, 0
        p += times


@inlined
def _copy_runs(rows, out, o_step, image, line, place, step, length, count, times):
    """Copy runs of `count` numbers from places in a line of the image; 0 before and behind the line."""
    for q in range(times):
        o, i = out + q * o_step, place + q * step
        if i >= 0 and i + count <= length:
            copy(rows, o, image, line + i, count)
        else:
            _copy_part(rows, o, image, line, i, length, count)


@compiled
def _copy_part(rows, o, image, line, i, length, count):
    """A run at the edge. It is rare, and in a function of its own: inside the loop it slows down all others."""
    before = min(count, max(0, -i))
    inside = max(0, min(count, length - i) - before)
    clear(rows, o, before)
    copy(rows, o + before, image, line + i + before, inside)
    clear(rows, o + before + inside, count - before - inside)


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
    merge = blocks == 1 and _side_by_side(w.shape, dilation, groups)
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


@parallel
def _pack_back(w, packed, groups, blocks, depth, threads):
    (T, C, channels), (parts, panels, O, width) = w.shape, packed.shape
    matrix, flat, C = w.ravel(), packed.ravel(), C // blocks
    for thread in prange(threads):
        for job in range(parts * panels * thread // threads, parts * panels * (thread + 1) // threads):
            g, block, k = job // (blocks * panels), job // panels % blocks, job % panels * depth
            # A block of the channels is whole panels, all of one tap; without blocks k counts the rows of w.
            row = k if blocks == 1 else (k // C * blocks + block) * C + k % C
            pack(matrix, row * channels + g * O, 1, channels, O, min(depth, T * C - k), flat, job * O * width)


@parallel
def _input_gradient(dy, packed, dx, taps, run, stride, groups, depth, share, threads):
    N, OH, OW, channels = dy.shape
    H, (bands, blocks), (parts, panels, O, width) = dx.shape[1], share, packed.shape
    C, K, length = dx.shape[3] // parts, len(taps) * run, vector_length(dy.itemsize)
    R = max(1, ROWS_AT_ONCE // OW)  # rows of dy in a block
    highest, lowest = taps[0, 0], taps[len(taps) - 1, 0]  # the rows of the kernel go downwards
    gradient, matrix, image = dy.ravel(), packed.ravel(), dx.ravel()
    for thread in prange(threads):
        products = np.empty(min(R, OH) * OW * width, dy.dtype)
        tasks = N * parts * bands
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            n, part, band = task // (parts * bands), task // bands % parts, task % bands
            h0, h1 = H * band // bands, H * (band + 1) // bands
            _clear_band(image, dx.shape, n, h0, h1, part * C, C)
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
                    _scatter(products, width, OW, image, dx.shape, part * C, cells, stride, taps, run, k, numbers)


@separate
def _clear_band(image, shape, n, h0, h1, c0, C):
    """The channels c0..c0 + C of rows h0..h1 of image n become 0."""
    _, H, W, channels = shape
    for h in range(h0, h1):
        if channels == C:
            clear(image, (n * H + h) * W * C, W * C)
        else:
            for w in range(W):
                clear(image, ((n * H + h) * W + w) * channels + c0, C)


@separate
def _scatter(products, width, OW, image, shape, c0, cells, stride, taps, run, k0, depth):
    """Add number k of row (i, j) of the products to the pixel and channel that `_gather` would read it from.

    For k0 <= k < k0 + depth; cells = (n, i0, i1, h0, h1): i0 <= i < i1, to the rows h0..h1 of image n alone.
    """
    _, H, W, C = shape
    n, i0, i1, h0, h1 = cells
    for i in range(i0, i1):
        k, t, r = k0, k0 // run, k0 % run
        while k < k0 + depth:
            count = min(run - r, k0 + depth - k)
            source, h = (i - i0) * OW * width + k - k0, i * stride[0] + taps[t, 0]
            if h0 <= h < h1:
                line, place, step = (n * H + h) * W * C, taps[t, 1] * C + c0 + r, stride[1] * C
                # Runs that overlap are not added one behind the other: the second would wait for the first's stores.
                rounds = (count + step - 1) // step
                for start in range(rounds):
                    for j in range(start, OW, rounds):
                        w, o = place + j * step, source + j * width
                        if w >= 0 and w + count <= W * C:
                            add(image, line + w, products, o, count)
                        else:
                            _add_part(image, line, w, W * C, products, o, count)
            k, t, r = k + count, t + 1, 0


@compiled
def _add_part(image, line, w, length, products, o, count):
    """A run at the edge; see `_copy_part`."""
    before = min(count, max(0, -w))
    add(image, line + w + before, products, o + before, max(0, min(count, length - w) - before))


def weight_gradient(
    dy: Array, x: Array, w_shape: Shape, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """(KH, KW, C/groups, O): the sum over all positions of row p of the column matrix times dy[p]."""
    KH, KW, C, O = w_shape
    taps, run = runs((KH, KW), C, padding, dilation, _side_by_side(w_shape, dilation, groups))
    M, K = dy.size // O, KH * KW * C
    # Few rows of dw would keep few threads busy: then the positions are cut into parts, whose sums are added up at the
    # end. Into how many depends on the shapes alone, so that the result has the same bits on any number of threads.
    parts = empty((max(1, min(-(-16 // (-(-K // DEPTH) * groups)), M // ROWS_AT_ONCE)), K, O), x.dtype)
    threads = _jit.threads_for(M * K * O // groups)
    spans = -(-K // DEPTH)
    if spans > 1:
        spans = -(-spans // threads) * threads  # as many for each thread
    _weight_gradient(x, dy, parts, taps, run, stride, groups, spans, threads)
    return (parts[0] if len(parts) == 1 else parts.sum(axis=0)).reshape(w_shape)


@parallel
def _weight_gradient(x, dy, parts, taps, run, stride, groups, spans, threads):
    (Q, K, channels), size, width = parts.shape, dy.shape[1:3], panel_width(x.itemsize)
    C, O, M = x.shape[3] // groups, channels // groups, dy.shape[0] * dy.shape[1] * dy.shape[2]
    image, gradient, sums = x.ravel(), dy.ravel(), parts.ravel()
    for thread in prange(threads):
        P, span = min(M, ROWS_AT_ONCE), block_rows(K, spans)
        rows, panel = np.empty(P * span, x.dtype), np.empty(P * width, x.dtype)
        tasks = Q * groups * spans
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            q, g, k = task // (groups * spans), task // spans % groups, task % spans * span
            start, stop, depth = M * q // Q, M * (q + 1) // Q, min(span, K - k)
            for first in range(start, stop if depth > 0 else start, P):
                last = min(stop, first + P)
                _gather(image, x.shape, g * C, size, first, last, stride, taps, run, k, depth, rows)
                for n in range(0, O, width):
                    count, column = min(width, O - n), g * O + n
                    pack(gradient, first * channels + column, channels, 1, last - first, count, panel, 0)
                    place = (q * K + k) * channels + column
                    multiply(rows, 0, 1, depth, depth, panel, 0, width, last - first,
                             sums, place, channels, count, first > start, gradient, -1)  # fmt: skip
