"""Loops over long rows, and how the compiler is led to make fast code of them.

Where `microkernel` writes vector instructions, here plain loops are made so that the compiler finds them. `y += a * x`
loads two vectors and stores one for a single multiply-add, of which a processor core could have done six meanwhile.
The cure is to use each loaded vector several times while it is in a register:

    add_products   4 rows of y += (4 x 4 numbers) times 4 rows of x
                   8 rows loaded, 4 stored, 16 multiply-adds for each position

The 16 numbers are single variables, so the compiler keeps each in a register; the loop over the positions p has nothing
but adds and products, so it becomes vector code of whatever width the processor has. Rows are long (hundreds of
positions) and come in fours: the caller sees to that.

Arrays are flat and rows are named by where they start. A slice would be an object with a reference count, which
threads that count at the same time fight over; and an unsigned index (`at`) needs no test for a negative one,
which would keep the loop from becoming vector code.
"""

from typing import Any

import numpy as np

from ._jit import compiled, inlined

Array = Any
ROWS = 4


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


@inlined
def copy(out, i, x, j, n):
    """out[i : i + n] = x[j : j + n] for flat arrays."""
    for q in range(n):
        out[at(i) + at(q)] = x[at(j) + at(q)]


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
