/* Levels and values of gates from their sums, and products with rows of weights, on a host's vectors (simd.h). */
#include <string.h>

#include "simd.h"

static inline int32_t limited(int32_t x, int32_t lowest, int32_t highest)
{
    x = x < lowest ? lowest : x;
    return x > highest ? highest : x;
}

/// Counts ///

static inline void count_words(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)
{
    memset(counts, 0, 32u * sizeof *counts);
    for (unsigned p = top; p > 0; p--) {
        const uint32_t word = planes[p * step];
        for (unsigned i = 0; i < 32u; i++) {
            counts[i] = (uint16_t)(2u * counts[i] + (word >> i & 1u));
        }
    }
}

#if defined(MB_X86) || defined(MB_NEON_CODE)
/* `type` holds `lanes` numbers of 16 bits, 8 or 16. A comparison of vectors gives -1 where it is true. */
#define COUNTER(name, target, type, lanes)                                                                       \
    target static inline void name(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)         \
    {                                                                                                            \
        static const uint16_t LANE[16] = {1u << 0, 1u << 1, 1u << 2, 1u << 3, 1u << 4, 1u << 5, 1u << 6, 1u << 7,     \
                                          1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15}; \
        for (unsigned i = 0; i < 32u; i += lanes, counts += lanes) {                                               \
            type lane, count = {0};                                                                              \
            memcpy(&lane, LANE + (i & 15u), sizeof lane);                                                          \
            for (unsigned p = top; p > 0; p--) {                                                                  \
                const type half = (type){0} + (uint16_t)(planes[p * step] >> (i & 16u));                           \
                count += count - (type)((half & lane) != 0);                                                      \
            }                                                                                                    \
            memcpy(counts, &count, sizeof count);                                                                 \
        }                                                                                                        \
    }
#endif

/// Sets ///

#define TARGET MB_BASELINE
#define NAME(x) x##_words
#define COUNT count_words
#include "gated.inc"

#ifdef MB_NEON_CODE
typedef uint16_t halves_8 __attribute__((vector_size(16), may_alias));
COUNTER(count_neon, MB_BASELINE, halves_8, 8u)
#define TARGET MB_BASELINE
#define NAME(x) x##_neon
#define COUNT count_neon
#include "gated.inc"
#endif

#ifdef MB_X86
typedef uint16_t halves_16 __attribute__((vector_size(32), may_alias));
COUNTER(count_avx2, MB_AVX2_CODE, halves_16, 16u)
#define TARGET MB_AVX2_CODE
#define NAME(x) x##_avx2
#define COUNT count_avx2
#include "gated.inc"

MB_AVX512_CODE static inline void count_avx512(const uint32_t *planes, uint32_t step, unsigned top, uint16_t *counts)
{
    __m512i count = _mm512_setzero_si512();
    for (unsigned p = top; p > 0; p--) {
        count = _mm512_add_epi16(count, count);
        count = _mm512_mask_add_epi16(count, planes[p * step], count, _mm512_set1_epi16(1));
    }
    _mm512_storeu_si512(counts, count);
}

#define TARGET MB_AVX512_CODE
#define NAME(x) x##_avx512
#define COUNT count_avx512
#include "gated.inc"
#endif
