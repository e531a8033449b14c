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

/* Error of this layer's inputs, of those whose bit `mask` has or of all, from the error of its units. sums: 8 tables of 16. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below, int32_t *sums);

/* A synapse where it lies: the words of its input in its row of units. */
typedef struct mb_synapse {
    mb_word *sign;
    uint32_t mask;  /* its bit in them */
    uint32_t lane;  /* the bit's number */
    uint32_t first; /* index of the levels' first word, or half word */
    uint32_t level; /* low k - 1 bits */
    int positive;
} mb_synapse;

MB_INLINE mb_synapse mb_synapse_at(const mb_layer *l, uint32_t half, uint32_t row, uint32_t input, uint32_t lane)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u;
    mb_synapse s;
    s.sign = mb_bit(l->sign, row * (l->inputs + 1u) + input, lane, half, &s.mask);
    s.lane = lane;
    s.first = (row * l->inputs + input) * low_bits;
    s.positive = (*s.sign & s.mask) != 0;
    s.level = 0;
    for (uint32_t p = 0; p < low_bits; p++) {
        s.level = s.level * 2u + mb_get_bit(l->levels, s.first + p, lane, half);
    }
    return s;
}

/* The table's entry for this step, or -1 where there is no level to step to. */
MB_INLINE int32_t mb_entry(const mb_layer *l, const mb_synapse *s, int up)
{
    const uint32_t top = (1u << (l->bits - 1u)) - 1u;
    const uint32_t r = s->positive ? s->level : top - s->level; /* two's complement: -1 is magnitude 0 */
    const int outward = up == s->positive;
    return outward && r == top ? -1 : (int32_t)l->tables[(outward ? 0u : top + 1u) + r];
}

MB_INLINE void mb_move(const mb_layer *l, uint32_t half, mb_synapse *s, uint32_t unit, int up, mb_learn_info *info)
{
    const uint32_t low_bits = (uint32_t)l->bits - 1u;
    const uint32_t changed = s->level ^ (up ? s->level + 1u : s->level - 1u);
    info->moved++;
    if (up != s->positive && s->level == (s->positive ? 0u : (1u << low_bits) - 1u)) {
        info->flipped++; /* 0 <-> -1: the weight flips, and all low bits with it */
        *s->sign ^= s->mask;
        if (l->input == MB_PLUS_MINUS) { /* the folded constant holds minus half the weight sum */
            mb_step_lanes(l->fold + (unit >> 5) * l->planes, l->planes, 1u << (unit & 31u), s->positive);
        }
#ifdef MB_WIDE
        if (l->wide != NULL) {
            mb_wide_flip(l, s->first / low_bits % l->inputs, unit);
        }
#endif
    }
    for (uint32_t p = low_bits, bits = changed; p > 0 && (bits & 1u); bits >>= 1) { /* a step changes a run of low bits */
        mb_flip_bit(l->levels, s->first + --p, s->lane, half);
    }
}

#endif
