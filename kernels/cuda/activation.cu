// Activations and their derivatives, element by element: one read and one write of memory for each array.
#include "activation.cuh"

extern "C" __global__ void relu_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  EACH(i, n) y[i] = relu(x[i]);
}

extern "C" __global__ void relu_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                         real* __restrict__ dx) {
  EACH(i, n) dx[i] = y[i] <= real(0) ? real(0) : dy[i];
}

extern "C" __global__ void tanh_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  EACH(i, n) y[i] = tanh(wide(x[i]));
}

extern "C" __global__ void tanh_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                         real* __restrict__ dx) {
  EACH(i, n) dx[i] = wide(dy[i]) * (1 - wide(y[i]) * wide(y[i]));
}

extern "C" __global__ void sigmoid_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  EACH(i, n) y[i] = sigmoid(x[i]);
}

extern "C" __global__ void sigmoid_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                            real* __restrict__ dx) {
  EACH(i, n) dx[i] = wide(dy[i]) * wide(y[i]) * (1 - wide(y[i]));
}
