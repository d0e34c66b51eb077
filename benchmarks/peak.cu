// What the units of a GPU do at best: multiply-adds whose numbers all stay in registers, so that nothing has to be waited
// for. gpu_roofs.py measures with them the limits that it compares the kernels of minicnn to.
//
// A result is ready some cycles after its instruction was begun. So a thread has CHAINS sums, each of which needs only its
// own last value, and there are as many warps as a multiprocessor takes.
#include "ptx.cuh"

constexpr int PEAK_THREADS = 256, CHAINS = 8;  // gpu_roofs.py counts with them

// By the ordinary units: each sum becomes sum * a + b, `rounds` times. out: a number for each thread, the sum of its sums.
extern "C" __global__ void __launch_bounds__(PEAK_THREADS)
    multiply_adds(int rounds, const float* __restrict__ x, float* __restrict__ out) {
  const float a = x[0], b = x[1];
  float sums[CHAINS], total = 0;
#pragma unroll
  for (int i = 0; i < CHAINS; ++i) sums[i] = x[threadIdx.x % 32 + i];
#pragma unroll 16
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) sums[i] = fmaf(sums[i], a, b);
#pragma unroll
  for (int i = 0; i < CHAINS; ++i) total += sums[i];
  out[blockIdx.x * PEAK_THREADS + threadIdx.x] = total;
}

// By tensor cores: a product of 16 x 8 and 8 x 8 numbers is added to each of a warp's sums, `rounds` times. x: six numbers
// for each lane, its four of the first factor and its two of the second. out: four for each thread.
extern "C" __global__ void __launch_bounds__(PEAK_THREADS)
    tensor_cores(int rounds, const float* __restrict__ x, float* __restrict__ out) {
  const float* mine = x + threadIdx.x % 32 * 6;
  unsigned a[4], b[2];
  float sums[CHAINS][4];
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = tf32(mine[i]);
#pragma unroll
  for (int i = 0; i < 2; ++i) b[i] = tf32(mine[4 + i]);
#pragma unroll
  for (int i = 0; i < CHAINS; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[i][j] = i;  // each its own: the compiler would make one of equal ones
#pragma unroll 4
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) mma(sums[i], a, b);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    float total = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) total += sums[i][j];
    out[(blockIdx.x * PEAK_THREADS + threadIdx.x) * 4 + j] = total;
  }
}
