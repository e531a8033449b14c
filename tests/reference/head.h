/* The head: class means with a streamed covariance, in integers. docs/learning-rule.md specifies it to the bit. */
#ifndef MB_HEAD_H
#define MB_HEAD_H

#include <stdint.h>

#define MB_HEAD_MAX_VALUES 128
#define MB_HEAD_MAX_ROWS 128
#define MB_HEAD_COUNT_LIMIT 1024 /* a count that reaches it makes all counts halve */
#define MB_HEAD_COUNT_FLOOR 64   /* halving leaves no count below min(count, this) */

/* Entries of S before row p: row p holds the columns 0..p|1, so that every row has an even length. */
static inline uint32_t mb_head_row_start(uint32_t p)
{
    const uint32_t half = p >> 1;
    return 2u * half * (half + 1u) + ((p & 1u) ? 2u * (half + 1u) : 0u);
}

/* A head of H values and R rows. A row holds one class mean; all rows share the covariance.
 *
 * pre: 2 <= H <= 128, H even; 2 <= R <= 128
 * inv: n[r] < 1024;  seen <= covariance_memory or 64;  turn < R */
typedef struct mb_head {
    uint16_t values;            /* H */
    uint16_t rows;              /* R */
    uint16_t memory;            /* N, 1..1023 samples: a mean moves by 1/(min(n, N) + 1) */
    uint16_t covariance_memory; /* TMAX, 64..8192 samples, or 0 to keep the covariance as it is */
    uint16_t ridge;             /* EPS, 1..32767; 4096 is one variance before deployment */
    uint16_t prior;             /* 1: frequent classes score higher, by at most ln 4 */
    uint16_t sweep_every;       /* EVERY: weights follow every so many steps; a power of two */
    int16_t *covariance;        /* S [H(H+2)/2], row after row; 4096 is one variance */
    int16_t *means;             /* M [R][H]; 256 is one unit of a value */
    int32_t *offsets;           /* b [R]; 2^14 is one nat */
    int32_t *priors;            /* [R]; of rows with n > 0, kept so that a prediction needs no division */
    uint16_t *counts;           /* n [R]; 0 is a row without a class mean */
    int8_t *weights;            /* W [R][H] */
    uint16_t *counters;         /* [3]: seen (T), dither (z), turn */
} mb_head;

/* Computes what follows from the rest of the state: all offsets and priors. */
void mb_head_derive(const mb_head *h);

/* Writes R scores, 2^14 a nat, INT32_MIN for a row with n = 0; scores may be NULL. x: H values in -127..127.
 * Returns the row with the highest score, the lowest on a tie. */
uint16_t mb_head_predict(const mb_head *h, const int8_t *x, int32_t *scores);

/* One learning step on a sample whose class has this row. pre: row < R; x in -127..127. step: number of steps, this one included;
 * residual: scratch of H int16. */
void mb_head_learn(const mb_head *h, const int8_t *x, uint16_t row, uint32_t step, int16_t *residual);

#endif
