// Encoding of any block: the same bytes on every path, never more than it is long, and back.
#include "input.hpp"
#include "xxh3.hpp"

namespace outlast::fuzz {
namespace {

enum Edits : u8 { REPEATED = 4, NOISY = 8, NUDGED = 16 };

struct Block {
    Kind kind;
    Exact data, base;
    bool with_base;

    Source source() const {
        return {kind, data.data(), with_base ? base.data() : nullptr,
                data.size / layout(kind).element};
    }
};

u32 noise(u32& state) {
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

// The base, with a few elements changed by a little.
void nudge(Exact& data, const Exact& base, u32 element, u32 every) {
    u32 state = 0x9e3779b9;
    std::copy_n(base.data(), base.size, data.data());
    for (std::size_t at = 0; at + element <= data.size; at += element)
        if (noise(state) >> 16 <= 257 * every) data.data()[at] ^= noise(state) >> 7 & 7;
}

// An input's header is that of a block to be decoded, but for the tag, which says how often the
// changes of a base come. The tile is the base's, the rest is the data's.
Block block_of(const u8* input, std::size_t size) {
    const Kind kind = KINDS[input[0] % KIND_COUNT];
    const Layout& shape = layout(kind);
    const u8 flags = input[2];
    const bool with_base = flags & WITH_BASE;
    const std::size_t left = size - HEADER;
    const std::size_t tile =
        with_base ? std::min<std::size_t>(left, input[3] * shape.element) : 0;
    std::size_t count = std::clamp<std::size_t>((left - tile) / shape.element, 1, shape.per_block);
    const u32 wanted = load<u16>(input + 4);  // mostly few, as many are slow
    if (flags & (REPEATED | NUDGED))
        count = count_of(wanted < 0xfc00 ? wanted % 2048 : wanted, shape.per_block);
    const std::size_t raw = count * shape.element;
    Block made = {kind, tiled(input + HEADER + tile, left - tile, raw),
                  tiled(input + HEADER, tile, with_base ? raw : 0), with_base};
    if (with_base && flags & NUDGED) nudge(made.data, made.base, shape.element, input[1]);
    u32 state = 1 + input[1];
    for (std::size_t at = 0; flags & NOISY && at < raw; at += shape.element)
        made.data.data()[at] ^= static_cast<u8>(noise(state) >> 8);
    return made;
}

void decodes(const Path& path, const Block& block, const Encoded& encoded, const Exact& payload) {
    Workspace space;
    Exact again(block.data.size, 0xee);
    Source shape = block.source();
    shape.data = nullptr;
    try {
        decode_block(path, space, encoded.tag, payload.data(), payload.size, shape, again.data());
    } catch (const Damaged& damaged) {
        fail(path, damaged.what());
    }
    if (std::memcmp(again.data(), block.data.data(), again.size))
        fail(path, "does not restore what was encoded");
}

}  // namespace

void roundtrip_one(const u8* input, std::size_t size) {
    if (size < HEADER) return;
    const Block block = block_of(input, size);
    static const std::vector<const Path*> all = paths();
    Encoded first = {};
    Exact kept(0);
    for (const Path* path : all) {
        Workspace space;
        const Exact out(block.data.size, 0xee);
        const Encoded made = encode_block(*path, space, block.source(), out.data());
        if (made.length > block.data.size) fail(*path, "a payload is longer than its block");
        if (path == all[0]) {
            first = made;
            kept = Exact(out.data(), made.length);
        }
        if (made.tag != first.tag || made.length != first.length ||
            std::memcmp(kept.data(), out.data(), made.length))
            fail(*path, "encodes to other bytes");
        decodes(*path, block, first, kept);
        if (xxh3(*path, kept.data(), kept.size) != xxh3(*all[0], kept.data(), kept.size))
            fail(*path, "has another checksum");
    }
}

}  // namespace outlast::fuzz

#ifndef OUTLAST_REPLAY
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
    outlast::fuzz::roundtrip_one(input, size);
    return 0;
}
#endif
