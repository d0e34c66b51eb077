// How a grid shares an image out whose every number is computed from a window of another image.
//
// A block takes pixels of one row: threadIdx.y is a column, threadIdx.x a channel. A thread has AT_ONCE channels of its
// pixel, blockDim.x apart. So what belongs to a pixel (which window, divisions) is computed once for all of them, the
// threads of a warp read neighbouring channels, and each has AT_ONCE loads on their way at the same time.
#pragma once
#include "common.cuh"

// The body of the first runs for every column of this thread; in it, that of the second for every group of AT_ONCE
// channels, of which c is the first.
#define EACH_COLUMN(w, W) \
  for (unsigned w = blockIdx.y * blockDim.y + threadIdx.y; w < unsigned(W); w += gridDim.y * blockDim.y)
#define EACH_CHANNELS(c, C) for (unsigned c = threadIdx.x; c < unsigned(C); c += AT_ONCE * blockDim.x)

// Channel a of the group that begins with c. Where there are fewer channels than that, the last one is read again: with
// a branch at every load, each of them would wait for the one before.
__device__ __forceinline__ unsigned channel(unsigned c, unsigned C, int a) { return min(c + a * blockDim.x, C - 1); }

// The numbers of the group whose first one is x[i].
template <class T>
__device__ __forceinline__ void read_channels(const T* __restrict__ x, unsigned i, unsigned c, unsigned C,
                                              T (&values)[AT_ONCE]) {
#pragma unroll
  for (int a = 0; a < AT_ONCE; ++a) values[a] = x[i + channel(c, C, a) - c];
}

// The numbers of the group to where they belong, from y[i] on.
template <class T, class U>
__device__ __forceinline__ void write_channels(T* __restrict__ y, unsigned i, unsigned c, unsigned C,
                                               const U (&values)[AT_ONCE]) {
#pragma unroll
  for (int a = 0; a < AT_ONCE; ++a) {
    if (c + a * blockDim.x < C) y[i + a * blockDim.x] = values[a];
  }
}

struct Range {  // of cells or windows on one axis: from `first` on, without `last`
  int first, last;
};
