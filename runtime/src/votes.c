/* Learning by votes: one step of the graded layer below the output. docs/learning-rule.md, "Graded units and votes". */
#include <string.h>

#include "fours.h"
#include "layers.h"
#include "synapse.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

enum { COUNT_PLANES = 15 }; /* 256 samples * 8 planes * 3 votes < 2^13, and two signs: the sum of two */

/// Votes of one sample ///

/* Draws 0 to 3 votes of each unit and, if there is any, keeps the sample in its slot. Returns 1 if there is any. */
MB_NOINLINE int draw_votes(const mb_layer *l, const mb_votes *votes, uint32_t slot, const int32_t *delta, mb_visit_rate rate,
                    uint32_t *generator)
{
    const uint32_t rows = MB_WORDS(l->units), inputs = MB_WORDS(mb_values(l));
    uint32_t *const first = votes->drawn + 3u * rows * slot, *drawn = first, z = *generator;
    int any = 0;
    for (uint32_t left = l->units; left != 0; drawn += 3) {
        const uint32_t here = left < 32u ? left : 32u;
        uint32_t down = 0, one = 0, two = 0;
        /* cppcheck-suppress knownConditionTrueFalse -- left, and so here, is not 0 */
        for (uint32_t i = 0, bit = 1; i < here; i++, bit <<= 1) {
            const int32_t d = *delta++;
            const uint32_t strength = d == 0 ? 0 : (3u * mb_unit_rate(rate, d) + mb_draw(&z)) >> 16;
            if (strength != 0) {
                down |= d > 0 ? bit : 0;
                one |= strength & 1u ? bit : 0;
                two |= strength & 2u ? bit : 0;
            }
        }
        left -= here;
        if (!any && (one | two) != 0) { /* only now is the sample that had the slot before overwritten */
            memset(first, 0, sizeof *first * (uint32_t)(drawn - first));
            any = 1;
        }
        if (any) {
            drawn[0] = down;
            drawn[1] = one;
            drawn[2] = two;
        }
    }
    if (any) {
        memcpy(votes->inputs + inputs * slot, l->in, sizeof *l->in * inputs);
    }
    *generator = z;
    return any;
}

/// Counting ///

/* Returns the fewest votes that can be enough. pre: need[] never falls. */
static uint32_t fewest(const mb_layer *l)
{
    uint32_t s = 1;
    while (s < 3u * l->batch * l->depth && 16u * s <= l->own.need[s]) {
        s++;
    }
    return s;
}

/* Visits one synapse, whose votes are `above` those that are needed, in 1/16. */
MB_NOINLINE void visit_one(const mb_layer *l, uint32_t unit, uint32_t j, uint32_t up, uint32_t above, uint32_t *generator,
                       mb_learn_info *info)
{
    uint32_t sure = ((above > 65535u ? 65535u : above) * l->gain) >> 4;
    sure = sure > 65535u ? 65535u : sure;
    const uint32_t chance = mb_draw(generator);
    const mb_synapse at = mb_synapse_at(l, 0, 0, unit, j);
    const int32_t entry = mb_entry(l->tables, at, up);
    info->visited++;
    if (entry >= 0 && chance < (sure * ((uint32_t)entry + 1u)) >> 16) {
        mb_move(l, 0, 0, at, up, info);
    }
}

/* Bit k = whether one input bit is on in sample k of 32. sample: the word of the first that has this bit; `words` a sample. */
static uint32_t samples_with(const uint32_t *sample, uint32_t words, uint32_t bit)
{
    const uint32_t mask = 1u << bit, *const end = sample + 32u * words;
    uint32_t on = 0;
    do { /* the last sample's bit ends at `bit`, the one before it below */
        on = (on >> 1 | on << 31) | (*sample & mask);
        sample += words;
        on = (on >> 1 | on << 31) | (*sample & mask);
        sample += words;
        on = (on >> 1 | on << 31) | (*sample & mask);
        sample += words;
        on = (on >> 1 | on << 31) | (*sample & mask);
        sample += words;
    } while (sample != end);
    return on << (31u - bit) | on >> 1 >> bit;
}

/* Lists the kept samples by how many planes of input j are on in them: for each binary digit of this number, the highest first, how
 * many samples have it, and which. Returns the end. */
MB_NOINLINE uint16_t *list_samples(const mb_layer *l, const uint32_t *kept, uint32_t j, uint16_t *list)
{
    const uint32_t values = mb_values(l), words = MB_WORDS(values), pitch = l->batch >> 5;
    uint32_t digits[MB_DIGITS][8];
    memset(digits, 0, sizeof digits);
    for (uint32_t bit = j; bit < values; bit += l->inputs) {
        const uint32_t *sample = kept + (bit >> 5);
        for (uint32_t w = 0; w < pitch; w++, sample += 32u * words) {
            uint32_t on = samples_with(sample, words, bit & 31u);
            for (uint32_t d = 0; on != 0; d++) { /* post: at most 8 planes, so that no carry leaves the last digit */
                const uint32_t before = digits[d][w];
                digits[d][w] ^= on;
                on &= before;
            }
        }
    }
    for (uint32_t d = MB_DIGITS; d-- > 0;) {
        uint16_t *const count = list++;
        for (uint32_t w = 0; w < pitch; w++) {
            list = mb_list_bits(list, digits[d][w], 32u * w);
        }
        *count = (uint16_t)(list - count - 1);
    }
    return list;
}

/* Adds the votes of `count` > 0 listed samples: all that count one, those of them for down, and so for two. drawn: the first sample's. */
static void add_samples(const uint16_t *list, uint32_t count, const uint32_t *drawn, uint32_t step, mb_fours *f)
{
    uint32_t here;
    do {
        here = count < MB_FOURS_AT_ONCE ? count : MB_FOURS_AT_ONCE;
        mb_four *w = f->words;
        for (const uint16_t *const end = list + here; list != end; w++) {
            const uint32_t *const a = drawn + *list++ * step, down = a[0], one = a[1], two = a[2];
            MB_PUT(w, MB_FOURS_ROW, 0, one, one & down, two, two & down);
        }
        count -= here;
        mb_add_fours(f, here);
    } while (here == MB_FOURS_AT_ONCE);
}

/* all, more [32] = votes of 32 units, and by how many more are for up than for down, from the lists of one input. drawn: those of the
 * first sample. Returns the units where |more| is at least `least`; if there is none, all and more are not set. */
MB_NOINLINE uint32_t add_votes(const uint16_t *list, const uint32_t *drawn, uint32_t step, uint32_t least, mb_fours *f, int32_t *all,
                               int32_t *more)
{
    uint32_t sum[COUNT_PLANES], excess[COUNT_PLANES], most = 0, carry = 0, carry_down = 0, borrow = ~0u, down = 0;
    unsigned planes = 7;
    const uint16_t *digit = list;
    for (uint32_t d = 0; d < MB_DIGITS; d++, digit += *digit + 1u) {
        most = 2u * most + 3u * *digit;
    }
    if (most < least) {
        return 0;
    }
    while (most >> (planes - 2u) != 0) { /* post: planes <= 15, because most <= 3 * 256 samples * 8 planes < 2^13 */
        planes++;
    }
    f->planes = planes + 2u < MB_FOURS_MIN ? MB_FOURS_MIN : planes + 2u;
    f->waiting = 0;
    for (unsigned p = 1; p < f->planes; p++) {
        MB_PUT(f->v, MB_FOURS_STEP, p, 0, 0, 0, 0);
    }
    for (f->above = MB_DIGITS; f->above-- > 0; list += *list + 1u) {
        if (*list != 0) {
            add_samples(list + 1, *list, drawn, step, f);
        }
    }
    for (unsigned p = 0; p < planes; p++) { /* all = one + twice two; more = all - twice those for down. post: |more| <= all <= most */
        const uint32_t twice = ~down;
        MB_FULL_ADD(carry, sum[p], MB_GET(f->v, MB_FOURS_STEP, p + 2u, 0), MB_GET(f->v, MB_FOURS_STEP, p + 1u, 2), carry);
        MB_FULL_ADD(carry_down, down, MB_GET(f->v, MB_FOURS_STEP, p + 2u, 1), MB_GET(f->v, MB_FOURS_STEP, p + 1u, 3), carry_down);
        MB_FULL_ADD(borrow, excess[p], sum[p], twice, borrow);
    }
    const uint32_t enough = ~mb_range_mask(excess, planes, -(int32_t)least, (int32_t)least - 1, 0, &down);
    /* cppcheck-suppress knownConditionTrueFalse -- 0 where no lane has so many votes more */
    if (enough != 0) {
        mb_lane_values(sum, planes, 0, all, 32);
        mb_lane_values(excess, planes, 0, more, 32);
    }
    return enough;
}

/* Counts the votes for the inputs slot, slot + batch, slot + 2 batch, ... */
MB_NOINLINE void count_votes(const mb_layer *l, const mb_arena *arena, uint32_t slot, uint32_t *generator, mb_learn_info *info)
{
    const mb_votes *const votes = &arena->votes;
    const uint32_t rows = MB_WORDS(l->units), least = fewest(l), room = (uint32_t)((uint16_t *)(void *)votes->lists_end - votes->lists);
    const int kept = room >= mb_counted(l) * mb_list_room(l); /* the lists of all inputs fit, for every row */
    for (uint32_t r = 0; r < rows; r++) {
        uint16_t *list = votes->lists;
        for (uint32_t j = slot; j < l->inputs; j += l->batch) {
            list = kept ? list : votes->lists;
            const uint16_t *const lists = list;
            if (r == 0 || !kept) {
                list = list_samples(l, votes->inputs, j, list);
            } else {
                for (uint32_t d = 0; d < MB_DIGITS; d++) {
                    list += *list + 1u;
                }
            }
            int32_t *const all = arena->learn_scratch, *const more = all + 32; /* in place of the sums */
            uint32_t enough = add_votes(lists, votes->drawn + 3u * r, 3u * rows, least, (mb_fours *)(void *)arena->learn_scratch, all, more);
            for (uint32_t i = 0; enough != 0; i++, enough >>= 1) {
                if (enough & 1u) {
                    const uint32_t s = 16u * mb_magnitude(more[i]), need = l->own.need[all[i]];
                    if (s > need) {
                        visit_one(l, 32u * r + i, j, more[i] > 0, s - need, generator, info);
                    }
                }
            }
        }
    }
}

/// One step ///

void mb_vote_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    const mb_layer *const l = arena->layers + arena->count - 2;
    mb_counters *const counters = (mb_counters *)(void *)m->state;
    counters->steps++;
    const uint32_t true_error = mb_sample_error(m, arena, l, label, &counters->generator);
    info->predicted = mb_best_class(arena->scores, l[1].units);
    MB_MARK(MB_UPDATE, arena->count - 2u);
    const mb_visit_rate rate = mb_visit_rate_of(l, mb_error_norm_of(arena->error[0], l->units).sum, true_error);
    info->skipped = true_error == 0 || true_error < mb_u16_at(m->image + MB_AT_MARGIN) || rate.per_error == 0;
    const uint32_t slot = *arena->votes.slot % l->batch;
    if (!info->skipped && draw_votes(l, &arena->votes, slot, arena->error[0], rate, &counters->generator)) {
        count_votes(l, arena, slot, &counters->generator, info);
        *arena->votes.slot = slot + 1u < l->batch ? slot + 1u : 0;
    }
    MB_MARK(MB_DONE, arena->count);
    counters->moved += info->moved;
    counters->flipped += info->flipped;
}
#endif
