/* What the library's own files share: a layer as it lies in the image, and the arena's division. */
#ifndef MB_LAYER_H
#define MB_LAYER_H

#include "bits.h"
#include "metabit.h"

enum { MB_ENCODE = 1, MB_DENSE = 2, MB_OUTPUT = 3 };
enum { MB_ON_OFF = 0, MB_PLUS_MINUS = 1 };
enum { MB_PLANES_MIN = 6, MB_PLANES_MAX = 20 };
enum { MB_AT_TEMPERATURE = 48, MB_AT_MARGIN = 50 }; /* half words in the header */
enum { MB_HEADER_SIZE = 64, MB_RECORD_SIZE = 64, MB_STATE_HEADER = 16 };

/* The head of the state memory. Counters are modulo 2^32. */
typedef struct mb_counters {
    uint32_t generator; /* xorshift32, never zero */
    uint32_t steps, moved, flipped;
} mb_counters;

/* One layer record, with its offsets turned into pointers into the image or, for what learns, into the state. */
typedef struct mb_layer {
    uint8_t kind, input, bits, planes, half, learns; /* half: 1 if words have 16 lanes, not 32 */
    uint32_t inputs, units;                          /* K, N */
    uint32_t window;                                 /* largest |V| that lets an error through */
    uint32_t dose;
    uint8_t *sign;             /* [r][K + 1] words; the last of each row is zero and pads lists */
    uint8_t *levels;           /* [r][K][k - 1] words, most significant first */
    mb_word *fold;             /* [r][planes] bit-sliced constants, 32 lanes */
    const mb_half *tables;     /* strengthen[2^(k-1)], weaken[2^(k-1)] */
    const mb_int *scores;      /* mul[N], add[N] */
    const uint8_t *thresholds; /* [P][F] */
} mb_layer;

/* The arena, in this order; every part is 4-byte aligned. The last three exist only for learning. */
typedef struct mb_arena {
    uint16_t *list;                /* (max K + 8) active inputs */
    uint32_t *carry;               /* (max K / 16 + 2) words, carries of the adder tree */
    uint32_t *bits[MB_MAX_LAYERS]; /* packed input of layer l, written by layer l - 1 */
    int32_t *scores;               /* (classes) */
    uint32_t *mask[MB_MAX_LAYERS]; /* straight-through mask of layer l */
    int32_t *error[2];             /* (max N) each */
    int32_t *sums;                 /* 8 tables of 16 partial sums */
} mb_arena;

unsigned mb_layer_count(const mb_model *m);
void mb_layer_at(const mb_model *m, unsigned index, mb_layer *layer);
uint32_t mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena); /* bytes; fills `arena` if not NULL */

/* Runs every layer on `input`; leaves packed activations (and masks, if learning) in the arena and scores in arena->scores. */
void mb_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, int learning);
/* Lists the inputs set in `bits` and pads the list to a multiple of eight with the index of the zero word. */
uint32_t mb_active_inputs(const uint32_t *bits, uint32_t inputs, uint16_t *list);
uint16_t mb_best_class(const int32_t *scores, uint32_t classes);

#ifdef MB_PROFILE
#define MB_MARK(phase, layer) mb_profile((phase), (layer))
#else
#define MB_MARK(phase, layer) ((void)0)
#endif

#endif
