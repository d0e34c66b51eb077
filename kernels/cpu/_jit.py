"""How every function of this room is compiled, and with how many threads it runs.

`fastmath` lets LLVM reorder sums and fuse multiply with add, which is what makes a loop into vector code; it
does not let it assume that there is no NaN or infinity, so those come out as in the reference.
`fusion` is off: Numba may otherwise merge two parallel loops of which one reads what the other writes.

The pool of threads is TBB's where it is installed (on x86-64 Linux it is a dependency). OpenMP's threads wait
actively for each other: when another program takes one of the cores for a moment, all of them stand still; and a
forked child dies in it. Numba's own pool ("workqueue") wakes slowly. Two Python threads may call kernels at once: TBB
and OpenMP allow that; "workqueue" would end the process, so there the second caller waits for the first.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import threading
import warnings
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.extending import register_jitable

_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
_most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
_threads = _most
_turn = threading.Lock()
_overlap: bool | None = None


def _load_tbb() -> None:
    """Load the library of the package `tbb`: Numba asks the system for it, which does not look where pip puts it."""
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == "libtbb.so.12":
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


_load_tbb()

# What stands in the files of this room, and in one of the reference whose constants are compiled in, in one number.
_files = [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parent.parent / "reference" / "winograd.py"]
_sources = hashlib.sha256(b"".join(path.read_bytes() for path in _files))


class _Cache(FunctionCache):
    """Numba's cache on disk, which forgets a function when any file of this room has changed.

    Numba asks only whether the function's own file has: whoever edits `tiles.py` would go on running the old loops
    inside every function of another file that calls them.
    """

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _sources.hexdigest())

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write what was compiled; where there is no room on the disk it still runs in this process."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(f"a compiled kernel could not be kept in {self.cache_path}: {error}", stacklevel=2)


_kept: list[Any] = []  # every compiled function of this room, in the order of its files


def _cached(kernel: Any) -> Any:
    """Keep what a compiled function becomes on disk between runs; with NUMBA_DISABLE_JIT=1 there is nothing to keep.

    The place is the first one that can be written: NUMBA_CACHE_DIR, `__pycache__` beside the file, or the user's cache
    folder. Where none can, every process compiles anew.
    """
    if isinstance(kernel, Dispatcher):
        _kept.append(kernel)
        with contextlib.suppress(RuntimeError):  # "no locator available"
            kernel._cache = _Cache(kernel.py_func)  # type: ignore[attr-defined]
    return kernel


def cache_statistics() -> tuple[int, int, Path | None]:
    """How many functions this process has compiled, how many it has loaded from disk, and from which folder."""
    statistics = [kernel.stats for kernel in _kept]
    made, found = (sum(sum(s[i].values()) for s in statistics) for i in (2, 1))  # (path, hits, misses)
    folder = next((s.cache_path for s in statistics), None)
    return made, found, None if folder is None else Path(folder)


def compiled(function: Any) -> Any:
    """A serial compiled function, kept on disk between runs."""
    return _cached(numba.njit(function, fastmath=_FASTMATH, error_model="numpy"))


def inlined(function: Any) -> Any:
    """A small function that is compiled into its callers."""
    return numba.njit(function, fastmath=_FASTMATH, error_model="numpy", inline="always")


def everywhere(function: Any) -> Any:
    """A small function that Python calls as it stands, and compiled code too."""
    return register_jitable(function)


def parallel(function: Any) -> Any:
    """A compiled function whose `prange` loops run on all threads, kept on disk between runs."""
    kernel = _cached(
        numba.njit(function, parallel={"fusion": False}, fastmath=_FASTMATH, error_model="numpy")  # type: ignore[call-overload]
    )

    @functools.wraps(function)
    def launch(*arguments: Any) -> Any:
        if _callers_may_overlap():
            return kernel(*arguments)
        with _turn:
            return kernel(*arguments)

    return launch


def _callers_may_overlap() -> bool:
    """Whether the pool of threads is known to serve several callers at once; the first launch decides which it is."""
    global _overlap
    if _overlap is None:
        try:
            _overlap = numba.threading_layer() != "workqueue"
        except ValueError:  # nothing was launched yet
            return False
    return _overlap


def set_threads(n: int) -> None:
    """Let the kernels of this room run on n threads, from 1 to NUMBA_NUM_THREADS (the number of cores)."""
    global _threads
    if not 1 <= n <= _most:
        raise ValueError(f"threads expected a number from 1 to {_most} (raise NUMBA_NUM_THREADS for more), got {n}")
    _threads = n


def threads_for(work: int, grain: int = 1 << 15) -> int:
    """How many threads `work` elementary operations are worth, when a thread should get at least `grain` of them.

    Waking a thread costs microseconds: a small array is done sooner by one.
    """
    return max(1, min(_threads, work // grain))
