/* The forward pass: features -> bits -> packed activations -> scores, and mb_predict. */
#include <string.h>

#include "layers.h"

MB_MINSIZE uint32_t mb_forward(const mb_arena *arena, unsigned first, unsigned end, const uint8_t *input, int learning)
{
    uint32_t active = 0;
    for (unsigned i = first; i < end; i++) {
        const mb_layer *const l = arena->layers + i;
#ifdef MB_WIDE
        if (l->host != NULL) {
            l->host->ops->forward(l, input, learning);
            continue;
        }
#endif
        MB_MARK(MB_FORWARD, i);
        if (MB_HAS_DENSE && l->kind == MB_ENCODE) {
            mb_encode(l, input, l[1].in);
            continue;
        }
        if (MB_IS_CUTS(l)) {
            if (MB_HAS_DENSE && !MB_IS_GATES(l + 1)) { /* gates call mb_cut */
                mb_cut_bits(l, input, arena->active, l[1].in);
            }
            continue;
        }
        if (MB_IS_TRIPLES(l)) {
            mb_triples(l, input, arena->values);
            continue;
        }
        if (i == 0 && l->input == MB_ON_OFF) {
            mb_unpack(l, input, l->in);
        }
        if (MB_IS_CONV(l) && MB_ON_BYTES(l)) {
            mb_conv_bytes(l, arena, input, l[1].in);
        } else if (MB_IS_CONV(l)) {
            mb_conv_bits(l, arena, l->in, l[1].in);
        } else if (MB_IS_GRADED(l) && learning) {
            return active;
        } else if (MB_IS_GRADED(l)) {
            mb_graded(l, arena, l->in);
        } else if (MB_ON_GRADES(l)) {
            mb_graded_output(l, arena->graded_values, arena->scores);
        } else if (MB_IS_LEVELS(l)) {
            mb_levels_scores(l, arena->values, (uint32_t *)(void *)arena->active, arena->scores);
        } else if (MB_IS_HEAD(l)) {
            mb_head_scores(l, arena->values, arena->scores);
        } else if (MB_ON_BYTES(l)) {
            mb_slice_bytes(input, l->inputs, l->in);
            mb_dense_bytes(l, arena, l->in, l[1].in);
        } else if (!MB_HAS_DENSE || MB_IS_GATES(l)) {
            mb_gates(l, arena, i != first ? input : NULL);
        } else {
            active = mb_active_inputs(l->in, l->inputs, arena->active);
            if (l->kind == MB_DENSE) {
                mb_dense(l, arena->active, active, l[1].in, MB_HAS_LEARN && learning ? l->mask : NULL, arena->carry);
            } else {
                mb_output(l, arena->active, active, arena->scores, arena->carry);
            }
        }
    }
    MB_MARK(MB_DONE, arena->count);
    return active;
}

mb_status mb_predict_from(const mb_model *m, unsigned first, const void *input, int32_t *scores, uint16_t *label)
{
    mb_arena arena;
    MB_REFUSE(MB_E_NULL, m == NULL || input == NULL);
    MB_REFUSE(MB_E_DETACHED, m->arena == NULL);
    mb_arena_plan(m, MB_INFER, &arena);
    (void)mb_forward(&arena, first, arena.count, input, 0);
    const uint32_t classes = mb_u16_at(m->image + MB_AT_CLASSES);
    if (scores != NULL) {
        memcpy(scores, arena.scores, sizeof(int32_t) * classes);
    }
    if (label != NULL) {
        *label = mb_best_class(arena.scores, classes);
    }
    return MB_OK;
}

mb_status mb_predict(const mb_model *m, const void *input, int32_t *scores, uint16_t *label)
{
    return mb_predict_from(m, 0, input, scores, label);
}
