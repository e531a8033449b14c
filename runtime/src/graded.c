/* Graded units: gates that are open where the sum is small, normalised over the layer. docs/learning-rule.md, "Graded units and
 * votes". */
#include "synapse.h"

uint32_t mb_graded_inputs(const mb_layer *l, const uint32_t *bits, uint16_t *list)
{
    uint16_t *end = list;
    uint32_t plane = 0;
    for (uint32_t base = 0; base < mb_values(l); base += 32u) {
        end = mb_list_bits(end, *bits++, base);
    }
    for (uint16_t *at = list; at != end; at++) { /* all planes share one weight */
        while (*at - plane >= l->inputs) {
            plane += l->inputs;
        }
        *at = (uint16_t)(*at - plane);
    }
    return mb_pad_list(list, end, l->inputs);
}

mb_ramp mb_ramp_of(const mb_layer *l, const int32_t *values)
{
    uint32_t sum = 0; /* at most 2^10 units of at most 2^19 */
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

void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits)
{
    const uint32_t active = mb_graded_inputs(l, bits, arena->list);
    for (uint32_t r = 0; 32u * r < l->units; r++) {
        uint32_t v[MB_PLANES_MAX];
        mb_sums(l, r, arena->list, active, v, arena->carry);
        for (uint32_t i = 0; i < 32u && 32u * r + i < l->units; i++) {
            arena->values[32u * r + i] = mb_lane_value(v, l->planes, i);
        }
    }
    mb_grade(l, mb_ramp_of(l, arena->values), arena->values);
}

void mb_graded_output(const mb_layer *l, const int32_t *grades, int32_t *scores)
{
    const uint32_t lanes = l->half ? 16u : 32u;
    int32_t sum = 0;
    for (uint32_t j = 0; j < l->inputs; j++) {
        sum += grades[j];
    }
    for (uint32_t first = 0; first < l->units; first += lanes) {
        const uint32_t row = first / lanes * (l->inputs + 1u), here = l->units - first < lanes ? l->units - first : lanes;
        int32_t *on = scores + first;
        for (uint32_t c = 0; c < here; c++) {
            on[c] = 0;
        }
        for (uint32_t j = 0; j < l->inputs; j++) {
            const uint32_t w = mb_weights(l, row + j);
            for (uint32_t c = 0; c < here; c++) {
                on[c] += grades[j] & (0 - (int32_t)((w >> c) & 1u));
            }
        }
        for (uint32_t c = 0; c < here; c++) { /* twice what is on, less everything */
            on[c] = (2 * on[c] - sum) * l->scores[first + c] + l->scores[l->units + first + c];
        }
    }
}
