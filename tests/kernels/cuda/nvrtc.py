"""What NVIDIA's compiler makes of the CUDA kernels. It needs no GPU, only `pip install -e ".[nvrtc]"`.

    python tests/kernels/cuda/nvrtc.py

prints a table of all kernels, for each architecture and type of numbers:

    reg   registers of a thread; all threads of a multiprocessor share 65,536
    loc   bytes of local memory of a thread, where spilled registers go: slow, it should be 0
    smem  bytes of shared memory of a block, without those that a launch asks for
"""

import ctypes
import functools
import re
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

from minicnn.kernels.cuda._launch import SOURCES, TYPES, _module, source
from minicnn.kernels.cuda._product import SIMT, TENSOR_CORES

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")  # A100, H100 and H200, B200
FOLDERS = (SOURCES, Path(__file__).parents[3] / "benchmarks")
FILES = sorted(path.stem for folder in FOLDERS for path in folder.glob("*.cu"))
MISSING = 'NVRTC is not installed: pip install -e ".[nvrtc]" (Linux)'


class Kernel(NamedTuple):
    """What one kernel takes: see above."""

    registers: int
    local: int
    shared: int


class Nvrtc:
    """In the place of the GPU: compiles files for one architecture, and launches nothing."""

    def __init__(self, architecture):
        self.architecture = architecture

    def compile(self, file, options):
        """The kernels of `file`.cu: see `compile_text`."""
        return self.compile_text(source(f"{file}.cu", FOLDERS), options)

    def compile_text(self, text, options=()):
        """Kernels by name, and the warnings. Raises RuntimeError, with the errors, if it does not compile."""
        with self._program(text, ("--ptxas-options=-v", *options)) as program:
            log = log_of(program)
        return kernels(log), re.findall(".*warning[ :].*", log)

    def ptx(self, text, options=()):
        """The program in PTX, which an assembler makes machine code of. Raises RuntimeError as `compile_text`."""
        with self._program(text, options) as program:
            size = ctypes.c_size_t()
            library().nvrtcGetPTXSize(program, ctypes.byref(size))
            found = ctypes.create_string_buffer(size.value)
            library().nvrtcGetPTX(program, found)
            return found.value.decode()

    @contextmanager
    def _program(self, text, options):
        """The compiled program, as CuPy compiles it."""
        architecture = f"--gpu-architecture={self.architecture}"
        as_cupy = architecture, "--std=c++17", "-ftz=true", "--device-as-default-execution-space"
        program = ctypes.c_void_p()
        library().nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
        try:
            options = (*as_cupy, *options)
            texts = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            if library().nvrtcCompileProgram(program, len(options), texts):
                raise RuntimeError(f"NVRTC does not compile the kernels for {self.architecture}:\n{log_of(program)}")
            yield program
        finally:
            library().nvrtcDestroyProgram(ctypes.byref(program))


@functools.cache
def library():
    """NVRTC from its wheel. Raises PackageNotFoundError where that is not installed."""
    wheel = {path.name.split(".so")[0]: path.locate() for path in files("nvidia-cuda-nvrtc") if ".so" in path.name}
    ctypes.CDLL(str(wheel["libnvrtc-builtins"]), mode=ctypes.RTLD_GLOBAL)  # it does not look beside itself for that
    return ctypes.CDLL(str(wheel["libnvrtc"]))


def log_of(program):
    """What the compiler and the assembler behind it said."""
    size = ctypes.c_size_t()
    library().nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library().nvrtcGetProgramLog(program, log)
    return log.value.decode()


def kernels(log):
    """What the assembler said of each kernel, in a paragraph that begins with its name."""
    found = {}
    for paragraph in log.split("Compiling entry function '")[1:]:
        registers, shared = (re.search(form, paragraph) for form in (r"Used (\d+) registers", r"(\d+) bytes smem"))
        local = sum(map(int, re.findall(r"(\d+) bytes stack frame", paragraph)))  # of the kernel and what it calls
        found[paragraph.split("'")[0]] = Kernel(int(registers[1]), local, int(shared[1]) if shared else 0)
    return found


COMPILERS = {architecture: Nvrtc(architecture) for architecture in ARCHITECTURES}


def variants(file, dtype):
    """The options beside the type that the room compiles a file with: those of products say how wide a tile is."""
    if "TERMS" not in source(f"{file}.cu", FOLDERS):
        return [()]
    tensor_cores = [core for (name, *_), core in TENSOR_CORES.items() if name == dtype]
    return [core.options for core in (*SIMT.values(), *tensor_cores)]


def compiled(file, dtype, architecture, options=()):
    """Kernels and warnings of a file, with the options that the room compiles it with; each is compiled once."""
    return _module(COMPILERS[architecture], file, dtype, options)


def table():
    """The lines of the table, 80 columns wide."""
    yield f"{'':38}" + "".join(f"{architecture:>14}" for architecture in ARCHITECTURES)
    yield f"{'':38}" + " reg loc  smem" * len(ARCHITECTURES)
    for file in FILES:
        for options in dict.fromkeys(options for dtype in TYPES for options in variants(file, dtype)):
            yield " ".join([f"{file}.cu", *options])
            dtypes = [dtype for dtype in TYPES if options in variants(file, dtype)]
            for name in sorted(compiled(file, dtypes[0], ARCHITECTURES[0], options)[0]):
                if len(name) > 30:
                    yield f" {name}"
                for dtype in dtypes:
                    columns = (compiled(file, dtype, architecture, options)[0][name] for architecture in ARCHITECTURES)
                    numbers = "".join("{:4}{:4}{:6}".format(*column) for column in columns)
                    yield f" {name if len(name) <= 30 else '':30} {TYPES[dtype][0]:6}{numbers}"


if __name__ == "__main__":
    try:
        for line in table():
            print(line, flush=True)
    except PackageNotFoundError:
        raise SystemExit(MISSING) from None
