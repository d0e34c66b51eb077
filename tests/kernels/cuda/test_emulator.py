"""The emulator finds what it says it finds: each kernel here has one fault, or shows one rule."""

import numpy as np
import pytest
from emulator import Emulator, Module, compiled

from minicnn.kernels import cuda
from minicnn.kernels.cuda import _launch, _product

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


WRITE = "(float* y, int i) { y[i] = 1; }"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("numbers", [8, 1023, 1024, 5000])
def test_a_write_outside_of_an_array_is_an_error(numbers, order):
    for index in (-(2**20), -1300, -4, -1, 0, 3, 4, 1300, 20_000, 2**20):
        y = np.zeros(numbers, np.float32)
        with pytest.raises(IndexError, match=rf"k.* of an array of the shape \({numbers},\)"):
            kernel(WRITE, order)((1,), (1,), (y, np.int32(index if index < 0 else numbers + index)))
        assert not y.any()


def test_a_read_outside_is_found_even_where_the_kernel_loses_the_nan():
    """Four bytes behind an array's end, or in the backward order before its beginning; and by way of null."""
    read = "(const float* x, float* y, int i) { *y = fmaxf(x[i], 0.f); }"
    x, y = np.ones(4, np.float32), np.zeros(1, np.float32)
    for order, index, where in ((0, 4, "0 bytes behind the end"), (1, -1, "4 bytes before the beginning")):
        message = rf"thread \(0, 0, 0\) reached to where no array is: {where} of an array of the shape \(4,\)"
        with pytest.raises(IndexError, match=message):
            kernel(read, order)((1,), (1,), (x, y, np.int32(index)))
        kernel(read, order)((1,), (1,), (x, y, np.int32(3)))  # the next launch is as good as any
        assert y == 1
    with pytest.raises(RuntimeError, match=r"reached to where no array is$"):
        kernel(read)((1,), (1,), (np.uintp(0), y, np.int32(1)))


def test_threads_that_wait_while_another_goes_astray_are_forgotten():
    text = """(float* y, int i) {
      __syncthreads();
      if (threadIdx.x == 5) y[i] = 1;
      __syncthreads();
      y[threadIdx.x] = 2;
    }"""
    for order in ORDERS:
        astray, y = kernel(text, order), np.zeros(70, np.float32)
        for _ in range(3):
            with pytest.raises(IndexError, match=r"thread \(5, 0, 0\)"):
                astray((2,), (70,), (y, np.int32(9999)))
        astray((2,), (70,), (y, np.int32(9)))
        assert (y == 2).all()


def test_a_write_to_an_array_that_is_read_only_is_an_error():
    y = np.zeros(4, np.float32)
    y.flags.writeable = False
    with pytest.raises(ValueError, match=r"k wrote to an array of the shape \(4,\), which is read-only"):
        kernel(WRITE)((1,), (1,), (y, np.int32(2)))
    kernel("(float* y) {}")((1,), (1,), (y,))


def test_an_index_behind_an_array_of_constant_size_is_an_error():
    text = "(float* y, int i) { __shared__ float s[5]; float a[3] = {}; s[i] = 1; y[0] = a[i - 2]; }"
    kernel(text)((1,), (1,), (np.zeros(1, np.float32), np.int32(4)))
    for index in (5, 1):
        with pytest.raises(RuntimeError, match="an index behind the end of an array of constant size"):
            kernel(text)((1,), (1,), (np.zeros(1, np.float32), np.int32(index)))


def test_a_vector_at_an_address_that_is_no_multiple_of_its_size_is_an_error():
    x, y = np.arange(12, dtype=np.float32), np.zeros(1, np.float32)
    x = x[-x.ctypes.data % 16 // 4 :][:8]
    read = kernel("(const float* x, float* y, int i) { *y = ((const float4*)(x + i))->z; }")
    read((1,), (1,), (x, y, np.int32(4)))
    assert y == x[6]
    for array, index in ((x, 2), (x[2:], 4)):
        with pytest.raises(RuntimeError, match="a vector at an address that is no multiple"):
            read((1,), (1,), (array, y, np.int32(index)))


SHARED = """(float* y, int i) {
  extern __shared__ float s[];
  READ_OR_WRITE;
}"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("what", ["s[i] = 1", "y[0] = fmaxf(s[i], 0.f)"])
def test_shared_memory_that_the_launch_did_not_ask_for_is_an_error(what, order):
    y, run = np.zeros(1, np.float32), kernel(SHARED, order, (f"-DREAD_OR_WRITE={what}",))
    run((2,), (1,), (y, np.int32(7)), shared_mem=32)
    for index in (-1, 8) if "= 1" in what else (-1,) if order == 1 else (8,):  # a read: see the closed page
        with pytest.raises(IndexError, match="of the 32 bytes of shared memory"):
            run((2,), (1,), (y, np.int32(index)), shared_mem=32)
    with pytest.raises(RuntimeError, match="reached to where no array is"):
        run((2,), (1,), (y, np.int32(0)))


def test_a_product_that_asks_for_three_quarters_of_its_shared_memory_is_an_error(monkeypatch):
    x, w = np.ones((128, 96), np.float32), np.ones((96, 64), np.float32)
    monkeypatch.setattr(_launch, "gpu", Emulator())
    assert (cuda.linear_forward(x, w, None, None) == 96).all()
    less = {key: core._replace(shared=core.shared * 3 // 4) for key, core in _product.TENSOR_CORES.items()}
    monkeypatch.setattr(_product, "TENSOR_CORES", less)
    with pytest.raises(IndexError, match=r"behind the end of the [0-9]+ bytes of shared memory"):
        cuda.linear_forward(x, w, None, None)


def test_shared_memory_between_what_was_asked_for_and_the_next_closed_page():
    """5 numbers are no multiple of 16 bytes: what is read behind them is NaN, and a write is found."""
    y = np.zeros(1, np.float32)
    kernel(SHARED, 0, ("-DREAD_OR_WRITE=y[0] = s[i]",))((2,), (1,), (y, np.int32(5)), shared_mem=20)
    assert np.isnan(y[0])
    write = kernel(SHARED, 0, ("-DREAD_OR_WRITE=s[i] = 1",))
    for index in range(5, 40):
        with pytest.raises(IndexError, match="of the 20 bytes of shared memory"):
            write((2,), (1,), (y, np.int32(index)), shared_mem=20)


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


COPY = """(const float* x, float* y, int from, int to) {
  extern __shared__ __align__(16) float s[];
  emulator::copy_later(s + to, x + from, 16);
  emulator::commit_copies();
  y[0] = s[1];
  emulator::wait_for_copies(0);
  y[1] = s[1];
}"""


def test_a_copy_must_begin_at_a_multiple_of_its_bytes_and_comes_with_the_wait_for_it():
    x, y = np.arange(12, dtype=np.float32), np.zeros(2, np.float32)
    kernel(COPY)((1,), (1,), (x, y, np.int32(4), np.int32(0)), shared_mem=16)
    assert np.isnan(y[0])
    assert y[1] == 5
    for begin in ((2, 0), (4, 1)):
        with pytest.raises(RuntimeError, match="a copy at an address that is no multiple of its size"):
            kernel(COPY)((1,), (1,), (x, y, *map(np.int32, begin)), shared_mem=32)


@pytest.mark.parametrize("order", ORDERS)
def test_a_copy_to_or_from_elsewhere_is_an_error(order):
    x, y = np.arange(12, dtype=np.float32), np.zeros(2, np.float32)
    outside = [(0, 8), (0, 36), (0, -4), *([(-4, 0)] if order == 1 else [(12, 0)])]
    for begin in outside:
        with pytest.raises(IndexError, match="of the 32 bytes of shared memory" if begin[1] else "of the shape"):
            kernel(COPY, order)((1,), (1,), (x, y, *map(np.int32, begin)), shared_mem=32)


def test_what_does_not_compile_is_an_error():
    with pytest.raises(RuntimeError, match="does not compile"):
        kernel("(float* y) { undeclared = 1; }")
