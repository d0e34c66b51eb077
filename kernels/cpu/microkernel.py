"""The inner loop of all products, written as the vector instructions themselves: a tile of the result in registers.

A plain loop `y += a * x` loads two vectors and stores one for a single multiply-add, and a processor core can start
two multiply-adds in the time of two loads: it waits for memory three times as long as it computes. The cure is to use
each loaded vector several times while it is in a register. `multiply_tile` keeps HEIGHT rows and VECTORS vectors of the
result in registers. For each k it loads the vectors of the right matrix, spreads one number of the left matrix after
the other over a vector, and multiplies; none of the sums is read or written before the last k. A tile of 8 rows and 2
vectors comes to 16 multiply-adds for 10 loads, and to 16 sums: a multiply-add takes 4 cycles, two begin in each, so
that 8 sums at least must be under way. There are as many rows as the registers hold, but no more than 8: taller tiles
need an address register for each row, of which x86-64 has 16, and were no faster.

    registers         rows x vectors   sums + right matrix + spread number
    32 of 64 bytes    8 x 2            16 + 2 + 1    AVX-512
    16 of 32 bytes    6 x 2            12 + 2 + 1    AVX2
    16 of 16 bytes    6 x 2            12 + 2 + 1    SSE
    32 of 16 bytes    8 x 2            16 + 2 + 1    NEON

The right matrix comes as a panel, VECTORS vectors of columns whose rows lie one behind the other (`blocks.pack`).
"""

import itertools
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ._jit import everywhere
from .vectors import (
    BYTES,
    REGISTER,
    lanes_below,
    load,
    load_some,
    loop,
    moved,
    multiply_add,
    pointers,
    spread,
    store,
    store_some,
    vector_type,
    whole_number,
)

_TILES = {"zmm": (8, 2), "ymm": (6, 2), "xmm": (6, 2), ".4s": (8, 2)}
HEIGHT, VECTORS = _TILES[REGISTER]
CHANNEL_ROWS = 5  # of `multiply_channels`: 9 taps are two of them, 25 are five


@everywhere
def panel_width(itemsize):
    """Columns of a tile, with AVX-512 32 of float32."""
    return VECTORS * BYTES // itemsize


def _tile_product(vectors: int) -> Any:
    """The intrinsic that computes a tile of at most HEIGHT rows and so many vectors.

    c[c0 + m*c_row + n] = b[b0 + n] + sum over k < K of a[a0 + row(m) + step(k)] * panel[p0 + k*p_step + n]

    for first <= m < first + rows and n < count; without the b where b0 < 0; if `add`, added to what is there. row(m) is
    m*a_row and step(k) is k*a_step, or where these are arrays of places (int64) a_row[m] and a_step[k]. The arrays of
    numbers are flat and of one dtype. The panel's rows are read in whole vectors; beside that nothing is read or
    written that the formula does not name.
    """

    @intrinsic
    def multiply(typing, a, a0, a_row, a_step, first, rows, panel, p0, p_step, K, c, c0, c_row, count, add, b, b0):
        whole = types.intp
        rows_of = [place if isinstance(place, types.Array) else whole for place in (a_row, a_step)]
        given = (a, whole, *rows_of, whole, whole, panel, whole, whole, whole)
        signature = types.void(*given, c, whole, whole, whole, types.boolean, b, whole)
        return signature, lambda *written: _multiply(vectors, *written)

    return multiply


def _multiply(vectors: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loop over k; the sums stand in registers, as LLVM finds out by itself."""
    written = pointers(context, builder, signature, arguments)
    a, a0, a_row, a_step, first, rows, panel, p0, p_step, K, c, c0, c_row, count, add, b, b0 = written
    vector = vector_type(context, a)
    masks = [lanes_below(builder, builder.sub(count, whole_number(v * vector.count)), vector) for v in range(vectors)]
    sums = _first_sums(builder, vector, masks, b, b0)
    last = builder.sub(rows, whole_number(1))
    starts = []
    for r in range(HEIGHT):
        # The rows that a tile at the edge lacks are the last one again: they are computed and not stored.
        row = builder.select(builder.icmp_signed("<", whole_number(r), last), whole_number(r), last)
        starts.append(builder.gep(a, [builder.add(a0, _place(builder, a_row, builder.add(first, row)))]))
    with loop(builder, K) as k:
        right = builder.add(p0, builder.mul(k, p_step))
        columns = [load(builder, panel, moved(builder, right, v, vector), vector) for v in range(vectors)]
        step = _place(builder, a_step, k)
        for r in range(HEIGHT):
            number = spread(builder, builder.load(builder.gep(starts[r], [step])), vector)
            for v in range(vectors):
                builder.store(multiply_add(builder, number, columns[v], builder.load(sums[r][v])), sums[r][v])
    start = builder.add(c0, builder.mul(first, c_row))
    _leave(builder, sums, masks, rows, c, start, c_row, count, add)
    return context.get_dummy_value()


def _first_sums(builder: Any, vector: Any, masks: list[Any], b: Any, b0: Any) -> list[list[Any]]:
    """Variables for the sums, HEIGHT rows of vectors: 0, or b in each row."""
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in masks] for _ in range(HEIGHT)]
    with builder.if_then(builder.icmp_signed(">=", b0, whole_number(0))):
        for v, mask in enumerate(masks):
            start = load_some(builder, b, moved(builder, b0, v, vector), vector, mask)
            for row in sums:
                builder.store(start, row[v])
    return sums


def _leave(builder: Any, sums: Any, masks: Any, rows: Any, c: Any, c0: Any, c_row: Any, count: Any, add: Any) -> None:
    """Store the sums or add them: a whole tile, or a part of it lane by lane as the masks say."""
    vector = sums[0][0].type.pointee
    tall = builder.icmp_signed("==", rows, whole_number(HEIGHT))
    wide = builder.icmp_signed("==", count, whole_number(len(masks) * vector.count))
    with builder.if_else(builder.and_(tall, wide)) as (whole, part):
        for branch, partly in ((whole, False), (part, True)):
            with branch, builder.if_else(add) as (adding, storing):
                for way, adds in ((adding, True), (storing, False)):
                    with way:
                        for r, v in itertools.product(range(HEIGHT), range(len(masks))):
                            there = moved(builder, builder.add(c0, builder.mul(whole_number(r), c_row)), v, vector)
                            total, mask = builder.load(sums[r][v]), masks[v]
                            if partly:
                                exists = spread(builder, builder.icmp_signed("<", whole_number(r), rows), mask.type)
                                mask = builder.and_(mask, exists)
                                if adds:
                                    total = builder.fadd(load_some(builder, c, there, vector, mask), total)
                                store_some(builder, total, c, there, mask)
                            else:
                                if adds:
                                    total = builder.fadd(load(builder, c, there, vector), total)
                                store(builder, total, c, there)


multiply_tile = _tile_product(VECTORS)
multiply_narrow_tile = _tile_product(1)  # half the work, for a panel with no more columns than a vector has


# The product number by number, where every channel has a weight of its own


@intrinsic
def multiply_channels(typing, a, a0, a_row, a_step, first, rows, w, w0, w_step, K, c, c0, c_row, count, add, b, b0):
    """c[c0 + m*c_row + n] = b[b0 + n] + sum over k < K of a[a0 + row(m) + step(k) + n] * w[w0 + w_step(k) + n]

    for first <= m < first + rows, at most CHANNEL_ROWS, and n < count; without the b where b0 < 0; if `add`, the sum
    begins with what is there. row(m), step(k) and w_step(k) are products or places, as with `multiply_tile`. Each
    vector of w serves all rows, whose sums stay in registers until the last k.
    """
    whole = types.intp
    a_row, a_step, w_step = (place if isinstance(place, types.Array) else whole for place in (a_row, a_step, w_step))
    given = (a, whole, a_row, a_step, whole, whole, w, whole, w_step, whole)
    return types.void(*given, c, whole, whole, whole, types.boolean, b, whole), _multiply_channels


def _multiply_channels(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loop over whole vectors of channels, and the last one behind it, lane by lane."""
    written = pointers(context, builder, signature, arguments)
    a, a0, a_row, a_step, first, rows, w, w0, w_step, K, c, c0, c_row, count, add, b, b0 = written
    vector = vector_type(context, a)
    length, last = whole_number(vector.count), builder.sub(rows, whole_number(1))
    starts, ends = [], []
    for r in range(CHANNEL_ROWS):
        # The rows that are not there are the last one again: computed, and stored again.
        row = builder.select(builder.icmp_signed("<", whole_number(r), last), whole_number(r), last)
        starts.append(builder.add(a0, _place(builder, a_row, builder.add(first, row))))
        ends.append(builder.add(c0, builder.mul(builder.add(first, row), c_row)))

    def add_up(n: Any, mask: Any) -> None:
        def read(pointer: Any, start: Any) -> Any:
            place = builder.add(start, n)
            return load_some(builder, pointer, place, vector, mask) if mask else load(builder, pointer, place, vector)

        sums = [cgutils.alloca_once(builder, vector) for _ in starts]
        zero = ir.Constant(vector, [0.0] * vector.count)
        for total in sums:
            builder.store(zero, total)
        for condition, pointer, places in ((builder.icmp_signed(">=", b0, whole_number(0)), b, [b0] * len(ends)),
                                           (add, c, ends)):  # fmt: skip
            with builder.if_then(condition):
                for total, start in zip(sums, places, strict=True):
                    builder.store(read(pointer, start), total)
        with loop(builder, K) as k:
            weight = read(w, builder.add(w0, _place(builder, w_step, k)))
            step = _place(builder, a_step, k)
            for total, start in zip(sums, starts, strict=True):
                number = read(a, builder.add(start, step))
                builder.store(multiply_add(builder, number, weight, builder.load(total)), total)
        for total, end in zip(sums, ends, strict=True):
            if mask:
                store_some(builder, builder.load(total), c, builder.add(end, n), mask)
            else:
                store(builder, builder.load(total), c, builder.add(end, n))

    whole = builder.mul(builder.sdiv(count, length), length)
    with cgutils.for_range_slice(builder, whole_number(0), whole, length, inc=True) as (n, _):
        add_up(n, None)
    with builder.if_then(builder.icmp_signed("<", whole, count)):
        add_up(whole, lanes_below(builder, builder.sub(count, whole), vector))
    return context.get_dummy_value()


def _place(builder: Any, places: Any, number: Any) -> Any:
    """number * places, or where `places` is an array, what stands there."""
    if isinstance(places.type, ir.PointerType):
        return builder.load(builder.gep(places, [number]))
    return builder.mul(number, places)
