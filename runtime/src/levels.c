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
static int32_t make_pairs(const int8_t *x, uint32_t blocks, uint32_t *pairs)
{
    int32_t all = 0;
    for (; blocks > 0; blocks--) {
        for (unsigned window = 0; window < 5u; window++, x += 6, pairs += 3) {
            const int32_t a = x[0], b = x[1], c = x[2], d = x[3], e = x[4], f = x[5];
            pairs[0] = (uint32_t)d + ((uint32_t)a << 15);
            pairs[1] = (uint32_t)e + ((uint32_t)b << 15);
            pairs[2] = (uint32_t)f + ((uint32_t)c << 15);
            all += a + b + c + d + e + f;
        }
        const int32_t a = x[0], b = x[1];
        *pairs++ = (uint32_t)b + ((uint32_t)a << 15);
        all += a + b;
        x += 2;
    }
    return 16 * all;
}

MB_INLINE uint32_t window_products(uint32_t window, const uint32_t *pairs)
{
    window ^= SIGNS;
    return (window & BOTH) * pairs[0] + ((window >> 5) & BOTH) * pairs[1] + ((window >> 10) & BOTH) * pairs[2];
}

/* gcc needs more registers than there are where it inlines this; clang does not. */
#if defined(__clang__)
#define BLOCKS_SUM MB_INLINE int32_t blocks_sum
#else
#define BLOCKS_SUM MB_NOINLINE int32_t blocks_sum
#endif

/* Sum of h x over blocks, 1 or more, whose first level begins at bit `shift` of *next. A level follows, so that every sixth word exists. */
BLOCKS_SUM(const mb_word *next, uint32_t shift, const uint32_t *pairs, uint32_t blocks)
{
    const uint32_t up = 2u << (31u - shift); /* 2^(32 - shift), or 0 */
    int32_t sum = 0;
    do {
#define WORD(i) ((next[i] >> shift) + next[(i) + 1] * up)
        const uint32_t a = WORD(0);
        uint32_t products = (1u << 14) + window_products(a, pairs);
        const uint32_t b = WORD(1);
        products += window_products(a >> 30 | b << 2, pairs + 3);
        const uint32_t c = WORD(2);
        products += window_products(b >> 28 | c << 4, pairs + 6);
        const uint32_t d = WORD(3);
        products += window_products(c >> 26 | d << 6, pairs + 9);
        const uint32_t e = WORD(4);
        products += window_products(d >> 24 | e << 8, pairs + 12);
        products += (((e >> 22 & 31u) | e >> 27 << 15) ^ (SIGNS & BOTH)) * pairs[15];
        sum += (int32_t)(products << 2) >> 17;
        next += 5;
        pairs += BLOCK / 2;
    } while (--blocks > 0);
#undef WORD
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
#define SCORES MB_MINSIZE void mb_levels_scores
#else
#define SCORES void mb_levels_scores
#endif
SCORES(const mb_layer *l, const int8_t *x, uint32_t *pairs, int32_t *scores)
{
    const uint32_t k = l->bits, inputs = l->inputs, blocks = !MB_SMALL && k == 5u ? inputs / BLOCK : 0;
    const mb_word *const stream = (const mb_word *)(const void *)l->levels;
    const int32_t all = make_pairs(x, blocks, pairs);
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
                uint8_t *bytes = l->levels + (last >> 3) - 1; /* as mb_level_of */
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
