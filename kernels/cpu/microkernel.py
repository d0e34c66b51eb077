"""The two inner loops that are written as the vector instructions themselves: a tile of a product, and a transpose.

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

`transpose` exchanges rows and columns of a block that fits the registers, 16 x 16 float32 numbers with AVX-512: each of
its stages merges vector i with vector i + 8, number by number, and after 4 = log2(16) stages columns have become rows.

Numba has no vector type, so both are built from LLVM's.
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ._jit import everywhere

# The registers by their names in assembly: bytes in one, rows of a tile, vectors across it.
_TILES = {"zmm": (64, 8, 2), "ymm": (32, 6, 2), "xmm": (16, 6, 2), "v0.4s": (16, 8, 2)}
_PROBE = """
define void @probe(<16 x float>* %a) {
  %x = load <16 x float>, <16 x float>* %a, align 4
  %y = fadd <16 x float> %x, %x
  store <16 x float> %y, <16 x float>* %a, align 4
  ret void
}
"""


def _tile_shape() -> tuple[int, int, int]:
    """The tile that fits the processor which Numba compiles for; seen in what it makes of adding 16 numbers.

    A compiled function on disk fits too: Numba finds it by the processor's name and features, from which this follows.
    """
    assembly = cpu_target.target_context.codegen()._tm.emit_assembly(llvm.parse_assembly(_PROBE))
    return next((shape for register, shape in _TILES.items() if register in assembly), _TILES["xmm"])


BYTES, HEIGHT, VECTORS = _tile_shape()


@everywhere
def vector_length(itemsize):
    """Numbers in a vector, with AVX-512 16 of float32; `transpose` takes a block of so many rows and columns."""
    return BYTES // itemsize


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
    a, a0, a_row, a_step, rows, panel, p0, p_step, K, c, c0, c_row, add = _pointers(
        context, builder, signature, arguments
    )
    vector = _vector(context, a)
    multiply_add = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{vector.count}f{8 * BYTES // vector.count}",
    )
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(HEIGHT)]
    last = builder.sub(rows, _whole(1))
    starts = []
    for r in range(HEIGHT):
        row = builder.select(builder.icmp_signed("<", _whole(r), last), _whole(r), last)
        starts.append(builder.gep(a, [builder.add(a0, builder.mul(row, a_row))]))
    with cgutils.for_range(builder, K) as loop:
        right = builder.add(p0, builder.mul(loop.index, p_step))
        columns = [_load(builder, panel, _moved(builder, right, v, vector), vector) for v in range(vectors)]
        position = builder.mul(loop.index, a_step)
        for r in range(HEIGHT):
            number = _spread(builder, builder.load(builder.gep(starts[r], [position])), vector)
            for v in range(vectors):
                total = builder.call(multiply_add, [number, columns[v], builder.load(sums[r][v])])
                builder.store(total, sums[r][v])
    with builder.if_else(add) as (adding, storing):
        for branch, adds in ((adding, True), (storing, False)):
            with branch:
                for r in range(HEIGHT):
                    place = builder.add(c0, builder.mul(_whole(r), c_row))
                    for v in range(vectors):
                        there, total = _moved(builder, place, v, vector), builder.load(sums[r][v])
                        if adds:
                            total = builder.fadd(_load(builder, c, there, vector), total)
                        _store(builder, total, c, there)
    return context.get_dummy_value()


multiply_tile = _tile_product(VECTORS)
multiply_narrow_tile = _tile_product(1)  # half the work, for a panel with no more columns than a vector has


@intrinsic
def transpose(typing, a, a0, a_row, out, o0, o_row):
    """out[o0 + j*o_row + i] = a[a0 + i*a_row + j] for i, j < vector_length; flat arrays of one dtype."""
    whole = types.intp
    return types.void(a, whole, whole, out, whole, whole), _transpose


def _transpose(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loads, the stages and the stores."""
    a, a0, a_row, out, o0, o_row = _pointers(context, builder, signature, arguments)
    vector = _vector(context, a)
    n = vector.count
    rows = [_load(builder, a, builder.add(a0, builder.mul(_whole(i), a_row)), vector) for i in range(n)]
    pairs = [number for i in range(n) for number in (i, n + i)]  # the i-th of one vector, then the i-th of the other
    low, high = (ir.Constant(ir.VectorType(ir.IntType(32), n), pairs[i : i + n]) for i in (0, n))
    for _ in range(n.bit_length() - 1):
        rows = [builder.shuffle_vector(rows[i], rows[i + n // 2], mask) for i in range(n // 2) for mask in (low, high)]
    for j in range(n):
        _store(builder, rows[j], out, builder.add(o0, builder.mul(_whole(j), o_row)))
    return context.get_dummy_value()


def _pointers(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments, of arrays the address of their first number."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _vector(context: Any, pointer: Any) -> Any:
    """The vector of such numbers that fills a register."""
    return ir.VectorType(pointer.type.pointee, BYTES // context.get_abi_sizeof(pointer.type.pointee))


def _whole(number: int) -> Any:
    return ir.IntType(64)(number)


def _moved(builder: Any, place: Any, vectors: int, vector: Any) -> Any:
    """So many vectors further on."""
    return builder.add(place, _whole(vectors * vector.count))


def _load(builder: Any, pointer: Any, offset: Any, vector: Any) -> Any:
    """A vector from a place that need not be aligned."""
    loaded = builder.load(builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer()))
    loaded.align = 4
    return loaded


def _store(builder: Any, value: Any, pointer: Any, offset: Any) -> None:
    """A vector to a place that need not be aligned."""
    builder.store(value, builder.bitcast(builder.gep(pointer, [offset]), value.type.as_pointer())).align = 4


def _spread(builder: Any, number: Any, vector: Any) -> Any:
    """A vector with one number in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))
