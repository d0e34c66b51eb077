"""What ranks say to each other. A rank is one process of a job; every one runs the same script on its own data."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

Array = Any
Done = Callable[[], bool]
Absent = Callable[[], str | None]
PATIENCE = 0.001  # seconds of waiting with nothing but looking
# Sums of smaller integers differ: where those of MPICH begin again at 0, those of Open MPI stay at the largest.
SUMMED = ("float32", "float64", "int32", "int64")


class Request:
    """A message or a reduction under way: its array belongs to it until it is done.

    what: for the error of a wait that takes too long. absent: a sentence if a rank that it needs has ended, else None.
    """

    def __init__(self, done: Done, timeout: float, what: str, absent: Absent = lambda: None) -> None:
        self._done, self._timeout, self._what, self.absent = done, timeout, what, absent
        self.was_done = False

    def done(self) -> bool:
        """Whether it is done; looking drives it on, as MPI works only inside its own calls."""
        self.was_done = self.was_done or self._done()
        return self.was_done

    def wait(self) -> None:
        """Return when it is done.

        Raises TimeoutError if that takes more than the communicator's timeout, RuntimeError if it can never be.
        """
        start = time.monotonic()
        while not self.done():
            waited = time.monotonic() - start
            absent = self.absent() if waited > PATIENCE else None
            if absent is not None and not self.done():
                raise RuntimeError(f"{self._what} cannot be done: {absent}")
            if waited > self._timeout:
                raise TimeoutError(
                    f"{self._what} was not done within {self._timeout:g} s: another rank does something else, hangs or "
                    "is gone; look at its output, or give init a larger timeout"
                )
            _give_way(waited)


def _give_way(waited: float) -> None:
    """Let other processes have this processor: at once those that want it; after a while sleep, as the wait is long."""
    if waited > 1:
        time.sleep(0.001)
    elif waited > PATIENCE:
        os.sched_yield()


class Communicator(ABC):
    """The ranks of a job as one of them sees the others.

    rank: this process's number, from 0. size: how many there are. timeout: seconds that any wait may take.

    Every rank has to make the same collective calls (all but `send` and `receive`) in the same order, sums that are
    `apart` in one of their own, with arrays of one shape and dtype: C-contiguous, of NumPy, or of CuPy where the
    communicator is one of GPUs. They are changed in place. Waits that take longer than `timeout` raise TimeoutError.
    """

    rank: int
    size: int
    timeout: float

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes files and prints."""
        return self.rank == 0

    @abstractmethod
    def start_all_reduce(self, array: Array, apart: bool = False) -> Request:
        """array = the sum of all ranks' arrays, on every rank the same bits, when the request is done.

        apart: all ranks start such sums in one order too, but each may have other calls before and between them.
        Raises ValueError unless they are float32, float64, int32 or int64.
        """

    @abstractmethod
    def start_broadcast(self, array: Array, root: int = 0) -> Request:
        """array = that of rank `root`, when the request is done."""

    @abstractmethod
    def start_send(self, array: Array, to: int) -> Request:
        """Send an array to a rank, which receives one of the same shape and dtype."""

    @abstractmethod
    def start_receive(self, array: Array, source: int) -> Request:
        """array = what a rank sends, when the request is done."""

    def start_exchange(self, sent: Array, received: Array, partner: int) -> Request:
        """Send one array to a rank and receive another from it; both are done when the request is."""
        parts = [self.start_receive(received, partner), self.start_send(sent, partner)]
        return self._all(parts, f"exchanging {described(sent)} with rank {partner}")

    @abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """The small values of all ranks, by rank, on every one: numbers, texts, lists and dicts of them."""

    @abstractmethod
    def abort(self, message: str) -> NoReturn:
        """Say "rank R: message" on standard error, and end the processes of all ranks."""

    def all_reduce(self, array: Array) -> None:
        """array = the sum of all ranks' arrays."""
        self.start_all_reduce(array).wait()

    def broadcast(self, array: Array, root: int = 0) -> None:
        """array = that of rank `root`."""
        self.start_broadcast(array, root).wait()

    def exchange(self, sent: Array, received: Array, partner: int) -> None:
        """Send one array to a rank and receive another from it, without either waiting for the other to begin."""
        self.start_exchange(sent, received, partner).wait()

    def barrier(self) -> None:
        """Return when every rank is here."""
        self.gather(None)

    def _all(self, parts: list[Request], what: str) -> Request:
        """A request that is done when all of these are; it looks at each, so that none stays under way for ever."""
        return Request(
            lambda: all([part.done() for part in parts]),
            self.timeout,
            what,
            lambda: next((said for part in parts if (said := part.absent()) is not None), None),
        )

    def _check_sum(self, array: Array) -> None:
        """Raise ValueError unless all libraries have the same sums of such arrays."""
        dtype = getattr(array, "dtype", None)
        if dtype is None or dtype.name not in SUMMED or not dtype.isnative:
            raise ValueError(f"all_reduce expected float32, float64, int32 or int64, got {described(array)}")

    def _check_rank(self, call: str, rank: int, other: bool = False) -> None:
        """Raise ValueError unless it is a rank of the job, and another one than this where it has to be."""
        if not 0 <= rank < self.size or (other and rank == self.rank):
            which = "another rank" if other else "a rank"
            raise ValueError(f"{call} expected {which} of 0 to {self.size - 1}, got {rank} on rank {self.rank}")


class Alone(Communicator):
    """The one rank of a job of one process: every sum is the array itself, and nothing is sent."""

    rank, size = 0, 1

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    def start_all_reduce(self, array: Array, apart: bool = False) -> Request:
        self._check_sum(array)
        return Request(lambda: True, self.timeout, "a sum")

    def start_broadcast(self, array: Array, root: int = 0) -> Request:
        return Request(lambda: True, self.timeout, "a broadcast")

    def start_send(self, array: Array, to: int) -> Request:
        raise ValueError(f"start_send expected another rank, got {to}: this job has one rank alone")

    def start_receive(self, array: Array, source: int) -> Request:
        raise ValueError(f"start_receive expected another rank, got {source}: this job has one rank alone")

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def abort(self, message: str) -> NoReturn:
        raise SystemExit(f"rank 0: {message}")


def described(array: Any) -> str:
    """dtype and shape of an array, for errors; the type of anything else."""
    if not hasattr(array, "dtype"):
        return f"a {type(array).__name__}"
    kind = "" if isinstance(array, np.ndarray) else f"{type(array).__module__.partition('.')[0]} "
    return f"{kind}{array.dtype} {array.shape}"
