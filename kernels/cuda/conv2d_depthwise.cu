// Convolution in which every channel has filters of its own: filter o sees channel o / ratio of x. There is no matrix
// product in it (one channel meets one filter), only memory to be read: see pixels.cuh for the grid. What windows share
// they find in the cache.
#include "activation.cuh"
#include "columns.cuh"
#include "pixels.cuh"
#include "windows.cuh"

// y (N, OH, OW, O) = activation(sum over kh, kw of x (.., o / ratio) * w (KH, KW, 1, O) + b)
extern "C" __global__ void conv2d_depthwise_forward(Windows g, int O, Divider ratio, int KH, const real* __restrict__ x,
                                                    const real* __restrict__ w, const real* __restrict__ b,
                                                    int activation, real* __restrict__ y) {
  int n = blockIdx.x / g.OH.by, oh = blockIdx.x % g.OH.by;
  EACH_COLUMN(ow, g.OW.by) {
    EACH_CHANNELS(o, O) {
      wide sum[AT_ONCE] = {};
      for (int kh = 0; kh < KH; ++kh) {
        for (int kw = 0; kw < g.KW.by; ++kw) {
          int row = oh * g.SH - g.top + kh * g.DH, column = int(ow) * g.SW - g.left + kw * g.DW;
          const real* pixel = x + ((n * g.H + row) * g.W + column) * g.channels;
          bool inside = unsigned(row) < unsigned(g.H) && unsigned(column) < unsigned(g.W);
          real values[AT_ONCE], weights[AT_ONCE];
          for (int a = 0; a < AT_ONCE; ++a) values[a] = inside ? pixel[ratio(member(o, O, a))] : real(0);
          read_group(w + (kh * g.KW.by + kw) * O, o, O, weights);
          for (int a = 0; a < AT_ONCE; ++a) sum[a] += wide(values[a]) * wide(weights[a]);
        }
      }
      if (b) {
        real biases[AT_ONCE];
        read_group(b, o, O, biases);
        for (int a = 0; a < AT_ONCE; ++a) sum[a] += wide(biases[a]);
      }
      for (int a = 0; a < AT_ONCE; ++a) sum[a] = activated(sum[a], activation);
      write_group(y + (blockIdx.x * g.OW.by + ow) * O, o, O, sum);
    }
  }
}

// dx (N, H, W, C): each cell gathers from the windows that it lies in, over the `ratio` filters of its channel.
extern "C" __global__ void conv2d_depthwise_backward_input(Windows g, int ratio, Divider SH, Divider SW, int KH,
                                                           const real* __restrict__ dy, const real* __restrict__ w,
                                                           real* __restrict__ dx) {
  int n = blockIdx.x / g.H, h = blockIdx.x % g.H, C = g.channels;
  EACH_COLUMN(column, g.W) {
    EACH_CHANNELS(c, C) {
      wide sum[AT_ONCE] = {};
      for (int kh = 0; kh < KH; ++kh) {
        int oh = window_over(h + g.top - kh * g.DH, SH, g.OH.by);
        for (int kw = 0; oh >= 0 && kw < g.KW.by; ++kw) {
          int ow = window_over(int(column) + g.left - kw * g.DW, SW, g.OW.by);
          if (ow < 0) continue;
          const real* from = dy + ((n * g.OH.by + oh) * g.OW.by + ow) * C * ratio;
          const real* by = w + (kh * g.KW.by + kw) * C * ratio;
          for (int q = 0; q < ratio; ++q) {
            for (int a = 0; a < AT_ONCE; ++a) {
              int o = member(c, C, a) * ratio + q;
              sum[a] += wide(from[o]) * wide(by[o]);
            }
          }
        }
      }
      write_group(dx + (blockIdx.x * g.W + column) * C, c, C, sum);
    }
  }
}

// The number of x in channel c that a window sees under tap (kh, kw); the padding counts as 0.
__device__ __forceinline__ wide seen(const Windows& g, const real* x, const Part& window, int kh, int kw, int c) {
  int h = kh * g.DH, w = kw * g.DW;
  return number(cell(g, x, window, Part{unsigned(h * g.W + w) * g.channels + c, h, w}));
}

// dw (KH, KW, 1, O): for the tap blockIdx.z the column sums of x times dy, a part of `depth` windows in a block:
// sums (parts, KH, KW, 1, O), which become dw by add_parts.
extern "C" __global__ void conv2d_depthwise_backward_weight(Windows g, Divider O, Divider ratio, int depth,
                                                            const real* __restrict__ dy, const real* __restrict__ x,
                                                            wide* __restrict__ sums) {
  int first = blockIdx.y * depth, kh = blockIdx.z / g.KW.by, kw = blockIdx.z % g.KW.by;
  wide* row = sums + (size_t(blockIdx.y) * gridDim.z + blockIdx.z) * O.by;
  add_columns(
      O.by, first, min(g.windows, first + depth),
      [&](int window, int o) {
        return seen(g, x, window_part(g, window), kh, kw, ratio(o)) * wide(dy[window * O.by + o]);
      },
      [&](int o, wide sum) { row[o] = sum; });
}
