// Dropout: a thread draws four random words with one call of Philox, and takes four neighbouring elements of a sample.
// The words stay in registers; nothing but the elements is read or written.
#include "common.cuh"

struct alignas(4 * sizeof(real)) Four {  // elements that one instruction reads or writes
  real at[4];
};

// Philox4x32-10: ten rounds, each of two products of 32 x 32 bits of which both halves are used.
__device__ __forceinline__ uint4 philox(uint4 c, unsigned k0, unsigned k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    unsigned high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    unsigned high2 = __umulhi(0xCD9E8D57u, c.z), low2 = 0xCD9E8D57u * c.z;
    c = make_uint4(high2 ^ c.y ^ k0, low2, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c;
}

// counters, words: (n, 4); key: (2,)
extern "C" __global__ void philox4x32(int n, const unsigned* __restrict__ counters, const unsigned* __restrict__ key,
                                      unsigned* __restrict__ words) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  counters += 4 * i, words += 4 * i;
  uint4 word = philox(make_uint4(counters[0], counters[1], counters[2], counters[3]), key[0], key[1]);
  words[0] = word.x, words[1] = word.y, words[2] = word.z, words[3] = word.w;
}

// x, y: (N, E), cut into N * groups fours. An element is kept where its 24 random bits are not below the threshold.
// later: null, or how many steps after `step` this is, which a recorded launch finds in memory.
extern "C" __global__ void dropout_forward(int N, int E, const real* __restrict__ x, real* __restrict__ y,
                                           int threshold, wide scale, unsigned k0, unsigned k1, unsigned layer,
                                           unsigned step, unsigned first_sample,
                                           const unsigned* __restrict__ later) {
  unsigned groups = (unsigned(E) + 3) / 4, thread = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned n = thread / groups, group = thread % groups, e = 4 * group;
  if (n >= N) return;
  if (later) step += *later;
  uint4 word = philox(make_uint4(group, first_sample + n, step, layer), k0, k1);
  unsigned bits[4] = {word.x >> 8, word.y >> 8, word.z >> 8, word.w >> 8};
  x += n * E + e, y += n * E + e;
  int count = min(4, E - int(e));
  bool whole = E % 4 == 0 && (size_t(x) | size_t(y)) % sizeof(Four) == 0;
  Four four = {};
  if (whole) four = *(const Four*)x;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (!whole && i < count) four.at[i] = x[i];
    four.at[i] = wide(four.at[i]) * (bits[i] < threshold ? wide(0) : scale);  // a NaN that is dropped stays NaN
    if (!whole && i < count) y[i] = four.at[i];
  }
  if (whole) *(Four*)y = four;
}
