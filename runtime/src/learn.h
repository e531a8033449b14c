/* The parts of a learning step: errors, rates, visits, votes. docs/learning-rule.md names them. */
#ifndef MB_LEARN_H
#define MB_LEARN_H

#include "arena.h"

struct mb_fours; /* fours.h */

/* mb_learn from layer `first` on, whose input is in the arena unless first is 0. (learn.c) */
mb_status mb_learn_from(mb_model *m, unsigned first, const void *input, uint16_t label, mb_learn_info *info);

/* Sum and largest of the magnitudes of a layer's errors. */
typedef struct mb_error_norm {
    uint32_t sum, max;
} mb_error_norm;

/* Visit rate of a unit with error 1: per_error >> shift, in 1/65536. per_error = 0: the layer learns nothing. */
typedef struct mb_visit_rate {
    uint32_t per_error, shift;
} mb_visit_rate;

/// Errors (error.c) ///

/* table [32] = sums of +-error[i] of five units, for each pattern of their weights. */
void mb_five_signed_sums(const int32_t *error, int32_t *table);

mb_error_norm mb_error_norm_of(const int32_t *error, uint32_t units);

/* Softmax less one-hot, in 1/4096. error [classes] holds indices into the exponential table, 0 for the best class, on entry
 * and errors on return. Returns the true error, 0..4096. pre: every index >= 0. */
uint32_t mb_softmax_error(int32_t *error, uint32_t classes, uint16_t label);

/* arena->scores = error at the output, in place of the scores. Returns the true error, 0..4096, or 0 if the step is skipped. It counts the
 * step, and info has the prediction. */
uint32_t mb_begin_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info);

/* below [K] = errors of the inputs listed, or of the first `count` inputs where list is NULL; the others get 0.
 * tables: 8 of 16 signed sums. */
void mb_backward(const mb_layer *l, const int32_t *error, const uint16_t *list, uint32_t count, int32_t *below,
                 int32_t *tables);

/* As mb_backward for a layer whose words hold 16 units, on the inputs in `mask` or, where it is NULL, on all. tables: 4 of 32. */
mb_error_norm mb_backward_lanes16(const mb_layer *l, const int32_t *error, const uint32_t *mask, int32_t *below,
                                  int32_t *tables);

/* Halves all errors toward zero until the largest is below 2^14, and returns the norm after. post: max < 2^14, so that the
 * products and sums of any layer fit 32 bits. */
mb_error_norm mb_rescale(int32_t *error, uint32_t units);

/* Visit rate of a layer whose errors have this sum. pre: dose < 2^20, true_error <= 2^12. */
mb_visit_rate mb_visit_rate_of(const mb_layer *l, uint32_t sum, uint32_t true_error);

/// Ternary errors (backward_ternary.c) ///

/* As mb_backward from one random sign for each error. max: the largest magnitude. entries: 3 words for each 32 units, room for
 * a multiple of 8 entries. */
void mb_backward_ternary(const mb_layer *l, const int32_t *error, uint32_t max, const uint16_t *list, uint32_t count,
                         int32_t *below, uint32_t *entries, uint32_t *generator);

/* Thins the straight-through mask of the lowest learning layer: if it will make at most half as many visits as it has open
 * units, each open unit stays with probability 1/2. */
void mb_thin_mask(const mb_layer *lowest, uint32_t true_error, uint32_t *generator);

/// Visits and votes (visits.c, votes.c, sampled_passes.c) ///

/* Visits synapses, chosen at random in proportion to error [N]. visits: room for MB_LEARN_WORDS. list: the `listed` inputs that are on or,
 * if listed is 0, room for them. */
void mb_update(const mb_layer *l, const int32_t *error, mb_visit_rate rate, uint16_t *list, uint32_t listed, uint32_t *visits,
               uint32_t *generator, mb_learn_info *info);

/* error[0] [N] = sum of the errors of all passes with sampled weights; arena->scores = scores of the average weights. Returns the
 * true error, averaged over the passes. l: the graded layer. (vote_error.c) */
uint32_t mb_sample_error(const mb_model *m, const mb_arena *arena, const mb_layer *l, uint16_t label, uint32_t *generator);

/* One step of a graded layer that learns by votes, after the forward pass up to its input. */
void mb_vote_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info);

/* values [4][N] = V of all units in four passes with sampled weights. Their sum is four times the V of the average weights. */
void mb_graded_passes(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *generator, int32_t *values,
                      struct mb_fours *f);

/// Levels and heads (levels.c, head.c) ///

/* Moves the levels against error [C], |.| <= 4096, and counts the moves. x: as mb_levels_scores. Returns the number of levels visited.
 * pre: dose < 2^20. */
uint32_t mb_levels_learn(const mb_layer *l, const int8_t *x, const int32_t *error, mb_counters *counters);

/* The step of a network that ends in a head, after the forward pass. Returns the class predicted before the step, or MB_E_LABEL if it
 * knows no row of the class and has none left; then nothing has changed. */
int32_t mb_head_step(const mb_layer *l, const mb_arena *arena, uint32_t label, mb_counters *counters);

#endif
