// Softmax and its logarithm: a warp has a short row, a block a long one. Nothing but the result is written: an
// exponential is taken twice rather than kept in memory.
#include "rows.cuh"

extern "C" __global__ void softmax_forward(int M, int K, const real* __restrict__ x, real* __restrict__ y) {
  if (ROW >= M) return;
  x += ROW * K, y += ROW * K;
  Exponentials row = exponentials(K, x);
  wide scale = 1 / row.total;
  along(K, y, [=](wide x) { return exp(x - row.largest) * scale; }, x);
}

extern "C" __global__ void softmax_backward(int M, int K, const real* __restrict__ dy, const real* __restrict__ y,
                                            real* __restrict__ dx) {
  if (ROW >= M) return;
  dy += ROW * K, y += ROW * K, dx += ROW * K;
  wide total = 0;
  ALONG(k, K) total += wide(dy[k]) * wide(y[k]);
  total = over_row<Sum>(total);
  along(K, dx, [=](wide dy, wide y) { return y * (dy - total); }, dy, y);
}

extern "C" __global__ void log_softmax_forward(int M, int K, const real* __restrict__ x, real* __restrict__ y) {
  if (ROW >= M) return;
  x += ROW * K, y += ROW * K;
  Exponentials row = exponentials(K, x);
  wide logarithm = log(row.total);
  // First the difference of the two large numbers, then the small one: the other order loses digits.
  along(K, y, [=](wide x) { return (x - row.largest) - logarithm; }, x);
}

extern "C" __global__ void log_softmax_backward(int M, int K, const real* __restrict__ dy, const real* __restrict__ y,
                                                real* __restrict__ dx) {
  if (ROW >= M) return;
  dy += ROW * K, y += ROW * K, dx += ROW * K;
  wide total = 0;
  ALONG(k, K) total += wide(dy[k]);
  total = over_row<Sum>(total);
  along(K, dx, [=](wide dy, wide y) { return dy - exp(y) * total; }, dy, y);
}
