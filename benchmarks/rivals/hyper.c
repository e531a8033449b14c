/* Hyperdimensional classifier: input i stands for DIMENSIONS random bits, those from bit i of BASE on. A bit of the sample is the
 * majority of the bits of the inputs that are on; the class whose bits agree most with the sample's is predicted. */
#include "bits.h"

#define COUNTERS 10 /* bits of a count, INPUTS < 2^COUNTERS (the export checks that) */

static uint32_t ones(uint32_t w) {
    w -= w >> 1 & 0x55555555u;
    w = (w & 0x33333333u) + (w >> 2 & 0x33333333u);
    return ((w + (w >> 4) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

void rival_predict(const void *x, int32_t *scores) {
    uint16_t on[INPUTS];
    const uint32_t n = list_inputs(x, on);
    const word *base = CONSTANTS(word, BASE), *class_bits = CONSTANTS(word, CLASS_BITS);
    for (uint32_t c = 0; c < CLASSES; c++) {
        scores[c] = 0;
    }
    for (uint32_t d = 0; d < DIMENSIONS / 32; d++) {
        uint32_t count[COUNTERS] = {0}, more = 0, equal = ~0u;
        for (uint32_t i = 0; i < n; i++) {
            const word *w = base + d + (on[i] >> 5);
            const uint32_t by = on[i] & 31;
            uint32_t carry = by ? w[0] >> by | w[1] << (32 - by) : w[0];
            for (uint32_t k = 0; carry != 0; k++) {
                const uint32_t both = count[k] & carry;
                count[k] ^= carry;
                carry = both;
            }
        }
        for (uint32_t k = COUNTERS; k-- > 0;) { /* more: 2 * count > n, bit by bit against n / 2 rounded down */
            const uint32_t half = 0u - (n >> 1 >> k & 1);
            more |= equal & count[k] & ~half;
            equal &= ~(count[k] ^ half);
        }
        for (uint32_t c = 0; c < CLASSES; c++) {
            scores[c] += (int32_t)ones(~(more ^ class_bits[c * (DIMENSIONS / 32) + d]));
        }
    }
}
