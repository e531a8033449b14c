/* Learning by visits: which synapses of a dense layer a step visits, and what a visit does. */
#include "sums.h"
#include "synapse.h"

#if MB_HAS_VISITS

/* A visit is one word: bits 0..15 the input, 16..30 the unit, 31 set if the level shall go up. The queue holds at most
 * MB_LEARN_WORDS of them. */

/* Makes the queued visits. lanes16, four: as mb_synapse_at. */
MB_INLINE void visit_each(uint32_t lanes16, uint32_t four, const mb_layer *layer, const uint32_t *visit, const uint32_t *end,
                          uint32_t *generator, mb_learn_info *info)
{
    const mb_layer l = *layer; /* a copy, which the compiler knows that no store changes */
    mb_learn_info sum = {0, 0, 0, 0, 0}; /* a local sum stays in registers */
    uint32_t z = *generator;
    for (; visit != end; visit++) {
        const uint32_t up = *visit >> 31, unit = (*visit >> 16) & 0x7FFFu, input = *visit & 0xFFFFu;
        const mb_synapse s = mb_synapse_at(&l, lanes16, four, unit, input);
        const int32_t entry = mb_entry(l.tables, s, up), chance = (int32_t)mb_draw(&z);
        if (chance < entry + ((entry + 1) >> 16)) { /* 65535: always */
            mb_move(layer, lanes16, four, s, up, &sum);
        }
    }
    *generator = z;
    info->moved += sum.moved;
    info->flipped += sum.flipped;
}

MB_NOINLINE void visit(const mb_layer *l, const uint32_t *first, const uint32_t *end, uint32_t *generator,
                       mb_learn_info *info)
{
    info->visited += (uint32_t)(end - first);
#ifndef __OPTIMIZE_SIZE__
    if (l->bits == 4u) {
        MB_SPECIALISE(l->lanes16, visit_each, 1, l, first, end, generator, info);
        return;
    }
#endif
    MB_SPECIALISE(l->lanes16, visit_each, 0, l, first, end, generator, info);
}

/* Systematic sampling: put all (unit, input) pairs on a line, unit i with weight rate_i, and visit every 65536th point from a
 * random start. The loop computes nothing for the pairs between two visits. */
MB_INLINE void find_visits(uint32_t on_off, const mb_layer *l, const int32_t *error, mb_visit_rate by_error, const uint16_t *list,
                           uint32_t eligible, uint32_t *visits, uint32_t *generator, mb_learn_info *info)
{
    const uint32_t *const bits = l->in;
    const int32_t *const last = error + l->units, *at = error;
    uint32_t *end = visits, next = mb_draw(generator), rate = 0, length = 0;
    for (;;) {
        do { /* passes by the units that have no visit */
            next -= length;
            length = 0;
            MB_KEEP2(by_error.per_error, by_error.shift);
            if (at == last) {
                visit(l, visits, end, generator, info);
                return;
            }
            if (*at++ != 0) {
                rate = mb_unit_rate(by_error, at[-1]);
                length = rate * eligible;
            }
        } while (next >= length);
        const uint32_t if_off = (uint32_t)(at - error - 1) << 16 | (~(uint32_t)at[-1] & 0x80000000u); /* for x <= 0: up if error > 0 */
        uint32_t place = next / rate;
#ifdef __ARM_ARCH_6M__ /* no divide instruction: divide at most twice a unit, not at every visit */
        uint32_t over = next - place * rate, stride = 0;
#endif
        for (;;) {
            *end++ = on_off ? (if_off ^ 0x80000000u) | list[place]
                            : if_off ^ place ^ ((bits[place >> 5] >> (place & 31u)) << 31);
            if (end == visits + MB_LEARN_WORDS) {
                visit(l, visits, end, generator, info);
                end = visits;
            }
            next += 65536u;
            if (next >= length) {
                break;
            }
#ifdef __ARM_ARCH_6M__
            stride = stride != 0 ? stride : 65536u / rate;
            place += stride;
            over += 65536u - stride * rate;
            place += over >= rate;
            over -= over >= rate ? rate : 0;
#else
            place = next / rate;
#endif
        }
    }
}

void mb_update(const mb_layer *l, const int32_t *error, mb_visit_rate rate, uint16_t *list, uint32_t listed, uint32_t *visits,
               uint32_t *generator, mb_learn_info *info)
{
    const uint32_t on_off = l->input == MB_ON_OFF; /* an input that is off is not eligible */
    const uint32_t eligible = !on_off ? l->inputs : listed != 0 ? listed : mb_active_inputs(l->in, l->inputs, list);
    MB_SPECIALISE(on_off, find_visits, l, error, rate, list, eligible, visits, generator, info);
}
#endif
