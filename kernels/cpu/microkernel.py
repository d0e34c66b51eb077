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

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ._jit import everywhere
from .vectors import BYTES, REGISTER, load, moved, multiply_add, pointers, spread, store, vector_type, whole_number

_TILES = {"zmm": (8, 2), "ymm": (6, 2), "xmm": (6, 2), "v0.4s": (8, 2)}
HEIGHT, VECTORS = _TILES[REGISTER]


@everywhere
def panel_width(itemsize):
    """Columns of a tile, with AVX-512 32 of float32."""
    return VECTORS * BYTES // itemsize


def _tile_product(vectors: int) -> Any:
    """The intrinsic that computes a tile of HEIGHT rows and so many vectors.

    c[c0 + r*c_row + n] = sum over k < K of a[a0 + r*a_row + k*a_step] * panel[p0 + k*p_step + n], for r < HEIGHT and
    n < vectors * vector_length; if `add`, the sum is added to what is there. The three arrays are flat and of one
    dtype. Of a only the first `rows` rows are read: those behind repeat the last one, and c must have room for them.
    """

    @intrinsic
    def multiply(typing, a, a0, a_row, a_step, rows, panel, p0, p_step, K, c, c0, c_row, add):
        whole = types.intp
        out = (c, whole, whole, types.boolean)
        signature = types.void(a, whole, whole, whole, whole, panel, whole, whole, whole, *out)
        return signature, lambda *written: _multiply(vectors, *written)

    return multiply


def _multiply(vectors: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loop over k, and the two ways to leave the sums."""
    a, a0, a_row, a_step, rows, panel, p0, p_step, K, c, c0, c_row, add = pointers(
        context, builder, signature, arguments
    )
    vector = vector_type(context, a)
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(HEIGHT)]
    last = builder.sub(rows, whole_number(1))
    starts = []
    for r in range(HEIGHT):
        row = builder.select(builder.icmp_signed("<", whole_number(r), last), whole_number(r), last)
        starts.append(builder.gep(a, [builder.add(a0, builder.mul(row, a_row))]))
    with cgutils.for_range(builder, K) as loop:
        right = builder.add(p0, builder.mul(loop.index, p_step))
        columns = [load(builder, panel, moved(builder, right, v, vector), vector) for v in range(vectors)]
        position = builder.mul(loop.index, a_step)
        for r in range(HEIGHT):
            number = spread(builder, builder.load(builder.gep(starts[r], [position])), vector)
            for v in range(vectors):
                builder.store(multiply_add(builder, number, columns[v], builder.load(sums[r][v])), sums[r][v])
    with builder.if_else(add) as (adding, storing):
        for branch, adds in ((adding, True), (storing, False)):
            with branch:
                for r in range(HEIGHT):
                    place = builder.add(c0, builder.mul(whole_number(r), c_row))
                    for v in range(vectors):
                        there, total = moved(builder, place, v, vector), builder.load(sums[r][v])
                        if adds:
                            total = builder.fadd(load(builder, c, there, vector), total)
                        store(builder, total, c, there)
    return context.get_dummy_value()


multiply_tile = _tile_product(VECTORS)
multiply_narrow_tile = _tile_product(1)  # half the work, for a panel with no more columns than a vector has
