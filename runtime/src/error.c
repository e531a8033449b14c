/* Errors of a step: of the output, and of the layer below from the one above. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_LEARN

/// Error ///

/* EXP[i] = round(32767 exp(-i / 16)); 0 from 178 on */
static const uint16_t EXP[178] = {
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
    1, 1,
};

enum { ONE = 4096 }; /* probabilities and errors are in 1/4096 */

uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label)
{
    uint32_t total = 0;
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (uint32_t)error[c] < sizeof EXP / sizeof *EXP ? EXP[error[c]] : 0;
        total += (uint32_t)error[c];
    }
    for (uint32_t c = 0; c < classes; c++) {
        error[c] = (int32_t)(((uint32_t)error[c] * (uint32_t)ONE + total / 2u) / total);
    }
    error[label] -= ONE;
    return error[label] < 0 ? (uint32_t)-error[label] : 0;
}

uint32_t mb_output_error(const int32_t *scores, uint32_t classes, uint16_t label, uint32_t temperature, int32_t *error)
{
    const int32_t top = scores[mb_best_class(scores, classes)];
    for (uint32_t c = 0; c < classes; c++) {
        uint32_t below = (uint32_t)top - (uint32_t)scores[c];
        below = below > 65535u ? 65535u : below;
        error[c] = (int32_t)((below * temperature) >> 12);
    }
    return mb_softmax_error(error, classes, label);
}

/// Backward ///

static inline mb_sizes counted(mb_sizes s, int32_t error)
{
    const uint32_t size = mb_magnitude(error);
    s.sum += size;
    s.largest = size > s.largest ? size : s.largest;
    return s;
}

mb_sizes mb_sizes_of(const int32_t *error, uint32_t units)
{
    mb_sizes s = {0, 0};
    for (const int32_t *const end = error + units; error != end; error++) {
        s = counted(s, *error);
    }
    return s;
}

/* A table of sixteen signed sums serves four units with one look-up. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below, int32_t *tables)
{
    memset(below, 0, sizeof(int32_t) * l->inputs);
    for (uint32_t first = 0; first < l->units; first += 32u, error += 32) {
        const uint32_t here = l->units - first < 32u ? l->units - first : 32u;
        const mb_word *const words = (const mb_word *)(const void *)l->sign + first / 32u * (l->inputs + 1u);
        int32_t *sums = tables;
        uint32_t any = 0;
        for (uint32_t i = 0; i < 32u; i += 4u, sums += 16) { /* lanes beyond the last unit count as zero */
            const int32_t a = i < here ? error[i] : 0, b = i + 1u < here ? error[i + 1u] : 0;
            const int32_t c = i + 2u < here ? error[i + 2u] : 0, d = i + 3u < here ? error[i + 3u] : 0;
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

/* many: more than ten units. */
MB_INLINE mb_sizes look_up_errors(uint32_t many, const mb_layer *l, const uint32_t *mask, int32_t *below, const int32_t *tables)
{
    const mb_half *w = (const mb_half *)(const void *)l->sign, *const end = w + l->inputs;
    mb_sizes sizes = {0, 0};
    while (w != end) {
        const mb_half *const stop = end - w < 32 ? end : w + 32;
        uint32_t open = mask != NULL ? *mask++ : 0xFFFFFFFFu;
        for (; w != stop; w++, below++, open >>= 1) {
            if ((open & 1u) == 0) {
                *below = 0;
                continue;
            }
            const uint32_t units = *w;
            int32_t error = tables[units & 31u] + tables[32u + ((units >> 5) & 31u)];
            if (many) {
                error += tables[64u + ((units >> 10) & 31u)] + tables[96u + (units >> 15)];
            }
            *below = error;
            sizes = counted(sizes, error);
        }
    }
    return sizes;
}

/* Few units, and the whole sum at once: tables of 32 serve five units. */
mb_sizes mb_backward_16(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below, int32_t *tables)
{
    int32_t e[20], *table = tables;
    memset(e, 0, sizeof e);
    memcpy(e, error, sizeof(int32_t) * l->units);
    for (const int32_t *five = e; five != e + 20; five += 5, table += 32) {
        mb_signed_sums(five[0], five[1], five[2], five[3], table);
        for (uint32_t i = 0; i < 16u; i++) {
            table[16u + i] = table[i] + five[4];
            table[i] -= five[4];
        }
    }
    return MB_BOTH(l->units > 10u, look_up_errors, l, mask, below, tables);
}

/* Halves all errors, toward zero, until the largest is below 2^14: products and sums of any layer then fit 32 bits. */
mb_sizes mb_rescale(int32_t *error, uint32_t units)
{
    const mb_sizes s = mb_sizes_of(error, units);
    uint32_t shift = 0;
    while ((s.largest >> shift) >= (1u << 14)) {
        shift++;
    }
    if (shift == 0) {
        return s;
    }
    for (uint32_t i = 0; i < units; i++) {
        const int32_t e = (int32_t)(mb_magnitude(error[i]) >> shift);
        error[i] = error[i] < 0 ? -e : e;
    }
    return mb_sizes_of(error, units);
}

mb_share mb_share_of(const mb_layer *l, uint32_t sum, uint32_t true_error)
{
    mb_share s = {0, 0};
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

#endif
