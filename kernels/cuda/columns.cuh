// Sums down the columns of a matrix. Where there are many rows, a launch adds up some of them in each block, and a second
// one those sums; the order depends on the shape alone.
//
// A block has 256 threads, `across` of them side by side, so that they read neighbours in memory, and the others some rows
// below. In the end what these have found is added in pairs.
#pragma once
#include "common.cuh"

constexpr int ADDERS = 256;  // threads

// store(column, sum over rows from first up to last of term(row, column)), for `width` columns from blockIdx.x * width.
template <class Term, class Store>
__device__ __forceinline__ void add_columns(int columns, int width, int first, int last, const Term& term,
                                            const Store& store) {
  __shared__ wide sums[ADDERS];
  int start = blockIdx.x * width, across = min(columns - start, width);
  int down = ADDERS / across, row = threadIdx.x / across, column = start + threadIdx.x % across;
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
