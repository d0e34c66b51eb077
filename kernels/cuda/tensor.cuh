// The product of `gemm.cuh` by tensor cores, which multiply two small matrices with one instruction of a warp (`mma`).
//
// Their factors are TF32: as large as a float can be, but with 11 of its 24 digits. Two precisions are made of that:
//
//     TERMS 1   TF32: every factor is rounded; a float16 has 11 digits, and stays what it is
//     TERMS 3   float32: a factor is a sum of two TF32 numbers, large + small, which have 22 digits together, and
//               a * b = a_small * b_large + a_large * b_small + a_large * b_large, and what is missing is as small as the
//               rounding error of a float. The small terms come first, as they would be lost beside a large sum. And as
//               tensor cores cut off what their sums have no digits for, always towards zero, they add 8 terms at most:
//               such sums are added by the ordinary units, which round. (Ootomo & Yokota, "Recovering single precision
//               accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance", 2022)
//
// A block of 8 warps has a tile of 128 x 64 or 128 x 128 sums (COLUMNS), each warp 32 rows and half of the columns: per
// step of 8 in k it reads 2 fragments of a and 4 or 8 of b, and makes 8 or 16 products of them. The larger tile reads less
// for the same products, if there are enough tiles for all processors.
//
// The operands come to shared memory by asynchronous copies, in stages: one is multiplied while the others are on their
// way, so that no register holds numbers that only pass through.
//
// The numbers lie in shared memory in the order of the global one, neighbours beside each other. A fragment is read by
// lanes 4 g + t at line g and step t. Rows of DEPTH numbers and 16 bytes (k fastest) give those of floats the banks
// 4 g + t or 20 g + t, rows of LINES + 8 (lines fastest) the banks g + 8 t: all 32, whichever it is. Of float16 two
// neighbours share a bank, and no two lanes want different words of it either.
#pragma once
#include "ptx.cuh"

// `_product.py` knows how much memory that takes: no more than every GPU with tensor cores for TF32 has for a block.
constexpr int HEIGHT = 128, WIDTH = COLUMNS, DEPTH = WIDTH == 64 ? 32 : 16, STAGES = WIDTH == 64 ? 3 : 4;
constexpr int DOWN = 2, ACROSS = WIDTH / 16;   // fragments of a warp's part of the tile, of 16 x 8 sums each
// Blocks that a processor shall have registers for; the way with the most numbers on the move needs those of two.
constexpr int RESIDENT = WIDTH == 64 && !(TERMS == 3 && VECTOR == 1) ? 2 : 1;
// Steps of 8 in k that the compiler may mix; with three terms the numbers of two would not stay in registers.
constexpr int UNROLLED = TERMS == 3 ? 1 : DEPTH / 8;

// How an operand's part of a stage lies in shared memory.
template <class Operand, int LINES>
struct Layout {
  static constexpr int ROW = Operand::k_fastest ? DEPTH + 16 / int(sizeof(real)) : LINES + 8;
  static constexpr int SIZE = (Operand::k_fastest ? LINES : DEPTH) * ROW;
  static __device__ __forceinline__ int at(int line, int k) {
    return Operand::k_fastest ? line * ROW + k : k * ROW + line;
  }
};

// COUNT factors as TF32, and what that leaves over.
template <int COUNT>
struct Fragment {
  unsigned large[COUNT], small[COUNT];
  __device__ __forceinline__ void set(int i, float x) {
    large[i] = tf32(x);
    if (TERMS == 3) small[i] = tf32(x - __uint_as_float(large[i]));
  }
};

// sums += the product of one stage, of which this warp's parts begin at line m of `left` and line n of `right`.
template <class Left, class Right>
__device__ __forceinline__ void multiply_stage(const real* left, const real* right, int m, int n,
                                               float (&sums)[DOWN][ACROSS][4]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll UNROLLED
  for (int k = 0; k < DEPTH; k += 8) {
    Fragment<2> b[ACROSS];
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
      for (int r = 0; r < 2; ++r) b[j].set(r, right[Right::at(n + 8 * j + g, k + t + r * 4)]);
    // Between two instructions that add to the same sums are 4 or 8 others at least: none waits for its neighbour.
#pragma unroll
    for (int i = 0; i < DOWN; ++i) {
      Fragment<4> a;
#pragma unroll
      for (int r = 0; r < 4; ++r) a.set(r, left[Left::at(m + 16 * i + g + r % 2 * 8, k + t + r / 2 * 4)]);
      float parts[ACROSS][4] = {};
      float(&totals)[ACROSS][4] = TERMS == 3 ? parts : sums[i];
#pragma unroll
      for (int term = TERMS == 3 ? 0 : 2; term < 3; ++term)
#pragma unroll
        for (int j = 0; j < ACROSS; ++j)
          mma(totals[j], term == 0 ? a.small : a.large, term == 1 ? b[j].small : b[j].large);
      if (TERMS == 3)
#pragma unroll
        for (int j = 0; j < ACROSS; ++j)
#pragma unroll
          for (int r = 0; r < 4; ++r) sums[i][j][r] += parts[j][r];
    }
  }
}

// The sums over k from `begin` up to `end` of this block's tile.
template <class A, class B, class Store>
__device__ __forceinline__ void multiply(const A& a, const B& b, int begin, int end, const Store& store) {
  typedef Layout<A, HEIGHT> Left;
  typedef Layout<B, WIDTH> Right;
  extern __shared__ __align__(16) real stages[];
  const Corner tile = corner<HEIGHT, WIDTH>(b.lines);
  const Fetch<A, HEIGHT, DEPTH, VECTOR> from_a(a, tile.m);
  const Fetch<B, WIDTH, DEPTH, VECTOR> from_b(b, tile.n);
  const int warp = threadIdx.x / 32, m0 = warp / 2 * (HEIGHT / 4), n0 = warp % 2 * (WIDTH / 2);
  const bool needed = tile.m + m0 < a.lines && tile.n + n0 < b.lines;  // or this warp only helps to copy
  float sums[DOWN][ACROSS][4] = {};

  auto bring = [&](int stage, int k) {
    if (k < end) {
      real* left = stages + stage * (Left::SIZE + Right::SIZE);
#pragma unroll
      for (int i = 0; i < from_a.COUNT; ++i)
        copy_async<sizeof(real) * VECTOR>(left + Left::at(from_a.line(i), from_a.k(i)), from_a.at(i, k, end));
#pragma unroll
      for (int i = 0; i < from_b.COUNT; ++i)
        copy_async<sizeof(real) * VECTOR>(left + Left::SIZE + Right::at(from_b.line(i), from_b.k(i)), from_b.at(i, k, end));
    }
    commit_copies();
  };

  for (int stage = 0; stage < STAGES - 1; ++stage) bring(stage, begin + stage * DEPTH);
  for (int k = begin, stage = 0; k < end; k += DEPTH, stage = (stage + 1) % STAGES) {
    wait_for_copies<STAGES - 2>();
    __syncthreads();  // everybody's copies have come, and nobody reads the stage before this one any more
    bring((stage + STAGES - 1) % STAGES, k + (STAGES - 1) * DEPTH);
    const real* left = stages + stage * (Left::SIZE + Right::SIZE);
    if (needed) multiply_stage<Left, Right>(left, left + Left::SIZE, m0, n0, sums);
  }

  // Sum i of this lane: of the fragment (i / 4 / ACROSS, i / 4 % ACROSS) the number i % 4.
  auto m_of = [&](int i) { return tile.m + m0 + i / 4 / ACROSS * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8; };
  auto n_of = [&](int i) { return tile.n + n0 + i / 4 % ACROSS * 8 + threadIdx.x % 4 * 2 + i % 2; };
  bool spoilt = false;
#pragma unroll
  for (int i = 0; i < DOWN * ACROSS * 4; ++i)
    if (m_of(i) < a.lines && n_of(i) < b.lines) {
      float sum = sums[i / 4 / ACROSS][i / 4 % ACROSS][i % 4];
      store(m_of(i), n_of(i), sum);
      spoilt = spoilt || !is_finite(sum);
    }
  // What is left over of infinity is NaN, and a gap was multiplied as a zero: such sums are added up anew.
  if (spoilt)
#pragma unroll 1
    for (int i = 0; i < DOWN * ACROSS * 4; ++i)
      if (m_of(i) < a.lines && n_of(i) < b.lines)
        store(m_of(i), n_of(i), plain_sum(a, b, m_of(i), n_of(i), begin, end));
}
