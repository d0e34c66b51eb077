// The optimizers' steps, of many arrays in one launch: a network has dozens, most of them too small for a whole GPU.
// Every array is cut into pieces (each.cuh), and a block takes one piece, of whichever array.
#include "each.cuh"

#define ARRAYS 64  // the most in one launch, as in update.py

struct Pieces {
  int arrays;
  int first[ARRAYS + 1];  // the block that begins each array; after the last the number of blocks
  int size[ARRAYS];       // numbers of each array
};

struct Addresses {
  real* of[ARRAYS];
};

// The array of this block: the one with first[array] <= block < first[array + 1], found by halving.
__device__ __forceinline__ int array_of_block(const Pieces& pieces) {
  int array = 0, end = pieces.arrays;
  while (end - array > 1) {
    int middle = (array + end) / 2;
    if (pieces.first[middle] <= blockIdx.x) array = middle;
    else end = middle;
  }
  return array;
}

__device__ __forceinline__ Piece piece_of_block(const Pieces& pieces, int array) {
  return piece(blockIdx.x - pieces.first[array], pieces.size[array]);
}

// velocities: all null without momentum
extern "C" __global__ void sgd_update(const Pieces pieces, const Addresses ws, const Addresses velocities,
                                      const Addresses dws, wide lr, wide momentum, int nesterov, wide weight_decay) {
  int array = array_of_block(pieces);
  Piece mine = piece_of_block(pieces, array);
  real *w = ws.of[array], *velocity = velocities.of[array];
  const real* dw = dws.of[array];
  if (velocity) {
    auto step = [=](wide& w, wide& v, wide dw) {
      wide g = dw + weight_decay * w;
      v = momentum * v + g;
      w -= lr * (nesterov ? g + momentum * v : v);
    };
    each(mine, step, w, velocity, dw);
  } else {
    each(mine, [=](wide& w, wide dw) { w -= lr * (dw + weight_decay * w); }, w, dw);
  }
}

// rest: 1 - rho
extern "C" __global__ void adadelta_update(const Pieces pieces, const Addresses ws, const Addresses square_averages,
                                           const Addresses update_averages, const Addresses dws, wide lr, wide rho,
                                           wide rest, wide eps, wide weight_decay) {
  int array = array_of_block(pieces);
  auto step = [=](wide& w, wide& square_average, wide& update_average, wide dw) {
    wide g = dw + weight_decay * w;
    square_average = rho * square_average + rest * g * g;
    wide delta = sqrt(update_average + eps) / sqrt(square_average + eps) * g;
    update_average = rho * update_average + rest * delta * delta;
    w -= lr * delta;
  };
  const real* dw = dws.of[array];
  each(piece_of_block(pieces, array), step, ws.of[array], square_averages.of[array], update_averages.of[array], dw);
}
