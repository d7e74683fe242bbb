// A plane: one run of symbols, kept as it is, as one value, coded, or in parts by context.
#pragma once
#include "block.hpp"

namespace outlast {

enum class Coding : u8 { raw = 0, constant = 1, rans = 2, parts = 3 };

// The number of words, and the states.
inline std::size_t coded_header(std::size_t symbols) { return 4 + 4 * lanes_for(symbols); }

// How much smaller a coded form has to be: 1/64.
inline bool pays(u64 size, u64 raw) { return size <= raw - raw / 64; }

// Symbol i has context of[i / run].
struct Contexts {
    const u8* of = nullptr;
    u32 count = 1;
    u32 run = 1;
};

struct Symbols {
    const u8* data;
    std::size_t count;
    bool whole;  // bytes, so that the plane can be kept raw
    bool noisy;  // likely to be kept raw: a sample tells
    Contexts contexts;
};

// Appends the plane; returns the byte after it. `to` has room for 2 * count + 8192 bytes.
u8* encode_plane(const Path&, Workspace&, const Symbols&, u8* to);

// A plane that is being read; not one in parts.
struct PlaneReader {
    Coding coding;
    const u8* raw;  // of a raw plane
    u8 value;       // of a constant one
    Decoder decoder;

    // Reads the plane's header; returns the byte after the plane. Tables are kept in place `slot`
    // of the workspace. Throws Damaged.
    const u8* open(Workspace&, u32 slot, const u8* from, const u8* end, std::size_t count,
                   bool whole);
    // The next `count` symbols: where they are, or decoded to `to`.
    const u8* next(const Path&, std::size_t count, u8* to);
    // Throws Damaged unless the plane ended as an encoder ends it.
    void close() const;
};

// A plane that may be in parts by context; the parts are decoded when it is opened.
struct ContextReader {
    PlaneReader whole;
    bool in_parts;
    const u8* parts[MAX_CONTEXTS];

    // `room` holds count + MAX_CONTEXTS * SLACK bytes.
    const u8* open(const Path&, Workspace&, u32 slot, const u8* from, const u8* end,
                   std::size_t count, bool whole_bytes, const Contexts&, u8* room);
    const u8* next(const Path&, const Contexts&, std::size_t count, u8* to);
    void close() const;
};

}  // namespace outlast
