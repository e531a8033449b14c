/* Units from nothing: up to three features each, one value for the head. docs/learning-rule.md, "Units from nothing". */
#include "layers.h"

#if MB_HAS_TRIPLES

static int32_t limited(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* A feature with 256 a deviation, limited to four. Features are of a byte or of two, unaligned.
 * |mul q| <= 2^30 - 2^15 and |add| <= 2^30, so the sum fits 32 bits. */
static int32_t standardised(const mb_layer *l, const uint8_t *features, uint32_t f)
{
    const mb_int *const add = (const mb_int *)(const void *)l->own.thresholds;
    const mb_short *const mul = (const mb_short *)(const void *)(add + l->inputs);
    const uint8_t *const shift = (const uint8_t *)(const void *)(mul + l->inputs), *const x = features + (f << l->input);
    const int32_t q = l->input != 0 ? (int16_t)(x[0] | x[1] << 8) : x[0];
    return limited((mul[f] * q + add[f]) >> shift[f], -1024, 1024);
}

/* |a| <= 3 * 2 * 1024 and |mul| <= 2^17, so |mul a| < 2^30; |add| <= 2^30, so |v| < 2^31; top >= 0, so top - |v| fits too. */
void mb_triples(const mb_layer *l, const uint8_t *features, int8_t *values)
{
    const uint32_t units = l->units;
    const mb_half *index = l->tables;
    const int8_t *weight = (const int8_t *)l->sign, *const low = weight + 3u * units, *const high = low + units;
    const mb_int *const mul = (const mb_int *)(const void *)l->fold, *const add = mul + units, *const top = add + units;
    for (uint32_t u = 0; u < units; u++) {
        int32_t a = 0;
        for (unsigned i = 0; i < 3u; i++, index++, weight++) {
            a += *weight * standardised(l, features, *index);
        }
        int32_t v = mul[u] * a + add[u];
        if (2u * u < units) {
            v = top[u] - (int32_t)mb_magnitude(v);
        }
        values[u] = (int8_t)limited(v >> 14, low[u], high[u]);
    }
}
#endif
