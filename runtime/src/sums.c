/* Lists of active inputs, and bit-sliced sums of their columns. */
#include "sums.h"

#include "adder.h"
#include "image.h"
#include "thumb1.h"

#if MB_SMALL
/* As add_columns.inc with one copy of the adders: after the columns, the carries out of the eights pass through it as well. */
void mb_sum_columns(const mb_word *w, const uint16_t *list, uint32_t active, uint32_t *v, unsigned planes, uint32_t *carry)
{
    static const uint16_t in_order[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint32_t ones = v[1], twos = v[2], fours = v[3], eights = v[4], held = 0, *next = carry, left = (active + 7u) >> 3;
#ifdef MB_THUMB1
    const uint16_t *const last = list + 8u * (left & ~1u);
    if (list != last) {
        MB_T1_SIXTEENS("ldr", "2");
    }
    left &= 1u;
#endif
    for (int carries = 0; left != 0 || !carries;) {
        uint32_t e;
        if (left == 0) {
            carries = 1;
            v[1] = ones, v[2] = twos, v[3] = fours, v[4] = eights;
            ones = v[5], twos = v[6], fours = v[7];
            for (unsigned i = 0; i < 8u; i++) {
                next[i] = 0;
            }
            left = (uint32_t)(next - carry + 7) >> 3;
            w = carry, list = in_order;
            continue;
        }
        MB_ADD_EIGHT(e, 0);
        left--;
        if (carries) {
            for (uint32_t *to = v + 8, sum; to < v + planes; e &= sum) {
                sum = *to;
                *to++ = sum ^ e;
            }
            w += 8;
            continue;
        }
        list += 8;
        held |= eights & e; /* two eights carry once at most */
        eights ^= e;
        if ((left & 1u) == 0) {
            *next++ = held;
            held = 0;
        }
    }
    v[5] = ones, v[6] = twos, v[7] = fours;
}
#else
#define LANES mb_word
#define SHIFT "2"
#define LDR "ldr"
#define ADD_COLUMNS MB_INLINE void add_runs /* inlined below, because clang schedules it better than the function itself */
#include "add_columns.inc"
void mb_add_columns(const mb_word *w, const uint16_t *lists, const mb_run *run, uint32_t runs, const mb_word *start, uint32_t *v,
                    unsigned planes, uint32_t *carry)
{
    add_runs(w, lists, run, runs, start, v, planes, carry);
}
#endif

MB_MINSIZE uint32_t mb_pad_list(const uint16_t *list, uint16_t *end, uint32_t inputs)
{
    const uint32_t count = (uint32_t)(end - list);
    MB_ROLLED
    for (uint32_t i = count; (i & 7u) != 0; i++) {
        *end++ = (uint16_t)inputs; /* index of the zero word that ends a row */
    }
    return count;
}

uint32_t mb_active_inputs(const uint32_t *bits, uint32_t inputs, uint16_t *list)
{
    uint16_t *end = list;
    MB_ROLLED
    for (uint32_t base = 0; base < inputs; base += 32u) {
        end = mb_list_bits(end, *bits++, base);
    }
    return mb_pad_list(list, end, inputs);
}

MB_MINSIZE uint32_t mb_active_part(const uint32_t *bits, uint32_t inputs, uint32_t *next, uint16_t *list)
{
    uint16_t *end = list;
    uint32_t base = *next;
    for (; base < inputs && list + MB_LISTED - end >= MB_ROOM_LEFT; base += 32u) {
        end = mb_list_bits(end, bits[base >> 5], base);
    }
    *next = base;
    return mb_pad_list(list, end, inputs);
}

#ifndef __OPTIMIZE_SIZE__
/* Transposes 16 x 16 bits. Word i holds planes i and 8 + i before, lanes i and 8 + i after. */
static void transpose(uint32_t *a)
{
    MB_UNROLLED
    for (uint32_t i = 0; i < 8u; i++) {
        const uint32_t t = (a[i] ^ (a[i] >> 8)) & 0x0000FF00u;
        a[i] ^= t ^ (t << 8);
    }
    mb_swap_bits(a, 4, 4, 0x0F0F0F0Fu);
    mb_swap_bits(a, 2, 2, 0x33333333u);
    mb_swap_bits(a, 1, 1, 0x55555555u);
}

#endif

#if !defined(__OPTIMIZE_SIZE__) || MB_HAS_GRADED
/* Transposes up to eight planes. */
MB_NOINLINE void transpose_planes(const uint32_t *v, unsigned planes, uint32_t *to)
{
    mb_transpose_eight(planes > 0 ? v[0] : 0, planes > 1u ? v[1] : 0, planes > 2u ? v[2] : 0, planes > 3u ? v[3] : 0,
                       planes > 4u ? v[4] : 0, planes > 5u ? v[5] : 0, planes > 6u ? v[6] : 0, planes > 7u ? v[7] : 0, to);
}
#endif

#if !defined(__OPTIMIZE_SIZE__) || MB_HAS_GRADED
/* values [n] = (x + more) & bits, less the sign, of the lanes x whose bytes were transposed. Two values lie in a word: they are less
 * than 2^15, so that no sum of two reaches the next. whole: n is 32. */
MB_INLINE void join_bytes(uint32_t whole, const uint32_t *low, const uint32_t *high, uint32_t bits, uint32_t more, int32_t *values,
                          uint32_t n)
{
    const uint32_t both = bits * 0x10001u, add = (more & bits) * 0x10001u, sign = (bits + 1u) / 2u;
    for (uint32_t i = 0; i < (whole ? 8u : n < 8u ? n : 8u); i++, values++) {
        const uint32_t x = *low++, y = *high++;
        const uint32_t even = (((x & 0x00FF00FFu) | (y & 0x00FF00FFu) << 8) + add) & both;
        const uint32_t odd = (((x >> 8 & 0x00FF00FFu) | (y & 0xFF00FF00u)) + add) & both;
        values[0] = (int32_t)((even & 0xFFFFu) - sign);
        if (whole || 8u + i < n) {
            values[8] = (int32_t)((odd & 0xFFFFu) - sign);
        }
        if (whole || 16u + i < n) {
            values[16] = (int32_t)((even >> 16) - sign);
        }
        if (whole || 24u + i < n) {
            values[24] = (int32_t)((odd >> 16) - sign);
        }
    }
}
#endif

void mb_lane_values(const uint32_t *v, unsigned planes, uint32_t minus, int32_t *values, uint32_t n)
{
    const uint32_t sign = 1u << (planes - 1u), bits = 2u * sign - 1u;
#ifndef __OPTIMIZE_SIZE__
    if (n <= 16u && planes <= 16u) {
        uint32_t a[8];
        MB_UNROLLED
        for (unsigned i = 0; i < 8u; i++) {
            a[i] = (i < planes ? v[i] & 0xFFFFu : 0) | (8u + i < planes ? v[8u + i] << 16 : 0);
        }
        transpose(a);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t x = i < 8u ? a[i] : a[i - 8u] >> 16;
            values[i] = (int32_t)(((x - minus + sign) & bits) - sign);
        }
        return;
    }
#endif
#if !defined(__OPTIMIZE_SIZE__) || MB_HAS_GRADED
    if (planes < 16u) {
        uint32_t low[8], high[8];
        transpose_planes(v, planes, low);
        transpose_planes(v + 8, planes < 8u ? 0 : planes - 8u, high);
        MB_SPECIALISE(n == 32u, join_bytes, low, high, bits, sign - minus, values, n);
        return;
    }
#endif
    for (uint32_t i = 0; i < n; i++) {
        values[i] = (int32_t)(((mb_lane_bits(v, planes, i) - minus + sign) & bits) - sign);
    }
}
