/* Four passes of a graded layer with weights drawn anew, side by side: docs/learning-rule.md, "Graded units and votes". Hosts
 * hold the same word of all four passes in one vector, cores without vectors one after the other. */
#include <string.h>

#include "synapse.h"

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
typedef uint32_t four __attribute__((vector_size(16), aligned(4), may_alias)); /* in the arena, which knows words */
enum { PARTS = 1 };
#define FOUR(a, b, c, d) {{a, b, c, d}}
#define WORD(v, pass, plane) (v)[plane][pass]
#define LANES four
#define ADD_EIGHT static void add_eight
#define MORE(carry) 1
#include "eight.h"
#else
typedef mb_word four;
enum { PARTS = 4 };
#define FOUR(a, b, c, d) {a, b, c, d}
#define WORD(v, pass, plane) (v)[(pass) * MB_PLANES_MAX + (plane)]
#define add_eight mb_add_eight
#endif
#define ALL 0xFFFFFFFFu

/* Of each pass, whether it turns the weights for which a bit of z, and the one rotated there, are 1 (or, by ALL, 0). */
static const four ONE_IS[PARTS] = FOUR(0, 0, ALL, ALL), OTHER_IS[PARTS] = FOUR(0, ALL, 0, ALL);

void mb_graded_passes(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *generator, int32_t *values, int32_t *work)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u;
    four *const v = (four *)(void *)work;
    for (uint32_t r = 0; 32u * r < l->units; r++) {
        const mb_word *sign = (const mb_word *)(const void *)l->sign + r * (l->inputs + 1u);
        const mb_word *top = (const mb_word *)(const void *)l->levels + r * l->inputs * low_bits;
        uint32_t column[MB_PLANES_MAX + 1];
        mb_start_sums(l, r, active, column);
        for (unsigned q = 0; q < PARTS; q++) {
            for (unsigned p = 0; p < l->planes; p++) {
                v[q * MB_PLANES_MAX + p] = (ONE_IS[q] & 0u) | column[p];
            }
        }
        for (uint32_t i = 0; i < active; i += 8u) {
            four w[PARTS][8];
            memset(w, 0, sizeof w);
            for (uint32_t k = 0; k < 8u && i + k < active; k++) {
                const uint32_t s = sign[list[i + k]], unsure = low_bits != 0 ? s ^ top[list[i + k] * low_bits] : 0;
                const uint32_t z = mb_draw32(generator), other = z << 13 | z >> 19;
                for (unsigned q = 0; q < PARTS; q++) {
                    w[q][k] = ((ONE_IS[q] ^ z) & (OTHER_IS[q] ^ other) & unsure) ^ s;
                }
            }
            for (unsigned q = 0; q < PARTS; q++) {
                add_eight(v + q * MB_PLANES_MAX + 1u, l->planes - 1u, w[q]);
            }
        }
        for (unsigned q = 0; q < 4u; q++) {
            column[0] = 0;
            for (unsigned p = 0; p < l->planes; p++) {
                column[p + 1u] = WORD(v, q, p);
            }
            for (uint32_t i = 0; i < 32u && 32u * r + i < l->units; i++) {
                values[q * l->units + 32u * r + i] = mb_lane_value(column, l->planes + 1u, i);
            }
        }
    }
}
