/* Four bit-sliced sums side by side, of words that come by eights. Where the core has vectors, one vector holds a word of each
 * sum; elsewhere the four words lie in four arrays. sampled_passes.c. */
#ifndef MB_FOURS_H
#define MB_FOURS_H

#include "arena.h"

#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON))
typedef uint32_t mb_four __attribute__((vector_size(16), aligned(4), may_alias)); /* aligned as the arena is */
enum { MB_PARTS = 1 };
#define MB_PUT(v, step, i, a, b, c, d) ((v)[i] = (mb_four){(a), (b), (c), (d)})
#define MB_GET(v, step, i, sum) (v)[i][sum]
#else
typedef mb_word mb_four;
enum { MB_PARTS = 4 };
#define MB_PUT(v, step, i, a, b, c, d) \
    ((v)[i] = (a), (v)[(step) + (i)] = (b), (v)[2u * (step) + (i)] = (c), (v)[3u * (step) + (i)] = (d))
#define MB_GET(v, step, i, sum) (v)[(step) * (sum) + (i)]
#endif

#ifdef __ARM_ARCH_6M__
enum { MB_FOURS_AT_ONCE = 8, MB_FOURS_ROW = 8 }; /* stores reach no farther than 31 words */
#else
enum { MB_FOURS_AT_ONCE = 32, MB_FOURS_ROW = 40 };
#endif
enum { MB_FOURS_STEP = MB_PLANES_MAX + 2, MB_FOURS_CARRIES = 32 };

/* Words enter the sums at plane 2 + above. Planes 0 and 1 are the caller's. */
typedef struct mb_fours {
    mb_four v[MB_FOURS_STEP * MB_PARTS]; /* the sums: MB_GET(v, MB_FOURS_STEP, plane, sum) */
    /* The next words of each sum: MB_PUT(words, MB_FOURS_ROW, i, ...). From MB_FOURS_CARRIES on, in rows as long, the carries of eight
     * words, into plane 5 + above, that wait to be added. */
    mb_four words[(MB_FOURS_AT_ONCE + 8) * MB_PARTS];
    uint32_t planes, above, waiting;     /* planes of v, at least MB_FOURS_MIN; 0 .. MB_DIGITS - 1; at first 0 */
} mb_fours;

enum { MB_FOURS_MIN = 9 + MB_DIGITS - 1, MB_FOURS_WORDS = 4 * MB_FOURS_STEP + 163 }; /* fewest planes; most words of an mb_fours */

/* Adds the first `count` words of each sum, and when fewer than MB_FOURS_AT_ONCE come, the last ones, every carry that waits. */
void mb_add_fours(mb_fours *f, uint32_t count);

#endif
