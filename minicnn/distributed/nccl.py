"""Ranks on GPUs: NCCL through CuPy; MPI starts it and carries small values."""

from __future__ import annotations

import os
import socket
import traceback
from typing import Any, NoReturn

from ..device import is_recording
from .communicator import Array, Communicator, Request, described
from .failures import ended_after
from .leaving import Call
from .mpi import MpiCommunicator

MAX_BYTES = 2**31 - 1  # older versions of CuPy pass a count as C's int


class NcclCommunicator(Communicator):
    """The ranks of `ranks`, each with a GPU of its own: arrays travel from GPU to GPU, values by MPI.

    ranks: the same ranks on CPUs. local_rank: which of its machine's ranks this is; it takes that GPU, counted round
    where a rank sees fewer, as Slurm may show each rank only its own.

    Calls are put in a stream of their own, behind what the current stream has been given so far: so a sum overlaps
    with kernels that come later. A request that is done has changed its array; what reads it may be started then. Sums
    are made once, piece by piece round a ring, and passed on, so all ranks have the same bits.
    Sums that are `apart` have a group and a stream of their own, or one could wait for ever behind another.

    Two ranks that send to each other use `exchange`: NCCL would wait for ever for two sends that are queued before the
    receives.

    Raises RuntimeError where CuPy has no NCCL, or two ranks share a GPU.
    """

    def __init__(self, ranks: MpiCommunicator, local_rank: int) -> None:
        import cupy

        self._cupy, self._nccl = cupy, _nccl()
        self._ranks = ranks
        self.rank, self.size, self.timeout = ranks.rank, ranks.size, ranks.timeout
        cupy.cuda.Device(local_rank % cupy.cuda.runtime.getDeviceCount()).use()
        self._check_own_gpus()
        # From 2.22 on NCCL connects the ranks of a sum only in the first one, which then waits inside NCCL without a
        # limit; 0 connects them as the group is started, which has one.
        os.environ.setdefault("NCCL_RUNTIME_CONNECT", "0")
        self._groups = [self._started_group(), self._started_group()]  # by `apart`
        self._streams = [cupy.cuda.Stream(non_blocking=True) for _ in self._groups]
        self._group, self._stream = self._groups[False], self._streams[False]

    def start_all_reduce(self, array: Array, apart: bool = False) -> Request:
        self._check(array)
        self._check_sum(array)
        kind, place = getattr(self._nccl, f"NCCL_{array.dtype.name.upper()}"), array.data.ptr
        self._await_current_work(apart)
        self._groups[apart].allReduce(place, place, array.size, kind, self._nccl.NCCL_SUM, self._streams[apart].ptr)
        what = f"a sum of {described(array)} over {self.size} ranks"
        return self._request(array, what, *self._ranks.all_ranks(apart), apart)

    def start_broadcast(self, array: Array, root: int = 0) -> Request:
        self._check_rank("start_broadcast", root)
        self._check(array)
        self._await_current_work()
        self._group.bcast(array.data.ptr, array.nbytes, self._nccl.NCCL_UINT8, root, self._stream.ptr)
        return self._request(array, f"a broadcast of {described(array)} from rank {root}", *self._ranks.all_ranks())

    def start_send(self, array: Array, to: int) -> Request:
        self._check_rank("start_send", to, other=True)
        self._check(array)
        self._await_current_work()
        self._group.send(array.data.ptr, array.nbytes, self._nccl.NCCL_UINT8, to, self._stream.ptr)
        what, needed = f"sending {described(array)} to rank {to}", {to: ("received", self.rank)}
        return self._request(array, what, ("sent", to), needed)

    def start_receive(self, array: Array, source: int) -> Request:
        self._check_rank("start_receive", source, other=True)
        self._check(array)
        self._await_current_work()
        self._group.recv(array.data.ptr, array.nbytes, self._nccl.NCCL_UINT8, source, self._stream.ptr)
        what, needed = f"receiving {described(array)} from rank {source}", {source: ("sent", self.rank)}
        return self._request(array, what, ("received", source), needed)

    def start_exchange(self, sent: Array, received: Array, partner: int) -> Request:
        self._check_rank("start_exchange", partner, other=True)
        for array in (sent, received):
            self._check(array)
        self._await_current_work()
        self._nccl.groupStart()  # both begin at once
        self._group.recv(received.data.ptr, received.nbytes, self._nccl.NCCL_UINT8, partner, self._stream.ptr)
        self._group.send(sent.data.ptr, sent.nbytes, self._nccl.NCCL_UINT8, partner, self._stream.ptr)
        self._nccl.groupEnd()
        what = f"exchanging {described(sent)} with rank {partner}"
        parts = [
            self._request(sent, what, ("sent", partner), {partner: ("received", self.rank)}),
            self._request(received, what, ("received", partner), {partner: ("sent", self.rank)}),
        ]
        return self._all(parts, what)

    def gather(self, value: Any) -> list[Any]:
        return self._ranks.gather(value)

    def abort(self, message: str) -> NoReturn:
        self._ranks.abort(message)

    def _started_group(self) -> Any:
        """What sends messages among the ranks; the others, which wait inside NCCL, would never hear of an error."""
        identity = self.gather(self._nccl.get_unique_id() if self.is_main else None)[0]
        try:
            with ended_after(self.timeout):
                return self._nccl.NcclCommunicator(self.size, identity, self.rank)
        except Exception as error:
            traceback.print_exc()
            self.abort(f"{type(error).__name__}: {error}")

    def _await_current_work(self, apart: bool = False) -> None:
        """What follows in the stream of messages waits for what makes their arrays."""
        if is_recording():
            raise RuntimeError("a step that waits for other ranks cannot be recorded")
        self._streams[apart].wait_event(self._cupy.cuda.get_current_stream().record())

    def _request(self, array: Array, what: str, call: Call, needed: dict[int, Call], apart: bool = False) -> Request:
        """Done when the stream has come this far."""
        event = self._streams[apart].record()

        def done() -> bool:
            self._groups[apart].check_async_error()
            return bool(event.done)

        return self._ranks.request(done, array, what, call, needed)

    def _check(self, array: Array) -> None:
        if not isinstance(array, self._cupy.ndarray):
            raise ValueError(f"NCCL expected a CuPy array, got {described(array)}: use cupy.asarray")
        if not array.flags.c_contiguous:
            raise ValueError(f"NCCL expected a C-contiguous array, got {described(array)}: use cupy.ascontiguousarray")
        if array.nbytes > MAX_BYTES:
            raise ValueError(f"NCCL expected at most {MAX_BYTES} bytes a call, got {described(array)}: send parts")

    def _check_own_gpus(self) -> None:
        gpu = (socket.gethostname(), self._cupy.cuda.Device().pci_bus_id)
        gpus = self._ranks.gather(gpu)
        for rank, other in enumerate(gpus):
            if gpus.index(other) != rank:
                raise RuntimeError(
                    f"ranks {gpus.index(other)} and {rank} share the GPU {other[1]} of {other[0]}: NCCL needs one for "
                    "each rank; start at most as many ranks on a machine as it has GPUs"
                )


def _nccl() -> Any:
    """CuPy's module of NCCL, which is there without the library too."""
    try:
        from cupy.cuda import nccl
    except ImportError:
        nccl = None
    if nccl is None or not getattr(nccl, "available", True):
        raise RuntimeError(
            'CuPy finds no NCCL: pip install nvidia-nccl-cu13 (CUDA 12: nvidia-nccl-cu12), or use init("cpu")'
        )
    return nccl
