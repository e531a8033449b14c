/* Levels and values of gates from their sums, and products with rows of weights, on a host's vectors (simd.h). */
#include <string.h>

#include "head.h"
#include "simd.h"

static inline int32_t limited(int32_t x, int32_t lowest, int32_t highest)
{
    x = x < lowest ? lowest : x;
    return x > highest ? highest : x;
}

/* Copies the first `left` values, at most 32: without a call of memcpy for all. */
static inline void put_values(int8_t *to, const int8_t *made, uint32_t left)
{
    if (left >= 32u) {
        memcpy(to, made, 32u);
    } else {
        memcpy(to, made, left);
    }
}

/// Counts ///

/* Bytes = counts of 8 lanes from `lane` on, of planes `from` down to `to`. */
static inline uint64_t count_8(const uint32_t *planes, uint32_t step, unsigned lane, unsigned from, unsigned to)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t count = 0;
    for (unsigned p = from; p >= to; p--) {
        const uint64_t on = (planes[p * step] >> lane & 255u) * ones & 0x8040201008040201u;
        count = 2u * count + ((on + 127u * ones) >> 7 & ones);
    }
    return count;
}

static inline void count_words(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)
{
    for (unsigned i = 0; i < 32u; i += 8u) {
        const uint64_t low = count_8(planes, step, i, top < 8u ? top : 8u, 1u), high = top > 8u ? count_8(planes, step, i, top, 9u) : 0;
        for (unsigned lane = 0; lane < 8u; lane++) {
            counts[i + lane] = (uint16_t)((low >> 8u * lane & 255u) | (high >> 8u * lane & 255u) << 8);
        }
    }
}

#ifdef MB_NEON_CODE
typedef uint16_t halves_8 __attribute__((vector_size(16), may_alias));

/* A comparison of vectors gives -1 where it is true. */
static inline void count_neon(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)
{
    static const uint16_t LANE[16] = {1u << 0, 1u << 1, 1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
                                      1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15};
    for (unsigned i = 0; i < 32u; i += 8u, counts += 8) {
        halves_8 lane, count = {0};
        memcpy(&lane, LANE + (i & 15u), sizeof lane);
        for (unsigned p = top; p > 0; p--) {
            const halves_8 half = (halves_8){0} + (uint16_t)(planes[p * step] >> (i & 16u));
            count += count - (halves_8)((half & lane) != 0);
        }
        memcpy(counts, &count, sizeof count);
    }
}
#endif

#ifdef MB_X86
/* Bytes = counts of planes `from` down to `to`. A lane takes byte i / 8 of the word, then bit i % 8; a comparison gives -1. */
MB_AVX2_CODE static inline __m256i count_bytes(const uint32_t *planes, uint32_t step, unsigned from, unsigned to)
{
    const __m256i byte = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    __m256i count = _mm256_setzero_si256();
    for (unsigned p = from; p >= to; p--) {
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)planes[p * step]), byte);
        count = _mm256_sub_epi8(_mm256_add_epi8(count, count), _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit));
    }
    return count;
}

MB_AVX2_CODE static inline void count_avx2(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)
{
    uint8_t low[32], high[32];
    const __m256i some = count_bytes(planes, step, top < 8u ? top : 8u, 1u), more = count_bytes(planes, step, top, 9u);
    memcpy(low, &some, sizeof low);
    memcpy(high, &more, sizeof high);
    for (unsigned i = 0; i < 32u; i++) {
        counts[i] = (uint16_t)(low[i] | high[i] << 8);
    }
}

MB_AVX512_CODE static inline void count_avx512(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)
{
    __m512i count = _mm512_setzero_si512();
    for (unsigned p = top; p > 0; p--) {
        count = _mm512_add_epi16(count, count);
        count = _mm512_mask_add_epi16(count, planes[p * step], count, _mm512_set1_epi16(1));
    }
    _mm512_storeu_si512(counts, count);
}
#endif

/// Products with rows ///

void mb_rows_words(const int8_t *w, uint32_t rows, const int8_t *x, uint32_t values, int32_t *sums)
{
    int16_t wide[MB_MOST_GATED];
    for (uint32_t j = 0; j < values; j++) {
        wide[j] = x[j];
    }
    for (uint32_t r = 0; r < rows; r++, w += values) {
        int32_t sum = 0;
        for (uint32_t j = 0; j < values; j++) {
            sum += (int16_t)w[j] * wide[j];
        }
        sums[r] = sum;
    }
}

#ifdef MB_X86
MB_AVX2_CODE static inline __m256i wide_avx2(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

MB_AVX512_CODE static inline __m512i wide_avx512(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* Sums of all numbers of each. */
MB_AVX2_CODE static inline __m128i totals_avx2(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

MB_AVX512_CODE static inline __m256i half_avx512(__m512i a)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
}

MB_AVX512_CODE static inline __m128i totals_avx512(__m512i a, __m512i b, __m512i c, __m512i d)
{
    return totals_avx2(half_avx512(a), half_avx512(b), half_avx512(c), half_avx512(d));
}

/* `lanes` values at a time, and four rows: the last four are rows - 4 to rows - 1, which may be done already. The first step takes the
 * last `lanes` values; those that other steps take count as zeros in it. narrower: runs shorter rows. */
#define ROWS(name, target, type, lanes, narrower, WIDE, MADD, ADD, TOTALS)                                                          \
    target void name(const int8_t *w, uint32_t rows, const int8_t *x, uint32_t values, int32_t *sums)                               \
    {                                                                                                                               \
        type wide[MB_MOST_GATED / lanes], last;                                                                                     \
        const uint32_t steps = (values - 1u) / lanes, left = values - lanes * steps;                                                \
        const uint32_t second = rows > 1u ? values : 0, third = rows > 2u ? 2u * values : 0, fourth = rows > 3u ? 3u * values : 0;  \
        if (values < lanes) {                                                                                                       \
            narrower(w, rows, x, values, sums);                                                                                     \
            return;                                                                                                                 \
        }                                                                                                                           \
        for (uint32_t s = 0; s < steps; s++) {                                                                                      \
            wide[s] = WIDE(x + lanes * s);                                                                                          \
        }                                                                                                                           \
        if (left == lanes) {                                                                                                        \
            last = WIDE(x + values - lanes);                                                                                        \
        } else {                                                                                                                    \
            int8_t some[lanes] = {0};                                                                                               \
            memcpy(some + lanes - left, x + values - left, left);                                                                   \
            last = WIDE(some);                                                                                                      \
        }                                                                                                                           \
        for (uint32_t done = 0; done < rows; done += 4u) {                                                                          \
            const uint32_t r = done + 4u <= rows || rows < 4u ? done : rows - 4u;                                                   \
            const int8_t *at = w + r * values, *const tail = at + values - lanes;                                                   \
            type a = MADD(last, WIDE(tail)), b = MADD(last, WIDE(tail + second)), c = MADD(last, WIDE(tail + third));               \
            type d = MADD(last, WIDE(tail + fourth));                                                                               \
            for (const type *by = wide; by != wide + steps; by++, at += lanes) {                                                    \
                a = ADD(a, MADD(*by, WIDE(at)));                                                                                    \
                b = ADD(b, MADD(*by, WIDE(at + second)));                                                                           \
                c = ADD(c, MADD(*by, WIDE(at + third)));                                                                            \
                d = ADD(d, MADD(*by, WIDE(at + fourth)));                                                                           \
            }                                                                                                                       \
            const __m128i four = TOTALS(a, b, c, d);                                                                                \
            if (rows >= 4u) {                                                                                                       \
                memcpy(sums + r, &four, 16u);                                                                                       \
            } else {                                                                                                                \
                memcpy(sums, &four, 4u * rows);                                                                                     \
            }                                                                                                                       \
        }                                                                                                                           \
    }

ROWS(mb_rows_avx2, MB_AVX2_CODE, __m256i, 16u, mb_rows_words, wide_avx2, _mm256_madd_epi16, _mm256_add_epi32, totals_avx2)
ROWS(mb_rows_avx512, MB_AVX512_CODE, __m512i, 32u, mb_rows_avx2, wide_avx512, _mm512_madd_epi16, _mm512_add_epi32, totals_avx512)
#endif

/// Sets ///

#define TARGET MB_BASELINE
#define NAME(x) x##_words
#define COUNT count_words
#include "gated.inc"

#ifdef MB_NEON_CODE
#define TARGET MB_BASELINE
#define NAME(x) x##_neon
#define COUNT count_neon
#include "gated.inc"
#endif

#ifdef MB_X86
#define TARGET MB_AVX2_CODE
#define NAME(x) x##_avx2
#define COUNT count_avx2
#include "gated.inc"
#define TARGET MB_AVX512_CODE
#define NAME(x) x##_avx512
#define COUNT count_avx512
#include "gated.inc"
#endif

/// Head ///

void mb_wide_head_scores(const mb_layer *l, const mb_kernels *set, const int8_t *x, int32_t *scores)
{
    mb_head h;
    int32_t sums[MB_HEAD_MOST];
    mb_head_at(l, &h);
    set->rows(h.weights, h.rows, x, h.values, sums);
    for (uint32_t c = 0; c < h.classes; c++) {
        scores[c] = INT32_MIN;
    }
    for (uint32_t r = 0; r < h.rows; r++) {
        const uint32_t c = MB_HEAD_OWNED(&h) ? h.owner[r] : r;
        if (c < h.classes) {
            const int32_t score = mb_head_row_score(&h, r, (uint32_t)sums[r]);
            scores[c] = score > scores[c] ? score : scores[c];
        }
    }
}
