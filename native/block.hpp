// A block of a capsule: docs/format/capsule.md, "Blocks".
#pragma once
#include <vector>

#include "path.hpp"
#include "tables.hpp"

namespace outlast {

enum class Tag : u8 { stored = 0, planes = 1, same = 2, difference = 3, leaves = 4 };

constexpr u32 MAX_PLANES = 8;

struct Plane {
    u32 per_element;  // symbols
    bool whole;       // symbols are bytes, so that the plane can be kept raw
    bool noisy;       // mostly not worth coding
    u32 run;          // of symbols that share a context; 0: there are none
};

struct Layout {
    u32 element;      // bytes
    u32 leaf;         // elements
    u32 per_block;    // elements
    u32 plane_count;
    Plane planes[MAX_PLANES];
    u32 difference_planes;  // 0: the kind has no differences
};

// Throws std::invalid_argument for a number that is no kind.
const Layout& layout(Kind kind);

// What encoding and decoding write on; one for each thread.
struct Workspace {
    std::vector<u8> planes, contexts, parts, words, payload, groups, marks, again;
    std::vector<u32> decode_tables;  // a table for each plane, and one more
    EncodeTable encode_table;
    Ranks ranks[MAX_PLANES + 1];
};

inline u8* reserve(std::vector<u8>& room, std::size_t size) {
    if (room.size() < size) room.resize(size);
    return room.data();
}

struct Source {
    Kind kind;
    const u8* data;
    const u8* base;  // or none
    std::size_t count;  // elements
};

struct Encoded {
    Tag tag;
    std::size_t length;
};

// `to` holds count * element bytes, which is what a payload takes at most.
Encoded encode_block(const Path&, Workspace&, const Source&, u8* to);
// Throws Damaged. Reads `length` bytes, writes count * element bytes.
void decode_block(const Path&, Workspace&, Tag, const u8* payload, std::size_t length,
                  const Source& shape, u8* to);

}  // namespace outlast
