// What instructions of PTX do, as far as NVRTC uses them for the kernels: `ptx_emulator.py` writes functions of these.
// From the PTX ISA, whose chapters have the names of the instructions; some are names of C++, so all end in a _.
#pragma once
#include <bit>
#include <limits>
#include <unordered_set>

#include "emulator.h"
#include "ptx.cuh"

using pred = bool;
using u8 = uint8_t;
using s8 = int8_t;
using u16 = uint16_t;
using s16 = int16_t;
using b16 = uint16_t;
using f16 = _Float16;
using u32 = uint32_t;
using s32 = int32_t;
using b32 = uint32_t;
using f32 = float;
using u64 = uint64_t;
using s64 = int64_t;
using b64 = uint64_t;
using f64 = double;

namespace ptx {

// Registers hold bits: an instruction takes them as its type, or the lower ones if that is smaller. A result that is
// smaller than its register is extended by zeros, or by its sign.
template <class To, class From>
To taken(From value) {
  if constexpr (sizeof(To) == sizeof(From)) {
    return std::bit_cast<To>(value);
  } else {
    static_assert(sizeof(To) < sizeof(From) && std::is_integral_v<To> && std::is_integral_v<From>);
    return To(value);
  }
}
template <class To, class From>
void give(To &to, From value) {
  if constexpr (sizeof(To) == sizeof(From)) {
    to = std::bit_cast<To>(value);
  } else {
    static_assert(sizeof(To) > sizeof(From) && std::is_integral_v<To> && std::is_integral_v<From>);
    to = To(value);
  }
}
template <class T>
T poison() {
  T value;
  memset(&value, std::is_same_v<T, bool> ? 1 : emulator::POISON, sizeof value);
  return value;
}

inline void check(bool good, const char *why) {
  if (!good) emulator::fail(why);
}

// Memory. Addresses of shared memory count from 0 on: first what the kernel has, then what the launch asked for.

constexpr u32 DYNAMIC = 1 << 20;
inline std::unordered_set<u64> written, constant;  // what the launch wrote, and what it read as constant

struct Global {
  void *at(u64 address, size_t) const { return (void *)address; }
};
struct Parameters : Global {};
template <size_t SIZE>
struct Own {
  alignas(128) u8 memory[SIZE + 1];
  emulator::Shared is_shared{memory, SIZE};
  void *at(u64 address, size_t size) {
    if (address >= DYNAMIC) return (u8 *)emulator::dynamic + (address - DYNAMIC);
    check(address + size <= SIZE, "reached behind the end of the shared memory of constant size");
    return memory + address;
  }
};

template <class T, int COUNT>
struct Numbers {
  T at[COUNT];
  T operator[](int i) const { return at[i]; }
};
template <class T, int COUNT, class Space>
T *place(Space &&space, u64 address) {
  check(address % (COUNT * sizeof(T)) == 0, "used an address that is no multiple of the size of what is there");
  return (T *)space.at(address, COUNT * sizeof(T));
}
template <class T, int COUNT, class Space>
Numbers<T, COUNT> loaded(Space &&space, u64 address) {
  Numbers<T, COUNT> numbers;
  memcpy(&numbers, place<T, COUNT>(space, address), sizeof numbers);
  return numbers;
}
template <class T, int COUNT, class Space>
Numbers<T, COUNT> loaded_constant(Space &&space, u64 address) {
  for (int i = 0; i < COUNT; ++i) constant.insert(address + i * sizeof(T));
  return loaded<T, COUNT>(space, address);
}
template <class T, int COUNT, class Space>
T *stored(Space &&space, u64 address) {
  if constexpr (std::is_same_v<std::remove_reference_t<Space>, Global>)
    for (int i = 0; i < COUNT; ++i) written.insert(address + i * sizeof(T));
  return place<T, COUNT>(space, address);
}
template <size_t SIZE>
void copy_async(u64 to, u64 from, u32 size, u32 exists, Own<SIZE> &own) {
  check(exists == 0 || exists == size, "began to copy a part of what it could");
  emulator::copy_later(own.at(to, size), exists ? (const void *)from : nullptr, size);
}

inline bool run(void (*kernel)(void **), const unsigned *grid, const unsigned *block, void *memory, size_t bytes,
                unsigned order, void **arguments) {
  auto call = [&] { kernel(arguments); };
  emulator::body = [](void *f) { (*(decltype(call) *)f)(); };
  emulator::body_arguments = &call;
  written.clear(), constant.clear();
  if (!emulator::run_grid(grid, block, memory, bytes, order)) return false;
  for (u64 address : written)
    if (constant.count(address)) {
      snprintf(emulator::error, sizeof emulator::error, "wrote to what it had read as a constant (ld.global.nc)");
      return false;
    }
  return true;
}

inline u32 butterfly(u32 value, u32 other, u32 clamp, u32 mask) {
  check(clamp == 31, "exchanges within parts of a warp");
  return emulator::shuffle(mask, value, int(emulator::current % 32 ^ other), true);
}

// Integers

template <class T> T mul_lo_(T a, T b) { return a * b; }
template <class T> T mad_lo_(T a, T b, T c) { return a * b + c; }
template <class T> using Twice = std::conditional_t<std::is_signed_v<T>, s64, u64>;
template <class T> T mul_hi_(T a, T b) {
  static_assert(sizeof(T) == 4);
  return T(Twice<T>(a) * b >> 32);
}
template <class T> auto mul_wide_(T a, T b) {
  static_assert(sizeof(T) == 4);
  return Twice<T>(a) * b;
}
template <class T> T div_(T a, T b) {
  check(b != 0, "divided by zero");
  return std::is_signed_v<T> && b == T(-1) ? 0 - a : a / b;
}
template <class T> T rem_(T a, T b) { return a - div_(a, b) * b; }
template <class T> T and_(T a, T b) { return a & b; }
template <class T> T or_(T a, T b) { return a | b; }
template <class T> T xor_(T a, T b) { return a ^ b; }
template <class T> T not_(T a) { return std::is_same_v<T, bool> ? !a : ~a; }
template <class T> T shl_(T a, u32 by) { return by < 8 * sizeof(T) ? a << by : 0; }
template <class T> T shr_(T a, u32 by) { return by < 8 * sizeof(T) ? a >> by : std::is_signed_v<T> && a < 0 ? -1 : 0; }
template <class T> T bfi_(T a, T b, u32 from, u32 count) {
  static_assert(sizeof(T) == 4);
  from &= 0xFF, count &= 0xFF;
  u64 ones = count < 32 ? (1ull << count) - 1 : 0xFFFFFFFF;
  return from < 32 ? (b & ~(ones << from)) | (a & ones) << from : b;
}

// Both

template <class T> T add_(T a, T b) { return a + b; }
template <class T> T sub_(T a, T b) { return a - b; }
template <class T> T neg_(T a) { return -a; }
template <class T> T abs_(T a) { return std::abs(a); }
template <class T> T min_(T a, T b) {
  if constexpr (std::is_integral_v<T>) return std::min(a, b);
  else return std::fmin(a, b);  // of NaN and a number the number
}
template <class T> T max_(T a, T b) {
  if constexpr (std::is_integral_v<T>) return std::max(a, b);
  else return std::fmax(a, b);
}

// Floating point. .ftz makes zeros of operands and results that are floats too small for a normal one.

inline float ftz(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
template <class T> T ftz(T x) { return x; }
template <class T> T mul_(T a, T b) { return a * b; }
template <class T> T quotient_(T a, T b) { return a / b; }
template <class T> T fma_(T a, T b, T c) { return std::fma(a, b, c); }
template <class T> T fma_rm_(T a, T b, T c) {  // rounded down
  static_assert(sizeof(T) == 4);
  long double exact = (long double)a * b + c;
  T found = T(exact);
  return found > exact ? std::nextafter(found, -INFINITY) : found;
}
template <class T> T sqrt_(T a) { return std::sqrt(a); }
template <class T> T rcp_(T a) { return 1 / a; }
template <class T> T rcp_approx_(T a) {  // of a double the lower half is zeros
  if constexpr (sizeof(T) == 4) return 1 / a;
  else return std::bit_cast<T>(std::bit_cast<u64>(1 / a) & ~0xFFFFFFFFull);
}
template <class T> T ex2_(T a) { return std::exp2(a); }
template <class T> T copysign_(T a, T b) { return std::copysign(b, a); }  // the sign of the first one

// Comparisons; those with a u hold for NaN too.

template <class T> bool eq_(T a, T b) { return a == b; }
template <class T> bool ne_(T a, T b) { return a < b || a > b; }
template <class T> bool lt_(T a, T b) { return a < b; }
template <class T> bool le_(T a, T b) { return a <= b; }
template <class T> bool gt_(T a, T b) { return a > b; }
template <class T> bool ge_(T a, T b) { return a >= b; }
template <class T> bool equ_(T a, T b) { return !ne_(a, b); }
template <class T> bool neu_(T a, T b) { return a != b; }
template <class T> bool ltu_(T a, T b) { return !(a >= b); }
template <class T> bool leu_(T a, T b) { return !(a > b); }
template <class T> bool gtu_(T a, T b) { return !(a <= b); }
template <class T> bool geu_(T a, T b) { return !(a < b); }
template <class T> bool num_(T a, T b) { return a == a && b == b; }
template <class T> bool nan_(T a, T b) { return !num_(a, b); }

// Conversions. R is where to: n to the nearest and even, z towards zero, m towards minus infinity.

template <class T, char R>
T whole(T a) {
  static_assert(R == 'n' || R == 'z' || R == 'm');
  return R == 'n' ? std::nearbyint(a) : R == 'z' ? std::trunc(a) : std::floor(a);
}
template <class To, char R, class From>
To cvt(From a) {
  if constexpr (std::is_integral_v<To> && !std::is_integral_v<From>) {  // the nearest that there is; of NaN 0
    From found = whole<From, R>(a), end = std::ldexp(From(1), 8 * sizeof(To) - std::is_signed_v<To>);
    if (found != found) return 0;
    return found >= end ? std::numeric_limits<To>::max() : found < (std::is_signed_v<To> ? -end : 0)
           ? std::numeric_limits<To>::min() : To(found);
  } else {
    static_assert(R == 'n' || sizeof(To) >= sizeof(From) || std::is_integral_v<From>);
    return To(a);
  }
}
inline float saturated(float a) { return a > 0 ? std::min(a, 1.0f) : 0; }
inline u32 tf32_away(float x) {  // cvt.rna: of two that are as near the one farther from zero
  if (x != x) return 0x7FFFFFFF;
  u32 bits = std::bit_cast<u32>(x);
  return std::isinf(x) ? bits : (bits + 0x1000) & ~0x1FFFu;
}

}  // namespace ptx
