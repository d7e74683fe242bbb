// A plane: one run of symbols, kept as it is, as one value, or coded.
#pragma once
#include "block.hpp"

namespace outlast {

enum class Coding : u8 { raw = 0, constant = 1, rans = 2, rans_in_contexts = 3 };

constexpr std::size_t CODED_HEADER = 4 + 4 * LANES;  // number of words, states

// How much smaller a coded form has to be: 1/64.
inline bool pays(u64 size, u64 raw) { return size <= raw - raw / 64; }

struct Symbols {
    const u8* data;
    std::size_t count;
    const u8* contexts;  // or none
    u32 context_count;
    bool whole;
};

// Appends the plane; returns the byte after it. `to` has room for 2 * count + 8192 bytes.
u8* encode_plane(const Path&, Workspace&, const Symbols&, u8* to);

// A plane that is being read.
struct PlaneReader {
    Coding coding;
    const u8* raw;  // of a raw plane
    u8 value;       // of a constant one
    Decoder decoder;
};

// Reads the plane's header; returns the byte after the plane. `tables` takes context_count *
// PROBABILITIES entries. Throws Damaged.
const u8* open_plane(PlaneReader&, const u8* from, const u8* end, std::size_t count,
                     u32 context_count, bool whole, u32* tables);
// The next `count` symbols: where they are, or decoded to `to`.
const u8* next_symbols(const Path&, PlaneReader&, const u8* contexts, std::size_t count, u8* to);
// Throws Damaged unless the plane ended as an encoder ends it.
void close_plane(const PlaneReader&);

}  // namespace outlast
