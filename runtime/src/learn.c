/* One learning step on one sample, in place, in integers. docs/learning-rule.md is the specification; its section names are
 * the banners here. train/device_rule.py is the independent reading of the same text. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_LEARN

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
    return mb_rescale(below, l->inputs);
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
    const uint32_t true_error = mb_output_error(arena->scores, classes, label, temperature, error);
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
            mb_update(&l, error, share, arena->bits[i], arena->list, (uint32_t *)arena->sums, &counters->generator, info);
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
