"""Products by tensor cores: the emulator's instruction itself, both precisions, and what chooses them."""

import numpy as np
import ptx_emulator
import pytest
import real_gpu
from agreement import assert_sums_agree
from emulator import HERE, Emulator, Module, compiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from ptx_emulator import PtxEmulator
from real_gpu import RealGpu
from test_cpu_conv2d import SPREAD, axes, case, problems
from test_cuda_conv2d import LARGE, calls
from test_cuda_linear import SIZES, arrays

import minicnn as mc
from minicnn.kernels import cuda, reference
from minicnn.kernels.cuda import _launch, _product
from minicnn.kernels.cuda._launch import SOURCES, source

SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Units of the last place of float32 (2**-23). "highest": the error of any sum in float32. "high": both factors are
# rounded to 10 bits behind the point: each product is wrong by up to 2 * 2**-11 of itself, and the sums as any other.
DIGITS = {"highest": 32, "high": 2**13 + 32}


class Unrepaired:
    """Leaves a sum that came out as NaN as it is: added up anew, it would hide that a number was missing."""

    def text(self, file):
        text = super().text(file)
        assert ("if (spoilt)" in text) == ("plain_sum(" in text)
        return text.replace("if (spoilt)", "if (false)")


class UnrepairedEmulator(Unrepaired, Emulator):
    """As g++ compiles it."""


class UnrepairedPtx(Unrepaired, PtxEmulator):
    """As NVRTC compiles it, for an H200 or for an A100."""

    def __init__(self, capability):
        super().__init__(7)
        self.capability = capability


class UnrepairedGpu(RealGpu):
    """The same on a GPU."""

    def compile(self, file, options):
        import cupy

        text = source(f"{file}.cu", (SOURCES,)).replace("if (spoilt)", "if (false)")
        return real_gpu.Module(cupy.RawModule(code=text, options=("--std=c++17", *options)))


WAYS = [
    ("forwards", "highest", 1),
    ("backwards", "highest", 256),
    ("shuffled", "highest", 256),
    ("shuffled", "high", 1),
]
PTX = [("ptx", "highest", 1), ("ptx", "high", 256), ("ptx for sm_80", "high", 1)]
ON_GPU = [("gpu", name, many) for name in ("highest", "high") for many in (1, 256)] if mc.cuda_available() else []
PLACES = {
    "forwards": lambda: UnrepairedEmulator(0),
    "backwards": lambda: UnrepairedEmulator(1),
    "shuffled": lambda: UnrepairedEmulator(7),
    "ptx": lambda: UnrepairedPtx(90),
    "ptx for sm_80": lambda: UnrepairedPtx(80),
    "gpu": UnrepairedGpu,
}


def slow(ways):
    """As parameters of tests marked slow."""
    return [pytest.param(way, marks=pytest.mark.slow) for way in ways]


@pytest.fixture(params=[*WAYS, *slow(PTX), *ON_GPU], ids=str)
def precision(request, monkeypatch):
    """Tensor cores multiply in this precision, however small the product; several orders of threads, both tiles."""
    place, name, many = request.param
    monkeypatch.setattr(_product, "MANY", many)
    monkeypatch.setattr(_launch, "gpu", PLACES[place]())
    monkeypatch.setattr(_product, "FILLED", (1, 1, 1))
    monkeypatch.setattr(_launch, "float32_matmul_precision", name)
    return name


REPAIRED = {"shuffled": lambda: Emulator(7), "ptx": lambda: PtxEmulator(7), "gpu": RealGpu}


@pytest.fixture(
    params=[
        *((place, name) for place in ("shuffled", "gpu")[: 1 + mc.cuda_available()] for name in DIGITS),
        *slow(("ptx", name) for name in DIGITS),
    ]
)
def repaired(request, monkeypatch):
    """The same, and sums that came out as NaN are added up anew."""
    place, name = request.param
    monkeypatch.setattr(_launch, "gpu", REPAIRED[place]())
    monkeypatch.setattr(_product, "FILLED", (1, 1, 1))
    monkeypatch.setattr(_launch, "float32_matmul_precision", name)
    return name


@pytest.fixture(params=["g++", pytest.param("NVRTC", marks=pytest.mark.slow)])
def made(request):
    """made(headers, text, options): the kernel k, in several orders of threads or with the instructions themselves."""

    def make(headers, text, options=()):
        if request.param == "NVRTC":
            text = "".join(source(header, (SOURCES,)) for header in headers) + text
            return [Module(ptx_emulator.compiled(text, options, 90), PtxEmulator()).get_function("k")]
        text = "".join(source(header, (HERE,)) for header in headers) + text
        return [Module(compiled(text, options), Emulator(order)).get_function("k") for order in (0, 1, 2)]

    return make


def test_the_fragments_of_mma_lie_as_the_instruction_set_says(made):
    """One product of distinct numbers, handed over and taken back lane by lane as the PTX ISA's figures show it."""
    text = """
    extern "C" __global__ void k(const float* a, const float* b, float* sums) {
      int g = threadIdx.x / 4, t = threadIdx.x % 4;
      unsigned left[4] = {tf32(a[g * 8 + t]), tf32(a[g * 8 + 64 + t]), tf32(a[g * 8 + t + 4]), tf32(a[g * 8 + 68 + t])};
      unsigned right[2] = {tf32(b[t * 8 + g]), tf32(b[(t + 4) * 8 + g])};
      float d[4] = {1, 1, 1, 1};
      mma(d, left, right);
      for (int i = 0; i < 4; ++i) sums[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
    }"""
    a, b = np.arange(128, dtype=np.float32).reshape(16, 8), np.arange(200, 264, dtype=np.float32).reshape(8, 8)
    for kernel in made(["ptx.cuh"], text):
        sums = np.empty((16, 8), np.float32)
        kernel((1,), (32,), (a, b, sums))
        assert_array_equal(sums, 1 + a @ b)


@pytest.mark.parametrize("by_columns", [False, True])
def test_the_fragments_of_float16_lie_as_the_instruction_set_says(made, by_columns):
    """Handed over lane by lane as the figures of mma show it; and the same found by ldmatrix, in rows or in columns."""
    text = """
    __device__ unsigned pair(half a, half b) {
      unsigned short bits[2];
      memcpy(bits, &a, 2), memcpy(bits + 1, &b, 2);
      return bits[0] | unsigned(bits[1]) << 16;
    }
    extern "C" __global__ void k(const half* left_factor, const half* right_factor, float* sums, int* same) {
      __shared__ __align__(16) half a[16 * 16], b[16 * 8];
      for (int i = threadIdx.x; i < 16 * 16; i += 32) a[i] = left_factor[i];
      for (int i = threadIdx.x; i < 16 * 8; i += 32) b[i] = right_factor[i];
      __syncthreads();
      int g = threadIdx.x / 4, t = threadIdx.x % 4, i = threadIdx.x / 8, j = threadIdx.x % 8;
      auto A = [&](int m, int k) { return a[BY_COLUMNS ? k * 16 + m : m * 16 + k]; };
      auto B = [&](int k, int n) { return b[BY_COLUMNS ? k * 8 + n : n * 16 + k]; };
      unsigned left[4] = {pair(A(g, 2 * t), A(g, 2 * t + 1)), pair(A(g + 8, 2 * t), A(g + 8, 2 * t + 1)),
                          pair(A(g, 2 * t + 8), A(g, 2 * t + 9)), pair(A(g + 8, 2 * t + 8), A(g + 8, 2 * t + 9))};
      unsigned right[2] = {pair(B(2 * t, g), B(2 * t + 1, g)), pair(B(2 * t + 8, g), B(2 * t + 9, g))};
      float d[4] = {1, 1, 1, 1};
      mma_f16(d, left, right[0], right[1]);
      for (int i = 0; i < 4; ++i) sums[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
      unsigned found[4];
      int line = i % 2 * 8, k = i / 2 * 8;  // where matrix i of a begins
      load_matrices<BY_COLUMNS>(found, BY_COLUMNS ? a + (k + j) * 16 + line : a + (line + j) * 16 + k);
      same[threadIdx.x] = found[0] == left[0] && found[1] == left[1] && found[2] == left[2] && found[3] == left[3];
      load_matrices<BY_COLUMNS>(found, BY_COLUMNS ? b + (i % 2 * 8 + j) * 8 : b + j * 16 + i % 2 * 8);
      same[threadIdx.x] += found[0] == right[0] && found[1] == right[1];
    }"""
    a, b = np.arange(256, dtype=np.float16).reshape(16, 16), np.arange(200, 328, dtype=np.float16).reshape(16, 8)
    given = (a.T.copy(), b) if by_columns else (a, b.T.copy())
    for kernel in made(["half.cuh", "ptx.cuh"], text, (f"-DBY_COLUMNS={int(by_columns)}",)):
        sums, same = np.empty((16, 8), np.float32), np.empty(32, np.int32)
        kernel((1,), (32,), (*given, sums, same))
        assert_array_equal(sums, 1 + a.astype(np.float32) @ b.astype(np.float32))
        assert_array_equal(same, 2)


def test_what_tensor_cores_cut_off_does_not_add_up(repaired):
    """Thousands of terms of one sign: cut off towards zero, each addition to the sum would make it smaller."""
    K, random = 4608, np.random.default_rng(0)  # that of ResNet-50's last 3 x 3 convolutions
    x, w = (random.uniform(0.5, 1, shape).astype(np.float32) for shape in ((64, K), (K, 32)))
    assert_sums_agree("linear_forward", (x, w, None, None), cuda, DIGITS[repaired])


@SETTINGS
@given(
    M=SIZES, N=st.integers(1, 20) | st.integers(63, 66), K=st.integers(1, 20) | st.sampled_from([32, 33, 64, 97, 130])
)
def test_linear_layers_are_the_reference(precision, M, N, K):
    x, w, b, dy = arrays(M, N, K, np.float32)
    for name, arguments in [
        ("linear_forward", (x, w, b, None)),
        ("linear_backward_input", (dy, w)),
        ("linear_backward_weight", (dy, x)),
    ]:
        assert_sums_agree(name, arguments, cuda, DIGITS[precision])


@SETTINGS
@given(problem=problems())
def test_convolutions_are_the_reference(precision, problem):
    for name, arguments in calls(problem, np.float32):
        assert_sums_agree(name, with_algorithm(arguments), cuda, DIGITS[precision])


@SETTINGS
@given(rows=axes(), columns=axes(), C=st.sampled_from([4, 8, 36]), O=st.sampled_from([4, 12, 68]))
def test_convolutions_in_steps_of_16_bytes_are_the_reference(precision, rows, columns, C, O):
    (H, KH, SH, vertical, DH), (W, KW, SW, horizontal, DW) = rows, columns
    problem = case((2, H, W, C), (KH, KW, C, O), (SH, SW), (vertical, horizontal), (DH, DW))
    for name, arguments in calls(problem, np.float32):
        assert_sums_agree(name, with_algorithm(arguments), cuda, DIGITS[precision])


@SETTINGS
@given(M=SIZES, N=st.integers(1, 20) | st.sampled_from([64, 66, 72]), K=st.sampled_from([1, 2, 6, 8, 32, 34, 64, 97]))
def test_half_precision_is_the_reference_rounded(precision, M, N, K):
    """Products of float16 are exact in TF32 and added up in float32: what is lost is that the sum becomes a float16."""
    x, w, b, dy = arrays(M, N, K, np.float16)
    for name, arguments in [
        ("linear_forward", (x, w, b, None)),
        ("linear_backward_input", (dy, w)),
        ("linear_backward_weight", (dy, x)),
    ]:
        assert_sums_agree(name, arguments, cuda, 1)


@pytest.mark.parametrize("name", LARGE)
def test_large_cases_in_half_precision_are_the_reference_rounded(precision, monkeypatch, name):
    monkeypatch.setattr(_product, "DEEP", 30)
    for kernel, arguments in calls(LARGE[name], np.float16):
        assert_sums_agree(kernel, with_algorithm(arguments), cuda, 1)


@pytest.mark.parametrize("name", LARGE)
def test_large_cases_are_the_reference(precision, monkeypatch, name):
    monkeypatch.setattr(_product, "DEEP", 30)  # the weight gradient in parts, which end somewhere within a stage
    for kernel, arguments in calls(LARGE[name], np.float32):
        assert_sums_agree(kernel, with_algorithm(arguments), cuda, DIGITS[precision])


def with_algorithm(arguments):
    """The arguments with "implicit_gemm", which all these shapes are computed by, in the place of "auto"."""
    return tuple("implicit_gemm" if isinstance(a, str) else a for a in arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["few channels", "rows in place"])
def test_nan_and_infinity_reach_what_they_reach_in_the_reference(repaired, name, value):
    """One such number at a time, in the first, a middle and the last element of each array."""
    for position in (0, 0.37, 1):
        for kernel, arguments in calls(SPREAD[name], np.float32):
            for victim in arguments[:3]:
                if isinstance(victim, np.ndarray):
                    i = int(position * (victim.size - 1))
                    kept, victim.flat[i] = victim.flat[i], value
                    with np.errstate(invalid="ignore"):
                        expected = getattr(reference, kernel)(*arguments)
                    got = getattr(cuda, kernel)(*with_algorithm(arguments))
                    assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=kernel)
                    assert_array_equal(got[np.isinf(got)], expected[np.isinf(expected)], err_msg=kernel)
                    victim.flat[i] = kept


def test_numbers_too_large_for_tf32_are_multiplied_nevertheless(repaired):
    """The largest floats are rounded to infinity; the sums they are in are those of float32."""
    x, w, _, _ = arrays(20, 9, 8, np.float32)
    x[3, 5] = np.finfo(np.float32).max
    w[5] = 0.25
    assert_sums_agree("linear_forward", (x, w, None, None), cuda, DIGITS[repaired])


def test_what_chooses_the_way(monkeypatch):
    """Large products of float32 take tensor cores, in vectors where 16 bytes begin at each row; others do not."""
    monkeypatch.setattr(_launch, "gpu", Emulator())
    monkeypatch.setattr(_launch, "float32_matmul_precision", "highest")  # so that it is put back
    a, b = np.zeros((512, 512), np.float32), np.zeros((512, 512), np.float32)

    def options(M, N, K, a=a, b=b, cut=False):
        return " ".join(_product.core(M, N, K, (a, K), (b, N), cut=cut).options).replace("-D", "")

    assert options(64, 32, 32) == "TERMS=3 VECTOR=4 COLUMNS=64"
    assert options(64, 32, 33) == "TERMS=3 VECTOR=1 COLUMNS=64"
    assert options(64, 34, 32) == "TERMS=3 VECTOR=1 COLUMNS=64"
    assert options(64, 32, 32, a=a.reshape(-1)[1:]) == "TERMS=3 VECTOR=1 COLUMNS=64"
    assert options(128 * 256, 68, 32) == options(128 * 128, 256, 32) == "TERMS=3 VECTOR=4 COLUMNS=128"
    assert options(128 * 256, 64, 32) == options(128 * 255, 68, 32) == "TERMS=3 VECTOR=4 COLUMNS=64"
    assert options(64, 68, 32, cut=True) == "TERMS=3 VECTOR=4 COLUMNS=128"
    assert options(63, 32, 32) == options(64, 31, 32) == options(64, 32, 31) == options(10**6, 17, 99) == "COLUMNS=64"
    assert options(10**6, 16, 10**6) == options(63, 1, 1) == "COLUMNS=16"
    assert options(64, 32, 32, a=a.astype(float), b=b.astype(float)) == "COLUMNS=64"
    half = {"a": a.astype(np.float16), "b": b.astype(np.float16)}
    assert options(64, 32, 32, **half) == "TERMS=1 VECTOR=8 COLUMNS=64"
    assert options(64, 34, 36, **half) == "TERMS=1 VECTOR=2 COLUMNS=64"
    assert options(64, 33, 32, **half) == "COLUMNS=64"
    _launch.set_float32_matmul_precision("high")
    assert options(64, 32, 32) == "TERMS=1 VECTOR=4 COLUMNS=64"
    with pytest.raises(ValueError, match="must be 'highest' or 'high', got 'medium'"):
        _launch.set_float32_matmul_precision("medium")
    monkeypatch.setattr(Emulator, "capability", 75)  # a card whose tensor cores do not know TF32
    assert options(64, 32, 32) == "COLUMNS=64"


def test_high_is_less_than_highest(emulator, monkeypatch):
    x, w, _, _ = arrays(130, 70, 40, np.float32)
    results = {}
    for precision in DIGITS:
        monkeypatch.setattr(_launch, "float32_matmul_precision", precision)
        results[precision] = abs(cuda.linear_forward(x, w, None, None) - x.astype(float) @ w).max()
    assert results["high"] > 100 * results["highest"]
