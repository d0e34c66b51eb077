// What all kernels share: the types of numbers, and how a block walks over elements.
#pragma once

#include "half.cuh"

typedef REAL real;  // what arrays hold
typedef WIDE wide;  // what is computed with, and what sums are kept in

// EACH(i, n) { ... } runs the body for every i below n, once in the whole grid. A block takes THREADS * AT_ONCE
// neighbouring elements, and neighbouring threads take neighbours, so that a warp reads whole lines of memory. Each
// thread has AT_ONCE elements: several loads on their way at the same time are what fills the bus.
#define AT_ONCE 4
#define EACH(i, n)                                                                              \
  _Pragma("unroll") for (unsigned each = 0, i = blockIdx.x * AT_ONCE * blockDim.x + threadIdx.x; \
                         each < AT_ONCE; ++each, i += blockDim.x)                               \
  if (i < n)

// The sum over a warp: after log2(32) exchanges every lane has the whole.
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
  for (int other = 16; other > 0; other /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, other);
  return v;
}
