/* Bit-sliced sums of weight columns, from words only: no layer record is read here. sums.c. */
#ifndef MB_SUMS_H
#define MB_SUMS_H

#include "bits.h"

/* A stretch of a list: entries from .. from + count - 1, count a multiple of 8. Input number = offset + entry. */
typedef struct mb_run {
    uint32_t from, count;
    int32_t offset;
} mb_run;

static inline mb_run mb_whole_list(uint32_t active)
{
    const mb_run run = {0, (active + 7u) & ~7u, 0};
    return run;
}

/* Pads the list to a multiple of 8 with `inputs`, the index of the zero word. Returns the length before. */
uint32_t mb_pad_list(const uint16_t *list, uint16_t *end, uint32_t inputs);

/* Lists the inputs whose bit is on, in ascending order, pads the list and returns their number. */
uint32_t mb_active_inputs(const uint32_t *bits, uint32_t inputs, uint16_t *list);

/* Gates list their inputs in parts of at most so many, which need less memory than one list of all. A part ends when fewer than
 * MB_ROOM_LEFT entries are free. */
enum { MB_LISTED = 256, MB_ROOM_LEFT = 32 };

/* As mb_active_inputs, of one part: from input *next on, which it moves to where the next part begins, to `inputs` or more after the last. */
uint32_t mb_active_part(const uint32_t *bits, uint32_t inputs, uint32_t *next, uint16_t *list);

/* v [planes] = start [planes] + 2 * sum of the listed columns of w, for 32 sums at once. pre: planes >= 5. carry: one word for
 * each 16 inputs of a run, begun or whole, and 8 more. */
void mb_add_columns(const mb_word *w, const uint16_t *lists, const mb_run *run, uint32_t runs, const mb_word *start, uint32_t *v,
                    unsigned planes, uint32_t *carry);

/* v [planes] += 2 * sum of the columns of w that the list names, in a small program (image.h). v has room for 8 planes. */
void mb_sum_columns(const mb_word *w, const uint16_t *list, uint32_t active, uint32_t *v, unsigned planes, uint32_t *carry);

/* values[i] = lane i of v as a signed integer, less `minus`, for i < n. pre: n <= 32, planes <= 24. */
void mb_lane_values(const uint32_t *v, unsigned planes, uint32_t minus, int32_t *values, uint32_t n);

/* Swaps bits (mask << shift) of x with bits mask of y. */
#define MB_SWAP(x, y, shift, mask)                             \
    do {                                                       \
        const uint32_t t_ = (((x) >> (shift)) ^ (y)) & (mask); \
        (y) ^= t_;                                             \
        (x) ^= t_ << (shift);                                  \
    } while (0)

/* Transposes the eight planes a .. h: bit p of byte m of to[i] = lane 8 m + i of plane p. It is written out, because a loop would keep
 * the words in memory where compilers optimise for size. */
MB_INLINE void mb_transpose_eight(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f, uint32_t g, uint32_t h,
                                  uint32_t *to)
{
    MB_SWAP(a, e, 4, 0x0F0F0F0Fu);
    MB_SWAP(b, f, 4, 0x0F0F0F0Fu);
    MB_SWAP(c, g, 4, 0x0F0F0F0Fu);
    MB_SWAP(d, h, 4, 0x0F0F0F0Fu);
    MB_SWAP(a, c, 2, 0x33333333u);
    MB_SWAP(b, d, 2, 0x33333333u);
    MB_SWAP(e, g, 2, 0x33333333u);
    MB_SWAP(f, h, 2, 0x33333333u);
    MB_SWAP(a, b, 1, 0x55555555u);
    MB_SWAP(c, d, 1, 0x55555555u);
    MB_SWAP(e, f, 1, 0x55555555u);
    MB_SWAP(g, h, 1, 0x55555555u);
    to[0] = a, to[1] = b, to[2] = c, to[3] = d, to[4] = e, to[5] = f, to[6] = g, to[7] = h;
}

#endif
