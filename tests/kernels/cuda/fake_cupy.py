"""CuPy without a GPU, for what the engine asks of it: arrays that only its own functions take, in the CPU's memory.

With it in the place of CuPy and the emulator in the place of the GPU a whole training step runs in the CUDA room.
An array of NumPy beside one of these is the error that it is in CuPy. What cannot be imitated: np.asarray and iteration
over such an array work here, and are errors in CuPy.
"""

import sys
import types

import numpy as np


class ndarray(np.ndarray):
    """An array "on the GPU": NumPy's, with a name that says it must not meet those of NumPy."""

    def __array_finalize__(self, source):
        pass

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **settings):
        if out is not None:
            settings["out"] = tuple(_plain(a) for a in out)
        result = getattr(ufunc, method)(*map(_plain, inputs), **settings)
        return out[0] if out is not None else _ours(result)

    def __array_function__(self, function, kinds, arguments, settings):
        return _ours(function(*_each(arguments, _plain), **{k: _each(v, _plain) for k, v in settings.items()}))

    def __setitem__(self, index, value):
        super().__setitem__(_each(index, _plain), _plain(value))

    def __getitem__(self, index):
        return _ours(_plain(self)[_each(index, _plain)])

    def item(self, *index):
        return _plain(self).item(*index)


def _plain(value):
    """What NumPy can compute with; an array of NumPy itself must have no axes."""
    if type(value) is np.ndarray and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value.view(np.ndarray) if isinstance(value, ndarray) else value


def _each(value, change):
    """The same of every item of a list or tuple."""
    return type(value)(_each(item, change) for item in value) if isinstance(value, list | tuple) else change(value)


def _ours(value):
    """A result as an array of this module; CuPy has no scalars."""
    if isinstance(value, list | tuple):
        return type(value)(_ours(item) for item in value)
    return np.asarray(value).view(ndarray) if isinstance(value, np.ndarray | np.generic) else value


def module():
    """The module to put into sys.modules["cupy"]."""
    made = types.ModuleType("cupy")
    made.ndarray = ndarray
    made.is_available = lambda: True
    made.asnumpy = lambda a: np.array(a.view(np.ndarray) if isinstance(a, ndarray) else a)
    made.asarray = lambda a, dtype=None: (
        a if isinstance(a, ndarray) and dtype in (None, a.dtype) else made.array(a, dtype)
    )
    made.array = lambda a, dtype=None: np.array(a, dtype).view(ndarray)

    def named(name):
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function
        return lambda *arguments, **settings: _ours(
            function(*_each(arguments, _plain), **{k: _each(v, _plain) for k, v in settings.items()})
        )

    made.__getattr__ = named
    return made


def installed(monkeypatch):
    """Put it in the place of CuPy for one test."""
    monkeypatch.setitem(sys.modules, "cupy", module())
    return sys.modules["cupy"]
