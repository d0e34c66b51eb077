// The matrix product that every layer with weights comes down to.
//
//     c(m, n) = sum over k of a(m, k) * b(n, k)
//
// a has M lines of K numbers, b has N lines: both operands are handed over line by line, b as its transpose, so that one
// code fetches both. Where a number lies is the operand's own business (it may be a matrix, a transposed one or the
// windows of an image that nobody has copied into a matrix), and what becomes of a sum is that of `store`.
//
// Why tiles. Left alone, a thread would read 2 K numbers for one sum: two loads for each multiplication, while a GPU can
// do dozens of multiplications in the time of a load from its memory. So a block of 256 threads takes a TILE x TILE piece
// of c, and goes through k in steps of DEPTH: it brings TILE x DEPTH numbers of either operand to shared memory, and each
// of them is used TILE times there.
//
// Why registers. A load from shared memory is still slower than a multiplication. So each thread keeps SIDE x SIDE sums
// in registers: for every k it reads SIDE numbers of a and SIDE of b and makes SIDE * SIDE multiplications of them.
//
// What is on its way. While a step is multiplied the numbers of the next one are already being fetched, to registers; they
// are put into the second of two buffers. So one barrier a step is enough: what the slowest thread still reads
// is never what the fastest one writes.
//
// Why the padding. Shared memory has 32 banks, and two lanes of a warp that want different words of one bank wait for
// each other. Both tiles lie with neighbouring lines side by side, for the sake of the multiplication. Where neighbours in
// memory are neighbours in k, a warp has to write 2 lines of 16 numbers each in columns; with rows of 64 words these
// columns would lie in 2 banks, with rows of 64 + PAD they are spread over 16.
//
// Every sum is added up in the order of k, by one thread.
#pragma once
#include "activation.cuh"

constexpr int BLOCK = 256;  // threads

// An operand. `Line` and `Step` are what can be known of a number's place from its line alone, and from k alone.
// k_fastest: neighbours in memory are those in k, else those in the line. gaps: it has places without a number, where
// `at` is null and which add nothing to a sum (a zero does: zero times infinity is NaN).
template <bool K_FASTEST>
struct Matrix {
  static constexpr bool k_fastest = K_FASTEST, gaps = false;
  typedef int Line;
  typedef int Step;
  const real* first;
  int lines, row;  // row: how many numbers lie from one row of memory to the next
  __device__ __forceinline__ Line line(int i) const { return K_FASTEST ? i * row : i; }
  __device__ __forceinline__ Step step(int k) const { return K_FASTEST ? k : k * row; }
  __device__ __forceinline__ const real* at(Line line, Step step) const { return first + (line + step); }
};

// What becomes of the sums of a layer: y[m, n] = activation(sum + bias[n]), in rows of `row` numbers.
template <class Number>
struct Rows {
  Number* y;
  const real* bias;  // or null
  int row, activation;
  __device__ __forceinline__ void operator()(int m, int n, wide sum) const {
    y[m * row + n] = activated(bias ? sum + wide(bias[n]) : sum, activation);
  }
};

// Which numbers of a tile of LINES lines and DEPTH steps a thread fetches: COUNT pieces of WIDTH numbers that are
// neighbours in memory. Neighbouring threads fetch neighbouring pieces, so that a warp reads whole lines of the cache.
template <class Operand, int LINES, int DEPTH, int WIDTH>
struct Fetch {
  static constexpr bool k_fastest = Operand::k_fastest;
  static constexpr int FAST = (k_fastest ? DEPTH : LINES) / WIDTH;  // pieces on the axis of the neighbours
  static constexpr int COUNT = LINES * DEPTH / WIDTH / BLOCK;
  const Operand& operand;
  typename Operand::Line lines[k_fastest ? COUNT : 1];

  // A line behind the last stands for the last: its sums are not stored.
  __device__ __forceinline__ Fetch(const Operand& operand, int first) : operand(operand) {
#pragma unroll
    for (int i = 0; i < (k_fastest ? COUNT : 1); ++i)
      lines[i] = operand.line(min(first + line(i), operand.lines - (k_fastest ? 1 : WIDTH)));
  }
  __device__ __forceinline__ int fast() const { return threadIdx.x % FAST * WIDTH; }
  __device__ __forceinline__ int slow(int i) const { return threadIdx.x / FAST + i * (BLOCK / FAST); }
  __device__ __forceinline__ int line(int i) const { return k_fastest ? slow(i) : fast(); }  // where piece i goes
  __device__ __forceinline__ int k(int i) const { return k_fastest ? fast() : slow(i); }
  // Where piece i comes from, in the tile that begins at k0; null for a zero.
  __device__ __forceinline__ const real* at(int i, int k0, int end) const {
    int k = k0 + this->k(i);
    return k < end ? operand.at(lines[k_fastest ? i : 0], operand.step(k)) : nullptr;
  }
};

// One sum, number by number: slow, and right for what a tile cannot express.
template <class A, class B>
__device__ __forceinline__ wide plain_sum(const A& a, const B& b, int m, int n, int begin, int end) {
  auto left = a.line(m);
  auto right = b.line(n);
  wide sum = 0;
  for (int k = begin; k < end; ++k) {
    const real* p = a.at(left, a.step(k));
    if (p || !A::gaps) sum += (p ? wide(*p) : wide(0)) * wide(*b.at(right, b.step(k)));
  }
  return sum;
}

__device__ __forceinline__ bool is_finite(wide x) { return x - x == 0; }

// The tile of the product that is this block's: its first m and n. Neighbouring blocks have the same lines of a.
struct Corner {
  int m, n;
};
template <int HEIGHT, int WIDTH>
__device__ __forceinline__ Corner corner(int N) {
  int across = (N + WIDTH - 1) / WIDTH;
  return {int(blockIdx.x) / across * HEIGHT, int(blockIdx.x) % across * WIDTH};
}

#if defined(TERMS)  // an option of the compiler: `_product.py` asks for tensor cores by it
#include "tensor.cuh"
#else
constexpr int TILE = 64, DEPTH = 16, SIDE = 4, PAD = 4;
constexpr int RESIDENT = sizeof(wide) == 8 ? 2 : 4;  // blocks that a processor shall have registers for

// The sums over k from `begin` up to `end` of this block's tile, by the ordinary units.
template <class A, class B, class Store>
__device__ __forceinline__ void multiply(const A& a, const B& b, int begin, int end, const Store& store) {
  __shared__ __align__(16) wide left[2][DEPTH][TILE + PAD];
  __shared__ __align__(16) wide right[2][DEPTH][TILE + PAD];
  const Corner tile = corner<TILE, TILE>(b.lines);
  const Fetch<A, TILE, DEPTH, 1> from_a(a, tile.m);
  const Fetch<B, TILE, DEPTH, 1> from_b(b, tile.n);
  constexpr int COUNT = TILE * DEPTH / BLOCK;
  wide next_a[COUNT], next_b[COUNT], sums[SIDE][SIDE] = {};
  const int m0 = threadIdx.x / (TILE / SIDE) * SIDE, n0 = threadIdx.x % (TILE / SIDE) * SIDE;

  auto fetch = [&](int k) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const real *p = from_a.at(i, k, end), *q = from_b.at(i, k, end);
      next_a[i] = p ? wide(*p) : wide(0);
      next_b[i] = q ? wide(*q) : wide(0);
    }
  };
  auto put = [&](int buffer) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      left[buffer][from_a.k(i)][from_a.line(i)] = next_a[i];
      right[buffer][from_b.k(i)][from_b.line(i)] = next_b[i];
    }
  };

  fetch(begin);
  put(0);
  __syncthreads();
  for (int k0 = begin, buffer = 0; k0 < end; k0 += DEPTH, buffer ^= 1) {
    bool more = k0 + DEPTH < end;
    if (more) fetch(k0 + DEPTH);
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
      wide p[SIDE], q[SIDE];
#pragma unroll
      for (int i = 0; i < SIDE; ++i) p[i] = left[buffer][k][m0 + i], q[i] = right[buffer][k][n0 + i];
#pragma unroll
      for (int i = 0; i < SIDE; ++i)
#pragma unroll
        for (int j = 0; j < SIDE; ++j) sums[i][j] += p[i] * q[j];
    }
    if (more) put(buffer ^ 1);
    __syncthreads();
  }

  bool spoilt = false;
#pragma unroll
  for (int i = 0; i < SIDE; ++i)
#pragma unroll
    for (int j = 0; j < SIDE; ++j) {
      int m = tile.m + m0 + i, n = tile.n + n0 + j;
      if (m < a.lines && n < b.lines) {
        store(m, n, sums[i][j]);
        spoilt = spoilt || !is_finite(sums[i][j]);
      }
    }
  // A gap was multiplied as a zero. That spoils the sum where it met an infinity or NaN, so those are added up anew.
  if (A::gaps && spoilt)
#pragma unroll 1
    for (int i = 0; i < SIDE * SIDE; ++i) {
      int m = tile.m + m0 + i / SIDE, n = tile.n + n0 + i % SIDE;
      if (m < a.lines && n < b.lines) store(m, n, plain_sum(a, b, m, n, begin, end));
    }
}
#endif
