/* A host's vectors under the same two calls: mb_predict and mb_learn give the same integers, sooner.
 *
 * Only for hosts with memory to spare, and only where the library is compiled with MB_WIDE: the Python binding. A fourth memory,
 * the caller's as the others are, holds copies of the weights as wide as the processor's vectors, and scratch:
 *
 *   mb_attach(&m, state, state_len, arena, arena_len);
 *   mb_widen(&m, mb_vectors_best(), memory, mb_wide_size(&m, mb_vectors_best()));
 *
 * Learning keeps the copies in step. mb_attach forgets them: widen again after it, and after writing into the state
 * by hand. Until then the memory must stay. */
#ifndef MB_WIDE_H
#define MB_WIDE_H

#include "metabit.h"

enum { MB_WIDE_ALIGN = 64 }; /* of the memory's address */

/* The widest last. */
typedef enum mb_vectors {
    MB_NO_VECTORS,  /* the library as devices run it */
    MB_WORDS,       /* words of 64 bits, for any compiler */
    MB_SSE2,
    MB_NEON,
    MB_AVX2,        /* and BMI, POPCNT */
    MB_AVX512,      /* F, BW and VL, and what AVX2 asks for */
    MB_AVX512VBMI2, /* and VPOPCNTDQ */
    MB_VECTORS
} mb_vectors;

const char *mb_vectors_name(mb_vectors vectors); /* "none", "words", "sse2", ... */
int mb_vectors_runs(mb_vectors vectors);         /* 1 if this build has them and this processor too */
mb_vectors mb_vectors_best(void);

size_t mb_wide_size(const mb_model *m, mb_vectors vectors); /* bytes; 0 if nothing is open or it does not run */

/* After mb_attach. MB_E_ALIGN, MB_E_ARENA_SIZE: the memory's. With MB_NO_VECTORS, `memory` may be NULL. */
mb_status mb_widen(mb_model *m, mb_vectors vectors, void *memory, size_t len);
mb_vectors mb_widened(const mb_model *m);

#endif
