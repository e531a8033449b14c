/* A host's vectors under the same two calls: mb_predict and mb_learn give the same integers in less time.
 *
 * Only for hosts with memory to spare, and only where the library is compiled with MB_WIDE: the Python binding does that. The
 * caller owns a fourth memory, which holds copies of the weights as wide as the processor's vectors, and scratch:
 *
 *   mb_attach(&m, state, state_len, arena, arena_len);
 *   mb_widen(&m, mb_vectors_best(), memory, mb_wide_size(&m, mb_vectors_best()));
 *
 * Learning keeps the copies in step. The memory must stay until the next mb_attach, which forgets it. Call mb_widen again after
 * mb_attach, and after writing into the state by hand. */
#ifndef MB_WIDE_H
#define MB_WIDE_H

#include "metabit.h"

enum { MB_WIDE_ALIGN = 64 }; /* the memory's address must be a multiple of this */

/* Sets of kernels, the widest last. A processor runs a set only if it has all instructions that the set names. */
typedef enum mb_vectors {
    MB_NO_VECTORS,  /* the library as devices run it */
    MB_VECTORS_U64, /* words of 64 bits, for any compiler */
    MB_NEON,
    MB_AVX2,        /* AVX2, BMI, BMI2, POPCNT */
    MB_AVX512,      /* AVX-512 F, BW, VL, VBMI2 and VPOPCNTDQ, and all of MB_AVX2 */
    MB_VECTORS      /* number of sets */
} mb_vectors;

const char *mb_vectors_name(mb_vectors vectors); /* "none", "words", "neon", "avx2", "avx512" */
int mb_vectors_runs(mb_vectors vectors);         /* 1 if this build has the set and this processor runs it */
mb_vectors mb_vectors_best(void);                /* the widest set that runs */

size_t mb_wide_size(const mb_model *m, mb_vectors vectors); /* bytes; 0 if nothing is open or the set does not run */

/* Copies the weights into `memory` and makes the model run on the set from now on. Call it after mb_attach.
 * MB_E_DETACHED: nothing is attached. MB_E_NULL, MB_E_ALIGN, MB_E_ARENA_SIZE: `memory` is NULL, misaligned or too small. With
 * MB_NO_VECTORS, memory may be NULL. */
mb_status mb_widen(mb_model *m, mb_vectors vectors, void *memory, size_t len);
mb_vectors mb_widened(const mb_model *m); /* the set that the model runs on */

#endif
