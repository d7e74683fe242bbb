// AVX-512 F, BW, DQ, VL, VBMI and VBMI2, and GFNI (Ice Lake, Zen 4 and later).
#include "galois.hpp"
#include "loops.hpp"
#include "sha256.hpp"

#if defined(__AVX512VBMI2__) && defined(__GFNI__)
#include <immintrin.h>

#include <algorithm>
#include <numeric>

namespace outlast {
namespace {

bool here() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("gfni");
}

// ---------------------------------------------------------------- rANS

template <u32 LANES>
struct Lanes {
    static constexpr u32 VECTORS = LANES / 16;
    __m512i of[VECTORS];
    explicit Lanes(const u32* states) {
        for (u32 v = 0; v < VECTORS; v++) of[v] = _mm512_loadu_si512(states + 16 * v);
    }
    void save(u32* states) const {
        for (u32 v = 0; v < VECTORS; v++) _mm512_storeu_si512(states + 16 * v, of[v]);
    }
};

// Row k moves the first k of 16 lanes to the end.
struct ToTheEnd {
    alignas(64) u32 rows[17][16];
};

constexpr ToTheEnd to_the_end() {
    ToTheEnd made{};
    for (u32 k = 0; k <= 16; k++)
        for (u32 i = 0; i < 16; i++) made.rows[k][i] = (i + k) % 16;
    return made;
}

constexpr ToTheEnd TO_THE_END = to_the_end();

// Pushes one symbol into each of 16 lanes. The quotient is below 2^20. It comes from a reciprocal
// that is good to 22 bits and made a little too small, so that the quotient is right or one too
// small, which the remainder tells.
inline __m512i push(__m512i x, __m512i frequency, __m512i start, u8*& words) {
    const __mmask16 full = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(x, 20), frequency);
    const u32 given = static_cast<u32>(_mm_popcnt_u32(full));
    // What lies below the words is overwritten by those that come next.
    const __m512i given_words = _mm512_permutexvar_epi32(
        _mm512_load_si512(TO_THE_END.rows[given]), _mm512_maskz_compress_epi32(full, x));
    _mm256_storeu_si256((__m256i*)(words - 32), _mm512_cvtepi32_epi16(given_words));
    words -= 2 * given;
    x = _mm512_mask_srli_epi32(x, full, x, 16);
    const __m512 divisor = _mm512_cvtepi32_ps(frequency);
    const __m512 rough = _mm512_rcp14_ps(divisor);
    const __m512 two = _mm512_set1_ps(1.9999995f);  // 2 - 2^-21
    const __m512 inverse = _mm512_mul_ps(rough, _mm512_fnmadd_ps(divisor, rough, two));
    __m512i quotient = _mm512_cvttps_epi32(_mm512_mul_ps(_mm512_cvtepu32_ps(x), inverse));
    __m512i rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(quotient, frequency));
    const __mmask16 small = _mm512_cmpge_epu32_mask(rest, frequency);
    quotient = _mm512_mask_add_epi32(quotient, small, quotient, _mm512_set1_epi32(1));
    rest = _mm512_mask_sub_epi32(rest, small, rest, frequency);
    return _mm512_add_epi32(_mm512_slli_epi32(quotient, PROBABILITY_BITS),
                            _mm512_add_epi32(start, rest));
}

// 16-bit entries for a range of symbols, looked up in registers: gathering from memory takes
// longer even for all 256 symbols.
template <u32 PAIRS>
struct SymbolTables {
    __m512i low[PAIRS], high[PAIRS];

    explicit SymbolTables(const u16* entries) {
        for (u32 p = 0; p < PAIRS; p++) {
            low[p] = _mm512_loadu_si512(entries + 64 * p);
            high[p] = _mm512_loadu_si512(entries + 64 * p + 32);
        }
    }

    __m512i at(__m512i index) const {
        __m512i found[PAIRS];
        for (u32 p = 0; p < PAIRS; p++)
            found[p] = _mm512_permutex2var_epi16(low[p], index, high[p]);
        if constexpr (PAIRS == 1) return found[0];
        const __mmask32 second = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
        const __m512i first = _mm512_mask_blend_epi16(second, found[0], found[1]);
        if constexpr (PAIRS == 2) return first;
        const __mmask32 upper = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
        return _mm512_mask_blend_epi16(
            upper, first, _mm512_mask_blend_epi16(second, found[PAIRS - 2], found[PAIRS - 1]));
    }
};

template <u32 LANES, u32 PAIRS>
void encode_groups(Encoder& state, const u8* symbols, std::size_t groups) {
    alignas(64) u16 frequency[64 * PAIRS] = {}, start[64 * PAIRS] = {};
    const u32 first = state.table->first;
    for (u32 s = first; s <= state.table->last; s++) {
        frequency[s - first] = static_cast<u16>(state.table->of[s] >> 16);
        start[s - first] = static_cast<u16>(state.table->of[s]);
    }
    const SymbolTables<PAIRS> frequencies(frequency), starts(start);
    const __m256i origin = _mm256_set1_epi8(static_cast<char>(first));
    Lanes<LANES> lanes(state.states);
    u8* words = state.words;
    for (std::size_t g = groups; g-- > 0;)
#pragma GCC unroll 4
        for (u32 i = 0; i < LANES / 32; i++) {
            const u32 h = LANES / 32 - 1 - i;
            const __m512i index = _mm512_cvtepu8_epi16(_mm256_sub_epi8(
                _mm256_loadu_si256((const __m256i*)(symbols + LANES * g + 32 * h)), origin));
            const __m512i f = frequencies.at(index), s = starts.at(index);
            lanes.of[2 * h + 1] =
                push(lanes.of[2 * h + 1],
                     _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(f, 1)),
                     _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(s, 1)), words);
            lanes.of[2 * h] =
                push(lanes.of[2 * h], _mm512_cvtepu16_epi32(_mm512_castsi512_si256(f)),
                     _mm512_cvtepu16_epi32(_mm512_castsi512_si256(s)), words);
        }
    state.words = words;
    lanes.save(state.states);
}

template <u32 LANES>
void encode_some(Encoder& state, const u8* symbols, std::size_t groups) {
    const u32 range = state.table->last - state.table->first;
    if (range < 64) return encode_groups<LANES, 1>(state, symbols, groups);
    if (range < 128) return encode_groups<LANES, 2>(state, symbols, groups);
    encode_groups<LANES, 4>(state, symbols, groups);
}

void encode(Encoder& state, const u8* symbols, std::size_t count) {
    const std::size_t groups = count / state.lanes;
    encode_lanes(state, symbols, groups * state.lanes, count);
    (state.lanes == 64 ? encode_some<64> : encode_some<128>)(state, symbols, groups);
}

inline __m512i refilled(__m512i x, const u8*& words) {
    const __mmask16 poor = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(STATE_LOW));
    const __m512i next = _mm512_maskz_expand_epi32(
        poor, _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)words)));
    words += 2 * _mm_popcnt_u32(poor);
    return _mm512_mask_or_epi32(x, poor, _mm512_slli_epi32(x, 16), next);
}

template <u32 LANES>
std::size_t decode_groups(Decoder& state, u8* symbols, std::size_t groups, const u8* safe) {
    Lanes<LANES> lanes(state.states);
    const u8* words = state.words;
    const __m512i low12 = _mm512_set1_epi32(0xfff), one = _mm512_set1_epi32(1);
    std::size_t g = 0;
    for (; g < groups && words <= safe; g++) {
        __m128i out[LANES / 16];
#pragma GCC unroll 8
        for (u32 v = 0; v < LANES / 16; v++) {
            __m512i x = lanes.of[v];
            const __m512i entry =
                _mm512_i32gather_epi32(_mm512_and_si512(x, low12), state.table, 4);
            const __m512i frequency = _mm512_add_epi32(
                _mm512_and_si512(_mm512_srli_epi32(entry, 12), low12), one);
            x = _mm512_add_epi32(
                _mm512_mullo_epi32(_mm512_srli_epi32(x, 12), frequency),
                _mm512_and_si512(entry, low12));
            lanes.of[v] = refilled(x, words);
            out[v] = _mm512_cvtepi32_epi8(_mm512_srli_epi32(entry, 24));
        }
        for (u32 v = 0; v < LANES / 16; v++)
            _mm_storeu_si128((__m128i*)(symbols + LANES * g + 16 * v), out[v]);
    }
    state.words = words;
    lanes.save(state.states);
    return g;
}

// The tables of Ranks in registers. Slots are words of 16 bits, 32 in a register.
struct RankTables {
    __m512i coarse[2], fine[2], next[2], start[2], frequency[2], symbol;

    explicit RankTables(const Ranks& ranks) {
        for (u32 i = 0; i < 2; i++) {
            coarse[i] = _mm512_loadu_si512(ranks.coarse + 64 * i);
            fine[i] = _mm512_loadu_si512(ranks.fine + 64 * i);
            next[i] = _mm512_loadu_si512(ranks.next + 32 * i);
            start[i] = _mm512_loadu_si512(ranks.start + 32 * i);
            frequency[i] = _mm512_loadu_si512(ranks.frequency + 32 * i);
        }
        symbol = _mm512_loadu_si512(ranks.symbol);
    }

    __m512i ranks_of(__m512i slots) const {
        constexpr __mmask64 LOW_BYTES = 0x5555555555555555;
        const __m512i edge = _mm512_and_si512(
            _mm512_add_epi16(slots, _mm512_set1_epi16(Ranks::EDGE)), _mm512_set1_epi16(0xfff));
        const __m512i roughly = _mm512_maskz_permutex2var_epi8(
            LOW_BYTES, coarse[0], _mm512_srli_epi16(slots, 5), coarse[1]);
        const __m512i exactly = _mm512_maskz_permutex2var_epi8(
            LOW_BYTES, fine[0], _mm512_srli_epi16(edge, 1), fine[1]);
        const __mmask32 at_edge =
            _mm512_cmplt_epu16_mask(edge, _mm512_set1_epi16(2 * Ranks::EDGE));
        const __m512i rank = _mm512_mask_blend_epi16(at_edge, roughly, exactly);
        const __mmask32 beyond = _mm512_cmpge_epu16_mask(
            slots, _mm512_permutex2var_epi16(next[0], rank, next[1]));
        return _mm512_mask_add_epi16(rank, beyond, rank, _mm512_set1_epi16(1));
    }
};

template <u32 LANES>
std::size_t decode_ranked(Decoder& state, u8* symbols, std::size_t groups, const u8* safe) {
    const RankTables tables(*state.ranks);
    Lanes<LANES> lanes(state.states);
    const u8* words = state.words;
    alignas(64) u16 low_halves[32];
    for (u16 i = 0; i < 32; i++) low_halves[i] = static_cast<u16>(2 * i);
    const __m512i halves = _mm512_load_si512(low_halves);
    alignas(64) u8 low_bytes[64];
    for (u8 i = 0; i < 64; i++) low_bytes[i] = static_cast<u8>(2 * i);
    const __m512i bytes = _mm512_load_si512(low_bytes);
    std::size_t g = 0;
    for (; g < groups && words <= safe; g++) {
        __m512i ranks[LANES / 32];
#pragma GCC unroll 4
        for (u32 h = 0; h < LANES / 32; h++) {
            __m512i &first = lanes.of[2 * h], &second = lanes.of[2 * h + 1];
            const __m512i slots = _mm512_and_si512(
                _mm512_permutex2var_epi16(first, halves, second), _mm512_set1_epi16(0xfff));
            const __m512i rank = tables.ranks_of(slots);
            const __m512i f =
                _mm512_permutex2var_epi16(tables.frequency[0], rank, tables.frequency[1]);
            const __m512i within = _mm512_sub_epi16(
                slots, _mm512_permutex2var_epi16(tables.start[0], rank, tables.start[1]));
            first = _mm512_add_epi32(
                _mm512_mullo_epi32(_mm512_srli_epi32(first, PROBABILITY_BITS),
                                   _mm512_cvtepu16_epi32(_mm512_castsi512_si256(f))),
                _mm512_cvtepu16_epi32(_mm512_castsi512_si256(within)));
            second = _mm512_add_epi32(
                _mm512_mullo_epi32(_mm512_srli_epi32(second, PROBABILITY_BITS),
                                   _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(f, 1))),
                _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(within, 1)));
            ranks[h] = rank;
        }
#pragma GCC unroll 8
        for (u32 v = 0; v < LANES / 16; v++) lanes.of[v] = refilled(lanes.of[v], words);
#pragma GCC unroll 2
        for (u32 h = 0; h < LANES / 64; h++) {
            const __m512i rank = _mm512_permutex2var_epi8(ranks[2 * h], bytes, ranks[2 * h + 1]);
            _mm512_storeu_si512(symbols + LANES * g + 64 * h,
                                _mm512_permutexvar_epi8(rank, tables.symbol));
        }
    }
    state.words = words;
    lanes.save(state.states);
    return g;
}

template <u32 LANES>
std::size_t decode_some(Decoder& state, u8* symbols, std::size_t count) {
    // A group takes at most a word a lane, in loads of 16.
    const auto run = state.ranks ? decode_ranked<LANES> : decode_groups<LANES>;
    return LANES * decode_groups_to_end<16>(state, symbols, count / LANES, run);
}

void decode(Decoder& state, u8* symbols, std::size_t count) {
    const std::size_t done =
        (state.lanes == 64 ? decode_some<64> : decode_some<128>)(state, symbols, count);
    decode_lanes(state, symbols, done, count);
}

// ---------------------------------------------------------------- counting

// Where a few symbols are most of the plane, they are counted 64 at a time by comparing; the
// others are collected and counted one by one.
void count_frequent(const u8* symbols, std::size_t count, u32* counts) {
    constexpr u32 FREQUENT = 8;
    constexpr std::size_t SAMPLE = 4096, HELD = 4096;
    if (count < 4 * SAMPLE) return histogram(symbols, count, counts);
    u32 sample[SYMBOLS] = {}, found = 0;
    histogram(symbols, SAMPLE, sample);
    u8 order[SYMBOLS];
    std::iota(order, order + SYMBOLS, u8{0});
    std::partial_sort(order, order + FREQUENT, order + SYMBOLS,
                      [&](u8 a, u8 b) { return sample[a] > sample[b]; });
    for (u32 k = 0; k < FREQUENT; k++) found += sample[order[k]];
    if (found < SAMPLE / 8 * 7) return histogram(symbols, count, counts);
    u64 sums[FREQUENT] = {};
    u8 held[HELD + 64];
    std::size_t holding = 0, i = 0;
    for (; i + 64 <= count; i += 64) {
        const __m512i here = _mm512_loadu_si512(symbols + i);
        __mmask64 others = ~__mmask64{0};
#pragma GCC unroll 8
        for (u32 k = 0; k < FREQUENT; k++) {
            const __mmask64 equal = _mm512_cmpeq_epi8_mask(
                here, _mm512_set1_epi8(static_cast<char>(order[k])));
            sums[k] += static_cast<u64>(_mm_popcnt_u64(equal));
            others &= ~equal;
        }
        _mm512_storeu_si512(held + holding, _mm512_maskz_compress_epi8(others, here));
        holding += static_cast<std::size_t>(_mm_popcnt_u64(others));
        if (holding >= HELD) {
            histogram(held, holding, counts);
            holding = 0;
        }
    }
    histogram(held, holding, counts);
    histogram(symbols + i, count - i, counts);
    for (u32 k = 0; k < FREQUENT; k++) counts[order[k]] += static_cast<u32>(sums[k]);
}

// ---------------------------------------------------------------- contexts

inline __mmask64 first_lanes(std::size_t count) {
    return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

void count_contexts(const u8* contexts, std::size_t count, std::size_t* counts) {
    for (std::size_t i = 0; i < count; i += 64) {
        const __mmask64 here = first_lanes(count - i);
        const __m512i context = _mm512_maskz_loadu_epi8(here, contexts + i);
        for (u32 c = 0; c < MAX_CONTEXTS; c++)
            counts[c] += static_cast<std::size_t>(_mm_popcnt_u64(_mm512_mask_cmpeq_epi8_mask(
                here, context, _mm512_set1_epi8(static_cast<char>(c)))));
    }
}

void part(const u8* symbols, const u8* contexts, std::size_t count, u8** ends) {
    u8* parts[MAX_CONTEXTS];
    std::memcpy(parts, ends, sizeof parts);
    for (std::size_t i = 0; i < count; i += 64) {
        const __mmask64 here = first_lanes(count - i);
        const __m512i context = _mm512_maskz_loadu_epi8(here, contexts + i);
        const __m512i symbol = _mm512_maskz_loadu_epi8(here, symbols + i);
#pragma GCC unroll 8
        for (u32 c = 0; c < MAX_CONTEXTS; c++) {
            const __mmask64 mine = _mm512_mask_cmpeq_epi8_mask(
                here, context, _mm512_set1_epi8(static_cast<char>(c)));
            _mm512_storeu_si512(parts[c], _mm512_maskz_compress_epi8(mine, symbol));
            parts[c] += _mm_popcnt_u64(mine);
        }
    }
    std::memcpy(ends, parts, sizeof parts);
}

void join(const u8** starts, const u8* contexts, std::size_t count, u8* symbols) {
    const u8* parts[MAX_CONTEXTS];
    std::memcpy(parts, starts, sizeof parts);
    for (std::size_t i = 0; i < count; i += 64) {
        const __mmask64 here = first_lanes(count - i);
        const __m512i context = _mm512_maskz_loadu_epi8(here, contexts + i);
        __m512i symbol = _mm512_setzero_si512();
#pragma GCC unroll 8
        for (u32 c = 0; c < MAX_CONTEXTS; c++) {
            const __mmask64 mine = _mm512_mask_cmpeq_epi8_mask(
                here, context, _mm512_set1_epi8(static_cast<char>(c)));
            symbol = _mm512_mask_expand_epi8(symbol, mine, _mm512_loadu_si512(parts[c]));
            parts[c] += _mm_popcnt_u64(mine);
        }
        _mm512_mask_storeu_epi8(symbols + i, here, symbol);
    }
    std::memcpy(starts, parts, sizeof parts);
}

// ---------------------------------------------------------------- hashes

void xxh3_stripes(u64* acc, const u8* input, const u8* secret, std::size_t stripes) {
    __m512i sums = _mm512_loadu_si512(acc);
    for (std::size_t s = 0; s < stripes; s++, input += 64, secret += 8) {
        const __m512i data = _mm512_loadu_si512(input);
        const __m512i keyed = _mm512_xor_si512(data, _mm512_loadu_si512(secret));
        const __m512i product = _mm512_mul_epu32(keyed, _mm512_srli_epi64(keyed, 32));
        const __m512i swapped = _mm512_shuffle_epi32(data, _MM_PERM_BADC);
        sums = _mm512_add_epi64(sums, _mm512_add_epi64(product, swapped));
    }
    _mm512_storeu_si512(acc, sums);
}

// Sixteen messages at once, one in each lane.

inline __m512i swap_bytes(__m512i words) {
    const __m512i order = _mm512_broadcast_i32x4(
        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    return _mm512_shuffle_epi8(words, order);
}

// Row i of `rows` (word 0..15 of message i) becomes word i of all messages.
inline void transpose(__m512i* rows) {
    __m512i t[16];
    for (u32 i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    __m512i u[16];
    for (u32 i = 0; i < 16; i += 4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (u32 c = 0; c < 4; c++) {
        const __m512i a = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd);
        const __m512i d = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
        const __m512i e = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
        rows[c] = _mm512_shuffle_i32x4(a, d, 0x88);
        rows[4 + c] = _mm512_shuffle_i32x4(b, e, 0x88);
        rows[8 + c] = _mm512_shuffle_i32x4(a, d, 0xdd);
        rows[12 + c] = _mm512_shuffle_i32x4(b, e, 0xdd);
    }
}

inline __m512i xor3(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

void sha256_rounds(__m512i* state, __m512i* w) {
    __m512i a = state[0], b = state[1], c = state[2], d = state[3];
    __m512i e = state[4], f = state[5], g = state[6], h = state[7];
#pragma GCC unroll 64
    for (u32 i = 0; i < 64; i++) {
        const u32 k = i & 15;
        if (i >= 16) {
            const __m512i far = w[(k + 1) & 15], near = w[(k + 14) & 15];
            const __m512i s0 = xor3(_mm512_ror_epi32(far, 7), _mm512_ror_epi32(far, 18),
                                    _mm512_srli_epi32(far, 3));
            const __m512i s1 = xor3(_mm512_ror_epi32(near, 17), _mm512_ror_epi32(near, 19),
                                    _mm512_srli_epi32(near, 10));
            w[k] = _mm512_add_epi32(_mm512_add_epi32(w[k], s0),
                                    _mm512_add_epi32(w[(k + 9) & 15], s1));
        }
        const __m512i s1 =
            xor3(_mm512_ror_epi32(e, 6), _mm512_ror_epi32(e, 11), _mm512_ror_epi32(e, 25));
        const __m512i choice = _mm512_ternarylogic_epi32(e, f, g, 0xca);
        const __m512i keyed = _mm512_add_epi32(
            w[k], _mm512_set1_epi32(static_cast<int>(SHA_ROUND[i])));
        const __m512i first = _mm512_add_epi32(_mm512_add_epi32(h, s1),
                                               _mm512_add_epi32(choice, keyed));
        const __m512i s0 =
            xor3(_mm512_ror_epi32(a, 2), _mm512_ror_epi32(a, 13), _mm512_ror_epi32(a, 22));
        const __m512i majority = _mm512_ternarylogic_epi32(a, b, c, 0xe8);
        h = g; g = f; f = e;
        e = _mm512_add_epi32(d, first);
        d = c; c = b; b = a;
        a = _mm512_add_epi32(first, _mm512_add_epi32(s0, majority));
    }
    const __m512i v[8] = {a, b, c, d, e, f, g, h};
    for (u32 i = 0; i < 8; i++) state[i] = _mm512_add_epi32(state[i], v[i]);
}

void sha256_sixteen(const u8* data, std::size_t length, u8* digests) {
    __m512i state[8], w[16];
    for (u32 i = 0; i < 8; i++) state[i] = _mm512_set1_epi32(static_cast<int>(SHA_START[i]));
    for (std::size_t at = 0; at < length; at += 64) {
        for (u32 m = 0; m < 16; m++)
            w[m] = swap_bytes(_mm512_loadu_si512(data + m * length + at));
        transpose(w);
        sha256_rounds(state, w);
    }
    u8 padding[64];
    sha256_padding(length, padding);
    for (u32 i = 0; i < 16; i++)
        w[i] = _mm512_set1_epi32(static_cast<int>(__builtin_bswap32(load<u32>(padding + 4 * i))));
    sha256_rounds(state, w);
    alignas(64) u32 words[8][16];
    for (u32 i = 0; i < 8; i++) _mm512_store_si512(words[i], state[i]);
    for (u32 m = 0; m < 16; m++)
        for (u32 i = 0; i < 8; i++)
            store<u32>(digests + 32 * m + 4 * i, __builtin_bswap32(words[i][m]));
}

void sha256_many(const u8* data, std::size_t length, std::size_t count, u8* digests) {
    for (; count >= 16; count -= 16, data += 16 * length, digests += 16 * 32)
        sha256_sixteen(data, length, digests);
    avx2.sha256_many(data, length, count, digests);
}

// ---------------------------------------------------------------- Reed-Solomon

template <u32 TARGETS, u32 VECTORS>
std::size_t combine_vectors(const Combination& all, const Tile& tile, std::size_t at) {
    for (; at + 64 * VECTORS <= tile.end; at += 64 * VECTORS) {
        __m512i sums[TARGETS][VECTORS];
        for (u32 t = 0; t < TARGETS; t++)
            for (u32 v = 0; v < VECTORS; v++)
                sums[t][v] = _mm512_loadu_si512(all.targets[tile.target + t] + at + 64 * v);
        for (std::size_t s = tile.source; s < tile.source_end; s++) {
            __m512i data[VECTORS];
            for (u32 v = 0; v < VECTORS; v++)
                data[v] = _mm512_loadu_si512(all.sources[s] + at + 64 * v);
            const u8* factor = all.factors + tile.target * all.source_count + s;
            for (u32 t = 0; t < TARGETS; t++, factor += all.source_count) {
                const __m512i factors = _mm512_set1_epi8(static_cast<char>(*factor));
                for (u32 v = 0; v < VECTORS; v++)
                    sums[t][v] = _mm512_xor_si512(sums[t][v],
                                                  _mm512_gf2p8mul_epi8(data[v], factors));
            }
        }
        for (u32 t = 0; t < TARGETS; t++)
            for (u32 v = 0; v < VECTORS; v++)
                _mm512_storeu_si512(all.targets[tile.target + t] + at + 64 * v, sums[t][v]);
    }
    return at;
}

template <u32 TARGETS>
void combine_targets(const Combination& all, const Tile& tile) {
    const std::size_t at = combine_vectors<TARGETS, 4>(all, tile, tile.at);
    combine_bytes(all, tile, combine_vectors<TARGETS, 1>(all, tile, at));
}

void combine_tile(const Combination& all, const Tile& tile) {
    constexpr decltype(&combine_targets<1>) WITH[] = {combine_targets<1>, combine_targets<2>,
                                                      combine_targets<3>, combine_targets<4>};
    WITH[tile.targets - 1](all, tile);
}

void combine(const Combination& all) { combine_tiles<4>(all, combine_tile); }

}  // namespace

const Path avx512 = {"avx512", here, encode, decode, count_frequent, split, merge, contexts,
                     count_contexts, part, join, difference, restore, xxh3_stripes, sha256_many,
                     combine};

}  // namespace outlast

#else

namespace outlast {
const Path avx512 = {"avx512", [] { return false; }};
}  // namespace outlast

#endif
