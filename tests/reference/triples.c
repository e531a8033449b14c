/* Units from nothing: three features each, one value for the head (triples.h). No product needs more than 32 bits. */
#include "triples.h"

static int32_t clip(int32_t a, int32_t low, int32_t high) { return a < low ? low : a > high ? high : a; }

/* A feature with 256 a deviation, limited to four. |mul q| <= 2^30 - 2^15 and |add| <= 2^30: the sum fits 32 bits. */
static int32_t standardised(const mb_triples *t, const void *features, uint32_t f)
{
    const int32_t q = t->wide ? ((const int16_t *)features)[f] : ((const uint8_t *)features)[f];
    return clip((t->feature_mul[f] * q + t->feature_add[f]) >> t->feature_shift[f], -1024, 1024);
}

/* |a| <= 3 * 2 * 1024 and |mul| <= 2^17, so |mul a| < 2^30; |add| <= 2^30, so |v| < 2^31; top >= 0, so top - |v| fits too. */
void mb_triples_values(const mb_triples *t, const void *features, int8_t *x)
{
    for (uint32_t j = 0; j < t->units; j++) {
        int32_t a = 0;
        for (uint32_t i = 3u * j; i < 3u * j + 3u; i++)
            a += t->weight[i] * standardised(t, features, t->index[i]);
        int32_t v = t->mul[j] * a + t->add[j];
        if (2u * j < t->units)
            v = t->top[j] - (v < 0 ? -v : v);
        x[j] = (int8_t)clip(v >> 14, t->low[j], t->high[j]);
    }
}
