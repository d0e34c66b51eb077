// Softmax and its logarithm: a warp has a short row, a block a long one. Nothing but the result is written: an
// exponential is taken twice rather than kept in memory.
#include "rows.cuh"

extern "C" __global__ void softmax_forward(int M, int K, const real* __restrict__ x, real* __restrict__ y) {
  if (ROW >= M) return;
  x += ROW * K, y += ROW * K;
  Exponentials row = exponentials(K, x);
  wide scale = 1 / row.total;
  ALONG(k, K) y[k] = exp(x[k] - row.largest) * scale;
}

extern "C" __global__ void softmax_backward(int M, int K, const real* __restrict__ dy, const real* __restrict__ y,
                                            real* __restrict__ dx) {
  if (ROW >= M) return;
  dy += ROW * K, y += ROW * K, dx += ROW * K;
  wide total = 0;
  ALONG(k, K) total += wide(dy[k]) * wide(y[k]);
  total = over_row<add>(total);
  ALONG(k, K) dx[k] = wide(y[k]) * (dy[k] - total);
}

extern "C" __global__ void log_softmax_forward(int M, int K, const real* __restrict__ x, real* __restrict__ y) {
  if (ROW >= M) return;
  x += ROW * K, y += ROW * K;
  Exponentials row = exponentials(K, x);
  wide logarithm = log(row.total);
  // First the difference of the two large numbers, then the small one: the other order loses digits.
  ALONG(k, K) y[k] = (x[k] - row.largest) - logarithm;
}

extern "C" __global__ void log_softmax_backward(int M, int K, const real* __restrict__ dy, const real* __restrict__ y,
                                                real* __restrict__ dx) {
  if (ROW >= M) return;
  dy += ROW * K, y += ROW * K, dx += ROW * K;
  wide total = 0;
  ALONG(k, K) total += wide(dy[k]);
  total = over_row<add>(total);
  ALONG(k, K) dx[k] = dy[k] - exp(wide(y[k])) * total;
}
