// Batch normalisation. Where the statistics are those of the batch, each direction is three launches: the sums of parts
// of the rows (a block a part, columns.cuh), the sums of those (a block a channel), and the result. The first and the
// last read whole arrays from memory, and take as long as that takes; the second is short.
//
// x is a matrix here, (M, C); what a channel has one of (gamma, beta, mean, variance and their gradients) is `wide`. A
// thread keeps to its channel, so that it computes the constants of that only once, and has eight rows on their way to it
// at the same time (unroll 8). The last launch begins with the rows that the first one read last: they may still be in
// the cache.
//
// Variance: the sums are of the differences from a pivot, the channel's first value, and of their squares. Around 0
// they would lose a small variance beside a large mean. The square of the pivot's distance from the mean is at most M
// times the variance, so that of the 16 digits of a double at most those of M are lost.
//
// ReLU: `bottom` is what y must not fall below: 0, or NaN where there is no ReLU, for nothing is below or equal to NaN.
#include "columns.cuh"
#include "rows.cuh"

__device__ __forceinline__ int channel() { return blockIdx.x * blockDim.x + threadIdx.x; }

struct Rows {  // the number of the first one in the array, how far it is to the next one, and how many there are
  unsigned start, step, count;
};

// This thread's rows of a part of `rows` rows: none if there is no channel for it.
__device__ __forceinline__ Rows rows_of(unsigned part, unsigned rows, unsigned M, int C) {
  unsigned first = part * rows + threadIdx.y, last = channel() < C ? min((part + 1) * rows, M) : 0;
  return {first * C + channel(), blockDim.y * C, rows_between(first, last)};
}

// EACH_ROW(i, mine) { ... } runs the body for the place i in the array of each row.
#define EACH_ROW(i, mine) \
  _Pragma("unroll 8") for (unsigned count = 0, i = mine.start; count < mine.count; ++count, i += mine.step)

struct Constants {  // of a channel
  wide mean, inverse, scale, beta;  // inverse: of the standard deviation; scale: gamma * inverse
};

__device__ __forceinline__ Constants constants_of(int C, const wide* gamma, const wide* beta, const wide* mean,
                                                  const wide* var, wide eps) {
  int c = min(channel(), C - 1);
  wide inverse = 1 / sqrt(var[c] + eps);
  return {mean[c], inverse, gamma[c] * inverse, beta[c]};
}

// y before residual and ReLU. Both directions need the same bits: what let something through on the way there must do
// so on the way back. With fma written out there is nothing that the compiler could contract in one kernel only.
__device__ __forceinline__ wide normalised(real x, const Constants& k) {
  return fma(k.scale, wide(x) - k.mean, k.beta);
}

// The gradient before the ReLU.
__device__ __forceinline__ wide passed(real dy, real x, const Constants& k, wide bottom) {
  return wide(real(normalised(x, k))) <= bottom ? wide(0) : wide(dy);
}

__device__ __forceinline__ double pivot_of(wide first) {
  return first - first == 0 ? first : wide(0);  // infinity - infinity is NaN
}

// sums: (2, C, parts), of the differences from the pivot and of their squares.
extern "C" __global__ void batch_norm_parts(int M, int C, int rows, const real* __restrict__ x,
                                            double* __restrict__ sums) {
  int c = channel(), part = blockIdx.y, parts = gridDim.y;
  Rows mine = rows_of(part, rows, M, C);
  double pivot = mine.count > 0 ? pivot_of(x[c]) : 0, sum = 0, squares = 0;
  EACH_ROW(i, mine) {
    double d = double(wide(x[i])) - pivot;
    sum += d, squares += d * d;
  }
  sum = column_sum(sum), squares = column_sum(squares);
  if (threadIdx.y == 0 && c < C) sums[c * parts + part] = sum, sums[(C + c) * parts + part] = squares;
}

struct Sums {
  double first, second;
};

// Both sums of a channel from those of its parts, in every thread of the block.
__device__ __forceinline__ Sums sums_of(int c, int C, int parts, const double* __restrict__ sums) {
  double first = 0, second = 0;
  for (int part = threadIdx.x; part < parts; part += blockDim.x) {
    first += sums[c * parts + part], second += sums[(C + c) * parts + part];
  }
  return {over_row<Sum>(first), over_row<Sum>(second)};
}

extern "C" __global__ void batch_norm_statistics(int M, int C, int parts, const real* __restrict__ x,
                                                 const double* __restrict__ sums, wide* __restrict__ mean,
                                                 wide* __restrict__ var) {
  int c = blockIdx.x;
  Sums total = sums_of(c, C, parts, sums);
  if (threadIdx.x != 0) return;
  double shift = total.first / M, square = total.second / M - shift * shift;
  mean[c] = (M > 0 ? pivot_of(x[c]) : 0) + shift;
  var[c] = square < 0 ? 0 : square;
}

extern "C" __global__ void batch_norm_forward(int M, int C, int rows, const real* __restrict__ x,
                                              const wide* __restrict__ gamma, const wide* __restrict__ beta,
                                              const wide* __restrict__ mean, const wide* __restrict__ var, wide eps,
                                              const real* __restrict__ residual, wide bottom, real* __restrict__ y) {
  int c = channel();
  Rows mine = rows_of(gridDim.y - 1 - blockIdx.y, rows, M, C);
  Constants k = constants_of(C, gamma, beta, mean, var, eps);
  EACH_ROW(i, mine) {
    wide v = normalised(x[i], k);
    if (residual) v += wide(residual[i]);
    y[i] = v <= bottom ? bottom : v;
  }
}

// sums: (2, C, parts), of g and of g * (x - mean), where g is the gradient before the ReLU. With constant statistics dx
// does not wait for these sums, and is written here; otherwise it is null.
extern "C" __global__ void batch_norm_backward_parts(int M, int C, int rows, const real* __restrict__ dy,
                                                     const real* __restrict__ x, const wide* __restrict__ gamma,
                                                     const wide* __restrict__ beta, const wide* __restrict__ mean,
                                                     const wide* __restrict__ var, wide eps, wide bottom,
                                                     real* __restrict__ dx, double* __restrict__ sums) {
  int c = channel(), part = blockIdx.y, parts = gridDim.y;
  Rows mine = rows_of(part, rows, M, C);
  Constants k = constants_of(C, gamma, beta, mean, var, eps);
  double sum = 0, products = 0;
  EACH_ROW(i, mine) {
    wide g = passed(dy[i], x[i], k, bottom);
    sum += g, products += double(g) * double(wide(x[i]) - k.mean);
    if (dx) dx[i] = k.scale * g;
  }
  sum = column_sum(sum), products = column_sum(products);
  if (threadIdx.y == 0 && c < C) sums[c * parts + part] = sum, sums[(C + c) * parts + part] = products;
}

extern "C" __global__ void batch_norm_backward_parameters(int C, int parts, const double* __restrict__ sums,
                                                          const wide* __restrict__ var, wide eps,
                                                          wide* __restrict__ dgamma, wide* __restrict__ dbeta) {
  int c = blockIdx.x;
  Sums total = sums_of(c, C, parts, sums);
  if (threadIdx.x == 0) dbeta[c] = total.first, dgamma[c] = total.second / sqrt(double(var[c]) + eps);
}

extern "C" __global__ void batch_norm_backward(int M, int C, int rows, const real* __restrict__ dy,
                                               const real* __restrict__ x, const wide* __restrict__ gamma,
                                               const wide* __restrict__ beta, const wide* __restrict__ mean,
                                               const wide* __restrict__ var, wide eps, wide bottom,
                                               const wide* __restrict__ dgamma, const wide* __restrict__ dbeta,
                                               real* __restrict__ dx) {
  int c = channel(), last = min(c, C - 1);
  Rows mine = rows_of(gridDim.y - 1 - blockIdx.y, rows, M, C);
  Constants k = constants_of(C, gamma, beta, mean, var, eps);
  wide offset = dbeta[last] / M, slope = dgamma[last] * k.inverse / M;
  EACH_ROW(i, mine) {
    dx[i] = k.scale * (passed(dy[i], x[i], k, bottom) - offset - (wide(x[i]) - k.mean) * slope);
  }
}
