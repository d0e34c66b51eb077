// Activations of one number. What is fused into another kernel's last step has the same bits as a launch of its own.
#pragma once
#include "common.cuh"

enum Activation { LINEAR, RELU, TANH, SIGMOID };  // the numbers that activation.py gives to the names

__device__ __forceinline__ wide relu(wide x) { return x <= wide(0) ? wide(0) : x; }  // NaN is not below 0: it stays

__device__ __forceinline__ wide sigmoid(wide x) {
  wide e = exp(-fabs(x));  // never above 1: no overflow
  return (x < wide(0) ? e : wide(1)) / (1 + e);
}

// All threads have the same `activation`, so no warp takes more than one way.
__device__ __forceinline__ wide activated(wide x, int activation) {
  return activation == RELU ? relu(x) : activation == TANH ? tanh(x) : activation == SIGMOID ? sigmoid(x) : x;
}
