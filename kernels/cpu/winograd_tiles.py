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


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


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


_input_2, _input_4 = sandwich(B_T[2]), sandwich(B_T[4])
_weight_2, _weight_4 = sandwich(G[2]), sandwich(G[4])
_output_2, _output_4 = sandwich(A_T[2]), sandwich(A_T[4])
_output_back_2, _output_back_4 = sandwich(_transposed(A_T[2])), sandwich(_transposed(A_T[4]))
_weight_back_2, _weight_back_4 = sandwich(_transposed(G[2])), sandwich(_transposed(G[4]))

# The arguments behind m are those of `sandwich`.


@inlined
def transform_input(m, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
    """B.T d B: (m + 2, m + 2) numbers of an image to as many."""
    if m == 2:
        _input_2(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
    else:
        _input_4(d, d0, d_row, d_column, out, o0, o_row, o_column, count)


@inlined
def transform_weight(m, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
    """G w G.T: (3, 3) weights to (m + 2, m + 2) numbers."""
    if m == 2:
        _weight_2(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
    else:
        _weight_4(d, d0, d_row, d_column, out, o0, o_row, o_column, count)


@inlined
def transform_output(m, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
    """A.T p A: (m + 2, m + 2) products to the (m, m) numbers of an image."""
    if m == 2:
        _output_2(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
    else:
        _output_4(d, d0, d_row, d_column, out, o0, o_row, o_column, count)


@inlined
def transform_output_back(m, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
    """A dy A.T: the (m, m) gradients of a tile to (m + 2, m + 2) numbers."""
    if m == 2:
        _output_back_2(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
    else:
        _output_back_4(d, d0, d_row, d_column, out, o0, o_row, o_column, count)


@inlined
def transform_weight_back(m, d, d0, d_row, d_column, out, o0, o_row, o_column, count):
    """G.T q G: (m + 2, m + 2) sums of products to the (3, 3) gradients of the weights."""
    if m == 2:
        _weight_back_2(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
    else:
        _weight_back_4(d, d0, d_row, d_column, out, o0, o_row, o_column, count)
