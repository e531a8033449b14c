/* The output of k-bit levels: scores, and the paper's rule on them (docs/learning-rule.md, "Output levels"). */
#include "layers.h"
#include "synapse.h"

#if MB_HAS_GATES

enum { OFFSET = 32, OFFSET_INPUT = 8 }; /* an offset counts as four inputs of 8; it learns as one of them */

/// Scores ///

/* |score| <= 128 (8 K + 32) */
void mb_levels_scores(const mb_layer *l, const int8_t *x, int32_t *scores)
{
    const mb_word *const stream = (const mb_word *)(const void *)l->levels;
    uint32_t at = 0;
    for (uint32_t c = 0; c < l->units; c++) {
        int32_t sum = 0;
        for (uint32_t j = 0; j < l->inputs; j++, at += l->bits) {
            sum += x[j] * mb_level_at(stream, at, l->bits);
        }
        scores[c] = sum + OFFSET * mb_level_at(stream, at, l->bits);
        at += l->bits;
    }
}

/// Learning ///

#if MB_HAS_LEARN

enum { SMALLEST_ERROR = 16 }; /* 1/256: a class with a smaller error does not learn */

/* The level after a wanted step, in 1/65536 of a level. |wanted| < 2^23, so no product or sum passes 2^31. A level of -2^(k-1), which
 * only a fault of RAM makes, has index 0. */
static int32_t stepped(const mb_layer *l, int32_t level, int32_t wanted, uint32_t *generator)
{
    const int32_t top = (1 << (l->bits - 1u)) - 1;
    if ((level > 0 && wanted < 0) || (level < 0 && wanted > 0)) {
        wanted = (wanted * (int32_t)l->tables[mb_magnitude(level) & (uint32_t)top]) >> 8;
    }
    level += (wanted + (int32_t)mb_draw(generator)) >> 16;
    return level > top ? top : level < -top ? -top : level;
}

/* dose * 4096 + 2048 < 2^32 because dose < 2^20, so a step of one unit of x is below 2^20. */
void mb_levels_learn(const mb_layer *l, const int8_t *x, const int32_t *error, uint32_t *generator, mb_learn_info *info)
{
    mb_word *const stream = (mb_word *)(void *)l->levels;
    uint32_t at = 0;
    for (uint32_t c = 0; c < l->units; c++) {
        const uint32_t size = mb_magnitude(error[c]);
        if (size < SMALLEST_ERROR) {
            at += (l->inputs + 1u) * l->bits;
            continue;
        }
        const int32_t step = (int32_t)((l->dose * size + 2048u) >> 12), up = error[c] < 0 ? step : -step;
        for (uint32_t j = 0; j <= l->inputs; j++, at += l->bits) {
            const int32_t input = j < l->inputs ? x[j] : OFFSET_INPUT;
            if (input != 0) {
                const int32_t before = mb_level_at(stream, at, l->bits);
                const int32_t after = stepped(l, before, up * input, generator);
                info->visited++;
                if (after != before) {
                    mb_change_level(stream, at, l->bits, before, after);
                    info->moved++;
                }
            }
        }
    }
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
