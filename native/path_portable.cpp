// Plain C++20, for any processor.
#include "galois.hpp"
#include "loops.hpp"
#include "sha256.hpp"

namespace outlast {
namespace {

void encode(Encoder& state, const u8* symbols, std::size_t count) {
    encode_lanes(state, symbols, 0, count);
}

void decode(Decoder& state, u8* symbols, std::size_t count) {
    decode_lanes(state, symbols, 0, count);
}

void sha256_many(const u8* data, std::size_t length, std::size_t count, u8* digests) {
    for (std::size_t i = 0; i < count; i++)
        sha256_one(data + i * length, length, digests + 32 * i);
}

// A product is the sum of those of the source, doubled 0 to 7 times, that the bits of its factor
// choose. The doublings are made once for all targets; any compiler makes vectors of both loops.
constexpr std::size_t STRIP = 512;

void add_chosen(const u8 (*doublings)[STRIP], u8 factor, u8* to) {
    u8 chosen[8];
    for (u32 bit = 0; bit < 8; bit++) chosen[bit] = factor >> bit & 1 ? 0xff : 0;
    for (std::size_t i = 0; i < STRIP; i++) {
        u8 sum = to[i];
        for (u32 bit = 0; bit < 8; bit++)
            sum = static_cast<u8>(sum ^ (doublings[bit][i] & chosen[bit]));
        to[i] = sum;
    }
}

void combine_tile(const Combination& all, const Tile& tile) {
    u8 doublings[8][STRIP];
    std::size_t at = tile.at;
    for (; at + STRIP <= tile.end; at += STRIP)
        for (std::size_t s = tile.source; s < tile.source_end; s++) {
            std::memcpy(doublings[0], all.sources[s] + at, STRIP);
            for (u32 bit = 1; bit < 8; bit++)
                for (std::size_t i = 0; i < STRIP; i++)
                    doublings[bit][i] = doubled(doublings[bit - 1][i]);
            for (std::size_t t = tile.target; t < tile.target + tile.targets; t++)
                add_chosen(doublings, all.factors[t * all.source_count + s], all.targets[t] + at);
        }
    combine_bytes(all, tile, at);
}

void combine(const Combination& all) { combine_tiles<256>(all, combine_tile); }

bool here() { return true; }

}  // namespace

const Path portable = {"portable", here, encode, decode, histogram, split, merge, contexts,
                       count_contexts_plain, part_plain, join_plain, difference, restore, xxh3_stripes_plain, sha256_many,
                       combine};

}  // namespace outlast
