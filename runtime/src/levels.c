/* The output of k-bit levels: scores, and the paper's rule on them (docs/learning-rule.md, "Output levels"). */
#include "layers.h"
#include "synapse.h"

#if MB_HAS_GATES

enum { OFFSET = 32, OFFSET_INPUT = 8 }; /* an offset counts as four inputs of 8; it learns as one of them */

/// Scores ///

/* |score| <= 128 (8 K + 32) */
void mb_levels_scores(const mb_layer *l, const int8_t *x, int32_t *scores)
{
    const uint32_t k = l->bits, inputs = l->inputs;
    mb_level_reader levels = mb_levels_from((const mb_word *)(const void *)l->levels, 0);
    for (uint32_t c = 0; c < l->units; c++) {
        int32_t sum = 0;
        for (uint32_t j = 0; j < inputs; j++) {
            sum += x[j] * mb_next_level(&levels, k);
        }
        scores[c] = sum + OFFSET * mb_next_level(&levels, k);
    }
}

/// Learning ///

#if MB_HAS_LEARN

enum { SMALLEST_ERROR = 16 }; /* 1/256: a class with a smaller error does not learn */

/* The level after a step of `wanted`, in 1/65536 of a level. |wanted| < 2^23, so no product or sum passes 2^31. A level of -2^(k-1),
 * which only a fault of RAM makes, has index 0. */
MB_INLINE int32_t stepped(const mb_half *weaken, int32_t top, int32_t level, int32_t wanted, uint32_t drawn)
{
    if ((level > 0 && wanted < 0) || (level < 0 && wanted > 0)) {
        wanted = (wanted * (int32_t)weaken[mb_magnitude(level) & (uint32_t)top]) >> 8;
    }
    level += (wanted + (int32_t)drawn) >> 16;
    return level > top ? top : level < -top ? -top : level;
}

/* dose * 4096 + 2048 < 2^32 because dose < 2^20, so a step of one unit of x is below 2^20. */
void mb_levels_learn(const mb_layer *l, const int8_t *x, const int32_t *error, uint32_t *generator, mb_learn_info *info)
{
    mb_word *const stream = (mb_word *)(void *)l->levels;
    const mb_half *const weaken = l->tables;
    const uint32_t k = l->bits, inputs = l->inputs;
    const int32_t top = (1 << (k - 1u)) - 1;
    uint32_t z = *generator, row = 0;
    for (uint32_t c = 0; c < l->units; c++, row += (inputs + 1u) * k) {
        const uint32_t size = mb_magnitude(error[c]);
        if (size < SMALLEST_ERROR) {
            continue;
        }
        const int32_t step = (int32_t)((l->dose * size + 2048u) >> 12), up = error[c] < 0 ? step : -step;
        mb_level_reader levels = mb_levels_from(stream, row);
        uint32_t at = row;
        for (uint32_t j = 0; j <= inputs; j++, at += k) {
            const int32_t level = mb_next_level(&levels, k), input = j < inputs ? x[j] : OFFSET_INPUT;
            if (input == 0) {
                continue;
            }
            const int32_t after = stepped(weaken, top, level, up * input, mb_draw(&z));
            info->visited++;
            if (after != level) { /* bits that the reader has passed */
                mb_change_level(stream, at, k, level, after);
                info->moved++;
            }
        }
    }
    *generator = z;
}

void mb_levels_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    mb_counters *const counters = (mb_counters *)(void *)m->state;
    int32_t *const error = arena->learn_scratch;
    MB_MARK(MB_ERROR, arena->count);
    (void)mb_begin_step(m, arena, label, error, info);
    if (!info->skipped) {
        MB_MARK(MB_UPDATE, arena->count - 1u);
        mb_levels_learn(arena->layers + arena->count - 1, arena->values, error, &counters->generator, info);
        counters->moved += info->moved;
    }
    MB_MARK(MB_DONE, arena->count);
}
#endif
#endif
