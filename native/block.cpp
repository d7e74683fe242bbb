#include "block.hpp"

#include <algorithm>

#include "plane.hpp"
#include "ulps.hpp"

namespace outlast {
namespace {

constexpr u32 WEIGHTS = 1u << 18, QUANTISED = 1u << 20, LEAF = 128;
constexpr u32 QUANTISED_CONTEXTS = 4;
constexpr std::size_t CHUNK = 4096;  // symbols that are merged at once, so that they stay in L1

// The most significant byte first; floats have noise in all others.
constexpr Layout words(u32 width, u32 differences) {
    Layout made = {width, LEAF, WEIGHTS, width, {}, differences};
    for (u32 p = 0; p < width; p++) made.planes[p] = {1, true, differences && p, 0};
    return made;
}

// Scales first: the contexts of the last plane come from them.
constexpr Layout quantised(u32 element, u32 weights, u32 halves, Plane small, u32 small_count,
                           bool whole, u32 run) {
    Layout made = {element, std::max(1u, LEAF / weights), QUANTISED / weights, 0, {}, 0};
    for (u32 p = 0; p < halves; p++) made.planes[made.plane_count++] = {1, true, false, 0};
    for (u32 p = 0; p < small_count; p++) made.planes[made.plane_count++] = small;
    made.planes[made.plane_count++] = {weights, whole, false, run};
    return made;
}

constexpr Plane NONE = {0, false, false, 0}, SIX_BITS = {8, false, false, 0};
constexpr Plane SCALES = {16, true, false, 0};
constexpr Layout BYTES = words(1, 0), FLOAT8 = words(1, 1), FLOAT16 = words(2, 3);
constexpr Layout FLOAT32 = words(4, 4), WORDS16 = words(2, 0), WORDS32 = words(4, 0);
constexpr Layout WORDS64 = words(8, 0);
constexpr Layout Q8_0 = quantised(34, 32, 2, NONE, 0, true, 32);
constexpr Layout Q4_0 = quantised(18, 32, 2, NONE, 0, false, 32);
constexpr Layout Q4_1 = quantised(20, 32, 4, NONE, 0, false, 32);
constexpr Layout Q5_0 = quantised(22, 32, 2, NONE, 0, false, 32);
constexpr Layout Q5_1 = quantised(24, 32, 4, NONE, 0, false, 32);
constexpr Layout Q4_K = quantised(144, 256, 4, SIX_BITS, 2, false, 32);
constexpr Layout Q5_K = quantised(176, 256, 4, SIX_BITS, 2, false, 32);
constexpr Layout Q6_K = quantised(210, 256, 2, SCALES, 1, false, 16);

// ---------------------------------------------------------------- contexts of quantised weights

// How a block's scale compares with those around it: fp16 bits grow like the logarithm.
void contexts_by_scale(const u8* high, const u8* low, std::size_t count, u8* to) {
    constexpr std::size_t WINDOW = 16;
    for (std::size_t begin = 0; begin < count; begin += WINDOW) {
        const std::size_t end = std::min(count, begin + WINDOW);
        i32 sum = 0;
        for (std::size_t b = begin; b < end; b++) sum += (high[b] & 0x7f) << 8 | low[b];
        const i32 mean = sum / static_cast<i32>(end - begin);
        for (std::size_t b = begin; b < end; b++) {
            const i32 bits = (high[b] & 0x7f) << 8 | low[b];
            to[b] = static_cast<u8>(std::clamp((bits - mean + 256) >> 7, 0, 3));
        }
    }
}

// 1024 times the logarithm of 1 to 63, as straight between powers of two as fp16 bits are.
i32 logarithm(u32 value) {
    i32 whole = 0;
    while (value >> (whole + 1)) whole++;
    return (whole << 10) + static_cast<i32>((value << 10) >> whole) - 1024;
}

// Where in its range a sub-block has its zero: minimum over scale.
void contexts_by_zero(const u8* const* planes, std::size_t count, i32 centre, u8* to) {
    for (std::size_t b = 0; b < count; b++) {
        const i32 scale = (planes[0][b] & 0x7f) << 8 | planes[1][b];
        const i32 minimum = (planes[2][b] & 0x7f) << 8 | planes[3][b];
        for (u32 j = 0; j < 8; j++) {
            const u32 s = planes[4][8 * b + j] & 63, m = planes[5][8 * b + j] & 63;
            i32 context = 0;
            if (s && m) {
                const i32 zero = minimum - scale + logarithm(m) - logarithm(s);
                context = std::clamp((zero - centre + 256) >> 7, 0, 3);
            }
            *to++ = static_cast<u8>(context);
        }
    }
}

void contexts_by_magnitude(const u8* scales, std::size_t count, u8* to) {
    for (std::size_t i = 0; i < count; i++) {
        const i32 scale = static_cast<std::int8_t>(scales[i]);
        to[i] = static_cast<u8>(std::min(3, (scale < 0 ? -scale : scale) >> 5));
    }
}

// A context for each run of the last plane.
Contexts quantised_contexts(Workspace& space, const Source& source, const u8* const* planes,
                            u32 run) {
    const std::size_t count = source.count;
    u8* to = reserve(space.contexts, 16 * count);
    switch (source.kind) {
        case Kind::q4_k: contexts_by_zero(planes, count, 2977, to); break;
        case Kind::q5_k: contexts_by_zero(planes, count, 4048, to); break;
        case Kind::q6_k: contexts_by_magnitude(planes[2], 16 * count, to); break;
        default: contexts_by_scale(planes[0], planes[1], count, to); break;
    }
    return {to, QUANTISED_CONTEXTS, run};
}

// ---------------------------------------------------------------- planes

u8* encode_planes(const Path& path, Workspace& space, const Source& source, u8* to) {
    const Layout& shape = layout(source.kind);
    std::size_t total = 0;
    for (u32 p = 0; p < shape.plane_count; p++) total += shape.planes[p].per_element;
    u8* at = reserve(space.planes, total * source.count);
    u8* planes[MAX_PLANES];
    for (u32 p = 0; p < shape.plane_count; p++) {
        planes[p] = at;
        at += shape.planes[p].per_element * source.count;
    }
    path.split(source.kind, source.data, source.count, planes);
    for (u32 p = 0; p < shape.plane_count; p++) {
        const Plane& plane = shape.planes[p];
        Symbols symbols = {planes[p], plane.per_element * source.count, plane.whole, plane.noisy,
                           {}};
        if (plane.run)
            symbols.contexts = quantised_contexts(space, source, planes, plane.run);
        to = encode_plane(path, space, symbols, to);
    }
    return to;
}

void decode_words(const Path& path, Workspace& space, const u8* from, const u8* end,
                  const Source& source, u8* to) {
    const Layout& shape = layout(source.kind);
    PlaneReader readers[MAX_PLANES];
    for (u32 p = 0; p < shape.plane_count; p++)
        from = readers[p].open(space, p, from, end, source.count, true);
    if (from != end) throw Damaged("a block has bytes left");
    u8* room = reserve(space.planes, shape.plane_count * CHUNK);
    for (std::size_t begin = 0; begin < source.count; begin += CHUNK) {
        const std::size_t now = std::min(CHUNK, source.count - begin);
        const u8* planes[MAX_PLANES];
        for (u32 p = 0; p < shape.plane_count; p++)
            planes[p] = readers[p].next(path, now, room + p * CHUNK);
        path.merge(source.kind, planes, now, to + shape.element * begin);
    }
    for (u32 p = 0; p < shape.plane_count; p++) readers[p].close();
}

// The planes before the last are small, and contexts need several of them: they are decoded whole.
void decode_quantised(const Path& path, Workspace& space, const u8* from, const u8* end,
                      const Source& source, u8* to) {
    const Layout& shape = layout(source.kind);
    const u32 last = shape.plane_count - 1;
    std::size_t small = 0;
    for (u32 p = 0; p < last; p++) small += shape.planes[p].per_element * source.count;
    u8* room = reserve(space.planes, small + CHUNK);
    const u8* planes[MAX_PLANES];
    for (u32 p = 0; p < last; p++) {
        const std::size_t count = shape.planes[p].per_element * source.count;
        PlaneReader reader;
        from = reader.open(space, p, from, end, count, shape.planes[p].whole);
        planes[p] = reader.next(path, count, room);
        reader.close();
        room += count;
    }
    const Plane& weights = shape.planes[last];
    Contexts contexts = quantised_contexts(space, source, planes, weights.run);
    const std::size_t count = weights.per_element * source.count;
    ContextReader reader;
    from = reader.open(path, space, last, from, end, count, weights.whole, contexts,
                       reserve(space.parts, count + MAX_CONTEXTS * SLACK));
    if (from != end) throw Damaged("a block has bytes left");
    const std::size_t step = CHUNK / weights.per_element;
    for (std::size_t begin = 0; begin < source.count; begin += step) {
        const std::size_t now = std::min(step, source.count - begin);
        planes[last] = reader.next(path, contexts, weights.per_element * now, room);
        path.merge(source.kind, planes, now, to + shape.element * begin);
        for (u32 p = 0; p < last; p++) planes[p] += shape.planes[p].per_element * now;
        contexts.of += weights.per_element * now / weights.run;
    }
    reader.close();
}

void decode_planes(const Path& path, Workspace& space, const u8* from, const u8* end,
                   const Source& source, u8* to) {
    const Layout& shape = layout(source.kind);
    const bool quantised = shape.planes[shape.plane_count - 1].run != 0;
    (quantised ? decode_quantised : decode_words)(path, space, from, end, source, to);
}

// ---------------------------------------------------------------- differences

bool sixteen(Kind kind) { return kind == Kind::bf16 || kind == Kind::f16; }

// The lowest byte of a difference of fp32 knows nothing of the base's exponent.
bool contextual(Kind kind, u32 plane) { return kind != Kind::f32 || plane != 3; }

// The largest exponent that at least 1/64 of the base's weights reach.
u32 top_exponent(Kind kind, const u8* base, std::size_t count) {
    u32 counts[SYMBOLS] = {};
    for (std::size_t i = 0; i < count; i++) switch (kind) {
            case Kind::bf16: counts[load<u16>(base + 2 * i) >> 7 & 255]++; break;
            case Kind::f16: counts[load<u16>(base + 2 * i) >> 10 & 31]++; break;
            case Kind::f32: counts[load<u32>(base + 4 * i) >> 23 & 255]++; break;
            case Kind::f8_e4m3: counts[base[i] >> 3 & 15]++; break;
            default: counts[base[i] >> 2 & 31]++; break;
        }
    u32 top = SYMBOLS - 1;
    for (std::size_t reached = counts[top]; reached * 64 < count; reached += counts[top]) top--;
    return top;
}

u8* encode_difference(const Path& path, Workspace& space, const Source& source, u8* to) {
    const Layout& shape = layout(source.kind);
    const std::size_t count = source.count;
    u8* room = reserve(space.planes, shape.difference_planes * count);
    u8* planes[MAX_PLANES];
    for (u32 p = 0; p < shape.difference_planes; p++) planes[p] = room + p * count;
    path.difference(source.kind, source.data, source.base, count, planes);
    const u32 top = top_exponent(source.kind, source.base, count);
    u8* contexts = reserve(space.contexts, count);
    path.contexts(source.kind, source.base, count, top, contexts);
    *to++ = static_cast<u8>(top);
    const u32 coded = sixteen(source.kind) ? 1 : shape.difference_planes;
    for (u32 p = 0; p < coded; p++) {
        Symbols symbols = {planes[p], count, true, false, {}};
        if (contextual(source.kind, p)) symbols.contexts = {contexts, MAX_CONTEXTS, 1};
        to = encode_plane(path, space, symbols, to);
    }
    if (!sixteen(source.kind)) return to;
    std::size_t far = 0;
    for (std::size_t i = 0; i < count; i++)
        if (planes[0][i] == 255) {
            planes[1][far] = planes[1][i];
            planes[2][far++] = planes[2][i];
        }
    store<u32>(to, static_cast<u32>(far));
    to += 4;
    for (u32 p = 1; far && p < 3; p++)
        to = encode_plane(path, space, {planes[p], far, true, false, {}}, to);
    return to;
}

struct Far {
    const u8 *high = nullptr, *low = nullptr;
    std::size_t left = 0;
};

const u8* open_far(const Path& path, Workspace& space, const u8* from, const u8* end,
                   std::size_t count, Far& far) {
    if (end - from < 4) throw Damaged("a difference is cut short");
    far.left = load<u32>(from);
    from += 4;
    if (far.left > count) throw Damaged("a difference has too many large ones");
    if (!far.left) return from;
    u8* room = reserve(space.planes, 2 * far.left + 4 * CHUNK) + 4 * CHUNK;
    for (u32 p = 0; p < 2; p++) {
        PlaneReader reader;
        from = reader.open(space, MAX_PLANES, from, end, far.left, true);
        const u8* plane = reader.next(path, far.left, room + p * far.left);
        reader.close();
        (p ? far.low : far.high) = plane;
    }
    return from;
}

void mend_far(Far& far, const u8* small, const u8* base, std::size_t count, u8* to) {
    for (std::size_t i = 0; i < count; i++) {
        const void* found = std::memchr(small + i, 255, count - i);
        if (!found) return;
        i = static_cast<std::size_t>(static_cast<const u8*>(found) - small);
        if (!far.left--) throw Damaged("a difference has too few large ones");
        const u8 high = *far.high++, low = *far.low++;
        const u16 z = static_cast<u16>(high << 8 | low);
        store<u16>(to + 2 * i, apply(z, load<u16>(base + 2 * i)));
    }
}

void decode_difference(const Path& path, Workspace& space, const u8* from, const u8* end,
                       const Source& shape_of, u8* to) {
    const Layout& shape = layout(shape_of.kind);
    const std::size_t count = shape_of.count;
    if (from == end) throw Damaged("a difference is cut short");
    const u32 top = *from++;
    const bool small = sixteen(shape_of.kind);
    const u32 coded = small ? 1 : shape.difference_planes;
    u8* all = reserve(space.contexts, count);
    path.contexts(shape_of.kind, shape_of.base, count, top, all);
    const std::size_t part = count + MAX_CONTEXTS * SLACK;
    u8* parts = reserve(space.parts, coded * part);
    ContextReader readers[4];
    Contexts contexts[4];
    for (u32 p = 0; p < coded; p++) {
        if (contextual(shape_of.kind, p)) contexts[p] = {all, MAX_CONTEXTS, 1};
        from = readers[p].open(path, space, p, from, end, count, true, contexts[p],
                               parts + p * part);
    }
    Far far;
    if (small) from = open_far(path, space, from, end, count, far);
    if (from != end) throw Damaged("a block has bytes left");
    u8* rooms = reserve(space.planes, 4 * CHUNK);
    for (std::size_t begin = 0; begin < count; begin += CHUNK) {
        const std::size_t now = std::min(CHUNK, count - begin);
        const u8* base = shape_of.base + shape.element * begin;
        u8* out = to + shape.element * begin;
        const u8* planes[4];
        for (u32 p = 0; p < coded; p++) {
            planes[p] = readers[p].next(path, contexts[p], now, rooms + p * CHUNK);
            contexts[p].of += contexts[p].of ? now : 0;
        }
        path.restore(shape_of.kind, planes, base, now, out);
        if (small) mend_far(far, planes[0], base, now, out);
    }
    if (far.left) throw Damaged("a difference has too many large ones");
    for (u32 p = 0; p < coded; p++) readers[p].close();
}

// ---------------------------------------------------------------- one group of elements

// The smallest form of a group that is not split; `to` has room for any of them.
Encoded encode_group(const Path& path, Workspace& space, const Source& source, u8* to) {
    const Layout& shape = layout(source.kind);
    const std::size_t raw = shape.element * source.count;
    Encoded best = {Tag::stored, raw};
    if (source.base && shape.difference_planes) {
        u8* end = encode_difference(path, space, source, to);
        best = {Tag::difference, static_cast<std::size_t>(end - to)};
    }
    if (best.tag == Tag::stored || best.length > raw / 2) {
        u8* second = to + (best.tag == Tag::stored ? 0 : best.length);
        u8* end = encode_planes(path, space, source, second);
        const std::size_t length = static_cast<std::size_t>(end - second);
        if (best.tag == Tag::stored || length < best.length) {
            best = {Tag::planes, length};
            std::memmove(to, second, length);
        }
    }
    if (!pays(best.length, raw)) {
        std::memcpy(to, source.data, raw);
        best = {Tag::stored, raw};
    }
    return best;
}

void decode_group(const Path& path, Workspace& space, Tag tag, const u8* payload,
                  std::size_t length, const Source& shape, u8* to) {
    const std::size_t raw = layout(shape.kind).element * shape.count;
    const u8* end = payload + length;
    if ((tag == Tag::same || tag == Tag::difference) && !shape.base)
        throw Damaged("a block needs a base that it does not have");
    switch (tag) {
        case Tag::stored:
            if (length != raw) throw Damaged("a stored block has a wrong length");
            std::memcpy(to, payload, raw);
            return;
        case Tag::planes: return decode_planes(path, space, payload, end, shape, to);
        case Tag::same:
            if (length) throw Damaged("a block that is its base has bytes");
            std::memcpy(to, shape.base, raw);
            return;
        case Tag::difference:
            if (!layout(shape.kind).difference_planes)
                throw Damaged("a difference of what has none");
            return decode_difference(path, space, payload, end, shape, to);
        default: throw Damaged("an unknown form of a block");
    }
}

// ---------------------------------------------------------------- two groups of leaves

struct Leaves {
    std::size_t count, bytes, total;  // of leaves; in a whole leaf; in the block

    explicit Leaves(const Source& source) {
        const Layout& shape = layout(source.kind);
        count = (source.count + shape.leaf - 1) / shape.leaf;
        bytes = std::size_t{shape.leaf} * shape.element;
        total = source.count * shape.element;
    }
    std::size_t size(std::size_t leaf) const { return std::min(bytes, total - leaf * bytes); }
};

bool marked(const u8* marks, std::size_t leaf) { return marks[leaf / 8] >> (leaf % 8) & 1; }

bool low_bytes_zero(const u8* data, std::size_t size) {
    u32 seen = 0;
    for (std::size_t i = 0; i < size; i += 4) seen |= data[i];
    return !seen;
}

// Marks leaves that are as in the base, or of fp32 those that have no lowest byte. Returns how
// many there are.
std::size_t mark(const Source& source, const Leaves& leaves, u8* marks) {
    std::memset(marks, 0, (leaves.count + 7) / 8);
    if (!source.base && source.kind != Kind::f32) return 0;
    std::size_t found = 0;
    for (std::size_t i = 0; i < leaves.count; i++) {
        const std::size_t at = i * leaves.bytes, size = leaves.size(i);
        const bool yes = source.base
                             ? !std::memcmp(source.data + at, source.base + at, size)
                             : low_bytes_zero(source.data + at, size);
        if (!yes) continue;
        marks[i / 8] |= static_cast<u8>(1 << (i % 8));
        found++;
    }
    return found;
}

// Calls run(offset, size) for each run of neighbouring leaves with this mark, in bytes.
template <typename Run>
void for_runs(const Leaves& leaves, const u8* marks, bool which, Run run) {
    for (std::size_t i = 0; i < leaves.count;) {
        if (marked(marks, i) != which) {
            i++;
            continue;
        }
        const std::size_t begin = i * leaves.bytes;
        while (i < leaves.count && marked(marks, i) == which) i++;
        run(begin, std::min(leaves.total, i * leaves.bytes) - begin);
    }
}

// Copies the leaves with this mark out of `from`, one after another; returns their bytes.
std::size_t collect(const Leaves& leaves, const u8* marks, bool which, const u8* from, u8* to) {
    std::size_t length = 0;
    for_runs(leaves, marks, which, [&](std::size_t at, std::size_t size) {
        std::memcpy(to + length, from + at, size);
        length += size;
    });
    return length;
}

void spread(const Leaves& leaves, const u8* marks, bool which, const u8* from, u8* to) {
    for_runs(leaves, marks, which, [&](std::size_t at, std::size_t size) {
        std::memcpy(to + at, from, size);
        from += size;
    });
}

constexpr std::size_t LEAVES_HEADER = 6;

Encoded encode_leaves(const Path& path, Workspace& space, const Source& source,
                      const Leaves& leaves, u8* to) {
    const u8* marks = space.marks.data();
    const std::size_t map = (leaves.count + 7) / 8;
    const Layout& shape = layout(source.kind);
    std::memcpy(to + LEAVES_HEADER, marks, map);
    u8* at = to + LEAVES_HEADER + map;
    u8* room = reserve(space.groups, 2 * leaves.total);
    for (u32 group = 0; group < 2; group++) {
        Encoded encoded = {Tag::same, 0};
        if (!source.base || !group) {
            const std::size_t size = collect(leaves, marks, group, source.data, room);
            if (source.base) collect(leaves, marks, group, source.base, room + leaves.total);
            encoded = encode_group(path, space,
                                   {source.kind, room, source.base ? room + leaves.total : nullptr,
                                    size / shape.element}, at);
        }
        to[group] = static_cast<u8>(encoded.tag);
        if (!group) store<u32>(to + 2, static_cast<u32>(encoded.length));
        at += encoded.length;
    }
    return {Tag::leaves, static_cast<std::size_t>(at - to)};
}

void decode_leaves(const Path& path, Workspace& space, const u8* payload, std::size_t length,
                   const Source& shape_of, u8* to) {
    const Leaves leaves(shape_of);
    const std::size_t map = (leaves.count + 7) / 8;
    if (length < LEAVES_HEADER + map) throw Damaged("a map of leaves is cut short");
    const u8* marks = payload + LEAVES_HEADER;
    const std::size_t first = load<u32>(payload + 2), rest = length - LEAVES_HEADER - map;
    if (first > rest) throw Damaged("a group of leaves is cut short");
    if (leaves.count % 8 && marks[map - 1] >> (leaves.count % 8))
        throw Damaged("a map of leaves has stray bits");
    const std::size_t lengths[2] = {first, rest - first};
    const u8* at = marks + map;
    u8* room = reserve(space.groups, 2 * leaves.total);
    for (u32 group = 0; group < 2; group++) {
        std::size_t size = 0;
        for_runs(leaves, marks, group, [&](std::size_t, std::size_t run) { size += run; });
        if (!size) throw Damaged("a group of leaves is empty");
        if (static_cast<Tag>(payload[group]) == Tag::same && shape_of.base && !lengths[group]) {
            for_runs(leaves, marks, group, [&](std::size_t begin, std::size_t run) {
                std::memcpy(to + begin, shape_of.base + begin, run);
            });
            continue;
        }
        if (shape_of.base) collect(leaves, marks, group, shape_of.base, room + leaves.total);
        decode_group(path, space, static_cast<Tag>(payload[group]), at, lengths[group],
                     {shape_of.kind, nullptr, shape_of.base ? room + leaves.total : nullptr,
                      size / layout(shape_of.kind).element}, room);
        spread(leaves, marks, group, room, to);
        at += lengths[group];
    }
}

}  // namespace

const Layout& layout(Kind kind) {
    switch (kind) {
        case Kind::bytes: return BYTES;
        case Kind::bf16:
        case Kind::f16: return FLOAT16;
        case Kind::f32: return FLOAT32;
        case Kind::f8_e4m3:
        case Kind::f8_e5m2: return FLOAT8;
        case Kind::words16: return WORDS16;
        case Kind::words32: return WORDS32;
        case Kind::words64: return WORDS64;
        case Kind::q8_0: return Q8_0;
        case Kind::q4_0: return Q4_0;
        case Kind::q4_1: return Q4_1;
        case Kind::q5_0: return Q5_0;
        case Kind::q5_1: return Q5_1;
        case Kind::q4_k: return Q4_K;
        case Kind::q5_k: return Q5_K;
        case Kind::q6_k: return Q6_K;
    }
    throw std::invalid_argument("an unknown kind of block");
}

Encoded encode_block(const Path& path, Workspace& space, const Source& source, u8* to) {
    const Leaves leaves(source);
    if (source.base && !std::memcmp(source.data, source.base, leaves.total)) return {Tag::same, 0};
    const std::size_t found = mark(source, leaves, reserve(space.marks, leaves.count / 8 + 1));
    // Two forms of a group may lie one after another before the smaller is chosen.
    u8* payload = reserve(space.payload, 8 * (leaves.total + (1 << 14)));
    const bool split = found && found < leaves.count &&
                       found * (source.base ? 8 : 64) >= leaves.count;
    Encoded encoded = split ? encode_leaves(path, space, source, leaves, payload)
                            : encode_group(path, space, source, payload);
    if (!pays(encoded.length, leaves.total)) encoded = {Tag::stored, leaves.total};
    std::memcpy(to, encoded.tag == Tag::stored ? source.data : payload, encoded.length);
    return encoded;
}

void decode_block(const Path& path, Workspace& space, Tag tag, const u8* payload,
                  std::size_t length, const Source& shape, u8* to) {
    space.decode_tables.resize((MAX_PLANES + 1) * PROBABILITIES);
    if (tag == Tag::leaves) return decode_leaves(path, space, payload, length, shape, to);
    decode_group(path, space, tag, payload, length, shape, to);
}

}  // namespace outlast
