#include "xxh3.hpp"

namespace outlast {
namespace {

constexpr u64 P32_1 = 0x9E3779B1, P32_2 = 0x85EBCA77, P32_3 = 0xC2B2AE3D;
constexpr u64 P64_1 = 0x9E3779B185EBCA87, P64_2 = 0xC2B2AE3D27D4EB4F, P64_3 = 0x165667B19E3779F9;
constexpr u64 P64_4 = 0x85EBCA77C2B2AE63, P64_5 = 0x27D4EB2F165667C5;
constexpr u64 MIX_1 = 0x165667919E3779F9, MIX_2 = 0x9FB21C651E98DF25;
constexpr std::size_t STRIPE = 64, SECRET = 192;
constexpr std::size_t STRIPES = (SECRET - STRIPE) / 8;  // per block

alignas(64) constexpr u8 KEY[SECRET] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

inline u64 word(std::size_t at) { return load<u64>(KEY + at); }

inline u64 folded(u64 a, u64 b) {
    const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
    return static_cast<u64>(product) ^ static_cast<u64>(product >> 64);
}

inline u64 avalanche(u64 h) {
    h = (h ^ h >> 37) * MIX_1;
    return h ^ h >> 32;
}

inline u64 avalanche64(u64 h) {
    h = (h ^ h >> 33) * P64_2;
    h = (h ^ h >> 29) * P64_3;
    return h ^ h >> 32;
}

u64 up_to_16(const u8* data, std::size_t length) {
    if (length > 8) {
        const u64 low = load<u64>(data) ^ (word(24) ^ word(32));
        const u64 high = load<u64>(data + length - 8) ^ (word(40) ^ word(48));
        return avalanche(length + __builtin_bswap64(low) + high + folded(low, high));
    }
    if (length >= 4) {
        const u64 joined = load<u32>(data + length - 4) + (u64{load<u32>(data)} << 32);
        u64 h = joined ^ (word(8) ^ word(16));
        h ^= (h << 49 | h >> 15) ^ (h << 24 | h >> 40);
        h *= MIX_2;
        h ^= (h >> 35) + length;
        h *= MIX_2;
        return h ^ h >> 28;
    }
    if (length) {
        const u32 joined = u32{data[0]} << 16 | u32{data[length >> 1]} << 24 |
                           u32{data[length - 1]} | static_cast<u32>(length) << 8;
        return avalanche64(joined ^ u64{load<u32>(KEY) ^ load<u32>(KEY + 4)});
    }
    return avalanche64(word(56) ^ word(64));
}

inline u64 mixed(const u8* data, std::size_t key) {
    return folded(load<u64>(data) ^ word(key), load<u64>(data + 8) ^ word(key + 8));
}

u64 up_to_128(const u8* data, std::size_t length) {
    u64 sum = length * P64_1;
    for (std::size_t i = (length - 1) / 32 + 1; i-- > 0;)
        sum += mixed(data + 16 * i, 32 * i) + mixed(data + length - 16 * (i + 1), 32 * i + 16);
    return avalanche(sum);
}

u64 up_to_240(const u8* data, std::size_t length) {
    u64 sum = length * P64_1;
    for (std::size_t i = 0; i < 8; i++) sum += mixed(data + 16 * i, 16 * i);
    sum = avalanche(sum);
    for (std::size_t i = 8; i < length / 16; i++) sum += mixed(data + 16 * i, 16 * (i - 8) + 3);
    return avalanche(sum + mixed(data + length - 16, 136 - 17));
}

u64 long_input(const Path& path, const u8* data, std::size_t length) {
    u64 acc[8] = {P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1};
    const std::size_t block = STRIPE * STRIPES, blocks = (length - 1) / block;
    for (std::size_t b = 0; b < blocks; b++) {
        path.xxh3_stripes(acc, data + b * block, KEY, STRIPES);
        for (u32 i = 0; i < 8; i++)
            acc[i] = (acc[i] ^ acc[i] >> 47 ^ word(SECRET - STRIPE + 8 * i)) * P32_1;
    }
    path.xxh3_stripes(acc, data + blocks * block, KEY, (length - 1 - blocks * block) / STRIPE);
    path.xxh3_stripes(acc, data + length - STRIPE, KEY + SECRET - STRIPE - 7, 1);
    u64 sum = length * P64_1;
    for (u32 i = 0; i < 4; i++)
        sum += folded(acc[2 * i] ^ word(11 + 16 * i), acc[2 * i + 1] ^ word(19 + 16 * i));
    return avalanche(sum);
}

}  // namespace

u64 xxh3(const Path& path, const u8* data, std::size_t length) {
    if (length <= 16) return up_to_16(data, length);
    if (length <= 128) return up_to_128(data, length);
    if (length <= 240) return up_to_240(data, length);
    return long_input(path, data, length);
}

}  // namespace outlast
