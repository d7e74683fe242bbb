// Floats as integers that grow with the number, and differences of those.
#pragma once
#include "types.hpp"

namespace outlast {
namespace {  // each path compiles its own

inline u16 ordered(u16 v) { return v & 0x8000 ? static_cast<u16>(~v) : v | 0x8000; }
inline u16 unordered(u16 v) { return v & 0x8000 ? v & 0x7fff : static_cast<u16>(~v); }
inline u32 ordered(u32 v) { return v >> 31 ? ~v : v | 0x80000000u; }
inline u32 unordered(u32 v) { return v >> 31 ? v & 0x7fffffffu : ~v; }
inline u8 ordered(u8 v) { return v & 0x80 ? static_cast<u8>(~v) : v | 0x80; }
inline u8 unordered(u8 v) { return v & 0x80 ? v & 0x7f : static_cast<u8>(~v); }

// 0, -1, 1, -2, 2 … are 0, 1, 2, 3, 4 …
template <typename T>
inline T zigzag(T difference) {
    constexpr u32 TOP = 8 * sizeof(T) - 1;
    return static_cast<T>(difference << 1) ^ static_cast<T>(difference >> TOP ? ~T{0} : T{0});
}

template <typename T>
inline T unzigzag(T z) {
    return static_cast<T>(z >> 1) ^ static_cast<T>(z & 1 ? ~T{0} : T{0});
}

template <typename T>
inline T apart(T value, T base) {
    return zigzag(static_cast<T>(ordered(value) - ordered(base)));
}

template <typename T>
inline T apply(T z, T base) {
    return unordered(static_cast<T>(ordered(base) + unzigzag(z)));
}

}  // namespace
}  // namespace outlast
