// The optimizers' steps, of many arrays in one launch: a network has dozens, most of them too small for a whole GPU.
// Every array is cut into pieces (each.cuh), and a block takes one piece, of whichever array.
#pragma once
#include "each.cuh"

#define ARRAYS 64  // the most in one launch, as in _update.py

struct Pieces {
  int arrays;
  int first[ARRAYS + 1];  // the block that begins each array; after the last the number of blocks
  int size[ARRAYS];       // numbers of each array
};

struct Addresses {
  real* of[ARRAYS];
};

// The array of this block: the one with first[array] <= block < first[array + 1], found by halving.
__device__ __forceinline__ int array_of_block(const Pieces& pieces) {
  int array = 0, end = pieces.arrays;
  while (end - array > 1) {
    int middle = (array + end) / 2;
    if (pieces.first[middle] <= blockIdx.x) array = middle;
    else end = middle;
  }
  return array;
}

__device__ __forceinline__ Piece piece_of_block(const Pieces& pieces, int array) {
  return piece(blockIdx.x - pieces.first[array], pieces.size[array]);
}
