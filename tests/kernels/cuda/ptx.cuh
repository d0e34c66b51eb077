// What the instructions of kernels/cuda/ptx.cuh do, on the emulator. Written from the PTX ISA.
#pragma once

// To the nearest, from the middle to the even one. Infinity stays; NaN becomes the one NaN that the instruction gives.
inline unsigned tf32(float x) {
  unsigned bits = __float_as_uint(x), odd = bits >> 13 & 1;
  if (x != x) return 0x7FFFFFFF;
  return std::isinf(x) ? bits : (bits + 0xFFF + odd) & ~0x1FFFu;
}

// A factor that is not TF32 (the instruction says nothing about its last 13 bits) is NaN.
inline float of_tf32(unsigned bits) { return bits & 0x1FFF ? __uint_as_float(0x7FFFFFFF) : __uint_as_float(bits); }

struct Fragments {
  float a[4], b[2];
};

// The sum of so many numbers as a tensor core forms it: each is moved to the place of the largest and cut off one binary
// digit behind a float's last, and so is the sum behind the last, towards zero both times. (As an A100 does: Fasi,
// Higham, Mikaitis & Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021. The ISA leaves it open.)
template <int COUNT>
float sum_of_tensor_core(const double (&numbers)[COUNT]) {
  double largest = 0, sum = 0;
  for (double number : numbers) {
    if (!std::isfinite(number)) return float(std::accumulate(numbers, numbers + COUNT, 0.0));
    largest = std::max(largest, std::abs(number));
  }
  double unit = largest == 0 ? 1 : std::ldexp(1, std::ilogb(largest) - 24);
  for (double number : numbers) sum += std::trunc(number / unit) * unit;
  float rounded = float(sum);
  return std::isfinite(rounded) && std::abs(double(rounded)) > std::abs(sum) ? std::nextafter(rounded, 0.0f) : rounded;
}

inline void mma(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  emulator::show(Fragments{{of_tf32(a[0]), of_tf32(a[1]), of_tf32(a[2]), of_tf32(a[3])}, {of_tf32(b[0]), of_tf32(b[1])}},
                 ~0u);
  auto lane = [](int i) { return (const Fragments*)emulator::warps[emulator::current / 32].slots[i]; };
  for (int i = 0; i < 4; ++i) {
    int row = emulator::current % 32 / 4 + i / 2 * 8, column = emulator::current % 4 * 2 + i % 2;
    double numbers[9] = {sums[i]};
    for (int k = 0; k < 8; ++k)
      numbers[k + 1] =
          double(lane(row % 8 * 4 + k % 4)->a[row / 8 + k / 4 * 2]) * lane(column * 4 + k % 4)->b[k / 4];
    sums[i] = sum_of_tensor_core(numbers);
  }
  emulator::part(~0u);
}

struct HalfFragments {
  unsigned a[4], b[2];
};

// One of the two float16 in a register.
inline double half_of(unsigned pair, int second) {
  unsigned short bits = pair >> 16 * second;
  _Float16 number;
  memcpy(&number, &bits, sizeof bits);
  return float(number);
}

inline void mma_f16(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulator::show(HalfFragments{{a[0], a[1], a[2], a[3]}, {b0, b1}}, ~0u);
  auto lane = [](int i) { return (const HalfFragments*)emulator::warps[emulator::current / 32].slots[i]; };
  for (int i = 0; i < 4; ++i) {
    int row = emulator::current % 32 / 4 + i / 2 * 8, column = emulator::current % 4 * 2 + i % 2;
    double numbers[17] = {sums[i]};
    for (int k = 0; k < 16; ++k)
      numbers[k + 1] = half_of(lane(row % 8 * 4 + k % 8 / 2)->a[row / 8 + k / 8 * 2], k % 2) *
                       half_of(lane(column * 4 + k % 8 / 2)->b[k / 8], k % 2);
    sums[i] = sum_of_tensor_core(numbers);
  }
  emulator::part(~0u);
}

template <bool TRANSPOSED>
void load_matrices(unsigned (&found)[4], const void* row) {
  if ((uintptr_t)row % 16) emulator::fail("read a row of a matrix that does not begin at a multiple of 16 bytes");
  emulator::show(row, ~0u);
  int g = emulator::current % 32 / 4, t = emulator::current % 4;
  for (int i = 0; i < 4; ++i) {
    found[i] = 0;
    for (int second = 0; second < 2; ++second) {
      int at_row = TRANSPOSED ? 2 * t + second : g, at_column = TRANSPOSED ? g : 2 * t + second;
      auto first = (const unsigned short*)emulator::seen<const void*>(8 * i + at_row);
      found[i] |= unsigned(first[at_column]) << 16 * second;
    }
  }
  emulator::part(~0u);
}

template <int BYTES>
void copy_async(void* to, const void* from, bool exists) {
  emulator::copy_later(to, exists ? from : nullptr, BYTES);
}
inline void commit_copies() { emulator::commit_copies(); }
template <int OPEN>
void wait_for_copies() {
  emulator::wait_for_copies(OPEN);
}
