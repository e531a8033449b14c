/* The adder of all trees: words enter bit-sliced sums, lowest plane first. */
#ifndef MB_ADDER_H
#define MB_ADDER_H

#include "bits.h"

/* sum + a + b + c + d = sum + 2 (e + f), where two words are known by one of them and their difference: (x, p) becomes (e, e ^ f)
 * of (x1, p1) = (a, a ^ b) and (x2, p2) = (c, c ^ d). Eight operations where two full additions take ten. */
#define MB_ADD_PAIRS(x, p, sum, x1, p1, x2, p2)                                       \
    do {                                                                              \
        const uint32_t or_ = ((x1) ^ (sum)) | (p1), sum_ = (sum) ^ (p1);              \
        const uint32_t and_ = ((x2) ^ sum_) & ~(p2);                                  \
        (sum) = sum_ ^ (p2);                                                          \
        (x) = sum_ ^ and_;                                                            \
        (p) = or_ ^ and_;                                                             \
    } while (0)

/* sum + e + f = sum + 2 out. */
#define MB_ADD_PAIR(out, sum, x, p)                                                   \
    do {                                                                              \
        (out) = (x) ^ ((p) & ((x) ^ (sum)));                                          \
        (sum) ^= (p);                                                                 \
    } while (0)

/* What follows works on variables of these names: `list` of indices into `w`, and the sum's low planes. A load right after another one
 * takes a cycle less on most cores: four indices, then their four words. */
#define MB_ADD_FOUR(x, p, a0, a1, a2, a3)                                                  \
    do {                                                                                   \
        uint32_t a = a0, b = a1, c = a2, d = a3;                                           \
        MB_FOUR_HERE(a, b, c, d);                                                          \
        b ^= a;                                                                            \
        d ^= c;                                                                            \
        MB_ADD_PAIRS(x, p, ones, a, b, c, d);                                              \
        MB_TWO_HERE(x, p);                                                                 \
    } while (0)
#define MB_ADD_INPUTS(x, p, at)                                                            \
    do {                                                                                   \
        uint32_t i = list[at], j = list[(at) + 1], k = list[(at) + 2], m = list[(at) + 3]; \
        MB_FOUR_HERE(i, j, k, m);                                                          \
        MB_ADD_FOUR(x, p, w[i], w[j], w[k], w[m]);                                         \
    } while (0)
#define MB_ADD_TWO_FOURS(out, x, p, y, q)                                                  \
    do {                                                                                   \
        MB_ADD_PAIRS(x, p, twos, x, p, y, q);                                              \
        MB_ADD_PAIR(out, fours, x, p);                                                     \
        MB_TWO_HERE(out, fours);                                                           \
    } while (0)
#define MB_ADD_EIGHT(out, at)                                                              \
    do {                                                                                   \
        uint32_t x, p, y, q;                                                               \
        MB_ADD_INPUTS(x, p, at);                                                           \
        MB_ADD_INPUTS(y, q, (at) + 4);                                                     \
        MB_ADD_TWO_FOURS(out, x, p, y, q);                                                 \
    } while (0)

#endif
