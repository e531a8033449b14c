/* Errors of a learning step: at the output, and in a layer from the errors of the layer above. */
#include "learn.h"

#include <string.h>

#include "layers.h"

#if MB_HAS_LEARN

/// Output ///

/* round(32767 exp(-n / 16)), which is 0 from n = 178 on: the product of a factor for the sixteenths and one for the wholes, which holds a
 * power of two for each whole. The factors are chosen such that every n gives that value. The product is below 2^32. */
static uint32_t exp_of(uint32_t n)
{
    static const uint16_t of[28] = {50394, 47340, 44472, 41778, 39246, 36869, 34634, 32536, 30565, 28713, 26974, 25339, 23804, 22361,
                                    21007, 19735, 42613, 31353, 23068, 16973, 12488, 9191,  6764,  4986,  3672,  2705,  1994,  1470};
    const uint32_t whole = n >> 4;
    return whole < 12u ? (((uint32_t)of[n & 15u] * of[16u + whole] >> (15u + whole)) + 1u) >> 1 : 0;
}

enum { ONE = 4096 }; /* 1 in the fixed point of probabilities and errors */

uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label)
{
    uint32_t total = 0;
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (int32_t)exp_of((uint32_t)error[c]);
        total += (uint32_t)error[c];
    }
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (int32_t)(((uint32_t)error[c] * (uint32_t)ONE + total / 2u) / total);
    }
    error[label] -= ONE;
    return error[label] < 0 ? (uint32_t)-error[label] : 0;
}

#if MB_HAS_VISITS || MB_HAS_LEVELS
uint32_t mb_begin_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    const uint32_t classes = mb_u16_at(m->image + MB_AT_CLASSES), temperature = mb_u16_at(m->image + MB_AT_TEMPERATURE);
    int32_t *const error = arena->scores;
    info->predicted = mb_best_class(error, classes);
    const uint32_t best = (uint32_t)error[info->predicted];
    for (uint32_t c = 0; c < classes; c++) {
        const uint32_t below = best - (uint32_t)error[c];
        error[c] = (int32_t)(((below > 65535u ? 65535u : below) * temperature) >> 12);
    }
    ((mb_counters *)(void *)m->state)->steps++;
    const uint32_t true_error = mb_softmax_error(error, classes, label);
    return true_error < mb_u16_at(m->image + MB_AT_MARGIN) ? 0 : true_error;
}
#endif

/// Backward ///

#if MB_HAS_VISITS || MB_HAS_GRADED

static inline mb_error_norm with(mb_error_norm norm, int32_t error)
{
    const uint32_t size = mb_magnitude(error);
    norm.sum += size;
    norm.max = size > norm.max ? size : norm.max;
    return norm;
}

mb_error_norm mb_error_norm_of(const int32_t *error, uint32_t units)
{
    mb_error_norm norm = {0, 0};
    for (const int32_t *const end = error + units; error != end; error++) {
        norm = with(norm, *error);
    }
    return norm;
}

/* One table of 16 signed sums serves four units with one look-up. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below, int32_t *tables)
{
    memset(below, 0, sizeof(int32_t) * l->inputs);
    for (uint32_t first = 0; first < l->units; first += 32u, error += 32) {
        const uint32_t here = l->units - first < 32u ? l->units - first : 32u;
        const mb_word *const words = (const mb_word *)(const void *)l->sign + first / 32u * (l->inputs + 1u);
        int32_t *sums = tables;
        uint32_t any = 0;
        for (uint32_t i = 0; i < 32u; i += 4u, sums += 16) { /* units beyond the last one have error 0 */
            /* cppcheck-suppress knownConditionTrueFalse -- false for the last units only: it takes here for 0 */
            const int32_t a = i < here ? error[i] : 0, b = i + 1u < here ? error[i + 1u] : 0;
            /* cppcheck-suppress knownConditionTrueFalse -- as above */
            const int32_t c = i + 2u < here ? error[i + 2u] : 0, d = i + 3u < here ? error[i + 3u] : 0;
            /* cppcheck-suppress badBitmaskCheck -- as above: it takes all four for 0 */
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

/* many: more than ten units, so that all four tables are needed. */
MB_INLINE mb_error_norm backward_lanes16(uint32_t many, const mb_layer *l, const uint32_t *mask, int32_t *below,
                                         const int32_t *tables)
{
    const mb_half *w = (const mb_half *)(const void *)l->sign, *const end = w + l->inputs;
    const int32_t *const second = tables + 32;
    mb_error_norm norm = {0, 0};
    while (w != end) {
        const mb_half *const stop = end - w < 32 ? end : w + 32;
        uint32_t open = mask != NULL ? *mask++ : 0xFFFFFFFFu;
        for (; w != stop; w++, below++, open >>= 1) {
            if ((open & 1u) == 0) {
                *below = 0;
                continue;
            }
            const uint32_t units = *w;
            int32_t error = tables[units & 31u] + second[(units >> 5) & 31u];
            if (many) {
                error += tables[64u + ((units >> 10) & 31u)] + tables[96u + (units >> 15)];
            }
            *below = error;
            norm = with(norm, error);
        }
    }
    return norm;
}

void mb_five_signed_sums(const int32_t *error, int32_t *table)
{
    mb_signed_sums(error[0], error[1], error[2], error[3], table);
    for (uint32_t i = 0; i < 16u; i++, table++) {
        table[16] = table[0] + error[4];
        table[0] -= error[4];
    }
}

/* A table of 32 signed sums serves five units, so that the whole sum of an input is done at once. pre: N <= 16. */
mb_error_norm mb_backward_lanes16(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below, int32_t *tables)
{
    int32_t e[20];
    memset(e, 0, sizeof e);
    memcpy(e, error, sizeof(int32_t) * l->units);
    for (uint32_t five = 0; five < (l->units > 10u ? 4u : 2u); five++) {
        mb_five_signed_sums(e + 5u * five, tables + 32u * five);
    }
    return MB_SPECIALISE(l->units > 10u, backward_lanes16, l, mask, below, tables);
}

#if MB_HAS_VISITS
mb_error_norm mb_rescale(int32_t *error, uint32_t units)
{
    const mb_error_norm s = mb_error_norm_of(error, units);
    uint32_t shift = 0;
    while ((s.max >> shift) >= (1u << 14)) {
        shift++;
    }
    if (shift == 0) {
        return s;
    }
    for (uint32_t i = 0; i < units; i++) {
        const int32_t e = (int32_t)(mb_magnitude(error[i]) >> shift);
        error[i] = error[i] < 0 ? -e : e;
    }
    return mb_error_norm_of(error, units);
}

#endif

mb_visit_rate mb_visit_rate_of(const mb_layer *l, uint32_t sum, uint32_t true_error)
{
    mb_visit_rate rate = {0, 0};
    const uint32_t total = (l->dose * true_error) >> 8;
    if (sum == 0 || total == 0) {
        return rate;
    }
    while (((total << rate.shift) & 0x80000000u) == 0) { /* post: 2^31 <= total << shift < 2^32 */
        rate.shift++;
    }
    rate.per_error = (total << rate.shift) / sum;
    return rate;
}
#endif
#endif
