/* The scratch memory and its division. */
#ifndef MB_ARENA_H
#define MB_ARENA_H

#include "image.h"

/* What a layer that learns by votes keeps between calls; not there without one. */
typedef struct mb_votes {
    int32_t *passes;  /* [4][N] V of passes with weights drawn anew */
    uint32_t *slot;   /* where the next sample goes */
    uint32_t *inputs; /* [P * K][batch / 32]: in which slots an input bit is on */
    uint32_t *asked;  /* [batch][3][ceil(N / 32)]: which units asked down; bits 0 and 1 of their votes */
} mb_votes;

/* The arena's parts, each 4-byte aligned; mb_arena_plan lays them out. Those from `mask` on exist only for learning. */
typedef struct mb_arena {
    uint16_t *list;                /* (max K + 8) active inputs; K is 2 K + 24 where a dense layer is on bytes */
    uint32_t *carry;               /* (max K / 16 + kernel + 9) words, carries of the adder tree */
    uint32_t *bits[MB_MAX_LAYERS]; /* packed input of layer l, written by layer l - 1; of a dense layer on bytes, MB_BYTE_PLANES */
    uint32_t *work;                /* what a convolution or a layer on bytes keeps while it runs; nothing without one */
    int32_t *values;               /* (N) V of a graded layer's units, then their grades; nothing without one */
    int32_t *scores;               /* (classes) */
    uint32_t *mask[MB_MAX_LAYERS]; /* straight-through mask of layer l */
    int32_t *error[2];             /* (max N) each */
    int32_t *sums;                 /* MB_SUMS words: tables, then visits; or more, 3 for each 32 units of a ternary layer, by eights */
    mb_votes votes;
} mb_arena;

uint32_t mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena); /* bytes */

#ifdef MB_WIDE /* on hosts (host/wide.c), while m->wide is set */
void mb_wide_layer_at(const mb_model *m, unsigned index, mb_layer *layer); /* as mb_layer_at and mb_arena_plan, remembered */
void mb_wide_arena(const mb_model *m, mb_arena *arena);
int mb_wide_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned index, unsigned masks_from); /* 0: not done */
void mb_wide_flip(const mb_layer *l, uint32_t input, uint32_t unit); /* after a weight of a layer with a copy flipped */
#endif

#endif
