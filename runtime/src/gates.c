/* Gates: units with a normalisation of their own, whose level is high where it is near zero. docs/learning-rule.md, "Gates". */
#include <string.h>

#include "layers.h"

#if MB_HAS_GATES

static int32_t clipped(int32_t x, int32_t limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

/* values[u] of unit u with sum a; before a head it sets values[N + u] as well. |a| <= K <= 2^14, because the sum starts at 0 and has a
 * plane for every bit and the sign. So |mul * a| <= 2^29, and with |add| <= 2^30 a sum is below 2^31; top < 2^24, so the difference
 * is above -2^31. |gate_mul * level + gate_add| <= 2560 * 8 + 20496. */
MB_INLINE void put_unit(const mb_layer *l, const mb_layer *head, int32_t top, uint32_t u, int32_t a, int8_t *values)
{
    const mb_short *const mul = (const mb_short *)(const void *)l->tables;
    const mb_int *const add = (const mb_int *)(const void *)l->fold;
    const int32_t far = (int32_t)mb_magnitude(mul[u] * a + add[u]);
    int32_t level = clipped((top - far) >> l->shift, 8);
    if (head != NULL) {
        const mb_short *const scale = (const mb_short *)(const void *)head->tables, *const z_mul = scale + 2u * head->inputs;
        const mb_int *const z_add = (const mb_int *)(const void *)head->fold;
        values[head->inputs + u] = (int8_t)clipped((z_mul[u] * a + z_add[u]) >> head->shift, 127);
        level = clipped((scale[u] * level + scale[head->inputs + u]) >> 5, 127);
    }
    values[u] = (int8_t)level;
}

void mb_gates(const mb_layer *l, const mb_arena *arena, uint32_t active)
{
    const mb_layer *const head = MB_IS_HEAD(l + 1) ? l + 1 : NULL;
    const mb_run all = mb_whole_list(active);
    const mb_word *w = (const mb_word *)(const void *)l->sign;
    const int32_t top = (int32_t)(((64u << l->shift) + 2u) / 5u + (1u << (l->shift - 1u))); /* 12.8 levels, and half a level so that the shift rounds */
    for (uint32_t first = 0; first < l->units; first += 32u, w += l->inputs + 1u) {
        const uint32_t here = l->units - first < 32u ? l->units - first : 32u;
        uint32_t v[MB_PLANES_MAX];
        int32_t sums[32];
        memset(v, 0, sizeof v);
        mb_add_columns(w, arena->active, &all, 1, v, v, l->planes, arena->carry);
        mb_lane_values(v, l->planes, active, sums, here); /* 2 |w and x| - |x| */
        for (uint32_t i = 0; i < here; i++) {
            put_unit(l, head, top, first + i, sums[i], arena->values);
        }
    }
}
#endif
