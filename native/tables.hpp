// Frequencies: counted, normalised in integers, estimated, written and read.
#pragma once
#include "rans.hpp"

namespace outlast {

struct Frequencies {
    u16 of[SYMBOLS];  // they add up to PROBABILITIES
    u32 first, last;  // the range with frequencies above 0

    bool single() const { return first == last; }
    std::size_t size() const;  // bytes, written
};

// From counts of which at least one is above 0.
void normalise(const u32* counts, Frequencies& into);
// Bits that `counts` symbols take, in 1/256.
u64 cost(const u32* counts, const Frequencies& frequencies);

u8* write(const Frequencies& frequencies, u8* to);
// Throws Damaged. Returns the byte after the table.
const u8* read(Frequencies& into, const u8* from, const u8* end);

void fill(EncodeTable& table, const Frequencies& frequencies);
void fill(u32* decode_table, const Frequencies& frequencies);
void fill(Ranks& ranks, const Frequencies& frequencies);

}  // namespace outlast
