"""The emulator finds what it says it finds: each kernel here has one fault, or shows one rule."""

import numpy as np
import pytest
from emulator import Emulator, Module, compiled

ORDERS = (0, 1, 2, 3)


def kernel(text, order=0, options=()):
    """The only kernel of a text, which is called k."""
    return Module(compiled(f'extern "C" __global__ void k{text}', options), Emulator(order)).get_function("k")


SUM = """(const float* x, float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (threadIdx.x < half) s[threadIdx.x] += s[threadIdx.x + half];
    BARRIER;
  }
  if (threadIdx.x == 0) *y = s[0];
}"""


def sums(barrier):
    x, y = np.arange(64, dtype=np.float32), np.empty(1, np.float32)
    for order in ORDERS:
        kernel(SUM, order, (f"-DBARRIER={barrier}",))((1,), (64,), (x, y))
        yield float(y[0])


def test_a_barrier_orders_the_threads_and_a_missing_one_is_seen_in_some_order():
    assert set(sums("__syncthreads()")) == {2016.0}
    assert set(sums("")) != {2016.0}


def test_a_warp_that_runs_ahead_of_another_is_seen():
    """Warp 0 writes the second number where warp 1 may not yet have read the first."""
    text = """(int* y, int n) {
      __shared__ int s;
      for (int i = 0; i < n; ++i) {
        if (threadIdx.x == 0) s = i;
        __syncthreads();
        if (s != i) *y = 1;
        __syncwarp();
        BARRIER;
      }
    }"""
    for barrier, seen in (("__syncthreads()", {0}), ("", {0, 1})):
        found = set()
        for order in ORDERS:
            y = np.zeros(1, np.int32)
            kernel(text, order, (f"-DBARRIER={barrier}",))((1,), (64,), (y, np.int32(20)))
            found.add(int(y[0]))
        assert found == seen


def test_a_barrier_that_some_threads_do_not_reach_is_an_error():
    some = kernel("(float* y) { if (threadIdx.x < 10) __syncthreads(); }")
    with pytest.raises(RuntimeError, match=r"k: in block \(0, 0, 0\) 10 of 40 threads wait at __syncthreads"):
        some((1,), (40,), (np.zeros(1, np.float32),))
    lanes = kernel("(float* y) { if (threadIdx.x < 10) *y = __shfl_sync(~0u, 1.f, 0); }")
    with pytest.raises(RuntimeError, match="10 at a warp's meeting, and 22 have ended"):
        lanes((1,), (32,), (np.zeros(1, np.float32),))


@pytest.mark.parametrize("index", [-1, 8])
def test_a_write_outside_of_an_array_is_an_error(index):
    y = np.zeros(8, np.float32)
    with pytest.raises(IndexError, match=r"k wrote outside of an array of the shape \(8,\)"):
        kernel("(float* y, int i) { y[i] = 1; }")((1,), (1,), (y, np.int32(index)))


def test_what_nobody_has_written_is_nan():
    """Outside of an array, in a fresh result, and in the shared memory of every block."""
    y, read = np.zeros(4, np.float32), kernel("(const float* x, float* y) { y[blockIdx.x] = x[blockIdx.x]; }")
    read((4,), (1,), (np.ones(3, np.float32), y))
    assert list(y[:3]) == [1, 1, 1]
    assert np.isnan(y[3])
    assert np.isnan(Emulator().empty((2, 3), np.float32)).all()
    shared = kernel("""(float* y) {
      __shared__ float a[2][3], b;
      extern __shared__ float c[];
      y[3 * blockIdx.x] = a[1][2], y[3 * blockIdx.x + 1] = b, y[3 * blockIdx.x + 2] = c[4];
      a[1][2] = b = c[4] = 1;
    }""")
    y = np.zeros(6, np.float32)
    shared((2,), (1,), (y,), shared_mem=20)
    assert np.isnan(y).all()


def test_arguments_must_be_those_of_the_kernel():
    take = kernel("(const double* x, int n, float a) {}")
    x = np.zeros(3)
    take((1,), (1,), (x, np.int32(1), np.float32(1)))
    take((1,), (1,), (np.uintp(0), np.int32(1), np.float32(1)))
    for wrong, message in [
        ((x, np.int32(1)), "k takes 3 arguments, got 2"),
        ((x, np.int64(1), np.float32(1)), "argument 1 expected i4, got i8"),
        ((x, 1, np.float32(1)), "argument 1 expected i4, got int"),
        ((x, np.int32(1), np.int32(1)), "argument 2 expected f4, got i4"),
        ((x.astype(np.float32), np.int32(1), np.float32(1)), "expected numbers of 8 bytes, got float32"),
        ((x[::2], np.int32(1), np.float32(1)), "argument 0 must be a dense array"),
        ((None, np.int32(1), np.float32(1)), "argument 0 must be a dense array"),
    ]:
        with pytest.raises(TypeError, match=message):
            take((1,), (1,), wrong)


def test_a_struct_is_passed_by_value():
    struct = np.zeros(1, [("a", np.int32), ("b", np.float32)])
    struct["a"], struct["b"] = 3, 0.5
    y = np.zeros(2, np.float32)
    text = "struct Pair { int a; float b; };\n"
    take = Module(compiled(f'{text}extern "C" __global__ void k(Pair p, float* y) {{ y[0] = p.a; y[1] = p.b; }}', ()),
                  Emulator()).get_function("k")  # fmt: skip
    take((1,), (1,), (struct, y))
    assert list(y) == [3, 0.5]


def test_launches_that_no_gpu_would_take_are_errors():
    nothing = kernel("(float* y) {}")
    for grid, block, shared, message in [
        ((1,), (1025,), 0, "no such launch"),
        ((1,), (0,), 0, "no such launch"),
        ((1, 65536), (1,), 0, "no such launch"),
        ((1,), (1,), 228 << 10, "more than a block can have"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            nothing(grid, block, (np.zeros(1, np.float32),), shared_mem=shared)


def test_every_thread_of_a_grid_runs_once():
    y = np.zeros((5, 3, 2, 4, 3, 2), np.int32)
    kernel("""(int* y) {
      int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
      int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
      y[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 100 + thread;
    }""")((2, 3, 5), (2, 3, 4), (y,))
    expected = 100 * np.arange(30)[:, None] + np.arange(24)
    assert (y.reshape(30, 24) == expected).all()


def test_lanes_see_each_other():
    y = np.zeros((3, 40), np.int32)
    kernel("""(int* y) {
      int t = threadIdx.x;
      y[t] = __shfl_xor_sync(~0u, t, 1);
      y[40 + t] = __shfl_down_sync(~0u, t, 2);
      y[80 + t] = __shfl_sync(~0u, t, 5);
    }""", order=5)((1,), (40,), (y,))  # fmt: skip
    t = np.arange(40)
    assert (y[0] == t ^ 1).all()
    assert (y[1, :30] == t[:30] + 2).all()
    assert (y[1, 30:32] == t[30:32]).all()
    assert (y[2] == np.where(t < 32, 5, 37)).all()


def test_a_copy_must_begin_at_a_multiple_of_its_bytes_and_comes_with_the_wait_for_it():
    copy = kernel("""(const float* x, float* y, int i) {
      __shared__ __align__(16) float s[4];
      emulator::copy_later(s, x + i, 16);
      emulator::commit_copies();
      y[0] = s[1];
      emulator::wait_for_copies(0);
      y[1] = s[1];
    }""")
    x, y = np.arange(12, dtype=np.float32), np.zeros(2, np.float32)
    copy((1,), (1,), (x, y, np.int32(4)))
    assert np.isnan(y[0])
    assert y[1] == 5
    with pytest.raises(RuntimeError, match="a copy of 16 bytes does not begin at a multiple"):
        copy((1,), (1,), (x, y, np.int32(2)))


def test_what_does_not_compile_is_an_error():
    with pytest.raises(RuntimeError, match="does not compile"):
        kernel("(float* y) { undeclared = 1; }")
