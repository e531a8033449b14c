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
    uint32_t sum = 0; /* at most 2^10 units of at most 2^20 */
    for (uint32_t i = 0; i < l->units; i++) {
        sum += mb_magnitude(values[i]);
    }
    const uint32_t mean = 16u * (sum / l->units) + 16u * (sum % l->units) / l->units; /* 16 sum / N, in 32 bits */
    const mb_ramp ramp = {mean, (uint32_t)(((uint64_t)mean * l->low) >> 12), (uint32_t)(((uint64_t)mean * l->high) >> 12)};
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

#define LANES uint32_t
#define ADD_EIGHT void mb_add_eight
#define MORE(carry) ((carry) != 0)
#include "eight.h"

/* V of all units: unsure weights count half. */
static void average_values(const mb_layer *l, const uint16_t *list, uint32_t active, int32_t *values)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u;
    for (uint32_t r = 0; 32u * r < l->units; r++) {
        const mb_word *sign = (const mb_word *)(const void *)l->sign + r * (l->inputs + 1u);
        const mb_word *top = (const mb_word *)(const void *)l->levels + r * l->inputs * low_bits;
        uint32_t v[MB_PLANES_MAX + 1];
        v[0] = 0;
        mb_start_sums(l, r, active, v + 1);
        for (uint32_t i = 0; i < active; i += 8u) {
            uint32_t s[8] = {0, 0, 0, 0, 0, 0, 0, 0}, t[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            for (uint32_t k = 0; k < 8u && i + k < active; k++) {
                s[k] = sign[list[i + k]];
                t[k] = low_bits != 0 ? top[list[i + k] * low_bits] : s[k]; /* the magnitude's top bit is 0 where they differ */
            }
            mb_add_eight(v + 1, l->planes, s); /* 0, 1, 3 or 4, less two: -2, -1, 1 or 2 */
            mb_add_eight(v, l->planes + 1u, s);
            mb_add_eight(v, l->planes + 1u, t);
        }
        for (uint32_t i = 0; i < 32u && 32u * r + i < l->units; i++) {
            values[32u * r + i] = mb_lane_value(v, l->planes + 1u, i);
        }
    }
}

void mb_grade_mean(const mb_layer *l, const mb_arena *arena, uint32_t active)
{
    const mb_ramp ramp = mb_ramp_of(l, arena->values);
    arena->sizes[0] = active;
    arena->sizes[1] = ramp.mean;
    mb_grade(l, ramp, arena->values);
}

void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits)
{
    const uint32_t active = mb_graded_inputs(l, bits, arena->list);
    average_values(l, arena->list, active, arena->values);
    mb_grade_mean(l, arena, active);
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

/* Whole part of the square root. */
static uint32_t root(uint32_t x)
{
    uint32_t r = 0;
    for (uint32_t bit = 1u << 30; bit != 0; bit >>= 2) {
        const uint32_t least = r + bit;
        r = x >= least ? (r >> 1) + bit : r >> 1;
        x -= x >= least ? least : 0;
    }
    return r;
}

mb_status mb_novelty(const mb_model *m, uint32_t *novelty)
{
    mb_arena arena;
    if (m == NULL || novelty == NULL) {
        return MB_E_NULL;
    }
    if (m->arena == NULL) {
        return MB_E_DETACHED;
    }
    (void)mb_arena_plan(m, MB_INFER, &arena);
    if (arena.sizes == NULL) {
        return MB_E_GRADED;
    }
    const uint32_t on = arena.sizes[0] <= MB_MAX_UNITS ? arena.sizes[0] : MB_MAX_UNITS; /* whatever became of the arena */
    const uint32_t mean = arena.sizes[1] != 0 ? arena.sizes[1] : 1u;
    *novelty = (root(on * root(on << 16)) << 12) / mean; /* 256 on^(1/2), 16 on^(3/4) */
    return MB_OK;
}
