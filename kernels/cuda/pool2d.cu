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
__device__ __forceinline__ wide cells_in(const Pooling& p, int oh, int ow) {
  if (p.counted == NOTHING) return 1;
  bool all = p.counted == PADDING;
  int row = oh * p.SH - p.top, column = ow * p.SW - p.left;
  int rows = min(row + p.KH, p.H + (all ? p.bottom : 0)) - (all ? row : max(row, 0));
  int columns = min(column + p.KW, p.W + (all ? p.right : 0)) - (all ? column : max(column, 0));
  return wide(rows) * wide(columns);
}

extern "C" __global__ void max_pool2d_forward(Pooling p, const real* __restrict__ x, real* __restrict__ y,
                                              int* __restrict__ index) {
  int n = blockIdx.x / p.OH, oh = blockIdx.x % p.OH, top = oh * p.SH - p.top;
  Range rows = cells_of(oh, p.H, p.KH, p.SH, p.top);
  EACH_COLUMN(ow, p.OW) {
    int left = ow * p.SW - p.left;
    Range columns = cells_of(ow, p.W, p.KW, p.SW, p.left);
    EACH_CHANNELS(c, p.C) {
      real most[AT_ONCE], values[AT_ONCE];
      int winner[AT_ONCE];
      for (int a = 0; a < AT_ONCE; ++a) {
        most[a] = __int_as_float(0xFF800000);  // minus infinity: if no cell is larger, the first one has won
        winner[a] = (rows.first - top) * p.KW + columns.first - left;
      }
      for (int h = rows.first; h < rows.last; ++h) {
        for (int w = columns.first; w < columns.last; ++w) {
          read_group(x + ((n * p.H + h) * p.W + w) * p.C, c, p.C, values);
          for (int a = 0; a < AT_ONCE; ++a) {
            // A later cell must be larger. NaN is larger than every number, but not than another NaN.
            bool wins = values[a] > most[a] || (values[a] != values[a] && most[a] == most[a]);
            most[a] = wins ? values[a] : most[a];
            winner[a] = wins ? (h - top) * p.KW + w - left : winner[a];
          }
        }
      }
      unsigned o = (blockIdx.x * p.OW + ow) * p.C;
      write_group(y + o, c, p.C, most);
      write_group(index + o, c, p.C, winner);
    }
  }
}

extern "C" __global__ void max_pool2d_backward(Pooling p, const real* __restrict__ dy, const int* __restrict__ index,
                                               real* __restrict__ dx) {
  int n = blockIdx.x / p.H, h = blockIdx.x % p.H;
  Range rows = windows_over(h, p.OH, p.KH, p.SH, p.top);
  EACH_COLUMN(w, p.W) {
    Range columns = windows_over(w, p.OW, p.KW, p.SW, p.left);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int oh = rows.first; oh < rows.last; ++oh) {
        for (int ow = columns.first; ow < columns.last; ++ow) {
          real gradients[AT_ONCE];
          int winners[AT_ONCE], k = (h + p.top - oh * p.SH) * p.KW + w + p.left - ow * p.SW;
          unsigned o = ((n * p.OH + oh) * p.OW + ow) * p.C;
          read_group(dy + o, c, p.C, gradients);  // all of them: those of winners alone could not be sent for yet
          read_group(index + o, c, p.C, winners);
          for (int a = 0; a < AT_ONCE; ++a) total[a] += winners[a] == k ? wide(gradients[a]) : wide(0);
        }
      }
      write_group(dx + (blockIdx.x * p.W + w) * p.C, c, p.C, total);
    }
  }
}

extern "C" __global__ void avg_pool2d_forward(Pooling p, const real* __restrict__ x, real* __restrict__ y) {
  int n = blockIdx.x / p.OH, oh = blockIdx.x % p.OH;
  Range rows = cells_of(oh, p.H, p.KH, p.SH, p.top);
  EACH_COLUMN(ow, p.OW) {
    Range columns = cells_of(ow, p.W, p.KW, p.SW, p.left);
    wide cells = cells_in(p, oh, ow);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int h = rows.first; h < rows.last; ++h) {
        wide row[AT_ONCE] = {};  // a large window is added up row by row, which loses fewer digits
        for (int w = columns.first; w < columns.last; ++w) {
          real values[AT_ONCE];
          read_group(x + ((n * p.H + h) * p.W + w) * p.C, c, p.C, values);
          for (int a = 0; a < AT_ONCE; ++a) row[a] += wide(values[a]);
        }
        for (int a = 0; a < AT_ONCE; ++a) total[a] += row[a];
      }
      for (int a = 0; a < AT_ONCE; ++a) total[a] /= cells;
      write_group(y + (blockIdx.x * p.OW + ow) * p.C, c, p.C, total);
    }
  }
}

extern "C" __global__ void avg_pool2d_backward(Pooling p, const real* __restrict__ dy, real* __restrict__ dx) {
  int n = blockIdx.x / p.H, h = blockIdx.x % p.H;
  Range rows = windows_over(h, p.OH, p.KH, p.SH, p.top);
  EACH_COLUMN(w, p.W) {
    Range columns = windows_over(w, p.OW, p.KW, p.SW, p.left);
    EACH_CHANNELS(c, p.C) {
      wide total[AT_ONCE] = {};
      for (int oh = rows.first; oh < rows.last; ++oh) {
        for (int ow = columns.first; ow < columns.last; ++ow) {
          real gradients[AT_ONCE];
          read_group(dy + ((n * p.OH + oh) * p.OW + ow) * p.C, c, p.C, gradients);
          wide share = 1 / cells_in(p, oh, ow);  // one division for all of them
          for (int a = 0; a < AT_ONCE; ++a) total[a] += wide(gradients[a]) * share;
        }
      }
      write_group(dx + (blockIdx.x * p.W + w) * p.C, c, p.C, total);
    }
  }
}
