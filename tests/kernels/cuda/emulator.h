// Runs CUDA kernels on one core of the CPU, to find out whether they are right. `emulator.py` says how to use it.
//
// A CUDA thread is a fiber: a stack of its own that runs until it waits (for the block at __syncthreads, for its warp at
// a shuffle) or ends. Blocks run one after another. So shared memory can be static memory, and a thread sees what the
// others wrote before the last barrier, and perhaps what they wrote after it: which of them ran before it is `order`.
// A kernel is right only if every order gives the same result.
#pragma once
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// `__shared__ T x[n];` and `extern __shared__ T x[];` are rewritten by emulator.py: see `Shared` and `dynamic_shared`.

struct uint3 {
  unsigned x, y, z;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulator {

constexpr unsigned char POISON = 0xFF;  // every byte of memory that nobody wrote: NaN as a number
constexpr size_t STACK = 256 << 10;
constexpr int MOST_THREADS = 1024;
constexpr size_t MOST_SHARED = 227 << 10;  // bytes a block may ask for, on sm_90

struct Copy {  // cp.async: done when the thread waits for it, so that a forgotten wait shows
  void *to;
  const void *from;
  unsigned bytes;  // of zeros, if `from` is null
};

enum class State { fresh, ready, at_block, at_warp, ended };

struct Fiber {
  State state;
  uint3 index;
  unsigned mask;  // which lanes of the warp it waits for
  char *stack = nullptr;
  void *pointer;  // of the stack, while another fiber runs
  std::vector<std::vector<Copy>> copies;  // a group each; the last one is not committed
};

struct Warp {
  alignas(16) unsigned char slots[32][64];  // what each lane shows the others
};

inline Fiber fibers[MOST_THREADS];
inline Warp warps[MOST_THREADS / 32];
inline int current, threads;
inline void *scheduler;
inline std::vector<char *> stacks;  // that no fiber uses
inline std::vector<std::pair<void *, size_t>> shared;
inline void *dynamic;  // the shared memory that the launch asked for, null if it asked for none
inline char error[256];
inline bool failed;  // this launch; `error` says why
inline const void *outside;  // where a thread reached to, although it may not
inline void (*body)(void *);
inline void *body_arguments;

struct Shared {  // a static variable that is poisoned whenever a block begins
  Shared(void *start, size_t bytes) {
    memset(start, POISON, bytes);
    shared.push_back({start, bytes});
  }
};

template <class T>
T *dynamic_shared() {
  return (T *)dynamic;
}

// Fibers: save the registers that a function must keep, exchange the stacks, and return on the other one.

extern "C" void emulator_switch(void **save, void *to);
#if defined(__x86_64__)
asm(R"(
.text
.weak emulator_switch
.hidden emulator_switch
.type emulator_switch,@function
emulator_switch:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
)");
constexpr int KEPT = 6;
inline void *first_pointer(char *stack, void (*start)()) {
  void **top = (void **)(stack + STACK);
  *--top = nullptr;  // where a function finds its return address: `start` never returns
  *--top = (void *)start;
  for (int i = 0; i < KEPT; ++i) *--top = nullptr;
  return top;
}
#elif defined(__aarch64__)
asm(R"(
.text
.weak emulator_switch
.hidden emulator_switch
.type emulator_switch,%function
emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
inline void *first_pointer(char *stack, void (*start)()) {
  void **top = (void **)(stack + STACK - 160);
  memset(top, 0, 160);
  top[11] = (void *)start;  // x30, the return address
  return top;
}
#else
#error "the emulator can switch stacks on x86-64 and aarch64 only"
#endif

inline void wait(State state) {
  fibers[current].state = state;
  emulator_switch(&fibers[current].pointer, scheduler);
  threadIdx = fibers[current].index;
}

inline void start() {
  body(body_arguments);
  wait(State::ended);
}

inline void resume(int t) {
  Fiber &fiber = fibers[t];
  current = t;
  threadIdx = fiber.index;
  if (fiber.state == State::fresh) {
    if (stacks.empty()) {
      void *memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      stacks.push_back((char *)memory);
    }
    fiber.stack = stacks.back();
    stacks.pop_back();
    fiber.pointer = first_pointer(fiber.stack, start);
  }
  fiber.state = State::ready;
  emulator_switch(&scheduler, fiber.pointer);
  if (fiber.state == State::ended) stacks.push_back(fiber.stack);
}

// Ends the launch, with the thread that comes here.
inline void fail(const char *why) {
  failed = true;
  snprintf(error, sizeof error, "in block (%u, %u, %u) thread (%u, %u, %u) %s", blockIdx.x, blockIdx.y, blockIdx.z,
           threadIdx.x, threadIdx.y, threadIdx.z, why);
  wait(State::ended);
}

// What a thread must not do is a signal. Its handler runs on the stack of that fiber, and leaves it as a fiber does.
inline void caught(int signal, siginfo_t *info, void *) {
  if (signal == SIGSEGV) outside = info->si_addr;
  fail(signal == SIGSEGV ? "reached to where no array is"
                         : "used an index behind the end of an array of constant size, or a vector at an address that "
                           "is no multiple of its size");
}

struct Handlers {  // in their place while a launch runs
  static constexpr int SIGNALS[] = {SIGSEGV, SIGILL, SIGTRAP};  // a closed page; a trap on x86-64, on aarch64
  struct sigaction before[3];
  Handlers() {
    struct sigaction ours = {};
    ours.sa_sigaction = caught;
    ours.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int i = 0; i < 3; ++i) sigaction(SIGNALS[i], &ours, &before[i]);
  }
  ~Handlers() {
    for (int i = 0; i < 3; ++i) sigaction(SIGNALS[i], &before[i], nullptr);
  }
};

// The scheduler

inline unsigned random_state;
inline unsigned next_random() {  // xorshift
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  return random_state ^= random_state << 5;
}

inline int waiting(State state) {
  return (int)std::count_if(fibers, fibers + threads, [&](Fiber &f) { return f.state == state; });
}

// Lets the lanes of a warp go on whose partners have all come to the same place. False if there are none.
inline bool release_warps() {
  bool any = false;
  for (int t = 0; t < threads; ++t) {
    if (fibers[t].state != State::at_warp) continue;
    int first = t / 32 * 32, lanes = std::min(32, threads - first);
    unsigned mask = fibers[t].mask & (lanes == 32 ? ~0u : (1u << lanes) - 1);
    bool all = mask >> (t - first) & 1;
    for (int lane = 0; lane < lanes; ++lane)
      if (mask >> lane & 1)
        all = all && fibers[first + lane].state == State::at_warp && fibers[first + lane].mask == fibers[t].mask;
    for (int lane = 0; all && lane < lanes; ++lane)
      if (mask >> lane & 1) fibers[first + lane].state = State::ready;
    any = any || all;
  }
  return any;
}

inline bool stopped() {  // gives the stacks of threads back that have not ended
  for (int t = 0; t < threads; ++t)
    if (fibers[t].state != State::ended && fibers[t].state != State::fresh) stacks.push_back(fibers[t].stack);
  return false;
}

inline bool run_block(unsigned order) {
  int turn[MOST_THREADS];
  random_state = order * 2654435761u + blockIdx.x + 1;
  for (int t = 0; t < threads; ++t) {
    turn[t] = order == 1 ? threads - 1 - t : t;
    fibers[t].state = State::fresh;
    fibers[t].index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
    fibers[t].copies.assign(1, {});
  }
  unsigned held = order > 1 ? next_random() : 0;  // warps that wait until the others can go no further
  while (waiting(State::ended) < threads) {
    if (order > 1)
      for (int i = threads - 1; i > 0; --i) std::swap(turn[i], turn[next_random() % (i + 1)]);
    bool moved = false;
    for (int i = 0; i < threads; ++i)
      if (fibers[turn[i]].state == State::fresh || fibers[turn[i]].state == State::ready) {
        if (held >> turn[i] / 32 & 1) continue;
        resume(turn[i]);
        if (failed) return stopped();
        moved = true;
      }
    moved = release_warps() || moved;
    if (!moved && held) {
      held = 0;
      moved = true;
    }
    if (waiting(State::at_block) == threads) {
      for (int t = 0; t < threads; ++t) fibers[t].state = State::ready;
      if (order > 1) held = next_random();
      moved = true;
    }
    if (!moved && waiting(State::ended) < threads) {
      snprintf(error, sizeof error,
               "in block (%u, %u, %u) %d of %d threads wait at __syncthreads, %d at a warp's meeting, and %d have ended",
               blockIdx.x, blockIdx.y, blockIdx.z, waiting(State::at_block), threads, waiting(State::at_warp),
               waiting(State::ended));
      return stopped();
    }
  }
  return true;
}

inline bool run_grid(const unsigned *grid, const unsigned *block, void *memory, size_t bytes, unsigned order) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2], in_block = (uint64_t)block[0] * block[1] * block[2];
  if (!blocks || !in_block || in_block > MOST_THREADS || block[2] > 64 || grid[0] > 0x7FFFFFFF || grid[1] > 65535 ||
      grid[2] > 65535) {
    snprintf(error, sizeof error, "no such launch: grid (%u, %u, %u), block (%u, %u, %u)", grid[0], grid[1], grid[2],
             block[0], block[1], block[2]);
    return false;
  }
  if (bytes > MOST_SHARED) {
    snprintf(error, sizeof error, "%zu bytes of shared memory are more than a block can have", bytes);
    return false;
  }
  threads = (int)in_block, failed = false, outside = nullptr, dynamic = memory;
  Handlers handlers;
  for (uint64_t i = 0; i < blocks; ++i) {
    uint64_t k = order == 1 ? blocks - 1 - i : i;
    blockIdx = {unsigned(k % grid[0]), unsigned(k / grid[0] % grid[1]), unsigned(k / grid[0] / grid[1])};
    for (auto &[start, size] : shared) memset(start, POISON, size);
    if (bytes) memset(dynamic, POISON, bytes);
    if (!run_block(order)) return false;
  }
  return true;
}

// The kernel's own type says what arguments it takes: "P4,i4,f8,S60," for a pointer to 4 bytes, an int, a double and a
// struct of 60 bytes.

template <class T>
int describe(char *text, size_t room) {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_pointer_v<U>) return snprintf(text, room, "P%zu,", sizeof(std::remove_pointer_t<U>));
  char kind = std::is_floating_point_v<U> ? 'f' : std::is_integral_v<U> ? 'i' : 'S';
  return snprintf(text, room, "%c%zu,", kind, sizeof(U));
}

template <class... A>
const char *parameters(void (*)(A...)) {
  static char text[1024];
  int used = 0;
  ((used += describe<A>(text + used, sizeof text - used)), ...);
  return text;
}

template <class... A, size_t... I>
bool run(void (*kernel)(A...), std::index_sequence<I...>, const unsigned *grid, const unsigned *block, void *memory,
         size_t bytes, unsigned order, void **arguments) {
  auto call = [&] { kernel(*(std::remove_cv_t<A> *)arguments[I]...); };
  body = [](void *f) { (*(decltype(call) *)f)(); };
  body_arguments = &call;
  return run_grid(grid, block, memory, bytes, order);
}

template <class... A>
bool run(void (*kernel)(A...), const unsigned *grid, const unsigned *block, void *memory, size_t bytes, unsigned order,
         void **a) {
  return run(kernel, std::index_sequence_for<A...>{}, grid, block, memory, bytes, order, a);
}

// What warps do together: every lane shows a value, waits for the others, takes what it wants and waits again.

template <class T>
void show(const T &value, unsigned mask) {
  static_assert(sizeof(T) <= 64);
  memcpy(warps[current / 32].slots[current % 32], &value, sizeof(T));
  fibers[current].mask = mask;
  wait(State::at_warp);
}

template <class T>
T seen(int lane) {
  T value;
  memcpy(&value, warps[current / 32].slots[lane], sizeof(T));
  return value;
}

inline void part(unsigned mask) {
  fibers[current].mask = mask;
  wait(State::at_warp);
}

template <class T>
T shuffle(unsigned mask, T value, int lane, bool inside) {
  show(value, mask);
  T result = inside ? seen<T>(lane) : value;
  part(mask);
  return result;
}

inline void copy_later(void *to, const void *from, unsigned bytes) {
  if (((uintptr_t)to | (uintptr_t)from) % bytes) fail("began a copy at an address that is no multiple of its size");
  fibers[current].copies.back().push_back({to, from, bytes});
}
inline void commit_copies() { fibers[current].copies.push_back({}); }
inline void wait_for_copies(size_t open) {
  auto &groups = fibers[current].copies;
  while (groups.size() - 1 > open) {
    for (Copy &copy : groups.front()) {
      if (copy.from) memcpy(copy.to, copy.from, copy.bytes);
      else memset(copy.to, 0, copy.bytes);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace emulator

#define EMULATOR_EXPORT(kernel)                                                                                 \
  extern "C" const char *parameters_of_##kernel() { return emulator::parameters(&kernel); }                     \
  extern "C" bool run_##kernel(const unsigned *grid, const unsigned *block, void *memory, size_t bytes,         \
                               unsigned order, void **arguments) {                                              \
    return emulator::run(&kernel, grid, block, memory, bytes, order, arguments);                                \
  }
extern "C" const char *emulator_error() { return emulator::error; }
extern "C" const void *emulator_outside() { return emulator::outside; }

// CUDA's own functions, as far as the kernels use them

inline void __syncthreads() { emulator::wait(emulator::State::at_block); }
inline void __syncwarp(unsigned mask = ~0u) { emulator::part(mask); }
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return emulator::shuffle(mask, value, lane & 31, true);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other) {
  return emulator::shuffle(mask, value, (emulator::current % 32) ^ other, true);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by) {
  int lane = emulator::current % 32 + by;
  return emulator::shuffle(mask, value, lane & 31, lane < 32);
}

template <class T>
T __ldg(const T *from) {
  return *from;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
template <class To, class From>
To emulator_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}
inline unsigned __float_as_uint(float x) { return emulator_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return emulator_bits<float>(x); }
inline int __float_as_int(float x) { return emulator_bits<int>(x); }
inline float __int_as_float(int x) { return emulator_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator_bits<double>(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
using std::max;
using std::min;
