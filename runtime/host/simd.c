/* Kernels for a host's vectors, and the choice of a set that the processor runs. */
#include "simd.h"

#include <string.h>

#include "adder.h"

/// Kernels ///

#define PORTABLE_FULL_ADD(high, low, a, b, c) MB_FULL_ADD_OF(LANES, high, low, a, b, c)
#define PORTABLE_EIGHT(...) MB_ADD_EIGHT_OF(LANES, __VA_ARGS__)
#define VECTOR(bytes) __attribute__((vector_size(bytes), may_alias))

static const uint64_t ALL[2] = {0, ~(uint64_t)0}; /* ALL[b]: bit b in every lane, by one load */

#define LANES uint64_t
#define TARGET MB_BASELINE
#define NAME(x) x##_words
#define FULL_ADD PORTABLE_FULL_ADD
#define ADD_EIGHT PORTABLE_EIGHT
#include "dense.inc"

#ifdef MB_NEON_CODE
typedef uint64_t v16 VECTOR(16);
#define LANES v16
#define TARGET MB_BASELINE
#define NAME(x) x##_neon
#define FULL_ADD PORTABLE_FULL_ADD
#define ADD_EIGHT PORTABLE_EIGHT
#include "dense.inc"
#endif

#ifdef MB_X86
typedef uint64_t v16 VECTOR(16);
typedef uint64_t v32 VECTOR(32);
typedef uint64_t v64 VECTOR(64);

#define LANES v16
#define TARGET MB_AVX2_CODE
#define NAME(x) x##_avx2_16
#define FULL_ADD PORTABLE_FULL_ADD
#define ADD_EIGHT PORTABLE_EIGHT
#include "dense.inc"
#define LANES v32
#define TARGET MB_AVX2_CODE
#define NAME(x) x##_avx2_32
#define FULL_ADD PORTABLE_FULL_ADD
#define ADD_EIGHT PORTABLE_EIGHT
#include "dense.inc"

/* low = a ^ b ^ c and high = the majority, in one instruction each. */
#define TERNARY(logic, type, high, low, a, b, c)                  \
    do {                                                          \
        const type a_ = (type)(a), b_ = (type)(b), c_ = (type)(c); \
        (low) = (LANES)logic(a_, b_, c_, 0x96);                   \
        (high) = (LANES)logic(a_, b_, c_, 0xE8);                  \
    } while (0)

/* As MB_ADD_EIGHT_OF, by full adders of two instructions, which are fewer than pairs take. */
#define TERNARY_EIGHT(out, ones, twos, fours, x0, x1, x2, x3, x4, x5, x6, x7) \
    do {                                                                      \
        LANES t0, t1, f0, f1;                                                 \
        FULL_ADD(t0, ones, x0, x1, ones);                                     \
        FULL_ADD(t1, ones, x2, x3, ones);                                     \
        FULL_ADD(f0, twos, t0, t1, twos);                                     \
        FULL_ADD(t0, ones, x4, x5, ones);                                     \
        FULL_ADD(t1, ones, x6, x7, ones);                                     \
        FULL_ADD(f1, twos, t0, t1, twos);                                     \
        FULL_ADD(out, fours, f0, f1, fours);                                  \
    } while (0)

#define LANES v16
#define TARGET MB_AVX512_CODE
#define NAME(x) x##_avx512_16
#define FULL_ADD(high, low, a, b, c) TERNARY(_mm_ternarylogic_epi64, __m128i, high, low, a, b, c)
#define ADD_EIGHT TERNARY_EIGHT
#include "dense.inc"
#define LANES v32
#define TARGET MB_AVX512_CODE
#define NAME(x) x##_avx512_32
#define FULL_ADD(high, low, a, b, c) TERNARY(_mm256_ternarylogic_epi64, __m256i, high, low, a, b, c)
#define ADD_EIGHT TERNARY_EIGHT
#include "dense.inc"
#define LANES v64
#define TARGET MB_AVX512_CODE
#define NAME(x) x##_avx512_64
#define FULL_ADD(high, low, a, b, c) TERNARY(_mm512_ternarylogic_epi64, __m512i, high, low, a, b, c)
#define ADD_EIGHT TERNARY_EIGHT
#include "dense.inc"
#endif

/// Lists ///

static uint16_t *list_bits(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list)
{
    (void)bytes;
    for (uint32_t i = 0; i < words; i++) {
        list = mb_list_bits(list, bits[i], 32u * i);
    }
    return list;
}

#ifdef MB_X86
typedef uint16_t v8 VECTOR(16);

/* Appends the bits of one byte at a time. A branch for each bit would often be mispredicted. */
MB_AVX2_CODE static uint16_t *list_bits_popcnt(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list)
{
    v8 base = {0};
    for (uint32_t i = 0; i < words; i++) {
        uint32_t v = bits[i];
        if (v == 0) {
            base += 32;
            continue;
        }
        for (unsigned byte = 0; byte < 4u; byte++, v >>= 8) {
            const v8 all = *(const v8 *)(const void *)(bytes + 8u * (v & 255u)) + base;
            memcpy(list, &all, sizeof all);
            list += __builtin_popcount(v & 255u);
            base += 8;
        }
    }
    return list;
}

MB_AVX512_CODE static uint16_t *list_bits_compress(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list)
{
    (void)bytes;
    const __m512i step = _mm512_set1_epi16(32);
    __m512i at = _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,
                                  4, 3, 2, 1, 0);
    for (uint32_t i = 0; i < words; i++) {
        _mm512_storeu_si512(list, _mm512_maskz_compress_epi16(bits[i], at));
        list += _mm_popcnt_u32(bits[i]);
        at = _mm512_add_epi16(at, step);
    }
    return list;
}
#endif

/// Scores ///

#ifdef MB_X86
/* x [pitch] = the activations as a row. Returns how many of them are on. */
MB_AVX2_CODE static uint32_t make_row(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x)
{
    const uint32_t words = MB_WORDS(c->of->inputs);
    uint64_t active = 0;
    for (uint32_t i = 0; i < c->pitch; i++) {
        const uint32_t low = 2u * i < words ? bits[2u * i] : 0, high = 2u * i + 1u < words ? bits[2u * i + 1u] : 0;
        x[i] = low | (uint64_t)high << 32;
        active += (uint64_t)__builtin_popcountll(x[i]);
    }
    return (uint32_t)active;
}

/* Score of a unit from V = fold + 2 |w & x| - |x|, cut to as many bits as mb_output keeps. both = |w & x|. */
static inline int32_t score(const mb_wide_layer *c, uint32_t unit, uint64_t both, uint32_t active)
{
    const mb_layer *l = c->of;
    const uint32_t sign = 1u << (l->planes - 1u), fold = ((const uint32_t *)(const void *)c->fold)[unit];
    const uint32_t v = (fold + 2u * (uint32_t)both - active) & (2u * sign - 1u);
    int32_t a = (int32_t)((v ^ sign) - sign);
    a = l->input == MB_PLUS_MINUS ? 2 * a + (int32_t)(l->inputs & 1u) : a;
    return a * l->own.scores[unit] + l->own.scores[l->units + unit];
}

MB_AVX2_CODE static void scores_popcnt(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x, int32_t *scores)
{
    const uint32_t active = make_row(c, bits, x);
    const uint64_t *row = (const uint64_t *)(const void *)c->sign;
    for (uint32_t unit = 0; unit < c->of->units; unit++, row += c->pitch) {
        uint64_t both = 0;
        for (uint32_t i = 0; i < c->pitch; i += ROW) {
            both += (uint64_t)(__builtin_popcountll(row[i] & x[i]) + __builtin_popcountll(row[i + 1u] & x[i + 1u]) +
                               __builtin_popcountll(row[i + 2u] & x[i + 2u]) + __builtin_popcountll(row[i + 3u] & x[i + 3u]));
        }
        scores[unit] = score(c, unit, both, active);
    }
}

MB_AVX512_CODE static void scores_vpopcnt(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x, int32_t *scores)
{
    const uint32_t active = make_row(c, bits, x);
    const uint64_t *row = (const uint64_t *)(const void *)c->sign;
    for (uint32_t unit = 0; unit < c->of->units; unit++, row += c->pitch) {
        __m512i sum = _mm512_setzero_si512();
        for (uint32_t i = 0; i < c->pitch; i += 8u) {
            const __mmask8 here = c->pitch - i >= 8u ? 255 : 15;
            const __m512i both = _mm512_and_si512(_mm512_maskz_loadu_epi64(here, row + i), _mm512_maskz_loadu_epi64(here, x + i));
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(both));
        }
        scores[unit] = score(c, unit, (uint64_t)_mm512_reduce_add_epi64(sum), active);
    }
}
#endif

/// Sums of few gates ///

#ifdef MB_X86
typedef int32_t ints VECTOR(64);

/* For 16 n units: the inputs that are on and have weight +1, twice, less all that are on. */
MB_AVX512_CODE MB_INLINE void add_popcounts(const ints *w, const uint32_t *bits, uint32_t words, const unsigned n, ints *sums)
{
    const uint32_t *const end = bits + words;
    ints sum[MB_FEW / 16] = {{0}}, active = {0};
    do {
        const ints x = (ints)_mm512_set1_epi32((int32_t)*bits);
        active += (ints)_mm512_popcnt_epi32((__m512i)x);
        for (unsigned v = 0; v < n; v++) {
            sum[v] += (ints)_mm512_popcnt_epi32((__m512i)(x & w[v]));
        }
        w += n;
    } while (++bits != end);
    for (unsigned v = 0; v < n; v++) {
        sums[v] = 2 * sum[v] - active;
    }
}

MB_AVX512_CODE static void few_vpopcnt(const mb_wide_layer *c, const uint32_t *bits, int32_t *sums)
{
    const ints *const w = (const ints *)(const void *)c->sign;
    ints *const to = (ints *)(void *)sums;
    const uint32_t words = MB_WORDS(c->of->inputs);
    switch (c->pitch >> 5) { /* so that the compiler keeps all sums in registers */
    case 1:
        add_popcounts(w, bits, words, 2u, to);
        break;
    case 2:
        add_popcounts(w, bits, words, 4u, to);
        break;
    case 3:
        add_popcounts(w, bits, words, 6u, to);
        break;
    default:
        add_popcounts(w, bits, words, 8u, to);
    }
}
#endif

/// Sets ///

const mb_kernels mb_kernel_sets[MB_VECTORS] = {
    [MB_NO_VECTORS] = {.name = "none"},
    [MB_VECTORS_U64] = {.name = "words", .dense = {dense_words}, .sums = {sums_words}, .list = list_bits, .rows = mb_rows_words, MB_FINISH_OF(words, words)},
    [MB_NEON] = {.name = "neon",
#ifdef MB_NEON_CODE
                 .dense = {NULL, dense_neon}, .sums = {NULL, sums_neon}, .list = list_bits, .rows = mb_rows_words,
                 MB_FINISH_OF(words, neon)
#endif
    },
    [MB_AVX2] = {.name = "avx2",
#ifdef MB_X86
                 .dense = {NULL, dense_avx2_16, dense_avx2_32}, .sums = {NULL, sums_avx2_16, sums_avx2_32}, .list = list_bits_popcnt,
                 .scores = scores_popcnt, .rows = mb_rows_avx2, MB_FINISH_OF(avx2, avx2)
#endif
    },
    [MB_AVX512] = {.name = "avx512",
#ifdef MB_X86
                   .dense = {NULL, dense_avx512_16, dense_avx512_32, dense_avx512_64},
                   .sums = {NULL, sums_avx512_16, sums_avx512_32, sums_avx512_64}, .list = list_bits_compress,
                   .scores = scores_vpopcnt, .few = few_vpopcnt, .rows = mb_rows_avx512, MB_FINISH_OF(avx512, avx512)
#endif
    },
};

const char *mb_vectors_name(mb_vectors vectors)
{
    return mb_kernel_sets[vectors].name;
}

int mb_vectors_runs(mb_vectors vectors)
{
    if (vectors != MB_NO_VECTORS && mb_kernel_sets[vectors].list == NULL) {
        return 0;
    }
#ifdef MB_X86
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                     __builtin_cpu_supports("popcnt");
    if (vectors == MB_AVX512) {
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi2") &&
               __builtin_cpu_supports("avx512vpopcntdq");
    }
    return vectors != MB_AVX2 || avx2;
#else
    return 1;
#endif
}

mb_vectors mb_vectors_best(void)
{
    mb_vectors best = MB_NO_VECTORS;
    for (int v = MB_NO_VECTORS; v < MB_VECTORS; v++) {
        best = mb_vectors_runs((mb_vectors)v) ? (mb_vectors)v : best;
    }
    return best;
}
