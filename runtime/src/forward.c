/* Inference: features -> bits -> packed activations -> scores. No multiplication before the scores, no accumulator array. */
#include <string.h>

#include "adder.h"
#include "layer.h"
#include "thumb1.h"

/// Adder trees ///

#define LANES mb_word
#define SHIFT "2"
#define LDR "ldr"
#ifdef __OPTIMIZE_SIZE__
#define ADD_COLUMNS void mb_add_columns
#include "columns.h"
#define ADD_RUN mb_add_columns
#else
#define ADD_COLUMNS MB_INLINE void add_columns
#include "columns.h"
void mb_add_columns(const mb_word *w, const uint16_t *lists, const mb_run *run, uint32_t runs, const mb_word *start, uint32_t *v,
                    unsigned planes, uint32_t *carry)
{
    add_columns(w, lists, run, runs, start, v, planes, carry);
}
#define ADD_RUN add_columns
#define LANES mb_half
#define SHIFT "1"
#define LDR "ldrh"
#define ADD_COLUMNS static void add_columns_16
#include "columns.h"
#endif

/// Inputs ///

/* Thermometer code: a bit is features[f] >= thresholds[p][f], all planes of one pixel's channels side by side; without
 * channels, all features are one pixel. */
static void encode(const mb_layer *l, const uint8_t *features, uint32_t *bits)
{
    const uint32_t channels = l->channels != 0 ? l->channels : l->inputs;
    uint32_t word = 0, lane = 0;
    for (uint32_t pixel = 0; pixel < l->inputs; pixel += channels) {
        for (uint32_t at = pixel; at < l->units; at += l->inputs) { /* plane by plane */
            for (uint32_t c = 0; c < channels; c++) {
                word |= (uint32_t)(features[pixel + c] >= l->thresholds[at + c]) << lane;
                if (++lane == 32u) {
                    *bits++ = word;
                    word = 0;
                    lane = 0;
                }
            }
        }
    }
    if (lane != 0) {
        *bits = word;
    }
}

uint32_t mb_pad_list(uint16_t *list, uint16_t *end, uint32_t inputs)
{
    const uint32_t count = (uint32_t)(end - list);
    MB_ROLLED
    for (uint32_t i = count; (i & 7u) != 0; i++) {
        *end++ = (uint16_t)inputs; /* the zero word after the last input */
    }
    return count;
}

uint32_t mb_active_inputs(const uint32_t *bits, uint32_t inputs, uint16_t *list)
{
    uint16_t *end = list;
    MB_ROLLED
    for (uint32_t base = 0; base < inputs; base += 32u) {
        end = mb_list_any(end, *bits++, base);
    }
    return mb_pad_list(list, end, inputs);
}

/// Layers ///

#ifndef __OPTIMIZE_SIZE__
/* 16 x 16 bits change rows and columns: word i holds planes i and 8 + i, and then lanes i and 8 + i. */
static void transpose(uint32_t *a)
{
    MB_UNROLLED
    for (uint32_t i = 0; i < 8u; i++) {
        const uint32_t t = (a[i] ^ (a[i] >> 8)) & 0x0000FF00u;
        a[i] ^= t ^ (t << 8);
    }
    mb_exchange(a, 4, 4, 0x0F0F0F0Fu);
    mb_exchange(a, 2, 2, 0x33333333u);
    mb_exchange(a, 1, 1, 0x55555555u);
}

/* Bits `lane`, 8 + lane, ... of up to eight planes, a byte for each lane. */
MB_INLINE uint32_t lane_bytes(const uint32_t *v, unsigned planes, uint32_t lane)
{
    uint32_t bytes = 0;
    for (unsigned p = 0; p < planes; p++) {
        bytes |= ((v[p] >> lane) & 0x01010101u) << p;
    }
    return bytes;
}

void mb_lane_values(const uint32_t *v, unsigned planes, uint32_t minus, int32_t *values, uint32_t n)
{
    const uint32_t sign = 1u << (planes - 1u), bits = 2u * sign - 1u;
    if (n <= 16u && planes <= 16u) {
        uint32_t a[8];
        MB_UNROLLED
        for (unsigned i = 0; i < 8u; i++) {
            a[i] = (i < planes ? v[i] & 0xFFFFu : 0) | (8u + i < planes ? v[8u + i] << 16 : 0);
        }
        transpose(a);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t x = i < 8u ? a[i] : a[i - 8u] >> 16;
            values[i] = (int32_t)(((x - minus + sign) & bits) - sign);
        }
        return;
    }
    const unsigned low = planes < 8u ? planes : 8u, middle = planes < 16u ? planes - low : 8u;
    for (uint32_t lane = 0; lane < 8u && lane < n; lane++) {
        uint32_t a = lane_bytes(v, low, lane), b = lane_bytes(v + low, middle, lane);
        uint32_t c = planes > 16u ? lane_bytes(v + 16, planes - 16u, lane) : 0;
        for (uint32_t i = lane; i < n; i += 8u, a >>= 8, b >>= 8, c >>= 8) {
            const uint32_t x = (a & 255u) | (b & 255u) << 8 | (c & 255u) << 16;
            values[i] = (int32_t)(((x - minus + sign) & bits) - sign);
        }
    }
}
#else
void mb_lane_values(const uint32_t *v, unsigned planes, uint32_t minus, int32_t *values, uint32_t n)
{
    const uint32_t sign = 1u << (planes - 1u), bits = 2u * sign - 1u;
    for (uint32_t i = 0; i < n; i++) {
        values[i] = (int32_t)(((mb_lane_bits(v, planes, i) - minus + sign) & bits) - sign);
    }
}
#endif

/* A unit is +1 where V >= 0: the activation word is the complement of V's sign. */
MB_APART void dense(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask, uint32_t *carry)
{
    const int32_t window = (int32_t)l->window, n = (int32_t)active;
    const mb_run all = mb_whole_list(active);
    const unsigned planes = l->planes;
    const uint32_t last = (l->units - 1u) >> 5, exist = mb_last_mask(l->units);
    const mb_word *w = (const mb_word *)(const void *)l->sign, *start = l->fold;
    for (uint32_t r = 0; r <= last; r++, w += l->inputs + 1u, start += planes) {
        uint32_t v[MB_PLANES_MAX];
        ADD_RUN(w, list, &all, 1, start, v, planes, carry);
        out[r] = ~mb_sign_of_sum(v, planes, -n);
        if (MB_HAS_LEARN && mask != NULL) { /* -window <= V <= window */
            mask[r] = mb_is_between(v, planes, -window - 1 - n, window - n);
        }
    }
    out[last] &= exist;
    if (MB_HAS_LEARN && mask != NULL) {
        mask[last] &= exist;
    }
}

/* V + n of 32 or 16 units. */
static void sums(const mb_layer *l, uint32_t r, const uint16_t *list, uint32_t active, uint32_t *v, uint32_t *carry)
{
    mb_run some = mb_whole_list(active);
#ifndef __OPTIMIZE_SIZE__
    if (l->half) {
        add_columns_16((const mb_half *)(const void *)l->sign, list, &some, 1, l->fold, v, l->planes, carry);
    } else {
        mb_sums(l, r, list, &some, 1, v, carry);
    }
#else /* words of 16 lanes as words of 32, some at a time: another adder tree would be a fifth of a library that only predicts */
    const uint16_t *const end = list + some.count;
    enum { SOME = 32 }; /* each takes six bytes of stack */
    mb_word words[SOME];
    uint16_t all[SOME];
    memcpy(v, l->fold + r * l->planes, 4u * l->planes);
    while (list != end) {
        for (some.count = 0; some.count < SOME && list != end; some.count++) {
            words[some.count] = mb_weights(l, r * (l->inputs + 1u) + *list++);
            all[some.count] = (uint16_t)some.count;
        }
        mb_add_columns(words, all, &some, 1, v, v, l->planes, carry);
    }
#endif
}

MB_SMALL MB_APART void output(const mb_layer *l, const uint16_t *list, uint32_t active, int32_t *scores, uint32_t *carry)
{
    for (uint32_t r = 0; 32u * r < l->units; r++) { /* of 16 lanes there is one */
        uint32_t v[MB_PLANES_MAX];
        const uint32_t left = l->units - 32u * r;
        sums(l, r, list, active, v, carry);
        mb_lane_values(v, l->planes, active, scores + 32u * r, left < 32u ? left : 32u);
    }
    const int32_t twice = l->input == MB_PLUS_MINUS, odd = twice ? (int32_t)(l->inputs & 1u) : 0;
    for (uint32_t c = 0; c < l->units; c++) {
        scores[c] = ((1 + twice) * scores[c] + odd) * l->scores[c] + l->scores[l->units + c];
    }
}

/* Packed input bits, into words. */
static void unpack(const mb_layer *l, const uint8_t *input, uint32_t *bits)
{
    const uint32_t values = mb_values(l), words = MB_WORDS(values);
    bits[words - 1] = 0;
    memcpy(bits, input, (values + 7u) >> 3);
    bits[words - 1] &= mb_last_mask(values);
}

void mb_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned masks_from)
{
    const unsigned count = mb_layer_count(m);
    for (unsigned i = 0; i < count; i++) {
        mb_layer l;
#ifdef MB_WIDE
        if (m->wide != NULL && mb_wide_forward(m, arena, input, i, masks_from)) {
            continue;
        }
#endif
        mb_layer_at(m, i, &l);
        MB_MARK(MB_FORWARD, i);
        if (l.kind == MB_ENCODE) {
            encode(&l, input, arena->bits[i + 1]);
            continue;
        }
        if (i == 0 && l.input == MB_ON_OFF) {
            unpack(&l, input, arena->bits[0]);
        }
        if (MB_IS_CONV(&l) && MB_ON_BYTES(&l)) {
            mb_conv_bytes(&l, arena, input, arena->bits[i + 1]);
        } else if (MB_IS_CONV(&l)) {
            mb_conv_bits(&l, arena, arena->bits[i], arena->bits[i + 1]);
        } else if (MB_IS_GRADED(&l) && i >= masks_from) {
            return;
        } else if (MB_IS_GRADED(&l)) {
            mb_graded(&l, arena, arena->bits[i]);
        } else if (MB_ON_GRADES(&l)) {
            mb_graded_output(&l, arena->values, arena->scores);
        } else if (MB_ON_BYTES(&l)) {
            mb_slice_bytes(input, l.inputs, arena->bits[0]);
            mb_dense_bytes(&l, arena, arena->bits[0], arena->bits[1]);
        } else {
            const uint32_t active = mb_active_inputs(arena->bits[i], l.inputs, arena->list);
            if (l.kind == MB_DENSE) {
                dense(&l, arena->list, active, arena->bits[i + 1], i >= masks_from ? arena->mask[i] : NULL, arena->carry);
            } else {
                output(&l, arena->list, active, arena->scores, arena->carry);
            }
        }
    }
    MB_MARK(MB_DONE, count);
}

uint16_t mb_best_class(const int32_t *scores, uint32_t classes)
{
    uint32_t best = 0, c = 0;
    do {
        if (scores[c] > scores[best]) {
            best = c;
        }
    } while (++c < classes);
    return (uint16_t)best;
}

/// Public ///

mb_status mb_predict(const mb_model *m, const void *input, int32_t *scores, uint16_t *label)
{
    mb_arena arena;
    if (m == NULL || input == NULL) {
        return MB_E_NULL;
    }
    if (m->arena == NULL) {
        return MB_E_DETACHED;
    }
    (void)mb_arena_plan(m, MB_INFER, &arena);
    mb_forward(m, &arena, input, MB_NO_MASKS);
    const uint32_t classes = mb_u16_at(m->image + MB_AT_CLASSES);
    if (scores != NULL) {
        memcpy(scores, arena.scores, sizeof(int32_t) * classes);
    }
    if (label != NULL) {
        *label = mb_best_class(arena.scores, classes);
    }
    return MB_OK;
}
