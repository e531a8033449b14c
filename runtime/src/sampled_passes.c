/* Four passes of a graded layer with sampled weights, side by side: docs/learning-rule.md, "Graded units and votes". Where the
 * core has vectors, one vector holds the same word of all four passes; elsewhere the four words lie in four arrays. */
#include <string.h>

#include "adder.h"
#include "layers.h"
#include "synapse.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
typedef uint32_t four __attribute__((vector_size(16), aligned(4), may_alias)); /* aligned as the arena is */
enum { PARTS = 1 };
#define PUT(v, step, i, a, b, c, d) ((v)[i] = (four){(a), (b), (c), (d)})
#define GET(v, step, i, pass) (v)[i][pass]
#define LANES four
#define ADD_EIGHT static void add_eight
#define MORE(carry) 1
#include "add_eight.inc"
#else
typedef mb_word four;
enum { PARTS = 4 };
#define PUT(v, step, i, a, b, c, d) \
    ((v)[i] = (a), (v)[(step) + (i)] = (b), (v)[2u * (step) + (i)] = (c), (v)[3u * (step) + (i)] = (d))
#define GET(v, step, i, pass) (v)[(step) * (pass) + (i)]
#define add_eight mb_add_eight
#endif

void mb_graded_passes(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *generator, int32_t *values,
                      int32_t *scratch)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u, planes = l->planes;
    four *const v = (four *)(void *)scratch;
    uint32_t z = *generator;
    for (uint32_t r = 0; 32u * r < l->units; r++) {
        const mb_word *sign = (const mb_word *)(const void *)l->sign + r * (l->inputs + 1u);
        const mb_word *top = (const mb_word *)(const void *)l->levels + r * l->inputs * low_bits;
        const uint32_t here = l->units - 32u * r < 32u ? l->units - 32u * r : 32u;
        const mb_word *fold = l->fold + r * planes;
        uint32_t column[MB_PLANES_MAX + 1];
        for (unsigned p = 0; p < planes; p++) {
            PUT(v, MB_PLANES_MAX, p, fold[p], fold[p], fold[p], fold[p]);
        }
        for (uint32_t i = 0; i < active; i += 8u) {
            four w[8 * PARTS];
            const uint32_t count = active - i < 8u ? active - i : 8u;
            if (count < 8u) {
                memset(w, 0, sizeof w);
            }
            for (uint32_t k = 0; k < count; k++) { /* each unsure weight is flipped in one of the four passes */
                const uint32_t j = list[i + k], s = sign[j], unsure = low_bits != 0 ? s ^ top[j * low_bits] : 0;
                const uint32_t one = unsure & mb_draw32(&z), none = unsure ^ one, other = z << 13 | z >> 19;
                PUT(w, 8u, k, s ^ (one & other), s ^ (one & ~other), s ^ (none & other), s ^ (none & ~other));
            }
            for (unsigned q = 0; q < PARTS; q++) {
                add_eight(v + q * MB_PLANES_MAX + 1u, planes - 1u, w + 8u * q);
            }
        }
        column[0] = 0;
        for (unsigned q = 0; q < 4u; q++) {
            for (unsigned p = 0; p < planes; p++) {
                column[p + 1u] = GET(v, MB_PLANES_MAX, p, q);
            }
            mb_lane_values(column, planes + 1u, 2u * active, values + q * l->units + 32u * r, here);
        }
    }
    *generator = z;
}
#endif
