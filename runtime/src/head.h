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
    uint32_t memory, covariance_memory, prior;  /* N; TMAX; 1: frequent classes score higher */
    int32_t ridge;                              /* EPS */
    mb_int *offsets, *priors;                   /* b [R] and prior [R]: they follow from the rest; 2^14 is one nat */
    mb_short *covariance, *means;               /* S [H(H+2)/2], row p holds columns 0..p|1; M [R][H] */
    mb_half *counts, *counters;                 /* n [R]; counters [3] */
    int8_t *weights;                            /* W [R][H] */
    uint8_t *owner, *doubt;                     /* [R], [C]; owner is NULL where row r is class r */
} mb_head;

/* Finds the parts of a head's state. pre: the record is checked. */
void mb_head_at(const mb_layer *l, mb_head *h);

/* A row's offset and prior follow from the rest of a state; the prior is 0 where the count is. most: the largest count. */
int32_t mb_head_offset(const mb_head *h, uint32_t row);
int32_t mb_head_prior(const mb_head *h, uint32_t row, uint32_t most);
uint32_t mb_head_largest_count(const mb_head *h);

/* Bytes of the state of a head with H values. */
static inline uint32_t mb_head_state_size(uint32_t values, uint32_t rows, uint32_t classes, int owned)
{
    return 8u * rows + values * (values + 2u) + 2u * rows * values + 2u * rows + 6u + rows * values +
           (owned ? rows + classes : 0);
}

#endif
