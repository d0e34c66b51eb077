// The gradient of a bias, and the last step of every sum that was cut into parts.
#include "columns.cuh"

// Column sums of dy (rows, O): block (.., y) those of `depth` rows, which are row y of sums (parts, O).
extern "C" __global__ void bias_backward(int rows, int O, int depth, const real* __restrict__ dy,
                                         wide* __restrict__ sums) {
  int first = blockIdx.y * depth;
  add_columns(
      O, first, min(rows, first + depth), [&](int r, int o) { return wide(dy[r * O + o]); },
      [&](int o, wide sum) { sums[blockIdx.y * O + o] = sum; });
}

// result (n,) = column sums of parts (count, n)
extern "C" __global__ void add_parts(int count, int n, const wide* __restrict__ parts,
                                     real* __restrict__ result) {
  add_columns(
      n, 0, count, [&](int part, int i) { return parts[size_t(part) * n + i]; },
      [&](int i, wide sum) { result[i] = sum; });
}
