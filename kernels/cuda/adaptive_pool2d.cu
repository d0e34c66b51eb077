// Average pooling into a given number of windows. Forward: a block has one window and a group of channels, and its
// threads share the cells out among them, as a global average has few windows and many cells. Backward: a thread has a
// few channels of one cell (pixels.cuh).
#include "columns.cuh"
#include "pixels.cuh"

struct Sharing {  // (N, H, W, C) to (N, OH, OW, C)
  int H, W, C, OH, OW;
};

// Window i where `size` cells are shared among `out` windows. With the two exchanged: the windows over cell i.
__device__ __forceinline__ Range share_of(long long i, int size, int out) {
  return {int(i * size / out), int(((i + 1) * size + out - 1) / out)};
}

__device__ __forceinline__ int length(Range range) { return range.last - range.first; }

extern "C" __global__ void adaptive_avg_pool2d_forward(Sharing p, const real* __restrict__ x, real* __restrict__ y) {
  int groups = (p.C + blockDim.x - 1) / blockDim.x;
  int window = blockIdx.x / groups, c = blockIdx.x % groups * blockDim.x + threadIdx.x;
  int n = window / p.OW / p.OH;
  Range rows = share_of(window / p.OW % p.OH, p.H, p.OH), columns = share_of(window % p.OW, p.W, p.OW);
  int width = length(columns), cells = length(rows) * width;

  // Thread y has the cells y, y + blockDim.y ... of the window: `down` rows and `right` columns further on each time.
  int down = blockDim.y / width, right = blockDim.y % width;
  int h = rows.first + threadIdx.y / width, w = columns.first + threadIdx.y % width;
  unsigned count = c < p.C ? rows_between(threadIdx.y, cells) : 0;
  double sum = 0;
#pragma unroll 8
  for (unsigned i = 0; i < count; ++i) {
    sum += double(wide(x[((n * p.H + h) * p.W + w) * p.C + c]));
    h += down, w += right;
    if (w >= columns.last) w -= width, ++h;
  }
  sum = column_sum(sum);
  if (threadIdx.y == 0 && c < p.C) y[window * p.C + c] = sum / cells;
}

extern "C" __global__ void adaptive_avg_pool2d_backward(Sharing p, const real* __restrict__ dy,
                                                        real* __restrict__ dx) {
  int n = blockIdx.x / p.H, h = blockIdx.x % p.H;
  Range rows = share_of(h, p.OH, p.H);
  EACH_COLUMN(w, p.W) {
    Range columns = share_of(w, p.OW, p.W);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int oh = rows.first; oh < rows.last; ++oh) {
        int height = length(share_of(oh, p.H, p.OH));
        for (int ow = columns.first; ow < columns.last; ++ow) {
          wide share = 1 / (wide(height) * length(share_of(ow, p.W, p.OW)));
          real values[AT_ONCE];
          read_group(dy + ((n * p.OH + oh) * p.OW + ow) * p.C, c, p.C, values);
          for (int a = 0; a < AT_ONCE; ++a) total[a] += wide(values[a]) * share;
        }
      }
      write_group(dx + (blockIdx.x * p.W + w) * p.C, c, p.C, total);
    }
  }
}
