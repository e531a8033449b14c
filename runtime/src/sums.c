/* Lists of active inputs, and bit-sliced sums of their columns. */
#include "sums.h"

#include "adder.h"
#include "thumb1.h"

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

#define LANES uint32_t
#define ADD_EIGHT void mb_add_eight
#define MORE(carry) ((carry) != 0)
#include "add_eight.inc"

uint32_t mb_pad_list(uint16_t *list, uint16_t *end, uint32_t inputs)
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
        end = mb_list_bits_unordered(end, *bits++, base);
    }
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

/* Collects lanes `lane`, 8 + lane, 16 + lane and 24 + lane of up to eight planes into one byte each. */
MB_INLINE uint32_t lane_bytes(const uint32_t *v, unsigned planes, uint32_t lane)
{
    uint32_t bytes = 0;
    for (unsigned p = 0; p < planes; p++) {
        bytes |= ((v[p] >> lane) & 0x01010101u) << p;
    }
    return bytes;
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
    const unsigned low = planes < 8u ? planes : 8u, middle = planes < 16u ? planes - low : 8u;
    for (uint32_t lane = 0; lane < 8u && lane < n; lane++) {
        uint32_t a = lane_bytes(v, low, lane), b = lane_bytes(v + low, middle, lane);
        uint32_t c = planes > 16u ? lane_bytes(v + 16, planes - 16u, lane) : 0;
        for (uint32_t i = lane; i < n; i += 8u, a >>= 8, b >>= 8, c >>= 8) {
            const uint32_t x = (a & 255u) | (b & 255u) << 8 | (c & 255u) << 16;
            values[i] = (int32_t)(((x - minus + sign) & bits) - sign);
        }
    }
#else
    for (uint32_t i = 0; i < n; i++) {
        values[i] = (int32_t)(((mb_lane_bits(v, planes, i) - minus + sign) & bits) - sign);
    }
#endif
}
