"""How every function of this room is compiled, and with how many threads it runs.

`fastmath` lets LLVM reorder sums and fuse multiply with add, which is what makes a loop into vector code; it
does not let it assume that there is no NaN or infinity, so those come out as in the reference.
`fusion` is off: Numba may otherwise merge two parallel loops of which one reads what the other writes.
"""

from typing import Any

import numba

_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
_threads: int = numba.config.NUMBA_NUM_THREADS


def compiled(function: Any) -> Any:
    """A serial compiled function, kept on disk between runs."""
    return numba.njit(function, cache=True, fastmath=_FASTMATH, error_model="numpy")


def inlined(function: Any) -> Any:
    """A small function that is compiled into its callers."""
    return numba.njit(function, fastmath=_FASTMATH, error_model="numpy", inline="always")


def parallel(function: Any) -> Any:
    """A compiled function whose `prange` loops run on all threads, kept on disk between runs."""
    return numba.njit(function, cache=True, fastmath=_FASTMATH, error_model="numpy", parallel={"fusion": False})


def set_threads(n: int) -> None:
    """Let the kernels of this room run on n threads, from 1 to NUMBA_NUM_THREADS (the number of cores)."""
    global _threads
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= n <= most:
        raise ValueError(f"threads expected a number from 1 to {most} (raise NUMBA_NUM_THREADS for more), got {n}")
    _threads = n


def threads_for(work: int, grain: int = 1 << 15) -> int:
    """How many threads `work` elementary operations are worth, when a thread should get at least `grain` of them.

    Waking a thread costs microseconds: a small array is done sooner by one.
    """
    return max(1, min(_threads, work // grain))
