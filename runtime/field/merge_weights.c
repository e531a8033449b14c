/* Updates of layers of weights, which learn by visits or votes. metabit_merge.h is the manual, FORMAT.md has the bytes that are read. */
#include "metabit_merge.h"

#include <string.h>

enum { DENSE = 2, OUTPUT = 3, GRADED = 5, TERNARY = 6 }; /* kinds of layer */

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

typedef struct weights {
    const uint8_t *record, *scores;
    uint8_t *sign, *levels, *fold;
    uint32_t kind, k, planes, inputs, units, lanes, learns, signs; /* signs: 1 if the inputs are +-1 */
} weights;

static weights weights_at(const mb_model *m, const void *state, uint32_t i)
{
    const uint8_t *const p = m->image + 64 + 64 * (size_t)i;
    const uintptr_t image = (uintptr_t)m->image, home = p[9] != 0 ? (uintptr_t)state - u32(m->image + 28) : image;
    const weights w = {p, m->image + u32(p + 32), (uint8_t *)(home + u32(p + 16)), (uint8_t *)(home + u32(p + 20)),
                       (uint8_t *)((p[1] == 1 ? home : image) + u32(p + 24)), p[0] == TERNARY ? (uint32_t)DENSE : p[0], p[2], p[3],
                       u16(p + 4), u16(p + 6), p[8], p[9], p[1] == 1};
    return w;
}

/* The byte of a unit's bit in word [unit / lanes][column] of an array with `pitch` columns; the bit is unit mod 8. */
static uint8_t *byte_of(uint8_t *words, uint32_t lanes, uint32_t pitch, uint32_t unit, uint32_t column)
{
    return words + (unit / lanes * pitch + column) * (lanes / 8u) + unit % lanes / 8u;
}

static uint32_t bit_of(uint8_t *words, uint32_t lanes, uint32_t pitch, uint32_t unit, uint32_t column)
{
    return (uint32_t)*byte_of(words, lanes, pitch, unit, column) >> (unit & 7u) & 1u;
}

static void set_bit(uint8_t *words, uint32_t lanes, uint32_t pitch, uint32_t unit, uint32_t column, uint32_t bit)
{
    uint8_t *const p = byte_of(words, lanes, pitch, unit, column);
    *p = (uint8_t)((*p & ~(1u << (unit & 7u))) | bit << (unit & 7u));
}

/* Bit p of a unit's folded constant, with its sign in all above. */
static uint32_t fold_bit(const weights *w, uint32_t unit, uint32_t p)
{
    return bit_of(w->fold, 32, w->planes, unit, p < w->planes ? p : w->planes - 1u);
}

/* The threshold that is folded: FORMAT.md, "fold". On grades there is none. */
static int32_t threshold(const weights *w, uint32_t unit)
{
    int32_t v = 0, sum = 0;
    for (uint32_t p = 0; w->planes != 0 && p < 32u; p++) {
        v = (int32_t)((uint32_t)v | fold_bit(w, unit, p) << p);
    }
    for (uint32_t j = 0; w->signs && j < w->inputs; j++) {
        sum += bit_of(w->sign, w->lanes, w->inputs + 1u, unit, j) ? 1 : -1;
    }
    return w->signs ? -2 * v - sum : -v;
}

static int shape_is_equal(const weights *a, const weights *b, int last)
{
    const int graded = a->kind == GRADED; /* planes of inputs, and the ramp */
    return a->kind == b->kind && a->inputs == b->inputs && a->learns == b->learns && a->record[1] == b->record[1] &&
           (last || a->units == b->units) && (!a->learns || a->k == b->k) &&
           (!graded || (a->record[46] == b->record[46] && u32(a->record + 40) == u32(b->record + 40)));
}

/* True if all of a unit that learning does not change is equal. */
static int unit_is_equal(const weights *a, uint32_t was, const weights *b, uint32_t unit)
{
    for (uint32_t j = 0; !b->learns && j < b->inputs; j++) {
        if (bit_of(a->sign, a->lanes, a->inputs + 1u, was, j) != bit_of(b->sign, b->lanes, b->inputs + 1u, unit, j)) {
            return 0;
        }
    }
    return threshold(a, was) == threshold(b, unit) &&
           (b->kind != OUTPUT || (u32(a->scores + 4 * was) == u32(b->scores + 4 * unit) &&
                                  u32(a->scores + 4 * (a->units + was)) == u32(b->scores + 4 * (b->units + unit))));
}

static void copy_unit(const weights *a, uint32_t was, const weights *b, uint32_t unit)
{
    const uint32_t levels = b->inputs * (b->k - 1u);
    for (uint32_t j = 0; j < b->inputs; j++) {
        set_bit(b->sign, b->lanes, b->inputs + 1u, unit, j, bit_of(a->sign, a->lanes, a->inputs + 1u, was, j));
    }
    for (uint32_t n = 0; n < levels; n++) {
        set_bit(b->levels, b->lanes, levels, unit, n, bit_of(a->levels, a->lanes, levels, was, n));
    }
    for (uint32_t p = 0; b->signs && p < b->planes; p++) {
        set_bit(b->fold, 32, b->planes, unit, p, fold_bit(a, was, p));
    }
}

mb_merge_result mb_merge_weights(const mb_model *m, const mb_model *old, const void *state, uint32_t lowest)
{
    const uint32_t layers = u16(m->image + 40);
    for (int write = 0; write < 2; write++) { /* first all is compared, then all is copied */
        for (uint32_t i = lowest; i < layers; i++) {
            const weights a = weights_at(old, state, i), b = weights_at(m, m->state, i);
            const int last = i + 1u == layers;
            if (!shape_is_equal(&a, &b, last)) {
                return MB_MERGED_NO_SHAPE;
            }
            for (uint32_t unit = 0; unit < b.units; unit++) {
                const uint32_t was = last ? mb_class_in(old, m, (uint16_t)unit) : unit;
                if (was != MB_NO_CLASS && !write && !unit_is_equal(&a, was, &b, unit)) {
                    return MB_MERGED_NO_CONSTANTS;
                }
                if (was != MB_NO_CLASS && write && b.learns) {
                    copy_unit(&a, was, &b, unit);
                }
            }
            const uint32_t kept = u32(a.record + 32), place = u32(b.record + 32), batch = 32u * b.record[48]; /* samples */
            if (write && b.kind == GRADED && kept != 0 && place != 0 && a.record[48] == b.record[48]) {
                const uint32_t words = 1u + batch * ((b.record[46] * b.inputs + 31u) / 32u + 3u * ((b.units + 31u) / 32u));
                memcpy(m->state + (place - u32(m->image + 28)), (const uint8_t *)state + (kept - u32(old->image + 28)), 4u * words);
            }
        }
    }
    return MB_MERGED_CLASSES;
}
