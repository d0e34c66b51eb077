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
import inspect
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.extending import lower_builtin, register_jitable, type_callable

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
    """A serial compiled function, kept on disk between runs.

    It gives Python's lock away: a training step on one thread would else stop the loader's threads, each time until
    Python asks who waits (`sys.getswitchinterval`). Parallel loops give it away anyway.
    """
    return _cached(numba.njit(function, fastmath=_FASTMATH, error_model="numpy", nogil=True))


_pieces: dict[str, Any] = {}  # the compiled functions that others call by address


def separate(function: Any) -> Any:
    """A serial compiled function without a result, which compiled callers call by address, as C does.

    Of a function made by `compiled` Numba copies the code into each caller and optimises it there again, and again in
    the caller of that. This one is compiled once for each signature: right for a long loop that several kernels share,
    wrong for a few instructions, since a call passes every array as seven numbers.
    """
    kernel = compiled(function)
    if not isinstance(kernel, Dispatcher):
        return kernel
    name = f"{function.__module__}.{function.__qualname__}"
    _pieces[name] = kernel

    @functools.wraps(function)
    def call(*arguments: Any) -> None:
        kernel(*arguments)

    @type_callable(call)
    def signature_of(context: Any) -> Any:
        def return_type(*arguments: Any) -> Any:
            return types.void

        return_type.pysig = inspect.signature(function)  # type: ignore[attr-defined]
        return return_type

    @lower_builtin(call, types.VarArg(types.Any))
    def write_call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, convention = signature.args, context.call_conv
        # A kernel that is loaded from disk needs the address as well; Numba has this list since 0.63.
        context.active_code_library._reload_init.add(functools.partial(_publish, name, kinds))
        kind = convention.get_function_type(types.void, kinds)
        callee = cgutils.get_or_insert_function(builder.module, kind, _publish(name, kinds))
        status, result = convention.call_function(builder, callee, types.void, kinds, arguments)
        with cgutils.if_unlikely(builder, status.is_error):  # no memory left
            convention.return_status_propagate(builder, status)
        return result

    return call


def _publish(name: str, kinds: tuple[Any, ...]) -> str:
    """Compile a piece for arguments of these types, and let compiled code find its address under the symbol returned.

    The symbol is ours: the names that Numba gives count functions in the order in which a process met them.
    """
    kernel, symbol = _pieces[name], f"{name}{kinds}"
    kernel.compile(kinds)
    made = kernel.overloads[kinds]
    llvm.add_symbol(symbol, made.library.get_pointer_to_function(made.fndesc.llvm_func_name))
    return symbol


def inlined(function: Any) -> Any:
    """A small function that is compiled into its callers."""
    return numba.njit(function, fastmath=_FASTMATH, error_model="numpy", inline="always")


def everywhere(function: Any) -> Any:
    """A small function that Python calls as it stands, and compiled code too."""
    return register_jitable(function)


_ON_THREADS = """
def {name}({arguments}, threads):
    for thread in prange(threads):
        part({arguments}, int64(thread), threads)
"""


def on_threads(part: Any) -> Any:
    """The kernel `kernel(..., threads)` of which `part(..., thread, threads)` does the share of one thread.

    A single share is no matter for the pool of threads: the caller does it, which begins sooner. It is the same machine
    code either way (`separate`), and gives the same bits.
    """
    *arguments, thread, threads = inspect.signature(part).parameters
    if (thread, threads) != ("thread", "threads"):
        raise TypeError(f"the last arguments of {part.__name__} must be thread and threads")
    text = _ON_THREADS.format(name=part.__name__, arguments=", ".join(arguments))
    # Numba keeps what it compiles by file, line and name.
    place = "\n" * (part.__code__.co_firstlineno - 2) + text
    alone = separate(part)
    scope = {"part": alone, "prange": numba.prange, "int64": np.int64, "__name__": part.__module__}
    exec(compile(place, part.__code__.co_filename, "exec"), scope)
    kernel = _cached(
        numba.njit(scope[part.__name__], parallel={"fusion": False}, fastmath=_FASTMATH, error_model="numpy")  # type: ignore[call-overload]
    )

    @functools.wraps(part)
    def launch(*arguments: Any) -> None:
        if arguments[-1] == 1:
            alone(*arguments[:-1], 0, 1)
        elif _callers_may_overlap():
            kernel(*arguments)
        else:
            with _turn:
                kernel(*arguments)

    return launch


def _renew_turn() -> None:
    """In a child that was forked while a thread of the parent had the turn: that one is not there to give it back."""
    global _turn
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_renew_turn)


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
