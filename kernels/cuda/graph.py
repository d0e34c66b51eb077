"""A CUDA graph: what a function launches on the GPU, recorded once and then repeated without Python.

Python can need longer to launch a kernel of a small network than the GPU to run it, so the GPU waits for Python; a
graph is launched as a whole.

A recorded kernel has the addresses and numbers in it that it was recorded with. So what the function allocates comes
from a pool of memory of its own, which nobody else can get a block of while the graph lives; and the one number that
changes from step to step, of which dropout draws its mask, is read from the GPU's memory (`_launch.steps`).
"""

import contextlib
from collections.abc import Callable
from typing import Any

from . import _launch

Array = Any


class Graph:
    """What function() launches, recorded; nothing is computed before the first `replay`.

    function must launch the same kernels on the same arrays each time, wait for no result, and have run before, so that
    everything is compiled. result: what it returned; each replay computes its arrays anew, in place.

    Raises RuntimeError if the function does what cannot be recorded.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        import cupy

        self._pool = cupy.cuda.MemoryPool(_memory)
        self._pool.set_limit(size=0)  # a limit would free blocks as well
        self._steps, self._known = cupy.zeros((), cupy.uint32), 0  # what the array holds, without asking for it
        self._steps += 1  # compiled now: while a stream records nothing can be
        self._steps[...] = 0
        stream = cupy.cuda.Stream(non_blocking=True)
        cupy.cuda.get_current_stream().synchronize()  # what came before must be done: the stream does not wait for it
        cupy.get_default_memory_pool().free_all_blocks()  # what steps have left there, and this pool will need
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            # "relaxed": the pool may ask the driver for memory while the stream records.
            stream.begin_capture(cupy.cuda.runtime.streamCaptureModeRelaxed)
            _launch.steps = self._steps
            try:
                self.result = function()
                self._steps += 1
                self._graph = stream.end_capture()
            except Exception as error:
                with contextlib.suppress(Exception):  # of a recording that is spoilt already
                    stream.end_capture()
                raise RuntimeError(f"what a training step does cannot be recorded as a CUDA graph: {error}") from error
            finally:
                _launch.steps = None

    def replay(self, steps: int) -> None:
        """Compute once more what was recorded, on the current stream; steps: how many were made since the recording."""
        if steps != self._known:
            self._steps[...] = steps
        self._graph.launch()
        self._known = steps + 1


def _memory(size: int) -> Any:
    """Memory of the driver. When there is none left, CuPy's pool frees the blocks that it has back and asks again; but
    their addresses are in kernels that are recorded already. So it gets to see an error that it does not know."""
    import cupy

    try:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise MemoryError(str(error)) from error
