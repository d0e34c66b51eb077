"""Ranks that are threads of one process, for tests: what they say to each other goes through shared memory.

def work(communicator):
    x = np.full(3, communicator.rank)
    communicator.all_reduce(x)
    return x

results = run_ranks(4, work)      # by rank

Threads share what a process has one of: give each rank its own model, made before `run_ranks` or with the same seed.
"""

import copy
import itertools
import threading
import time
from collections import defaultdict

import numpy as np

from minicnn.distributed import Communicator, Request


class Aborted(RuntimeError):
    """Another rank has failed, so that this one waits for nobody."""


class Job:
    """What the ranks of a job share. A collective call has a number: it is the same call on every rank."""

    def __init__(self, size, timeout):
        self.size, self.timeout = size, timeout
        self.lock = threading.Lock()
        self.parts = defaultdict(dict)  # by the order and number of a collective call: what each rank gives
        self.messages = {}  # by sender, receiver and number between these two: arrays on their way
        self.failed = None  # the rank that did, and its error

    def check(self):
        """Raise if a rank has failed."""
        if self.failed is not None:
            raise Aborted(f"rank {self.failed[0]} has failed: {self.failed[1]}")


class ThreadCommunicator(Communicator):
    """One rank of a `Job`."""

    def __init__(self, job, rank):
        self._job = job
        self._numbers = defaultdict(itertools.count)  # of collective calls, and of messages to and from each rank
        self.rank, self.size, self.timeout = rank, job.size, job.timeout

    def __deepcopy__(self, memo):
        return self  # as of an MPI communicator, there is only one

    def start_all_reduce(self, array, apart=False):
        def finish(parts):
            kinds = [(part.shape, part.dtype) for part in parts]
            assert kinds == [kinds[0]] * self.size, f"a sum of different arrays: {kinds}"
            array[...] = sum(parts[1:], start=parts[0])  # in the order of ranks: the same bits on all

        return self._collective("a sum", _checked(array).copy(), finish, "apart" if apart else "collective")

    def start_broadcast(self, array, root=0):
        def finish(parts):
            assert (parts[root].shape, parts[root].dtype) == (array.shape, array.dtype)
            array[...] = parts[root]

        return self._collective("a broadcast", _checked(array).copy(), finish)

    def start_send(self, array, to):
        key = self.rank, to, next(self._numbers["to", to])
        with self._job.lock:
            self._job.messages[key] = _checked(array).copy()
        return Request(lambda: True, self.timeout, f"sending to rank {to}")

    def start_receive(self, array, source):
        key = source, self.rank, next(self._numbers["from", source])

        def done():
            self._job.check()
            with self._job.lock:
                sent = self._job.messages.pop(key, None)
            if sent is None:
                return _not_yet()
            assert (sent.shape, sent.dtype) == (array.shape, array.dtype)
            array[...] = sent
            return True

        _checked(array)
        return Request(done, self.timeout, f"receiving from rank {source}")

    def gather(self, value):
        values = []
        self._collective("a gathering", copy.deepcopy(value), values.extend).wait()
        return copy.deepcopy(values)

    def abort(self, message):
        error = Aborted(f"rank {self.rank}: {message}")
        self._job.failed = self._job.failed or (self.rank, error)
        raise error

    def _collective(self, what, part, finish, order="collective"):
        """The request of a call in which every rank gives a part; finish(parts) is called when all are there."""
        with self._job.lock:
            parts = self._job.parts[order, next(self._numbers[order])]
            parts[self.rank] = what, part

        def done():
            self._job.check()
            with self._job.lock:
                given = [parts[rank] for rank in range(self.size) if rank in parts]
            if len(given) < self.size:
                return _not_yet()
            assert {kind for kind, _ in given} == {what}, f"ranks make different calls: {[kind for kind, _ in given]}"
            finish([part for _, part in given])
            return True

        return Request(done, self.timeout, f"{what} over {self.size} ranks")


def _not_yet():
    """False, after the other threads had a chance to run: Python's lock is given up only every few milliseconds."""
    time.sleep(1e-5)
    return False


def _checked(array):
    """The array, as real communicators want it."""
    assert isinstance(array, np.ndarray), f"expected an array, got {type(array).__name__}"
    assert array.flags.c_contiguous, "expected a C-contiguous array"
    return array


def run_ranks(size, work, timeout=20.0):
    """work(communicator) of each rank in a thread of its own: the results, by rank.

    If a rank raises, the others end at their next wait, and its error is raised here.
    """
    job, results = Job(size, timeout), [None] * size

    def run(rank):
        try:
            results[rank] = work(ThreadCommunicator(job, rank))
        except BaseException as error:
            if job.failed is None:
                job.failed = rank, error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if job.failed is not None:
        raise job.failed[1]
    return results
