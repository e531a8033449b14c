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

#define FOUR(address) (*(const mb_four_bytes *)(const void *)(address))

#define TOPS 0x80808080u /* the highest bits of four bytes */

/* x > cut for the four bytes of a word, in the highest bit of each byte. s = the low seven bits of x + 127 - those of the cut has that bit
 * on where the low bits of x exceed those of the cut, and no carry reaches the next byte. So x > cut is s OR x if the cut is below 128, s AND x
 * if not: in both cases the majority of s, x and ~cut. */
#ifdef MB_THUMB1
enum { STEP = 8 }; /* features whose comparison is written out */

/* This is the inner loop of list_eights by hand, for few registers, as in thumb1.h. Only the highest bit of each byte of its results counts. */
#define T1_LOW(w) "movs %[t], %[" w "]\nbics %[t], %[tops]\nadds %[t], %[more]\n"
#define T1_OR(w, at) T1_LOW(w) "orrs %[" w "], %[t]\n"
#define T1_AND(w, at) T1_LOW(w) "ands %[" w "], %[t]\n"
#define T1_MAJORITY(w, at)                                                                                                              \
    "mov %[i], %[cuts]\nadds %[i], %[x]\nldr %[i], [%[i], #" at "]\nmvns %[i], %[i]\nmovs %[more], %[i]\nbics %[more], %[tops]\n"   \
    T1_LOW(w) "eors %[" w "], %[t]\neors %[i], %[t]\nands %[" w "], %[i]\neors %[" w "], %[t]\n"
#define T1_LANE(w, shift, i) "lsls %[t], %[" w "], #" shift "\nbpl 4f\nadds %[t], %[i], #" i "\nstrh %[t], [%[list]]\nadds %[list], #2\n4:\n"
#define T1_FOUR(w, i, j, k, m)                                                                                                        \
    "tst %[" w "], %[tops]\nbeq 5f\n" T1_LANE(w, "24", i) T1_LANE(w, "16", j) T1_LANE(w, "8", k) T1_LANE(w, "0", m) "5:\n"
#define T1_EIGHTS(ON)                                                                                                                 \
    __asm__(".syntax unified\n1: ldm %[x]!, {%[a], %[b]}\nmovs %[t], %[a]\norrs %[t], %[b]\nbeq 3f\n" ON("a", "0") ON("b", "4")     \
            "mov %[i], %[before]\nadds %[i], %[x]\n" T1_FOUR("a", "0", "1", "2", "3") T1_FOUR("b", "4", "5", "6", "7")               \
            "3: cmp %[x], %[stop]\nbne 1b\n"                                                                                         \
            : [x] "+&l"(x), [list] "+&l"(list), [a] "=&l"(low), [b] "=&l"(high), [t] "=&l"(t), [i] "=&l"(i), [more] "+&l"(more)       \
            : [tops] "l"(TOPS), [before] "h"(before), [stop] "h"(stop), [cuts] "h"(cuts)                                              \
            : "cc", "memory")
#else
enum { STEP = MB_SMALL ? 4 : 8 };

/* A cut that is compared with many words is made ready once. */
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
typedef struct mb_ready_cut {
    uint32_t inverse, more; /* ~cut; 127 - its low seven bits */
} mb_ready_cut;

MB_INLINE mb_ready_cut ready(uint32_t cut)
{
    const mb_ready_cut ready = {~cut, ~cut & ~TOPS};
    return ready;
}

MB_INLINE uint32_t above(uint32_t x, mb_ready_cut cut)
{
    const uint32_t s = (x & ~TOPS) + cut.more;
    return ((s & x) | (cut.inverse & (s | x))) & TOPS;
}
#endif

/* Appends the inputs of four features, i .. i + 3, whose bytes of `on` have the highest bit. */
MB_INLINE uint16_t *list_four(uint16_t *list, uint32_t on, uint32_t i)
{
    if (on == 0) {
        return list;
    }
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
    return list;
}
#endif

/* Lists the inputs of the features from x on, whose input is `first`, to `end`, a multiple of STEP later, or until fewer than MB_ROOM_LEFT
 * entries before `full` are free. Returns the feature after them. *next: where the list goes on. shared: 1 if all have the same cut. */
MB_INLINE const uint8_t *list_eights(uint32_t shared, const uint8_t *x, const uint8_t *end, const uint8_t *cut, uint32_t first,
                                     uint16_t **next, const uint16_t *full)
{
    const uint32_t before = first - (uint32_t)(uintptr_t)x - STEP;
    const uintptr_t cuts = (uintptr_t)cut - (uintptr_t)x - STEP;
    uint16_t *list = *next;
#ifdef MB_THUMB1
    register uint32_t low __asm__("r2"), high __asm__("r3");
    uint32_t t, i, more = (127u - (*cut & 127u)) * 0x01010101u;
#else
    const mb_ready_cut same = ready(shared ? *cut * 0x01010101u : 0);
#endif
    do {
        const uint32_t room = (uint32_t)(full - list) & ~(STEP - 1u);
        const uint8_t *const stop = (uint32_t)(end - x) < room ? end : x + room; /* the list cannot be full before */
#ifdef MB_THUMB1
        if (!shared) {
            T1_EIGHTS(T1_MAJORITY);
        } else if (*cut < 128u) {
            T1_EIGHTS(T1_OR);
        } else {
            T1_EIGHTS(T1_AND);
        }
#else
        do {
            const uint32_t low = FOUR(x), high = STEP == 8u ? FOUR(x + 4) : 0;
            x += STEP;
            if ((low | high) == 0) { /* no cut is below 0, so nothing is on; often the background of a picture */
                continue;
            }
            MB_OPAQUE(x);
            const uint32_t i = before + (uint32_t)(uintptr_t)x;
            list = list_four(list, above(low, shared ? same : ready(FOUR(cuts + (uintptr_t)x))), i);
            if (STEP == 8u) {
                list = list_four(list, above(high, shared ? same : ready(FOUR(cuts + 4u + (uintptr_t)x))), i + 4u);
            }
        } while (x != stop);
#endif
    } while (x != end && full - list >= MB_ROOM_LEFT);
    *next = list;
    return x;
}

/* This is list_eights: one copy of it in a small program, two in others. list_rest does so with list_ones. */
MB_NOINLINE const uint8_t *list_some(uint32_t shared, const uint8_t *x, const uint8_t *end, const uint8_t *cut, uint32_t first,
                                     uint16_t **next, const uint16_t *full)
{
    return STEP == 4 ? list_eights(shared, x, end, cut, first, next, full)
                     : MB_SPECIALISE(shared, list_eights, x, end, cut, first, next, full);
}

/* Appends the inputs of one feature: i, i + inputs and so on below units. step: bytes from one of its cuts to the next. wide: a constant, 1
 * for features of two bytes. */
MB_INLINE uint16_t *list_feature(uint32_t wide, int32_t x, const uint8_t *cut, uint32_t step, uint32_t i, uint32_t inputs, uint32_t units,
                                 uint16_t *list)
{
    do {
        if (x > (wide ? *(const mb_short *)(const void *)cut : *cut)) {
            *list++ = (uint16_t)i;
        }
        cut += step;
        i += inputs;
    } while (i < units);
    return list;
}

/* Lists the inputs of the features from f on, one feature after the other, each of which has at most 16, until fewer than MB_ROOM_LEFT
 * entries before `full` are free. Returns the feature after them. */
MB_INLINE uint32_t list_ones(uint32_t wide, const mb_layer *l, const uint8_t *features, uint32_t f, uint16_t **next, const uint16_t *full)
{
    const uint32_t inputs = l->inputs, units = l->units, step = (l->shared ? 1u : inputs) << wide, more = l->shared ? 0 : 1u << wide;
    const uint8_t *x = features + (f << wide), *cut = l->own.thresholds + more * f;
    uint16_t *list = *next;
    for (; f < inputs && full - list >= MB_ROOM_LEFT; f++, x += 1u << wide, cut += more) {
        list = MB_SPECIALISE(wide, list_feature, wide ? (int16_t)(x[0] | x[1] << 8) : *x, cut, step, f, inputs, units, list);
    }
    *next = list;
    return f;
}

MB_MINSIZE MB_NOINLINE uint32_t list_rest(uint32_t wide, const mb_layer *l, const uint8_t *features, uint32_t f, uint16_t **next, const uint16_t *full)
{
    return MB_SMALL ? list_ones(wide, l, features, f, next, full) : MB_SPECIALISE(wide, list_ones, l, features, f, next, full);
}

MB_MINSIZE uint32_t mb_cut(const mb_layer *l, const uint8_t *features, mb_list_place *place, uint16_t *list)
{
    uint16_t *next = list;
    const uint16_t *const full = list + MB_LISTED;
    const uint8_t *const cuts = l->own.thresholds;
    const uint32_t wide = l->input, shared = l->shared, inputs = l->inputs, planes = l->bits, eights = inputs & ~(STEP - 1u);
    uint32_t plane = place->plane, f = place->feature;
    if (!wide && inputs >= 24u && READABLE(features) && (shared || (READABLE(cuts) && (planes == 1u || READABLE(inputs))))) {
        while (plane != planes && full - next >= MB_ROOM_LEFT) {
            const uint32_t first = plane * inputs + f;
            f = (uint32_t)(list_some(shared, features + f, features + eights, cuts + (shared ? plane : first), first, &next, full) - features);
            if (f == eights && ++plane != planes) {
                f = 0;
            }
        }
    } else {
        plane = planes;
    }
    if (f < inputs && plane == planes) {
        f = list_rest(wide, l, features, f, &next, full);
    }
    place->plane = plane;
    place->feature = f;
    return mb_pad_list(list, next, l->units);
}

void mb_cut_bits(const mb_layer *l, const uint8_t *features, uint16_t *list, uint32_t *bits)
{
    mb_list_place next = {0, 0};
    memset(bits, 0, 4u * MB_WORDS(l->units));
    do {
        for (const uint16_t *on = list, *const end = list + mb_cut(l, features, &next, list); on != end; on++) {
            bits[*on >> 5] |= 1u << (*on & 31u);
        }
    } while (next.feature != l->inputs);
}
#endif
