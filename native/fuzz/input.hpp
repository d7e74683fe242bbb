// How the bytes of an input become a case, for the fuzzers and for the replayer.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "block.hpp"

namespace outlast::fuzz {

constexpr Kind KINDS[] = {Kind::bytes,   Kind::bf16,    Kind::f16,     Kind::f32,  Kind::f8_e4m3,
                          Kind::f8_e5m2, Kind::words16, Kind::words32, Kind::words64, Kind::q8_0,
                          Kind::q4_0,    Kind::q4_1,    Kind::q5_0,    Kind::q5_1, Kind::q4_k,
                          Kind::q5_k,    Kind::q6_k};
constexpr u32 KIND_COUNT = sizeof KINDS / sizeof *KINDS;
constexpr u32 TAG_COUNT = 5;

// An input: kind (1 byte, an index), tag (1), flags (1), elements of the tile (1), count (2), the
// tile, the rest. A base is its tile over and over.
constexpr std::size_t HEADER = 6;
enum Flags : u8 { WITH_BASE = 1, DIRTY = 2 };

inline std::size_t count_of(u32 wanted, u32 per_block) {
    if (wanted >= 0xf000) return per_block - std::min(wanted & 0xfff, per_block - 1);
    return std::min(wanted + 1, per_block);
}

// A copy of its own, of exactly this size: what lies behind it is not ours, and is watched.
struct Exact {
    std::unique_ptr<u8[]> bytes;
    std::size_t size;

    explicit Exact(std::size_t count, u8 value = 0) : bytes(new u8[count]), size(count) {
        std::fill_n(bytes.get(), count, value);
    }
    Exact(const u8* from, std::size_t count) : bytes(new u8[count]), size(count) {
        std::copy_n(from, count, bytes.get());
    }
    u8* data() const { return bytes.get(); }
};

inline Exact tiled(const u8* tile, std::size_t length, std::size_t size) {
    Exact made(size);
    for (std::size_t i = 0; length && i < size; i++) made.data()[i] = tile[i % length];
    return made;
}

inline std::vector<const Path*> paths() {
    std::vector<const Path*> found;
    for (const Path* path : {&portable, &avx2, &avx512})
        if (path->here()) found.push_back(path);
    return found;
}

[[noreturn]] inline void fail(const Path& path, const char* what) {
    std::fprintf(stderr, "%s: %s\n", path.name, what);
    std::abort();
}

// What decoding and encoding may take of memory, whatever the payload says.
inline std::size_t held(const Workspace& space) {
    return space.planes.capacity() + space.contexts.capacity() + space.parts.capacity() +
           space.words.capacity() + space.payload.capacity() + space.groups.capacity() +
           space.marks.capacity() + space.again.capacity();
}

// One input each; they abort where something is wrong.
void decode_one(const u8* input, std::size_t size);
void roundtrip_one(const u8* input, std::size_t size);

}  // namespace outlast::fuzz
