// The fully connected layer: three products of matrices that lie in memory as they are. `gemm.cuh` explains the
// product; here stands only which operand is which.
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
