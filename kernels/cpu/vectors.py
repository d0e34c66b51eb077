"""Vector instructions in Numba, which has no vector type: the words that `microkernel` and `winograd_tiles` share.

An intrinsic is a function whose LLVM code is written by hand. Here are the registers of the processor, the pieces that
such code is made of, and one intrinsic that both need, a transpose. Arrays are flat, and a place in one is a count of
numbers from its beginning.
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ._jit import everywhere

_BYTES = {"zmm": 64, "ymm": 32, "xmm": 16, ".4s": 16}  # of a register, by its name in assembly
_PROBE = """
define void @probe(<16 x float>* %a) {
  %x = load <16 x float>, <16 x float>* %a, align 4
  %y = fadd <16 x float> %x, %x
  store <16 x float> %y, <16 x float>* %a, align 4
  ret void
}
"""


def _register() -> str:
    """The vector registers of the processor which Numba compiles for; seen in what it makes of adding 16 numbers.

    A compiled function on disk fits too: Numba finds it by the processor's name and features, from which this follows.
    """
    assembly = cpu_target.target_context.codegen()._tm.emit_assembly(llvm.parse_assembly(_PROBE))
    return next((register for register in _BYTES if register in assembly), "xmm")


_loops = itertools.count()
REGISTER = _register()
BYTES = _BYTES[REGISTER]


@everywhere
def vector_length(itemsize):
    """Numbers in a vector, with AVX-512 16 of float32; `transpose` takes a block of so many rows and columns."""
    return BYTES // itemsize


@everywhere
def whole_vectors(n, itemsize):
    """n numbers rounded up to whole vectors."""
    return -(-n // vector_length(itemsize)) * vector_length(itemsize)


@contextlib.contextmanager
def loop(builder: Any, count: Any) -> Iterator[Any]:
    """The body for each number below `count`, which LLVM must not unroll: it would fetch the operands of two steps
    before it uses those of one, and has no registers for both."""
    before = builder.block
    head, body, behind = (builder.append_basic_block(name) for name in ("loop.head", "loop.body", "loop.behind"))
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(count.type)
    number.add_incoming(count.type(0), before)
    builder.cbranch(builder.icmp_signed("<", number, count), body, behind)
    builder.position_at_end(body)
    yield number
    number.add_incoming(builder.add(number, count.type(1)), builder.block)
    module = builder.module
    wish = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    about = module.add_metadata([wish, whole_number(next(_loops))])
    about.operands = (about, wish)  # LLVM knows a loop by a node that begins with itself
    builder.branch(head).set_metadata("llvm.loop", about)
    builder.position_at_end(behind)


def pointers(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments of an intrinsic, of arrays the address of their first number."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def vector_type(context: Any, pointer: Any) -> Any:
    """The vector of such numbers that fills a register."""
    return ir.VectorType(pointer.type.pointee, BYTES // context.get_abi_sizeof(pointer.type.pointee))


def whole_number(number: int) -> Any:
    """A constant place or count."""
    return ir.IntType(64)(number)


def moved(builder: Any, place: Any, vectors: int, vector: Any) -> Any:
    """So many vectors further on."""
    return builder.add(place, whole_number(vectors * vector.count))


def load(builder: Any, pointer: Any, place: Any, vector: Any) -> Any:
    """A vector from a place that need not be aligned."""
    loaded = builder.load(builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer()))
    loaded.align = 4
    return loaded


def store(builder: Any, value: Any, pointer: Any, place: Any) -> None:
    """A vector to a place that need not be aligned."""
    builder.store(value, builder.bitcast(builder.gep(pointer, [place]), value.type.as_pointer())).align = 4


def load_some(builder: Any, pointer: Any, place: Any, vector: Any, mask: Any) -> Any:
    """The lanes of a vector where the mask has 1, the others 0; nothing else is read."""
    kind = ir.FunctionType(vector, [vector.as_pointer(), ir.IntType(32), mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{_suffix(vector)}")
    address = builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())
    return builder.call(function, [address, ir.IntType(32)(4), mask, ir.Constant(vector, [0.0] * vector.count)])


def store_some(builder: Any, value: Any, pointer: Any, place: Any, mask: Any) -> None:
    """The lanes of a vector where the mask has 1; nothing else is written."""
    vector = value.type
    kind = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), ir.IntType(32), mask.type])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{_suffix(vector)}")
    address = builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())
    builder.call(function, [value, address, ir.IntType(32)(4), mask])


def lanes_below(builder: Any, count: Any, vector: Any) -> Any:
    """A mask with 1 in the first `count` lanes."""
    numbers = ir.VectorType(ir.IntType(64), vector.count)
    lanes = ir.Constant(numbers, list(range(vector.count)))
    return builder.icmp_signed("<", lanes, spread(builder, count, numbers))


def _suffix(vector: Any) -> str:
    """A vector's type in the name of an intrinsic function of LLVM, with that of a pointer to it."""
    kind = f"v{vector.count}f{8 * BYTES // vector.count}"
    return f"{kind}.p0" if llvm.llvm_version_info[0] > 14 else f"{kind}.p0{kind}"


def spread(builder: Any, number: Any, vector: Any) -> Any:
    """A vector with one number in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, in one instruction where the processor has it."""
    vector = x.type
    kind = f"llvm.fmuladd.v{vector.count}f{8 * BYTES // vector.count}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), kind)
    return builder.call(function, [x, y, z])


@intrinsic
def transpose(typing, a, a0, a_row, out, o0, o_row):
    """out[o0 + j*o_row + i] = a[a0 + i*a_row + j] for i, j < vector_length; flat arrays of one dtype.

    The block fits the registers, 16 x 16 float32 numbers with AVX-512: each stage merges vector i with vector i + 8,
    number by number, and after 4 = log2(16) stages columns have become rows.
    """
    whole = types.intp
    return types.void(a, whole, whole, out, whole, whole), _transpose


def _transpose(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loads, the stages and the stores."""
    a, a0, a_row, out, o0, o_row = pointers(context, builder, signature, arguments)
    vector = vector_type(context, a)
    n = vector.count
    rows = [load(builder, a, builder.add(a0, builder.mul(whole_number(i), a_row)), vector) for i in range(n)]
    pairs = [number for i in range(n) for number in (i, n + i)]  # the i-th of one vector, then the i-th of the other
    low, high = (ir.Constant(ir.VectorType(ir.IntType(32), n), pairs[i : i + n]) for i in (0, n))
    for _ in range(n.bit_length() - 1):
        rows = [builder.shuffle_vector(rows[i], rows[i + n // 2], mask) for i in range(n // 2) for mask in (low, high)]
    for j in range(n):
        store(builder, rows[j], out, builder.add(o0, builder.mul(whole_number(j), o_row)))
    return context.get_dummy_value()
