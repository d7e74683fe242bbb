// Range asymmetric numeral systems (J. Duda, 2013), 64 or 128 interleaved 32-bit states, 12-bit
// probabilities, 16-bit words. docs/format/capsule.md has the definition.
#pragma once
#include "types.hpp"

namespace outlast {

constexpr u32 MAX_LANES = 128;
constexpr u32 PROBABILITY_BITS = 12;
constexpr u32 PROBABILITIES = 1u << PROBABILITY_BITS;
constexpr u32 STATE_LOW = 1u << 16;
constexpr u32 SYMBOLS = 256;
constexpr u32 MAX_CONTEXTS = 8;
constexpr std::size_t SLACK = 64;  // bytes behind a buffer that kernels may write or read

// A lane waits for its own last symbol: long planes have more of them, short ones less to store.
constexpr u32 lanes_for(std::size_t symbols) { return symbols < (1u << 15) ? 64 : 128; }

// What a decoder looks up for a slot: symbol (8 bits), frequency - 1 (12), slot - start (12).
inline u32 decode_entry(u32 symbol, u32 frequency, u32 offset) {
    return symbol << 24 | (frequency - 1) << 12 | offset;
}

// What an encoder looks up for a symbol: its frequency and where its slots start.
struct EncodeTable {
    u32 of[SYMBOLS];  // frequency << 16 | start
    u32 first, last;  // the range of symbols
};

// For the planes whose slots fall into few ranges, as those of exponents do: symbols by rank,
// found in tables that fit into registers.
struct Ranks {
    static constexpr u32 MOST = 64, EDGE = 128;
    bool usable;
    u8 coarse[128];  // the rank that slot 32 i is in
    u8 fine[128];    // the rank that slot 2 i - EDGE is in, for the first and last EDGE slots
    u16 next[MOST], start[MOST], frequency[MOST];
    u8 symbol[MOST];
};

struct Decoder {
    u32 lanes;
    u32 states[MAX_LANES];
    const u8* words;
    const u8* end;
    const u32* table;  // PROBABILITIES entries
    const Ranks* ranks;  // or none
};

struct Encoder {
    u32 lanes;
    u32 states[MAX_LANES];
    u8* words;  // the next word goes right below
    const EncodeTable* table;
};

}  // namespace outlast
