"""Winograd's transforms of small tiles, F(2x2, 3x3) and F(4x4, 3x3), many channels at a time in vector registers.

The reference says what they are and where the constants A, B and G come from (reference/winograd.py):

    forward          y  = A.T ((G w G.T) * (B.T d B)) A              * is number by number
    weight gradient  dw = G.T ((B.T d B) * (A dy A.T)) G

Each transform is M d M.T for one small matrix M, written out as additions and products of constants: `sandwich` makes
the intrinsic. Each number of a tile is a vector of channels, which stay apart.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..reference.winograd import A_T, B_T, G, Matrix
from ._jit import inlined
from .vectors import load, multiply_add, pointers, store, vector_type, whole_number


def sandwich(matrix: Matrix) -> Any:
    """The intrinsic that computes M d M.T for each channel, M a constant matrix (rows, columns).

    out[o0 + i*o_row + j*o_column + c] = sum over p, q of M[i, p] * M[j, q] * d[d0 + p*d_row + q*d_column + c], for
    i, j < rows, p, q < columns and c < count, a multiple of vector_length. Flat arrays of one dtype.
    """

    @intrinsic
    def transform(typing, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
        whole = types.intp
        signature = types.void(d, whole, whole, whole, out, whole, whole, whole, whole)
        return signature, lambda *written: _write_sandwich(matrix, *written)

    return transform


def _write_sandwich(matrix: Matrix, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the loop over the channels: M d column by column, then (M d) M.T row by row."""
    d, d0, d_row, d_column, out, o0, o_row, o_column, count = pointers(context, builder, signature, arguments)
    vector, side = vector_type(context, d), range(len(matrix[0]))

    def place(start: Any, i: int, row: Any, j: int, column: Any) -> Any:
        across = builder.add(builder.mul(row, whole_number(i)), builder.mul(column, whole_number(j)))
        return builder.add(start, across)

    with cgutils.for_range_slice(builder, whole_number(0), count, whole_number(vector.count), inc=True) as (c, _):
        first, there = builder.add(d0, c), builder.add(o0, c)
        columns = []
        for q in side:
            numbers = [load(builder, d, place(first, p, d_row, q, d_column), vector) for p in side]
            columns.append([_combination(builder, weights, numbers) for weights in matrix])
        for i in range(len(matrix)):
            row = [column[i] for column in columns]
            for j, weights in enumerate(matrix):
                store(builder, _combination(builder, weights, row), out, place(there, i, o_row, j, o_column))
    return context.get_dummy_value()


def _combination(builder: Any, weights: list[float], numbers: list[Any]) -> Any:
    """The sum of weights times vectors, without the products by 0, 1 and -1."""
    terms = sorted(((w, x) for w, x in zip(weights, numbers, strict=True) if w), key=lambda term: term[0] != 1)
    weight, x = terms[0]
    total = x if weight == 1 else builder.fmul(ir.Constant(x.type, [weight] * x.type.count), x)
    for weight, x in terms[1:]:
        if abs(weight) == 1:
            total = builder.fadd(total, x) if weight == 1 else builder.fsub(total, x)
        else:
            total = multiply_add(builder, ir.Constant(x.type, [weight] * x.type.count), x, total)
    return total


def _of_size(matrices: dict[int, Matrix]) -> Any:
    """The transform by m, 2 or 4, and the arguments of `sandwich`, from their matrices M."""
    two, four = sandwich(matrices[2]), sandwich(matrices[4])

    @inlined
    def transform(m, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
        if m == 2:
            two(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
        else:
            four(d, d0, d_row, d_column, out, o0, o_row, o_column, count)

    return transform


def _back(matrices: dict[int, Matrix]) -> dict[int, Matrix]:
    return {m: [list(column) for column in zip(*matrix, strict=True)] for m, matrix in matrices.items()}


transform_input = _of_size(B_T)  # B.T d B: (m + 2, m + 2) numbers of an image to as many
transform_weight = _of_size(G)  # G w G.T: (3, 3) weights to (m + 2, m + 2)
transform_output = _of_size(A_T)  # A.T p A: (m + 2, m + 2) products to (m, m) numbers of an image
transform_output_back = _of_size(_back(A_T))  # A dy A.T: the (m, m) gradients of a tile to (m + 2, m + 2)
transform_weight_back = _of_size(_back(G))  # G.T q G: (m + 2, m + 2) sums of products to the (3, 3) weights' gradients
