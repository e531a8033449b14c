/* One function a kind of layer. */
#ifndef MB_LAYERS_H
#define MB_LAYERS_H

#include "arena.h"
#include "sums.h"

/// Inference (forward.c, conv.c, bytes.c, graded.c, passes.c) ///

enum { MB_NO_MASKS = MB_MAX_LAYERS };

/* Runs every layer on `input`; leaves packed activations in the arena, straight-through masks of the dense layers from number
 * `masks_from` on, and scores in arena->scores. A graded layer from there on is left to mb_vote_step. */
void mb_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned masks_from);
uint16_t mb_best_class(const int32_t *scores, uint32_t classes);

/* Lists the input of every bit that is on, ascending by bit. */
uint32_t mb_graded_inputs(const mb_layer *l, const uint32_t *bits, uint16_t *list);
/* V of all units, four times with weights drawn anew, one after the other: (4, N). Four times the V of the weights' average is
 * their sum. work: 4 * MB_PLANES_MAX words. */
void mb_graded_passes(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *generator, int32_t *values, int32_t *work);

/* Between which |V| the grades fall from 8 to -8. */
typedef struct mb_ramp {
    uint32_t low, high;
} mb_ramp;

mb_ramp mb_ramp_of(const mb_layer *l, const int32_t *values);
void mb_grade(const mb_layer *l, mb_ramp ramp, int32_t *values); /* V -> v, in place */
void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits);
void mb_graded_output(const mb_layer *l, const int32_t *grades, int32_t *scores);
uint32_t mb_conv_bits_work(const mb_layer *l); /* words it takes of arena->work */
void mb_conv_bits(const mb_layer *l, const mb_arena *arena, const uint32_t *image, uint32_t *out);
void mb_conv_bytes(const mb_layer *l, const mb_arena *arena, const uint8_t *image, uint32_t *out);
uint32_t mb_conv_bytes_work(const mb_layer *l); /* words it takes of arena->work */
void mb_dense_bytes(const mb_layer *l, const mb_arena *arena, const uint32_t *planes, uint32_t *out);
void mb_slice_bytes(const uint8_t *input, uint32_t n, uint32_t *planes); /* (MB_BYTE_PLANES, ceil(n / 32)) words */

/* V + n of 32 units, from their folded constants and the n active inputs: mb_sign_of_sum and mb_lane_values take n off
 * again. Only the bits that V has are right. On/off inputs give V = a - theta, +-1 inputs V = (a - theta) / 2
 * (docs/learning-rule.md, "Sums"). */
static inline void mb_sums(const mb_layer *l, uint32_t r, const uint16_t *lists, const mb_run *run, uint32_t runs, uint32_t *v,
                           uint32_t *carry)
{
    const mb_word *const w = (const mb_word *)(const void *)l->sign + r * (l->inputs + 1u);
    mb_add_columns(w, lists, run, runs, l->fold + r * l->planes, v, l->planes, carry);
}

/* The word of weights with this index: 32 or 16 units. */
static inline uint32_t mb_weights(const mb_layer *l, uint32_t index)
{
    return mb_lanes_at(l->sign, index, l->half);
}


void mb_encode(const mb_layer *l, const uint8_t *features, uint32_t *bits);
void mb_unpack(const mb_layer *l, const uint8_t *input, uint32_t *bits);
void mb_dense(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask, uint32_t *carry);
void mb_output(const mb_layer *l, const uint16_t *list, uint32_t active, int32_t *scores, uint32_t *carry);

#endif
