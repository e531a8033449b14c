/* One weight flips, and what else holds it. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_LEARN

void mb_flip(const mb_layer *l, uint32_t unit, uint32_t input)
{
    const uint32_t r = l->half ? unit >> 4 : unit >> 5, lane = l->half ? unit & 15u : unit & 31u, at = r * (l->inputs + 1u) + input;
    const uint32_t positive = (mb_weights(l, at) >> lane) & 1u;
    mb_flip_lane(l->sign, at, lane, l->half);
    if (l->input == MB_PLUS_MINUS) { /* the folded constant holds minus half the weight sum */
        mb_step_lanes(l->fold + (unit >> 5) * l->planes, l->planes, 1u << (unit & 31u), (int)positive);
    }
#ifdef MB_WIDE
    if (l->wide != NULL) {
        mb_wide_flip(l, input, unit);
    }
#endif
}

#endif
