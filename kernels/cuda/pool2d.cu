// Pooling: a thread walks over the window of its output, or over the windows that cover its input, and keeps what it
// finds in registers. Every number is written once, and nothing is added in memory: gradients are gathered. Cells that
// neighbouring windows share are read from memory once and from the cache after that. See pixels.cuh for the grid.
#include "pixels.cuh"

enum Counted { NOTHING, CELLS, PADDING };  // what an average divides by: a sum by 1

struct Pooling {  // (N, H, W, C) to (N, OH, OW, C) with windows of KH x KW cells, SH and SW apart
  int H, W, C, OH, OW, KH, KW, SH, SW, top, bottom, left, right, counted;
};

// The cells under window o; its position k is cell o * stride - before + k.
__device__ __forceinline__ Range cells_of(int o, int size, int kernel, int stride, int before) {
  int start = o * stride - before;
  return {max(start, 0), min(start + kernel, size)};
}

// The windows over cell i.
__device__ __forceinline__ Range windows_over(int i, int out, int kernel, int stride, int before) {
  int behind = i + before - kernel;  // the last place where a window may start without reaching i
  return {behind < 0 ? 0 : behind / stride + 1, min((i + before) / stride + 1, out)};
}

// How many cells window (oh, ow) is the average of. Cells behind the padding, which only ceil_mode adds, never count.
__device__ __forceinline__ wide cells_in(const Pooling &p, int oh, int ow) {
  if (p.counted == NOTHING) return 1;
  bool all = p.counted == PADDING;
  int row = oh * p.SH - p.top, column = ow * p.SW - p.left;
  int rows = min(row + p.KH, p.H + (all ? p.bottom : 0)) - (all ? row : max(row, 0));
  int columns = min(column + p.KW, p.W + (all ? p.right : 0)) - (all ? column : max(column, 0));
  return wide(rows) * wide(columns);
}

extern "C" __global__ void max_pool2d_forward(Pooling p, const real *__restrict__ x, real *__restrict__ y,
                                              int *__restrict__ index) {
  int n = blockIdx.x / p.OH, oh = blockIdx.x % p.OH;
  Range rows = cells_of(oh, p.H, p.KH, p.SH, p.top);
  EACH_COLUMN(ow, p.OW) {
    Range columns = cells_of(ow, p.W, p.KW, p.SW, p.left);
    EACH_CHANNELS(c, p.C) {
      real most[AT_ONCE];
      int winner[AT_ONCE];
      for (int h = rows.first; h < rows.last; ++h) {
        for (int w = columns.first; w < columns.last; ++w) {
          bool first = h == rows.first && w == columns.first;
          int k = (h - oh * p.SH + p.top) * p.KW + w - ow * p.SW + p.left;
          const real *cell = x + ((n * p.H + h) * p.W + w) * p.C + c;
          AT_ONCE_CHANNELS(i, away, c, p.C) {
            real v = cell[away];
            // A later cell must be larger. NaN is larger than every number, but not than another NaN.
            if (first || v > most[i] || (v != v && most[i] == most[i])) most[i] = v, winner[i] = k;
          }
        }
      }
      int o = (blockIdx.x * p.OW + ow) * p.C + c;
      AT_ONCE_CHANNELS(i, away, c, p.C) y[o + away] = most[i], index[o + away] = winner[i];
    }
  }
}

extern "C" __global__ void max_pool2d_backward(Pooling p, const real *__restrict__ dy, const int *__restrict__ index,
                                               real *__restrict__ dx) {
  int n = blockIdx.x / p.H, h = blockIdx.x % p.H;
  Range rows = windows_over(h, p.OH, p.KH, p.SH, p.top);
  EACH_COLUMN(w, p.W) {
    Range columns = windows_over(w, p.OW, p.KW, p.SW, p.left);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int oh = rows.first; oh < rows.last; ++oh) {
        for (int ow = columns.first; ow < columns.last; ++ow) {
          int k = (h - oh * p.SH + p.top) * p.KW + w - ow * p.SW + p.left;
          int o = ((n * p.OH + oh) * p.OW + ow) * p.C + c;
          AT_ONCE_CHANNELS(i, away, c, p.C) {
            wide share = dy[o + away];  // read in any case: waiting for the index first would take twice as long
            if (index[o + away] == k) total[i] += share;
          }
        }
      }
      real *result = dx + (blockIdx.x * p.W + w) * p.C + c;
      AT_ONCE_CHANNELS(i, away, c, p.C) result[away] = total[i];
    }
  }
}

extern "C" __global__ void avg_pool2d_forward(Pooling p, const real *__restrict__ x, real *__restrict__ y) {
  int n = blockIdx.x / p.OH, oh = blockIdx.x % p.OH;
  Range rows = cells_of(oh, p.H, p.KH, p.SH, p.top);
  EACH_COLUMN(ow, p.OW) {
    Range columns = cells_of(ow, p.W, p.KW, p.SW, p.left);
    wide share = cells_in(p, oh, ow);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int h = rows.first; h < rows.last; ++h) {
        wide row[AT_ONCE] = {};  // a large window is added up row by row, which loses fewer digits
        for (int w = columns.first; w < columns.last; ++w) {
          const real *cell = x + ((n * p.H + h) * p.W + w) * p.C + c;
          AT_ONCE_CHANNELS(i, away, c, p.C) row[i] += wide(cell[away]);
        }
        for (int i = 0; i < AT_ONCE; ++i) total[i] += row[i];
      }
      real *result = y + (blockIdx.x * p.OW + ow) * p.C + c;
      AT_ONCE_CHANNELS(i, away, c, p.C) result[away] = total[i] / share;
    }
  }
}

extern "C" __global__ void avg_pool2d_backward(Pooling p, const real *__restrict__ dy, real *__restrict__ dx) {
  int n = blockIdx.x / p.H, h = blockIdx.x % p.H;
  Range rows = windows_over(h, p.OH, p.KH, p.SH, p.top);
  EACH_COLUMN(w, p.W) {
    Range columns = windows_over(w, p.OW, p.KW, p.SW, p.left);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int oh = rows.first; oh < rows.last; ++oh) {
        for (int ow = columns.first; ow < columns.last; ++ow) {
          wide share = 1 / cells_in(p, oh, ow);
          const real *window = dy + ((n * p.OH + oh) * p.OW + ow) * p.C + c;
          AT_ONCE_CHANNELS(i, away, c, p.C) total[i] += wide(window[away]) * share;
        }
      }
      real *result = dx + (blockIdx.x * p.W + w) * p.C + c;
      AT_ONCE_CHANNELS(i, away, c, p.C) result[away] = total[i];
    }
  }
}
