/* The head: class means with a streamed covariance, in integers. docs/learning-rule.md specifies it to the bit. head.c. */
#ifndef MB_HEAD_H
#define MB_HEAD_H

#include "image.h"

enum {
    MB_HEAD_MOST = 128,        /* values, and rows */
    MB_HEAD_COUNT_LIMIT = 1024, /* a count that reaches it makes all counts halve */
    MB_HEAD_COUNT_FLOOR = 64,  /* halving leaves no count below min(count, this); so does T */
    MB_HEAD_FREE = 255         /* owner of a row without samples */
};
enum { MB_HEAD_SEEN, MB_HEAD_DITHER, MB_HEAD_TURN }; /* counters: T, z, turn */

/* A head of H values and R rows: its settings, and its state, which is one block (FORMAT.md). A row holds one class mean; all rows
 * share the covariance.
 *
 * inv: 2 <= H <= 128, even; 2 <= R <= 128; 1 <= memory <= 1023; 1 <= ridge <= 32767. Whatever the state holds, no call leaves it, and
 * no sum but those of offset, prior and score, which are made modulo 2^32, passes 32 bits. */
typedef struct mb_head {
    uint32_t values, rows, classes;             /* H, R, C */
    const uint8_t *record;                      /* its settings: the macros below */
    mb_int *offsets, *priors;                   /* b [R] and prior [R]: they follow from the rest; 2^14 is one nat */
    mb_short *covariance, *means;               /* S [H(H+2)/2], row p holds columns 0..p|1; M [R][H] */
    mb_half *counts, *counters;                 /* n [R]; counters [3] */
    int8_t *weights;                            /* W [R][H] */
    uint8_t *owner;                             /* [R], then the doubts [C]; NULL where row r is class r */
} mb_head;

/* True if classes may have several rows: else row r is class r. */
#define MB_HEAD_OWNED(h) (MB_HAS_ROWS && (h)->owner != NULL)

#define MB_HEAD_MEMORY(h) mb_u16_at((h)->record + 40)            /* N */
#define MB_HEAD_COVARIANCE_MEMORY(h) mb_u16_at((h)->record + 42) /* TMAX */
#define MB_HEAD_RIDGE(h) ((int32_t)mb_u16_at((h)->record + 44))  /* EPS */
#define MB_HEAD_PRIOR(h) ((h)->record[46])                       /* 1: frequent classes score higher */

/* Finds the parts of a head's state. pre: the record is checked. */
void mb_head_at(const mb_layer *l, mb_head *h);

/* A row's offset and prior follow from the rest of a state; the prior is 0 where the count is. most: the largest count. */
int32_t mb_head_offset(const mb_head *h, uint32_t row);
int32_t mb_head_prior(const mb_head *h, uint32_t row, uint32_t most);
uint32_t mb_head_largest_count(const mb_head *h);

/* Score of a row from sum = W x. |32 W x| <= 32 * 128 * 128 * 128 = 2^26. |b| <= 2^25 and prior < 2^21 in a state that mb_open has checked, so a score fits; with other
 * bits in RAM it wraps. The prior of a row is 0 exactly where its count is. */
MB_INLINE int32_t mb_head_row_score(const mb_head *h, uint32_t row, uint32_t sum)
{
    const uint32_t prior = (uint32_t)h->priors[row];
    return prior == 0 ? INT32_MIN : (int32_t)((uint32_t)h->offsets[row] + 32u * sum + prior);
}

/// Inner loops (head_loops.c). H is even, and each row begins at an even address ///

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && defined(__ARM_FEATURE_UNALIGNED)
#define MB_HEAD_PAIRS
typedef int16_t mb_residual;
enum { MB_RESIDUAL_UNIT = 16, MB_NEXT_VALUE = 1, MB_NEXT_ROW = 2 };
#else
#if defined(__ARM_ARCH_6M__) && defined(__GNUC__)
#define MB_HEAD_BY_HAND
#endif
typedef int32_t mb_residual;
enum { MB_RESIDUAL_UNIT = 1, MB_NEXT_VALUE = 2, MB_NEXT_ROW = 1 };
#endif

/* Products of values x [H] with two rows of weights: the first in the low word. */
uint64_t mb_head_products(const int8_t *first, const int8_t *second, const int8_t *x, uint32_t values);

/* S moves by rate/65536 of the way to 4 r r', in the two rows s that are as long as the residuals, whose last two are theirs. A residual
 * stands in units of 1 / MB_RESIDUAL_UNIT. z: dither of the first of the two rows. */
void mb_head_move(mb_short *s, const mb_residual *residuals, const mb_residual *end, uint32_t rate, uint32_t z);

/* sums[2 k], sums[2 k + 1] = sum over all columns but i and i + 1 of rows i and i + 1 of S, times the weights k, k = 0, 1. s: row i, even.
 * Entries above the diagonal are read from the columns i and i + 1 of the rows below.
 * w: blocks of four half words for the values j and j + 1 (j even) of both; MB_NEXT_VALUE and MB_NEXT_ROW give their order. */
void mb_head_row_sums(const mb_short *s, uint32_t i, uint32_t values, const mb_word *w, int32_t *sums);

/// Learning (covariance.c) ///

/* The covariance moves by values x of a sample of this row, whose mean and count are still those before it. scratch: H words. */
void mb_head_learn_covariance(const mb_head *h, const int8_t *x, uint32_t row, int32_t *scratch);

/* Sweeps the weights of a row, and once, beside its first sweep, those of another, which may be the row itself; then their offsets.
 * scratch: H words. */
void mb_head_sweep(const mb_head *h, uint32_t row, uint32_t other, uint32_t sweeps, int32_t *scratch);

/* Bytes of the state of a head with H values. */
static inline uint32_t mb_head_state_size(uint32_t values, uint32_t rows, uint32_t classes, int owned)
{
    return 8u * rows + values * (values + 2u) + 2u * rows * values + 2u * rows + 6u + rows * values +
           (owned ? rows + classes : 0);
}

#endif
