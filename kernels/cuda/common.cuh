// What all kernels share: the types of numbers, how many of them a thread reads at once, and a sum.
#pragma once

typedef REAL real;  // what arrays hold
typedef WIDE wide;  // what is computed with, and what sums are kept in

#define AT_ONCE 4  // numbers that a thread sends for in one go, if they are single ones and not vectors (each.cuh)

// The sum over a warp: after log2(32) exchanges every lane has the whole.
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
  for (int other = 16; other > 0; other /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, other);
  return v;
}
