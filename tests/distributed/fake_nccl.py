"""CuPy and its NCCL without GPUs, for what the ranks ask of them: arrays in the CPU's memory, streams, messages by MPI.

A stream is a queue: what is put in it is done only when an event behind it is asked for, in order, as on a GPU whose
CPU runs ahead. A send that is not in a group waits for its receive, so sends in both directions would hang, as they do
in NCCL.
"""

import ctypes
import os
import sys
import types

import numpy as np
from mpi4py import MPI

SUM = 0
CODES = {name: code for code, name in enumerate(
    ("int8", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"))}  # fmt: skip
_streams = {}
_group = None


class ndarray(np.ndarray):
    """An array "on the GPU"."""

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


class Event:
    def __init__(self, stream, place):
        self._stream, self._place = stream, place

    @property
    def done(self):
        return self._stream.has_come_to(self._place)

    def Test(self):
        return self.done


class Stream:
    def __init__(self, non_blocking=False):
        self.ptr = len(_streams) + 1
        _streams[self.ptr] = self
        self._works, self._done, self._under_way = [], 0, None

    def put(self, work):
        self._works.append(work)

    def record(self):
        return Event(self, len(self._works))

    def wait_event(self, event):
        self.put(lambda: event)

    def has_come_to(self, place):
        """Do what is in the queue, as far as other ranks do their part."""
        while self._done < place:
            if self._under_way is None:
                self._under_way = self._works[self._done]()
            if hasattr(self._under_way, "Test") and not self._under_way.Test():
                return False
            self._done, self._under_way = self._done + 1, None
        return True


class Communicator:
    """Has the methods of cupy.cuda.nccl.NcclCommunicator, which take places in memory and a stream's number."""

    def __init__(self, ndev, commId, rank):
        assert isinstance(commId, tuple)
        assert len(commId) == 128
        self._ranks = MPI.COMM_WORLD.Dup()
        assert (self._ranks.Get_size(), self._ranks.Get_rank()) == (ndev, rank)
        assert self._ranks.allgather(commId) == [commId] * ndev

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
        assert sendbuf == recvbuf
        assert op == SUM
        assert count <= 2**31 - 1
        array = _at(recvbuf, count, datatype)
        _streams[stream].put(lambda: self._ranks.Iallreduce(MPI.IN_PLACE, array, MPI.SUM))

    def bcast(self, buff, count, datatype, root, stream):
        _streams[stream].put(lambda: self._ranks.Ibcast(_at(buff, count, datatype), root))

    def send(self, sendbuf, count, datatype, peer, stream):
        self._message(self._ranks.Issend, sendbuf, count, datatype, peer, stream)

    def recv(self, recvbuf, count, datatype, peer, stream):
        self._message(self._ranks.Irecv, recvbuf, count, datatype, peer, stream)

    def check_async_error(self):
        pass

    def _message(self, call, place, count, datatype, peer, stream):
        def start():
            return call(_at(place, count, datatype), peer)

        if _group is None:
            _streams[stream].put(start)
        else:
            _group.append((stream, start))


def _at(place, count, datatype):
    """The array at a place in memory."""
    dtype = np.dtype(next(name for name, code in CODES.items() if code == datatype))
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(place), dtype)


class Together:
    """The messages of a group."""

    def __init__(self, requests):
        self._requests = requests

    def Test(self):
        return MPI.Request.Testall(self._requests)


def groupStart():
    global _group
    _group = []


def groupEnd():
    global _group
    (stream,) = {stream for stream, _ in _group}
    starts, _group = [start for _, start in _group], None
    _streams[stream].put(lambda: Together([start() for start in starts]))


class Device:
    number = 0

    def __init__(self, number=None):
        self._number = Device.number if number is None else number

    def use(self):
        Device.number = self._number

    @property
    def pci_bus_id(self):
        return f"0000:{self._number:02d}:00.0"


def install(gpus, nccl=True):
    """Put it in the place of CuPy, on a machine with so many GPUs; the module."""
    current = Stream()
    codes = {f"NCCL_{name.upper()}": code for name, code in CODES.items()}
    cupy, cuda, library = types.ModuleType("cupy"), types.ModuleType("cupy.cuda"), types.ModuleType("cupy.cuda.nccl")
    vars(library).update(codes, NCCL_SUM=SUM, NcclCommunicator=Communicator, available=nccl, groupStart=groupStart,
                         groupEnd=groupEnd, get_unique_id=lambda: tuple(os.urandom(128)))  # fmt: skip
    runtime = types.SimpleNamespace(getDeviceCount=lambda: gpus)
    vars(cuda).update(nccl=library, Device=Device, Stream=Stream, runtime=runtime, get_current_stream=lambda: current)
    vars(cupy).update(cuda=cuda, ndarray=ndarray, is_available=lambda: gpus > 0, asnumpy=np.asarray,
                      asarray=lambda array: np.array(array).view(ndarray))  # fmt: skip
    sys.modules.update({"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.nccl": library})
    return cupy
