/* Graded units: gates whose grade is high where the sum is small, scaled by the layer's mean |V|. docs/learning-rule.md,
 * "Graded units and votes". */
#include <string.h>

#include "adder.h"
#include "layers.h"

#if MB_HAS_GRADED

uint32_t mb_graded_inputs(const mb_layer *l, const uint32_t *bits, uint16_t *list)
{
    const uint32_t inputs = l->inputs, values = mb_values(l);
    uint16_t *end = list;
    for (uint32_t first = 0; first < values; first += inputs) { /* a plane may begin and end inside a word */
        uint32_t base = first & ~31u, mask = ~0u << (first & 31u);
        for (; base + 32u <= first + inputs; base += 32u, mask = ~0u) {
            end = mb_list_bits(end, bits[base >> 5] & mask, base - first);
        }
        if (base < first + inputs) {
            end = mb_list_bits(end, bits[base >> 5] & mask & mb_last_mask(first + inputs), base - first);
        }
    }
    return mb_pad_list(list, end, inputs);
}

mb_ramp mb_ramp_of(const mb_layer *l, const int32_t *values)
{
    const int32_t *const end = values + l->units;
    uint32_t sum = 0; /* post: < 2^30, from at most 2^10 units of at most 2^20 */
    do {
        sum += mb_magnitude(*values++);
    } while (values != end);
    const uint32_t mean = 16u * (sum / l->units) + 16u * (sum % l->units) / l->units; /* 16 sum / N, in 32 bits */
    const mb_ramp ramp = {(uint32_t)(((uint64_t)mean * l->low) >> 12), (uint32_t)(((uint64_t)mean * l->high) >> 12)};
    return ramp;
}

MB_INLINE void grade(uint32_t more, const mb_ramp ramp, const int32_t *values, const int32_t *end, int32_t *grades)
{
    const uint32_t low = ramp.low, width = ramp.high > low ? ramp.high - low : 1u, scale = (1u << 20) / width;
    const uint32_t most = low + width;
    uint32_t from = 32768u - low * scale; /* the wide products cancel each other */
    MB_OPAQUE(from);
    do {
        const uint32_t size = mb_magnitude(*values++), above = size > low ? size : low;
        const uint32_t fall = ((above > most ? most : above) * scale + from) >> 16;
        *grades = (int32_t)((more ? (uint32_t)*grades << 8 : 0) + 8u - fall);
        grades++;
    } while (values != end);
}

void mb_grade(const mb_layer *l, mb_ramp ramp, uint32_t more, const int32_t *values, int32_t *grades)
{
    MB_SPECIALISE(more, grade, ramp, values, values + l->units, grades);
}

/* to [1 .. planes + 1] = 3 S + 2 fold, where twice [planes] = 2 S; to [0] = 0. */
static void add_thrice(const uint32_t *twice, const mb_word *fold, unsigned planes, uint32_t *to)
{
    uint32_t before = 0, carry = 0, doubled = 0;
    *to++ = 0;
    for (unsigned p = 0; p <= planes; p++) {
        const uint32_t two = p < planes ? twice[p] : 0, one = p + 1u < planes ? twice[p + 1u] : 0;
        uint32_t low, high;
        MB_FULL_ADD(high, low, one, two, doubled);
        MB_FULL_ADD(carry, low, low, before, carry);
        *to++ = low;
        before = high;
        doubled = fold[p < planes ? p : 0];
    }
}

/* v [planes] += w[0] + .. + w[7], for 32 sums at once. pre: planes >= 4. */
static void add_eight(uint32_t *v, unsigned planes, const uint32_t *w)
{
    uint32_t ones = v[0], twos = v[1], fours = v[2], carry; /* local copies, because w and v could overlap */
    MB_ADD_EIGHT_OF(uint32_t, carry, ones, twos, fours, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
    v[0] = ones;
    v[1] = twos;
    v[2] = fours;
    for (unsigned p = 3; p < planes && carry != 0; p++) {
        const uint32_t x = v[p];
        v[p] = x ^ carry;
        carry &= x;
    }
}

/* graded_values [N] = V of the average weights: an unsure weight counts half a sure one. With n inputs, S positive weights
 * and T levels whose top magnitude bit is set (a weight is sure if that bit equals its sign), V = 3 S + T - 2 (n + theta). */
static void average_values(const mb_layer *l, const mb_arena *arena, uint32_t active)
{
    static const mb_word nothing[MB_PLANES_MAX];
    const uint32_t low_bits = (uint32_t)l->bits - 1u, rows = MB_WORDS(l->units), inputs = l->inputs;
    const unsigned planes = l->planes, wide = planes + 2u;
    uint16_t *const list = arena->active;
    uint32_t *kept = (uint32_t *)arena->graded_values, v[MB_PLANES_MAX + 2];
    mb_run run = mb_whole_list(active);
    for (uint32_t r = 0; r < rows; r++, kept += wide) { /* the sums over signs of every row */
        const mb_word *const sign = (const mb_word *)(const void *)l->sign + r * (inputs + 1u), *const fold = l->fold + r * planes;
        mb_add_columns(sign, list, &run, 1, low_bits != 0 ? nothing : fold, v, planes, arena->carry);
        if (low_bits != 0) {
            add_thrice(v, fold, planes, kept);
        } else { /* V = 4 S - 2 (n + theta) */
            kept[0] = kept[1] = 0;
            memcpy(kept + 2, v, sizeof *v * planes);
        }
    }
    run.count = low_bits != 0 && inputs * low_bits < 65536u ? active & ~7u : 0;
    for (uint32_t i = 0; i < run.count; i++) {
        list[i] = (uint16_t)(list[i] * low_bits);
    }
    for (uint32_t r = rows; r-- > 0;) { /* downward, because the values of a row take more words than its sums */
        const mb_word *const top = (const mb_word *)(const void *)l->levels + r * inputs * low_bits;
        kept -= wide;
        mb_add_columns(top, list, &run, 1, kept, v, wide, arena->carry);
        for (uint32_t i = run.count; low_bits != 0 && i < active; i += 8u) {
            uint32_t t[8] = {0, 0, 0, 0, 0, 0, 0, 0};
            for (uint32_t k = 0; k < 8u && i + k < active; k++) {
                t[k] = top[list[i + k] * low_bits];
            }
            add_eight(v + 1, wide - 1u, t);
        }
        mb_lane_values(v + 1, wide - 1u, 2u * active, arena->graded_values + 32u * r,
                       l->units - 32u * r < 32u ? l->units - 32u * r : 32u);
    }
}

void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits)
{
    const uint32_t active = mb_graded_inputs(l, bits, arena->active);
    average_values(l, arena, active);
    mb_grade(l, mb_ramp_of(l, arena->graded_values), 0, arena->graded_values, arena->graded_values);
}

/* Adds up ten classes: c .. c + 4 of the two halves of a word. The halves lie at 0 and 16, so that one product serves two classes,
 * whose sums share a word: each is below 2^15, from at most 2^10 units of grades up to 8. */
MB_INLINE void add_ten(uint32_t lanes16, const uint8_t *sign, const int32_t *grade, uint32_t count, uint32_t half, uint32_t c,
                       uint32_t *sums)
{
    const int32_t *const end = grade + count;
    uint32_t a = 0, b = 0, d = 0, e = 0, f = 0, ones = 0x10001u;
    const uint32_t shift = 16u - half;
    MB_OPAQUE(ones);
    do {
        const uint32_t x = (uint32_t)*grade++, both = mb_lanes_at(sign, 0, lanes16), w = (lanes16 ? both | both << shift : both) >> c;
        sign += lanes16 ? 2 : 4;
        a += x * (w & ones);
        b += x * (w >> 1 & ones);
        d += x * (w >> 2 & ones);
        e += x * (w >> 3 & ones);
        f += x * (w >> 4 & ones);
    } while (grade != end);
    sums[0] = a, sums[1] = b, sums[2] = d, sums[3] = e, sums[4] = f;
}

void mb_graded_output(const mb_layer *l, const int32_t *grades, int32_t *scores)
{
    const uint32_t lanes = l->lanes16 ? 16u : 32u, inputs = l->inputs, half = l->lanes16 ? (l->units + 1u) / 2u : 16u;
    int32_t sum = 0;
    const int32_t *one = grades;
    do {
        sum += *one++;
    } while (one != grades + inputs);
    for (uint32_t first = 0; first < l->units; first += lanes) {
        const uint8_t *const sign = l->sign + first / 8u * (inputs + 1u);
        for (uint32_t c = 0; c < half; c += 5u) {
            uint32_t sums[5];
            MB_SPECIALISE(l->lanes16, add_ten, sign, grades, inputs, half, c, sums);
            for (uint32_t i = 0; i < 10u; i++) {
                const uint32_t k = i < 5u ? i : i - 5u, unit = first + c + k + (i < 5u ? 0 : half);
                const int32_t low = (int16_t)(sums[k] & 0xFFFFu);
                const int32_t on = i < 5u ? low : (int32_t)(sums[k] - (uint32_t)low) >> 16;
                if (c + k < half && unit < l->units) { /* 2 * (grades with weight +1) - (all grades) */
                    scores[unit] = (2 * on - sum) * l->own.scores[unit] + l->own.scores[l->units + unit];
                }
            }
        }
    }
}
#endif
