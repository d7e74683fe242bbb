#include "plane.hpp"

#include <algorithm>

namespace outlast {
namespace {

struct Counts {
    u32 of[MAX_CONTEXTS][SYMBOLS] = {};
    u32 total[SYMBOLS] = {};
};

struct Choice {
    Frequencies frequencies[MAX_CONTEXTS];
    u32 tables = 1;
    u64 size = 0;  // estimated bytes of the plane
};

void count(const Path& path, const Symbols& symbols, Counts& counts) {
    if (!symbols.contexts) return path.histogram(symbols.data, symbols.count, counts.total);
    for (std::size_t i = 0; i < symbols.count; i++)
        counts.of[symbols.contexts[i]][symbols.data[i]]++;
    for (u32 c = 0; c < symbols.context_count; c++)
        for (u32 s = 0; s < SYMBOLS; s++) counts.total[s] += counts.of[c][s];
}

bool any(const u32* counts) {
    return std::any_of(counts, counts + SYMBOLS, [](u32 each) { return each != 0; });
}

void estimate(Choice& choice, const u32 (*counts)[SYMBOLS], u32 tables) {
    u64 bits = 0;
    choice.tables = tables;
    choice.size = 1 + CODED_HEADER;
    for (u32 t = 0; t < tables; t++) {
        Frequencies& f = choice.frequencies[t];
        if (any(counts[t])) {
            normalise(counts[t], f);
            bits += cost(counts[t], f);
        } else {  // no symbol: the table of a symbol 0 that is alone
            f = {};
            f.of[0] = PROBABILITIES;
        }
        choice.size += f.size();
    }
    choice.size += (bits + 8 * 256 - 1) / (8 * 256);
}

u8* write_coded(const Path& path, Workspace& space, const Symbols& symbols, const Choice& choice,
                u8* to) {
    const bool contexts = choice.tables > 1;
    *to++ = static_cast<u8>(contexts ? Coding::rans_in_contexts : Coding::rans);
    for (u32 t = 0; t < choice.tables; t++) {
        to = write(choice.frequencies[t], to);
        fill(space.encode_table, t, choice.frequencies[t]);
    }
    // Words are written downwards, up to 16 bytes at once.
    const std::size_t room = 2 * symbols.count + 64;
    if (space.words.size() < room) space.words.resize(room);
    u8* const end = space.words.data() + room;
    Encoder encoder;
    std::fill(encoder.states, encoder.states + LANES, STATE_LOW);
    encoder.words = end;
    encoder.table = &space.encode_table;
    path.encode(encoder, symbols.data, contexts ? symbols.contexts : nullptr, symbols.count);
    const std::size_t length = static_cast<std::size_t>(end - encoder.words);
    store<u32>(to, static_cast<u32>(length / 2));
    std::memcpy(to + 4, encoder.states, sizeof encoder.states);
    std::memcpy(to + CODED_HEADER, encoder.words, length);
    return to + CODED_HEADER + length;
}

u8* write_raw(const Symbols& symbols, u8* to) {
    *to++ = static_cast<u8>(Coding::raw);
    std::memcpy(to, symbols.data, symbols.count);
    return to + symbols.count;
}

}  // namespace

u8* encode_plane(const Path& path, Workspace& space, const Symbols& symbols, u8* to) {
    Counts counts;
    count(path, symbols, counts);
    Choice choice;
    estimate(choice, &counts.total, 1);
    if (choice.frequencies[0].single()) {
        *to++ = static_cast<u8>(Coding::constant);
        *to++ = symbols.data[0];
        return to;
    }
    if (symbols.contexts) {
        Choice contextual;
        estimate(contextual, counts.of, symbols.context_count);
        if (contextual.size < choice.size) choice = contextual;
    }
    if (symbols.whole && !pays(choice.size, symbols.count)) return write_raw(symbols, to);
    u8* const end = write_coded(path, space, symbols, choice, to);
    if (symbols.whole && static_cast<std::size_t>(end - to) > symbols.count)
        return write_raw(symbols, to);
    return end;
}

const u8* open_plane(PlaneReader& plane, const u8* from, const u8* end, std::size_t count,
                     u32 context_count, bool whole, u32* tables) {
    if (from == end) throw Damaged("a plane is missing");
    plane.coding = static_cast<Coding>(*from++);
    const std::size_t left = static_cast<std::size_t>(end - from);
    if (plane.coding == Coding::raw) {
        if (!whole) throw Damaged("a plane of part bytes is raw");
        if (left < count) throw Damaged("a raw plane is cut short");
        plane.raw = from;
        return from + count;
    }
    if (plane.coding == Coding::constant) {
        if (!left) throw Damaged("a constant plane is cut short");
        plane.value = *from;
        return from + 1;
    }
    if (plane.coding > Coding::rans_in_contexts) throw Damaged("an unknown coding of a plane");
    const bool contexts = plane.coding == Coding::rans_in_contexts;
    if (contexts && context_count < 2) throw Damaged("a plane without contexts uses them");
    for (u32 t = 0; t < (contexts ? context_count : 1); t++) {
        Frequencies frequencies;
        from = read(frequencies, from, end);
        fill(tables + t * PROBABILITIES, frequencies);
    }
    if (static_cast<std::size_t>(end - from) < CODED_HEADER)
        throw Damaged("a coded plane is cut short");
    const u64 length = u64{load<u32>(from)} * 2;
    if (static_cast<std::size_t>(end - from) - CODED_HEADER < length)
        throw Damaged("a coded plane is cut short");
    std::memcpy(plane.decoder.states, from + 4, sizeof plane.decoder.states);
    plane.decoder.words = from + CODED_HEADER;
    plane.decoder.end = plane.decoder.words + length;
    plane.decoder.table = tables;
    return plane.decoder.end;
}

const u8* next_symbols(const Path& path, PlaneReader& plane, const u8* contexts,
                       std::size_t count, u8* to) {
    switch (plane.coding) {
        case Coding::raw: plane.raw += count; return plane.raw - count;
        case Coding::constant: std::memset(to, plane.value, count); return to;
        case Coding::rans: path.decode(plane.decoder, to, nullptr, count); return to;
        default: path.decode(plane.decoder, to, contexts, count); return to;
    }
}

void close_plane(const PlaneReader& plane) {
    if (plane.coding < Coding::rans) return;
    if (plane.decoder.words != plane.decoder.end) throw Damaged("a coded plane has words left");
    for (const u32 state : plane.decoder.states)
        if (state != STATE_LOW) throw Damaged("a coded plane ends in a wrong state");
}

}  // namespace outlast
