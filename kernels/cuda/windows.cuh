// Where the windows of a convolution lie on an image (N, H, W, channels): what im2col copies, and what the others only
// look up. `_windows.py` fills the struct.
#pragma once
#include "common.cuh"

// Division by a number that is known before the launch: a product and a shift instead of some 20 instructions.
// With 2**shift >= 2**31 * by and factor = 2**shift / by, rounded up, it is exact for all n below 2**31.
// (Granlund & Montgomery, "Division by Invariant Integers using Multiplication", 1994, section 4)
struct Divider {
  unsigned factor;
  int shift, by;
  __device__ __forceinline__ int operator()(int n) const { return (unsigned long long)unsigned(n) * factor >> shift; }
};

struct Triple {
  int far, middle, near;
};

// The index i of an array of shape (.., middle.by, near.by) as three indices.
__device__ __forceinline__ Triple split(int i, const Divider& middle, const Divider& near) {
  int rest = near(i), far = middle(rest);
  return {far, rest - far * middle.by, i - rest * near.by};
}

struct Windows {
  Divider OH, OW, KW, C;   // a window is (n, oh, ow); a tap, which is a number of a window, is (kh, kw, c)
  int windows, taps;       // N * OH * OW and KH * KW * C; C is that of one group
  int H, W, channels;      // of the image, with the channels of all groups
  int SH, SW, DH, DW, top, left;
};

// Tap (kh, kw, c) of window (n, oh, ow) is pixel (oh * SH - top + kh * DH, ow * SW - left + kw * DW) of image n. One
// part of that comes from the window, the other from the tap. Each is worked out once and used many times: what is left
// to do for a pair of them are three additions and two comparisons. Offsets are unsigned, as those may wrap.
struct Part {
  unsigned offset;
  int h, w;
};

__device__ __forceinline__ Part window_part(const Windows& g, int window) {
  Triple i = split(window, g.OH, g.OW);
  int h = i.middle * g.SH - g.top, w = i.near * g.SW - g.left;
  return {((unsigned(i.far) * g.H + h) * g.W + w) * g.channels, h, w};
}

__device__ __forceinline__ Part tap_part(const Windows& g, int tap) {
  Triple i = split(tap, g.KW, g.C);
  int h = i.far * g.DH, w = i.middle * g.DW;
  return {unsigned(h * g.W + w) * g.channels + i.near, h, w};
}

// The window that sees, under some tap, the cell this far behind that tap of window 0, on one axis; or -1 if none does.
__device__ __forceinline__ int window_over(int distance, const Divider& stride, int windows) {
  int o = stride(distance);
  return distance >= 0 && o * stride.by == distance && o < windows ? o : -1;
}

// Where the number lies, and whether it lies in the image at all or in the padding.
__device__ __forceinline__ Place cell(const Windows& g, const real* image, const Part& window, const Part& tap) {
  bool inside = (unsigned(window.h + tap.h) < unsigned(g.H)) && (unsigned(window.w + tap.w) < unsigned(g.W));
  return {image + (window.offset + tap.offset), inside};
}
