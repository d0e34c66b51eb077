// Sums down the columns of a tall matrix, in two launches: a block adds up some of the rows, then one block all those
// sums. The order depends on the shape alone.
//
// A block has 256 threads. If the matrix has fewer columns, they take several rows at a time, so that neighbouring threads
// always read neighbours in memory. In the end the sums of these rows are added in pairs.
#pragma once
#include "common.cuh"

constexpr int BLOCK_COLUMNS = 256;  // threads

// store(column, sum over rows from first up to last of term(row, column)), for columns blockIdx.x * 256 and after.
template <class Term, class Store>
__device__ __forceinline__ void add_columns(int columns, int first, int last, const Term& term, const Store& store) {
  __shared__ wide sums[BLOCK_COLUMNS];
  int start = blockIdx.x * BLOCK_COLUMNS, across = min(columns - start, BLOCK_COLUMNS);
  int down = BLOCK_COLUMNS / across, row = threadIdx.x / across, column = start + threadIdx.x % across;
  wide sum = 0;
  if (row < down) {
#pragma unroll 4
    for (int r = first + row; r < last; r += down) sum += term(r, column);
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  while (down > 1) {
    int kept = (down + 1) / 2;
    if (row < down - kept) sums[threadIdx.x] += sums[threadIdx.x + kept * across];
    __syncthreads();
    down = kept;
  }
  if (row == 0) store(column, sums[threadIdx.x]);
}
