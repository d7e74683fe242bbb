// Loops without intrinsics. Each path compiles them with its own flags, so they are in an unnamed
// namespace: no two paths may share one instance.
#pragma once
#include <algorithm>

#include "path.hpp"
#include "ulps.hpp"

namespace outlast {
namespace {

// ---------------------------------------------------------------- rANS, one lane at a time

[[maybe_unused]] void encode_lanes(Encoder& state, const u8* symbols, std::size_t begin,
                                   std::size_t end) {
    for (std::size_t i = end; i-- > begin;) {
        u32& x = state.states[i & (state.lanes - 1)];
        const u32 entry = state.table->of[symbols[i]];
        const u32 frequency = entry >> 16;
        if (x >> 20 >= frequency) {
            state.words -= 2;
            store<u16>(state.words, static_cast<u16>(x));
            x >>= 16;
        }
        x = (x / frequency << PROBABILITY_BITS) + (entry & 0xffff) + x % frequency;
    }
}

[[maybe_unused]] void decode_lanes(Decoder& state, u8* symbols, std::size_t begin,
                                   std::size_t end) {
    for (std::size_t i = begin; i < end; i++) {
        u32& x = state.states[i & (state.lanes - 1)];
        const u32 slot = x & (PROBABILITIES - 1);
        const u32 entry = state.table[slot];
        symbols[i] = static_cast<u8>(entry >> 24);
        x = (x >> PROBABILITY_BITS) * ((entry >> 12 & 0xfff) + 1) + (entry & 0xfff);
        if (x < STATE_LOW) {
            if (state.words == state.end) throw Damaged("a plane ends before its symbols");
            x = x << 16 | load<u16>(state.words);
            state.words += 2;
        }
    }
}

// Decodes groups of lanes. `run(state, symbols, groups, safe)` does as many as it can while the
// words begin at `safe` or before, and may look SPARE words further than it takes. The last groups
// get their words from a copy with room behind it.
template <u32 SPARE, typename Run>
[[maybe_unused]] std::size_t decode_groups_to_end(Decoder& state, u8* symbols, std::size_t groups,
                                                  Run run) {
    const std::ptrdiff_t room = 2 * (state.lanes + SPARE);
    std::size_t done = 0;
    if (state.end - state.words >= room) done = run(state, symbols, groups, state.end - room);
    if (done == groups) return done;
    u8 copy[4 * (MAX_LANES + SPARE)] = {};
    const u8* const end = state.end;
    const u8* const copy_end = copy + (end - state.words);
    std::memcpy(copy, state.words, static_cast<std::size_t>(end - state.words));
    state.words = copy;
    done += run(state, symbols + done * state.lanes, groups - done, copy_end);
    if (state.words > copy_end) throw Damaged("a plane ends before its symbols");
    state.words = end - (copy_end - state.words);
    return done;
}

void histogram(const u8* symbols, std::size_t count, u32* counts) {
    // Eight tables: equal neighbours would wait for each other's store.
    u32 partial[8][SYMBOLS] = {};
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const u64 eight = load<u64>(symbols + i);
        for (u32 k = 0; k < 8; k++) partial[k][eight >> (8 * k) & 0xff]++;
    }
    for (; i < count; i++) partial[0][symbols[i]]++;
    for (u32 s = 0; s < SYMBOLS; s++)
        for (const auto& table : partial) counts[s] += table[s];
}

// ---------------------------------------------------------------- elements and planes

void split_bf16(const u8* __restrict from, std::size_t count, u8* __restrict exponent,
                u8* __restrict rest) {
    for (std::size_t i = 0; i < count; i++) {
        const u16 v = load<u16>(from + 2 * i);
        exponent[i] = static_cast<u8>(v >> 7);
        rest[i] = static_cast<u8>((v >> 8 & 0x80) | (v & 0x7f));
    }
}

void merge_bf16(const u8* __restrict exponent, const u8* __restrict rest, std::size_t count,
                u8* __restrict to) {
    for (std::size_t i = 0; i < count; i++) {
        const u32 e = exponent[i], r = rest[i];
        store<u16>(to + 2 * i, static_cast<u16>((r & 0x80) << 8 | e << 7 | (r & 0x7f)));
    }
}

void split_f32(const u8* __restrict from, std::size_t count, u8* __restrict exponent,
               u8* __restrict high, u8* __restrict middle, u8* __restrict low) {
    for (std::size_t i = 0; i < count; i++) {
        const u32 v = load<u32>(from + 4 * i);
        exponent[i] = static_cast<u8>(v >> 23);
        high[i] = static_cast<u8>((v >> 24 & 0x80) | (v >> 16 & 0x7f));
        middle[i] = static_cast<u8>(v >> 8);
        low[i] = static_cast<u8>(v);
    }
}

void merge_f32(const u8* __restrict exponent, const u8* __restrict high,
               const u8* __restrict middle, const u8* __restrict low, std::size_t count,
               u8* __restrict to) {
    for (std::size_t i = 0; i < count; i++) {
        const u32 e = exponent[i], h = high[i], m = middle[i], l = low[i];
        store<u32>(to + 4 * i,
                   (h & 0x80) << 24 | e << 23 | (h & 0x7f) << 16 | m << 8 | l);
    }
}

template <u32 WIDTH>
void split_words(const u8* __restrict from, std::size_t count, u8* const* planes) {
    for (u32 p = 0; p < WIDTH; p++) {  // the most significant byte first
        u8* __restrict to = planes[p];
        for (std::size_t i = 0; i < count; i++) to[i] = from[WIDTH * i + WIDTH - 1 - p];
    }
}

void merge_words16(const u8* __restrict high, const u8* __restrict low, std::size_t count,
                   u8* __restrict to) {
    for (std::size_t i = 0; i < count; i++)
        store<u16>(to + 2 * i, static_cast<u16>(high[i] << 8 | low[i]));
}

template <u32 WIDTH>
void merge_words(const u8* const* planes, std::size_t count, u8* __restrict to) {
    for (std::size_t i = 0; i < count; i++)
        for (u32 p = 0; p < WIDTH; p++) to[WIDTH * i + WIDTH - 1 - p] = planes[p][i];
}

// ---------------------------------------------------------------- blocks of GGUF
// `halves` fp16 numbers, then for the 5-bit kinds a mask with everybody's fifth bit, then 32
// nibbles: weight i in the low half of byte i, weight 16 + i in its high half.

template <u32 HALVES, bool FIFTH>
void split_legacy(const u8* __restrict from, std::size_t count, u8* const* planes) {
    constexpr u32 SIZE = 2 * HALVES + (FIFTH ? 4 : 0) + 16;
    for (std::size_t b = 0; b < count; b++, from += SIZE) {
        for (u32 p = 0; p < 2 * HALVES; p++) planes[p][b] = from[p ^ 1];
        const u32 fifth = FIFTH ? load<u32>(from + 2 * HALVES) : 0;
        const u8* nibbles = from + SIZE - 16;
        u8* __restrict q = planes[2 * HALVES] + 32 * b;
        for (u32 i = 0; i < 16; i++) {
            q[i] = nibbles[i] & 15;
            q[16 + i] = nibbles[i] >> 4;
        }
        if (FIFTH)
            for (u32 i = 0; i < 32; i++) q[i] |= (fifth >> i & 1) << 4;
    }
}

template <u32 HALVES, bool FIFTH>
void merge_legacy(const u8* const* planes, std::size_t count, u8* __restrict to) {
    constexpr u32 SIZE = 2 * HALVES + (FIFTH ? 4 : 0) + 16;
    for (std::size_t b = 0; b < count; b++, to += SIZE) {
        for (u32 p = 0; p < 2 * HALVES; p++) to[p ^ 1] = planes[p][b];
        const u8* __restrict q = planes[2 * HALVES] + 32 * b;
        if (FIFTH) {
            u32 fifth = 0;
            for (u32 i = 0; i < 32; i++) fifth |= static_cast<u32>(q[i] >> 4 & 1) << i;
            store<u32>(to + 2 * HALVES, fifth);
        }
        u8* nibbles = to + SIZE - 16;
        for (u32 i = 0; i < 16; i++)
            nibbles[i] = static_cast<u8>((q[i] & 15) | q[16 + i] << 4);
    }
}

void split_q8_0(const u8* __restrict from, std::size_t count, u8* const* planes) {
    for (std::size_t b = 0; b < count; b++, from += 34) {
        planes[0][b] = from[1];
        planes[1][b] = from[0];
        std::memcpy(planes[2] + 32 * b, from + 2, 32);
    }
}

void merge_q8_0(const u8* const* planes, std::size_t count, u8* __restrict to) {
    for (std::size_t b = 0; b < count; b++, to += 34) {
        to[1] = planes[0][b];
        to[0] = planes[1][b];
        std::memcpy(to + 2, planes[2] + 32 * b, 32);
    }
}

// Two fp16 numbers; 12 bytes with eight 6-bit scales and eight 6-bit minima; for Q5_K 32 bytes
// with the fifth bits; 128 bytes of nibbles: 32 bytes for weights 64 k + i and 64 k + 32 + i.

template <bool FIFTH>
void split_k(const u8* __restrict from, std::size_t count, u8* const* planes) {
    constexpr u32 SIZE = FIFTH ? 176 : 144;
    for (std::size_t b = 0; b < count; b++, from += SIZE) {
        for (u32 p = 0; p < 4; p++) planes[p][b] = from[p ^ 1];
        const u8* s = from + 4;
        u8* scales = planes[4] + 8 * b;
        u8* minima = planes[5] + 8 * b;
        for (u32 j = 0; j < 4; j++) {
            scales[j] = s[j] & 63;
            minima[j] = s[j + 4] & 63;
            scales[j + 4] = static_cast<u8>((s[j + 8] & 15) | s[j] >> 6 << 4);
            minima[j + 4] = static_cast<u8>(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
        }
        const u8* fifth = from + 16;
        const u8* nibbles = from + SIZE - 128;
        u8* __restrict q = planes[6] + 256 * b;
        for (u32 k = 0; k < 4; k++)
            for (u32 i = 0; i < 32; i++) {
                q[64 * k + i] = nibbles[32 * k + i] & 15;
                q[64 * k + 32 + i] = nibbles[32 * k + i] >> 4;
                if (FIFTH) {
                    q[64 * k + i] |= (fifth[i] >> (2 * k) & 1) << 4;
                    q[64 * k + 32 + i] |= (fifth[i] >> (2 * k + 1) & 1) << 4;
                }
            }
    }
}

template <bool FIFTH>
void merge_k(const u8* const* planes, std::size_t count, u8* __restrict to) {
    constexpr u32 SIZE = FIFTH ? 176 : 144;
    for (std::size_t b = 0; b < count; b++, to += SIZE) {
        for (u32 p = 0; p < 4; p++) to[p ^ 1] = planes[p][b];
        u8* s = to + 4;
        const u8* scales = planes[4] + 8 * b;
        const u8* minima = planes[5] + 8 * b;
        for (u32 j = 0; j < 4; j++) {
            s[j] = static_cast<u8>((scales[j] & 63) | scales[j + 4] >> 4 << 6);
            s[j + 4] = static_cast<u8>((minima[j] & 63) | minima[j + 4] >> 4 << 6);
            s[j + 8] = static_cast<u8>((scales[j + 4] & 15) | minima[j + 4] << 4);
        }
        u8* fifth = to + 16;
        u8* nibbles = to + SIZE - 128;
        const u8* __restrict q = planes[6] + 256 * b;
        if (FIFTH) std::memset(fifth, 0, 32);
        for (u32 k = 0; k < 4; k++)
            for (u32 i = 0; i < 32; i++) {
                const u32 low = q[64 * k + i], high = q[64 * k + 32 + i];
                nibbles[32 * k + i] = static_cast<u8>((low & 15) | high << 4);
                if (FIFTH)
                    fifth[i] |= static_cast<u8>((low >> 4 & 1) << (2 * k) |
                                                (high >> 4 & 1) << (2 * k + 1));
            }
    }
}

// 128 bytes of low nibbles, 64 bytes of high pairs of bits, 16 scales, one fp16 number. In each
// half of 128 weights, weight 32 k + i has its pair in byte i.

void split_q6_k(const u8* __restrict from, std::size_t count, u8* const* planes) {
    for (std::size_t b = 0; b < count; b++, from += 210) {
        planes[0][b] = from[209];
        planes[1][b] = from[208];
        std::memcpy(planes[2] + 16 * b, from + 192, 16);
        u8* __restrict q = planes[3] + 256 * b;
        for (u32 h = 0; h < 2; h++, q += 128) {
            const u8* low = from + 64 * h;
            const u8* high = from + 128 + 32 * h;
            for (u32 i = 0; i < 32; i++) {
                q[i] = static_cast<u8>((low[i] & 15) | (high[i] & 3) << 4);
                q[32 + i] = static_cast<u8>((low[32 + i] & 15) | (high[i] >> 2 & 3) << 4);
                q[64 + i] = static_cast<u8>(low[i] >> 4 | (high[i] >> 4 & 3) << 4);
                q[96 + i] = static_cast<u8>(low[32 + i] >> 4 | high[i] >> 6 << 4);
            }
        }
    }
}

void merge_q6_k(const u8* const* planes, std::size_t count, u8* __restrict to) {
    for (std::size_t b = 0; b < count; b++, to += 210) {
        to[209] = planes[0][b];
        to[208] = planes[1][b];
        std::memcpy(to + 192, planes[2] + 16 * b, 16);
        const u8* __restrict q = planes[3] + 256 * b;
        for (u32 h = 0; h < 2; h++, q += 128) {
            u8* low = to + 64 * h;
            u8* high = to + 128 + 32 * h;
            for (u32 i = 0; i < 32; i++) {
                low[i] = static_cast<u8>((q[i] & 15) | (q[64 + i] & 15) << 4);
                low[32 + i] = static_cast<u8>((q[32 + i] & 15) | (q[96 + i] & 15) << 4);
                high[i] = static_cast<u8>((q[i] >> 4 & 3) | (q[32 + i] >> 4 & 3) << 2 |
                                          (q[64 + i] >> 4 & 3) << 4 | (q[96 + i] >> 4 & 3) << 6);
            }
        }
    }
}

void split(Kind kind, const u8* from, std::size_t count, u8* const* planes) {
    switch (kind) {
        case Kind::bytes:
        case Kind::f8_e4m3:
        case Kind::f8_e5m2: std::memcpy(planes[0], from, count); return;
        case Kind::bf16: split_bf16(from, count, planes[0], planes[1]); return;
        case Kind::f16:
        case Kind::words16: split_words<2>(from, count, planes); return;
        case Kind::f32:
            split_f32(from, count, planes[0], planes[1], planes[2], planes[3]);
            return;
        case Kind::words32: split_words<4>(from, count, planes); return;
        case Kind::words64: split_words<8>(from, count, planes); return;
        case Kind::q8_0: split_q8_0(from, count, planes); return;
        case Kind::q4_0: split_legacy<1, false>(from, count, planes); return;
        case Kind::q4_1: split_legacy<2, false>(from, count, planes); return;
        case Kind::q5_0: split_legacy<1, true>(from, count, planes); return;
        case Kind::q5_1: split_legacy<2, true>(from, count, planes); return;
        case Kind::q4_k: split_k<false>(from, count, planes); return;
        case Kind::q5_k: split_k<true>(from, count, planes); return;
        case Kind::q6_k: split_q6_k(from, count, planes); return;
    }
}

void merge(Kind kind, const u8* const* planes, std::size_t count, u8* to) {
    switch (kind) {
        case Kind::bytes:
        case Kind::f8_e4m3:
        case Kind::f8_e5m2: std::memcpy(to, planes[0], count); return;
        case Kind::bf16: merge_bf16(planes[0], planes[1], count, to); return;
        case Kind::f16:
        case Kind::words16: merge_words16(planes[0], planes[1], count, to); return;
        case Kind::f32:
            merge_f32(planes[0], planes[1], planes[2], planes[3], count, to);
            return;
        case Kind::words32: merge_words<4>(planes, count, to); return;
        case Kind::words64: merge_words<8>(planes, count, to); return;
        case Kind::q8_0: merge_q8_0(planes, count, to); return;
        case Kind::q4_0: merge_legacy<1, false>(planes, count, to); return;
        case Kind::q4_1: merge_legacy<2, false>(planes, count, to); return;
        case Kind::q5_0: merge_legacy<1, true>(planes, count, to); return;
        case Kind::q5_1: merge_legacy<2, true>(planes, count, to); return;
        case Kind::q4_k: merge_k<false>(planes, count, to); return;
        case Kind::q5_k: merge_k<true>(planes, count, to); return;
        case Kind::q6_k: merge_q6_k(planes, count, to); return;
    }
}

// ---------------------------------------------------------------- differences from a base

template <typename T, u32 SHIFT, u32 MASK>
void contexts_of(const u8* __restrict base, std::size_t count, u32 top, u8* __restrict contexts) {
    for (std::size_t i = 0; i < count; i++) {
        const i32 below = static_cast<i32>(top) -
                          static_cast<i32>(load<T>(base + sizeof(T) * i) >> SHIFT & MASK);
        const i32 capped = below > 7 ? 7 : below;
        contexts[i] = static_cast<u8>(capped < 0 ? 0 : capped);
    }
}

void contexts(Kind kind, const u8* base, std::size_t count, u32 top, u8* to) {
    switch (kind) {
        case Kind::bf16: contexts_of<u16, 7, 255>(base, count, top, to); return;
        case Kind::f16: contexts_of<u16, 10, 31>(base, count, top, to); return;
        case Kind::f32: contexts_of<u32, 23, 255>(base, count, top, to); return;
        case Kind::f8_e4m3: contexts_of<u8, 3, 15>(base, count, top, to); return;
        default: contexts_of<u8, 2, 31>(base, count, top, to); return;
    }
}

[[maybe_unused]] void count_contexts_plain(const u8* contexts, std::size_t count,
                                           std::size_t* counts) {
    // A sum of 255 comparisons fits into a byte, so that many are added at once.
    for (std::size_t begin = 0; begin < count; begin += 255 * 64) {
        const std::size_t end = std::min(count, begin + 255 * 64);
        for (u32 c = 0; c < MAX_CONTEXTS; c++) {
            u8 sums[64] = {};
            std::size_t i = begin;
            for (; i + 64 <= end; i += 64)
                for (u32 k = 0; k < 64; k++) sums[k] += contexts[i + k] == c;
            for (const u8 sum : sums) counts[c] += sum;
            for (; i < end; i++) counts[c] += contexts[i] == c;
        }
    }
}

[[maybe_unused]] void part_plain(const u8* symbols, const u8* contexts, std::size_t count,
                                 u8** parts) {
    for (std::size_t i = 0; i < count; i++) *parts[contexts[i]]++ = symbols[i];
}

[[maybe_unused]] void join_plain(const u8** parts, const u8* contexts, std::size_t count,
                                 u8* symbols) {
    for (std::size_t i = 0; i < count; i++) symbols[i] = *parts[contexts[i]]++;
}

// Planes of 16-bit kinds: the difference up to 254, or 255; then its high and low byte.
void difference(Kind kind, const u8* from, const u8* base, std::size_t count, u8* const* planes) {
    if (kind == Kind::bf16 || kind == Kind::f16) {
        u8 *__restrict small = planes[0], *__restrict high = planes[1], *__restrict low = planes[2];
        for (std::size_t i = 0; i < count; i++) {
            const u16 z = apart(load<u16>(from + 2 * i), load<u16>(base + 2 * i));
            small[i] = static_cast<u8>(z < 255 ? z : 255);
            high[i] = static_cast<u8>(z >> 8);
            low[i] = static_cast<u8>(z);
        }
    } else if (kind == Kind::f32) {
        for (std::size_t i = 0; i < count; i++) {
            const u32 z = apart(load<u32>(from + 4 * i), load<u32>(base + 4 * i));
            for (u32 p = 0; p < 4; p++) planes[p][i] = static_cast<u8>(z >> (24 - 8 * p));
        }
    } else {
        for (std::size_t i = 0; i < count; i++) planes[0][i] = apart(from[i], base[i]);
    }
}

// The inverse; what was beyond 254 comes out wrong and is mended by the caller.
void restore(Kind kind, const u8* const* planes, const u8* base, std::size_t count, u8* to) {
    if (kind == Kind::bf16 || kind == Kind::f16) {
        const u8* __restrict small = planes[0];
        u8* __restrict out = to;
        for (std::size_t i = 0; i < count; i++)
            store<u16>(out + 2 * i, apply(u16{small[i]}, load<u16>(base + 2 * i)));
    } else if (kind == Kind::f32) {
        for (std::size_t i = 0; i < count; i++) {
            const u32 z = u32{planes[0][i]} << 24 | u32{planes[1][i]} << 16 |
                          u32{planes[2][i]} << 8 | u32{planes[3][i]};
            store<u32>(to + 4 * i, apply(z, load<u32>(base + 4 * i)));
        }
    } else {
        for (std::size_t i = 0; i < count; i++) to[i] = apply(planes[0][i], base[i]);
    }
}

// ---------------------------------------------------------------- hashes

[[maybe_unused]] void xxh3_stripes_plain(u64* acc, const u8* input, const u8* secret,
                                         std::size_t stripes) {
    for (std::size_t s = 0; s < stripes; s++, input += 64, secret += 8)
        for (u32 i = 0; i < 8; i++) {
            const u64 data = load<u64>(input + 8 * i);
            const u64 keyed = data ^ load<u64>(secret + 8 * i);
            acc[i ^ 1] += data;
            acc[i] += (keyed & 0xffffffffu) * (keyed >> 32);
        }
}

}  // namespace
}  // namespace outlast
