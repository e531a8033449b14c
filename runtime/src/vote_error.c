/* The error of a step by votes, averaged over passes with sampled weights. docs/learning-rule.md, "Graded units and votes". */
#include <string.h>

#include "fours.h"
#include "layers.h"
#include "learn.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

enum { FEW = 10, AT_ONCE = 5 }; /* up to so many classes have ways of their own, which take five at once */

/// Error of one pass ///

/* Replaces scores by D, their scaled deviations from the mean. post: 512 <= max |D| <= 1023, or all D = 0. */
static void deviations(int32_t *scores, uint32_t classes)
{
    int32_t sum = 0;
    uint32_t top = 0, left = 0, right = 0;
    for (uint32_t c = 0; c < classes; c++) {
        sum += scores[c];
    }
    for (uint32_t c = 0; c < classes; c++) {
        scores[c] = scores[c] * (int32_t)classes - sum;
        top = mb_magnitude(scores[c]) > top ? mb_magnitude(scores[c]) : top;
    }
    while (top != 0 && (top << left) < 512u) {
        left++;
    }
    while ((top >> right) > 1023u) {
        right++;
    }
    for (uint32_t c = 0; c < classes; c++) {
        const int32_t size = (int32_t)((mb_magnitude(scores[c]) << left) >> right);
        scores[c] = scores[c] < 0 ? -size : size;
    }
}

/* error [classes] = error of one pass, from D. Returns its true error. */
static uint32_t projected_error(const int32_t *d, uint32_t classes, uint16_t label, uint32_t temperature, int32_t *error)
{
    const int32_t top = d[mb_best_class(d, classes)];
    uint32_t spread = 0;
    uint64_t squares = 0;
    int32_t product = 0;
    for (uint32_t c = 0; c < classes; c++) {
        spread += mb_magnitude(d[c]);
        squares += (uint32_t)(d[c] * d[c]);
    }
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (int32_t)((uint32_t)(top - d[c]) * temperature / (spread != 0 ? spread : 1u));
    }
    const uint32_t true_error = mb_softmax_error(error, classes, label);
    for (uint32_t c = 0; c < classes; c++) {
        product += error[c] * d[c];
    }
    uint32_t factor = 0; /* with two classes the projection would leave no error */
    if (classes > 2u) {
        const uint32_t size = (uint32_t)(squares >> 8);
        factor = mb_magnitude(product) / (size != 0 ? size : 1u);
    }
    for (uint32_t c = 0; c < classes; c++) {
        const int32_t part = (int32_t)((mb_magnitude(d[c]) * factor + 128u) >> 8);
        error[c] -= (product < 0) == (d[c] < 0) ? part : -part;
    }
    return true_error;
}

/* Adds -sign(V) * b to delta [N] for each unit on the ramp, where b is the error that the output passes down. A closed unit gets a
 * quarter of that if it should open, else nothing. few: b is looked up in two tables of five classes; else it lies in below [N]. */
MB_INLINE void add_delta(uint32_t few, const mb_layer *l, mb_ramp ramp, const int32_t *values, const int32_t *below, int32_t *delta)
{
    const mb_half *w = (const mb_half *)(const void *)l[1].sign;
    const int32_t *const end = values + l->units;
    do {
        const int32_t v = *values++;
        const uint32_t size = mb_magnitude(v), classes = few ? *w++ : 0;
        if (size > ramp.low) {
            int32_t b = few ? below[classes & 31u] + below[32u + ((classes >> 5) & 31u)] : *below;
            if (size >= ramp.high) { /* a quarter: without it nothing could open a unit that is always closed */
                b = b < 0 ? -(-b >> 2) : 0;
            }
            *delta += v < 0 ? b : -b;
        }
        delta++;
        below += !few;
    } while (values != end);
}

/* As add_delta, from the error of the output. */
static void pass_down(const mb_layer *l, const mb_arena *arena, mb_ramp ramp, const int32_t *values, int32_t *error, int32_t *delta)
{
    const mb_layer *const out = l + 1;
    if (out->units <= FEW) {
        int32_t e[FEW], *const tables = arena->learn_scratch;
        memset(e, 0, sizeof e);
        memcpy(e, error, sizeof(int32_t) * out->units);
        mb_five_signed_sums(e, tables);
        mb_five_signed_sums(e + 5, tables + 32);
        add_delta(1, l, ramp, values, tables, delta);
        return;
    }
    if (out->lanes16) {
        (void)mb_backward_lanes16(out, error, NULL, arena->graded_values, arena->learn_scratch);
    } else {
        mb_backward(out, error, NULL, out->inputs, arena->graded_values, arena->learn_scratch);
    }
    add_delta(0, l, ramp, values, arena->graded_values, delta);
}

/// All passes ///

/* arena->scores [classes] = scores of one pass, from its V in `values` [N]. Returns the pass's ramp. */
static mb_ramp score(const mb_layer *l, const mb_arena *arena, const int32_t *values)
{
    const mb_ramp ramp = mb_ramp_of(l, values);
    mb_grade(l, ramp, 0, values, arena->graded_values);
    mb_graded_output(l + 1, arena->graded_values, arena->scores);
    return ramp;
}

/* sums [6][2] = sums of the grades of the units with weight +1, of classes first .. first + 4 and of all units, in four passes. grades: a
 * byte a pass, added as signed numbers. Sums of 15 units stay inside their bytes; then each is made positive by + 128, and bytes 0
 * and 2 are added to sums[i][0], bytes 1 and 3 to sums[i][1], 16 bits each: at most 255 * 69, of 1024 units. */
MB_NOINLINE void add_four_passes(const mb_half *w, const int32_t *grades, uint32_t units, uint32_t first,
                                 uint32_t (*sums)[2])
{
    memset(sums, 0, (AT_ONCE + 1) * sizeof *sums);
    for (uint32_t left = units; left != 0;) {
        const int32_t *const end = grades + (left < 15u ? left : 15u);
        uint32_t a = 0, b = 0, c = 0, d = 0, e = 0, all = 0;
        left -= (uint32_t)(end - grades);
        do {
            const uint32_t x = (uint32_t)*grades++, classes = (uint32_t)*w++ >> first;
            a += x * (classes & 1u);
            b += x * (classes >> 1 & 1u);
            c += x * (classes >> 2 & 1u);
            d += x * (classes >> 3 & 1u);
            e += x * (classes >> 4 & 1u);
            all += x;
        } while (grades != end);
        const uint32_t sum[AT_ONCE + 1] = {a, b, c, d, e, all};
        for (uint32_t i = 0; i <= AT_ONCE; i++) {
            const uint32_t x = sum[i] + 0x80808080u;
            sums[i][0] += x & 0x00FF00FFu;
            sums[i][1] += x >> 8 & 0x00FF00FFu;
        }
    }
}

/* Sum of one pass, from a pair of sums of four. The first pass is in the highest byte. */
MB_INLINE int32_t sum_of_pass(const uint32_t *sums, uint32_t pass, uint32_t units)
{
    return (int32_t)(sums[(pass & 1u) ^ 1u] >> (pass < 2u ? 16 : 0) & 0xFFFFu) - (int32_t)((units + 14u) / 15u * 128u);
}

/* values [4][N] = V of four passes. Adds the errors of the units to delta [N], and returns the sum of the true errors. */
static uint32_t errors_of_passes(const mb_layer *l, const mb_arena *arena, const int32_t *values, uint16_t label,
                                 uint32_t temperature, int32_t *error, int32_t *delta)
{
    const mb_layer *const out = l + 1;
    const uint32_t few = out->units <= FEW, units = l->units;
    uint32_t (*const sums)[2] = (uint32_t (*)[2])(void *)(arena->learn_scratch + 64); /* behind the tables of pass_down */
    mb_ramp ramps[4];
    uint32_t true_error = 0;
    for (uint32_t s = 0; few && s < 4u; s++) {
        ramps[s] = mb_ramp_of(l, values + s * units);
        mb_grade(l, ramps[s], s != 0, values + s * units, arena->graded_values);
    }
    for (uint32_t first = 0; few && first < FEW; first += AT_ONCE) {
        add_four_passes((const mb_half *)(const void *)out->sign, arena->graded_values, units, first, sums + first / AT_ONCE * 6u);
    }
    for (uint32_t s = 0; s < 4u; s++, values += units) {
        MB_MARK(MB_ERROR, arena->count - 1u);
        if (few) {
            /* cppcheck-suppress arrayIndexOutOfBounds -- sums points to rows of two words; learn_scratch has room for 12 */
            const int32_t all = sum_of_pass(sums[AT_ONCE], s, units);
            for (uint32_t c = 0; c < out->units; c++) { /* 2 * (grades with weight +1) - (all grades) */
                /* cppcheck-suppress arrayIndexOutOfBoundsCond -- as above */
                const int32_t on = sum_of_pass(sums[c < AT_ONCE ? c : c + 1u], s, units);
                arena->scores[c] = (2 * on - all) * out->own.scores[c] + out->own.scores[out->units + c];
            }
        } else {
            ramps[s] = score(l, arena, values);
        }
        deviations(arena->scores, out->units);
        true_error += projected_error(arena->scores, out->units, label, temperature, error);
        MB_MARK(MB_BACKWARD, arena->count - 1u);
        pass_down(l, arena, ramps[s], values, error, delta);
    }
    return true_error;
}

uint32_t mb_sample_error(const mb_model *m, const mb_arena *arena, const mb_layer *l, uint16_t label, uint32_t *generator)
{
    const uint32_t temperature = mb_u16_at(m->image + MB_AT_TEMPERATURE), active = mb_graded_inputs(l, l->in, arena->active);
    int32_t *const delta = arena->error[0], *const passes = arena->votes.passes;
    const uint32_t units = l->units;
    uint32_t true_error = 0;
    memset(delta, 0, sizeof(int32_t) * units);
    for (unsigned s = 0; s < l->draws; s += 4u) {
        MB_MARK(MB_FORWARD, arena->count - 2u);
        mb_graded_passes(l, arena->active, active, generator, passes, (mb_fours *)(void *)arena->learn_scratch);
        MB_MARK(MB_ERROR, arena->count - 1u);
        true_error += errors_of_passes(l, arena, passes, label, temperature, arena->error[1], delta);
    }
    MB_MARK(MB_FORWARD, arena->count - 2u);
    const int32_t *v = passes;
    int32_t *mean = arena->graded_values;
    do { /* each unsure weight was flipped in one of four passes: on average it counts half */
        *mean++ = (v[0] + v[units] + v[2u * units] + v[3u * units]) / 4;
    } while (++v != passes + units);
    (void)score(l, arena, arena->graded_values);
    return true_error / l->draws;
}
#endif
