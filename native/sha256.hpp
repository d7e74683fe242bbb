// SHA-256 (FIPS 180-4): constants, and one message at a time for tails and for the portable path.
#pragma once
#include "types.hpp"

namespace outlast {

alignas(64) inline constexpr u32 SHA_ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

inline constexpr u32 SHA_START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

namespace {  // each path compiles its own

// The padding block of a message of `length` bytes, a multiple of 64.
[[maybe_unused]] void sha256_padding(std::size_t length, u8* block) {
    std::memset(block, 0, 64);
    block[0] = 0x80;
    store<u64>(block + 56, __builtin_bswap64(u64{length} * 8));
}

[[maybe_unused]] void sha256_digest(const u32* state, u8* digest) {
    for (u32 i = 0; i < 8; i++) store<u32>(digest + 4 * i, __builtin_bswap32(state[i]));
}

[[maybe_unused]] u32 rotate(u32 x, u32 by) { return x >> by | x << (32 - by); }

[[maybe_unused]] void sha256_blocks(u32* state, const u8* data, std::size_t blocks) {
    for (; blocks--; data += 64) {
        u32 w[64];
        for (u32 i = 0; i < 16; i++) w[i] = __builtin_bswap32(load<u32>(data + 4 * i));
        for (u32 i = 16; i < 64; i++) {
            const u32 s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
            const u32 s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        u32 v[8];
        std::memcpy(v, state, sizeof v);
        for (u32 i = 0; i < 64; i++) {
            const u32 s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
            const u32 choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
            const u32 first = v[7] + s1 + choice + SHA_ROUND[i] + w[i];
            const u32 s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
            const u32 majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
            for (u32 k = 7; k > 0; k--) v[k] = v[k - 1];
            v[4] += first;
            v[0] = first + s0 + majority;
        }
        for (u32 i = 0; i < 8; i++) state[i] += v[i];
    }
}

[[maybe_unused]] void sha256_one(const u8* data, std::size_t length, u8* digest) {
    u32 state[8];
    std::memcpy(state, SHA_START, sizeof state);
    sha256_blocks(state, data, length / 64);
    u8 padding[64];
    sha256_padding(length, padding);
    sha256_blocks(state, padding, 1);
    sha256_digest(state, digest);
}

}  // namespace
}  // namespace outlast
