/* Four passes of a graded layer with sampled weights, side by side: docs/learning-rule.md, "Graded units and votes". */
#include "adder.h"
#include "fours.h"
#include "layers.h"
#include "synapse.h"
#include "thumb1.h"

#if MB_HAS_GRADED && MB_HAS_LEARN

typedef char fours_fit[sizeof(mb_fours) <= 4u * MB_FOURS_WORDS ? 1 : -1];

/* By hand where a sum is one word: with vectors of four sums (fours.h) C is as fast. */
#if defined(__OPTIMIZE__) && defined(__thumb2__) && !defined(__ARM_NEON)
#define T2_FOURS 1
/* Four words of a sum pass into it as by MB_ADD_PAIRS of adder.h: (a, b) and (c, d) are its pairs. Then (x, p) is (c, a). */
#define T2_PAIRS(sum, a, b, c, d)                                                                                     \
    "eors " a ", " sum "; eors " sum ", " b "; orrs " a ", " b "; eors " c ", " sum "; bics " c ", " d "; eors " a ", " c \
    "; eors " c ", " sum "; eors " sum ", " d "\n"
#define T2_FOUR(a, b, c, d)                                                                                            \
    "ldm r1!, {" a ", " b ", " c ", " d "}; eors " b ", " a "; eors " d ", " c "\n" T2_PAIRS("r10", a, b, c, d)
#elif defined(MB_THUMB1)
#define T1_LOAD(a, b, w0, w1) "ldr %[" a "], [%[w], #" w0 "]\nldr %[" b "], [%[w], #" w1 "]\neors %[" b "], %[" a "]\n"
#endif

/* Adds 8 n words to each sum: w to the three planes of v, for the first sum. carry: of each eight; it may be w. pre: 0 < n <= 4. */
MB_NOINLINE void add_words(mb_four *v, const mb_four *w, uint32_t n, mb_four *carry)
{
#ifdef T2_FOURS
    register mb_four *r0 __asm__("r0") = v, *r3 __asm__("r3") = carry;
    register const mb_four *r1 __asm__("r1") = w;
    register uint32_t turns __asm__("r2") = n + 8u * (MB_PARTS - 1u);
    __asm__ volatile("push {r7}\n" /* some compilers keep it as frame pointer */
            "1: ldm r0, {r10, r11, r12}; lsls lr, r2, #29\n"
            "2: " T2_FOUR("r4", "r5", "r6", "r7") T2_FOUR("r5", "r7", "r8", "r9") /* (r6, r4), (r8, r5) */
            T2_PAIRS("r11", "r6", "r4", "r8", "r5") /* (r8, r6) */
            "eor r4, r8, r12; subs lr, #0x20000000; and r4, r6; eor r12, r6; eor r4, r8; str r4, [r3], #4; bne 2b\n"
            "stm r0, {r10, r11, r12}; and r4, r2, #7; add r0, %[step]; add r1, %[row]; sub r1, r1, r4, lsl #5\n"
            "add r3, %[row]; sub r3, r3, r4, lsl #2; subs r2, #8; bpl 1b\npop {r7}"
            : "+r"(r0), "+r"(r1), "+r"(turns), "+r"(r3)
            : [step] "I"(4 * MB_FOURS_STEP), [row] "I"(4 * MB_FOURS_ROW)
            : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
#else
    for (uint32_t q = 0; q < MB_PARTS; q++, v += MB_FOURS_STEP, w += MB_FOURS_ROW, carry += MB_FOURS_ROW) {
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

/* Adds the carries that wait: at most eight of each sum. */
static void add_waiting(mb_fours *f)
{
    mb_four *carry = f->words + MB_FOURS_CARRIES;
    uint32_t first = 5u + f->above;
    if (f->waiting > 1u) {
        for (uint32_t i = f->waiting; i < 8u; i++) {
            MB_PUT(carry, MB_FOURS_ROW, i, 0, 0, 0, 0);
        }
        add_words(f->v + first, carry, 1, carry);
        first += 3u;
    }
    for (mb_four *v = f->v, *const end = v + MB_FOURS_STEP * MB_PARTS; v != end; v += MB_FOURS_STEP, carry += MB_FOURS_ROW) {
        mb_four left = *carry, *p = v + first, *const top = v + f->planes;
        do {
            const mb_four sum = *p;
            *p++ = sum ^ left;
            left &= sum;
        } while (p != top);
    }
    f->waiting = 0;
}

void mb_add_fours(mb_fours *f, uint32_t count)
{
    const int last = count < MB_FOURS_AT_ONCE;
    const uint32_t eights = (count + 7u) >> 3;
    for (; count < 8u * eights; count++) {
        MB_PUT(f->words, MB_FOURS_ROW, count, 0, 0, 0, 0);
    }
    if (eights != 0) {
        add_words(f->v + 2u + f->above, f->words, eights, f->words + MB_FOURS_CARRIES + f->waiting);
        f->waiting += eights; /* post: <= 8, because only the last words can be fewer */
    }
    if (f->waiting == 8u || (last && f->waiting != 0)) {
        add_waiting(f);
    }
}

/* words [4][MB_FOURS_ROW] = the weights of `count` inputs in the four passes: each unsure one is flipped in one of them. pre: count > 0. */
MB_NOINLINE void draw_words(const mb_word *sign, const mb_word *top, uint32_t low_bits, const uint16_t *list, mb_four *words,
                            uint32_t count, uint32_t *generator)
{
    uint32_t z = *generator;
    const uint16_t *const end = list + count;
    const uint8_t *const tops = (const uint8_t *)top;
    low_bits *= 4u;
    MB_OPAQUE(low_bits);
    do {
        const uint32_t j = *list++, s = sign[j], unsure = s ^ *(const mb_word *)(const void *)(tops + j * low_bits);
        const uint32_t one = unsure & mb_draw32(&z), none = unsure ^ one, other = z << 13 | z >> 19;
        const uint32_t a = s ^ (one & other), b = s ^ (none & other);
        MB_PUT(words, MB_FOURS_ROW, 0, a, a ^ one, b, b ^ none);
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
