/* Graded units: gates whose grade is high where the sum is small, scaled by the layer's mean |V|. docs/learning-rule.md,
 * "Graded units and votes". */
#include <string.h>

#include "layers.h"

#if MB_HAS_GRADED

uint32_t mb_graded_inputs(const mb_layer *l, const uint32_t *bits, uint16_t *list)
{
    uint16_t *end = list;
    uint32_t plane = 0;
    for (uint32_t base = 0; base < mb_values(l); base += 32u) {
        end = mb_list_bits(end, *bits++, base);
    }
    for (uint16_t *at = list; at != end; at++) {
        while (*at - plane >= l->inputs) {
            plane += l->inputs;
        }
        *at = (uint16_t)(*at - plane);
    }
    return mb_pad_list(list, end, l->inputs);
}

mb_ramp mb_ramp_of(const mb_layer *l, const int32_t *values)
{
    uint32_t sum = 0; /* post: < 2^30, from at most 2^10 units of at most 2^20 */
    for (uint32_t i = 0; i < l->units; i++) {
        sum += mb_magnitude(values[i]);
    }
    const uint32_t mean = 16u * (sum / l->units) + 16u * (sum % l->units) / l->units; /* 16 sum / N, in 32 bits */
    const mb_ramp ramp = {(uint32_t)(((uint64_t)mean * l->low) >> 12), (uint32_t)(((uint64_t)mean * l->high) >> 12)};
    return ramp;
}

void mb_grade(const mb_layer *l, mb_ramp ramp, int32_t *values)
{
    const uint32_t width = ramp.high > ramp.low ? ramp.high - ramp.low : 1u, scale = (1u << 20) / width;
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t size = mb_magnitude(values[i]);
        uint32_t above = size > ramp.low ? size - ramp.low : 0;
        above = above > width ? width : above;
        values[i] = 8 - (int32_t)((above * scale + 32768u) >> 16);
    }
}

/* v [planes] += the top bit of each listed input's magnitude, for 32 sums at once. */
static void add_tops(const mb_layer *l, uint32_t r, const uint16_t *list, uint32_t active, uint32_t *v)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u;
    const mb_word *top = (const mb_word *)(const void *)l->levels + r * l->inputs * low_bits;
    for (uint32_t i = 0; i < active; i += 8u) {
        uint32_t t[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (uint32_t k = 0; k < 8u && i + k < active; k++) {
            t[k] = top[list[i + k] * low_bits];
        }
        mb_add_eight(v, l->planes, t);
    }
}

/* graded_values [N] = V of the average weights: an unsure weight counts half a sure one. With n inputs, S positive weights
 * and T levels whose top magnitude bit is set (a weight is sure if that bit equals its sign), V = 3 S + T - 2 (n + theta). */
static void average_values(const mb_layer *l, const mb_arena *arena, uint32_t active)
{
    const mb_run all = mb_whole_list(active);
    for (uint32_t r = 0; 32u * r < l->units; r++) {
        const uint32_t here = l->units - 32u * r < 32u ? l->units - 32u * r : 32u;
        int32_t *const values = arena->graded_values + 32u * r, lane[32];
        uint32_t v[MB_PLANES_MAX];
        mb_lane_values(l->fold + r * l->planes, l->planes, active, values, here); /* -n - theta */
        mb_sums(l, r, arena->active, &all, 1, v, arena->carry);
        mb_lane_values(v, l->planes, active, lane, here); /* 2 S - n - theta */
        for (uint32_t i = 0; i < here; i++) {
            const int32_t s = (lane[i] - values[i]) / 2;
            values[i] = l->bits > 1u ? 2 * lane[i] - s : 2 * lane[i];
        }
        if (l->bits > 1u) {
            memset(v, 0, sizeof v);
            add_tops(l, r, arena->active, active, v);
            mb_lane_values(v, l->planes, 0, lane, here);
            for (uint32_t i = 0; i < here; i++) {
                values[i] += lane[i];
            }
        }
    }
}

void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits)
{
    const uint32_t active = mb_graded_inputs(l, bits, arena->active);
    average_values(l, arena, active);
    mb_grade(l, mb_ramp_of(l, arena->graded_values), arena->graded_values);
}

void mb_graded_output(const mb_layer *l, const int32_t *grades, int32_t *scores)
{
    const uint32_t lanes = l->lanes16 ? 16u : 32u, inputs = l->inputs; /* locals, because the stores below could alias *l */
    int32_t sum = 0;
    for (uint32_t j = 0; j < inputs; j++) {
        sum += grades[j];
    }
    for (uint32_t first = 0; first < l->units; first += lanes) {
        const uint32_t row = first / lanes * (inputs + 1u), here = l->units - first < lanes ? l->units - first : lanes;
        int32_t *on = scores + first;
        for (uint32_t c = 0; c < here; c++) {
            on[c] = 0;
        }
        for (uint32_t j = 0; j < inputs; j++) {
            const uint32_t w = mb_weights(l, row + j);
            const int32_t grade = grades[j];
            for (uint32_t c = 0; c < here; c++) {
                on[c] += grade & (0 - (int32_t)((w >> c) & 1u));
            }
        }
        for (uint32_t c = 0; c < here; c++) { /* 2 * (grades with weight +1) - (all grades) */
            on[c] = (2 * on[c] - sum) * l->own.scores[first + c] + l->own.scores[l->units + first + c];
        }
    }
}
#endif
