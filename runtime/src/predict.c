/* Inference: features -> bits -> packed activations -> scores. No multiplication before the scores, no accumulator array. */
#include <string.h>

#include "arena.h"
#include "layers.h"

void mb_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned masks_from)
{
    const unsigned count = mb_layer_count(m);
    for (unsigned i = 0; i < count; i++) {
        mb_layer l;
#ifdef MB_WIDE
        if (m->wide != NULL && mb_wide_forward(m, arena, input, i, masks_from)) {
            continue;
        }
#endif
        mb_layer_at(m, i, &l);
        MB_MARK(MB_FORWARD, i);
        if (l.kind == MB_ENCODE) {
            mb_encode(&l, input, arena->bits[i + 1]);
            continue;
        }
        if (i == 0 && l.input == MB_ON_OFF) {
            mb_unpack(&l, input, arena->bits[0]);
        }
        if (MB_IS_CONV(&l) && MB_ON_BYTES(&l)) {
            mb_conv_bytes(&l, arena, input, arena->bits[i + 1]);
        } else if (MB_IS_CONV(&l)) {
            mb_conv_bits(&l, arena, arena->bits[i], arena->bits[i + 1]);
        } else if (MB_IS_GRADED(&l) && i >= masks_from) {
            return;
        } else if (MB_IS_GRADED(&l)) {
            mb_graded(&l, arena, arena->bits[i]);
        } else if (MB_ON_GRADES(&l)) {
            mb_graded_output(&l, arena->values, arena->scores);
        } else if (MB_ON_BYTES(&l)) {
            mb_slice_bytes(input, l.inputs, arena->bits[0]);
            mb_dense_bytes(&l, arena, arena->bits[0], arena->bits[1]);
        } else {
            const uint32_t active = mb_active_inputs(arena->bits[i], l.inputs, arena->list);
            if (l.kind == MB_DENSE) {
                mb_dense(&l, arena->list, active, arena->bits[i + 1], i >= masks_from ? arena->mask[i] : NULL, arena->carry);
            } else {
                mb_output(&l, arena->list, active, arena->scores, arena->carry);
            }
        }
    }
    MB_MARK(MB_DONE, count);
}

uint16_t mb_best_class(const int32_t *scores, uint32_t classes)
{
    uint32_t best = 0, c = 0;
    do {
        if (scores[c] > scores[best]) {
            best = c;
        }
    } while (++c < classes);
    return (uint16_t)best;
}

/// Public ///

mb_status mb_predict(const mb_model *m, const void *input, int32_t *scores, uint16_t *label)
{
    mb_arena arena;
    if (m == NULL || input == NULL) {
        return MB_E_NULL;
    }
    if (m->arena == NULL) {
        return MB_E_DETACHED;
    }
    (void)mb_arena_plan(m, MB_INFER, &arena);
    mb_forward(m, &arena, input, MB_NO_MASKS);
    const uint32_t classes = mb_u16_at(m->image + MB_AT_CLASSES);
    if (scores != NULL) {
        memcpy(scores, arena.scores, sizeof(int32_t) * classes);
    }
    if (label != NULL) {
        *label = mb_best_class(arena.scores, classes);
    }
    return MB_OK;
}
