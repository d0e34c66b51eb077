"""CuPy without a GPU, for what the engine asks of it: arrays that only its own functions take, in the CPU's memory.

With it in the place of CuPy and the emulator in the place of the GPU a whole training step runs in the CUDA room.
An array of NumPy beside one of these is the error that it is in CuPy. What cannot be imitated: np.asarray and iteration
over such an array work here, and are errors in CuPy.

A stream that captures does nothing and remembers what it would have done: results are NaN until the graph is launched,
and asking for one is an error, as it is in CUDA; so is what CuPy cannot capture, cuBLAS and copies from the CPU's
memory. The hooks of CuPy's memory pool are told of every array.
"""

import contextlib
import sys
import types
import weakref
from typing import ClassVar

import numpy as np
from emulator import Emulator
from ptx_emulator import PtxEmulator

from minicnn.kernels.cuda import _launch


class ndarray(np.ndarray):
    """An array "on the GPU": NumPy's, with a name that says it must not meet those of NumPy."""

    def __array_finalize__(self, source):
        pass

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **settings):
        _check_capture(ufunc, inputs)
        if out is not None:
            settings["out"] = tuple(_plain(a) for a in out)
        result = _done(lambda: getattr(ufunc, method)(*map(_plain, inputs), **settings), out and settings["out"][0])
        return out[0] if out is not None else result

    def __array_function__(self, function, kinds, arguments, settings):
        return _called(function, arguments, settings)

    def __setitem__(self, index, value):
        place, value = _place(index), _plain(value)
        _done(lambda: _plain(self).__setitem__(place, value), ())

    def __getitem__(self, index):
        whole, place = _plain(self), _place(index)
        found = whole[place]
        if isinstance(found, np.ndarray) and np.may_share_memory(found, whole):
            return _ours(found)
        return _done(lambda: whole[place])

    def item(self, *index):
        return _fetched(self).item(*index)

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else _done(lambda: _plain(self).astype(dtype))

    def dot(self, other):
        return _called(np.dot, (self, other), {})

    def copy(self, order="C"):
        return _done(lambda: _plain(self).copy(order))

    def __bool__(self):
        return bool(_fetched(self))

    def __int__(self):
        return int(_fetched(self))

    def __float__(self):
        return float(_fetched(self))


_recording = None  # what a capturing stream is to do, in order
_PRODUCTS = (np.matmul, np.dot, np.vdot, np.inner, np.tensordot, np.einsum)  # by cuBLAS
_JOINS = (np.concatenate, np.stack, np.vstack, np.hstack)


def _check_no_capture(transfers):
    """To and from the CPU's memory nothing can be captured: it may be gone when the graph is launched."""
    if _recording is not None:
        raise RuntimeError(f"the current stream is capturing, so {transfers} transfers are disallowed")


def _check_capture(function, arguments):
    """Raises an error if CuPy could not capture this function."""
    if _recording is not None and function in _PRODUCTS:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    if function in _JOINS and len(arguments[0]) > 8:
        small = sum(array.nbytes for array in arguments[0]) < len(arguments[0]) * 2 * 1024 * 1024
        if small and len({array.dtype for array in arguments[0]}) == 1:
            _check_no_capture("H2D")  # one kernel joins them all, and their addresses are copied to the GPU


def _fetched(array):
    """What the CPU sees of an array."""
    _check_no_capture("D2H")
    return array.view(np.ndarray)


def _done(work, out=None):
    """The result of work(); written to `out` by the work itself, or () for none. While a stream captures: later."""
    if _recording is None:
        return _ours(work())
    if out is not None:
        _recording.append(work)
        return out
    result = _ours(work())
    for array in result if isinstance(result, list | tuple) else [result]:
        array.view(np.ndarray).view(np.uint8 if array.ndim else array.dtype)[...] = 255

    def again():
        for place, value in zip(*(x if isinstance(x, list | tuple) else [x] for x in (result, work())), strict=True):
            place.view(np.ndarray)[...] = value

    _recording.append(again)
    return result


def _called(function, arguments, settings):
    """A function of NumPy's."""
    _check_capture(function, arguments)
    plain = {name: _each(value, _plain) for name, value in settings.items()}
    return _done(lambda: function(*_each(arguments, _plain), **plain))


def _plain(value):
    """What NumPy can compute with; an array of NumPy itself must have no axes."""
    if type(value) is np.ndarray and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value.view(np.ndarray) if isinstance(value, ndarray) else value


def _place(index):
    """An index for NumPy; CuPy copies lists and arrays of NumPy to the GPU."""
    if isinstance(index, tuple):
        return tuple(map(_place, index))
    if isinstance(index, list) or (type(index) is np.ndarray and index.ndim):
        _check_no_capture("H2D")
        return index
    return _plain(index)


def _each(value, change):
    """The same of every item of a list or tuple."""
    return type(value)(_each(item, change) for item in value) if isinstance(value, list | tuple) else change(value)


def _ours(value):
    """A result as an array of this module; CuPy has no scalars."""
    if isinstance(value, list | tuple):
        return type(value)(_ours(item) for item in value)
    return _given_out(np.asarray(value)).view(ndarray) if isinstance(value, np.ndarray | np.generic) else value


_hooks = {}  # that wait for news of memory


class MemoryHook:
    """Is told of each block of memory that is given out or given back inside `with hook:`."""

    name = "hook"

    def __enter__(self):
        _hooks[self.name] = self
        return self

    def __exit__(self, *error):
        del _hooks[self.name]

    def malloc_postprocess(self, **block):
        pass

    def free_postprocess(self, **block):
        pass


def _given_out(array):
    """Tell the hooks of the memory of a new array, now and when nobody has a view of it any more; blocks of 512."""
    if array.base is None:
        block = {"mem_size": -(-array.nbytes // 512) * 512, "mem_ptr": array.ctypes.data}
        _tell("malloc_postprocess", block)
        weakref.finalize(array, _tell, "free_postprocess", block).atexit = False
    return array


def _tell(event, block):
    for hook in list(_hooks.values()):
        getattr(hook, event)(**block)


class Stream:
    """Captures what is done inside `with stream:`."""

    def __init__(self, non_blocking=False):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def synchronize(self):
        pass

    def begin_capture(self, mode):
        global _recording
        _recording = []

    def end_capture(self):
        global _recording
        graph, _recording = Graph(_recording), None
        return graph


class MemoryPool:
    """Counts how many there are, and how often their free blocks were given back."""

    made = freed = 0

    def __init__(self, allocator):
        MemoryPool.made += 1
        self.malloc = allocator

    def set_limit(self, size):
        pass

    def free_all_blocks(self):
        MemoryPool.freed += 1


class Event:
    """What is recorded is done at once; `log` tells what was asked of all events."""

    log: ClassVar = []

    def __init__(self, disable_timing=False):
        pass

    def record(self):
        Event.log.append(("record", self))

    def synchronize(self):
        Event.log.append(("synchronize", self))


class Graph:
    """What a stream has captured."""

    def __init__(self, steps):
        self._steps = steps

    def launch(self):
        for step in self._steps:
            step()


class FakeGpu(Emulator):
    """The emulator, whose arrays are "on the GPU", and whose launches a stream can capture."""

    def empty(self, shape, dtype):
        return _given_out(super().empty(shape, dtype)).view(ndarray)

    def compile(self, file, options):
        made = super().compile(file, options)

        def get_function(name):
            kernel = made.get_function(name)
            return lambda *launch, **settings: _done(lambda: kernel(*launch, **settings), ())

        return types.SimpleNamespace(get_function=get_function)


class FakePtxGpu(FakeGpu, PtxEmulator):
    """The same, with kernels as NVRTC compiles them."""


def _array(values, dtype=None):
    """A copy, which cannot be captured if it is one of the CPU's memory."""
    if isinstance(values, ndarray):
        return values.astype(dtype or values.dtype)
    _check_no_capture("H2D")
    return _ours(np.array(values, dtype))


def module():
    """The module to put into sys.modules["cupy"]."""
    made = types.ModuleType("cupy")
    made.ndarray = ndarray
    made.is_available = lambda: True
    made.asnumpy = lambda a: np.array(_fetched(a) if isinstance(a, ndarray) else a)
    made.asarray = lambda a, dtype=None: (
        a if isinstance(a, ndarray) and dtype in (None, a.dtype) else made.array(a, dtype)
    )
    made.array = _array
    made.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    made.cuda = types.SimpleNamespace(
        MemoryHook=MemoryHook,
        MemoryPool=MemoryPool,
        Event=Event,
        using_allocator=lambda malloc: contextlib.nullcontext(),
        Stream=Stream,
        get_current_stream=Stream,
        runtime=types.SimpleNamespace(streamCaptureModeRelaxed=2),
    )

    def named(name):
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function
        return lambda *arguments, **settings: _called(function, arguments, settings)

    made.__getattr__ = named
    return made


def installed(monkeypatch, gpu=FakeGpu):
    """Put it in the place of CuPy, and an emulator in that of the GPU, for one test."""
    monkeypatch.setitem(sys.modules, "cupy", module())
    monkeypatch.setattr(_launch, "gpu", gpu())
    return sys.modules["cupy"]
