/* Four passes of a graded layer with sampled weights, side by side: docs/learning-rule.md, "Graded units and votes". */
#include "adder.h"
#include "fours.h"
#include "layers.h"
#include "synapse.h"
#include "thumb1.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
#define MORE(carry) 1
#else
#define MORE(carry) ((carry) != 0)
#endif

typedef char fours_fit[sizeof(mb_fours) == 4u * MB_FOURS_WORDS ? 1 : -1];

/* MB_ADD_PAIRS of adder.h: of (x1, p1) and (x2, p2), x comes into p1, and p into x1. */
#define MB_T2_PAIRS(sum, x1, p1, x2, p2)                                                                            \
    "eor %[" x1 "], %[" x1 "], %[" sum "]\n\torr %[" x1 "], %[" x1 "], %[" p1 "]\n\t"                              \
    "eor %[" sum "], %[" sum "], %[" p1 "]\n\teor %[" x2 "], %[" x2 "], %[" sum "]\n\t"                            \
    "bic %[" x2 "], %[" x2 "], %[" p2 "]\n\teor %[" p1 "], %[" sum "], %[" x2 "]\n\t"                              \
    "eor %[" sum "], %[" sum "], %[" p2 "]\n\teor %[" x1 "], %[" x1 "], %[" x2 "]\n\t"

/* v [3] += w[0] + .. + w[8 n - 1]. carry [n] = the carries of each eight. */
MB_INLINE void add_eights(mb_four *v, const mb_four *w, uint32_t n, mb_four *carry)
{
    const mb_four *const end = carry + n;
#if defined(__GNUC__) && defined(__thumb2__) /* as below, in an order that needs no memory for what lies between */
    uint32_t ones = v[0], twos = v[1], fours = v[2];
    do {
        uint32_t a, b, c, d, e, g;
        __asm__("ldr %[a], [%[w]]\n\tldr %[b], [%[w], #4]\n\tldr %[c], [%[w], #8]\n\tldr %[d], [%[w], #12]\n\t"
                "eor %[b], %[b], %[a]\n\teor %[d], %[d], %[c]\n\t" MB_T2_PAIRS("ones", "a", "b", "c", "d")
                "ldr %[c], [%[w], #16]\n\tldr %[d], [%[w], #20]\n\tldr %[e], [%[w], #24]\n\tldr %[g], [%[w], #28]\n\t"
                "eor %[d], %[d], %[c]\n\teor %[g], %[g], %[e]\n\t" MB_T2_PAIRS("ones", "c", "d", "e", "g")
                MB_T2_PAIRS("twos", "b", "a", "d", "c")
                "eor %[c], %[a], %[fours]\n\tand %[c], %[c], %[b]\n\teor %[c], %[c], %[a]\n\teor %[fours], %[fours], %[b]"
                : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [e] "=&r"(e), [g] "=&r"(g), [ones] "+&r"(ones),
                  [twos] "+&r"(twos), [fours] "+&r"(fours)
                : [w] "r"(w)
                : "memory");
        *carry++ = c;
        w += 8;
    } while (carry != end);
    v[0] = ones;
    v[1] = twos;
    v[2] = fours;
#elif defined(MB_THUMB1)
    do {
        uint32_t a, b, c, d, e, s;
        __asm__(".syntax unified\n"
                "ldr %[a], [%[w]]\nldr %[b], [%[w], #4]\nldr %[s], [%[v]]\neors %[b], %[a]\n" MB_T1_FIRST("s", "a", "b")
                "ldr %[b], [%[w], #8]\nldr %[c], [%[w], #12]\neors %[c], %[b]\n" MB_T1_SECOND("s", "a", "b", "c") /* (b, a) */
                "ldr %[c], [%[w], #16]\nldr %[d], [%[w], #20]\neors %[d], %[c]\n" MB_T1_FIRST("s", "c", "d")
                "ldr %[d], [%[w], #24]\nldr %[e], [%[w], #28]\neors %[e], %[d]\n" MB_T1_SECOND("s", "c", "d", "e") /* (d, c) */
                "str %[s], [%[v]]\nldr %[s], [%[v], #4]\n" MB_T1_FIRST("s", "b", "a") MB_T1_SECOND("s", "b", "d", "c") /* (d, b) */
                "str %[s], [%[v], #4]\nldr %[s], [%[v], #8]\n"
                "movs %[c], %[d]\neors %[c], %[s]\nands %[c], %[b]\neors %[c], %[d]\neors %[s], %[b]\nstr %[s], [%[v], #8]\n"
                : [a] "=&l"(a), [b] "=&l"(b), [c] "=&l"(c), [d] "=&l"(d), [e] "=&l"(e), [s] "=&l"(s)
                : [v] "l"(v), [w] "l"(w)
                : "cc", "memory");
        *carry++ = c;
        w += 8;
    } while (carry != end);
#else
    mb_four ones = v[0], twos = v[1], fours = v[2];
    do {
        MB_ADD_EIGHT_OF(mb_four, *carry, ones, twos, fours, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
        carry++;
        w += 8;
    } while (carry != end);
    v[0] = ones;
    v[1] = twos;
    v[2] = fours;
#endif
}

/* Adds eight carries. */
static void add_carries(mb_fours *f)
{
    for (unsigned q = 0; q < MB_PARTS; q++) {
        mb_four *v = f->v + q * MB_FOURS_STEP + 5u + f->above, *const end = f->v + q * MB_FOURS_STEP + f->planes, carry;
        add_eights(v, f->carries + 8u * q, 1, &carry);
        for (v += 3; v != end && MORE(carry); v++) {
            const mb_four sum = *v;
            *v = sum ^ carry;
            carry &= sum;
        }
    }
    f->waiting = 0;
}

void mb_add_fours(mb_fours *f, uint32_t count)
{
    const int last = count < MB_FOURS_AT_ONCE;
    const uint32_t eights = (count + 7u) >> 3;
    for (; count < 8u * eights; count++) {
        MB_PUT(f->words, MB_FOURS_AT_ONCE, count, 0, 0, 0, 0);
    }
    if (count != 0) {
        for (uint32_t q = 0; q < MB_PARTS; q++) {
            add_eights(f->v + q * MB_FOURS_STEP + 2u + f->above, f->words + q * MB_FOURS_AT_ONCE, eights,
                       f->carries + 8u * q + f->waiting);
        }
        f->waiting += eights; /* post: <= 8, because only the last words may be an odd number of eights */
    }
    if (f->waiting == 8u || (last && f->waiting != 0)) {
        for (uint32_t i = f->waiting; i < 8u; i++) {
            MB_PUT(f->carries, 8u, i, 0, 0, 0, 0);
        }
        add_carries(f);
    }
}

/* words [4][MB_FOURS_AT_ONCE] = the weights of `count` inputs in the four passes: each unsure one is flipped in one of them. pre: count > 0. */
MB_NOINLINE void draw_words(const mb_word *sign, const mb_word *top, uint32_t low_bits, const uint16_t *list, mb_four *words,
                            uint32_t count, uint32_t *generator)
{
    uint32_t z = *generator;
    const uint16_t *const end = list + count;
    do {
        const uint32_t j = *list++, s = sign[j], unsure = s ^ top[j * low_bits];
        const uint32_t one = unsure & mb_draw32(&z), none = unsure ^ one, other = z << 13 | z >> 19;
        const uint32_t a = s ^ (one & other), b = s ^ (none & other);
        MB_PUT(words, MB_FOURS_AT_ONCE, 0, a, a ^ one, b, b ^ none);
        words++;
    } while (list != end);
    *generator = z;
}

void mb_graded_passes(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *generator, int32_t *values, mb_fours *f)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u, planes = l->planes, inputs = l->inputs, units = l->units;
    const mb_word *sign = (const mb_word *)(const void *)l->sign, *fold = l->fold;
    const mb_word *top = (const mb_word *)(const void *)l->levels;
    uint32_t z = *generator;
    f->planes = planes + 1u < MB_FOURS_MIN ? MB_FOURS_MIN : planes + 1u;
    f->waiting = f->above = 0;
    for (uint32_t first = 0; first < units; first += 32u, sign += inputs + 1u, top += inputs * low_bits, fold += planes) {
        const uint16_t *next = list;
        uint32_t left = active, count;
        MB_PUT(f->v, MB_FOURS_STEP, 0, 0, 0, 0, 0); /* V = 2 (fold + 2 sum - n) */
        for (unsigned p = 1; p < f->planes; p++) {
            const uint32_t start = p <= planes ? fold[p - 1u] : 0;
            MB_PUT(f->v, MB_FOURS_STEP, p, start, start, start, start);
        }
        do {
            count = left < MB_FOURS_AT_ONCE ? left : MB_FOURS_AT_ONCE;
            if (count != 0) {
                draw_words(sign, top, low_bits, next, f->words, count, &z);
            }
            next += count;
            left -= count;
            mb_add_fours(f, count);
        } while (count == MB_FOURS_AT_ONCE);
        for (unsigned q = 0; q < 4u; q++) {
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
            uint32_t column[MB_FOURS_STEP];
            for (unsigned p = 0; p <= planes; p++) {
                column[p] = MB_GET(f->v, MB_FOURS_STEP, p, q);
            }
#else
            const uint32_t *const column = f->v + MB_FOURS_STEP * q;
#endif
            mb_lane_values(column, planes + 1u, 2u * active, values + q * units + first, units - first < 32u ? units - first : 32u);
        }
    }
    *generator = z;
}
#endif
