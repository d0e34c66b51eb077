// Warping: a thread has a pixel of the result, and groups of its channels. Place, weights and the addresses of the four
// neighbours are worked out once for all channels; neighbouring threads look up neighbouring places, so what one of
// them has read comes to the others from the cache. See pixels.cuh for the grid.
#include "pixels.cuh"

enum Fill { NEAREST, CONSTANT, REFLECT };  // what lies outside of an image

struct Warping {
  int H, W, C, fill;
};

// The index from 0 to size - 1 that stands for i.
__device__ __forceinline__ int inside(int i, int size, int fill) {
  if (fill == REFLECT) {
    i %= 2 * size;
    if (i < 0) i += 2 * size;
    return min(i, 2 * size - 1 - i);
  }
  return max(0, min(i, size - 1));
}

struct Neighbour {
  unsigned offset;  // of its first channel in the image
  bool outside;     // it is the constant
};

__device__ __forceinline__ Neighbour neighbour(const Warping& g, int h, int w) {
  bool outside = unsigned(h) >= unsigned(g.H) || unsigned(w) >= unsigned(g.W);
  return {unsigned(inside(h, g.H, g.fill) * g.W + inside(w, g.W, g.fill)) * g.C, outside && g.fill == CONSTANT};
}

template <class Pixel>
__device__ __forceinline__ void add_neighbour(wide (&sums)[AT_ONCE], wide weight, const Pixel* image, Neighbour p,
                                              unsigned c, unsigned C, wide value) {
  wide pixels[AT_ONCE];
  read_group(image + p.offset, c, C, pixels);
  for (int k = 0; k < AT_ONCE; ++k) sums[k] += weight * (p.outside ? value : pixels[k]);
}

// x, y: (N, H, W, C); matrices: (N, 2, 3); displacement: (N, H, W, 2) or null. What is added before y is cut off to a
// whole number is `rounding`.
template <class Pixel>
__device__ __forceinline__ void warp_row(const Warping& g, const Pixel* __restrict__ x, const wide* __restrict__ m,
                                         const wide* __restrict__ displacement, wide value, wide rounding,
                                         Pixel* __restrict__ y) {
  unsigned n = blockIdx.x / g.H, i = blockIdx.x % g.H;
  x += n * g.H * g.W * g.C, m += 6 * n;
  EACH_COLUMN(j, g.W) {
    unsigned pixel = blockIdx.x * g.W + j;
    wide h = m[0] * i + m[1] * j + m[2], w = m[3] * i + m[4] * j + m[5];
    if (displacement) h += displacement[2 * pixel], w += displacement[2 * pixel + 1];
    wide upper = floor(h), left = floor(w), a = h - upper, b = w - left;
    int p = int(upper), q = int(left);
    Neighbour around[4] = {neighbour(g, p, q), neighbour(g, p, q + 1), neighbour(g, p + 1, q),
                           neighbour(g, p + 1, q + 1)};
    wide weights[4] = {(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b};
    EACH_CHANNELS(c, g.C) {
      wide sums[AT_ONCE] = {rounding, rounding, rounding, rounding};
#pragma unroll
      for (int k = 0; k < 4; ++k) add_neighbour(sums, weights[k], x, around[k], c, g.C, value);
      write_group(y + pixel * g.C, c, g.C, sums);
    }
  }
}

extern "C" __global__ void warp(Warping g, const real* __restrict__ x, const wide* __restrict__ matrices,
                                const wide* __restrict__ displacement, wide value, real* __restrict__ y) {
  warp_row(g, x, matrices, displacement, value, wide(0), y);
}

extern "C" __global__ void warp_bytes(Warping g, const unsigned char* __restrict__ x,
                                      const wide* __restrict__ matrices, const wide* __restrict__ displacement,
                                      wide value, unsigned char* __restrict__ y) {
  warp_row(g, x, matrices, displacement, value, wide(0.5), y);
}
