// AVX2 (Haswell, Zen and later), and the SHA extensions where they are.
#include "galois.hpp"
#include "loops.hpp"
#include "sha256.hpp"

#if defined(__AVX2__) && defined(__SHA__)
#include <cpuid.h>
#include <immintrin.h>

#include <bit>

namespace outlast {
namespace {

bool here() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"); }

bool has_sha() {
    u32 a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}

// ---------------------------------------------------------------- rANS

// For each set of lanes: the word that each of them takes (spread), and the lanes in it, moved to
// the end (gathered): words are written downwards, and what lies below them comes later.
struct Moves {
    alignas(32) u32 spread[256][8];
    alignas(32) u32 gathered[256][8];
};

constexpr Moves moves() {
    Moves made{};
    for (u32 mask = 0; mask < 256; mask++) {
        u32 word = 0;
        for (u32 lane = 0; lane < 8; lane++)
            if (mask >> lane & 1) {
                made.spread[mask][lane] = word;
                made.gathered[mask][8 - std::popcount(mask) + word++] = lane;
            }
    }
    return made;
}

constexpr Moves MOVES = moves();

inline __m256i widened(const u8* bytes) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)bytes));
}

inline __m256i gather(const u32* table, __m256i index) {
    return _mm256_i32gather_epi32((const int*)table, index, 4);
}

inline u32 lanes_of(__m256i mask) {
    return static_cast<u32>(_mm256_movemask_ps(_mm256_castsi256_ps(mask)));
}

// Sixteen bits of each of eight lanes, in order.
inline __m128i halves(__m256i words) {
    const __m256i low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
    const __m256i packed = _mm256_packus_epi32(low, low);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}

// Pushes one symbol into each of 8 lanes. The quotient of two floats is good to 23 bits; it is
// below 2^20, so it is at most one off, and the remainder tells.
inline __m256i divided(__m256i x, __m256i frequency, __m256i& rest) {
    const __m256 number = _mm256_add_ps(
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(x, 16)), _mm256_set1_ps(65536.0f)),
        _mm256_cvtepi32_ps(_mm256_and_si256(x, _mm256_set1_epi32(0xffff))));
    __m256i quotient =
        _mm256_cvttps_epi32(_mm256_div_ps(number, _mm256_cvtepi32_ps(frequency)));
    rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, frequency));
    const __m256i over = _mm256_srai_epi32(rest, 31);  // -1 where the quotient is too large
    quotient = _mm256_add_epi32(quotient, over);
    rest = _mm256_add_epi32(rest, _mm256_and_si256(over, frequency));
    const __m256i fits = _mm256_cmpgt_epi32(frequency, rest);
    quotient = _mm256_add_epi32(quotient, _mm256_andnot_si256(fits, _mm256_set1_epi32(1)));
    rest = _mm256_sub_epi32(rest, _mm256_andnot_si256(fits, frequency));
    return quotient;
}

template <u32 LANES>
void encode_groups(Encoder& state, const u8* symbols, std::size_t groups) {
    __m256i lanes[LANES / 8];
    std::memcpy(lanes, state.states, sizeof lanes);
    const EncodeTable& table = *state.table;
    u8* words = state.words;
    for (std::size_t g = groups; g-- > 0;) {
        for (u32 v = LANES / 8; v-- > 0;) {
            const std::size_t at = LANES * g + 8 * v;
            const __m256i entry = gather(table.of, widened(symbols + at));
            const __m256i frequency = _mm256_srli_epi32(entry, 16);
            __m256i x = lanes[v];
            const __m256i kept = _mm256_cmpgt_epi32(frequency, _mm256_srli_epi32(x, 20));
            const u32 full = ~lanes_of(kept) & 0xff;
            const __m256i moved = _mm256_permutevar8x32_epi32(
                x, _mm256_load_si256((const __m256i*)MOVES.gathered[full]));
            _mm_storeu_si128((__m128i*)(words - 16), halves(moved));
            words -= 2 * _mm_popcnt_u32(full);
            x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, kept);
            __m256i rest;
            const __m256i quotient = divided(x, frequency, rest);
            lanes[v] = _mm256_add_epi32(
                _mm256_slli_epi32(quotient, PROBABILITY_BITS),
                _mm256_add_epi32(rest, _mm256_and_si256(entry, _mm256_set1_epi32(0xffff))));
        }
    }
    state.words = words;
    std::memcpy(state.states, lanes, sizeof lanes);
}

void encode(Encoder& state, const u8* symbols, std::size_t count) {
    const std::size_t groups = count / state.lanes;
    encode_lanes(state, symbols, groups * state.lanes, count);
    (state.lanes == 64 ? encode_groups<64> : encode_groups<128>)(state, symbols, groups);
}

template <u32 LANES>
std::size_t decode_groups(Decoder& state, u8* symbols, std::size_t groups, const u8* safe) {
    __m256i lanes[LANES / 8];
    std::memcpy(lanes, state.states, sizeof lanes);
    const u8* words = state.words;
    const __m256i low12 = _mm256_set1_epi32(0xfff), one = _mm256_set1_epi32(1);
    const __m256i below = _mm256_set1_epi32(STATE_LOW - 1);
    std::size_t g = 0;
    for (; g < groups && words <= safe; g++) {
        __m256i entries[LANES / 8];
#pragma GCC unroll 8
        for (u32 v = 0; v < LANES / 8; v++) {
            __m256i x = lanes[v];
            const __m256i entry = gather(state.table, _mm256_and_si256(x, low12));
            const __m256i frequency =
                _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(entry, 12), low12), one);
            x = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(x, 12), frequency),
                                 _mm256_and_si256(entry, low12));
            const __m256i poor = _mm256_cmpeq_epi32(_mm256_min_epu32(x, below), x);
            const u32 mask = lanes_of(poor);
            const __m256i next = _mm256_permutevar8x32_epi32(
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)words)),
                _mm256_load_si256((const __m256i*)MOVES.spread[mask]));
            words += 2 * _mm_popcnt_u32(mask);
            lanes[v] =
                _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), next), poor);
            entries[v] = _mm256_srli_epi32(entry, 24);
        }
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        for (u32 v = 0; v < LANES / 8; v += 4) {
            const __m256i first = _mm256_packus_epi32(entries[v], entries[v + 1]);
            const __m256i second = _mm256_packus_epi32(entries[v + 2], entries[v + 3]);
            const __m256i bytes =
                _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
            _mm256_storeu_si256((__m256i*)(symbols + LANES * g + 8 * v), bytes);
        }
    }
    state.words = words;
    std::memcpy(state.states, lanes, sizeof lanes);
    return g;
}

void decode(Decoder& state, u8* symbols, std::size_t count) {
    const auto run = state.lanes == 64 ? decode_groups<64> : decode_groups<128>;
    const std::size_t done = decode_groups_to_end<8>(state, symbols, count / state.lanes, run);
    decode_lanes(state, symbols, done * state.lanes, count);
}

// ---------------------------------------------------------------- hashes

void xxh3_stripes(u64* acc, const u8* input, const u8* secret, std::size_t stripes) {
    __m256i sums[2];
    std::memcpy(sums, acc, sizeof sums);
    for (std::size_t s = 0; s < stripes; s++, input += 64, secret += 8)
        for (u32 half = 0; half < 2; half++) {
            const __m256i data = _mm256_loadu_si256((const __m256i*)(input + 32 * half));
            const __m256i key = _mm256_loadu_si256((const __m256i*)(secret + 32 * half));
            const __m256i keyed = _mm256_xor_si256(data, key);
            const __m256i product = _mm256_mul_epu32(keyed, _mm256_srli_epi64(keyed, 32));
            const __m256i swapped = _mm256_shuffle_epi32(data, _MM_SHUFFLE(1, 0, 3, 2));
            sums[half] = _mm256_add_epi64(sums[half], _mm256_add_epi64(product, swapped));
        }
    std::memcpy(acc, sums, sizeof sums);
}

// The SHA instructions have a latency of several cycles: two messages fill each other's gaps.
template <u32 MESSAGES>
inline void sha256_block(__m128i (*state)[2], const u8* const* blocks) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i w[MESSAGES][4], start[MESSAGES][2];
    for (u32 m = 0; m < MESSAGES; m++) {
        start[m][0] = state[m][0];
        start[m][1] = state[m][1];
        for (u32 i = 0; i < 4; i++)
            w[m][i] = _mm_shuffle_epi8(
                _mm_loadu_si128((const __m128i*)(blocks[m] + 16 * i)), order);
    }
#pragma GCC unroll 16
    for (u32 i = 0; i < 16; i++) {
        const __m128i keys = _mm_load_si128((const __m128i*)(SHA_ROUND + 4 * i));
        for (u32 m = 0; m < MESSAGES; m++) {
            __m128i& now = w[m][i & 3];
            if (i >= 4) {
                const __m128i last = w[m][(i + 3) & 3];
                const __m128i shifted = _mm_alignr_epi8(last, w[m][(i + 2) & 3], 4);
                now = _mm_sha256msg1_epu32(now, w[m][(i + 1) & 3]);
                now = _mm_sha256msg2_epu32(_mm_add_epi32(now, shifted), last);
            }
            const __m128i keyed = _mm_add_epi32(now, keys);
            state[m][1] = _mm_sha256rnds2_epu32(state[m][1], state[m][0], keyed);
            state[m][0] = _mm_sha256rnds2_epu32(state[m][0], state[m][1],
                                                _mm_shuffle_epi32(keyed, 0x0e));
        }
    }
    for (u32 m = 0; m < MESSAGES; m++) {
        state[m][0] = _mm_add_epi32(state[m][0], start[m][0]);
        state[m][1] = _mm_add_epi32(state[m][1], start[m][1]);
    }
}

template <u32 MESSAGES>
void sha256_together(const u8* data, std::size_t length, u8* digests) {
    // The instructions want the words as ABEF and CDGH, the last of them lowest.
    __m128i state[MESSAGES][2];
    for (auto& each : state) {
        each[0] = _mm_setr_epi32(static_cast<int>(SHA_START[5]), static_cast<int>(SHA_START[4]),
                                 static_cast<int>(SHA_START[1]), static_cast<int>(SHA_START[0]));
        each[1] = _mm_setr_epi32(static_cast<int>(SHA_START[7]), static_cast<int>(SHA_START[6]),
                                 static_cast<int>(SHA_START[3]), static_cast<int>(SHA_START[2]));
    }
    const u8* blocks[MESSAGES];
    for (std::size_t at = 0; at < length; at += 64) {
        for (u32 m = 0; m < MESSAGES; m++) blocks[m] = data + m * length + at;
        sha256_block<MESSAGES>(state, blocks);
    }
    u8 padding[64];
    sha256_padding(length, padding);
    for (u32 m = 0; m < MESSAGES; m++) blocks[m] = padding;
    sha256_block<MESSAGES>(state, blocks);
    for (u32 m = 0; m < MESSAGES; m++) {
        alignas(16) u32 feba[4], hgdc[4];
        _mm_store_si128((__m128i*)feba, state[m][0]);
        _mm_store_si128((__m128i*)hgdc, state[m][1]);
        const u32 words[8] = {feba[3], feba[2], hgdc[3], hgdc[2],
                              feba[1], feba[0], hgdc[1], hgdc[0]};
        sha256_digest(words, digests + 32 * m);
    }
}

void sha256_many(const u8* data, std::size_t length, std::size_t count, u8* digests) {
    static const bool extensions = has_sha();
    if (!extensions) return portable.sha256_many(data, length, count, digests);
    for (; count >= 2; count -= 2, data += 2 * length, digests += 64)
        sha256_together<2>(data, length, digests);
    if (count) sha256_together<1>(data, length, digests);
}

// ---------------------------------------------------------------- Reed-Solomon

// For each factor its products with the 16 low nibbles, and with the 16 high ones.
struct Nibbles {
    alignas(32) u8 of[256][2][16];
};

constexpr Nibbles nibbles() {
    Nibbles made{};
    for (u32 factor = 0; factor < 256; factor++)
        for (u32 i = 0; i < 16; i++) {
            made.of[factor][0][i] = product(static_cast<u8>(i), static_cast<u8>(factor));
            made.of[factor][1][i] = product(static_cast<u8>(i << 4), static_cast<u8>(factor));
        }
    return made;
}

constexpr Nibbles NIBBLES = nibbles();

inline __m256i twice(const u8* table) {
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i*)table));
}

template <u32 TARGETS>
std::size_t combine_vectors(const Combination& all, const Tile& tile) {
    const __m256i low4 = _mm256_set1_epi8(15);
    std::size_t at = tile.at;
    for (; at + 64 <= tile.end; at += 64) {
        __m256i sums[TARGETS][2];
        for (u32 t = 0; t < TARGETS; t++)
            for (u32 v = 0; v < 2; v++)
                sums[t][v] = _mm256_loadu_si256(
                    (const __m256i*)(all.targets[tile.target + t] + at + 32 * v));
        for (std::size_t s = tile.source; s < tile.source_end; s++) {
            __m256i low[2], high[2];
            for (u32 v = 0; v < 2; v++) {
                const __m256i data =
                    _mm256_loadu_si256((const __m256i*)(all.sources[s] + at + 32 * v));
                low[v] = _mm256_and_si256(data, low4);
                high[v] = _mm256_and_si256(_mm256_srli_epi16(data, 4), low4);
            }
            const u8* factor = all.factors + tile.target * all.source_count + s;
            for (u32 t = 0; t < TARGETS; t++, factor += all.source_count) {
                const __m256i of_low = twice(NIBBLES.of[*factor][0]);
                const __m256i of_high = twice(NIBBLES.of[*factor][1]);
                for (u32 v = 0; v < 2; v++) {
                    const __m256i part = _mm256_xor_si256(_mm256_shuffle_epi8(of_low, low[v]),
                                                          _mm256_shuffle_epi8(of_high, high[v]));
                    sums[t][v] = _mm256_xor_si256(sums[t][v], part);
                }
            }
        }
        for (u32 t = 0; t < TARGETS; t++)
            for (u32 v = 0; v < 2; v++)
                _mm256_storeu_si256((__m256i*)(all.targets[tile.target + t] + at + 32 * v),
                                    sums[t][v]);
    }
    return at;
}

void combine_tile(const Combination& all, const Tile& tile) {
    constexpr decltype(&combine_vectors<1>) WITH[] = {combine_vectors<1>, combine_vectors<2>,
                                                      combine_vectors<3>, combine_vectors<4>};
    combine_bytes(all, tile, WITH[tile.targets - 1](all, tile));
}

void combine(const Combination& all) { combine_tiles<4>(all, combine_tile); }

}  // namespace

const Path avx2 = {"avx2", here, encode, decode, histogram, split, merge, contexts,
                   count_contexts_plain, part_plain, join_plain, difference, restore, xxh3_stripes, sha256_many,
                   combine};

}  // namespace outlast

#else

namespace outlast {
const Path avx2 = {"avx2", [] { return false; }};
}  // namespace outlast

#endif
