/* Gates: units with a normalisation of their own, whose level is high where it is near zero. docs/learning-rule.md, "Gates". */
#include <string.h>

#include "layers.h"

#if MB_HAS_GATES

static int32_t clipped(int32_t x, int32_t limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

/* 12.8 levels, rounded; half a level so that the shift rounds; 8, so that the lowest level becomes 0. 0xCCCCCCCD is 12.8 * 2^28. */
#define TOP(shift) ((int32_t)((((0xCCCCCCCDu >> (27u - (shift))) + 1u) >> 1) + (17u << ((shift) - 1u))))

/* Counts of 32 lanes, from 8 planes: bit p of byte m of to[i] = lane 8 m + i of plane p. */
MB_NOINLINE void transpose_counts(const uint32_t *planes, uint32_t *to)
{
    mb_transpose_eight(planes[0], planes[1], planes[2], planes[3], planes[4], planes[5], planes[6], planes[7], to);
}

/* The levels of n units, n <= 32, or, below a head, its values: one of each unit's level, in place, and one of its sum.
 * |sum| <= K <= 2^14, so |mul * sum| <= 2^29, and with |add| <= 2^30 |z| < 2^31; top < 2^25, so top - |z| > -2^31.
 * |gate_mul * level + gate_add| <= 2560 * 8 + 20496. head: NULL if none follows. wide: 1 if counts have a higher byte. */
MB_INLINE void put_levels(int wide, const mb_layer *l, const mb_layer *head, uint32_t first, uint32_t n, const uint8_t *counts,
                          int32_t active, int8_t *values)
{
    const mb_short *mul = (const mb_short *)(const void *)l->tables + first, *scale = head ? (const mb_short *)(const void *)head->tables + first : NULL;
    const mb_int *add = (const mb_int *)(const void *)l->fold + first, *z_add = head ? (const mb_int *)(const void *)head->fold + first : NULL;
    const uint32_t shift = l->shift, units = l->units, z_shift = head ? head->shift : 0;
    const int32_t top = TOP(shift);
    int8_t *const end = values + n;
    while (values != end) {
        const uint8_t *count = counts++;
        int8_t *const some = end - values < 8 ? end : values + 8;
        do {
            /* cppcheck-suppress shiftTooManyBitsSigned -- gcc and clang shift in the sign; the golden vectors show it */
            const int32_t sum = 2 * (count[0] + (wide ? 256 * count[32] : 0)) - active, z = *mul++ * sum + *add++, sign = z >> 31;
            count += 4;
            int32_t level = (top + sign - (z ^ sign)) >> shift; /* |z| is (z ^ sign) - sign */
            /* cppcheck-suppress shiftTooManyBitsSigned -- gcc and clang shift in the sign; the golden vectors show it */
            level = (level & ~(level >> 31)) - 16; /* at least 0, then at most 16 */
            /* cppcheck-suppress shiftTooManyBitsSigned -- gcc and clang shift in the sign; the golden vectors show it */
            level = (level & level >> 31) + 8;
            if (head) {
                values[units] = (int8_t)clipped((scale[2u * units] * sum + *z_add++) >> z_shift, 127);
                level = clipped((scale[0] * level + scale[units]) >> 5, 127);
                scale++;
            }
            *values++ = (int8_t)level;
        } while (values != some);
    }
}

#ifdef MB_THUMB1
/* As put_levels, eight units a turn, for few registers. */
#define T1_UNIT(k)                                                                                                                    \
    "ldrb %[z], [%[counts], #4 * " k "]\nmovs %[x], #2 * " k "\nldrsh %[x], [%[mul], %[x]]\nlsls %[z], #1\nsubs %[z], %[active]\n"       \
    "muls %[z], %[x]\nldm %[add]!, {%[x]}\nadds %[z], %[x]\nasrs %[x], %[z], #31\neors %[z], %[x]\nsubs %[x], %[z]\nadd %[x], %[top]\n"  \
    "asrs %[x], %[shift]\nasrs %[z], %[x], #31\nbics %[x], %[z]\ncmp %[x], #16\nble 2f\nmovs %[x], #16\n2: subs %[x], #8\n"            \
    "strb %[x], [%[values], #" k "]\n"
#define T1_LEVELS                                                                                                                     \
    "1:\n" T1_UNIT("0") T1_UNIT("1") T1_UNIT("2") T1_UNIT("3") T1_UNIT("4") T1_UNIT("5") T1_UNIT("6") T1_UNIT("7")                    \
    "adds %[counts], #1\nadds %[mul], #16\nadds %[values], #8\ncmp %[values], %[end]\nbeq 3f\nb 1b\n3:\n"
#endif

MB_NOINLINE void put_plain(const mb_layer *l, uint32_t first, uint32_t n, const uint8_t *counts, int32_t active, int8_t *values)
{
#ifdef MB_THUMB1
    if (active <= 255 && n >= 8u) {
        const mb_short *mul = (const mb_short *)(const void *)l->tables + first;
        const mb_int *add = (const mb_int *)(const void *)l->fold + first;
        uint32_t z, x, eights = n & ~7u, shift = l->shift;
        __asm__(".syntax unified\n" T1_LEVELS
                : [values] "+&l"(values), [counts] "+&l"(counts), [mul] "+&l"(mul), [add] "+&l"(add), [z] "=&l"(z), [x] "=&l"(x)
                : [active] "l"(active), [shift] "l"(shift), [top] "h"(TOP(shift)), [end] "h"(values + eights)
                : "cc", "memory");
        first += eights, n -= eights;
    }
#endif
    MB_SPECIALISE(active > 255, put_levels, l, NULL, first, n, counts, active, values);
}

MB_NOINLINE void put_values(const mb_layer *l, uint32_t first, uint32_t n, const uint8_t *counts, int32_t active, int8_t *values)
{
    put_levels(active > 255, l, !MB_SMALL || !MB_HAS_LEVELS || MB_IS_HEAD(l + 1) ? l + 1 : NULL, first, n, counts, active, values);
}

MB_MINSIZE void mb_gates(const mb_layer *l, const mb_arena *arena, const uint8_t *features)
{
    static const uint32_t zero[MB_PLANES_MAX] = {0};
    const uint32_t inputs = features != NULL ? l[-1].inputs : l->inputs, planes = l->planes;
    uint32_t v[MB_PLANES_MAX], counts[16], active = 0;
    mb_list_place next = {0, 0};
    if (!MB_SMALL) {
        memset(v + planes, 0, 4u * (MB_PLANES_MAX - planes)); /* planes that are read but never written */
    }
    do {
        MB_MARK(MB_FORWARD, (unsigned)(l - arena->layers) - (features != NULL));
        const uint32_t listed = features != NULL ? mb_cut(l - 1, features, &next, arena->active)
                                                 : mb_active_part(l->in, inputs, &next.feature, arena->active);
        MB_MARK(MB_FORWARD, (unsigned)(l - arena->layers));
        const mb_run run = mb_whole_list(listed);
        const mb_word *w = (const mb_word *)(const void *)l->sign;
        uint32_t *sums = arena->sums; /* over the parts before */
        active += listed;
        for (uint32_t first = 0; first < l->units; first += 32u, w += l->inputs + 1u, sums += planes) {
            if (MB_SMALL) { /* mb_sum_columns adds to v */
                memset(v, 0, sizeof v);
                if (active != listed) {
                    memcpy(v, sums, 4u * planes);
                }
                mb_sum_columns(w, arena->active, listed, v, planes, arena->carry);
            } else {
                mb_add_columns(w, arena->active, &run, 1, active == listed ? zero : sums, v, planes, arena->carry);
            }
            if (next.feature < inputs) {
                memcpy(sums, v, 4u * planes);
                continue;
            }
            const uint32_t n = l->units - first < 32u ? l->units - first : 32u;
            int8_t *const values = arena->values + first;
            transpose_counts(v + 1, counts);
            if (active > 255u) {
                transpose_counts(v + 9, counts + 8);
            }
            if (!MB_SMALL && !MB_IS_HEAD(l + 1)) {
                put_plain(l, first, n, (const uint8_t *)counts, (int32_t)active, values);
            } else {
                put_values(l, first, n, (const uint8_t *)counts, (int32_t)active, values);
            }
        }
    } while (next.feature < inputs);
}
#endif
