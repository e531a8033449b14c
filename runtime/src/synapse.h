/* What both learning rules share: the generator, a unit's rate, and the one place where a level moves. */
#ifndef MB_SYNAPSE_H
#define MB_SYNAPSE_H

#include "layers.h"

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

/* What a unit of error 1 gets, before a shift to the right; nothing is to be learnt if `each` is 0. */
typedef struct mb_share {
    uint32_t each, shift;
} mb_share;

/* Of the magnitudes of a layer's errors. */
typedef struct mb_sizes {
    uint32_t sum, largest;
} mb_sizes;

mb_sizes mb_sizes_of(const int32_t *error, uint32_t units);
mb_share mb_share_of(const mb_layer *l, uint32_t sum, uint32_t true_error);

/* In 1/65536. */
static inline uint32_t mb_rate(mb_share share, int32_t error)
{
    const uint32_t rate = (share.each * mb_magnitude(error)) >> share.shift;
    return rate > 65535u ? 65535u : rate;
}

/* Softmax minus one-hot: error[c] comes in as the index into EXP, 0 for the best class, perhaps beyond its end. Returns the true error, 0..4096. */
uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label);

/* Error of this layer's inputs, of the `count` listed or, without a list, the first, from the error of its units; of the others
 * 0. tables: 8 of 16 signed sums. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below,
                 int32_t *tables);

/* The same of a layer whose words have 16 lanes, of the inputs in a mask or, without one, all. tables: 4 of 32. */
mb_sizes mb_backward_16(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below, int32_t *tables);

/* Of the open units in the mask of the lowest layer that learns one half stays, drawn, if its visits need no more of them. bits: its
 * packed inputs. */
void mb_ask_half(const mb_layer *lowest, const uint32_t *bits, uint32_t true_error, uint32_t *mask, uint32_t *generator);

/* mb_backward from signs drawn in the error's place. largest: of its magnitudes. entries: 3 words for each 32 units, a multiple of
 * eight times. */
void mb_backward_drawn(const mb_layer *l, const int32_t *error, uint32_t largest, const uint16_t *list, uint32_t count,
                       int32_t *below, uint32_t *entries, uint32_t *generator);

uint32_t mb_output_error(const int32_t *scores, uint32_t classes, uint16_t label, uint32_t temperature, int32_t *error);
mb_sizes mb_rescale(int32_t *error, uint32_t units);
void mb_update(const mb_layer *l, const int32_t *error, mb_share share, const uint32_t *bits, uint16_t *list, uint32_t *visits,
               uint32_t *generator, mb_learn_info *info);
void mb_vote_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info);

/* One synapse: its bit of the words of its sign and of its level's low bits. */
typedef struct mb_synapse {
    uint8_t *sign, *low; /* words, or half words */
    uint32_t unit, input, lane;
    uint32_t top;      /* the highest magnitude: k - 1 ones */
    uint32_t level;    /* two's complement: its low k - 1 bits */
    uint32_t positive; /* 1 if its highest is 0 */
} mb_synapse;

/* `half` and `four` are constants where it matters: words have 16 lanes; k is 4, all planes are read at once. */
MB_INLINE mb_synapse mb_synapse_at(const mb_layer *l, uint32_t half, uint32_t four, uint32_t unit, uint32_t input)
{
    const uint32_t low_bits = four ? 3u : (uint32_t)l->bits - 1u, bytes = half ? 2u : 4u, r = half ? unit >> 4 : unit >> 5;
    const uint32_t at = r * l->inputs + input; /* a row of signs has one more, that pads lists */
    mb_synapse s = {l->sign + (at + r) * bytes, l->levels + at * low_bits * bytes, unit, input, half ? unit & 15u : unit & 31u,
                    (1u << low_bits) - 1u, 0, 0};
    s.positive = (mb_lanes_at(s.sign, 0, half) >> s.lane) & 1u;
    if (four) {
        const uint32_t a = mb_lanes_at(s.low, 0, half), b = mb_lanes_at(s.low, 1, half), c = mb_lanes_at(s.low, 2, half);
        s.level = ((a >> s.lane) & 1u) * 4u + ((b >> s.lane) & 1u) * 2u + ((c >> s.lane) & 1u);
        return s;
    }
    MB_ROLLED
    for (uint32_t p = 0; p < low_bits; p++) {
        s.level = s.level * 2u + ((mb_lanes_at(s.low, p, half) >> s.lane) & 1u);
    }
    return s;
}

/* The table's entry for this step, or -1 where there is no level to step to. `up` is 0 or 1. */
MB_INLINE int32_t mb_entry(const mb_half *tables, mb_synapse s, uint32_t up)
{
    const uint32_t magnitude = s.level ^ (s.top & (s.positive - 1u));               /* -1 is magnitude 0 */
    const uint32_t index = magnitude + ((s.top + 1u) & (0u - (up ^ s.positive))); /* strengthen, then weaken */
    return index == s.top ? -1 : (int32_t)tables[index];
}

void mb_flip(const mb_layer *l, uint32_t unit, uint32_t input); /* its sign, and what else holds it */

MB_INLINE void mb_move(const mb_layer *l, uint32_t half, uint32_t four, mb_synapse s, uint32_t up, mb_learn_info *info)
{
    uint32_t changed = s.level ^ (s.level + 2u * up - 1u); /* a run of low bits, perhaps beyond the lowest k - 1 */
    info->moved++;
    if (changed > s.top) { /* 0 <-> -1: the weight flips, and all low bits with it */
        info->flipped++;
        mb_flip(l, s.unit, s.input);
    }
    if (four) {
        mb_flip_lane(s.low, 2, s.lane, half);
        if (changed & 2u) {
            mb_flip_lane(s.low, 1, s.lane, half);
        }
        if (changed & 4u) {
            mb_flip_lane(s.low, 0, s.lane, half);
        }
        return;
    }
    uint32_t p = (uint32_t)l->bits - 1u;
    MB_ROLLED
    for (changed &= s.top; changed != 0; changed >>= 1) {
        mb_flip_lane(s.low, --p, s.lane, half);
    }
}

#endif
