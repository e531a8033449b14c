/* One learning step on one sample, in place, in integers. docs/learning-rule.md is the specification. */
#include "learn.h"

#include "layers.h"

#if MB_HAS_LEARN

#if MB_HAS_VISITS

/* below [K] = error of the layer below, from error [N] of this layer. mask: straight-through mask of the layer below. */
MB_NOINLINE mb_error_norm error_below(const mb_layer *l, const mb_arena *arena, const uint32_t *mask, const int32_t *error,
                                      uint32_t max, int32_t *below, uint32_t *generator)
{
    if (l->lanes16) { /* an output of at most 16 units: no sum reaches 2^14, so nothing is rescaled */
        return mb_backward_lanes16(l, error, mask, below, arena->learn_scratch);
    }
    const uint32_t open = mb_active_inputs(mask, l->inputs, arena->active);
    if (MB_HAS_TERNARY && l->ternary) {
        mb_backward_ternary(l, error, max, arena->active, open, below, (uint32_t *)arena->learn_scratch, generator);
    } else {
        mb_backward(l, error, arena->active, open, below, arena->learn_scratch);
    }
    return mb_rescale(below, l->inputs);
}

/* The forward pass above the lowest layer that learns, whose list of inputs stays in arena->active. */
MB_NOINLINE void forward_above(mb_arena *arena)
{
    uint16_t *const list = arena->active;
    arena->active = (uint16_t *)(void *)arena->error[0]; /* 4 max N entries are room for N, padded */
    (void)mb_forward(arena, arena->lowest + 1u, arena->count, NULL, 1);
    arena->active = list;
}

/* The step by visits, after the error at the output. listed: inputs of the lowest layer that learns, in arena->active. */
MB_NOINLINE void visit_step(const mb_arena *arena, uint32_t listed, uint32_t true_error, mb_counters *counters, mb_learn_info *info)
{
    const mb_layer *const lowest = arena->layers + arena->lowest, *l = arena->layers + arena->count - 1;
    int32_t *error = arena->scores, *below = arena->error[0];
#ifdef MB_WIDE
    listed = lowest->host != NULL ? 0 : listed;
#endif
    mb_error_norm norm = mb_error_norm_of(error, l->units);

    for (; l >= lowest; l--) {
        mb_error_norm norm_below = {0, 0};
        if (l > lowest) { /* before the update, because the error below belongs to the weights that caused it */
            MB_MARK(MB_BACKWARD, (unsigned)(l - arena->layers));
            if (MB_HAS_TERNARY && l->ternary && l == lowest + 1) {
                mb_thin_mask(lowest, true_error, &counters->generator);
            }
            norm_below = error_below(l, arena, l[-1].mask, error, norm.max, below, &counters->generator);
            listed = l->lanes16 ? listed : 0; /* else another list has taken its place */
        }
        const mb_visit_rate rate = mb_visit_rate_of(l, norm.sum, true_error);
        if (l->learns && rate.per_error != 0) {
            MB_MARK(MB_UPDATE, (unsigned)(l - arena->layers));
            mb_update(l, error, rate, arena->active, listed, (uint32_t *)arena->learn_scratch, &counters->generator, info);
        }
        error = below;
        below = arena->error[below == arena->error[0]];
        norm = norm_below;
    }
    counters->moved += info->moved;
    counters->flipped += info->flipped;
}

#endif

mb_status mb_learn_from(mb_model *m, unsigned first, const void *input, uint16_t label, mb_learn_info *info)
{
    mb_arena arena;
    mb_learn_info mine = {0, 0, 0, 0, 0};
    MB_REFUSE(MB_E_NULL, m == NULL || input == NULL);
    MB_REFUSE(MB_E_DETACHED, m->arena == NULL);
    MB_REFUSE(MB_E_LABEL, label >= mb_u16_at(m->image + MB_AT_CLASSES));
    MB_REFUSE(MB_E_FROZEN, m->mode != MB_LEARN);
    mb_arena_plan(m, MB_LEARN, &arena);
    MB_REFUSE(MB_E_FROZEN, arena.lowest == arena.count);
    const mb_layer *const last = arena.layers + arena.count - 1;
    const uint32_t listed = mb_forward(&arena, first, arena.lowest + 1u, input, 1);
    (void)listed; /* only visits read it */
    if (MB_IS_HEAD(last)) {
        const int32_t predicted = mb_head_step(last, &arena, label, (mb_counters *)(void *)m->state);
        MB_REFUSE(MB_E_LABEL, predicted < 0);
        mine.predicted = (uint16_t)predicted;
    } else if (MB_HAS_GRADED && arena.votes.slot != NULL) {
        mb_vote_step(m, &arena, label, &mine);
    } else {
#if MB_HAS_VISITS || MB_HAS_LEVELS
        mb_counters *const counters = (mb_counters *)(void *)m->state;
#if MB_HAS_VISITS
        forward_above(&arena);
#endif
        MB_MARK(MB_ERROR, arena.count);
        const uint32_t true_error = mb_begin_step(m, &arena, label, &mine);
        mine.skipped = true_error == 0;
#if MB_HAS_LEVELS
        if (true_error != 0 && (!MB_HAS_VISITS || MB_IS_LEVELS(last))) {
            MB_MARK(MB_UPDATE, arena.count - 1u);
            const uint32_t before = counters->moved;
            mine.visited = mb_levels_learn(last, arena.values, arena.scores, counters);
            mine.moved = counters->moved - before;
        }
#endif
#if MB_HAS_VISITS
        if (true_error != 0 && !MB_IS_LEVELS(last)) {
            visit_step(&arena, listed, true_error, counters, &mine);
        }
#endif
        MB_MARK(MB_DONE, arena.count);
#endif
    }
    if (info != NULL) {
        *info = mine;
    }
    return MB_OK;
}

mb_status mb_learn(mb_model *m, const void *input, uint16_t label, mb_learn_info *info)
{
    return mb_learn_from(m, 0, input, label, info);
}
#endif
