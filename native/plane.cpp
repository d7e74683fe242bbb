#include "plane.hpp"

#include <algorithm>

namespace outlast {
namespace {

// A plane of noise is given up after a look at every eighth run of 4096 symbols.
constexpr std::size_t SAMPLE_RUN = 4096, SAMPLE_EVERY = 8 * SAMPLE_RUN, SAMPLE_FROM = 1 << 16;

struct Plan {
    Coding coding = Coding::raw;
    Frequencies frequencies;
    u64 size = 0;  // estimated bytes
};

u64 bytes(u64 bits) { return (bits + 8 * 256 - 1) / (8 * 256); }

bool is_noise(const Path& path, const Symbols& symbols) {
    if (!symbols.noisy || symbols.count < SAMPLE_FROM) return false;
    u32 counts[SYMBOLS] = {};
    std::size_t seen = 0;
    for (std::size_t at = 0; at < symbols.count; at += SAMPLE_EVERY) {
        const std::size_t run = std::min(SAMPLE_RUN, symbols.count - at);
        path.histogram(symbols.data + at, run, counts);
        seen += run;
    }
    Frequencies frequencies;
    normalise(counts, frequencies);
    return !pays(bytes(cost(counts, frequencies)), seen);
}

Plan plan(const u32* counts, std::size_t count, bool whole) {
    Plan made;
    normalise(counts, made.frequencies);
    if (made.frequencies.single()) {
        made.coding = Coding::constant;
        made.size = 2;
        return made;
    }
    made.size = 1 + coded_header(count) + made.frequencies.size() +
                bytes(cost(counts, made.frequencies));
    made.coding = Coding::rans;
    if (whole && !pays(made.size, count)) {
        made.coding = Coding::raw;
        made.size = 1 + count;
    }
    return made;
}

u8* write_raw(const u8* data, std::size_t count, u8* to) {
    *to++ = static_cast<u8>(Coding::raw);
    std::memcpy(to, data, count);
    return to + count;
}

u8* write_coded(const Path& path, Workspace& space, const u8* data, std::size_t count,
                const Frequencies& frequencies, u8* to) {
    *to++ = static_cast<u8>(Coding::rans);
    to = write(frequencies, to);
    fill(space.encode_table, frequencies);
    // Words are written downwards, up to 16 bytes at once.
    u8* const end = reserve(space.words, 2 * count + SLACK) + 2 * count + SLACK;
    Encoder encoder;
    encoder.lanes = lanes_for(count);
    std::fill(encoder.states, encoder.states + encoder.lanes, STATE_LOW);
    encoder.words = end;
    encoder.table = &space.encode_table;
    path.encode(encoder, data, count);
    const std::size_t length = static_cast<std::size_t>(end - encoder.words);
    store<u32>(to, static_cast<u32>(length / 2));
    std::memcpy(to + 4, encoder.states, 4 * encoder.lanes);
    to += coded_header(count);
    std::memcpy(to, encoder.words, length);
    return to + length;
}

u8* write_planned(const Path& path, Workspace& space, const u8* data, std::size_t count,
                  const Plan& plan, bool whole, u8* to) {
    if (plan.coding == Coding::constant) {
        *to++ = static_cast<u8>(Coding::constant);
        *to++ = data[0];
        return to;
    }
    if (plan.coding == Coding::raw) return write_raw(data, count, to);
    u8* const end = write_coded(path, space, data, count, plan.frequencies, to);
    if (whole && static_cast<std::size_t>(end - to) > count) return write_raw(data, count, to);
    return end;
}

// The symbols of each context, one part after another with SLACK between them.
struct Parts {
    std::size_t counts[MAX_CONTEXTS] = {};
    u8* data[MAX_CONTEXTS];

    Parts(const Path& path, const Contexts& contexts, std::size_t count, u8* room) {
        path.count_contexts(contexts.of, count / contexts.run, counts);
        for (u32 c = 0; c < MAX_CONTEXTS; c++) {
            counts[c] *= contexts.run;
            data[c] = room;
            room += counts[c] + SLACK;
        }
    }
};

void take_apart(const Path& path, const Symbols& symbols, const Parts& parts) {
    u8* at[MAX_CONTEXTS];
    std::copy(parts.data, parts.data + MAX_CONTEXTS, at);
    const u32 run = symbols.contexts.run;
    if (run == 1) return path.part(symbols.data, symbols.contexts.of, symbols.count, at);
    for (std::size_t i = 0; i * run < symbols.count; i++) {
        u8*& part = at[symbols.contexts.of[i]];
        std::memcpy(part, symbols.data + i * run, run);
        part += run;
    }
}

u8* encode_in_contexts(const Path& path, Workspace& space, const Symbols& symbols, u8* to) {
    u8* room = reserve(space.parts, symbols.count + MAX_CONTEXTS * SLACK);
    const Parts parts(path, symbols.contexts, symbols.count, room);
    take_apart(path, symbols, parts);
    Plan plans[MAX_CONTEXTS];
    u32 total[SYMBOLS] = {};
    u64 size = 1;
    for (u32 c = 0; c < symbols.contexts.count; c++) {
        if (!parts.counts[c]) continue;
        u32 counts[SYMBOLS] = {};
        path.histogram(parts.data[c], parts.counts[c], counts);
        for (u32 s = 0; s < SYMBOLS; s++) total[s] += counts[s];
        plans[c] = plan(counts, parts.counts[c], symbols.whole);
        size += plans[c].size;
    }
    const Plan together = plan(total, symbols.count, symbols.whole);
    if (together.size <= size)
        return write_planned(path, space, symbols.data, symbols.count, together, symbols.whole,
                             to);
    *to++ = static_cast<u8>(Coding::parts);
    for (u32 c = 0; c < symbols.contexts.count; c++)
        if (parts.counts[c])
            to = write_planned(path, space, parts.data[c], parts.counts[c], plans[c],
                               symbols.whole, to);
    return to;
}

}  // namespace

u8* encode_plane(const Path& path, Workspace& space, const Symbols& symbols, u8* to) {
    if (symbols.contexts.of) return encode_in_contexts(path, space, symbols, to);
    if (is_noise(path, symbols)) return write_raw(symbols.data, symbols.count, to);
    u32 counts[SYMBOLS] = {};
    path.histogram(symbols.data, symbols.count, counts);
    const Plan planned = plan(counts, symbols.count, symbols.whole);
    return write_planned(path, space, symbols.data, symbols.count, planned, symbols.whole, to);
}

const u8* PlaneReader::open(Workspace& space, u32 slot, const u8* from, const u8* end,
                            std::size_t count, bool whole) {
    if (from == end) throw Damaged("a plane is missing");
    coding = static_cast<Coding>(*from++);
    const std::size_t left = static_cast<std::size_t>(end - from);
    if (coding == Coding::raw) {
        if (!whole) throw Damaged("a plane of part bytes is raw");
        if (left < count) throw Damaged("a raw plane is cut short");
        raw = from;
        return from + count;
    }
    if (coding == Coding::constant) {
        if (!left) throw Damaged("a constant plane is cut short");
        value = *from;
        return from + 1;
    }
    if (coding != Coding::rans) throw Damaged("an unknown coding of a plane");
    Frequencies frequencies;
    from = read(frequencies, from, end);
    u32* table = space.decode_tables.data() + slot * PROBABILITIES;
    fill(table, frequencies);
    fill(space.ranks[slot], frequencies);
    const std::size_t header = coded_header(count);
    if (static_cast<std::size_t>(end - from) < header)
        throw Damaged("a coded plane is cut short");
    const u64 length = u64{load<u32>(from)} * 2;
    if (static_cast<std::size_t>(end - from) - header < length)
        throw Damaged("a coded plane is cut short");
    decoder.lanes = lanes_for(count);
    std::memcpy(decoder.states, from + 4, 4 * decoder.lanes);
    decoder.words = from + header;
    decoder.end = decoder.words + length;
    decoder.table = table;
    decoder.ranks = space.ranks[slot].usable ? &space.ranks[slot] : nullptr;
    return decoder.end;
}

const u8* PlaneReader::next(const Path& path, std::size_t count, u8* to) {
    switch (coding) {
        case Coding::raw: raw += count; return raw - count;
        case Coding::constant: std::memset(to, value, count); return to;
        default: path.decode(decoder, to, count); return to;
    }
}

void PlaneReader::close() const {
    if (coding != Coding::rans) return;
    if (decoder.words != decoder.end) throw Damaged("a coded plane has words left");
    for (u32 lane = 0; lane < decoder.lanes; lane++)
        if (decoder.states[lane] != STATE_LOW) throw Damaged("a coded plane ends in a wrong state");
}

const u8* ContextReader::open(const Path& path, Workspace& space, u32 slot, const u8* from,
                              const u8* end, std::size_t count, bool whole_bytes,
                              const Contexts& contexts, u8* room) {
    in_parts = contexts.of && from != end && static_cast<Coding>(*from) == Coding::parts;
    if (!in_parts) return whole.open(space, slot, from, end, count, whole_bytes);
    from++;
    const Parts split(path, contexts, count, room);
    for (u32 c = 0; c < MAX_CONTEXTS; c++) {
        parts[c] = split.data[c];
        if (!split.counts[c]) continue;
        PlaneReader reader;
        from = reader.open(space, slot, from, end, split.counts[c], whole_bytes);
        parts[c] = reader.next(path, split.counts[c], split.data[c]);
        reader.close();
        if (parts[c] != split.data[c]) {  // raw: behind it there may be nothing to look at
            std::memcpy(split.data[c], parts[c], split.counts[c]);
            parts[c] = split.data[c];
        }
    }
    return from;
}

const u8* ContextReader::next(const Path& path, const Contexts& contexts, std::size_t count,
                              u8* to) {
    if (!in_parts) return whole.next(path, count, to);
    if (contexts.run == 1) {
        path.join(parts, contexts.of, count, to);
        return to;
    }
    for (std::size_t i = 0; i * contexts.run < count; i++) {
        const u8*& part = parts[contexts.of[i]];
        std::memcpy(to + i * contexts.run, part, contexts.run);
        part += contexts.run;
    }
    return to;
}

void ContextReader::close() const {
    if (!in_parts) whole.close();
}

}  // namespace outlast
