// Convolution in which every channel has filters of its own: filter o sees channel o / ratio of x. There is no matrix
// product in it (one channel meets one filter), only memory to be read: a thread takes single numbers of the result, and
// its neighbour the next channel, so that all reads are of whole lines of the cache. What windows share they find there.
#include "columns.cuh"
#include "windows.cuh"
#include "activation.cuh"

// The number of `image` in channel c that a window sees under tap (kh, kw) = `tap`; the padding counts as 0.
__device__ __forceinline__ wide seen(const Windows& g, const real* x, const Part& window, int kh, int kw, int c) {
  int h = kh * g.DH, w = kw * g.DW;
  const real* p = cell(g, x, window, Part{unsigned(h * g.W + w) * g.channels + c, h, w});
  return p ? wide(*p) : wide(0);
}

// y (N, OH, OW, O) = activation(sum over kh, kw of x (.., o / ratio) * w (KH, KW, 1, O) + b)
extern "C" __global__ void conv2d_depthwise_forward(int n, real* __restrict__ y, const real* __restrict__ x,
                                                    const real* __restrict__ w, const real* __restrict__ b,
                                                    int activation, Windows g, Divider O, Divider ratio, int KH) {
  EACH(i, n) {
    int window = O(i), o = i - window * O.by;
    Part where = window_part(g, window);
    wide sum = 0;
    for (int kh = 0; kh < KH; ++kh)
      for (int kw = 0; kw < g.KW.by; ++kw)
        sum += seen(g, x, where, kh, kw, ratio(o)) * wide(w[(kh * g.KW.by + kw) * O.by + o]);
    y[i] = activated(b ? sum + wide(b[o]) : sum, activation);
  }
}

// dx (N, H, W, C): each cell gathers from the windows that it lies in, over the `ratio` filters of its channel.
extern "C" __global__ void conv2d_depthwise_backward_input(int n, real* __restrict__ dx, const real* __restrict__ dy,
                                                           const real* __restrict__ w, Windows g, Divider O,
                                                           Divider ratio, Divider SH, Divider SW, int KH) {
  EACH(i, n) {
    int pixel = unsigned(i) / unsigned(g.channels), c = i - pixel * g.channels;
    int row = unsigned(pixel) / unsigned(g.W), column = pixel - row * g.W;
    int image = unsigned(row) / unsigned(g.H), first = image * g.OH.by;
    wide sum = 0;
    for (int kh = 0; kh < KH; ++kh) {
      int down = row - image * g.H + g.top - kh * g.DH, oh = SH(down);
      if (down < 0 || oh * SH.by != down || oh >= g.OH.by) continue;
      for (int kw = 0; kw < g.KW.by; ++kw) {
        int right = column + g.left - kw * g.DW, ow = SW(right);
        if (right < 0 || ow * SW.by != right || ow >= g.OW.by) continue;
        const real* from = dy + ((first + oh) * g.OW.by + ow) * O.by + c * ratio.by;
        const real* by = w + (kh * g.KW.by + kw) * O.by + c * ratio.by;
        for (int q = 0; q < ratio.by; ++q) sum += wide(from[q]) * wide(by[q]);
      }
    }
    dx[i] = sum;
  }
}

// dw (KH, KW, 1, O): for the tap blockIdx.z the column sums of x times dy, a part of `depth` windows in a block:
// sums (parts, KH, KW, 1, O), which become dw by add_parts.
extern "C" __global__ void conv2d_depthwise_backward_weight(Windows g, Divider O, Divider ratio, int width, int depth,
                                                            const real* __restrict__ dy, const real* __restrict__ x,
                                                            wide* __restrict__ sums) {
  int first = blockIdx.y * depth, kh = blockIdx.z / g.KW.by, kw = blockIdx.z % g.KW.by;
  wide* row = sums + (size_t(blockIdx.y) * gridDim.z + blockIdx.z) * O.by;
  add_columns(
      O.by, width, first, min(g.windows, first + depth),
      [&](int window, int o) {
        return seen(g, x, window_part(g, window), kh, kw, ratio(o)) * wide(dy[window * O.by + o]);
      },
      [&](int o, wide sum) { row[o] = sum; });
}
