// Activations and their derivatives, number by number: one read and one write of memory for each array.
#include "activation.cuh"
#include "each.cuh"

extern "C" __global__ void relu_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  each(n, y, [](wide x) { return relu(x); }, x);
}

extern "C" __global__ void relu_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                         real* __restrict__ dx) {
  each(n, dx, [](wide dy, wide y) { return y <= wide(0) ? wide(0) : dy; }, dy, y);
}

extern "C" __global__ void relu6_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  each(n, y, [](wide x) { return relu(x) >= wide(6) ? wide(6) : relu(x); }, x);
}

extern "C" __global__ void relu6_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                          real* __restrict__ dx) {
  each(n, dx, [](wide dy, wide y) { return y <= wide(0) || y >= wide(6) ? wide(0) : dy; }, dy, y);
}

extern "C" __global__ void tanh_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  each(n, y, [](wide x) { return tanh(x); }, x);
}

extern "C" __global__ void tanh_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                         real* __restrict__ dx) {
  each(n, dx, [](wide dy, wide y) { return dy * (1 - y * y); }, dy, y);
}

extern "C" __global__ void sigmoid_forward(int n, const real* __restrict__ x, real* __restrict__ y) {
  each(n, y, [](wide x) { return sigmoid(x); }, x);
}

extern "C" __global__ void sigmoid_backward(int n, const real* __restrict__ dy, const real* __restrict__ y,
                                            real* __restrict__ dx) {
  each(n, dx, [](wide dy, wide y) { return dy * y * (1 - y); }, dy, y);
}
