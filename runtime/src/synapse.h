/* What both learning rules share: the generator, a unit's rate, and the one place where a level moves. */
#ifndef MB_SYNAPSE_H
#define MB_SYNAPSE_H

#include "layer.h"

static inline uint32_t mb_draw32(uint32_t *generator) /* xorshift32 */
{
    uint32_t x = *generator;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *generator = x;
    return x;
}

static inline uint32_t mb_draw(uint32_t *generator) /* its upper 16 bits */
{
    return mb_draw32(generator) >> 16;
}

static inline uint32_t mb_magnitude(int32_t x)
{
    return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
}

/* What a unit of error 1 gets, before a shift to the right; nothing is to be learnt if `each` is 0. */
typedef struct mb_share {
    uint32_t each, shift;
} mb_share;

mb_share mb_share_of(const mb_layer *l, const int32_t *error, uint32_t true_error);

/* In 1/65536. */
static inline uint32_t mb_rate(mb_share share, int32_t error)
{
    const uint32_t rate = (share.each * mb_magnitude(error)) >> share.shift;
    return rate > 65535u ? 65535u : rate;
}

/* Softmax minus one-hot: error[c] comes in as the index into EXP, 0 for the best class. Returns the true error, 0..4096. */
uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label);

/* Error of this layer's inputs, of the `count` listed or, without a list, the first, from the error of its units; of the others
 * 0. tables: 8 of 16 signed sums. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below,
                 int32_t *tables);

/* The same from signs drawn in its place. entries: 3 words for each 32 units, a multiple of eight times. */
void mb_backward_drawn(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below,
                       uint32_t *entries, uint32_t *generator);

/* The synapses of one unit: its bit of the words of all inputs. */
typedef struct mb_row {
    uint8_t *sign, *low; /* words, or half words, of signs and of the levels' low bits */
    uint32_t lane;       /* the bit's number in them */
    uint32_t low_bits, top; /* k - 1, and as many ones: the highest magnitude */
} mb_row;

MB_INLINE mb_row mb_row_of(const mb_layer *l, uint32_t half, uint32_t unit)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u, bytes = half ? 2u : 4u, r = half ? unit >> 4 : unit >> 5;
    const mb_row row = {l->sign + r * (l->inputs + 1u) * bytes, l->levels + r * l->inputs * low_bits * bytes,
                        half ? unit & 15u : unit & 31u, low_bits, (1u << low_bits) - 1u};
    return row;
}

/* A synapse's level, two's complement. */
typedef struct mb_synapse {
    uint32_t input, level; /* its low k - 1 bits */
    uint32_t positive;     /* 1 if its highest is 0 */
} mb_synapse;

MB_INLINE mb_synapse mb_synapse_at(const mb_row *row, uint32_t half, uint32_t input)
{
    mb_synapse s = {input, 0, (mb_lanes_at(row->sign, input, half) >> row->lane) & 1u};
    uint32_t p = input * row->low_bits;
    MB_ROLLED
    for (uint32_t left = row->low_bits; left > 0; left--) {
        s.level = s.level * 2u + ((mb_lanes_at(row->low, p++, half) >> row->lane) & 1u);
    }
    return s;
}

/* The table's entry for this step, or -1 where there is no level to step to. `up` is 0 or 1. */
MB_INLINE int32_t mb_entry(const mb_layer *l, const mb_row *row, mb_synapse s, uint32_t up)
{
    const uint32_t top = row->top, magnitude = s.level ^ (top & (s.positive - 1u)); /* -1 is magnitude 0 */
    const uint32_t index = magnitude + ((top + 1u) & (0u - (up ^ s.positive)));     /* strengthen, then weaken */
    return index == top ? -1 : (int32_t)l->tables[index];
}

MB_INLINE void mb_move(const mb_layer *l, const mb_row *row, uint32_t half, mb_synapse s, uint32_t unit, uint32_t up,
                       mb_learn_info *info)
{
    uint32_t changed = s.level ^ (s.level + 2u * up - 1u); /* a run of low bits, perhaps beyond the lowest k - 1 */
    info->moved++;
    if (changed > row->top) {
        info->flipped++; /* 0 <-> -1: the weight flips, and all low bits with it */
        mb_flip_lane(row->sign, s.input, row->lane, half);
        if (l->input == MB_PLUS_MINUS) { /* the folded constant holds minus half the weight sum */
            mb_step_lanes(l->fold + (unit >> 5) * l->planes, l->planes, 1u << (unit & 31u), (int)s.positive);
        }
#ifdef MB_WIDE
        if (l->wide != NULL) {
            mb_wide_flip(l, s.input, unit);
        }
#endif
    }
    uint32_t p = (s.input + 1u) * row->low_bits;
    MB_ROLLED
    for (changed &= row->top; changed != 0; changed >>= 1) {
        mb_flip_lane(row->low, --p, row->lane, half);
    }
}

#endif
