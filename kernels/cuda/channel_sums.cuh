// Sums over the rows of a matrix, where a column is a channel: neighbouring threads (threadIdx.x) have neighbouring
// channels, so that a warp reads whole lines of memory, and threadIdx.y shares the rows out.
//
// The sums are kept in double, also those of float numbers: a mean is taken over millions of them, and a variance is a
// difference of two sums. That is one conversion more for each number that is read from memory.
#pragma once
#include "common.cuh"

#define MOST_THREADS 256  // of a block that adds up: THREADS of _launch.py

// The sum of `value` over threadIdx.y, in the thread with threadIdx.y = 0. Every thread of the block must call it.
__device__ __forceinline__ double column_sum(double value) {
  __shared__ double sums[MOST_THREADS];
  unsigned me = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();  // a sum before this one may still be read
  sums[me] = value;
  for (unsigned n = blockDim.y; n > 1;) {  // the upper half is added to the lower one; of an odd n one has no partner
    unsigned half = (n + 1) / 2;
    __syncthreads();
    if (threadIdx.y + half < n) sums[me] += sums[me + half * blockDim.x];
    n = half;
  }
  return sums[me];
}

// The sum of `value` over a block of whole warps, in every thread. Every thread of the block must call it.
__device__ __forceinline__ double block_sum(double value) {
  __shared__ double sums[MOST_THREADS / 32];
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  for (int warp = 0; warp < blockDim.x / 32; ++warp) total += sums[warp];
  return total;
}
