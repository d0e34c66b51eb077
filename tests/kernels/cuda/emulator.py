"""CUDA kernels on the CPU: the same .cu files, compiled by g++, on NumPy arrays. Nothing here says how fast they are.

    module = Emulator().compile("gemm", ("-DREAL=float", "-DWIDE=float"))
    module.get_function("gemm")((4, 4), (16, 16), (a, b, c, np.int32(64)))

is the form of cupy.RawModule, so `minicnn.kernels.cuda` runs on it unchanged (`Emulator` takes the place of its GPU).
What it finds that a run on a GPU may not:

    too few, too many or wrong arguments        the kernel's own type says what it takes
    a read or a write outside of an array, or   a gigabyte on each side is closed: from at most 15 bytes behind its end,
        of the shared memory that a launch      and to at most a page before its beginning; where threads run backwards
        asks for; by asynchronous copies too    it is the other way round
    a write between it and the closed pages     there are bytes of a known pattern
    a write to an array that is read-only       it is compared
    a read of memory that nobody has written    it is NaN: between arrays and closed pages, in fresh results, in shared
                                                memory of each block
    an index behind the end of an array of      an error that says which thread used it
        constant size, a vector read or written
        at an address that is no multiple of
        its size
    a missing barrier                           `order`: 0 runs the threads forwards, 1 backwards, any other number
                                                shuffles them with this seed, and lets some warps run ahead of the
                                                others up to the next barrier; a test compares
    a barrier that some threads never reach     an error that says how many wait where
    a missing wait for an asynchronous copy     the copy is not made before the wait
    an asynchronous copy that is misaligned     an error that says so

What it does not find: a NaN that was read between an array and the closed pages and then lost, as fmaxf(x[-1], 0) loses
it, or in memory that nobody has written; a way from one array of constant size into another by a pointer; a write of
what was there already.

What it cannot do: a grid-wide barrier or a block that waits for another (blocks run one by one), wgmma, TMA, clusters,
what the memory model allows between two barriers within a warp.
"""

import ctypes
import functools
import hashlib
import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import SkipTest

import numpy as np

from minicnn.kernels.cuda._launch import SOURCES, source

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("MINICNN_EMULATOR_CACHE", Path(tempfile.gettempdir()) / "minicnn-cuda-emulator"))
FLAGS = (
    "-std=c++20", "-O1", "-fPIC", "-shared", "-fno-strict-aliasing", "-fno-gnu-unique", "-ffp-contract=off", "-w",
    "-fsanitize=bounds,alignment", "-fsanitize-undefined-trap-on-error",
)  # fmt: skip
PROTECT = ctypes.CDLL(None).mprotect  # says who may read and write some pages
PROTECT.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s*)?(\w+)\s+(\w+)\[\];")
INCLUDED = re.compile(r'^#include "(.+)"', re.MULTILINE)
SHARED = re.compile(r"__shared__\s+([^;]+);")
POISON = 0xFF
CLOSED = 1 << 30  # bytes on both sides of an array that nobody may read or write; they take no memory


class Emulator:
    """In the place of the GPU: compiles files and makes arrays."""

    capability = 90  # of the card that it stands for

    def __init__(self, order=0):
        self.order = order

    def compile(self, file, options):
        """The module of one .cu file."""
        return Module(compiled(self.text(file), options), self)

    def text(self, file):
        """A file and what it includes; a header beside the emulator goes before one of the kernels."""
        return source(f"{file}.cu", (HERE, SOURCES))

    def empty(self, shape, dtype):
        """An array full of NaN, or -1."""
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = POISON
        return array

    def addresses(self, arrays, room):
        """A struct of addresses, not yet known: the kernel will see those of its copies."""
        return Addresses(arrays, room)

    def address(self, array):
        """Where an array begins."""
        return array.ctypes.data


class Addresses(NamedTuple):
    """Up to `room` arrays, or None, as one argument of a kernel."""

    arrays: Sequence[np.ndarray]
    room: int


@functools.cache
def compiled(text, options):
    """The library of a source, and the names of its kernels."""
    names = tuple(KERNEL.findall(text))
    text = DYNAMIC.sub(r"\1 *\2 = emulator::dynamic_shared<\1>();", text)
    text = SHARED.sub(static, text)
    exports = "\n".join(f"EMULATOR_EXPORT({name})" for name in names)
    text = f'#include "emulator.h"\n{text.replace("#pragma once", "")}\n{exports}\n'
    return library(text, options), names


def library(text, options):
    """A source of C++ compiled, with the emulator, whose header is compiled once for all of them."""
    name = INCLUDED.search(text)[1]
    flags = (option for option in options if not option.startswith("-D"))
    header = built(f"{name}.gch", (HERE / name).read_text(), (*flags, "-x", "c++-header"))
    return ctypes.CDLL(str(built("kernels.so", text, (*options, f"-I{header.parent}"))))


def built(name, text, options):
    """The file that g++ makes of a source. Files are kept on disk, by what they are made of."""
    command = [os.environ.get("CXX", "g++"), *FLAGS, *options]
    parts = "\0".join([text, *included(text), *command])
    file = CACHE / hashlib.sha256(parts.encode()).hexdigest()[:32] / name
    if not file.exists():
        build(text, [*command, f"-I{HERE}"], file)
    return file


def included(text):
    """The headers beside the emulator that a source includes, and those that they include."""
    for name in INCLUDED.findall(text):
        header = (HERE / name).read_text()
        yield header
        yield from included(header)


def build(text, command, file):
    """Compile, beside the place and then moved there: another process may be doing the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        source, made = Path(folder, "source.cpp"), Path(folder, file.name)
        source.write_text(text)
        try:
            done = subprocess.run([*command, "-o", made, source], capture_output=True, text=True)
        except FileNotFoundError:
            raise SkipTest(f"the emulator of CUDA needs g++ 11 or newer, and there is no {command[0]}") from None
        if done.returncode:
            raise RuntimeError(f"g++ does not compile the kernels:\n{done.stderr[:4000]}")
        made.replace(file)


def static(match):
    """`float a[4][5], b[3]` as static variables that each block finds poisoned."""
    names = re.findall(r"(\w+)\s*(?:\[[^\]]*\]\s*)*(?:,|$)", re.sub(r"<[^>]*>", "", match[1]))
    poisoned = " ".join(f"static emulator::Shared {name}_is_shared(&{name}, sizeof {name});" for name in names)
    return f"static {match[1]}; {poisoned}"


class Module:
    """The kernels of one file."""

    def __init__(self, made, emulator):
        (self._library, self._names), self._emulator = made, emulator

    def get_function(self, name):
        """One kernel by its name."""
        if name not in self._names:
            raise AttributeError(f"there is no kernel {name}, only {', '.join(self._names)}")
        return Kernel(self._library, name, self._emulator)


class Kernel:
    """Called as a cupy.RawKernel is."""

    def __init__(self, library, name, emulator):
        describe = getattr(library, f"parameters_of_{name}")
        describe.restype = ctypes.c_char_p
        self.parameters = describe().decode().rstrip(",").split(",")
        self._run = getattr(library, f"run_{name}")
        self._run.restype = ctypes.c_bool
        self._error, self._outside = library.emulator_error, library.emulator_outside
        self._error.restype, self._outside.restype = ctypes.c_char_p, ctypes.c_void_p
        self.name, self._emulator = name, emulator

    def __call__(self, grid, block, arguments, shared_mem=0):
        if len(arguments) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, got {len(arguments)}")
        copies = {}
        kept = [self._value(i, argument, copies) for i, argument in enumerate(arguments)]
        pointers = (ctypes.c_void_p * len(kept))(*[value.ctypes.data for value in kept])
        sizes = [(ctypes.c_uint * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
        if shared_mem:
            shared = np.full(shared_mem, POISON, np.uint8)
            copies["shared"] = Copy(shared, f"the {shared_mem} bytes of shared memory", self._emulator.order)
        memory = ctypes.c_void_p(copies["shared"].address if shared_mem else None)
        if not self._run(*sizes, memory, ctypes.c_size_t(shared_mem), ctypes.c_uint(self._emulator.order), pointers):
            raise self._failure(copies.values())
        for copy in copies.values():
            copy.give_back(self.name)

    def _failure(self, copies):
        """What ended the launch, as an error."""
        why, outside = f"{self.name}: {self._error().decode()}", self._outside() or 0
        for copy in copies:
            if outside in copy.around:
                return IndexError(f"{why}: {copy.where(outside)}")
        return RuntimeError(why)

    def _value(self, i, argument, copies):
        """The bytes of one argument as the kernel takes it."""
        kind, size = self.parameters[i][0], int(self.parameters[i][1:])
        if kind == "P":
            null = isinstance(argument, np.uintp) and argument == 0
            return np.array(0 if null else self._address(i, argument, size, copies), np.uintp)
        if isinstance(argument, Addresses):
            fields = np.zeros(1, [("of", np.uintp, (argument.room,))])
            for place, array in enumerate(argument.arrays):
                fields["of"][0, place] = 0 if array is None else self._address(i, array, array.itemsize, copies)
            argument = fields
        if isinstance(argument, np.ndarray) and argument.dtype.names:
            found = "S", argument.nbytes
        elif isinstance(argument, np.generic):
            found = {"u": "i", "b": "i"}.get(argument.dtype.kind, argument.dtype.kind), argument.nbytes
        else:
            found = type(argument).__name__, 0
        if found != (kind, size):
            raise TypeError(f"{self.name}: argument {i} expected {kind}{size}, got {found[0]}{found[1]}")
        return np.asarray(argument)

    def _address(self, i, array, size, copies):
        if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
            raise TypeError(f"{self.name}: argument {i} must be a dense array, got {type(array).__name__}")
        if array.itemsize != size and size:
            raise TypeError(f"{self.name}: argument {i} expected numbers of {size} bytes, got {array.dtype}")
        if id(array) not in copies:
            copies[id(array)] = Copy(array, f"an array of the shape {array.shape}", self._emulator.order)
        return copies[id(array)].address


class Copy:
    """What the kernel sees of an array: a copy between closed pages, that begins as many bytes behind a multiple of 16.

    It lies as near as it can to the closed pages behind it, or, where threads run backwards, to those before it.
    """

    def __init__(self, array, what, order):
        self.array = array.view(np.ndarray)  # a class of its own may have a mind of its own
        self.what = what
        room = -(-(array.nbytes + 15) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.pages = mmap.mmap(-1, CLOSED + room + CLOSED, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
        first = np.frombuffer(self.pages, np.uint8).ctypes.data
        self.around = range(first, first + len(self.pages))
        if PROTECT(first + CLOSED, room, mmap.PROT_READ | mmap.PROT_WRITE):
            raise MemoryError(f"no room for {what}")
        self.memory = np.ctypeslib.as_array((ctypes.c_uint8 * room).from_address(first + CLOSED))
        offset = array.ctypes.data % 16
        self.start = offset if order == 1 else offset + (room - array.nbytes - offset) // 16 * 16
        self.stop = self.start + array.nbytes
        self.memory[: self.start] = self.memory[self.stop :] = POISON
        self.memory[self.start : self.stop] = self.array.reshape(-1).view(np.uint8)
        self.address = first + CLOSED + self.start

    def where(self, outside):
        """In words, how far from the array this address is."""
        if outside < self.address:
            return f"{self.address - outside} bytes before the beginning of {self.what}"
        return f"{outside - self.address - self.array.nbytes} bytes behind the end of {self.what}"

    def give_back(self, name):
        """What the kernel wrote, unless it wrote elsewhere."""
        if not ((self.memory[: self.start] == POISON).all() and (self.memory[self.stop :] == POISON).all()):
            raise IndexError(f"{name} wrote outside of {self.what}")
        before, after = self.array.reshape(-1).view(np.uint8), self.memory[self.start : self.stop]
        if self.array.flags.writeable:
            before[:] = after
        elif (before != after).any():
            raise ValueError(f"{name} wrote to {self.what}, which is read-only")
