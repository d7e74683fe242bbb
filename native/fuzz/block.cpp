// Decoding of any payload: every path takes it or refuses it, and gives the same bytes.
#include "input.hpp"

namespace outlast::fuzz {
namespace {

constexpr std::size_t DIRT = 1 << 15;

void soil(Workspace& space) {
    for (std::vector<u8>* room :
         {&space.planes, &space.contexts, &space.parts, &space.groups, &space.marks})
        room->assign(DIRT, 0xa7);
}

struct Decoded {
    bool taken;
    Exact bytes;
};

Decoded decode(const Path& path, const Source& shape, Tag tag, const Exact& payload, bool dirty) {
    Workspace space;
    if (dirty) soil(space);
    const std::size_t raw = shape.count * layout(shape.kind).element;
    Decoded made = {true, Exact(raw, 0xee)};
    try {
        decode_block(path, space, tag, payload.data(), payload.size, shape, made.bytes.data());
    } catch (const Damaged&) {
        made.taken = false;
    }
    if (held(space) > 8 * raw + 5 * DIRT + (1 << 16)) fail(path, "more memory than declared");
    return made;
}

}  // namespace

void decode_one(const u8* input, std::size_t size) {
    if (size < HEADER) return;
    const Kind kind = KINDS[input[0] % KIND_COUNT];
    const Tag tag = static_cast<Tag>(input[1] % TAG_COUNT);
    const Layout& shape = layout(kind);
    const std::size_t count = count_of(load<u16>(input + 4), shape.per_block);
    const bool with_base = input[2] & WITH_BASE;
    const std::size_t tile =
        with_base ? std::min<std::size_t>(size - HEADER, input[3] * shape.element) : 0;
    const Exact base = tiled(input + HEADER, tile, with_base ? count * shape.element : 0);
    const Exact payload(input + HEADER + tile, size - HEADER - tile);
    const Source source = {kind, nullptr, with_base ? base.data() : nullptr, count};
    static const std::vector<const Path*> all = paths();
    const Decoded first = decode(*all[0], source, tag, payload, false);
    for (std::size_t i = 1; i < all.size(); i++) {
        const Decoded other = decode(*all[i], source, tag, payload, input[2] & DIRTY);
        if (other.taken != first.taken) fail(*all[i], "takes what another path refuses, or not");
        if (first.taken && std::memcmp(first.bytes.data(), other.bytes.data(), first.bytes.size))
            fail(*all[i], "decodes to other bytes");
    }
}

}  // namespace outlast::fuzz

#ifndef OUTLAST_REPLAY
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
    outlast::fuzz::decode_one(input, size);
    return 0;
}
#endif
