"""The emulator of PTX: what instructions do, by the PTX ISA, and what it finds in kernels that are wrong."""

from importlib.metadata import PackageNotFoundError
from unittest import SkipTest

import numpy as np
import nvrtc
import pytest
from emulator import Module
from numpy.testing import assert_array_equal
from ptx_emulator import PtxEmulator, compiled

from minicnn.kernels.cuda._launch import SOURCES, source

NAN, INFINITY, TINY = float("nan"), float("inf"), 2.0**-140  # a float that is too small for a normal one
MIDDLE = 1 + 2.0**-11  # between 1 and the next TF32 or float16 number
PTX = source("ptx.cuh", (SOURCES,))


@pytest.fixture(autouse=True)
def emulator():
    """The machine; the tests are skipped where NVRTC is not installed."""
    return PtxEmulator()


def kernel(text):
    """The kernel k of a source."""
    return Module(compiled(text, (), PtxEmulator.capability), PtxEmulator()).get_function("k")


# An instruction, its operands and its result: floats, or whole numbers as bits.
MEANINGS = [
    ("shl.b32", (3, 31), 0x80000000),
    ("shl.b32", (3, 32), 0),
    ("shr.u32", (0x80000000, 31), 1),
    ("shr.u32", (0x80000000, 32), 0),
    ("shr.s32", (0x80000000, 40), 0xFFFFFFFF),
    ("div.s32", (-7, 2), -3),
    ("div.s32", (-(2**31), -1), -(2**31)),
    ("rem.s32", (-7, 2), -1),
    ("div.u32", (0xFFFFFFF9, 2), 0x7FFFFFFC),
    ("mul.lo.s32", (65537, 65537), 131073),
    ("mul.hi.u32", (0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFE),
    ("mul.hi.s32", (0xFFFFFFFF, 0xFFFFFFFF), 0),
    ("mad.lo.s32", (3, -4, 5), -7),
    ("min.s32", (-1, 1), -1),
    ("min.u32", (-1, 1), 1),
    ("max.u32", (-1, 1), -1),
    ("not.b32", (0xF0F0,), 0xFFFF0F0F),
    ("bfi.b32", (0xABCD, 0x12345678, 8, 12), 0x123BCD78),
    ("bfi.b32", (0xAB, 0x12345678, 0, 32), 0xAB),
    ("bfi.b32", (0xAB, 0x12345678, 32, 8), 0x12345678),
    ("add.f32", (TINY, 0.0), TINY),
    ("add.ftz.f32", (TINY, 0.0), 0.0),
    ("mul.ftz.f32", (-(2.0**-100), 2.0**-40), -0.0),
    ("max.f32", (NAN, -2.0), -2.0),
    ("min.f32", (NAN, NAN), NAN),
    ("copysign.f32", (-1.0, 3.0), -3.0),
    ("abs.f32", (-0.0,), 0.0),
    ("fma.rn.f32", (1 + 2.0**-23, 1 + 2.0**-23, -1.0), 2.0**-22 + 2.0**-46),
    ("fma.rm.f32", (1.0, -(2.0**-40), 1.0), 1 - 2.0**-24),
    ("fma.rm.f32", (1.0, 2.0**-40, 1.0), 1.0),
    ("div.rn.f32", (1.0, 3.0), float(np.float32(1) / np.float32(3))),
    ("sqrt.rn.f32", (2.0,), float(np.sqrt(np.float32(2)))),
    ("cvt.rzi.s32.f32", (-1.75,), -1),
    ("cvt.rzi.s32.f32", (3e9,), 2**31 - 1),
    ("cvt.rzi.s32.f32", (-3e9,), -(2**31)),
    ("cvt.rzi.s32.f32", (NAN,), 0),
    ("cvt.rzi.u32.f32", (-3.0,), 0),
    ("cvt.rni.f32.f32", (2.5,), 2.0),
    ("cvt.rmi.f32.f32", (-2.5,), -3.0),
    ("cvt.rn.f32.s32", (2**24 + 1,), 2.0**24),
    ("cvt.rn.f32.u32", (0xFFFFFFFF,), 2.0**32),
    ("cvt.sat.f32.f32", (1.5,), 1.0),
    ("cvt.sat.f32.f32", (NAN,), 0.0),
    ("cvt.rn.tf32.f32", (MIDDLE,), 1.0),
    ("cvt.rn.tf32.f32", (1 + 3 * 2.0**-11,), 1 + 2.0**-9),
    ("cvt.rna.tf32.f32", (MIDDLE,), 1 + 2.0**-10),
]


def test_instructions_do_what_their_chapters_say():
    given, results = np.zeros((len(MEANINGS), 4), np.uint32), np.empty(len(MEANINGS), np.uint32)
    lines = []
    for i, (instruction, operands, _) in enumerate(MEANINGS):
        given[i, : len(operands)] = [bits(x) for x in operands]
        places = ", ".join(f"%{j}" for j in range(len(operands) + 1))
        values = ", ".join(f'"r"(given[{4 * i + j}])' for j in range(len(operands)))
        lines.append(f'asm volatile("{instruction} {places};" : "=r"(results[{i}]) : {values});')
    text = 'extern "C" __global__ void k(const unsigned* given, unsigned* results) {%s}'
    kernel(text % "\n".join(lines))((1,), (1,), (given, results))
    for (instruction, operands, expected), result in zip(MEANINGS, results, strict=True):
        nan = isinstance(expected, float) and np.isnan(expected)
        found = np.isnan(result.view(np.float32)) if nan else result == bits(expected)
        assert found, f"{instruction} {operands}: {expected} expected, got {result:#x}"


def bits(x):
    """Of a float, or of a whole number."""
    return np.float32(x).view(np.uint32) if isinstance(x, float) else np.uint32(x & 0xFFFFFFFF)


def test_wide_results_and_halves_of_registers():
    result = np.empty(4, np.uint64)
    kernel("""
    extern "C" __global__ void k(int a, unsigned long long* r) {
      asm volatile("mul.wide.s32 %0, %1, %1;" : "=l"(r[0]) : "r"(a));
      unsigned low, high;
      asm volatile("mov.b64 {%0, %1}, %2;" : "=r"(low), "=r"(high) : "l"(r[0]));
      asm volatile("mov.b64 %0, {%1, %2};" : "=l"(r[1]) : "r"(high), "r"(low));
      asm volatile("cvt.s64.s32 %0, %1;" : "=l"(r[2]) : "r"(a));
      unsigned short half;
      asm volatile("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(1.00048828125f));
      r[3] = half;
    }""")((1,), (1,), (np.int32(-(2**31) + 1), result))
    square = (2**31 - 1) ** 2
    assert result.tolist() == [square, square >> 32 | (square & 0xFFFFFFFF) << 32, 2**64 - 2**31 + 1, 0x3C00]
    assert np.uint16(0x3C00).view(np.float16) == np.float16(MIDDLE) == 1


def test_comparisons_with_nan():
    """A way for every comparison and its opposite; NVRTC writes those that hold for NaN with a u."""
    text = """
    extern "C" __global__ void k(const float* x, int* result) {
      float a = x[0], b = x[1];
      bool all[] = {a == b, a != b, a < b, a <= b, a > b, a >= b, !(a < b), !(a <= b), !(a > b), !(a >= b)};
      for (int i = 0; i < 10; ++i) result[i] = all[i];
    }"""
    for a, b in [(1, 2), (2, 1), (1, 1), (NAN, 1), (1, NAN), (NAN, NAN), (INFINITY, INFINITY)]:
        result = np.empty(10, np.int32)
        kernel(text)((1,), (1,), (np.array([a, b], np.float32), result))
        found = [a == b, a != b, a < b, a <= b, a > b, a >= b, not a < b, not a <= b, not a > b, not a >= b]
        assert result.tolist() == found


def test_threads_blocks_and_memory_are_those_of_the_emulator():
    """A sum by shared memory, barriers and exchanges, of both kinds of shared memory, and a struct of odd fields."""
    text = """
    struct Odd { char a; double b; short c; float* d; };
    extern "C" __global__ void k(Odd odd, const float* x, float* y) {
      __shared__ float own[3];
      extern __shared__ float asked[];
      float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
      for (int i = 16; i; i /= 2) sum += __shfl_xor_sync(~0u, sum, i);
      if (threadIdx.x % 32 == 0) own[threadIdx.x / 32] = sum;
      asked[threadIdx.x] = threadIdx.x;
      __syncthreads();
      if (threadIdx.x == 0) y[blockIdx.x] = own[0] + own[1] + own[2] + asked[95] + odd.a + odd.b + odd.c;
    }"""
    x, y = np.random.default_rng(0).integers(-9, 9, (4, 96)).astype(np.float32), np.empty(4, np.float32)
    fields = [("a", np.int8), ("b", np.float64), ("c", np.int16), ("d", np.uint64)]
    odd = np.array([(1, 1000.0, 100, 0)], np.dtype(fields, align=True))
    kernel(text)((4,), (96,), (odd, x, y), shared_mem=96 * 4)
    assert_array_equal(y, x.sum(1) + 95 + 1101)


def test_copies_come_when_they_are_waited_for():
    text = """
    extern "C" __global__ void k(const float* x, float* y) {
      __shared__ __align__(16) float s[8];
      for (int i = 0; i < 8; ++i) s[i] = -1;
      copy_async<16>(s, x, true), copy_async<4>(s + 4, x, false), copy_async<4>(s + 5, x + 3, true);
      commit_copies();
      copy_async<4>(s + 6, x, true);
      commit_copies();
      wait_for_copies<1>();
      for (int i = 0; i < 8; ++i) y[i] = s[i];
    }"""
    x, y = np.arange(4, dtype=np.float32), np.empty(8, np.float32)
    kernel(PTX + text)((1,), (1,), (x, y))
    assert y.tolist() == [0, 1, 2, 3, 0, 3, -1, -1]


FAULTS = {
    "reached behind the end of the shared memory of constant size": "__shared__ float s[4]; s[n] = 1; y[0] = s[n - 1];",
    "is no multiple of the size of what is there": "float4 v = *(float4*)(y + 1); y[0] = v.x + v.y + v.z + v.w;",
    "2 of 2 threads wait|wait at __syncthreads": "if (threadIdx.x) __syncthreads(); else y[0] = 1;",
    "an address that is no multiple of its size": "__shared__ float s[8]; copy_async<16>(s + 1, x, true);",
}


@pytest.mark.parametrize("error", FAULTS)
def test_faults_are_found(error):
    text = PTX + f'extern "C" __global__ void k(const float* x, float* y, int n) {{ {FAULTS[error]} }}'
    with pytest.raises(RuntimeError, match=error):
        kernel(text)((1,), (2,), (np.zeros(8, np.float32), np.zeros(8, np.float32), np.int32(4)))


def test_a_write_to_what_was_promised_to_be_constant_is_found():
    text = 'extern "C" __global__ void k(const float* __restrict__ x, float* __restrict__ y) { y[0] = x[0] + 1; }'
    x, y = np.zeros(8, np.float32), np.zeros(8, np.float32)
    kernel(text)((1,), (1,), (x, y))
    with pytest.raises(RuntimeError, match="wrote to what it had read as a constant"):
        kernel(text)((1,), (1,), (x, x))


def test_a_read_outside_of_an_array_is_found():
    text = 'extern "C" __global__ void k(const float* x, float* y, int i) { y[0] = x[i]; }'
    with pytest.raises(IndexError, match="behind the end of an array of the shape"):
        kernel(text)((1,), (1,), (np.zeros(8, np.float32), np.zeros(1, np.float32), np.int32(1 << 20)))


def test_an_unknown_instruction_is_named():
    text = 'extern "C" __global__ void k(int a, int* y) { asm volatile("brev.b32 %0, %1;" : "=r"(y[0]) : "r"(a)); }'
    with pytest.raises(NotImplementedError, match=r"brev\.b32"):
        kernel(text)


def test_without_nvrtc_its_tests_are_skipped(monkeypatch):
    def missing():
        raise PackageNotFoundError("nvidia-cuda-nvrtc")

    monkeypatch.setattr(nvrtc, "library", missing)
    with pytest.raises(SkipTest, match="NVRTC is not installed"):
        PtxEmulator()
