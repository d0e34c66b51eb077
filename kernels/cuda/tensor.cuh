// The product of `gemm.cuh` by tensor cores, which multiply two small matrices with one instruction of a warp (`mma`).
//
// Their factors are TF32: as large as a float can be, but with 11 of its 24 digits. Two precisions are made of that:
//
//     TERMS 1   TF32: every factor is rounded
//     TERMS 3   float32: a factor is a sum of two TF32 numbers, large + small, which have 22 digits together, and
//               a * b = a_small * b_large + a_large * b_small + a_large * b_large, and what is missing is as small as the
//               rounding error of a float. The small terms come first, as they would be lost beside a large sum. And as
//               tensor cores cut off what their sums have no digits for, always towards zero, they add 8 terms at most:
//               such sums are added by the ordinary units, which round. (Ootomo & Yokota, "Recovering single precision
//               accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance", 2022)
//
// Arrays of float16 are multiplied as they are, by an instruction for those (TERMS 1 too): their products are exact, and
// the sums are those of float. Its fragments come from shared memory eight rows of eight numbers at a time.
//
// A block has a tile of 128 x 64 or 128 x 128 sums (COLUMNS), of which each warp has half of the columns and, of TERMS 1,
// half of the rows: per step of 8 in k it reads 4 fragments of a and 4 or 8 of b, and makes 16 or 32 products of them. As
// each is one instruction, what is left to be fast are the reads: more products for a read is what the large part is for.
// With TERMS 3 a fragment serves three times as many products, whose parts want registers too; there a warp has 32 rows.
// The larger tile reads less for the same products, if there are enough tiles for all processors.
//
// The operands come to shared memory by asynchronous copies, in stages: one is multiplied while the others are on their
// way, so that no register holds numbers that only pass through.
//
// The numbers lie in shared memory in the order of the global one, neighbours beside each other. A fragment is read by
// lanes 4 g + t at line g and step t. Rows of DEPTH numbers and 16 bytes (k fastest) give those of floats the banks
// 4 g + t or 20 g + t, rows of LINES + 8 (lines fastest) the banks g + 8 t: all 32, whichever it is. Of float16 two
// neighbours share a bank, and the eight rows of a matrix, of four banks each, take all 32.
#pragma once
#include "ptx.cuh"

// `_product.py` knows how much memory that takes: no more than every GPU with tensor cores for TF32 has for a block.
constexpr int HEIGHT = 128, WIDTH = COLUMNS, DEPTH = WIDTH == 64 ? 32 : 16, STAGES = WIDTH == 64 ? 3 : 4;
constexpr int DOWN = TERMS == 1 ? 4 : 2, ACROSS = WIDTH / 16;  // fragments of a warp's part, of 16 x 8 sums each
// Blocks that a processor shall have registers for; of TERMS 3 the ways with the most numbers on the move need all.
constexpr int RESIDENT = TERMS == 1 || (WIDTH == 64 && VECTOR > 1) ? 2 : 1;
// Numbers from row to row of a warp's room for results: eight banks on, so that half a warp writes pairs to all 32 banks.
constexpr int ROOM = WIDTH / 2 + 8;

// How an operand's part of a stage lies in shared memory.
template <class Operand, int LINES>
struct Layout {
  static constexpr bool k_fastest = Operand::k_fastest;
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
    if (TERMS == 3) small[i] = tf32(x - __uint_as_float(large[i] & ~0x1FFFu));  // nothing is said about the last bits
  }
};

// sums += the product of one stage. left, right: this lane's first number of its warp's part of either operand, (g, t).
template <class Left, class Right>
__device__ __forceinline__ void multiply_stage(const real* left, const real* right, float (&sums)[DOWN][ACROSS][4]) {
  // Steps that the compiler may mix. With three terms only where registers are left for it: in the small tile two blocks
  // share those of a processor, and copies of single numbers need many.
  constexpr int UNROLLED = TERMS == 3 && (WIDTH == 64 || VECTOR == 1) ? 1 : DEPTH / 8;
#pragma unroll UNROLLED
  for (int k = 0; k < DEPTH; k += 8) {
    Fragment<2> b[ACROSS];
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
      for (int r = 0; r < 2; ++r) b[j].set(r, right[Right::at(8 * j, k + r * 4)]);
    // Between two instructions that add to the same sums are 3 others at least: none waits for its neighbour.
#pragma unroll
    for (int i = 0; i < DOWN; ++i) {
      Fragment<4> a;
#pragma unroll
      for (int r = 0; r < 4; ++r) a.set(r, left[Left::at(16 * i + r % 2 * 8, k + r / 2 * 4)]);
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

// Where this lane's row is of the 8 x 8 matrix that begins 8 * line lines and 8 * k steps on: neighbours in a row are
// neighbours in shared memory.
template <class Layout>
__device__ __forceinline__ int matrix_row(int line, int k) {
  int row = threadIdx.x % 8;
  return Layout::at(8 * line + (Layout::k_fastest ? row : 0), 8 * k + (Layout::k_fastest ? 0 : row));
}

// multiply_stage of float16. left, right: this lane's row of the first four matrices of its warp's part.
template <class Left, class Right>
__device__ __forceinline__ void multiply_stage_f16(const real* left, const real* right,
                                                   float (&sums)[DOWN][ACROSS][4]) {
#pragma unroll
  for (int k = 0; k < DEPTH; k += 16) {
    unsigned a[DOWN][4];
#pragma unroll
    for (int i = 0; i < DOWN; ++i) load_matrices<!Left::k_fastest>(a[i], left + Left::at(16 * i, k));
#pragma unroll
    for (int j = 0; j < ACROSS; j += 2) {
      unsigned b[4];
      load_matrices<!Right::k_fastest>(b, right + Right::at(8 * j, k));
#pragma unroll
      for (int i = 0; i < DOWN; ++i) mma_f16(sums[i][j], a[i], b[0], b[1]), mma_f16(sums[i][j + 1], a[i], b[2], b[3]);
    }
  }
}

// The sums of a warp's part of the tile, from its registers to where `store` has them. A lane has pairs of neighbours in
// two rows of each fragment; so the fragments beside each other go to shared memory, and come back as groups, whose rows
// are whole lines of memory. room: as much of it as a warp needs, of its own. (m, n): of its first sum.
template <class A, class B, class Store>
__device__ __forceinline__ void store_sums(const A& a, const B& b, int begin, int end, const Store& store, int m, int n,
                                           const float (&sums)[DOWN][ACROSS][4], float* room) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  constexpr int GROUPS = ACROSS * 8 / GROUP;  // of a row
  n += lane % GROUPS * GROUP;
  const Neighbours<wide> biases = store.biases(n, b.lines);
#pragma unroll
  for (int i = 0; i < DOWN; ++i) {
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r) room[(g + r / 2 * 8) * ROOM + 8 * j + 2 * t + r % 2] = sums[i][j][r];
    __syncwarp();
#pragma unroll 1
    for (int row = lane / GROUPS; row < 16; row += 32 / GROUPS) {
      if (m + 16 * i + row >= a.lines || n >= b.lines) continue;
      auto group = *(const Neighbours<float>*)(room + row * ROOM + lane % GROUPS * GROUP);
      // A float next to infinity is rounded to it, and what that leaves over is NaN; a gap was multiplied as a zero.
      if (A::gaps || sizeof(real) == 4) repair(a, b, m + 16 * i + row, n, begin, end, group.at);
      store_group(store, m + 16 * i + row, n, b.lines, group.at, biases);
    }
    __syncwarp();
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
  const int warp = threadIdx.x / 32, m0 = warp / 2 * 16 * DOWN, n0 = warp % 2 * (WIDTH / 2);
  const bool needed = tile.m + m0 < a.lines && tile.n + n0 < b.lines;  // or this warp only helps to copy
  // This lane's first numbers in a stage.
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  constexpr bool F16 = sizeof(real) == 2;
  const int at_left = Left::at(m0, 0) + (F16 ? matrix_row<Left>(lane / 8 % 2, lane / 16) : Left::at(g, t));
  const int at_right = Right::at(n0, 0) + (F16 ? matrix_row<Right>(lane / 16, lane / 8 % 2) : Right::at(g, t));
  float sums[DOWN][ACROSS][4] = {};

  auto bring = [&](real* stage, int k) {
    if (k < end) {
      real* left = stage + Left::at(from_a.line(0), from_a.k(0));
      real* right = stage + Left::SIZE + Right::at(from_b.line(0), from_b.k(0));
      from_a.each(k, end, [&](int i, Place p) {
        copy_async<sizeof(real) * VECTOR>(left + from_a.template apart<Left>(i), p.at, p.exists);
      });
      from_b.each(k, end, [&](int i, Place p) {
        copy_async<sizeof(real) * VECTOR>(right + from_b.template apart<Right>(i), p.at, p.exists);
      });
    }
    commit_copies();
  };

  constexpr int STAGE = Left::SIZE + Right::SIZE;
  for (int i = 0; i < STAGES - 1; ++i) bring(stages + i * STAGE, begin + i * DEPTH);
  int now = 0, next = STAGES - 1;  // which stage is multiplied, and which one is filled
  for (int k = begin; k < end; k += DEPTH) {
    wait_for_copies<STAGES - 2>();
    __syncthreads();  // everybody's copies have come, and nobody reads the stage before this one any more
    bring(stages + next * STAGE, k + (STAGES - 1) * DEPTH);
    const real *left = stages + now * STAGE + at_left, *right = stages + now * STAGE + Left::SIZE + at_right;
    if constexpr (F16) {
      if (needed) multiply_stage_f16<Left, Right>(left, right, sums);
    } else {
      if (needed) multiply_stage<Left, Right>(left, right, sums);
    }
    next = now;
    now = now + 1 == STAGES ? 0 : now + 1;
  }

  __syncthreads();  // nobody reads a stage any more
  float* room = (float*)stages + warp * 16 * ROOM;
  if (needed) store_sums(a, b, begin, end, store, tile.m + m0, tile.n + n0, sums, room);
}
