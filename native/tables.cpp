#include "tables.hpp"

#include <algorithm>

namespace outlast {
namespace {

constexpr u32 FRACTION = 8;

struct Costs {
    u16 of[PROBABILITIES + 1];  // of[f] = -log2(f / PROBABILITIES) in 1/256 bits, rounded up
};

// Base-2 logarithm bit by bit: squaring doubles it.
constexpr Costs costs() {
    Costs made{};
    for (u32 f = 1; f <= PROBABILITIES; f++) {
        u32 whole = 0;
        while (f >> (whole + 1)) whole++;
        u64 mantissa = u64{f} << (31 - whole);
        u32 logarithm = whole;
        for (u32 bit = 0; bit < FRACTION; bit++) {
            mantissa = mantissa * mantissa >> 31;
            logarithm = logarithm << 1 | static_cast<u32>(mantissa >> 32);
            mantissa >>= mantissa >> 32;
        }
        made.of[f] = static_cast<u16>((PROBABILITY_BITS << FRACTION) - logarithm);
    }
    return made;
}

constexpr Costs COSTS = costs();

// Moves the sum of frequencies by `step` (1 or -1) at a time. One more goes to the symbol that
// gains most by it: the largest count / frequency; one less comes from the symbol that loses least
// by it: the smallest count / (frequency - 1). The lowest of equals is taken. A heap finds it.
template <int STEP>
void move(const u32* counts, Frequencies& f, u32 times) {
    const auto weight = [&](u8 s) { return u64{f.of[s]} - (STEP < 0); };
    const auto later = [&](u8 a, u8 b) {
        const u64 left = counts[a] * weight(b), right = counts[b] * weight(a);
        if (left != right) return (left < right) == (STEP > 0);
        return a > b;
    };
    u8 heap[SYMBOLS];
    u32 size = 0;
    for (u32 s = f.first; s <= f.last; s++)
        if (f.of[s] > (STEP < 0)) heap[size++] = static_cast<u8>(s);
    std::make_heap(heap, heap + size, later);
    while (times--) {
        std::pop_heap(heap, heap + size, later);
        const u8 best = heap[size - 1];
        f.of[best] = static_cast<u16>(f.of[best] + STEP);
        if (STEP < 0 && f.of[best] < 2)
            size--;
        else
            std::push_heap(heap, heap + size, later);
    }
}

}  // namespace

void normalise(const u32* counts, Frequencies& into) {
    u64 total = 0;
    into.first = SYMBOLS;
    for (u32 s = 0; s < SYMBOLS; s++) {
        total += counts[s];
        if (!counts[s]) continue;
        if (into.first == SYMBOLS) into.first = s;
        into.last = s;
    }
    u32 sum = 0;
    for (u32 s = 0; s < SYMBOLS; s++) {
        const u64 share = u64{counts[s]} * PROBABILITIES / total;
        into.of[s] = static_cast<u16>(counts[s] && !share ? 1 : share);
        sum += into.of[s];
    }
    if (sum < PROBABILITIES)
        move<1>(counts, into, PROBABILITIES - sum);
    else
        move<-1>(counts, into, sum - PROBABILITIES);
}

u64 cost(const u32* counts, const Frequencies& f) {
    u64 bits = 0;
    for (u32 s = f.first; s <= f.last; s++)
        if (counts[s]) bits += u64{counts[s]} * COSTS.of[f.of[s]];
    return bits;
}

std::size_t Frequencies::size() const {
    const std::size_t count = last - first + 1;
    return 2 + (count * 3 + 1) / 2;
}

u8* write(const Frequencies& f, u8* to) {
    *to++ = static_cast<u8>(f.first);
    *to++ = static_cast<u8>(f.last);
    for (u32 s = f.first; s <= f.last; s += 2) {
        const u32 pair = f.of[s] | (s < f.last ? u32{f.of[s + 1]} << 12 : 0);
        *to++ = static_cast<u8>(pair);
        *to++ = static_cast<u8>(pair >> 8);
        if (s < f.last) *to++ = static_cast<u8>(pair >> 16);
    }
    return to;
}

const u8* read(Frequencies& f, const u8* from, const u8* end) {
    if (end - from < 2) throw Damaged("a frequency table is cut short");
    f.first = from[0];
    f.last = from[1];
    if (f.first >= f.last) throw Damaged("a frequency table has no range");
    if (static_cast<std::size_t>(end - from) < f.size())
        throw Damaged("a frequency table is cut short");
    std::memset(f.of, 0, sizeof f.of);
    const u8* at = from + 2;
    u32 sum = 0;
    for (u32 s = f.first; s <= f.last; s += 2, at += 3) {
        f.of[s] = static_cast<u16>(at[0] | (at[1] & 15) << 8);
        if (s < f.last)
            f.of[s + 1] = static_cast<u16>(at[1] >> 4 | at[2] << 4);
        else if (at[1] >> 4)
            throw Damaged("a frequency table has stray bits");
        sum += f.of[s] + (s < f.last ? f.of[s + 1] : 0);
    }
    if (!f.of[f.first] || !f.of[f.last]) throw Damaged("a frequency table has an empty end");
    if (sum != PROBABILITIES) throw Damaged("frequencies do not add up");
    return from + f.size();
}

void fill(EncodeTable& table, const Frequencies& f) {
    u32 start = 0;
    for (u32 s = f.first; s <= f.last; s++) {
        table.of[s] = u32{f.of[s]} << 16 | start;
        start += f.of[s];
    }
    table.first = f.first;
    table.last = f.last;
}

void fill(u32* table, const Frequencies& f) {
    for (u32 s = f.first; s <= f.last; s++)
        for (u32 i = 0; i < f.of[s]; i++) *table++ = decode_entry(s, f.of[s], i);
}

void fill(Ranks& ranks, const Frequencies& f) {
    ranks = {};
    u8 of[PROBABILITIES];
    u32 count = 0, start = 0;
    for (u32 s = f.first; s <= f.last; s++) {
        if (!f.of[s]) continue;
        if (count == Ranks::MOST) return;
        ranks.symbol[count] = static_cast<u8>(s);
        ranks.start[count] = static_cast<u16>(start);
        ranks.frequency[count] = f.of[s];
        std::memset(of + start, static_cast<int>(count), f.of[s]);
        start += f.of[s];
        ranks.next[count++] = static_cast<u16>(start);
    }
    for (u32 i = 0; i < 128; i++) {
        ranks.coarse[i] = of[32 * i];
        ranks.fine[i] = of[(2 * i - Ranks::EDGE) % PROBABILITIES];
        const bool edge = 32 * i < Ranks::EDGE || 32 * i >= PROBABILITIES - Ranks::EDGE;
        if (!edge && of[32 * i + 31] - of[32 * i] > 1) return;
    }
    ranks.usable = true;
}

}  // namespace outlast
