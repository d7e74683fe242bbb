// Names shared by all kernels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace outlast {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i16 = std::int16_t;
using i32 = std::int32_t;

// A payload that no encoder makes. Its text becomes the message of a Python ValueError.
struct Damaged : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <typename T>
[[gnu::always_inline]] inline T load(const u8* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <typename T>
[[gnu::always_inline]] inline void store(u8* to, T value) {
    std::memcpy(to, &value, sizeof value);
}

}  // namespace outlast
