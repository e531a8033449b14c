/* The image: its parts, kinds and field offsets, and one layer record as the library works with it. image.c. */
#ifndef MB_IMAGE_H
#define MB_IMAGE_H

#include "bits.h"
#include "metabit.h"

#define MB_MAGIC 0x5449424Du    /* "MBIT" */
#define MB_MAX_IMAGE (1u << 18) /* values of one picture between layers: 32 KiB of bits */

/* Each MB_HAS_ constant is 0 in a build that leaves the part out (metabit.h, "Build"), so that compilers drop its code. */
#ifdef MB_WITHOUT_LEARN
#define MB_HAS_LEARN 0
#else
#define MB_HAS_LEARN 1
#endif
#ifdef MB_WITHOUT_DENSE
#define MB_HAS_DENSE 0
#else
#define MB_HAS_DENSE 1
#endif
#if defined(MB_WITHOUT_CONV) || !MB_HAS_DENSE
#define MB_HAS_CONV 0
#else
#define MB_HAS_CONV 1
#endif
#if defined(MB_WITHOUT_BYTES) || !MB_HAS_DENSE
#define MB_HAS_BYTES 0
#else
#define MB_HAS_BYTES 1
#endif
#if defined(MB_WITHOUT_GRADED) || !MB_HAS_DENSE
#define MB_HAS_GRADED 0
#else
#define MB_HAS_GRADED 1
#endif
#if defined(MB_WITHOUT_VISITS) || !MB_HAS_LEARN || !MB_HAS_DENSE
#define MB_HAS_VISITS 0
#else
#define MB_HAS_VISITS 1
#endif
#if defined(MB_WITHOUT_TERNARY) || !MB_HAS_VISITS
#define MB_HAS_TERNARY 0
#else
#define MB_HAS_TERNARY 1
#endif
#ifdef MB_WITHOUT_GATES
#define MB_HAS_GATES 0
#else
#define MB_HAS_GATES 1
#endif
#if defined(MB_WITHOUT_LEVELS) || !MB_HAS_GATES
#define MB_HAS_LEVELS 0
#else
#define MB_HAS_LEVELS 1
#endif
#if defined(MB_WITHOUT_HEAD) || !MB_HAS_GATES
#define MB_HAS_HEAD 0
#else
#define MB_HAS_HEAD 1
#endif
#if defined(MB_WITHOUT_ROWS) || !MB_HAS_HEAD
#define MB_HAS_ROWS 0
#else
#define MB_HAS_ROWS 1
#endif
#if defined(MB_WITHOUT_TRIPLES) || !MB_HAS_HEAD
#define MB_HAS_TRIPLES 0
#else
#define MB_HAS_TRIPLES 1
#endif
#ifdef MB_WITHOUT_CHECKS
#define MB_HAS_CHECKS 0
#else
#define MB_HAS_CHECKS 1
#endif

#if !MB_HAS_DENSE && !MB_HAS_GATES
#error "MB_WITHOUT_DENSE and MB_WITHOUT_GATES together leave no layer"
#endif

/* 1 in a program of gates and a head alone that is compiled for size: bytes count more there than a hundredth of the cycles of a head,
 * and than those of levels beside it, which are read one by one. */
#if defined(__OPTIMIZE_SIZE__) && MB_HAS_HEAD && !MB_HAS_DENSE
#define MB_SMALL 1
#else
#define MB_SMALL 0
#endif

enum { MB_ENCODE = 1, MB_DENSE = 2, MB_OUTPUT = 3, MB_CONV = 4, MB_GRADED = 5, MB_TERNARY = 6,
       MB_CUTS = 7, MB_GATES = 8, MB_LEVELS = 9, MB_HEAD = 10, MB_TRIPLES = 11 }; /* kinds of layer */
enum { MB_ON_OFF = 0, MB_PLUS_MINUS = 1, MB_BYTES = 2, MB_GRADES = 3, MB_GATED = 4, MB_VALUES = 5 }; /* kinds of input */
enum { MB_PLANES_MIN = 6, MB_PLANES_MAX = 20 };              /* counter planes of a layer on bits */
enum { MB_PLANES_MIN_BYTES = 12, MB_PLANES_MAX_BYTES = 24 }; /* counter planes on bytes: the highest digit enters at plane 9 */
enum { MB_BYTE_PLANES = 17 };                                /* planes of signed digits: + and - at eight places, then + 256 */
enum { MB_HEADER_SIZE = 64, MB_RECORD_SIZE = 64, MB_STATE_HEADER = 16 };
enum { MB_MINOR_OF_WORDS = 5 }; /* first minor version whose checksums are of words, not CRC-32 */
enum { /* offsets of header fields */
    MB_AT_MINOR = 6, MB_AT_SIZE = 8, MB_AT_HEADER_SUM = 12,
    MB_AT_CONST = 16, MB_AT_CONST_SIZE = 20, MB_AT_CONST_SUM = 24,
    MB_AT_STATE = 28, MB_AT_STATE_SIZE = 32, MB_AT_STATE_SUM = 36,
    MB_AT_LAYERS = 40, MB_AT_INPUT = 42, MB_AT_CLASSES = 44,
    MB_AT_TEMPERATURE = 48, MB_AT_MARGIN = 50, MB_AT_NOTES = 52
};

/* The head of the state memory. Counters are modulo 2^32. */
typedef struct mb_counters {
    uint32_t generator; /* xorshift32, never zero */
    uint32_t steps, moved, flipped;
} mb_counters;

/* Tests of a layer's kind or input. Each is constant 0 where the build leaves the part out: mb_open refuses such a layer. */
#define MB_IS_CONV(l) (MB_HAS_CONV && (l)->kind == MB_CONV)
#define MB_IS_GRADED(l) (MB_HAS_GRADED && (l)->kind == MB_GRADED)
#define MB_IS_CUTS(l) (MB_HAS_GATES && (l)->kind == MB_CUTS)
#define MB_IS_GATES(l) (MB_HAS_GATES && (l)->kind == MB_GATES)
#define MB_IS_LEVELS(l) (MB_HAS_LEVELS && (l)->kind == MB_LEVELS)
#define MB_IS_HEAD(l) (MB_HAS_HEAD && (l)->kind == MB_HEAD)
#define MB_IS_TRIPLES(l) (MB_HAS_TRIPLES && (l)->kind == MB_TRIPLES)
#define MB_ON_BYTES(l) (MB_HAS_BYTES && (l)->input == MB_BYTES)
#define MB_ON_GRADES(l) (MB_HAS_GRADED && (l)->input == MB_GRADES)

struct mb_host_layer; /* arena.h */

/* One layer record. Its offsets have become pointers into the image or, for arrays that learning changes, into the state. */
typedef struct mb_layer {
    uint8_t kind, input, bits, planes; /* bits: k of a hidden level; of an encoder or cuts the thermometer planes */
    uint8_t lanes16, learns;           /* lanes16: 1 if a word of weights holds 16 units, not 32 */
    uint8_t ternary;                   /* 1 if the record's kind is MB_TERNARY; `kind` is then MB_DENSE */
    uint8_t depth;                     /* graded: thermometer planes P that share one weight */
    uint32_t inputs, units;            /* K, of a convolution in one window; N */
    uint16_t height, width, channels;  /* of the picture that a convolution takes; encoder: channels, 0 if F is one pixel */
    uint16_t window;                   /* straight-through estimator: an error passes a unit with |V| <= window */
    uint8_t kernel, stride, pool, same; /* convolution: sides of window and pooled square; same: 1 if padded with +1 */
    uint16_t low, high, gain, batch;   /* graded: ramp in 1/4096 of the mean |V|; learning by votes: gain, samples kept */
    uint8_t draws;                     /* graded: passes with sampled weights in one step, 4 or 8 */
    uint8_t shift, shared;             /* gates: of mul and add; head: of z_mul and z_add. cuts: 1 if all features share them */
    uint32_t dose;                     /* visits per eligible input of a wholly wrong sample, in 1/4096 */
    uint8_t *sign;                     /* words [R][K + 1], R = ceil(N / lanes); the last of a row is zero and pads lists. triples:
                                        * int8 weights[N][3], low[N], high[N] */
    uint8_t *levels;                   /* words [R][K][k - 1]: low bits of the hidden levels, most significant first. Kind levels:
                                        * a stream of k-bit levels [C][K + 1]; head: its state (head.h) */
    mb_word *fold;                     /* [ceil(N / 32)][planes]: constants, bit-sliced, 32 units to a word. gates: add[N]; head:
                                        * z_add[K]; triples: mul[N], add[N], top[N / 2] */
    const mb_half *tables;             /* strengthen[2^(k-1)], weaken[2^(k-1)]. gates: mul[N]; levels: weaken[2^(k-1)]; head:
                                        * gate_mul[K], gate_add[K], z_mul[K]; triples: features[N][3] */
    union { /* the array that only one kind of layer has */
        const uint8_t *thresholds; /* encoder, cuts: [P][F]; triples: add[F], mul[F], shift[F] of 4, 2, 1 bytes */
        const mb_int *scores;      /* output: mul[N], add[N] */
        const mb_half *need;       /* graded: [3 * batch * P + 1] votes needed, in 1/16, by number of votes */
        const uint8_t *record;     /* head: the record, for its settings */
    } own;
    uint32_t *in;                /* packed input in the arena, [planes of it][ceil(values / 32)]; not set by mb_layer_at */
    uint32_t *mask;              /* straight-through mask in the arena, [ceil(N / 32)], or NULL; not set by mb_layer_at */
    struct mb_host_layer *host;  /* a host's copy of the weights, or NULL; not set by mb_layer_at */
} mb_layer;

/// Reading ///

/* Leaves the function with an error if the condition holds. */
#define MB_REFUSE(error, condition) \
    do {                            \
        if (condition) {            \
            return error;           \
        }                           \
    } while (0)

/* Reads a field of the header or of a record. pre: p is aligned to the field's size. */
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

/* Checksums by the rule of the image's minor version (FORMAT.md, "Checksums"): of a section, wherever its bytes lie, and of header
 * and records with another state_sum in them. pre: both are 4-byte aligned; a section is readable to the end of its last word. */
uint32_t mb_section_sum(const uint8_t *image, const uint8_t *section, uint32_t size);
uint32_t mb_header_sum(const uint8_t *image, uint32_t state_sum);

/* Reads record `index` into *layer. pre: index < layer count. */
void mb_layer_at(const mb_model *m, unsigned index, mb_layer *layer);

/* Checks m->image (image_len bytes) against FORMAT.md and, where a state is attached, that state in place of the image's own.
 * If `seal` is that of the image, only header and records. Returns the first error, or MB_OK. pre: m->image is 4-byte aligned.
 * (check.c) */
mb_status mb_check(const mb_model *m, size_t image_len, uint32_t seal);

/* Returns the samples that a learning graded layer keeps in the state, or NULL if it keeps them in the arena: FORMAT.md, "Kept
 * samples". record: the layer's. */
static inline uint32_t *mb_kept(const uint8_t *record, const mb_layer *l)
{
    const uint32_t at = mb_u32_at(record + 32); /* the levels lie in the state as well */
    return at == 0 ? NULL : (uint32_t *)((uintptr_t)l->levels + at - mb_u32_at(record + 20));
}

/// Shapes ///

/* Number of values that a layer takes. */
static inline uint32_t mb_values(const mb_layer *l)
{
    return MB_IS_CONV(l) ? (uint32_t)l->height * l->width * l->channels : MB_IS_GRADED(l) ? l->depth * l->inputs : l->inputs;
}

/* Words of the samples that a graded layer keeps: the slot, the input bits, the votes. */
static inline uint32_t mb_kept_words(const mb_layer *l)
{
    return 1u + l->batch * (MB_WORDS(mb_values(l)) + 3u * MB_WORDS(l->units));
}

/* Number of values that a head takes: gate and z of each unit, or what the layer before gives. */
static inline uint32_t mb_head_values(const mb_layer *l)
{
    return l->input == MB_GATED ? 2u * l->inputs : l->inputs;
}

/* True if a layer can never learn: no error passes a convolution or reaches bytes. */
static inline int mb_is_feature(const mb_layer *l)
{
    return MB_IS_CONV(l) || MB_ON_BYTES(l);
}

/* Height or width after the convolution, before pooling. pre: same, or kernel <= size. */
static inline uint32_t mb_convolved(const mb_layer *l, uint32_t size)
{
    return l->same ? (size + l->stride - 1u) / l->stride : (size - l->kernel) / l->stride + 1u;
}

/* Rows (or columns) of padding before the picture. An odd number of them puts the larger half behind it. */
static inline int32_t mb_pad_before(const mb_layer *l, uint32_t size)
{
    const uint32_t span = (mb_convolved(l, size) - 1u) * l->stride + l->kernel;
    return l->same && span > size ? (int32_t)((span - size) / 2u) : 0;
}

/* Height or width after pooling. Rows and columns that do not fill a square are dropped. */
static inline uint32_t mb_side(const mb_layer *l, uint32_t size)
{
    return mb_convolved(l, size) / l->pool;
}

/* Number of values that a layer gives: H' * W' * N of a convolution, else N. */
static inline uint32_t mb_outputs(const mb_layer *l)
{
    return MB_IS_CONV(l) ? mb_side(l, l->height) * mb_side(l, l->width) * l->units : l->units;
}

#ifdef MB_PROFILE
#define MB_MARK(phase, layer) mb_profile((phase), (layer))
#else
#define MB_MARK(phase, layer) ((void)0)
#endif

#endif
