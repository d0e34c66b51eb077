// What all kernels share: the types of numbers, and how a thread reads and writes some of a row.
#pragma once

#include "half.cuh"

typedef REAL real;  // what arrays hold
typedef WIDE wide;  // what is computed with, and what sums are kept in

// Where a number lies, if there is one: in the padding of an image there is none, and `at` leads nowhere.
struct Place {
  const real* at;
  bool exists;
};

__device__ __forceinline__ wide number(const Place& place) { return place.exists ? wide(*place.at) : wide(0); }

#define AT_ONCE 4  // numbers of a group

// A thread has its numbers of a row in groups: number i of the row, i + blockDim.x and so on. So neighbouring threads
// have neighbours, and a warp reads whole lines of memory. Several loads on their way at the same time are what fills
// the bus: where the row ends within the group, its last number is read again rather than nothing, since with a branch
// at every load each of them would wait for the one before.
__device__ __forceinline__ unsigned member(unsigned i, unsigned n, int a) { return min(i + a * blockDim.x, n - 1); }

template <class T, class U, int SIZE>
__device__ __forceinline__ void read_group(const T* __restrict__ row, unsigned i, unsigned n, U (&values)[SIZE]) {
#pragma unroll
  for (int a = 0; a < SIZE; ++a) values[a] = row[member(i, n, a)];
}

template <class T, class U, int SIZE>
__device__ __forceinline__ void write_group(T* __restrict__ row, unsigned i, unsigned n, const U (&values)[SIZE]) {
#pragma unroll
  for (int a = 0; a < SIZE; ++a) {
    if (i + a * blockDim.x < n) row[i + a * blockDim.x] = values[a];
  }
}
