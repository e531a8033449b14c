/* Dense network: weights of WEIGHT_BITS = 8, 4 or 2 bits; the columns of the inputs that are on are added, four to sixteen
 * units a word. Weights are stored unsigned, + OFFSET. A unit's sum is z = sum of its weights, |z| <= 32767 (the export checks
 * the sum of the weights of either sign), so 16-bit lanes that wrap hold z + OFFSET * n exactly, modulo 2^16. */
#include "bits.h"

#define ACTIVE 127
#define OFFSET (1u << (WEIGHT_BITS - 1))
#define PER_WORD (32 / WEIGHT_BITS)
#define COLUMN (UNITS / PER_WORD) /* words of one input */

#if WEIGHT_BITS == 8
/* Eight units, or sixteen where the core has enough registers: z[0..] of them. */
#ifdef __ARM_FEATURE_DSP
#define BLOCK 4
#define ADD(even, odd, w) (even = __uxtab16(even, w), odd = __uxtab16(odd, (w) >> 8 | (w) << 24))
static void lanes(uint32_t a, uint32_t n, int32_t *z0, int32_t *z2) {
    *z0 = (int16_t)(a - OFFSET * n);
    *z2 = (int16_t)((a >> 16) - OFFSET * n);
}
#else
#define BLOCK 2
#define ADD(even, odd, w) (even += (w) & 0xFF00FFu, odd += (w) >> 8 & 0xFF00FFu)
static void lanes(uint32_t a, uint32_t n, int32_t *z0, int32_t *z2) {
    *z0 = (int16_t)(a - OFFSET * n);
    a -= (uint32_t)*z0 + OFFSET * n; /* with all that the lower lane carried into the upper one */
    *z2 = (int16_t)((a >> 16) - OFFSET * n);
}
#endif

static void sums(const uint16_t *on, uint32_t n, int32_t *z) {
    for (uint32_t u = 0; u < COLUMN; u += BLOCK, z += 4 * BLOCK) {
        const word *column = CONSTANTS(word, W1) + u;
        uint32_t a[2 * BLOCK] = {0};
        for (const uint16_t *i = on; i < on + n; i++) {
            const word *w = column + *i * COLUMN;
            ADD(a[0], a[1], w[0]);
            ADD(a[2], a[3], w[1]);
#if BLOCK == 4
            ADD(a[4], a[5], w[2]);
            ADD(a[6], a[7], w[3]);
#endif
        }
        for (uint32_t b = 0; b < BLOCK; b++) {
            lanes(a[2 * b], n, &z[4 * b], &z[4 * b + 2]);
            lanes(a[2 * b + 1], n, &z[4 * b + 1], &z[4 * b + 3]);
        }
    }
}
#else
#define PARTS (8 / WEIGHT_BITS) /* weights that share a byte */
#define MASK ((1u << WEIGHT_BITS) - 1)
#define RUN (255 / (2 * OFFSET - 1)) /* columns that a byte can add up */

/* The unit of byte b, part p of a word is 4 * p + b. */
static void sums(const uint16_t *on, uint32_t n, int32_t *z) {
    for (uint32_t u = 0; u < COLUMN; u++, z += PER_WORD) {
        const word *column = CONSTANTS(word, W1) + u;
        for (uint32_t k = 0; k < PER_WORD; k++) {
            z[k] = -(int32_t)(OFFSET * n);
        }
        for (uint32_t from = 0; from < n; from += RUN) {
            const uint16_t *end = on + (n - from < RUN ? n : from + RUN);
            uint32_t a[PARTS] = {0};
            for (const uint16_t *i = on + from; i < end; i++) {
                const uint32_t w = column[*i * COLUMN];
                a[0] += w & MASK * 0x01010101u;
                a[1] += w >> WEIGHT_BITS & MASK * 0x01010101u;
#if PARTS == 4
                a[2] += w >> 2 * WEIGHT_BITS & MASK * 0x01010101u;
                a[3] += w >> 3 * WEIGHT_BITS & MASK * 0x01010101u;
#endif
            }
            for (uint32_t k = 0; k < PER_WORD; k++) {
                z[k] += (int32_t)(a[k / 4] >> 8 * (k % 4) & 0xFF);
            }
        }
    }
}
#endif

void rival_predict(const void *x, int32_t *scores) {
    uint16_t on[INPUTS];
    int32_t z[UNITS];
    word active[UNITS / 4];
    uint8_t *const h = (uint8_t *)active;
    sums(on, list_inputs(x, on), z);
    const int32_t *mul = CONSTANTS(int32_t, MUL), *add = CONSTANTS(int32_t, ADD);
    for (uint32_t j = 0; j < UNITS; j++) {
        const int32_t a = (z[j] * mul[j] + add[j]) >> SHIFT; /* |mul| < 2^14, |add| < 2^30 */
        h[j] = (uint8_t)(a < 0 ? 0 : a > ACTIVE ? ACTIVE : a);
    }
    const int32_t *bias = CONSTANTS(int32_t, B2);
    const word *w = CONSTANTS(word, W2);
    for (uint32_t c = 0; c < CLASSES; c++) {
        int32_t sum = bias[c];
        for (uint32_t j = 0; j < UNITS / 4; j++) {
#ifdef __ARM_FEATURE_DSP
            sum = __smlad(__sxtb16(w[j]), __uxtb16(active[j]), sum);
            sum = __smlad(__sxtb16(w[j] >> 8), __uxtb16(active[j] >> 8), sum);
#else
            const int8_t *one = (const int8_t *)(w + j);
            const uint8_t *by = h + 4 * j;
            sum += one[0] * by[0] + one[1] * by[1] + one[2] * by[2] + one[3] * by[3];
#endif
        }
        scores[c] = sum;
        w += UNITS / 4;
    }
}
