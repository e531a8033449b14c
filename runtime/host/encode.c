/* Bits of features on a host's vectors: of an encoder, x >= threshold, and of cuts, x > cut. */
#include <string.h>

#include "simd.h"

/// Comparisons of 32 numbers. Bit f is x[f] >= t[f], or x[f] > t[f] ///

/* For 8 bytes. Where the high bits differ they decide; elsewhere the low seven bits do, by a borrow. */
static inline uint32_t ge_8(const uint8_t *x, const uint8_t *t)
{
    const uint64_t high = 0x8080808080808080u;
    uint64_t a, b;
    memcpy(&a, x, 8);
    memcpy(&b, t, 8);
    const uint64_t ge = ((a & ~b) | (~(a ^ b) & ((a | high) - (b & ~high)))) & high;
    return (uint32_t)(((ge >> 7) * 0x0102040810204080u) >> 56);
}

static inline uint32_t ge_bytes_words(const uint8_t *x, const uint8_t *t)
{
    return ge_8(x, t) | ge_8(x + 8, t + 8) << 8 | ge_8(x + 16, t + 16) << 16 | ge_8(x + 24, t + 24) << 24;
}

static inline uint32_t gt_bytes_words(const uint8_t *x, const uint8_t *t)
{
    return ~ge_bytes_words(t, x);
}

static inline uint32_t gt_shorts_words(const uint8_t *x, const uint8_t *t)
{
    uint32_t bits = 0;
    for (unsigned f = 0; f < 32u; f++) {
        int16_t a, b;
        memcpy(&a, x + 2u * f, sizeof a);
        memcpy(&b, t + 2u * f, sizeof b);
        bits |= (uint32_t)(a > b) << f;
    }
    return bits;
}

#ifdef MB_X86
MB_AVX2_CODE static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* x >= t exactly where max(x, t) is x. */
MB_AVX2_CODE static inline uint32_t ge_bytes_avx2(const uint8_t *x, const uint8_t *t)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(load(x), load(t)), load(x)));
}

MB_AVX2_CODE static inline uint32_t gt_bytes_avx2(const uint8_t *x, const uint8_t *t)
{
    return ~ge_bytes_avx2(t, x);
}

/* Packing works in each half of a vector, and the permutation puts the quarters in order. */
MB_AVX2_CODE static inline uint32_t gt_shorts_avx2(const uint8_t *x, const uint8_t *t)
{
    const __m256i low = _mm256_cmpgt_epi16(load(x), load(t)), high = _mm256_cmpgt_epi16(load(x + 32), load(t + 32));
    return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xD8));
}
#endif

/// Bits of all features ///

/* BITS(x, t): those of 32 features of type `number`; ON: the comparison of one. */
#define ENCODER(name, target, number, BITS, ON)                                                                    \
    target void name(const mb_layer *l, const uint8_t *thresholds, const uint8_t *features, uint32_t *bits)         \
    {                                                                                                              \
        const uint32_t size = (uint32_t)sizeof(number), inputs = l->inputs, rest = inputs & 31u;                   \
        uint64_t word = 0; /* its low `lane` bits are not stored yet */                                            \
        uint32_t lane = 0;                                                                                         \
        for (uint32_t plane = 0; plane < l->units; plane += inputs, thresholds += inputs * size) {                  \
            for (uint32_t f = 0; f + 32u <= inputs; f += 32u) {                                                     \
                word |= (uint64_t)BITS(features + f * size, thresholds + f * size) << lane;                         \
                *bits++ = (uint32_t)word;                                                                           \
                word >>= 32;                                                                                        \
            }                                                                                                      \
            if (inputs < 32u) {                                                                                    \
                for (uint32_t f = 0; f < rest; f++) {                                                               \
                    number x, t;                                                                                    \
                    memcpy(&x, features + f * size, sizeof x);                                                      \
                    memcpy(&t, thresholds + f * size, sizeof t);                                                    \
                    word |= (uint64_t)(x ON t) << (lane + f);                                                       \
                }                                                                                                  \
            } else if (rest != 0) { /* the last 32 once more, without those that are done */                       \
                const uint32_t at = (inputs - 32u) * size;                                                          \
                word |= (uint64_t)(BITS(features + at, thresholds + at) >> (32u - rest)) << lane;                   \
            }                                                                                                      \
            lane += rest;                                                                                           \
            if (lane >= 32u) {                                                                                      \
                *bits++ = (uint32_t)word;                                                                           \
                word >>= 32;                                                                                        \
                lane -= 32u;                                                                                        \
            }                                                                                                      \
        }                                                                                                          \
        if (lane != 0) {                                                                                            \
            *bits = (uint32_t)word;                                                                                 \
        }                                                                                                          \
    }

ENCODER(mb_encode_words, MB_BASELINE, uint8_t, ge_bytes_words, >=)
ENCODER(mb_cut_bytes_words, MB_BASELINE, uint8_t, gt_bytes_words, >)
ENCODER(mb_cut_shorts_words, MB_BASELINE, int16_t, gt_shorts_words, >)
#ifdef MB_X86
ENCODER(mb_encode_avx2, MB_AVX2_CODE, uint8_t, ge_bytes_avx2, >=)
ENCODER(mb_cut_bytes_avx2, MB_AVX2_CODE, uint8_t, gt_bytes_avx2, >)
ENCODER(mb_cut_shorts_avx2, MB_AVX2_CODE, int16_t, gt_shorts_avx2, >)

/* A vector of `have` numbers at a time, of which a mask says which exist. */
#define ENCODER_512(name, have, LOAD, COMPARE)                                                                      \
    MB_AVX512_CODE void name(const mb_layer *l, const uint8_t *thresholds, const uint8_t *features, uint32_t *bits) \
    {                                                                                                              \
        const uint32_t size = 64u / have, inputs = l->inputs;                                                       \
        uint64_t word = 0; /* its low `lane` bits are not stored yet */                                            \
        uint32_t lane = 0;                                                                                         \
        for (uint32_t plane = 0; plane < l->units; plane += inputs, thresholds += inputs * size) {                  \
            for (uint32_t f = 0; f < inputs; f += have) {                                                           \
                const uint32_t some = inputs - f < have ? inputs - f : have;                                        \
                const uint64_t mask = ~(uint64_t)0 >> (64u - some);                                                 \
                const uint64_t on = COMPARE(mask, LOAD(mask, features + f * size), LOAD(mask, thresholds + f * size)); \
                word |= on << lane;                                                                                 \
                lane += some;                                                                                       \
                if (lane >= 64u) {                                                                                  \
                    memcpy(bits, &word, 8u);                                                                        \
                    bits += 2;                                                                                      \
                    lane -= 64u;                                                                                    \
                    word = lane != 0 ? on >> (some - lane) : 0;                                                     \
                }                                                                                                   \
            }                                                                                                      \
        }                                                                                                          \
        for (; lane != 0; lane -= lane < 32u ? lane : 32u, word >>= 32) {                                           \
            *bits++ = (uint32_t)word;                                                                               \
        }                                                                                                          \
    }

#define GT_SHORTS(mask, x, t) _mm512_mask_cmpgt_epi16_mask((__mmask32)(mask), x, t)
#define LOAD_SHORTS(mask, p) _mm512_maskz_loadu_epi16((__mmask32)(mask), p)
ENCODER_512(mb_encode_avx512, 64u, _mm512_maskz_loadu_epi8, _mm512_mask_cmpge_epu8_mask)
ENCODER_512(mb_cut_bytes_avx512, 64u, _mm512_maskz_loadu_epi8, _mm512_mask_cmpgt_epu8_mask)
ENCODER_512(mb_cut_shorts_avx512, 32u, LOAD_SHORTS, GT_SHORTS)
#endif
