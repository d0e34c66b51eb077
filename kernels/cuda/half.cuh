// Half precision, the 16 bits of IEEE 754: a number with 10 bits behind the point, from 6e-8 to 65,504. Arrays may hold it;
// to compute with it is to convert it to float. CUDA's own type needs a header that NVRTC does not bring.
#pragma once

struct half {
  unsigned short bits;
  half() = default;
  __device__ __forceinline__ half(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
  __device__ __forceinline__ operator float() const {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
  }
};
