// The matrix product that every layer with weights comes down to.
//
//     c(m, n) = sum over k of a(m, k) * b(n, k)
//
// a has M lines of K numbers, b has N lines: both operands are handed over line by line, b as its transpose, so that one
// code fetches both. Where a number lies is the operand's own business (it may be a matrix, a transposed one or the
// windows of an image that nobody has copied into a matrix), and what becomes of a sum is that of `store`.
//
// Why tiles. Left alone, a thread would read 2 K numbers for one sum: two loads for each multiplication, while a GPU can
// do dozens of multiplications in the time of a load from its memory. So a block takes a piece of c, HEIGHT x WIDTH, and
// goes through k in steps of DEPTH: it brings HEIGHT x DEPTH numbers of a and WIDTH x DEPTH of b to shared memory, where
// each is used WIDTH or HEIGHT times. It is 64 x 64 with 256 threads, or 64 x 16 with 64 where c has no more columns.
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

// Options of the compiler, by which `_product.py` asks for tensor cores (TERMS), and says how wide a tile is (COLUMNS).
#if defined(TERMS)
constexpr int BLOCK = TERMS == 1 ? 128 : 256;  // threads
#else
constexpr int BLOCK = 4 * COLUMNS;  // 16 of 64 x COLUMNS sums for each
#endif

// An operand. `Line` and `Step` are what can be known of a number's place from its line alone, and from k alone.
// k_fastest: neighbours in memory are those in k, else those in the line. gaps: it has places without a number, which
// add nothing to a sum (a zero does: zero times infinity is NaN).
template <bool K_FASTEST>
struct Matrix {
  static constexpr bool k_fastest = K_FASTEST, gaps = false;
  typedef int Line;
  typedef unsigned Step;  // behind the last k, where nothing is read, it may wrap
  const real* first;
  int lines, row;  // row: how many numbers lie from one row of memory to the next
  __device__ __forceinline__ Line line(int i) const { return K_FASTEST ? i * row : i; }
  __device__ __forceinline__ Step step(int k) const { return K_FASTEST ? k : unsigned(k) * row; }
  __device__ __forceinline__ Place at(Line line, Step step) const { return {first + (line + step), true}; }
};

// Neighbours in n, which a thread reads or stores with one instruction where their place allows it.
constexpr int GROUP = 4;
template <class Number>
struct alignas(GROUP * sizeof(Number) < 16 ? GROUP * sizeof(Number) : 16) Neighbours {
  Number at[GROUP];
};

// What becomes of the sums of a layer: y[m, n] = activation(sum + bias[n]), in rows of `row` numbers.
template <class T>
struct Rows {
  typedef T Number;
  Number* y;
  const real* bias;  // or null
  int row, activation;
  __device__ __forceinline__ Number* line(int m) const { return y + m * row; }
  // The biases of columns n to n + GROUP - 1 of N; behind the last it is the last one again.
  __device__ __forceinline__ Neighbours<wide> biases(int n, int N) const {
    Neighbours<wide> found = {};
    if (bias)
      for (int i = 0; i < GROUP; ++i) found.at[i] = bias[min(n + i, N - 1)];
    return found;
  }
  __device__ __forceinline__ Number result(wide sum, wide added) const {
    return activated(bias ? sum + added : sum, activation);
  }
};

// The sums (m, n) to (m, n + GROUP - 1) of a product with N columns go to where `store` has them.
template <class Store>
__device__ __forceinline__ void store_group(const Store& store, int m, int n, int N, const wide (&sums)[GROUP],
                                            const Neighbours<wide>& biases) {
  typedef Neighbours<typename Store::Number> Results;
  Results results;
#pragma unroll
  for (int i = 0; i < GROUP; ++i) results.at[i] = store.result(sums[i], biases.at[i]);
  auto place = store.line(m) + n;
  if (n + GROUP <= N && size_t(place) % alignof(Results) == 0) {
    *(Results*)place = results;
  } else {
#pragma unroll
    for (int i = 0; i < GROUP; ++i)
      if (n + i < N) place[i] = results.at[i];
  }
}

// Which numbers of a tile of LINES lines and DEPTH steps a thread fetches: COUNT pieces of PIECE numbers that are
// neighbours in memory. Neighbouring threads fetch neighbouring pieces, so that a warp reads whole lines of the cache.
template <class Operand, int LINES, int DEPTH, int PIECE>
struct Fetch {
  static constexpr bool k_fastest = Operand::k_fastest;
  static constexpr int FAST = (k_fastest ? DEPTH : LINES) / PIECE;  // pieces on the axis of the neighbours
  static constexpr int COUNT = LINES * DEPTH / PIECE / BLOCK;
  const Operand& operand;
  typename Operand::Line lines[k_fastest ? COUNT : 1];

  // A line behind the last stands for the last: its sums are not stored.
  __device__ __forceinline__ Fetch(const Operand& operand, int first) : operand(operand) {
#pragma unroll
    for (int i = 0; i < (k_fastest ? COUNT : 1); ++i)
      lines[i] = operand.line(min(first + line(i), operand.lines - (k_fastest ? 1 : PIECE)));
  }
  __device__ __forceinline__ int fast() const { return threadIdx.x % FAST * PIECE; }
  __device__ __forceinline__ int slow(int i) const { return threadIdx.x / FAST + i * (BLOCK / FAST); }
  __device__ __forceinline__ int line(int i) const { return k_fastest ? slow(i) : fast(); }  // where piece i goes
  __device__ __forceinline__ int k(int i) const { return k_fastest ? fast() : slow(i); }
  // How far behind piece 0 piece i goes in the tile, which lies in memory as Layout says.
  template <class Layout>
  static __device__ __forceinline__ int apart(int i) {
    return k_fastest ? Layout::at(i * (BLOCK / FAST), 0) : Layout::at(0, i * (BLOCK / FAST));
  }
  // take(i, place) for every piece i, and where it comes from in the tile that begins at k0; what is not there is a zero.
  template <class Take>
  __device__ __forceinline__ void each(int k0, int end, const Take& take) const {
    auto step = operand.step(k0 + k(0));
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      if (!k_fastest && i) step = operand.step(k0 + k(i));
      Place place = operand.at(lines[k_fastest ? i : 0], step);
      take(i, Place{place.at, place.exists && (k0 + k(i) < end)});
    }
  }
};

// One sum, number by number: slow, and right for what a tile cannot express.
template <class A, class B>
__device__ __forceinline__ wide plain_sum(const A& a, const B& b, int m, int n, int begin, int end) {
  auto left = a.line(m);
  auto right = b.line(n);
  wide sum = 0;
  for (int k = begin; k < end; ++k) {
    Place p = a.at(left, a.step(k));
    if (p.exists || !A::gaps) sum += number(p) * number(b.at(right, b.step(k)));
  }
  return sum;
}

__device__ __forceinline__ bool is_finite(wide x) { return x - x == 0; }

// A group of sums, of which those that are not finite are added up anew.
template <class A, class B>
__device__ __forceinline__ void repair(const A& a, const B& b, int m, int n, int begin, int end, wide (&sums)[GROUP]) {
  bool spoilt = false;
#pragma unroll
  for (int i = 0; i < GROUP; ++i) spoilt = spoilt || !is_finite(sums[i]);
  if (spoilt)
#pragma unroll 1
    for (int i = 0; i < GROUP; ++i) {
      wide anew = plain_sum(a, b, m, min(n + i, b.lines - 1), begin, end);
#pragma unroll
      for (int j = 0; j < GROUP; ++j)
        if (j == i) sums[j] = anew;  // sums[i] itself would put them into local memory
    }
}

// The tile of the product that is this block's: its first m and n. Neighbouring blocks have the same lines of a.
struct Corner {
  int m, n;
};
template <int HEIGHT, int WIDTH>
__device__ __forceinline__ Corner corner(int N) {
  int across = (N + WIDTH - 1) / WIDTH;
  return {int(blockIdx.x) / across * HEIGHT, int(blockIdx.x) % across * WIDTH};
}

#if defined(TERMS)
#include "tensor.cuh"
#else
constexpr int HEIGHT = 64, WIDTH = COLUMNS, DEPTH = 16, SIDE = GROUP, PAD = 4;
// Blocks that a processor shall have registers for; a thread of a narrow tile fetches more lines.
constexpr int RESIDENT = WIDTH == 16 ? (sizeof(wide) == 8 ? 4 : 8) : (sizeof(wide) == 8 ? 2 : 3);

// The sums over k from `begin` up to `end` of this block's tile, by the ordinary units.
template <class A, class B, class Store>
__device__ __forceinline__ void multiply(const A& a, const B& b, int begin, int end, const Store& store) {
  __shared__ __align__(16) wide left[2][DEPTH][HEIGHT + PAD];
  __shared__ __align__(16) wide right[2][DEPTH][WIDTH + PAD];
  const Corner tile = corner<HEIGHT, WIDTH>(b.lines);
  const Fetch<A, HEIGHT, DEPTH, 1> from_a(a, tile.m);
  const Fetch<B, WIDTH, DEPTH, 1> from_b(b, tile.n);
  wide next_a[from_a.COUNT], next_b[from_b.COUNT], sums[SIDE][SIDE] = {};
  const int m0 = threadIdx.x / (WIDTH / SIDE) * SIDE, n0 = threadIdx.x % (WIDTH / SIDE) * SIDE;

  auto fetch = [&](int k) {
    from_a.each(k, end, [&](int i, Place p) { next_a[i] = number(p); });
    from_b.each(k, end, [&](int i, Place p) { next_b[i] = number(p); });
  };
  auto put = [&](int buffer) {
#pragma unroll
    for (int i = 0; i < from_a.COUNT; ++i) left[buffer][from_a.k(i)][from_a.line(i)] = next_a[i];
#pragma unroll
    for (int i = 0; i < from_b.COUNT; ++i) right[buffer][from_b.k(i)][from_b.line(i)] = next_b[i];
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

  // A gap was multiplied as a zero. That spoils the sum where it met an infinity or NaN.
  const Neighbours<wide> biases = store.biases(tile.n + n0, b.lines);
#pragma unroll
  for (int i = 0; i < SIDE; ++i) {
    int m = tile.m + m0 + i, n = tile.n + n0;
    if (m >= a.lines || n >= b.lines) continue;
    if (A::gaps) repair(a, b, m, n, begin, end, sums[i]);
    store_group(store, m, n, b.lines, sums[i], biases);
  }
}
#endif
