// Optimizers' steps along a mean of past gradients: see update.cuh for who does what.
#include "rows.cuh"
#include "update.cuh"

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

// rest: 1 - beta
extern "C" __global__ void lion_update(const Pieces pieces, const Addresses ws, const Addresses averages,
                                       const Addresses dws, wide lr, wide beta1, wide rest1, wide beta2, wide rest2,
                                       wide weight_decay) {
  int array = array_of_block(pieces);
  auto step = [=](wide& w, wide& average, wide dw) {
    wide c = beta1 * average + rest1 * dw;
    wide direction = c > 0 ? 1 : c < 0 ? -1 : c;  // 0 and NaN stay
    w -= lr * (direction + weight_decay * w);
    average = beta2 * average + rest2 * dw;
  };
  const real* dw = dws.of[array];
  each(piece_of_block(pieces, array), step, ws.of[array], averages.of[array], dw);
}

// LARS needs the norms of every array before its step, of which many blocks have a piece. So the first kernel leaves
// the sums of the squares of each piece, the second adds them, in a block for each array, and the third does the step.

// sums: two for each block, of the squares of w and of dw
extern "C" __global__ void lars_sums(const Pieces pieces, const Addresses ws, const Addresses velocities,
                                     const Addresses dws, wide* __restrict__ sums) {
  int array = array_of_block(pieces);
  Piece mine = piece_of_block(pieces, array);
  const real *w = ws.of[array] + mine.first, *dw = dws.of[array] + mine.first;
  wide of_w = 0, of_dw = 0;
  ALONG(i, mine.size) {
    of_w += wide(w[i]) * wide(w[i]);
    of_dw += wide(dw[i]) * wide(dw[i]);
  }
  of_w = over_row<Sum>(of_w), of_dw = over_row<Sum>(of_dw);
  if (threadIdx.x == 0) sums[2 * blockIdx.x] = of_w, sums[2 * blockIdx.x + 1] = of_dw;
}

// trust: by how much the learning rate of each array is multiplied
extern "C" __global__ void lars_trust(const Pieces pieces, const wide* __restrict__ sums, wide coefficient,
                                      wide weight_decay, wide* __restrict__ trust) {
  int first = pieces.first[blockIdx.x], blocks = pieces.first[blockIdx.x + 1] - first;
  sums += 2 * first;
  wide of_w = 0, of_dw = 0;
  ALONG(i, blocks) of_w += sums[2 * i], of_dw += sums[2 * i + 1];
  wide size = sqrt(over_row<Sum>(of_w)), divisor = sqrt(over_row<Sum>(of_dw)) + weight_decay * size;
  if (threadIdx.x == 0) trust[blockIdx.x] = size != 0 && divisor != 0 ? coefficient * size / divisor : 1;
}

// trust: null where the learning rate is left as it is
extern "C" __global__ void lars_update(const Pieces pieces, const Addresses ws, const Addresses velocities,
                                       const Addresses dws, const wide* __restrict__ trust, wide lr, wide momentum,
                                       wide weight_decay) {
  int array = array_of_block(pieces);
  wide rate = trust ? lr * trust[array] : lr;
  auto step = [=](wide& w, wide& v, wide dw) {
    v = momentum * v + rate * (dw + weight_decay * w);
    w -= v;
  };
  const real* dw = dws.of[array];
  each(piece_of_block(pieces, array), step, ws.of[array], velocities.of[array], dw);
}
