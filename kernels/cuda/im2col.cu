// The two rearrangements, number by number: a thread for every few numbers of the result, neighbours beside each other.
#include "windows.cuh"

// columns (N*OH*OW, KH*KW*C) of x (N, H, W, C)
extern "C" __global__ void im2col(int n, real* __restrict__ columns, const real* __restrict__ x, Windows g) {
  EACH(i, n) {
    int window = unsigned(i) / unsigned(g.taps);
    const real* p = cell(g, x, window_part(g, window), tap_part(g, i - window * g.taps));
    columns[i] = p ? *p : real(0);
  }
}

// image (N, H, W, C): each cell gathers what stands in the rows of the windows that it lies in.
extern "C" __global__ void col2im(int n, real* __restrict__ image, const real* __restrict__ columns, Windows g, int KH) {
  EACH(i, n) {
    int c = i % g.C.by, pixel = i / g.C.by, w = pixel % g.W, h = pixel / g.W % g.H, first = pixel / g.W / g.H * g.OH.by;
    wide sum = 0;
    for (int kh = 0; kh < KH; ++kh) {
      int down = h + g.top - kh * g.DH, oh = down / g.SH;
      if (down < 0 || oh * g.SH != down || oh >= g.OH.by) continue;
      for (int kw = 0; kw < g.KW.by; ++kw) {
        int right = w + g.left - kw * g.DW, ow = right / g.SW;
        if (right < 0 || ow * g.SW != right || ow >= g.OW.by) continue;
        sum += wide(columns[((first + oh) * g.OW.by + ow) * g.taps + (kh * g.KW.by + kw) * g.C.by + c]);
      }
    }
    image[i] = sum;
  }
}
