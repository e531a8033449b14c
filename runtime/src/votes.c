/* Learning by votes: one step of the graded layer below the output. docs/learning-rule.md, "Graded units and votes". */
#include <string.h>

#include "layers.h"
#include "synapse.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

enum { COUNT_PLANES = 14 }; /* 256 samples * 8 planes * 3 votes < 2^13, and a sign */

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

/* Adds -sign(V) * b to delta [N] for each unit on the ramp, where b [N] is the error that the output passes down. A closed unit gets
 * a quarter of that if it should open, else nothing. */
static void add_delta(const mb_layer *l, mb_ramp ramp, const int32_t *values, const int32_t *below, int32_t *delta)
{
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t size = mb_magnitude(values[i]);
        int32_t b = size > ramp.low ? below[i] : 0;
        if (size >= ramp.high) { /* a quarter: without it nothing could open a unit that is always closed */
            b = b < 0 ? -(-b >> 2) : 0;
        }
        delta[i] += values[i] < 0 ? b : -b;
    }
}

/// Votes of one sample ///

/* Draws 0 to 3 votes of each unit and, if there is any, keeps the sample in its slot. Returns 1 if there is any. */
MB_NOINLINE int draw_votes(const mb_layer *l, const mb_votes *votes, uint32_t slot, const int32_t *delta, mb_visit_rate rate,
                    uint32_t *generator)
{
    const uint32_t words = MB_WORDS(l->units), pitch = l->batch >> 5, shift = slot & 31u;
    uint32_t *const drawn = votes->drawn + 3u * words * slot;
    int any = 0;
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t strength = delta[i] == 0 ? 0 : (3u * mb_unit_rate(rate, delta[i]) + mb_draw(generator)) >> 16;
        if (strength == 0) {
            continue;
        }
        if (!any) { /* only now is the sample that had the slot before overwritten */
            memset(drawn, 0, sizeof(uint32_t) * 3u * words);
            any = 1;
        }
        const uint32_t bit = 1u << (i & 31u);
        drawn[i >> 5] |= delta[i] > 0 ? bit : 0;
        drawn[words + (i >> 5)] |= strength & 1u ? bit : 0;
        drawn[2u * words + (i >> 5)] |= strength & 2u ? bit : 0;
    }
    for (uint32_t j = 0; any && j < mb_values(l); j++) {
        uint32_t *const kept = votes->inputs + j * pitch + (slot >> 5);
        *kept = (*kept & ~(1u << shift)) | ((l->in[j >> 5] >> (j & 31u)) & 1u) << shift;
    }
    return any;
}

/// Counting ///

/* Votes of 32 units for one input, up and down, as bit-sliced sums. Eight samples' votes are added at a time. */
typedef struct tally {
    uint32_t up[COUNT_PLANES], down[COUNT_PLANES];
    uint32_t one_up[8], one_down[8], two_up[8], two_down[8], pending;
} tally;

/* Adds the pending votes. */
static void settle(tally *t)
{
    for (uint32_t i = t->pending; i < 8u; i++) {
        t->one_up[i] = t->one_down[i] = t->two_up[i] = t->two_down[i] = 0;
    }
    mb_add_eight(t->up, COUNT_PLANES, t->one_up);
    mb_add_eight(t->up + 1, COUNT_PLANES - 1, t->two_up);
    mb_add_eight(t->down, COUNT_PLANES, t->one_down);
    mb_add_eight(t->down + 1, COUNT_PLANES - 1, t->two_down);
    t->pending = 0;
}

/* Returns the fewest votes that can be enough. pre: need[] never falls. */
static int32_t fewest(const mb_layer *l)
{
    uint32_t s = 1;
    while (s < 3u * l->batch * l->depth && 16u * s <= l->own.need[s]) {
        s++;
    }
    return (int32_t)s;
}

/* Moves one synapse if its votes, `ups` against `downs`, are enough. */
MB_NOINLINE void count_synapse(const mb_layer *l, uint32_t r, uint32_t j, uint32_t lane, uint32_t ups, uint32_t downs,
                          uint32_t *generator, mb_learn_info *info)
{
    const uint32_t up = ups > downs;
    const uint32_t s = 16u * (up ? ups - downs : downs - ups), need = l->own.need[ups + downs];
    if (s <= need) {
        return;
    }
    uint32_t sure = ((s - need > 65535u ? 65535u : s - need) * l->gain) >> 4;
    sure = sure > 65535u ? 65535u : sure;
    const uint32_t chance = mb_draw(generator);
    const mb_synapse at = mb_synapse_at(l, 0, 0, 32u * r + lane, j);
    const int32_t entry = mb_entry(l->tables, at, up);
    info->visited++;
    if (entry >= 0 && chance < (sure * ((uint32_t)entry + 1u)) >> 16) {
        mb_move(l, 0, 0, at, up, info);
    }
}

/* Adds the votes of the samples whose bit in `on` is set, of 32 samples. drawn: the votes of the first of them. */
static void count_samples(uint32_t on, const uint32_t *drawn, uint32_t words, tally *t)
{
    uint16_t list[32];
    const uint16_t *const end = mb_list_bits(list, on, 0);
    for (const uint16_t *b = list; b != end; b++) {
        const uint32_t *const a = drawn + 3u * words * *b;
        const uint32_t down = a[0], one = a[words], two = a[2u * words];
        t->one_up[t->pending] = one & ~down;
        t->one_down[t->pending] = one & down;
        t->two_up[t->pending] = two & ~down;
        t->two_down[t->pending] = two & down;
        if (++t->pending == 8u) {
            settle(t);
        }
    }
}

/* Counts the votes for the inputs slot, slot + batch, slot + 2 batch, ... */
MB_NOINLINE void count_votes(const mb_layer *l, const mb_votes *votes, uint32_t slot, uint32_t *generator, mb_learn_info *info)
{
    const uint32_t words = MB_WORDS(l->units), pitch = l->batch >> 5;
    const int32_t least = fewest(l);
    for (uint32_t r = 0; r < words; r++) {
        uint32_t some[8] = {0, 0, 0, 0, 0, 0, 0, 0}; /* bit b: some of these 32 units vote in sample b */
        for (uint32_t b = 0; b < l->batch; b++) {
            const uint32_t *drawn = votes->drawn + (3u * b + 1u) * words + r;
            some[b >> 5] |= (uint32_t)((drawn[0] | drawn[words]) != 0) << (b & 31u);
        }
        for (uint32_t j = slot; j < l->inputs; j += l->batch) {
            tally t;
            memset(&t, 0, sizeof t);
            for (uint32_t p = 0; p < l->depth; p++) {
                for (uint32_t w = 0; w < pitch; w++) {
                    const uint32_t on = votes->inputs[(p * l->inputs + j) * pitch + w] & some[w];
                    count_samples(on, votes->drawn + 96u * words * w + r, words, &t);
                }
            }
            settle(&t);
            uint32_t lanes = ~(mb_sign_of_sum(t.up, COUNT_PLANES, -least) & mb_sign_of_sum(t.down, COUNT_PLANES, -least));
            for (uint32_t lane = 0; lanes != 0; lane++, lanes >>= 1) {
                if (lanes & 1u) {
                    count_synapse(l, r, j, lane, (uint32_t)mb_lane_value(t.up, COUNT_PLANES, lane),
                                  (uint32_t)mb_lane_value(t.down, COUNT_PLANES, lane), generator, info);
                }
            }
        }
    }
}

/// One step ///

/* arena->scores [classes] = scores of one pass, from its V in `values` [N]. Returns the pass's ramp. */
static mb_ramp score(const mb_layer *l, const mb_arena *arena, const int32_t *values)
{
    const mb_ramp ramp = mb_ramp_of(l, values);
    mb_grade(l, ramp, values, arena->graded_values);
    mb_graded_output(l + 1, arena->graded_values, arena->scores);
    return ramp;
}

/* error[0] [N] = sum of the errors of all passes with sampled weights; arena->scores = scores of the average weights. Returns the
 * true error, averaged over the passes. */
MB_NOINLINE uint32_t sample_error(const mb_model *m, const mb_arena *arena, const mb_layer *l, uint16_t label,
                                  uint32_t *generator)
{
    const uint32_t temperature = mb_u16_at(m->image + MB_AT_TEMPERATURE), active = mb_graded_inputs(l, l->in, arena->active);
    const mb_layer *const out = l + 1;
    int32_t *const delta = arena->error[0], *const error = arena->error[1], *const passes = arena->votes.passes;
    uint32_t true_error = 0;
    memset(delta, 0, sizeof(int32_t) * l->units);
    for (unsigned s = 0; s < l->draws; s++) {
        const int32_t *const values = passes + (s & 3u) * l->units;
        if ((s & 3u) == 0) {
            MB_MARK(MB_FORWARD, arena->count - 2u);
            mb_graded_passes(l, arena->active, active, generator, passes, arena->learn_scratch);
        }
        MB_MARK(MB_ERROR, arena->count - 1u);
        const mb_ramp ramp = score(l, arena, values);
        deviations(arena->scores, out->units);
        true_error += projected_error(arena->scores, out->units, label, temperature, error);
        MB_MARK(MB_BACKWARD, arena->count - 1u);
        if (out->lanes16) {
            (void)mb_backward_lanes16(out, error, NULL, arena->graded_values, arena->learn_scratch);
        } else {
            mb_backward(out, error, NULL, out->inputs, arena->graded_values, arena->learn_scratch);
        }
        add_delta(l, ramp, values, arena->graded_values, delta);
    }
    MB_MARK(MB_FORWARD, arena->count - 2u);
    for (uint32_t i = 0; i < l->units; i++) { /* each unsure weight was flipped in one of four passes: on average it counts half */
        const int32_t *const v = passes + i;
        arena->graded_values[i] = (v[0] + v[l->units] + v[2u * l->units] + v[3u * l->units]) / 4;
    }
    (void)score(l, arena, arena->graded_values);
    return true_error / l->draws;
}

void mb_vote_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    const mb_layer *const l = arena->layers + arena->count - 2;
    mb_counters *const counters = (mb_counters *)(void *)m->state;
    counters->steps++;
    const uint32_t true_error = sample_error(m, arena, l, label, &counters->generator);
    info->predicted = mb_best_class(arena->scores, l[1].units);
    MB_MARK(MB_UPDATE, arena->count - 2u);
    const mb_visit_rate rate = mb_visit_rate_of(l, mb_error_norm_of(arena->error[0], l->units).sum, true_error);
    info->skipped = true_error == 0 || true_error < mb_u16_at(m->image + MB_AT_MARGIN) || rate.per_error == 0;
    const uint32_t slot = *arena->votes.slot % l->batch;
    if (!info->skipped && draw_votes(l, &arena->votes, slot, arena->error[0], rate, &counters->generator)) {
        count_votes(l, &arena->votes, slot, &counters->generator, info);
        *arena->votes.slot = slot + 1u;
    }
    MB_MARK(MB_DONE, arena->count);
    counters->moved += info->moved;
    counters->flipped += info->flipped;
}
#endif
