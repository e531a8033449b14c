/* The kernels of each set of vectors, for wide.c. */
#ifndef MB_SIMD_H
#define MB_SIMD_H

#include "layers.h"
#include "wide.h"

/// Targets ///

#define MB_BASELINE /* no attribute: every processor of this architecture runs it */
#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define MB_X86 1
#define MB_AVX2_CODE __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define MB_AVX512_CODE __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2,avx512vpopcntdq,bmi,bmi2,popcnt")))
#elif defined(__GNUC__) && defined(__ARM_NEON)
#define MB_NEON_CODE 1
#endif

/// Kernels ///

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

/* planes [MB_PLANES_MAX] vectors = 2 * sum over the inputs listed, as mb_dense_kernel takes them, of a block of units that do not learn. */
typedef void mb_sums_kernel(const mb_wide_layer *c, uint32_t block, const uint16_t *list, uint32_t active, uint32_t *planes,
                            void *scratch);

/* As mb_encode, for features that are one pixel, or the bits of cuts. thresholds: bytes [units], or numbers of 16 bits. (encode.c) */
typedef void mb_encode_kernel(const mb_layer *l, const uint8_t *thresholds, const uint8_t *features, uint32_t *bits);

/* sums [32 words] of gates, each the inputs that are on with weight +1 less those with -1, from `words` words of each plane. step: words
 * from a plane to the next. active: inputs that are on. (gated.c) */
typedef void mb_spread_kernel(const uint32_t *planes, uint32_t step, uint32_t words, uint32_t active, int32_t *sums);

/* The sums [pitch] of few gates from their packed input. */
typedef void mb_few_kernel(const mb_wide_layer *c, const uint32_t *bits, int32_t *sums);
enum { MB_FEW = 128 };

/* values [N] = levels of gates first .. end - 1, or the head's values [2 N] of them, from their sums. first: a multiple of 32. sums: room
 * for a multiple of 32. (gated.c) */
typedef void mb_gates_kernel(const mb_wide_layer *c, uint32_t first, uint32_t end, const int32_t *sums, int8_t *values);

/* sums [rows] = products of weights [rows][values] and x [values], which is not -128. values <= MB_MOST_GATED. */
typedef void mb_rows_kernel(const int8_t *w, uint32_t rows, const int8_t *x, uint32_t values, int32_t *sums);
enum { MB_MOST_GATED = 1024 };

typedef struct mb_kernels {
    const char *name;
    mb_dense_kernel *dense[4]; /* with vectors of 8, 16, 32 and 64 bytes; NULL where the set has none */
    mb_sums_kernel *sums[4];
    mb_list_kernel *list;      /* NULL if this build does not have the set */
    mb_scores_kernel *scores;  /* NULL: the library computes output layers */
    mb_encode_kernel *encode, *cut[2]; /* of bytes, of numbers of 16 bits */
    mb_few_kernel *few;        /* NULL if the set has none: then few gates are summed as many are */
    mb_spread_kernel *spread;
    mb_gates_kernel *gates;
    mb_rows_kernel *rows;
} mb_kernels;

/* As mb_head_scores, by the rows of the set. (gated.c) */
void mb_wide_head_scores(const mb_layer *l, const mb_kernels *set, const int8_t *x, int32_t *scores);

extern const mb_kernels mb_kernel_sets[MB_VECTORS];

struct mb_wide_layer {
    struct mb_host_layer host;  /* first, so that a pointer to it is one to the whole */
    const mb_layer *of;
    const struct mb_wide *wide; /* the memory that holds it */
    mb_dense_kernel *dense;     /* kernel of a dense layer */
    uint32_t vector;            /* bytes of one vector; 0 for few gates that set->few sums */
    mb_sums_kernel *sums;       /* kernel of gates */
    uint32_t pitch;             /* output layer: 64-bit words in a row; gates: N rounded up to 32 */
    uint8_t *sign;              /* dense, gates: [block][K + 1] vectors; few gates: [ceil(K / 32)][pitch] words of 32 inputs;
                                 * output: [N][pitch] words of 64 bits; levels: int8 [C][K]; cuts: [P][F] */
    uint8_t *fold;              /* dense: [block][planes] vectors; output: int32 [N]; levels: int32 [C] offsets; gates: int32 [6][pitch]:
                                 * mul, add, and before a head gate_mul, gate_add, z_mul, z_add */
};

/// Functions of encode.c and gated.c ///

#define MB_FINISH_OF(bits, units) \
    .encode = mb_encode_##bits, .cut = {mb_cut_bytes_##bits, mb_cut_shorts_##bits}, .spread = mb_spread_##units, .gates = mb_gates_##units

extern mb_encode_kernel mb_encode_words, mb_cut_bytes_words, mb_cut_shorts_words, mb_encode_avx2, mb_cut_bytes_avx2, mb_cut_shorts_avx2;
extern mb_encode_kernel mb_encode_avx512, mb_cut_bytes_avx512, mb_cut_shorts_avx512;
extern mb_spread_kernel mb_spread_words, mb_spread_neon, mb_spread_avx2, mb_spread_avx512;
extern mb_gates_kernel mb_gates_words, mb_gates_neon, mb_gates_avx2, mb_gates_avx512;
extern mb_rows_kernel mb_rows_words, mb_rows_avx2, mb_rows_avx512;

#endif
