// The fully connected layer: three products of matrices that lie in memory as they are, and the column sums of a bias.
// `gemm.cuh` explains the product; here stands only which operand is which.
#include "columns.cuh"
#include "gemm.cuh"

// y (M, N) = activation(x (M, K) @ w (K, N) + b)
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
    linear_forward(int M, int N, int K, const real* __restrict__ x, const real* __restrict__ w,
                   const real* __restrict__ b, int activation, real* __restrict__ y) {
  multiply(Matrix<true>{x, M, K}, Matrix<false>{w, N, N}, 0, K, Rows<real>{y, b, N, activation});
}

// dx (M, N) = dy (M, K) @ w (N, K).T
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
    linear_backward_input(int M, int N, int K, const real* __restrict__ dy, const real* __restrict__ w,
                          real* __restrict__ dx) {
  multiply(Matrix<true>{dy, M, K}, Matrix<true>{w, N, K}, 0, K, Rows<real>{dx, nullptr, N, LINEAR});
}

// dw (M, N) = x (K, M).T @ dy (K, N), of which part blockIdx.y takes `depth` samples: sums (parts, M, N).
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
    linear_backward_weight(int M, int N, int K, int depth, const real* __restrict__ x, const real* __restrict__ dy,
                           wide* __restrict__ sums) {
  int begin = blockIdx.y * depth;
  multiply(Matrix<false>{x, M, M}, Matrix<false>{dy, N, N}, begin, min(K, begin + depth),
           Rows<wide>{sums + size_t(blockIdx.y) * M * N, nullptr, N, LINEAR});
}

// result (n,) = the sum of parts (count, n), one part after another.
extern "C" __global__ void add_parts(int n, real* __restrict__ result, const wide* __restrict__ parts, int count) {
  EACH(i, n) {
    wide sum = 0;
    for (int part = 0; part < count; ++part) sum += parts[size_t(part) * n + i];
    result[i] = sum;
  }
}

// db (O,) = column sums of dy (rows, O): block (.., y) those of `depth` rows, which is row y of sums (parts, O).
extern "C" __global__ void bias_backward(int rows, int O, int depth, const real* __restrict__ dy,
                                         wide* __restrict__ sums) {
  int first = blockIdx.y * depth;
  add_columns(O, first, min(rows, first + depth), [&](int r, int o) { return wide(dy[r * O + o]); },
              [&](int o, wide sum) { sums[blockIdx.y * O + o] = sum; });
}

extern "C" __global__ void bias_backward_last(int parts, int O, const wide* __restrict__ sums,
                                              real* __restrict__ db) {
  add_columns(O, 0, parts, [&](int r, int o) { return sums[r * O + o]; }, [&](int o, wide sum) { db[o] = sum; });
}
