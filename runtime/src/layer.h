/* What the library's own files share: a layer as it lies in the image, and the arena's division. */
#ifndef MB_LAYER_H
#define MB_LAYER_H

#include "bits.h"
#include "metabit.h"

#define MB_MAGIC 0x5449424Du /* "MBIT" */
#define MB_MAX_IMAGE (1u << 18) /* values of one image between layers: 32 KiB of bits */

/* Parts that a build may leave out (metabit.h, "Build"). */
#ifdef MB_WITHOUT_LEARN
#define MB_HAS_LEARN 0
#else
#define MB_HAS_LEARN 1
#endif
#ifdef MB_WITHOUT_CONV
#define MB_HAS_CONV 0
#else
#define MB_HAS_CONV 1
#endif
#ifdef MB_WITHOUT_BYTES
#define MB_HAS_BYTES 0
#else
#define MB_HAS_BYTES 1
#endif
#ifdef MB_WITHOUT_GRADED
#define MB_HAS_GRADED 0
#else
#define MB_HAS_GRADED 1
#endif
#if defined(MB_WITHOUT_TERNARY) || !MB_HAS_LEARN
#define MB_HAS_TERNARY 0
#else
#define MB_HAS_TERNARY 1
#endif
#ifdef MB_WITHOUT_CHECKS
#define MB_HAS_CHECKS 0
#else
#define MB_HAS_CHECKS 1
#endif

enum { MB_ENCODE = 1, MB_DENSE = 2, MB_OUTPUT = 3, MB_CONV = 4, MB_GRADED = 5, MB_TERNARY = 6 };
enum { MB_ON_OFF = 0, MB_PLUS_MINUS = 1, MB_BYTES = 2, MB_GRADES = 3 };
enum { MB_PLANES_MIN = 6, MB_PLANES_MAX = 20 };              /* counter planes of a layer on bits */
enum { MB_PLANES_MIN_BYTES = 12, MB_PLANES_MAX_BYTES = 24 }; /* on bytes, whose highest digit enters at plane 9 */
enum { MB_SUMS = 128 }; /* 8 tables of 16 signed sums, 4 of 32, or as many visits */
enum { MB_BYTE_PLANES = 17 };                                /* of signed digits: + and - at eight places, then + 256 */
enum { MB_HEADER_SIZE = 64, MB_RECORD_SIZE = 64, MB_STATE_HEADER = 16 };
enum { /* offsets of header fields */
    MB_AT_MINOR = 6, MB_AT_SIZE = 8, MB_AT_HEADER_CRC = 12,
    MB_AT_CONST = 16, MB_AT_CONST_SIZE = 20, MB_AT_CONST_CRC = 24,
    MB_AT_STATE = 28, MB_AT_STATE_SIZE = 32, MB_AT_STATE_CRC = 36,
    MB_AT_LAYERS = 40, MB_AT_INPUT = 42, MB_AT_CLASSES = 44,
    MB_AT_TEMPERATURE = 48, MB_AT_MARGIN = 50
};

/* The head of the state memory. Counters are modulo 2^32. */
typedef struct mb_counters {
    uint32_t generator; /* xorshift32, never zero */
    uint32_t steps, moved, flipped;
} mb_counters;

/* What a layer is, of the kinds that this build has; mb_open refuses the others. Constant where a part is left out, so that
 * nothing of it is asked for. */
#define MB_IS_CONV(l) (MB_HAS_CONV && (l)->kind == MB_CONV)
#define MB_IS_GRADED(l) (MB_HAS_GRADED && (l)->kind == MB_GRADED)
#define MB_ON_BYTES(l) (MB_HAS_BYTES && (l)->input == MB_BYTES)
#define MB_ON_GRADES(l) (MB_HAS_GRADED && (l)->input == MB_GRADES)

/* One layer record, with its offsets turned into pointers into the image or, for what learns, into the state. */
typedef struct mb_layer {
    uint8_t kind, input, bits, planes, half, learns; /* half: 1 if words have 16 lanes, not 32 */
    uint8_t ternary;                                 /* 1 if its record's kind is MB_TERNARY; its own is then MB_DENSE */
    uint32_t inputs, units;                          /* K (of a convolution: one window), N */
    uint16_t height, width, channels; /* of a convolution, as the next line; of an encoder the channels: 0 is all features */
    uint8_t kernel, stride, pool, same;              /* sides of window and pooled square; same: 1 if padded with +1 */
    uint32_t window;                                 /* largest |V| that lets an error through */
    uint16_t low, high, gain;                        /* of a graded layer, as all down to batch */
    uint8_t depth, draws;
    uint16_t batch;
    uint32_t dose;
    uint8_t *sign;             /* [r][K + 1] words; the last of each row is zero and pads lists */
    uint8_t *levels;           /* [r][K][k - 1] words, most significant first */
    mb_word *fold;             /* [r][planes] bit-sliced constants, 32 lanes */
    const mb_half *tables;     /* strengthen[2^(k-1)], weaken[2^(k-1)] */
    const mb_int *scores;      /* mul[N], add[N] */
    const uint8_t *thresholds; /* [P][F] */
    const mb_half *need;       /* [3 * batch * P + 1] */
#ifdef MB_WIDE
    struct mb_wide_layer *wide; /* its copy; NULL without one */
#endif
} mb_layer;

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
    uint32_t *sizes;               /* inputs on, and 16 times the mean |V|, of a graded layer; nothing without one */
    int32_t *scores;               /* (classes) */
    uint32_t *mask[MB_MAX_LAYERS]; /* straight-through mask of layer l */
    int32_t *error[2];             /* (max N) each */
    int32_t *sums;                 /* MB_SUMS words: tables, then visits; or more, 3 for each 32 units of a ternary layer, by eights */
    mb_votes votes;
} mb_arena;

/// Image (image.c, check.c) ///

/* Of header and records, which are aligned. */
MB_INLINE uint32_t mb_u16_at(const uint8_t *p)
{
    return *(const mb_half *)(const void *)p;
}

MB_INLINE uint32_t mb_u32_at(const uint8_t *p)
{
    return *(const mb_word *)(const void *)p;
}

static inline const uint8_t *mb_record_at(const uint8_t *image, unsigned index)
{
    return image + MB_HEADER_SIZE + (size_t)MB_RECORD_SIZE * index;
}

MB_INLINE unsigned mb_layer_count(const mb_model *m)
{
    return mb_u16_at(m->image + MB_AT_LAYERS);
}

/* CRC-32 of the first n bytes, those of the word at `hole` taken as zero; a hole at n or after is none. */
uint32_t mb_crc32(const uint8_t *p, uint32_t n, uint32_t hole);
void mb_layer_at(const mb_model *m, unsigned index, mb_layer *layer);
uint32_t mb_arena_plan(const mb_model *m, mb_mode mode, mb_arena *arena); /* bytes */

/// Inference (forward.c, conv.c, bytes.c, graded.c, passes.c) ///

enum { MB_NO_MASKS = MB_MAX_LAYERS };

/* Runs every layer on `input`; leaves packed activations in the arena, straight-through masks of the dense layers from number
 * `masks_from` on, and scores in arena->scores. A graded layer from there on is left to mb_vote_step. */
void mb_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned masks_from);
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
uint16_t mb_best_class(const int32_t *scores, uint32_t classes);

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

/* Values that come in. */
static inline uint32_t mb_values(const mb_layer *l)
{
    return MB_IS_CONV(l) ? (uint32_t)l->height * l->width * l->channels : MB_IS_GRADED(l) ? l->depth * l->inputs : l->inputs;
}

/* Whether this layer can never learn: no error is taken through a window or to bytes. */
static inline int mb_is_feature(const mb_layer *l)
{
    return MB_IS_CONV(l) || MB_ON_BYTES(l);
}

/* The first n <= 32 lanes of bit-sliced two's complement planes, at most 24, as integers, each less `minus`. */
void mb_lane_values(const uint32_t *v, unsigned planes, uint32_t minus, int32_t *values, uint32_t n);
/* Lists the input of every bit that is on, ascending by bit. */
uint32_t mb_graded_inputs(const mb_layer *l, const uint32_t *bits, uint16_t *list);
/* Adds eight words to bit-sliced sums of at least four planes, 32 sums at once. */
void mb_add_eight(uint32_t *v, unsigned planes, const uint32_t *w);
/* V of all units, four times with weights drawn anew, one after the other: (4, N). Four times the V of the weights' average is
 * their sum. work: 4 * MB_PLANES_MAX words. */
void mb_graded_passes(const mb_layer *l, const uint16_t *list, uint32_t active, uint32_t *generator, int32_t *values, int32_t *work);

/* Between which |V| the grades fall from 8 to -8; mean is 16 times that of |V|. */
typedef struct mb_ramp {
    uint32_t mean, low, high;
} mb_ramp;

mb_ramp mb_ramp_of(const mb_layer *l, const int32_t *values);
void mb_grade(const mb_layer *l, mb_ramp ramp, int32_t *values); /* V -> v, in place */
void mb_graded(const mb_layer *l, const mb_arena *arena, const uint32_t *bits);
void mb_grade_mean(const mb_layer *l, const mb_arena *arena, uint32_t active); /* V of the average weights -> what goes out */
void mb_graded_output(const mb_layer *l, const int32_t *grades, int32_t *scores);
void mb_vote_step(const mb_model *m, const mb_arena *arena, uint16_t label, mb_learn_info *info);

/* Height or width after the convolution, before pooling. */
static inline uint32_t mb_convolved(const mb_layer *l, uint32_t size)
{
    return l->same ? (size + l->stride - 1u) / l->stride : (size - l->kernel) / l->stride + 1u;
}

/* Rows (or columns) of +1 before the image: of an odd number of them the larger half lies after it. */
static inline int32_t mb_pad_before(const mb_layer *l, uint32_t size)
{
    const uint32_t span = (mb_convolved(l, size) - 1u) * l->stride + l->kernel;
    return l->same && span > size ? (int32_t)((span - size) / 2u) : 0;
}

/* Height or width after pooling: what does not fill a square is dropped. */
static inline uint32_t mb_side(const mb_layer *l, uint32_t size)
{
    return mb_convolved(l, size) / l->pool;
}

/* Values that go out: H' * W' * N. */
static inline uint32_t mb_outputs(const mb_layer *l)
{
    return MB_IS_CONV(l) ? mb_side(l, l->height) * mb_side(l, l->width) * l->units : l->units;
}

uint32_t mb_conv_bits_work(const mb_layer *l); /* words it takes of arena->work */
void mb_conv_bits(const mb_layer *l, const mb_arena *arena, const uint32_t *image, uint32_t *out);
void mb_conv_bytes(const mb_layer *l, const mb_arena *arena, const uint8_t *image, uint32_t *out);
uint32_t mb_conv_bytes_work(const mb_layer *l); /* words it takes of arena->work */
void mb_dense_bytes(const mb_layer *l, const mb_arena *arena, const uint32_t *planes, uint32_t *out);
void mb_slice_bytes(const uint8_t *input, uint32_t n, uint32_t *planes); /* (MB_BYTE_PLANES, ceil(n / 32)) words */

#ifdef MB_WIDE /* on hosts (host/wide.c), while m->wide is set */
void mb_wide_layer_at(const mb_model *m, unsigned index, mb_layer *layer); /* as mb_layer_at and mb_arena_plan, remembered */
void mb_wide_arena(const mb_model *m, mb_arena *arena);
int mb_wide_forward(const mb_model *m, const mb_arena *arena, const uint8_t *input, unsigned index, unsigned masks_from); /* 0: not done */
void mb_wide_flip(const mb_layer *l, uint32_t input, uint32_t unit); /* after a weight of a layer with a copy flipped */
#endif

#ifdef MB_PROFILE
#define MB_MARK(phase, layer) mb_profile((phase), (layer))
#else
#define MB_MARK(phase, layer) ((void)0)
#endif

#endif
