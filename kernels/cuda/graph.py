"""A CUDA graph: what a function launches on the GPU, recorded once and then repeated without Python.

Python can need longer to launch a kernel of a small network than the GPU to run it, so the GPU waits for Python; a
graph is launched as a whole.

A recorded kernel has the addresses and numbers in it that it was recorded with. So what the function allocates comes
from a pool of memory for graphs alone, and the one number that changes from step to step, of which dropout draws its
mask, is read from the GPU's memory (`_launch.steps`).

All graphs share the pool: what a step needs for a moment, another may need after it. A graph must therefore find
nothing of its own from one replay to the next but what it holds, its result, and what others hold.
"""

import contextlib
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

from . import _launch

Array = Any


_living: weakref.WeakSet[Any] = weakref.WeakSet()


@cache
def _pool_and_stream(cupy: Any) -> tuple[Any, Any]:
    """For all graphs. CuPy's pools keep their free blocks for each stream apart, and a pool that is dropped gives none
    of them back (CuPy 14.1 and 14.2): with its own, each recording would cost the memory of a step for good."""
    pool = cupy.cuda.MemoryPool(_memory)
    pool.set_limit(size=0)  # a limit would free blocks as well
    return pool, cupy.cuda.Stream(non_blocking=True)


class Graph:
    """What function() launches, recorded; nothing is computed before the first `replay`.

    function must launch the same kernels on the same arrays each time, wait for no result, and have run before, so that
    everything is compiled. result: what it returned; each replay computes its arrays anew, in place.

    Raises RuntimeError if the function does what cannot be recorded.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        import cupy

        pool, stream = _pool_and_stream(cupy)
        give_back()
        self._steps, self._known = cupy.zeros((), cupy.uint32), 0  # what the array holds, without asking for it
        self._steps += 1  # compiled now: while a stream records nothing can be
        self._steps[...] = 0
        cupy.cuda.get_current_stream().synchronize()  # what came before must be done: the stream does not wait for it
        cupy.get_default_memory_pool().free_all_blocks()  # what steps have left there, and this pool will need
        with cupy.cuda.using_allocator(pool.malloc), stream:
            # "relaxed": the pool may ask the driver for memory while the stream records.
            stream.begin_capture(cupy.cuda.runtime.streamCaptureModeRelaxed)
            _launch.steps = self._steps
            try:
                self.result = function()
                self._steps += 1
                self._graph = stream.end_capture()
            except BaseException as error:
                with contextlib.suppress(Exception):  # of a recording that is spoilt already
                    stream.end_capture()
                if not isinstance(error, Exception):  # Ctrl-C
                    raise
                raise RuntimeError(f"what a training step does cannot be recorded as a CUDA graph: {error}") from error
            finally:
                _launch.steps = None
        _living.add(self)

    def replay(self, steps: int) -> None:
        """Compute once more what was recorded, on the current stream; steps: how many were made since the recording."""
        if steps != self._known:
            self._steps[...] = steps
        self._graph.launch()
        self._known = steps + 1


def give_back() -> None:
    """Give the memory of recordings back to the driver, if there are none any more: no kernel has its addresses."""
    import cupy

    if not _living:
        _pool_and_stream(cupy)[0].free_all_blocks()


def _memory(size: int) -> Any:
    """Memory of the driver. When there is none left, CuPy's pool frees the blocks that it has back and asks again; but
    their addresses are in kernels that are recorded already. So it gets to see an error that it does not know."""
    import cupy

    try:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise MemoryError(str(error)) from error
