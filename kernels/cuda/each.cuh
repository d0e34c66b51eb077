// Kernels that work on arrays number by number, as ReLU, an optimizer's step and the gradient of a loss do.
//
// Such a kernel takes as long as its numbers take from memory and back, provided that enough of them are on their way
// at any time. So a thread has NUMBERS of every array: it sends for all of them, then computes, then stores. A block's
// numbers are neighbours, and so are those of neighbouring threads: 16 bytes for each, the most that one instruction
// moves, and further on 16 more. Where arrays do not begin at 16 bytes, or end within a piece, it takes single numbers.
//
//     each(n, y, [](wide x) { return relu(x); }, x);      y[i] = relu(x[i]) for all i below n
#pragma once
#include "common.cuh"

struct alignas(16) Vector {  // what one instruction reads or writes
  real at[16 / sizeof(real)];
};

constexpr unsigned PER_VECTOR = 16 / sizeof(real), NUMBERS = 2 * PER_VECTOR;  // 32 bytes, as in _launch.py

struct Piece {  // of arrays, which a block takes
  unsigned first, size;
};

__device__ __forceinline__ Piece piece(unsigned place, unsigned n) {
  unsigned first = place * NUMBERS * blockDim.x;
  return {first, min(NUMBERS * blockDim.x, n - first)};
}

template <class T>
struct Held {  // a thread's numbers of an array, of whose piece this is the beginning
  T* array;
  wide at[NUMBERS];
};

// BY_VECTOR: from a whole piece that begins where 16 bytes do. From any other one: number by number, as a group.
template <bool BY_VECTOR, class T>
__device__ __forceinline__ Held<T> load(T* array, Piece p) {
  Held<T> held = {array + p.first};
  if constexpr (BY_VECTOR) {
#pragma unroll
    for (unsigned k = 0; k < NUMBERS; k += PER_VECTOR) {
      Vector vector = ((const Vector*)held.array)[k / PER_VECTOR * blockDim.x + threadIdx.x];
      for (unsigned j = 0; j < PER_VECTOR; ++j) held.at[k + j] = vector.at[j];
    }
  } else {
    read_group(held.array, threadIdx.x, p.size, held.at);
  }
  return held;
}

template <bool BY_VECTOR>
__device__ __forceinline__ void store(const Held<real>& held, Piece p) {
  if constexpr (BY_VECTOR) {
#pragma unroll
    for (unsigned k = 0; k < NUMBERS; k += PER_VECTOR) {
      Vector vector;
      for (unsigned j = 0; j < PER_VECTOR; ++j) vector.at[j] = held.at[k + j];
      ((Vector*)held.array)[k / PER_VECTOR * blockDim.x + threadIdx.x] = vector;
    }
  } else {
    write_group(held.array, threadIdx.x, p.size, held.at);
  }
}

template <bool BY_VECTOR>
__device__ __forceinline__ void store(const Held<const real>&, Piece) {}  // it was only read

template <class... T>
__device__ __forceinline__ bool by_vector(Piece p, T*... arrays) {
  return p.size == NUMBERS * blockDim.x && ((size_t(arrays) % 16 == 0) && ...);
}

template <bool BY_VECTOR, class Formula, class... T>
__device__ __forceinline__ void write_results(Piece p, real* y, const Formula& formula, const Held<T>&... x) {
  Held<real> results = {y + p.first};
#pragma unroll
  for (unsigned k = 0; k < NUMBERS; ++k) results.at[k] = formula(x.at[k]...);
  store<BY_VECTOR>(results, p);
}

// y[i] = formula(x[i] ...) for all i below n, a piece in each block.
template <class Formula, class... T>
__device__ __forceinline__ void each(int n, real* y, const Formula& formula, const T*... x) {
  Piece p = piece(blockIdx.x, n);
  if (by_vector(p, y, x...)) write_results<true>(p, y, formula, load<true>(x, p)...);
  else write_results<false>(p, y, formula, load<false>(x, p)...);
}

template <bool BY_VECTOR, class Formula, class... T>
__device__ __forceinline__ void change(Piece p, const Formula& formula, Held<T>... held) {
#pragma unroll
  for (unsigned k = 0; k < NUMBERS; ++k) formula(held.at[k]...);
  (store<BY_VECTOR>(held, p), ...);
}

// In place: formula(a[i], b[i] ...), which may change the numbers of those arrays that are not const.
template <class Formula, class... T>
__device__ __forceinline__ void each(Piece p, const Formula& formula, T*... arrays) {
  if (by_vector(p, arrays...)) change<true>(p, formula, load<true>(arrays, p)...);
  else change<false>(p, formula, load<false>(arrays, p)...);
}
