/* Adders for bit-sliced sums. Words enter the sum at its lowest plane. */
#ifndef MB_ADDER_H
#define MB_ADDER_H

#include "bits.h"

/* Adds four words: sum + a + b + c + d = sum' + 2 (e + f). Two words are known by one of them and their difference: (x1, p1)
 * = (a, a ^ b) and (x2, p2) = (c, c ^ d) become (x, p) = (e, e ^ f). This takes eight operations where two full adders take
 * ten. */
#define MB_ADD_PAIRS_OF(type, x, p, sum, x1, p1, x2, p2)                              \
    do {                                                                              \
        const type or_ = ((x1) ^ (sum)) | (p1), sum_ = (sum) ^ (p1);                  \
        const type and_ = ((x2) ^ sum_) & ~(p2);                                      \
        (sum) = sum_ ^ (p2);                                                          \
        (x) = sum_ ^ and_;                                                            \
        (p) = or_ ^ and_;                                                             \
    } while (0)
#define MB_ADD_PAIRS(x, p, sum, x1, p1, x2, p2) MB_ADD_PAIRS_OF(uint32_t, x, p, sum, x1, p1, x2, p2)

/* Adds the pair (x, p) = (e, e ^ f): sum + e + f = sum' + 2 out. */
#define MB_ADD_PAIR(out, sum, x, p)                                                   \
    do {                                                                              \
        (out) = (x) ^ ((p) & ((x) ^ (sum)));                                          \
        (sum) ^= (p);                                                                 \
    } while (0)

/* Adds eight words of any type to the sum whose low planes are ones, twos and fours. `out` is the carry into the eights. */
#define MB_ADD_EIGHT_OF(type, out, ones, twos, fours, w0, w1, w2, w3, w4, w5, w6, w7) \
    do {                                                                              \
        type x_ = w0, p_ = x_ ^ (w1), y_ = w2, q_ = y_ ^ (w3);                        \
        MB_ADD_PAIRS_OF(type, x_, p_, ones, x_, p_, y_, q_);                          \
        type z_ = w4, r_ = z_ ^ (w5);                                                 \
        y_ = w6, q_ = y_ ^ (w7);                                                      \
        MB_ADD_PAIRS_OF(type, y_, q_, ones, z_, r_, y_, q_);                          \
        MB_ADD_PAIRS_OF(type, x_, p_, twos, x_, p_, y_, q_);                          \
        MB_ADD_PAIR(out, fours, x_, p_);                                              \
    } while (0)

/* Adds eight listed words in an order that suits cores with few registers. It works on variables of these names: `list`
 * holds indices into `w`; ones, twos and fours are the low planes. Most cores load faster right after another load, so four
 * indices come first, then their four words. */
#define MB_ADD_FOUR(x, p, a0, a1, a2, a3)                                                  \
    do {                                                                                   \
        uint32_t a = a0, b = a1, c = a2, d = a3;                                           \
        MB_KEEP4(a, b, c, d);                                                          \
        b ^= a;                                                                            \
        d ^= c;                                                                            \
        MB_ADD_PAIRS(x, p, ones, a, b, c, d);                                              \
        MB_KEEP2(x, p);                                                                 \
    } while (0)
#define MB_ADD_INPUTS(x, p, at)                                                            \
    do {                                                                                   \
        uint32_t i = list[at], j = list[(at) + 1], k = list[(at) + 2], m = list[(at) + 3]; \
        MB_KEEP4(i, j, k, m);                                                          \
        MB_ADD_FOUR(x, p, w[i], w[j], w[k], w[m]);                                         \
    } while (0)
#define MB_ADD_TWO_FOURS(out, x, p, y, q)                                                  \
    do {                                                                                   \
        MB_ADD_PAIRS(x, p, twos, x, p, y, q);                                              \
        MB_ADD_PAIR(out, fours, x, p);                                                     \
        MB_KEEP2(out, fours);                                                           \
    } while (0)
#define MB_ADD_EIGHT(out, at)                                                              \
    do {                                                                                   \
        uint32_t x, p, y, q;                                                               \
        MB_ADD_INPUTS(x, p, at);                                                           \
        MB_ADD_INPUTS(y, q, (at) + 4);                                                     \
        MB_ADD_TWO_FOURS(out, x, p, y, q);                                                 \
    } while (0)

#endif
