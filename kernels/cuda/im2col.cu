// The two rearrangements. im2col goes along the columns, whose numbers stand beside each other there: a thread has some
// of them, finds out where they lie in the image, and sends for all. col2im goes over the image, as pixels.cuh says.
#include "pixels.cuh"
#include "windows.cuh"

// columns (N*OH*OW, KH*KW*C), n numbers, of x (N, H, W, C)
extern "C" __global__ void im2col(int n, Windows g, Divider taps, const real* __restrict__ x,
                                  real* __restrict__ columns) {
  unsigned first = blockIdx.x * AT_ONCE * blockDim.x + threadIdx.x;
  real values[AT_ONCE];
#pragma unroll
  for (int a = 0; a < AT_ONCE; ++a) {
    int i = min(first + a * blockDim.x, unsigned(n - 1)), window = taps(i);
    values[a] = number(cell(g, x, window_part(g, window), tap_part(g, i - window * taps.by)));
  }
  write_group(columns, first, n, values);
}

// image (N, H, W, C): each cell gathers what stands in the rows of the windows that it lies in.
extern "C" __global__ void col2im(Windows g, Divider SH, Divider SW, int KH, const real* __restrict__ columns,
                                  real* __restrict__ image) {
  int n = blockIdx.x / g.H, h = blockIdx.x % g.H, C = g.C.by;
  EACH_COLUMN(w, g.W) {
    EACH_CHANNELS(c, C) {
      wide total[AT_ONCE] = {};
      for (int kh = 0; kh < KH; ++kh) {
        int oh = window_over(h + g.top - kh * g.DH, SH, g.OH.by);
        for (int kw = 0; oh >= 0 && kw < g.KW.by; ++kw) {
          int ow = window_over(int(w) + g.left - kw * g.DW, SW, g.OW.by);
          if (ow < 0) continue;
          real values[AT_ONCE];
          read_group(columns + ((n * g.OH.by + oh) * g.OW.by + ow) * g.taps + (kh * g.KW.by + kw) * C, c, C, values);
          for (int a = 0; a < AT_ONCE; ++a) total[a] += wide(values[a]);
        }
      }
      write_group(image + (blockIdx.x * g.W + w) * C, c, C, total);
    }
  }
}
