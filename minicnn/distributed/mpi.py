"""Ranks on CPUs: MPI through mpi4py."""

from __future__ import annotations

import atexit
import pickle
import sys
from collections import Counter
from typing import Any, NoReturn

import numpy as np

from .communicator import Array, Communicator, Done, Request, described
from .failures import Watcher, ended_after, kill_rank
from .leaving import Call, Farewells

MAX_BYTES = 2**31 - 1  # MPI counts in C's int


class MpiCommunicator(Communicator):
    """All ranks that a launcher of MPI, such as `mpiexec`, has started.

    Sums: MPI_Iallreduce, whose result MPI's standard recommends to be the same on all ranks (MPI 4.1, section 6.9.1).

    As the process ends, its last words are: what it took part in, to all other ranks. Then it waits for theirs, because
    MPI must not be shut down while messages are under way; so a script ends on all ranks together.

    MPI: mpi4py's module, started. watcher: it is told when the process ends by itself.
    """

    def __init__(self, MPI: Any, timeout: float, watcher: Watcher) -> None:
        self._MPI, self._watcher, self.timeout = MPI, watcher, timeout
        self._ranks = MPI.COMM_WORLD.Dup()  # messages of its own, apart from those of a script that uses MPI too
        self._apart = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self._ranks.Get_rank(), self._ranks.Get_size()
        self._farewells = Farewells(MPI.COMM_WORLD.Dup())
        self._calls: Counter[Call] = Counter()
        self._under_way: list[tuple[Request, Any]] = []
        atexit.register(self._leave)

    def start_all_reduce(self, array: Array, apart: bool = False) -> Request:
        _check(array)
        self._check_sum(array)
        ranks, what = self._apart if apart else self._ranks, f"a sum of {described(array)} over {self.size} ranks"
        started = ranks.Iallreduce(self._MPI.IN_PLACE, array, self._MPI.SUM)
        return self.request(started.Test, array, what, *self.all_ranks(apart))

    def start_broadcast(self, array: Array, root: int = 0) -> Request:
        self._check_rank("start_broadcast", root)
        what = f"a broadcast of {described(array)} from rank {root}"
        return self._collective(self._ranks.Ibcast(self._memory(array), root), array, what)

    def start_send(self, array: Array, to: int) -> Request:
        self._check_rank("start_send", to, other=True)
        what, needed = f"sending {described(array)} to rank {to}", {to: ("received", self.rank)}
        return self.request(self._ranks.Isend(self._memory(array), to).Test, array, what, ("sent", to), needed)

    def start_receive(self, array: Array, source: int) -> Request:
        self._check_rank("start_receive", source, other=True)
        what, needed = f"receiving {described(array)} from rank {source}", {source: ("sent", self.rank)}
        return self.request(
            self._ranks.Irecv(self._memory(array), source).Test, array, what, ("received", source), needed
        )

    def gather(self, value: Any) -> list[Any]:
        content = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = self._gathered(np.array([content.size])).ravel()
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: content.size] = content
        rows = self._gathered(padded)
        return [pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]

    def abort(self, message: str) -> NoReturn:
        print(f"rank {self.rank}: {message}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        self._watcher.dismiss()
        if not self._watcher.speaks:
            self._ranks.Abort(1)
        # MPICH's mpiexec ends all ranks when one is killed; but MPI_Abort lets each end by itself, which their watchers
        # would take for a crash, and of a status alone it takes no notice if the rank is on another machine.
        kill_rank()
        raise SystemExit(1)

    def _gathered(self, part: Array) -> Array:
        """The ranks' parts of one size, a row each."""
        rows = np.empty((self.size, part.size), part.dtype)
        what = f"gathering a value from each of {self.size} ranks"
        self._collective(self._ranks.Iallgather(part, rows), (part, rows), what).wait()
        return rows

    def _collective(self, started: Any, arrays: Any, what: str) -> Request:
        return self.request(started.Test, arrays, what, *self.all_ranks())

    def all_ranks(self, apart: bool = False) -> tuple[Call, dict[int, Call]]:
        """As what a collective call counts, and as what on the ranks that it needs."""
        call = "apart" if apart else "all", 0
        return call, {rank: call for rank in range(self.size) if rank != self.rank}

    def request(self, done: Done, arrays: Any, what: str, call: Call, needed: dict[int, Call]) -> Request:
        """A call that this rank has started, and for which it needs calls of other ranks, as a request.

        It is kept with its arrays until it is done: MPI reads and writes their memory, and mpi4py alone would let them
        go.
        """
        self._calls[call] += 1
        number = self._calls[call]
        request = Request(done, self.timeout, what, lambda: self._farewells.absent(needed, number))
        self._under_way = [other for other in self._under_way if not other[0].was_done] + [(request, arrays)]
        return request

    def _leave(self) -> None:
        """Wait for what is under way and for the ends of the other ranks, or end them if that takes too long."""
        self._farewells.say(self._calls)
        try:
            for request, _ in self._under_way:
                request.wait()
            Request(self._farewells.all_said, self.timeout, "what the other ranks still do after this one's end").wait()
        except (RuntimeError, TimeoutError) as error:
            missing = self._farewells.missing()
            self.abort(f"{error} (ranks that have not ended: {missing})" if missing else str(error))
        with ended_after(self.timeout):  # it waits for the other ranks once more
            self._MPI.Finalize()
        self._watcher.dismiss()

    def _memory(self, array: Array) -> list[Any]:
        """The array as bytes, in which MPI sends arrays of all dtypes."""
        _check(array)
        return [array, array.nbytes, self._MPI.BYTE]


def _check(array: Array) -> None:
    """MPI takes the memory of an array as it lies."""
    if not isinstance(array, np.ndarray):
        cure = "init(device='cuda') sums arrays on GPUs" if hasattr(array, "get") else "use np.asarray"
        raise ValueError(f"MPI expected a NumPy array, got {described(array)}: {cure}")
    if not array.flags.c_contiguous:
        raise ValueError(f"MPI expected a C-contiguous array, got {described(array)}: use np.ascontiguousarray")
    if not array.flags.writeable or array.dtype.hasobject:
        raise ValueError(f"MPI expected an array of numbers that can be written, got {described(array)}: send a copy")
    if array.nbytes > MAX_BYTES:
        raise ValueError(f"MPI expected at most {MAX_BYTES} bytes a call, got {described(array)}: send it in parts")
