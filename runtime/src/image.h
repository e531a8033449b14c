/* The image: its parts, kinds and offsets, and a layer as it lies in it. */
#ifndef MB_IMAGE_H
#define MB_IMAGE_H

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

#ifdef MB_PROFILE
#define MB_MARK(phase, layer) mb_profile((phase), (layer))
#else
#define MB_MARK(phase, layer) ((void)0)
#endif

#endif
