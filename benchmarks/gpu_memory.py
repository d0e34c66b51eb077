"""How much memory of a GPU a library's arrays hold at most, at the same time, while something is computed.

Both libraries keep blocks that nobody uses for later, so what they have taken from the GPU says little. Counted is what
is in use, above what was when the measurement began: weights, gradients, the optimizer's state, what is kept for the
backward pass, scratch. PyTorch counts it itself; CuPy calls a hook for each block that is given out or given back.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any


def peak(library: str, call: Callable[[], Any]) -> int:
    """Bytes of what the "minicnn" or "torch" in call() needs."""
    gc.collect()  # what is no longer needed would be given back in between
    return _of_torch(call) if library == "torch" else _of_cupy(call)


def _of_cupy(call: Callable[[], Any]) -> int:
    import cupy

    class Peak(cupy.cuda.MemoryHook):
        name = "peak"
        used = most = 0

        def malloc_postprocess(self, **block: Any) -> None:
            if block["mem_ptr"]:  # 0: there was no room
                self.used += block["mem_size"]
                self.most = max(self.most, self.used)

        def free_postprocess(self, **block: Any) -> None:
            self.used -= block["mem_size"]

    with Peak() as hook:
        call()
    return int(hook.most)


def _of_torch(call: Callable[[], Any]) -> int:
    import torch

    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return int(torch.cuda.max_memory_allocated() - before)
