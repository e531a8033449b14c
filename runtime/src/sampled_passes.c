/* Four passes of a graded layer with sampled weights, side by side: docs/learning-rule.md, "Graded units and votes". */
#include "adder.h"
#include "fours.h"
#include "layers.h"
#include "synapse.h"
#include "thumb1.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

typedef char fours_fit[sizeof(mb_fours) <= 4u * MB_FOURS_WORDS ? 1 : -1];

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
#define LANES mb_four
#define ADD_EIGHT static void add_eight
#define MORE(carry) 1
#include "add_eight.inc"
#else
#define add_eight mb_add_eight
#endif

/* Adds the carries that wait: eight of each sum. */
static void add_waiting(mb_fours *f)
{
    for (unsigned q = 0; q < MB_PARTS; q++) {
        add_eight(f->v + q * MB_FOURS_STEP + 5u + f->above, f->planes - 5u - f->above, f->carries + 8u * q);
    }
    f->waiting = 0;
}

/* By hand where a sum is one word: with vectors of four sums (fours.h) C is as fast. */
#if defined(__OPTIMIZE__) && defined(__thumb2__) && !defined(__ARM_NEON)
#define T2_FOURS 1
/* Two words whose difference comes into b, added to a sum: the first half of MB_ADD_PAIRS of adder.h. */
#define T2_FIRST(sum, a, b) "eor " a ", " a ", " sum "\n\torr " a ", " a ", " b "\n\teor " sum ", " sum ", " b "\n\t"
/* Its second half for the words c and d ^ c. Returns x in c, and p in a. */
#define T2_SECOND(sum, a, c, d)                                                                                         \
    "eor " c ", " c ", " sum "\n\tbic " c ", " c ", " d "\n\teor " a ", " a ", " c "\n\teor " c ", " sum ", " c "\n\teor " sum \
    ", " sum ", " d "\n\t"
#define T2_LOAD(a, b, w0, w1) "ldr " a ", [%[w], #" w0 "]\n\tldr " b ", [%[w], #" w1 "]\n\teor " b ", " b ", " a "\n\t"
/* Adds eight words. The carry comes into c. */
#define T2_EIGHT(w0, w1, w2, w3, w4, w5, w6, w7)                                                                        \
    T2_LOAD("%[a]", "%[b]", w0, w1) T2_FIRST("%[ones]", "%[a]", "%[b]")                                                 \
    T2_LOAD("%[b]", "%[c]", w2, w3) T2_SECOND("%[ones]", "%[a]", "%[b]", "%[c]") /* (b, a) */                           \
    T2_LOAD("%[c]", "%[d]", w4, w5) T2_FIRST("%[ones]", "%[c]", "%[d]")                                                 \
    T2_LOAD("%[d]", "%[e]", w6, w7) T2_SECOND("%[ones]", "%[c]", "%[d]", "%[e]") /* (d, c) */                           \
    T2_FIRST("%[twos]", "%[b]", "%[a]") T2_SECOND("%[twos]", "%[b]", "%[d]", "%[c]") /* (d, b) */                       \
    "eor %[c], %[d], %[fours]\n\tand %[c], %[c], %[b]\n\teor %[c], %[c], %[d]\n\teor %[fours], %[fours], %[b]\n\t"
#elif defined(MB_THUMB1)
#define T1_LOAD(a, b, w0, w1) "ldr %[" a "], [%[w], #" w0 "]\nldr %[" b "], [%[w], #" w1 "]\neors %[" b "], %[" a "]\n"
#endif

/* Adds 8 n words to each sum: w to the three planes of v, for the first sum. carry: of each eight. */
static void add_words(mb_four *v, const mb_four *w, uint32_t n, mb_four *carry)
{
#ifdef T2_FOURS /* n <= 2 */
    uint32_t a, b, c, d, e, ones, twos, fours, turns = 2u * MB_PARTS - 3u + n; /* its lowest bit is n - 1 */
    __asm__ volatile("1:\n\tldr %[ones], [%[v]]\n\tldr %[twos], [%[v], #4]\n\tldr %[fours], [%[v], #8]\n\t"
            T2_EIGHT("0", "4", "8", "12", "16", "20", "24", "28") "str %[c], [%[carry]]\n\ttst %[turns], #1\n\tbeq 2f\n\t"
            T2_EIGHT("32", "36", "40", "44", "48", "52", "56", "60") "str %[c], [%[carry], #4]\n"
            "2:\n\tstr %[ones], [%[v]]\n\tstr %[twos], [%[v], #4]\n\tstr %[fours], [%[v], #8]\n\t"
            "add %[v], %[v], %[step]\n\tadd %[w], %[w], #64\n\tadd %[carry], %[carry], #32\n\tsubs %[turns], %[turns], #2\n\tbpl 1b"
            : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [e] "=&r"(e), [ones] "=&r"(ones), [twos] "=&r"(twos),
              [fours] "=&r"(fours), [turns] "+&r"(turns), [v] "+&r"(v), [w] "+&r"(w), [carry] "+&r"(carry)
            : [step] "I"(4 * MB_FOURS_STEP)
            : "cc", "memory");
#else
    for (uint32_t q = 0; q < MB_PARTS; q++, v += MB_FOURS_STEP, w += MB_FOURS_AT_ONCE, carry += 8) {
#if defined(MB_THUMB1) /* n is 1 */
        uint32_t a, b, c, d, e, s;
        __asm__ volatile(".syntax unified\nldr %[s], [%[v]]\n"
                T1_LOAD("a", "b", "0", "4") MB_T1_FIRST("s", "a", "b")
                T1_LOAD("b", "c", "8", "12") MB_T1_SECOND("s", "a", "b", "c") /* (b, a) */
                T1_LOAD("c", "d", "16", "20") MB_T1_FIRST("s", "c", "d")
                T1_LOAD("d", "e", "24", "28") MB_T1_SECOND("s", "c", "d", "e") /* (d, c) */
                "str %[s], [%[v]]\nldr %[s], [%[v], #4]\n" MB_T1_FIRST("s", "b", "a") MB_T1_SECOND("s", "b", "d", "c") /* (d, b) */
                "str %[s], [%[v], #4]\nldr %[s], [%[v], #8]\n"
                "movs %[c], %[d]\neors %[c], %[s]\nands %[c], %[b]\neors %[c], %[d]\neors %[s], %[b]\nstr %[s], [%[v], #8]\n"
                : [a] "=&l"(a), [b] "=&l"(b), [c] "=&l"(c), [d] "=&l"(d), [e] "=&l"(e), [s] "=&l"(s)
                : [v] "l"(v), [w] "l"(w)
                : "cc", "memory");
        *carry = c;
        (void)n;
#else
        mb_four ones = v[0], twos = v[1], fours = v[2];
        const mb_four *x = w;
        for (uint32_t i = 0; i < n; i++, x += 8) {
            MB_ADD_EIGHT_OF(mb_four, carry[i], ones, twos, fours, x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
        }
        v[0] = ones;
        v[1] = twos;
        v[2] = fours;
#endif
    }
#endif
}

void mb_add_fours(mb_fours *f, uint32_t count)
{
    const int last = count < MB_FOURS_AT_ONCE;
    const uint32_t eights = (count + 7u) >> 3;
    for (; count < 8u * eights; count++) {
        MB_PUT(f->words, MB_FOURS_AT_ONCE, count, 0, 0, 0, 0);
    }
    if (count != 0) {
        add_words(f->v + 2u + f->above, f->words, eights, f->carries + f->waiting);
        f->waiting += eights; /* post: <= 8, because only the last words can be fewer */
    }
    if (f->waiting == 8u || (last && f->waiting != 0)) {
        for (uint32_t i = f->waiting; i < 8u; i++) {
            MB_PUT(f->carries, 8u, i, 0, 0, 0, 0);
        }
        add_waiting(f);
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
            /* cppcheck-suppress knownConditionTrueFalse -- 0 only for an empty list, or one that ended with a whole round */
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
