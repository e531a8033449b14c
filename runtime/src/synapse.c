/* Flips one weight, and whatever else depends on its sign. */
#include "synapse.h"

#include "layers.h"

#if MB_HAS_VISITS || (MB_HAS_GRADED && MB_HAS_LEARN)

void mb_flip(const mb_layer *l, uint32_t unit, uint32_t input)
{
    const uint32_t lane = unit & 31u, at = (unit >> 5) * (l->inputs + 1u) + input, positive = (mb_weights(l, at) >> lane) & 1u;
    mb_flip_lane(l->sign, at, lane, l->lanes16);
    if (l->input == MB_PLUS_MINUS) { /* the folded constant holds minus half the weight sum */
        mb_add_one_bit(l->fold + (unit >> 5) * l->planes, l->planes, 1u << (unit & 31u), (int)positive);
    }
    MB_TELL_HOST(l, unit, input);
}
#endif
