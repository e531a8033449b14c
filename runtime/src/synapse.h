/* One synapse: the generator, a unit's visit rate, and the one place where a hidden level moves. */
#ifndef MB_SYNAPSE_H
#define MB_SYNAPSE_H

#include "learn.h"

/* Draws 32 bits by xorshift32. pre and post: *generator != 0. */
static inline uint32_t mb_draw32(uint32_t *generator)
{
    uint32_t x = *generator;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *generator = x;
    return x;
}

/* Draws 16 bits: the upper ones of mb_draw32. */
static inline uint32_t mb_draw(uint32_t *generator)
{
    return mb_draw32(generator) >> 16;
}

/* Visit rate of a unit with this error, 0..65535 in 1/65536. */
static inline uint32_t mb_unit_rate(mb_visit_rate rate, int32_t error)
{
    uint32_t unit = (rate.per_error * mb_magnitude(error)) >> rate.shift; /* < 2^24, because mb_visit_rate_of shifts by at least 8 */
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT)
    __asm__("usat %0, #16, %0" : "+r"(unit));
    return unit;
#else
    return unit > 65535u ? 65535u : unit;
#endif
}

/* One synapse: bit `lane` of its sign word and of the k - 1 words of its hidden level. */
typedef struct mb_synapse {
    uint8_t *sign, *low; /* words of 32 units, or of 16 */
    uint32_t unit, input, lane;
    uint32_t top;      /* the highest magnitude, 2^(k-1) - 1 */
    uint32_t level;    /* low k - 1 bits of the hidden level in two's complement */
    uint32_t positive; /* 1 if the level is >= 0 */
} mb_synapse;

/* Reads a synapse. lanes16: there is one row, of words for 16 units. four: k = 4, so that all planes are read at once. Callers on hot
 * paths pass both as constants. */
MB_INLINE mb_synapse mb_synapse_at(const mb_layer *l, uint32_t lanes16, uint32_t four, uint32_t unit, uint32_t input)
{
    const uint32_t low_bits = four ? 3u : (uint32_t)l->bits - 1u, bytes = lanes16 ? 2u : 4u, r = lanes16 ? 0 : unit >> 5;
    const uint32_t at = r * l->inputs + input; /* a row of signs has one word more, which pads lists */
    mb_synapse s = {l->sign + (at + r) * bytes, l->levels + at * low_bits * bytes, unit, input, lanes16 ? unit : unit & 31u,
                    (1u << low_bits) - 1u, 0, 0};
    s.positive = (mb_lanes_at(s.sign, 0, lanes16) >> s.lane) & 1u;
    if (four) {
        MB_OPAQUE(s.low);
        const uint32_t a = mb_lanes_at(s.low, 0, lanes16), b = mb_lanes_at(s.low, 1, lanes16), c = mb_lanes_at(s.low, 2, lanes16);
        s.level = ((a >> s.lane) & 1u) * 4u + ((b >> s.lane) & 1u) * 2u + ((c >> s.lane) & 1u);
        return s;
    }
    uint32_t p = 0;
    MB_ROLLED
    do {
        s.level = s.level * 2u + ((mb_lanes_at(s.low, p, lanes16) >> s.lane) & 1u);
    } while (++p != low_bits);
    return s;
}

/* The table entry of a move up (1) or down (0), or -1 where the level is the last one in this direction. */
MB_INLINE int32_t mb_entry(const mb_half *tables, mb_synapse s, uint32_t up)
{
    const uint32_t magnitude = s.level ^ (s.top & (s.positive - 1u));               /* level -1 has magnitude 0 */
    const uint32_t index = magnitude + (s.top + 1u) * (up ^ s.positive); /* strengthen[], then weaken[] */
    return index == s.top ? -1 : (int32_t)tables[index];
}

/* Flips a weight: its sign bit, the folded constant that depends on it, and a host's copy. synapse.c. */
void mb_flip(const mb_layer *l, uint32_t unit, uint32_t input);

/* Moves the level of a synapse by one. pre: mb_entry(.., up) >= 0. */
MB_INLINE void mb_move(const mb_layer *l, uint32_t lanes16, uint32_t four, mb_synapse s, uint32_t up, mb_learn_info *info)
{
    uint32_t changed = s.level ^ (s.level + 2u * up - 1u); /* a run of low bits; above `top` if the sign changes */
    info->moved++;
    if (changed > s.top) { /* 0 <-> -1: the weight and all low bits flip */
        info->flipped++;
        mb_flip(l, s.unit, s.input);
    }
    if (four) {
        MB_OPAQUE(s.low);
        mb_flip_lane(s.low, 2, s.lane, lanes16);
        if (changed & 2u) {
            mb_flip_lane(s.low, 1, s.lane, lanes16);
        }
        if (changed & 4u) {
            mb_flip_lane(s.low, 0, s.lane, lanes16);
        }
        return;
    }
    uint32_t p = (uint32_t)l->bits - 1u;
    changed &= s.top;
    MB_ROLLED
    do {
        mb_flip_lane(s.low, --p, s.lane, lanes16);
    } while ((changed >>= 1) != 0);
}

#endif
