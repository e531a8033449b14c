/* Learning by votes: one step of the last layer before the output. docs/learning-rule.md, "Graded units and votes"; its
 * paragraphs are the banners here. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

enum { COUNT_PLANES = 14 }; /* up to 256 samples of 8 planes and 3 votes, and a sign */

/// Step ///

/* Scores -> D, their deviations, with the largest in 512..1023. */
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

/* The error of one pass, from D; returns its true error. */
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
    uint32_t factor = 0; /* two scores have no deviations but their size: it stays */
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

/* delta -= sign(V) b, with b what the output asks of each unit, for units on the ramp; a quarter for closed ones that should open. */
static void add_delta(const mb_layer *l, mb_ramp ramp, const int32_t *values, const int32_t *asked, int32_t *delta)
{
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t size = mb_magnitude(values[i]);
        int32_t b = size > ramp.low ? asked[i] : 0;
        if (size >= ramp.high) { /* or nothing would ever open a unit that is always closed */
            b = b < 0 ? -(-b >> 2) : 0;
        }
        delta[i] += values[i] < 0 ? b : -b;
    }
}

/// Asking ///

/* Keeps the sample in its slot if some unit asks, with 1 to 3 votes; returns whether one did. */
MB_APART int ask(const mb_layer *l, const mb_votes *votes, uint32_t slot, const uint32_t *bits, const int32_t *delta, mb_share share,
                 uint32_t *generator)
{
    const uint32_t words = MB_WORDS(l->units), pitch = l->batch >> 5, shift = slot & 31u;
    uint32_t *const asked = votes->asked + 3u * words * slot;
    int any = 0;
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t strength = delta[i] == 0 ? 0 : (3u * mb_rate(share, delta[i]) + mb_draw(generator)) >> 16;
        if (strength == 0) {
            continue;
        }
        if (!any) { /* only now is the sample before forgotten */
            memset(asked, 0, sizeof(uint32_t) * 3u * words);
            any = 1;
        }
        const uint32_t bit = 1u << (i & 31u);
        asked[i >> 5] |= delta[i] > 0 ? bit : 0;
        asked[words + (i >> 5)] |= strength & 1u ? bit : 0;
        asked[2u * words + (i >> 5)] |= strength & 2u ? bit : 0;
    }
    for (uint32_t j = 0; any && j < mb_values(l); j++) {
        uint32_t *const kept = votes->inputs + j * pitch + (slot >> 5);
        *kept = (*kept & ~(1u << shift)) | ((bits[j >> 5] >> (j & 31u)) & 1u) << shift;
    }
    return any;
}

/// Counting ///

/* Votes for one input, of each unit: eight samples wait until they are added together. */
typedef struct tally {
    uint32_t up[COUNT_PLANES], down[COUNT_PLANES];
    uint32_t one_up[8], one_down[8], two_up[8], two_down[8], waiting;
} tally;

static void settle(tally *t)
{
    for (uint32_t i = t->waiting; i < 8u; i++) {
        t->one_up[i] = t->one_down[i] = t->two_up[i] = t->two_down[i] = 0;
    }
    mb_add_eight(t->up, COUNT_PLANES, t->one_up);
    mb_add_eight(t->up + 1, COUNT_PLANES - 1, t->two_up);
    mb_add_eight(t->down, COUNT_PLANES, t->one_down);
    mb_add_eight(t->down + 1, COUNT_PLANES - 1, t->two_down);
    t->waiting = 0;
}

/* The fewest votes that could be enough: need does not fall with their number. */
static int32_t fewest(const mb_layer *l)
{
    uint32_t s = 1;
    while (s < 3u * l->batch * l->depth && 16u * s <= l->need[s]) {
        s++;
    }
    return (int32_t)s;
}

MB_APART void count_synapse(const mb_layer *l, uint32_t r, uint32_t j, uint32_t lane, uint32_t ups, uint32_t downs,
                          uint32_t *generator, mb_learn_info *info)
{
    const uint32_t up = ups > downs;
    const uint32_t s = 16u * (up ? ups - downs : downs - ups), need = l->need[ups + downs];
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

/* Adds the votes of the samples of `on`, 32 samples from the one on whose requests `asked` points. */
static void count_samples(uint32_t on, const uint32_t *asked, uint32_t words, tally *t)
{
    uint16_t list[32];
    const uint16_t *const end = mb_list_bits(list, on, 0);
    for (const uint16_t *b = list; b != end; b++) {
        const uint32_t *const a = asked + 3u * words * *b;
        const uint32_t down = a[0], one = a[words], two = a[2u * words];
        t->one_up[t->waiting] = one & ~down;
        t->one_down[t->waiting] = one & down;
        t->two_up[t->waiting] = two & ~down;
        t->two_down[t->waiting] = two & down;
        if (++t->waiting == 8u) {
            settle(t);
        }
    }
}

/* Of the inputs whose turn it is in this slot. */
MB_APART void count_votes(const mb_layer *l, const mb_votes *votes, uint32_t slot, uint32_t *generator, mb_learn_info *info)
{
    const uint32_t words = MB_WORDS(l->units), pitch = l->batch >> 5;
    const int32_t least = fewest(l);
    for (uint32_t r = 0; r < words; r++) {
        uint32_t some[8] = {0, 0, 0, 0, 0, 0, 0, 0}; /* samples in which one of these units asked */
        for (uint32_t b = 0; b < l->batch; b++) {
            const uint32_t *asked = votes->asked + (3u * b + 1u) * words + r;
            some[b >> 5] |= (uint32_t)((asked[0] | asked[words]) != 0) << (b & 31u);
        }
        for (uint32_t j = slot; j < l->inputs; j += l->batch) {
            tally t;
            memset(&t, 0, sizeof t);
            for (uint32_t p = 0; p < l->depth; p++) {
                for (uint32_t w = 0; w < pitch; w++) {
                    const uint32_t on = votes->inputs[(p * l->inputs + j) * pitch + w] & some[w];
                    count_samples(on, votes->asked + 96u * words * w + r, words, &t);
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

/// Public to the library ///

/* The scores of one pass, from its V. */
static mb_ramp score(const mb_layer *l, const mb_layer *out, const int32_t *values, const mb_arena *arena)
{
    const mb_ramp ramp = mb_ramp_of(l, values);
    memcpy(arena->values, values, sizeof(int32_t) * l->units);
    mb_grade(l, ramp, arena->values);
    mb_graded_output(out, arena->values, arena->scores);
    return ramp;
}

/* Passes with weights drawn anew: their errors' sum goes to delta, the prediction's scores stay. Returns the true error. */
MB_APART uint32_t sample_error(const mb_model *m, const mb_arena *arena, const mb_layer *l, uint16_t label, uint32_t *generator)
{
    const uint32_t temperature = mb_u16_at(m->image + MB_AT_TEMPERATURE);
    const unsigned at = mb_layer_count(m) - 2u;
    int32_t *const delta = arena->error[0], *const error = arena->error[1], *const passes = arena->votes.passes;
    uint32_t true_error = 0;
    mb_layer out;
    mb_layer_at(m, at + 1u, &out);
    const uint32_t active = mb_graded_inputs(l, arena->bits[at], arena->list);
    memset(delta, 0, sizeof(int32_t) * l->units);
    for (unsigned s = 0; s < l->draws; s++) {
        const int32_t *const values = passes + (s & 3u) * l->units;
        if ((s & 3u) == 0) {
            MB_MARK(MB_FORWARD, at);
            mb_graded_passes(l, arena->list, active, generator, passes, arena->sums);
        }
        MB_MARK(MB_ERROR, at + 1u);
        const mb_ramp ramp = score(l, &out, values, arena);
        deviations(arena->scores, out.units);
        true_error += projected_error(arena->scores, out.units, label, temperature, error);
        MB_MARK(MB_BACKWARD, at + 1u);
        if (out.half) {
            (void)mb_backward_16(&out, error, NULL, arena->values, arena->sums);
        } else {
            mb_backward(&out, error, NULL, out.inputs, arena->values, arena->sums);
        }
        add_delta(l, ramp, values, arena->values, delta);
    }
    MB_MARK(MB_FORWARD, at);
    for (uint32_t i = 0; i < l->units; i++) { /* every unsure weight was turned in one of four passes: on average it is a half */
        const int32_t *const v = passes + i;
        arena->values[i] = (v[0] + v[l->units] + v[2u * l->units] + v[3u * l->units]) / 4;
    }
    mb_grade(l, mb_ramp_of(l, arena->values), arena->values);
    mb_graded_output(&out, arena->values, arena->scores);
    return true_error / l->draws;
}

void mb_vote_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    const unsigned at = mb_layer_count(m) - 2u;
    mb_counters *counters = (mb_counters *)(void *)m->state;
    mb_layer l;
    mb_layer_at(m, at, &l);
    counters->steps++;
    const uint32_t true_error = sample_error(m, arena, &l, label, &counters->generator);
    info->predicted = mb_best_class(arena->scores, mb_classes(m));
    MB_MARK(MB_UPDATE, at);
    const mb_share share = mb_share_of(&l, mb_sizes_of(arena->error[0], l.units).sum, true_error);
    info->skipped = true_error == 0 || true_error < mb_u16_at(m->image + MB_AT_MARGIN) || share.each == 0;
    const uint32_t slot = *arena->votes.slot % l.batch;
    if (!info->skipped && ask(&l, &arena->votes, slot, arena->bits[at], arena->error[0], share, &counters->generator)) {
        count_votes(&l, &arena->votes, slot, &counters->generator, info);
        *arena->votes.slot = slot + 1u;
    }
    MB_MARK(MB_DONE, at + 2u);
    counters->moved += info->moved;
    counters->flipped += info->flipped;
}
#endif
