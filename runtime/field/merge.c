/* Updates: what a new image can take over from a learned one. metabit_merge.h is the manual, FORMAT.md has the bytes that are read here. */
#include "metabit_merge.h"

#include <string.h>

#if defined(__GNUC__)
typedef int32_t __attribute__((may_alias)) merge_int;
typedef int16_t __attribute__((may_alias)) merge_short;
typedef uint16_t __attribute__((may_alias)) merge_half;
#else
typedef int32_t merge_int;
typedef int16_t merge_short;
typedef uint16_t merge_half;
#endif

enum { DENSE = 2, OUTPUT = 3, TERNARY = 6, LEVELS = 9, HEAD = 10 }; /* kinds of layer */
enum { FREE = 255, NONE = MB_NO_CLASS }; /* owner of a free row; no class, no row */

/* One of the two images, with a state. `learned` + offset is the address of a learnt array. */
typedef struct side {
    const mb_model *m;
    const uint8_t *image;
    uintptr_t learned;
    uint32_t layers, lowest; /* lowest: index of the lowest layer that learns; layers if none does */
} side;

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static const uint8_t *record_of(const side *s, uint32_t i)
{
    return s->image + 64 + 64 * (size_t)i;
}

static side side_of(const mb_model *m, const void *state)
{
    side s = {m, m->image, (uintptr_t)m->image, u16(m->image + 40), 0};
    s.learned = state == NULL ? s.learned : (uintptr_t)state - u32(m->image + 28);
    while (s.lowest < s.layers && record_of(&s, s.lowest)[9] == 0) {
        s.lowest++;
    }
    return s;
}

/// Below the layer that learns ///

/* True if inputs, records and constants below the lowest layer that learns are equal. Arrays lie in the order of their records, so
 * all constants below end where the first of this layer begin. */
static int below_is_equal(const side *a, const side *b)
{
    const uint32_t begin = u32(a->image + 16), records = 64 * a->lowest;
    uint32_t ends[2];
    const side *const both[2] = {a, b};
    for (unsigned n = 0; n < 2u; n++) {
        const uint8_t *const image = both[n]->image, *const record = record_of(both[n], both[n]->lowest);
        ends[n] = u32(image + 52) != 0 ? u32(image + 52) : begin + u32(image + 20);
        for (unsigned slot = 16; slot < 40u; slot += 4) {
            const uint32_t at = u32(record + slot);
            ends[n] = at != 0 && at < ends[n] ? at : ends[n]; /* arrays in the state lie behind */
        }
    }
    return a->layers == b->layers && a->lowest == b->lowest && u16(a->image + 42) == u16(b->image + 42) && ends[0] == ends[1] &&
           memcmp(a->image + 64, b->image + 64, records) == 0 && memcmp(a->image + begin, b->image + begin, ends[0] - begin) == 0;
}

/// Output levels ///

static mb_merge_result merge_levels(const side *from, const side *to)
{
    const uint8_t *const a = record_of(from, to->lowest), *const b = record_of(to, to->lowest);
    const uint32_t row = (u16(b + 4) + 1u) * b[2]; /* bits */
    if (a[2] != b[2] || u16(a + 4) != u16(b + 4)) {
        return MB_MERGED_NO_SHAPE;
    }
    for (uint32_t c = 0; c < u16(b + 6); c++) {
        const uint32_t was = mb_class_in(from->m, to->m, (uint16_t)c);
        for (uint32_t n = 0; was != NONE && n < row; n++) {
            const uint32_t x = was * row + n, y = c * row + n;
            const uint32_t bit = (uint32_t)((uint8_t *)(from->learned + u32(a + 20)))[x / 8u] >> (x & 7u) & 1u;
            uint8_t *const at = (uint8_t *)(to->learned + u32(b + 20)) + y / 8u;
            *at = (uint8_t)((*at & ~(1u << (y & 7u))) | bit << (y & 7u));
        }
    }
    return MB_MERGED_CLASSES;
}

/// Heads ///

typedef struct head {
    uint32_t values, rows, classes, several, most; /* several: 1 if a class may have several rows; most: so many */
    merge_int *offsets, *priors;
    merge_short *covariance, *means;
    merge_half *counts, *counters;
    int8_t *weights;
    uint8_t *owner, *doubt; /* only with several */
} head;

static head head_at(const uint8_t *p, uintptr_t home)
{
    head h = {p[1] == 4 ? 2u * u16(p + 4) : u16(p + 4), p[48], u16(p + 6), p[49] > 1, p[49], NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    h.offsets = (merge_int *)(home + u32(p + 20));
    h.priors = h.offsets + h.rows;
    h.covariance = (merge_short *)(void *)(h.priors + h.rows);
    h.means = h.covariance + h.values * (h.values + 2u) / 2u;
    h.counts = (merge_half *)(void *)(h.means + h.rows * h.values);
    h.counters = h.counts + h.rows;
    h.weights = (int8_t *)(void *)(h.counters + 3);
    h.owner = (uint8_t *)(void *)(h.weights + h.rows * h.values);
    h.doubt = h.owner + h.rows;
    return h;
}

/* Returns the n-th row of a class, or NONE. */
static uint32_t row_of(const head *h, uint32_t c, uint32_t n)
{
    if (!h->several) {
        return n == 0 && h->counts[c] != 0 ? c : NONE;
    }
    for (uint32_t r = 0; r < h->rows; r++) {
        if (h->owner[r] == c && n-- == 0) {
            return r;
        }
    }
    return NONE;
}

/* The rows of class c: those that were learnt, else those of the new image. Returns the class in *h. */
static uint32_t rows_for(const side *from, const side *to, uint32_t c, const head *learnt, const head *factory, const head **h)
{
    const uint32_t was = mb_class_in(from->m, to->m, (uint16_t)c);
    *h = was != NONE && row_of(learnt, was, 0) != NONE ? learnt : factory;
    return *h == learnt ? was : c;
}

/* Offsets and priors, which follow from the rest: docs/learning-rule.md, "The head". */
static void derive(const head *h, uint32_t prior)
{
    uint32_t most = 0;
    for (uint32_t r = 0; r < h->rows; r++) {
        most = h->counts[r] > most ? h->counts[r] : most;
    }
    for (uint32_t r = 0; r < h->rows; r++) {
        const uint32_t n = h->counts[r], counted = n > most >> 2 ? n : most >> 2;
        uint32_t sum = 0, e = 0; /* modulo 2^32: |sum| < 2^29 */
        for (uint32_t j = 0; j < h->values; j++) {
            sum += (uint32_t)(h->weights[r * h->values + j] * h->means[r * h->values + j]);
        }
        while (counted >> e > 1u) {
            e++;
        }
        const uint32_t ln = counted == 0 ? 0 : ((1024u * e + (1024u * counted >> e) - 1024u) * 11357u) >> 10;
        h->offsets[r] = (int32_t)sum < 0 ? (int32_t)((0u - sum + 15u) >> 4) : -(int32_t)(sum >> 4); /* -(floor of sum / 16) */
        h->priors[r] = n == 0 ? 0 : (int32_t)((prior ? ln : 0) + 8192u * h->values / n);
    }
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static mb_merge_result merge_head(const side *from, const side *to, mb_merged *told)
{
    const uint8_t *const a = record_of(from, to->lowest), *const b = record_of(to, to->lowest);
    const uint32_t inputs = u16(b + 4), limit = u16(b + 42) > 64u ? u16(b + 42) : 64u;
    const head learnt = head_at(a, from->learned), factory = head_at(b, (uintptr_t)to->image), h = head_at(b, to->learned), *of;
    uint32_t later = 0, next = 0; /* classes that still need a row; the next free row */
    if (a[1] != b[1] || u16(a + 4) != inputs) {
        return MB_MERGED_NO_SHAPE;
    }
    if (b[1] == 4 && (a[47] != b[47] || memcmp(from->image + u32(a + 24), to->image + u32(b + 24), 4u * inputs) != 0 ||
                      memcmp(from->image + u32(a + 28), to->image + u32(b + 28), 6u * inputs) != 0)) {
        return MB_MERGED_NO_CONSTANTS;
    }
    told->kept = 0;
    for (uint32_t c = 0; c < h.classes; c++) {
        const uint32_t class_of = rows_for(from, to, c, &learnt, &factory, &of);
        later += row_of(of, class_of, 0) != NONE;
        told->kept = (uint16_t)(told->kept + (of == &learnt));
    }
    if (told->kept == 0) {
        return MB_MERGED_NO_CLASS;
    }
    memcpy(h.covariance, learnt.covariance, h.values * (h.values + 2u)); /* H (H + 2) / 2 halves */
    h.counters[0] = (uint16_t)smaller(learnt.counters[0], limit);
    h.counters[1] = learnt.counters[1];
    h.counters[2] = learnt.counters[2] < h.rows ? learnt.counters[2] : 0;
    memset(h.means, 0, 2u * h.rows * h.values);
    memset(h.counts, 0, 2u * h.rows);
    memset(h.weights, 0, h.rows * h.values);
    if (h.several) {
        memset(h.owner, FREE, h.rows);
        memset(h.doubt, 0, h.classes);
    }
    for (uint32_t c = 0; c < h.classes; c++) {
        const uint32_t class_of = rows_for(from, to, c, &learnt, &factory, &of);
        later -= row_of(of, class_of, 0) != NONE;
        for (uint32_t n = 0; n < h.most; n++) {
            const uint32_t was = row_of(of, class_of, n), row = h.several ? next : c;
            if (was == NONE || (n != 0 && h.rows - next <= later)) {
                break;
            }
            memcpy(h.means + row * h.values, of->means + was * h.values, 2u * h.values);
            memcpy(h.weights + row * h.values, of->weights + was * h.values, h.values);
            h.counts[row] = of->counts[was];
            if (h.several) {
                h.owner[next++] = (uint8_t)c;
            }
        }
        if (h.several && of->several) {
            h.doubt[c] = (uint8_t)smaller(of->doubt[class_of], b[51]);
        }
    }
    derive(&h, b[46]);
    return MB_MERGED_CLASSES;
}

/// Public ///

/* The kind that learns: a head, output levels, votes (graded), or layers by visits. */
static uint32_t rule_of(const side *s)
{
    const uint32_t kind = s->lowest < s->layers ? record_of(s, s->lowest)[0] : 0;
    return kind == TERNARY || kind == OUTPUT ? (uint32_t)DENSE : kind;
}

/* Counts the classes of `to` that `from` has. */
static uint16_t shared_classes(const side *from, const side *to)
{
    uint32_t shared = 0;
    for (uint32_t c = 0; c < mb_classes(to->m); c++) {
        shared += mb_class_in(from->m, to->m, (uint16_t)c) != NONE;
    }
    return (uint16_t)shared;
}

static mb_merge_result merge(const side *from, const side *to, mb_merged *told)
{
    const uint32_t rule = rule_of(to);
    told->kept = shared_classes(from, to);
    told->gone = (uint16_t)(mb_classes(from->m) - shared_classes(to, from));
    if (mb_identity(from->m) == mb_identity(to->m)) {
        memcpy(to->m->state, (const void *)(from->learned + u32(from->image + 28)), mb_state_size(to->m));
        return MB_MERGED_ALL;
    }
    if (rule == 0 || rule != rule_of(from)) {
        return MB_MERGED_NO_RULE;
    }
    if (!below_is_equal(from, to)) {
        return MB_MERGED_NO_BELOW;
    }
    if (told->kept == 0) {
        return MB_MERGED_NO_CLASS;
    }
    const mb_merge_result found = rule == HEAD ? merge_head(from, to, told) : rule == LEVELS ? merge_levels(from, to)
                                                  : mb_merge_weights(to->m, from->m, (const void *)(from->learned + u32(from->image + 28)), to->lowest);
    if (found == MB_MERGED_CLASSES) { /* generator, steps, moves, flips */
        memcpy(to->m->state, (const void *)(from->learned + u32(from->image + 28)), 16);
    }
    return found;
}

mb_status mb_merge(mb_model *m, const mb_model *old, const void *state, mb_merged *merged)
{
    mb_merged told = {MB_MERGED_NO_RULE, 0, 0, 0};
    if (m == NULL || m->image == NULL || old == NULL || old->image == NULL) {
        return MB_E_NULL;
    }
    if (m->state == NULL) {
        return MB_E_DETACHED;
    }
    if (((uintptr_t)state & 3u) != 0) {
        return MB_E_ALIGN;
    }
    mb_model other = *old; /* that model with this state; nothing writes to it */
    other.state = (uint8_t *)(uintptr_t)state;
    const mb_status status = mb_verify(&other);
    if (status != MB_OK) {
        return status;
    }
    const side from = side_of(old, state), to = side_of(m, m->state);
    told.result = merge(&from, &to, &told);
    if (told.result > MB_MERGED_CLASSES) {
        told.kept = 0;
        told.gone = mb_classes(old);
    }
    told.fresh = (uint16_t)(mb_classes(m) - told.kept);
    if (merged != NULL) {
        *merged = told;
    }
    return mb_reattach(m, m->state, mb_state_size(m), m->arena, mb_arena_size(m, m->mode));
}

const char *mb_merge_sentence(mb_merge_result result)
{
    switch (result) {
    case MB_MERGED_ALL: return "the images differ only in what was learnt: the whole state was taken over";
    case MB_MERGED_CLASSES: return "the layers below are equal: what was learnt about the classes that both have was taken over";
    case MB_MERGED_NO_RULE: return "nothing was taken over: one of the images does not learn, or they learn by different rules";
    case MB_MERGED_NO_BELOW: return "nothing was taken over: the inputs or the layers below the learning one differ";
    case MB_MERGED_NO_SHAPE: return "nothing was taken over: the learning layers have other sizes, or another number of bits";
    case MB_MERGED_NO_CONSTANTS: return "nothing was taken over: thresholds, scales or weights that do not learn differ";
    case MB_MERGED_NO_CLASS: return "nothing was taken over: the new image has no class that the old one knows";
    }
    return "unknown result";
}
