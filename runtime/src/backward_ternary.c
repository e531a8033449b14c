/* The error below a ternary layer: a random sign replaces each error, so that one word holds those of 32 units, and only as many
 * inputs get an error as visits need. docs/learning-rule.md, "Backward". */
#include <string.h>

#include "adder.h"
#include "synapse.h"

#if MB_HAS_TERNARY

static inline uint32_t count_bits(uint32_t v)
{
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    return (((v + (v >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

/* Returns count_bits(ones) + 2 count_bits(twos) + 4 count_bits(fours), by one tree for all three. */
static inline uint32_t count_three(uint32_t ones, uint32_t twos, uint32_t fours)
{
    ones -= (ones >> 1) & 0x55555555u;
    twos -= (twos >> 1) & 0x55555555u;
    fours -= (fours >> 1) & 0x55555555u;
    ones = (ones & 0x33333333u) + ((ones >> 2) & 0x33333333u);
    twos = (twos & 0x33333333u) + ((twos >> 2) & 0x33333333u);
    fours = (fours & 0x33333333u) + ((fours >> 2) & 0x33333333u);
    ones += 2u * twos; /* post: each nibble <= 12 */
    ones = (ones & 0x0F0F0F0Fu) + ((ones >> 4) & 0x0F0F0F0Fu) + 4u * ((fours + (fours >> 4)) & 0x0F0F0F0Fu);
    return (ones * 0x01010101u) >> 24; /* post: <= 7 * 32 */
}

/* Draws the signs. Each word with at least one sign becomes an entry of three words: index of its weights, units drawn, negative
 * ones among them. Entries of zeros pad to a multiple of 8. Returns the end of the entries; *drawn = number of signs. */
MB_NOINLINE uint32_t *draw_signs(const mb_layer *l, const int32_t *error, uint32_t max, uint32_t *entry, uint32_t *generator,
                                 uint32_t *drawn)
{
    uint32_t *const first = entry, z = *generator, total = 0;
    const uint32_t scale = (1u << 30) / (max != 0 ? max : 1u);
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

/* Returns on how many signs the weights of one input agree, by a tree of full adders for 8 words at a time. w: its column. */
MB_INLINE uint32_t agreeing(const mb_word *w, const uint32_t *entry, const uint32_t *end)
{
    uint32_t ones = 0, twos = 0, fours = 0, eights = 0, agree = 0;
#define MB_AGREE_FOUR(x, p, e)                                                                     \
    do {                                                                                           \
        uint32_t a = (e)[0], b = (e)[3], c = (e)[6], d = (e)[9];                                   \
        MB_KEEP4(a, b, c, d);                                                                  \
        a = w[a], b = w[b], c = w[c], d = w[d];                                                    \
        MB_KEEP4(a, b, c, d);                                                                  \
        a ^= (e)[2], b ^= (e)[5], c ^= (e)[8], d ^= (e)[11];                                       \
        MB_KEEP4(a, b, c, d);                                                                  \
        a &= (e)[1], b &= (e)[4], c &= (e)[7], d &= (e)[10];                                       \
        MB_KEEP4(a, b, c, d);                                                                  \
        b ^= a, d ^= c;                                                                            \
        MB_ADD_PAIRS(x, p, ones, a, b, c, d);                                                      \
    } while (0)
    for (; entry != end; entry += 24) {
        uint32_t x, p, y, q;
        MB_AGREE_FOUR(x, p, entry);
        MB_AGREE_FOUR(y, q, entry + 12);
        MB_ADD_PAIRS(x, p, twos, x, p, y, q);
        MB_ADD_PAIR(eights, fours, x, p);
        agree += 8u * count_bits(eights);
    }
#undef MB_AGREE_FOUR
    return agree + count_three(ones, twos, fours);
}

/* Counts the bits of a mask of n lanes. */
static uint32_t count_all(const uint32_t *bits, uint32_t n)
{
    uint32_t count = 0;
    for (const uint32_t *const end = bits + MB_WORDS(n); bits != end; bits++) {
        count += count_bits(*bits);
    }
    return count;
}

void mb_thin_mask(const mb_layer *lowest, uint32_t true_error, uint32_t *generator)
{
    uint32_t *mask = lowest->mask;
    const uint32_t eligible = lowest->input == MB_ON_OFF ? count_all(lowest->in, lowest->inputs) : lowest->inputs;
    const uint32_t visits = ((lowest->dose * true_error) >> 14) * eligible >> 10;
    if (2u * (visits < 32u ? 32u : visits) <= count_all(mask, lowest->units)) {
        for (uint32_t words = MB_WORDS(lowest->units); words > 0; words--) {
            *mask++ &= mb_draw32(generator);
        }
    }
}

void mb_backward_ternary(const mb_layer *l, const int32_t *error, uint32_t max, const uint16_t *list, uint32_t count,
                         int32_t *below, uint32_t *entries, uint32_t *generator)
{
    uint32_t drawn;
    const uint32_t *const end = draw_signs(l, error, max, entries, generator, &drawn);
    const mb_word *const w = (const mb_word *)(const void *)l->sign;
    memset(below, 0, sizeof(int32_t) * l->inputs);
    MB_ROLLED
    for (const uint16_t *const last = list + count; list != last; list++) {
        below[*list] = (int32_t)(2u * agreeing(w + *list, entries, end) - drawn);
    }
}
#endif
