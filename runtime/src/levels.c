/* The output of k-bit levels: scores, and the paper's rule on them (docs/learning-rule.md, "Output levels"). */
#include "layers.h"
#include "synapse.h"

#if MB_HAS_LEVELS

enum { OFFSET = 32, OFFSET_INPUT = 8 }; /* an offset counts as four inputs of 8; it learns as one of them */

/// Scores: |score| <= 128 (8 K + 32) ///

/* Levels of 5 bits are multiplied two at a time, as they lie in the stream. With h as level + 16 and x within -8..8,
 *
 *     (h_p + 2^15 h_q) (x_q + 2^15 x_p) = h_p x_q + 2^15 (h_p x_p + h_q x_q)    modulo 2^30
 *
 * A block is 32 levels, 5 words: five windows of six levels, with q = p + 3, and a last pair. The first part of its 16 products sums up
 * to at most 16 * 31 * 8 < 2^14 in magnitude, so 2^14 makes it a number of 15 bits; the second to twice as much, which fits 15 bits with
 * the sign. */
enum { BLOCK = 32, SIGNS = 0x21084210, BOTH = 0x000F801F }; /* the sign of each level; levels p and p + 3 */

/* The second factors of all products of `blocks` blocks of x. Returns 16 times the sum of x. */
MB_NOINLINE int32_t make_pairs(const int8_t *x, uint32_t blocks, uint32_t *pairs)
{
    int32_t all = 0;
    for (; blocks > 0; blocks--, x += 2) {
        uint32_t sum = 0; /* of 16 pairs: each part is at most 128 in magnitude */
#define PAIR(p, q) (*pairs = (uint32_t)x[q] + ((uint32_t)x[p] << 15), sum += *pairs++)
        for (const int8_t *const end = x + 30; x != end; x += 6) {
            PAIR(0, 3), PAIR(1, 4), PAIR(2, 5);
        }
        PAIR(0, 1);
#undef PAIR
        const int32_t low = (int32_t)(sum << 17) >> 17;
        all += low + ((int32_t)(sum - (uint32_t)low) >> 15);
    }
    return 16 * all;
}

#ifdef MB_THUMB1
/* The loop in C in blocks_sum, by hand for few registers, as thumb1.h. v is its window, rest has the high bits of the word before; the
 * products are in r12 and the sum in lr. */
#define T1_WORD                                                                                                                       \
    "mov %[t], %[shift]\nlsrs %[r], %[t]\nldm %[next]!, {%[q]}\nmov %[v], %[up]\nmuls %[v], %[q]\nadds %[r], %[v]\n"
#define T1_WINDOW                                                                                                                     \
    "movs %[r], %[q]\nmov %[t], %[signs]\neors %[v], %[t]\nmovs %[t], %[v]\nands %[t], %[both]\nldm %[pairs]!, {%[q]}\n"               \
    "muls %[q], %[t]\nadd r12, %[q]\nlsrs %[t], %[v], #5\nands %[t], %[both]\nldm %[pairs]!, {%[q]}\nmuls %[q], %[t]\nadd r12, %[q]\n" \
    "lsrs %[v], #10\nands %[v], %[both]\nldm %[pairs]!, {%[q]}\nmuls %[q], %[v]\nadd r12, %[q]\n"
#define T1_NEXT(left, right) "lsls %[v], %[r], #" left "\norrs %[v], %[rest]\nlsrs %[rest], %[r], #" right "\n" T1_WINDOW
#define T1_BLOCKS                                                                                                                     \
    "mov lr, %[rest]\n1: movs %[v], #1\nlsls %[v], #14\nmov r12, %[v]\n" T1_WORD "movs %[v], %[r]\nlsrs %[rest], %[r], #30\n" T1_WINDOW \
    T1_WORD T1_NEXT("2", "28") T1_WORD T1_NEXT("4", "26") T1_WORD T1_NEXT("6", "24") T1_WORD T1_NEXT("8", "22")                        \
    "lsrs %[t], %[rest], #5\nlsls %[t], #15\nmovs %[v], #31\nands %[v], %[rest]\nadds %[v], %[t]\nmov %[t], %[signs]\n"              \
    "ands %[t], %[both]\neors %[v], %[t]\nldm %[pairs]!, {%[q]}\nmuls %[q], %[v]\nadd %[q], r12\nlsls %[q], #2\nasrs %[q], #17\n"    \
    "add lr, %[q]\ncmp %[pairs], %[end]\nbeq 2f\nb 1b\n2: mov %[rest], lr\n"
#elif defined(__OPTIMIZE__) && defined(__thumb2__)
/* This is the loop in C in blocks_sum, by hand for 13 registers. */
#define T2_PRODUCTS                                                                                                                   \
    "eor %[v], %[v], %[signs]\nand %[t], %[both], %[v]\nmla %[sum], %[t], %[q], %[sum]\nldr %[q], [%[pairs]], #4\n"                    \
    "and %[t], %[both], %[v], lsr #5\nmla %[sum], %[t], %[q], %[sum]\nldr %[q], [%[pairs]], #4\nand %[t], %[both], %[v], lsr #10\n"     \
    "mla %[sum], %[t], %[q], %[sum]\n"
#define T2_WORD "lsr %[t], %[r], %[shift]\nldr %[r], [%[next]], #4\nldr %[q], [%[pairs]], #4\nmla %[t], %[r], %[up], %[t]\n"
#define T2_NEXT(left, right) T2_WORD "orr %[v], %[rest], %[t], lsl #" left "\nlsr %[rest], %[t], #" right "\n" T2_PRODUCTS
#define T2_BLOCK                                                                                                                      \
    T2_WORD "mov %[v], %[t]\nlsr %[rest], %[t], #30\n" T2_PRODUCTS T2_NEXT("2", "28") T2_NEXT("4", "26") T2_NEXT("6", "24")             \
    T2_NEXT("8", "22") "ldr %[q], [%[pairs]], #4\nlsr %[t], %[rest], #5\nand %[v], %[rest], #31\norr %[v], %[v], %[t], lsl #15\n"       \
    "and %[t], %[both], %[signs]\neor %[v], %[v], %[t]\nmla %[sum], %[v], %[q], %[sum]\n"
#endif

/* gcc needs more registers than there are where it inlines this; clang does not. */
#if defined(__clang__)
#define BLOCKS_INLINE MB_INLINE
#else
#define BLOCKS_INLINE MB_NOINLINE
#endif

/* Sum of h x over blocks, 1 or more, from bit `shift` of *next on. A level follows, so that every sixth word exists. */
BLOCKS_INLINE int32_t blocks_sum(const mb_word *next, uint32_t shift, const uint32_t *pairs, uint32_t blocks)
{
    const uint32_t up = 2u << (31u - shift); /* 2^(32 - shift), or 0 */
    int32_t sum = 0;
#ifdef T1_BLOCKS
    uint32_t r = *next++, q, v, t;
    __asm__(".syntax unified\n" T1_BLOCKS
            : [next] "+&l"(next), [pairs] "+&l"(pairs), [r] "+&l"(r), [rest] "+&l"(sum), [q] "=&l"(q), [v] "=&l"(v), [t] "=&l"(t)
            : [both] "l"(BOTH), [signs] "h"(SIGNS), [shift] "h"(shift), [up] "h"(up), [end] "h"(pairs + BLOCK / 2 * blocks)
            : "r12", "lr", "cc", "memory");
#elif defined(T2_BLOCK)
    for (uint32_t r = *next++, rest, q, v, t, products; blocks > 0; blocks--) {
        products = 1u << 14;
        __asm__(".syntax unified\n" T2_BLOCK
                : [next] "+&r"(next), [pairs] "+&r"(pairs), [r] "+&r"(r), [sum] "+&r"(products), [rest] "=&r"(rest), [q] "=&r"(q),
                  [v] "=&r"(v), [t] "=&r"(t)
                : [both] "r"(BOTH), [signs] "r"(SIGNS), [shift] "r"(shift), [up] "r"(up) : "memory");
        sum += (int32_t)(products << 2) >> 17;
    }
#else
    for (; blocks > 0; blocks--, next += 5, pairs++) {
        uint32_t products = 1u << 14, before = 0;
        MB_UNROLLED
        for (unsigned i = 0; i < 5u; i++, pairs += 3) {
            const uint32_t word = (next[i] >> shift) + next[i + 1u] * up;
            const uint32_t window = (before >> (31u - 2u * i) >> 1 | word << 2u * i) ^ SIGNS;
            products += (window & BOTH) * pairs[0] + (window >> 5 & BOTH) * pairs[1] + (window >> 10 & BOTH) * pairs[2];
            before = word;
        }
        products += (((before >> 22 & 31u) | before >> 27 << 15) ^ (SIGNS & BOTH)) * *pairs;
        sum += (int32_t)(products << 2) >> 17;
    }
#endif
    return sum;
}

/* Reads a stream level by level: the words that follow, and `have` bits of the word before, the lowest first. In a small program it is the
 * stream, and the last bit of the level before. */
typedef struct reader {
    const mb_word *next;
    uint32_t bits, have;
} reader;

MB_INLINE reader levels_from(const mb_word *stream, uint32_t at)
{
    const reader whole = {stream, 0, at - 1u}, r = {stream + (at >> 5) + 1, stream[at >> 5] >> (at & 31u), 32u - (at & 31u)};
    return MB_SMALL ? whole : r;
}

MB_INLINE int32_t next_level(reader *r, uint32_t k)
{
    if (MB_SMALL) {
        r->have += k;
        return mb_level_of((const uint8_t *)r->next, r->have, k);
    }
    uint32_t level = r->bits;
    r->bits >>= k;
    if (r->have < k) {
        level |= *r->next << r->have;
        r->bits = *r->next++ >> (k - r->have);
        r->have += 32u;
    }
    r->have -= k;
    return (int32_t)(level << (32u - k)) >> (32u - k);
}

#if MB_SMALL
#define SCORES_SIZE MB_MINSIZE
#else
#define SCORES_SIZE
#endif
SCORES_SIZE void mb_levels_scores(const mb_layer *l, const int8_t *x, uint32_t *pairs, int32_t *scores)
{
    const uint32_t k = l->bits, inputs = l->inputs, blocks = !MB_SMALL && k == 5u ? inputs / BLOCK : 0;
    const mb_word *const stream = (const mb_word *)(const void *)l->levels;
    const int32_t all = MB_SMALL ? 0 : make_pairs(x, blocks, pairs);
    for (uint32_t c = 0, at = 0; c < l->units; c++, at += (inputs + 1u) * k) {
        int32_t sum = blocks > 0 ? blocks_sum(stream + (at >> 5), at & 31u, pairs, blocks) - all : 0;
        reader levels = levels_from(stream, at + BLOCK * blocks * k);
        for (uint32_t j = BLOCK * blocks; j < inputs; j++) {
            sum += x[j] * next_level(&levels, k);
        }
        scores[c] = sum + OFFSET * next_level(&levels, k);
    }
}

/// Learning ///

#if MB_HAS_LEARN

enum { SMALLEST_ERROR = 16 }; /* 1/256: a class with a smaller error does not learn */

/* dose * 4096 + 2048 < 2^32 because dose < 2^20, so a step of one unit of x is below 2^20, |wanted| < 2^23, and no product or sum passes
 * 2^31. A level of -2^(k-1), which only a fault of RAM makes, has index 0. MB_OPAQUE makes the code shorter. */
uint32_t mb_levels_learn(const mb_layer *l, const int8_t *x, const int32_t *error, mb_counters *counters)
{
    const uint32_t k = l->bits;
    uint32_t last = k - 1u, visited = 0; /* last: the last bit of the next level */
    for (uint32_t left = l->units; left != 0; left--, error++) {
        const uint32_t sign = 0u - (*error < 0), size = ((uint32_t)*error ^ sign) - sign;
        uint32_t j = l->inputs;
        if (size < SMALLEST_ERROR) {
            last += (j + 1u) * k;
            continue;
        }
        const int32_t step = (int32_t)(sign - (((l->dose * size + 2048u) >> 12) ^ sign)); /* against the error */
        do {
            const int32_t input = j != 0 ? *x++ : OFFSET_INPUT;
            if (input != 0) {
                uint8_t *bytes = l->levels + (last >> 3) - 1; /* as mb_level_of, and written back */
                MB_OPAQUE(bytes);
                const uint32_t above = 23u - (last & 7u);
                const int32_t level = (int32_t)((bytes[0] | (uint32_t)bytes[1] << 8) << above) >> (32u - k);
                int32_t top = INT32_MAX >> (32u - k);
                MB_OPAQUE(top);
                int32_t wanted = step * input; /* in 1/65536 of a level */
                visited++;
                if (level * wanted < 0) { /* toward 0 */
                    wanted = (wanted * (int32_t)l->tables[mb_magnitude(level) & (uint32_t)top]) >> 8;
                }
                int32_t after = level + ((wanted + (int32_t)mb_draw(&counters->generator)) >> 16);
                after = after > top ? top : after;
                after = after < -top ? -top : after;
                if (after != level) {
                    const uint32_t flips = (uint32_t)(level ^ after) << (32u - k) >> above;
                    bytes[0] ^= (uint8_t)flips;
                    bytes[1] ^= (uint8_t)(flips >> 8);
                    MB_TELL_HOST(l, l->units - left, l->inputs - j);
                    counters->moved++;
                }
            }
            last += k;
            MB_OPAQUE(last);
        } while (j-- != 0);
        x -= l->inputs;
    }
    return visited;
}
#endif
#endif
