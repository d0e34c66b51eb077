// Sums down the columns of a matrix. Where there are many rows, a launch adds up some of them in each block, and a
// second one those sums; the order depends on the shape alone.
//
// A block has threadIdx.x side by side, so that they read neighbours in memory, and threadIdx.y shares the rows out. In
// the end what these have found is added in pairs. T: double where means of millions are taken, and variances, which
// are differences of two sums; that is one conversion more for each number that is read.
#pragma once
#include "common.cuh"

#define ADDERS 256  // threads of a block, at most: THREADS of _launch.py

// How many of the rows from `first` up to `last` are this thread's, of which `first` is one. Loops over them count, so
// that the compiler knows when as many are left as it unrolls: it does them in one go, and sends for their numbers first.
__device__ __forceinline__ unsigned rows_between(unsigned first, unsigned last) {
  return first < last ? (last - first + blockDim.y - 1) / blockDim.y : 0;
}

// The sum of `value` over threadIdx.y, in the thread with threadIdx.y = 0. Every thread of the block must call it.
template <class T>
__device__ __forceinline__ T column_sum(T value) {
  __shared__ T sums[ADDERS];
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

// store(column, sum over rows from first up to last of term(row, column)), for the columns of this block.
template <class Term, class Store>
__device__ __forceinline__ void add_columns(int columns, int first, int last, const Term& term, const Store& store) {
  int column = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned row = first + threadIdx.y, count = column < columns ? rows_between(row, last) : 0;
  wide sum = 0;
#pragma unroll 8
  for (unsigned i = 0; i < count; ++i, row += blockDim.y) sum += term(row, column);
  sum = column_sum(sum);
  if (threadIdx.y == 0 && column < columns) store(column, sum);
}
