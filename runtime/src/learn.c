/* One learning step on one sample, in place, in integers. docs/learning-rule.md is the specification; its section names are
 * the banners here. train/device_rule.py is the independent reading of the same text. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_LEARN

/// Error ///

/* EXP[i] = round(32767 exp(-i / 16)) */
static const uint16_t EXP[256] = {
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
    1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};

enum { ONE = 4096 }; /* probabilities and errors are in 1/4096 */

uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label)
{
    uint32_t total = 0;
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = EXP[error[c]];
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
        const uint32_t index = (below * temperature) >> 12;
        error[c] = (int32_t)(index > 255u ? 255u : index);
    }
    return mb_softmax_error(error, classes, label);
}

/// Backward ///

/* below[j] += sum over 32 (or 16) units of w[i][j] error[i], for the inputs asked for. A table of sixteen signed sums serves four
 * units with one look-up. `half` is a constant in each of its two copies. */
MB_INLINE void add_errors(const uint8_t *words, uint32_t half, const int32_t *sums, const uint16_t *list, uint32_t count,
                          int32_t *below)
{
    MB_ROLLED
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t j = list != NULL ? list[i] : i, w = mb_lanes_at(words, j, half);
        below[j] += mb_look_up(sums, w, half);
    }
}

void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below, int32_t *tables)
{
    const uint32_t lanes = l->half ? 16u : 32u;
    memset(below, 0, sizeof(int32_t) * l->inputs);
    for (uint32_t first = 0; first < l->units; first += lanes, error += lanes) {
        const uint32_t here = l->units - first < lanes ? l->units - first : lanes;
        const uint8_t *const words = l->sign + first / lanes * (l->inputs + 1u) * (lanes / 8u);
        int32_t *sums = tables;
        uint32_t any = 0;
        for (uint32_t i = 0; i < lanes; i += 4u, sums += 16) { /* lanes beyond the last unit count as zero */
            const int32_t a = i < here ? error[i] : 0, b = i + 1u < here ? error[i + 1u] : 0;
            const int32_t c = i + 2u < here ? error[i + 2u] : 0, d = i + 3u < here ? error[i + 3u] : 0;
            any |= (uint32_t)(a | b | c | d);
            mb_signed_sums(a, b, c, d, sums);
        }
        if (any != 0 && l->half) {
            add_errors(words, 1, tables, list, count, below);
        } else if (any != 0) {
            add_errors(words, 0, tables, list, count, below);
        }
    }
}

/* Halves all errors, toward zero, until the largest is below 2^14: products and sums of any layer then fit 32 bits. */
static void rescale(int32_t *error, uint32_t units)
{
    uint32_t largest = 0, shift = 0;
    for (uint32_t i = 0; i < units; i++) {
        largest |= mb_magnitude(error[i]);
    }
    while ((largest >> shift) >= (1u << 14)) {
        shift++;
    }
    for (uint32_t i = 0; shift != 0 && i < units; i++) {
        const int32_t e = (int32_t)(mb_magnitude(error[i]) >> shift);
        error[i] = error[i] < 0 ? -e : e;
    }
}

/// Update ///

/* What all visits to a layer share. */
typedef struct mb_visits {
    const mb_layer *l;
    mb_learn_info *info;
    const uint32_t *bits; /* packed inputs */
    const uint16_t *list; /* of those that are on, where only they are eligible; else NULL */
    uint32_t eligible, generator;
    mb_row row; /* of the unit visited */
} mb_visits;

/* All visits to unit i: its stretch at every 65536th point, from point `next` on, `rate` to an input. Returns the next point, from
 * the end of the stretch. `half` is a constant in each of its two copies. */
MB_INLINE uint32_t visit_unit(mb_visits *v, uint32_t half, uint32_t i, uint32_t rate, uint32_t next, uint32_t down)
{
    const mb_row *const row = &v->row;
    const uint32_t stride = 65536u / rate, rest = 65536u - stride * rate; /* some cores have no divide instruction */
    uint32_t position = next / rate, over = next - position * rate;       /* point = position * rate + over */
    v->info->visited += ((rate * v->eligible - next - 1u) >> 16) + 1u;
    do {
        const uint32_t j = v->list != NULL ? v->list[position] : position;
        const uint32_t up = down ^ (v->list != NULL ? 1u : (v->bits[j >> 5] >> (j & 31u)) & 1u);
        const mb_synapse s = mb_synapse_at(row, half, j);
        const int32_t entry = mb_entry(v->l, row, s, up), chance = (int32_t)mb_draw(&v->generator);
        if (chance < entry + (entry == 65535)) {
            mb_move(v->l, row, half, s, i, up, v->info);
        }
        position += stride;
        over += rest;
        if (over >= rate) {
            over -= rate;
            position++;
        }
    } while (position < v->eligible);
    return (position - v->eligible) * rate + over;
}

MB_APART uint32_t visit_of_32(mb_visits *v, uint32_t i, uint32_t rate, uint32_t next, uint32_t down)
{
    return visit_unit(v, 0, i, rate, next, down);
}

MB_APART uint32_t visit_of_16(mb_visits *v, uint32_t i, uint32_t rate, uint32_t next, uint32_t down)
{
    return visit_unit(v, 1, i, rate, next, down);
}

mb_share mb_share_of(const mb_layer *l, const int32_t *error, uint32_t true_error)
{
    mb_share s = {0, 0};
    uint32_t sum = 0;
    for (uint32_t i = 0; i < l->units; i++) {
        sum += mb_magnitude(error[i]);
    }
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

/* Event-driven: unit i owns a stretch of the line in proportion to its error; units and inputs between visits cost nothing. */
static void update(const mb_layer *l, const int32_t *error, const uint32_t *bits, uint16_t *list, uint32_t true_error,
                   uint32_t *generator, mb_learn_info *info)
{
    const mb_share share = mb_share_of(l, error, true_error);
    if (share.each == 0) {
        return;
    }
    const int on_off = l->input == MB_ON_OFF; /* off inputs are not eligible */
    const uint32_t eligible = on_off ? list_ascending(bits, l->inputs, list) : l->inputs;
    mb_visits v = {l, info, bits, on_off ? list : NULL, eligible, *generator, {NULL, NULL, 0, 0, 0}};
    uint32_t next = mb_draw(&v.generator);
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t rate = error[i] == 0 ? 0 : mb_rate(share, error[i]), length = rate * eligible;
        if (next >= length) {
            next -= length;
            continue;
        }
        v.row = mb_row_of(l, l->half, i);
        next = l->half ? visit_of_16(&v, i, rate, next, error[i] > 0) : visit_of_32(&v, i, rate, next, error[i] > 0);
    }
    *generator = v.generator;
}

/// Step ///

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
    info->predicted = mb_best_class(arena->scores, classes);
    info->skipped = true_error == 0 || true_error < margin;
    counters->steps++;

    for (unsigned i = count; !info->skipped && i-- > lowest;) {
        mb_layer l;
        mb_layer_at(m, i, &l);
        if (i > lowest) { /* before the update: the error of the layer below belongs to the weights that made it */
            MB_MARK(MB_BACKWARD, i);
            const uint32_t open = mb_active_inputs(arena->mask[i - 1], l.inputs, arena->list);
            if (MB_HAS_TERNARY && l.ternary) {
                mb_backward_drawn(&l, error, arena->list, open, below, (uint32_t *)arena->sums, &counters->generator);
            } else {
                mb_backward(&l, error, arena->list, open, below, arena->sums);
            }
            rescale(below, l.inputs);
        }
        if (l.learns) {
            MB_MARK(MB_UPDATE, i);
            update(&l, error, arena->bits[i], arena->list, true_error, &counters->generator, info);
        }
        int32_t *const done = error;
        error = below;
        below = done;
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
