// Optimizers' steps that divide each gradient by its own usual size: see update.cuh for who does what.
//
// `rest` is always 1 - the factor before it, taken before it was rounded.
#include "update.cuh"

extern "C" __global__ void adagrad_update(const Pieces pieces, const Addresses ws, const Addresses square_sums,
                                          const Addresses dws, wide lr, wide eps, wide weight_decay) {
  int array = array_of_block(pieces);
  auto step = [=](wide& w, wide& square_sum, wide dw) {
    wide g = dw + weight_decay * w;
    square_sum += g * g;
    w -= lr * g / (sqrt(square_sum) + eps);
  };
  const real* dw = dws.of[array];
  each(piece_of_block(pieces, array), step, ws.of[array], square_sums.of[array], dw);
}

// averages: all null where the square is not centred; velocities: all null without momentum
extern "C" __global__ void rmsprop_update(const Pieces pieces, const Addresses ws, const Addresses square_averages,
                                          const Addresses averages, const Addresses velocities, const Addresses dws,
                                          wide lr, wide alpha, wide rest, wide eps, wide momentum, wide weight_decay) {
  int array = array_of_block(pieces);
  Piece mine = piece_of_block(pieces, array);
  real *w = ws.of[array], *square = square_averages.of[array], *average = averages.of[array],
       *velocity = velocities.of[array];
  const real* dw = dws.of[array];
  auto centred = [=](wide& w, wide& square, wide& average, wide& v, wide dw) {
    wide g = dw + weight_decay * w;
    square = alpha * square + rest * g * g;
    average = alpha * average + rest * g;
    wide variance = square - average * average;
    v = momentum * v + g / (sqrt(variance < 0 ? wide(0) : variance) + eps);  // NaN stays
    w -= lr * v;
  };
  auto plain = [=](wide& w, wide& square, wide& v, wide dw) {
    wide g = dw + weight_decay * w;
    square = alpha * square + rest * g * g;
    v = momentum * v + g / (sqrt(square) + eps);
    w -= lr * v;
  };
  if (average && velocity) {
    each(mine, centred, w, square, average, velocity, dw);
  } else if (average) {
    auto step = [=](wide& w, wide& square, wide& average, wide dw) {
      wide v = 0;
      centred(w, square, average, v, dw);
    };
    each(mine, step, w, square, average, dw);
  } else if (velocity) {
    each(mine, plain, w, square, velocity, dw);
  } else {
    auto step = [=](wide& w, wide& square, wide dw) {
      wide v = 0;
      plain(w, square, v, dw);
    };
    each(mine, step, w, square, dw);
  }
}

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

// One block: every array's count of steps grows by one. Before adam_update, of which many blocks read the same count.
extern "C" __global__ void count_step(int arrays, const Addresses steps) {
  if (threadIdx.x >= arrays) return;
  real* step = steps.of[threadIdx.x];
  *step = wide(*step) + 1;
}

// log_beta: the logarithm of each factor; decay: of w itself; added: of w to its gradient
extern "C" __global__ void adam_update(const Pieces pieces, const Addresses ws, const Addresses averages,
                                       const Addresses square_averages, const Addresses steps, const Addresses dws,
                                       wide lr, wide beta1, wide rest1, wide log_beta1, wide beta2, wide rest2,
                                       wide log_beta2, wide eps, wide decay, wide added) {
  int array = array_of_block(pieces);
  wide count = *steps.of[array];
  // 1 - beta^count, which in float32 would have few right digits left were it computed so.
  wide rate = lr / -expm1(count * log_beta1), root = 1 / sqrt(-expm1(count * log_beta2));
  auto step = [=](wide& w, wide& average, wide& square_average, wide dw) {
    wide g = dw + added * w;
    average = beta1 * average + rest1 * g;
    square_average = beta2 * square_average + rest2 * g * g;
    w -= rate * average / (root * sqrt(square_average) + eps) + decay * w;
  };
  const real* dw = dws.of[array];
  each(piece_of_block(pieces, array), step, ws.of[array], averages.of[array], square_averages.of[array], dw);
}
