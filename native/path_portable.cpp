// Plain C++20, for any processor.
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

bool here() { return true; }

}  // namespace

const Path portable = {"portable", here, encode, decode, histogram, split, merge, contexts,
                       count_contexts_plain, part_plain, join_plain, difference, restore, xxh3_stripes_plain, sha256_many};

}  // namespace outlast
