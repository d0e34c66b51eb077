// Half precision on the emulator, by the compiler's own type.
#pragma once

struct half {
  _Float16 value;
  half() = default;
  half(float x) : value(x) {}
  operator float() const { return value; }
};
