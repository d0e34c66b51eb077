"""NVIDIA's compiler takes every CUDA kernel, for three generations of GPUs, and finds room for it in registers."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import nvrtc
import pytest

from minicnn.kernels.cuda._launch import TYPES
from minicnn.kernels.cuda._product import SIMT, TENSOR_CORES

EVERY_ARCHITECTURE = pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)

EVERY_VARIANT = [
    (file, dtype, options) for file in nvrtc.FILES for dtype in TYPES for options in nvrtc.variants(file, dtype)
]


WIDEST = *(TENSOR_CORES["float32", terms, 16, 128] for terms in (1, 3)), TENSOR_CORES["float16", 1, 16, 128]
USUAL = ((), *(core.options for core in (*SIMT.values(), *WIDEST)))


def every_compilation():
    """The ways of most people: in float32 for all architectures, in other types for one. The rest takes minutes."""
    for file, dtype, options in EVERY_VARIANT:
        for architecture in nvrtc.ARCHITECTURES:
            usual = options in USUAL and (dtype == "float32" or architecture == "sm_90")
            name = " ".join([file, dtype, *options, architecture])
            marks = () if usual else pytest.mark.slow
            yield pytest.param(file, dtype, options, architecture, id=name, marks=marks)


@pytest.fixture(autouse=True)
def installed():
    """NVRTC, without which there is nothing to test."""
    try:
        nvrtc.library()
    except PackageNotFoundError:
        pytest.skip(nvrtc.MISSING)


@pytest.mark.parametrize(("file", "dtype", "options", "architecture"), list(every_compilation()))
def test_every_kernel_compiles_without_a_warning_and_stays_in_registers(
    file, dtype, options, architecture, record_property
):
    kernels, warnings = nvrtc.compiled(file, dtype, architecture, options)
    source = " ".join([f"{file}.cu", dtype, *options])
    taken = [(kernel.registers, kernel.local, f"{name} of {source}") for name, kernel in kernels.items()]
    record_property("cuda_kernels", (architecture, taken))  # tests/conftest.py reports them
    assert kernels
    assert not warnings
    assert not {name: kernel for name, kernel in kernels.items() if kernel.local}, "these use local memory"


def test_what_was_compiled_is_reported_at_the_end_by_other_processes_too():
    command = [sys.executable, "-m", "pytest", "-n", "1", __file__, "-k", "in_registers and softmax and float32"]
    said = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True).stdout
    for architecture in nvrtc.ARCHITECTURES:
        kernels, _ = nvrtc.compiled("softmax", "float32", architecture)
        most = max(kernel.registers for kernel in kernels.values())
        line = rf"^{architecture}: {len(kernels)} kernels compiled, up to {most} registers of a thread "
        assert re.search(line + r"\(\w+ of softmax.cu float32\), 0 bytes of local memory in all$", said, re.MULTILINE)
    assert re.match(r"=+ 3 passed.* in .*=+$", said.splitlines()[-1])


@EVERY_ARCHITECTURE
def test_what_a_kernel_takes_is_read_rightly(architecture):
    """80 numbers that are alive at the same time, with 255 registers and with 32; and 3 KB of shared memory."""
    text = """
    extern "C" __global__ void k(float* x) {
      __shared__ float s[768];
      float a[80];
    #pragma unroll
      for (int i = 0; i < 80; ++i) a[i] = x[i * 1000 + threadIdx.x];
      s[threadIdx.x] = a[0];
      __syncthreads();
    #pragma unroll
      for (int i = 0; i < 80; ++i) x[i] = a[i] * a[79 - i] + s[i];
    }"""
    compiler = nvrtc.COMPILERS[architecture]
    kernel = compiler.compile_text(text)[0]["k"]
    assert 80 < kernel.registers < 256
    assert kernel[1:] == (0, 3072)
    squeezed = compiler.compile_text(text, ("--maxrregcount=32",))[0]["k"]
    assert squeezed.registers == 32
    assert squeezed.local >= 4 * (80 - 32)


def test_a_function_that_says_nothing_is_one_of_the_gpu_as_cupy_has_it():
    text = 'float twice(float x) { return 2 * x; }\nextern "C" __global__ void k(float* x) { *x = twice(*x); }'
    kernels, warnings = nvrtc.COMPILERS["sm_90"].compile_text(text)
    assert (list(kernels), warnings) == (["k"], [])


def test_local_memory_of_a_called_function_counts():
    text = """
    __device__ __noinline__ float pick(const float* x, int i) {
      float a[16];
      for (int j = 0; j < 16; ++j) a[j] = x[j] * x[j + 1];
      return a[i] + a[i ^ 1];
    }
    extern "C" __global__ void k(float* x, int i) { *x = pick(x, i); }"""
    assert nvrtc.COMPILERS["sm_90"].compile_text(text)[0]["k"].local >= 64


def test_warnings_and_errors_are_seen():
    compiler = nvrtc.COMPILERS["sm_90"]
    _, warnings = compiler.compile_text('extern "C" __global__ void k(int* x) { int unused; *x = 1; }')
    assert len(warnings) == 1
    assert "unused" in warnings[0]
    with pytest.raises(RuntimeError, match=r'(?s)does not compile the kernels for sm_90.*"undeclared" is undefined'):
        compiler.compile_text('extern "C" __global__ void k(int* x) { *x = undeclared; }')


@pytest.mark.slow
def test_the_table_has_every_kernel_in_80_columns():
    lines = list(nvrtc.table())
    assert max(map(len, lines)) <= 80
    for file in nvrtc.FILES:
        options = nvrtc.variants(file, "float32")[0]
        assert " ".join([f"{file}.cu", *options]) in lines
        kernels, _ = nvrtc.compiled(file, "float32", "sm_80", options)
        assert all(any(line.startswith(f" {name}") for line in lines) for name in kernels)
    rows = sum(len(nvrtc.compiled(file, dtype, "sm_80", options)[0]) for file, dtype, options in EVERY_VARIANT)
    assert sum(any(f" {real} " in f"{line} " for real, _ in TYPES.values()) for line in lines) == rows
