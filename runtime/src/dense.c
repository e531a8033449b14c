/* Layers on bits: encoder, hidden layer, output. Only the scores multiply, and no layer stores an array of sums. */
#include <string.h>

#include "adder.h"
#include "layers.h"
#include "thumb1.h"

#if defined(__OPTIMIZE_SIZE__) || !MB_HAS_DENSE
#define ADD_RUN mb_add_columns
#else
#define LANES mb_word
#define SHIFT "2"
#define LDR "ldr"
#define ADD_COLUMNS MB_INLINE void add_columns
#include "add_columns.inc"
#define ADD_RUN add_columns
#define LANES mb_half
#define SHIFT "1"
#define LDR "ldrh"
#define ADD_COLUMNS static void add_columns_16
#include "add_columns.inc"
#endif

/* Bits 28..31 = whether each of four bytes is at least its threshold. */
MB_INLINE uint32_t four_reach(uint32_t x, uint32_t threshold)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_SIMD32) && defined(__thumb__)
    uint32_t bits = 0x80402010u; /* a byte that reaches its threshold gives its bit to a sum over the bytes */
    __asm__("usub8 %1, %1, %2\n\tsel %0, %0, %3\n\tusad8 %0, %0, %3" : "+&r"(bits), "+&r"(x) : "r"(threshold), "r"(0u) : "cc");
    return bits << 24;
#else
    const uint32_t tops = 0x80808080u, below = (x | tops) - (threshold & ~tops); /* compares the low seven bits: no borrow */
    const uint32_t reach = (below ^ ((x ^ threshold) & (below ^ x))) & tops;     /* unequal top bits decide alone */
    return reach * 0x00204081u & 0xF0000000u; /* shifted copies that do not overlap */
#endif
}

/* An input bit is features[f] >= thresholds[p][f]. All thermometer planes of one pixel's channels lie side by side; without
 * channels, all features are one pixel. */
void mb_encode(const mb_layer *l, const uint8_t *features, uint32_t *bits)
{
    const uint32_t channels = l->channels != 0 ? l->channels : l->inputs;
    uint32_t word = 0, lane = 0;
    if (channels == l->inputs && (((uintptr_t)features | (uintptr_t)l->own.thresholds | channels) & 3u) == 0) {
        const mb_word *threshold = (const mb_word *)(const void *)l->own.thresholds;
        for (uint32_t planes = l->units / channels; planes > 0; planes--) {
            const mb_word *x = (const mb_word *)(const void *)features, *const end = x + channels / 4u;
            do {
                word = word >> 4 | four_reach(*x++, *threshold++);
                if (((lane += 4u) & 31u) == 0) {
                    *bits++ = word;
                }
            } while (x != end);
        }
        if ((lane & 31u) != 0) {
            *bits = word >> ((0u - lane) & 31u);
        }
        return;
    }
    for (uint32_t pixel = 0; pixel < l->inputs; pixel += channels) {
        for (uint32_t at = pixel; at < l->units; at += l->inputs) {
            for (uint32_t c = 0; c < channels; c++) {
                word |= (uint32_t)(features[pixel + c] >= l->own.thresholds[at + c]) << lane;
                if (++lane == 32u) {
                    *bits++ = word;
                    word = lane = 0;
                }
            }
        }
    }
    if (lane != 0) {
        *bits = word;
    }
}

#if MB_HAS_DENSE
/* A unit is +1 where V >= 0, so the activation word is the complement of V's sign. */
void mb_dense(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask, uint32_t *carry)
{
    const int32_t window = (int32_t)l->window, n = (int32_t)active;
    const mb_run all = mb_whole_list(active);
    const unsigned planes = l->planes;
    const uint32_t last = (l->units - 1u) >> 5, exist = mb_last_mask(l->units);
    const mb_word *w = (const mb_word *)(const void *)l->sign, *start = l->fold;
    for (uint32_t r = 0; r <= last; r++, w += l->inputs + 1u, start += planes) {
        uint32_t v[MB_PLANES_MAX];
        ADD_RUN(w, list, &all, 1, start, v, planes, carry);
        if (MB_HAS_LEARN && mask != NULL) {
            mask[r] = mb_range_mask(v, planes, -window - 1 - n, window - n, -n, out + r);
        } else {
            out[r] = ~mb_sign_of_sum(v, planes, -n);
        }
    }
    out[last] &= exist;
    if (MB_HAS_LEARN && mask != NULL) {
        mask[last] &= exist;
    }
}

/* v [planes] = V + n of the 32 or 16 units of row r, where n = active. */
static void sums(const mb_layer *l, uint32_t r, const uint16_t *list, uint32_t active, uint32_t *v, uint32_t *carry)
{
    mb_run some = mb_whole_list(active);
#ifndef __OPTIMIZE_SIZE__
    if (l->lanes16) {
        add_columns_16((const mb_half *)(const void *)l->sign, list, &some, 1, l->fold, v, l->planes, carry);
    } else {
        mb_sums(l, r, list, &some, 1, v, carry);
    }
#else /* adds words of 16 lanes as words of 32: a second adder tree would be a fifth of a library that only predicts */
    const uint16_t *const end = list + some.count;
    const uint32_t row = r * (l->inputs + 1u); /* locals, because the stores below could alias *l */
    const uint8_t *const sign = l->sign;
    enum { SOME = 32 }; /* each takes 6 bytes of stack */
    mb_word words[SOME];
    uint16_t all[SOME];
    memcpy(v, l->fold + r * l->planes, 4u * l->planes);
    while (list != end) {
        for (some.count = 0; some.count < SOME && list != end; some.count++) {
            words[some.count] = mb_lanes_at(sign, row + *list++, l->lanes16);
            all[some.count] = (uint16_t)some.count;
        }
        mb_add_columns(words, all, &some, 1, v, v, l->planes, carry);
    }
#endif
}

MB_MINSIZE void mb_output(const mb_layer *l, const uint16_t *list, uint32_t active, int32_t *scores, uint32_t *carry)
{
    for (uint32_t r = 0; 32u * r < l->units; r++) { /* words of 16 lanes have one row */
        uint32_t v[MB_PLANES_MAX];
        const uint32_t left = l->units - 32u * r;
        sums(l, r, list, active, v, carry);
        mb_lane_values(v, l->planes, active, scores + 32u * r, left < 32u ? left : 32u);
    }
    const int32_t twice = l->input == MB_PLUS_MINUS, odd = twice ? (int32_t)(l->inputs & 1u) : 0;
    for (uint32_t c = 0; c < l->units; c++) {
        scores[c] = ((1 + twice) * scores[c] + odd) * l->own.scores[c] + l->own.scores[l->units + c];
    }
}
#endif

uint16_t mb_best_class(const int32_t *scores, uint32_t classes)
{
    uint32_t best = 0, c = 0;
    do {
        best = scores[c] > scores[best] ? c : best;
    } while (++c < classes);
    return (uint16_t)best;
}

void mb_unpack(const mb_layer *l, const uint8_t *input, uint32_t *bits)
{
    const uint32_t values = mb_values(l), words = MB_WORDS(values);
    bits[words - 1] = 0;
    memcpy(bits, input, (values + 7u) >> 3);
    bits[words - 1] &= mb_last_mask(values);
}

