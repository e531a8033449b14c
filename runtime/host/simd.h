/* What runs on each of a host's vectors, for wide.c. */
#ifndef MB_SIMD_H
#define MB_SIMD_H

#include "layers.h"
#include "wide.h"

typedef struct mb_wide_layer mb_wide_layer;
typedef void mb_dense_of(const mb_wide_layer *c, const uint16_t *list, uint32_t active, uint32_t *out, uint32_t *mask, void *scratch);

/* A layer and its copy. */
struct mb_wide_layer {
    mb_layer of;
    mb_dense_of *dense; /* of a dense layer */
    uint32_t vector;    /* bytes of a vector of its; 0: not copied */
    uint32_t pitch;     /* of an output layer: 64-bit words of a row */
    uint8_t *sign;      /* dense: [block][K + 1] vectors; output: [N][pitch] words of 64 bits, a row a unit */
    uint8_t *fold;      /* dense: [block][planes] vectors; output: int32 [N] */
};

/* Writes up to SLACK beyond the end. bytes: of each byte the numbers of its bits, see spread_bytes. */
typedef uint16_t *mb_list_of(const uint32_t *bits, uint32_t words, const uint16_t *bytes, uint16_t *list);
enum { SLACK = 64 };

enum { ROW = 4 }; /* words of 64 bits that a row is a multiple of */

/* Of every unit, from its row. x: room for one. */
typedef void mb_scores_of(const mb_wide_layer *c, const uint32_t *bits, uint64_t *x, int32_t *scores);

/* Of all features as one pixel. */
typedef void mb_encode_of(const mb_layer *l, const uint8_t *features, uint32_t *bits);

typedef struct mb_level {
    const char *name;
    mb_dense_of *dense[4];  /* with vectors of 8, 16, 32 and 64 bytes */
    mb_list_of *list;
    mb_scores_of *scores; /* NULL: outputs are left to the library */
    mb_encode_of *encode; /* NULL: encoders are */
} mb_level;

extern const mb_level mb_levels[MB_VECTORS];

#endif
