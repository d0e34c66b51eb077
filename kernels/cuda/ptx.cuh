// Instructions that CUDA C++ has no function for, of sm_80 and later. On the emulator of the tests a file of the same name
// takes the place of this one.
#pragma once

// The TF32 number next to x: a float with 10 bits behind the point instead of 23. Of two that are as near it is the even
// one, for which sm_90 has an instruction, or on older cards the one farther from zero, which takes three instructions.
__device__ __forceinline__ unsigned tf32(float x) {
  unsigned bits;
#if __CUDA_ARCH__ >= 900
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
  return bits;
}

// sums (16 x 8) += a (16 x 8) * b (8 x 8) by a tensor core; the whole warp together holds the three matrices. Lane
// 4 * g + t has of a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); of b: (t, g), (t + 4, g); of the sums: (g, 2 * t),
// (g, 2 * t + 1), (g + 8, 2 * t), (g + 8, 2 * t + 1). (PTX ISA, "Matrix Fragments for mma.m16n8k8")
__device__ __forceinline__ void mma(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same with float16: sums (16 x 8) += a (16 x 16) * b (16 x 8), a pair of neighbours in k in each register. Lane
// 4 * g + t has of a: (g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8) and what follows each; of b:
// (2 * t, g), (2 * t + 8, g) and what follows. (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type")
__device__ __forceinline__ void mma_f16(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 x 8 float16 from shared memory. Lane 8 * i + j says where row j of matrix i is, which begins at a
// multiple of 16 bytes. Lane 4 * g + t gets of each matrix (g, 2 * t) and (g, 2 * t + 1), TRANSPOSED (2 * t, g) and
// (2 * t + 1, g). (PTX ISA, "ldmatrix")
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(unsigned (&found)[4], const void* row) {
  unsigned place = __cvta_generic_to_shared(row);
  if (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3]) : "r"(place) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3]) : "r"(place) : "memory");
}

// Begins to copy BYTES bytes to shared memory, or zeros where there is nothing to copy. They bypass the registers, and
// the thread goes on at once.
template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool exists) {
  unsigned place = __cvta_generic_to_shared(to), bytes = exists ? BYTES : 0;
  if (BYTES == 16)  // by the L2 cache alone, which fetches 128 bytes: a tile's next step wants the neighbours
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(place), "l"(from), "r"(bytes), "n"(BYTES)
                 : "memory");
}

// All copies that this thread has begun since the last group are a group.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all groups of this thread but the last OPEN are done.
template <int OPEN>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
}
