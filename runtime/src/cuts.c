/* Cuts: features of a byte or of two become a list of inputs that are on. docs/learning-rule.md, "Input". */
#include <string.h>

#include "layers.h"

#if MB_HAS_GATES

/* Four bytes are read at once where that may be: anywhere, or at multiples of four. */
#ifdef __ARM_FEATURE_UNALIGNED
typedef uint32_t __attribute__((may_alias, aligned(1))) mb_four_bytes;
#define READABLE(address) 1
#else
typedef mb_word mb_four_bytes;
#define READABLE(address) (((uintptr_t)(address) & 3u) == 0)
#endif

#define TOPS 0x80808080u /* the highest bits of four bytes */

/* Compares the four bytes of a word with those of cuts: the highest bit of each byte of the result is x > cut. A cut that is compared
 * with many words is made ready once. */
#if defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && defined(__thumb__)
typedef uint32_t mb_ready_cut;

MB_INLINE mb_ready_cut ready(uint32_t cut)
{
    return cut;
}

MB_INLINE uint32_t above(uint32_t x, mb_ready_cut cut)
{
    uint32_t on;
    __asm__("usub8 %0, %1, %2\n\tsel %0, %3, %4" : "=&r"(on) : "r"(cut), "r"(x), "r"(0u), "r"(TOPS) : "cc");
    return on;
}
#else
/* Where a cut is 128 or more, x > cut is not ~x > 254 - cut, and 254 - cut is -1 or 0..126. So bytes are compared with c = -1..127: x > c
 * where x >= 128 or its low bits exceed c, and 128 + low bits - (c + 1) borrows from no neighbour. */
typedef struct mb_ready_cut {
    uint32_t flip, more; /* 255 where x is replaced by ~x, c + 1 */
} mb_ready_cut;

MB_INLINE mb_ready_cut ready(uint32_t cut)
{
    const uint32_t large = cut & TOPS, flip = (large << 1) - (large >> 7);
    const mb_ready_cut ready = {flip, (cut ^ flip) + ((TOPS ^ large) >> 7)};
    return ready;
}

MB_INLINE uint32_t above(uint32_t x, mb_ready_cut cut)
{
    x ^= cut.flip;
    return ((((x | TOPS) - cut.more) | x) ^ cut.flip) & TOPS;
}
#endif

/* Lists the inputs of the features x .. end - 1, four at a time and at least as many; that of x is `first`. *next: where the list goes
 * on. shared: a constant, 1 if all have the same cut. */
MB_INLINE void list_fours(const uint8_t *x, const uint8_t *end, const uint8_t *cut, uint32_t first, uint16_t **next, uint32_t shared)
{
    const uint32_t before = first - (uint32_t)(uintptr_t)x - 4u;
    const uintptr_t cuts = (uintptr_t)cut - (uintptr_t)x - 4u;
    const mb_ready_cut same = ready(shared ? *cut * 0x01010101u : 0);
    uint16_t *list = *next;
    do {
        uint32_t four;
        do {
            four = *(const mb_four_bytes *)(const void *)x;
            x += 4;
        } while (four == 0 && x != end); /* no cut is below 0; often the ground of a picture */
        MB_OPAQUE(x);
        const uint32_t on = above(four, shared ? same : ready(*(const mb_four_bytes *)(cuts + (uintptr_t)x)));
        if (on == 0) {
            continue;
        }
        const uint32_t i = before + (uint32_t)(uintptr_t)x;
        if ((on & 0x80u) != 0) {
            *list++ = (uint16_t)i;
        }
        if ((on & 0x8000u) != 0) {
            *list++ = (uint16_t)(i + 1u);
        }
        if ((on & 0x800000u) != 0) {
            *list++ = (uint16_t)(i + 2u);
        }
        if ((on & 0x80000000u) != 0) {
            *list++ = (uint16_t)(i + 3u);
        }
    } while (x != end);
    *next = list;
}

MB_NOINLINE void list_fours_alike(const uint8_t *x, const uint8_t *end, const uint8_t *cut, uint32_t first, uint16_t **next)
{
    list_fours(x, end, cut, first, next, 1);
}

MB_NOINLINE void list_fours_apart(const uint8_t *x, const uint8_t *end, const uint8_t *cut, uint32_t first, uint16_t **next)
{
    list_fours(x, end, cut, first, next, 0);
}

/* Lists the inputs of one feature: i, i + inputs and so on below units. step: bytes from one of its cuts to the next. wide: a constant. */
MB_INLINE uint16_t *list_feature(uint32_t wide, int32_t x, const uint8_t *cut, uint32_t step, uint32_t i, const mb_layer *l, uint16_t *list)
{
    const uint32_t inputs = l->inputs, units = l->units;
    do {
        if (x > (wide ? *(const mb_short *)(const void *)cut : *cut)) {
            *list++ = (uint16_t)i;
        }
        cut += step;
        i += inputs;
    } while (i < units);
    return list;
}

uint32_t mb_cut(const mb_layer *l, const uint8_t *features, uint16_t *list)
{
    uint16_t *next = list;
    const uint8_t *cut = l->own.thresholds;
    const uint32_t wide = l->input, shared = l->shared, inputs = l->inputs, planes = l->bits, fours = inputs & ~3u;
    const uint32_t step = (shared ? 1u : inputs) << wide;
    uint32_t f = 0;
    if (!wide && fours != 0 && READABLE(features) && (shared || (READABLE(cut) && (planes == 1u || READABLE(inputs))))) {
        for (uint32_t i = 0; i != l->units; i += inputs, cut += step) {
            if (shared) {
                list_fours_alike(features, features + fours, cut, i, &next);
            } else {
                list_fours_apart(features, features + fours, cut, i, &next);
            }
        }
        f = fours;
    }
    for (; f < inputs; f++) {
        const uint8_t *const x = features + (f << wide);
        cut = l->own.thresholds + (shared ? 0 : f << wide);
        next = wide ? list_feature(1, (int16_t)(x[0] | x[1] << 8), cut, step, f, l, next) : list_feature(0, *x, cut, step, f, l, next);
    }
    return mb_pad_list(list, next, l->units);
}

void mb_pack_list(const uint16_t *list, uint32_t n, uint32_t *bits, uint32_t inputs)
{
    memset(bits, 0, 4u * MB_WORDS(inputs));
    for (const uint16_t *const end = list + n; list != end; list++) {
        bits[*list >> 5] |= 1u << (*list & 31u);
    }
}
#endif
