"""Ranks on CPUs: MPI through mpi4py."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from .communicator import Communicator, Request

Array = Any


class MpiCommunicator(Communicator):
    """All ranks that a launcher of MPI, such as `mpiexec`, has started.

    Sums: MPI_Iallreduce, whose result MPI's standard recommends to be the same on all ranks (MPI 4.1, section 6.9.1).
    """

    def __init__(self, timeout: float) -> None:
        self._ranks = MPI.COMM_WORLD.Dup()  # messages of its own, apart from those of a script that uses MPI too
        self.rank, self.size, self.timeout = self._ranks.Get_rank(), self._ranks.Get_size(), timeout

    def start_all_reduce(self, array: Array) -> Request:
        request = self._ranks.Iallreduce(MPI.IN_PLACE, _whole(array), MPI.SUM)
        return Request(request.Test, self.timeout, f"a sum of {_described(array)} over {self.size} ranks")

    def start_broadcast(self, array: Array, root: int = 0) -> Request:
        request = self._ranks.Ibcast(_whole(array), root)
        return Request(request.Test, self.timeout, f"a broadcast of {_described(array)} from rank {root}")

    def start_send(self, array: Array, to: int) -> Request:
        request = self._ranks.Isend(_whole(array), to)
        return Request(request.Test, self.timeout, f"sending {_described(array)} to rank {to}")

    def start_receive(self, array: Array, source: int) -> Request:
        request = self._ranks.Irecv(_whole(array), source)
        return Request(request.Test, self.timeout, f"receiving {_described(array)} from rank {source}")

    def gather(self, value: Any) -> list[Any]:
        sizes = np.zeros(self.size, np.int64)
        content = np.frombuffer(MPI.pickle.dumps(value), np.uint8)
        self._gather(np.array([content.size]), sizes)
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: content.size] = content
        rows = np.empty((self.size, padded.size), np.uint8)
        self._gather(padded, rows)
        return [MPI.pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]

    def abort(self, message: str) -> NoReturn:
        print(f"rank {self.rank}: {message}", file=sys.stderr, flush=True)
        self._ranks.Abort(1)
        raise SystemExit(1)  # where MPI does not end the process at once

    def _gather(self, part: Array, whole: Array) -> None:
        request = self._ranks.Iallgather(part, whole)
        Request(request.Test, self.timeout, f"gathering a value from each of {self.size} ranks").wait()


def _whole(array: Array) -> Array:
    """The array, of which MPI sends the memory as it lies."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        raise ValueError(f"MPI expected a C-contiguous NumPy array, got {_described(array)}: use np.ascontiguousarray")
    return array


def _described(array: Array) -> str:
    return f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}".strip()
