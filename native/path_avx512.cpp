// AVX-512 F, BW, DQ, VL, VBMI and VBMI2 (Ice Lake, Zen 4 and later).
#include "loops.hpp"
#include "sha256.hpp"

#if defined(__AVX512VBMI2__)
#include <immintrin.h>

namespace outlast {
namespace {

bool here() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2");
}

// ---------------------------------------------------------------- rANS

struct Lanes {
    __m512i quarter[4];
    explicit Lanes(const u32* states) {
        for (u32 v = 0; v < 4; v++) quarter[v] = _mm512_loadu_si512(states + 16 * v);
    }
    void save(u32* states) const {
        for (u32 v = 0; v < 4; v++) _mm512_storeu_si512(states + 16 * v, quarter[v]);
    }
};

template <bool CONTEXTS>
inline __m512i indices(const u8* symbols, const u8* contexts) {
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)symbols));
    if (CONTEXTS) {
        const __m512i context = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)contexts));
        index = _mm512_or_si512(index, _mm512_slli_epi32(context, 8));
    }
    return index;
}

inline __m512i quotients(__m512i x, __m512i reciprocal, __m512i shift) {
    const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, reciprocal), 32);
    const __m512i odd =
        _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(reciprocal, 32));
    return _mm512_srlv_epi32(_mm512_mask_blend_epi32(0xaaaa, even, odd), shift);
}

template <bool CONTEXTS>
void encode_groups(Encoder& state, const u8* symbols, const u8* contexts, std::size_t groups) {
    Lanes lanes(state.states);
    const EncodeTable& table = *state.table;
    const __m512i low13 = _mm512_set1_epi32(0x1fff);
    u8* words = state.words;
    for (std::size_t g = groups; g-- > 0;) {
        for (u32 v = 4; v-- > 0;) {
            const std::size_t at = LANES * g + 16 * v;
            const __m512i index = indices<CONTEXTS>(symbols + at, contexts + at);
            const __m512i limit = _mm512_i32gather_epi32(index, table.limit, 4);
            const __m512i reciprocal = _mm512_i32gather_epi32(index, table.reciprocal, 4);
            const __m512i packed = _mm512_i32gather_epi32(index, table.packed, 4);
            __m512i x = lanes.quarter[v];
            const __mmask16 full = _mm512_cmpgt_epu32_mask(x, limit);
            words -= 2 * _mm_popcnt_u32(full);
            const __m256i given = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, x));
            _mm256_mask_storeu_epi16(words, static_cast<__mmask16>(
                (1u << _mm_popcnt_u32(full)) - 1), given);
            x = _mm512_mask_srli_epi32(x, full, x, 16);
            const __m512i quotient = quotients(x, reciprocal, _mm512_srli_epi32(packed, 26));
            const __m512i grown = _mm512_mullo_epi32(
                quotient, _mm512_and_si512(_mm512_srli_epi32(packed, 13), low13));
            lanes.quarter[v] = _mm512_add_epi32(
                x, _mm512_add_epi32(grown, _mm512_and_si512(packed, low13)));
        }
    }
    state.words = words;
    lanes.save(state.states);
}

void encode(Encoder& state, const u8* symbols, const u8* contexts, std::size_t count) {
    const std::size_t groups = count / LANES;
    encode_lanes(state, symbols, contexts, groups * LANES, count);
    if (contexts)
        encode_groups<true>(state, symbols, contexts, groups);
    else
        encode_groups<false>(state, symbols, symbols, groups);
}

template <bool CONTEXTS>
std::size_t decode_groups(Decoder& state, u8* symbols, const u8* contexts, std::size_t groups) {
    Lanes lanes(state.states);
    const u8* words = state.words;
    // A group takes at most 64 words; the last load of 16 words may look 16 words further.
    const u8* const safe = state.end - 2 * (LANES + 16);
    const __m512i low12 = _mm512_set1_epi32(0xfff), one = _mm512_set1_epi32(1);
    const __m512i state_low = _mm512_set1_epi32(STATE_LOW);
    std::size_t g = 0;
    for (; g < groups && words <= safe; g++) {
        __m128i out[4];
#pragma GCC unroll 4
        for (u32 v = 0; v < 4; v++) {
            __m512i x = lanes.quarter[v];
            __m512i index = _mm512_and_si512(x, low12);
            if (CONTEXTS) {
                const __m512i context = _mm512_cvtepu8_epi32(
                    _mm_loadu_si128((const __m128i*)(contexts + LANES * g + 16 * v)));
                index = _mm512_or_si512(index, _mm512_slli_epi32(context, 12));
            }
            const __m512i entry = _mm512_i32gather_epi32(index, state.table, 4);
            const __m512i frequency = _mm512_add_epi32(
                _mm512_and_si512(_mm512_srli_epi32(entry, 12), low12), one);
            x = _mm512_add_epi32(
                _mm512_mullo_epi32(_mm512_srli_epi32(x, 12), frequency),
                _mm512_and_si512(entry, low12));
            const __mmask16 poor = _mm512_cmplt_epu32_mask(x, state_low);
            const __m512i next = _mm512_maskz_expand_epi32(
                poor, _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)words)));
            words += 2 * _mm_popcnt_u32(poor);
            lanes.quarter[v] =
                _mm512_mask_or_epi32(x, poor, _mm512_slli_epi32(x, 16), next);
            out[v] = _mm512_cvtepi32_epi8(_mm512_srli_epi32(entry, 24));
        }
        for (u32 v = 0; v < 4; v++)
            _mm_storeu_si128((__m128i*)(symbols + LANES * g + 16 * v), out[v]);
    }
    state.words = words;
    lanes.save(state.states);
    return g;
}

void decode(Decoder& state, u8* symbols, const u8* contexts, std::size_t count) {
    const std::size_t groups = count / LANES;
    std::size_t done = 0;
    if (state.end - state.words >= static_cast<std::ptrdiff_t>(2 * (LANES + 16)))
        done = contexts ? decode_groups<true>(state, symbols, contexts, groups)
                        : decode_groups<false>(state, symbols, nullptr, groups);
    decode_lanes(state, symbols, contexts, done * LANES, count);
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

}  // namespace

const Path avx512 = {"avx512", here, encode, decode, histogram, split, merge, contexts,
                     difference, restore, xxh3_stripes, sha256_many};

}  // namespace outlast

#else

namespace outlast {
const Path avx512 = {"avx512", [] { return false; }, nullptr, nullptr, nullptr, nullptr, nullptr,
                     nullptr, nullptr, nullptr, nullptr, nullptr};
}  // namespace outlast

#endif
