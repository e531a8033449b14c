/* One function for each kind of layer, and the forward pass through all of them. */
#ifndef MB_LAYERS_H
#define MB_LAYERS_H

#include "arena.h"
#include "sums.h"

/// Forward pass (predict.c) ///

/* Runs the layers first .. end - 1 on `input`, leaves packed activations in layers[].in and, at the end, scores in arena->scores.
 * Where first is not 0, the input of layer `first` is in the arena. learning: also leaves the straight-through masks in layers[].mask, and
 * stops before a graded layer that learns, which is mb_vote_step's. Returns the number of inputs that were listed last, which says nothing
 * after a layer of a host. pre: first <= end <= count. */
uint32_t mb_forward(const mb_arena *arena, unsigned first, unsigned end, const uint8_t *input, int learning);

/* mb_predict from layer `first` on, whose input is in the arena unless first is 0. */
mb_status mb_predict_from(const mb_model *m, unsigned first, const void *input, int32_t *scores, uint16_t *label);

/// Bits (dense.c, cuts.c, conv.c) ///

/* bits [ceil(N / 32)] = thermometer code of features [F]. */
void mb_encode(const mb_layer *l, const uint8_t *features, uint32_t *bits);

/* Where the next part of a list begins. Features of a byte are compared eight at a time, plane by plane; all others, after the last plane,
 * one at a time with all their cuts. */
typedef struct mb_list_place {
    uint32_t feature, plane; /* feature: the number of features after the last part */
} mb_list_place;

/* Lists the inputs that cuts turn on, one part, from features of a byte or of two, as mb_active_part does but in no order. (cuts.c) */
uint32_t mb_cut(const mb_layer *l, const uint8_t *features, mb_list_place *next, uint16_t *list);

/* bits [ceil(inputs / 32)] = those that cuts turn on, with zero padding. list: room for one part. */
void mb_cut_bits(const mb_layer *l, const uint8_t *features, uint16_t *list, uint32_t *bits);

/* bits [ceil(values / 32)] = packed input, with zero padding. */
void mb_unpack(const mb_layer *l, const uint8_t *input, uint32_t *bits);

/* out [ceil(N / 32)] = activations, mask (same shape, or NULL) = straight-through mask, from the `active` inputs listed. */
void mb_dense(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask, uint32_t *carry);

/* scores [N] from the `active` inputs listed. */
void mb_output(const mb_layer *l, const uint16_t *list, uint32_t active, int32_t *scores, uint32_t *carry);

/* Index of the largest score, the lowest one on a tie. */
uint16_t mb_best_class(const int32_t *scores, uint32_t classes);

uint32_t mb_conv_bits_work(const mb_layer *l); /* words of arena->kernel_scratch that mb_conv_bits needs */
void mb_conv_bits(const mb_layer *l, const mb_arena *arena, const uint32_t *image, uint32_t *out);

/* Returns word `index` of the weights: one bit for each of 32 units, or of 16 units if l->lanes16. */
static inline uint32_t mb_weights(const mb_layer *l, uint32_t index)
{
    return mb_lanes_at(l->sign, index, l->lanes16);
}

/* v [planes] = V + n of the 32 units of row r, where n inputs are listed. Callers subtract n by mb_sign_of_sum or mb_lane_values.
 * On/off inputs give V = a - theta, +-1 inputs V = (a - theta) / 2 (docs/learning-rule.md, "Sums"). */
static inline void mb_sums(const mb_layer *l, uint32_t r, const uint16_t *lists, const mb_run *run, uint32_t runs, uint32_t *v,
                           uint32_t *carry)
{
    const mb_word *const w = (const mb_word *)(const void *)l->sign + r * (l->inputs + 1u);
    mb_add_columns(w, lists, run, runs, l->fold + r * l->planes, v, l->planes, carry);
}

/// Bytes (dense_bytes.c, conv_bytes.c) ///

/* planes [MB_BYTE_PLANES][ceil(n / 32)] = n bytes as bit planes, or as planes of signed digits where speed counts. */
void mb_slice_bytes(const uint8_t *input, uint32_t n, uint32_t *planes);
void mb_dense_bytes(const mb_layer *l, const mb_arena *arena, const uint32_t *planes, uint32_t *out);
uint32_t mb_conv_bytes_work(const mb_layer *l); /* words of arena->kernel_scratch that mb_conv_bytes needs */
void mb_conv_bytes(const mb_layer *l, const mb_arena *arena, const uint8_t *image, uint32_t *out);

/// Grades (graded.c) ///

/* A gate falls from grade 8 to -8 while |V| rises from low to high. */
typedef struct mb_ramp {
    uint32_t low, high;
} mb_ramp;

/* Lists the input of every bit that is on, in ascending order of bits, and returns their number. */
uint32_t mb_graded_inputs(const mb_layer *l, const uint32_t *bits, uint16_t *list);
mb_ramp mb_ramp_of(const mb_layer *l, const int32_t *values);
/* grades [N] from V [N]; both may be one array. more: the grades are shifted left by eight bits, and these are added. */
void mb_grade(const mb_layer *l, mb_ramp ramp, uint32_t more, const int32_t *values, int32_t *grades);
void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits); /* arena->graded_values [N] = grades */
void mb_graded_output(const mb_layer *l, const int32_t *grades, int32_t *scores);

/// Gates, units from nothing, and what follows them (gates.c, triples.c, levels.c, head.c) ///

/* arena->values = the levels of all units [N] or, before a head, its values [2 N]. features: those of the cuts before, or NULL, and
 * then the input's bits are in l->in. */
void mb_gates(const mb_layer *l, const mb_arena *arena, const uint8_t *features);

/* values [H] of units from nothing, from features of a byte or of two. */
void mb_triples(const mb_layer *l, const uint8_t *features, int8_t *values);

/* scores [C] = products of the levels [C][K + 1] and the grades x [K], -8..8; the last level of a row is the offset. pairs: room for
 * K / 2 words. */
void mb_levels_scores(const mb_layer *l, const int8_t *x, uint32_t *pairs, int32_t *scores);

/* scores [C] of a head, 2^14 a nat, from values x [H]; INT32_MIN of a class that it does not know. */
void mb_head_scores(const mb_layer *l, const int8_t *x, int32_t *scores);

#endif
