// How a grid shares an image out whose every number is computed from a window of another image.
//
// A block takes pixels of one row: threadIdx.y is a column, threadIdx.x a channel. A thread has AT_ONCE channels of its
// pixel, blockDim.x apart. So what belongs to a pixel (which window, divisions) is computed once for all of them, the
// threads of a warp read neighbouring channels, and each has AT_ONCE loads on their way at the same time.
#pragma once
#include "common.cuh"

// The body runs for every column of this thread, and in it the next one for every group of AT_ONCE channels from c on.
#define EACH_COLUMN(w, W) \
  for (unsigned w = blockIdx.y * blockDim.y + threadIdx.y; w < unsigned(W); w += gridDim.y * blockDim.y)
#define EACH_CHANNELS(c, C) for (unsigned c = threadIdx.x; c < unsigned(C); c += AT_ONCE * blockDim.x)

// The body runs for each of the group: number i of its AT_ONCE, which is channel c + away.
#define AT_ONCE_CHANNELS(i, away, c, C)                                                      \
  _Pragma("unroll") for (unsigned i = 0, away = 0; i < AT_ONCE; ++i, away += blockDim.x) \
  if (c + away < unsigned(C))

struct Range {  // of cells or windows on one axis: from `first` on, without `last`
  int first, last;
};
