// GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1 (0x11b), as GFNI multiplies in it, and the
// order in which all paths go over blocks. Each path compiles this with its own flags, so it is in
// an unnamed namespace, as loops.hpp is.
#pragma once
#include <algorithm>

#include "path.hpp"

namespace outlast {
namespace {

constexpr u8 doubled(u8 x) { return static_cast<u8>(x << 1 ^ (x & 0x80 ? 0x1b : 0)); }

constexpr u8 product(u8 x, u8 y) {
    u8 sum = 0;
    for (; y; y = static_cast<u8>(y >> 1), x = doubled(x))
        if (y & 1) sum ^= x;
    return sum;
}

// A rectangle of a combination: some of its targets, sources and bytes.
struct Tile {
    std::size_t target, targets;
    std::size_t source, source_end;
    std::size_t at, end;
};

// Eight sources of 4 KiB fill the first-level cache; the targets' 4 KiB stay in the second.
constexpr std::size_t TILE_BYTES = 4096, TILE_SOURCES = 8;

template <std::size_t TARGETS, typename Sweep>
[[maybe_unused]] void combine_tiles(const Combination& all, Sweep sweep) {
    for (std::size_t at = 0; at < all.length; at += TILE_BYTES) {
        const std::size_t end = std::min(at + TILE_BYTES, all.length);
        for (std::size_t source = 0; source < all.source_count; source += TILE_SOURCES) {
            const std::size_t source_end = std::min(source + TILE_SOURCES, all.source_count);
            for (std::size_t target = 0; target < all.target_count; target += TARGETS) {
                const std::size_t targets = std::min(TARGETS, all.target_count - target);
                sweep(all, Tile{target, targets, source, source_end, at, end});
            }
        }
    }
}

// The bytes [at, end) of a tile, one at a time.
[[maybe_unused]] void combine_bytes(const Combination& all, const Tile& tile, std::size_t at) {
    for (std::size_t t = tile.target; t < tile.target + tile.targets; t++)
        for (std::size_t s = tile.source; s < tile.source_end; s++) {
            const u8 factor = all.factors[t * all.source_count + s];
            for (std::size_t i = at; i < tile.end; i++)
                all.targets[t][i] ^= product(all.sources[s][i], factor);
        }
}

}  // namespace
}  // namespace outlast
