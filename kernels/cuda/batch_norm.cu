// Batch normalisation. Where the statistics are those of the batch, each direction is three launches: the sums of parts
// of the rows (a block a part, channel_sums.cuh), the sums of those (a block a channel), and the result. The first and the
// last read whole arrays from memory, and take as long as that takes; the second is short.
//
// x is a matrix here, (M, C). A thread keeps to its channel, so that it computes the constants of that only once, and
// has four rows on their way to it at the same time (unroll 4). The last launch begins with the rows that the first one
// read last: they may still be in the cache.
//
// Variance: the sums are of the differences from a pivot, the channel's first value, and of their squares. Around 0 they
// would lose a small variance beside a large mean. The square of the pivot's distance from the mean is at most M times
// the variance, so that of the 16 digits of a double at most those of M are lost.
//
// ReLU: `bottom` is what y must not fall below: 0, or NaN where there is no ReLU, for nothing is below or equal to NaN.
#include "channel_sums.cuh"

__device__ __forceinline__ int channel() { return blockIdx.x * blockDim.x + threadIdx.x; }

struct Rows {  // the number of the first one in the array, how far it is to the next one, and how many there are
  unsigned start, step, count;
};

// This thread's rows of a part of `rows` rows: none if there is no channel for it.
__device__ __forceinline__ Rows rows_of(unsigned part, unsigned rows, unsigned M, int C) {
  unsigned first = part * rows + threadIdx.y, last = channel() < C ? min((part + 1) * rows, M) : 0;
  return {first * C + channel(), blockDim.y * C, first < last ? (last - first + blockDim.y - 1) / blockDim.y : 0};
}

// The body runs for the place i in the array of each row. Rows are counted, so that the compiler can tell how many are
// left, and takes four in one go: first it sends for all their numbers.
#define EACH_ROW(i, mine) \
  unsigned i = mine.start; \
  _Pragma("unroll 4") for (unsigned count = 0; count < mine.count; ++count, i += mine.step)

struct Constants {  // of a channel
  wide mean, inverse, scale, beta;  // inverse: of the standard deviation; scale: gamma * inverse
};

__device__ __forceinline__ Constants constants_of(int C, const real *gamma, const real *beta, const real *mean,
                                                  const real *var, wide eps) {
  int c = min(channel(), C - 1);
  wide inverse = 1 / sqrt(wide(var[c]) + eps);
  return {mean[c], inverse, gamma[c] * inverse, beta[c]};
}

// y before the ReLU, of both directions, to the bit: what was positive on the way there must be so on the way back.
// With fma written out there is nothing that the compiler could contract in one kernel, and not in the other.
__device__ __forceinline__ wide normalised(real x, const Constants &k) { return fma(k.scale, x - k.mean, k.beta); }

// The gradient before the ReLU.
__device__ __forceinline__ wide passed(real dy, real x, const Constants &k, wide bottom) {
  return wide(real(normalised(x, k))) <= bottom ? wide(0) : wide(dy);
}

__device__ __forceinline__ double pivot_of(real first) { return first - first == 0 ? first : real(0); }  // if finite

// sums: (2, C, parts), of the differences from the pivot and of their squares.
extern "C" __global__ void batch_norm_parts(int M, int C, int rows, const real *__restrict__ x,
                                            double *__restrict__ sums) {
  int c = channel(), part = blockIdx.y, parts = gridDim.y;
  Rows mine = rows_of(part, rows, M, C);
  double pivot = mine.count > 0 ? pivot_of(x[c]) : 0, sum = 0, squares = 0;
  EACH_ROW(i, mine) {
    double d = x[i] - pivot;
    sum += d, squares += d * d;
  }
  sum = column_sum(sum), squares = column_sum(squares);
  if (threadIdx.y == 0 && c < C) sums[c * parts + part] = sum, sums[(C + c) * parts + part] = squares;
}

// Both sums of a channel in every thread of its block.
struct Sums {
  double first, second;
};

__device__ __forceinline__ Sums sums_of(int c, int C, int parts, const double *__restrict__ sums) {
  double first = 0, second = 0;
  for (int part = threadIdx.x; part < parts; part += blockDim.x) {
    first += sums[c * parts + part], second += sums[(C + c) * parts + part];
  }
  first = block_sum(first), second = block_sum(second);
  return {first, second};
}

extern "C" __global__ void batch_norm_statistics(int M, int C, int parts, const real *__restrict__ x,
                                                 const double *__restrict__ sums, real *__restrict__ mean,
                                                 real *__restrict__ var) {
  int c = blockIdx.x;
  Sums total = sums_of(c, C, parts, sums);
  if (threadIdx.x != 0) return;
  double shift = total.first / M, square = total.second / M - shift * shift;
  mean[c] = (M > 0 ? pivot_of(x[c]) : 0) + shift;
  var[c] = square < 0 ? 0 : square;
}

extern "C" __global__ void batch_norm_forward(int M, int C, int rows, const real *__restrict__ x,
                                              const real *__restrict__ gamma, const real *__restrict__ beta,
                                              const real *__restrict__ mean, const real *__restrict__ var, wide eps,
                                              const real *__restrict__ residual, wide bottom, real *__restrict__ y) {
  int c = channel();
  Rows mine = rows_of(gridDim.y - 1 - blockIdx.y, rows, M, C);
  Constants k = constants_of(C, gamma, beta, mean, var, eps);
  EACH_ROW(i, mine) {
    wide v = normalised(x[i], k);
    if (residual) v += wide(residual[i]);
    y[i] = v <= bottom ? bottom : v;
  }
}

// sums: (2, C, parts), of g and g * (x - mean), where g is the gradient before the ReLU. With constant statistics
// nothing waits for these sums: then dx is written too, and else null.
extern "C" __global__ void batch_norm_backward_parts(int M, int C, int rows, const real *__restrict__ dy,
                                                     const real *__restrict__ x, const real *__restrict__ gamma,
                                                     const real *__restrict__ beta, const real *__restrict__ mean,
                                                     const real *__restrict__ var, wide eps, wide bottom,
                                                     real *__restrict__ dx, double *__restrict__ sums) {
  int c = channel(), part = blockIdx.y, parts = gridDim.y;
  Rows mine = rows_of(part, rows, M, C);
  Constants k = constants_of(C, gamma, beta, mean, var, eps);
  double sum = 0, products = 0;
  EACH_ROW(i, mine) {
    wide g = passed(dy[i], x[i], k, bottom);
    sum += g, products += double(g) * double(x[i] - k.mean);
    if (dx) dx[i] = k.scale * g;
  }
  sum = column_sum(sum), products = column_sum(products);
  if (threadIdx.y == 0 && c < C) sums[c * parts + part] = sum, sums[(C + c) * parts + part] = products;
}

extern "C" __global__ void batch_norm_backward_parameters(int C, int parts, const double *__restrict__ sums,
                                                          const real *__restrict__ var, wide eps,
                                                          real *__restrict__ dgamma, real *__restrict__ dbeta) {
  int c = blockIdx.x;
  Sums total = sums_of(c, C, parts, sums);
  if (threadIdx.x == 0) dbeta[c] = total.first, dgamma[c] = total.second / sqrt(double(var[c]) + eps);
}

extern "C" __global__ void batch_norm_backward(int M, int C, int rows, const real *__restrict__ dy,
                                               const real *__restrict__ x, const real *__restrict__ gamma,
                                               const real *__restrict__ beta, const real *__restrict__ mean,
                                               const real *__restrict__ var, wide eps, wide bottom,
                                               const real *__restrict__ dgamma, const real *__restrict__ dbeta,
                                               real *__restrict__ dx) {
  int c = channel(), last = min(c, C - 1);
  Rows mine = rows_of(gridDim.y - 1 - blockIdx.y, rows, M, C);
  Constants k = constants_of(C, gamma, beta, mean, var, eps);
  wide offset = dbeta[last] / wide(M), slope = dgamma[last] * k.inverse / wide(M);
  EACH_ROW(i, mine) {
    real v = x[i];
    dx[i] = k.scale * (passed(dy[i], v, k, bottom) - offset - (v - k.mean) * slope);
  }
}
