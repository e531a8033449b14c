/* Checks of the kinds cuts, gates, levels, head and triples, and of a head's state. All arithmetic here is on hostile numbers. */
#include "check.h"
#include "head.h"

#if MB_HAS_GATES && MB_HAS_CHECKS

/* Bytes of a record that have a meaning, a row for each kind from MB_CUTS to MB_TRIPLES: bit b mod 32 of word b / 32 is byte b. */
static const uint32_t NAMED[5][2] = {{0xF7u, 0x40FFu}, {0xFF0F01FFu, 0x4000u}, {0xF0F0F2F7u, 0}, {0xFFF002F7u, 0x1FFF00u}, {0xFF0F00F7u, 0xFFu}};

/* True if every byte without a meaning is 0; a later minor version may use those from 40 on. */
static int rest_is_zero(const uint8_t *p, const uint32_t *named, int known)
{
    for (uint32_t b = 0; b < (known ? 64u : 40u); b++) {
        if (((named[b >> 5] >> (b & 31u)) & 1u) == 0 && p[b] != 0) {
            return 0;
        }
    }
    return 1;
}

static int within(uint32_t value, uint32_t lowest, uint32_t highest)
{
    return value - lowest <= highest - lowest; /* wraps below the lowest */
}

/* True if no number of the array is larger in magnitude. */
MB_MINSIZE static int words_within(const mb_word *words, uint32_t n, uint32_t limit)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mb_magnitude((int32_t)words[i]) > limit) {
            return 0;
        }
    }
    return 1;
}

/// Cuts and gates ///

MB_MINSIZE static mb_status check_cuts(const uint8_t *p, const mb_layer *l, uint32_t given, mb_section *left)
{
    MB_REFUSE(MB_E_KIND, l->input > 1u);
    MB_REFUSE(MB_E_SHAPE, l->inputs == 0 || l->units > MB_MAX_UNITS || l->units != l->bits * l->inputs || given != l->inputs << l->input);
    MB_REFUSE(MB_E_BITS, !within(l->bits, 1, 16));
    MB_REFUSE(MB_E_RULE, l->shared > 1u);
    const uint32_t cuts = l->shared ? l->bits : l->units;
    const uint32_t bytes[6] = {0, 0, 0, 0, mb_u32_at(p + 32) != 0 ? 8u * l->inputs : 0, cuts << l->input};
    return mb_arrays_fit(p, bytes, 0, left) ? MB_OK : MB_E_OFFSET;
}

/* mul needs no check: |int16| * K <= 2^29. */
MB_MINSIZE static mb_status check_units(const uint8_t *p, const mb_layer *l, uint32_t given, mb_section *left)
{
    MB_REFUSE(MB_E_KIND, l->input != MB_ON_OFF);
    MB_REFUSE(MB_E_SHAPE, l->inputs == 0 || l->inputs > MB_MAX_UNITS || !within(l->units, 1, 1024) || p[8] != 32 || given != l->inputs);
    MB_REFUSE(MB_E_BITS, l->bits != 1);
    MB_REFUSE(MB_E_PLANES, !within(l->planes, MB_PLANES_MIN, MB_PLANES_MAX) || l->inputs >> (l->planes - 1u) != 0);
    MB_REFUSE(MB_E_RULE, !within(l->shift, 10, 20));
    const uint32_t bytes[6] = {4u * MB_WORDS(l->units) * (l->inputs + 1u), 0, 4u * l->units, 2u * l->units, 0, 0};
    MB_REFUSE(MB_E_OFFSET, !mb_arrays_fit(p, bytes, 0, left));
    MB_REFUSE(MB_E_RULE, !words_within(l->fold, l->units, 1u << 30));
    return mb_padding_is_zero(l) ? MB_OK : MB_E_PADDING;
}

/// Levels ///

#if MB_HAS_LEVELS
MB_MINSIZE static mb_status check_levels(const uint8_t *p, const mb_layer *l, uint32_t given, mb_section *left)
{
    MB_REFUSE(MB_E_KIND, l->input != MB_GATED);
    MB_REFUSE(MB_E_SHAPE, l->inputs != given || !within(l->units, 2, 1024));
    MB_REFUSE(MB_E_BITS, !within(l->bits, 2, 8));
    MB_REFUSE(MB_E_LEARNS, l->learns > 1);
    MB_REFUSE(MB_E_RULE, !within(l->dose, l->learns, l->learns * 0xFFFFFu));
    const uint32_t k = l->bits, end = l->units * (l->inputs + 1u) * k - 1u, weaken = (uint32_t)l->learns << (k - 1u); /* end < 2^24 */
    const uint32_t bytes[6] = {0, 4u + (end >> 5 << 2), 0, 2u * weaken, 0, 0};
    MB_REFUSE(MB_E_OFFSET, !mb_arrays_fit(p, bytes, 2u * l->learns, left));
    for (uint32_t i = 0; i < weaken; i++) {
        MB_REFUSE(MB_E_RULE, l->tables[i] > 256u);
    }
    for (uint32_t last = k - 1u; last <= end; last += k) {
        MB_REFUSE(MB_E_RULE, mb_level_of(l->levels, last, k) == -(1 << (k - 1u)));
    }
    return ((const mb_word *)(const void *)l->levels)[end >> 5] >> (end & 31u) >> 1 == 0 ? MB_OK : MB_E_PADDING;
}

#endif

/// Units from nothing ///

#if MB_HAS_TRIPLES
MB_MINSIZE static mb_status check_triples(const uint8_t *p, const mb_layer *l, uint32_t given, mb_section *left)
{
    const uint32_t units = l->units, inputs = l->inputs;
    MB_REFUSE(MB_E_KIND, l->input > 1u);
    MB_REFUSE(MB_E_SHAPE, inputs == 0 || inputs > MB_MAX_UNITS || given != inputs << l->input || !within(units, 2, 128) || (units & 1u) != 0);
    MB_REFUSE(MB_E_BITS, l->bits != 8);
    const uint32_t bytes[6] = {5u * units, 0, 10u * units, 6u * units, mb_u32_at(p + 32) != 0 ? 8u * inputs : 0, 7u * inputs};
    MB_REFUSE(MB_E_OFFSET, !mb_arrays_fit(p, bytes, 0, left));
    const int8_t *const weight = (const int8_t *)l->sign, *const low = weight + 3u * units, *const high = low + units;
    for (uint32_t i = 0; i < 3u * units; i++) {
        MB_REFUSE(MB_E_RULE, l->tables[i] >= inputs || mb_magnitude(weight[i]) > 2u);
    }
    for (uint32_t u = 0; u < units; u++) {
        MB_REFUSE(MB_E_RULE, low[u] == -128 || low[u] > high[u] || (2u * u < units && l->fold[2u * units + u] > 1u << 30));
    }
    const mb_word *const add = (const mb_word *)(const void *)l->own.thresholds;
    const mb_half *const mul = (const mb_half *)(const void *)(add + inputs);
    const uint8_t *const shift = (const uint8_t *)(const void *)(mul + inputs);
    for (uint32_t f = 0; f < inputs; f++) {
        MB_REFUSE(MB_E_RULE, mul[f] > 32767u || shift[f] > 24u);
    }
    const int fit = words_within(l->fold, units, 1u << 17) && words_within(l->fold + units, units, 1u << 30) &&
                    words_within(add, inputs, 1u << 30);
    return fit ? MB_OK : MB_E_RULE;
}

#endif

/// Head ///

#if MB_HAS_HEAD
MB_MINSIZE static int halves_within(const mb_half *halves, uint32_t n, uint32_t limit)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mb_magnitude((int16_t)halves[i]) > limit) {
            return 0;
        }
    }
    return 1;
}

/* True if the owners, if there are any, fit the counts, and no class has more rows than it may. most: rows_per_class. */
static int owners_fit(const mb_head *h, uint32_t most)
{
    for (uint32_t r = 0; MB_HEAD_OWNED(h) && r < h->rows; r++) {
        const uint32_t c = h->owner[r];
        uint32_t owned = 0;
        if (h->counts[r] == 0 ? c != MB_HEAD_FREE : c >= h->classes) {
            return 0;
        }
        for (uint32_t other = 0; other <= r; other++) {
            owned += h->owner[other] == c;
        }
        if (c != MB_HEAD_FREE && owned > most) {
            return 0;
        }
    }
    return 1;
}

MB_MINSIZE static int state_fits(const mb_layer *l, uint32_t per_class)
{
    mb_head h;
    mb_head_at(l, &h);
    const uint32_t most = mb_head_largest_count(&h), least = MB_HEAD_COUNT_FLOOR, memory = MB_HEAD_COVARIANCE_MEMORY(&h);
    if (most >= MB_HEAD_COUNT_LIMIT || h.counters[MB_HEAD_SEEN] > (memory > least ? memory : least) ||
        h.counters[MB_HEAD_TURN] >= h.rows || !owners_fit(&h, per_class)) {
        return 0;
    }
    for (uint32_t r = 0; r < h.rows; r++) {
        if (h.offsets[r] != mb_head_offset(&h, r) || h.priors[r] != mb_head_prior(&h, r, most)) {
            return 0;
        }
    }
    return 1;
}

MB_MINSIZE static mb_status check_head(const uint8_t *p, const mb_layer *l, unsigned before, uint32_t given, mb_section *left)
{
    const uint32_t values = mb_head_values(l), rows = p[48], per_class = p[49], memory = mb_u16_at(p + 42), ridge = mb_u16_at(p + 44);
    const int several = MB_HAS_ROWS && per_class > 1u, gated = l->input == MB_GATED;
    MB_REFUSE(MB_E_KIND, l->input != (before == MB_GATES ? MB_GATED : MB_VALUES));
    MB_REFUSE(MB_E_ABSENT, !MB_HAS_ROWS && per_class > 1u);
    MB_REFUSE(MB_E_SHAPE, l->inputs != given || !within(values, 2, MB_HEAD_MOST) || (values & 1u) != 0 || !within(rows, 2, MB_HEAD_MOST) ||
                          !within(l->units, 2, rows) || (!several && l->units != rows));
    MB_REFUSE(MB_E_BITS, l->bits != 8);
    MB_REFUSE(MB_E_LEARNS, l->learns != 1);
    MB_REFUSE(MB_E_RULE, !within(mb_u16_at(p + 40), 1, MB_HEAD_COUNT_LIMIT - 1) || (memory != 0 && !within(memory, 64, 8192)) ||
                         !within(ridge, 1, 32767) || p[46] > 1 || (gated ? !within(l->shift, 10, 20) : l->shift != 0) ||
                         !within(per_class, 1, 8) || (several ? !within(p[50], 1, 63) || p[51] == 0 : (p[50] | p[51]) != 0) || p[52] > 7);
    const uint32_t units = gated ? l->inputs : 0;
    const uint32_t bytes[6] = {0, mb_head_state_size(values, rows, l->units, several), 4u * units, 6u * units, 0, 0};
    MB_REFUSE(MB_E_OFFSET, !mb_arrays_fit(p, bytes, 2, left));
    /* z_mul needs no check, as mul does not. */
    MB_REFUSE(MB_E_RULE, gated && (!halves_within(l->tables, units, 2560) || !halves_within(l->tables + units, units, 20496) ||
                                   !words_within(l->fold, units, 1u << 30)));
    return state_fits(l, per_class) ? MB_OK : MB_E_RULE;
}

#endif

MB_MINSIZE mb_status mb_check_gates(const mb_model *m, unsigned index, const mb_layer *l, unsigned before, uint32_t given, mb_section *left)
{
    const uint8_t *const p = mb_record_at(m->image, index);
    const int last = index + 1u == mb_layer_count(m);
    MB_REFUSE(MB_E_ABSENT, (!MB_HAS_LEVELS && l->kind == MB_LEVELS) || (!MB_HAS_HEAD && l->kind == MB_HEAD) ||
                           (!MB_HAS_TRIPLES && l->kind == MB_TRIPLES));
    MB_REFUSE(MB_E_KIND, !rest_is_zero(p, NAMED[l->kind - MB_CUTS], mb_minor_is_known(m)));
    switch (l->kind) {
    case MB_CUTS:
        MB_REFUSE(MB_E_LAYERS, last || index != 0);
        return check_cuts(p, l, given, left);
    case MB_GATES:
        MB_REFUSE(MB_E_LAYERS, last || (index != 0 && before != MB_CUTS));
        given = index != 0 ? given : given == (l->inputs + 7u) / 8u ? l->inputs : 0; /* packed bits */
        return check_units(p, l, given, left);
#if MB_HAS_TRIPLES
    case MB_TRIPLES:
        MB_REFUSE(MB_E_LAYERS, last || index != 0);
        return check_triples(p, l, given, left);
#endif
    default:
        MB_REFUSE(MB_E_LAYERS, !last || (before != MB_GATES && (before != MB_TRIPLES || l->kind != MB_HEAD)));
#if MB_HAS_LEVELS
        if (l->kind == MB_LEVELS) {
            return check_levels(p, l, given, left);
        }
#endif
#if MB_HAS_HEAD
        return check_head(p, l, before, given, left);
#else
        return MB_E_ABSENT;
#endif
    }
}
#endif
