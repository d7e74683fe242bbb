// Inputs that get far into the decoder: blocks that an encoder made, and blocks with tables,
// codings and symbols that no encoder would choose. Half of them are then damaged a little.
#include "input.hpp"
#include "plane.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace outlast::fuzz {
namespace {

using Bytes = std::vector<u8>;

struct Random {
    u64 state;
    u32 next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<u32>(state >> 33);
    }
    u32 below(u32 limit) { return next() % limit; }
    bool one_in(u32 many) { return below(many) == 0; }
    u8 byte() { return static_cast<u8>(next()); }
};

// A few symbols, more of the first ones.
struct Alphabet {
    u8 of[256];
    u32 size;

    Alphabet(Random& r, u32 limit) {
        static constexpr u32 SIZES[] = {2, 3, 5, 16, 40, 64, 65, 100, 256};
        size = std::min(SIZES[r.below(9)], limit);
        const u32 first = r.one_in(3) ? 0 : r.below(limit - size + 1);
        for (u32 i = 0; i < size; i++) of[i] = static_cast<u8>(first + i);
        for (u32 i = size; i-- > 1;) std::swap(of[i], of[r.below(i + 1)]);
    }
    u8 pick(Random& r) const { return of[r.below(r.below(size) + 1)]; }
};

Bytes symbols(Random& r, std::size_t count, u32 limit) {
    Bytes made(count);
    if (r.one_in(5)) {
        std::fill(made.begin(), made.end(), static_cast<u8>(r.below(limit)));
        return made;
    }
    const Alphabet alphabet(r, limit);
    for (u8& symbol : made) symbol = alphabet.pick(r);
    return made;
}

// ---------------------------------------------------------------- planes

// States of 0 take a word each at every step: the words end as early as they can.
void make_greedy(Random& r, std::size_t header, u32 lanes, Bytes& to) {
    const u32 words = r.below(3 * lanes);
    store<u32>(to.data() + header, words);
    std::memset(to.data() + header + 4, 0, 4 * lanes);
    to.resize(header + 4 + 4 * lanes + 2 * words);
}

void put_coded(Random& r, const Bytes& plane, Bytes& to) {
    u32 counts[SYMBOLS] = {};
    for (const u8 symbol : plane) counts[symbol]++;
    counts[r.below(SYMBOLS)]++;  // a symbol that does not occur, and never a table of one
    counts[(plane[0] + 1 + r.below(SYMBOLS - 1)) % SYMBOLS]++;
    for (u32& each : counts)
        if (each && r.one_in(2)) each *= 1 + r.below(1000);
    Frequencies frequencies;
    normalise(counts, frequencies);
    u8 table[2 + 384];
    to.push_back(static_cast<u8>(Coding::rans));
    to.insert(to.end(), table, write(frequencies, table));
    EncodeTable encode_table = {};
    fill(encode_table, frequencies);
    Bytes room(2 * plane.size() + SLACK);
    Encoder encoder;
    encoder.lanes = lanes_for(plane.size());
    std::fill_n(encoder.states, encoder.lanes, STATE_LOW);
    u8* const end = room.data() + room.size();
    encoder.words = end;
    encoder.table = &encode_table;
    portable.encode(encoder, plane.data(), plane.size());
    const std::size_t at = to.size();
    to.resize(at + coded_header(plane.size()));
    store<u32>(to.data() + at, static_cast<u32>((end - encoder.words) / 2));
    std::memcpy(to.data() + at + 4, encoder.states, 4 * encoder.lanes);
    to.insert(to.end(), encoder.words, end);
    if (r.one_in(12)) make_greedy(r, at, encoder.lanes, to);
}

void put_plane(Random& r, const Bytes& plane, bool whole, Bytes& to) {
    const bool constant = std::count(plane.begin(), plane.end(), plane[0]) ==
                          static_cast<std::ptrdiff_t>(plane.size());
    if (constant && !r.one_in(4)) {
        to.push_back(static_cast<u8>(Coding::constant));
        to.push_back(plane[0]);
    } else if (whole && r.one_in(4)) {
        to.push_back(static_cast<u8>(Coding::raw));
        to.insert(to.end(), plane.begin(), plane.end());
    } else {
        put_coded(r, plane, to);
    }
}

void put_planes(Random& r, Kind kind, std::size_t count, Bytes& to) {
    const Layout& shape = layout(kind);
    for (u32 p = 0; p < shape.plane_count; p++) {
        const Plane& plane = shape.planes[p];
        const u32 limit = plane.whole || r.one_in(4) ? 256 : plane.run ? 16 : 64;
        put_plane(r, symbols(r, plane.per_element * count, limit), plane.whole, to);
    }
}

void put_parts(Random& r, const Bytes& plane, const Bytes& contexts, Bytes& to) {
    if (contexts.empty() || r.one_in(4)) return put_plane(r, plane, true, to);
    Bytes parts[MAX_CONTEXTS];
    for (std::size_t i = 0; i < plane.size(); i++) parts[contexts[i]].push_back(plane[i]);
    to.push_back(static_cast<u8>(Coding::parts));
    for (const Bytes& part : parts)
        if (!part.empty()) put_plane(r, part, true, to);
}

void put_difference(Random& r, Kind kind, const Bytes& base, Bytes& to) {
    const Layout& shape = layout(kind);
    const std::size_t count = base.size() / shape.element;
    const u32 top = r.one_in(2) ? r.byte() : base[shape.element - 1] << 1 & 255;
    Bytes contexts(count);
    portable.contexts(kind, base.data(), count, top, contexts.data());
    to.push_back(static_cast<u8>(top));
    const bool sixteen = kind == Kind::bf16 || kind == Kind::f16;
    std::size_t far = 0;
    for (u32 p = 0; p < (sixteen ? 1 : shape.difference_planes); p++) {
        Bytes plane = symbols(r, count, 256);
        if (sixteen && r.one_in(2)) plane[r.below(static_cast<u32>(count))] = 255;
        if (sixteen) far = static_cast<std::size_t>(std::count(plane.begin(), plane.end(), 255));
        put_parts(r, plane, kind == Kind::f32 && p == 3 ? Bytes() : contexts, to);
    }
    if (!sixteen) return;
    to.resize(to.size() + 4);
    store<u32>(to.data() + to.size() - 4, static_cast<u32>(far));
    for (u32 p = 0; far && p < 2; p++) put_plane(r, symbols(r, far, 256), true, to);
}

// ---------------------------------------------------------------- blocks

Tag put_group(Random& r, Kind kind, std::size_t count, const Bytes& base, Bytes& to) {
    const Layout& shape = layout(kind);
    if (!base.empty() && r.one_in(5)) return Tag::same;
    if (!base.empty() && shape.difference_planes && !r.one_in(4)) {
        put_difference(r, kind, base, to);
        return Tag::difference;
    }
    if (r.one_in(6)) {
        const Bytes stored = symbols(r, count * shape.element, 256);
        to.insert(to.end(), stored.begin(), stored.end());
        return Tag::stored;
    }
    put_planes(r, kind, count, to);
    return Tag::planes;
}

Tag put_leaves(Random& r, Kind kind, std::size_t count, const Bytes& base, Bytes& to) {
    const Layout& shape = layout(kind);
    const std::size_t leaves = (count + shape.leaf - 1) / shape.leaf;
    Bytes marks((leaves + 7) / 8);
    for (std::size_t i = 0; i < leaves; i++)
        if (r.one_in(2) || !i) marks[i / 8] |= static_cast<u8>(1 << i % 8);
    if (leaves > 1) marks[0] &= static_cast<u8>(~2);
    Bytes groups[2];
    u8 tags[2];
    for (u32 g = 0; g < 2; g++) {
        std::size_t inside = 0;
        Bytes bases;
        for (std::size_t i = 0; i < leaves; i++) {
            if ((marks[i / 8] >> i % 8 & 1) != g) continue;
            const std::size_t first = i * shape.leaf, end = std::min(count, first + shape.leaf);
            inside += end - first;
            if (base.empty()) continue;
            bases.insert(bases.end(),
                          base.begin() + static_cast<std::ptrdiff_t>(first * shape.element),
                          base.begin() + static_cast<std::ptrdiff_t>(end * shape.element));
        }
        tags[g] = inside ? static_cast<u8>(put_group(r, kind, inside, bases, groups[g])) : 0;
    }
    to.insert(to.end(), tags, tags + 2);
    to.resize(to.size() + 4);
    store<u32>(to.data() + to.size() - 4, static_cast<u32>(groups[0].size()));
    to.insert(to.end(), marks.begin(), marks.end());
    for (const Bytes& group : groups) to.insert(to.end(), group.begin(), group.end());
    return Tag::leaves;
}

// Halves and minima of such a size that the scales 7 to 10 have all contexts.
void centre(Kind kind, Bytes* planes) {
    const u32 scale = 0x2000, minimum = scale + (kind == Kind::q4_k ? 2977 : 4048);
    const u32 values[] = {scale >> 8, scale & 255, minimum >> 8, minimum & 255, 0, 8};
    for (const u32 p : {0, 1, 2, 3, 5})
        std::fill(planes[p].begin(), planes[p].end(), static_cast<u8>(values[p]));
}

// Quantised weights that hang on their scale so much that the encoder puts them in parts.
Bytes leveled(Random& r, Kind kind, std::size_t count) {
    const Layout& shape = layout(kind);
    const u32 last = shape.plane_count - 1;
    const Plane& weights = shape.planes[last];
    Bytes planes[MAX_PLANES];
    const u8* from[MAX_PLANES];
    for (u32 p = 0; p <= last; p++) {
        planes[p] = symbols(r, shape.planes[p].per_element * count, p == last ? 16 : 256);
        from[p] = planes[p].data();
    }
    const bool minima = kind == Kind::q4_k || kind == Kind::q5_k;
    const u32 levels = kind == Kind::q6_k ? 2 : minima ? 4 : 0;
    if (minima) centre(kind, planes);
    const u32 noisy = r.below(4);
    for (std::size_t run = 0; run < planes[levels].size(); run++) {
        const u32 level = planes[levels][run] % 4;
        planes[levels][run] =
            static_cast<u8>(minima ? 7 + level : level * (levels ? 32 : 2) + 1);
        if (level == noisy) continue;
        std::fill_n(planes[last].begin() + static_cast<std::ptrdiff_t>(run * weights.run),
                    weights.run, static_cast<u8>(level));
    }
    Bytes data(count * shape.element);
    portable.merge(kind, from, count, data.data());
    return data;
}

// What the encoder makes of data that is like its base, or like itself.
Tag put_encoded(Random& r, Kind kind, std::size_t count, const Bytes& base, Bytes& to) {
    const u32 element = layout(kind).element;
    Bytes data = base;
    if (layout(kind).planes[layout(kind).plane_count - 1].run && r.one_in(2)) {
        data = leveled(r, kind, count);
    } else if (base.empty()) {
        data.resize(count * element);
        const Bytes tops = symbols(r, count, 256);
        const bool noisy = r.one_in(2);
        for (std::size_t i = 0; i < data.size(); i++)
            data[i] = i % element == element - 1 ? tops[i / element] : noisy ? r.byte() : 0;
    } else {
        const u32 rare = 1 + r.below(r.one_in(2) ? 4 : 400);
        for (std::size_t i = 0; i < data.size(); i += element)
            if (r.one_in(rare)) data[i + r.below(r.one_in(20) ? element : 1)] ^= r.byte() & 7;
    }
    Workspace space;
    to.resize(data.size());
    const Source source = {kind, data.data(), base.empty() ? nullptr : base.data(), count};
    const Encoded made = encode_block(portable, space, source, to.data());
    to.resize(made.length);
    return made.tag;
}

u32 some_count(Random& r, Kind kind) {
    const u32 small = layout(kind).element > 64 ? 20 : 300;
    if (r.one_in(40)) return 32768 + r.below(300);
    if (r.one_in(10)) return 1 + r.below(layout(kind).element > 8 ? 300 : 6000);
    return 1 + r.below(small);
}

Bytes forge(Random& r) {
    const u32 index = r.below(KIND_COUNT);
    const Kind kind = KINDS[index];
    const Layout& shape = layout(kind);
    const std::size_t count = std::min(some_count(r, kind), shape.per_block);
    const bool with_base = !r.one_in(3) && (shape.difference_planes || r.one_in(3));
    const u32 tile = with_base ? 1 + r.below(shape.element > 64 ? 8 : 255) : 0;
    const Bytes pattern = symbols(r, tile * shape.element, 256);
    Bytes base(with_base ? count * shape.element : 0);
    for (std::size_t i = 0; i < base.size(); i++) base[i] = pattern[i % pattern.size()];
    Bytes payload;
    Tag tag;
    switch (r.below(4)) {
        case 0: tag = put_encoded(r, kind, count, base, payload); break;
        case 1: tag = put_leaves(r, kind, count, base, payload); break;
        default: tag = put_group(r, kind, count, base, payload); break;
    }
    const u32 wanted = static_cast<u32>(count - 1);
    Bytes made = {static_cast<u8>(index), static_cast<u8>(tag),
                  static_cast<u8>((with_base ? WITH_BASE : 0) | (r.one_in(4) ? DIRTY : 0)),
                  static_cast<u8>(tile), static_cast<u8>(wanted), static_cast<u8>(wanted >> 8)};
    made.insert(made.end(), pattern.begin(), pattern.end());
    made.insert(made.end(), payload.begin(), payload.end());
    return made;
}

// ---------------------------------------------------------------- damage

// Moves a little from one frequency to another, so that they still add up.
void shift_frequency(Random& r, u8* data, std::size_t size) {
    for (std::size_t at = HEADER; at + 6 < size; at++) {
        if (data[at] != static_cast<u8>(Coding::rans) || data[at + 1] >= data[at + 2]) continue;
        if (r.one_in(2)) continue;
        u8* pair = data + at + 3;
        if (std::size_t pairs = (data[at + 2] - data[at + 1]) / 2u; pairs > 1)
            pair += 3 * r.below(static_cast<u32>(std::min(pairs, (size - at - 6) / 3 + 1)));
        const u32 low = pair[0] | (pair[1] & 15) << 8, high = pair[1] >> 4 | pair[2] << 4;
        if (!low) continue;
        const u32 moved = 1 + r.below(low), first = low - moved, second = (high + moved) & 0xfff;
        pair[0] = static_cast<u8>(first);
        pair[1] = static_cast<u8>(first >> 8 | second << 4);
        pair[2] = static_cast<u8>(second >> 4);
        return;
    }
}

void blank(Random& r, u8* data, std::size_t size) {
    const u32 left = static_cast<u32>(size - HEADER), at = r.below(left + 1);
    const u32 most = std::min(left - at, r.one_in(2) ? 4 * MAX_LANES : 64);
    std::memset(data + HEADER + at, r.one_in(4) ? 255 : 0, r.below(most + 1));
}

std::size_t damage(Random& r, u8* data, std::size_t size) {
    switch (r.below(5)) {
        case 0: shift_frequency(r, data, size); return size;
        case 1: return HEADER + r.below(static_cast<u32>(size - HEADER + 1));
        case 2: blank(r, data, size); return size;
        default:
            for (u32 left = 1 + r.below(3); left; left--) {
                const u32 range =
                    static_cast<u32>(r.one_in(2) ? size : std::min<std::size_t>(size, 48));
                u8& byte = data[r.below(range)];
                byte = static_cast<u8>(r.one_in(2) ? byte ^ 1 << r.below(8) : r.byte());
            }
            return size;
    }
}

}  // namespace
}  // namespace outlast::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
    using namespace outlast::fuzz;
    Random r{seed};
    r.next();
    if (r.one_in(3)) {
        const Bytes made = forge(r);
        if (made.size() > most) return LLVMFuzzerMutate(data, size, most);
        std::copy(made.begin(), made.end(), data);
        return r.one_in(2) ? made.size() : damage(r, data, made.size());
    }
    if (size <= HEADER || r.one_in(2)) return LLVMFuzzerMutate(data, size, most);
    return damage(r, data, size);
}
