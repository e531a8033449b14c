/* Sums of weight columns, bit-sliced; sums.c. Knows words, not layers. */
#ifndef MB_SUMS_H
#define MB_SUMS_H

#include "bits.h"

/* Lists the inputs set in `bits`, in any order, and returns their number. */
uint32_t mb_active_inputs(const uint32_t *bits, uint32_t inputs, uint16_t *list);
/* Fills a list up to a multiple of eight with the index of the zero word; returns its length before. */
uint32_t mb_pad_list(uint16_t *list, uint16_t *end, uint32_t inputs);
/* A stretch of listed inputs: count, a multiple of eight, of them from number `from` on; input is offset + entry. */
typedef struct mb_run {
    uint32_t from, count;
    int32_t offset;
} mb_run;

static inline mb_run mb_whole_list(uint32_t active)
{
    const mb_run run = {0, (active + 7u) & ~7u, 0};
    return run;
}

/* v = start + twice the columns of the listed inputs, 32 sums at once; `planes` at least 5. carry: a word for each 16 inputs of
 * a run, begun or whole, and 8 more. */
void mb_add_columns(const mb_word *w, const uint16_t *lists, const mb_run *run, uint32_t runs, const mb_word *start, uint32_t *v,
                    unsigned planes, uint32_t *carry);
/* The first n <= 32 lanes of bit-sliced two's complement planes, at most 24, as integers, each less `minus`. */
void mb_lane_values(const uint32_t *v, unsigned planes, uint32_t minus, int32_t *values, uint32_t n);
/* Adds eight words to bit-sliced sums of at least four planes, 32 sums at once. */
void mb_add_eight(uint32_t *v, unsigned planes, const uint32_t *w);

#endif
