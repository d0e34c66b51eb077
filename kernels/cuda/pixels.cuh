// How a grid shares an image out whose every number is computed from a window of another image.
//
// A block takes pixels of one row: threadIdx.y is a column, threadIdx.x a channel. A thread has a group of channels of
// its pixel (common.cuh), so that what belongs to the pixel (which window, divisions) is computed once for all of them.
#pragma once
#include "common.cuh"

// The body of the first runs for every column of this thread; in it, that of the second for every group of channels,
// of which c is the first.
#define EACH_COLUMN(w, W) \
  for (unsigned w = blockIdx.y * blockDim.y + threadIdx.y; w < unsigned(W); w += gridDim.y * blockDim.y)
#define EACH_CHANNELS(c, C) for (unsigned c = threadIdx.x; c < unsigned(C); c += AT_ONCE * blockDim.x)

struct Range {  // of cells or windows on one axis: from `first` on, without `last`
  int first, last;
};
