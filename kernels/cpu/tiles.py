"""Loops over long rows, and how the compiler is led to make fast code of them.

Where `microkernel` writes vector instructions, here plain loops are made so that the compiler finds them. `y += a * x`
loads two vectors and stores one for a single multiply-add, of which a processor core could have done six meanwhile.
The cure is to use each loaded vector several times while it is in a register:

    add_products   4 rows of y += (4 x 4 numbers) times 4 rows of x
                   8 rows loaded, 4 stored, 16 multiply-adds for each position
    dot_products   the 4 x 4 dot products of 4 rows with 4 rows
                   8 rows loaded, 16 multiply-adds for each position, the 16 sums stay in registers

The 16 numbers of `add_products`, and the 16 sums of `dot_products`, are single variables, so the compiler
keeps each in a register; the loop over the positions p has nothing but adds and products, so it becomes
vector code of whatever width the processor has. Rows are long (hundreds of positions): the caller sees to that.

Rows come in fours. A caller with fewer pads: weights with zeros, and rows with a row of zeros, so that no
neighbour's NaN or infinity leaks in.

Arrays are flat and rows are named by where they start. A slice would be an object with a reference count, which
threads that count at the same time fight over; and an unsigned index (`at`) needs no test for a negative one,
which would keep the loop from becoming vector code.
"""

from typing import Any

import numpy as np

from ._jit import compiled, everywhere, inlined

Array = Any
ROWS = 4
VECTOR = 16  # numbers of a 512-bit register in float32


@inlined
def at(i: int) -> np.uint64:
    """An index that is known not to be negative."""
    return np.uint64(i)


@inlined
def share(n, thread, threads):
    """Where a thread's share of n numbers begins, for a loop that treats each of them alone.

    Always at a whole group of 64, as many as four vectors hold. What is left over behind the last vector is other code
    with other last digits: it must be the same few numbers on any number of threads.
    """
    return n if thread == threads else n * thread // threads // 64 * 64


@compiled
def add_products(y, y0, y_step, x, offsets, x0, k, a, o, P):
    """y[y0 + i*y_step + p] += sum over j < 4 of a[k + j, o + i] * x[offsets[k + j] + x0 + p], for i < 4 and p < P."""
    r0, r1, r2, r3 = at(y0), at(y0 + y_step), at(y0 + 2 * y_step), at(y0 + 3 * y_step)
    s0, s1, s2, s3 = at(offsets[k] + x0), at(offsets[k + 1] + x0), at(offsets[k + 2] + x0), at(offsets[k + 3] + x0)
    a00, a01, a02, a03 = a[k, o], a[k, o + 1], a[k, o + 2], a[k, o + 3]
    a10, a11, a12, a13 = a[k + 1, o], a[k + 1, o + 1], a[k + 1, o + 2], a[k + 1, o + 3]
    a20, a21, a22, a23 = a[k + 2, o], a[k + 2, o + 1], a[k + 2, o + 2], a[k + 2, o + 3]
    a30, a31, a32, a33 = a[k + 3, o], a[k + 3, o + 1], a[k + 3, o + 2], a[k + 3, o + 3]
    for i in range(P):
        p = at(i)
        v0, v1, v2, v3 = x[s0 + p], x[s1 + p], x[s2 + p], x[s3 + p]
        y[r0 + p] += a00 * v0 + a10 * v1 + a20 * v2 + a30 * v3
        y[r1 + p] += a01 * v0 + a11 * v1 + a21 * v2 + a31 * v3
        y[r2 + p] += a02 * v0 + a12 * v1 + a22 * v2 + a32 * v3
        y[r3 + p] += a03 * v0 + a13 * v1 + a23 * v2 + a33 * v3


@compiled
def dot_products(s, k, o, x, x_offsets, x0, y, y_offsets, y0, P):
    """s[k + j, o + i] += sum over p < P of x[x_offsets[k + j] + x0 + p] * y[y_offsets[o + i] + y0 + p]; i, j < 4."""
    k0, k1, k2, k3 = (
        at(x_offsets[k] + x0),
        at(x_offsets[k + 1] + x0),
        at(x_offsets[k + 2] + x0),
        at(x_offsets[k + 3] + x0),
    )
    o0, o1, o2, o3 = (
        at(y_offsets[o] + y0),
        at(y_offsets[o + 1] + y0),
        at(y_offsets[o + 2] + y0),
        at(y_offsets[o + 3] + y0),
    )
    zero = s.dtype.type(0)
    s00 = s01 = s02 = s03 = zero
    s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = zero
    s30 = s31 = s32 = s33 = zero
    for i in range(P):
        p = at(i)
        v0, v1, v2, v3 = x[k0 + p], x[k1 + p], x[k2 + p], x[k3 + p]
        g0, g1, g2, g3 = y[o0 + p], y[o1 + p], y[o2 + p], y[o3 + p]
        s00 += v0 * g0
        s01 += v0 * g1
        s02 += v0 * g2
        s03 += v0 * g3
        s10 += v1 * g0
        s11 += v1 * g1
        s12 += v1 * g2
        s13 += v1 * g3
        s20 += v2 * g0
        s21 += v2 * g1
        s22 += v2 * g2
        s23 += v2 * g3
        s30 += v3 * g0
        s31 += v3 * g1
        s32 += v3 * g2
        s33 += v3 * g3
    _add_four(s, k, o, s00, s01, s02, s03)
    _add_four(s, k + 1, o, s10, s11, s12, s13)
    _add_four(s, k + 2, o, s20, s21, s22, s23)
    _add_four(s, k + 3, o, s30, s31, s32, s33)


@inlined
def _add_four(s, k, o, s0, s1, s2, s3):
    s[k, o] += s0
    s[k, o + 1] += s1
    s[k, o + 2] += s2
    s[k, o + 3] += s3


@inlined
def copy(out, i, x, j, n):
    """out[i : i + n] = x[j : j + n] for flat arrays."""
    for q in range(n):
        out[at(i) + at(q)] = x[at(j) + at(q)]


@inlined
def copy_vectors(out, i, x, j, n):
    """out[i : i + n] = x[j : j + n] in steps of VECTOR: as fast for a row of 14 as for one of 16.

    Writes and reads up to VECTOR - 1 numbers more: both arrays are that much longer (`slack`), and the caller
    writes what follows afterwards.
    """
    for v in range(0, n, VECTOR):
        # All of it is read before any of it is written: the compiler need not ask whether the arrays overlap.
        s, t = at(j + v), at(i + v)
        v0, v1, v2, v3, v4, v5, v6, v7 = (
            x[s + at(0)],
            x[s + at(1)],
            x[s + at(2)],
            x[s + at(3)],
            x[s + at(4)],
            x[s + at(5)],
            x[s + at(6)],
            x[s + at(7)],
        )
        v8, v9, v10, v11, v12, v13, v14, v15 = (
            x[s + at(8)],
            x[s + at(9)],
            x[s + at(10)],
            x[s + at(11)],
            x[s + at(12)],
            x[s + at(13)],
            x[s + at(14)],
            x[s + at(15)],
        )
        out[t + at(0)] = v0
        out[t + at(1)] = v1
        out[t + at(2)] = v2
        out[t + at(3)] = v3
        out[t + at(4)] = v4
        out[t + at(5)] = v5
        out[t + at(6)] = v6
        out[t + at(7)] = v7
        out[t + at(8)] = v8
        out[t + at(9)] = v9
        out[t + at(10)] = v10
        out[t + at(11)] = v11
        out[t + at(12)] = v12
        out[t + at(13)] = v13
        out[t + at(14)] = v14
        out[t + at(15)] = v15


@inlined
def add(out, i, x, j, n):
    """out[i : i + n] += x[j : j + n] for flat arrays."""
    for q in range(n):
        out[at(i) + at(q)] += x[at(j) + at(q)]


@inlined
def clear(out, i, n):
    """out[i : i + n] = 0 for a flat array."""
    for q in range(n):
        out[at(i) + at(q)] = 0


@everywhere
def round_up(n):
    """n rounded up to whole groups of four rows."""
    return -(-n // ROWS) * ROWS
