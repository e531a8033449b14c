/* One learning step on one sample, in place, in integers. docs/learning-rule.md is the specification; its section names are
 * the banners here. train/device_rule.py is the independent reading of the same text. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_LEARN

/// Error ///

/* EXP[i] = round(32767 exp(-i / 16)); 0 from 178 on */
static const uint16_t EXP[178] = {
    32767, 30782, 28917, 27165, 25519, 23973, 22520, 21156, 19874, 18670, 17539, 16476, 15478, 14540, 13659, 12832,
    12054, 11324, 10638, 9993, 9388, 8819, 8285, 7783, 7311, 6868, 6452, 6061, 5694, 5349, 5025, 4721,
    4435, 4166, 3913, 3676, 3454, 3244, 3048, 2863, 2690, 2527, 2374, 2230, 2095, 1968, 1849, 1737,
    1631, 1533, 1440, 1352, 1271, 1194, 1121, 1053, 989, 930, 873, 820, 771, 724, 680, 639,
    600, 564, 530, 498, 467, 439, 412, 387, 364, 342, 321, 302, 283, 266, 250, 235,
    221, 207, 195, 183, 172, 162, 152, 143, 134, 126, 118, 111, 104, 98, 92, 86,
    81, 76, 72, 67, 63, 59, 56, 52, 49, 46, 43, 41, 38, 36, 34, 32,
    30, 28, 26, 25, 23, 22, 21, 19, 18, 17, 16, 15, 14, 13, 12, 12,
    11, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 6, 5, 5, 5, 4,
    4, 4, 4, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1,
};

enum { ONE = 4096 }; /* probabilities and errors are in 1/4096 */

uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label)
{
    uint32_t total = 0;
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (uint32_t)error[c] < sizeof EXP / sizeof *EXP ? EXP[error[c]] : 0;
        total += (uint32_t)error[c];
    }
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (int32_t)(((uint32_t)error[c] * (uint32_t)ONE + total / 2u) / total);
    }
    error[label] -= ONE;
    return error[label] < 0 ? (uint32_t)-error[label] : 0;
}

static uint32_t output_error(const int32_t *scores, uint32_t classes, uint16_t label, uint32_t temperature, int32_t *error)
{
    const int32_t top = scores[mb_best_class(scores, classes)];
    for (uint32_t c = 0; c < classes; c++) {
        uint32_t below = (uint32_t)top - (uint32_t)scores[c];
        below = below > 65535u ? 65535u : below;
        error[c] = (int32_t)((below * temperature) >> 12);
    }
    return mb_softmax_error(error, classes, label);
}

/// Backward ///

static inline mb_sizes counted(mb_sizes s, int32_t error)
{
    const uint32_t size = mb_magnitude(error);
    s.sum += size;
    s.largest = size > s.largest ? size : s.largest;
    return s;
}

mb_sizes mb_sizes_of(const int32_t *error, uint32_t units)
{
    mb_sizes s = {0, 0};
    for (const int32_t *const end = error + units; error != end; error++) {
        s = counted(s, *error);
    }
    return s;
}

/* A table of sixteen signed sums serves four units with one look-up. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below, int32_t *tables)
{
    memset(below, 0, sizeof(int32_t) * l->inputs);
    for (uint32_t first = 0; first < l->units; first += 32u, error += 32) {
        const uint32_t here = l->units - first < 32u ? l->units - first : 32u;
        const mb_word *const words = (const mb_word *)(const void *)l->sign + first / 32u * (l->inputs + 1u);
        int32_t *sums = tables;
        uint32_t any = 0;
        for (uint32_t i = 0; i < 32u; i += 4u, sums += 16) { /* lanes beyond the last unit count as zero */
            const int32_t a = i < here ? error[i] : 0, b = i + 1u < here ? error[i + 1u] : 0;
            const int32_t c = i + 2u < here ? error[i + 2u] : 0, d = i + 3u < here ? error[i + 3u] : 0;
            any |= (uint32_t)(a | b | c | d);
            mb_signed_sums(a, b, c, d, sums);
        }
        if (any == 0) {
            continue;
        }
        MB_ROLLED
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t j = list != NULL ? list[i] : i;
            below[j] += mb_look_up(tables, words[j], 8);
        }
    }
}

/* many: more than ten units. */
MB_INLINE mb_sizes look_up_errors(uint32_t many, const mb_layer *l, const uint32_t *mask, int32_t *below, const int32_t *tables)
{
    const mb_half *w = (const mb_half *)(const void *)l->sign, *const end = w + l->inputs;
    mb_sizes sizes = {0, 0};
    while (w != end) {
        const mb_half *const stop = end - w < 32 ? end : w + 32;
        uint32_t open = mask != NULL ? *mask++ : 0xFFFFFFFFu;
        for (; w != stop; w++, below++, open >>= 1) {
            if ((open & 1u) == 0) {
                *below = 0;
                continue;
            }
            const uint32_t units = *w;
            int32_t error = tables[units & 31u] + tables[32u + ((units >> 5) & 31u)];
            if (many) {
                error += tables[64u + ((units >> 10) & 31u)] + tables[96u + (units >> 15)];
            }
            *below = error;
            sizes = counted(sizes, error);
        }
    }
    return sizes;
}

/* Few units, and the whole sum at once: tables of 32 serve five units. */
mb_sizes mb_backward_16(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below, int32_t *tables)
{
    int32_t e[20], *table = tables;
    memset(e, 0, sizeof e);
    memcpy(e, error, sizeof(int32_t) * l->units);
    for (const int32_t *five = e; five != e + 20; five += 5, table += 32) {
        mb_signed_sums(five[0], five[1], five[2], five[3], table);
        for (uint32_t i = 0; i < 16u; i++) {
            table[16u + i] = table[i] + five[4];
            table[i] -= five[4];
        }
    }
    return MB_BOTH(l->units > 10u, look_up_errors, l, mask, below, tables);
}

/* Halves all errors, toward zero, until the largest is below 2^14: products and sums of any layer then fit 32 bits. */
static mb_sizes rescale(int32_t *error, uint32_t units)
{
    const mb_sizes s = mb_sizes_of(error, units);
    uint32_t shift = 0;
    while ((s.largest >> shift) >= (1u << 14)) {
        shift++;
    }
    if (shift == 0) {
        return s;
    }
    for (uint32_t i = 0; i < units; i++) {
        const int32_t e = (int32_t)(mb_magnitude(error[i]) >> shift);
        error[i] = error[i] < 0 ? -e : e;
    }
    return mb_sizes_of(error, units);
}

/// Update ///

mb_share mb_share_of(const mb_layer *l, uint32_t sum, uint32_t true_error)
{
    mb_share s = {0, 0};
    const uint32_t total = (l->dose * true_error) >> 8;
    if (sum == 0 || total == 0) {
        return s;
    }
    while (((total << s.shift) & 0x80000000u) == 0) {
        s.shift++;
    }
    s.each = (total << s.shift) / sum;
    return s;
}

static uint32_t list_ascending(const uint32_t *bits, uint32_t inputs, uint16_t *list)
{
    uint16_t *end = list;
    for (uint32_t base = 0; base < inputs; base += 32u) {
        end = mb_list_bits(end, *bits++, base);
    }
    return (uint32_t)(end - list);
}

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

/* A visit: bits 0..15 are the input, 16..30 the unit, 31 is set if its level is to go up. MB_SUMS of them wait at most. */
MB_INLINE void visit_each(uint32_t half, uint32_t four, const mb_layer *l, const uint32_t *visit, const uint32_t *end,
                          uint32_t *generator, mb_learn_info *info)
{
    const mb_half *const tables = l->tables;
    mb_learn_info sum = {0, 0, 0, 0, 0}; /* here, so that it stays in registers */
    uint32_t z = *generator;
    for (; visit != end; visit++) {
        const uint32_t up = *visit >> 31, unit = (*visit >> 16) & 0x7FFFu, input = *visit & 0xFFFFu;
        const mb_synapse s = mb_synapse_at(l, half, four, unit, input);
        const int32_t entry = mb_entry(tables, s, up), chance = (int32_t)mb_draw(&z);
        if (chance < entry + (entry == 65535)) {
            mb_move(l, half, four, s, up, &sum);
        }
    }
    *generator = z;
    info->moved += sum.moved;
    info->flipped += sum.flipped;
}

MB_APART void visit(const mb_layer *layer, const uint32_t *first, const uint32_t *end, uint32_t *generator, mb_learn_info *info)
{
    const mb_layer l = *layer; /* a copy that no store to weights can change */
    info->visited += (uint32_t)(end - first);
#ifndef __OPTIMIZE_SIZE__
    if (l.bits == 4u) {
        MB_BOTH(l.half, visit_each, 1, &l, first, end, generator, info);
        return;
    }
#endif
    MB_BOTH(l.half, visit_each, 0, &l, first, end, generator, info);
}

/* Event-driven: unit i owns a stretch of the line in proportion to its error; units and inputs between visits cost little. */
MB_INLINE void find_visits(uint32_t on_off, const mb_layer *l, const int32_t *error, mb_share share, const uint32_t *bits,
                           const uint16_t *list, uint32_t eligible, uint32_t *visits, uint32_t *generator, mb_learn_info *info)
{
    const int32_t *const last = error + l->units;
    uint32_t *end = visits, next = mb_draw(generator), unit = 0;
    for (; error != last; error++, unit += 1u << 16) {
        if (*error == 0) {
            continue;
        }
        const uint32_t rate = mb_rate(share, *error), length = rate * eligible;
        if (next >= length) {
            next -= length;
            continue;
        }
        const uint32_t if_off = unit | ((0u - (uint32_t)*error) & 0x80000000u); /* up where the error is positive */
        uint32_t place = next / rate;
#ifdef __ARM_ARCH_6M__ /* no divide instruction: twice a unit at most, not at every visit */
        uint32_t over = next - place * rate, stride = 0;
#endif
        for (;;) {
            *end++ = on_off ? (if_off ^ 0x80000000u) | list[place]
                            : if_off ^ place ^ ((bits[place >> 5] >> (place & 31u)) << 31);
            if (end == visits + MB_SUMS) {
                visit(l, visits, end, generator, info);
                end = visits;
            }
            next += 65536u;
            if (next >= length) {
                break;
            }
#ifdef __ARM_ARCH_6M__
            stride = stride != 0 ? stride : 65536u / rate;
            place += stride;
            over += 65536u - stride * rate;
            place += over >= rate;
            over -= over >= rate ? rate : 0;
#else
            place = next / rate;
#endif
        }
        next -= length;
    }
    visit(l, visits, end, generator, info);
}

MB_APART void update(const mb_layer *l, const int32_t *error, mb_share share, const uint32_t *bits, uint16_t *list,
                     uint32_t *visits, uint32_t *generator, mb_learn_info *info)
{
    const uint32_t on_off = l->input == MB_ON_OFF; /* off inputs are not eligible */
    const uint32_t eligible = on_off ? list_ascending(bits, l->inputs, list) : l->inputs;
    MB_BOTH(on_off, find_visits, l, error, share, bits, list, eligible, visits, generator, info);
}

/// Step ///

/* The error of the layer below, from this one's. mask: its units that let one through. */
MB_APART mb_sizes error_below(const mb_layer *l, const mb_arena *arena, const uint32_t *mask, const int32_t *error,
                              uint32_t largest, int32_t *below, uint32_t *generator)
{
    if (l->half) {
        return mb_backward_16(l, error, mask, below, arena->sums); /* of an output: no sum reaches 2^14 */
    }
    const uint32_t open = mb_active_inputs(mask, l->inputs, arena->list);
    if (MB_HAS_TERNARY && l->ternary) {
        mb_backward_drawn(l, error, largest, arena->list, open, below, (uint32_t *)arena->sums, generator);
    } else {
        mb_backward(l, error, arena->list, open, below, arena->sums);
    }
    return rescale(below, l->inputs);
}

static unsigned lowest_learning(const mb_model *m, unsigned count)
{
    mb_layer l;
    for (unsigned i = 0; i < count; i++) {
        mb_layer_at(m, i, &l);
        if (l.learns) {
            return i;
        }
    }
    return count;
}

/* Everything after the forward pass. */
MB_APART void learn_step(const mb_model *m, const mb_arena *arena, unsigned count, unsigned lowest, uint16_t label,
                         mb_learn_info *info)
{
    const uint32_t temperature = *(const mb_half *)(const void *)(m->image + MB_AT_TEMPERATURE);
    const uint32_t margin = *(const mb_half *)(const void *)(m->image + MB_AT_MARGIN);
    mb_counters *counters = (mb_counters *)(void *)m->state;
    int32_t *error = arena->error[0], *below = arena->error[1];
    const uint32_t classes = mb_classes(m);
    MB_MARK(MB_ERROR, count);
    const uint32_t true_error = output_error(arena->scores, classes, label, temperature, error);
    mb_sizes sizes = mb_sizes_of(error, classes);
    info->predicted = mb_best_class(arena->scores, classes);
    info->skipped = true_error == 0 || true_error < margin;
    counters->steps++;

    for (unsigned i = count; !info->skipped && i-- > lowest;) {
        mb_layer l;
        mb_sizes sizes_below = {0, 0};
        mb_layer_at(m, i, &l);
        if (i > lowest) { /* before the update: the error of the layer below belongs to the weights that made it */
            MB_MARK(MB_BACKWARD, i);
            if (MB_HAS_TERNARY && l.ternary && i == lowest + 1u) {
                mb_layer_at(m, lowest, &l); /* in turn: two would take twice the stack */
                mb_ask_half(&l, arena->bits[lowest], true_error, arena->mask[lowest], &counters->generator);
                mb_layer_at(m, i, &l);
            }
            sizes_below = error_below(&l, arena, arena->mask[i - 1], error, sizes.largest, below, &counters->generator);
        }
        const mb_share share = mb_share_of(&l, sizes.sum, true_error);
        if (l.learns && share.each != 0) {
            MB_MARK(MB_UPDATE, i);
            update(&l, error, share, arena->bits[i], arena->list, (uint32_t *)arena->sums, &counters->generator, info);
        }
        int32_t *const done = error;
        error = below;
        below = done;
        sizes = sizes_below;
    }
    MB_MARK(MB_DONE, count);
    counters->moved += info->moved;
    counters->flipped += info->flipped;
}

mb_status mb_learn(mb_model *m, const void *input, uint16_t label, mb_learn_info *info)
{
    mb_arena arena;
    mb_learn_info mine = {0, 0, 0, 0, 0};
    if (m == NULL || input == NULL) {
        return MB_E_NULL;
    }
    if (m->arena == NULL) {
        return MB_E_DETACHED;
    }
    if (label >= mb_classes(m)) {
        return MB_E_LABEL;
    }
    const unsigned count = mb_layer_count(m), lowest = lowest_learning(m, count);
    if (m->mode != MB_LEARN || lowest == count) {
        return MB_E_FROZEN;
    }
    (void)mb_arena_plan(m, MB_LEARN, &arena);
    mb_forward(m, &arena, input, lowest); /* errors stop at the lowest layer that learns: no masks below it */
    if (MB_HAS_GRADED && arena.votes.slot != NULL) {
        mb_vote_step(m, &arena, label, &mine);
    } else {
        learn_step(m, &arena, count, lowest, label, &mine);
    }
    if (info != NULL) {
        *info = mine;
    }
    return MB_OK;
}
#endif
