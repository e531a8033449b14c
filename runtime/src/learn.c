/* One learning step on one sample, in place, in integers. docs/learning-rule.md is the specification; its section names are
 * the banners here. train/device_rule.py is the independent reading of the same text. */
#include <string.h>

#include "synapse.h"

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

/* Error of this layer's inputs from the error of its units: below[j] = sum_i w[i][j] error[i] where mask, if any, has bit j.
 * Eight tables of sixteen signed sums turn one weight word into 32 signed additions with eight look-ups. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below, int32_t *sums)
{
    const uint32_t lanes = l->half ? 16u : 32u;
    memset(below, 0, sizeof(int32_t) * l->inputs);
    for (uint32_t r = 0; lanes * r < l->units; r++) {
        const uint32_t left = l->units - lanes * r, here = left < lanes ? left : lanes, row = r * (l->inputs + 1u);
        const mb_half *halves = (const mb_half *)(const void *)l->sign + row;
        const mb_word *words = (const mb_word *)(const void *)l->sign + row;
        const uint32_t tables = (here + 3u) / 4u;
        uint32_t any = 0;
        for (uint32_t i = 0; i < here; i++) {
            any |= (uint32_t)error[lanes * r + i];
        }
        if (any == 0) {
            continue;
        }
        for (uint32_t t = 0; t < tables; t++) {
            const int32_t *e = error + lanes * r + 4u * t;
            const uint32_t n = here - 4u * t; /* lanes beyond the last unit count as zero */
            mb_signed_sums(e[0], n > 1u ? e[1] : 0, n > 2u ? e[2] : 0, n > 3u ? e[3] : 0, sums + 16u * t);
        }
        for (uint32_t base = 0; base < l->inputs; base += 32u) {
            uint32_t open = mask != NULL ? mask[base >> 5] : mb_lane_mask(l->inputs, base >> 5);
            for (uint32_t j = base; open != 0; j++, open >>= 1) {
                if ((open & 1u) == 0) {
                    continue;
                }
                uint32_t w = l->half ? halves[j] : words[j];
                int32_t sum = 0;
                for (uint32_t t = 0; t < tables; t++, w >>= 4) {
                    sum += sums[16u * t + (w & 15u)];
                }
                below[j] += sum;
            }
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

/* The line of all units, visited at every 65536th point; `half` is a constant in each of its two copies. */
MB_INLINE void visit_line(const mb_layer *l, uint32_t half, const int32_t *error, const uint32_t *bits, const uint16_t *list,
                          uint32_t eligible, mb_share share, uint32_t *generator, mb_learn_info *info)
{
    uint32_t z = *generator, next = mb_draw(&z);
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t rate = mb_rate(share, error[i]);
        const uint32_t length = rate * eligible;
        if (next >= length) {
            next -= length;
            continue;
        }
        const uint32_t lane = half ? i & 15u : i & 31u, row = half ? i >> 4 : i >> 5;
        const int down = error[i] > 0;
        /* next = position * rate + over, and so is every later point: some cores have no divide instruction */
        const uint32_t stride = 65536u / rate, rest = 65536u - stride * rate;
        uint32_t position = next / rate, over = next - position * rate;
        do {
            const uint32_t j = list != NULL ? list[position] : position;
            const int x = list != NULL || ((bits[j >> 5] >> (j & 31u)) & 1u);
            const int up = down != x;
            const int32_t chance = (int32_t)mb_draw(&z);
            mb_synapse s = mb_synapse_at(l, half, row, j, lane);
            info->visited++;
            const int32_t entry = mb_entry(l, &s, up);
            if (chance < entry || entry == 65535) {
                mb_move(l, half, &s, i, up, info);
            }
            position += stride;
            over += rest;
            if (over >= rate) {
                over -= rate;
                position++;
            }
        } while (position < eligible);
        next = position * rate + over - length;
    }
    *generator = z;
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

/* Event-driven: unit i owns a stretch of the line in proportion to its error; units and inputs between visits cost nothing. */
static void update(const mb_layer *l, const int32_t *error, const uint32_t *bits, uint16_t *list, uint32_t true_error,
                   uint32_t *generator, mb_learn_info *info)
{
    const mb_share share = mb_share_of(l, error, true_error);
    if (share.each == 0) {
        return;
    }
    const int on_off = l->input == MB_ON_OFF; /* off inputs are not eligible */
    const uint32_t eligible = on_off ? mb_active_inputs(bits, l->inputs, list) : l->inputs;
    const uint16_t *active = on_off ? list : NULL;
    if (l->half) {
        visit_line(l, 1, error, bits, active, eligible, share, generator, info);
    } else {
        visit_line(l, 0, error, bits, active, eligible, share, generator, info);
    }
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
            mb_backward(&l, error, arena->mask[i - 1], below, arena->sums);
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
    if (arena.votes.slot != NULL) {
        mb_vote_step(m, &arena, label, &mine);
    } else {
        learn_step(m, &arena, count, lowest, label, &mine);
    }
    if (info != NULL) {
        *info = mine;
    }
    return MB_OK;
}
