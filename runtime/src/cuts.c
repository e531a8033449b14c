/* Cuts: features of a byte or of two become a list of inputs that are on. docs/learning-rule.md, "Input". */
#include <string.h>

#include "layers.h"

#if MB_HAS_GATES

/* A word of features is compared at once where it may be read: anywhere, or at multiples of four. */
#ifdef __ARM_FEATURE_UNALIGNED
#define READABLE(address) 1
#else
#define READABLE(address) (((address) & 3u) == 0)
#endif

/* The highest bit of each of four bytes, or of two signed half words: x > cut there. Where the highest bits of both are equal the low
 * ones decide: (x | tops) - low bits of the cut - 1 borrows from no neighbour. Elsewhere the one that is set (of bytes x's, of half words
 * the cut's) decides. */
MB_INLINE uint32_t above(uint32_t x, uint32_t cut, uint32_t wide)
{
    const uint32_t tops = wide ? 0x80008000u : 0x80808080u;
#if defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && defined(__thumb__)
    uint32_t on;
    if (wide) {
        __asm__("ssub16 %0, %1, %2\n\tsel %0, %3, %4" : "=&r"(on) : "r"(cut), "r"(x), "r"(0u), "r"(tops) : "cc");
    } else {
        __asm__("usub8 %0, %1, %2\n\tsel %0, %3, %4" : "=&r"(on) : "r"(cut), "r"(x), "r"(0u), "r"(tops) : "cc");
    }
    return on;
#else
    const uint32_t low = (x | tops) - ((cut & ~tops) + (tops >> (wide ? 15 : 7)));
    return (low ^ ((x ^ cut) & (low ^ (wide ? cut : x)))) & tops;
#endif
}

/* Lists the inputs first .. first + features - 1 of one plane that are on. wide and shared are constants. */
MB_INLINE uint16_t *list_plane(uint32_t wide, uint32_t shared, const mb_layer *l, const uint8_t *x, const uint8_t *cut, uint32_t first,
                               uint16_t *list)
{
    const uint32_t end = first + l->inputs, some = 4u >> wide;
    uint32_t same = 0;
    if (shared) {
        same = wide ? *(const mb_half *)(const void *)cut * 0x10001u : *cut * 0x01010101u;
    }
    if (READABLE((uintptr_t)x | (shared ? 0 : (uintptr_t)cut))) {
        for (; first + some <= end; first += some, x += 4, cut += shared ? 0 : 4) {
            const uint32_t on = above(*(const mb_word *)(const void *)x, shared ? same : *(const mb_word *)(const void *)cut, wide);
            if (on == 0) {
                continue;
            }
            if (!wide && (on & 0x80u) != 0) {
                *list++ = (uint16_t)first;
            }
            if ((on & 0x8000u) != 0) {
                *list++ = (uint16_t)(first + (wide ? 0 : 1));
            }
            if (!wide && (on & 0x800000u) != 0) {
                *list++ = (uint16_t)(first + 2);
            }
            if ((on & 0x80000000u) != 0) {
                *list++ = (uint16_t)(first + (wide ? 1 : 3));
            }
        }
    }
    for (; first != end; first++, x += 1u + wide, cut += shared ? 0 : 1u + wide) {
        const int32_t over = wide ? (int16_t)(x[0] | x[1] << 8) - *(const mb_short *)(const void *)cut : *x - *cut;
        if (over > 0) {
            *list++ = (uint16_t)first;
        }
    }
    return list;
}

uint32_t mb_cut(const mb_layer *l, const uint8_t *features, uint16_t *list)
{
    uint16_t *end = list;
    const uint8_t *cut = l->own.thresholds;
    const uint32_t wide = l->input, step = (l->shared ? 1u : l->inputs) << wide;
    for (uint32_t first = 0; first < l->units; first += l->inputs, cut += step) {
        if (!wide && l->shared) {
            end = list_plane(0, 1, l, features, cut, first, end);
        } else if (!wide) {
            end = list_plane(0, 0, l, features, cut, first, end);
        } else if (l->shared) {
            end = list_plane(1, 1, l, features, cut, first, end);
        } else {
            end = list_plane(1, 0, l, features, cut, first, end);
        }
    }
    return mb_pad_list(list, end, l->units);
}

void mb_pack_list(const uint16_t *list, uint32_t n, uint32_t *bits, uint32_t inputs)
{
    memset(bits, 0, 4u * MB_WORDS(inputs));
    for (const uint16_t *const end = list + n; list != end; list++) {
        bits[*list >> 5] |= 1u << (*list & 31u);
    }
}
#endif
