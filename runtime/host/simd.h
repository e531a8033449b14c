/* The kernels of each set of vectors, for wide.c. */
#ifndef MB_SIMD_H
#define MB_SIMD_H

#include "layers.h"
#include "wide.h"

/* A layer's copy of its weights. mb_layer.host points to it. */
typedef struct mb_wide_layer mb_wide_layer;

/* As mb_dense. list: padded to a multiple of 16 with K, the zero row. scratch: a vector for each 16 entries, and 7 more. */
typedef void mb_dense_kernel(const mb_wide_layer *c, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask,
                             void *scratch);

/* Lists the set bits of `words` words and returns the end of the list; may write up to SLACK entries beyond it.
 * bytes [256][8]: for each byte the positions of its bits. */
typedef uint16_t *mb_list_kernel(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list);
enum { SLACK = 64 };

/* scores [N] of an output layer from its packed input `bits`. x: room for one row. */
typedef void mb_scores_kernel(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x, int32_t *scores);
enum { ROW = 4 }; /* the length of a row is a multiple of 4 words of 64 bits */

/* As mb_encode, for features that are one pixel. */
typedef void mb_encode_kernel(const mb_layer *l, const uint8_t *features, uint32_t *bits);

typedef struct mb_kernels {
    const char *name;
    mb_dense_kernel *dense[4]; /* with vectors of 8, 16, 32 and 64 bytes; NULL where the set has none */
    mb_list_kernel *list;      /* NULL if this build does not have the set */
    mb_scores_kernel *scores;  /* NULL: the library computes output layers */
    mb_encode_kernel *encode;  /* NULL: the library encodes */
} mb_kernels;

extern const mb_kernels mb_kernel_sets[MB_VECTORS];

struct mb_wide_layer {
    struct mb_host_layer host;  /* first, so that a pointer to it is one to the whole */
    const mb_layer *of;
    const struct mb_wide *wide; /* the memory that holds it */
    mb_dense_kernel *dense;     /* kernel of a dense layer */
    uint32_t vector;            /* bytes of one vector */
    uint32_t pitch;             /* output layer: 64-bit words in a row */
    uint8_t *sign;              /* dense: [block][K + 1] vectors; output: [N][pitch] words of 64 bits */
    uint8_t *fold;              /* dense: [block][planes] vectors; output: int32 [N] */
};

#endif
