// The optimizers' steps, of many arrays in one launch: a network has dozens, most of them too small for a whole GPU.
// Every array is cut into chunks of CHUNK elements, and a block takes one chunk, of whichever array.
//
// A thread first reads all that it needs of AT_ONCE elements and then computes, so that the reads are on their way
// together; neighbouring threads take neighbours, so that a warp reads whole lines of memory.
#include "common.cuh"

#define ARRAYS 64  // the most in one launch, as in update.py
#define CHUNK 4096

struct Chunks {
  int arrays;
  int first[ARRAYS + 1];  // the block that begins each array; after the last the number of blocks
  int size[ARRAYS];       // elements of each array
};

struct Addresses {
  real* of[ARRAYS];
};

struct Chunk {  // elements start to stop of one array
  int array;
  unsigned start, stop;
};

// The chunk of this block. Its array is the one with first[array] <= block < first[array + 1], found by halving.
__device__ __forceinline__ Chunk chunk_of_block(const Chunks& chunks) {
  int array = 0, end = chunks.arrays;
  while (end - array > 1) {
    int middle = (array + end) / 2;
    if (chunks.first[middle] <= blockIdx.x) array = middle;
    else end = middle;
  }
  unsigned start = (blockIdx.x - chunks.first[array]) * CHUNK;
  return {array, start, min(start + CHUNK, unsigned(chunks.size[array]))};
}

// The AT_ONCE elements i that a thread takes together, neighbouring threads neighbouring ones.
#define TOGETHER(i, start) \
  _Pragma("unroll") for (unsigned each = 0, i = start + threadIdx.x; each < AT_ONCE; ++each, i += blockDim.x)

// velocities: all null without momentum
extern "C" __global__ void sgd_update(const Chunks chunks, const Addresses ws, const Addresses velocities,
                                      const Addresses dws, wide lr, wide momentum, int nesterov, wide weight_decay) {
  Chunk chunk = chunk_of_block(chunks);
  real *w = ws.of[chunk.array], *velocity = velocities.of[chunk.array];
  const real* dw = dws.of[chunk.array];
  for (unsigned start = chunk.start; start < chunk.stop; start += AT_ONCE * blockDim.x) {
    wide old[AT_ONCE], slope[AT_ONCE], before[AT_ONCE];
    TOGETHER(i, start) {
      bool inside = i < chunk.stop;
      old[each] = inside ? w[i] : real(0);
      slope[each] = inside ? dw[i] : real(0);
      before[each] = inside && velocity ? velocity[i] : real(0);
    }
    TOGETHER(i, start) {
      if (i >= chunk.stop) break;
      wide g = slope[each] + weight_decay * old[each];
      if (velocity) {
        wide v = momentum * before[each] + g;
        velocity[i] = v;
        g = nesterov ? g + momentum * v : v;
      }
      w[i] = old[each] - lr * g;
    }
  }
}

// rest: 1 - rho
extern "C" __global__ void adadelta_update(const Chunks chunks, const Addresses ws, const Addresses square_averages,
                                           const Addresses update_averages, const Addresses dws, wide lr, wide rho,
                                           wide rest, wide eps, wide weight_decay) {
  Chunk chunk = chunk_of_block(chunks);
  real *w = ws.of[chunk.array], *square_average = square_averages.of[chunk.array];
  real* update_average = update_averages.of[chunk.array];
  const real* dw = dws.of[chunk.array];
  for (unsigned start = chunk.start; start < chunk.stop; start += AT_ONCE * blockDim.x) {
    wide old[AT_ONCE], slope[AT_ONCE], square[AT_ONCE], update[AT_ONCE];
    TOGETHER(i, start) {
      bool inside = i < chunk.stop;
      old[each] = inside ? w[i] : real(0);
      slope[each] = inside ? dw[i] : real(0);
      square[each] = inside ? square_average[i] : real(0);
      update[each] = inside ? update_average[i] : real(0);
    }
    TOGETHER(i, start) {
      if (i >= chunk.stop) break;
      wide g = slope[each] + weight_decay * old[each];
      wide s = rho * square[each] + rest * g * g;
      wide delta = sqrt(update[each] + eps) / sqrt(s + eps) * g;
      square_average[i] = s;
      update_average[i] = rho * update[each] + rest * delta * delta;
      w[i] = old[each] - lr * delta;
    }
  }
}
