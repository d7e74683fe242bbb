// Range asymmetric numeral systems (J. Duda, 2013), 64 interleaved 32-bit states, 12-bit
// probabilities, 16-bit words. docs/format/capsule.md has the definition.
#pragma once
#include "types.hpp"

namespace outlast {

constexpr u32 LANES = 64;
constexpr u32 PROBABILITY_BITS = 12;
constexpr u32 PROBABILITIES = 1u << PROBABILITY_BITS;
constexpr u32 STATE_LOW = 1u << 16;
constexpr u32 SYMBOLS = 256;
constexpr u32 MAX_CONTEXTS = 8;

// What a decoder looks up for a slot: symbol (8 bits), frequency - 1 (12), slot - start (12).
inline u32 decode_entry(u32 symbol, u32 frequency, u32 offset) {
    return symbol << 24 | (frequency - 1) << 12 | offset;
}

// What an encoder looks up for a symbol. The quotient x / frequency is
// (x * reciprocal >> 32) >> shift, exact for every x below 2^32
// (R. Alverson, Integer division using reciprocals, 1991).
struct EncodeTable {
    u32 reciprocal[MAX_CONTEXTS * SYMBOLS];
    u32 limit[MAX_CONTEXTS * SYMBOLS];  // a state above it gives a word away first
    u32 packed[MAX_CONTEXTS * SYMBOLS];  // bias (13 bits), PROBABILITIES - frequency (13), shift (4)

    void set(u32 index, u32 start, u32 frequency) {
        u32 shift = 0;
        while (frequency > (1u << shift)) shift++;
        u32 bias = start, inverse = 0;
        if (frequency == 1) {
            inverse = ~0u;  // x * (2^32 - 1) >> 32 is x - 1: the bias makes up for it
            bias = start + PROBABILITIES - 1;
            shift = 1;
        } else {
            inverse = static_cast<u32>(((u64{1} << (shift + 31)) + frequency - 1) / frequency);
        }
        reciprocal[index] = inverse;
        limit[index] = static_cast<u32>((u64{frequency} << 20) - 1);
        packed[index] = bias | (PROBABILITIES - frequency) << 13 | (shift - 1) << 26;
    }
};

struct Decoder {
    u32 states[LANES];
    const u8* words;
    const u8* end;
    const u32* table;  // contexts x PROBABILITIES entries
};

struct Encoder {
    u32 states[LANES];
    u8* words;  // the next word goes right below
    const EncodeTable* table;
};

}  // namespace outlast
