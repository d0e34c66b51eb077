"""A tile of a matrix product whose sums never leave the registers, written as the vector instructions themselves.

`tiles` leaves it to the compiler to make vector code of a long row. Where rows are short, as in the linear layers of
LeNet, starting a row costs as much as the row. Here a tile of 8 rows and 2 vectors of the result is 16 sums in 16
registers; for each k two vectors of the right matrix are loaded, and each of the 8 numbers of the left one is spread
over a vector and multiplied with both: 16 multiply-adds for 2 vectors and 8 numbers loaded, whatever the shape.

The right matrix must come as a panel: 2 vectors of columns, one k after the other, zeros where it has fewer columns.
Numba has no vector type, so the tile is built from LLVM's; a vector is 64 bytes, which LLVM cuts into halves or
quarters where the processor's registers are smaller.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ._jit import compiled, inlined
from .tiles import at

HEIGHT = 8  # rows of a tile
VECTORS = 2  # vectors across it
BYTES = 64  # in a vector


@inlined
def panel_width(itemsize):
    """Columns of a tile: 32 of float32, 16 of float64."""
    return VECTORS * BYTES // itemsize


@compiled
def pack_panel(b, start, steps, depth, count, panel, width):
    """panel[k, n] = b[start + k*steps[0] + n*steps[1]] for k < depth and n < count, and 0 for n up to `width`."""
    for k in range(depth):
        for n in range(count):
            panel[at(k * width) + at(n)] = b[at(start + k * steps[0]) + at(n * steps[1])]
        for n in range(count, width):
            panel[at(k * width) + at(n)] = 0


@intrinsic
def multiply_tile(typing, a, rows, a0, step, panel, K, tile):
    """tile[r, n] = sum over k < K of a[a0 + rows[r] + k*step] * panel[k, n], for r < HEIGHT and n < panel_width.

    a, panel and tile are flat arrays of one dtype, rows an array of HEIGHT whole numbers.
    """
    signature = types.void(a, rows, types.intp, types.intp, panel, types.intp, tile)
    return signature, _multiply_tile


def _multiply_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loop over k."""
    arrays = [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]
    a, rows, a0, step, panel, K, tile = arrays
    element = a.type.pointee
    lanes = BYTES // context.get_abi_sizeof(element)
    vector = ir.VectorType(element, lanes)
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{8 * BYTES // lanes}"
    )
    zero = ir.Constant(vector, [0.0] * lanes)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS)] for _ in range(HEIGHT)]
    starts = [
        builder.gep(a, [builder.add(a0, builder.load(builder.gep(rows, [ir.IntType(64)(r)])))]) for r in range(HEIGHT)
    ]
    with cgutils.for_range(builder, K) as loop:
        right = builder.gep(panel, [builder.mul(loop.index, ir.IntType(64)(VECTORS * lanes))])
        columns = [_load(builder, right, v * lanes, vector) for v in range(VECTORS)]
        position = builder.mul(loop.index, step)
        for r in range(HEIGHT):
            number = _spread(builder, builder.load(builder.gep(starts[r], [position])), vector)
            for v in range(VECTORS):
                total = builder.call(multiply_add, [number, columns[v], builder.load(sums[r][v])])
                builder.store(total, sums[r][v])
    for r in range(HEIGHT):
        for v in range(VECTORS):
            place = builder.gep(tile, [ir.IntType(64)((r * VECTORS + v) * lanes)])
            builder.store(builder.load(sums[r][v]), builder.bitcast(place, vector.as_pointer())).align = 4
    return context.get_dummy_value()


def _load(builder: Any, pointer: Any, offset: int, vector: Any) -> Any:
    """A vector from a place that need not be aligned."""
    place = builder.gep(pointer, [ir.IntType(64)(offset)])
    loaded = builder.load(builder.bitcast(place, vector.as_pointer()))
    loaded.align = 4
    return loaded


def _spread(builder: Any, number: Any, vector: Any) -> Any:
    """A vector with one number in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))
