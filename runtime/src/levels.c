/* The output of k-bit levels: scores, and the paper's rule on them (docs/learning-rule.md, "Output levels"). */
#include "layers.h"
#include "synapse.h"

#if MB_HAS_GATES

enum { OFFSET = 32, OFFSET_INPUT = 8 }; /* an offset counts as four inputs of 8; it learns as one of them */

/// Scores ///

/* Reads a stream of levels. The lowest `have` bits of `bits`, 0..31, are the rest of the word before; those above them are 0. */
typedef struct mb_bit_reader {
    const mb_word *next;
    uint32_t bits, have;
} mb_bit_reader;

/* The next n bits, and above them 0 or later bits. It touches no word that holds none of the n. pre: 1 <= n <= 31 */
MB_INLINE uint32_t next_bits(mb_bit_reader *r, uint32_t n)
{
    uint32_t v = r->bits;
    if (r->have < n) {
        const uint32_t word = *r->next++;
        v |= word << r->have;
        r->bits = word >> (n - r->have);
        r->have += 32u;
    } else {
        r->bits >>= n;
    }
    r->have -= n;
    return v;
}

/* Levels of 5 bits are multiplied two at a time, as they lie in the stream. A window of it is six levels, and with h as level + 16,
 *
 *     (h_p + 2^15 h_(p+3)) (x_(p+3) + 2^15 x_p) = h_p x_(p+3) + 2^15 (h_p x_p + h_(p+3) x_(p+3))    modulo 2^30, p = 0, 1, 2
 *
 * In TURNS windows the first part sums up to at most 11 * 3 * 31 * 8 = 8184 < 2^14, so 2^14 makes it a number of 15 bits, and the second
 * part to twice as much, which fits 15 bits with the sign. */
enum { WINDOW = 6, PAIRS = 3, TURNS = 11 };

static void make_pairs(const int8_t *x, uint32_t windows, uint32_t *pairs)
{
    for (const uint32_t *const end = pairs + PAIRS * windows; pairs != end; x += WINDOW - PAIRS) {
        for (unsigned p = 0; p < PAIRS; p++, x++) {
            *pairs++ = (uint32_t)x[PAIRS] + ((uint32_t)*x << 15);
        }
    }
}

MB_INLINE int32_t windows_score(mb_bit_reader *levels, const uint32_t *pairs, uint32_t windows)
{
    int32_t sum = 0;
    while (windows > 0) {
        uint32_t products = 1u << 14, turns = windows < TURNS ? windows : TURNS;
        windows -= turns;
        do {
            const uint32_t window = next_bits(levels, 30) ^ 0x21084210u, both = 0x000F801Fu; /* the sign of each level; the first and fourth */
            products += (window & both) * pairs[0];
            products += ((window >> 5) & both) * pairs[1];
            products += ((window >> 10) & both) * pairs[2];
            pairs += PAIRS;
        } while (--turns > 0);
        sum += (int32_t)(products << 2) >> 17;
    }
    return sum;
}

/* |score| <= 128 (8 K + 32) */
void mb_levels_scores(const mb_layer *l, const int8_t *x, uint32_t *pairs, int32_t *scores)
{
    const uint32_t k = l->bits, inputs = l->inputs, windows = k == 5u ? inputs / WINDOW : 0;
    mb_bit_reader levels = {(const mb_word *)(const void *)l->levels, 0, 0};
    int32_t all = 0;
    make_pairs(x, windows, pairs);
    for (uint32_t j = 0; j < WINDOW * windows; j++) {
        all += 16 * x[j];
    }
    for (uint32_t c = 0; c < l->units; c++) {
        int32_t sum = windows_score(&levels, pairs, windows) - all;
        for (uint32_t j = WINDOW * windows; j <= inputs; j++) {
            sum += (j < inputs ? x[j] : OFFSET) * ((int32_t)(next_bits(&levels, k) << (32u - k)) >> (32u - k));
        }
        scores[c] = sum;
    }
}

/// Learning ///

#if MB_HAS_LEARN

enum { SMALLEST_ERROR = 16 }; /* 1/256: a class with a smaller error does not learn */

/* The level after a step of `wanted`, in 1/65536 of a level. |wanted| < 2^23, so no product or sum passes 2^31. A level of -2^(k-1),
 * which only a fault of RAM makes, has index 0. */
MB_INLINE int32_t stepped(const mb_half *weaken, int32_t top, int32_t level, int32_t wanted, uint32_t drawn)
{
    if ((level > 0 && wanted < 0) || (level < 0 && wanted > 0)) {
        wanted = (wanted * (int32_t)weaken[mb_magnitude(level) & (uint32_t)top]) >> 8;
    }
    level += (wanted + (int32_t)drawn) >> 16;
    return level > top ? top : level < -top ? -top : level;
}

/* dose * 4096 + 2048 < 2^32 because dose < 2^20, so a step of one unit of x is below 2^20. */
void mb_levels_learn(const mb_layer *l, const int8_t *x, const int32_t *error, uint32_t *generator, mb_learn_info *info)
{
    mb_word *const stream = (mb_word *)(void *)l->levels;
    const mb_half *const weaken = l->tables;
    const uint32_t k = l->bits, inputs = l->inputs;
    const int32_t top = (1 << (k - 1u)) - 1;
    uint32_t z = *generator, row = 0;
    for (uint32_t c = 0; c < l->units; c++, row += (inputs + 1u) * k) {
        const uint32_t size = mb_magnitude(error[c]);
        if (size < SMALLEST_ERROR) {
            continue;
        }
        const int32_t step = (int32_t)((l->dose * size + 2048u) >> 12), up = error[c] < 0 ? step : -step;
        mb_level_reader levels = mb_levels_from(stream, row);
        uint32_t at = row;
        for (uint32_t j = 0; j <= inputs; j++, at += k) {
            const int32_t level = mb_next_level(&levels, k), input = j < inputs ? x[j] : OFFSET_INPUT;
            if (input == 0) {
                continue;
            }
            const int32_t after = stepped(weaken, top, level, up * input, mb_draw(&z));
            info->visited++;
            if (after != level) { /* bits that the reader has passed */
                mb_change_level(stream, at, k, level, after);
                info->moved++;
            }
        }
    }
    *generator = z;
}

void mb_levels_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info)
{
    mb_counters *const counters = (mb_counters *)(void *)m->state;
    int32_t *const error = arena->learn_scratch;
    MB_MARK(MB_ERROR, arena->count);
    (void)mb_begin_step(m, arena, label, error, info);
    if (!info->skipped) {
        MB_MARK(MB_UPDATE, arena->count - 1u);
        mb_levels_learn(arena->layers + arena->count - 1, arena->values, error, &counters->generator, info);
        counters->moved += info->moved;
    }
    MB_MARK(MB_DONE, arena->count);
}
#endif
#endif
