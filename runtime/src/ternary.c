/* The error that a ternary layer hands on: of signs drawn in its place, so that 32 units are one word to compare with. */
#include <string.h>

#include "synapse.h"

#if MB_HAS_TERNARY

static inline uint32_t count_bits(uint32_t v)
{
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    return (((v + (v >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

/* Entries of the words with a sign in them: where their weights begin, which units are drawn, which of these are negative. None
 * drawn fills up to a multiple of eight. Returns the end; *drawn is the number of signs. */
MB_APART uint32_t *draw_signs(const mb_layer *l, const int32_t *error, uint32_t *entry, uint32_t *generator, uint32_t *drawn)
{
    uint32_t *const first = entry, largest = 1, z = *generator, total = 0;
    for (uint32_t i = 0; i < l->units; i++) {
        const uint32_t size = mb_magnitude(error[i]);
        largest = size > largest ? size : largest;
    }
    const uint32_t scale = (1u << 30) / largest;
    for (uint32_t r = 0, left = l->units; left != 0; r++) {
        const uint32_t here = left < 32u ? left : 32u;
        uint32_t on = 0, negative = 0;
        for (uint32_t bit = 1, i = here; i != 0; i--, bit <<= 1, error++) {
            const uint32_t size = mb_magnitude(*error);
            if (size != 0 && mb_draw(&z) < (size * scale) >> 14) {
                on |= bit;
                negative |= *error < 0 ? bit : 0;
            }
        }
        if (on != 0) {
            *entry++ = r * (l->inputs + 1u);
            *entry++ = on;
            *entry++ = negative;
            total += count_bits(on);
        }
        left -= here;
    }
    while ((entry - first) % 24 != 0) {
        *entry++ = 0;
    }
    *generator = z;
    *drawn = total;
    return entry;
}

/* On how many of the signs the weights agree, by a tree of full adders for eight words at a time. w: from one input. */
MB_INLINE uint32_t agreeing(const mb_word *w, const uint32_t *entry, const uint32_t *end)
{
    uint32_t ones = 0, twos = 0, fours = 0, eights = 0, agree = 0;
#define MB_AGREE_FOUR(out, e)                                                                      \
    do {                                                                                           \
        uint32_t a = (e)[0], b = (e)[3], c = (e)[6], d = (e)[9], t0, t1;                           \
        MB_FOUR_HERE(a, b, c, d);                                                                  \
        a = w[a], b = w[b], c = w[c], d = w[d];                                                    \
        MB_FOUR_HERE(a, b, c, d);                                                                  \
        a ^= (e)[2], b ^= (e)[5], c ^= (e)[8], d ^= (e)[11];                                       \
        MB_FOUR_HERE(a, b, c, d);                                                                  \
        a &= (e)[1], b &= (e)[4], c &= (e)[7], d &= (e)[10];                                       \
        MB_FOUR_HERE(a, b, c, d);                                                                  \
        MB_FULL_ADD(t0, ones, ones, a, b);                                                         \
        MB_FULL_ADD(t1, ones, ones, c, d);                                                         \
        MB_FULL_ADD(out, twos, twos, t0, t1);                                                      \
    } while (0)
    for (; entry != end; entry += 24) {
        uint32_t f0, f1;
        MB_AGREE_FOUR(f0, entry);
        MB_AGREE_FOUR(f1, entry + 12);
        MB_FULL_ADD(eights, fours, fours, f0, f1);
        agree += 8u * count_bits(eights);
    }
#undef MB_AGREE_FOUR
    return agree + count_bits(ones) + 2u * count_bits(twos) + 4u * count_bits(fours);
}

void mb_backward_drawn(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below,
                       uint32_t *entries, uint32_t *generator)
{
    uint32_t drawn;
    const uint32_t *const end = draw_signs(l, error, entries, generator, &drawn);
    const mb_word *const w = (const mb_word *)(const void *)l->sign;
    memset(below, 0, sizeof(int32_t) * l->inputs);
    MB_ROLLED
    for (const uint16_t *const last = list + count; list != last; list++) {
        below[*list] = (int32_t)(2u * agreeing(w + *list, entries, end) - drawn);
    }
}
#endif
