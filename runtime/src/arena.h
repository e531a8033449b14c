/* The arena: scratch memory, divided anew at every call; and the functions by which a host replaces kernels. arena.c. */
#ifndef MB_ARENA_H
#define MB_ARENA_H

#include "image.h"

enum { MB_LEARN_WORDS = 128 }; /* room for 8 tables of 16 signed sums, 4 tables of 32, or as many visits */

/* Memory of a layer that learns by votes. slot, inputs and drawn are its kept samples, one behind the other: in the state or, before
 * format 1.6, at the end of the arena, which then keeps them between calls. */
typedef struct mb_votes {
    int32_t *passes;  /* [4][N]: V of passes with sampled weights */
    uint32_t *slot;   /* number of the slot that the next sample takes; NULL if no layer learns by votes */
    uint32_t *inputs; /* [batch][ceil(P * K / 32)]: input bits of the kept samples */
    uint32_t *drawn;  /* [batch][ceil(N / 32)][3]: which units vote for down; bits 0 and 1 of their number of votes */
    uint16_t *lists;  /* of kept samples, in `error` and `passes`: for all inputs that a step counts, if they fit, else for one */
    uint32_t *lists_end; /* also the place of `slot` if the samples lie in the arena */
} mb_votes;

enum { MB_DIGITS = 4 }; /* binary digits of a number of planes, 0 .. 8 */

/* Most inputs that one step counts. */
static inline uint32_t mb_counted(const mb_layer *l)
{
    return (l->inputs + l->batch - 1u) / l->batch;
}

/* Entries of the lists of one of them. */
static inline uint32_t mb_list_room(const mb_layer *l)
{
    return (uint32_t)l->depth * l->batch + MB_DIGITS; /* a number n of planes has at most n digits that are 1 */
}

/* The parts of the arena, each 4-byte aligned. `error`, `learn_scratch` and `votes` exist only for learning. */
typedef struct mb_arena {
    mb_layer *layers;         /* [count] all records, read once a call */
    unsigned count;           /* layers */
    unsigned lowest;          /* index of the lowest layer that learns; count if none does */
    uint16_t *active;         /* [max K + 8] listed inputs; 2 K + 24 for a dense layer on bytes, at most MB_LISTED + 8 for gates. Then
                               * pairs of values, for output levels */
    uint32_t *carry;          /* [max K / 16 + kernel + 9] words that the adder tree carries out */
    uint32_t *kernel_scratch; /* memory of a convolution or of a layer on bytes while it runs */
    int32_t *graded_values;   /* [N] V of a graded layer's units, then their grades */
    uint32_t *sums;           /* [ceil(N / 32)][planes] sums of gates over the parts of their list so far, if it can have several */
    int8_t *values;           /* what gates give: [N] levels, or [H] the values of a head. Until gates write them, the bits of their input lie there */
    int32_t *scores;          /* [classes]; then the errors at the output */
    int32_t *error[2];        /* [max N] each */
    int32_t *learn_scratch;   /* max(MB_LEARN_WORDS, 3 * round_up_8(ceil(N / 32)) of ternary layers) words, used in turn for the
                               * backward tables, the ternary signs and the queue of visits; MB_FOURS_WORDS for votes; else H
                               * words of a head: residuals, then two rows of weights */
    mb_votes votes;
} mb_arena;

/* Divides the arena and reads all records into it. pre: the arena holds mb_arena_size(m, mode) bytes. */
void mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena);

/* A host's faster kernels. The library calls a host through this table only, and only in a build with MB_WIDE. */
typedef struct mb_host_ops {
    /* Runs a layer, which lies in mb_arena.layers, as mb_forward does. */
    void (*forward)(const mb_layer *l, const uint8_t *input, int learning);
    /* Called after the weight from `input` to `unit` has flipped, or its level of an output of levels has changed. */
    void (*changed)(const mb_layer *l, uint32_t unit, uint32_t input);
} mb_host_ops;

#ifdef MB_WIDE
#define MB_TELL_HOST(l, unit, input) ((l)->host != NULL ? (l)->host->ops->changed(l, unit, input) : (void)0)
#else
#define MB_TELL_HOST(l, unit, input) ((void)0)
#endif

/* A host's part of a model: mb_model.host points to it. */
struct mb_host {
    const mb_host_ops *ops;
    mb_arena arena; /* divided and read once */
};

/* A host's copy of one layer's weights: mb_layer.host points to it, or is NULL where the library runs the layer. */
struct mb_host_layer {
    const mb_host_ops *ops;
};

#endif
