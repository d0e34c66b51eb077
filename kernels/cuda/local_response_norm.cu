// Local response normalisation: a thread computes one number. Forward it reads its channel's neighbours itself: they
// are in the cache, for the threads beside it read the same ones. Backward each cell pulls at its neighbours with a
// strength that takes a power to compute, so that a block does this once for each cell, in shared memory.
#include "common.cuh"

#define NUMBERS 256  // of a block, one for each thread: THREADS of _launch.py

struct Window {  // how many channels on either side belong to it, and how many there are: (..., C), n numbers
  int before, after, C;
  unsigned n;
};

// s of number i: k + alpha * the sum of the squares in its window. (alpha: already divided by the size of a window.)
__device__ __forceinline__ wide scale_of(const real* __restrict__ x, unsigned i, const Window& p, wide alpha, wide k) {
  int c = i % p.C;
  wide sum = 0;
#pragma unroll 4
  for (int j = max(-p.before, -c); j <= min(p.after, p.C - 1 - c); ++j) sum += wide(x[i + j]) * wide(x[i + j]);
  return k + alpha * sum;
}

extern "C" __global__ void local_response_norm_forward(Window p, wide alpha, wide beta, wide k,
                                                       const real* __restrict__ x, real* __restrict__ y) {
  unsigned i = blockIdx.x * NUMBERS + threadIdx.x;
  if (i < p.n) y[i] = wide(x[i]) * pow(scale_of(x, i, p, alpha, k), -beta);
}

// Places are counted from the first number of the block. The cells within reach are taken a block's width at a time:
// those before it, its own, those behind it, and more of both where a window is wider than a block.
extern "C" __global__ void local_response_norm_backward(Window p, wide alpha, wide beta, wide k,
                                                        const real* __restrict__ dy, const real* __restrict__ x,
                                                        real* __restrict__ dx) {
  __shared__ wide pulls[NUMBERS];  // dy * x / s^(beta + 1)
  int me = threadIdx.x, widths = (max(p.before, p.after) + NUMBERS - 1) / NUMBERS;
  unsigned i = blockIdx.x * NUMBERS + me;
  int c = i % p.C, first = me + max(-p.after, -c), last = me + min(p.before, p.C - 1 - c);  // the window turned around
  wide own = 0, damped = 0;
  for (int start = -widths * NUMBERS; start <= widths * NUMBERS; start += NUMBERS) {
    int place = start + me;
    unsigned j = i + start;  // before the array it is huge, and so not below n
    if (j < p.n && place >= -p.after && place < NUMBERS + p.before) {
      wide s = scale_of(x, j, p, alpha, k), direct = wide(dy[j]) * pow(s, -beta);
      pulls[me] = direct * wide(x[j]) / s;
      if (start == 0) own = direct;
    }
    __syncthreads();
    for (int q = max(first, start); q <= min(last, start + NUMBERS - 1) && i < p.n; ++q) damped += pulls[q - start];
    __syncthreads();
  }
  if (i < p.n) dx[i] = own - 2 * beta * alpha * wide(x[i]) * damped;
}
