// Work on the rows of a matrix (M, K). A warp has a row of its own, or, where rows are long, a block has.
//
// The block is threads x rows (see `launch_rows` in softmax.py): 32 x 8, or 256 x 1. Neighbouring threads take
// neighbouring numbers, so that they read whole lines of memory; the second time a row is read it is in the cache.
#pragma once
#include "common.cuh"

#define ROW int(blockIdx.x * blockDim.y + threadIdx.y)  // of this thread

// ALONG(k, K) { ... } runs the body for the k below K that are this thread's: for sums.
#define ALONG(k, K)                                                                                 \
  for (unsigned first = threadIdx.x; first < K; first += AT_ONCE * blockDim.x)                       \
    _Pragma("unroll") for (unsigned each = 0, k = first; each < AT_ONCE; ++each, k += blockDim.x)    \
  if (k < K)

template <class T>
struct Group {  // of a thread's numbers of a row: see common.cuh
  wide at[AT_ONCE];
  __device__ __forceinline__ Group(const T* row, unsigned k, int K) { read_group(row, k, K, at); }
};

template <class Formula, class... T>
__device__ __forceinline__ void write_results(real* y, unsigned k, int K, const Formula& formula, Group<T>... x) {
  wide results[AT_ONCE];
  for (int a = 0; a < AT_ONCE; ++a) results[a] = formula(x.at[a]...);
  write_group(y, k, K, results);
}

// y[k] = formula(x[k] ...) for all k below K: a thread reads a group of each row, then computes, then writes.
template <class Formula, class... T>
__device__ __forceinline__ void along(int K, real* y, const Formula& formula, const T*... x) {
  for (unsigned k = threadIdx.x; k < K; k += AT_ONCE * blockDim.x) {
    write_results(y, k, K, formula, Group<T>(x, k, K)...);
  }
}

struct Sum {
  template <class T>
  static __device__ __forceinline__ T of(T a, T b) {
    return a + b;
  }
};

struct Larger {
  template <class T>
  static __device__ __forceinline__ T of(T a, T b) {
    return max(a, b);
  }
};

// Combine the numbers of all threads of a row, in a fixed order: over a warp in 5 exchanges, then over its warps.
// Every thread of the row must come here, and gets the result.
template <class Way, class T>
__device__ __forceinline__ T over_row(T v) {
  for (int other = 16; other > 0; other /= 2) v = Way::of(v, __shfl_xor_sync(0xFFFFFFFFu, v, other));
  if (blockDim.x == 32) return v;
  __shared__ T of_warp[32];
  __syncthreads();  // the last call's numbers have been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  v = of_warp[0];
  for (int warp = 1; warp < blockDim.x / 32; ++warp) v = Way::of(v, of_warp[warp]);
  return v;
}

// What softmax must know of a row: y[k] = e^(x[k] - largest) / total.
struct Exponentials {
  wide largest, total;
};

__device__ __forceinline__ Exponentials exponentials(int K, const real* __restrict__ x) {
  wide largest = x[0], total = 0;
  ALONG(k, K) largest = max(largest, wide(x[k]));  // a NaN may lose here, but not in the sum
  largest = over_row<Larger>(largest);
  ALONG(k, K) total += exp(x[k] - largest);
  return {largest, over_row<Sum>(total)};
}
