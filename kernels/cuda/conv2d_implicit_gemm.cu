// Convolution as products of matrices, of which the large one is never made ("implicit GEMM"): the operand `Patches`
// looks its numbers up in the image, where im2col would have copied them from. `gemm.cuh` explains the product.
//
//     y  (N*OH*OW, O)   = patches of x  (N*OH*OW, KH*KW*C) @ w (KH*KW*C, O)
//     dw (KH*KW*C, O)   = patches of x, transposed         @ dy (N*OH*OW, O)
//     dx (N*H*W, C)     = patches of dy (N*H*W, KH*KW*O)   @ w, its taps turned round (KH*KW*O, C)
//
// Each group is a product of its own, on blockIdx.z.
#include "gemm.cuh"
#include "windows.cuh"

// A line is a window, k its taps: KH * KW stretches of C neighbours in memory.
template <bool GAPS>
struct Patches {
  static constexpr bool k_fastest = true, gaps = GAPS;
  typedef Part Line;
  typedef Part Step;
  const Windows& windows;
  const real* image;
  int lines;
  __device__ __forceinline__ Line line(int i) const { return window_part(windows, i); }
  __device__ __forceinline__ Step step(int k) const { return tap_part(windows, k); }
  __device__ __forceinline__ Place at(const Line& window, const Step& tap) const {
    return cell(windows, image, window, tap);
  }
};

// The same matrix transposed: a line is a tap, k are the windows.
struct PatchesTransposed {
  static constexpr bool k_fastest = false, gaps = false;
  typedef Part Line;
  typedef Part Step;
  const Windows& windows;
  const real* image;
  int lines;
  __device__ __forceinline__ Line line(int i) const { return tap_part(windows, i); }
  __device__ __forceinline__ Step step(int k) const { return window_part(windows, k); }
  __device__ __forceinline__ Place at(const Line& tap, const Step& window) const {
    return cell(windows, image, window, tap);
  }
};

// x (N, H, W, groups * C), w (KH, KW, C, groups * O), y (N, OH, OW, groups * O)
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
    conv2d_forward(Windows g, int O, const real* __restrict__ x, const real* __restrict__ w,
                   const real* __restrict__ b, int activation, real* __restrict__ y) {
  int row = gridDim.z * O, o = blockIdx.z * O;
  multiply(Patches<false>{g, x + blockIdx.z * g.C.by, g.windows}, Matrix<false>{w + o, O, row}, 0, g.taps,
           Rows<real>{y + o, b ? b + o : nullptr, row, activation});
}

// Part blockIdx.y sums over `depth` windows; sums (parts, KH, KW, C, groups * O) become dw by add_parts.
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
    conv2d_backward_weight(Windows g, int O, int depth, const real* __restrict__ dy, const real* __restrict__ x,
                           wide* __restrict__ sums) {
  int row = gridDim.z * O, o = blockIdx.z * O, begin = blockIdx.y * depth;
  multiply(PatchesTransposed{g, x + blockIdx.z * g.C.by, g.taps}, Matrix<false>{dy + o, O, row}, begin,
           min(g.windows, begin + depth),
           Rows<wide>{sums + size_t(blockIdx.y) * g.taps * row + o, nullptr, row, LINEAR});
}

// The gradient in x. With stride 1 the cell h of x has been seen by the windows oh = h + top - kh*DH, if they exist:
// these are a window of dy, walked backwards. With a stride only every SH-th of these numbers is a multiple of SH, and
// which kh that leaves depends on h modulo SH alone. So there is one launch for each remainder of (h, w) by (SH, SW),
// a convolution of dy with stride 1 by those taps of w (Dumoulin & Visin, "A guide to convolution arithmetic for deep
// learning", 2016, section 4.6; but they put zeros between the numbers of dy, and here none is multiplied).
struct Phase {
  Windows dy;                                 // OH and OW count the cells of this phase, KW and taps its part of w
  int w_first, w_down, w_right;               // in w: to its first tap, and from tap to tap
  int dx_first, dx_image, dx_down, dx_right;  // the same for its cells in dx
};

// A line is a channel of x, k = (kh, kw, o) those taps of w that this phase has.
struct Taps {
  static constexpr bool k_fastest = true, gaps = false;
  typedef int Line;
  typedef int Step;
  const Phase& phase;
  const real* w;
  int lines, row;
  __device__ __forceinline__ Line line(int i) const { return i * row; }
  __device__ __forceinline__ Step step(int k) const {
    Triple i = split(k, phase.dy.KW, phase.dy.C);
    return i.far * phase.w_down + i.middle * phase.w_right + i.near;
  }
  __device__ __forceinline__ Place at(Line line, Step step) const { return {w + (line + step), true}; }
};

struct Cells {
  typedef real Number;
  const Phase& phase;
  real* dx;
  __device__ __forceinline__ Number* line(int m) const {
    Triple i = split(m, phase.dy.OH, phase.dy.OW);
    return dx + (i.far * phase.dx_image + i.middle * phase.dx_down + i.near * phase.dx_right);
  }
  __device__ __forceinline__ Neighbours<wide> biases(int, int) const { return {}; }
  __device__ __forceinline__ Number result(wide sum, wide) const { return sum; }
};

// dy (N, OH, OW, groups * O), w (KH, KW, C, groups * O), dx (N, H, W, groups * C)
extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT)
    conv2d_backward_input(Phase phase, int C, const real* __restrict__ dy, const real* __restrict__ w,
                          real* __restrict__ dx) {
  int o = blockIdx.z * phase.dy.C.by;
  multiply(Patches<true>{phase.dy, dy + o, phase.dy.windows},
           Taps{phase, w + phase.w_first + o, C, phase.dy.channels}, 0, phase.dy.taps,
           Cells{phase, dx + phase.dx_first + blockIdx.z * C});
}
