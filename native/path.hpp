// One set of kernels for each kind of processor. All of them give the same bytes.
#pragma once
#include "rans.hpp"

namespace outlast {

// The layouts that are split into planes and merged again; the numbers are those of the format.
enum class Kind : u8 {
    bytes = 0, bf16 = 1, f16 = 2, f32 = 3, f8_e4m3 = 4, f8_e5m2 = 5,
    words16 = 6, words32 = 7, words64 = 8,
    q8_0 = 16, q4_0 = 17, q4_1 = 18, q5_0 = 19, q5_1 = 20, q4_k = 21, q5_k = 22, q6_k = 23,
};

// Adds to each of `target_count` blocks a sum of `source_count` blocks, all of `length` bytes, each
// multiplied by its factor in GF(2^8): factors[target * source_count + source].
struct Combination {
    const u8* factors;
    const u8* const* sources;
    std::size_t source_count;
    u8* const* targets;
    std::size_t target_count;
    std::size_t length;
};

struct Path {
    const char* name;
    bool (*here)() = nullptr;

    // Symbols [0, count): the last one goes in first.
    void (*encode)(Encoder&, const u8* symbols, std::size_t count) = nullptr;
    // The next `count` symbols; a multiple of the lanes but at the end. Throws Damaged.
    void (*decode)(Decoder&, u8* symbols, std::size_t count) = nullptr;
    // Adds to counts[256].
    void (*histogram)(const u8* symbols, std::size_t count, u32* counts) = nullptr;

    // Interleaved elements to planes and back; `count` elements.
    void (*split)(Kind, const u8* from, std::size_t count, u8* const* planes) = nullptr;
    void (*merge)(Kind, const u8* const* planes, std::size_t count, u8* to) = nullptr;

    // Zigzagged differences in units in the last place, and contexts from the base's exponent.
    void (*contexts)(Kind, const u8* base, std::size_t count, u32 top, u8* contexts) = nullptr;
    // Adds to counts[MAX_CONTEXTS] how many there are of each context.
    void (*count_contexts)(const u8* contexts, std::size_t count, std::size_t* counts) = nullptr;
    // Each symbol to the end of its context's part, and back; moves the parts' pointers. Up to
    // SLACK bytes behind a part are written or read too.
    void (*part)(const u8* symbols, const u8* contexts, std::size_t count, u8** parts) = nullptr;
    void (*join)(const u8** parts, const u8* contexts, std::size_t count, u8* symbols) = nullptr;
    void (*difference)(Kind, const u8* from, const u8* base, std::size_t count, u8* const* planes) = nullptr;
    void (*restore)(Kind, const u8* const* planes, const u8* base, std::size_t count, u8* to) = nullptr;

    // XXH3: accumulates whole stripes of 64 bytes.
    void (*xxh3_stripes)(u64* acc, const u8* input, const u8* secret, std::size_t stripes) = nullptr;
    // SHA-256 of `count` messages of `length` bytes (a multiple of 64), one after another.
    void (*sha256_many)(const u8* data, std::size_t length, std::size_t count, u8* digests) = nullptr;

    // Reed-Solomon: encoding and repairing are both this. No target may be a source.
    void (*combine)(const Combination&) = nullptr;
};

extern const Path portable, avx2, avx512;

}  // namespace outlast
