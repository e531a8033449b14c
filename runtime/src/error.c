/* Errors of a learning step: at the output, and in a layer from the errors of the layer above. */
#include "learn.h"

#include <string.h>

#include "layers.h"

#if MB_HAS_LEARN

/// Output ///

/* round(32767 exp(-n / 16)), which is 0 from n = 178 on, as the product of exp of the sixteenths and of the whole. Their factors are
 * rounded such that every n gives that value. No sum passes 2^32: the first product is below 2^31. */
MB_MINSIZE MB_NOINLINE uint32_t exp_of(uint32_t n)
{
    static const uint16_t of_sixteenths[16] = {65533, 61563, 57833, 54329, 51037, 47945, 45040, 42311,
                                               39748, 37340, 35077, 32952, 30956, 29080, 27318, 25663};
    static const uint32_t of_whole[12] = {2147516418u, 790027140u, 290634743u, 106918547u, 39333135u, 14469852u,
                                          5323161u,    1958281u,   720412u,    265025u,    97497u,    35867u};
    const uint32_t a = of_sixteenths[n & 15u], b = n < 178u ? of_whole[n >> 4] : 0;
    return (a * (b >> 16) + (a * (b & 0xFFFFu) >> 16) + 0x8000u) >> 16;
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
uint32_t mb_begin_step(const mb_model *m, const mb_arena *arena, uint16_t label, int32_t *error, mb_learn_info *info)
{
    const uint32_t classes = arena->layers[arena->count - 1u].units, temperature = mb_u16_at(m->image + MB_AT_TEMPERATURE);
    info->predicted = mb_best_class(arena->scores, classes);
    for (uint32_t c = 0; c < classes; c++) {
        uint32_t below = (uint32_t)arena->scores[info->predicted] - (uint32_t)arena->scores[c];
        below = below > 65535u ? 65535u : below;
        error[c] = (int32_t)((below * temperature) >> 12);
    }
    const uint32_t true_error = mb_softmax_error(error, classes, label);
    info->skipped = true_error == 0 || true_error < mb_u16_at(m->image + MB_AT_MARGIN);
    ((mb_counters *)(void *)m->state)->steps++;
    return true_error;
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
